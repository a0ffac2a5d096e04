// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/kept.c - sealed files whose record stays.  Owns which files these are, and
 * their becoming ordinary sealed ones.
 *
 * A small file that is sealed keeps its record, which says that a crash is to give it the bytes that it has
 * now.  So the file itself need not be made durable, and its next open finds the ciphertext in the journal:
 * neither waits for the disk.  (Once it was written it is flushed before: beside a record the disk never has plaintext
 * but the payload's, so that torn.c knows what a crash has left.)  The price is that a crash undoes whatever is written to the file as it is
 * stored.  So the kernel programs let nobody write it in the raw view (TK_KEPT), and who wants to is answered
 * when the file is durable and the record is durably gone: released.  What changes the file otherwise (its
 * times, its names, its links) is noticed soon after, and the record, which knows nothing of it, goes as
 * well.
 *
 * Few releases are made alone.  A thread of its own makes them by the hundred, with one flush for all files
 * and one for the journal.  Records go when there are too many or too little room on the filesystem, when a
 * policy comes, when somebody wants all to be settled, and at the agent's end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "loader/agent/record.h"

#define LARGEST (256 << 10) /* bytes of ciphertext: copying it costs less than a flush */
#define MOST 2048	    /* files of a volume */
#define MOST_BYTES (64ull << 20)
#define ROOM_LEFT 16 /* the part of a filesystem, 1/n, that is never taken for this */
#define DESCRIPTORS_LEFT 8 /* so for those */
#define BATCH 256
#define LOOK_MS 1000
#define EACH 4 /* so few are synced one by one: the rest of the filesystem is not waited for */

/* ---------------------------------------------------------------- one file's turn */

static bool same_recipe(const struct tk_recipe *a, const struct tk_recipe *b)
{
	return a->algorithm == b->algorithm && a->chunk_log2 == b->chunk_log2 &&
	       !strcmp(a->key_id, b->key_id) && !strcmp(a->guard, b->guard);
}

static bool cramped(struct tk_volume *volume)
{
	struct statvfs st;

	if (fstatvfs(volume->mount, &st) || st.f_bavail < st.f_blocks / ROOM_LEFT)
		return true;
	return st.f_ffree < st.f_files / ROOM_LEFT; /* each record is a file; btrfs does not count them */
}

/* Each takes a descriptor, of which all volumes have the same, and who opens another file may be short. */
static rlim_t most_descriptors(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : limit.rlim_cur / DESCRIPTORS_LEFT;
}

/* Under lock: as many again are borne while the oldest are on their way out. */
static bool over(const struct tk_agent *agent, const struct tk_volume *volume, unsigned int times)
{
	return agent->kept.count > most_descriptors() * times || volume->kept > MOST * times ||
	       volume->kept_bytes > MOST_BYTES * times;
}

/* Under lock, so that who has just set one of these finds out with tk_kept_left() what came before. */
static bool all_must_go(const struct tk_agent *agent)
{
	return atomic_load(&agent->stopping) || atomic_load(&agent->settling) || atomic_load(&agent->releasing);
}

bool tk_kept_allowed(struct tk_agent *agent, struct tk_file *file)
{
	const struct tk_record *record = &file->record;

	if (!file->generation || !file->has_record || file->unsure || file->unsynced || record->state != TK_RESTORE ||
	    !record->payload_size || record->payload_size > LARGEST)
		return false;
	/* A time that was set meanwhile is one that the record does not know. */
	if (!tk_same_time(&record->mtime, &record->stored_mtime))
		return false;
	/* What was open before the policy in force may lie in no guard point of it. */
	if (file->generation != agent->now.generation || cramped(file->volume))
		return false;
	TK_HOLD(&agent->lock);
	file->volume->cramped = false;
	if (agent->halted || over(agent, file->volume, 2) || all_must_go(agent))
		return false;
	agent->kept.coming += !file->coming;
	file->coming = true;
	return true;
}

/* Any write, also one that slipped by, changes st_ctim; but not within the same tick of the clock. */
static bool untouched(const struct tk_file *file)
{
	struct stat st;

	return !fstat(file->path, &st) && st.st_nlink == 1 && tk_same_time(&st.st_ctim, &file->kept_since) &&
	       tk_same_mtime(&st, &file->record) && (uint64_t)st.st_size == file->record.payload_size;
}

bool tk_kept_holds(const struct tk_file *file)
{
	return file->has_record && same_recipe(&file->record.recipe, &file->recipe) && untouched(file);
}

/* ---------------------------------------------------------------- the record's end */

int tk_volume_flush(struct tk_volume *volume)
{
	int err;
	TK_HOLD(&volume->flush_lock);

	err = syncfs(volume->vault) ? -errno : 0;
	if (err)
		atomic_fetch_add(&volume->flush_errors, 1);
	return err;
}

static bool has_name(const struct tk_file *file)
{
	struct stat st;

	return fstat(file->path, &st) || st.st_nlink;
}

/*
 * Does a change in the journal, once durable, make durable what was done to any name before?  All of ext4's metadata are
 * in one log in their order, and all of xfs's.
 */
static bool in_order(const struct tk_volume *volume)
{
	struct statfs st;

	return !fstatfs(volume->vault, &st) && (st.f_type == EXT4_SUPER_MAGIC || st.f_type == XFS_SUPER_MAGIC);
}

/*
 * Its last name may have been taken over by another file, on a filesystem where that need not be durable before
 * what is done to the journal next (btrfs): a crash would bring the file back, and no record.
 */
int tk_kept_gone(const struct tk_file *file)
{
	if (!file->has_record || file->record.state != TK_RESTORE || !file->record.payload_size || in_order(file->volume))
		return 0;
	return tk_volume_flush(file->volume);
}

static bool is_doubtful(const struct tk_file *file)
{
	return file->doubtful || file->flush_errors != atomic_load(&file->volume->flush_errors);
}

/*
 * It is not the payload any more, and the programs have let nobody write it: so it was a disk, or somebody where
 * they do not look, and torn.c has a word in it.  -EBUSY: readers of the raw view are there.
 */
static int put_anew(struct tk_agent *agent, struct tk_file *file)
{
	int err = tk_file_set_state(agent, file, TK_UNSEALING);

	if (err)
		return err;
	file->doubtful = file->recovered = file->strange = file->unlooked = true;
	return tk_contents_put_back(agent, file, TK_RELEASE);
}

/*
 * Before the flush: what that could tell nothing of.  alone: no flush is to follow.  One that cannot be written (it
 * may have been made immutable) needs that flush nevertheless: check_one() has the word then.
 */
static int prepare(struct tk_agent *agent, struct tk_file *file, bool named, bool alone, bool *flush)
{
	int err;

	file->proved = false;
	if (file->state != TK_KEPT || !file->has_record || !named || (!alone && !is_doubtful(file)))
		return 0;
	err = tk_contents_renew(agent, file, alone);
	if (err == -EUCLEAN)
		return put_anew(agent, file);
	if (!err || is_doubtful(file))
		return err;
	*flush = true;
	return 0;
}

/*
 * After the flush: what the kernel knows of this file alone, which it tells the first who asks; and it still has
 * the payload's bytes.
 */
static int check_one(struct tk_file *file)
{
	TK_AUTO_FD fd = tk_file_reopen(file, O_RDONLY);

	if (fd < 0)
		return fd;
	if (is_doubtful(file) || sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE) ||
	    tk_record_holds(file->volume, &file->record, fd) <= 0) {
		file->doubtful = true;
		return -EIO;
	}
	return 0;
}

