/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/differential/generate.h - random policies, as text, and random questions
 * about them; the same for the same seed.
 */
#ifndef TK_TESTS_GENERATE_H
#define TK_TESTS_GENERATE_H

#include "tests/differential/interpreter.h"

struct dice {
	uint64_t state;
};

/* A valid policy about the world whose executables are at root.  The caller frees. */
char *generate_policy(struct dice *dice, const char *root);
void generate_question(struct dice *dice, struct question *ret_question);

#endif
