/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/races_self.h - what the operations of one racing process share (races_work.c, races_cut.c).
 */
#ifndef TK_TEST_RACES_SELF_H
#define TK_TEST_RACES_SELF_H

#include "tests/agent/races.h"

struct self {
	struct race *race;
	struct rig *rig;
	unsigned int writer;
	int locks;
	uint64_t random;
	uint64_t block[RACE_BLOCK / 8] __attribute__((aligned(RACE_BLOCK)));
};

/* By chance, below `end`. */
unsigned int chance(struct self *self, unsigned int end);
/* An open that may be used; -1: refused, or let in by the agent's death. */
int open_for(struct self *self, const char *name, int flags, struct fake_file **ret_entry);
enum race_outcome do_read(struct self *self, unsigned int file, const char *name);

/* races_cut.c: with the file's lock, alone */
enum race_outcome do_open_truncated(struct self *self, unsigned int file);
enum race_outcome do_truncate(struct self *self, unsigned int file);
enum race_outcome do_replace(struct self *self, unsigned int file);
enum race_outcome do_unlink(struct self *self, unsigned int file);
enum race_outcome do_rename(struct self *self, unsigned int file);

#endif
