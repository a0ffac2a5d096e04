/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/identity.bpf.h - who acts: the sets of the current task's user, groups and
 * executable in its unit (unit.bpf.h), less what it has lost by what it has mapped.  What cannot be determined is answered as such and denied.
 *
 * The credentials are the task's own (real_cred), not those it may have borrowed:
 * overlayfs and io_uring personalities act under other people's by override_creds,
 * and setfsuid(2) changes both.  Kernel threads that serve others (nfsd) have only
 * what they borrowed, and are no process of any set.
 */
#ifndef TK_IDENTITY_BPF_H
#define TK_IDENTITY_BPF_H

#include "audit.bpf.h"
#include "unit.bpf.h"

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

/*
 * Sets that require log-in do not hold for who came by su(1), nor for who never logged in: the login uid stays
 * through su and sudo, and unset it is (uid_t)-1, which no fsuid is.  Without CONFIG_AUDIT nobody is known to
 * have logged in.  0, or 1 when it cannot be determined.
 */
static __always_inline int tk_drop_login_sets(struct tk_access *a, const struct task_struct *task, __u32 fsuid)
{
	__u32 slot = TK_SLOT(a->generation);
	const struct tk_set_bits *login = bpf_map_lookup_elem(&login_sets, &slot);

	if (!login)
		return 1;
	if (!bpf_core_field_exists(task->loginuid) || BPF_CORE_READ(task, loginuid.val) != fsuid)
		tk_sets_drop(a->request.users, login->sets);
	return 0;
}

static __always_inline struct inode *tk_exe_of(const struct task_struct *task)
{
	struct file *image = tk_image_of(task);

	return image ? BPF_CORE_READ(image, f_inode) : 0;
}

/* Those that a digest gives only count while the contents are what was measured. */
static __always_inline void tk_add_process(const struct tk_process *process, bool measured, struct tk_set_bits *ret)
{
	if (!process)
		return;
	tk_sets_add(ret->sets, process->sets);
	if (measured)
		tk_sets_add(ret->sets, process->digest_sets);
}

/* Sets of an executable, with those it has in this unit alone, added to *ret. */
TK_GLOBAL int tk_add_processes(__u64 exe, __u32 generation, __u32 unit, struct tk_set_bits *ret)
{
	const struct tk_control *now = tk_control_now();
	const __u32 *digest = 0;
	struct tk_inode inode;
	bool measured;
	union { /* to be small on the stack */
		struct tk_inode_key exe;
		struct tk_unit_key member;
	} key;

	if (!exe || !ret || !now)
		return 0;
	tk_inode_read(&inode, exe);
	tk_inode_key(&key.exe, generation, &inode);
	if (now->has_digests & 1 << TK_SLOT(generation))
		digest = bpf_map_lookup_elem(&digests, &key.exe);
	measured = digest && *digest;
	tk_add_process(bpf_map_lookup_elem(&process_sets, &key.exe), measured, ret);
	if (!unit)
		return 0;
	key.member.generation = generation;
	key.member.unit = unit;
	key.member.exe = inode;
	tk_add_process(bpf_map_lookup_elem(&unit_members, &key.member), measured, ret);
	__builtin_memset(&key.member.exe, 0, sizeof(key.member.exe));
	tk_add_process(bpf_map_lookup_elem(&unit_members, &key.member), false, ret);
	return 0;
}

/* Sets that ask for integrity do not hold where code is mapped that is not root's alone.  True when some were dropped. */
static __always_inline bool tk_drop_integrity_sets(__u64 *sets, struct file *image, __u32 generation)
{
	__u32 slot = TK_SLOT(generation);
	const struct tk_set_bits *integrity;

	if (!tk_has_foreign_code(image))
		return false;
	integrity = bpf_map_lookup_elem(&integrity_sets, &slot);
	if (!integrity) { /* never: an array's element */
		__builtin_memset(sets, 0, sizeof(*integrity));
		return true;
	}
	if (!tk_sets_meet(sets, integrity->sets))
		return false;
	tk_sets_drop(sets, integrity->sets);
	return true;
}

/* The sets that a task has by what it executes in this unit, less what it has lost by what it has mapped.  1: it has. */
static __always_inline bool tk_task_sets(const struct task_struct *task, __u32 generation, __u32 unit,
					 struct tk_set_bits *ret)
{
	tk_add_processes((__u64)tk_exe_of(task), generation, unit, ret);
	return tk_drop_integrity_sets(ret->sets, tk_image_of(task), generation);
}

/*
 * After tk_identify(), and not from within it because of the stack: who is being traced is no more than his tracer is.
 * Membership is what both have, in whatever unit.
 */
TK_GLOBAL int tk_limit_to_tracer(struct tk_access *a)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct tk_set_bits tracer = {};

	if (!a || !BPF_CORE_READ(task, ptrace))
		return 0;
	tk_task_sets(BPF_CORE_READ(task, parent), a->generation, 0, &tracer);
	for (int i = 0; i < TK_SET_WORDS; i++)
		a->request.processes[i] &= tracer.sets[i];
	return 0;
}

/* Fills users and processes of a->request.  0, or 1 when they cannot be determined. */
TK_GLOBAL int tk_identify(struct tk_access *a)
{
	const struct tk_control *now;
	struct task_struct *task;
	struct tk_id_key key = {};
	struct tk_id_sets *sets;
	const struct cred *cred;
	__u32 fsuid;
	int unit;

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
	key.id = fsuid = BPF_CORE_READ(cred, fsuid.val);
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
	if (tk_drop_login_sets(a, task, fsuid))
		return 1;
	unit = tk_unit_named(now, task, a->generation);
	if (unit < 0)
		return 1;
	a->lost = tk_task_sets(task, a->generation, unit, (struct tk_set_bits *)a->request.processes);
	return 0;
}

#endif
