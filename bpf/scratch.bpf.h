/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/scratch.bpf.h - room for what is too large for the stack, of which a hook and
 * all that it calls have 512 bytes.
 *
 * A program stays on its CPU but can be preempted there by a task whose hook wants
 * the same room.  So each CPU has several places, and who uses one has claimed it;
 * when none is left, what was to be found out is unknown.
 */
#ifndef TK_SCRATCH_BPF_H
#define TK_SCRATCH_BPF_H

#include "access.bpf.h"
#include "maps.bpf.h"

/* Each CPU.  A place is held for some microseconds: even of thousands of tasks that do nothing else, few are preempted then. */
#define TK_SCRATCH_PLACES 64

struct tk_scratch {
	__u32 claimed;
	struct tk_unit_name unit;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TK_SCRATCH_PLACES);
	__type(key, __u32);
	__type(value, struct tk_scratch);
} scratch SEC(".maps");

/* NULL: all are in use.  The caller gives it back. */
static __always_inline struct tk_scratch *tk_scratch_claim(void)
{
	for (__u32 i = 0; i < TK_SCRATCH_PLACES; i++) {
		__u32 place = i;
		struct tk_scratch *room = bpf_map_lookup_elem(&scratch, &place);

		if (room && !__sync_val_compare_and_swap(&room->claimed, 0, 1))
			return room;
	}
	tk_count(TK_COUNT_NO_SCRATCH);
	return 0;
}

static __always_inline void tk_scratch_give_back(struct tk_scratch *room)
{
	*(volatile __u32 *)&room->claimed = 0;
}

#endif
