/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/decide.h - the verdict.  Pure C over abi.h: compiled into the kernel
 * programs, into `explain` and into the tests, so that all three say the same.
 *
 * It knows nothing of dentries, tasks or JSON.  Whoever includes it says how a
 * table is read, by defining before the #include:
 *
 *	static const struct tk_rule *tk_rule_at(__u32 slot, __u32 index);
 *	static const struct tk_state *tk_state_at(__u32 slot, __u32 state);
 *
 * both returning NULL when there is none; NULL denies.
 */
#ifndef TK_DECIDE_H
#define TK_DECIDE_H

#include "abi.h"

#ifdef __bpf__
#define TK_INLINE static __always_inline
#else
#include <stdbool.h>
#define TK_INLINE static inline
#endif

TK_INLINE bool tk_sets_meet(const __u64 *a, const __u64 *b)
{
	return (a[0] & b[0]) | (a[1] & b[1]) | (a[2] & b[2]) | (a[3] & b[3]);
}

/* What `from` has no more of. */
TK_INLINE void tk_sets_drop(__u64 *from, const __u64 *lost)
{
	for (int i = 0; i < TK_SET_WORDS; i++)
		from[i] &= ~lost[i];
}

/* A dimension that is not named matches everything; one that is negated matches members of none of its sets. */
TK_INLINE bool tk_dimension_matches(const struct tk_rule *rule, __u8 dimension, const __u64 *named,
				    const __u64 *subject)
{
	if (!(rule->named & dimension))
		return true;
	return tk_sets_meet(named, subject) != !!(rule->negated & dimension);
}

/* `times` hold: apart from the request, which lies on the stack of a hook for long. */
TK_INLINE bool tk_rule_matches(const struct tk_rule *rule, const struct tk_request *request,
			       const struct tk_set_bits *times)
{
	return (rule->actions & request->action) &&
	       tk_dimension_matches(rule, TK_USERS, rule->users, request->users) &&
	       tk_dimension_matches(rule, TK_PROCESSES, rule->processes, request->processes) &&
	       tk_dimension_matches(rule, TK_RESOURCES, rule->resources, request->resources) &&
	       tk_dimension_matches(rule, TK_TIMES, rule->times, times->sets);
}

/*
 * One rule's say: its verdict when it matches, 0 when it does not (no verdict is 0: a rule that denies
 * without audit would be, so TK_VERDICT_MATCHED marks a match).
 */
#define TK_VERDICT_MATCHED 0x80 /* in the effects byte, never seen outside this header */

#ifdef __bpf__
/* A function of its own in the kernel: the verifier then checks it once, not once for each turn of the loop. */
__attribute__((noinline)) __u32 tk_consult(struct tk_request *request, struct tk_set_bits *times,
						       __u32 index)
#else
TK_INLINE __u32 tk_consult(const struct tk_request *request, const struct tk_set_bits *times, __u32 index)
#endif
{
	const struct tk_rule *rule;

#ifdef __bpf__
	if (!request || !times) /* a global function's pointer argument may be NULL as far as the verifier knows */
		return TK_VERDICT_UNKNOWN | TK_VERDICT_MATCHED;
#endif
	rule = tk_rule_at(request->slot, index);
	if (!rule)
		return TK_VERDICT_UNKNOWN | TK_VERDICT_MATCHED;
	if (!tk_rule_matches(rule, request, times))
		return 0;
	return TK_VERDICT(rule->effects, TK_BY_RULE, rule->source) | TK_VERDICT_MATCHED;
}

/* The first rule that matches decides. */
TK_INLINE __u32 tk_decide(struct tk_request *request, struct tk_set_bits *times, const struct tk_policy *policy)
{
	__u32 first = policy->first_rule, count = policy->rule_count;

	for (__u32 i = 0; i < TK_MAX_POLICY_RULES && i < count; i++) {
		__u32 verdict = tk_consult(request, times, first + i);

		if (verdict)
			return verdict & ~(__u32)TK_VERDICT_MATCHED;
	}
	return TK_VERDICT_NO_RULE;
}

/*
 * The automaton reads a path below the guard point backwards: last byte of the leaf first, '/' between
 * components, none at either end.  The empty path is the guard point itself.
 */
TK_INLINE __u32 tk_step(__u32 slot, __u32 state, __u8 byte)
{
	const struct tk_state *row = tk_state_at(slot, state);

	return row ? row->next[byte] : TK_STATE_DEAD;
}

#endif
