// SPDX-License-Identifier: GPL-2.0
/*
 * tests/differential/judge_user.c - decide.h and the automaton as compiled for
 * user space.
 */
#include <errno.h>
#include <string.h>

#include "tests/differential/judge.h"

static const struct tk_compiled *in_force;

static const struct tk_rule *tk_rule_at(__u32 slot, __u32 index)
{
	return index < in_force->rule_count ? &in_force->rules[index] : NULL;
}

static const struct tk_state *tk_state_at(__u32 slot, __u32 state)
{
	return state < in_force->state_count ? &in_force->states[state] : NULL;
}

#include "bpf/decide.h"

static int user_load(void *ctx, const struct tk_compiled *compiled)
{
	in_force = compiled;
	return 0;
}

static int user_decide(void *ctx, const struct judge_case *asked, const char *path_below, uint32_t policy,
		       uint32_t *ret_verdict)
{
	struct judge_case copy = *asked;
	__u32 state = TK_STATE_START;
	const struct tk_state *end;

	if (policy >= in_force->policy_count)
		return -EINVAL;
	for (size_t i = strlen(path_below); i-- > 0;)
		state = tk_step(copy.request.slot, state, (__u8)path_below[i]);
	end = tk_state_at(copy.request.slot, state);
	if (!end)
		return -EINVAL;
	memcpy(copy.request.resources, end->sets, sizeof(copy.request.resources));
	*ret_verdict = tk_decide(&copy.request, &copy.times.holding, &in_force->policies[policy]);
	return 0;
}

const struct judge judge_user = {.name = "user", .load = user_load, .decide = user_decide};
