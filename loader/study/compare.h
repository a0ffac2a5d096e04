/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/compare.h - what two policies decide differently: every class of users,
 * programs, paths and times they can tell apart (classes.h), every action, asked of both;
 * classes that change in the same way are put together.  Never prints.
 */
#ifndef TK_LOADER_COMPARE_H
#define TK_LOADER_COMPARE_H

#include "loader/study/classes.h"

struct tk_comparison {
	struct tk_classes classes[TK_DIMS];
	/*
	 * What changes: the effects of each action on both sides, without apply_key where there are no
	 * contents; alike on both: no change.
	 */
	struct tk_boxes changes;
};

/* Times are those of the year that begins with this week.  -E2BIG: more combinations than are looked at;
 * -ENOMEM.  The caller frees. */
int tk_compare(const struct tk_compiled *const sides[TK_SIDES],
	       const struct tk_policy *const policies[TK_SIDES], struct tk_comparison *ret_comparison);
void tk_comparison_free(struct tk_comparison *comparison);

#endif
