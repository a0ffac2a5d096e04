// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/lost.c - records with content whose file the kernel does not find.  Owns the question whether
 * it was deleted, when they are not needed any more, or cannot be read, when they may be all that is left of
 * it.
 *
 * The kernel calls both stale (exportfs_decode_fh()).  But what was deleted has no name: the sweep meets all
 * names in the guard points, and who has none there was deleted.  A kept file's record (kept.c) gets here
 * when the machine or the agent dies just after the file was deleted.  After the machine's death the name may
 * be what was lost, and then the record is set aside.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/agent/record.h"

struct tk_lost {
	struct tk_record record;
	bool seen; /* it has a name, and could not be opened by it once: no more is concluded */
	bool told;
	struct tk_lost *next;
};

int tk_lost_add(struct tk_volume *volume, const struct tk_record *record)
{
	struct tk_lost *lost;

	for (lost = volume->lost; lost; lost = lost->next)
		if (tk_handle_same(&lost->record.handle, &record->handle)) { /* by an earlier try */
			lost->record = *record; /* which has perhaps another name since */
			return 0;
		}
	lost = calloc(1, sizeof(*lost));
	if (!lost)
		return -ENOMEM;
	lost->record = *record;
	lost->next = volume->lost;
	volume->lost = lost;
	return 0;
}

void tk_lost_seen(struct tk_volume *volume, int dir, const char *name, uint64_t ino)
{
	for (struct tk_lost *lost = volume->lost; lost; lost = lost->next) {
		struct tk_handle handle;
		TK_AUTO_FD fd = -1;

		if (lost->record.inode.ino != ino || lost->seen)
			continue;
		/* A file of another handle is another one, which has got the number since. */
		fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		lost->seen = fd < 0 || tk_handle_of(fd, "", &handle) ||
			     tk_handle_same(&handle, &lost->record.handle);
	}
}

/* Nobody could carry a file out of its guard point while that was one; afterwards anywhere. */
static bool still_guarded(struct tk_agent *agent, const struct tk_volume *volume, const struct tk_lost *lost)
{
	TK_HOLD_READ(&agent->policy_lock);

	for (size_t i = 0; i < agent->now.count; i++)
		if (agent->now.items[i].volume == volume &&
		    !strcmp(agent->now.items[i].recipe.guard, lost->record.recipe.guard))
			return true;
	return false;
}

/* Deleted under this agent's eyes or its predecessor's; or the machine has died since, and then who knows. */
static int remove_deleted(struct tk_agent *agent, struct tk_volume *volume, const struct tk_lost *lost)
{
	char name[TK_RECORD_NAME], file[160];
	enum tk_file_state state;
	int err;

	/* Before: without its record no later agent would ask the kernel for it. */
	err = tk_kernel_state(agent->kernel, &lost->record.inode, &state);
	if (!err && state != TK_SEALED)
		err = tk_kernel_set_state(agent->kernel, &lost->record.inode, TK_SEALED);
	if (err)
		return err;
	if (lost->record.this_boot) {
		err = tk_volume_flush(volume); /* or the file might come back, and no record */
		err = err ? err : tk_record_remove(volume, &lost->record);
	} else {
		err = tk_record_aside(volume, &lost->record, name);
		snprintf(file, sizeof(file), "inode %llu of guard point %s, which is gone",
			 (unsigned long long)lost->record.inode.ino, lost->record.recipe.guard);
		if (!err)
			tk_report_aside(agent, volume, name, file);
	}
	return err;
}

void tk_lost_conclude(struct tk_agent *agent, struct tk_volume *volume, bool whole)
{
	struct tk_lost **at = &volume->lost;

	while (*at) {
		struct tk_lost *lost = *at;

		if (whole && !lost->seen && still_guarded(agent, volume, lost) &&
		    !remove_deleted(agent, volume, lost)) {
			*at = lost->next;
			free(lost);
			continue;
		}
		if (!lost->told)
			tk_report(agent,
				  "%s: record %s of the journal cannot be used and is kept: its file cannot "
				  "be read"
				  " (check the filesystem, then start the agent again)"
				  " or was deleted (then remove the record)",
				  volume->point, lost->record.name);
		lost->told = true;
		atomic_store(&agent->set_aside, true); /* as far as its key goes */
		at = &lost->next;
	}
}
