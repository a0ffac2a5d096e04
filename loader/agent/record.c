// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/record.c - a file and its record: the state that the kernel programs are told, the record's
 * coming and going, and the order of the two.  Moves no contents (contents.c); how a record is stored is
 * journal.c's.
 */
#include "loader/agent/record.h"

#include <errno.h>
#include <fcntl.h>

int tk_file_set_state(struct tk_agent *agent, struct tk_file *file, enum tk_file_state state)
{
	/* Nobody may write while a crash would undo it: an opener the agent has not answered, truncate(2). */
	enum tk_file_state told = state == TK_OPEN && !file->writable ? TK_OPEN_READ : state;
	int err = tk_kernel_set_state(agent->kernel, &file->inode, told);

	if (!err)
		file->state = state;
	return err;
}

struct tk_record tk_record_for(const struct tk_file *file, enum tk_record_state state, const struct stat *st)
{
	return (struct tk_record){
		.state = state,
		.inode = file->inode,
		.handle = file->handle,
		.atime = st->st_atim,
		.mtime = st->st_mtim,
		.recipe = file->recipe,
	};
}

/* A change in the vault that could not be made durable when it was made. */
int tk_file_sync_vault(struct tk_file *file)
{
	if (file->unsynced && fsync(file->volume->vault))
		return -errno;
	file->unsynced = false;
	return 0;
}

int tk_file_unlink(struct tk_file *file)
{
	int err;

	if (!file->has_record)
		return 0;
	err = tk_record_unlink(file->volume, &file->record);
	if (err)
		return err;
	file->has_record = false;
	/* A raw view may write the file next, and that must not be undone by a record that comes back. */
	file->unsynced = file->unsynced || !file->record.fresh;
	return 0;
}

int tk_file_forget(struct tk_file *file)
{
	int err = tk_file_unlink(file);

	return err ? err : tk_file_sync_vault(file);
}

/* Gives the draft its name.  It may have got it, and be the file's record, when the sync after it failed. */
int tk_file_commit(struct tk_file *file, struct tk_draft *draft, struct tk_record *record, bool durable)
{
	int err = tk_draft_commit(draft, record, durable, file->has_record);

	if (draft->fd < 0) {
		file->record = *record;
		file->has_record = true;
		file->printed = false;
		file->unsynced = err;
	}
	return err;
}

/*
 * The file is what it shall be while nobody has it open: forget the record, then the state.  In that order:
 * once the state is SEALED the raw view may write, and a record that came back would undo that.
 */
int tk_file_sealed(struct tk_agent *agent, struct tk_file *file)
{
	int err = tk_file_forget(file);

	if (err)
		return err;
	file->writable = false;
	file->unsure = false;
	file->must_encrypt = false;
	file->sync_failed = file->recovered = file->doubtful = false;
	file->strange = file->unlooked = file->unguarded = file->saved = file->renewing = false;
	file->inside = false; /* until its next opener */
	file->state = TK_SEALING; /* should the next line fail: put_back() tries it again */
	return tk_file_set_state(agent, file, TK_SEALED);
}

/* Writes the record anew in another state.  When that fails the disk may have either state. */
int tk_file_turn_record(struct tk_file *file, enum tk_record_state state)
{
	int err;

	file->record.state = state;
	file->unsure = true;
	file->writable = false; /* so that the next opener that may write has it made certain */
	err = tk_record_rewrite(file->volume, &file->record);
	if (err)
		return err;
	file->unsure = false;
	file->writable = state == TK_WRITABLE;
	return 0;
}
