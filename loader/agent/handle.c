// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/handle.c - file handles: names of inodes that renames do not change
 * and reboots do not forget.  Everything the agent opens it opens by handle, below
 * its own private mount, where no mark sees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "loader/agent/agent.h"

union kernel_handle {
	struct file_handle head;
	char room[sizeof(struct file_handle) + TK_HANDLE_MAX];
};

int tk_handle_of(int fd, const char *path, struct tk_handle *ret_handle)
{
	union kernel_handle handle = {.head = {.handle_bytes = TK_HANDLE_MAX}};
	struct tk_handle copy = {};
	int mount_id;

	if (name_to_handle_at(fd, path, &handle.head, &mount_id, *path ? 0 : AT_EMPTY_PATH))
		return -errno;
	copy.bytes = handle.head.handle_bytes;
	copy.type = handle.head.handle_type;
	memcpy(copy.data, handle.head.f_handle, copy.bytes);
	*ret_handle = copy;
	return 0;
}

bool tk_handle_same(const struct tk_handle *a, const struct tk_handle *b)
{
	return a->bytes == b->bytes && a->type == b->type && !memcmp(a->data, b->data, a->bytes);
}

int tk_handle_open(const struct tk_volume *volume, const struct tk_handle *handle, int flags)
{
	union kernel_handle copy = {.head = {.handle_bytes = handle->bytes, .handle_type = handle->type}};
	int fd;

	memcpy(copy.head.f_handle, handle->data, handle->bytes);
	fd = open_by_handle_at(volume->mount, &copy.head, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---------------------------------------------------------------- handles from inode numbers */

/* Types and layouts of include/linux/exportfs.h, fs/xfs/xfs_export.h, fs/btrfs/export.h. */
#define FILEID_INO32_GEN 1
#define XFS_FILEID_INO64_GEN 0x81
#define FILEID_BTRFS_WITHOUT_PARENT 0x4d
#define FILEID_BTRFS_WITH_PARENT 0x4e
#define FILEID_BTRFS_WITH_PARENT_ROOT 0x4f

/* tmpfs: generation, ino (64 bit); mm/shmem.c, shmem_encode_fh().  Its type is FILEID_INO32_GEN too. */
#define SHMEM_BYTES 12

/*
 * What tk_inode_of_fd() would say, for a descriptor on the private mount: mountinfo does not list that, and
 * on btrfs stat(2) gives another device.
 */
int tk_inode_in(const struct tk_volume *volume, int fd, struct tk_inode *ret_inode)
{
	struct tk_inode inode = {.dev = volume->dev};
	struct tk_handle handle;
	uint32_t version = 0;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	inode.ino = st.st_ino;
	if (!ioctl(fd, FS_IOC_GETVERSION, &version))
		inode.igeneration = version;
	else if (errno != ENOTTY && errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno; /* it is not another file for that */
	else if (!tk_handle_of(fd, "", &handle) && handle.bytes == SHMEM_BYTES &&
		 !memcmp(handle.data + 4, &inode.ino, 8))
		memcpy(&inode.igeneration, handle.data, 4);
	*ret_inode = inode;
	return 0;
}

static bool guess(const struct tk_handle *like, const struct tk_inode *inode, struct tk_handle *ret_handle)
{
	struct tk_handle handle = {};
	uint32_t ino32 = (uint32_t)inode->ino;

	switch (like->type) {
	case FILEID_INO32_GEN: /* ino, generation */
		if (like->bytes == SHMEM_BYTES) {
			handle.type = like->type;
			handle.bytes = SHMEM_BYTES;
			memcpy(handle.data, &inode->igeneration, 4);
			memcpy(handle.data + 4, &inode->ino, 8);
			break;
		}
		if (inode->ino != ino32)
			return false;
		handle.type = FILEID_INO32_GEN;
		handle.bytes = 8;
		memcpy(handle.data, &ino32, 4);
		memcpy(handle.data + 4, &inode->igeneration, 4);
		break;
	case XFS_FILEID_INO64_GEN: /* ino (64 bit), generation */
		handle.type = XFS_FILEID_INO64_GEN;
		handle.bytes = 12;
		memcpy(handle.data, &inode->ino, 8);
		memcpy(handle.data + 8, &inode->igeneration, 4);
		break;
	case FILEID_BTRFS_WITHOUT_PARENT:
	case FILEID_BTRFS_WITH_PARENT:
	case FILEID_BTRFS_WITH_PARENT_ROOT: /* ino (64 bit), id of the subvolume (64 bit), generation */
		handle.type = FILEID_BTRFS_WITHOUT_PARENT;
		handle.bytes = 20;
		memcpy(handle.data, &inode->ino, 8);
		memcpy(handle.data + 8, like->data + 8, 8);
		memcpy(handle.data + 16, &inode->igeneration, 4);
		break;
	default:
		return false;
	}
	*ret_handle = handle;
	return true;
}

/*
 * A notice names a file by its inode alone.  What opens is checked: a guess that opens another inode, or
 * another generation of it, is as good as none.
 */
int tk_handle_guess(const struct tk_volume *volume, const struct tk_handle *like,
		    const struct tk_inode *inode)
{
	TK_AUTO_FD fd = -1;
	TK_AUTO_FD path = -1;
	struct tk_handle handle;
	struct tk_inode found;
	struct stat st;

	if (!guess(like, inode, &handle))
		return -EOPNOTSUPP;
	fd = tk_handle_open(volume, &handle, O_RDONLY | O_NOATIME | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st))
		return fd < 0 ? fd : -errno;
	if (!S_ISREG(st.st_mode) || tk_inode_in(volume, fd, &found) || memcmp(&found, inode, sizeof(found)))
		return -ESTALE;
	path = tk_handle_open(volume, &handle, O_PATH);
	return path < 0 ? path : tk_steal_fd(&path);
}
