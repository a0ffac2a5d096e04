/* SPDX-License-Identifier: GPL-2.0 */
/* loader/agent/mountinfo.h - the mounts of a process, as /proc/PID/mountinfo (proc(5)) has them. */
#ifndef TK_AGENT_MOUNTINFO_H
#define TK_AGENT_MOUNTINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tk_mount {
	uint32_t id, parent;
	uint32_t dev; /* as in struct tk_inode */
	char *root;   /* what it shows: path from the root of the filesystem */
	char *point;  /* where, from the root of the process it was read for */
};
struct tk_mounts {
	struct tk_mount *items;
	size_t count;
};
int tk_mountinfo_read(const char *path, struct tk_mounts *ret_mounts);
void tk_mountinfo_free(struct tk_mounts *mounts);
int tk_mount_id(int fd, const char *path, uint32_t *ret_id);
/* The mount below, when this one is a bind mount of a directory onto itself; NULL. */
const struct tk_mount *tk_mount_below_itself(const struct tk_mounts *mounts, const struct tk_mount *mount);
const struct tk_mount *tk_mountinfo_find(const struct tk_mounts *mounts, uint32_t id);
/* True when path is dir or lies below it, by whole components; *ret_rest is what is below, without '/'. */
bool tk_path_below(const char *dir, const char *path, const char **ret_rest);

#endif
