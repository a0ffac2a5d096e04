// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/file.c - the table of files that are open, waited for or not sealed.
 * Owns the entries' coming and going; turn.c owns what happens to a file in between.
 *
 * An entry holds an O_PATH descriptor, so its inode number cannot pass to another
 * file while the entry lives.  An entry leaves when its file is sealed and nobody
 * waits or has it open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "loader/agent/agent.h"

/*
 * Descriptors that opens do not get: with the last ones the workers seal what is closed and administrators ask
 * why.  Four for each worker (the file, its record, a directory, one that is being replaced), and those of the
 * control socket.
 */
#define RESERVED_DESCRIPTORS 320
#define RELEASE_PATIENCE_MS 5000 /* how long an opener waits for another file's record to go */
#define LOOK_AT_ONCE 1000 /* files, of each second's look; all of them when there are less */

static size_t chain(const struct tk_inode *inode)
{
	uint64_t hash =
		(inode->ino ^ (uint64_t)inode->igeneration << 32 ^ inode->dev) * 0x9e3779b97f4a7c15ull;

	return hash >> 52; /* TK_TABLE_SIZE is 2^12 */
}
_Static_assert(TK_TABLE_SIZE == 1 << 12, "chain");

static bool same_inode(const struct tk_inode *a, const struct tk_inode *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->igeneration == b->igeneration;
}

struct tk_file *tk_file_find(struct tk_agent *agent, const struct tk_inode *inode)
{
	struct tk_file *file = agent->table[chain(inode)];

	while (file && !same_inode(&file->inode, inode))
		file = file->hash_next;
	return file;
}

/* Opens the file itself, on the private mount: for O_PATH descriptors of unlinked files as well. */
int tk_file_reopen(const struct tk_file *file, int flags)
{
	int fd = tk_handle_open(file->volume, &file->handle, flags | O_NOATIME | O_NONBLOCK | O_LARGEFILE);
	char link[32];

	if (fd != -ESTALE) /* shorter than through /proc */
		return fd;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->path);
	fd = open(link, flags | O_CLOEXEC | O_NOATIME | O_NONBLOCK | O_LARGEFILE);
	return fd < 0 ? -errno : fd;
}

int tk_file_make(struct tk_volume *volume, const struct tk_inode *inode, int fd, struct tk_file **ret_file)
{
	struct tk_file *file = calloc(1, sizeof(*file));
	struct stat st;
	int err;

	if (!file)
		return -ENOMEM;
	file->path = -1;
	file->inode = *inode;
	file->volume = volume;
	err = tk_handle_of(fd, "", &file->handle);
	if (!err) {
		file->path = tk_handle_open(volume, &file->handle, O_PATH);
		err = file->path < 0 ? file->path : 0;
	}
	if (err == -ESTALE) { /* O_TMPFILE or unlinked: some filesystems find it by handle no more */
		char link[32];

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		file->path = open(link, O_PATH | O_CLOEXEC);
		err = file->path < 0 ? -errno : 0;
	}
	if (!err && fstat(file->path, &st))
		err = -errno;
	if (!err && st.st_ino != inode->ino)
		err = -ESTALE;
	if (err) {
		tk_file_free(file);
		return err;
	}
	file->size = (uint64_t)st.st_size;
	*ret_file = file;
	return 0;
}

void tk_file_free(struct tk_file *file)
{
	if (!file)
		return;
	tk_fd_close(&file->path);
	free(file);
}

void tk_file_insert(struct tk_agent *agent, struct tk_file *file)
{
	struct tk_file **head = &agent->table[chain(&file->inode)];

	file->hash_next = *head;
	*head = file;
	agent->file_count++;
}

void tk_file_drop(struct tk_agent *agent, struct tk_file *file)
{
	struct tk_file **at = &agent->table[chain(&file->inode)];

	while (*at != file)
		at = &(*at)->hash_next;
	*at = file->hash_next;
	agent->file_count--;
	tk_due_set(agent, file, 0);
	if (agent->namesakes)
		tk_wake(agent->wake);
	tk_file_free(file);
}

struct tk_recipe *tk_file_recipe(struct tk_file *file)
{
	return file->renewed ? &file->next_recipe : &file->recipe;
}

/* Under lock.  False: it is more than kept. */
static bool want_released(struct tk_agent *agent, struct tk_file *file)
{
	if (file->listed) {
		file->release_wanted = true;
		pthread_cond_signal(&agent->kept_work);
	}
	return file->listed;
}

/*
 * The entry of a file, made when there is none.  Returns with the lock held.  -EBUSY: another file answers to
 * the same number; snapshots on btrfs do (KERNEL.md 24).  -EAGAIN: not for long, as it is only kept.
 */
