// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/settle.c - for who waits until all that is closed is sealed.  Owns what counts as that; changes
 * nothing but when a file's turn comes.
 */
#include <stdlib.h>

#include "loader/agent/agent.h"

void tk_files_hurry(struct tk_agent *agent)
{
	TK_HOLD(&agent->lock);

	for (size_t i = 0; i < TK_TABLE_SIZE; i++)
		for (struct tk_file *file = agent->table[i]; file; file = file->hash_next) {
			if (file->linger)
				tk_file_queue(agent, file);
			file->linger = 0;
		}
}

/* Somebody who is not counted has kept it from being sealed for so long that he must have it open. */
static bool held_uncounted(const struct tk_file *file)
{
	return file->state == TK_OPEN && file->attempts > 8 && !file->settled_error;
}

static bool unsettled_itself(const struct tk_agent *agent, const struct tk_file *file)
{
	/* Sealed it is; but who waits for all to be settled wants it to be durable without its record. */
	if (file->state == TK_KEPT && !file->running && !file->queued)
		return (atomic_load(&agent->settling) || atomic_load(&agent->stopping)) &&
		       !atomic_load(&file->volume->read_only);
	return !held_uncounted(file) &&
	       (file->running || file->queued || file->plain || file->state != TK_SEALED);
}

size_t tk_files_unsettled(struct tk_agent *agent, size_t enough)
{
	struct tk_inode *inodes = NULL;
	size_t count = 0, unsettled = 0;

	{
		TK_HOLD(&agent->lock);
		inodes = malloc((agent->file_count + 1) * sizeof(*inodes));
		if (!inodes)
			return agent->file_count;
		for (size_t i = 0; i < TK_TABLE_SIZE; i++)
			for (struct tk_file *file = agent->table[i]; file; file = file->hash_next)
				if (unsettled_itself(agent, file))
					inodes[count++] = file->inode;
	}
	for (size_t i = 0; i < count && unsettled < enough; i++) {
		struct tk_file_counts counts;
		enum tk_file_state state;

		if (!tk_kernel_counts(agent->kernel, &inodes[i], &counts) &&
		    !tk_kernel_state(agent->kernel, &inodes[i], &state) &&
		    (!counts.plain || state == TK_SEALING || state == TK_KEPT))
			unsettled++;
	}
	free(inodes);
	return unsettled;
}
