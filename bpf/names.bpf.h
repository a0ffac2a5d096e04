/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/names.bpf.h - the hooks on names, attributes and mounts:
 *
 *	inode_create, mkdir, mknod, symlink	create
 *	inode_unlink, rmdir			delete
 *	inode_link				link; never across a guard point's edge
 *	inode_rename				rename on both sides; never across an edge; voids cached places
 *	inode_setattr				set_attr, or data_write for a change of size
 *	inode_setxattr, removexattr, set_acl, remove_acl, file_setattr  set_attr
 *	sb_mount, move_mount			nothing is mounted into a guard point
 *
 * These hooks get dentries whose inode may not exist yet, so they walk without the cache.
 */
#ifndef TK_NAMES_BPF_H
#define TK_NAMES_BPF_H

#include "integrity.bpf.h"
#include "views.bpf.h"

/* Which argument holds the dentry: inode_setattr gained a first one in 6.9 (user space asks BTF). */
const volatile bool tk_setattr_has_idmap = false;

static __always_inline bool tk_dentry_not_ours(struct dentry *dentry, const struct tk_control *now)
{
	if (!now || !now->generation)
		return true;
	return !tk_device_guarded(BPF_CORE_READ(dentry, d_sb, s_dev)) || tk_is_ours(now);
}

/* 1: inside; 0: outside; -errno: cannot be determined, told. */
static __always_inline int tk_begin_dentry(struct tk_access *a, const struct tk_control *now,
					   struct dentry *dentry, __u32 action)
{
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	__u32 where;

	tk_begin(a, now);
	if (inode)
		tk_inode_read(&a->inode, (__u64)inode);
	a->dentry = (__u64)dentry;
	where = tk_locate(a, now);
	if (where == TK_NOWHERE)
		return tk_refuse(a, action, TK_PLACE_UNKNOWN, -EACCES);
	return where == TK_INSIDE;
}

/* A single action on a dentry: the whole of most hooks here. */
static __always_inline int tk_act(struct dentry *dentry, __u32 action)
{
	const struct tk_control *now = tk_control_now();
	struct tk_access a;
	int where, view;

	if (tk_dentry_not_ours(dentry, now))
		return 0;
	where = tk_begin_dentry(&a, now, dentry, action);
	if (where <= 0)
		return where;
	view = tk_judge(&a, action);
	return view < 0 ? view : 0;
}

SEC("lsm/inode_create")
int BPF_PROG(inode_create, struct inode *dir, struct dentry *dentry, umode_t mode, int ret)
{
	return tk_answer(ret ? ret : tk_act(dentry, TK_CREATE));
}

SEC("lsm/inode_mkdir")
int BPF_PROG(inode_mkdir, struct inode *dir, struct dentry *dentry, umode_t mode, int ret)
{
	return tk_answer(ret ? ret : tk_act(dentry, TK_CREATE));
}

SEC("lsm/inode_mknod")
int BPF_PROG(inode_mknod, struct inode *dir, struct dentry *dentry, umode_t mode, dev_t dev, int ret)
{
	return tk_answer(ret ? ret : tk_act(dentry, TK_CREATE));
}

SEC("lsm/inode_symlink")
int BPF_PROG(inode_symlink, struct inode *dir, struct dentry *dentry, const char *old_name, int ret)
{
	return tk_answer(ret ? ret : tk_act(dentry, TK_CREATE));
}

SEC("lsm/inode_unlink")
int BPF_PROG(inode_unlink, struct inode *dir, struct dentry *dentry, int ret)
{
	return tk_answer(ret ? ret : tk_act(dentry, TK_DELETE));
}

/* Is this inode a guard point, or a directory above one?  Both keep their names while guarded. */
static __always_inline bool tk_is_structure(struct dentry *dentry, __u32 generation)
{
	struct inode *i = BPF_CORE_READ(dentry, d_inode);
	struct tk_inode_key key;
	struct tk_inode inode;

	if (!i)
		return false;
	tk_inode_read(&inode, (__u64)i);
	tk_inode_key(&key, generation, &inode);
	return bpf_map_lookup_elem(&guard_points, &key) || bpf_map_lookup_elem(&guard_ancestors, &key);
}

static __always_inline int tk_refuse_structure(struct dentry *dentry, const struct tk_control *now, __u32 action)
{
	struct tk_access a;

	tk_begin(&a, now);
	a.dentry = (__u64)dentry;
	return tk_refuse(&a, action, TK_GUARD_STRUCTURE, -EBUSY);
}

SEC("lsm/inode_rmdir")
int BPF_PROG(inode_rmdir, struct inode *dir, struct dentry *dentry, int ret)
{
	const struct tk_control *now = tk_control_now();

	if (ret)
		return tk_answer(ret);
	if (tk_dentry_not_ours(dentry, now))
		return 0;
	if (tk_is_structure(dentry, now->generation))
		return tk_answer(tk_refuse_structure(dentry, now, TK_DELETE));
	return tk_answer(tk_act(dentry, TK_DELETE));
}

