// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/secrets_test.c - where key bytes are and are not: in a core dump, and
 * in the memory of a process as another one reads it.  Each search is also made in
 * a process that protects nothing, and has to find the bytes there.
 *
 * The process searched is this program executed anew ("hold" or "leak"), because
 * a fork would have the parent's copies.
 */
#include "tests/unit/crypto_test.h"

#include <glob.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "crypto/aead.h"

static char dir[] = "/tmp/takakrypt-test-XXXXXX";

/* --------------------------------------------------- the process searched */

/* With the library: a key from a file, a file encrypted and decrypted, another key let go. */
static int hold(const char *key, const char *gone)
{
	const struct tk_params params = params_of(2, TK_AES_256_GCM, 12);
	struct tk_keyring *ring, *former;
	int in = memfd_create("in", 0), out = memfd_create("out", 0), sealed;
	uint64_t size;

	sealed = open("sealed", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (sealed < 0 || ftruncate(in, 3 << 20) < 0 || tk_keyring_new(&ring) || tk_keyring_new(&former) ||
	    tk_keyring_add_file(ring, "k", key, NULL) || tk_keyring_add_file(former, "k", gone, NULL))
		return 1;
	tk_keyring_free(former);
	if (tk_encrypt_fd(ring, &params, in, 0, 3 << 20, sealed, 0, NULL, NULL, &size) ||
	    tk_decrypt_fd(ring, sealed, 0, size, out, 0, NULL, NULL, NULL))
		return 1;
	return 0;
}

static uint8_t *leaked[2];

/* The same bytes in ordinary memory. */
static int leak(const char *key, const char *gone)
{
	const char *const paths[] = {key, gone};

	for (int i = 0; i < 2; i++) {
		int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

		leaked[i] = malloc(TK_KEK_SIZE);
		if (fd < 0 || !leaked[i] || read(fd, leaked[i], TK_KEK_SIZE) != TK_KEK_SIZE)
			return 1;
		close(fd);
	}
	return 0;
}

static int searched(char **argv)
{
	struct rlimit core = {RLIM_INFINITY, RLIM_INFINITY};

	(void)setrlimit(RLIMIT_CORE, &core);
	if (strcmp(argv[1], "hold") == 0 ? hold(argv[2], argv[3]) : leak(argv[2], argv[3]))
		return 1;
	if (write(STDOUT_FILENO, "r", 1) != 1)
		return 1;
	for (;;)
		pause();
}

/* ----------------------------------------------------------- the searching */

static uint8_t key_bytes[TK_KEK_SIZE], gone_bytes[TK_KEK_SIZE];

static pid_t start(const char *how)
{
	int fds[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* a failed assertion must not leave it behind */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || dup2(fds[1], 1) < 0 || chdir(dir) < 0)
			_exit(1);
		execl("/proc/self/exe", "secrets_test", how, "key", "gone", NULL);
		_exit(1);
	}
	close(fds[1]);
	if (read(fds[0], &c, 1) != 1)
		fail_msg("the process to be searched ended early");
	close(fds[0]);
	return pid;
}

static void stop(pid_t pid, int sig)
{
	kill(pid, sig);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

struct hits {
	int locked, elsewhere;
};

/* Through /proc/PID/mem; locked: in mappings that are neither swapped (lo) nor dumped (dd). */
static struct hits search_memory(pid_t pid, const uint8_t *bytes, size_t len)
{
	struct hits hits = {};
	unsigned long from = 0, to = 0;
	char path[64], line[512], perms[8];
	FILE *maps;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	maps = fopen(path, "re");
	assert_non_null(maps);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long a, b;
		uint8_t *copy, *p;
		ssize_t n;

		if (sscanf(line, "%lx-%lx %7s", &a, &b, perms) == 3) {
			from = a;
			to = b;
			continue;
		}
		/* The last line of each mapping. */
		if (strncmp(line, "VmFlags:", 8) != 0 || perms[0] != 'r')
			continue;
		copy = malloc(to - from);
		assert_non_null(copy);
		n = pread(mem, copy, to - from, (off_t)from);
		for (p = copy; n > 0 && (p = memmem(p, (size_t)(copy + n - p), bytes, len)); p++) {
			if (strstr(line, " lo") && strstr(line, " dd"))
				hits.locked++;
			else
				hits.elsewhere++;
		}
		tk_wipe(copy, to - from);
		free(copy);
	}
	fclose(maps);
	close(mem);
	return hits;
}

