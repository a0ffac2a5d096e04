/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/differential/world.h - the small world that random policies and requests
 * are about: executables, users, groups, actions.  Facts only, no judgement.
 */
#ifndef TK_TESTS_WORLD_H
#define TK_TESTS_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Executables, as paths below the world's root. */
struct world_exe {
	const char *path;
	const char *link; /* a symbolic link to it, or NULL */
	const char *contents;
	const char *sha256; /* of the contents */
	bool root_only;	    /* its owner alone can write it and every directory above it */
	bool foreign;	    /* its group can write it, too */
};
extern const struct world_exe world_exes[];
extern const size_t world_exe_count;

extern const uint32_t world_uids[], world_gids[];
extern const size_t world_uid_count, world_gid_count;

extern const char *const world_units[]; /* [0]: none */
#define WORLD_UNITS 4

/* Instants and zones: about changes of summer time, midnight, weekdays. */
extern const char *const world_zones[];
extern const size_t world_zone_count;
extern const int64_t world_instants[];
extern const size_t world_instant_count;

extern const char *const world_actions[]; /* single ones, in the order of POLICY.md */
#define WORLD_ACTIONS 10

/* Where the names of executables are looked for, below the root. */
#define WORLD_FLAT "/bin"
#define WORLD_DEEP "/opt"

/* Makes the tree of executables in a fresh directory; root has room for 64 bytes.  -errno. */
int world_create(char *root);
void world_remove(const char *root);

#endif
