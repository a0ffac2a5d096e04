/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/keys/source.h - the policy key that a verb was given with --key-file, as
 * rings for whatever key id and version a header names.  Thread-safe; read once
 * for each id and version, however many files there are.
 */
#ifndef TK_KEYS_SOURCE_H
#define TK_KEYS_SOURCE_H

#include <pthread.h>

#include "crypto/takakrypt.h"

/* What --key-file may be: a path, or the PKCS#11 URI of a key in a token.  Borrows path. */
struct tk_key_source tk_keysource_parse(const char *path);
/* Reads all of it; prints on failure and returns an exit code.  what: as in tk_fail(). */
int tk_keysource_read(const char *what, const char *path, const char *key_id, struct tk_keyring *ring);

struct tk_keysource_ring; /* private */

struct tk_keysource {
	const char *path; /* borrowed: a file, taken for any version, a directory of versions, or a URI */
	pthread_mutex_t lock;
	struct tk_keysource_ring *rings;
};

#define TK_KEYSOURCE_INIT ((struct tk_keysource){.lock = PTHREAD_MUTEX_INITIALIZER})

/*
 * A ring in which key_id has just the version that is wanted; 0, or in a token: all there are.
 * It belongs to the source.  Prints on failure and returns an exit code.
 */
int tk_keysource_ring(struct tk_keysource *source, const char *key_id, uint32_t version,
		      const struct tk_keyring **ret_ring);
void tk_keysource_clear(struct tk_keysource *source);

#endif
