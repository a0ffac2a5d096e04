// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/crypto_damage_test.c - what must not be opened: every flipped bit,
 * every length, keys that do not fit, contents that change under the reader.
 */
#include "tests/unit/crypto_test.h"

static void assert_refused(const struct tk_keyring *ring, const uint8_t *bytes, size_t len)
{
	int fd = memfd(bytes, len), out = memfd(NULL, 0), r;

	r = tk_decrypt_fd(ring, fd, 0, len, out, 0, NULL, NULL, NULL);
	assert_non_null(tk_error_name(r));
	assert_int_equal(size_of(out), 0);
	assert_int_equal(tk_verify_fd(ring, fd, 0, len, NULL, NULL), r);
	close(fd);
	close(out);
}

static void test_every_bit(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);

	for (uint32_t version = 1; version <= 2; version++) {
		for (enum tk_algorithm a = TK_AES_256_GCM; a <= TK_CHACHA20_POLY1305; a++) {
			struct tk_params p = params_of(version, a, 12);
			int plain = plaintext(7), sealed = encrypted(ring, &p, plain);
			size_t len;
			uint8_t *bytes = contents(sealed, &len); /* with room for one more */

			for (size_t bit = 0; bit < len * 8; bit++) {
				bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
				assert_refused(ring, bytes, len);
				bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			}
			for (size_t n = 0; n < len; n++)
				assert_refused(ring, bytes, n);
			bytes[len] = 0;
			assert_refused(ring, bytes, len + 1);
			free(bytes);
			close(plain);
			close(sealed);
		}
	}
	tk_keyring_free(ring);
}

static void test_damage_far_in(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	static const struct tk_params all[] = {
		{.version = 2, .algorithm = 1, .chunk_log2 = 16, .key_id = "k"},
		{.version = 1, .algorithm = 2, .key_id = "k"}};

	for (size_t i = 0; i < 2; i++) {
		int plain = plaintext(9 << 20), sealed = encrypted(ring, &all[i], plain),
		    out = memfd(NULL, 0);
		uint8_t c;

		assert_int_equal(pread(sealed, &c, 1, 8 << 20), 1);
		c ^= 1;
		assert_int_equal(pwrite(sealed, &c, 1, 8 << 20), 1);
		assert_int_equal(tk_decrypt_fd(ring, sealed, 0, size_of(sealed), out, 0, NULL, NULL, NULL),
				 -TK_E_AUTH);
		if (all[i].version == 1)
			assert_int_equal(size_of(out), 0);
		assert_int_equal(tk_verify_fd(ring, sealed, 0, size_of(sealed), NULL, NULL), -TK_E_AUTH);
		close(plain);
		close(sealed);
		close(out);
	}
	tk_keyring_free(ring);
}

static int flip_after_first_pass(void *ctx, uint64_t done, uint64_t total)
{
	int fd = *(int *)ctx;
	uint8_t c;

	if (done >= total / 2 && fd >= 0) {
		assert_int_equal(pread(fd, &c, 1, 2000000), 1);
		c ^= 1;
		assert_int_equal(pwrite(fd, &c, 1, 2000000), 1);
		*(int *)ctx = -1;
	}
	return 0;
}

static void test_change_between_passes(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	struct tk_params p = params_of(1, TK_AES_256_GCM, 0);
	int plain = plaintext(3000000), sealed = encrypted(ring, &p, plain), out = memfd(NULL, 0),
	    ctx = sealed;

	assert_int_equal(
		tk_decrypt_fd(ring, sealed, 0, size_of(sealed), out, 0, flip_after_first_pass, &ctx, NULL),
		-TK_E_AUTH);
	assert_int_equal(ctx, -1);
	close(plain);
	close(sealed);
	close(out);
	tk_keyring_free(ring);
}

static void test_keys_that_do_not_fit(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1), *other = ring_of("k", kek2),
			  *stranger = ring_of("j", kek1);
	int plain = plaintext(100);

	for (uint32_t version = 1; version <= 2; version++) {
		struct tk_params p = params_of(version, TK_AES_256_GCM, 12);
		int sealed = encrypted(ring, &p, plain), out = memfd(NULL, 0);
		uint64_t size = size_of(sealed);

		assert_int_equal(tk_decrypt_fd(other, sealed, 0, size, out, 0, NULL, NULL, NULL),
				 version == 1 ? -TK_E_AUTH : -TK_E_WRONG_KEY);
		assert_int_equal(tk_decrypt_fd(stranger, sealed, 0, size, out, 0, NULL, NULL, NULL),
				 -TK_E_NO_KEY);
		assert_int_equal(tk_header_verify(stranger, sealed, 0, size, NULL), -TK_E_NO_KEY);
		assert_int_equal(tk_header_verify(other, sealed, 0, size, NULL),
				 version == 1 ? 0 : -TK_E_WRONG_KEY);
		assert_int_equal(tk_encrypt_fd(stranger, &p, plain, 0, 100, out, 0, NULL, NULL, NULL),
				 -TK_E_NO_KEY);
		p.key_version = 2;
		assert_int_equal(tk_encrypt_fd(ring, &p, plain, 0, 100, out, 0, NULL, NULL, NULL),
				 -TK_E_NO_KEY);
		assert_int_equal(size_of(out), 0);
		close(sealed);
		close(out);
	}
	close(plain);
	tk_keyring_free(ring);
	tk_keyring_free(other);
	tk_keyring_free(stranger);
}

static int count_then_stop(void *ctx, uint64_t done, uint64_t total)
{
	assert_true(done <= total);
	return ++*(int *)ctx == 3;
}

static int last_seen(void *ctx, uint64_t done, uint64_t total)
{
	assert_true(done >= *(uint64_t *)ctx && done <= total);
	*(uint64_t *)ctx = done;
	return 0;
}

static void test_progress_and_end_of_file(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	int plain = plaintext(9000001);

	for (uint32_t version = 1; version <= 2; version++) {
		struct tk_params p = params_of(version, TK_CHACHA20_POLY1305, 16);
		int out = memfd(NULL, 0), sealed, calls = 0;
		uint64_t seen = 0, size = 99;

		assert_int_equal(
			tk_encrypt_fd(ring, &p, plain, 0, 9000001, out, 0, count_then_stop, &calls, &size),
			-ECANCELED);
		assert_int_equal(calls, 3);
		assert_int_equal(tk_encrypt_fd(ring, &p, plain, 0, 9000002, out, 0, NULL, NULL, &size), -EIO);
		assert_int_equal(size, 99);
		/* what was not finished does not pass for a TAKA file */
		assert_int_equal(tk_verify_fd(ring, out, 0, size_of(out), NULL, NULL), -TK_E_MAGIC);

		sealed = encrypted(ring, &p, plain);
		assert_int_equal(ftruncate(out, 0), 0);
		assert_int_equal(
			tk_decrypt_fd(ring, sealed, 0, size_of(sealed), out, 0, last_seen, &seen, NULL), 0);
		assert_int_equal(seen, 9000001);
		assert_same(plain, out);
		/* the caller's size is right and the file is shorter */
		size = size_of(sealed);
		assert_int_equal(ftruncate(sealed, (off_t)size - 1), 0);
		assert_int_equal(tk_decrypt_fd(ring, sealed, 0, size, out, 0, NULL, NULL, NULL), -EIO);
		close(out);
		close(sealed);
	}
	close(plain);
	tk_keyring_free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_damage_far_in),
		cmocka_unit_test(test_change_between_passes),
		cmocka_unit_test(test_keys_that_do_not_fit),
		cmocka_unit_test(test_progress_and_end_of_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
