// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/due.c - which file is to have a turn by itself next.  Owns the order of tk_file.due: a pairing
 * heap (Fredman, Sedgewick, Sleator, Tarjan 1986), which needs no memory of its own and so cannot fail.
 *
 * Each file is due no earlier than its parent, the one at the top first of all.  Children are a list;
 * due_before is the neighbour there, of the first child the parent.
 */
#include "loader/agent/agent.h"

/* Two tops become one; either may be NULL. */
static struct tk_file *meld(struct tk_file *a, struct tk_file *b)
{
	if (!a || !b)
		return a ?: b;
	if (b->due < a->due) {
		struct tk_file *later = a;

		a = b;
		b = later;
	}
	b->due_before = a;
	b->due_next = a->due_child;
	if (b->due_next)
		b->due_next->due_before = b;
	a->due_child = b;
	return a;
}

/* In pairs from the front, then the pairs from the back: that makes it fast in the long run. */
static struct tk_file *meld_all(struct tk_file *list)
{
	struct tk_file *pairs = NULL, *top = NULL, *rest;

	for (; list; list = rest) {
		struct tk_file *one = list, *other = one->due_next;

		rest = other ? other->due_next : NULL;
		one = meld(one, other);
		one->due_next = pairs;
		pairs = one;
	}
	for (; pairs; pairs = rest) {
		rest = pairs->due_next;
		top = meld(top, pairs);
	}
	if (top)
		top->due_next = top->due_before = NULL;
	return top;
}

static void take_out(struct tk_agent *agent, struct tk_file *file)
{
	struct tk_file *children = meld_all(file->due_child), *before = file->due_before;

	if (!before)
		agent->due = NULL;
	else if (before->due_child == file)
		before->due_child = file->due_next;
	else
		before->due_next = file->due_next;
	if (file->due_next)
		file->due_next->due_before = before;
	agent->due = meld(agent->due, children);
	file->due_child = file->due_next = file->due_before = NULL;
}

bool tk_due_set(struct tk_agent *agent, struct tk_file *file, uint64_t due)
{
	if (file->due)
		take_out(agent, file);
	file->due = due;
	if (due)
		agent->due = meld(agent->due, file);
	return agent->due == file;
}
