// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/crash_points.c - lets the agent die at its Nth step.  The linker routes
 * every call that changes something through here (--wrap), so that a test can try
 * each place between two of them.
 *
 * TK_CRASH_AT=N dies before the Nth step is taken; TK_CRASH_HALF=1 lets a write get
 * half way first.  TK_FULL_AT=N makes the Nth step and all writes after it fail with
 * ENOSPC until the file named by TK_FULL_UNTIL exists.
 *
 * TK_UPTIME=S is how long ago the machine was booted, as the agent sees it, and
 * TK_RECORDS_AGE=S how much older than they are the records of the journal look.
 * TK_CORES=N is how many the machine has.
 * What a test changes while the agent runs is in struct fake_shared.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "tests/agent/fake_kernel.h"

static atomic_ulong steps;

static unsigned long wanted(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : 0;
}

static int dies_now(void)
{
	unsigned long at = wanted("TK_CRASH_AT");

	return at && atomic_fetch_add(&steps, 1) + 1 == at;
}

void fake_step(void);
void fake_step(void)
{
	if (dies_now())
		kill(getpid(), SIGKILL);
}

static int full(void)
{
	unsigned long at = wanted("TK_FULL_AT");
	const char *until = getenv("TK_FULL_UNTIL");
	static atomic_ulong writes;

	if (fake_shared && fake_shared->full)
		return 1;
	return at && atomic_fetch_add(&writes, 1) + 1 >= at && until && access(until, F_OK);
}

#define PLAIN(ret, name, params, args)     \
	ret __real_##name params;          \
	ret __wrap_##name params;          \
	ret __wrap_##name params           \
	{                                  \
		fake_step();               \
		return __real_##name args; \
	}

PLAIN(int, fdatasync, (int fd), (fd))
PLAIN(int, ftruncate64, (int fd, off_t size), (fd, size))
PLAIN(int, futimens, (int fd, const struct timespec *times), (fd, times))
PLAIN(int, renameat, (int a, const char *b, int c, const char *d), (a, b, c, d))
PLAIN(int, unlinkat, (int a, const char *b, int c), (a, b, c))

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	fake_step();
	return __real_ioctl(fd, request, arg);
}

ssize_t __real_pwrite64(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t offset)
{
	if (dies_now()) {
		if (wanted("TK_CRASH_HALF"))
			__real_pwrite64(fd, buf, len / 2, offset);
		kill(getpid(), SIGKILL);
	}
	if (full()) {
		errno = ENOSPC;
		return -1;
	}
	if (fake_shared)
		fake_shared->written += len;
	return __real_pwrite64(fd, buf, len, offset);
}

int __real_fallocate64(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len)
{
	fake_step();
	if (full()) {
		errno = ENOSPC;
		return -1;
	}
	return __real_fallocate64(fd, mode, offset, len);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	struct stat st;

	fake_step();
	if (fake_shared && fake_shared->unsyncable && !fstat(fd, &st) &&
	    st.st_ino == fake_shared->unsyncable) {
		errno = EIO;
		return -1;
	}
	return __real_fsync(fd);
}

/* Long enough for whatever does not wait for the answer to be sent. */
ssize_t __real_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
	if (fake_shared && fake_shared->late_sender == getpid())
		usleep(500000);
	return __real_send(fd, data, size, flags);
}

int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	if (clock != CLOCK_BOOTTIME || !getenv("TK_UPTIME"))
		return __real_clock_gettime(clock, ret_now);
	*ret_now = (struct timespec){.tv_sec = (time_t)wanted("TK_UPTIME")};
	return 0;
}

long __real_sysconf(int name);
long __wrap_sysconf(int name);
long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN && getenv("TK_CORES") ? (long)wanted("TK_CORES")
								  : __real_sysconf(name);
}

int __real_fstatat64(int dir, const char *name, struct stat *ret_st, int flags);
int __wrap_fstatat64(int dir, const char *name, struct stat *ret_st, int flags);
int __wrap_fstatat64(int dir, const char *name, struct stat *ret_st, int flags)
{
	int result = __real_fstatat64(dir, name, ret_st, flags);

	if (flags == AT_SYMLINK_NOFOLLOW)
		ret_st->st_ctim.tv_sec -= (time_t)wanted("TK_RECORDS_AGE");
	return result;
}
