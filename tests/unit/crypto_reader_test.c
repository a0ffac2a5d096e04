// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/crypto_reader_test.c - parts of contents: random ranges of files of
 * random size, chunk and algorithm against the plaintext; and that a reader is
 * refused what was damaged, cut, lengthened, exchanged or changed under it.
 * TK_SEED repeats a run, TK_CASES makes it longer or shorter.
 */
#include "tests/unit/crypto_test.h"

#include <time.h>

static uint64_t dice;

static uint64_t roll(uint64_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % below;
}

static struct tk_reader *reader_of(const struct tk_keyring *ring, int fd, off_t offset, uint64_t size)
{
	struct tk_reader *reader = NULL;

	assert_int_equal(tk_reader_open(ring, fd, offset, size, &reader), 0);
	return reader;
}

/* What a reader must say to a range, and not a byte beside it. */
static void check_range(struct tk_reader *reader, const uint8_t *plain, size_t size, size_t len, uint64_t at)
{
	size_t expected = at >= size ? 0 : len < size - at ? len : size - (size_t)at, n = SIZE_MAX;
	uint8_t *buf = malloc(len + 2);

	assert_non_null(buf);
	memset(buf, 0x5a, len + 2);
	assert_int_equal(tk_reader_read(reader, buf + 1, len, at, &n), 0);
	assert_int_equal(n, expected);
	if (n)
		assert_memory_equal(buf + 1, plain + at, n);
	assert_int_equal(buf[0], 0x5a);
	assert_int_equal(buf[n + 1], 0x5a);
	free(buf);
}

static void test_random_ranges(void **state)
{
	const char *text = getenv("TK_SEED"), *cases = getenv("TK_CASES");
	unsigned long seed = text ? strtoul(text, NULL, 10) : (unsigned long)time(NULL);
	struct tk_keyring *ring = ring_of("k", kek1);

	dice = seed * 2654435761u + 1;
	print_message("# TK_SEED=%lu\n", seed);
	for (unsigned long i = cases ? strtoul(cases, NULL, 10) : 200; i; i--) {
		uint32_t chunk_log2 = 12 + (uint32_t)roll(8);
		struct tk_params p = params_of(roll(4) ? 2 : 1, 1 + (int)roll(2), chunk_log2);
		size_t chunk = (size_t)1 << chunk_log2,
		       size = roll(2) ? roll(5) * chunk + roll(3) : roll(1 << 18);
		off_t offset = (off_t)roll(5000);
		int in = plaintext(size), sealed = memfd(NULL, 0);
		struct tk_reader *reader;
		uint64_t len;
		uint8_t *plain;

		assert_int_equal(tk_encrypt_fd(ring, &p, in, 0, size, sealed, offset, NULL, NULL, &len), 0);
		plain = contents(in, &size);
		reader = reader_of(ring, sealed, offset, len);
		assert_int_equal(tk_reader_header(reader)->original_size, size);
		check_range(reader, plain, size, size + 1, 0);
		for (int k = 0; k < 20; k++) {
			/* about the edges of chunks as often as anywhere */
			uint64_t at = roll(2) ? roll(size + 10) : (roll(6) * chunk) + roll(3) - 1;

			check_range(reader, plain, size, roll(2) ? roll(10) : roll(2 * chunk + 2), at);
		}
		check_range(reader, plain, size, 0, 0);
		check_range(reader, plain, size, 10, UINT64_MAX);
		assert_int_equal(lseek(sealed, 0, SEEK_CUR), 0);
		tk_reader_free(reader);
		free(plain);
		close(in);
		close(sealed);
	}
	tk_keyring_free(ring);
}

/* All of it by the reader, in pieces that cross records.  On failure the buffer holds no plaintext. */
static int read_all(const struct tk_keyring *ring, const uint8_t *bytes, size_t len)
{
	int fd = memfd(bytes, len), r;
	struct tk_reader *reader = NULL;
	uint8_t buf[6000];
	size_t n = 1;

	r = tk_reader_open(ring, fd, 0, len, &reader);
	assert_true(r == 0 || !reader);
	for (uint64_t at = 0; r == 0 && n; at += n) {
		memset(buf, 0, sizeof(buf));
		r = tk_reader_read(reader, buf, sizeof(buf), at, &n);
		for (size_t i = 0; r && i < sizeof(buf); i++)
			assert_int_equal(buf[i], 0);
	}
	tk_reader_free(reader);
	close(fd);
	return r;
}

/* The reader and the stream say the same of each file with one bit flipped, of each shorter and a longer one.
 */
static void test_every_bit(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);

	for (uint32_t i = 0; i < 4; i++) { /* of an empty one too: version 1 has a tag to read then */
		struct tk_params p = params_of(1 + i / 2, TK_AES_256_GCM, 12);
		int plain = plaintext(i % 2 * 5), sealed = encrypted(ring, &p, plain), fd;
		size_t len;
		uint8_t *bytes = contents(sealed, &len); /* with room for one more */

		for (size_t bit = 0; bit < len * 8; bit++) {
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_non_null(tk_error_name(read_all(ring, bytes, len)));
			fd = memfd(bytes, len);
			assert_int_equal(tk_verify_fd(ring, fd, 0, len, NULL, NULL),
					 read_all(ring, bytes, len));
			close(fd);
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (size_t n = 0; n < len; n++) {
			fd = memfd(bytes, n);
			assert_non_null(tk_error_name(read_all(ring, bytes, n)));
			assert_int_equal(tk_verify_fd(ring, fd, 0, n, NULL, NULL), read_all(ring, bytes, n));
			close(fd);
		}
		bytes[len] = 0;
		assert_int_equal(read_all(ring, bytes, len + 1), -TK_E_LENGTH);
		assert_int_equal(read_all(ring, bytes, len), 0);
		free(bytes);
		close(plain);
		close(sealed);
	}
	tk_keyring_free(ring);
}

