/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/kernel/internal.h - what the files of loader/kernel/ share: the list of
 * maps, and struct tk_kernel, which is a descriptor for each of them.
 */
#ifndef TK_KERNEL_INTERNAL_H
#define TK_KERNEL_INTERNAL_H

#include <pthread.h>
#include <unistd.h>

#include "loader/kernel/kernel.h"

enum tk_map {
	TK_MAP_GUARD_POINTS,
	TK_MAP_GUARD_ANCESTORS,
	TK_MAP_PROCESS_SETS,
	TK_MAP_UNITS,
	TK_MAP_UNIT_MEMBERS,
	TK_MAP_USER_SETS,
	TK_MAP_GROUP_SETS,
	TK_MAP_LOGIN_SETS,
	TK_MAP_INTEGRITY_SETS,
	TK_MAP_DIGESTS,
	TK_MAP_TIMES_NOW,
	TK_MAP_POLICIES,
	TK_MAP_RULES,
	TK_MAP_AUTOMATON,
	TK_MAP_CONTROL,
	TK_MAP_GUARDED_DEVICES,
	TK_MAP_WATCHED_POINTS,
	TK_MAP_OPEN_FILES,
	TK_MAP_PENDING_OPENS,
	TK_MAP_FOREIGN_CODE,
	TK_MAP_EVENTS,
	TK_MAP_NOTICES,
	TK_MAP_COUNTERS,
	TK_MAP_COUNT
};
extern const char *const tk_map_names[TK_MAP_COUNT];

struct ring_buffer;

struct tk_kernel {
	int maps[TK_MAP_COUNT];
	int command;			   /* the program behind the agent's door */
	struct tk_control *control;	   /* mapped, shared with the programs */
	struct ring_buffer *notices, *events; /* made by the first poll */
	struct takakrypt_bpf *skeleton;	   /* only between load and close of the loader */
};

static inline void tk_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define TK_AUTO_CLOSE __attribute__((cleanup(tk_close_fd)))

__attribute__((format(printf, 2, 3))) void tk_why_set(struct tk_why *why, const char *format, ...);

/* programs.c */
struct btf;
struct takakrypt_bpf;
/* From now on libbpf's complaints are kept instead of printed; the first one is what matters. */
void tk_listen_to_libbpf(void);
const char *tk_libbpf_said(void);
/* Opens and loads the programs; the caller destroys the skeleton. */
int tk_programs_load(struct takakrypt_bpf **ret_skeleton, struct tk_why *ret_why);
/* Loads them and lets them go again: does this kernel take them? */
int tk_kernel_try(struct tk_why *ret_why);
/* -EOPNOTSUPP when `bpf` is not in the LSM list, or programs could be left out: they would attach and not decide. */
int tk_need_lsm(struct tk_why *ret_why);
/* 1: it is; 0: it is not; -errno: the list cannot be read. */
int tk_lsm_active(char *ret_list, unsigned int size);
/* BTF id of the LSM hook a program of that name attaches to, negative when this kernel has none. */
int tk_hook_id(const struct btf *btf, const char *program);
/* May this kernel lack the hook, because another one does the same there? */
bool tk_program_optional(const char *program);
int tk_read_line(const char *path, char *buf, size_t size);

/* Maps `control` and sets everything else to "none". -ENOMEM, -errno of mmap. */
int tk_kernel_alloc(struct tk_kernel **ret_kernel);
int tk_kernel_map_control(struct tk_kernel *kernel);
int tk_kernel_tell(struct tk_kernel *kernel, const struct tk_command *command);

/* install.c: a generation in the making, or one that something is added to */
struct tk_install {
	struct tk_kernel *kernel;
	const struct tk_compiled *compiled;
	uint32_t generation;
	struct tk_why *why; /* may be NULL */
};
int tk_put(struct tk_install *in, enum tk_map map, const void *key, const void *value);
struct tk_inode_key tk_inode_key(uint32_t generation, const struct tk_inode *inode);
/* Atomic: another process may be changing the other slot's. */
void tk_set_slot_bit(uint32_t *word, uint32_t generation, bool on);

/* members.c */
int tk_put_processes(struct tk_install *in, const struct tk_resolved *resolved);

/* Tells the programs which executable this is, for key_op. */
void tk_kernel_know_command(struct tk_kernel *kernel);
/* The inodes of paths as the programs see them; those that cannot be opened stay as they are. */
int tk_kernel_identify(const char *const *paths, size_t count, struct tk_inode *inodes);
/* The inode behind an open descriptor, and whether somebody has it open for writing.  -ENOENT, -errno. */
int tk_kernel_identify_fd(int fd, struct tk_identified *ret);

#endif
