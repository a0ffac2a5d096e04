/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/differential/judge.h - whoever turns a compiled policy and a request into
 * a verdict: decide.h in user space, decide.h in the kernel.  Every judge gets the
 * same requests, and none may differ from the interpreter.
 */
#ifndef TK_TESTS_JUDGE_H
#define TK_TESTS_JUDGE_H

#include <stddef.h>
#include <stdint.h>

#include "loader/policy/policy.h"
#include "tests/differential/judge_abi.h"


/*
 * Functions answer 0 or -errno.  A case's request comes with users, processes and action filled in; its
 * resources are the judge's to find, by running the automaton over the path below the guard point.
 * `policy` is an index into compiled->policies; a verdict is a TK_VERDICT() word.
 */
struct judge {
	const char *name;
	void *ctx;
	/* Borrows compiled until the next load() or the end. */
	int (*load)(void *ctx, const struct tk_compiled *compiled);
	int (*decide)(void *ctx, const struct judge_case *asked, const char *path_below, uint32_t policy,
		      uint32_t *ret_verdict);
	/* n <= JUDGE_BATCH.  NULL: decide() is called for each. */
	int (*decide_many)(void *ctx, const struct judge_case *cases, const char *const *paths_below,
			   const uint32_t *policies, size_t n, uint32_t *ret_verdicts);
};

extern const struct judge judge_user, judge_kernel;

#endif
