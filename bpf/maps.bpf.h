/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/maps.bpf.h - every map of the programs.  Layouts stand in abi.h.
 *
 * Hash maps that the policy fills are not preallocated (a machine with three
 * guard points should not pay for 65536); user space alone inserts there, and a
 * failed insertion fails the load.  Where a program inserts, failure denies.
 */
#ifndef TK_MAPS_BPF_H
#define TK_MAPS_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "abi.h"

#define TK_HASH(map_name, key_type, value_type, entries)                                                     \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_HASH);                                                             \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                                        \
		__uint(max_entries, entries);                                                                \
		__type(key, key_type);                                                                       \
		__type(value, value_type);                                                                   \
	} map_name SEC(".maps")

#define TK_ARRAY(map_name, value_type, entries)                                                              \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                            \
		__uint(max_entries, entries);                                                                \
		__type(key, __u32);                                                                          \
		__type(value, value_type);                                                                   \
	} map_name SEC(".maps")

/* The policy, two generations of it while one replaces the other. */
TK_HASH(guard_points, struct tk_inode_key, struct tk_guard_point, TK_SLOTS * TK_MAX_GUARD_POINTS);
TK_HASH(guard_ancestors, struct tk_inode_key, __u32, TK_SLOTS *TK_MAX_GUARD_POINTS);
TK_HASH(process_sets, struct tk_inode_key, struct tk_process, TK_SLOTS * TK_MAX_MEMBERS);
TK_HASH(units, struct tk_unit_name, __u32, TK_SLOTS *TK_MAX_UNITS);
TK_HASH(unit_members, struct tk_unit_key, struct tk_process, TK_SLOTS *TK_MAX_MEMBERS);
TK_HASH(user_sets, struct tk_id_key, struct tk_id_sets, TK_SLOTS * TK_MAX_MEMBERS);
TK_HASH(group_sets, struct tk_id_key, struct tk_id_sets, TK_SLOTS * TK_MAX_MEMBERS);
/* User sets with "login": "required". */
TK_ARRAY(login_sets, struct tk_set_bits, TK_SLOTS);
/* Process sets without "integrity": false. */
TK_ARRAY(integrity_sets, struct tk_set_bits, TK_SLOTS);
/* Executables named by digest.  1: it was measured, and nobody has opened it for writing since; 0: measure it anew. */
TK_HASH(digests, struct tk_inode_key, __u32, TK_SLOTS *TK_MAX_MEMBERS);
/*
 * Time sets that hold, by generation: the loader's for the beginning, then the agent's at each change; who is
 * late with those of an older policy finds no entry.  Without an agent they stay as they were.
 */
TK_HASH(times_now, __u32, struct tk_times_now, 2 * TK_SLOTS);
TK_ARRAY(policies, struct tk_policy, TK_SLOTS * TK_MAX_POLICIES);
TK_ARRAY(rules, struct tk_rule, TK_SLOTS * TK_MAX_RULES);
TK_ARRAY(automaton, struct tk_state, TK_SLOTS * TK_MAX_STATES);

/* What is in force, and whether the agent lives.  User space maps it and stores single words. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tk_control);
} control SEC(".maps");
/* Filesystems that hold a guard point, by device: all others leave the programs at once. */
TK_HASH(guarded_devices, __u32, __u32, 4096);
/* Whether opens in a guard point reach the agent (enum tk_watch), by inode: of whatever generation. */
TK_HASH(watched_points, struct tk_inode, __u32, TK_MAX_GUARD_POINTS);

/* Run time. */
TK_ARRAY(open_files, struct tk_bucket, TK_BUCKETS);
TK_HASH(descriptions, __u64, struct tk_description, 1048576);
/* One that no event asks for (loader/agent/marks.c) stays until its thread closes that file, opens another or ends. */
TK_HASH(pending_opens, __u32, struct tk_pending_open, 262144);
/*
 * By the address of the executable's description (integrity.bpf.h).  Preallocated, so that only a full map makes
 * insertion fail, not a moment without memory.  The loader makes it as large as there can be processes
 * (tk_programs_load()).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TK_MAX_FOREIGN);
	__type(key, __u64);
	__type(value, struct tk_foreign_code);
} foreign_code SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22); /* some 3000 events: mode learn records all that a busy server does */
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 19);
} notices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TK_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void tk_count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		(*value)++;
}

/* Never NULL: an array's first element (array_map_lookup_elem). The verifier wants to see the test all the same. */
static __always_inline const struct tk_control *tk_control_now(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

static __always_inline const struct tk_rule *tk_rule_at(__u32 slot, __u32 index)
{
	if (index >= TK_MAX_RULES)
		return 0;
	index += (slot & 1) * TK_MAX_RULES;
	return bpf_map_lookup_elem(&rules, &index);
}

static __always_inline const struct tk_state *tk_state_at(__u32 slot, __u32 state)
{
	if (state >= TK_MAX_STATES)
		return 0;
	state += (slot & 1) * TK_MAX_STATES;
	return bpf_map_lookup_elem(&automaton, &state);
}

#endif
