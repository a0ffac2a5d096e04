// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/turn.c - one turn of a file: serve who waits for it, then seal it
 * if nobody is left.  Owns when a file changes state; contents.c knows how.
 *
 * One worker at a time has a file's turn, so nothing here is locked, and a turn
 * may take as long as it takes to decrypt the file.  Whoever arrives meanwhile is
 * served in the next turn.  Every opener is answered, whatever fails.
 *
 * An opener is counted by the kernel before its event reaches the agent.  So a
 * turn never counts events: it asks tk_kernel_counts(), and the change of state to
 * SEALING or UNSEALING is refused by the kernel when a description of the other
 * view has come in the meantime.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "loader/agent/agent.h"

#define RAW_PATIENCE_MS 5000 /* how long a plaintext opener waits for readers of the raw view */
#define RAW_LOOK_MS 250	     /* their close is posted; this is for when the post was lost */
#define BUSY_FIRST_MS 5	     /* a lease test can say busy just after the last close (KERNEL.md 7) */
#define BUSY_LAST_MS 1000
#define FAILED_FIRST_MS 1000
#define FAILED_LAST_MS 10000
#define HOLD_MS 2000 /* how long truncate(2) has to come back */

static bool may_write(const struct tk_opener *opener)
{
	return (opener->flags & O_ACCMODE) != O_RDONLY || opener->flags & O_TRUNC;
}

static uint64_t back_off(struct tk_file *file, uint64_t first, uint64_t last)
{
	uint64_t wait = first << (file->attempts < 16 ? file->attempts : 16);

	file->attempts++;
	return tk_now_ms() + (wait < last ? wait : last);
}

static void complain(struct tk_agent *agent, struct tk_file *file, const char *what, int err)
{
	char name[192];

	if (file->settled_error)
		return; /* once is enough until it works again */
	file->settled_error = true;
	tk_file_name(file, name, sizeof(name));
	tk_report(agent, "%s: %s: %s", name, what, tk_strerror(err));
}

static bool no_room(int err)
{
	return err == -ENOSPC || err == -EDQUOT;
}

/* ---------------------------------------------------------------- serving openers */

static bool is_whole(const struct tk_file *file)
{
	return file->state == TK_SEALED || file->state == TK_KEPT;
}

/* 0: allow; -EAGAIN: go on waiting; else deny. */
static int serve_plain(struct tk_agent *agent, struct tk_file *file, struct tk_opener *opener)
{
	bool write = may_write(opener);
	int err = 0;

	if (is_whole(file)) {
		err = tk_contents_unseal(agent, file, write);
		/* When putting it back has failed as well, that comes first: try_seal(). */
		if (no_room(err) && is_whole(file) && tk_kept_give_way(agent, file->volume))
			err = tk_contents_unseal(agent, file, write);
		if (err == -EAGAIN) {
			if (!opener->deadline)
				opener->deadline = tk_now_ms() + RAW_PATIENCE_MS;
			return tk_now_ms() < opener->deadline ? -EAGAIN : -EBUSY;
		}
		if (err) {
			complain(agent, file, "cannot be opened as plaintext", err);
			return err;
		}
	}
	if (write && !file->writable)
		err = tk_contents_writable(agent, file);
	if (err)
		complain(agent, file, "cannot be opened for writing", err);
	else
		file->settled_error = false;
	return err;
}

/*
 * The raw view gets TAKA or nothing.  Plaintext that was found is sealed first; while the opener waits it
 * counts as somebody who has the file open (KERNEL.md 10), so that mostly means: come again in a moment.
 */
