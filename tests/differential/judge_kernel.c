// SPDX-License-Identifier: GPL-2.0
/*
 * tests/differential/judge_kernel.c - the kernel as a judge: fills the programs' own
 * maps with the policy and runs judge.bpf.c over each batch (BPF_PROG_TEST_RUN).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "tests/differential/judge.h"

#include "judge.skel.h"

static struct judge_bpf *skeleton;
static __u32 slot; /* of the policy that was loaded last */

static int bring_in(void)
{
	if (skeleton)
		return 0;
	skeleton = judge_bpf__open_and_load();
	return skeleton ? 0 : -errno;
}

/* `count` elements of an array map, from the one numbered `first`. */
static int fill(struct bpf_map *map, __u32 first, const void *values, size_t count)
{
	__u32 *keys = calloc(count + 1, sizeof(*keys)), n = count;
	int r = 0;

	if (!keys)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		keys[i] = first + i;
	if (count && bpf_map_update_batch(bpf_map__fd(map), keys, values, &n, NULL))
		r = -errno;
	free(keys);
	return r;
}

/* The halves take turns, as for generations: the other one holds the policy before. */
static int kernel_load(void *ctx, const struct tk_compiled *compiled)
{
	int r = bring_in();

	slot ^= 1;
	if (!r)
		r = fill(skeleton->maps.rules, slot * TK_MAX_RULES, compiled->rules, compiled->rule_count);
	if (!r)
		r = fill(skeleton->maps.policies, slot * TK_MAX_POLICIES, compiled->policies, compiled->policy_count);
	if (!r)
		r = fill(skeleton->maps.automaton, slot * TK_MAX_STATES, compiled->states, compiled->state_count);
	return r;
}

static int kernel_decide_many(void *ctx, const struct judge_case *cases, const char *const *paths_below,
			      const uint32_t *policies, size_t n, uint32_t *ret_verdicts)
{
	static struct judge_question questions[JUDGE_BATCH];
	static __u32 keys[JUDGE_BATCH];
	struct {
		__u32 count;
		char room[60];
	} packet = { .count = n };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &packet, .data_size_in = sizeof(packet), .repeat = 1);
	int r;

	for (size_t i = 0; i < n; i++) {
		questions[i] = (struct judge_question){ .asked = cases[i], .policy = policies[i] };
		questions[i].asked.request.slot = slot;
		questions[i].path_len = strlen(paths_below[i]);
		if (questions[i].path_len >= JUDGE_PATH_MAX)
			return -ENAMETOOLONG;
		memcpy(questions[i].path, paths_below[i], questions[i].path_len);
		questions[i].verdict = ~0u;
		keys[i] = i;
	}
	r = fill(skeleton->maps.questions, 0, questions, n);
	if (r)
		return r;
	if (bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.judge), &run))
		return -errno;
	if (run.retval)
		return -EPROTO;
	for (size_t i = 0; i < n; i++) {
		if (bpf_map_lookup_elem(bpf_map__fd(skeleton->maps.questions), &keys[i], &questions[i]))
			return -errno;
		ret_verdicts[i] = questions[i].verdict;
	}
	return 0;
}

const struct judge judge_kernel = { .name = "kernel", .load = kernel_load, .decide_many = kernel_decide_many };