static int release_one(struct tk_file *file, bool named)
{
	int err;

	if (file->state != TK_KEPT || !file->has_record)
		return 0; /* all but the journal's flush was done before */
	err = !file->proved && named ? check_one(file) : 0;
	return err ? err : tk_file_unlink(file);
}

int tk_kept_release(struct tk_agent *agent, struct tk_file **files, size_t count, bool alone)
{
	struct tk_volume *volume = count ? files[0]->volume : NULL;
	bool named[BATCH] = {}, flush, dirty = false;
	int errs[BATCH] = {}, first = 0, err = 0;

	/* To write a file over itself needs room on some filesystems. */
	alone = alone && count && !cramped(volume);
	flush = !alone;
	for (size_t i = 0; i < count; i++) {
		/* Asked once: that it has lost its name since, no flush has made durable. */
		named[i] = has_name(files[i]);
		flush |= !named[i];
		errs[i] = prepare(agent, files[i], named[i], alone, &flush);
	}
	if (count && flush)
		err = tk_volume_flush(volume);
	for (size_t i = 0; i < count; i++) {
		errs[i] = errs[i] ?: err ?: release_one(files[i], named[i]);
		first = first ?: errs[i];
		dirty |= files[i]->unsynced;
	}
	err = dirty && fsync(volume->vault) ? -errno : 0;
	for (size_t i = 0; i < count; i++) {
		if (files[i]->has_record || files[i]->state != TK_KEPT)
			continue;
		files[i]->unsynced = files[i]->unsynced && err;
		errs[i] = err ?: tk_file_sealed(agent, files[i]);
		first = first ?: errs[i];
	}
	if (count)
		atomic_store(&volume->read_only, first == -EROFS);
	return first;
}

