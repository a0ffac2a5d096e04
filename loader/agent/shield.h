/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/agent/shield.h - fscrypt below a guard point: what is written there while a file is open is encrypted by the
 * filesystem.  The key is the kernel's while a policy is loaded, and derived anew each time (crypto/shield.c).
 *
 * Who dies, agent or loader, leaves it in the kernel: `unload` takes it away.
 */
#ifndef TK_AGENT_SHIELD_H
#define TK_AGENT_SHIELD_H

#include <stddef.h>

#include "crypto/takakrypt.h"

/*
 * The name of the key that a directory's contents are under.  -ENODATA: it has no fscrypt policy; -EOPNOTSUPP: its
 * filesystem has none; -EMEDIUMTYPE: one of version 1, which names keys otherwise.
 */
int tk_shield_of(int directory, uint8_t ret_identifier[TK_SHIELD_ID]);

/*
 * Gives the kernel the key of the directory, or gives the directory, if it is empty, a policy under the key's current
 * version.  May be called again.  On failure what was there is as it was, and ret_why (static) says why:
 * -ENOTEMPTY: a tree that was never set up; -TK_E_WRONG_KEY: it is under no version of this key; as tk_shield_of().
 */
int tk_shield_raise(const struct tk_keyring *ring, const char *key_id, const char *path, const char **ret_why);

/* Takes the key from the kernel.  -EBUSY: files there are still open, and can be read until they are closed. */
int tk_shield_lower(const char *path);

#endif