static int serve_raw(struct tk_agent *agent, struct tk_file *file, const struct tk_opener *opener)
{
	enum tk_contents kind;
	TK_AUTO_FD fd = -1;
	struct stat st;
	int err = 0;

	if (file->state == TK_KEPT && !may_write(opener))
		return 0;
	/* Or a crash would undo what he writes. */
	if (file->state == TK_KEPT)
		err = tk_kept_release(agent, &file, 1, true);
	if (err) {
		complain(agent, file, "cannot be opened for writing as it is stored", err);
		return err;
	}
	if (file->state != TK_SEALED)
		return -EBUSY;
	fd = tk_file_reopen(file, O_RDONLY);
	err = fd < 0 ? fd : fstat(fd, &st) ? -errno : tk_contents_kind(fd, (uint64_t)st.st_size, &kind);
	tk_fd_close(&fd);
	if (err)
		return err;
	if (kind != TK_PLAIN || !file->recipe.algorithm)
		return 0;
	file->plain = true;
	return tk_contents_seal(agent, file) ? -EBUSY : 0;
}

static int serve(struct tk_agent *agent, struct tk_file *file, struct tk_opener *opener)
{
	if (file->state == TK_SEALING) {
		int err = tk_contents_put_back(agent, file, TK_RELEASE);

		if (err) {
			complain(agent, file, "sealing cannot be finished", err);
			return -EBUSY;
		}
	}
	return opener->view == TK_VIEW_RAW ? serve_raw(agent, file, opener) : serve_plain(agent, file, opener);
}

static void take_arrivals(struct tk_agent *agent, struct tk_file *file)
{
	struct tk_opener **end = &file->waiting, *arrivals, *in_order = NULL;

	{
		TK_HOLD(&agent->lock);
		arrivals = file->arrivals;
		file->arrivals = NULL;
		if (file->renewed)
			file->recipe = file->next_recipe;
		file->renewed = false;
		if (arrivals)
			tk_file_linger(file); /* they may be gone before this turn ends */
	}
	while (arrivals) {
		struct tk_opener *opener = arrivals;

		arrivals = opener->next;
		opener->next = in_order;
		in_order = opener;
	}
	while (*end)
		end = &(*end)->next;
	*end = in_order;
}

static void serve_all(struct tk_agent *agent, struct tk_file *file)
{
	struct tk_opener **at = &file->waiting;

	while (*at) {
		struct tk_opener *opener = *at;
		int err = serve(agent, file, opener);

		if (err == -EAGAIN) {
			at = &opener->next;
			continue;
		}
		*at = opener->next;
		tk_event_answer(agent, opener->event, err);
		free(opener);
	}
}

/* ---------------------------------------------------------------- and then */

/* truncate(2) was refused because the file is sealed: have it open for a moment, as a writer would. */
static void begin_hold(struct tk_agent *agent, struct tk_file *file)
{
	int err = 0;

	if (is_whole(file))
		err = tk_contents_unseal(agent, file, true);
	else if (file->state == TK_OPEN && !file->writable)
		err = tk_contents_writable(agent, file);
	if (err && err != -EAGAIN)
		complain(agent, file, "cannot be prepared for truncation", err);
	file->hold = tk_now_ms() + HOLD_MS;
}

static uint64_t try_seal(struct tk_agent *agent, struct tk_file *file)
{
	int err =
		file->state == TK_SEALING ? tk_contents_put_back(agent, file, TK_RELEASE) : tk_contents_seal(agent, file);

	if (no_room(err) && tk_kept_give_way(agent, file->volume))
		return tk_now_ms();
	switch (err) {
	case 0:
		file->plain = false;
		file->attempts = 0;
		file->settled_error = false;
		return file->state == TK_SEALED ? TK_TURN_LAST : 0;
	case -EBUSY: /* the last close will be posted */
		file->attempts = 0;
		return 0;
	case -EAGAIN:
		return back_off(file, BUSY_FIRST_MS, BUSY_LAST_MS);
	default:
		complain(agent, file, "sealing failed and will be tried again", err);
		return back_off(file, FAILED_FIRST_MS, FAILED_LAST_MS);
	}
}

