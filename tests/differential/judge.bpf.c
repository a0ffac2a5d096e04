// SPDX-License-Identifier: GPL-2.0
/*
 * tests/differential/judge.bpf.c - the verdict and the automaton as the kernel runs
 * them, asked in batches: the same functions the hooks call, on requests from user
 * space instead of from dentries and tasks.
 */
#include "bpf/judge.bpf.h"
#include "tests/differential/judge_abi.h"

char LICENSE[] SEC("license") = "GPL";

TK_ARRAY(questions, struct judge_question, JUDGE_BATCH);

/* The hooks read a name at a time; here the whole path is one name with '/' in it. */
static __always_inline __u32 scan(__u64 path, __u32 len, __u32 slot)
{
	__u32 state = TK_STATE_START;

	for (int i = 0; i < JUDGE_PATH_MAX / TK_NAME_PIECE && len > 0; i++) {
		__u32 piece = ((len - 1) & (TK_NAME_PIECE - 1)) + 1;

		len -= piece;
		state = tk_scan_piece(path + len, piece, slot, state);
		if (state >= TK_MAX_STATES)
			break;
	}
	return state;
}

TK_GLOBAL int judge_one(__u32 index)
{
	struct judge_question *question = bpf_map_lookup_elem(&questions, &index);
	const struct tk_state *end;
	struct tk_access a = {};
	__u64 path, address;
	__u32 zero = 0;

	if (!question || bpf_map_update_elem(&times_now, &zero, &question->asked.times, BPF_ANY))
		return 1;
	/* Through memory the address becomes a number, as the address of a dentry's name is. */
	path = (__u64)question->path;
	if (bpf_probe_read_kernel(&address, sizeof(address), &path))
		return 1;
	a.request = question->asked.request;
	a.policy = question->policy;
	end = tk_state_at(a.request.slot, scan(address, question->path_len, a.request.slot));
	if (!end)
		return 1;
	__builtin_memcpy(a.request.resources, end->sets, sizeof(a.request.resources));
	question->verdict = tk_verdict(&a);
	return 0;
}

/* Judges as many questions as the packet's first word says.  0, or 1 when one could not be judged. */
SEC("tc")
int judge(struct __sk_buff *skb)
{
	__u32 count;

	if (bpf_skb_load_bytes(skb, 0, &count, sizeof(count)))
		return -1;
	for (__u32 i = 0; i < JUDGE_BATCH; i++) {
		if (i >= count)
			break;
		if (judge_one(i))
			return 1;
	}
	return 0;
}
