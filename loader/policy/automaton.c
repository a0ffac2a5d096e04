// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/automaton.c - all resource patterns of a policy as one automaton
 * that reads a path backwards: pattern tokens, reversed, become the nodes of a
 * nondeterministic automaton, and subset construction makes it deterministic.
 *
 * Subset construction can grow without measure, so work, memory and states are
 * bounded; a policy past a bound is refused, naming the pattern that crossed it.
 */
#include <errno.h>
#include <string.h>

#include "loader/policy/internal.h"

#define NODES_MAX 65536	      /* of the nondeterministic automaton */
#define WORK_MAX (1 << 26)    /* node steps: under a second */
#define MEMBERS_MAX (1 << 22) /* node numbers kept for all states */
#define HASH_SIZE (4 * TK_MAX_STATES)

enum node_kind {
	NODE_ONE,    /* takes one byte out of a set */
	NODE_STAR,   /* takes any bytes but '/', or none */
	NODE_DSTAR,  /* takes any bytes, or none */
	NODE_DIRS,   /* takes '/' into the next node, a NODE_DSTAR, or passes both over */
	NODE_END,    /* accepts when the path ends here */
	NODE_ALWAYS, /* accepts whatever else comes */
};

struct node {
	enum node_kind kind;
	uint32_t set;
	const struct tk_token *token; /* NODE_ONE */
};

/*
 * The first nodes are shared by all patterns of a set: NODE_END of set s is node s, NODE_ALWAYS is
 * node TK_MAX_SETS + s.
 */
#define NODE_END_OF(set) (set)
#define NODE_ALWAYS_OF(set) (TK_MAX_SETS + (set))
#define NODE_FIRST (2 * TK_MAX_SETS)

struct row {
	uint32_t *members; /* nodes, ascending */
	size_t count;
	uint16_t next[256]; /* by class of bytes */
};

struct builder {
	struct node *nodes;
	size_t node_count;
	uint32_t *starts; /* first node of each pattern */
	size_t start_count;
	uint8_t class_of[256];	     /* bytes that no token tells apart share a class */
	uint8_t representative[256]; /* a byte of each class */
	unsigned int class_count;
	struct row *rows; /* by state number; rows[0] is empty */
	size_t row_count;
	uint16_t hash[HASH_SIZE]; /* state number, 0: free */
	uint32_t *marks;	  /* by node: the last round it was added in */
	uint32_t round;
	uint32_t *gathered; /* the set being put together */
	size_t gathered_count;
	size_t work, members;
};

static void builder_free(struct builder *b)
{
	for (size_t i = 0; i < b->row_count; i++)
		free(b->rows[i].members);
	free(b->rows);
	free(b->nodes);
	free(b->starts);
	free(b->marks);
	free(b->gathered);
	*b = (struct builder){0};
}

/* ---------------------------------------------------------------- nodes */

static void node_add(struct builder *b, enum node_kind kind, uint32_t set, const struct tk_token *token)
{
	b->nodes[b->node_count++] = (struct node){.kind = kind, .set = set, .token = token};
}

/* Nodes that a pattern needs at most: two for each token, one for its end. */
static size_t pattern_nodes(const struct tk_model_pattern *pattern)
{
	return 2 * pattern->glob->count + 1;
}

static void pattern_add(struct builder *b, const struct tk_model_pattern *pattern)
{
	b->starts[b->start_count++] = (uint32_t)b->node_count;
	for (size_t i = pattern->glob->count; i-- > 0;) {
		const struct tk_token *token = &pattern->glob->tokens[i];

		switch (token->kind) {
		case TK_ONE:
			node_add(b, NODE_ONE, pattern->set, token);
			break;
		case TK_STAR:
			node_add(b, NODE_STAR, pattern->set, NULL);
			break;
		case TK_DSTAR:
			node_add(b, NODE_DSTAR, pattern->set, NULL);
			break;
		case TK_DIRS:
			node_add(b, NODE_DIRS, pattern->set, NULL);
			node_add(b, NODE_DSTAR, pattern->set, NULL);
			break;
		}
	}
	node_add(b, NODE_END, pattern->set, NULL);
}

/* -E2BIG with *ret_culprit. */
static int nodes_build(struct builder *b, const struct tk_model *model, size_t pattern_count,
		       size_t *ret_culprit)
{
	size_t room = NODE_FIRST;

	for (size_t i = 0; i < pattern_count; i++) {
		room += pattern_nodes(&model->patterns[i]);
		if (room > NODES_MAX) {
			*ret_culprit = i;
			return -E2BIG;
		}
	}
	b->nodes = calloc(room, sizeof(*b->nodes));
	b->marks = calloc(room, sizeof(*b->marks));
	b->gathered = calloc(room, sizeof(*b->gathered));
	b->starts = calloc(pattern_count + 1, sizeof(*b->starts));
	b->rows = calloc(TK_MAX_STATES, sizeof(*b->rows));
	if (!b->nodes || !b->marks || !b->gathered || !b->starts || !b->rows)
		return -ENOMEM;
	for (uint32_t set = 0; set < TK_MAX_SETS; set++)
		node_add(b, NODE_END, set, NULL);
	for (uint32_t set = 0; set < TK_MAX_SETS; set++)
		node_add(b, NODE_ALWAYS, set, NULL);
	for (size_t i = 0; i < pattern_count; i++)
		pattern_add(b, &model->patterns[i]);
	return 0;
}

