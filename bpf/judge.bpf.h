/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/judge.bpf.h - from an access to its answer: begin (where, who), then judge
 * one or several actions by the guard point's policy (decide.h).
 */
#ifndef TK_JUDGE_BPF_H
#define TK_JUDGE_BPF_H

#include "audit.bpf.h"
#include "identity.bpf.h"
#include "place.bpf.h"

/* Actions that touch contents: only these have a view. */
#define TK_CONTENT_ACTIONS (TK_DATA_READ | TK_DATA_WRITE | TK_EXECUTE)

/*
 * The time sets that hold, as one look: the agent may be changing them.  0, or 1 when they are not known:
 * an agent that lives has not told of the last change.  Without one they stay as they were.
 */
static __always_inline int tk_times(const struct tk_access *a, struct tk_set_bits *ret_times)
{
	__u32 generation = a->generation;
	const struct tk_times_now *times = bpf_map_lookup_elem(&times_now, &generation);

	if (!times)
		return 1;
	*ret_times = times->holding;
	return a->ready && bpf_ktime_get_boot_ns() > times->until;
}

/* The policy's verdict on a->request.action. */
TK_GLOBAL __u32 tk_verdict(struct tk_access *a)
{
	struct tk_set_bits times = {};
	struct tk_policy *policy;
	__u32 index;

	if (!a)
		return TK_VERDICT_UNKNOWN;
	index = a->policy;
	if (index >= TK_MAX_POLICIES)
		return TK_VERDICT_UNKNOWN;
	index += a->request.slot * TK_MAX_POLICIES;
	policy = bpf_map_lookup_elem(&policies, &index);
	if (!policy)
		return TK_VERDICT_UNKNOWN;
	if (policy->timed && tk_times(a, &times))
		return TK_VERDICT(TK_AUDIT, TK_TIME_UNKNOWN, TK_NO_RULE_INDEX);
	return tk_decide(&a->request, &times, policy);
}

static __always_inline void tk_begin(struct tk_access *a, const struct tk_control *now)
{
	__builtin_memset(a, 0, sizeof(*a));
	a->generation = now->generation;
	a->ready = now->ready;
	a->request.slot = TK_SLOT(a->generation);
	a->verdict = TK_VERDICT_UNKNOWN;
}

/* Refuses for a reason of our own, not a rule's; told unless it is what an agent's restart makes usual. */
static __always_inline int tk_refuse(struct tk_access *a, __u32 action, __u32 reason, int result)
{
	a->verdict = TK_VERDICT(TK_AUDIT, reason, TK_VERDICT_RULE(a->verdict));
	tk_count(TK_COUNT_DENIED);
	tk_tell(a, action, result);
	return result;
}

/* What would be denied is permitted; a mode that is not known is no such. */
static __always_inline bool tk_lets(const struct tk_access *a)
{
	return a->mode == TK_MONITOR || a->mode == TK_LEARN;
}

/* Is this image the command's? */
static __always_inline bool tk_is_command_image(const struct tk_control *now, struct file *image)
{
	struct tk_inode inode;

	if (!image || !now || !now->command.ino)
		return false;
	tk_inode_read(&inode, (__u64)BPF_CORE_READ(image, f_inode));
	return inode.ino == now->command.ino && inode.dev == now->command.dev &&
	       inode.igeneration == now->command.igeneration;
}

/* Is the command at work, by its own will? */
static __always_inline bool tk_is_command(const struct tk_control *now)
{
	const struct task_struct *task = bpf_get_current_task_btf();
	struct file *image = tk_image_of(task);

	return tk_is_command_image(now, image) && !BPF_CORE_READ(task, ptrace) && !tk_has_foreign_code(image);
}

/* Who may `key_op` may through the command do all that its verbs need, on the bytes as stored.  1 or 0. */
TK_GLOBAL int tk_key_op(struct tk_access *a)
{
	__u32 effects;

	if (!a || !tk_is_command(tk_control_now()))
		return 0;
	a->request.action = TK_KEY_OP;
	a->verdict = tk_verdict(a);
	effects = TK_VERDICT_EFFECTS(a->verdict);
	tk_count(TK_COUNT_DECISIONS);
	if (!(effects & TK_PERMIT))
		return 0; /* then it is a program like any other */
	if (effects & TK_AUDIT || a->mode == TK_LEARN)
		tk_tell(a, TK_KEY_OP, 0);
	return 1;
}

/*
 * Judges every action in the mask: they must all be permitted, in one and the same view.
 * Returns enum tk_view (what the permitting rules say), or -EACCES.  Monitor and learn mode permit what
 * would be denied, in the plaintext view, because they must never break a program.
 */
TK_GLOBAL int tk_judge(struct tk_access *a, __u32 actions)
{
	int view = TK_VIEW_NONE;

	if (!a)
		return -EACCES;
	if (a->guard_flags & TK_GUARD_VAULT)
		return tk_refuse(a, actions, TK_GUARD_STRUCTURE, -EACCES);
	if (tk_identify(a))
		return tk_refuse(a, actions, TK_IDENTITY_UNKNOWN, -EACCES);
	tk_limit_to_tracer(a);
	if (a->state != TK_STATE_DEAD) {
		const struct tk_state *end = tk_state_at(a->request.slot, a->state);

		if (!end)
			return tk_refuse(a, actions, TK_PLACE_UNKNOWN, -EACCES);
		tk_sets_add(a->request.resources, end->sets);
	}
	if (tk_key_op(a))
		return actions & TK_CONTENT_ACTIONS ? TK_VIEW_RAW : TK_VIEW_NONE;
	for (__u32 i = 0; i < TK_ACTION_COUNT; i++) {
		__u32 action = 1 << i, effects;
		int this_view;

		if (!(actions & action))
			continue;
		a->request.action = action;
		a->verdict = tk_verdict(a);
		effects = TK_VERDICT_EFFECTS(a->verdict);
		tk_count(TK_COUNT_DECISIONS);
		if (!(effects & TK_PERMIT)) {
			tk_count(TK_COUNT_DENIED);
			if (a->lost) /* it may be why */
				a->verdict = TK_VERDICT(effects, TK_FOREIGN_CODE, TK_VERDICT_RULE(a->verdict));
			if (!tk_lets(a)) {
				if (effects & TK_AUDIT)
					tk_tell(a, action, -EACCES);
				return -EACCES;
			}
			tk_tell(a, action, 0);
			this_view = TK_VIEW_PLAIN;
		} else {
			if (effects & TK_AUDIT || a->mode == TK_LEARN)
				tk_tell(a, action, 0);
			this_view = effects & TK_APPLY_KEY ? TK_VIEW_PLAIN : TK_VIEW_RAW;
		}
		if (!(action & TK_CONTENT_ACTIONS))
			continue;
		if (view != TK_VIEW_NONE && view != this_view) {
			if (!tk_lets(a))
				return tk_refuse(a, action, TK_SPLIT_VIEW, -EACCES);
			this_view = TK_VIEW_PLAIN;
		}
		view = this_view;
	}
	return view;
}

#endif