static uint64_t look_open(struct tk_agent *agent, struct tk_file *file)
{
	struct tk_file_counts counts;
	bool worthwhile;
	uint64_t stay;
	int err;

	if (tk_kernel_counts(agent->kernel, &file->inode, &counts))
		return 0;
	{
		TK_HOLD(&agent->lock);
		stay = file->hold > file->linger ? file->hold : file->linger;
		worthwhile = tk_marks_worthwhile(file);
	}
	if (!counts.plain && stay > tk_now_ms())
		return stay;
	if (!counts.plain)
		return tk_file_outgrown(agent, file) ? 0 : try_seal(agent, file);
	/* truncate(2) while it is open for reading only, which no opener announced; or it is opened again and again. */
	err = worthwhile || (counts.written && !file->writable) ? tk_contents_writable(agent, file) : 0;
	TK_HOLD(&agent->lock);
	if (err)
		file->asked = 0; /* and it is tried again, but not at once */
	else
		tk_marks_spare(agent, file);
	return 0;
}

/*
 * Found as plaintext (or empty), and somebody who is not counted has it open: since before the policy came.
 * He may go on: from the programs' point of view it is open now.  It is sealed after his last close, which
 * nobody posts.
 */
static uint64_t adopt(struct tk_agent *agent, struct tk_file *file)
{
	int err = tk_contents_unseal(agent, file, true);

	if (err && err != -EAGAIN)
		complain(agent, file, "was open before the policy and cannot be taken over", err);
	return back_off(file, BUSY_FIRST_MS, BUSY_LAST_MS);
}

/* Sealed, but somebody may have put plaintext there through the raw view, or it was found. */
static uint64_t look_sealed(struct tk_agent *agent, struct tk_file *file)
{
	struct tk_file_counts counts;
	enum tk_file_state state;
	enum tk_contents kind;
	TK_AUTO_FD fd = -1;
	struct stat st;

	if (tk_kernel_counts(agent->kernel, &file->inode, &counts) || counts.raw)
		return 0; /* looked at again when they close */
	fd = tk_file_reopen(file, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) || tk_contents_kind(fd, (uint64_t)st.st_size, &kind))
		return TK_TURN_LAST;
	if (file->plain && kind != TK_TAKA && file->recipe.algorithm && st.st_nlink && !tk_nobody_has(fd))
		return adopt(agent, file);
	tk_fd_close(&fd);
	if (kind != TK_PLAIN || !file->recipe.algorithm || !st.st_nlink) {
		file->plain = false;
		/* An agent that died after it removed the record and before it said so. */
		if (!tk_kernel_state(agent->kernel, &file->inode, &state) && state != TK_SEALED)
			tk_kernel_set_state(agent->kernel, &file->inode, TK_SEALED);
		return TK_TURN_LAST;
	}
	return try_seal(agent, file);
}

uint64_t tk_file_turn(struct tk_agent *agent, struct tk_file *file)
{
	bool hold;

	take_arrivals(agent, file);
	{
		TK_HOLD(&agent->lock);
		hold = file->hold_wanted;
		file->hold_wanted = false;
	}
	serve_all(agent, file);
	if (hold)
		begin_hold(agent, file);
	if (file->waiting)
		return tk_now_ms() + RAW_LOOK_MS;
	switch (file->state) {
	case TK_OPEN:
		return look_open(agent, file);
	case TK_SEALED:
		return look_sealed(agent, file);
	case TK_KEPT:
		return 0;
	default:
		return try_seal(agent, file);
	}
}

/*
 * Nobody will watch the files that are still open: from now on what is written to them counts, or the next
 * recovery would undo it.  When no worker runs any more.
 */
void tk_files_let_go(struct tk_agent *agent)
{
	for (size_t i = 0; i < TK_TABLE_SIZE; i++)
		for (struct tk_file *file = agent->table[i]; file; file = file->hash_next) {
			if (file->state == TK_KEPT && tk_kept_release(agent, &file, 1, true))
				tk_report(agent, "a record of a sealed file cannot leave the journal, and is left to the next agent");
			if (file->state == TK_OPEN && !file->writable && tk_contents_writable(agent, file))
				tk_report(agent, "a file that is still open cannot be let go: its former content stays in the journal");
		}
}
