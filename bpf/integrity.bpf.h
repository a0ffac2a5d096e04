/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/integrity.bpf.h - whether what runs is still what the policy named: notes who maps
 * code that is not root's alone (map foreign_code), and which measured executables may
 * have been written to (map digests).  identity.bpf.h draws the conclusions.
 *
 * A note stands under the description of the executable (mm->exe_file), which each
 * execve opens anew, and which whoever is forked from there has with it.  So nothing
 * is copied at a fork, where a program may be left out (takakrypt.bpf.c); the children
 * lose what their parent loses, and he what one of them does; and the note goes with
 * the description.
 */
#ifndef TK_INTEGRITY_BPF_H
#define TK_INTEGRITY_BPF_H

#include "judge.bpf.h"

#define S_IWGRP_OR_IWOTH 0022
#define FUSE_NAME 0x65737566 /* "fuse", as a little-endian number: fuse, fuseblk */

#define SB_NOSUID 2
#define MNT_NOSUID 1

/*
 * May somebody else than root have written this?  A FUSE server says of its files what it likes.  Otherwise owners
 * are trusted where the kernel itself would believe a set-user-id bit (fs/exec.c, mnt_may_suid): not on a stick that
 * somebody put in, nor on what a user has mounted in a namespace of his own.
 */
static __always_inline bool tk_is_foreign(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	const char *type = BPF_CORE_READ(inode, i_sb, s_type, name);
	__u32 beginning = FUSE_NAME;

	if (BPF_CORE_READ(inode, i_uid.val) || BPF_CORE_READ(inode, i_mode) & S_IWGRP_OR_IWOTH)
		return true;
	if (BPF_CORE_READ(file, f_path.mnt, mnt_flags) & MNT_NOSUID || BPF_CORE_READ(inode, i_sb, s_flags) & SB_NOSUID ||
	    BPF_CORE_READ(inode, i_sb, s_user_ns, level))
		return true;
	return bpf_probe_read_kernel(&beginning, sizeof(beginning), type) || beginning == FUSE_NAME;
}

/* Has the running task sets that it would lose, were it not noted yet?  1 also when that cannot be told. */
TK_GLOBAL int tk_has_integrity(void)
{
	const struct tk_control *now = tk_control_now();
	struct task_struct *task = bpf_get_current_task_btf();
	const struct tk_set_bits *integrity;
	struct tk_set_bits sets = {};
	__u32 generation, slot;
	int unit;

	if (!now || !now->generation)
		return 0;
	generation = now->generation;
	slot = TK_SLOT(generation);
	unit = tk_unit_named(now, task, generation);
	integrity = bpf_map_lookup_elem(&integrity_sets, &slot);
	if (unit < 0 || !integrity)
		return 1;
	tk_add_processes((__u64)tk_exe_of(task), generation, unit, &sets);
	return tk_sets_meet(sets.sets, integrity->sets);
}

static __always_inline void tk_tell_loss(const struct tk_foreign_code *note, __u64 dentry, __u32 generation, int result)
{
	struct tk_event *e = tk_event_begin();

	if (!e)
		return;
	e->inode = note->file;
	e->generation = generation;
	e->guard = TK_NO_GUARD;
	e->action = 0;
	e->mount = 0;
	e->rule = TK_NO_RULE_INDEX;
	e->effects = TK_AUDIT | (result ? 0 : TK_PERMIT);
	e->reason = TK_FOREIGN_CODE;
	e->mode = TK_ENFORCE;
	e->result = result;
	e->path_len = tk_event_path(e, dentry, TK_TO_THE_ROOT);
	bpf_ringbuf_submit(e, 0);
}

/*
 * The running task, a member or not, is about to map code of this file.  0; -ENOMEM when that could not be noted: then
 * the mapping must not be made, because who is no member may become one by a reload.
 */
TK_GLOBAL int tk_note_foreign(__u64 inode, __u64 dentry, bool member)
{
	const struct tk_control *now = tk_control_now();
	struct task_struct *task = bpf_get_current_task_btf();
	struct tk_foreign_code note = {};
	__u64 image = (__u64)tk_image_of(task);
	int result = 0;

	if (!now || !image || bpf_map_lookup_elem(&foreign_code, &image))
		return 0;
	tk_inode_read(&note.file, inode);
	note.pid = bpf_get_current_pid_tgid() >> 32;
	if (bpf_map_update_elem(&foreign_code, &image, &note, BPF_ANY)) {
		tk_count(TK_COUNT_FOREIGN_FULL);
		result = -ENOMEM;
	}
	if (member)
		tk_tell_loss(&note, dentry, now->generation, result);
	return result;
}

/*
 * The command is about to be traced, or executed by who is: a tracer may write into it and let go, and what he wrote
 * would have key_op.  Members need no note, their tracers have what they have.  0; -ENOMEM: then it must not be.
 */
static __always_inline int tk_note_traced(const struct tk_control *now, struct file *image)
{
	struct tk_foreign_code note = {};
	__u64 address = (__u64)image;

	if (!tk_is_command_image(now, image))
		return 0;
	note.file = now->command;
	note.pid = bpf_get_current_pid_tgid() >> 32;
	if (!bpf_map_update_elem(&foreign_code, &address, &note, BPF_ANY))
		return 0;
	tk_count(TK_COUNT_FOREIGN_FULL);
	return -ENOMEM;
}

/* The last of those who executed it together is gone, and another may be opened at that address. */
static __always_inline void tk_forget_foreign(__u64 image)
{
	if (bpf_map_lookup_elem(&foreign_code, &image))
		bpf_map_delete_elem(&foreign_code, &image);
}

/*
 * Somebody is about to get the means to change an inode's contents.  What a digest says of it no longer counts, for
 * the policy in force nor for one that is being loaded.  Nothing can fail: the entry is there or it is not.
 */
TK_GLOBAL int tk_forget_digest(__u64 inode)
{
	const struct tk_control *now = tk_control_now();
	struct tk_inode_key key;
	struct tk_inode it;

	if (!now || !now->has_digests || !inode)
		return 0;
	tk_inode_read(&it, inode);
	for (__u32 i = 0; i < 2; i++) {
		__u32 *digest;

		tk_inode_key(&key, now->generation + i, &it);
		digest = bpf_map_lookup_elem(&digests, &key);
		if (digest)
			*(volatile __u32 *)digest = 0;
	}
	return 0;
}

#endif