/* Splits every class into the bytes that a token takes and those it does not. */
static void classes_split(struct builder *b, const struct tk_token *token)
{
	int halves[256][2];

	memset(halves, -1, sizeof(halves));
	/* The half met first keeps the class's number. */
	for (unsigned int byte = 0; byte < 256; byte++) {
		int *half = halves[b->class_of[byte]];
		bool taken = tk_token_takes(token, (unsigned char)byte);

		if (half[taken] < 0)
			half[taken] = half[!taken] < 0 ? b->class_of[byte] : (int)b->class_count++;
		b->class_of[byte] = (uint8_t)half[taken];
	}
}

static void classes_build(struct builder *b)
{
	static const struct tk_token slash = {.bytes = {1ull << '/'}};

	b->class_count = 1;
	classes_split(b, &slash);
	for (size_t i = 0; i < b->node_count; i++) {
		if (b->nodes[i].kind == NODE_ONE)
			classes_split(b, b->nodes[i].token);
	}
	for (unsigned int byte = 0; byte < 256; byte++)
		b->representative[b->class_of[byte]] = (uint8_t)byte;
}

/* ---------------------------------------------------------------- sets of nodes */

/* False when the node is in the set already. */
static bool gather(struct builder *b, uint32_t index)
{
	b->work++;
	if (b->marks[index] == b->round)
		return false;
	b->marks[index] = b->round;
	b->gathered[b->gathered_count++] = index;
	return true;
}

/* Adds a node, and those after it which are reached without a byte. */
static void gather_from(struct builder *b, uint32_t index)
{
	for (;;) {
		const struct node *node = &b->nodes[index];

		switch (node->kind) {
		case NODE_ONE:
		case NODE_ALWAYS:
			gather(b, index);
			return;
		case NODE_END:
			gather(b, NODE_END_OF(node->set));
			return;
		case NODE_DSTAR:
			/* At a pattern's end it takes all that may come: nothing more to know. */
			if (node[1].kind == NODE_END) {
				gather(b, NODE_ALWAYS_OF(node->set));
				return;
			}
			break;
		case NODE_STAR:
		case NODE_DIRS:
			break;
		}
		/* A node that is in the set brought those after it along. */
		if (!gather(b, index))
			return;
		index += node->kind == NODE_DIRS ? 2 : 1;
	}
}

static void node_step(struct builder *b, uint32_t index, unsigned char byte)
{
	const struct node *node = &b->nodes[index];

	b->work++;
	switch (node->kind) {
	case NODE_ONE:
		if (tk_token_takes(node->token, byte))
			gather_from(b, index + 1);
		break;
	case NODE_STAR:
		if (byte != '/')
			gather_from(b, index);
		break;
	case NODE_DIRS:
		if (byte == '/')
			gather_from(b, index + 1);
		break;
	case NODE_DSTAR:
	case NODE_ALWAYS:
		gather_from(b, index);
		break;
	case NODE_END:
		break;
	}
}

static int index_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Once a set accepts whatever comes, its other nodes add nothing: fewer states. */
static void gathered_finish(struct builder *b)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->gathered_count; i++) {
		uint32_t index = b->gathered[i], always = NODE_ALWAYS_OF(b->nodes[index].set);

		if (index == always || b->marks[always] != b->round)
			b->gathered[kept++] = index;
	}
	b->gathered_count = kept;
	qsort(b->gathered, kept, sizeof(*b->gathered), index_compare);
}

/* The state that stands for the gathered set, a new one when needed.  -E2BIG past a bound. */
static int state_of_gathered(struct builder *b, uint16_t *ret_state)
{
	size_t size = b->gathered_count * sizeof(*b->gathered);
	uint32_t hash = 2166136261u;
	struct row *row;

	if (!b->gathered_count) {
		*ret_state = TK_STATE_DEAD;
		return 0;
	}
	for (size_t i = 0; i < b->gathered_count; i++)
		hash = (hash ^ b->gathered[i]) * 16777619u;
	hash = (hash ^ hash >> 15) % HASH_SIZE;
	for (; b->hash[hash]; hash = (hash + 1) % HASH_SIZE) {
		row = &b->rows[b->hash[hash]];
		if (row->count == b->gathered_count && !memcmp(row->members, b->gathered, size)) {
			*ret_state = b->hash[hash];
			return 0;
		}
	}
	b->members += b->gathered_count;
	if (b->row_count == TK_MAX_STATES || b->members > MEMBERS_MAX)
		return -E2BIG;
	row = &b->rows[b->row_count];
	row->members = malloc(size);
	if (!row->members)
		return -ENOMEM;
	memcpy(row->members, b->gathered, size);
	row->count = b->gathered_count;
	b->hash[hash] = *ret_state = (uint16_t)b->row_count++;
	return 0;
}

