// SPDX-License-Identifier: GPL-2.0
/*
 * bpf/takakrypt.bpf.c - the hooks on contents: opening, reading, writing, mapping,
 * executing, passing and closing a file, and the agent's door.
 *
 *	file_open		decides an open, counts it, leaves the verdict for the agent
 *	file_permission		decides each read and write anew: descriptors travel, policies change
 *	mmap_file, file_mprotect  decide mappings, which page faults never ask about; note foreign code
 *	file_receive		decides for who receives a descriptor
 *	file_ioctl(_compat)	lets through what is known to be harmless
 *	file_free_security	uncounts; removes that note
 *	ptrace_access_check, bprm_check_security  keep strangers out of a member's memory
 *	task_prctl		keeps a process from putting on another executable's name
 *	sched_process_exit	the agent has died: not ready from this instant; file_free_security says so again
 *	command			the agent's door, run by BPF_PROG_TEST_RUN
 *
 * names.bpf.h has the hooks on names and attributes.
 *
 * Each hook: honour an earlier refusal, leave at once when the filesystem holds no guard point, let the
 * agent pass, gather, decide, audit, return.  Inside a guard point unknown means denied.
 *
 * Nothing may hang on a program that is not an LSM program.  The kernel leaves out one of fentry, fexit or tp_btf when
 * a task that it has preempted on that processor is in the middle of the same one (__bpf_prog_enter_recur(),
 * __bpf_trace_run(); `bpftool prog show` counts recursion_misses): seen for all three on 7.2, for fentry on 6.12 with
 * preempt=full.  LSM programs and iterators are exempt since 6.2 and 6.1.54 (bpf_prog_check_recur(), e50e86dbcabd).
 */
#include "judge.bpf.h"
#include "views.bpf.h"
#include "integrity.bpf.h"
#include "names.bpf.h"
#include "processes.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* The usual beginning of a hook on an open file: 0 to go on, 1 when there is nothing to decide. */
static __always_inline bool tk_not_ours(struct inode *inode, const struct tk_control *now)
{
	if (!now || !now->generation)
		return true;
	return !tk_device_guarded(inode->i_sb->s_dev) || tk_is_ours(now);
}

/* Locates an open file.  1: inside, go on; 0: outside; -errno: cannot be determined, told. */
static __always_inline int tk_begin_file(struct tk_access *a, const struct tk_control *now, struct file *file,
					 __u32 action)
{
	struct inode *inode = file->f_inode;
	__u32 where;

	tk_begin(a, now);
	a->file = (__u64)file;
	a->inode.ino = inode->i_ino;
	a->inode.dev = inode->i_sb->s_dev;
	a->inode.igeneration = inode->i_generation;
	where = tk_locate_inode(a, now, inode, file->f_path.dentry);
	if (where == TK_NOWHERE)
		return tk_refuse(a, action, TK_PLACE_UNKNOWN, -EACCES);
	return where == TK_INSIDE;
}

static __always_inline __u32 tk_mount_id(struct file *file)
{
	struct vfsmount *vfsmount = BPF_CORE_READ(file, f_path.mnt);
	struct mount *mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);

	return BPF_CORE_READ(mount, mnt_id);
}

/* What an open with these flags wants to do. */
static __always_inline __u32 tk_open_actions(struct file *file)
{
	__u32 flags = file->f_flags, actions = 0;

	if ((file->f_inode->i_mode & S_IFMT) == S_IFDIR)
		return TK_LIST;
	if (flags & FMODE_EXEC_FLAG)
		return TK_EXECUTE;
	/* Access mode 3 gives a descriptor for ioctls alone and asks for both permissions (open(2)). */
	if (file->f_mode & FMODE_READ || (flags & O_ACCMODE) == O_ACCMODE)
		actions |= TK_DATA_READ;
	if (file->f_mode & FMODE_WRITE || (flags & O_ACCMODE) == O_ACCMODE || flags & O_TRUNC)
		actions |= TK_DATA_WRITE;
	if (flags & O_TMPFILE_BIT)
		actions |= TK_CREATE;
	return actions;
}

/* The verdict for the agent, under the thread's id.  A function of its own, like the next one, for its stack. */
TK_GLOBAL int tk_leave_word(struct tk_access *a, __u32 view)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct tk_pending_open pending = {};
	struct file *file;

	if (!a)
		return -ENOMEM;
	file = (struct file *)a->file;
	pending.inode = a->inode;
	pending.generation = a->generation;
	pending.guard = a->guard;
	pending.view = view;
	pending.flags = BPF_CORE_READ(file, f_flags);
	pending.description = a->file;
	return bpf_map_update_elem(&pending_opens, &tid, &pending, BPF_ANY) ? -ENOMEM : 0;
}

