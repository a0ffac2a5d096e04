// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/crypto_test.c - the TAKA format: round trips, sizes, holes, the
 * header rewritten.
 */
#include "tests/unit/crypto_test.h"

/* ------------------------------------------------------------ round trips */

static void round_trip(const struct tk_params *params, size_t size)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	int plain = plaintext(size), sealed = encrypted(ring, params, plain), out = memfd(NULL, 0);
	struct tk_header h;

	assert_int_equal(tk_decrypt_fd(ring, sealed, 0, size_of(sealed), out, 0, NULL, NULL, &h), 0);
	assert_same(plain, out);
	assert_int_equal(h.version, params->version);
	assert_int_equal(h.algorithm, params->algorithm);
	assert_int_equal(h.original_size, size);
	assert_int_equal(h.key_version, params->version == 2 ? 1 : 0);
	assert_int_equal(h.chunk_log2, params->version == 2 ? params->chunk_log2 : 0);
	assert_string_equal(h.key_id, "k");
	assert_int_equal(tk_verify_fd(ring, sealed, 0, size_of(sealed), NULL, NULL), 0);
	close(plain);
	close(sealed);
	close(out);
	tk_keyring_free(ring);
}

static void test_round_trips(void **state)
{
	static const uint32_t logs[] = {12, 13, 16, 20, 21};

	for (enum tk_algorithm a = TK_AES_256_GCM; a <= TK_CHACHA20_POLY1305; a++) {
		for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
			struct tk_params p = params_of(2, a, logs[i]);
			size_t c = (size_t)1 << logs[i];
			size_t sizes[] = {0, 1, c - 1, c, c + 1, 2 * c, 3 * c + 5};

			for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++)
				round_trip(&p, sizes[k]);
		}
		/* several threads, a last batch and a last record that are short */
		struct tk_params many = params_of(2, a, 12), big = params_of(2, a, 24),
				 v1 = params_of(1, a, 0);
		static const size_t v1_sizes[] = {0, 1, 15, 16, 4096, 1048575, 1048576, 1048577, 3000001};

		round_trip(&many, (9 << 20) + 4097);
		round_trip(&big, (16 << 20) + 1);
		for (size_t k = 0; k < sizeof(v1_sizes) / sizeof(v1_sizes[0]); k++)
			round_trip(&v1, v1_sizes[k]);
	}
}

static void test_offsets(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	struct tk_params p = params_of(2, TK_AES_256_GCM, 12);
	int plain = plaintext(10000), sealed = memfd("before", 6), out = memfd("xx", 2);
	uint8_t *a, *b;
	size_t alen, blen;
	uint64_t size;

	assert_int_equal(tk_encrypt_fd(ring, &p, plain, 1000, 9000, sealed, 6, NULL, NULL, &size), 0);
	assert_int_equal(pwrite(sealed, "after", 5, (off_t)(6 + size)), 5);
	assert_int_equal(tk_decrypt_fd(ring, sealed, 6, size, out, 2, NULL, NULL, NULL), 0);
	a = contents(plain, &alen);
	b = contents(out, &blen);
	assert_int_equal(blen, 9002);
	assert_memory_equal(b, "xx", 2);
	assert_memory_equal(b + 2, a + 1000, 9000);
	assert_int_equal(lseek(plain, 0, SEEK_CUR) + lseek(sealed, 0, SEEK_CUR) + lseek(out, 0, SEEK_CUR), 0);
	free(a);
	free(b);
	close(plain);
	close(sealed);
	close(out);
	tk_keyring_free(ring);
}

static uint64_t blocks_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks;
}

/* Data at the beginning, in the middle, or nowhere; zeros at the end of each. */
static int sparse(uint64_t size, uint64_t data_at)
{
	int fd = memfd(NULL, 0);

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	if (data_at < size)
		assert_int_equal(pwrite(fd, "data", 4, (off_t)data_at), 4);
	return fd;
}

