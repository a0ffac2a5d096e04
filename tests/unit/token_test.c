// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/token_test.c - policy keys in a token (SoftHSM, behind token_shim.c): they
 * wrap as the same key in a file does, and what goes wrong has its name.
 */
#include "tests/unit/crypto_test.h"

#include <pthread.h>

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>

static char dir[] = "/tmp/takakrypt-test-XXXXXX", shim[100], uri[500];
static CK_FUNCTION_LIST *module;
static CK_SESSION_HANDLE session;

static const char *in(const char *name)
{
	static char path[8][200];
	static unsigned int n;

	n = (n + 1) % 8;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return path[n];
}

static void put(const char *name, const char *text, mode_t mode)
{
	int fd;

	unlink(in(name));
	fd = open(in(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static size_t logins(void)
{
	struct stat st;

	return stat(in("logins"), &st) == 0 ? (size_t)st.st_size : 0;
}

/* The URI with what follows the token, static. */
static const char *uri_of(const char *object, const char *pin_source)
{
	snprintf(uri, sizeof(uri), "pkcs11:token=prod;object=%s;type=secret-key?module-path=%s&pin-source=%s",
		 object, shim, pin_source ? pin_source : in("pin"));
	return uri;
}

static int add(struct tk_keyring *ring, const char *object, const char **ret_why)
{
	*ret_why = "";
	return tk_keyring_add_token(ring, "k", uri_of(object, NULL), ret_why);
}

/* Straight into the token; key NULL: 32 random bytes. */
static void make_key(const char *label, const char *id, size_t id_len, const uint8_t *key, size_t len,
		     bool sensitive, bool extractable, bool wraps)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BBOOL yes = CK_TRUE, is_sensitive = sensitive, is_extractable = extractable, is_wrapping = wraps;
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof(class)},
		{CKA_KEY_TYPE, &type, sizeof(type)},
		{CKA_TOKEN, &yes, sizeof(yes)},
		{CKA_PRIVATE, &yes, sizeof(yes)},
		{CKA_SENSITIVE, &is_sensitive, sizeof(is_sensitive)},
		{CKA_EXTRACTABLE, &is_extractable, sizeof(is_extractable)},
		{CKA_WRAP, &is_wrapping, sizeof(is_wrapping)},
		{CKA_UNWRAP, &is_wrapping, sizeof(is_wrapping)},
		{CKA_LABEL, (void *)label, strlen(label)},
		{CKA_ID, (void *)id, id_len},
		{CKA_VALUE, (void *)key, len},
	};
	CK_OBJECT_HANDLE object;

	assert_int_equal(
		module->C_CreateObject(session, template, sizeof(template) / sizeof(template[0]), &object),
		CKR_OK);
}

