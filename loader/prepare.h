/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/prepare.h - everything a policy needs before the kernel hears of it: read,
 * compiled, looked up on this machine, its keys read, its filesystems tried.
 * `load` and `reload` begin with it; nothing is changed by it.
 */
#ifndef TK_PREPARE_H
#define TK_PREPARE_H

#include "loader/kernel/kernel.h"
#include "loader/policy/policy.h"

struct tk_prepared {
	struct tk_compiled *compiled;
	struct tk_resolved *resolved;
	struct tk_places *places;
};

/* Prints problems on stderr.  Returns an enum tk_exit; TK_EXIT_DONE fills *ret_prepared. */
int tk_prepare(const char *verb, const char *path, struct tk_prepared *ret_prepared);
void tk_prepared_free(struct tk_prepared *prepared);

/* TK_EXIT_DONE, or TK_EXIT_FAILED with the line said. */
int tk_need_root(const char *verb);

/*
 * The policy's text for the agent, mode 0600, in two steps: staged as TK_POLICY_STAGED, where everything that
 * can fail does; then put in its place when the kernel has the policy, by us or by the agent, who reads it by
 * its generation meanwhile.
 */
int tk_policy_stage(const char *path, uint32_t generation);
int tk_policy_commit(uint32_t generation);

/* One load, reload or unload at a time, to the end of the process.  TK_EXIT_DONE, or TK_EXIT_FAILED, told. */
int tk_policy_lock(const char *verb);

/* What a guard point's filesystem must be able to do, tried on a file without a name. */
enum tk_ability {
	TK_CAN_LEASE,	 /* F_SETLEASE: who has the file open (KERNEL.md 10) */
	TK_CAN_MARK,	 /* fanotify permission events on its mount */
	TK_CAN_HANDLE,	 /* file handles: the journal names files by them */
	TK_CAN_CLONE,	 /* FICLONE: not needed, makes opening large files cheap */
	TK_ABILITY_COUNT
};
/* One of the enum's bits a filesystem lacks, and errors of trying: -EROFS, -EOPNOTSUPP for overlayfs … */
int tk_try_filesystem(const char *directory, bool ret_can[TK_ABILITY_COUNT]);
const char *tk_ability_name(enum tk_ability ability);

#endif
