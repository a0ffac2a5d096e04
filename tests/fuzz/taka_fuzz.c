// SPDX-License-Identifier: GPL-2.0
/*
 * tests/fuzz/taka_fuzz.c - libFuzzer target for everything of crypto/ that
 * reads foreign bytes: header, records, logs, key files.  The input is a file as it
 * may lie on a disk, so the vectors are its seeds:
 *
 *     taka_fuzz -max_len=16384 CORPUS tests/vectors
 *
 * It looks for crashes and for what must never be: plaintext from a file that
 * was refused, a header that is accepted and not reproduced, a round trip that
 * loses something, a flipped bit that goes unnoticed.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/internal.h"

/* The key of the vectors. */
static const uint8_t kek[TK_KEK_SIZE] = {0x73, 0xca, 0xd5, 0x42, 0x20, 0x53, 0x9d, 0xcb, 0x38, 0xc3, 0x39,
					 0xba, 0x90, 0xf2, 0x5b, 0x60, 0x0a, 0xf7, 0x67, 0x1f, 0xe2, 0x2b,
					 0x2e, 0x54, 0xcb, 0x77, 0xa3, 0xaa, 0xa7, 0xe1, 0x2b, 0x6a};

static struct tk_keyring *ring;
static int in = -1, out = -1, back = -1;

static void must(bool condition)
{
	if (!condition)
		abort();
}

static uint64_t size_of(int fd)
{
	struct stat st;

	must(fstat(fd, &st) == 0);
	return (uint64_t)st.st_size;
}

static void fill(int fd, const uint8_t *data, size_t len)
{
	must(ftruncate(fd, 0) == 0);
	must(pwrite(fd, data, len, 0) == (ssize_t)len);
}

static void set_up(void)
{
	if (ring)
		return;
	in = memfd_create("in", MFD_CLOEXEC);
	out = memfd_create("out", MFD_CLOEXEC);
	back = memfd_create("back", MFD_CLOEXEC);
	must(in >= 0 && out >= 0 && back >= 0);
	must(fchmod(in, 0600) == 0); /* as a key file must be */
	must(tk_keyring_new(&ring) == 0);
	must(tk_keyring_add(ring, "vector", 1, kek) == 0);
	must(tk_keyring_add(ring, "vector", 7, kek) == 0);
}

static void header(const uint8_t *data, size_t len)
{
	uint8_t built[TK_HEADER_MAX];
	struct tk_header h, other;
	int r = tk_header_parse(data, len, len, &h);

	must(r == 0 || tk_error_name(r));
	if (r == 0) {
		must(tk_is_taka(data, len) && h.size <= len && h.size <= sizeof(built));
		tk_header_build(&h, built);
		must(memcmp(built, data, h.size) == 0);
		/* a byte more is another length */
		must(tk_header_parse(data, len, (uint64_t)len + 1, &other) == -TK_E_LENGTH);
		must(tk_header_parse(data, h.size - 1, len, &other) == -TK_E_TRUNCATED);
	}
	/* the beginning of a file whose length is anything */
	if (len > 8) {
		uint64_t file_size;

		memcpy(&file_size, data + len - 8, 8);
		(void)tk_header_parse(data, len, file_size, &other);
	}
}

static void whole(const uint8_t *data, size_t len)
{
	struct tk_header h = {};
	int r;

	fill(in, data, len);
	must(ftruncate(out, 0) == 0);
	r = tk_decrypt_fd(ring, in, 0, len, out, 0, NULL, NULL, &h);
	must(r == tk_verify_fd(ring, in, 0, len, NULL, NULL));
	must(r == 0 || tk_error_name(r));
	must(size_of(out) == (r == 0 ? h.original_size : 0));
}

/* Any part of it by the reader is what the stream gave, or a part of what is damaged. */
static void parts(const uint8_t *data, size_t len)
{
	struct tk_reader *reader = NULL;
	uint64_t size, at = 0;
	uint8_t *plain, *got;
	size_t n = 0, want;
	int r = tk_reader_open(ring, in, 0, len, &reader), whole = tk_verify_fd(ring, in, 0, len, NULL, NULL);

	must(r == 0 || (r == whole && !reader));
	if (r < 0)
		return;
	size = tk_reader_header(reader)->original_size;
	must(size < len && (plain = malloc(size + 1)) && (got = malloc(size + 1)));
	/* The file's own bytes choose the pieces.  To the end: the tag of an empty version 1 file is there.
	 */
	for (size_t i = 0; r == 0 && (i == 0 || n); at += n, i++) {
		want = 1 + data[i % len] * 16;
		want = want < size - at ? want : size - at + 1;
		r = tk_reader_read(reader, plain + at, want, at, &n);
		must(r || n == (want < size - at ? want : size - at));
	}
	must(r == whole);
	if (r == 0) {
		must(size_of(out) == size && pread(out, got, size, 0) == (ssize_t)size);
		must(memcmp(plain, got, size) == 0);
	}
	free(plain);
	free(got);
	tk_reader_free(reader);
}

