// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/put_back.c - the payload of a record becomes the file's content again.  Owns
 * the last step of every seal, which is also recovery's and the way back from an unseal that failed; contents.c
 * owns the steps before it, kept.c what becomes of a file that keeps its record.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "loader/agent/io.h"
#include "loader/agent/record.h"

#define WRITTEN_AT_ONCE (1 << 20) /* bytes */
#define TIMES_TRIES 16
#define PROVED_MOST (1 << 20) /* bytes of ciphertext, no less than kept.c's */

/*
 * Leaves the record where it is, which says that the file is what it is now: then the file itself need not be
 * durable.  What the record cannot undo is all that may happen to it from now on, which is why the programs must
 * know.  False: they do not want to, or it is not worth while.
 */
static bool keep(struct tk_agent *agent, struct tk_file *file, int fd)
{
	struct stat st;

	if (fstat(fd, &st) || st.st_nlink != 1 || !file->inside || !tk_kept_allowed(agent, file))
		return false;
	file->kept_since = st.st_ctim;
	if (tk_file_set_state(agent, file, TK_KEPT))
		return false;
	file->writable = false;
	file->must_encrypt = false;
	file->sync_failed = file->doubtful = file->recovered = file->strange = file->unlooked = file->unguarded = false;
	file->saved = file->renewing = false;
	return true;
}

/*
 * The payload is there, and perhaps times that somebody has given the file since: the record knows nothing of them.
 * But a move that was cut short before its last step, by an agent or machine that died or by a failure, has left the
 * time of its last write; that of the last change is then the same, but for a capability given back in between.
 */
static void take_set_times(struct tk_file *file, const struct stat *st)
{
	bool cut_short = tk_same_time(&st->st_mtim, &st->st_ctim);

	if (file->renewing || (file->strange && (cut_short || file->record.capability.size)))
		return;
	file->record.atime = st->st_atim;
	file->record.mtime = st->st_mtim;
}

/* Is the payload what was put there?  0; -TK_E_NO_KEY and the like when that cannot be told; else it is not. */
static int check(struct tk_agent *agent, const struct tk_file *file, int payload)
{
	return payload < 0 ? payload
			   : tk_verify_fd(agent->keys, payload, TK_PAYLOAD, file->record.payload_size, NULL, NULL);
}

int tk_contents_check(struct tk_agent *agent, const struct tk_file *file)
{
	TK_AUTO_FD payload = tk_record_payload(file->volume, &file->record);

	return check(agent, file, payload);
}

bool tk_contents_usable(struct tk_agent *agent, const struct tk_file *file)
{
	TK_AUTO_FD payload = tk_record_payload(file->volume, &file->record);
	uint64_t print;
	int err;

	/* Without its key, which a token takes its time to use. */
	if (file->printed && payload >= 0 && !tk_contents_print(payload, TK_PAYLOAD, file->record.payload_size, &print) &&
	    print == file->print)
		return true;
	err = check(agent, file, payload);

	if (err == -TK_E_NO_KEY || err == -ENOMEDIUM || err == -EKEYREJECTED)
		return tk_contents_same(payload, TK_PAYLOAD, payload, TK_PAYLOAD, file->record.payload_size);
	return !err;
}

/*
 * The same bytes once more, a small file's by one call: what somebody does to its times goes by in none that takes
 * long.  Sharing blocks would, as the filesystem first writes the file's own to the disk.
 */
static int write_over(int in, off_t in_offset, int out, uint64_t size)
{
	size_t len = size <= WRITTEN_AT_ONCE ? (size_t)size : 0;
	TK_AUTO_TEXT bytes = len ? malloc(len) : NULL;
	ssize_t n;

	if (!len)
		return tk_contents_copy(in, in_offset, out, 0, size);
	if (!bytes)
		return -ENOMEM;
	n = tk_read_at(in, bytes, len, in_offset);
	if (n < (ssize_t)len)
		return n < 0 ? (int)n : -EIO;
	return tk_write_at(out, bytes, len, 0);
}

