/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/races.h - many processes at the same few files, and what each file may contain.
 *
 * A file is a row of blocks.  Each block belongs to one writer, who numbers what he writes and says so
 * before and after; who takes content away (truncation, another file in its place) does it alone and says so
 * as well.  So there is for each block a range of numbers that may be found, mostly of one.
 */
#ifndef TK_TEST_RACES_H
#define TK_TEST_RACES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/agent/rig.h"

#define RACE_BLOCK 4096
#define RACE_BLOCKS 320 /* of the largest file: twenty records of the format */
#define RACE_FILES 4
#define RACE_WRITERS 6

struct race_block {
	_Atomic uint32_t begun, done;	      /* number of the write that began, and ended, last */
	_Atomic uint32_t cut_begun, cut_done; /* of the last one before the content was taken away */
};

enum race_outcome {
	RACE_DONE,
	RACE_REFUSED, /* at open, or the plaintext was not there, as the kernel programs would find */
	RACE_FAILED,  /* another call failed as it may */
	RACE_VIOLATED,
};
#define RACE_OUTCOMES (RACE_VIOLATED + 1)

#define RACE_OPERATIONS 17

struct race {
	struct rig *rig;
	struct race_block blocks[RACE_FILES][RACE_BLOCKS];
	_Atomic uint32_t epoch; /* odd: the agent may be dead */
	_Atomic bool over, pause;
	_Atomic uint64_t tally[RACE_OPERATIONS][RACE_OUTCOMES];
	_Atomic uint64_t killed, agents_killed, frozen, rests, orphans;
};

/* What may be found in a block that is looked at from now on. */
struct race_bounds {
	uint32_t done, cut_done;
};

/* races_model.c */
unsigned int race_count(unsigned int file); /* blocks */
bool race_direct(unsigned int file);	    /* all writes bypass the page cache, and nobody maps it */
const char *race_name(unsigned int file);
void race_fill(void *block, unsigned int file, unsigned int number, uint32_t sequence);
struct race_bounds race_now(const struct race *race, unsigned int file, unsigned int number);
/* Whether `bytes`, looked at since `before`, may be what the block contains; size 0: it is not there. */
bool race_allowed(const struct race *race, unsigned int file, unsigned int number,
		  const struct race_bounds *before, const void *bytes, size_t size);
void race_describe(const struct race *race, unsigned int file, unsigned int number,
		   const struct race_bounds *before, const void *bytes, size_t size);

/* Locks that end with their process. */
enum race_lock {
	RACE_LOCK_FILES, /* and the following: one each; shared to use it, alone to take content away */
	RACE_LOCK_AGENT = RACE_LOCK_FILES + RACE_FILES, /* alone to kill the agent */
	RACE_LOCK_FREEZE,				/* alone to freeze the filesystem */
	RACE_LOCK_WORLD,				/* alone when nothing shall happen */
};
/* The agent has lived since `epoch`. */
static inline bool race_same_agent(const struct race *race, uint32_t epoch)
{
	return !(epoch & 1) && race->epoch == epoch;
}
int race_locks_open(const struct race *race);
void race_lock(int locks, unsigned int which, bool alone);
void race_unlock(int locks, unsigned int which);

/* races_work.c */
extern const char *const race_operations[RACE_OPERATIONS];
/* What a process does until it is killed or told that it is over.  writer: whose blocks are his. */
_Noreturn void race_worker(struct race *race, unsigned int writer, uint64_t seed);
_Noreturn void race_backup(struct race *race, uint64_t seed); /* the raw view */
/* Everything as it must be, in the calling process; the number of violations. */
/* Removes what an administrator would: records of files that were deleted when no agent saw it, and what
 * the kernel half still holds of such. */
unsigned int race_bury(const struct race *race);
unsigned int race_check_all(const struct race *race);

/* races_test.c */
void race_tests(const char *const *fs, size_t count, unsigned int seconds);

#endif