/* Counts the description a->file, and if the agent will be asked leaves word for it. */
TK_GLOBAL int tk_register(struct tk_access *a, __u32 view, bool ask)
{
	struct tk_description description = {};
	__u64 address;
	bool write;
	int err;

	if (!a)
		return -ENOMEM;
	address = a->file;
	write = BPF_CORE_READ((struct file *)address, f_mode) & FMODE_WRITE ||
		BPF_CORE_READ((struct file *)address, f_flags) & O_TRUNC;
	description.inode = a->inode;
	description.view = view;
	description.generation = a->generation;
	description.tid = bpf_get_current_pid_tgid();
	description.executing = !!(BPF_CORE_READ((struct file *)address, f_flags) & FMODE_EXEC_FLAG);
	err = tk_view_enter(a, view, write && !ask);
	if (err == -EBUSY && write && !ask) /* the agent can release it, if it is only kept */
		tk_notify(TK_NOTICE_TRUNCATE, &description.inode, a->guard, view);
	if (err)
		return tk_refuse(a, TK_DATA_READ, err == -EBUSY ? TK_OTHER_VIEW : TK_NO_MEMORY, err);
	if (bpf_map_update_elem(&descriptions, &address, &description, BPF_ANY)) {
		tk_view_leave(&description.inode, view);
		return tk_refuse(a, TK_DATA_READ, TK_NO_MEMORY, -ENOMEM);
	}
	/* From here on file_free_security undoes it. */
	if (ask && tk_leave_word(a, view))
		return tk_refuse(a, TK_DATA_READ, TK_NO_MEMORY, -ENOMEM);
	return 0;
}

SEC("lsm/file_open")
int BPF_PROG(file_open, struct file *file, int ret)
{
	const struct tk_control *now = tk_control_now();
	struct inode *inode = file->f_inode;
	struct tk_access a;
	__u32 actions;
	int view, where;

	if (ret)
		return tk_answer(ret);
	if (file->f_mode & FMODE_WRITE || file->f_flags & O_TRUNC)
		tk_forget_digest((__u64)BPF_CORE_READ(file, f_inode));
	if (tk_not_ours(inode, now))
		return 0;
	actions = tk_open_actions(file);
	tk_take_back_word();
	where = tk_begin_file(&a, now, file, actions);
	if (where < 0)
		return tk_answer(where);
	/*
	 * One of several names, and this one is outside: another may be inside, or was.  Who comes by this name sees
	 * the bytes as stored, so he is counted among the raw view's.
	 */
	if (where == TK_OUTSIDE && (inode->i_mode & S_IFMT) == S_IFREG &&
	    (tk_has_other_names(&a) || tk_is_others(&a, false)))
		return tk_answer(tk_register(&a, TK_VIEW_RAW, false));
	if (where == TK_OUTSIDE)
		return 0;
	view = tk_judge(&a, actions);
	if (view < 0)
		return tk_answer(view);
	if ((inode->i_mode & S_IFMT) != S_IFREG)
		return 0;
	if (!a.ready)
		return tk_answer(tk_refuse(&a, TK_DATA_READ, TK_NOT_READY, -ENOKEY));
	/*
	 * The agent is not asked about opens through a mount that shows more than guard points (loader/agent/marks.c).
	 * Each later access would be refused as well, but not what the kernel itself does with a description: loop
	 * devices, swap, accounting and core dumps ask no hook.
	 */
	a.mount = tk_mount_id(file);
	if (tk_watch_of((__u64)BPF_CORE_READ(file, f_path.mnt, mnt_root)) != TK_WATCHED)
		return tk_answer(tk_refuse(&a, TK_DATA_READ, TK_UNWATCHED_MOUNT, -ENOKEY));
	return tk_answer(tk_register(&a, view, true));
}

/* Not after it: with binfmt_misc's flag O the interpreter gets the descriptor. */
static __always_inline bool tk_in_execve(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
}

/* The verdict on going on with an open file, for reads, writes, mappings and received descriptors. */
static __always_inline int tk_use(struct file *file, __u32 actions)
{
	const struct tk_control *now = tk_control_now();
	const struct tk_description *description;
	struct inode *inode = file->f_inode;
	__u64 address = (__u64)file;
	struct tk_access a;
	__u32 reason;
	int view, where;

	if (!actions || tk_not_ours(inode, now))
		return 0;
	where = tk_begin_file(&a, now, file, actions);
	if (where == TK_OUTSIDE && (inode->i_mode & S_IFMT) == S_IFREG && tk_is_others(&a, true))
		return tk_refuse(&a, actions, TK_OTHER_VIEW, -EBUSY);
	if (where <= 0)
		return where;
	description = bpf_map_lookup_elem(&descriptions, &address);
	/* execve reads and maps the file on behalf of the caller, whom file_open has judged. */
	if (description && description->executing && tk_in_execve() && !(actions & TK_DATA_WRITE))
		view = description->view;
	else
		view = tk_judge(&a, actions);
	if (view < 0)
		return view;
	if ((inode->i_mode & S_IFMT) != S_IFREG)
		return 0;
	reason = tk_view_holds(&a.inode, description, view, actions & TK_DATA_WRITE, now->adopting);
	if (reason)
		return tk_refuse(&a, actions, reason, reason == TK_OTHER_VIEW ? -EBUSY : -ENOKEY);
	return 0;
}