static int set_up(void **state)
{
	CK_SLOT_ID slots[8];
	CK_ULONG n = 8;
	char command[600], text[300];

	snprintf(text, sizeof(text),
		 "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", dir);
	assert_int_equal(mkdir(in("tokens"), 0700), 0);
	put("conf", text, 0600);
	put("pin", "123456\n", 0600);
	put("wrong", "654321\n", 0600);
	setenv("SOFTHSM2_CONF", in("conf"), 1);
	setenv("TOKEN_SHIM", dir, 1);
	snprintf(command, sizeof(command),
		 "softhsm2-util --init-token --free --label prod --pin 123456 --so-pin 87654321 > /dev/null "
		 "&& "
		 "cp '%s' '%s/shim.so' && chmod 700 '%s/shim.so'",
		 shim, dir, dir);
	assert_int_equal(system(command), 0);
	snprintf(shim, sizeof(shim), "%s/shim.so", dir);

	module = p11_kit_module_load(shim, 0);
	assert_non_null(module);
	assert_int_equal(p11_kit_module_initialize(module), CKR_OK);
	assert_int_equal(module->C_GetSlotList(CK_TRUE, slots, &n), CKR_OK);
	for (CK_ULONG i = 0; i < n; i++) {
		CK_TOKEN_INFO info;

		assert_int_equal(module->C_GetTokenInfo(slots[i], &info), CKR_OK);
		if (memcmp(info.label, "prod ", 5) == 0)
			assert_int_equal(module->C_OpenSession(slots[i], CKF_SERIAL_SESSION | CKF_RW_SESSION,
							       NULL, NULL, &session),
					 CKR_OK);
	}
	assert_int_equal(module->C_Login(session, CKU_USER, (uint8_t *)"123456", 6), CKR_OK);
	make_key("payroll", "\1", 1, kek1, 32, true, false, true);
	make_key("two", "\0\1", 2, kek1, 32, true, false, true);
	make_key("two", "\2", 1, kek2, 32, true, false, true);
	make_key("plain", "", 0, kek1, 32, true, false, true);
	make_key("same", "\1", 1, kek1, 32, true, false, true);
	make_key("same", "", 0, kek2, 32, true, false, true);
	make_key("short", "\1", 1, kek1, 16, true, false, true);
	make_key("open", "\1", 1, kek1, 32, true, true, true);
	make_key("bare", "\1", 1, kek1, 32, false, false, true);
	make_key("useless", "\1", 1, kek1, 32, true, false, false);
	make_key("named", "abcde", 5, kek1, 32, true, false, true);
	make_key("zero", "\0\0", 2, kek1, 32, true, false, true);
	/* Each test logs in for itself. */
	assert_int_equal(module->C_Logout(session), CKR_OK);
	return 0;
}

static int tear_down(void **state)
{
	p11_kit_module_finalize(module);
	p11_kit_module_release(module);
	return 0;
}

/* ---------------------------------------------------------------- as a file */

static void test_same_as_file(void **state)
{
	struct tk_keyring *token = NULL, *file = ring_of("k", kek1);
	uint8_t key[32], wrapped[40], expected[40], back[32];
	const char *why;

	assert_int_equal(tk_keyring_new(&token), 0);
	assert_int_equal(add(token, "payroll", &why), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(tk_random(key, sizeof(key)), 0);
		assert_int_equal(tk_keyring_wrap(token, "k", 0, key, wrapped), 0);
		assert_int_equal(tk_keyring_wrap(file, "k", 0, key, expected), 0);
		assert_memory_equal(wrapped, expected, 40);
		memset(back, 0, sizeof(back));
		assert_int_equal(tk_keyring_unwrap(token, "k", 1, expected, back), 0);
		assert_memory_equal(back, key, 32);
	}
	/* What is not wrapped by it: the file's fault, and no failure of the token. */
	for (size_t i = 0; i < 40; i++) {
		struct tk_key_health health;

		expected[i] ^= 1;
		memset(back, 7, sizeof(back));
		assert_int_equal(tk_keyring_unwrap(token, "k", 1, expected, back), -TK_E_WRONG_KEY);
		assert_true(back[0] == 7 && back[31] == 7);
		expected[i] ^= 1;
		assert_int_equal(tk_keyring_health(token, "k", &health), 0);
		assert_int_equal(health.failures, 0);
	}
	assert_int_equal(tk_keyring_unwrap(token, "k", 2, expected, back), -TK_E_NO_KEY);
	/* The key itself nobody gets, so format 1 is not to be had. */
	assert_int_equal(tk_keyring_get(token, "k", 0, back), -EOPNOTSUPP);
	tk_keyring_free(token);
	tk_keyring_free(file);
}

