// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/recover.c - completes or undoes what an earlier agent left in the
 * journal, before anybody is let in.  Owns the reading of a whole vault; the moves
 * themselves are ordinary turns (turn.c) of files that begin in the middle.
 *
 *	record		kernel says	then
 *	RESTORE		OPEN		the agent was killed, readers go on: adopted as it is
 *	RESTORE		KEPT		the file is the payload: nothing is put back, the record is released
 *	RESTORE		anything else	the payload is put back; torn.c looks first at what that would undo
 *	WRITABLE	OPEN		adopted; sealed after the last close
 *	WRITABLE	anything else	the file's own content is the truth: adopted if somebody has it
 *					open, else sealed
 *	WRITABLE, of a file that is gone	forgotten
 *	RESTORE, of a file that is gone	kept until it is known to be deleted: lost.c
 *	damaged				reported and kept aside
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "loader/agent/record.h"

#define DAMAGED "damaged-"
#define DRAFT "tmp-"

/*
 * Device numbers change from boot to boot on some filesystems, and the name is made of one.  Another record may have the
 * name, from a boot with that number: it gets the former one in exchange, and is then to be recovered by that.
 */
static int name_anew(struct tk_volume *volume, struct tk_record *record, const struct tk_record *named,
		     char *ret_taken)
{
	int vault = volume->vault;

	if (strcmp(named->name, record->name) &&
	    renameat2(vault, record->name, vault, named->name, RENAME_NOREPLACE)) {
		if (errno != EEXIST || renameat2(vault, record->name, vault, named->name, RENAME_EXCHANGE))
			return -errno;
		memcpy(ret_taken, named->name, TK_RECORD_NAME);
	}
	*record = *named;
	return 0;
}

/* A file of the table that begins in the middle.  Its first turn goes on from there.  holds: the payload. */
static void begin(struct tk_agent *agent, struct tk_file *file, bool holds)
{
	enum tk_file_state state = TK_SEALED;
	bool is_open;

	tk_kernel_state(agent->kernel, &file->inode, &state);
	is_open = state == TK_OPEN || state == TK_OPEN_READ;
	file->has_record = file->recovered = file->doubtful = true;
	/*
	 * A file that the programs remember otherwise they have watched; a kept one is its payload, or something is wrong.
	 * But what they remember of one that is not open may be from an agent that has met it so, and died before torn.c could look.
	 */
	file->strange = state == TK_SEALED || state == TK_KEPT || file->record.unguarded;
	file->unlooked = !is_open || file->record.unguarded;
	file->unguarded = file->record.unguarded;
	if (is_open || file->record.state == TK_WRITABLE) {
		/* Only the entry of an open file remembers whether it was written to. */
		file->must_encrypt = !is_open;
		file->writable = file->record.state == TK_WRITABLE;
		file->state = TK_OPEN;
		tk_kernel_set_state(agent->kernel, &file->inode, file->writable ? TK_OPEN : TK_OPEN_READ);
	} else if (state == TK_KEPT && holds) {
		file->state = TK_KEPT;
	} else {
		file->state = TK_SEALING;
		/* Refused when a descriptor from before is left; then it is UNSEALING, which does as well. */
		if (tk_kernel_set_state(agent->kernel, &file->inode, TK_SEALING))
			tk_kernel_set_state(agent->kernel, &file->inode, TK_UNSEALING);
	}
	TK_HOLD(&agent->lock);
	tk_file_insert(agent, file);
	tk_file_queue(agent, file);
}

/* That nothing guarded its file is said of this time alone, and yet until the record has gone, which may take a while. */
static int note_unguarded(struct tk_agent *agent, struct tk_volume *volume, struct tk_record *record)
{
	enum tk_file_state state = TK_SEALED;

	tk_kernel_state(agent->kernel, &record->inode, &state);
	if (state != TK_SEALED || record->state != TK_RESTORE || record->unguarded)
		return 0;
	record->unguarded = true;
	return tk_record_rewrite(volume, record);
}

static int recover_file(struct tk_agent *agent, struct tk_volume *volume, struct tk_record *record,
			bool unguarded, char *ret_taken)
{
	TK_AUTO_FD fd = tk_handle_open(volume, &record->handle, O_RDONLY | O_NOATIME | O_NONBLOCK);
	struct tk_record named = *record;
	struct tk_file *file;
	bool known, holds;
	int err;

	if (fd == -ESTALE || fd == -ENOENT) {
		/* Deleted, and nobody has it open any more; or worse, and the payload is all that is left of it. */
		if (record->state == TK_RESTORE && record->payload_size)
			return -ESTALE;
		tk_kernel_set_state(agent->kernel, &record->inode, TK_SEALED);
		return tk_record_remove(volume, record);
	}
	if (fd < 0)
		return fd;
	err = tk_inode_in(volume, fd, &named.inode);
	if (err)
		return err;
	tk_record_name(&named);
	{
		TK_HOLD(&agent->lock);
		known = tk_file_find(agent, &named.inode);
	}
	if (known) /* taken over already, by an earlier try; or there are two of it */
		return strcmp(named.name, record->name) ? -EBADMSG : 0;
	err = name_anew(volume, record, &named, ret_taken);
	if (!err)
		err = tk_file_make(volume, &record->inode, fd, &file);
	if (err)
		return err;
	holds = tk_record_holds(volume, record, fd) > 0;
	if (unguarded && !holds)
		err = note_unguarded(agent, volume, record);
	if (err) {
		tk_file_free(file);
		return err;
	}
	file->record = *record;
	file->recipe = record->recipe;
	begin(agent, file, holds);
	return 0;
}

