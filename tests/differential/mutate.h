/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/differential/mutate.h - ways to be wrong, each of which the differential
 * test must notice.
 */
#ifndef TK_TESTS_MUTATE_H
#define TK_TESTS_MUTATE_H

#include "loader/policy/policy.h"

struct judge_case; /* judge_abi.h */

struct mutation {
	const char *name;
	void (*compiled)(struct tk_compiled *compiled); /* the policy, before a judge gets it */
	void (*request)(struct judge_case *asked);	/* each case, before a judge gets it */
	void (*verdict)(uint32_t *verdict);		/* one verdict of a batch */
};

const struct mutation *mutation_find(const char *name);

#endif
