// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/contents.c - whole contents, from descriptor to descriptor: finds the
 * keys, lets message.c or records.c do the body, and puts the header last.
 */
#include "crypto/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Zeros of this size, at a multiple of it, may become a hole: less would cost more extents than it saves. */
#define HOLE_SIZE (1U << 16)

#define _cleanup_keys_ __attribute__((cleanup(tk_file_keys_freep)))

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

int tk_encrypt_fd(const struct tk_keyring *ring, const struct tk_params *params, int in_fd, off_t in_offset,
		  uint64_t size, int out_fd, off_t out_offset, tk_progress report, void *ctx,
		  uint64_t *ret_size)
{
	_cleanup_keys_ struct tk_file_keys *keys = NULL;
	uint8_t bytes[TK_HEADER_MAX];
	struct tk_header h;
	uint64_t sealed;
	int r;

	r = tk_sealed_size(params, size, &sealed);
	if (r < 0)
		return r;
	if (!tk_range_fits(in_offset, size) || !tk_range_fits(out_offset, sealed))
		return -EOVERFLOW;
	keys = tk_locked_alloc(sizeof(*keys));
	if (!keys)
		return -errno;
	r = tk_header_seal(ring, params, size, keys, &h);
	if (r < 0)
		return r;

	struct tk_stream s = {
		.header = &h,
		.keys = keys,
		.seal = true,
		.in_fd = in_fd,
		.in_offset = in_offset,
		.out_fd = out_fd,
		.out_offset = out_offset + (off_t)h.size,
		.progress = report,
		.ctx = ctx,
	};
	r = h.version == 1 ? tk_message_seal(&s, &h) : tk_records(&s);
	if (r < 0)
		return r;
	/* Last: what was begun and not finished shall not look like a TAKA file. */
	tk_header_build(&h, bytes);
	r = tk_pwrite_full(out_fd, bytes, h.size, out_offset);
	if (r < 0)
		return r;
	if (ret_size)
		*ret_size = sealed;
	return 0;
}

static int open_fd(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, int out_fd,
		   off_t out_offset, bool holes, tk_progress report, void *ctx, struct tk_header *ret_header)
{
	_cleanup_keys_ struct tk_file_keys *keys = NULL;
	struct tk_header h;
	int r;

	r = tk_header_read(in_fd, in_offset, size, &h);
	if (r < 0)
		return r;
	if (!tk_range_fits(in_offset, size) || !tk_range_fits(out_offset, h.original_size))
		return -EOVERFLOW;
	keys = tk_locked_alloc(sizeof(*keys));
	if (!keys)
		return -errno;
	r = tk_header_unseal(ring, &h, keys);
	if (r < 0)
		return r;

	struct tk_stream s = {
		.header = &h,
		.keys = keys,
		.seal = false,
		.in_fd = in_fd,
		.in_offset = in_offset + (off_t)h.size,
		.out_fd = out_fd,
		.out_offset = out_offset,
		.holes = holes,
		.progress = report,
		.ctx = ctx,
	};
	r = h.version == 1 ? tk_message_open(&s) : tk_records(&s);
	if (r < 0)
		return r;
	if (ret_header)
		*ret_header = h;
	return 0;
}

int tk_decrypt_fd(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, int out_fd,
		  off_t out_offset, tk_progress report, void *ctx, struct tk_header *ret_header)
{
	if (out_fd < 0)
		return -EBADF;
	return open_fd(ring, in_fd, in_offset, size, out_fd, out_offset, false, report, ctx, ret_header);
}

int tk_decrypt_fd_sparse(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, int out_fd,
			 off_t out_offset, tk_progress report, void *ctx, struct tk_header *ret_header)
{
	struct stat st;

	if (fstat(out_fd, &st) < 0)
		return -errno;
	/* What is left out must not be what was there before. */
	if (!S_ISREG(st.st_mode) || st.st_size > out_offset)
		return -EINVAL;
	return open_fd(ring, in_fd, in_offset, size, out_fd, out_offset, true, report, ctx, ret_header);
}

int tk_verify_fd(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, tk_progress report,
		 void *ctx)
{
	return open_fd(ring, in_fd, in_offset, size, -1, 0, false, report, ctx, NULL);
}