/*
 * The payload's bytes in the place of the file's.  A file that has them already is not cut, as nobody sees a
 * difference: it is only written, so that a flush from here on tells whether they reached the disk.
 */
static int write_payload(struct tk_agent *agent, struct tk_file *file, int fd, bool there)
{
	TK_AUTO_FD payload = tk_record_payload(file->volume, &file->record);
	struct timespec begun;
	int err;

	if (payload < 0)
		return payload;
	err = tk_attributes_keep(file, fd);
	if (err)
		return err;
	clock_gettime(CLOCK_REALTIME, &begun);
	/* From before the first byte: what has failed until then is told by the next flush of the volume. */
	file->flush_errors = atomic_load(&file->volume->flush_errors);
	err = there ? 0 : tk_file_cut(file);
	if (err)
		return err;
	err = there ? write_over(payload, TK_PAYLOAD, fd, file->record.payload_size)
		    : tk_contents_copy(payload, TK_PAYLOAD, fd, 0, file->record.payload_size);
	if (!err)
		err = tk_capability_restore(fd, &file->record.capability);
	if (!err)
		err = tk_times_restore(fd, &file->record, &begun);
	return err;
}

/* Its own bytes. */
static int write_itself(int fd)
{
	struct tk_capability capability;
	struct stat st;
	int err = fstat(fd, &st) ? -errno : tk_capability_read(fd, &capability);

	if (!err)
		err = write_over(fd, 0, fd, (uint64_t)st.st_size);
	if (!err)
		err = tk_capability_restore(fd, &capability);
	if (!err && futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}))
		err = -errno;
	return err;
}

/* Times that are set while the record is told of others, which waits for the disk, are the ones it must know. */
static int learn_times(struct tk_file *file, int fd)
{
	struct stat before, now;
	int err = fstat(fd, &now) ? -errno : 0;

	for (int tries = 0; !err && tries < TIMES_TRIES; tries++) {
		before = now;
		take_set_times(file, &before);
		err = tk_attributes_keep(file, fd);
		if (!err && fstat(fd, &now))
			err = -errno;
		if (!err && tk_same_time(&before.st_mtim, &now.st_mtim))
			break;
	}
	return err;
}