#define MAY_EXEC 1
#define MAY_WRITE 2
#define MAY_READ 4
#define MAY_APPEND 8

SEC("lsm/file_permission")
int BPF_PROG(file_permission, struct file *file, int mask, int ret)
{
	__u32 actions = 0;

	if (ret)
		return tk_answer(ret);
	if (mask & MAY_READ)
		actions |= (file->f_inode->i_mode & S_IFMT) == S_IFDIR ? TK_LIST : TK_DATA_READ;
	if (mask & (MAY_WRITE | MAY_APPEND))
		actions |= TK_DATA_WRITE;
	if (mask & MAY_EXEC)
		actions |= TK_EXECUTE;
	return tk_answer(tk_use(file, actions));
}

#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_TYPE 0xf
#define MAP_SHARED 1
#define MAP_SHARED_VALIDATE 3
#define VM_SHARED 8

static __always_inline __u32 tk_map_actions(unsigned long prot, bool shared)
{
	__u32 actions = 0;

	if (prot & PROT_READ)
		actions |= TK_DATA_READ;
	if (prot & PROT_EXEC)
		actions |= TK_EXECUTE;
	if (prot & PROT_WRITE)
		actions |= shared ? TK_DATA_WRITE : TK_DATA_READ; /* a private copy begins by reading */
	return actions;
}

/* After it has been permitted; what comes of it when somebody else refuses is only that the task knew no better. */
static __always_inline int tk_map_code(struct file *file, unsigned long prot)
{
	if (!(prot & PROT_EXEC) || !tk_is_foreign(file))
		return 0;
	return tk_note_foreign((__u64)BPF_CORE_READ(file, f_inode), (__u64)BPF_CORE_READ(file, f_path.dentry),
			       tk_has_integrity());
}

SEC("lsm/mmap_file")
int BPF_PROG(mmap_file, struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags,
	     int ret)
{
	__u32 type = flags & MAP_TYPE;

	if (ret)
		return tk_answer(ret);
	if (!file)
		return 0;
	ret = tk_use(file, tk_map_actions(prot, type == MAP_SHARED || type == MAP_SHARED_VALIDATE));
	return tk_answer(ret ? ret : tk_map_code(file, prot));
}

/*
 * The program that runs: file_open has judged who executed it, and by now its pages are mapped, whoever it is
 * itself.  What its loader then protects (RELRO) moves no contents.
 */
static __always_inline bool tk_own_image(struct file *file)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return BPF_CORE_READ(task, mm, exe_file) == file;
}

SEC("lsm/file_mprotect")
int BPF_PROG(file_mprotect, struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot, int ret)
{
	struct file *file;

	if (ret)
		return tk_answer(ret);
	file = vma->vm_file;
	if (!file)
		return 0;
	if (vma->vm_flags & VM_SHARED || !tk_own_image(file))
		ret = tk_use(file, tk_map_actions(prot, vma->vm_flags & VM_SHARED));
	return tk_answer(ret ? ret : tk_map_code(file, prot));
}

SEC("lsm/file_receive")
int BPF_PROG(file_receive, struct file *file, int ret)
{
	__u32 actions = 0;

	if (ret)
		return tk_answer(ret);
	if ((file->f_inode->i_mode & S_IFMT) == S_IFDIR)
		return 0; /* a directory's descriptor shows nothing until it is listed: file_permission */
	if (file->f_mode & FMODE_READ)
		actions |= TK_DATA_READ;
	if (file->f_mode & FMODE_WRITE)
		actions |= TK_DATA_WRITE;
	return tk_answer(tk_use(file, actions));
}

