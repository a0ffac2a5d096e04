/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/unit/crypto_test.h - what the tests of crypto/ share: files in memory,
 * rings with known keys, contents sealed and compared.
 */
#ifndef TK_TESTS_CRYPTO_TEST_H
#define TK_TESTS_CRYPTO_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypto/takakrypt.h"

__attribute__((unused)) static const uint8_t kek1[TK_KEK_SIZE] = "the first version of a policy ke";
__attribute__((unused)) static const uint8_t kek2[TK_KEK_SIZE] = "and the second version of a poli";

static inline int memfd(const void *data, size_t len)
{
	int fd = memfd_create("taka", MFD_CLOEXEC);

	assert_true(fd >= 0);
	if (len)
		assert_int_equal(pwrite(fd, data, len, 0), len);
	return fd;
}

static inline uint64_t size_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

static inline uint8_t *contents(int fd, size_t *ret_len)
{
	size_t len = size_of(fd);
	uint8_t *p = malloc(len + 1);

	assert_non_null(p);
	assert_int_equal(pread(fd, p, len, 0), len);
	*ret_len = len;
	return p;
}

static inline void assert_same(int a, int b)
{
	size_t alen, blen;
	uint8_t *p = contents(a, &alen), *q = contents(b, &blen);

	assert_int_equal(alen, blen);
	assert_memory_equal(p, q, alen);
	free(p);
	free(q);
}

/* Bytes that no two places share. */
static inline int plaintext(size_t len)
{
	uint32_t *p = malloc((len + 7) / 4 * 4);
	uint32_t x = 2463534242u;
	int fd;

	assert_non_null(p);
	for (size_t i = 0; i <= len / 4; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		p[i] = x;
	}
	fd = memfd(p, len);
	free(p);
	return fd;
}

static inline struct tk_keyring *ring_of(const char *key_id, const uint8_t *kek)
{
	struct tk_keyring *ring = NULL;

	assert_int_equal(tk_keyring_new(&ring), 0);
	assert_int_equal(tk_keyring_add(ring, key_id, 1, kek), 0);
	return ring;
}

static inline struct tk_params params_of(uint32_t version, enum tk_algorithm algorithm, uint32_t chunk_log2)
{
	return (struct tk_params){
		.version = version, .algorithm = algorithm, .chunk_log2 = chunk_log2, .key_id = "k"};
}

static inline int encrypted(const struct tk_keyring *ring, const struct tk_params *params, int plain)
{
	int fd = memfd(NULL, 0);
	uint64_t size = 0, expected = 1;

	assert_int_equal(tk_encrypt_fd(ring, params, plain, 0, size_of(plain), fd, 0, NULL, NULL, &size), 0);
	assert_int_equal(tk_sealed_size(params, size_of(plain), &expected), 0);
	assert_int_equal(size, expected);
	assert_int_equal(size, size_of(fd));
	return fd;
}

#endif
