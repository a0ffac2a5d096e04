// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/stream.c - what bodies are moved with: buffers, whole reads and writes, holes,
 * reports of progress.  Knows nothing of what is in them.
 */
#include "crypto/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Zeros of this size, at a multiple of it, may become a hole: less would cost more extents than it saves. */
#define HOLE_SIZE (1U << 16)

void tk_buffer_free(struct tk_buffer *b)
{
	tk_wipe(b->p, b->len);
	free(b->p);
}

int tk_buffer_new(struct tk_buffer *b, size_t len)
{
	/* Whole pages: the kernel and the ciphers copy fastest from their beginning. */
	b->p = aligned_alloc(4096, (len + 4096) / 4096 * 4096);
	if (!b->p)
		return -ENOMEM;
	b->len = len;
	return 0;
}

int tk_pread_full(int fd, void *buf, size_t len, off_t offset)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, offset);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -EIO;
		p += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

int tk_pwrite_full(int fd, const void *buf, size_t len, off_t offset)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len, offset);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -EIO;
		p += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

int tk_stream_progress(const struct tk_stream *s, uint64_t done)
{
	return s->progress && s->progress(s->ctx, done, s->header->original_size) ? -ECANCELED : 0;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return *p == 0 && memcmp(p, p + 1, len - 1) == 0;
}

int tk_stream_write(const struct tk_stream *s, const uint8_t *p, size_t len, uint64_t at)
{
	uint64_t last = s->header->original_size - 1; /* is always written: it gives the file its length */
	off_t to = s->out_offset + (off_t)at;
	size_t begin = 0;

	for (size_t i = 0; s->holes && i + HOLE_SIZE <= len; i += HOLE_SIZE) {
		int r;

		if (at + i + HOLE_SIZE > last || !is_zero(p + i, HOLE_SIZE))
			continue;
		r = tk_pwrite_full(s->out_fd, p + begin, i - begin, to + (off_t)begin);
		if (r < 0)
			return r;
		begin = i + HOLE_SIZE;
	}
	return tk_pwrite_full(s->out_fd, p + begin, len - begin, to + (off_t)begin);
}

bool tk_range_fits(off_t offset, uint64_t size)
{
	return offset >= 0 && size <= (uint64_t)INT64_MAX - (uint64_t)offset;
}
