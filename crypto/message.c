// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/message.c - the body of version 1: a single message (FORMAT.md), in
 * pieces through one buffer by one thread, because its tag allows nothing else.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

#define PIECE_SIZE (1U << 20)

static const char v1_aad[] = {'p', 'a', 't', 'h', ':'};

#define _cleanup_buffer_ __attribute__((cleanup(tk_buffer_free)))
#define _cleanup_aead_ __attribute__((cleanup(tk_aead_freep)))

/* The tag is the caller's business. */
static int do_message(const struct tk_stream *s, struct tk_aead *aead, struct tk_buffer *b, bool two_passes,
		      int pass)
{
	uint64_t size = s->header->original_size, at = 0;
	int r;

	r = tk_aead_begin(aead, s->header->iv, v1_aad, sizeof(v1_aad));
	while (r == 0 && at < size) {
		size_t len = size - at < b->len ? (size_t)(size - at) : b->len;

		r = tk_pread_full(s->in_fd, b->p, len, s->in_offset + (off_t)at);
		if (r == 0)
			r = tk_aead_update(aead, b->p, len, b->p);
		if (r == 0 && pass == 2)
			r = tk_stream_write(s, b->p, len, at);
		at += len;
		if (r == 0)
			r = tk_stream_progress(s, two_passes ? (pass == 2 ? size + at : at) / 2 : at);
	}
	return r;
}

static size_t message_buffer(uint64_t size)
{
	return size < PIECE_SIZE ? (size_t)size : PIECE_SIZE;
}

int tk_message_seal(const struct tk_stream *s, struct tk_header *h)
{
	_cleanup_aead_ struct tk_aead *aead = NULL;
	_cleanup_buffer_ struct tk_buffer b = {};
	int r;

	r = tk_buffer_new(&b, message_buffer(h->original_size));
	if (r == 0)
		r = tk_aead_new(h->algorithm, s->keys->body, true, &aead);
	if (r == 0)
		r = do_message(s, aead, &b, false, 2);
	return r < 0 ? r : tk_aead_finish_seal(aead, h->tag);
}

/*
 * No plaintext before the tag is verified: what fits one buffer is opened there
 * and then written; anything longer is read twice.  The second pass verifies
 * too, so a file that changes in between is reported, with -TK_E_AUTH.
 */
int tk_message_open(const struct tk_stream *s)
{
	const struct tk_header *h = s->header;
	_cleanup_aead_ struct tk_aead *aead = NULL;
	_cleanup_buffer_ struct tk_buffer b = {};
	bool two_passes = s->out_fd >= 0 && h->original_size > PIECE_SIZE;
	int r;

	if (h->original_size > tk_aead_message_max(h->algorithm))
		return -EOVERFLOW;
	r = tk_buffer_new(&b, message_buffer(h->original_size));
	if (r == 0)
		r = tk_aead_new(h->algorithm, s->keys->body, false, &aead);
	if (r == 0)
		r = do_message(s, aead, &b, two_passes, 1);
	if (r == 0)
		r = tk_aead_finish_open(aead, h->tag);
	if (r < 0 || s->out_fd < 0)
		return r;
	if (!two_passes)
		return tk_stream_write(s, b.p, h->original_size, 0);
	r = do_message(s, aead, &b, true, 2);
	return r < 0 ? r : tk_aead_finish_open(aead, h->tag);
}

/* There is one tag, at the end: the part waits in a buffer of its own until all of the message was read. */
int tk_message_part(const struct tk_header *h, struct tk_aead *aead, int fd, off_t body, void *buf,
		    size_t len, uint64_t at)
{
	_cleanup_buffer_ struct tk_buffer piece = {}, part = {};
	uint64_t size = h->original_size;
	int r;

	if (size > tk_aead_message_max(h->algorithm))
		return -EOVERFLOW;
	r = tk_buffer_new(&piece, message_buffer(size));
	if (r == 0)
		r = tk_buffer_new(&part, len);
	if (r == 0)
		r = tk_aead_begin(aead, h->iv, v1_aad, sizeof(v1_aad));
	for (uint64_t done = 0; r == 0 && done < size; done += piece.len) {
		size_t n = size - done < piece.len ? (size_t)(size - done) : piece.len;
		uint64_t from = at > done ? at : done, to = at + len < done + n ? at + len : done + n;

		r = tk_pread_full(fd, piece.p, n, body + (off_t)done);
		if (r == 0)
			r = tk_aead_update(aead, piece.p, n, piece.p);
		if (r == 0 && from < to)
			memcpy(part.p + (from - at), piece.p + (from - done), (size_t)(to - from));
	}
	if (r == 0)
		r = tk_aead_finish_open(aead, h->tag);
	if (r == 0 && len)
		memcpy(buf, part.p, len);
	return r;
}