static int recover_record(struct tk_agent *agent, struct tk_volume *volume, const char *name, bool unguarded,
			  char *ret_taken)
{
	char aside[TK_RECORD_NAME + sizeof(DAMAGED)];
	struct tk_record record;
	int err;

	if (!strncmp(name, DRAFT, strlen(DRAFT))) {
		unlinkat(volume->vault, name, 0); /* never became a record: the file was not touched */
		return 0;
	}
	if (tk_record_is_aside(name) || tk_record_is_found(name)) {
		(tk_record_is_aside(name) ? tk_report_aside : tk_report_found)(agent, volume, name, "a file");
		return 0;
	}
	err = tk_record_read(volume, name, &record);
	if (err == -ENODATA) {
		unlinkat(volume->vault, name, 0);
		return 0;
	}
	if (!err)
		err = recover_file(agent, volume, &record, unguarded, ret_taken);
	if (err == -ESTALE)
		return tk_lost_add(volume, &record);
	if (!err)
		return 0;
	if (err == -EBADMSG && strncmp(name, DAMAGED, strlen(DAMAGED))) {
		snprintf(aside, sizeof(aside), DAMAGED "%.*s", TK_RECORD_NAME - 1, name);
		renameat2(volume->vault, name, volume->vault, aside, RENAME_NOREPLACE);
	}
	tk_report(agent, "%s: record %s of the journal cannot be used and is kept: %s", volume->point, name,
		  tk_strerror(err));
	atomic_store(&agent->set_aside, true); /* as far as its key goes */
	return err == -EBADMSG ? 0 : err;
}

/*
 * 0, also for what is reported and kept for good; -errno: try the volume again later.  Each exchange leaves one record
 * more with its right name, and another one under this.  The former is a worker's by then: its name is not for us any more.
 */
static int recover_name(struct tk_agent *agent, struct tk_volume *volume, char **names, size_t count, bool unguarded)
{
	int err = 0;

	for (size_t exchanges = 0; exchanges < count; exchanges++) {
		char taken[TK_RECORD_NAME] = "";

		err = recover_record(agent, volume, names[0], unguarded, taken) ?: err;
		if (!*taken)
			break;
		for (size_t i = 1; i < count; i++)
			if (!strcmp(names[i], taken))
				*names[i] = '\0';
	}
	return err;
}

/* Names first: turns that begin while the directory is being read would change it. */
static int list(struct tk_volume *volume, char ***ret_names, size_t *ret_count)
{
	char **names = NULL;
	size_t count = 0;
	struct dirent *entry;
	DIR *dir;
	int err = 0, fd = openat(volume->vault, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while (errno = 0, entry = readdir(dir)) {
		char **more;

		if (entry->d_name[0] == '.')
			continue;
		more = realloc(names, (count + 1) * sizeof(*names));
		if (more)
			names = more;
		if (!more || !(names[count] = strdup(entry->d_name))) {
			errno = ENOMEM;
			break;
		}
		count++;
	}
	err = -errno;
	closedir(dir);
	*ret_names = names;
	*ret_count = count;
	return err;
}

void tk_vault_tidy(struct tk_volume *volume)
{
	char **names = NULL;
	size_t count = 0;
	bool litter;

	if (!atomic_exchange(&volume->litter, false))
		return;
	litter = list(volume, &names, &count);
	for (size_t i = 0; i < count; i++) {
		/* One that is being written is open; one that becomes a record meanwhile has another name. */
		TK_AUTO_FD fd = strncmp(names[i], DRAFT, strlen(DRAFT))
					? -1
					: openat(volume->vault, names[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd >= 0 && tk_nobody_has(fd) && unlinkat(volume->vault, names[i], 0) && errno != ENOENT)
			litter = true;
		free(names[i]);
	}
	free(names);
	if (litter)
		atomic_store(&volume->litter, true);
}

int tk_recover(struct tk_agent *agent, struct tk_volume *volume)
{
	char **names = NULL;
	size_t count = 0;
	int failed = 0, err = tk_vault_open(volume);
	bool unguarded;

	if (err)
		return err == -EROFS ? 0 : err; /* there is none */
	unguarded = tk_vault_was_unguarded(volume);
	/* A record that the agent before has just removed must not come back: its file may be written next. */
	if (fsync(volume->vault))
		return -errno;
	err = list(volume, &names, &count);
	for (size_t i = 0; i < count; i++) {
		if (!err && *names[i])
			failed = recover_name(agent, volume, names + i, count - i, unguarded) ?: failed;
		free(names[i]);
	}
	free(names);
	if (err)
		return err;
	tk_workers_drain(agent);
	return failed || !unguarded ? failed : tk_vault_guarded_again(volume);
}
