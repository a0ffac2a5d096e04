// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/shield.c - the keys of fscrypt policies, derived from policy keys.  The kernel is given them
 * elsewhere.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

/* Both in locked memory: the policy key and what is derived from it. */
struct secrets {
	uint8_t kek[TK_KEK_SIZE];
	uint8_t key[TK_SHIELD_KEY];
};

static void secrets_freep(struct secrets **secrets)
{
	tk_locked_free(*secrets, sizeof(**secrets));
}

int tk_shield_derive(const struct tk_keyring *ring, const char *key_id, uint32_t version,
		     uint8_t ret_key[TK_SHIELD_KEY], uint8_t ret_identifier[TK_SHIELD_ID])
{
	__attribute__((cleanup(secrets_freep))) struct secrets *secrets = tk_locked_alloc(sizeof(*secrets));
	uint8_t identifier[TK_SHIELD_ID];
	int err;

	if (!secrets)
		return -ENOMEM;
	err = tk_keyring_get(ring, key_id, version, secrets->kek);
	if (!err)
		err = tk_hkdf_expand(secrets->kek, "takakrypt shield fscrypt 1", secrets->key);
	if (!err)
		err = tk_hkdf_expand(secrets->kek, "takakrypt shield fscrypt 2", secrets->key + 32);
	if (!err)
		err = tk_fscrypt_identifier(secrets->key, identifier);
	if (err)
		return err;
	memcpy(ret_key, secrets->key, TK_SHIELD_KEY);
	memcpy(ret_identifier, identifier, TK_SHIELD_ID);
	return 0;
}

int tk_shield_find(const struct tk_keyring *ring, const char *key_id, const uint8_t identifier[TK_SHIELD_ID],
		   uint8_t ret_key[TK_SHIELD_KEY], uint32_t *ret_version)
{
	__attribute__((cleanup(secrets_freep))) struct secrets *secrets = tk_locked_alloc(sizeof(*secrets));
	uint8_t found[TK_SHIELD_ID];
	uint32_t version = 0;
	int err;

	if (!secrets)
		return -ENOMEM;
	err = tk_keyring_version_after(ring, key_id, 0, &version);
	while (!err) {
		err = tk_shield_derive(ring, key_id, version, secrets->key, found);
		if (err)
			return err;
		if (!memcmp(found, identifier, sizeof(found))) {
			memcpy(ret_key, secrets->key, TK_SHIELD_KEY);
			*ret_version = version;
			return 0;
		}
		if (tk_keyring_version_after(ring, key_id, version, &version))
			return -TK_E_WRONG_KEY;
	}
	return err;
}