static void gathered_start(struct builder *b)
{
	b->round++;
	b->gathered_count = 0;
}

/* Subset construction over the first `pattern_count` patterns. */
static int rows_build(struct builder *b, const struct tk_model *model, size_t pattern_count,
		      size_t *ret_culprit)
{
	uint16_t start;
	int r;

	*ret_culprit = pattern_count - 1;
	r = nodes_build(b, model, pattern_count, ret_culprit);
	if (r < 0)
		return r;
	classes_build(b);
	b->row_count = 1;
	gathered_start(b);
	for (size_t i = 0; i < b->start_count; i++)
		gather_from(b, b->starts[i]);
	gathered_finish(b);
	r = state_of_gathered(b, &start);
	for (size_t state = TK_STATE_START; r >= 0 && state < b->row_count; state++) {
		for (unsigned int class = 0; r >= 0 && class < b->class_count; class ++) {
			gathered_start(b);
			for (size_t i = 0; i < b->rows[state].count; i++)
				node_step(b, b->rows[state].members[i], b->representative[class]);
			gathered_finish(b);
			r = state_of_gathered(b, &b->rows[state].next[class]);
			if (b->work > WORK_MAX)
				r = -E2BIG;
		}
	}
	return r;
}

/* ---------------------------------------------------------------- the result */

static int states_write(const struct builder *b, struct tk_compiled *compiled)
{
	struct tk_state *states = calloc(b->row_count, sizeof(*states));

	if (!states)
		return -ENOMEM;
	for (size_t i = 1; i < b->row_count; i++) {
		const struct row *row = &b->rows[i];

		for (unsigned int byte = 0; byte < 256; byte++)
			states[i].next[byte] = row->next[b->class_of[byte]];
		for (size_t j = 0; j < row->count && row->members[j] < NODE_FIRST; j++) {
			uint32_t set = b->nodes[row->members[j]].set;

			states[i].sets[set / 64] |= 1ull << (set % 64);
		}
	}
	free(compiled->states);
	compiled->states = states;
	compiled->state_count = b->row_count;
	return 0;
}

/* The pattern with which the bounds are first passed: states only grow with patterns, so halve the range. */
static size_t find_culprit(const struct tk_model *model, size_t culprit)
{
	size_t good = 0, bad = culprit + 1;

	while (bad - good > 1) {
		size_t middle = good + (bad - good) / 2, ignored;
		struct builder b = {0};
		int r = rows_build(&b, model, middle, &ignored);

		builder_free(&b);
		if (r == -E2BIG)
			bad = middle;
		else
			good = middle;
	}
	return bad - 1;
}

static void report_culprit(struct tk_report *report, const struct tk_model *model, size_t culprit)
{
	const struct tk_model_pattern *pattern = &model->patterns[culprit];
	const struct tk_place *sets = TK_AT_KEY(NULL, tk_section_names[TK_RESOURCE_SETS]);
	const struct tk_place *set = TK_AT_KEY(sets, model->sets[TK_RESOURCE_SETS][pattern->set].name);

	tk_error(report, TK_AT(TK_AT_KEY(set, "paths"), pattern->index),
		 "with this pattern the resource sets need more than %d automaton states "
		 "(fewer patterns, or fewer stars before a literal, need fewer)",
		 TK_MAX_STATES);
}

void tk_automaton_build(struct tk_report *report, const struct tk_model *model, struct tk_compiled *compiled)
{
	struct builder b = {0};
	size_t culprit;
	int r;

	if (!model->pattern_count) {
		/* Nothing accepts; the start state must exist all the same. */
		compiled->states = calloc(2, sizeof(*compiled->states));
		compiled->state_count = 2;
		if (!compiled->states)
			report->no_memory = true;
		return;
	}
	r = rows_build(&b, model, model->pattern_count, &culprit);
	if (r >= 0)
		r = states_write(&b, compiled);
	builder_free(&b);
	if (r == -ENOMEM)
		report->no_memory = true;
	else if (r < 0)
		report_culprit(report, model, find_culprit(model, culprit));
}

void tk_resource_sets(const struct tk_compiled *compiled, const char *path, uint64_t ret_sets[TK_SET_WORDS])
{
	size_t state = TK_STATE_START;

	for (size_t i = strlen(path); i-- > 0;)
		state = compiled->states[state].next[(unsigned char)path[i]];
	memcpy(ret_sets, compiled->states[state].sets, sizeof(compiled->states[state].sets));
}