static void test_memory(void **state)
{
	uint8_t header_key[32], body_key[32], dek[32], *sealed;
	struct tk_header h;
	struct hits hits;
	char path[200];
	size_t len;
	pid_t pid;
	int fd;

	pid = start("leak");
	assert_int_equal(search_memory(pid, key_bytes, TK_KEK_SIZE).elsewhere, 1);
	assert_int_equal(search_memory(pid, gone_bytes, TK_KEK_SIZE).elsewhere, 1);
	stop(pid, SIGKILL);

	pid = start("hold");
	hits = search_memory(pid, key_bytes, TK_KEK_SIZE);
	assert_int_equal(hits.locked, 1);
	assert_int_equal(hits.elsewhere, 0);
	hits = search_memory(pid, gone_bytes, TK_KEK_SIZE);
	assert_int_equal(hits.locked + hits.elsewhere, 0);

	/* the keys of the file that it wrote and read */
	snprintf(path, sizeof(path), "%s/sealed", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	sealed = contents(fd, &len);
	assert_int_equal(tk_header_parse(sealed, len, len, &h), 0);
	assert_int_equal(tk_key_unwrap(key_bytes, h.wrapped_key, dek), 0);
	assert_int_equal(tk_hkdf_expand(dek, "takakrypt v2 header", header_key), 0);
	assert_int_equal(tk_hkdf_expand(dek, "takakrypt v2 body", body_key), 0);
	const uint8_t *const keys[] = {dek, header_key, body_key};
	for (size_t i = 0; i < 3; i++) {
		/* half of it is as good as all of it to whoever finds it */
		for (size_t half = 0; half < 32; half += 16) {
			hits = search_memory(pid, keys[i] + half, 16);
			if (hits.locked + hits.elsewhere)
				fail_msg("key %zu, half %zu: %d times in locked memory, %d times elsewhere",
					 i, half / 16, hits.locked, hits.elsewhere);
		}
	}
	stop(pid, SIGKILL);
	free(sealed);
	close(fd);
}

/* -1: no core was written. */
static int search_core(const char *how)
{
	char pattern[200];
	pid_t pid = start(how);
	int found = -1;
	glob_t g;

	stop(pid, SIGABRT);
	snprintf(pattern, sizeof(pattern), "%s/core*", dir);
	if (glob(pattern, 0, NULL, &g) == 0) {
		int fd = open(g.gl_pathv[0], O_RDONLY | O_CLOEXEC);
		uint8_t *core;
		size_t len;

		assert_true(fd >= 0);
		core = contents(fd, &len);
		assert_true(len > 4096);
		found = memmem(core, len, key_bytes, TK_KEK_SIZE) ||
			memmem(core, len, gone_bytes, TK_KEK_SIZE);
		free(core);
		close(fd);
		unlink(g.gl_pathv[0]);
		globfree(&g);
	}
	return found;
}

static void test_core(void **state)
{
	int found = search_core("leak");

	if (found < 0) {
		print_message("cores do not go to the working directory here: %s\n",
			      "see /proc/sys/kernel/core_pattern");
		skip();
	}
	assert_int_equal(found, 1);
	assert_int_equal(search_core("hold"), 0);
}

static void put(const char *name, uint8_t bytes[TK_KEK_SIZE])
{
	char path[200];
	int fd;

	assert_int_equal(tk_random(bytes, TK_KEK_SIZE), 0);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, TK_KEK_SIZE), TK_KEK_SIZE);
	close(fd);
}

static int setup(void **state)
{
	assert_non_null(mkdtemp(dir));
	put("key", key_bytes);
	put("gone", gone_bytes);
	return 0;
}

static int teardown(void **state)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_core),
	};

	if (argc == 4)
		return searched(argv);
	return cmocka_run_group_tests(tests, setup, teardown);
}
