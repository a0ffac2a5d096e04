/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/problems.h - a policy's problems as the verbs print them: one form for
 * check, explain and load.
 */
#ifndef TK_LOADER_PROBLEMS_H
#define TK_LOADER_PROBLEMS_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "loader/policy/policy.h"

/* One line each: "policy.json: /pointer: message", "policy.json: warning: /pointer: message". */
void tk_problems_print(FILE *out, const char *file, const struct tk_problems *problems);

/* [{"pointer": …, "message": …}, …] of the errors, or of the warnings.  NULL: no memory. */
cJSON *tk_problems_json(const struct tk_problems *problems, bool warnings);

/*
 * A policy that a verb asks questions of: loaded and looked up on this machine.  Warnings are not told, that
 * is `check`'s.  TK_EXIT_DONE, or TK_EXIT_FAILED with the errors printed.  ret_resolved may be NULL.
 */
int tk_policy_open(const char *file, struct tk_compiled **ret_compiled, struct tk_resolved **ret_resolved);

#endif