/* ---------------------------------------------------------------- the list, under lock */

void tk_kept_unlist(struct tk_agent *agent, struct tk_file *file)
{
	if (!file->listed)
		return;
	*(file->kept_older ? &file->kept_older->kept_newer : &agent->kept.oldest) = file->kept_newer;
	*(file->kept_newer ? &file->kept_newer->kept_older : &agent->kept.newest) = file->kept_older;
	file->kept_older = file->kept_newer = NULL;
	file->listed = false;
	agent->kept.count--;
	file->volume->kept--;
	file->volume->kept_bytes -= file->kept_bytes;
	file->release_wanted = false;
}

void tk_kept_hurry(struct tk_agent *agent)
{
	TK_HOLD(&agent->lock);

	for (const struct tk_file *file = agent->kept.oldest; file; file = file->kept_newer)
		atomic_store(&file->volume->read_only, false); /* it may be writable again */
	pthread_cond_signal(&agent->kept_work);
}

int tk_kept_left(struct tk_agent *agent, char *ret_why, size_t size)
{
	const char *point = NULL;
	TK_HOLD(&agent->lock);

	if (agent->kept.coming)
		return -EAGAIN;
	for (const struct tk_file *file = agent->kept.oldest; file; file = file->kept_newer) {
		if (!atomic_load(&file->volume->read_only))
			return -EAGAIN;
		point = file->volume->point;
	}
	if (!point)
		return 0;
	snprintf(ret_why, size, "records of sealed files cannot leave the journal of %s, which is read-only", point);
	return -EROFS;
}

bool tk_kept_fewer(struct tk_agent *agent, size_t *ret_count)
{
	TK_HOLD(&agent->lock);
	bool fewer = agent->kept.going || agent->kept.count < *ret_count;

	*ret_count = agent->kept.count;
	return fewer;
}

void tk_kept_list(struct tk_agent *agent, struct tk_file *file)
{
	agent->kept.coming -= file->coming;
	file->coming = false;
	if (file->state != TK_KEPT)
		tk_kept_unlist(agent, file);
	file->release_wanted |= file->state == TK_KEPT && file->doubtful;
	if (file->state != TK_KEPT || file->listed)
		return;
	file->kept_older = agent->kept.newest;
	*(agent->kept.newest ? &agent->kept.newest->kept_newer : &agent->kept.oldest) = file;
	agent->kept.newest = file;
	file->listed = true;
	agent->kept.count++;
	file->volume->kept++;
	file->kept_bytes = file->record.payload_size; /* which may be another's when it leaves the list */
	file->volume->kept_bytes += file->kept_bytes;
	if (all_must_go(agent) || over(agent, file->volume, 1))
		pthread_cond_signal(&agent->kept_work);
}

static bool free_to_take(const struct tk_file *file)
{
	return !file->running && !file->queued && !file->arrivals;
}

