// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/boxes.c - puts boxes together; boxes.h says what they are.
 */
#include "loader/study/boxes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void box_free(struct tk_box *box)
{
	for (int dim = 0; dim < TK_DIMS; dim++)
		free(box->in[dim]);
}

void tk_boxes_free(struct tk_boxes *boxes)
{
	for (size_t i = 0; i < boxes->count; i++)
		box_free(&boxes->items[i]);
	free(boxes->items);
	*boxes = (struct tk_boxes){0};
}

int tk_boxes_add(struct tk_boxes *boxes, const size_t at[TK_DIMS], uint8_t effects[TK_SIDES][TK_ACTION_COUNT])
{
	struct tk_box box = {0};

	if (!(boxes->count & (boxes->count - 1))) { /* doubles at each power of two */
		struct tk_box *larger =
			reallocarray(boxes->items, boxes->count ? 2 * boxes->count : 1, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		boxes->items = larger;
	}
	memcpy(box.effects, effects, sizeof(box.effects));
	for (int dim = 0; dim < TK_DIMS; dim++) {
		box.in[dim] = calloc(boxes->sizes[dim], 1);
		if (!box.in[dim]) {
			box_free(&box);
			return -ENOMEM;
		}
		box.in[dim][at[dim]] = 1;
	}
	boxes->items[boxes->count++] = box;
	return 0;
}

static bool alike_but_for(const struct tk_boxes *boxes, const struct tk_box *a, const struct tk_box *b,
			  enum tk_dim but)
{
	if (memcmp(a->effects, b->effects, sizeof(a->effects)))
		return false;
	for (int dim = 0; dim < TK_DIMS; dim++) {
		if (dim != (int)but && memcmp(a->in[dim], b->in[dim], boxes->sizes[dim]))
			return false;
	}
	return true;
}

void tk_boxes_merge(struct tk_boxes *boxes, size_t first, enum tk_dim dim)
{
	size_t kept = first;

	for (size_t i = first; i < boxes->count; i++) {
		struct tk_box *box = &boxes->items[i];
		size_t other = first;

		while (other < kept && !alike_but_for(boxes, &boxes->items[other], box, dim))
			other++;
		if (other == kept) {
			boxes->items[kept++] = *box;
			continue;
		}
		for (size_t j = 0; j < boxes->sizes[dim]; j++)
			boxes->items[other].in[dim][j] |= box->in[dim][j];
		box_free(box);
	}
	boxes->count = kept;
}
