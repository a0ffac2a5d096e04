/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/policy/cases.h - what a policy is expected to say: the cases of
 * `takakrypt-bpf test`, from their JSON text.  Never prints.
 */
#ifndef TK_POLICY_CASES_H
#define TK_POLICY_CASES_H

#include "loader/policy/policy.h"

enum tk_expect { TK_EXPECT_PERMIT, TK_EXPECT_APPLY_KEY, TK_EXPECT_DENY, TK_EXPECT_NOT_GUARDED };
#define TK_EXPECTS 4
extern const char *const tk_expect_names[TK_EXPECTS]; /* "permit", "permit+apply_key" … */

#define TK_ANY_RULE (-1)

struct tk_case {
	char *name, *user, *process, *path;
	char *groups; /* with commas between; NULL: the system's for the user */
	char *login, *unit; /* NULL: as the user himself; in none */
	bool foreign_code; /* mapped by the process */
	struct tk_moment at;
	uint32_t action;
	enum tk_expect expect;
	int rule; /* index in the policy's "rules", or TK_ANY_RULE */
};

struct tk_cases {
	struct tk_case *items;
	size_t count;
};

/* -EINVAL with errors in ret_problems; -EFBIG over 16 MiB; -errno.  The caller frees both. */
int tk_cases_load(const char *path, struct tk_cases *ret_cases, struct tk_problems *ret_problems);
void tk_cases_free(struct tk_cases *cases);

#endif
