/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/classes.h - whom and what two policies can tell apart: classes of users,
 * of programs, of paths and of times, each with the sets of either policy it belongs to.
 */
#ifndef TK_LOADER_CLASSES_H
#define TK_LOADER_CLASSES_H

#include "loader/study/boxes.h"
#include "loader/policy/policy.h"

struct tk_class {
	uint64_t sets[TK_SIDES][TK_SET_WORDS];
	char *example; /* who, which program, what path, when; NULL: who is named nowhere */
};

struct tk_classes {
	struct tk_class *items;
	size_t count;
};

#define TK_WITH_FOREIGN_CODE " with foreign code"
#define TK_CLASSES_MAX 4096 /* of a dimension */

/* Only sets in the mask count: what differs in others alone is one class. */
struct tk_class_mask {
	uint64_t sets[TK_SIDES][TK_SET_WORDS];
};

/*
 * Users: one uid at most, with any of the groups, logged in as such or not, where a set requires it.  Names
 * are looked up, so that "jane" and her uid are one. Programs: one path each, in one of the units or in none
 * of them; entries that only look at a name or a digest, and globs, may hold together unless their beginnings
 * exclude each other.  Each also as a process that has mapped code which costs it sets; its example ends in
 * TK_WITH_FOREIGN_CODE.  -E2BIG past TK_CLASSES_MAX, -ENOMEM.
 */
int tk_classes_of_users(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
			struct tk_classes *ret_classes);
int tk_classes_of_programs(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
			   struct tk_classes *ret_classes);
/* Exactly: every combination of resource sets that some path is in, found in both automata at once. */
int tk_classes_of_paths(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
			struct tk_classes *ret_classes);
/*
 * Exactly: every combination of time sets that holds at some instant of the year that begins at `from`
 * (seconds since 1970).
 */
int tk_classes_of_times(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
			int64_t from, struct tk_classes *ret_classes);
/*
 * A class more, unless its sets are another's; takes the example over only when it returns 1.  0: known
 * already; -E2BIG, -ENOMEM.
 */
int tk_class_add(struct tk_classes *classes, const struct tk_class *class);
void tk_classes_free(struct tk_classes *classes);

#endif
