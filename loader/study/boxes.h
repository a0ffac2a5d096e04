/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/boxes.h - what holds for some users in some programs on some paths at some
 * times, put together where the same holds: the form in which diff and learn tell things.
 */
#ifndef TK_LOADER_BOXES_H
#define TK_LOADER_BOXES_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

enum tk_dim { TK_DIM_USERS, TK_DIM_PROGRAMS, TK_DIM_PATHS, TK_DIM_TIMES, TK_DIMS };
#define TK_SIDES 2 /* the old policy and the new one */

/* All combinations of the users, programs, paths and times that are `in`. */
struct tk_box {
	uint8_t *in[TK_DIMS];			    /* for each of the dimension: 1 when it is meant */
	uint8_t effects[TK_SIDES][TK_ACTION_COUNT]; /* what holds: enum tk_effect bits */
};

struct tk_boxes {
	struct tk_box *items;
	size_t count;
	size_t sizes[TK_DIMS]; /* set by the caller before the first box */
};

/* A box of one combination.  -ENOMEM. */
int tk_boxes_add(struct tk_boxes *boxes, const size_t at[TK_DIMS],
		 uint8_t effects[TK_SIDES][TK_ACTION_COUNT]);
/* Joins those from `first` on that differ in one dimension alone. */
void tk_boxes_merge(struct tk_boxes *boxes, size_t first, enum tk_dim dim);
void tk_boxes_free(struct tk_boxes *boxes);

#endif
