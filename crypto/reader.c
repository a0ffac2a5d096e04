// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/reader.c - any part of an encrypted file, without the rest: what is
 * opened of version 2 are the records that are touched, one after the other.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define _cleanup_keys_ __attribute__((cleanup(tk_file_keys_freep)))
#define _cleanup_reader_ __attribute__((cleanup(tk_reader_freep)))

#define NO_RECORD UINT64_MAX

struct tk_reader {
	struct tk_header header;
	struct tk_aead *aead;
	int fd;
	off_t body;
	/* version 2: one record, and the plaintext of record number `held`, which is authentic */
	struct tk_buffer record, plain;
	uint64_t held;
};

void tk_reader_free(struct tk_reader *reader)
{
	if (!reader)
		return;
	tk_aead_free(reader->aead);
	tk_buffer_free(&reader->record);
	tk_buffer_free(&reader->plain);
	free(reader);
}

static void tk_reader_freep(struct tk_reader **reader)
{
	tk_reader_free(*reader);
}

int tk_reader_open(const struct tk_keyring *ring, int fd, off_t offset, uint64_t size,
		   struct tk_reader **ret_reader)
{
	_cleanup_reader_ struct tk_reader *reader = calloc(1, sizeof(*reader));
	_cleanup_keys_ struct tk_file_keys *keys = tk_locked_alloc(sizeof(*keys));
	int r;

	if (!reader || !keys)
		return -errno;
	if (!tk_range_fits(offset, size))
		return -EOVERFLOW;
	r = tk_header_read(fd, offset, size, &reader->header);
	if (r == 0)
		r = tk_header_unseal(ring, &reader->header, keys);
	if (r == 0)
		r = tk_aead_new(reader->header.algorithm, keys->body, false, &reader->aead);
	if (r == 0 && reader->header.version == 2) {
		uint64_t chunk = UINT64_C(1) << reader->header.chunk_log2;

		if (chunk > reader->header.original_size)
			chunk = reader->header.original_size;
		r = tk_buffer_new(&reader->plain, chunk);
		if (r == 0)
			r = tk_buffer_new(&reader->record, chunk + TK_RECORD_OVERHEAD);
	}
	if (r < 0)
		return r;
	reader->fd = fd;
	reader->body = offset + (off_t)reader->header.size;
	reader->held = NO_RECORD;
	*ret_reader = reader;
	reader = NULL;
	return 0;
}

const struct tk_header *tk_reader_header(const struct tk_reader *reader)
{
	return &reader->header;
}

/* Puts the plaintext of a record into reader->plain. */
static int hold_record(struct tk_reader *reader, uint64_t index)
{
	uint64_t start = index << reader->header.chunk_log2, left = reader->header.original_size - start;
	size_t len = left < reader->plain.len ? (size_t)left : reader->plain.len;
	off_t at = reader->body + (off_t)(start + index * TK_RECORD_OVERHEAD);
	int r;

	if (reader->held == index)
		return 0;
	reader->held = NO_RECORD;
	r = tk_pread_full(reader->fd, reader->record.p, len + TK_RECORD_OVERHEAD, at);
	if (r == 0)
		r = tk_record_open(reader->aead, index, reader->record.p, len, reader->plain.p);
	if (r == 0)
		reader->held = index;
	return r;
}

static int read_records(struct tk_reader *reader, uint8_t *buf, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		uint64_t index = (at + done) >> reader->header.chunk_log2;
		size_t skip = (size_t)(at + done - (index << reader->header.chunk_log2));
		size_t n = reader->plain.len - skip;
		int r = hold_record(reader, index);

		if (r < 0) {
			tk_wipe(buf, done);
			return r;
		}
		if (n > len - done)
			n = len - done;
		memcpy(buf + done, reader->plain.p + skip, n);
		done += n;
	}
	return 0;
}

int tk_reader_read(struct tk_reader *reader, void *buf, size_t len, uint64_t at, size_t *ret_len)
{
	uint64_t size = reader->header.original_size;
	int r = 0;

	if (at >= size)
		len = 0;
	else if (len > size - at)
		len = (size_t)(size - at);
	if (reader->header.version == 1)
		r = tk_message_part(&reader->header, reader->aead, reader->fd, reader->body, buf, len, at);
	else
		r = read_records(reader, buf, len, at);
	if (r == 0)
		*ret_len = len;
	return r;
}
