/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/unit.bpf.h - which systemd unit a task is in: by its control group, as systemd
 * itself reads one (cg_path_get_unit): on the way down from the root, the first group
 * that is not a slice.
 *
 * Below that group anybody may have been given the right to make groups of any name
 * (Delegate=, user managers, containers); above it are slices, which are root's.  So
 * nobody but root can make a group that counts as a unit.
 */
#ifndef TK_UNIT_BPF_H
#define TK_UNIT_BPF_H

#include "scratch.bpf.h"

/* struct kernfs_node until 6.14, and since (commit 633488947ef6, "kernfs: Use RCU to access kernfs_node::parent"). */
struct kernfs_node___until614 {
	struct kernfs_node *parent;
} __attribute__((preserve_access_index));
struct kernfs_node___since615 {
	struct kernfs_node *__parent;
} __attribute__((preserve_access_index));

static __always_inline struct kernfs_node *tk_group_above(struct kernfs_node *node)
{
	struct kernfs_node___until614 *old = (void *)node;
	struct kernfs_node___since615 *new = (void *)node;

	return bpf_core_field_exists(new->__parent) ? BPF_CORE_READ(new, __parent) : BPF_CORE_READ(old, parent);
}

#define TK_SLICE 0x6563696c732eULL /* ".slice", as a little-endian number */
#define TK_SLICE_LEN 7		   /* with its terminator */

/* One that does not fit the buffer is taken for a unit, and is then none that is named. */
static __always_inline bool tk_is_slice(const char *name, char *buf)
{
	__u64 tail = 0;
	long len = bpf_probe_read_kernel_str(buf, TK_UNIT_MAX, name);

	if (len <= TK_SLICE_LEN || len >= TK_UNIT_MAX ||
	    bpf_probe_read_kernel(&tail, TK_SLICE_LEN, name + len - TK_SLICE_LEN))
		return false;
	return tail == TK_SLICE;
}

/* The unit's name is built in `key`.  1 with *ret_number (0: none that the policy names), 0 when it cannot be told. */
static __always_inline bool tk_find_number(struct kernfs_node *node, struct tk_unit_name *key, __u32 generation,
					   __u32 *ret_number)
{
	struct kernfs_node *above = 0;
	const char *name, *unit = 0;
	const __u32 *number;
	char first = 0;

	*ret_number = 0;
	for (int i = 0; i < TK_UNIT_DEPTH && node; i++) {
		above = tk_group_above(node);
		if (!above)
			break;
		name = BPF_CORE_READ(node, name);
		if (!tk_is_slice(name, key->name))
			unit = name;
		node = above;
	}
	if (above)
		return false;
	if (!unit)
		return true;
	/* systemd puts a "_" before names that the kernel could take for a file of its own, or that begin with one. */
	if (bpf_probe_read_kernel(&first, sizeof(first), unit))
		return false;
	if (first == '_')
		unit++;
	__builtin_memset(key, 0, sizeof(*key));
	key->generation = generation;
	if (bpf_probe_read_kernel_str(key->name, sizeof(key->name), unit) >= TK_UNIT_MAX)
		return true; /* longer than any that a policy can name */
	number = bpf_map_lookup_elem(&units, key);
	if (number)
		*ret_number = *number;
	return true;
}

#define TK_UNIT_UNKNOWN (-1)

/* The number in map `units` of the unit that a control group is or is in; 0: none that the policy names. */
TK_GLOBAL int tk_unit_of(__u64 group, __u32 generation)
{
	struct tk_scratch *room = tk_scratch_claim();
	__u32 number;
	bool found;

	if (!room)
		return TK_UNIT_UNKNOWN;
	found = tk_find_number((struct kernfs_node *)group, &room->unit, generation, &number);
	tk_scratch_give_back(room);
	return found && number <= TK_MAX_UNITS ? (int)number : TK_UNIT_UNKNOWN;
}

/* A task's, where the policy names units at all. */
static __always_inline int tk_unit_named(const struct tk_control *now, const struct task_struct *task,
					 __u32 generation)
{
	if (!now)
		return TK_UNIT_UNKNOWN;
	if (!(now->has_units & 1 << TK_SLOT(generation)))
		return 0;
	return tk_unit_of((__u64)BPF_CORE_READ(task, cgroups, dfl_cgrp, kn), generation);
}

#endif