static int get_locked(struct tk_agent *agent, struct tk_volume *volume, const struct tk_recipe *recipe,
		      const struct tk_inode *inode, int fd, struct tk_file **ret_file)
{
	struct tk_file *fresh = NULL, *file;
	struct tk_handle handle;
	int err = tk_handle_of(fd, "", &handle);

	if (err)
		return err;
	pthread_mutex_lock(&agent->lock);
	file = tk_file_find(agent, inode);
	if (!file) {
		pthread_mutex_unlock(&agent->lock);
		err = tk_file_make(volume, inode, fd, &fresh);
		if (err)
			return err;
		pthread_mutex_lock(&agent->lock);
		file = tk_file_find(agent, inode); /* the sweep may have been here */
		if (!file) {
			tk_file_insert(agent, fresh);
			file = fresh;
			fresh = NULL;
		}
	}
	if (!tk_handle_same(&file->handle, &handle)) {
		err = want_released(agent, file) ? -EAGAIN : -EBUSY;
		pthread_mutex_unlock(&agent->lock);
	} else {
		/* While the worker reads it a new one waits: who has brought it is served by it, in the next turn. */
		if (recipe->generation >= tk_file_recipe(file)->generation) { /* or its bearer is late */
			file->renewed = file->running;
			*(file->running ? &file->next_recipe : &file->recipe) = *recipe;
		}
		*ret_file = file;
	}
	tk_file_free(fresh);
	return err;
}

int tk_file_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct tk_file *file = ctx;

	atomic_store(&file->bytes_done, done);
	atomic_store(&file->bytes_total, total);
	return 0;
}

/* ---------------------------------------------------------------- openers */

/* Open already, and what this opener may do needs nothing new: no turn is needed.  Under lock. */
static bool open_already(const struct tk_file *file, const struct tk_opener *opener)
{
	bool write = (opener->flags & O_ACCMODE) != O_RDONLY || opener->flags & O_TRUNC;

	/*
	 * The opener is counted already, so a turn that begins now will not seal.  A turn that has begun may
	 * have decided before it was counted: then the opener waits for its own turn.
	 */
	return !file->running && !file->queued && !file->arrivals && file->state == TK_OPEN &&
	       opener->view == TK_VIEW_PLAIN && (!write || file->writable);
}

static void park(struct tk_agent *agent, struct tk_opener *opener)
{
	{
		TK_HOLD(&agent->lock);
		opener->next = agent->parked;
		agent->parked = opener;
	}
	/* The loader will say so in a moment; if it does not, the next tick follows. */
}

/* Another file is kept under this one's number: until that has been released. */
static bool wait_for_namesake(struct tk_agent *agent, struct tk_opener *opener)
{
	TK_HOLD(&agent->lock);

	if (!opener->deadline)
		opener->deadline = tk_now_ms() + RELEASE_PATIENCE_MS;
	if (tk_now_ms() >= opener->deadline)
		return false;
	opener->next = agent->namesakes;
	agent->namesakes = opener;
	return true;
}

static struct tk_opener *take_all(struct tk_agent *agent, struct tk_opener **list)
{
	TK_HOLD(&agent->lock);
	struct tk_opener *all = *list;

	*list = NULL;
	return all;
}

void tk_files_retry(struct tk_agent *agent)
{
	struct tk_opener *waiting = take_all(agent, &agent->namesakes);

	while (waiting) {
		struct tk_opener *opener = waiting;

		waiting = opener->next;
		tk_files_open(agent, opener);
	}
}

/*
 * Each file in use holds a descriptor and each opener that waits another one.  Numbers are given from below, so
 * the event's own tells of the latter, while what is open for long may lie above it.
 */
bool tk_files_full(struct tk_agent *agent, const struct tk_inode *inode, int event)
{
	struct rlimit limit;
	TK_HOLD(&agent->lock);

	if (tk_file_find(agent, inode))
		return false;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return true;
	return agent->file_count + RESERVED_DESCRIPTORS >= limit.rlim_cur ||
	       (rlim_t)event + RESERVED_DESCRIPTORS >= limit.rlim_cur;
}

void tk_files_open(struct tk_agent *agent, struct tk_opener *opener)
{
	const struct tk_pending_open *pending = &opener->pending;
	struct tk_volume *volume = NULL;
	struct tk_recipe recipe;
	struct tk_file *file;
	bool at_once = false;
	int err;

	{
		TK_HOLD_READ(&agent->policy_lock);
		const struct tk_spot *spot = tk_spot_find(agent, pending->generation, pending->guard);

		if (spot) {
			volume = spot->volume;
			recipe = spot->recipe;
		} else if (pending->generation > agent->now.generation) {
			park(agent, opener); /* installed, but the agent has not read it yet */
			return;
		}
	}
	if (!volume || volume->dev != pending->inode.dev || !atomic_load(&volume->recovered)) {
		tk_event_answer(agent, opener->event, -EBUSY);
		free(opener);
		return;
	}
	err = get_locked(agent, volume, &recipe, &pending->inode, opener->event, &file);
	if (err == -EAGAIN && wait_for_namesake(agent, opener))
		return;
	if (err) {
		tk_event_answer(agent, opener->event, err);
		free(opener);
		return;
	}
	opener->deadline = 0;
	file->generation = pending->generation;
	file->asked += pending->view == TK_VIEW_PLAIN;
	at_once = open_already(file, opener) && !tk_marks_worthwhile(file);
	if (at_once) {
		tk_marks_spare(agent, file);
	} else {
		err = tk_event_park(agent, opener->event);
		if (!err) {
			opener->next = file->arrivals;
			file->arrivals = opener;
			tk_file_queue(agent, file);
		}
	}
	pthread_mutex_unlock(&agent->lock);
	if (at_once || err) {
		tk_event_answer(agent, opener->event, err);
		free(opener);
	}
}

