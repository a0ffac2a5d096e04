// SPDX-License-Identifier: GPL-2.0
/*
 * loader/trees/lease.c - leases, and where their answer means nothing.
 */
#include "loader/trees/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/vfs.h>

int tk_lease_take(int fd, int type)
{
	struct statfs fs;

	/* It would kill; tk_lease_holds() asks instead. */
	signal(SIGIO, SIG_IGN);
	if (fcntl(fd, F_SETLEASE, type) == 0)
		return 0;
	if (errno != EAGAIN)
		return -errno;
	/* These say EAGAIN whenever the server did not delegate the file, writers or not. */
	if (fstatfs(fd, &fs) == 0 && (fs.f_type == NFS_SUPER_MAGIC || fs.f_type == SMB_SUPER_MAGIC ||
				      fs.f_type == CIFS_SUPER_MAGIC || fs.f_type == SMB2_SUPER_MAGIC))
		return -EOPNOTSUPP;
	return -EBUSY;
}

bool tk_lease_holds(int fd, int type)
{
	/* While somebody waits it answers what the lease is about to become. */
	return fcntl(fd, F_GETLEASE) == type;
}
