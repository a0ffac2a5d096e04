// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/inode.c - an inode's identity as the kernel programs read it out
 * of struct inode: s_dev, i_ino, i_generation.  stat(2) tells neither the first
 * (btrfs) nor the last.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "loader/policy/internal.h"

/* As the kernel keeps it (MKDEV in include/linux/kdev_t.h), not as dev_t of libc. */
static uint32_t kernel_dev(unsigned int major, unsigned int minor)
{
	return major << 20 | minor;
}

/* The device of a mount's superblock, from "36 35 98:0 / /mnt …" (proc_pid_mountinfo(5)).  -ENODEV. */
static int device_of_mount(uint64_t mount, uint32_t *ret_dev)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	TK_FREE char *line = NULL;
	size_t room = 0;
	int r = -ENODEV;

	if (!file)
		return -errno;
	while (r < 0 && getline(&line, &room, file) > 0) {
		unsigned long long id;
		unsigned int major, minor;

		if (sscanf(line, "%llu %*u %u:%u", &id, &major, &minor) == 3 && id == mount) {
			*ret_dev = kernel_dev(major, minor);
			r = 0;
		}
	}
	fclose(file);
	return r;
}

static int device_of_fd(int fd, const struct statx *stx, struct tk_device_cache *cache, uint32_t *ret_dev)
{
	struct statfs fs;
	uint32_t dev = 0;
	int r;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != BTRFS_SUPER_MAGIC && fs.f_type != OVERLAYFS_SUPER_MAGIC) {
		*ret_dev = kernel_dev(stx->stx_dev_major, stx->stx_dev_minor);
		return 0;
	}
	/* These two have a device number of their own for stat(2). */
	if (!(stx->stx_mask & STATX_MNT_ID))
		return -ENODEV;
	if (cache->valid && cache->mount == stx->stx_mnt_id) {
		*ret_dev = cache->dev;
		return 0;
	}
	r = device_of_mount(stx->stx_mnt_id, &dev); /* -ENODEV: outside our namespace or root */
	if (r < 0)
		return r;
	*cache = (struct tk_device_cache){.valid = true, .mount = stx->stx_mnt_id, .dev = dev};
	*ret_dev = dev;
	return 0;
}

/*
 * i_generation out of a file handle: the layouts of include/linux/exportfs.h (FILEID_INO32_GEN), xfs
 * (struct xfs_fid64, type 0x81) and tmpfs (shmem_encode_fh), each told by its length and by the inode
 * number in it.  -EOPNOTSUPP: no handles here, or another layout.
 */
static int generation_of_handle(int fd, uint64_t ino, uint32_t *ret_generation)
{
	struct {
		struct file_handle head;
		uint32_t words[MAX_HANDLE_SZ / 4];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	uint32_t words[3], low = (uint32_t)ino, high = (uint32_t)(ino >> 32);
	int mount;

	if (name_to_handle_at(fd, "", &handle.head, &mount, AT_EMPTY_PATH) < 0)
		return -EOPNOTSUPP;
	memcpy(words, handle.head.f_handle, sizeof(words));
	if (handle.head.handle_type == 1 && handle.head.handle_bytes == 8 && words[0] == low)
		*ret_generation = words[1];
	else if (handle.head.handle_type == 1 && handle.head.handle_bytes == 12 && words[1] == low &&
		 words[2] == high)
		*ret_generation = words[0];
	else if (handle.head.handle_type == 0x81 && handle.head.handle_bytes == 12 && words[0] == low &&
		 words[1] == high)
		*ret_generation = words[2];
	else
		return -EOPNOTSUPP;
	return 0;
}

/* An O_PATH descriptor takes no ioctl, so one that does is opened; only files and directories, which is
 * harmless. */
static int generation_of_ioctl(int fd, mode_t mode, uint32_t *ret_generation)
{
	TK_CLOSE int again = -1;
	char name[32];
	/* Declared with long, answered with int (fs/ext4/ioctl.c, fs/xfs/xfs_ioctl.c, fs/btrfs/ioctl.c). */
	union {
		long room;
		uint32_t generation;
	} answer = {0};

	if (!S_ISREG(mode) && !S_ISDIR(mode))
		return -ENOTTY;
	if (ioctl(fd, FS_IOC_GETVERSION, &answer) < 0) {
		if (errno != EBADF)
			return -errno;
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		again = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (again < 0 || ioctl(again, FS_IOC_GETVERSION, &answer) < 0)
			return -errno;
	}
	*ret_generation = answer.generation;
	return 0;
}

int tk_inode_cached(int fd, struct tk_device_cache *cache, struct tk_inode *ret_inode)
{
	struct tk_inode inode = {0};
	uint32_t generation = 0;
	struct statx stx;
	int r;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_TYPE | STATX_MNT_ID, &stx) < 0)
		return -errno;
	inode.ino = stx.stx_ino;
	r = device_of_fd(fd, &stx, cache, &inode.dev);
	if (r < 0)
		return r;
	r = generation_of_ioctl(fd, stx.stx_mode, &generation);
	if (r < 0 && generation_of_handle(fd, inode.ino, &generation) < 0 && (r == -EACCES || r == -EPERM))
		return r; /* there may be one, and we cannot tell */
	inode.igeneration = generation;
	*ret_inode = inode;
	return 0;
}

int tk_inode_of_fd(int fd, struct tk_inode *ret_inode)
{
	struct tk_device_cache cache = {0};

	return tk_inode_cached(fd, &cache, ret_inode);
}

int tk_inode_of_path(const char *path, struct tk_inode *ret_inode)
{
	TK_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);

	return fd < 0 ? -errno : tk_inode_of_fd(fd, ret_inode);
}
