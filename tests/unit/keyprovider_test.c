// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/keyprovider_test.c - keys from systemd's credentials and from
 * commands: what they may say, what they are given, how often they are asked.
 */
#include "tests/unit/crypto_test.h"

#include <time.h>

static char dir[] = "/tmp/takakrypt-test-XXXXXX";

static const char *put(const char *name, const char *text, mode_t mode)
{
	static char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

/* The key that they all say: "the first versicn of a policy ke", one letter off kek1. */
#define KEY                                \
	"74686520666972737420766572736963" \
	"6e206f66206120706f6c696379206b65"

static void assert_key(const struct tk_keyring *ring, const char *id, const char *hex)
{
	uint8_t got[TK_KEK_SIZE];
	char text[2 * TK_KEK_SIZE + 1];

	assert_int_equal(tk_keyring_get(ring, id, 0, got), 0);
	for (size_t i = 0; i < sizeof(got); i++)
		sprintf(text + 2 * i, "%02x", got[i]);
	assert_string_equal(text, hex);
}

static void test_credential(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	struct tk_key_source source = {.provider = TK_PROVIDER_CREDENTIAL, .where = (char *)"payroll"};
	const char *why = NULL;

	unsetenv("CREDENTIALS_DIRECTORY");
	assert_int_equal(tk_keyring_add_source(ring, "c", &source, &why), -ENOENT);
	assert_non_null(strstr(why, "LoadCredential"));
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	assert_int_equal(tk_keyring_add_source(ring, "c", &source, &why), -ENOENT);
	put("payroll", KEY, 0400);
	assert_int_equal(tk_keyring_add_source(ring, "c", &source, &why), 0);
	assert_key(ring, "c", KEY);
	put("payroll", KEY, 0440);
	assert_int_equal(tk_keyring_add_source(ring, "c", &source, &why), -EACCES);
	static const char *const names[] = {"", ".", "..", "../payroll", "/etc/passwd"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(tk_keyring_add_credential(ring, "c", names[i], &why), -EINVAL);
	tk_keyring_free(ring);
}

/* Runs a script as the key's command in a ring of its own. */
static int try(const char *script, unsigned int timeout, const char **ret_why)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	const char *argv[] = {put("command", script, 0700), "an argument", NULL};
	int r = tk_keyring_add_command(ring, "c", argv, timeout, ret_why);

	if (r == 0)
		assert_key(ring, "c", KEY);
	tk_keyring_free(ring);
	return r;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_command(void **state)
{
	const char *why = NULL;
	double start;

	assert_int_equal(try("#!/bin/sh\necho " KEY "\n", 10, &why), 0);
	assert_int_equal(try("#!/bin/sh\nprintf %s " KEY "\n", 10, &why), 0);
	assert_int_equal(try("#!/bin/sh\nprintf 'the first versicn of a policy ke'\n", 10, &why), 0);
	assert_int_equal(try("#!/bin/sh\n[ \"$1\" = 'an argument' ] && echo " KEY "\n", 10, &why), 0);
	/* no input, no descriptors but three, nothing of this process's environment */
	setenv("TAKAKRYPT_TEST_SECRET", "x", 1);
	int leak = open("/dev/null", O_RDONLY); /* without close-on-exec */
	assert_true(leak > 2);
	assert_int_equal(try("#!/bin/sh\n[ -z \"$(cat)\" ] && [ -z \"$TAKAKRYPT_TEST_SECRET\" ] &&"
			     "set -- /proc/self/fd/* && [ ! -e /proc/$$/fd/3 ] && echo " KEY "\n",
			     10, &why),
			 0);
	close(leak);

	assert_int_equal(try("#!/bin/sh\necho " KEY "; exit 3\n", 10, &why), -EPROTO);
	assert_string_equal(why, "the key command failed");
	assert_int_equal(try("#!/bin/sh\nkill -9 $$\n", 10, &why), -EPROTO);
	assert_int_equal(try("#!/bin/sh\necho nonsense\n", 10, &why), -EINVAL);
	assert_int_equal(try("#!/bin/sh\nexit 0\n", 10, &why), -EINVAL);
	assert_int_equal(try("#!/bin/sh\ncat /dev/zero\n", 10, &why), -EINVAL);
	assert_non_null(strstr(why, "more than a key"));
	assert_int_equal(try("not a program", 10, &why), -ENOEXEC);
	start = seconds();
	assert_int_equal(try("#!/bin/sh\nsleep 1000 & sleep 1000\n", 1, &why), -ETIME);
	assert_true(seconds() - start > 2.5 && seconds() - start < 60);

	struct tk_keyring *ring = ring_of("k", kek1);
	const char *argv[] = {put("command", "#!/bin/sh\necho " KEY "\n", 0720), NULL};
	assert_int_equal(tk_keyring_add_command(ring, "a", argv, 10, &why), -EACCES);
	argv[0] = "sh";
	assert_int_equal(tk_keyring_add_command(ring, "b", argv, 10, &why), -EINVAL);
	argv[0] = "/none";
	assert_int_equal(tk_keyring_add_command(ring, "c", argv, 10, &why), -ENOENT);
	assert_int_equal(tk_keyring_add_command(ring, "c", argv, 0, &why), -EINVAL);
	assert_int_equal(tk_keyring_add_command(ring, "c d", argv, 1, &why), -EINVAL);
	tk_keyring_free(ring);
}

/* Where others could put something else in the command's place. */
static void test_command_place(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	char sub[200], path[220], link[220], key[220];
	const char *why = NULL, *argv[] = {path, NULL, NULL};

	snprintf(sub, sizeof(sub), "%s/sub", dir);
	snprintf(path, sizeof(path), "%s/command", sub);
	snprintf(link, sizeof(link), "%s/link", sub);
	assert_int_equal(mkdir(sub, 0700), 0);
	put("sub/command", "#!/bin/sh\necho " KEY "\n", 0700);
	assert_int_equal(tk_keyring_add_command(ring, "a", argv, 10, &why), 0);
	assert_int_equal(chmod(sub, 0777), 0);
	assert_int_equal(tk_keyring_add_command(ring, "b", argv, 10, &why), -EACCES);
	assert_non_null(strstr(why, "directory"));
	/* a link there, to where all is well; and one elsewhere to there */
	assert_int_equal(symlink("/bin/cat", link), 0);
	argv[0] = link;
	assert_int_equal(tk_keyring_add_command(ring, "c", argv, 10, &why), -EACCES);
	snprintf(link, sizeof(link), "%s/link", dir);
	assert_int_equal(symlink("sub/command", link), 0);
	assert_int_equal(tk_keyring_add_command(ring, "d", argv, 10, &why), -EACCES);
	assert_int_equal(chmod(sub, 01777), 0);
	assert_int_equal(tk_keyring_add_command(ring, "e", argv, 10, &why), 0);
	argv[0] = sub;
	assert_int_equal(tk_keyring_add_command(ring, "f", argv, 10, &why), -EACCES);
	/* a program, by its descriptor */
	snprintf(key, sizeof(key), "%s", put("key", KEY, 0600));
	argv[0] = "/bin/cat";
	argv[1] = key;
	assert_int_equal(tk_keyring_add_command(ring, "g", argv, 10, &why), 0);
	assert_key(ring, "g", KEY);
	tk_keyring_free(ring);
}

static size_t runs(void)
{
	char path[200];
	struct stat st;

	snprintf(path, sizeof(path), "%s/runs", dir);
	return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

static void test_breaker(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	struct tk_key_health health;
	time_t began = time(NULL);
	char script[500];
	const char *why, *argv[2] = {};
	int r;

	assert_int_equal(tk_keyring_health(ring, "k", &health), -TK_E_NO_KEY);
	/* fails five times, then works */
	snprintf(script, sizeof(script),
		 "#!/bin/sh\nprintf x >> %s/runs; [ $(wc -c < %s/runs) -gt 5 ] && echo " KEY "\n", dir, dir);
	argv[0] = put("command", script, 0700);
	assert_int_equal(tk_keyring_add_command(ring, "k", argv, 10, &why), -EPROTO);
	assert_int_equal(runs(), 3);
	assert_int_equal(tk_keyring_health(ring, "k", &health), 0);
	assert_int_equal(health.failures, 1);
	assert_string_equal(health.why, "the key command failed");
	assert_true(health.last_failure >= began && health.last_success == 0);
	assert_key(ring, "k",
		   "74686520666972737420766572736"
		   "96f6e206f66206120706f6c696379206b65"); /* kept */
	if (health.open) {
		assert_int_equal(health.retry_seconds, 1);
		r = tk_keyring_add_command(ring, "k", argv, 10, &why);
		assert_true(r == -EAGAIN || r == 0); /* r == 0: this machine stood still for a second */
		assert_int_equal(runs(), r ? 3 : 6);
	}
	while ((r = tk_keyring_add_command(ring, "k", argv, 10, &why)) == -EAGAIN)
		usleep(20000);
	assert_int_equal(r, 0);
	assert_int_equal(runs() >= 6, 1);
	assert_key(ring, "k", KEY);
	assert_int_equal(tk_keyring_health(ring, "k", &health), 0);
	assert_false(health.open);
	assert_int_equal(health.failures, 0);
	assert_null(health.why);
	assert_true(health.last_failure >= began && health.last_success >= health.last_failure);
	tk_keyring_free(ring);
}

/* A file has no breaker, but the same account is kept of it. */
static void test_health_of_file(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	struct tk_key_source source = {.provider = TK_PROVIDER_FILE, .where = (char *)put("key", KEY, 0600)};
	struct tk_key_health health;
	const char *why;

	assert_int_equal(tk_keyring_add_source(ring, "k", &source, &why), 0);
	assert_int_equal(tk_keyring_health(ring, "k", &health), 0);
	assert_true(health.last_success && !health.last_failure && !health.why);
	assert_int_equal(chmod(source.where, 0640), 0);
	for (unsigned int i = 1; i < 4; i++) {
		assert_int_equal(tk_keyring_add_source(ring, "k", &source, &why), -EACCES);
		assert_int_equal(tk_keyring_health(ring, "k", &health), 0);
		assert_int_equal(health.failures, i);
		assert_false(health.open);
		assert_string_equal(health.why, why);
	}
	assert_key(ring, "k", KEY);
	assert_int_equal(chmod(source.where, 0600), 0);
	assert_int_equal(tk_keyring_add_source(ring, "k", &source, &why), 0);
	assert_int_equal(tk_keyring_health(ring, "k", &health), 0);
	assert_true(health.last_failure && !health.failures && !health.why);
	assert_int_equal(tk_keyring_add_source(ring, "a b", &source, &why), -EINVAL);
	tk_keyring_free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_credential),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_command_place),
		cmocka_unit_test(test_breaker),
		cmocka_unit_test(test_health_of_file),
	};
	char command[200];
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command) || r;
}
