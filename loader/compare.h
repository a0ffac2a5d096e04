/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/compare.h - what two policies decide differently: every class of users,
 * programs and paths they can tell apart (classes.h), every action, asked of both;
 * classes that change in the same way are put together.  Never prints.
 */
#ifndef TK_LOADER_COMPARE_H
#define TK_LOADER_COMPARE_H

#include "loader/classes.h"

enum tk_dim { TK_DIM_USERS, TK_DIM_PROGRAMS, TK_DIM_PATHS, TK_DIMS };

/* A set of subjects and resources for which the same actions change in the same way. */
struct tk_change {
	uint8_t *in[TK_DIMS]; /* for each class of the dimension: 1 when it is meant */
	/* enum tk_effect bits, without apply_key where there are no contents; alike on both sides: no change. */
	uint8_t effects[TK_SIDES][TK_ACTION_COUNT];
};

struct tk_comparison {
	struct tk_classes classes[TK_DIMS];
	struct tk_change *changes;
	size_t change_count;
};

/* -E2BIG: more combinations than are looked at; -ENOMEM.  The caller frees. */
int tk_compare(const struct tk_compiled *const sides[TK_SIDES], const struct tk_policy *const policies[TK_SIDES],
	       struct tk_comparison *ret_comparison);
void tk_comparison_free(struct tk_comparison *comparison);

#endif