static void test_holes(void **state)
{
	static const uint64_t sizes[] = {65536, 65537, 3 << 16, (1 << 20) + 4097};
	struct tk_keyring *ring = ring_of("k", kek1);
	struct tk_params all[] = {params_of(1, TK_AES_256_GCM, 0), params_of(2, TK_AES_256_GCM, 12),
				  params_of(2, TK_AES_256_GCM, 16), params_of(2, TK_CHACHA20_POLY1305, 22)};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) * 4 * 3; i++) {
		uint64_t size = sizes[i % 4], data_at[] = {0, size / 2, size};
		int plain = sparse(size, data_at[i / 4 % 3]), sealed = encrypted(ring, &all[i / 12], plain);
		int out = memfd("before", 6), full = memfd(NULL, 0);
		uint64_t len = size_of(sealed);
		uint8_t c, *a, *b;
		size_t n;

		/* what is there would be taken for the zeros */
		assert_int_equal(tk_decrypt_fd_sparse(ring, sealed, 0, len, out, 5, NULL, NULL, NULL), -EINVAL);
		assert_int_equal(size_of(out), 6);
		assert_int_equal(tk_decrypt_fd_sparse(ring, sealed, 0, len, out, 65536, NULL, NULL, NULL), 0);
		assert_int_equal(size_of(out), 65536 + size);
		/* a page of what was there, a piece with the data and the last one */
		assert_in_range(blocks_of(out), 1, (4096 + 65536 + 65536 + 4096) / 512);
		a = contents(plain, &n);
		b = contents(out, &n);
		assert_memory_equal(a, b + 65536, size);
		free(a);
		free(b);
		/* only who asks for holes gets them */
		assert_int_equal(tk_decrypt_fd(ring, sealed, 0, len, full, 0, NULL, NULL, NULL), 0);
		assert_in_range(blocks_of(full), size / 512, size / 512 + 8);
		assert_same(plain, full);
		/* zeros are as authentic as anything else */
		assert_int_equal(ftruncate(out, 0), 0);
		assert_int_equal(pread(sealed, &c, 1, (off_t)len - 5), 1);
		c ^= 1;
		assert_int_equal(pwrite(sealed, &c, 1, (off_t)len - 5), 1);
		assert_int_equal(tk_decrypt_fd_sparse(ring, sealed, 0, len, out, 0, NULL, NULL, NULL),
				 -TK_E_AUTH);
		close(plain);
		close(sealed);
		close(out);
		close(full);
	}
	assert_int_equal(tk_decrypt_fd_sparse(ring, 0, 0, 0, -1, 0, NULL, NULL, NULL), -EBADF);
	tk_keyring_free(ring);
}

static void test_sealed_size(void **state)
{
	static const struct {
		uint64_t plain, sealed;
	} worked[] = {{0, 512}, {1, 541}, {65536, 66076}, {65537, 66105}, {1 << 30, 1074201088}};
	struct tk_params p = params_of(2, TK_AES_256_GCM, 16);
	uint64_t size = 4711;

	p.key_id = "vector";
	for (size_t i = 0; i < sizeof(worked) / sizeof(worked[0]); i++) {
		assert_int_equal(tk_sealed_size(&p, worked[i].plain, &size), 0);
		assert_int_equal(size, worked[i].sealed);
	}
	size = 4711;
	assert_int_equal(tk_sealed_size(&p, UINT64_MAX, &size), -EOVERFLOW);
	assert_int_equal(tk_sealed_size(&p, INT64_MAX, &size), -EOVERFLOW);
	p.chunk_log2 = 11;
	assert_int_equal(tk_sealed_size(&p, 1, &size), -EINVAL);
	p.chunk_log2 = 25;
	assert_int_equal(tk_sealed_size(&p, 1, &size), -EINVAL);
	p = params_of(3, TK_AES_256_GCM, 16);
	assert_int_equal(tk_sealed_size(&p, 1, &size), -EINVAL);
	p = params_of(2, 3, 16);
	assert_int_equal(tk_sealed_size(&p, 1, &size), -EINVAL);
	p = params_of(2, TK_AES_256_GCM, 16);
	p.key_id = "a/b";
	assert_int_equal(tk_sealed_size(&p, 1, &size), -EINVAL);
	p.key_id = "";
	assert_int_equal(tk_sealed_size(&p, 1, &size), -EINVAL);
	/* one message of GCM: 2^39 - 256 bits */
	p = params_of(1, TK_AES_256_GCM, 0);
	assert_int_equal(tk_sealed_size(&p, (UINT64_C(1) << 36) - 31, &size), -EOVERFLOW);
	assert_int_equal(size, 4711); /* untouched so far */
	assert_int_equal(tk_sealed_size(&p, (UINT64_C(1) << 36) - 32, &size), 0);
	assert_int_equal(size, (UINT64_C(1) << 36) - 32 + 73);
}

