/* SPDX-License-Identifier: GPL-2.0 */
/* tests/agent/kept_test.h - what the tests of kept files share: kept_test.c makes them and uses them,
 * kept_trouble_test.c has what goes wrong,
 * kept_unguarded_test.c what is done to them while nothing guards them,
 * kept_waits_test.c who waits for them, or for what they take. */
#ifndef TK_TEST_KEPT_H
#define TK_TEST_KEPT_H

#include "tests/agent/rig.h"

#define KEPT_SIZE 20000

bool kept_read(const struct rig *rig, const char *name);
bool kept_becomes(const struct rig *rig, const char *name, uint32_t state);
bool kept_new(const struct rig *rig, const char *name, unsigned int seed);
/* In a child of the user who gets the raw view; what is written there.  0, an errno, or more than that. */
int kept_raw(const struct rig *rig, const char *name, int flags, const void *bytes, size_t size);
/* Bytes the agent has written so far, or shared with a file. */
uint64_t kept_moved(const struct rig *rig);
/* How many records were set aside; they are removed. */
int kept_asides(const struct rig *rig);
/* How many files' own contents were kept, all of which are just these bytes (-1: others are, too); they are removed. */
int kept_found(const struct rig *rig, const void *bytes, size_t size);
/* On a rig with an agent, and left so. */
void kept_trouble_tests(struct rig *rig);
void kept_unguarded_tests(struct rig *rig);
void kept_waits_tests(struct rig *rig);

#endif
