// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/writer.c - any part of a version 2 file changed: plaintext in, one chunk of it in memory, sealed
 * records out to the log.  Of how they get from there into the file it knows the order alone (changes.c).
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A chunk's plaintext is the one that is held, or else in the log, or else, below `kept`, in the file, or
 * else zeros.  A record that is in the log has the length that belongs to `size`: when the size changes, the
 * chunk at the former end, or at the new one, is held and changed.
 */
struct tk_writer {
	struct tk_header header;	   /* original_size: of the last commit */
	uint8_t before[TK_HEADER_V2_SIZE]; /* the header in the file; zeros: none yet */
	bool created;			   /* none yet */
	struct tk_file_keys *keys;
	struct tk_aead *open, *seal;
	struct tk_changes changes;
	int fd;
	off_t offset;
	uint64_t size, kept;	/* the smallest size since the last commit */
	struct tk_buffer plain; /* of record number `held`, with zeros up to a whole chunk */
	struct tk_buffer record;
	uint64_t held;
	bool changed; /* and not in the log */
	int failed;
};

void tk_writer_free(struct tk_writer *w)
{
	if (!w)
		return;
	tk_locked_free(w->keys, sizeof(*w->keys));
	tk_aead_free(w->open);
	tk_aead_free(w->seal);
	tk_changes_free(&w->changes);
	tk_buffer_free(&w->plain);
	tk_buffer_free(&w->record);
	free(w);
}

static void tk_writer_freep(struct tk_writer **w)
{
	tk_writer_free(*w);
}

#define _cleanup_writer_ __attribute__((cleanup(tk_writer_freep)))

static int check_fd(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	/* With O_APPEND pwrite(2) writes elsewhere than it is told. */
	return flags < 0 || (flags & O_ACCMODE) != O_RDWR || flags & O_APPEND ? -EBADF : 0;
}

/* What both ways to a writer begin with; a log that was left is empty then. */
static int writer_new(const struct tk_keyring *ring, int fd, off_t offset, int log_fd,
		      struct tk_writer **ret_writer, off_t *ret_end)
{
	_cleanup_writer_ struct tk_writer *w = calloc(1, sizeof(*w));
	struct stat st;
	int r;

	if (!w)
		return -ENOMEM;
	w->keys = tk_locked_alloc(sizeof(*w->keys));
	if (!w->keys)
		return -errno;
	r = check_fd(fd);
	if (r == 0)
		r = check_fd(log_fd);
	if (r == 0)
		r = tk_writer_recover(ring, fd, offset, log_fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	w->fd = fd;
	w->offset = offset;
	w->held = TK_NO_RECORD;
	w->changes.fd = log_fd;
	*ret_end = st.st_size;
	*ret_writer = w;
	w = NULL;
	return 0;
}

/* What both end with: the header and the keys are there. */
static int writer_ready(struct tk_writer *w)
{
	size_t chunk = (size_t)1 << w->header.chunk_log2;
	int r = tk_buffer_new(&w->plain, chunk);

	if (r == 0)
		r = tk_buffer_new(&w->record, chunk + TK_RECORD_OVERHEAD);
	if (r == 0)
		r = tk_aead_new(w->header.algorithm, w->keys->body, false, &w->open);
	if (r == 0)
		r = tk_aead_new(w->header.algorithm, w->keys->body, true, &w->seal);
	w->changes.chunk_log2 = w->header.chunk_log2;
	w->size = w->kept = w->header.original_size;
	return r;
}

int tk_writer_open(const struct tk_keyring *ring, int fd, off_t offset, int log_fd,
		   struct tk_writer **ret_writer)
{
	_cleanup_writer_ struct tk_writer *w = NULL;
	off_t end;
	int r;

