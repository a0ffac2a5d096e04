// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/redo.c - the commit of changed records: the log they are in completed, put into the
 * file they belong to, and done again when that was cut off.
 *
 * A log is good for one commit of one file, and is this, in sectors of 512 bytes:
 *
 *	   0  struct head, written when all the rest is on the disk, in one write
 *	 512  the header that the TAKA file has before the commit, zeros when it has none
 *	1024  the header that it gets
 *	1536  slots, each with room for the record of a whole chunk
 *	   …  of each slot the number of its record (u64, TK_NO_RECORD: of none), encrypted
 *
 * The head's tag is that of these numbers; additional data are the three sectors with zeros in the tag's
 * place, the key is HKDF-Expand-SHA256(DEK, "takakrypt v2 changes", 32).  The records have their own tags.
 *
 * So without a head the TAKA file was not touched, and with one there is all that is needed to do the commit,
 * from its beginning, as often as it takes; if there is not, something was damaged, and nothing is done.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR TK_HEADER_V2_SIZE
#define BEFORE_AT SECTOR
#define AFTER_AT (2 * SECTOR)
#define SLOTS_AT TK_CHANGES_SLOTS_AT
#define PIECE_SIZE (1U << 20) /* moved at a time, but at least one record */

/* Little-endian.  The mark is at both ends: what was written in part has not got the second. */
struct head {
	char mark[8];
	uint64_t slots;
	uint64_t size; /* of the TAKA file after the commit */
	uint8_t nonce[TK_NONCE_SIZE];
	uint8_t tag[TK_TAG_SIZE];
	uint8_t zeros[SECTOR - 60];
	char end[8];
};
_Static_assert(sizeof(struct head) == SECTOR, "one write, one sector");
_Static_assert(SLOTS_AT == 3 * SECTOR, "head, before, after");

static const char mark[8] = "tkredo-1"; /* not the magic: a log is no TAKA file */
static const char label[] = "takakrypt v2 changes";

#define _cleanup_aead_ __attribute__((cleanup(tk_aead_freep)))
#define _cleanup_buffer_ __attribute__((cleanup(tk_buffer_free)))

/* The message of the head's tag, up to its end: the numbers, through a buffer. */
static int numbers(struct tk_changes *c, const struct tk_file_keys *keys, enum tk_algorithm algorithm,
		   bool seal, const uint8_t *sectors, struct tk_aead **ret_aead)
{
	_cleanup_aead_ struct tk_aead *aead = NULL;
	const struct head *head = (const void *)sectors;
	uint8_t *key = tk_locked_alloc(32), aad[SLOTS_AT];
	uint64_t piece[512];
	int r;

	if (!key)
		return -errno;
	r = tk_hkdf_expand(keys->dek, label, key);
	if (r == 0)
		r = tk_aead_new(algorithm, key, seal, &aead);
	tk_locked_free(key, 32);
	memcpy(aad, sectors, sizeof(aad));
	memset(aad + offsetof(struct head, tag), 0, TK_TAG_SIZE);
	if (r == 0)
		r = tk_aead_begin(aead, head->nonce, aad, sizeof(aad));
	for (uint64_t done = 0, n; r == 0 && done < c->slots; done += n) {
		off_t at = tk_changes_at(c, c->slots) + (off_t)(done * sizeof(*piece));

		n = c->slots - done < 512 ? c->slots - done : 512;
		for (uint64_t i = 0; seal && i < n; i++)
			piece[i] = htole64(c->records[done + i]);
		if (!seal)
			r = tk_pread_full(c->fd, piece, n * sizeof(*piece), at);
		if (r == 0)
			r = tk_aead_update(aead, (uint8_t *)piece, n * sizeof(*piece), (uint8_t *)piece);
		if (r == 0 && seal)
			r = tk_pwrite_full(c->fd, piece, n * sizeof(*piece), at);
		for (uint64_t i = 0; r == 0 && !seal && i < n; i++)
			c->records[done + i] = le64toh(piece[i]);
	}
	if (r < 0)
		return r;
	*ret_aead = aead;
	aead = NULL;
	return 0;
}

