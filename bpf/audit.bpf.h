/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/audit.bpf.h - what is told: audit events for people, notices for the agent.
 *
 * Nothing here waits or fails an access: what does not fit is counted as dropped.
 */
#ifndef TK_AUDIT_BPF_H
#define TK_AUDIT_BPF_H

#include "access.bpf.h"

/* What a task executes: the description that its execve opened.  NULL: a kernel thread. */
static __always_inline struct file *tk_image_of(const struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	return mm ? BPF_CORE_READ(mm, exe_file) : 0;
}

/* Has a process that runs this image mapped code that is not root's alone? */
static __always_inline bool tk_has_foreign_code(struct file *image)
{
	__u64 address = (__u64)image;

	return bpf_map_lookup_elem(&foreign_code, &address);
}

#define TK_EVENT_DEPTH 24 /* components told; a deeper path is cut */

#define TK_TO_THE_ROOT 0xffffffff /* of the filesystem */

/* Names from the leaf upwards; see struct tk_event.path. */
static __always_inline __u32 tk_event_path(struct tk_event *e, __u64 leaf, __u32 depth)
{
	struct dentry *d = (struct dentry *)leaf, *parent;
	__u32 used = 0;

	for (__u32 i = 0; i < TK_EVENT_DEPTH; i++) {
		const unsigned char *name;
		__u64 at = used;
		long len;

		if (i >= depth)
			return used;

		parent = BPF_CORE_READ(d, d_parent);
		if (!parent || parent == d)
			return parent && depth == TK_TO_THE_ROOT ? used : TK_EVENT_PATH;
		name = BPF_CORE_READ(d, d_name.name);
		/* One register for the test and the use: 6.1's verifier forgets what it learnt of a copy on the stack. */
		asm volatile("" : "+r"(at));
		if (at > TK_EVENT_PATH - TK_EVENT_COMPONENT)
			return TK_EVENT_PATH;
		len = bpf_probe_read_kernel_str(e->path + at, TK_EVENT_COMPONENT, name);
		if (len <= 0)
			break;
		used += len;
		d = parent;
	}
	return TK_EVENT_PATH;
}

/* An event about the running task, of which the caller says the rest; NULL: there is no room. */
static __always_inline struct tk_event *tk_event_begin(void)
{
	struct tk_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *image = tk_image_of(task);
	const struct cred *cred;
	__u64 ids;

	if (!e) {
		tk_count(TK_COUNT_EVENTS_DROPPED);
		return 0;
	}
	ids = bpf_get_current_pid_tgid();
	e->type = TK_EVENT_AUDIT;
	e->pid = ids >> 32;
	e->tid = ids;
	e->time_ns = bpf_ktime_get_boot_ns();
	__builtin_memset(&e->exe, 0, sizeof(e->exe));
	if (image)
		tk_inode_read(&e->exe, (__u64)BPF_CORE_READ(image, f_inode));
	cred = BPF_CORE_READ(task, real_cred);
	e->uid = BPF_CORE_READ(cred, fsuid.val);
	e->gid = BPF_CORE_READ(cred, fsgid.val);
	e->login_uid = bpf_core_field_exists(task->loginuid) ? BPF_CORE_READ(task, loginuid.val) : (__u32)-1;
	e->foreign_code = tk_has_foreign_code(image);
	__builtin_memset(e->pad, 0, sizeof(e->pad));
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	return e;
}

/* One decision, into the ring. `action` is one bit, `result` what the caller gets. */
TK_GLOBAL int tk_tell(struct tk_access *a, __u32 action, int result)
{
	struct tk_event *e;

	if (!a)
		return 0;
	e = tk_event_begin();
	if (!e)
		return 0;
	e->inode = a->inode;
	e->generation = a->generation;
	e->guard = a->guard;
	e->action = action;
	e->mount = a->mount;
	e->rule = TK_VERDICT_RULE(a->verdict);
	e->effects = TK_VERDICT_EFFECTS(a->verdict);
	e->reason = TK_VERDICT_REASON(a->verdict);
	e->mode = a->mode;
	e->result = result;
	e->path_len = tk_event_path(e, a->dentry, a->depth);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline void tk_notify(__u32 type, const struct tk_inode *inode, __u32 guard, __u32 view)
{
	__u64 ids = bpf_get_current_pid_tgid();
	struct tk_notice *n = bpf_ringbuf_reserve(&notices, sizeof(*n), 0);

	if (!n) {
		/* The agent looks at its table as well, a part of it every second. */
		tk_count(TK_COUNT_NOTICES_DROPPED);
		return;
	}
	n->type = type;
	n->pid = ids >> 32;
	n->tid = ids;
	n->pad = 0;
	n->inode = *inode;
	n->guard = guard;
	n->view = view;
	bpf_ringbuf_submit(n, 0);
}

#endif
