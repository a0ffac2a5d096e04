// SPDX-License-Identifier: GPL-2.0
/*
 * tests/bench/crypto_bench.c - the library alone: the loop over records as
 * records.c runs it, and small files without a file system's share.
 *
 * usage: crypto_bench records CHUNK SECONDS   bytes a second: "seal N" and "open N"
 *        crypto_bench small SIZE COUNT        microseconds of CPU a file: "encrypt N" and "decrypt N"
 *        crypto_bench parts CHUNK COUNT       the same for 4 KiB of 64 MiB: "write N", "append N" (at random,
 * in a row) and "read N"; bytes a second: "all N", "commit N"
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "crypto/aead.h"
#include "crypto/internal.h"

static const uint8_t key[32] = "thirty-two bytes of a policy key";

/* CPU time: on a shared machine the clock on the wall measures the neighbours. */
static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int records(size_t chunk, double seconds)
{
	uint8_t *plain = aligned_alloc(4096, chunk), *record = aligned_alloc(4096, chunk + 4096);
	uint8_t nonce[TK_NONCE_SIZE] = {1};

	assert(plain && record);
	memset(plain, 'x', chunk);
	for (int seal = 1; seal >= 0; seal--) {
		struct tk_aead *aead;
		double start, used;
		uint64_t n = 0;

		if (tk_aead_new(TK_AES_256_GCM, key, seal, &aead) < 0)
			return 1;
		start = cpu_seconds();
		do {
			for (int i = 0; i < 256; i++, n++) {
				/* what is opened is always record 0, the only one there is */
				if (seal ? tk_record_seal(aead, 0, nonce, plain, chunk, record)
					 : tk_record_open(aead, 0, record, chunk, plain))
					return 1;
			}
			used = cpu_seconds() - start;
		} while (used < seconds);
		printf("%s %.0f\n", seal ? "seal" : "open", (double)n * (double)chunk / used);
		tk_aead_free(aead);
	}
	free(plain);
	free(record);
	return 0;
}

static int small(size_t size, int count)
{
	int in = memfd_create("plain", 0), sealed = memfd_create("sealed", 0), out = memfd_create("out", 0);
	const struct tk_params params = {.algorithm = TK_AES_256_GCM,
					 .version = 2,
					 .chunk_log2 = TK_CHUNK_LOG2_DEFAULT,
					 .key_id = "k"};
	struct tk_keyring *ring;
	uint64_t sealed_size = 0;
	double start;

	if (ftruncate(in, (off_t)size) < 0 || tk_keyring_new(&ring) < 0 ||
	    tk_keyring_add(ring, "k", 1, key) < 0)
		return 1;
	start = cpu_seconds();
	for (int i = 0; i < count; i++)
		if (tk_encrypt_fd(ring, &params, in, 0, size, sealed, 0, NULL, NULL, &sealed_size) < 0)
			return 1;
	printf("encrypt %.2f\n", (cpu_seconds() - start) / count * 1e6);
	start = cpu_seconds();
	for (int i = 0; i < count; i++)
		if (tk_decrypt_fd(ring, sealed, 0, sealed_size, out, 0, NULL, NULL, NULL) < 0)
			return 1;
	printf("decrypt %.2f\n", (cpu_seconds() - start) / count * 1e6);
	tk_keyring_free(ring);
	return 0;
}

/* What a piece of 4 KiB costs in a writer, and all of it at once. */
static int parts(uint32_t chunk, int count)
{
	const struct tk_params params = {.algorithm = TK_AES_256_GCM,
					 .version = 2,
					 .chunk_log2 = (uint32_t)__builtin_ctz(chunk),
					 .key_id = "k"};
	const size_t size = 64 << 20, piece = 4096;
	int fd = memfd_create("file", 0), log_fd = memfd_create("log", 0), r = 0;
	uint8_t *plain = calloc(1, size);
	struct tk_writer *w = NULL;
	struct tk_keyring *ring;
	double start, end;
	uint64_t x = 1;
	size_t n;

	assert(plain);
	if (tk_keyring_new(&ring) < 0 || tk_keyring_add(ring, "k", 1, key) < 0 ||
	    tk_writer_create(ring, &params, fd, 0, log_fd, &w) < 0)
		return 1;
	start = cpu_seconds();
	r |= tk_writer_write(w, plain, size, 0);
	end = cpu_seconds();
	printf("all %.0f\n", (double)size / (end - start));
	r |= tk_writer_commit(w);
	printf("commit %.0f\n", (double)size / (cpu_seconds() - end));
	for (int what = 0; what < 3; what++) {
		start = cpu_seconds();
		for (int i = 0; i < count; i++) {
			x = x * 6364136223846793005 + 1442695040888963407;
			if (what == 0)
				r |= tk_writer_write(w, plain, piece, x % size);
			else if (what == 1)
				r |= tk_writer_write(w, plain, piece, size + (uint64_t)i * piece);
			else
				r |= tk_writer_read(w, plain, piece, x % size, &n);
		}
		printf("%s %.2f\n", ((const char *[]){"write", "append", "read"})[what],
		       (cpu_seconds() - start) / count * 1e6);
	}
	tk_writer_free(w);
	tk_keyring_free(ring);
	free(plain);
	return r ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "records") == 0)
		return records(strtoul(argv[2], NULL, 10), strtod(argv[3], NULL));
	if (argc == 4 && strcmp(argv[1], "small") == 0)
		return small(strtoul(argv[2], NULL, 10), atoi(argv[3]));
	if (argc == 4 && strcmp(argv[1], "parts") == 0)
		return parts((uint32_t)strtoul(argv[2], NULL, 10), atoi(argv[3]));
	return 2;
}
