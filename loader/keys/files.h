/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/keys/files.h - policy keys as files and directories, on the side that makes
 * them, lists them and takes them away.  Reading the keys in them is the keyring's
 * business.
 */
#ifndef TK_KEYS_FILES_H
#define TK_KEYS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/takakrypt.h"

/* The name in a key directory of a version that was taken out of use: no reader of keys looks at it. */
#define TK_KEY_RETIRED ".retired-"
/* And of one that is being written where no nameless file can be: what begins so is left of a kill. */
#define TK_KEY_UNFINISHED ".unfinished-"
#define TK_KEY_NAME 24 /* room for either name of a version */

/* "7", or ".retired-7"; returns buf. */
const char *tk_key_name(uint32_t version, bool retired, char buf[TK_KEY_NAME]);

/*
 * Writes a key to a new file of mode 0600: path itself, or with a version path/VERSION, where the directory
 * is made (0700) if there is none.  It appears under its name when it is whole and durable.  -EEXIST: there
 * is something of that name, or that version was retired; -EISDIR, -ENOTDIR: path is what it must not be.
 */
int tk_keyfile_create(const char *path, uint32_t version, const uint8_t kek[TK_KEK_SIZE], bool hex);

/* The versions in a key directory, ascending, by the names alone. */
struct tk_keydir {
	struct tk_keydir_version {
		uint32_t version;
		bool retired;
	} * items;
	size_t count;
};
/* Names that are no version are left to the keyring to complain of.  -ENOTDIR: a single file. */
int tk_keydir_read(const char *path, struct tk_keydir *ret_dir);
void tk_keydir_clear(struct tk_keydir *dir);

/* Takes a version out of use, or back into it: under its other name, durable.  -EEXIST: that is taken. */
int tk_keydir_retire(const char *path, uint32_t version, bool back);

#endif
