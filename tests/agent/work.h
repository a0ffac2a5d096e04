/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/work.h - what an application does to one file, and what must be found of it
 * after a fault.
 */
#ifndef TK_TEST_WORK_H
#define TK_TEST_WORK_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/agent/rig.h"

enum operation {
	NEW,
	READ,
	REWRITTEN,
	APPENDED,
	TRUNCATED,
	REPLACED, /* a new file takes its name, as editors do */
	RENAMED,
	UNLINKED,
	LINKED,
	FOUND,	 /* it lay there as plaintext */
	ADOPTED, /* so, and somebody had it open */
	/* Of a file that has been read before, and is kept. */
	READ_AGAIN,
	REWRITTEN_KEPT,
	RESTORED, /* through the raw view, as a backup program does */
	DISCARDED,
	SUPPLANTED, /* written and kept again, then another file takes its name */
	REOPENED, /* for reading, until its opens ask nobody; then somebody writes */
};
#define OPERATIONS (REOPENED + 1)
extern const char *const operation_names[OPERATIONS];

struct work {
	enum operation operation;
	size_t size;
	unsigned int seed;
	char name[32], other[32]; /* other: of RENAMED, LINKED, REPLACED */
	/* Progress: under the clock, which the test keeps; 0 not yet. */
	size_t begun, durable;
};

enum found {
	OLD,	 /* what it was */
	CHANGED, /* what the operation makes of it */
	HALF,	 /* parts of both: only while the application itself was writing */
	/* Faults. */
	WRONG,	   /* neither, though it must be one */
	FORGOTTEN, /* the old one, though the new one was durable */
	CLEAR,	   /* plaintext lies there */
	DAMAGED,   /* TAKA that is not authentic */
};
#define FOUND_KINDS (DAMAGED + 1)
extern const char *const found_names[FOUND_KINDS];
static inline bool is_fault(enum found found)
{
	return found >= WRONG;
}

void work_name(struct work *work, enum operation operation, size_t size, unsigned int seed);
/* What is there before; through the agent, which has to settle afterwards. */
bool work_prepare(const struct rig *rig, const struct work *work);
/* Removes what is left of it. */
void work_clear(const struct rig *rig, const struct work *work);
/* In the calling process.  clock: read at the beginning and when all is durable; NULL: one that ticks by
 * itself. */
void work_do(const struct rig *rig, struct work *work, size_t (*clock)(void *), void *ctx);
/* Looks at the disk, past the agent.  now: the clock at the fault; SIZE_MAX: after everything. */
enum found work_look(const struct rig *rig, const struct work *work, size_t now);

#endif