#define FIBMAP 1
#define FIGETBSZ 2
#define FS_IOC_GETFLAGS 0x80086601
#define FS_IOC32_GETFLAGS 0x80046601
#define FS_IOC_SETFLAGS 0x40086602
#define FS_IOC32_SETFLAGS 0x40046602
#define FS_IOC_GETVERSION 0x80087601
#define FS_IOC_FIEMAP 0xc020660b
#define FS_IOC_FSGETXATTR 0x801c581f
#define FS_IOC_FSSETXATTR 0x401c5820
#define FICLONE 0x40049409
#define FICLONERANGE 0x4020940d
#define FIDEDUPERANGE 0xc0189436
#define EXT4_IOC_MOVE_EXT 0xc028660f
#define EXT4_IOC_SWAP_BOOT 0x6611
#define XFS_IOC_SWAPEXT 0xc0c0586d
#define XFS_IOC_EXCHANGE_RANGE 0x40285881
#define BTRFS_IOC_SNAP_CREATE 0x50009401
#define BTRFS_IOC_SNAP_DESTROY 0x5000940f
#define BTRFS_IOC_TREE_SEARCH 0xd0009411
#define BTRFS_IOC_SNAP_CREATE_V2 0x50009417
#define BTRFS_IOC_SNAP_DESTROY_V2 0x5000943f
#define BTRFS_IOC_TREE_SEARCH_V2 0xc0709411
#define BTRFS_IOC_SEND 0x40009426 /* without the size of its argument, which grows */
#define IOCTL_WITHOUT_SIZE 0xc000ffff
#define TTY_IOCTLS 0x54 /* TCGETS of isatty(3), FIONREAD, FIOCLEX, FIONBIO: answered above the filesystem, or ENOTTY */

/* Contents that would come out behind file_permission's back: on no file of a guarded filesystem. */
static __always_inline bool tk_ioctl_moves(unsigned int command)
{
	switch (command) {
	case EXT4_IOC_MOVE_EXT:
	case EXT4_IOC_SWAP_BOOT:
	case XFS_IOC_SWAPEXT:
	case XFS_IOC_EXCHANGE_RANGE:
	case BTRFS_IOC_SNAP_CREATE:
	case BTRFS_IOC_SNAP_CREATE_V2:
	case BTRFS_IOC_SNAP_DESTROY:
	case BTRFS_IOC_SNAP_DESTROY_V2:
	case BTRFS_IOC_TREE_SEARCH:
	case BTRFS_IOC_TREE_SEARCH_V2:
		return true;
	}
	return (command & IOCTL_WITHOUT_SIZE) == BTRFS_IOC_SEND;
}

static __always_inline int tk_ioctl(struct file *file, unsigned int command)
{
	const struct tk_control *now = tk_control_now();
	struct tk_access a;
	int where;

	if (tk_not_ours(file->f_inode, now))
		return 0;
	where = tk_begin_file(&a, now, file, TK_SET_ATTR);
	if (where < 0)
		return where;
	if (tk_ioctl_moves(command))
		return tk_refuse(&a, TK_DATA_WRITE, TK_IOCTL, -EACCES);
	if (where == TK_OUTSIDE)
		return 0;
	switch (command) {
	case FIGETBSZ:
	case FS_IOC_GETFLAGS:
	case FS_IOC32_GETFLAGS:
	case FS_IOC_GETVERSION:
	case FS_IOC_FIEMAP:
	case FS_IOC_FSGETXATTR:
	/* Each of these asks file_permission for both files. */
	case FICLONE:
	case FICLONERANGE:
	case FIDEDUPERANGE:
		return 0;
	case FS_IOC_SETFLAGS:
	case FS_IOC32_SETFLAGS:
	case FS_IOC_FSSETXATTR:
		where = tk_judge(&a, TK_SET_ATTR);
		return where < 0 ? where : 0;
	}
	if ((command >> 8 & 0xff) == TTY_IOCTLS)
		return 0;
	return tk_refuse(&a, TK_SET_ATTR, TK_IOCTL, -EACCES);
}

SEC("lsm/file_ioctl")
int BPF_PROG(file_ioctl, struct file *file, unsigned int command, unsigned long arg, int ret)
{
	return tk_answer(ret ? ret : tk_ioctl(file, command));
}

SEC("lsm/file_ioctl_compat")
int BPF_PROG(file_ioctl_compat, struct file *file, unsigned int command, unsigned long arg, int ret)
{
	return tk_answer(ret ? ret : tk_ioctl(file, command));
}

/* The last reference is gone, or the open failed.  The inode may be gone too: only the address is used. */
SEC("lsm/file_free_security")
int BPF_PROG(file_free_security, struct file *file)
{
	__u64 address = (__u64)file;
	struct tk_description *description = bpf_map_lookup_elem(&descriptions, &address);
	struct tk_pending_open *pending;
	struct tk_inode inode;
	__u32 tid, view;

	tk_forget_foreign(address);
	tk_note_death_by_close();
	if (!description)
		return 0;
	inode = description->inode;
	view = description->view;
	tid = description->tid;
	pending = bpf_map_lookup_elem(&pending_opens, &tid);
	if (pending && pending->description == address && tid == (__u32)bpf_get_current_pid_tgid())
		bpf_map_delete_elem(&pending_opens, &tid);
	bpf_map_delete_elem(&descriptions, &address);
	tk_view_leave(&inode, view);
	return 0;
}