static void test_fresh_secrets(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	struct tk_params p = params_of(2, TK_AES_256_GCM, 12);
	int plain = plaintext(200 * 4096), a = encrypted(ring, &p, plain), b = encrypted(ring, &p, plain);
	size_t len, rec = 4096 + 28;
	uint8_t *x = contents(a, &len), *y = contents(b, &len);

	/* wrapped key and iv differ, and no nonce occurs twice */
	assert_memory_not_equal(x + 73, y + 73, 40);
	assert_memory_not_equal(x + 17, y + 17, 12);
	for (size_t i = 512; i < len; i += rec) {
		assert_memory_not_equal(x + i, y + i, 12);
		for (size_t k = i + rec; k < len; k += rec)
			assert_memory_not_equal(x + i, x + k, 12);
	}
	free(x);
	free(y);
	close(plain);
	close(a);
	close(b);
	tk_keyring_free(ring);
}

/* ----------------------------------------------------------------- rewrap */

static void test_rewrap(void **state)
{
	struct tk_keyring *both = ring_of("k", kek1), *old = ring_of("k", kek1), *next = ring_of("x", kek1);

	assert_int_equal(tk_keyring_add(both, "k", 2, kek2), 0);
	assert_int_equal(tk_keyring_add(next, "k", 2, kek2), 0);
	for (enum tk_algorithm a = TK_AES_256_GCM; a <= TK_CHACHA20_POLY1305; a++) {
		struct tk_params p = params_of(2, a, 12);
		int plain = plaintext(10000), sealed = encrypted(old, &p, plain), out = memfd(NULL, 0);
		size_t len, after;
		uint8_t *before = contents(sealed, &len), *bytes;
		struct tk_header h;

		assert_int_equal(tk_header_rewrap(old, sealed, 0, len, 2, &h), -TK_E_NO_KEY);
		assert_int_equal(tk_header_rewrap(next, sealed, 0, len, 2, &h), -TK_E_NO_KEY);
		assert_int_equal(tk_header_rewrap(both, sealed, 0, len, 0, &h), 0);
		assert_int_equal(h.key_version, 2);
		bytes = contents(sealed, &after);
		assert_int_equal(after, len);
		assert_memory_equal(before + 512, bytes + 512, len - 512); /* the body stays */
		assert_memory_not_equal(before + 17, bytes + 17, 12);	   /* a nonce never repeats */
		assert_memory_not_equal(before + 73, bytes + 73, 40);

		assert_int_equal(tk_decrypt_fd(old, sealed, 0, len, out, 0, NULL, NULL, NULL), -TK_E_NO_KEY);
		assert_int_equal(tk_decrypt_fd(next, sealed, 0, len, out, 0, NULL, NULL, NULL), 0);
		assert_same(plain, out);

		/* a damaged header is not made good by a new tag */
		bytes[100] ^= 1;
		assert_int_equal(pwrite(sealed, bytes, 512, 0), 512);
		assert_int_equal(tk_header_rewrap(both, sealed, 0, len, 1, NULL), -TK_E_WRONG_KEY);
		free(before);
		free(bytes);
		close(plain);
		close(sealed);
		close(out);
	}
	struct tk_params v1 = params_of(1, TK_AES_256_GCM, 0);
	int plain = plaintext(10), sealed = encrypted(old, &v1, plain);

	assert_int_equal(tk_header_rewrap(both, sealed, 0, size_of(sealed), 2, NULL), -EINVAL);
	close(plain);
	close(sealed);
	tk_keyring_free(both);
	tk_keyring_free(old);
	tk_keyring_free(next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),   cmocka_unit_test(test_holes),
		cmocka_unit_test(test_offsets),	      cmocka_unit_test(test_sealed_size),
		cmocka_unit_test(test_fresh_secrets), cmocka_unit_test(test_rewrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
