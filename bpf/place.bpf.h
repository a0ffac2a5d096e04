/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/place.bpf.h - where an access happens: the innermost guard point above a
 * dentry, and the state of the resource automaton on the path between.
 *
 * It walks d_parent, so no path string, bind mount, symlink or chroot can fool
 * it (KERNEL.md 23).  What it cannot follow to the superblock's root is nowhere,
 * and nowhere is denied.
 *
 * Per-inode cache.  An answer is kept in inode storage with all it hangs on: the
 * policy generation, the count of directory renames, the leaf's dentry, parent
 * and name.  It is not kept while a name on the way may be moving.  Files with
 * several links have several places and are never cached.
 */
#ifndef TK_PLACE_BPF_H
#define TK_PLACE_BPF_H

#include "access.bpf.h"

/* Guard points may lie deep: the walk looks further up than TK_MAX_DEPTH for one, and beyond this denies. */
#define TK_WALK_MAX 512

/* Directory renames begun.  A cached place from another count is void. */
__u64 tk_rename_count;

struct tk_cached_place {
	struct bpf_spin_lock lock;
	__u32 generation;
	__u64 rename_count;
	__u64 dentry;
	__u64 parent;
	__u64 hash_len;
	__u32 where; /* enum tk_where */
	__u32 guard;
	__u32 policy;
	__u32 mode;
	__u32 guard_flags;
	__u32 depth;
	__u32 state;
};

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct tk_cached_place);
} places SEC(".maps");

#define TK_NAME_PIECE 32
#define TK_NAME_PIECES (256 / TK_NAME_PIECE) /* NAME_MAX and one to spare */

/*
 * Feeds `len` (<= TK_NAME_PIECE) bytes at kernel address `from` to the automaton, last byte first.
 * Returns the new state, or TK_MAX_STATES when the bytes cannot be read.
 */
TK_GLOBAL __u32 tk_scan_piece(__u64 from, __u32 len, __u32 slot, __u32 state)
{
	char piece[TK_NAME_PIECE] = {};

	if (len == 0 || len > TK_NAME_PIECE)
		return TK_MAX_STATES;
	if (bpf_probe_read_kernel(piece, len, (const void *)from))
		return TK_MAX_STATES;
	for (__u32 i = 0; i < TK_NAME_PIECE; i++) {
		if (i >= len)
			break;
		state = tk_step(slot, state, piece[(len - 1 - i) & (TK_NAME_PIECE - 1)]);
	}
	return state;
}

/* One component's name, backwards, in pieces that fit the stack. */
TK_GLOBAL __u32 tk_scan_name(__u64 dentry, __u32 slot, __u32 state)
{
	struct dentry *d = (struct dentry *)dentry;
	__u64 name = (__u64)BPF_CORE_READ(d, d_name.name);
	__u32 len = BPF_CORE_READ(d, d_name.len);

	for (int i = 0; i < TK_NAME_PIECES && len > 0; i++) {
		__u32 piece = ((len - 1) & (TK_NAME_PIECE - 1)) + 1;

		len -= piece;
		state = tk_scan_piece(name + len, piece, slot, state);
		if (state >= TK_MAX_STATES)
			return TK_MAX_STATES;
	}
	return len ? TK_MAX_STATES : state;
}

TK_GLOBAL __u64 tk_parent_of(__u64 dentry)
{
	struct dentry *d = (struct dentry *)dentry;

	return (__u64)BPF_CORE_READ(d, d_parent);
}

/* The path of `depth` components that ends in a->dentry. */
TK_GLOBAL __u32 tk_scan_path(struct tk_access *a, __u32 depth)
{
	__u32 state = TK_STATE_START, slot;

	if (!a || depth > TK_MAX_DEPTH)
		return TK_MAX_STATES;
	slot = a->request.slot;
	a->cursor = a->dentry;
	for (__u32 i = 0; i < TK_MAX_DEPTH; i++) {
		if (i >= depth)
			break;
		if (i)
			state = tk_step(slot, state, '/');
		state = tk_scan_name(a->cursor, slot, state);
		if (state >= TK_MAX_STATES)
			return TK_MAX_STATES;
		a->cursor = tk_parent_of(a->cursor);
	}
	return state;
}

#define RWSEM_WRITER_LOCKED 1

