// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/fake_mounts.c - the mounts of the fake kernel half: which guard points
 * the agent watches, and which mounts show nothing else.  What the kernel sees in the
 * mount itself it looks up in the mountinfo of every process.  Also sees to it that the
 * tests' own eyes are not what the agent sees.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>

#include "loader/agent/agent.h"
#include "tests/agent/fake_kernel.h"

int fake_eyes[2] = {-1, -1};

static uint32_t flushes, flushes_before[FAKE_PLACES];

/* All calls of the agent come through here (--wrap). */
int __real_fanotify_mark(int group, unsigned int flags, uint64_t mask, int dir, const char *path);
int __wrap_fanotify_mark(int group, unsigned int flags, uint64_t mask, int dir, const char *path);
int __wrap_fanotify_mark(int group, unsigned int flags, uint64_t mask, int dir, const char *path)
{
	int result = flags & FAN_MARK_FLUSH ? __real_fanotify_mark(group, flags, mask, dir, path) : 0;

	flushes += flags & FAN_MARK_FLUSH && !result;
	for (int i = 0; i < 2 && flags & (FAN_MARK_FLUSH | FAN_MARK_FILESYSTEM); i++)
		__real_fanotify_mark(group,
				     FAN_MARK_ADD | FAN_MARK_MOUNT | FAN_MARK_IGNORED_MASK |
					     FAN_MARK_IGNORED_SURV_MODIFY,
				     FAN_OPEN_PERM, fake_eyes[i], ".");
	return flags & FAN_MARK_FLUSH ? result : __real_fanotify_mark(group, flags, mask, dir, path);
}

int tk_kernel_watch_none(struct tk_kernel *kernel)
{
	memset(fake_shared->watched, 0, sizeof(fake_shared->watched));
	return 0;
}

int tk_kernel_watch(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_watch watch)
{
	for (uint32_t i = 0; i < fake_shared->place_count; i++)
		if (!memcmp(&fake_shared->places[i], inode, sizeof(*inode))) {
			if (watch == TK_WATCH_COMING)
				flushes_before[i] = flushes;
			/* Some mount there may have been marked before it was known to be coming. */
			if (watch == TK_WATCHED && (!fake_shared->watched[i] || flushes == flushes_before[i]))
				fake_shared->untimely++;
			fake_shared->watched[i] = watch;
			return 0;
		}
	return -ENOENT;
}

/* What is said of a directory, or of the nearest one above that is known; path is from the filesystem's root.
 */
static enum tk_watch watch_of(const char *root)
{
	TK_AUTO_TEXT path = strdup(root);
	char *slash;
	struct stat st;

	while (path && (slash = strrchr(path, '/')) && path[1]) {
		if (!fstatat(fake_eyes[1], path + 1, &st, AT_SYMLINK_NOFOLLOW))
			for (uint32_t i = 0; i < fake_shared->place_count; i++)
				if (fake_shared->places[i].ino == st.st_ino && fake_shared->watched[i])
					return fake_shared->watched[i];
		*slash = '\0';
	}
	return TK_WATCH_NONE;
}

int tk_kernel_is_narrow(struct tk_kernel *kernel, int fd)
{
	struct dirent *entry;
	int narrow = 0;
	uint32_t id;
	DIR *proc;

	if (tk_mount_id(fd, "", &id))
		return -EBADF;
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while ( (entry = readdir(proc))) {
		const struct tk_mount *mount;
		struct tk_mounts mounts = {};
		char path[300];

		snprintf(path, sizeof(path), "/proc/%s/mountinfo", entry->d_name);
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		if (tk_mountinfo_read(path, &mounts)) {
			if (errno == EMFILE)
				narrow = -EMFILE; /* unless it is found elsewhere */
			continue;
		}
		mount = tk_mountinfo_find(&mounts, id);
		if (mount)
			narrow = watch_of(mount->root) != TK_WATCH_NONE;
		tk_mountinfo_free(&mounts);
		if (mount)
			break;
	}
	closedir(proc);
	return narrow;
}