/*
 * Two places of one operation.  Both must permit `action`; then the file may not change its guard point,
 * which -EXDEV says in the way mv(1) understands: it copies instead, and the copy is judged on its own.
 * Not into a guard point either: who has the file open, or another name of it, would keep a door past
 * every rule.
 */
static __always_inline int tk_act_on_both(struct dentry *from, struct dentry *to, __u32 action)
{
	const struct tk_control *now = tk_control_now();
	struct tk_access a;
	__u32 from_guard = 0;
	int from_inside, to_inside, view;

	if (tk_dentry_not_ours(from, now))
		return 0;
	from_inside = tk_begin_dentry(&a, now, from, action);
	if (from_inside < 0)
		return from_inside;
	if (from_inside) {
		from_guard = a.guard;
		view = tk_judge(&a, action);
		if (view < 0)
			return view;
	}
	to_inside = tk_begin_dentry(&a, now, to, action);
	if (to_inside < 0)
		return to_inside;
	if (to_inside) {
		view = tk_judge(&a, from_inside ? action : action | TK_CREATE);
		if (view < 0)
			return view;
	}
	if (!from_inside && !to_inside)
		return 0;
	if (from_inside && to_inside && from_guard == a.guard)
		return 0;
	return tk_refuse(&a, action, TK_LEAVES_GUARD, -EXDEV);
}

SEC("lsm/inode_link")
int BPF_PROG(inode_link, struct dentry *old_dentry, struct inode *dir, struct dentry *new_dentry, int ret)
{
	return tk_answer(ret ? ret : tk_act_on_both(old_dentry, new_dentry, TK_LINK));
}

SEC("lsm/inode_rename")
int BPF_PROG(inode_rename, struct inode *old_dir, struct dentry *old_dentry, struct inode *new_dir,
	     struct dentry *new_dentry, int ret)
{
	const struct tk_control *now = tk_control_now();
	struct inode *inode;