static void flip(int fd, off_t at)
{
	uint8_t c;

	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 1;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
}

/* Only the records that are touched are opened: so damage shows where it is, and nowhere else. */
static void test_damage_has_a_place(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);
	struct tk_params p = params_of(2, TK_AES_256_GCM, 12);
	int in = plaintext(5 * 4096 + 100), sealed = encrypted(ring, &p, in);
	struct tk_reader *reader = reader_of(ring, sealed, 0, size_of(sealed));
	uint8_t *plain, buf[3 * 4096] = {}, zeros[sizeof(buf)] = {};
	size_t size, n = 99;

	plain = contents(in, &size);
	flip(sealed, 512 + 2 * (4096 + 28) + 12);
	check_range(reader, plain, size, 2 * 4096, 0);
	check_range(reader, plain, size, 3 * 4096, 3 * 4096);
	assert_int_equal(tk_reader_read(reader, buf, 1, 2 * 4096 + 5, &n), -TK_E_AUTH);
	/* what came before it in the same range is wiped, and the next read is not led astray by what failed
	 */
	assert_int_equal(tk_reader_read(reader, buf, sizeof(buf), 1, &n), -TK_E_AUTH);
	assert_int_equal(n, 99);
	assert_memory_equal(buf, zeros, sizeof(buf));
	assert_int_equal(tk_reader_read(reader, buf, 1, 2 * 4096 + 5, &n), -TK_E_AUTH);
	check_range(reader, plain, size, 4096, 1 * 4096);
	flip(sealed, 512 + 2 * (4096 + 28) + 12);
	check_range(reader, plain, size, size, 0);
	free(plain);
	tk_reader_free(reader);
	close(in);
	close(sealed);
	tk_keyring_free(ring);
}

static void copy(int from, off_t from_at, int to, off_t to_at, size_t len)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	assert_int_equal(pread(from, p, len, from_at), len);
	assert_int_equal(pwrite(to, p, len, to_at), len);
	free(p);
}

/* A reader is of the file as it was when it was opened. */
static void test_changed_under_it(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1);

	for (uint32_t version = 1; version <= 2; version++) {
		struct tk_params p = params_of(version, TK_AES_256_GCM, 12);
		int in = plaintext(3 * 4096), sealed = encrypted(ring, &p, in),
		    other = encrypted(ring, &p, in);
		uint64_t len = size_of(sealed), body = version == 1 ? 72 + 1 : 512;
		struct tk_reader *reader = reader_of(ring, sealed, 0, len);
		uint8_t buf[10] = {}, zeros[10] = {};
		size_t n = 99, size;
		uint8_t *plain = contents(in, &size);

		/* the same plaintext at the same place, of another file under the same key */
		copy(other, (off_t)body, sealed, (off_t)body, len - body);
		assert_int_equal(tk_reader_read(reader, buf, 10, 4096, &n), -TK_E_AUTH);
		if (version == 2) { /* a record in another's place */
			tk_reader_free(reader);
			reader = reader_of(ring, other, 0, len);
			check_range(reader, plain, size, 10, 0);
			copy(other, 512, other, 512 + 4124, 4124);
			assert_int_equal(tk_reader_read(reader, buf, 10, 4096, &n), -TK_E_AUTH);
			check_range(reader, plain, size, 10, 0);
		}
		assert_int_equal(ftruncate(sealed, (off_t)len - 1), 0);
		assert_int_equal(ftruncate(other, (off_t)len - 1), 0);
		assert_int_equal(tk_reader_read(reader, buf, 10, 2 * 4096, &n), -EIO);
		assert_int_equal(n, 99);
		assert_memory_equal(buf, zeros, 10);
		free(plain);
		tk_reader_free(reader);
		close(in);
		close(sealed);
		close(other);
	}
	tk_keyring_free(ring);
}

static void test_not_opened(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1), *other = ring_of("k", kek2),
			  *stranger = ring_of("j", kek1);
	struct tk_params p = params_of(2, TK_AES_256_GCM, 12);
	int in = plaintext(10), sealed = encrypted(ring, &p, in);
	struct tk_reader *reader = NULL;
	uint64_t len = size_of(sealed);

	assert_int_equal(tk_reader_open(other, sealed, 0, len, &reader), -TK_E_WRONG_KEY);
	assert_int_equal(tk_reader_open(stranger, sealed, 0, len, &reader), -TK_E_NO_KEY);
	assert_int_equal(tk_reader_open(ring, sealed, -1, len, &reader), -EOVERFLOW);
	assert_int_equal(tk_reader_open(ring, -1, 0, len, &reader), -EBADF);
	assert_int_equal(tk_reader_open(ring, sealed, 1, len - 1, &reader), -TK_E_MAGIC);
	assert_null(reader);
	tk_reader_free(reader);

	reader = reader_of(ring, sealed, 0, len);
	tk_keyring_free(ring); /* it has what it needs */
	size_t size;
	uint8_t *plain = contents(in, &size);
	check_range(reader, plain, size, 10, 0);
	free(plain);
	tk_reader_free(reader);
	close(in);
	close(sealed);
	tk_keyring_free(other);
	tk_keyring_free(stranger);
}

/* usage: crypto_reader_test [PATTERN]   without the tests whose name matches */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_ranges),	   cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_damage_has_a_place), cmocka_unit_test(test_changed_under_it),
		cmocka_unit_test(test_not_opened),
	};

	if (argc > 1)
		cmocka_set_skip_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
