/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/disk.h - a disk whose power can be cut at any write.
 *
 * A process of its own serves it as one file through FUSE, for a loop device.  It keeps what the
 * filesystem wrote, and when it asked for a flush.  What a power cut leaves is everything before the last
 * flush and any part of what came after it, in sectors.
 */
#ifndef TK_TEST_DISK_H
#define TK_TEST_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DISK_PAGE 4096

/* length 0: a flush */
struct disk_entry {
	uint64_t offset, length, data;
};

struct disk {
	uint64_t size;
	char point[96], image[112];
	pid_t server;
	uint8_t *now; /* as a reader finds it */

	_Atomic bool recording;
	struct disk_entry *log;
	_Atomic size_t entries;
	uint8_t *data;
	uint64_t data_used;

	_Atomic bool undoing; /* what is written is to be taken back */
	uint32_t *undo_pages;
	uint8_t *undo_data;
	size_t undone;
	bool *saved; /* pages that are among them */

	_Atomic int opens;
};

/* In shared memory.  NULL when there is no FUSE here. */
struct disk *disk_new(const char *dir, uint64_t size);
void disk_free(struct disk *disk);
/* Waits for the loop device to be gone. */
bool disk_idle(const struct disk *disk);

/* From now on all writes are kept, on top of what is there. */
void disk_record(struct disk *disk);
/* Ends the recording: back to where it began.  Not while it is mounted. */
void disk_rewind(struct disk *disk);
/* Plays the entries [from, to) for good. */
void disk_play(struct disk *disk, size_t from, size_t to);
/*
 * Plays a part of the sectors of [from, to) that the seed chooses, and takes it back, with all that is
 * written afterwards, in disk_undo().
 */
void disk_cut(struct disk *disk, size_t from, size_t to, size_t sector, uint64_t seed);
void disk_undo(struct disk *disk);

#endif