/* As a log it is refused or empty; as a file to change, what was whole is so again, with what was written. */
static void change(const uint8_t *data, size_t len)
{
	uint64_t at = len ? data[len - 1] * UINT64_C(97) : 0;
	struct tk_writer *writer = NULL;
	uint8_t got[8];
	size_t n = 0;
	int r, whole;

	fill(in, data, len);
	must(ftruncate(out, 0) == 0 && ftruncate(back, 0) == 0);
	r = tk_writer_recover(ring, out, 0, in);
	must(size_of(out) == 0 && size_of(in) == (r == 0 ? 0 : len));

	fill(in, data, len);
	whole = tk_verify_fd(ring, in, 0, len, NULL, NULL);
	r = tk_writer_open(ring, in, 0, back, &writer);
	must(r == 0 || (!writer && (r == whole || r == -EOPNOTSUPP)));
	if (r < 0)
		return;
	r = tk_writer_write(writer, "changed", sizeof(got), at);
	if (r == 0)
		r = tk_writer_commit(writer);
	must(size_of(back) == 0 || r < 0);
	if (whole == 0) {
		must(r == 0 && tk_verify_fd(ring, in, 0, size_of(in), NULL, NULL) == 0);
		must(tk_writer_read(writer, got, sizeof(got), at, &n) == 0 && n == sizeof(got));
		must(memcmp(got, "changed", sizeof(got)) == 0);
	}
	tk_writer_free(writer);
}

static bool hex_digit(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static void key_file(const uint8_t *data, size_t len)
{
	struct tk_keyring *keys = NULL;
	bool good = len == 32 || len == 64 || (len == 65 && data[64] == '\n');
	char path[40];

	for (size_t i = 0; len > 32 && good && i < 64; i++)
		good = hex_digit(data[i]);
	fill(in, data, len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", in);
	must(tk_keyring_new(&keys) == 0);
	must((tk_keyring_add_file(keys, "k", path, NULL) == 0) == good);
	tk_keyring_free(keys);
}

/* The input as plaintext; its first bytes choose how it is sealed and what is damaged then. */
static void round_trip(const uint8_t *data, size_t len)
{
	struct tk_params p = {.key_id = "vector"};
	uint64_t size = 0, at;
	uint8_t byte, *text;
	int r;

	if (len < 4)
		return;
	p.version = 1 + (data[0] & 1);
	p.algorithm = 1 + (data[0] >> 1 & 1);
	p.chunk_log2 = TK_CHUNK_LOG2_MIN + data[1] % (TK_CHUNK_LOG2_MAX - TK_CHUNK_LOG2_MIN + 1);
	fill(in, data, len);
	must(ftruncate(out, 0) == 0 && ftruncate(back, 0) == 0);
	must(tk_encrypt_fd(ring, &p, in, 0, len, out, 0, NULL, NULL, &size) == 0);
	must(size == size_of(out));
	must(tk_decrypt_fd(ring, out, 0, size, back, 0, NULL, NULL, NULL) == 0);
	text = malloc(len);
	must(text && size_of(back) == len && pread(back, text, len, 0) == (ssize_t)len);
	must(memcmp(text, data, len) == 0);
	free(text);

	at = (data[2] | (uint64_t)data[3] << 8) % size;
	must(pread(out, &byte, 1, (off_t)at) == 1);
	byte ^= (uint8_t)(1 << (data[0] >> 5));
	must(pwrite(out, &byte, 1, (off_t)at) == 1);
	must(ftruncate(back, 0) == 0);
	r = tk_decrypt_fd(ring, out, 0, size, back, 0, NULL, NULL, NULL);
	must(tk_error_name(r) && size_of(back) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	set_up();
	header(data, len);
	whole(data, len);
	parts(data, len);
	change(data, len);
	if (len <= 80)
		key_file(data, len);
	round_trip(data, len);
	return 0;
}
