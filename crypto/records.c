// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/records.c - the body of version 2: independent records (FORMAT.md), one
 * by one, and all of a body in batches.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <endian.h>
#include <string.h>

/*
 * What is read, worked on and written at a time, in bytes of plaintext (but at
 * least one chunk).  When opening, nothing of a batch is written before all of
 * it is authentic; takakrypt.h promises that for whole files up to WHOLE_SIZE.
 * What is longer goes in batches whose two buffers stay in a core's own cache.
 */
#define WHOLE_SIZE (1U << 20)
#define RECORDS_PER_BATCH_MAX (WHOLE_SIZE >> TK_CHUNK_LOG2_MIN)

/* One body on its way; shared by the threads that work on it. */
struct body {
	const struct tk_stream *s;
	uint64_t chunk, batch_records;
	size_t batch_plain;
};

int tk_record_seal(struct tk_aead *aead, uint64_t index, const uint8_t *nonce, const uint8_t *plain,
		   size_t len, uint8_t *record)
{
	uint64_t aad = htole64(index);
	int r;

	memcpy(record, nonce, TK_NONCE_SIZE);
	r = tk_aead_begin(aead, record, &aad, sizeof(aad));
	if (r == 0)
		r = tk_aead_update(aead, plain, len, record + TK_NONCE_SIZE);
	if (r == 0)
		r = tk_aead_finish_seal(aead, record + TK_NONCE_SIZE + len);
	return r;
}

int tk_record_open(struct tk_aead *aead, uint64_t index, const uint8_t *record, size_t len, uint8_t *plain)
{
	uint64_t aad = htole64(index);
	int r;

	r = tk_aead_begin(aead, record, &aad, sizeof(aad));
	if (r == 0)
		r = tk_aead_update(aead, record + TK_NONCE_SIZE, len, plain);
	if (r == 0)
		r = tk_aead_finish_open(aead, record + TK_NONCE_SIZE + len);
	return r;
}

/* Reads, seals or opens, and writes batch number `batch`; ret_len: its plaintext. */
static int do_batch(const void *ctx, struct tk_worker *w, uint64_t batch, uint64_t *ret_len)
{
	const struct body *b = ctx;
	const struct tk_stream *s = b->s;
	uint8_t nonces[RECORDS_PER_BATCH_MAX * TK_NONCE_SIZE];
	uint64_t first = batch * b->batch_records, start = first * b->chunk;
	uint64_t left = s->header->original_size - start;
	size_t plain_len = b->batch_plain < left ? b->batch_plain : (size_t)left;
	size_t records = (plain_len + b->chunk - 1) / b->chunk;
	size_t sealed_len = plain_len + records * TK_RECORD_OVERHEAD;
	off_t plain_at = (off_t)start, sealed_at = (off_t)(start + first * TK_RECORD_OVERHEAD);
	int r;

	if (s->seal) {
		r = tk_pread_full(s->in_fd, w->plain.p, plain_len, s->in_offset + plain_at);
		if (r == 0)
			r = tk_random(nonces, records * TK_NONCE_SIZE);
	} else {
		r = tk_pread_full(s->in_fd, w->sealed.p, sealed_len, s->in_offset + sealed_at);
	}
	for (size_t i = 0; r == 0 && i < records; i++) {
		uint8_t *plain = w->plain.p + i * b->chunk;
		uint8_t *record = w->sealed.p + i * (b->chunk + TK_RECORD_OVERHEAD);
		size_t len = i + 1 < records ? b->chunk : plain_len - i * b->chunk;

		if (s->seal)
			r = tk_record_seal(w->aead, first + i, nonces + i * TK_NONCE_SIZE, plain, len,
					   record);
		else
			r = tk_record_open(w->aead, first + i, record, len, plain);
	}
	if (r == 0 && s->seal)
		r = tk_pwrite_full(s->out_fd, w->sealed.p, sealed_len, s->out_offset + sealed_at);
	else if (r == 0 && s->out_fd >= 0)
		r = tk_stream_write(s, w->plain.p, plain_len, start);
	if (r == 0)
		*ret_len = plain_len;
	return r;
}

static int report(const void *ctx, uint64_t done)
{
	return tk_stream_progress(((const struct body *)ctx)->s, done);
}

int tk_records(const struct tk_stream *s)
{
	const struct tk_header *h = s->header;
	uint64_t size = h->original_size, batch_size = size <= WHOLE_SIZE ? WHOLE_SIZE : TK_BATCH_SIZE,
		 records;
	struct body body = {.s = s, .chunk = UINT64_C(1) << h->chunk_log2};
	struct tk_batches b = {
		.algorithm = h->algorithm,
		.keys = s->keys,
		.seal = s->seal,
		.batch = do_batch,
		.report = report,
		.ctx = &body,
	};
	int r;

	body.batch_records = body.chunk < batch_size ? batch_size / body.chunk : 1;
	b.n = (size + body.batch_records * body.chunk - 1) / (body.batch_records * body.chunk);
	if (b.n == 0)
		return tk_stream_progress(s, 0);
	b.plain = body.batch_records * body.chunk;
	records = body.batch_records;
	if (b.plain > size) {
		b.plain = size;
		records = (size + body.chunk - 1) / body.chunk;
	}
	b.sealed = b.plain + records * TK_RECORD_OVERHEAD;
	body.batch_plain = b.plain;
	r = tk_batches_do(&b);
	return r < 0 ? r : tk_stream_progress(s, size);
}
