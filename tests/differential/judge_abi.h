/* SPDX-License-Identifier: GPL-2.0 */
/* tests/differential/judge_abi.h - a question as user space and judge.bpf.c share it. */
#ifndef TK_TESTS_JUDGE_ABI_H
#define TK_TESTS_JUDGE_ABI_H

#include "bpf/abi.h"

#define JUDGE_BATCH 512	   /* questions in one run at most */
#define JUDGE_PATH_MAX 256 /* bytes of a path below the guard point, with its terminator */

/* Who wants what, and when. */
struct judge_case {
	struct tk_request request;
	struct tk_times_now times;
};

struct judge_question {
	struct judge_case asked;
	__u32 policy;
	__u32 path_len;
	__u32 verdict;
	__u32 pad;
	char path[JUDGE_PATH_MAX];
};

#endif
