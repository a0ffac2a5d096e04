/* SPDX-License-Identifier: GPL-2.0 */
/*
 * crypto/aead.h - the four primitives FORMAT.md is made of: AEAD, HKDF-Expand,
 * AES key wrap, random bytes (tk_random() in takakrypt.h).
 * Errors: -TK_E_AUTH, -TK_E_WRONG_KEY, -ENOMEM, -EOPNOTSUPP (this OpenSSL has
 * no such cipher), -ELIBBAD (it failed otherwise).
 */
#ifndef TK_CRYPTO_AEAD_H
#define TK_CRYPTO_AEAD_H

#include "crypto/takakrypt.h"

#define TK_NONCE_SIZE 12
#define TK_TAG_SIZE 16
#define TK_WRAPPED_SIZE 40

/* One key, one direction, any number of messages, one after the other; one thread at a time. */
struct tk_aead;
int tk_aead_new(enum tk_algorithm algorithm, const uint8_t key[32], bool seal, struct tk_aead **ret_aead);
void tk_aead_free(struct tk_aead *aead); /* wipes; NULL is fine */

static inline void tk_aead_freep(struct tk_aead **aead)
{
	tk_aead_free(*aead);
}

/* The most plaintext one message can hold (SP 800-38D 5.2.1.1; RFC 8439 2.8). */
uint64_t tk_aead_message_max(enum tk_algorithm algorithm);

/*
 * A message in pieces: begin, any number of updates (len <= INT_MAX, in may be out), finish.
 * When opening, what update gave out is not authentic before finish returned 0.
 */
int tk_aead_begin(struct tk_aead *aead, const uint8_t nonce[TK_NONCE_SIZE], const void *aad, size_t aad_len);
int tk_aead_update(struct tk_aead *aead, const uint8_t *in, size_t len, uint8_t *out);
int tk_aead_finish_seal(struct tk_aead *aead, uint8_t ret_tag[TK_TAG_SIZE]);
int tk_aead_finish_open(struct tk_aead *aead, const uint8_t tag[TK_TAG_SIZE]);

/* RFC 5869, the expand step alone; the label is used without its terminator. */
int tk_hkdf_expand(const uint8_t key[32], const char *label, uint8_t ret_key[32]);

/* The name the kernel gives an fscrypt master key: HKDF-SHA512 of it (fs/crypto/hkdf.c, HKDF_CONTEXT_KEY_IDENTIFIER). */
int tk_fscrypt_identifier(const uint8_t key[TK_SHIELD_KEY], uint8_t ret_identifier[TK_SHIELD_ID]);

/* RFC 3394 with the default IV. */
int tk_key_wrap(const uint8_t kek[TK_KEK_SIZE], const uint8_t key[32], uint8_t ret_wrapped[TK_WRAPPED_SIZE]);
int tk_key_unwrap(const uint8_t kek[TK_KEK_SIZE], const uint8_t wrapped[TK_WRAPPED_SIZE],
		  uint8_t ret_key[32]);

#endif