static void test_files(void **state)
{
	struct tk_keyring *token = NULL, *file = ring_of("k", kek1);
	struct tk_params v2 = params_of(2, TK_AES_256_GCM, 12), v1 = params_of(1, TK_AES_256_GCM, 0);
	int plain = plaintext(100000), out = memfd(NULL, 0), sealed;
	const char *why;

	assert_int_equal(tk_keyring_new(&token), 0);
	assert_int_equal(add(token, "payroll", &why), 0);
	sealed = encrypted(token, &v2, plain);
	assert_int_equal(tk_decrypt_fd(file, sealed, 0, size_of(sealed), out, 0, NULL, NULL, NULL), 0);
	assert_same(plain, out);
	close(sealed);
	sealed = encrypted(file, &v2, plain);
	assert_int_equal(tk_verify_fd(token, sealed, 0, size_of(sealed), NULL, NULL), 0);
	assert_int_equal(tk_header_rewrap(token, sealed, 0, size_of(sealed), 0, NULL), 0);
	assert_int_equal(tk_verify_fd(file, sealed, 0, size_of(sealed), NULL, NULL), 0);
	close(sealed);
	assert_int_equal(tk_encrypt_fd(token, &v1, plain, 0, 100000, out, 0, NULL, NULL, NULL), -EOPNOTSUPP);
	sealed = encrypted(file, &v1, plain);
	assert_int_equal(tk_verify_fd(token, sealed, 0, size_of(sealed), NULL, NULL), -EOPNOTSUPP);
	close(sealed), close(plain), close(out);
	tk_keyring_free(token);
	tk_keyring_free(file);
}

