// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/disk.c - the disk's server and what replays its writes.  Owns nothing
 * but bytes: which of them matter is power_test.c's business.
 */
#define FUSE_USE_VERSION 31
#include "tests/agent/disk.h"

#include <errno.h>
#include <fuse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_MAX (1 << 20)	   /* entries */
#define DATA_MAX ((size_t)6 << 30) /* bytes that a recording may write; taken as they come */

static struct disk *served; /* in the server */

/* ---------------------------------------------------------------- bytes */

static void save_page(struct disk *disk, uint64_t page)
{
	if (disk->saved[page])
		return;
	disk->saved[page] = true;
	disk->undo_pages[disk->undone] = (uint32_t)page;
	memcpy(disk->undo_data + disk->undone * DISK_PAGE, disk->now + page * DISK_PAGE, DISK_PAGE);
	disk->undone++;
}

static void put_bytes(struct disk *disk, const void *from, uint64_t offset, uint64_t length)
{
	if (disk->undoing)
		for (uint64_t page = offset / DISK_PAGE; page * DISK_PAGE < offset + length; page++)
			save_page(disk, page);
	memcpy(disk->now + offset, from, length);
}

static int keep(struct disk *disk, const void *from, uint64_t offset, uint64_t length)
{
	struct disk_entry *entry = &disk->log[disk->entries];

	if (!disk->recording)
		return 0;
	if (disk->entries == LOG_MAX || disk->data_used + length > DATA_MAX)
		return -EIO; /* the test is too large: its filesystem says so */
	*entry = (struct disk_entry){.offset = offset, .length = length, .data = disk->data_used};
	if (length)
		memcpy(disk->data + disk->data_used, from, length);
	disk->data_used += length;
	disk->entries++;
	return 0;
}

/* ---------------------------------------------------------------- FUSE */

static int get_attributes(const char *path, struct stat *st, struct fuse_file_info *info)
{
	*st = (struct stat){.st_mode = S_IFDIR | 0700, .st_nlink = 2};
	if (!strcmp(path, "/"))
		return 0;
	if (strcmp(path, "/image"))
		return -ENOENT;
	*st = (struct stat){.st_mode = S_IFREG | 0600, .st_nlink = 1, .st_size = (off_t)served->size};
	return 0;
}

static int open_image(const char *path, struct fuse_file_info *info)
{
	info->direct_io = 1; /* nothing of it stays in the page cache after a cut */
	served->opens++;
	return 0;
}

static int release_image(const char *path, struct fuse_file_info *info)
{
	served->opens--;
	return 0;
}

static uint64_t within(uint64_t length, off_t offset)
{
	uint64_t left = (uint64_t)offset < served->size ? served->size - (uint64_t)offset : 0;

	return length < left ? length : left;
}

static int read_image(const char *path, char *buf, size_t length, off_t offset, struct fuse_file_info *info)
{
	length = within(length, offset);
	memcpy(buf, served->now + offset, length);
	return (int)length;
}

static int write_image(const char *path, const char *buf, size_t length, off_t offset,
		       struct fuse_file_info *info)
{
	if (within(length, offset) < length)
		return -ENOSPC;
	if (keep(served, buf, (uint64_t)offset, length))
		return -EIO;
	put_bytes(served, buf, (uint64_t)offset, length);
	return (int)length;
}

static int flush_image(const char *path, int data_only, struct fuse_file_info *info)
{
	return keep(served, NULL, 0, 0);
}

static const struct fuse_operations operations = {
	.getattr = get_attributes,
	.open = open_image,
	.release = release_image,
	.read = read_image,
	.write = write_image,
	.fsync = flush_image,
};

