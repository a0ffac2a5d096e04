// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/class_paths.c - finds the classes of paths: walks the resource automata of
 * two policies side by side, over every path there can be.
 */
#include "loader/study/classes.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>

/* Both automata after some bytes, read backwards, and whether the next one may be '/' or the end. */
struct node {
	uint16_t states[TK_SIDES];
	uint32_t before;
	uint8_t byte;
	bool boundary; /* at the start, or behind a '/' */
};
#define NODES_MAX (1u << 18)

struct walk {
	const struct tk_compiled *const *sides;
	struct node *nodes;
	uint32_t *table; /* hash of nodes by their number + 1; 0: free */
	size_t count;
};

static uint32_t *place_of(const struct walk *walk, const struct node *node)
{
	uint64_t hash = (node->states[0] * 8192ull + node->states[1]) * 2 + node->boundary;
	size_t at = (hash * 0x9e3779b97f4a7c15ull) >> 44;

	for (;; at = (at + 1) % (4 * NODES_MAX)) {
		const struct node *other;

		if (!walk->table[at])
			return &walk->table[at];
		other = &walk->nodes[walk->table[at] - 1];
		if (other->boundary == node->boundary &&
		    !memcmp(other->states, node->states, sizeof(node->states)))
			return &walk->table[at];
	}
}
_Static_assert(4 * NODES_MAX == 1u << (64 - 44), "place_of");

static int visit(struct walk *walk, struct node node)
{
	uint32_t *place = place_of(walk, &node);

	if (*place)
		return 0;
	if (walk->count == NODES_MAX)
		return -E2BIG;
	walk->nodes[walk->count++] = node;
	*place = (uint32_t)walk->count;
	return 0;
}

/* Letters first: the example of a class is the path that is found first. */
static uint8_t byte_at(unsigned int index)
{
	return (uint8_t)(index + 'a');
}

static int walk_from(struct walk *walk, uint32_t from)
{
	int r = 0;

	for (unsigned int i = 0; !r && i < 256; i++) {
		struct node next = {.before = from, .byte = byte_at(i)};

		if (!next.byte || (next.byte == '/' && walk->nodes[from].boundary))
			continue;
		next.boundary = next.byte == '/';
		for (int side = 0; side < TK_SIDES; side++)
			next.states[side] =
				walk->sides[side]->states[walk->nodes[from].states[side]].next[next.byte];
		r = visit(walk, next);
	}
	return r;
}

/* Read backwards, so the last byte found is the first of the path. */
static char *path_of(const struct walk *walk, uint32_t index)
{
	size_t len = 0;
	char *path;

	for (uint32_t i = index; i; i = walk->nodes[i].before)
		len++;
	path = malloc(len + 1);
	if (!path)
		return NULL;
	len = 0;
	for (uint32_t i = index; i; i = walk->nodes[i].before)
		path[len++] = (char)walk->nodes[i].byte;
	path[len] = '\0';
	return path;
}

static int class_add(const struct walk *walk, uint32_t index, const struct tk_class_mask *mask,
		     struct tk_classes *classes)
{
	struct tk_class class = {0};
	uint64_t any = 0;
	int r;

	for (int side = 0; side < TK_SIDES; side++) {
		const struct tk_state *state = &walk->sides[side]->states[walk->nodes[index].states[side]];

		for (int word = 0; word < TK_SET_WORDS; word++)
			any |= class.sets[side][word] = state->sets[word] & mask->sets[side][word];
	}
	r = tk_class_add(classes, &class);
	/* The last one's example: made only where it is needed. */
	if (r != 1 || !any)
		return r < 0 ? r : 0;
	classes->items[classes->count - 1].example = path_of(walk, index);
	return classes->items[classes->count - 1].example ? 0 : -ENOMEM;
}

/* Not '/' at the front of a path, but the guard point itself (no byte at all) is one. */
static bool is_path(const struct walk *walk, uint32_t index)
{
	return !index || !walk->nodes[index].boundary;
}

int tk_classes_of_paths(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
			struct tk_classes *ret_classes)
{
	_cleanup_free_ struct node *nodes = calloc(NODES_MAX, sizeof(*nodes));
	_cleanup_free_ uint32_t *table = calloc(4 * NODES_MAX, sizeof(*table));
	struct walk walk = {.sides = sides, .nodes = nodes, .table = table};
	struct tk_classes classes = {0};
	int r = -ENOMEM;

	if (nodes && table)
		r = visit(&walk, (struct node){.states = {TK_STATE_START, TK_STATE_START}, .boundary = true});
	for (uint32_t i = 0; !r && i < walk.count; i++)
		r = walk_from(&walk, i);
	for (uint32_t i = 0; !r && i < walk.count; i++) {
		if (is_path(&walk, i))
			r = class_add(&walk, i, mask, &classes);
	}
	if (r)
		tk_classes_free(&classes);
	else
		*ret_classes = classes;
	return r;
}
