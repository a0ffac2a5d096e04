/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/bench/files.h - what `make bench-files` has of the kernel half where its programs cannot be loaded:
 * who opens what, told by the openers themselves in shared memory, so that it costs next to nothing and the
 * agent's own cost is what is measured.  It decides and enforces nothing.
 */
#ifndef TK_BENCH_FILES_H
#define TK_BENCH_FILES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "bpf/abi.h"

#define BENCH_SLOTS 64
#define BENCH_FILES (1 << 16)

/* One thread that opens: written by it before each open. */
struct bench_slot {
	_Atomic uint32_t tid;
	uint32_t flags;
	_Atomic uint32_t counted; /* the agent has seen this open, and counted it in `ino` */
	uint64_t ino;
	char path[64]; /* from the filesystem's root */
};

struct bench_file {
	struct tk_inode inode;
	uint32_t state; /* enum tk_file_state */
	uint32_t plain; /* descriptions, waiting openers included */
	bool written;
};

struct bench_shared {
	struct tk_control control;
	struct tk_inode place; /* the only guard point */
	pthread_mutex_t lock;  /* of files; between processes */
	_Atomic uint32_t unsealed;
	struct bench_slot slots[BENCH_SLOTS];
	struct bench_slot anybody; /* what threads without a slot open: fio */
	struct bench_file files[BENCH_FILES];
};

/* The entry of an inode number, or an empty one for it.  Under lock. */
static inline struct bench_file *bench_file(struct bench_shared *shared, uint64_t ino)
{
	uint32_t at = (uint32_t)(ino * 0x9e3779b97f4a7c15ull >> 48);

	for (uint32_t i = 0; i < BENCH_FILES; i++) {
		struct bench_file *file = &shared->files[(at + i) % BENCH_FILES];

		if (!file->inode.ino || file->inode.ino == ino)
			return file;
	}
	abort();
}

#endif
