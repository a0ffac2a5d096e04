/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vmlinux.h - the kernel's own types, as far as the programs use them.
 *
 * Only names and kinds of fields matter: libbpf relocates every access against
 * the BTF of the kernel it loads on (CO-RE), so offsets here mean nothing.
 * `make vmlinux.h` holds each field against the running kernel's BTF.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#include <linux/types.h>
#include <linux/bpf.h>
#include <stdbool.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef unsigned short umode_t;
typedef unsigned int fmode_t;
typedef __u32 dev_t;
typedef long long loff_t;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct qstr {
	union {
		struct {
			u32 hash;
			u32 len;
		};
		u64 hash_len;
	};
	const unsigned char *name;
};

typedef struct {
	int counter;
} atomic_t;

struct file_system_type {
	const char *name;
};

struct user_namespace {
	int level;
};

struct super_block {
	dev_t s_dev;
	struct file_system_type *s_type;
	unsigned long s_flags;
	struct dentry *s_root;
	struct user_namespace *s_user_ns;
};

typedef struct {
	long counter;
} atomic_long_t;

/* PREEMPT_RT has another one. */
struct rw_semaphore {
	atomic_long_t count;
};

struct inode {
	umode_t i_mode;
	kuid_t i_uid;
	struct super_block *i_sb;
	unsigned long i_ino;
	u32 i_generation;
	unsigned int i_nlink;
	atomic_t i_writecount;
	struct rw_semaphore i_rwsem;
	struct hlist_head i_dentry;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
	union {
		struct hlist_node d_alias;
	} d_u;
};

/* Since 7.0 the union around d_alias has no name. */
struct dentry___unnamed {
	union {
		struct hlist_node d_alias;
	};
};

struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
	int mnt_flags;
};

struct mnt_namespace;

struct mount {
	struct vfsmount mnt;
	int mnt_id;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct inode *f_inode;
	struct path f_path;
	fmode_t f_mode;
	unsigned int f_flags;
};

struct iattr {
	unsigned int ia_valid;
	loff_t ia_size;
	struct file *ia_file;
};

struct group_info {
	int ngroups;
	kgid_t gid[0];
};

struct cred {
	kuid_t fsuid;
	kgid_t fsgid;
	struct group_info *group_info;
};

struct mm_struct {
	struct file *exe_file;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

struct signal_struct {
	unsigned int flags;
};

struct kernfs_node {
	const char *name;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct task_struct {
	struct files_struct *files;
	unsigned int flags;
	unsigned int ptrace;
	struct mm_struct *mm;
	int pid;
	int tgid;
	struct task_struct *parent;
	const struct cred *real_cred;
	const struct cred *cred;
	unsigned int in_execve : 1;
	kuid_t loginuid;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct signal_struct *signal;
};

struct vm_area_struct {
	unsigned long vm_flags;
	struct file *vm_file;
};

struct linux_binprm {
	struct file *file;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

#pragma clang attribute pop

#endif
