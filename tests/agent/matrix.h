/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/matrix.h - the crash matrix: every fault at every step of every operation on files of
 * every size, and what was found afterwards, counted.
 */
#ifndef TK_TEST_MATRIX_H
#define TK_TEST_MATRIX_H

#include "tests/agent/work.h"

struct tally {
	const char *fs, *fault;
	unsigned long points;		  /* faults that happened */
	unsigned long files;		  /* looked at after them */
	unsigned long found[FOUND_KINDS]; /* of these files */
	unsigned long left;		  /* points after which the journal was not empty */
	unsigned long broken; /* points after which no agent recovered, or no filesystem mounted */
	unsigned long torn;   /* points after which the filesystem was none any more */
};

extern const size_t matrix_sizes[];
extern const size_t matrix_size_count;

/* One of how many points is tried; 1: all. */
struct extent {
	unsigned int faults, kills, cuts;
	bool large; /* sizes beyond a mebibyte as well */
	bool only_rekey;
};

/* The one of that fault; fault is static text. */
struct tally *tally_new(const char *fs, const char *fault);
void tally_found(struct tally *tally, const struct work *work, enum found found, const char *where);
/*
 * Mounts the rig's disk after a power cut.  Filesystems trust their disks to write some of their own blocks whole (ext4
 * its superblock, whose checksum is in the second sector), and may not be mounted when one was torn, whatever was done in
 * them.  That is counted and no failure, unless it is frequent: then it is something else.
 */
bool tally_mounts(struct tally *tally, struct rig *rig, bool torn, const char *where);
/* Whether this point is among those that are tried; the same ones each time. */
bool chosen(unsigned int one_in, const char *fs, unsigned int a, unsigned int b, unsigned int c);

/* fault_test.c, power_test.c, rekey_test.c */
void fault_matrix(const char *fs, const struct extent *extent);
void power_matrix(const char *fs, const struct extent *extent);
void rekey_matrix(const char *fs, const struct extent *extent);

/* The filesystems side by side.  False when anything was wrong, or nothing was tried. */
bool crash_matrix(const char *const *fs, size_t count, const struct extent *extent);

#endif
