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

#define _cleanup_keys_ __attribute__((cleanup(tk_file_keys_freep)))

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
