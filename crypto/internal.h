/* SPDX-License-Identifier: GPL-2.0 */
/*
 * crypto/internal.h - what the files of the library share among themselves:
 * locked memory, and a header on its way between struct, bytes and keys.
 * Nothing outside crypto/ includes it.
 */
#ifndef TK_CRYPTO_INTERNAL_H
#define TK_CRYPTO_INTERNAL_H

#include "crypto/takakrypt.h"

#define TK_RECORD_OVERHEAD 28 /* FORMAT.md, Version 2 body: nonce[12] and tag[16] */

/*
 * Zeroed memory that is neither swapped nor dumped; whole pages, so for few
 * and long-lived things.  NULL with errno set (ENOMEM, EPERM, EAGAIN: mlock(2)).
 */
void *tk_locked_alloc(size_t len);
void tk_locked_free(void *p, size_t len); /* wipes; NULL is fine */

/* Every secret of one file while it is being worked on; lives in locked memory. */
struct tk_file_keys {
	uint8_t kek[TK_KEK_SIZE];
	uint8_t dek[32];
	uint8_t header[32]; /* K_header */
	uint8_t body[32];   /* K_body; version 1: the policy key */
};

static inline void tk_file_keys_freep(struct tk_file_keys **keys)
{
	tk_locked_free(*keys, sizeof(**keys));
}

/* 1..TK_KEY_ID_MAX bytes 0x21..0x7e without '/'. */
bool tk_key_id_valid(const char *key_id, size_t len);

/* Writes header->size bytes to out (room for TK_HEADER_MAX). */
void tk_header_build(const struct tk_header *header, uint8_t *out);

/*
 * A fresh header for `size` bytes of plaintext.  Version 2: new file key,
 * wrapped, header tag in place.  Version 1: fresh iv; the tag follows from the body.
 */
int tk_header_seal(const struct tk_keyring *ring, const struct tk_params *params, uint64_t size,
		   struct tk_file_keys *keys, struct tk_header *ret_header);

/* Finds the keys of a parsed header.  Version 2: unwraps and checks the header's tag. */
int tk_header_unseal(const struct tk_keyring *ring, const struct tk_header *header,
		     struct tk_file_keys *keys);

/* Positional I/O of exactly len bytes; -EIO when the file ends early. */
int tk_pread_full(int fd, void *buf, size_t len, off_t offset);
int tk_pwrite_full(int fd, const void *buf, size_t len, off_t offset);

#endif
