// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/races_model.c - what a block may contain.  Owns the bytes that are written and the
 * judgement on those that are read; knows nothing of agents.
 */
#include "tests/agent/races.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS (RACE_BLOCK / sizeof(uint64_t))
#define MAGIC 0x7ace0000u

static const unsigned int counts[RACE_FILES] = {8, 24, 40, RACE_BLOCKS};
static const char *const names[RACE_FILES] = {"r0", "r1", "r2", "r3"};

unsigned int race_count(unsigned int file)
{
	return counts[file];
}

bool race_direct(unsigned int file)
{
	return file == 1;
}

const char *race_name(unsigned int file)
{
	return names[file];
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* The first two say what it is; each word differs from that of every other write. */
static uint64_t word(unsigned int file, unsigned int number, uint32_t sequence, size_t at)
{
	if (!at)
		return (uint64_t)(MAGIC | file) << 32 | sequence;
	if (at == 1)
		return (uint64_t)sequence << 32 | number;
	return mix(mix((uint64_t)file << 48 | (uint64_t)number << 32 | sequence) + at);
}

void race_fill(void *block, unsigned int file, unsigned int number, uint32_t sequence)
{
	volatile uint64_t *words = block; /* one by one: it may be a mapping that others read */

	for (size_t i = 0; i < WORDS; i++)
		words[i] = word(file, number, sequence, i);
}

struct race_bounds race_now(const struct race *race, unsigned int file, unsigned int number)
{
	const struct race_block *block = &race->blocks[file][number];

	return (struct race_bounds){.done = block->done, .cut_done = block->cut_done};
}

bool race_allowed(const struct race *race, unsigned int file, unsigned int number,
		  const struct race_bounds *before, const void *bytes, size_t size)
{
	const struct race_block *block = &race->blocks[file][number];
	/* Read after the bytes were. */
	uint32_t begun = block->begun, cut_begun = block->cut_begun;
	uint32_t from = before->done > before->cut_done ? before->done : before->cut_done + 1;
	bool nothing = !before->done || cut_begun >= before->done;
	const uint64_t *words = bytes;
	uint32_t like;

	if (size && size < RACE_BLOCK)
		return false; /* all changes are of whole blocks */
	if (!size)
		return nothing;
	like = (uint32_t)words[0];
	/* A write that is under way, or whose writer was killed, may be there in part. */
	for (size_t i = 0; i < WORDS; i++) {
		bool good = (nothing && !words[i]) ||
			    (like >= from && like <= begun && words[i] == word(file, number, like, i));

		for (uint32_t sequence = from; !good && sequence <= begun && sequence < from + 64; sequence++)
			good = sequence && words[i] == word(file, number, sequence, i);
		if (!good)
			return false;
	}
	return true;
}

void race_describe(const struct race *race, unsigned int file, unsigned int number,
		   const struct race_bounds *before, const void *bytes, size_t size)
{
	const struct race_block *block = &race->blocks[file][number];
	const uint64_t *words = bytes;

	printf("VIOLATION: %s: %s block %u: %zu bytes %016llx %016llx; then done %u cut %u, now begun %u "
	       "done %u "
	       "cut %u %u\n",
	       race->rig->fs, race_name(file), number, size, size ? (unsigned long long)words[0] : 0,
	       size ? (unsigned long long)words[1] : 0, before->done, before->cut_done, block->begun,
	       block->done, block->cut_begun, block->cut_done);
}

/* ---------------------------------------------------------------- locks */

int race_locks_open(const struct race *race)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/locks", race->rig->dir);
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
}

static void set_lock(int locks, unsigned int which, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = which, .l_len = 1};

	while (fcntl(locks, F_OFD_SETLKW, &lock) && errno == EINTR)
		;
}

void race_lock(int locks, unsigned int which, bool alone)
{
	set_lock(locks, which, alone ? F_WRLCK : F_RDLCK);
}

void race_unlock(int locks, unsigned int which)
{
	set_lock(locks, which, F_UNLCK);
}
