// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/crypto_random_test.c - contents of random size, chunk, algorithm and
 * place, there and back; and a damaged byte anywhere is noticed.  TK_SEED repeats
 * a run, TK_CASES makes it longer.
 */
#include "tests/unit/crypto_test.h"

#include <time.h>

static uint64_t state_of;

static uint64_t next(uint64_t below)
{
	state_of ^= state_of << 13;
	state_of ^= state_of >> 7;
	state_of ^= state_of << 17;
	return state_of % below;
}

static unsigned long number(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

/* Near a boundary of chunks as often as not, where mistakes live. */
static size_t random_size(uint32_t chunk_log2)
{
	size_t chunk = (size_t)1 << chunk_log2, size = next(1 << next(22));

	if (next(2) && chunk <= 1 << 20)
		size = next(4) * chunk + next(5);
	return size > 2 && next(2) ? size - 2 : size;
}

static void one(const struct tk_keyring *ring)
{
	uint32_t version = next(8) ? 2 : 1, chunk_log2 = 12 + (uint32_t)next(13);
	struct tk_params p = params_of(version, next(2) ? TK_AES_256_GCM : TK_CHACHA20_POLY1305, chunk_log2);
	size_t size = random_size(chunk_log2), in_at = next(5000), out_at = next(5000);
	int in = plaintext(in_at + size), sealed = memfd(NULL, 0), out = memfd(NULL, 0), r;
	uint8_t *a, *b, c;
	size_t alen, blen;
	uint64_t sealed_size = 0;
	off_t at;

	r = tk_encrypt_fd(ring, &p, in, (off_t)in_at, size, sealed, (off_t)out_at, NULL, NULL, &sealed_size);
	assert_int_equal(r, 0);
	assert_int_equal(size_of(sealed), out_at + sealed_size);
	r = tk_decrypt_fd(ring, sealed, (off_t)out_at, sealed_size, out, (off_t)in_at, NULL, NULL, NULL);
	assert_int_equal(r, 0);
	a = contents(in, &alen);
	b = contents(out, &blen);
	assert_int_equal(blen, size ? in_at + size : 0);
	if (size)
		assert_memory_equal(a + in_at, b + in_at, size);
	free(a);
	free(b);

	at = (off_t)(out_at + next(sealed_size));
	assert_int_equal(pread(sealed, &c, 1, at), 1);
	c ^= (uint8_t)(1 + next(255));
	assert_int_equal(pwrite(sealed, &c, 1, at), 1);
	r = tk_verify_fd(ring, sealed, (off_t)out_at, sealed_size, NULL, NULL);
	assert_non_null(tk_error_name(r));
	close(in);
	close(sealed);
	close(out);
}

static void test_random(void **state)
{
	unsigned long seed = number("TK_SEED", (unsigned long)time(NULL)), cases = number("TK_CASES", 500);
	struct tk_keyring *ring = ring_of("k", kek1);

	state_of = seed * 2654435761u + 1;
	print_message("# TK_SEED=%lu\n", seed); /* what a failure needs to be seen again */
	while (cases--)
		one(ring);
	tk_keyring_free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
