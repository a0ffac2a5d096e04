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

/* Prints the help of the verb: TK_EXIT_DONE. */
int tk_key_help(void);
/* Reads all of a key, as the agent would; prints on failure and returns an exit code. */
int tk_key_read(const char *what, const char *path, uint32_t *ret_current);
/* The number of a version given as an option; prints on failure and returns an exit code. */
int tk_key_parse_version(const char *text, uint32_t *ret_version);

#endif