	r = writer_new(ring, fd, offset, log_fd, &w, &end);
	if (r == 0)
		r = tk_header_read(fd, offset, end > offset ? (uint64_t)(end - offset) : 0, &w->header);
	if (r == 0 && w->header.version != 2)
		r = -EOPNOTSUPP;
	if (r == 0)
		r = tk_header_unseal(ring, &w->header, w->keys);
	if (r == 0)
		r = writer_ready(w);
	if (r < 0)
		return r;
	tk_header_build(&w->header, w->before);
	*ret_writer = w;
	w = NULL;
	return 0;
}

int tk_writer_create(const struct tk_keyring *ring, const struct tk_params *params, int fd, off_t offset,
		     int log_fd, struct tk_writer **ret_writer)
{
	_cleanup_writer_ struct tk_writer *w = NULL;
	off_t end;
	int r;

	if (params->version == 1)
		return -EOPNOTSUPP;
	r = writer_new(ring, fd, offset, log_fd, &w, &end);
	if (r == 0 && end != offset)
		r = -EEXIST;
	if (r == 0)
		r = tk_header_seal(ring, params, 0, w->keys, &w->header);
	if (r == 0)
		r = writer_ready(w);
	if (r < 0)
		return r;
	w->created = true;
	*ret_writer = w;
	w = NULL;
	return 0;
}

uint64_t tk_writer_size(const struct tk_writer *w)
{
	return w->size;
}

/* ------------------------------------------------------------- one chunk */

/* What is held goes to the log, if it has to. */
static int put_away(struct tk_writer *w)
{
	size_t len = tk_record_length(w->size, w->header.chunk_log2, w->held);
	uint8_t nonce[TK_NONCE_SIZE];
	uint64_t slot;
	int r;

	if (!w->changed)
		return 0;
	r = tk_changes_claim(&w->changes, w->held, &slot);
	if (r == 0)
		r = tk_random(nonce, sizeof(nonce));
	if (r == 0)
		r = tk_record_seal(w->seal, w->held, nonce, w->plain.p, len, w->record.p);
	if (r == 0)
		r = tk_pwrite_full(w->changes.fd, w->record.p, len + TK_RECORD_OVERHEAD,
				   tk_changes_at(&w->changes, slot));
	w->changed = r < 0;
	return r;
}

/* Holds a chunk, as it is, or (blank) for one that will be overwritten from end to end. */
static int hold(struct tk_writer *w, uint64_t index, bool blank)
{
	uint64_t start = index << w->header.chunk_log2, slot;
	size_t len = 0;
	int r;

	if (w->held == index)
		return 0;
	r = put_away(w);
	if (r < 0) {
		w->failed = r;
		return r;
	}
	w->held = TK_NO_RECORD;
	if (blank) {
		/* nothing to find out */
	} else if (tk_changes_find(&w->changes, index, &slot)) {
		len = tk_record_length(w->size, w->header.chunk_log2, index);
		r = tk_pread_full(w->changes.fd, w->record.p, len + TK_RECORD_OVERHEAD,
				  tk_changes_at(&w->changes, slot));
	} else if (start < w->kept) {
		len = tk_record_length(w->header.original_size, w->header.chunk_log2, index);
		r = tk_pread_full(w->fd, w->record.p, len + TK_RECORD_OVERHEAD,
				  w->offset + TK_HEADER_V2_SIZE +
					  (off_t)(start + index * TK_RECORD_OVERHEAD));
	}
	if (r == 0 && len)
		r = tk_record_open(w->open, index, w->record.p, len, w->plain.p);
	if (r < 0)
		return r;
	memset(w->plain.p + len, 0, w->plain.len - len);
	w->held = index;
	return 0;
}

int tk_writer_read(struct tk_writer *w, void *buf, size_t len, uint64_t at, size_t *ret_len)
{
	uint8_t *p = buf;

	if (w->failed)
		return w->failed;
	if (at >= w->size)
		len = 0;
	else if (len > w->size - at)
		len = (size_t)(w->size - at);
	for (size_t done = 0, n; done < len; done += n) {
		size_t skip = (at + done) & (w->plain.len - 1);
		int r = hold(w, (at + done) >> w->header.chunk_log2, false);

		if (r < 0) {
			tk_wipe(buf, done);
			return r;
		}
		n = w->plain.len - skip < len - done ? w->plain.len - skip : len - done;
		memcpy(p + done, w->plain.p + skip, n);
	}
	*ret_len = len;
	return 0;
}

/* --------------------------------------------------------------- changes */

/* n records from `first` on, of whole chunks at plain, or zeros, at once. */
static int put_row(struct tk_writer *w, const uint8_t *plain, uint64_t first, uint64_t n)
{
	struct tk_header h = w->header;

	h.original_size = w->size;
	if (w->held - first < n) {
		w->held = TK_NO_RECORD;
		w->changed = false;
	}
	return tk_changes_seal(&w->changes, &h, w->keys, plain, first, n);
}

/* Whether a file of that much plaintext can be. */
static int check_size(const struct tk_writer *w, uint64_t size)
{
	struct tk_header h = w->header;
	const struct tk_params params = {
		.algorithm = h.algorithm, .version = 2, .chunk_log2 = h.chunk_log2, .key_id = h.key_id};
	uint64_t total;
	int r = tk_sealed_size(&params, size, &total);

	return r < 0 ? r : tk_range_fits(w->offset, total) ? 0 : -EOVERFLOW;
}

static int set_size(struct tk_writer *w, uint64_t size)
{
	uint64_t smaller = size < w->size ? size : w->size, last = smaller >> w->header.chunk_log2;
	size_t part = smaller & (w->plain.len - 1);

	if (size == w->size)
		return 0;
	/* The record at the smaller of the two ends gets another length. */
	if (part) {
		int r = hold(w, last, false);

		if (r < 0)
			return r;
		memset(w->plain.p + part, 0, w->plain.len - part);
		w->changed = true;
	}
	if (size < w->size) {
		uint64_t records = tk_record_count(size, w->header.chunk_log2);

		tk_changes_drop(&w->changes, records);
		if (w->held >= records) {
			w->held = TK_NO_RECORD;
			w->changed = false;
		}
		if (size < w->kept)
			w->kept = size;
	}
	w->size = size;
	return 0;
}

static int write_chunks(struct tk_writer *w, const uint8_t *p, size_t len, uint64_t at)
{
	size_t chunk = w->plain.len, n;
	int r;

	for (; len; len -= n, p += n, at += n) {
		uint64_t index = at >> w->header.chunk_log2;
		size_t skip = at & (chunk - 1);

		if (skip == 0 && len >= 2 * chunk) {
			n = len & ~(chunk - 1);
			r = put_row(w, p, index, n / chunk);
			if (r < 0)
				return r;
			continue;
		}
		n = chunk - skip < len ? chunk - skip : len;
		r = hold(w, index, n == tk_record_length(w->size, w->header.chunk_log2, index));
		if (r < 0)
			return r;
		memcpy(w->plain.p + skip, p, n);
		w->changed = true;
	}
	return 0;
}

int tk_writer_write(struct tk_writer *w, const void *buf, size_t len, uint64_t at)
{
	uint64_t end;
	int r = 0;

	if (w->failed)
		return w->failed;
	if (len == 0)
		return 0;
	if (__builtin_add_overflow(at, (uint64_t)len, &end))
		return -EOVERFLOW;
	if (end > w->size) {
		r = check_size(w, end);
		if (r < 0)
			return r;
		r = set_size(w, end);
	}
	if (r == 0)
		r = write_chunks(w, buf, len, at);
	w->failed = r;
	return r;
}

int tk_writer_truncate(struct tk_writer *w, uint64_t size)
{
	int r;

	if (w->failed)
		return w->failed;
	r = check_size(w, size);
	if (r < 0)
		return r;
	w->failed = set_size(w, size);
	return w->failed;
}

/* ---------------------------------------------------------------- commit */

/* Beyond what is kept, what is neither held nor in the log are zeros that nobody wrote. */
static int put_zeros(struct tk_writer *w)
{
	uint64_t end = tk_record_count(w->size, w->header.chunk_log2), n = 0, slot;

	for (uint64_t i = tk_record_count(w->kept, w->header.chunk_log2); i <= end; i++) {
		if (i < end && !tk_changes_find(&w->changes, i, &slot)) {
			n++;
			continue;
		}
		if (n) {
			int r = put_row(w, NULL, i - n, n);

			if (r < 0)
				return r;
		}
		n = 0;
	}
	return 0;
}

/* Nobody else has had it meanwhile. */
static int check_unchanged(const struct tk_writer *w)
{
	uint64_t size = w->created ? 0 : tk_header_file_size(&w->header);
	struct stat st;

	if (fstat(w->fd, &st) < 0)
		return -errno;
	if (st.st_size != w->offset + (off_t)size)
		return -ESTALE;
	return tk_changes_header_is(w->fd, w->offset, w->before);
}

/* A full disk is to be met while the file is still whole. */
static int reserve(const struct tk_writer *w, const struct tk_header *h)
{
	off_t now = w->created ? 0 : (off_t)tk_header_file_size(&w->header),
	      then = (off_t)tk_header_file_size(h);

	if (then <= now || fallocate(w->fd, FALLOC_FL_KEEP_SIZE, w->offset + now, then - now) == 0)
		return 0;
	return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

static int commit(struct tk_writer *w)
{
	struct tk_header h = w->header;
	int r;

	r = put_away(w);
	if (r == 0)
		r = put_zeros(w);
	if (r == 0)
		r = check_unchanged(w);
	h.original_size = w->size;
	if (r == 0)
		r = tk_header_tag(w->keys, &h);
	if (r == 0)
		r = reserve(w, &h);
	if (r == 0)
		r = tk_changes_finish(&w->changes, w->keys, &h, w->before);
	if (r == 0)
		r = tk_changes_apply(&w->changes, &h, w->fd, w->offset);
	if (r == 0)
		r = tk_changes_clear(&w->changes);
	if (r < 0)
		return r;
	w->header = h;
	tk_header_build(&h, w->before);
	w->created = false;
	w->kept = w->size;
	return 0;
}

int tk_writer_commit(struct tk_writer *w)
{
	uint64_t size = w->header.original_size;

	if (w->failed)
		return w->failed;
	if (w->created || w->changed || w->changes.slots || w->size != size || w->kept != size)
		w->failed = commit(w);
	else if (w->changes.used) /* for records that were all cut off again */
		w->failed = tk_changes_clear(&w->changes);
	return w->failed;
}