/* The policy was read again: those who waited for it.  One that is still unknown is refused, not parked
 * again. */
void tk_files_unpark(struct tk_agent *agent)
{
	struct tk_opener *parked = take_all(agent, &agent->parked);

	while (parked) {
		struct tk_opener *opener = parked;

		parked = opener->next;
		if (opener->pending.generation > agent->now.generation) {
			tk_event_answer(agent, opener->event, -EBUSY);
			free(opener);
		} else {
			tk_files_open(agent, opener);
		}
	}
}

/* ---------------------------------------------------------------- other reasons for a turn */

/*
 * Closes can be missed (KERNEL.md 6): every entry is looked at now and then.  With many files open not all at
 * once, or openers would wait behind turns that nobody needs; those missed could not be sealed faster either.
 * Kept ones are kept.c's.
 */
void tk_files_look(struct tk_agent *agent, bool impatient)
{
	static size_t next; /* chain to go on with; under lock */
	size_t looked = 0;
	TK_HOLD(&agent->lock);

	for (size_t i = 0; i < TK_TABLE_SIZE && (impatient || looked < LOOK_AT_ONCE); i++) {
		for (struct tk_file *file = agent->table[next]; file; file = file->hash_next)
			if (!file->listed && (!file->due || impatient)) {
				file->linger = impatient ? 0 : file->linger;
				tk_file_queue(agent, file);
				looked++;
			}
		next = (next + 1) % TK_TABLE_SIZE;
	}
	pthread_cond_signal(&agent->kept_work);
}

void tk_file_linger(struct tk_file *file)
{
	uint64_t linger = file->recipe.linger;

	file->linger = linger ? tk_now_ms() + linger : 0;
}

/* The last one has closed it. */
void tk_files_closed(struct tk_agent *agent, const struct tk_inode *inode)
{
	struct tk_file *file;
	TK_HOLD(&agent->lock);

	file = tk_file_find(agent, inode);
	if (!file)
		return;
	tk_file_linger(file);
	if (file->linger && file->state == TK_OPEN && !file->running && !file->queued)
		tk_file_due(agent, file, file->linger);
	else
		tk_file_queue(agent, file);
}

/* Plaintext that nobody asked for was found. */
int tk_files_plain(struct tk_agent *agent, struct tk_volume *volume, const struct tk_recipe *recipe,
		   const struct tk_inode *inode, int fd)
{
	struct tk_file *file;
	int err = atomic_load(&volume->recovered) ? get_locked(agent, volume, recipe, inode, fd, &file) : -EBUSY;

	if (err)
		return err;
	file->plain = true;
	tk_file_queue(agent, file);
	pthread_mutex_unlock(&agent->lock);
	return 0;
}

/* The entry of a file that a notice names.  Returns with the lock held. */
static int get_by_notice(struct tk_agent *agent, const struct tk_inode *inode, uint32_t guard,
			 struct tk_file **ret_file)
{
	struct tk_volume *volume;
	struct tk_recipe recipe;
	struct tk_handle like;
	TK_AUTO_FD fd = -1;

	{
		TK_HOLD_READ(&agent->policy_lock);
		const struct tk_spot *spot = tk_spot_find(agent, agent->now.generation, guard);

		if (!spot || !spot->volume || !atomic_load(&spot->volume->recovered))
			return -ENOENT;
		volume = spot->volume;
		recipe = spot->recipe;
	}
	if (tk_handle_of(volume->mount, "", &like))
		return -EOPNOTSUPP;
	fd = tk_handle_guess(volume, &like, inode);
	return fd < 0 ? fd : get_locked(agent, volume, &recipe, inode, fd, ret_file);
}

/* Somebody may truncate this file by its name and was refused because it is sealed; or write it as it is kept. */
void tk_files_truncate(struct tk_agent *agent, const struct tk_inode *inode, uint32_t guard, uint32_t view)
{
	struct tk_file *file;

	if (view == TK_VIEW_RAW) {
		TK_HOLD(&agent->lock);
		file = tk_file_find(agent, inode);
		if (file)
			want_released(agent, file);
		return;
	}
	if (get_by_notice(agent, inode, guard, &file))
		return;
	file->hold_wanted = true;
	tk_file_queue(agent, file);
	pthread_mutex_unlock(&agent->lock);
}
