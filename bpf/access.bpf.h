/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/access.bpf.h - one access on its way to a verdict: where (place.bpf.h),
 * who (identity.bpf.h), what, and what came of it (audit.bpf.h).
 *
 * A struct tk_access lives on the stack of the hook that began it.  Work that
 * every hook needs is in global functions (not static, noinline): the verifier
 * checks each of them once a program instead of once a call, which is what keeps
 * 1024 rules, 64 components and 255 bytes of a name within its budget on 5.15.
 */
#ifndef TK_ACCESS_BPF_H
#define TK_ACCESS_BPF_H

#include "maps.bpf.h"

#include "decide.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define TK_GLOBAL __attribute__((noinline))

/* linux/fs.h, asm-generic/fcntl.h, asm-generic/errno.h: macros, so not in BTF. */
#define FMODE_READ 0x1
#define FMODE_WRITE 0x2
#define FMODE_EXEC_FLAG 0x20 /* __FMODE_EXEC in f_flags: opened by execve; open(2) cannot set it */
#define O_ACCMODE 03
#define O_TRUNC 01000
#define O_TMPFILE_BIT 020000000 /* __O_TMPFILE */
#define S_IFMT 0170000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define EPERM 1
#define ENOENT 2
#define EBADF 9
#define ENOMEM 12
#define EACCES 13
#define EBUSY 16
#define EEXIST 17
#define EXDEV 18
#define EINVAL 22
#define ENOSPC 28
#define ENOSYS 38
#define ENOKEY 126

struct tk_access {
	struct tk_request request;
	__u64 dentry;	  /* the leaf, for the walk and the audit's path */
	__u64 cursor;	  /* where the walk is */
	__u64 file;	  /* for tk_register(): as memory, since a global function takes no pointer as a number */
	struct tk_inode inode; /* of the leaf; all zero while there is none (create) */
	__u32 generation; /* read once: every look-up of this access uses the same */
	__u32 policy;
	__u32 guard;
	__u32 mode;
	__u32 guard_flags;
	__u32 depth;	  /* components below the guard point */
	__u32 state;	  /* of the automaton at the guard point */
	__u32 ready;
	__u32 verdict;	  /* TK_VERDICT() of the last action judged */
	__u32 mount;
	__u32 lost;	  /* 1: foreign code has cost the task sets */
	__u32 moving;	  /* 1: a name on the walk may have been about to change */
};

/* What tk_locate() answers. */
enum tk_where {
	TK_OUTSIDE = 0,
	TK_INSIDE = 1,
	TK_NOWHERE = 2, /* cannot be determined: deny */
};

/*
 * What a hook may return: since 6.12 the verifier wants to see that it is 0 or -errno, and a positive value
 * would do harm on older kernels (KERNEL.md 13).  Never turns a refusal into a permission.
 */
static __always_inline int tk_answer(int value)
{
	asm volatile("" : "+r"(value)); /* or the compiler, who knows more than the verifier, drops the comparisons */
	if (value >= 0)
		return 0;
	return value < -4095 ? -EACCES : value;
}

/* The agent, or a loader that has made itself known to change the policy: they pass. */
static __always_inline bool tk_is_ours(const struct tk_control *now)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return (now->agent && now->agent == tgid) || (now->loader && now->loader == tgid);
}

static __always_inline bool tk_device_guarded(__u32 dev)
{
	return bpf_map_lookup_elem(&guarded_devices, &dev);
}

static __always_inline void tk_inode_read(struct tk_inode *ret, __u64 inode)
{
	struct inode *i = (struct inode *)inode;

	ret->ino = BPF_CORE_READ(i, i_ino);
	ret->dev = BPF_CORE_READ(i, i_sb, s_dev);
	ret->igeneration = BPF_CORE_READ(i, i_generation);
}

static __always_inline void tk_inode_key(struct tk_inode_key *ret, __u32 generation, const struct tk_inode *inode)
{
	ret->generation = generation;
	ret->dev = inode->dev;
	ret->ino = inode->ino;
	ret->igeneration = inode->igeneration;
	ret->pad = 0;
}

#endif
