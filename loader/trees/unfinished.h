/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/trees/unfinished.h - whether an agent that is no more left files half moved.
 */
#ifndef TK_TREES_UNFINISHED_H
#define TK_TREES_UNFINISHED_H

#include <stdbool.h>
#include <stddef.h>

/*
 * For verbs that change files: a record in the agent's journal may be the only whole copy of a file whose
 * name shows half of it.  0 when an agent runs, which guards such files itself, or when no journal that any
 * of the paths could concern has records; otherwise TK_EXIT_FAILED, after printing.  crossing: filesystems
 * mounted below the paths are concerned, too.
 */
int tk_unfinished(const char *verb, char **paths, size_t n, bool crossing);
/* The same even when an agent runs: whatever lies in a journal is unfinished. */
int tk_unfinished_any(const char *verb, char **paths, size_t n, bool crossing);
/*
 * Where there are records all the same, and nothing guards these paths any more: tells the next agent so
 * (tk_vault_unguard()).  0, or TK_EXIT_FAILED after printing.
 */
int tk_unfinished_unguard(char **paths, size_t n);

#endif
