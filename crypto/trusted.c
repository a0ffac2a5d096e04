// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/trusted.c - files that run with the keys in reach: nobody but root and the
 * caller may be able to change them, or where their names lead.
 */
#include "crypto/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

bool tk_owner_trusted(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/*
 * Whoever can change it, or what its name leads to, has the key.  In a sticky directory (/tmp) others can put
 * things, but not replace what is root's or the caller's, as all further down must be.
 */
static bool others_can_change(const struct stat *st)
{
	bool sticky = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX);

	return (st->st_uid != 0 && st->st_uid != geteuid()) ||
	       (!S_ISLNK(st->st_mode) && (st->st_mode & 022) && !sticky);
}

/* Takes the first component off rest; false at the end. */
static bool next_component(char *rest, char name[NAME_MAX + 1])
{
	size_t skip = strspn(rest, "/"), len = strcspn(rest + skip, "/");

	if (len == 0 || len > NAME_MAX)
		return false;
	memcpy(name, rest + skip, len);
	name[len] = '\0';
	memmove(rest, rest + skip + len, strlen(rest + skip + len) + 1);
	return true;
}

/* Puts what a symbolic link says before the rest; true when it begins at the root. */
static int follow(int link_fd, char rest[PATH_MAX], bool *ret_absolute)
{
	char target[PATH_MAX], whole[PATH_MAX];
	ssize_t n = readlinkat(link_fd, "", target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if ((size_t)snprintf(whole, sizeof(whole), "%s/%s", target, rest) >= sizeof(whole))
		return -ENAMETOOLONG;
	/* no slash that was not there behind the last component */
	if (!*rest)
		whole[n] = '\0';
	strcpy(rest, whole);
	*ret_absolute = target[0] == '/';
	return 0;
}

/* One step; the last component, a link to follow or a directory on the way. */
static int step(int *at, char rest[PATH_MAX], const char *name, int *links, struct stat *st)
{
	__attribute__((cleanup(closep))) int fd = openat(*at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	bool absolute = false;
	int next, r;

	if (fd < 0 || fstat(fd, st) < 0)
		return -errno;
	if (!S_ISLNK(st->st_mode) || others_can_change(st)) {
		close(*at);
		*at = fd;
		fd = -1;
		return 0;
	}
	r = ++*links > 40 ? -ELOOP : follow(fd, rest, &absolute);
	if (r < 0)
		return r;
	next = openat(*at, absolute ? "/" : ".", O_PATH | O_CLOEXEC);
	if (next < 0)
		return -errno;
	close(*at);
	*at = next;
	return fstat(next, st) < 0 ? -errno : 0;
}

/* From the root on, one component after the other, each held while it is looked at. */
int tk_trusted_open(const char *path, int *ret_fd)
{
	__attribute__((cleanup(closep))) int at = open("/", O_PATH | O_CLOEXEC);
	char rest[PATH_MAX], name[NAME_MAX + 1];
	int links = 0, fd, r;
	struct stat st;

	if (path[0] != '/')
		return -EINVAL;
	if (strlen(path) >= sizeof(rest))
		return -ENAMETOOLONG;
	strcpy(rest, path);
	if (at < 0 || fstat(at, &st) < 0)
		return -errno;
	while (!others_can_change(&st) && next_component(rest, name)) {
		r = step(&at, rest, name, &links, &st);
		if (r < 0)
			return r;
	}
	if (others_can_change(&st))
		return -EPERM;
	if (!S_ISREG(st.st_mode))
		return -EISDIR;
	fd = fcntl(at, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}
