/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/identity.bpf.h - who acts: the sets of the current task's user, groups and
 * executable.  What cannot be determined is answered as such and denied.
 *
 * The credentials are the task's own (real_cred), not those it may have borrowed:
 * overlayfs and io_uring personalities act under other people's by override_creds,
 * and setfsuid(2) changes both.  Kernel threads that serve others (nfsd) have only
 * what they borrowed, and are no process of any set.
 */
#ifndef TK_IDENTITY_BPF_H
#define TK_IDENTITY_BPF_H

#include "access.bpf.h"

static __always_inline void tk_sets_add(__u64 *to, const __u64 *from)
{
	for (int i = 0; i < TK_SET_WORDS; i++)
		to[i] |= from[i];
}

/* Sets of the supplementary groups.  0, or 1 when there are more than can be looked at. */
TK_GLOBAL int tk_add_groups(struct tk_access *a, __u64 group_info)
{
	struct group_info *groups = (struct group_info *)group_info;
	struct tk_id_key key = {};
	struct tk_id_sets *sets;
	int count;

	if (!a || !group_info)
		return 1;
	key.generation = a->generation;
	count = BPF_CORE_READ(groups, ngroups);
	if (count > TK_MAX_GROUPS || count < 0)
		return 1;
	for (int i = 0; i < TK_MAX_GROUPS && i < count; i++) {
		if (bpf_probe_read_kernel(&key.id, sizeof(key.id), &groups->gid[i]))
			return 1;
		sets = bpf_map_lookup_elem(&group_sets, &key);
		if (sets)
			tk_sets_add(a->request.users, sets->sets);
	}
	return 0;
}

/* Sets of the executable of a task's memory; none for kernel threads. */
static __always_inline const struct tk_process *tk_process_of(const struct task_struct *task, __u32 generation)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct tk_inode_key key;
	struct tk_inode inode;
	struct file *exe;

	if (!mm)
		return 0;
	exe = BPF_CORE_READ(mm, exe_file);
	if (!exe)
		return 0;
	tk_inode_read(&inode, (__u64)BPF_CORE_READ(exe, f_inode));
	tk_inode_key(&key, generation, &inode);
	return bpf_map_lookup_elem(&process_sets, &key);
}

/*
 * Fills users and processes of a->request.  0, or 1 when they cannot be determined.
 * Who is being traced is no more than his tracer is: membership is what both have.
 */
TK_GLOBAL int tk_identify(struct tk_access *a)
{
	const struct tk_process *process, *tracer;
	const struct tk_control *now;
	struct task_struct *task;
	struct tk_id_key key = {};
	struct tk_id_sets *sets;
	const struct cred *cred;

	if (!a)
		return 1;
	now = tk_control_now();
	if (!now)
		return 1;
	task = bpf_get_current_task_btf();
	cred = BPF_CORE_READ(task, mm) ? BPF_CORE_READ(task, real_cred) : BPF_CORE_READ(task, cred);
	if (!cred)
		return 1;
	key.generation = a->generation;
	key.id = BPF_CORE_READ(cred, fsuid.val);
	sets = bpf_map_lookup_elem(&user_sets, &key);
	if (sets)
		tk_sets_add(a->request.users, sets->sets);
	if (now->has_groups & 1 << TK_SLOT(a->generation)) {
		key.id = BPF_CORE_READ(cred, fsgid.val);
		sets = bpf_map_lookup_elem(&group_sets, &key);
		if (sets)
			tk_sets_add(a->request.users, sets->sets);
		if (tk_add_groups(a, (__u64)BPF_CORE_READ(cred, group_info)))
			return 1;
	}
	process = tk_process_of(task, a->generation);
	if (!process)
		return 0;
	tk_sets_add(a->request.processes, process->sets);
	if (BPF_CORE_READ(task, ptrace)) {
		tracer = tk_process_of(BPF_CORE_READ(task, parent), a->generation);
		for (int i = 0; i < TK_SET_WORDS; i++)
			a->request.processes[i] &= tracer ? tracer->sets[i] : 0;
	}
	return 0;
}

#endif
