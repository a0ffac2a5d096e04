// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/attributes.c - what must be as before once a file's bytes have moved:
 * its times and its capabilities.  Does not move bytes.
 *
 * A record holds both as they were before the first cut.  The file's modification
 * time tells whether a move is under way: cutting a file changes it, and giving it
 * back is the last step.
 */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "loader/agent/agent.h"

#define CAPABILITY "security.capability"

bool tk_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool tk_same_mtime(const struct stat *st, const struct tk_record *record)
{
	return tk_same_time(&st->st_mtim, &record->mtime);
}

/*
 * Gives the file the record's times, unless somebody has set others since `begun`, when the contents began to
 * move: rsync and tar close a file first and set its time afterwards.  What our own writes leave is about
 * now; a time that is not was asked for.
 */
int tk_times_restore(int fd, struct tk_record *record, const struct timespec *begun)
{
	struct timespec times[2], now;
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &now);
	if (fstat(fd, &st))
		return -errno;
	if (st.st_mtim.tv_sec < begun->tv_sec - 1 || st.st_mtim.tv_sec > now.tv_sec + 1) {
		record->mtime = st.st_mtim;
		record->atime = st.st_atim;
	}
	times[0] = record->atime;
	times[1] = record->mtime;
	return futimens(fd, times) ? -errno : 0;
}

/*
 * Cutting and writing a file takes its capabilities away, root's writes included (security_inode_killpriv).
 * They are what an executable is, so they are put back.  What the kernel itself cannot read as one is none.
 */
int tk_capability_read(int fd, struct tk_capability *ret_capability)
{
	struct tk_capability capability = {};
	ssize_t n = fgetxattr(fd, CAPABILITY, capability.value, sizeof(capability.value));

	if (n < 0 && errno != ENODATA && errno != EOPNOTSUPP && errno != EINVAL)
		return -errno;
	capability.size = n < 0 ? 0 : (uint32_t)n;
	*ret_capability = capability;
	return 0;
}

/*
 * Before the first cut: the record knows capabilities and times, durably.  They may be others than those it was
 * made with (setcap(8) and touch(1) need no open).  Of a file that lost them to a move that was cut short the record
 * has them.
 */
int tk_attributes_keep(struct tk_file *file, int fd)
{
	struct tk_record record = file->record;
	struct tk_capability now;
	struct stat st;
	int err = fstat(fd, &st) ? -errno : tk_capability_read(fd, &now);

	if (err)
		return err;
	/* No capability and another time: a move has begun. */
	if (now.size || tk_same_mtime(&st, &file->record))
		record.capability = now;
	if (!memcmp(&record.capability, &file->record.capability, sizeof(now)) &&
	    tk_same_time(&record.mtime, &record.stored_mtime))
		return 0;
	err = tk_record_rewrite(file->volume, &record);
	if (!err)
		file->record = record;
	return err;
}

int tk_capability_restore(int fd, const struct tk_capability *kept)
{
	return kept->size && fsetxattr(fd, CAPABILITY, kept->value, kept->size, 0) ? -errno : 0;
}
