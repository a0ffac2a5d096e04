/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/shields.h - the shields of a policy's guard points, for who puts it into force and ends it.  Each tells what
 * fails, and returns TK_EXIT_DONE or TK_EXIT_FAILED.
 */
#ifndef TK_LOADER_SHIELDS_H
#define TK_LOADER_SHIELDS_H

#include "loader/cmd.h"
#include "loader/policy/policy.h"

struct tk_places;

/* Where `shield` works, beside the guard point: PATH_MAX bytes, with room for a short name below.  -ENAMETOOLONG. */
int tk_shields_place(const char *path, char *ret_place);

/* Gives the kernel the keys; empty directories are set up.  On failure tk_shields_lower() takes back what was done. */
int tk_shields_raise(const char *verb, const struct tk_compiled *compiled, const struct tk_places *places,
		     const struct tk_keyring *ring);
/* Takes all of them from the kernel, after the last file is sealed. */
int tk_shields_lower(const char *verb, const struct tk_compiled *compiled, const struct tk_places *places);
/* Nobody would take the key of a guard point from the kernel that a reload has forgotten: such a reload is refused. */
int tk_shields_kept(const char *verb, const char *old_policy, const struct tk_compiled *compiled,
		    const struct tk_places *places);
/* The policy that its file holds, as unload and reload find it.  -errno; the caller frees both. */
int tk_shields_policy(const char *path, struct tk_compiled **ret_compiled, struct tk_places **ret_places);

#endif