static void test_versions(void **state)
{
	struct tk_keyring *ring = NULL, *second = ring_of("k", kek2);
	uint8_t key[32] = "a file key", wrapped[40], expected[40];
	const char *why;
	uint32_t v;

	assert_int_equal(tk_keyring_new(&ring), 0);
	assert_int_equal(add(ring, "plain", &why), 0);
	assert_int_equal(tk_keyring_current(ring, "k", &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(add(ring, "two", &why), 0);
	assert_int_equal(tk_keyring_current(ring, "k", &v), 0);
	assert_int_equal(v, 2);
	assert_int_equal(tk_keyring_wrap(ring, "k", 0, key, wrapped), 0);
	assert_int_equal(tk_keyring_wrap(second, "k", 0, key, expected), 0);
	assert_memory_equal(wrapped, expected, 40);
	assert_int_equal(tk_keyring_wrap(ring, "k", 1, key, wrapped), 0);
	assert_memory_not_equal(wrapped, expected, 40);

	static const struct {
		const char *object, *why;
		int err;
	} bad[] = {
		{"none", "no such key", -ENOKEY},    {"same", "same version", -ENOTUNIQ},
		{"short", "32 bytes", -EINVAL},	     {"open", "taken out", -EACCES},
		{"bare", "taken out", -EACCES},	     {"useless", "may not wrap", -EACCES},
		{"named", "id of the key", -EINVAL}, {"zero", "id of the key", -EINVAL},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(add(ring, bad[i].object, &why), bad[i].err);
		assert_non_null(strstr(why, bad[i].why));
		/* what the ring has stays */
		assert_int_equal(tk_keyring_wrap(ring, "k", 2, key, wrapped), 0);
		assert_memory_equal(wrapped, expected, 40);
	}
	assert_int_equal(tk_keyring_add(ring, "k", 3, kek1), -EOPNOTSUPP);
	tk_keyring_free(ring);
	tk_keyring_free(second);
}

/* ------------------------------------------------------------------ trouble */

static void test_removed(void **state)
{
	uint8_t key[32] = "a file key", wrapped[40] = "untouched", expected[40], back[32];
	struct tk_keyring *ring = NULL;
	struct tk_key_health health;
	const char *why;
	size_t before;

	assert_int_equal(tk_keyring_new(&ring), 0);
	put("removed", "", 0600);
	assert_int_equal(add(ring, "payroll", &why), -ENOMEDIUM);
	assert_non_null(strstr(why, "not there"));
	unlink(in("removed"));
	assert_int_equal(add(ring, "payroll", &why), 0);
	assert_int_equal(tk_keyring_wrap(ring, "k", 0, key, expected), 0);

	put("removed", "", 0600);
	assert_int_equal(tk_keyring_wrap(ring, "k", 0, key, wrapped), -ENOMEDIUM);
	assert_string_equal((char *)wrapped, "untouched");
	assert_int_equal(tk_keyring_unwrap(ring, "k", 1, expected, back), -ENOMEDIUM);
	assert_int_equal(tk_keyring_health(ring, "k", &health), 0);
	assert_int_equal(health.failures, 2);
	assert_non_null(strstr(health.why, "not there"));
	unlink(in("removed"));
	assert_int_equal(tk_keyring_unwrap(ring, "k", 1, expected, back), 0);
	assert_memory_equal(back, key, 32);
	assert_int_equal(tk_keyring_health(ring, "k", &health), 0);
	assert_int_equal(health.failures, 0);
	assert_true(health.last_failure && health.last_success >= health.last_failure);

	/* Its session lost, nobody notices. */
	before = logins();
	put("reset", "", 0600);
	assert_int_equal(tk_keyring_wrap(ring, "k", 0, key, wrapped), 0);
	assert_memory_equal(wrapped, expected, 40);
	assert_int_equal(logins(), before + 1);
	tk_keyring_free(ring);
}

static void test_pins(void **state)
{
	struct tk_keyring *ring = NULL;
	const char *why = NULL;
	size_t before = logins();

	assert_int_equal(tk_keyring_new(&ring), 0);
	/* Who has logged in is a property of the process; the keys of former tests did. */
	assert_int_equal(module->C_Logout(session), CKR_OK);
	assert_int_equal(tk_keyring_add_token(ring, "k", uri_of("payroll", in("wrong")), &why),
			 -EKEYREJECTED);
	assert_non_null(strstr(why, "refused the PIN"));
	assert_int_equal(logins(), before + 1);
	for (int i = 0; i < 20; i++)
		assert_int_equal(tk_keyring_add_token(ring, "k", uri_of("payroll", in("wrong")), &why),
				 -EKEYREJECTED);
	assert_int_equal(logins(), before + 1); /* not asked again */

	put("final", "", 0600);
	assert_int_equal(add(ring, "payroll", &why), -EKEYREJECTED);
	assert_non_null(strstr(why, "one more wrong PIN"));
	unlink(in("final"));
	put("locked", "", 0600);
	assert_int_equal(add(ring, "payroll", &why), -EKEYREJECTED);
	unlink(in("locked"));
	assert_int_equal(logins(), before + 1);
	assert_int_equal(add(ring, "payroll", &why), 0); /* the right one is */
	assert_int_equal(logins(), before + 2);

	put("bad", "123456\n", 0640);
	assert_int_equal(tk_keyring_add_token(ring, "k", uri_of("payroll", in("bad")), &why), -EACCES);
	put("bad", "", 0600);
	assert_int_equal(tk_keyring_add_token(ring, "k", uri_of("payroll", in("bad")), &why), -EINVAL);
	put("bad", "12\n34\n", 0600);
	assert_int_equal(tk_keyring_add_token(ring, "k", uri_of("payroll", in("bad")), &why), -EINVAL);
	assert_int_equal(tk_keyring_add_token(ring, "k", uri_of("payroll", in("none")), &why), -ENOENT);
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_int_equal(tk_keyring_add_token(ring, "k", uri_of("payroll", "credential:pin"), &why), -ENOENT);
	assert_non_null(strstr(why, "LoadCredential"));
	assert_int_equal(logins(), before + 2);
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	assert_int_equal(tk_keyring_add_token(ring, "k", uri_of("payroll", "credential:pin"), &why), 0);
	unsetenv("CREDENTIALS_DIRECTORY");
	tk_keyring_free(ring);
}

static void test_modules(void **state)
{
	struct tk_keyring *ring = NULL;
	const char *why = NULL;

	assert_int_equal(tk_keyring_new(&ring), 0);
	assert_int_equal(chmod(shim, 0720), 0);
	assert_int_equal(add(ring, "payroll", &why), -EACCES);
	assert_non_null(strstr(why, "changed by"));
	assert_int_equal(chmod(shim, 0700), 0);
	assert_int_equal(add(ring, "payroll", &why), 0);
	snprintf(uri, sizeof(uri), "pkcs11:token=prod;object=payroll?module-path=%s&pin-source=%s",
		 in("conf"), in("pin"));
	assert_int_equal(tk_keyring_add_token(ring, "k", uri, &why), -ELIBACC);
	assert_int_equal(
		tk_keyring_add_token(
			ring, "k", "pkcs11:token=prod;object=payroll?module-path=/none&pin-source=/p", &why),
		-ENOENT);
	tk_keyring_free(ring);
}

static void test_uris(void **state)
{
	static const struct {
		const char *uri, *why;
	} bad[] = {
		{"pkcs12:token=t", "no PKCS#11 URI"},
		{"pkcs11:token=%zz;object=k?module-path=/m&pin-source=/p", "no PKCS#11 URI"},
		{"pkcs11:token=t;object=k?module-path=/m&pin-source=/p&pin-value=1234", "pin-value"},
		{"pkcs11:token=t;object=k?module-path=/m&pin-value=1234", "pin-value"},
		{"pkcs11:token=t;object=k?pin-source=/p", "module-path"},
		{"pkcs11:token=t;object=k?module-path=m.so&pin-source=/p", "module-path"},
		{"pkcs11:token=t;object=k?module-path=/m", "pin-source"},
		{"pkcs11:token=t;object=k?module-path=/m&pin-source=%7C/bin/pin", "pin-source"},
		{"pkcs11:token=t;object=k?module-path=/m&pin-source=file:pin", "pin-source"},
		{"pkcs11:object=k?module-path=/m&pin-source=/p", "names no token"},
		{"pkcs11:token=t?module-path=/m&pin-source=/p", "names no key"},
		{"pkcs11:token=t;object=k;type=private?module-path=/m&pin-source=/p", "secret-key"},
	};
	static const char *const good[] = {
		"pkcs11:token=t;object=k?module-path=/m&pin-source=/p",
		"pkcs11:token=t;object=k;type=secret-key?module-path=/m&pin-source=file:/p",
		"pkcs11:serial=07;id=%01?module-path=/m&pin-source=file:///p",
		"pkcs11:model=x;token=two%20words;object=k?pin-source=credential:pin&module-path=%2Fm",
	};
	const char *why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = "";
		assert_int_equal(tk_key_uri_check(bad[i].uri, &why), -EINVAL);
		assert_non_null(strstr(why, bad[i].why));
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(tk_key_uri_check(good[i], &why), 0);
}

/* ------------------------------------------------------------ many at once */

static void *wrap_many(void *arg)
{
	uint8_t key[32], wrapped[40], back[32];

	for (int i = 0; i < 50; i++)
		if (tk_random(key, 32) || tk_keyring_wrap(arg, "k", 0, key, wrapped) ||
		    tk_keyring_unwrap(arg, "k", 1, wrapped, back) || memcmp(key, back, 32) != 0)
			return arg;
	return NULL;
}

/* While the key is replaced under them, as a reload does. */
static void test_threads(void **state)
{
	struct tk_keyring *ring = NULL;
	pthread_t threads[4];
	const char *why;
	void *failed;

	assert_int_equal(tk_keyring_new(&ring), 0);
	assert_int_equal(add(ring, "payroll", &why), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wrap_many, ring), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(add(ring, "payroll", &why), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	tk_keyring_free(ring);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_as_file), cmocka_unit_test(test_files),
		cmocka_unit_test(test_versions),     cmocka_unit_test(test_removed),
		cmocka_unit_test(test_pins),	     cmocka_unit_test(test_modules),
		cmocka_unit_test(test_uris),	     cmocka_unit_test(test_threads),
	};
	char command[200];
	int r;

	snprintf(shim, sizeof(shim), "%.*s/token_shim.so", (int)(strrchr(argv[0], '/') - argv[0]), argv[0]);
	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, set_up, tear_down);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command) || r;
}
