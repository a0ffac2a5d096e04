// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/keysource.c - a key from wherever a policy says it comes from: which provider
 * is asked, and what is remembered of the answer (keyhealth.c).
 */
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

int tk_keyring_add_source(struct tk_keyring *ring, const char *key_id, const struct tk_key_source *source,
			  const char **ret_why)
{
	const char *why = NULL;
	int r = -EINVAL;

	switch (source->provider) {
	case TK_PROVIDER_FILE:
		r = tk_keyring_add_file(ring, key_id, source->where, &why);
		break;
	case TK_PROVIDER_CREDENTIAL:
		r = tk_keyring_add_credential(ring, key_id, source->where, &why);
		break;
	case TK_PROVIDER_PKCS11:
		r = tk_keyring_add_token(ring, key_id, source->where, &why);
		break;
	case TK_PROVIDER_COMMAND: /* keeps its own accounts: of what was run */
		return tk_keyring_add_command(ring, key_id, (const char *const *)source->argv,
					      source->timeout, ret_why);
	}
	if (tk_key_id_valid(key_id, strnlen(key_id, TK_KEY_ID_MAX + 1)))
		tk_health_tell(ring, key_id, r < 0 ? why : NULL, false);
	return r < 0 ? tk_key_refuse(r, why, ret_why) : 0;
}
