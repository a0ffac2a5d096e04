// SPDX-License-Identifier: GPL-2.0
/*
 * tests/apps/power_disk.c - the disk of a VM whose power is going to be cut.
 *
 * usage: power_disk DIR FILE SEED
 * Serves FILE's bytes as DIR/disk/image and says "ready".  On SIGTERM, which comes when the VM is dead, FILE
 * becomes what the cut has left: all that was flushed, and of what was written after the last flush the part
 * that SEED chooses, in sectors; and it says how much that was.
 */
#include "tests/agent/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

static int fail(const char *what, const char *on)
{
	fprintf(stderr, "power_disk: cannot %s %s: %s\n", what, on, strerror(errno));
	return 1;
}

/* Holes of FILE stay untouched memory. */
static int load(struct disk *disk, int fd)
{
	off_t at = 0, end;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		while (at < end) {
			ssize_t n = pread(fd, disk->now + at, (size_t)(end - at), at);

			if (n <= 0)
				return -1;
			at += n;
		}
	}
	return errno == ENXIO ? 0 : -1;
}

static int store(const struct disk *disk, int fd)
{
	static const uint8_t zeros[DISK_PAGE];

	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)disk->size))
		return -1;
	for (uint64_t at = 0; at < disk->size; at += DISK_PAGE)
		if (memcmp(disk->now + at, zeros, DISK_PAGE) &&
		    pwrite(fd, disk->now + at, DISK_PAGE, (off_t)at) != DISK_PAGE)
			return -1;
	return 0;
}

int main(int argc, char **argv)
{
	struct disk *disk;
	struct stat st;
	sigset_t end;
	size_t flushed, all;
	int fd, got;

	if (argc != 4) {
		fprintf(stderr, "usage: power_disk DIR FILE SEED\n");
		return 2;
	}
	/* Blocked in the server, too: it ends with its mount. */
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	fd = open(argv[2], O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return fail("open", argv[2]);
	disk = disk_new(argv[1], (uint64_t)st.st_size);
	if (!disk)
		return fail("serve through FUSE in", argv[1]);
	if (load(disk, fd)) {
		disk_free(disk);
		return fail("read", argv[2]);
	}
	disk_record(disk);
	puts("ready");
	fflush(stdout);
	sigwait(&end, &got);
	if (!disk_idle(disk)) {
		fprintf(stderr, "power_disk: somebody still has %s open\n", disk->image);
		return 1; /* nothing can be said of FILE: it stays as it was */
	}
	all = disk->entries;
	for (flushed = all; flushed && disk->log[flushed - 1].length;)
		flushed--;
	disk_rewind(disk);
	disk_play(disk, 0, flushed);
	disk_cut(disk, flushed, all, SECTOR, strtoull(argv[3], NULL, 10));
	if (store(disk, fd) || close(fd))
		return fail("write", argv[2]);
	printf("%zu writes and flushes, %zu writes after the last flush\n", all, all - flushed);
	disk_free(disk);
	return 0;
}
