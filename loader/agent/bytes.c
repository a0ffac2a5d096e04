// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/bytes.c - small questions and moves on one descriptor, for contents.c
 * and others.  Owns no state; knows no journal.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#include "loader/agent/agent.h"
#include "loader/agent/io.h"

#define COPY_PIECE (1 << 20)

int tk_contents_kind(int fd, uint64_t size, enum tk_contents *ret_kind)
{
	char magic[4];
	ssize_t n;

	if (!size) {
		*ret_kind = TK_EMPTY;
		return 0;
	}
	n = tk_read_at(fd, magic, sizeof(magic), 0);
	if (n < 0)
		return (int)n;
	*ret_kind = tk_is_taka(magic, (size_t)n) ? TK_TAKA : TK_PLAIN;
	return 0;
}

/* Shares the blocks where the filesystem can, else copies.  Not durable: the caller syncs. */
int tk_contents_copy(int in, off_t in_offset, int out, off_t out_offset, uint64_t size)
{
	struct file_clone_range range = {
		.src_fd = in,
		.src_offset = (uint64_t)in_offset,
		.src_length = size,
		.dest_offset = (uint64_t)out_offset,
	};
	TK_AUTO_TEXT buf = NULL;
	uint64_t done = 0;

	if (!size || !ioctl(out, FICLONERANGE, &range))
		return 0;
	buf = malloc(size < COPY_PIECE ? (size_t)size : COPY_PIECE);
	if (!buf)
		return -ENOMEM;
	while (done < size) {
		size_t piece = size - done < COPY_PIECE ? (size_t)(size - done) : COPY_PIECE;
		ssize_t n = tk_read_at(in, buf, piece, in_offset + (off_t)done);
		int err;

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		err = tk_write_at(out, buf, (size_t)n, out_offset + (off_t)done);
		if (err)
			return err;
		done += (uint64_t)n;
	}
	return 0;
}

int tk_contents_compare(int a, off_t a_offset, int b, off_t b_offset, uint64_t size)
{
	char one[16384], other[16384];

	for (uint64_t done = 0; done < size; done += sizeof(one)) {
		size_t piece = size - done < sizeof(one) ? (size_t)(size - done) : sizeof(one);
		ssize_t n = tk_read_at(a, one, piece, a_offset + (off_t)done);
		ssize_t m = n < 0 ? n : tk_read_at(b, other, piece, b_offset + (off_t)done);

		if (n < 0 || m < 0)
			return (int)(n < 0 ? n : m);
		if ((size_t)n < piece || (size_t)m < piece || memcmp(one, other, piece))
			return 0;
	}
	return 1;
}

/*
 * Tells bytes that a disk has spoiled from those that were there: a change within eight of them always, any other but
 * once in 2^64.  Not for what somebody makes on purpose.
 */
int tk_contents_print(int fd, off_t offset, uint64_t size, uint64_t *ret_print)
{
	uint64_t print = size, words[2048];

	for (uint64_t done = 0; done < size; done += sizeof(words)) {
		size_t piece = size - done < sizeof(words) ? (size_t)(size - done) : sizeof(words);
		ssize_t n;

		words[piece / 8 % 2048] = 0; /* behind the last byte */
		n = tk_read_at(fd, words, piece, offset + (off_t)done);
		if (n < (ssize_t)piece)
			return n < 0 ? (int)n : -EIO;
		for (size_t i = 0; i < (piece + 7) / 8; i++) {
			print = (print ^ words[i]) * 0x9e3779b97f4a7c15ull; /* odd: no two become one */
			print ^= print >> 32;
		}
	}
	*ret_print = print;
	return 0;
}

bool tk_contents_same(int a, off_t a_offset, int b, off_t b_offset, uint64_t size)
{
	return tk_contents_compare(a, a_offset, b, b_offset, size) > 0;
}

/*
 * To nothing, by a description of its own that is closed at once.  A file that was cut is written back when the next
 * description of it is closed (ext4, xfs and btrfs alike, for programs that replace a file so and forget to sync it):
 * here that would be the one which the new content is written by, each time, and the next cut waits for the disk and
 * gives the blocks back.  Nothing is made durable by that: whoever needs it syncs.  0 or -errno: not cut.
 */
int tk_file_cut(const struct tk_file *file)
{
	TK_AUTO_FD fd = tk_file_reopen(file, O_RDWR);

	return fd < 0 ? fd : ftruncate(fd, 0) ? -errno : 0;
}

/* Held for the moment of a lease: an event's descriptor that the kernel makes meanwhile would be denied. */
static pthread_mutex_t lease_lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * True when no other description of the file exists, mappings and programs included (KERNEL.md 10).
 * Where leases do not work the counts have the only word.
 */
bool tk_nobody_has(int fd)
{
	int err = 0;

	pthread_mutex_lock(&lease_lock);
	if (fcntl(fd, F_SETLEASE, F_WRLCK))
		err = errno;
	else
		fcntl(fd, F_SETLEASE, F_UNLCK);
	pthread_mutex_unlock(&lease_lock);
	return err != EAGAIN && err != EBUSY;
}

/*
 * truncate(2) holds the inode's lock from before it is let in (bpf/names.bpf.h) until it is done.  Removing an attribute
 * takes that lock, too (vfs_removexattr), and only then finds that no filesystem has such names.  On a read-only mount
 * it does not, and there nobody resizes.
 */
int tk_await_resizes(int fd)
{
	if (!fremovexattr(fd, "takakrypt.none") || errno == EOPNOTSUPP || errno == EPERM || errno == EACCES ||
	    errno == EROFS)
		return 0;
	return -errno;
}

ssize_t tk_read_without_leases(int fd, void *buf, size_t size)
{
	ssize_t n;
	int err;

	pthread_mutex_lock(&lease_lock);
	n = read(fd, buf, size);
	err = errno;
	pthread_mutex_unlock(&lease_lock);
	errno = err;
	return n;
}

/*
 * Is there room for so many bytes in this empty file?  Then it is the file's from now on.  Asking statvfs(2)
 * is not enough: on btrfs what it calls free may not be had for data.
 */
int tk_room_take(int fd, uint64_t size)
{
	return fallocate(fd, 0, 0, (off_t)size) && (errno == ENOSPC || errno == EDQUOT) ? -errno : 0;
}
