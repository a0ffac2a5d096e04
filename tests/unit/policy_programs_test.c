// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/policy_programs_test.c - programs that are replaced: when it shows that it is
 * worth looking again, what is found then, and what is read for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/policy/internal.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char root[] = "/tmp/tk-programs-XXXXXX";

static const char *at(const char *name)
{
	static char buf[4][256];
	static int turn;
	char *out = buf[turn++ % 4];

	snprintf(out, sizeof(buf[0]), "%s/%s", root, name);
	return out;
}

static void make(const char *name, const char *text)
{
	int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, 0755), 0);
	close(fd);
}

/* As package managers do it. */
static void replace(const char *name, const char *text)
{
	make("new", text);
	assert_int_equal(rename(at("new"), at(name)), 0);
}

static struct tk_compiled *compiled(const char *processes)
{
	struct tk_problems problems = {0};
	struct tk_compiled *result = NULL;
	char text[1024], *out = text;

	out += sprintf(out, "{\"version\": 1, \"guard_points\": [], \"process_sets\": {\"p\": {\"processes\": [");
	for (const char *p = processes; *p; p++)
		if (*p == '%')
			out = stpcpy(out, root);
		else
			*out++ = *p == '\'' ? '"' : *p;
	strcpy(out, "]}}}");
	assert_int_equal(tk_policy_compile(text, strlen(text), &result, &problems), 0);
	tk_problems_free(&problems);
	return result;
}

static const char *const nowhere[] = {NULL};

static struct tk_resolved *found(const struct tk_compiled *policy, struct tk_digests *digests)
{
	const struct tk_search search = {nowhere, nowhere, root, getuid()};
	struct tk_problems problems = {0};
	struct tk_resolved *result = NULL;

	assert_int_equal(tk_resolve_programs_in(policy, &search, digests, &result, &problems), 0);
	tk_problems_free(&problems);
	return result;
}

static int setup(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static void stamps(void **state)
{
	struct tk_compiled *policy = compiled("{'path': '%/tool'}, {'path': '%/g*'}, {'path': '%/link'}, {'path': '%/later'}");
	uint64_t stamp, again;

	make("tool", "one");
	make("glob", "one");
	make("actual", "one");
	make("other", "one");
	assert_int_equal(symlink("actual", at("link")), 0);
	stamp = tk_programs_stamp(policy);
	assert_true(tk_programs_stamp(policy) == stamp);
	make("beside", "nothing to do with it");
	assert_true(tk_programs_stamp(policy) == stamp);

#define SHOWS(change) \
	do {                                             \
		assert_int_equal((change), 0);           \
		again = tk_programs_stamp(policy);       \
		assert_true(again != stamp);             \
		assert_true(tk_programs_stamp(policy) == again); \
		stamp = again;                           \
	} while (0)
	SHOWS((replace("tool", "one"), 0));
	SHOWS((replace("glob", "one"), 0));
	SHOWS((replace("actual", "one"), 0));
	SHOWS(unlink(at("link")) || symlink("other", at("link")));
	SHOWS((replace("later", "one"), 0));
	SHOWS((replace("gone", "one"), 0));
	SHOWS(rename(at("tool"), at("away")));
	SHOWS(rename(at("away"), at("tool")));
	SHOWS(chmod(at("tool"), 0644));
	SHOWS(unlink(at("glob")));
	tk_compiled_free(policy);
}

static bool is_found(const struct tk_compiled *policy, struct tk_digests *digests, const char *name)
{
	struct tk_resolved *resolved = found(policy, digests);
	struct tk_inode inode;
	bool is = false;

	assert_int_equal(tk_inode_of_path(at(name), &inode), 0);
	for (size_t i = 0; i < resolved->process_count; i++)
		is |= !memcmp(&resolved->processes[i].exe, &inode, sizeof(inode)) &&
		      !strcmp(resolved->processes[i].path, at(name)) && resolved->processes[i].process.digest_sets[0] == 1;
	tk_resolved_free(resolved);
	return is;
}

static void replaced(void **state)
{
	struct tk_compiled *policy = compiled("{'path': '%/measured', 'sha256': '" ABC "'}");
	struct tk_digests *digests = tk_digests_new();

	replace("measured", "abc");
	assert_true(is_found(policy, digests, "measured"));
	assert_true(is_found(policy, digests, "measured"));
	replace("measured", "abd");
	assert_false(is_found(policy, digests, "measured"));
	assert_false(is_found(policy, digests, "measured"));
	replace("measured", "abc");
	assert_true(is_found(policy, digests, "measured"));
	make("measured", "abd"); /* written to, the inode is the same */
	assert_false(is_found(policy, digests, "measured"));
	tk_digests_free(digests);
	tk_compiled_free(policy);
}

/* A file is read once for as long as it is asked for and has not changed. */
static void read_once(void **state)
{
	struct tk_digests *digests = tk_digests_new();
	uint8_t first[32], second[32];
	struct stat st;
	int one, two;

	make("once", "abc");
	make("twice", "abd");
	one = open(at("once"), O_PATH | O_CLOEXEC);
	two = open(at("twice"), O_PATH | O_CLOEXEC);
	assert_int_equal(fstat(one, &st), 0);
	assert_int_equal(tk_digest_of(digests, one, &st, first), 0);
	assert_int_equal(first[0], 0xba);
	/* Another file of which it is said that it is the same: who reads it would see the difference. */
	for (int turn = 0; turn < 3; turn++) {
		assert_int_equal(tk_digest_of(digests, two, &st, second), 0);
		assert_memory_equal(first, second, sizeof(first));
		assert_int_equal(tk_digest_of(digests, two, &st, second), 0);
		assert_memory_equal(first, second, sizeof(first));
		tk_digests_turn(digests);
	}
	st.st_ctim.tv_nsec ^= 1;
	assert_int_equal(tk_digest_of(digests, two, &st, second), 0);
	assert_memory_not_equal(first, second, sizeof(first));
	/* What nobody asked for through a whole turn is forgotten. */
	st.st_ctim.tv_nsec ^= 1;
	tk_digests_turn(digests);
	tk_digests_turn(digests);
	assert_int_equal(tk_digest_of(digests, two, &st, second), 0);
	assert_memory_not_equal(first, second, sizeof(first));
	assert_int_equal(tk_digest_of(NULL, one, &st, second), 0);
	assert_memory_equal(first, second, sizeof(first));
	close(one);
	close(two);
	tk_digests_free(digests);
}

static void shared(void **state)
{
	struct tk_compiled *policy = compiled("{'path': '%/tool'}"), *other = tk_compiled_share(policy);

	tk_compiled_free(policy);
	assert_int_equal(other->process_count, 1);
	assert_string_equal(other->process_sets[0], "p");
	tk_compiled_free(other);
}

/* A path that is too long for what the programs show is whole where the file is looked up again. */
static void long_path(void **state)
{
	char name[150], processes[256];
	struct tk_compiled *policy;
	struct tk_resolved *resolved;

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	make(name, "long");
	snprintf(processes, sizeof(processes), "{'path': '%%/%s'}", name);
	policy = compiled(processes);
	resolved = found(policy, NULL);
	assert_int_equal(resolved->process_count, 1);
	assert_int_equal(strlen(resolved->processes[0].process.path), TK_EXE_MAX - 1);
	assert_int_equal(strlen(resolved->processes[0].path), strlen(root) + 1 + strlen(name));
	tk_resolved_free(resolved);
	tk_compiled_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stamps), cmocka_unit_test(replaced),  cmocka_unit_test(read_once),
		cmocka_unit_test(shared), cmocka_unit_test(long_path),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
