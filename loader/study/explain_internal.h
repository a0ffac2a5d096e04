/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/explain_internal.h - what explain.c, who.c and where.c share.
 */
#ifndef TK_LOADER_EXPLAIN_INTERNAL_H
#define TK_LOADER_EXPLAIN_INTERNAL_H

#include <pwd.h>

#include "loader/study/explain.h"

/*
 * By name or uid, which is taken as it is; *ret_passwd is NULL where nobody has it, and libc's own.
 * -ESRCH: no such name.
 */
int tk_find_user(const char *name, uint32_t *ret_uid, const struct passwd **ret_passwd);
/* The groups of a user, of a list with commas between, of a uid (`gid` alone where nobody has it); the caller
 * frees. -ENOMEM; -ESRCH: no such group in the list. */
int tk_groups_of_user(const struct passwd *user, gid_t **ret_gids, size_t *ret_count);
int tk_groups_of_list(const char *list, gid_t **ret_gids, size_t *ret_count);
int tk_groups_of_uid(uint32_t uid, gid_t gid, gid_t **ret_gids, size_t *ret_count);

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
