/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/keys/verbs.h - the actions of the verb `key` that have a file of their own.
 */
#ifndef TK_KEYS_VERBS_H
#define TK_KEYS_VERBS_H

#include <stdint.h>

/* As for a verb; argv[0] is the action. */
int tk_key_list(int argc, char **argv);
int tk_key_retire(int argc, char **argv);

/* Of the verb with all its actions. */
extern const char tk_key_help[];
/* Reads all of a key, as the agent would; prints on failure and returns an exit code. */
int tk_key_read(const char *what, const char *path, uint32_t *ret_current);

#endif