	if (ret)
		return tk_answer(ret);
	if (!now || !now->generation)
		return 0;
	inode = BPF_CORE_READ(old_dentry, d_inode);
	if (inode && (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFDIR)
		__sync_fetch_and_add(&tk_rename_count, 1); /* the directory has not moved yet: see tk_is_moving() */
	if (tk_is_ours(now))
		return 0;
	/* Before the device is looked at: an ancestor may lie on a filesystem that holds no guard point itself. */
	if (tk_is_structure(old_dentry, now->generation) || tk_is_structure(new_dentry, now->generation))
		return tk_answer(tk_refuse_structure(old_dentry, now, TK_RENAME));
	if (tk_dentry_not_ours(old_dentry, now))
		return 0;
	return tk_answer(tk_act_on_both(old_dentry, new_dentry, TK_RENAME));
}

#define ATTR_SIZE (1 << 3)
#define ATTR_FORCE (1 << 9)
#define ATTR_FILE (1 << 13)

/*
 * truncate(2) comes without a description and without asking the agent (KERNEL.md 20), and would cut
 * ciphertext.  When the plaintext is not there, the agent is told and the caller may try again.  When it is, the
 * agent must not begin to seal before the size is changed.  No program could say when it is: one at the end of
 * notify_change() may be left out (takakrypt.bpf.c).  But all of notify_change() has the inode's lock, so the agent
 * takes that lock once after it has changed the state (tk_await_resizes()): who has been let in here is done then.
 *
 * To nothing is another matter: an empty file is a sealed one (FORMAT.md), so the bytes as stored may be cut.
 */
static __always_inline int tk_resize_by_name(struct tk_access *a, __u32 view, bool to_nothing)
{
	struct tk_inode inode = a->inode;
	__u32 reason;

	if (to_nothing && a->ready && !tk_view_holds(&inode, 0, TK_VIEW_RAW, true, false))
		return 0;
	reason = tk_view_holds(&inode, 0, view, true, false);
	if (!reason)
		return 0;
	if (a->ready)
		tk_notify(TK_NOTICE_TRUNCATE, &inode, a->guard, view);
	return tk_refuse(a, TK_DATA_WRITE, a->ready ? reason : TK_NOT_READY, a->ready ? -EBUSY : -ENOKEY);
}

/* A change of size, by open(O_TRUNC), ftruncate or truncate(2). */
static __always_inline int tk_resize(struct tk_access *a, struct iattr *attr, bool adopting)
{
	const struct tk_description *description;
	struct tk_inode inode;
	__u64 address;
	__u32 reason;
	int view;

	view = tk_judge(a, TK_DATA_WRITE);
	if (view < 0)
		return view;
	if (!(attr->ia_valid & ATTR_FILE))
		return tk_resize_by_name(a, view, !attr->ia_size);
	address = (__u64)attr->ia_file;
	description = bpf_map_lookup_elem(&descriptions, &address);
	inode = a->inode;
	reason = tk_view_holds(&inode, description, view, true, adopting);
	if (reason)
		return tk_refuse(a, TK_DATA_WRITE, reason, reason == TK_OTHER_VIEW ? -EBUSY : -ENOKEY);
	return 0;
}

/*
 * One argument of a hook.  In assembly, because the compiler would fold the two branches below into one load
 * at a computed offset, which the verifier does not allow on a context.
 */
#define TK_ARGUMENT(to, ctx, n) asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(to) : "r"(ctx), "i"((n) * 8))

SEC("lsm/inode_setattr")
int inode_setattr(unsigned long long *ctx)
{
	const struct tk_control *now = tk_control_now();
	struct dentry *dentry;
	struct iattr *attr;
	struct tk_access a;
	long ret;
	int where, view;

	if (tk_setattr_has_idmap) {
		TK_ARGUMENT(dentry, ctx, 1);
		TK_ARGUMENT(attr, ctx, 2);
		TK_ARGUMENT(ret, ctx, 3);
	} else {
		TK_ARGUMENT(dentry, ctx, 0);
		TK_ARGUMENT(attr, ctx, 1);
		TK_ARGUMENT(ret, ctx, 2);
	}
	if (ret)
		return tk_answer(ret);
	if (attr->ia_valid & ATTR_SIZE)
		tk_forget_digest((__u64)BPF_CORE_READ(dentry, d_inode));
	if (tk_dentry_not_ours(dentry, now))
		return 0;
	/* ATTR_FORCE without a size: the kernel drops set-user-id bits because of a write it has asked about. */
	if (!(attr->ia_valid & ATTR_SIZE) && attr->ia_valid & ATTR_FORCE)
		return 0;
	where = tk_begin_dentry(&a, now, dentry, attr->ia_valid & ATTR_SIZE ? TK_DATA_WRITE : TK_SET_ATTR);
	if (where < 0)
		return tk_answer(where);
	if (attr->ia_valid & ATTR_FILE)
		a.file = (__u64)attr->ia_file;
	if (where == TK_OUTSIDE && attr->ia_valid & ATTR_SIZE && tk_is_others(&a, attr->ia_valid & ATTR_FILE))
		return tk_answer(tk_refuse(&a, TK_DATA_WRITE, TK_OTHER_VIEW, -EBUSY));
	if (where == TK_OUTSIDE)
		return 0;
	if (attr->ia_valid & ATTR_SIZE)
		return tk_answer(tk_resize(&a, attr, now->adopting));
	view = tk_judge(&a, TK_SET_ATTR);
	return tk_answer(view < 0 ? view : 0);
}

/* All of these have had the mount's user namespace or id map before the dentry since 5.12. */
SEC("lsm/inode_setxattr")
int inode_setxattr(unsigned long long *ctx)
{
	return tk_answer(tk_act((struct dentry *)ctx[1], TK_SET_ATTR));
}

SEC("lsm/inode_removexattr")
int inode_removexattr(unsigned long long *ctx)
{
	return tk_answer(tk_act((struct dentry *)ctx[1], TK_SET_ATTR));
}

/* FS_IOC_SETFLAGS as a system call, file_setattr(2), since 6.17. */
SEC("lsm/inode_file_setattr")
int inode_file_setattr(unsigned long long *ctx)
{
	return tk_answer(tk_act((struct dentry *)ctx[0], TK_SET_ATTR));
}

SEC("lsm/inode_set_acl")
int inode_set_acl(unsigned long long *ctx)
{
	return tk_answer(tk_act((struct dentry *)ctx[1], TK_SET_ATTR));
}

SEC("lsm/inode_remove_acl")
int inode_remove_acl(unsigned long long *ctx)
{
	return tk_answer(tk_act((struct dentry *)ctx[1], TK_SET_ATTR));
}

/* What is mounted in a guard point hides what it guards: only the agent may. */
static __always_inline int tk_mount_over(struct path *path)
{
	const struct tk_control *now = tk_control_now();
	struct dentry *dentry = path->dentry;
	struct tk_access a;
	int where;

	if (tk_dentry_not_ours(dentry, now))
		return 0;
	where = tk_begin_dentry(&a, now, dentry, TK_CREATE);
	if (where <= 0)
		return where;
	return tk_refuse(&a, TK_CREATE, TK_GUARD_STRUCTURE, -EBUSY);
}

#define MS_REMOUNT (1 << 5)
#define MS_BIND (1 << 12)
#define MS_PROPAGATION (1 << 17 | 1 << 18 | 1 << 19 | 1 << 20)

SEC("lsm/sb_mount")
int BPF_PROG(sb_mount, const char *dev_name, struct path *path, const char *type, unsigned long flags,
	     void *data, int ret)
{
	/* These change a mount that is there and hide nothing. */
	if (!ret && (flags & MS_REMOUNT || (flags & MS_PROPAGATION && !(flags & MS_BIND))))
		return 0;
	return tk_answer(ret ? ret : tk_mount_over(path));
}

SEC("lsm/move_mount")
int BPF_PROG(move_mount, struct path *from_path, struct path *to_path, int ret)
{
	return tk_answer(ret ? ret : tk_mount_over(to_path));
}

#endif