int tk_changes_finish(struct tk_changes *c, const struct tk_file_keys *keys, const struct tk_header *h,
		      const uint8_t *before)
{
	_cleanup_aead_ struct tk_aead *aead = NULL;
	_Alignas(struct head) uint8_t sectors[SLOTS_AT] = {};
	struct head *head = (void *)sectors;
	int r;

	memcpy(head->mark, mark, sizeof(mark));
	memcpy(head->end, mark, sizeof(mark));
	head->slots = htole64(c->slots);
	head->size = htole64(tk_header_file_size(h));
	memcpy(sectors + BEFORE_AT, before, SECTOR);
	tk_header_build(h, sectors + AFTER_AT);
	r = tk_random(head->nonce, sizeof(head->nonce));
	if (r == 0)
		r = numbers(c, keys, h->algorithm, true, sectors, &aead);
	if (r == 0)
		r = tk_aead_finish_seal(aead, head->tag);
	if (r == 0)
		r = tk_pwrite_full(c->fd, sectors + SECTOR, SLOTS_AT - SECTOR, SECTOR);
	if (r < 0)
		return r;
	/* Of longer logs, whose last records were dropped, nothing is left. */
	if (ftruncate(c->fd, tk_changes_at(c, c->slots) + (off_t)(c->slots * sizeof(uint64_t))) < 0 ||
	    fdatasync(c->fd) < 0)
		return -errno;
	r = tk_pwrite_full(c->fd, head, SECTOR, 0);
	if (r < 0)
		return r;
	return fdatasync(c->fd) < 0 ? -errno : 0;
}

int tk_changes_clear(struct tk_changes *c)
{
	tk_changes_drop(c, 0);
	/* On the disk: or what others do to the file afterwards could be undone by it. */
	if (ftruncate(c->fd, 0) < 0 || fsync(c->fd) < 0)
		return -errno;
	c->used = false;
	return 0;
}

/* ------------------------------------------------------------ the commit */

static size_t record_size(const struct tk_header *h, uint64_t record)
{
	return tk_record_length(h->original_size, h->chunk_log2, record) + TK_RECORD_OVERHEAD;
}

int tk_changes_apply(const struct tk_changes *c, const struct tk_header *h, int fd, off_t offset)
{
	_cleanup_buffer_ struct tk_buffer b = {};
	uint8_t bytes[TK_HEADER_V2_SIZE];
	uint64_t most = PIECE_SIZE / tk_changes_stride(c) ? PIECE_SIZE / tk_changes_stride(c) : 1;
	int r = tk_buffer_new(&b, most * tk_changes_stride(c));

	if (r < 0)
		return r;
	if (ftruncate(fd, offset + (off_t)tk_header_file_size(h)) < 0)
		return -errno;
	for (uint64_t slot = 0, n; r == 0 && slot < c->slots; slot += n) {
		uint64_t first = c->records[slot];
		size_t len;

		n = 1;
		if (first == TK_NO_RECORD)
			continue;
		/* Neighbours here and there, of which only the last of all may be short. */
		while (n < most && slot + n < c->slots && c->records[slot + n] == first + n)
			n++;
		len = (n - 1) * tk_changes_stride(c) + record_size(h, first + n - 1);
		r = tk_pread_full(c->fd, b.p, len, tk_changes_at(c, slot));
		if (r == 0)
			r = tk_pwrite_full(fd, b.p, len,
					   offset + SECTOR + (off_t)(first * tk_changes_stride(c)));
	}
	tk_header_build(h, bytes);
	if (r == 0)
		r = tk_pwrite_full(fd, bytes, sizeof(bytes), offset);
	if (r < 0)
		return r;
	return fdatasync(fd) < 0 ? -errno : 0;
}

int tk_changes_header_is(int fd, off_t offset, const uint8_t *header)
{
	uint8_t now[SECTOR] = {};
	struct stat st;
	size_t len;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	len = st.st_size <= offset	     ? 0
	      : st.st_size - offset < SECTOR ? (size_t)(st.st_size - offset)
					     : SECTOR;
	r = tk_pread_full(fd, now, len, offset);
	if (r < 0)
		return r;
	return memcmp(now, header, SECTOR) == 0 ? 0 : -ESTALE;
}

/* -------------------------------------------------------------- recovery */