static void serve(struct disk *disk)
{
	char *argv[] = {"disk", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse *fuse;

	served = disk;
	fuse = fuse_new(&args, &operations, sizeof(operations), NULL);
	if (fuse && !fuse_mount(fuse, disk->point))
		fuse_loop(fuse);
	_exit(0);
}

/* ---------------------------------------------------------------- its life */

static void *shared(size_t size)
{
	void *at =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static void unshare_bytes(struct disk *disk)
{
	uint64_t pages = disk->size / DISK_PAGE;

	munmap(disk->now, disk->size);
	munmap(disk->log, LOG_MAX * sizeof(*disk->log));
	munmap(disk->data, DATA_MAX);
	munmap(disk->undo_pages, pages * sizeof(*disk->undo_pages));
	munmap(disk->undo_data, disk->size);
	munmap(disk->saved, pages);
	munmap(disk, sizeof(*disk));
}

struct disk *disk_new(const char *dir, uint64_t size)
{
	struct disk *disk = shared(sizeof(*disk));
	uint64_t pages = size / DISK_PAGE;
	struct stat st;

	if (!disk)
		return NULL;
	disk->size = size;
	disk->now = shared(size);
	disk->log = shared(LOG_MAX * sizeof(*disk->log));
	disk->data = shared(DATA_MAX);
	disk->undo_pages = shared(pages * sizeof(*disk->undo_pages));
	disk->undo_data = shared(size);
	disk->saved = shared(pages);
	snprintf(disk->point, sizeof(disk->point), "%s/disk", dir);
	snprintf(disk->image, sizeof(disk->image), "%s/image", disk->point);
	mkdir(disk->point, 0700);
	if (!disk->now || !disk->log || !disk->data || !disk->undo_pages || !disk->undo_data || !disk->saved)
		return NULL;
	disk->server = fork();
	if (!disk->server)
		serve(disk);
	while (stat(disk->image, &st)) {
		if (waitpid(disk->server, NULL, WNOHANG)) {
			unshare_bytes(disk);
			return NULL;
		}
		usleep(2000);
	}
	return disk;
}

void disk_free(struct disk *disk)
{
	umount2(disk->point, MNT_DETACH);
	if (disk_idle(disk))
		waitpid(disk->server, NULL, 0);
	unshare_bytes(disk);
}

bool disk_idle(const struct disk *disk)
{
	for (int tries = 0; disk->opens && tries < 5000; tries++)
		usleep(2000);
	return !disk->opens;
}

/* ---------------------------------------------------------------- replaying */

void disk_record(struct disk *disk)
{
	disk->entries = 0;
	disk->data_used = 0;
	disk->undoing = true;
	disk->recording = true;
}

void disk_rewind(struct disk *disk)
{
	disk->recording = false;
	disk_undo(disk);
}

void disk_play(struct disk *disk, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		put_bytes(disk, disk->data + disk->log[i].data, disk->log[i].offset, disk->log[i].length);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* Seed 0: all of it.  Others: whole writes or single sectors, more of them or fewer. */
static bool lost(uint64_t seed, size_t entry, uint64_t sector)
{
	unsigned int share = (unsigned int)(mix(seed) % 7) + 1; /* of eight */
	bool torn = mix(seed + 1) & 1;

	return seed && mix(seed * 1000003 + entry * 8191 + (torn ? sector + 1 : 0)) % 8 < share;
}

void disk_cut(struct disk *disk, size_t from, size_t to, size_t sector, uint64_t seed)
{
	disk->undoing = true;
	for (size_t i = from; i < to; i++) {
		const struct disk_entry *entry = &disk->log[i];

		for (uint64_t at = 0; at < entry->length; at += sector) {
			uint64_t piece = entry->length - at < sector ? entry->length - at : sector;

			if (!lost(seed, i, at))
				put_bytes(disk, disk->data + entry->data + at, entry->offset + at, piece);
		}
	}
}

void disk_undo(struct disk *disk)
{
	disk->undoing = false;
	for (size_t i = 0; i < disk->undone; i++) {
		memcpy(disk->now + (uint64_t)disk->undo_pages[i] * DISK_PAGE, disk->undo_data + i * DISK_PAGE,
		       DISK_PAGE);
		disk->saved[disk->undo_pages[i]] = false;
	}
	disk->undone = 0;
}
