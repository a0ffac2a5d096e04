/* SPDX-License-Identifier: GPL-2.0 */
/*
 * crypto/token.h - what the files that use p11-kit share: tokenuri.c, tokenpin.c, keytoken.c.
 */
#ifndef TK_CRYPTO_TOKEN_H
#define TK_CRYPTO_TOKEN_H

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

#include "crypto/internal.h"

#define TK_PIN_CREDENTIAL "credential:"
#define TK_PIN_PATH 4096

/* In locked memory. */
struct tk_pin {
	uint8_t bytes[248]; /* of which one is to notice excess */
	size_t len;
};

/* Checked: it has a module, a source for the PIN, a token, a key.  -EINVAL, -ENOMEM. */
int tk_token_uri_parse(const char *text, P11KitUri **ret_uri, const char **ret_why);
/* The path of the PIN's file, perhaps in room; NULL, with *ret_why set (never NULL). */
const char *tk_pin_path(const char *source, char room[TK_PIN_PATH], const char **ret_why);
int tk_pin_read(const char *source, struct tk_pin *pin, const char **ret_why);
/* A token counts wrong PINs and locks after a few: this process never gives it the same one again. */
void tk_pin_refused(const CK_TOKEN_INFO *token, const struct tk_pin *pin);
bool tk_pin_was_refused(const CK_TOKEN_INFO *token, const struct tk_pin *pin);

#endif
