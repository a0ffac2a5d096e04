/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/trees/copy.h - a tree and a second one that shall be the same, for `shield`.  What fails is told, naming the
 * file; TK_EXIT_DONE or TK_EXIT_FAILED.
 */
#ifndef TK_TREES_COPY_H
#define TK_TREES_COPY_H

#include <stdint.h>

/* What is there: to know how much is to do. */
struct tk_tree_size {
	uint64_t entries, bytes;
};
/*
 * Refuses what a copy could not keep: something mounted inside, files that are immutable or append-only, files open
 * for writing.
 */
int tk_treecopy_measure(const char *from, struct tk_tree_size *ret_size);
/* By cp -a, with everything it keeps.  to: an existing directory that only root can enter the way to. */
int tk_treecopy_run(const char *from, const char *to, const struct tk_tree_size *size);
/*
 * Is `to` the same: names, contents, types, owners, modes, ACLs and other extended attributes, times of change, hard
 * links among them?  And nobody has a file of `from` open for writing.  Believes nothing of how it was copied.
 */
int tk_treecopy_verify(const char *from, const char *to, const struct tk_tree_size *size);
/*
 * Again, when nobody can come to `from` by its name any more: by times and sizes alone.  `to` may have more in it by
 * now.
 */
int tk_treecopy_unchanged(const char *from, const char *to);
int tk_treecopy_remove(const char *tree);

#endif
