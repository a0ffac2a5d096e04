/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/agent/io.h - positional reads and writes that finish what they begin.
 */
#ifndef TK_AGENT_IO_H
#define TK_AGENT_IO_H

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

/* read(2), at no moment at which the agent itself holds a lease (bytes.c). */
ssize_t tk_read_without_leases(int fd, void *buf, size_t size);

/* Reads up to len bytes; fewer only at the end of the file.  Bytes, or -errno. */
static inline ssize_t tk_read_at(int fd, void *buf, size_t len, off_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Writes all of it, or returns -errno. */
static inline int tk_write_at(int fd, const void *buf, size_t len, off_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done, offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

#endif
