/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/trees/lease.h - whether others have a file open, or want to: fcntl(2)'s leases.
 */
#ifndef TK_TREES_LEASE_H
#define TK_TREES_LEASE_H

#include <stdbool.h>

/*
 * type: F_RDLCK, against writers, for a descriptor for reading; or F_WRLCK, against everybody.  Who comes later
 * waits until the descriptor is closed, or for /proc/sys/fs/lease-break-time.  The signal is ignored from then on.
 * 0, -EBUSY: somebody has it open, or waits already; another -errno: leases are not to be had here.
 */
int tk_lease_take(int fd, int type);
/* Nobody has come since whom a lease of that type holds up; false also when none was taken. */
bool tk_lease_holds(int fd, int type);

#endif
