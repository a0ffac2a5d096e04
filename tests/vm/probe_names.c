// SPDX-License-Identifier: GPL-2.0
/*
 * Owns the probe's operations on names and attributes: directories, links, owners, modes.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static void do_link(char **a)
{
	if (link(a[0], a[1]))
		refused("link");
}

static void do_symlink(char **a)
{
	if (symlink(a[0], a[1]))
		refused("symlink");
}

static void do_readlink(char **a)
{
	char buf[256];
	ssize_t n = readlink(a[0], buf, sizeof(buf));

	if (n < 0)
		refused("readlink");
	show(buf, n);
}

static void do_rename(char **a)
{
	if (rename(a[0], a[1]))
		refused("rename");
}

static void rename_exchange(char **a)
{
	if (renameat2(AT_FDCWD, a[0], AT_FDCWD, a[1], RENAME_EXCHANGE))
		refused("renameat2");
}

static void do_unlink(char **a)
{
	if (unlink(a[0]))
		refused("unlink");
}

static void do_rmdir(char **a)
{
	if (rmdir(a[0]))
		refused("rmdir");
}

static void do_mkdir(char **a)
{
	if (mkdir(a[0], 0755))
		refused("mkdir");
}

/* A device, unlike a fifo, reaches past every file system. */
static void do_mknod(char **a)
{
	if (mknod(a[0], S_IFCHR | 0600, makedev(1, 3)))
		refused("mknod");
}

static void do_mkfifo(char **a)
{
	if (mkfifo(a[0], 0600))
		refused("mkfifo");
}

static void do_chmod(char **a)
{
	if (chmod(a[0], number(a[1])))
		refused("chmod");
}

static void do_chown(char **a)
{
	if (lchown(a[0], number(a[1]), -1))
		refused("chown");
}

static void utimes_now(char **a)
{
	if (utimensat(AT_FDCWD, a[0], NULL, AT_SYMLINK_NOFOLLOW))
		refused("utimensat");
}

static void do_setxattr(char **a)
{
	if (lsetxattr(a[0], a[1], a[2], strlen(a[2]), 0))
		refused("setxattr");
}

static void do_getxattr(char **a)
{
	char buf[256];
	ssize_t n = lgetxattr(a[0], a[1], buf, sizeof(buf));

	if (n < 0)
		refused("getxattr");
	show(buf, n);
}

static void do_removexattr(char **a)
{
	if (lremovexattr(a[0], a[1]))
		refused("removexattr");
}

/* chattr: an immutable or append-only file could not be sealed. */
static void setflags(char **a)
{
	int fd = open(a[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC), flags = number(a[1]);

	if (fd < 0)
		no_setup("open %s", a[0]);
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
		refused("ioctl FS_IOC_SETFLAGS");
}

static void list(char **a)
{
	DIR *dir = opendir(a[0]);
	struct dirent *e;

	if (!dir)
		refused("opendir");
	errno = 0;
	while ((e = readdir(dir))) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			show(e->d_name, strlen(e->d_name));
		errno = 0;
	}
	if (errno)
		refused("readdir");
}

static void do_stat(char **a)
{
	struct stat st;
	char text[128];

	if (lstat(a[0], &st))
		refused("stat");
	snprintf(text, sizeof(text), "mode=%o uid=%u gid=%u size=%lld links=%lu", st.st_mode, st.st_uid,
		 st.st_gid, (long long)st.st_size, (unsigned long)st.st_nlink);
	show(text, strlen(text));
}

static void do_access(char **a)
{
	if (access(a[0], number(a[1])))
		refused("access");
}

static void do_chdir(char **a)
{
	if (chdir(a[0]))
		refused("chdir");
}

const struct operation name_operations[] = {
	{"link", "FROM TO", do_link},
	{"symlink", "TARGET PATH", do_symlink},
	{"readlink", "PATH", do_readlink},
	{"rename", "FROM TO", do_rename},
	{"rename-exchange", "ONE OTHER", rename_exchange},
	{"unlink", "PATH", do_unlink},
	{"rmdir", "PATH", do_rmdir},
	{"mkdir", "PATH", do_mkdir},
	{"mknod", "PATH", do_mknod},
	{"mkfifo", "PATH", do_mkfifo},
	{"chmod", "PATH MODE", do_chmod},
	{"chown", "PATH UID", do_chown},
	{"utimes", "PATH", utimes_now},
	{"setxattr", "PATH NAME VALUE", do_setxattr},
	{"getxattr", "PATH NAME", do_getxattr},
	{"removexattr", "PATH NAME", do_removexattr},
	{"setflags", "PATH FLAGS", setflags},
	{"list", "DIRECTORY", list},
	{"stat", "PATH", do_stat},
	{"access", "PATH MODE", do_access},
	{"chdir", "DIRECTORY", do_chdir},
	{0},
};
