/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/trees/tree.h - the files that a verb was given, by name or below directories,
 * each done once, several at a time, with one progress bar and one summary.
 * Knows nothing of what is done to a file.
 *
 * Symbolic links below a directory are not followed, special files are left out,
 * as are other filesystems (unless asked for) and the agent's journals.  A
 * directory that is exchanged for something else under the walk counts as failed.
 */
#ifndef TK_TREES_TREE_H
#define TK_TREES_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "crypto/takakrypt.h"

/* One file; with hard links, the names of it that were found. */
struct tk_tree_file {
	const char *path;   /* as given, or below a directory as given */
	const char **links; /* further names of the same file, NULL at the end; may be NULL */
	uint64_t size;	    /* the rest: when it was found */
	dev_t dev;
	ino_t ino;
	bool named; /* by the user, not found in a directory */
};

enum tk_tree_result {
	TK_TREE_DONE,
	TK_TREE_SKIPPED, /* it is in the wanted form already */
	TK_TREE_FAILED,	 /* and said so; the rest goes on */
};

struct tk_tree {
	const char *verb;
	bool directories;	    /* they are taken; otherwise naming one is an error */
	const char *no_directories; /* what to do then */
	bool cross;		    /* into other filesystems too */
	bool one_thread;	    /* in the order found */

	/* ret_bytes: what the summary counts as done; progress is what the library wants, for one file */
	enum tk_tree_result (*fn)(void *ctx, const struct tk_tree_file *file, tk_progress progress,
				  void *progress_ctx, uint64_t *ret_bytes);
	void *ctx;

	/* the outcome */
	uint64_t done, skipped, failed, special, bytes;
	double seconds;
	bool had_directory;
};

/*
 * The file for reading, when it still is the one that was found (a name below a directory may have come to
 * lead elsewhere) and a regular one.  A descriptor, or -1 after printing why not.
 */
int tk_tree_open(const struct tk_tree_file *f, const char *verb, struct stat *ret_st);
/* 1: the file begins with the magic, 0: it does not and is not encrypted (FORMAT.md), however short; -errno.
 */
int tk_tree_magic(int fd);
/*
 * Does all of it and prints what fails; 0 or TK_EXIT_FAILED (also when tk_interrupted()).
 */
int tk_tree_run(struct tk_tree *tree, char **paths, size_t n);
/* The outcome on stdout: one object, or a sentence ("encrypted 12 files, ..."). */
int tk_tree_print(const struct tk_tree *tree, bool json, const char *past_tense);

#endif