/* No page of it is in memory: what is read next comes from the disk.  A file that is mapped stays there. */
static bool leave_memory(int fd, size_t size)
{
	unsigned char pages[PROVED_MOST / 4096] = {};
	void *map;
	bool left;

	if (!size || size > sizeof(pages) * 4096 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		return false;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return false;
	left = !mincore(map, size, pages);
	for (size_t i = 0; i < sizeof(pages); i++)
		left = left && !(pages[i] & 1);
	munmap(map, size);
	return left;
}

/*
 * The file has the payload, durably.  For one that cannot be written, as it was made immutable.  That a flush succeeds
 * is not enough: one that has failed before, under an agent that is gone, leaves in memory what the disk has not got.
 */
static int prove(struct tk_file *file)
{
	TK_AUTO_FD fd = tk_file_reopen(file, O_RDONLY);
	struct tk_capability capability;
	struct stat st;
	int err;

	file->flush_errors = atomic_load(&file->volume->flush_errors);
	err = fd < 0 ? fd : fstat(fd, &st) || fsync(fd) ? -errno : tk_capability_read(fd, &capability);

	if (err)
		return err;
	if (!leave_memory(fd, (size_t)st.st_size))
		return -EBUSY;
	err = tk_record_holds(file->volume, &file->record, fd);
	if (err <= 0)
		return err ?: -EPERM;
	/* A move that was cut short may have taken it away, and only the record has it. */
	return memcmp(&capability, &file->record.capability, sizeof(capability)) ? -EPERM : 0;
}

/*
 * The file becomes the record's payload, durably, or is kept.  Only in transition, with a record that
 * says RESTORE.  On failure the file stays in transition, nobody is let in, nothing is lost, and this may be called
 * again.
 */
int tk_contents_put_back_by(struct tk_agent *agent, struct tk_file *file, int *fd, enum tk_then then)
{
	struct stat st;
	int err, there;

	if (!file->has_record)
		return tk_file_sealed(agent, file);
	if (file->record.state == TK_WRITABLE) { /* its own content is the truth: back to where that is said */
		err = tk_file_set_state(agent, file, TK_OPEN);
		return err ? err : -EAGAIN;
	}
	err = tk_file_sync_vault(file);
	if (!err && file->unsure)
		err = tk_file_turn_record(file, TK_RESTORE);
	if (err)
		return err;
	file->state = TK_SEALING; /* the kernel may have UNSEALING: the same to everybody but this table */
	if (*fd < 0)
		*fd = tk_file_reopen(file, O_RDWR);
	if (*fd == -EPERM && !prove(file))
		return tk_file_sealed(agent, file);
	if (*fd < 0)
		return *fd;
	there = tk_record_holds(file->volume, &file->record, *fd);
	/* One that lay there for long may be spoiled, and then what the file has is all there is. */
	if (there <= 0 && (there || file->recovered) && !tk_contents_usable(agent, file))
		return there ?: -EUCLEAN;
	if (there > 0 && file->strange && !fstat(*fd, &st))
		take_set_times(file, &st);
	err = !there && file->unlooked ? tk_torn_yield(agent, file, *fd) : 0;
	if (err < 0)
		return err;
	if (err) {
		tk_fd_close(fd);
		return tk_file_sealed(agent, file);
	}
	err = write_payload(agent, file, *fd, there > 0);
	if (!err && then == TK_KEEP && keep(agent, file, *fd))
		return 0;
	if (!err && fsync(*fd))
		err = -errno;
	if (err)
		return err;
	if (then == TK_FLUSH_AND_KEEP && keep(agent, file, *fd))
		return 0;
	tk_fd_close(fd);
	return tk_file_sealed(agent, file);
}

int tk_contents_put_back(struct tk_agent *agent, struct tk_file *file, enum tk_then then)
{
	TK_AUTO_FD fd = -1;

	return tk_contents_put_back_by(agent, file, &fd, then);
}

/*
 * A kept file's bytes are written over themselves, for a flush that follows to tell the truth of them; flush:
 * make it here.  Who reads them in the raw view meanwhile sees no difference.  -EUCLEAN: they are not the
 * payload's, which is whole.
 */
int tk_contents_renew(struct tk_agent *agent, struct tk_file *file, bool flush)
{
	TK_AUTO_FD fd = tk_file_reopen(file, O_RDWR);
	struct stat st;
	int err, there;

	if (fd == -EPERM && !prove(file)) {
		file->doubtful = false;
		file->proved = true;
		return 0;
	}
	if (fd < 0 || fstat(fd, &st))
		return fd < 0 ? fd : -errno;
	there = tk_record_holds(file->volume, &file->record, fd);
	if (there <= 0) {
		err = tk_contents_check(agent, file);
		if (!err)
			return -EUCLEAN;
		/* The record is spoiled, or so it seems: then the file must speak for itself. */
		if (tk_verify_fd(agent->keys, fd, 0, (uint64_t)st.st_size, NULL, NULL))
			return err;
	}
	take_set_times(file, &st);
	err = there > 0 ? learn_times(file, fd) : 0;
	if (err)
		return err;
	file->renewing = true;
	err = there > 0 ? write_payload(agent, file, fd, true) : write_itself(fd);
	file->renewing = err;
	if (!err && (flush || there <= 0) && fsync(fd))
		err = -errno;
	file->doubtful = err;
	file->proved = !err && (flush || there <= 0);
	return err;
}
