/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/trees/replace.h - a file's new content, complete or not at all: in place of
 * the file (its owner, mode, times, ACL and other extended attributes kept) or
 * under a new name.  Knows nothing of what the content is.
 */
#ifndef TK_TREES_REPLACE_H
#define TK_TREES_REPLACE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#define TK_REPLACE_TEMP 40

struct tk_replace {
	int in_fd;	/* the file, for reading */
	int out_fd;	/* its new content, for writing */
	struct stat st; /* of the file, as it was opened */

	/* private */
	int dir_fd;		    /* where the result belongs */
	char *name;		    /* and under which name */
	char temp[TK_REPLACE_TEMP]; /* the name of what is being written; "" while it has none */
	bool in_place, leased;
	const char *const *links; /* borrowed */
	char why[PATH_MAX];	  /* what ret_why may point to */
};

#define TK_REPLACE_INIT ((struct tk_replace){.in_fd = -1, .out_fd = -1, .dir_fd = -1})

/*
 * Opens path (following symbolic links to the real file) and a place for its
 * new content.  output NULL: the file is to be replaced; then it must have no
 * writer, and no hard links but `links` (NULL at the end; may be NULL), which
 * stays with the caller; and none of these names may be one that a killed run
 * has left (-EUCLEAN).  Otherwise output must not exist.
 * 0 or -errno; ret_why (never NULL on failure) says what was attempted in vain.
 */
int tk_replace_open(struct tk_replace *r, const char *path, const char *const *links, const char *output,
		    const char **ret_why);
/*
 * Makes the new content durable and puts it in place, under each of its names,
 * one after the other: in between some have the old content and some the new,
 * each of it complete, and the old content a name ".takakrypt-" and 16 digits, by which tk_replace_open()
 * knows it after a kill.  -EBUSY when the file was opened for writing or changed since it was opened here. On
 * failure the file is as it was, except when *ret_why says that it could not be made durable or that a hard
 * link was left behind.
 */
int tk_replace_commit(struct tk_replace *r, const char **ret_why);
/* Prints what one of the two has returned, with its reason; TK_EXIT_FAILED. */
int tk_replace_fail(const char *verb, const char *path, const char *why, int err);
/* Removes what was not committed. */
void tk_replace_end(struct tk_replace *r);

#endif
