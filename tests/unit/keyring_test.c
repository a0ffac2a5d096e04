// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/keyring_test.c - policy keys out of files and directories, their
 * versions, and the primitives and words beneath the format.
 */
#include "tests/unit/crypto_test.h"

#include "crypto/aead.h"

static char *dir_new(void)
{
	char *dir = strdup("/tmp/takakrypt-test-XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static void dir_remove(char *dir)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
	free(dir);
}

static const char *put(const char *dir, const char *name, const void *data, size_t len, mode_t mode)
{
	static char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static void assert_key(const struct tk_keyring *ring, const char *id, uint32_t version, const uint8_t *kek)
{
	uint8_t got[TK_KEK_SIZE];

	assert_int_equal(tk_keyring_get(ring, id, version, got), 0);
	assert_memory_equal(got, kek, TK_KEK_SIZE);
}

static void refused(struct tk_keyring *ring, const char *path, int err)
{
	const char *why = NULL;
	uint32_t v;

	assert_int_equal(tk_keyring_add_file(ring, "k", path, &why), err);
	assert_non_null(why);
	assert_int_equal(tk_keyring_add_file(ring, "k", path, NULL), err);
	assert_int_equal(tk_keyring_current(ring, "k", &v), 0);
	assert_key(ring, "k", 0, kek1); /* what was there still is */
}

static void hex_of(const uint8_t *kek, char hex[66])
{
	for (size_t i = 0; i < TK_KEK_SIZE; i++)
		sprintf(hex + 2 * i, i % 2 ? "%02x" : "%02X", kek[i]);
	strcpy(hex + 64, "\n");
}

static void test_key_files(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	char *dir = dir_new(), hex[66];

	hex_of(kek2, hex);
	assert_int_equal(tk_keyring_add_file(ring, "raw", put(dir, "a", kek2, 32, 0600), NULL), 0);
	assert_key(ring, "raw", 1, kek2);
	assert_int_equal(tk_keyring_add_file(ring, "hex", put(dir, "a", hex, 64, 0400), NULL), 0);
	assert_key(ring, "hex", 1, kek2);
	assert_int_equal(tk_keyring_add_file(ring, "nl", put(dir, "a", hex, 65, 0600), NULL), 0);
	assert_key(ring, "nl", 0, kek2);
	/* replaces a former one */
	assert_int_equal(tk_keyring_add_file(ring, "nl", put(dir, "a", kek1, 32, 0600), NULL), 0);
	assert_key(ring, "nl", 1, kek1);

	refused(ring, put(dir, "a", kek2, 31, 0600), -EINVAL);
	refused(ring, put(dir, "a", "", 0, 0600), -EINVAL);
	refused(ring, put(dir, "a", hex, 33, 0600), -EINVAL);
	refused(ring, put(dir, "a", hex, 63, 0600), -EINVAL);
	refused(ring, put(dir, "a", hex, 66, 0600), -EINVAL); /* the newline, then a NUL */
	hex[64] = 'x';
	refused(ring, put(dir, "a", hex, 65, 0600), -EINVAL);
	hex[10] = 'g';
	refused(ring, put(dir, "a", hex, 64, 0600), -EINVAL);
	for (mode_t bit = 1; bit < 0100; bit <<= 1)
		refused(ring, put(dir, "a", kek2, 32, 0600 | bit), -EACCES);
	if (geteuid() == 0) {
		const char *path = put(dir, "a", kek2, 32, 0600);

		assert_int_equal(chown(path, 12345, 12345), 0);
		refused(ring, path, -EACCES);
	}
	refused(ring, "/nonexistent/key", -ENOENT);
	refused(ring, "/dev/null", -EINVAL);
	assert_int_equal(tk_keyring_add_file(ring, "a b", put(dir, "a", kek2, 32, 0600), NULL), -EINVAL);
	dir_remove(dir);
	tk_keyring_free(ring);
}

static void test_key_directories(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	char *dir = dir_new(), hex[66];
	uint32_t v = 0;

	hex_of(kek2, hex);
	refused(ring, dir, -ENOENT); /* empty */
	put(dir, "9", kek1, 32, 0600);
	put(dir, "10", hex, 65, 0600);
	put(dir, ".hidden", "", 0, 0644);
	assert_int_equal(tk_keyring_add_file(ring, "d", dir, NULL), 0);
	assert_int_equal(tk_keyring_current(ring, "d", &v), 0);
	assert_int_equal(v, 10);
	assert_key(ring, "d", 0, kek2);
	assert_key(ring, "d", 9, kek1);
	assert_int_equal(tk_keyring_get(ring, "d", 1, (uint8_t[TK_KEK_SIZE]){0}), -TK_E_NO_KEY);

	put(dir, "10", hex, 65, 0640);
	refused(ring, dir, -EACCES);
	put(dir, "10", hex, 65, 0600);
	static const char *const names[] = {"0", "01", "1a", "current", "4294967296", "-1"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[200];

		strcpy(path, put(dir, names[i], kek1, 32, 0600));
		refused(ring, dir, -EINVAL);
		unlink(path);
	}
	assert_int_equal(chmod(dir, 0777), 0);
	refused(ring, dir, -EACCES);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(tk_keyring_add_file(ring, "d", dir, NULL), 0);
	dir_remove(dir);
	tk_keyring_free(ring);
}

static void test_key_versions(void **state)
{
	struct tk_keyring *ring = NULL;
	uint8_t kek[TK_KEK_SIZE];
	uint32_t v = 77;

	tk_keyring_free(NULL);
	assert_int_equal(tk_keyring_new(&ring), 0);
	assert_int_equal(tk_keyring_current(ring, "k", &v), -TK_E_NO_KEY);
	assert_int_equal(v, 77);
	assert_int_equal(tk_keyring_add(ring, "k", 0, kek1), -EINVAL);
	for (uint32_t n = 200; n > 0; n--) {
		memset(kek, (int)n, sizeof(kek));
		assert_int_equal(tk_keyring_add(ring, "k", n * 3, kek), 0);
	}
	assert_int_equal(tk_keyring_current(ring, "k", &v), 0);
	assert_int_equal(v, 600);
	for (uint32_t n = 1; n <= 200; n++) {
		memset(kek, (int)n, sizeof(kek));
		assert_key(ring, "k", n * 3, kek);
		assert_int_equal(tk_keyring_get(ring, "k", n * 3 + 1, kek), -TK_E_NO_KEY);
	}
	assert_int_equal(tk_keyring_add(ring, "k", 3, kek1), 0); /* replaces */
	assert_key(ring, "k", 3, kek1);
	tk_keyring_free(ring);
}

/* ------------------------------------------------------- primitives, words */

/* RFC 3394, 4.6. */
static void test_key_wrap(void **state)
{
	static const uint8_t expected[40] = {0x28, 0xc9, 0xf4, 0x04, 0xc4, 0xb8, 0x10, 0xf4, 0xcb, 0xcc,
					     0xb3, 0x5c, 0xfb, 0x87, 0xf8, 0x26, 0x3f, 0x57, 0x86, 0xe2,
					     0xd8, 0x0e, 0xd3, 0x26, 0xcb, 0xc7, 0xf0, 0xe7, 0x1a, 0x99,
					     0xf4, 0x3b, 0xfb, 0x98, 0x8b, 0x9b, 0x7a, 0x02, 0xdd, 0x21};
	uint8_t kek[32], key[32], wrapped[40], got[32] = {0};

	for (int i = 0; i < 32; i++) {
		kek[i] = (uint8_t)i;
		key[i] = (uint8_t)(i < 16 ? i * 0x11 : i - 16);
	}
	assert_int_equal(tk_key_wrap(kek, key, wrapped), 0);
	assert_memory_equal(wrapped, expected, 40);
	assert_int_equal(tk_key_unwrap(kek, wrapped, got), 0);
	assert_memory_equal(got, key, 32);
	memset(got, 0, sizeof(got));
	wrapped[39] ^= 1;
	assert_int_equal(tk_key_unwrap(kek, wrapped, got), -TK_E_WRONG_KEY);
	assert_memory_equal(got, ((uint8_t[32]){0}), 32);
}

static void test_words(void **state)
{
	enum tk_algorithm a = 0;

	for (int e = TK_E_FIRST; e <= TK_E_LAST; e++) {
		assert_non_null(tk_error_name(-e));
		assert_true(strlen(tk_strerror(-e)) > 10);
	}
	assert_null(tk_error_name(0));
	assert_null(tk_error_name(-ENOENT));
	assert_null(tk_error_name(-TK_E_LAST - 1));
	assert_string_equal(tk_error_name(-TK_E_NO_KEY), "no_key");
	assert_string_equal(tk_strerror(-ENOENT), strerror(ENOENT));
	assert_string_equal(tk_strerror(INT32_MIN), "unknown error");
	assert_int_equal(tk_algorithm_parse("chacha20-poly1305", &a), 0);
	assert_int_equal(a, TK_CHACHA20_POLY1305);
	assert_int_equal(tk_algorithm_parse("aes-128-gcm", &a), -EINVAL);
	assert_null(tk_algorithm_name(3));
	assert_true(tk_is_taka("TAKA", 4));
	assert_false(tk_is_taka("TAKA", 3));
	assert_false(tk_is_taka("TAKB", 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_files),    cmocka_unit_test(test_key_directories),
		cmocka_unit_test(test_key_versions), cmocka_unit_test(test_key_wrap),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
