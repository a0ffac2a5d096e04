// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/reencrypt_test.c - a new file key for a file: the same content and
 * length, and nothing that the old file key opens.
 */
#include "tests/unit/crypto_test.h"

#include "crypto/aead.h"

static struct tk_keyring *two_versions(void)
{
	struct tk_keyring *ring = ring_of("k", kek1);

	assert_int_equal(tk_keyring_add(ring, "k", 2, kek2), 0);
	return ring;
}

static int sealed_under(const struct tk_keyring *ring, uint32_t key_version, enum tk_algorithm algorithm,
			int plain)
{
	struct tk_params params = params_of(2, algorithm, 12);

	params.key_version = key_version;
	return encrypted(ring, &params, plain);
}

static int reencrypt(const struct tk_keyring *ring, uint32_t version, int in, int out)
{
	return tk_reencrypt_fd(ring, version, in, 0, size_of(in), out, 0, NULL, NULL, NULL);
}

static int opened(const struct tk_keyring *ring, int sealed, int out)
{
	return tk_decrypt_fd(ring, sealed, 0, size_of(sealed), out, 0, NULL, NULL, NULL);
}

static void file_key(int fd, const uint8_t *kek, uint8_t key[32])
{
	struct tk_header h;

	assert_int_equal(tk_header_read(fd, 0, size_of(fd), &h), 0);
	assert_int_equal(tk_key_unwrap(kek, h.wrapped_key, key), 0);
}

static void one_size(const struct tk_keyring *ring, enum tk_algorithm algorithm, size_t size)
{
	int plain = plaintext(size), old = sealed_under(ring, 1, algorithm, plain), fresh = memfd(NULL, 0);
	int back = memfd(NULL, 0), mixed = memfd(NULL, 0);
	uint8_t old_key[32], new_key[32], *a, *b;
	size_t alen, blen;
	struct tk_header h;

	assert_int_equal(reencrypt(ring, 0, old, fresh), 0);
	assert_int_equal(size_of(fresh), size_of(old));
	assert_int_equal(tk_header_read(fresh, 0, size_of(fresh), &h), 0);
	assert_int_equal(h.key_version, 2);
	assert_int_equal(h.algorithm, algorithm);
	assert_int_equal(h.chunk_log2, 12);
	assert_string_equal(h.key_id, "k");
	assert_int_equal(opened(ring, fresh, back), 0);
	assert_same(plain, back);

	file_key(old, kek1, old_key);
	file_key(fresh, kek2, new_key);
	assert_memory_not_equal(old_key, new_key, 32);
	a = contents(old, &alen);
	b = contents(fresh, &blen);
	for (size_t at = TK_HEADER_V2_SIZE; at + 12 <= alen; at += 4096 + 28)
		assert_memory_not_equal(a + at, b + at, 12);
	/* The old file key, and the new content: as an attacker with a copy of it would try. */
	assert_int_equal(pwrite(mixed, a, TK_HEADER_V2_SIZE, 0), TK_HEADER_V2_SIZE);
	assert_int_equal(pwrite(mixed, b + TK_HEADER_V2_SIZE, blen - TK_HEADER_V2_SIZE, TK_HEADER_V2_SIZE),
			 blen - TK_HEADER_V2_SIZE);
	assert_int_equal(opened(ring, mixed, back), size ? -TK_E_AUTH : 0);
	assert_int_equal(pwrite(mixed, a + TK_HEADER_V2_SIZE, alen - TK_HEADER_V2_SIZE, TK_HEADER_V2_SIZE),
			 alen - TK_HEADER_V2_SIZE);
	assert_int_equal(opened(ring, mixed, back), 0); /* with its own content it does open */
	free(a);
	free(b);
	close(plain), close(old), close(fresh), close(back), close(mixed);
}

static void test_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 64 * 4096, 64 * 4096 + 1, 1000000};
	struct tk_keyring *ring = two_versions();

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (enum tk_algorithm a = TK_AES_256_GCM; a <= TK_CHACHA20_POLY1305; a++)
			one_size(ring, a, sizes[i]);
	tk_keyring_free(ring);
}

/* What is not authentic is not given a new file key; the header, which is last, is never there. */
static void test_damage(void **state)
{
	struct tk_keyring *ring = two_versions(), *other = ring_of("k", kek2);
	int plain = plaintext(100000), old = sealed_under(ring, 1, TK_AES_256_GCM, plain);
	static const off_t places[] = {20, 130, 512, 600, 50000, 101211};
	struct tk_params v1 = params_of(1, TK_AES_256_GCM, 0);
	int fresh, r;
	char magic[4];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		uint8_t byte;

		assert_int_equal(pread(old, &byte, 1, places[i]), 1);
		byte ^= 1;
		assert_int_equal(pwrite(old, &byte, 1, places[i]), 1);
		fresh = memfd(NULL, 0);
		assert_true(reencrypt(ring, 0, old, fresh) <= -TK_E_FIRST);
		r = (int)pread(fresh, magic, 4, 0);
		assert_true(r == 0 || (r == 4 && !tk_is_taka(magic, 4)));
		close(fresh);
		byte ^= 1;
		assert_int_equal(pwrite(old, &byte, 1, places[i]), 1);
	}
	fresh = memfd(NULL, 0);
	assert_int_equal(reencrypt(other, 0, old, fresh), -TK_E_WRONG_KEY);
	assert_int_equal(reencrypt(ring, 7, old, fresh), -TK_E_NO_KEY);
	assert_int_equal(reencrypt(ring, 0, plain, fresh), -TK_E_MAGIC);
	assert_int_equal(size_of(fresh), 0);
	r = encrypted(ring, &v1, plain);
	assert_int_equal(reencrypt(ring, 0, r, fresh), -EINVAL);
	close(r);
	assert_int_equal(reencrypt(ring, 1, old, fresh), 0); /* all bytes are back: now it does */
	close(plain), close(old), close(fresh);
	tk_keyring_free(ring);
	tk_keyring_free(other);
}

static int stop(void *ctx, uint64_t done, uint64_t total)
{
	return done >= total / 2;
}

static void test_stopped(void **state)
{
	struct tk_keyring *ring = two_versions();
	int plain = plaintext(100000), old = sealed_under(ring, 1, TK_AES_256_GCM, plain), fresh = memfd(NULL, 0);

	assert_int_equal(tk_reencrypt_fd(ring, 0, old, 0, size_of(old), fresh, 0, stop, NULL, NULL), -ECANCELED);
	assert_true(size_of(fresh) < size_of(old));
	close(plain), close(old), close(fresh);
	tk_keyring_free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
