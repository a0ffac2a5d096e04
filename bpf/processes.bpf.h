/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/processes.bpf.h - the hooks on processes: what keeps a member of a process
 * set from being somebody else's puppet, and what notices the agent's death and
 * takes its commands.
 */
#ifndef TK_PROCESSES_BPF_H
#define TK_PROCESSES_BPF_H

#include "integrity.bpf.h"
#include "views.bpf.h"

#define PTRACE_MODE_ATTACH 2

/* The sets that a task has.  False when they cannot be told. */
static __always_inline bool tk_members(const struct tk_control *now, const struct task_struct *task,
				       struct tk_set_bits *ret)
{
	int unit = tk_unit_named(now, task, now->generation);

	if (unit < 0)
		return false;
	tk_task_sets(task, now->generation, unit, ret);
	return true;
}

/* Who is in every set that the member is in. */
static __always_inline bool tk_may_trace(const struct tk_control *now, const struct task_struct *tracer,
					 const struct tk_set_bits *member)
{
	struct tk_set_bits own = {};
	bool inside = tk_members(now, tracer, &own);

	for (int i = 0; i < TK_SET_WORDS; i++)
		inside &= !(member->sets[i] & ~own.sets[i]);
	return inside;
}

/* A member's memory is open to its own set alone: ptrace, /proc/PID/mem, process_vm_readv, pidfd_getfd. */
SEC("lsm/ptrace_access_check")
int BPF_PROG(ptrace_access_check, struct task_struct *child, unsigned int mode, int ret)
{
	const struct tk_control *now = tk_control_now();
	struct tk_set_bits member = {};
	struct tk_access a;

	if (ret)
		return tk_answer(ret);
	if (!now || !now->generation || !(mode & PTRACE_MODE_ATTACH) || tk_is_ours(now))
		return 0;
	if ((now->agent && child->tgid == (int)now->agent) || (now->loader && child->tgid == (int)now->loader))
		return -EPERM; /* the programs let it pass, and it holds the keys */
	if (tk_members(now, child, &member) &&
	    tk_may_trace(now, bpf_get_current_task_btf(), &member))
		return tk_answer(tk_note_traced(now, tk_image_of(child)));
	tk_begin(&a, now);
	return tk_answer(tk_refuse(&a, 0, TK_FOREIGN_TRACER, -EPERM));
}

/*
 * Who executes a member's program while he is traced would be a puppet with its strings already tied: a tracer
 * may write into him and let go.  cred_guard_mutex keeps new tracers out until the execve is done.
 */
SEC("lsm/bprm_check_security")
int BPF_PROG(bprm_check_security, struct linux_binprm *bprm, int ret)
{
	const struct tk_control *now = tk_control_now();
	struct task_struct *task = bpf_get_current_task_btf();
	struct tk_set_bits member = {};
	int unit;

	if (ret)
		return tk_answer(ret);
	if (!now || !now->generation || !BPF_CORE_READ(task, ptrace))
		return 0;
	unit = tk_unit_named(now, task, now->generation);
	if (unit < 0)
		return -EPERM;
	tk_add_processes((__u64)BPF_CORE_READ(bprm, file, f_inode), now->generation, unit, &member);
	if (!tk_may_trace(now, BPF_CORE_READ(task, parent), &member))
		return -EPERM;
	return tk_answer(tk_note_traced(now, BPF_CORE_READ(bprm, file)));
}

#define PR_SET_MM 35
#define PR_SET_MM_EXE_FILE 13
#define PR_SET_MM_MAP 14

/* Otherwise a process with CAP_SYS_RESOURCE could name any executable as its own. */
SEC("lsm/task_prctl")
int BPF_PROG(task_prctl, int option, unsigned long arg2, unsigned long arg3, unsigned long arg4,
	     unsigned long arg5, int ret)
{
	const struct tk_control *now = tk_control_now();

	if (ret)
		return tk_answer(ret);
	if (now && now->generation && option == PR_SET_MM &&
	    (arg2 == PR_SET_MM_EXE_FILE || arg2 == PR_SET_MM_MAP))
		return -EPERM;
	return 0; /* "not mine": the hook's own default, -ENOSYS, follows */
}

#define SIGNAL_GROUP_EXIT 4

/*
 * Is the whole process ending?  A thread that ends by itself says nothing: the agent uses helpers for large
 * files.  A signal that kills marks the group before the first of its threads goes.
 */
static __always_inline bool tk_group_exits(struct task_struct *task)
{
	return task->pid == task->tgid || BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT;
}

/* The first thread of the agent that goes with it takes `ready` along. */
static __always_inline void tk_note_death(struct task_struct *task)
{
	__u32 zero = 0;
	struct tk_control *now = bpf_map_lookup_elem(&control, &zero);

	if (now && now->agent && task->tgid == (int)now->agent && tk_group_exits(task)) {
		now->ready = 0;
		now->agent = 0;
	}
	if (now && now->loader && task->tgid == (int)now->loader)
		now->loader = 0;
}

/*
 * The tracepoint comes before the descriptors are closed, so before fanotify answers what is pending with ALLOW.
 * Where it is left out (takakrypt.bpf.c), the first description that the dying one closes tells: whom fanotify has let
 * in until then finds the file in a state that denies, and nobody else gets a process id by which he would pass.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_process_exit, struct task_struct *task)
{
	tk_note_death(task);
	tk_take_back_word(); /* it opens nothing any more; where this is left out, a place of the map is lost */
	return 0;
}

#define PF_EXITING 0x4

static __always_inline void tk_note_death_by_close(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (BPF_CORE_READ(task, flags) & PF_EXITING)
		tk_note_death(task);
}

/* Does the mount behind the caller's own descriptor show guard points alone?  1, 0 or -errno. */
static __always_inline int tk_is_narrow(__u32 fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd), *file = 0;

	if (fd >= BPF_CORE_READ(table, max_fds) || bpf_probe_read_kernel(&file, sizeof(file), files + fd) || !file)
		return -EBADF;
	return tk_watch_of((__u64)BPF_CORE_READ(file, f_path.mnt, mnt_root)) != TK_WATCH_NONE;
}

/* The agent's door: struct tk_command as the packet of a test run.  Attached to nothing. */
SEC("tc")
int command(struct __sk_buff *skb)
{
	struct tk_command c;

	if (bpf_skb_load_bytes(skb, 0, &c, sizeof(c)))
		return -EINVAL;
	if (c.state == TK_PLACES_CHANGED) {
		__sync_fetch_and_add(&tk_rename_count, 1);
		return 0;
	}
	if (c.state == TK_IS_NARROW)
		return tk_is_narrow(c.fd);
	if (c.state > TK_KEPT || !c.inode.ino)
		return -EINVAL;
	return tk_set_state(&c.inode, c.state);
}

/*
 * The reader's own descriptors and the inodes behind them, as the programs see inodes: stat(2) tells another
 * device on btrfs, another number on overlayfs, and no generation on tmpfs.
 */
SEC("iter/task_file")
int identify(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct tk_identified it = {};

	if (!task || !file || task->tgid != (int)(bpf_get_current_pid_tgid() >> 32) || task->pid != task->tgid)
		return 0;
	it.fd = ctx->fd;
	it.written = BPF_CORE_READ(file, f_inode, i_writecount.counter) > 0;
	tk_inode_read(&it.inode, (__u64)BPF_CORE_READ(file, f_inode));
	bpf_seq_write(ctx->meta->seq, &it, sizeof(it));
	return 0;
}

#endif
