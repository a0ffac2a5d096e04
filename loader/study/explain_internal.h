/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/explain_internal.h - what explain.c and where.c share.
 */
#ifndef TK_LOADER_EXPLAIN_INTERNAL_H
#define TK_LOADER_EXPLAIN_INTERNAL_H

#include "loader/study/explain.h"

/*
 * The real path of what exists of `path`, and the rest behind it; the caller frees.  -EINVAL: ".." behind
 * what exists; -ENOMEM.
 */
int tk_canonical(const char *path, char **ret_path);
/*
 * The innermost guard point of answer->path, into guarded, guard and below: by the real paths of those that
 * exist, since the kernel knows directories and no symbolic links; by its text for one that does not exist
 * yet or cannot be seen by this user.
 */
void tk_explain_place(const struct tk_compiled *compiled, struct tk_answer *answer);

#endif