/* Every record is what its header and its place say: nothing is begun that could not be finished. */
static int check_records(const struct tk_changes *c, const struct tk_header *h,
			 const struct tk_file_keys *keys)
{
	_cleanup_aead_ struct tk_aead *aead = NULL;
	_cleanup_buffer_ struct tk_buffer plain = {}, record = {};
	int r = tk_buffer_new(&plain, tk_changes_stride(c));

	if (r == 0)
		r = tk_buffer_new(&record, tk_changes_stride(c));
	if (r == 0)
		r = tk_aead_new(h->algorithm, keys->body, false, &aead);
	for (uint64_t slot = 0; r == 0 && slot < c->slots; slot++) {
		uint64_t n = c->records[slot];

		if (n == TK_NO_RECORD)
			continue;
		if (n >= tk_record_count(h->original_size, h->chunk_log2))
			return -TK_E_AUTH;
		r = tk_pread_full(c->fd, record.p, record_size(h, n), tk_changes_at(c, slot));
		if (r == 0)
			r = tk_record_open(aead, n, record.p, record_size(h, n) - TK_RECORD_OVERHEAD,
					   plain.p);
	}
	return r;
}

/* A log with a head. */
static int redo(const struct tk_keyring *ring, int fd, off_t offset, struct tk_changes *c, uint64_t log_size)
{
	__attribute__((cleanup(tk_file_keys_freep))) struct tk_file_keys *keys =
		tk_locked_alloc(sizeof(*keys));
	_cleanup_aead_ struct tk_aead *aead = NULL;
	_Alignas(struct head) uint8_t sectors[SLOTS_AT];
	const struct head *head = (const void *)sectors;
	struct tk_header h;
	int r;

	if (!keys)
		return -errno;
	if (log_size < SLOTS_AT)
		return -TK_E_LENGTH;
	r = tk_pread_full(c->fd, sectors, sizeof(sectors), 0);
	if (r == 0)
		r = tk_header_parse(sectors + AFTER_AT, SECTOR, le64toh(head->size), &h);
	if (r == 0 && h.version != 2)
		r = -TK_E_VERSION;
	if (r < 0)
		return r;
	if (!tk_range_fits(offset, le64toh(head->size)))
		return -EOVERFLOW;
	c->chunk_log2 = h.chunk_log2;
	c->slots = le64toh(head->slots);
	if (c->slots > log_size / tk_changes_stride(c) ||
	    log_size != (uint64_t)tk_changes_at(c, c->slots) + c->slots * sizeof(uint64_t))
		return -TK_E_LENGTH;
	c->records = calloc(c->slots + 1, sizeof(*c->records));
	if (!c->records)
		return -ENOMEM;
	r = tk_header_unseal(ring, &h, keys);
	if (r == 0)
		r = numbers(c, keys, h.algorithm, false, sectors, &aead);
	if (r == 0)
		r = tk_aead_finish_open(aead, head->tag);
	if (r == 0)
		r = check_records(c, &h, keys);
	if (r < 0)
		return r;
	r = tk_changes_header_is(fd, offset, sectors + BEFORE_AT);
	if (r == -ESTALE)
		r = tk_changes_header_is(fd, offset, sectors + AFTER_AT);
	if (r < 0)
		return r;
	r = tk_changes_apply(c, &h, fd, offset);
	return r < 0 ? r : tk_changes_clear(c);
}

/* The mark, or what a write of it that was cut off left: its beginning, then zeros. */
static bool begins(const char *p)
{
	size_t n = 0;

	while (n < sizeof(mark) && p[n] == mark[n])
		n++;
	while (n < sizeof(mark) && !p[n])
		n++;
	return n == sizeof(mark);
}

int tk_writer_recover(const struct tk_keyring *ring, int fd, off_t offset, int log_fd)
{
	__attribute__((cleanup(tk_changes_free))) struct tk_changes c = {.fd = log_fd};
	struct head head = {};
	struct stat st;
	size_t len;
	int r;

	if (fstat(log_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || offset < 0)
		return -EINVAL;
	len = st.st_size < SECTOR ? (size_t)st.st_size : SECTOR;
	if (len == 0)
		return 0;
	r = tk_pread_full(log_fd, &head, len, 0);
	if (r < 0)
		return r;
	/* Whatever this is, it is no log, or one that was damaged, and not to be emptied. */
	if (!begins(head.mark) || !begins(head.end))
		return -EINVAL;
	if (memcmp(head.end, mark, sizeof(mark)))
		return tk_changes_clear(&c);
	return redo(ring, fd, offset, &c, (uint64_t)st.st_size);
}
