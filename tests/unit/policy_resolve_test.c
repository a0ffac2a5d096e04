// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/policy_resolve_test.c - names looked up on a machine: a small tree
 * of executables made for the test, the accounts that every machine has, and the
 * digest and identity of files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/policy/internal.h"

static char root[] = "/tmp/tk-resolve-XXXXXX";

static char *at(const char *path)
{
	static char buf[4][256];
	static int turn;
	char *out = buf[turn++ % 4];

	snprintf(out, sizeof(buf[0]), "%s%s", root, path);
	return out;
}

static void make_dir(const char *path, mode_t mode)
{
	assert_int_equal(mkdir(at(path), 0700), 0);
	assert_int_equal(chmod(at(path), mode), 0);
}

static void make_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/*
 * bin/ and opt/ belong to us alone; open/ anyone may write.  tool is an executable, link a symbolic link
 * to it, other another one, data no executable.
 */
static int tree_setup(void **state)
{
	if (!mkdtemp(root))
		return -1;
	chmod(root, 0755);
	make_dir("/bin", 0755);
	make_dir("/opt", 0755);
	make_dir("/opt/deep", 0755);
	make_dir("/opt/deep/er", 0755);
	make_dir("/opt/open", 0777);
	make_file("/bin/tool", "abc", 0755);
	make_file("/bin/other", "other", 0755);
	make_file("/bin/data", "data", 0644);
	make_file("/bin/loose", "loose", 0775);
	make_file("/opt/deep/er/tool", "deep", 0755);
	make_file("/opt/open/tool", "open", 0755);
	return symlink("tool", at("/bin/link")) || symlink("bin", at("/alias")) ||
	       symlink(".", at("/opt/loop"));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int tree_teardown(void **state)
{
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Compiles sets (%s stands for the tree) and resolves them inside the tree. */
static struct tk_resolved *resolved(const char *sets, struct tk_problems *problems)
{
	char bin[256], opt[256];
	const char *flat[] = {bin, NULL}, *deep[] = {opt, NULL};
	struct tk_search search = {flat, deep, root, getuid()};
	struct tk_compiled *compiled = NULL;
	struct tk_resolved *result = NULL;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	snprintf(bin, sizeof(bin), "%s/bin", root);
	snprintf(opt, sizeof(opt), "%s/opt", root);
	fputs("{\"version\": 1, \"guard_points\": [], ", out);
	for (const char *p = sets; *p; p++) {
		if (*p == '%')
			fputs(root, out);
		else
			putc(*p == '\'' ? '"' : *p, out);
	}
	putc('}', out);
	fclose(out);
	assert_int_equal(tk_policy_compile(text, len, &compiled, problems), 0);
	tk_problems_free(problems);
	assert_int_equal(tk_resolve_in(compiled, &search, &result, problems), 0);
	assert_int_equal(problems->errors, 0);
	tk_compiled_free(compiled);
	free(text);
	return result;
}

static const struct tk_process *process_at(const struct tk_resolved *resolved, const char *path)
{
	struct tk_inode inode;

	assert_int_equal(tk_inode_of_path(at(path), &inode), 0);
	for (size_t i = 0; i < resolved->process_count; i++) {
		if (!memcmp(&resolved->processes[i].exe, &inode, sizeof(inode)))
			return &resolved->processes[i].process;
	}
	return NULL;
}

static void by_path(void **state)
{
	struct tk_problems problems = {0};
	struct tk_resolved *r = resolved("'process_sets': {"
					 "'one': {'processes': [{'path': '%/bin/tool'}, {'path': '%/gone'}]},"
					 "'many': {'processes': [{'path': '%/bin/*'}], 'integrity': false},"
					 "'through-a-link': {'processes': [{'path': '%/alias/li[n]k'}]},"
					 "'below': {'processes': [{'path': '%/opt/**/tool'}]}}",
					 &problems);

	assert_int_equal(r->process_count, 5);
	assert_int_equal(process_at(r, "/bin/tool")->sets[0], 1 | 2 | 4);
	assert_string_equal(process_at(r, "/bin/tool")->path, at("/bin/tool"));
	assert_string_equal(process_at(r, "/bin/tool")->set_names, "one,many,through-a-link");
	assert_int_equal(process_at(r, "/bin/other")->sets[0], 2);
	assert_int_equal(process_at(r, "/bin/loose")->sets[0], 2);
	assert_null(process_at(r, "/bin/data"));
	assert_int_equal(process_at(r, "/opt/deep/er/tool")->sets[0], 8);
	assert_int_equal(process_at(r, "/opt/open/tool")->sets[0], 8);
	assert_int_equal(problems.count, 1);
	assert_string_equal(problems.items[0].pointer, "/process_sets/one/processes/1");
	assert_non_null(strstr(problems.items[0].message, "no executable"));
	tk_problems_free(&problems);
	tk_resolved_free(r);
}

static void by_name(void **state)
{
	struct tk_problems problems = {0};
	struct tk_resolved *r =
		resolved("'process_sets': {"
			 "'t': {'processes': [{'name': 't*l'}]},"
			 "'o': {'processes': [{'name': 'o*', 'path': '%/bin/*'}, {'name': 'loose'}]},"
			 "'l': {'processes': [{'name': 'link'}]}}",
			 &problems);

	/* Not below open/, where anyone could have put it, not a file that others may write, not by a link's
	 * name. */
	assert_int_equal(r->process_count, 3);
	assert_int_equal(process_at(r, "/bin/tool")->sets[0], 1);
	assert_int_equal(process_at(r, "/opt/deep/er/tool")->sets[0], 1);
	assert_int_equal(process_at(r, "/bin/other")->sets[0], 2);
	assert_int_equal(problems.count, 2);
	assert_string_equal(problems.items[0].pointer, "/process_sets/o/processes/1");
	assert_string_equal(problems.items[1].pointer, "/process_sets/l/processes/0");
	tk_problems_free(&problems);
	tk_resolved_free(r);
}

/* An ancestor that others may write spoils the whole branch. */
static void by_name_under_a_writable_ancestor(void **state)
{
	struct tk_problems problems = {0};
	struct tk_resolved *r;

	assert_int_equal(chmod(root, 01777), 0);
	r = resolved("'process_sets': {'t': {'processes': [{'name': 'tool'}]}}", &problems);
	assert_int_equal(r->process_count, 0);
	assert_int_equal(problems.count, 1);
	assert_int_equal(chmod(root, 0755), 0);
	tk_problems_free(&problems);
	tk_resolved_free(r);
}

static void by_digest(void **state)
{
	struct tk_problems problems = {0};
	struct tk_resolved *r =
		resolved("'process_sets': {"
			 "'right': {'processes': [{'path': '%/bin/*', 'sha256':"
			 " 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'}]},"
			 "'wrong': {'processes': [{'name': 'tool', 'sha256':"
			 " '00000000000000000000000000000000000000000000000000000000000000ad'}]}}",
			 &problems);

	assert_int_equal(r->process_count, 1);
	assert_int_equal(process_at(r, "/bin/tool")->sets[0], 0);
	assert_int_equal(process_at(r, "/bin/tool")->digest_sets[0], 1);
	assert_string_equal(process_at(r, "/bin/tool")->set_names, "right");
	assert_true(r->processes[0].has_sha256);
	assert_int_equal(r->processes[0].sha256[31], 0xad);
	assert_int_equal(problems.count, 1);
	assert_non_null(strstr(problems.items[0].message, "with this digest"));
	tk_problems_free(&problems);
	tk_resolved_free(r);
}

/* Who executes what its group can write maps code of it. */
static void by_integrity(void **state)
{
	struct tk_problems problems = {0};
	struct tk_resolved *r = resolved("'process_sets': {"
					 "'kept': {'processes': [{'path': '%/bin/*o*'}]},"
					 "'asked-for': {'processes': [{'path': '%/bin/loose'}], 'integrity': true},"
					 "'free': {'processes': [{'path': '%/bin/loose'}], 'integrity': false}}",
					 &problems);

	assert_int_equal(process_at(r, "/bin/tool")->sets[0], 1);
	assert_int_equal(process_at(r, "/bin/other")->sets[0], 1);
	assert_int_equal(process_at(r, "/bin/loose")->sets[0], 4);
	assert_int_equal(problems.count, 2);
	assert_string_equal(problems.items[0].pointer, "/process_sets/kept/processes/0");
	assert_non_null(strstr(problems.items[0].message, "is no member: it is not root's"));
	assert_string_equal(problems.items[1].pointer, "/process_sets/asked-for/processes/0");
	tk_problems_free(&problems);
	tk_resolved_free(r);
}

static void accounts(void **state)
{
	struct tk_problems problems = {0};
	struct tk_resolved *r =
		resolved("'user_sets': {"
			 "'a': {'users': ['root', '4294967294'], 'groups': ['0']},"
			 "'b': {'users': ['0', 'no-such-user'], 'groups': ['no-such-group']}}",
			 &problems);

	assert_int_equal(r->user_count, 2);
	assert_int_equal(r->users[0].id, 0);
	assert_int_equal(r->users[0].sets.sets[0], 3);
	assert_string_equal(r->users[0].sets.name, "root");
	assert_string_equal(r->users[0].sets.set_names, "a,b");
	assert_int_equal(r->users[1].id, 4294967294u);
	assert_string_equal(r->users[1].sets.name, "4294967294");
	assert_int_equal(r->group_count, 1);
	assert_int_equal(r->groups[0].sets.sets[0], 1);
	assert_int_equal(problems.count, 2);
	assert_string_equal(problems.items[0].pointer, "/user_sets/b/users/1");
	assert_string_equal(problems.items[0].message, "no user \"no-such-user\" on this machine yet");
	assert_string_equal(problems.items[1].pointer, "/user_sets/b/groups/0");
	tk_problems_free(&problems);
	tk_resolved_free(r);
}

/* Map values must be zero behind their text, and cut text must end. */
static void cut_to_fit(void **state)
{
	struct tk_problems problems = {0};
	struct tk_resolved *r = resolved(
		"'user_sets': {"
		"'a23456789012345678901234567890123456789012345678901234567890123': {'users': ['0']},"
		"'b': {'users': ['0']}}",
		&problems);

	assert_int_equal(strlen(r->users[0].sets.set_names), 63);
	for (size_t i = strlen("root"); i < TK_NAME_MAX; i++)
		assert_int_equal(r->users[0].sets.name[i], 0);
	tk_problems_free(&problems);
	tk_resolved_free(r);
}

static int count_path(void *ctx, const char *path)
{
	(*(int *)ctx)++;
	return 0;
}

static void expanding(void **state)
{
	static const struct {
		const char *pattern;
		int count;
	} cases[] = {
		{"/bin", 1},	       {"/bin/tool", 1},      {"/bin/*", 5},   {"/*/tool", 2},
		{"/**/tool", 3},       {"/opt/**", 6},	      {"/none/*", 0},  {"/bin/to\\ol", 1},
		{"/[!a]*", 2},	       {"/opt/loop/deep", 1}, {"/opt/**r", 1}, {"/bin/tool/x", 0},
		{"/opt/*/er/t?ol", 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int count = 0;

		assert_int_equal(tk_glob_expand(at(cases[i].pattern), count_path, &count), 0);
		if (count != cases[i].count)
			fail_msg("%s: %d, not %d", cases[i].pattern, count, cases[i].count);
	}
	assert_int_equal(tk_glob_expand("relative", count_path, NULL), -EINVAL);
}

static void identity(void **state)
{
	struct tk_inode a, b;
	struct stat st;
	int fd = open(at("/bin/tool"), O_PATH | O_CLOEXEC);

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(tk_inode_of_fd(fd, &a), 0);
	assert_int_equal(tk_inode_of_path(at("/bin/link"), &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(a.ino, st.st_ino);
	assert_int_equal(tk_inode_of_path(at("/bin/other"), &b), 0);
	assert_int_equal(a.dev, b.dev);
	assert_int_not_equal(a.ino, b.ino);
	assert_int_equal(tk_inode_of_path(at("/none"), &b), -ENOENT);
	close(fd);
}

/* FIPS 180-4's own examples and the lengths around a block. */
static void digests(void **state)
{
	static const struct {
		const char *text;
		int repeat;
		const char *hex;
	} cases[] = {
		{"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
		{"a", 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
		{"a", 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
		{"a", 63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
		{"a", 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
		{"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = memfd_create("digest", MFD_CLOEXEC);
		FILE *file = fdopen(fd, "w");
		char hex[65] = "";
		uint8_t digest[32];

		for (int j = 0; j < cases[i].repeat; j++)
			fputs(cases[i].text, file);
		fflush(file);
		assert_int_equal(tk_sha256_fd(fd, digest), 0);
		for (int j = 0; j < 32; j++)
			sprintf(hex + 2 * j, "%02x", digest[j]);
		assert_string_equal(hex, cases[i].hex);
		fclose(file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_path),   cmocka_unit_test(by_name),
		cmocka_unit_test(by_digest), cmocka_unit_test(by_integrity), cmocka_unit_test(by_name_under_a_writable_ancestor),
		cmocka_unit_test(accounts),  cmocka_unit_test(cut_to_fit),
		cmocka_unit_test(expanding), cmocka_unit_test(identity),
		cmocka_unit_test(digests),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