/*
 * Could `d`, found in `parent`, be about to leave it by a rename that has been counted already?  Whoever renames holds
 * the lock of the directory he takes the name from (lock_rename) from before he is counted, which the hook
 * inode_rename does, until he is done; and who has read the lock before he looks for the name once more has not come
 * too late.  PREEMPT_RT has other locks: there it always could.
 */
static __always_inline bool tk_is_moving(struct dentry *d, struct dentry *parent)
{
	struct inode *dir = BPF_CORE_READ(parent, d_inode);

	if (!bpf_core_field_exists(dir->i_rwsem.count) ||
	    BPF_CORE_READ(dir, i_rwsem.count.counter) & RWSEM_WRITER_LOCKED)
		return true;
	return BPF_CORE_READ(d, d_parent) != parent;
}

#define TK_GO_ON 3 /* besides enum tk_where: look at the parent */

/* One step of the walk: is a->cursor a guard point?  Moves it to its parent. */
TK_GLOBAL __u32 tk_look_up(struct tk_access *a)
{
	struct dentry *d, *parent;
	struct tk_inode_key key;
	struct tk_inode inode;
	struct inode *i;

	if (!a)
		return TK_NOWHERE;
	d = (struct dentry *)a->cursor;
	i = BPF_CORE_READ(d, d_inode);
	if (i) {
		struct tk_guard_point *guard;

		tk_inode_read(&inode, (__u64)i);
		tk_inode_key(&key, a->generation, &inode);
		guard = bpf_map_lookup_elem(&guard_points, &key);
		if (guard) {
			a->guard = guard->id;
			a->policy = guard->policy;
			a->mode = guard->mode;
			a->guard_flags = guard->flags;
			return TK_INSIDE;
		}
	}
	parent = BPF_CORE_READ(d, d_parent);
	if (!parent)
		return TK_NOWHERE;
	/* The superblock's root is outside; another root is disconnected (open_by_handle_at). */
	if (parent == d)
		return d == BPF_CORE_READ(d, d_sb, s_root) ? TK_OUTSIDE : TK_NOWHERE;
	a->moving |= tk_is_moving(d, parent);
	a->cursor = (__u64)parent;
	return TK_GO_ON;
}

/* Walks up from a->dentry to the innermost guard point; a->depth then is its distance.  Answers enum tk_where. */
TK_GLOBAL __u32 tk_walk(struct tk_access *a)
{
	if (!a)
		return TK_NOWHERE;
	a->cursor = a->dentry;
	for (__u32 depth = 0; depth < TK_WALK_MAX; depth++) {
		__u32 where = tk_look_up(a);

		if (where == TK_GO_ON)
			continue;
		a->depth = depth;
		return where == TK_INSIDE && depth > TK_MAX_DEPTH ? TK_NOWHERE : where;
	}
	return TK_NOWHERE;
}

/* Where a->dentry is, without the cache. */
static __always_inline __u32 tk_locate(struct tk_access *a, const struct tk_control *now)
{
	__u32 slot = TK_SLOT(a->generation), where;

	tk_count(TK_COUNT_PLACE_WALKED);
	where = tk_walk(a);
	if (where != TK_INSIDE) {
		a->guard = TK_NO_GUARD;
		return where;
	}
	if (!(now->has_resources & 1 << slot)) {
		a->state = TK_STATE_DEAD;
		return TK_INSIDE;
	}
	a->state = tk_scan_path(a, a->depth);
	return a->state < TK_MAX_STATES ? TK_INSIDE : TK_NOWHERE;
}

/* What map watched_points says of this directory itself. */
TK_GLOBAL __u32 tk_watch_at(__u64 dentry)
{
	struct dentry *d = (struct dentry *)dentry;
	struct tk_inode inode;
	__u32 *watch;

	tk_inode_read(&inode, (__u64)BPF_CORE_READ(d, d_inode));
	watch = bpf_map_lookup_elem(&watched_points, &inode);
	return watch ? *watch : TK_WATCH_NONE;
}

/* Or of the nearest one above that it knows.  What cannot be followed is not watched. */
TK_GLOBAL __u32 tk_watch_of(__u64 dentry)
{
	for (int i = 0; i < TK_WALK_MAX; i++) {
		__u32 watch = tk_watch_at(dentry);
		__u64 parent = tk_parent_of(dentry);

		if (watch != TK_WATCH_NONE)
			return watch;
		if (!parent || parent == dentry)
			return TK_WATCH_NONE;
		dentry = parent;
	}
	return TK_WATCH_NONE;
}