/* Takes the turns of up to BATCH files of one volume, the oldest first.  volume: NULL: any that needs it. */
static size_t take(struct tk_agent *agent, const struct tk_volume *volume, struct tk_file **files,
		   bool (*wanted)(const struct tk_agent *agent, const struct tk_file *file))
{
	size_t count = 0;

	for (struct tk_file *file = agent->kept.oldest; file && count < BATCH; file = file->kept_newer) {
		if (!free_to_take(file) || (volume && file->volume != volume) || !wanted(agent, file))
			continue;
		file->running = true;
		volume = file->volume;
		files[count++] = file;
	}
	agent->running += count > 0;
	return count;
}

static void give_back(struct tk_agent *agent, struct tk_file **files, size_t count)
{
	agent->running--;
	for (size_t i = 0; i < count; i++) {
		if (files[i]->state != TK_KEPT)
			files[i]->wanted = true; /* an ordinary turn says what becomes of it */
		tk_file_turned(agent, files[i], 0);
	}
}

/* ---------------------------------------------------------------- those that must go */

static bool any(const struct tk_agent *agent, const struct tk_file *file)
{
	return true;
}

static bool too_much(const struct tk_agent *agent, const struct tk_file *file)
{
	const struct tk_volume *volume = file->volume;

	if (all_must_go(agent) || file->release_wanted || volume->cramped ||
	    file->generation != agent->now.generation)
		return true;
	return over(agent, volume, 1); /* then a whole batch: or each one that comes would send one away */
}

/* Called and returns with the lock held.  False: there are none, or none that can be had. */
static bool release_some(struct tk_agent *agent, const struct tk_volume *volume,
			 bool (*wanted)(const struct tk_agent *, const struct tk_file *))
{
	struct tk_file *files[BATCH];
	size_t count = agent->halted ? 0 : take(agent, volume, files, wanted);
	int err;

	if (!count)
		return false;
	agent->kept.going = !agent->kept.failed;
	pthread_mutex_unlock(&agent->lock);
	err = tk_kept_release(agent, files, count, count <= EACH && wanted != any);
	if (err && !files[0]->settled_error)
		tk_report(
			agent,
			"%s: records of sealed files cannot leave the journal, which will be tried again: %s",
			files[0]->volume->point, tk_strerror(err));
	files[0]->settled_error = err;
	pthread_mutex_lock(&agent->lock);
	agent->kept.going = false;
	agent->kept.failed = err;
	give_back(agent, files, count);
	return !err;
}

bool tk_kept_give_way(struct tk_agent *agent, const struct tk_volume *volume)
{
	bool gave_way = false;
	TK_HOLD(&agent->lock);

	while (release_some(agent, volume, any))
		gave_way = true;
	return gave_way;
}

/* ---------------------------------------------------------------- the thread */

static bool every(const struct tk_agent *agent, const struct tk_file *file)
{
	return !file->release_wanted && file->looked != agent->kept.round;
}

/* Which ones have been touched.  Called and returns with the lock held. */
static void look(struct tk_agent *agent)
{
	struct tk_file *files[BATCH];
	size_t count;

	agent->kept.round++;
	while (!agent->halted && (count = take(agent, NULL, files, every))) {
		bool full;

		pthread_mutex_unlock(&agent->lock);
		full = cramped(files[0]->volume);
		for (size_t i = 0; i < count; i++)
			files[i]->touched = !untouched(files[i]);
		pthread_mutex_lock(&agent->lock);
		files[0]->volume->cramped = full;
		for (size_t i = 0; i < count; i++) {
			files[i]->looked = agent->kept.round;
			files[i]->release_wanted |= files[i]->touched;
		}
		give_back(agent, files, count);
	}
}

void *tk_kept_thread(void *arg)
{
	struct tk_agent *agent = arg;
	uint64_t next_look = 0;

	pthread_mutex_lock(&agent->lock);
	for (;;) {
		struct timespec until;

		if (tk_now_ms() >= next_look) {
			look(agent);
			next_look = tk_now_ms() + LOOK_MS;
		}
		if (release_some(agent, NULL, too_much))
			continue;
		until.tv_sec = (time_t)(next_look / 1000);
		until.tv_nsec = (long)(next_look % 1000) * 1000000;
		pthread_cond_timedwait(&agent->kept_work, &agent->lock, &until);
	}
	return NULL;
}
