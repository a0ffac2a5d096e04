// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/reencrypt.c - a file of version 2 under a new file key, record by record:
 * its plaintext is never anywhere but in one record's buffer.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

#define NONCES 64 /* drawn at a time */

/* What one file needs on its way. */
struct work {
	struct tk_aead *open, *seal;
	struct tk_buffer plain, record;
	uint8_t nonces[NONCES * TK_NONCE_SIZE];
};

static void work_clear(struct work *w)
{
	tk_aead_free(w->open);
	tk_aead_free(w->seal);
	tk_buffer_free(&w->plain);
	tk_buffer_free(&w->record);
}

static int work_init(struct work *w, const struct tk_header *h, const struct tk_file_keys *from,
		     const struct tk_file_keys *to)
{
	size_t chunk = (size_t)1 << h->chunk_log2;
	int r;

	if (chunk > h->original_size)
		chunk = (size_t)h->original_size;
	r = tk_buffer_new(&w->plain, chunk);
	if (r == 0)
		r = tk_buffer_new(&w->record, chunk + TK_RECORD_OVERHEAD);
	if (r == 0)
		r = tk_aead_new(h->algorithm, from->body, false, &w->open);
	if (r == 0)
		r = tk_aead_new(h->algorithm, to->body, true, &w->seal);
	return r;
}

/* in and out: where the bodies begin. */
static int move_records(struct work *w, const struct tk_stream *s)
{
	uint64_t size = s->header->original_size, chunk = UINT64_C(1) << s->header->chunk_log2;
	int r = 0;

	for (uint64_t i = 0, done = 0; r == 0 && done < size; i++) {
		size_t len = size - done < chunk ? (size_t)(size - done) : (size_t)chunk;
		off_t at = (off_t)(done + i * TK_RECORD_OVERHEAD);

		if (i % NONCES == 0)
			r = tk_random(w->nonces, sizeof(w->nonces));
		if (r == 0)
			r = tk_pread_full(s->in_fd, w->record.p, len + TK_RECORD_OVERHEAD, s->in_offset + at);
		if (r == 0)
			r = tk_record_open(w->open, i, w->record.p, len, w->plain.p);
		if (r == 0)
			r = tk_record_seal(w->seal, i, w->nonces + i % NONCES * TK_NONCE_SIZE, w->plain.p,
					   len, w->record.p);
		if (r == 0)
			r = tk_pwrite_full(s->out_fd, w->record.p, len + TK_RECORD_OVERHEAD,
					   s->out_offset + at);
		done += len;
		if (r == 0)
			r = tk_stream_progress(s, done);
	}
	return r;
}

static int reencrypt(const struct tk_stream *s, const struct tk_file_keys *to)
{
	__attribute__((cleanup(work_clear))) struct work w = {};
	int r;

	if (s->header->original_size == 0)
		return tk_stream_progress(s, 0);
	r = work_init(&w, s->header, s->keys, to);
	return r < 0 ? r : move_records(&w, s);
}

int tk_reencrypt_fd(const struct tk_keyring *ring, uint32_t key_version, int in_fd, off_t in_offset,
		    uint64_t size, int out_fd, off_t out_offset, tk_progress progress, void *ctx,
		    struct tk_header *ret_header)
{
	__attribute__((cleanup(tk_file_keys_freep))) struct tk_file_keys *from = NULL;
	__attribute__((cleanup(tk_file_keys_freep))) struct tk_file_keys *to = NULL;
	uint8_t bytes[TK_HEADER_V2_SIZE];
	struct tk_header h, fresh;
	int r;

	r = tk_header_read(in_fd, in_offset, size, &h);
	if (r < 0)
		return r;
	if (h.version != 2)
		return -EINVAL;
	if (out_offset < 0 || size > (uint64_t)INT64_MAX - (uint64_t)out_offset)
		return -EOVERFLOW;
	from = tk_locked_alloc(sizeof(*from));
	to = from ? tk_locked_alloc(sizeof(*to)) : NULL;
	if (!to)
		return -errno;
	r = tk_header_unseal(ring, &h, from);
	if (r < 0)
		return r;

	const struct tk_params params = {
		.algorithm = h.algorithm,
		.version = 2,
		.chunk_log2 = h.chunk_log2,
		.key_id = h.key_id,
		.key_version = key_version,
	};
	const struct tk_stream s = {
		.header = &h,
		.keys = from,
		.in_fd = in_fd,
		.in_offset = in_offset + TK_HEADER_V2_SIZE,
		.out_fd = out_fd,
		.out_offset = out_offset + TK_HEADER_V2_SIZE,
		.progress = progress,
		.ctx = ctx,
	};
	r = tk_header_seal(ring, &params, h.original_size, to, &fresh);
	if (r == 0)
		r = reencrypt(&s, to);
	if (r < 0)
		return r;
	/* Last, as in tk_encrypt_fd(). */
	tk_header_build(&fresh, bytes);
	r = tk_pwrite_full(out_fd, bytes, sizeof(bytes), out_offset);
	if (r < 0)
		return r;
	if (ret_header)
		*ret_header = fresh;
	return 0;
}
