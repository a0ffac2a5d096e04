/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/learn_internal.h - what learn.c and learn_write.c share.
 */
#ifndef TK_LOADER_LEARN_INTERNAL_H
#define TK_LOADER_LEARN_INTERNAL_H

#include "loader/study/learn.h"

/* A deed, with indices of names; 0 for times. */
struct tk_sighting {
	size_t at[TK_DIMS];
	uint32_t action;
	bool key, foreign_code;
	uint64_t count;
};

/* Sightings as boxes: effects[0] is what each action is permitted with, 0: not seen.  -ENOMEM. */
int tk_lesson_boxes(struct tk_lesson *lesson, struct tk_boxes *boxes);

#endif