/*
 * Where a dentry keeps its place in the list of its inode's.  In assembly for a branch: of the two offsets one is not
 * there, and a program that so much as computes both to choose one is refused.
 */
static __always_inline __u64 tk_alias_offset(void)
{
	__u64 offset;

	if (bpf_core_field_exists(struct dentry___unnamed, d_alias)) {
		offset = bpf_core_field_offset(struct dentry___unnamed, d_alias);
		asm volatile("" : "+r"(offset));
	} else {
		offset = bpf_core_field_offset(struct dentry, d_u.d_alias);
		asm volatile("" : "+r"(offset));
	}
	return offset;
}

/*
 * A dentry of the inode itself.  On overlayfs up to 6.1 an open carries the overlay's dentry and the lower
 * inode (KERNEL.md 25): what is guarded is the lower one, so the walk must begin there.
 */
static __always_inline __u64 tk_own_dentry(struct inode *inode, struct dentry *dentry)
{
	struct hlist_node *alias;

	if (BPF_CORE_READ(dentry, d_inode) == inode)
		return (__u64)dentry;
	alias = BPF_CORE_READ(inode, i_dentry.first);
	return alias ? (__u64)alias - tk_alias_offset() : 0;
}

/*
 * Has the file other names than a->dentry, or is it open by one that was deleted?  Such a name's dentry stays in the
 * inode's list as long as a description holds it.  In this order: a name that is no longer among the links when they
 * are counted is in the list then, or nobody can open the file by it any more.
 */
static __always_inline bool tk_has_other_names(const struct tk_access *a)
{
	struct dentry *dentry = (struct dentry *)a->dentry;
	struct hlist_node *own = (struct hlist_node *)((__u64)dentry + tk_alias_offset());
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);

	if (BPF_CORE_READ(inode, i_nlink) > 1)
		return true;
	return BPF_CORE_READ(inode, i_dentry.first) != own || BPF_CORE_READ(own, next);
}

/* Where an open file or a dentry with an inode is, by the cache when it still holds. */
static __always_inline __u32 tk_locate_inode(struct tk_access *a, const struct tk_control *now,
					     struct inode *inode, struct dentry *dentry)
{
	__u64 rename_count = *(volatile __u64 *)&tk_rename_count;
	struct tk_cached_place *kept = 0;
	struct dentry *d;
	__u64 parent, hash_len;
	bool hit = false, several;
	__u32 where = TK_NOWHERE;

	a->dentry = tk_own_dentry(inode, dentry);
	if (!a->dentry)
		return TK_NOWHERE;
	d = (struct dentry *)a->dentry;
	parent = (__u64)BPF_CORE_READ(d, d_parent);
	hash_len = BPF_CORE_READ(d, d_name.hash_len);
	several = inode->i_nlink > 1 && (inode->i_mode & S_IFMT) != S_IFDIR;
	if (!several)
		kept = bpf_inode_storage_get(&places, inode, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (kept) {
		bpf_spin_lock(&kept->lock);
		if (kept->generation == a->generation && kept->rename_count == rename_count &&
		    kept->dentry == a->dentry && kept->parent == parent && kept->hash_len == hash_len) {
			hit = true;
			where = kept->where;
			a->guard = kept->guard;
			a->policy = kept->policy;
			a->mode = kept->mode;
			a->guard_flags = kept->guard_flags;
			a->depth = kept->depth;
			a->state = kept->state;
		}
		bpf_spin_unlock(&kept->lock);
		if (hit) {
			tk_count(TK_COUNT_PLACE_CACHED);
			return where;
		}
	}
	where = tk_locate(a, now);
	if (kept && where != TK_NOWHERE && !a->moving) {
		bpf_spin_lock(&kept->lock);
		kept->generation = a->generation;
		kept->rename_count = rename_count;
		kept->dentry = a->dentry;
		kept->parent = parent;
		kept->hash_len = hash_len;
		kept->where = where;
		kept->guard = a->guard;
		kept->policy = a->policy;
		kept->mode = a->mode;
		kept->guard_flags = a->guard_flags;
		kept->depth = a->depth;
		kept->state = a->state;
		bpf_spin_unlock(&kept->lock);
	}
	return where;
}

#endif
