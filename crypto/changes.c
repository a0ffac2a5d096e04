// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/changes.c - records that were changed, sealed, in the slots of a log: which are there
 * and where, and many of them at once.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_PER_BATCH (TK_BATCH_SIZE >> TK_CHUNK_LOG2_MIN)

void tk_changes_free(struct tk_changes *c)
{
	free(c->records);
	free(c->buckets);
}

/* The bucket of a record, or the one it would get: open addressing, never full. */
static uint64_t *bucket(const struct tk_changes *c, uint64_t record)
{
	uint64_t i = record * UINT64_C(0x9e3779b97f4a7c15) >> 20;

	while (c->buckets[i % c->room] && c->records[c->buckets[i % c->room] - 1] != record)
		i++;
	return &c->buckets[i % c->room];
}

static void fill_buckets(struct tk_changes *c)
{
	memset(c->buckets, 0, c->room * sizeof(*c->buckets));
	for (uint64_t slot = 0; slot < c->slots; slot++)
		if (c->records[slot] != TK_NO_RECORD)
			*bucket(c, c->records[slot]) = slot + 1;
}

static int grow(struct tk_changes *c)
{
	size_t room = c->room ? 2 * c->room : 64;
	uint64_t *records, *buckets;

	/* Half of the buckets stay empty. */
	records = reallocarray(c->records, room / 2, sizeof(*records));
	if (!records)
		return -ENOMEM;
	c->records = records;
	buckets = reallocarray(c->buckets, room, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	c->buckets = buckets;
	c->room = room;
	fill_buckets(c);
	return 0;
}

bool tk_changes_find(const struct tk_changes *c, uint64_t record, uint64_t *ret_slot)
{
	uint64_t found = c->room ? *bucket(c, record) : 0;

	if (!found)
		return false;
	*ret_slot = found - 1;
	return true;
}

int tk_changes_claim(struct tk_changes *c, uint64_t record, uint64_t *ret_slot)
{
	if (tk_changes_find(c, record, ret_slot))
		return 0;
	if (c->slots == c->room / 2) {
		int r = grow(c);

		if (r < 0)
			return r;
	}
	*ret_slot = c->slots;
	c->used = true;
	c->records[c->slots++] = record;
	*bucket(c, record) = c->slots;
	return 0;
}

void tk_changes_drop(struct tk_changes *c, uint64_t first)
{
	bool any = false;

	for (uint64_t slot = 0; slot < c->slots; slot++) {
		if (c->records[slot] >= first)
			c->records[slot] = TK_NO_RECORD;
		any |= c->records[slot] != TK_NO_RECORD;
	}
	if (!any)
		c->slots = 0;
	if (c->room)
		fill_buckets(c);
}

/* Records in a row, on their way into slots that they have. */
struct row {
	const struct tk_changes *c;
	uint64_t size;	      /* of all plaintext */
	const uint8_t *plain; /* NULL: zeros */
	uint64_t first, n, per_batch;
};

/* Writes n sealed records; slots that are neighbours, which they mostly are, in one go. */
static int put_row(const struct tk_changes *c, uint64_t first, uint64_t n, const uint8_t *sealed, size_t last)
{
	uint64_t begin = 0, slot = 0, next = 0;
	int r = 0;

	for (uint64_t i = 0; r == 0 && i <= n; i++) {
		if (i < n)
			tk_changes_find(c, first + i, &next);
		if (i && (i == n || next != slot + (i - begin))) {
			size_t len = (i - begin) * tk_changes_stride(c);

			if (i == n)
				len = len - tk_changes_stride(c) + last;
			r = tk_pwrite_full(c->fd, sealed + begin * tk_changes_stride(c), len,
					   tk_changes_at(c, slot));
			begin = i;
		}
		if (i == begin)
			slot = next;
	}
	return r;
}

static int seal_batch(const void *ctx, struct tk_worker *w, uint64_t batch, uint64_t *ret_done)
{
	const struct row *row = ctx;
	uint8_t nonces[RECORDS_PER_BATCH * TK_NONCE_SIZE];
	uint64_t begin = batch * row->per_batch, n = row->n - begin, done = 0;
	size_t chunk = (size_t)1 << row->c->chunk_log2, len = 0;
	int r;

	n = n < row->per_batch ? n : row->per_batch;
	if (!row->plain)
		memset(w->plain.p, 0, chunk);
	r = tk_random(nonces, n * TK_NONCE_SIZE);
	for (uint64_t i = 0; r == 0 && i < n; i++) {
		uint64_t record = row->first + begin + i;
		const uint8_t *plain = row->plain ? row->plain + (begin + i) * chunk : w->plain.p;

		len = tk_record_length(row->size, row->c->chunk_log2, record);
		r = tk_record_seal(w->aead, record, nonces + i * TK_NONCE_SIZE, plain, len,
				   w->sealed.p + i * tk_changes_stride(row->c));
		done += len;
	}
	if (r == 0)
		r = put_row(row->c, row->first + begin, n, w->sealed.p, len + TK_RECORD_OVERHEAD);
	if (r == 0)
		*ret_done = done;
	return r;
}

int tk_changes_seal(struct tk_changes *c, const struct tk_header *h, const struct tk_file_keys *keys,
		    const uint8_t *plain, uint64_t first, uint64_t n)
{
	size_t chunk = (size_t)1 << c->chunk_log2;
	struct row row = {.c = c, .size = h->original_size, .plain = plain, .first = first, .n = n};
	uint64_t slot;

	row.per_batch = chunk < TK_BATCH_SIZE ? TK_BATCH_SIZE / chunk : 1;
	for (uint64_t i = 0; i < n; i++) {
		int r = tk_changes_claim(c, first + i, &slot);

		if (r < 0)
			return r;
	}
	return tk_batches_do(&(struct tk_batches){
		.n = (n + row.per_batch - 1) / row.per_batch,
		.algorithm = h->algorithm,
		.keys = keys,
		.seal = true,
		.plain = plain ? 0 : chunk,
		.sealed = (n < row.per_batch ? n : row.per_batch) * tk_changes_stride(c),
		.batch = seal_batch,
		.ctx = &row,
	});
}
