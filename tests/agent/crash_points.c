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
 * TK_CORES=N is how many the machine has, TK_BOOT=FILE holds the identity of this boot.
 * What a test changes while the agent runs is in struct fake_shared; struct fake_fault there makes one step
 * fail, or all from one on, or the agent die at it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <threads.h>
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

/* What a step can fail of, besides that the agent can die there. */
enum {
	NEEDS_ROOM = 1,
	DOES_IO = 2,
	NEEDS_MEMORY = 4,
	CHANGES_NOTHING = 8, /* so it is no place to die */
};

static int fails_of(enum fault_kind kind, int needs)
{
	switch (kind) {
	case FAULT_FULL:
		return needs & NEEDS_ROOM ? ENOSPC : 0;
	case FAULT_IO:
		return needs & DOES_IO ? EIO : 0;
	case FAULT_MEMORY:
		return needs & NEEDS_MEMORY ? ENOMEM : 0;
	case FAULT_NONE:
		return 0;
	default:
		return needs & CHANGES_NOTHING ? 0 : -1;
	}
}

/* 0: nothing happens; -1: it dies here; else an errno. */
static int fault(int needs)
{
	struct fake_fault *fault = fake_shared ? &fake_shared->fault : NULL;
	int what = fault ? fails_of(fault->kind, needs) : 0;
	uint32_t step;

	if (!what)
		return 0;
	step = atomic_fetch_add(&fault->steps, 1) + 1;
	if (fault->lasting ? step < fault->at : step != fault->at)
		return 0;
	fault->fired++;
	return what;
}

static int step(int needs)
{
	int what = fault(needs);

	if (what < 0 || (!(needs & CHANGES_NOTHING) && dies_now()))
		kill(getpid(), SIGKILL);
	return what;
}

static bool failed(int needs)
{
	int err = step(needs);

	if (err)
		errno = err;
	return err;
}

int fake_step(void);
int fake_step(void)
{
	return -step(NEEDS_MEMORY);
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

#define PLAIN(ret, name, needs, params, args) \
	ret __real_##name params;             \
	ret __wrap_##name params;             \
	ret __wrap_##name params              \
	{                                     \
		if (failed(needs))            \
			return -1;            \
		return __real_##name args;    \
	}

PLAIN(int, ftruncate64, DOES_IO | NEEDS_MEMORY, (int fd, off_t size), (fd, size))
PLAIN(int, futimens, DOES_IO, (int fd, const struct timespec *times), (fd, times))
PLAIN(int, renameat2, DOES_IO | NEEDS_ROOM | NEEDS_MEMORY,
      (int a, const char *b, int c, const char *d, unsigned int flags), (a, b, c, d, flags))
PLAIN(int, fsetxattr, DOES_IO | NEEDS_ROOM, (int a, const char *b, const void *c, size_t d, int e),
      (a, b, c, d, e))

PLAIN(int, linkat, DOES_IO | NEEDS_ROOM | NEEDS_MEMORY,
      (int a, const char *b, int c, const char *d, int flags), (a, b, c, d, flags))

#define MEMORY(name, params, args)                          \
	void *__real_##name params;                         \
	void *__wrap_##name params;                         \
	void *__wrap_##name params                          \
	{                                                   \
		if (failed(NEEDS_MEMORY | CHANGES_NOTHING)) \
			return NULL;                        \
		return __real_##name args;                  \
	}

MEMORY(malloc, (size_t size), (size))
MEMORY(calloc, (size_t n, size_t size), (n, size))
MEMORY(realloc, (void *old, size_t size), (old, size))

/* Opening for reading can fail as well, but changes nothing. */
static bool opening(int flags)
{
	return failed(DOES_IO | NEEDS_MEMORY | (flags & O_CREAT ? NEEDS_ROOM : CHANGES_NOTHING));
}

/* Takes over fd. */
static int readable(int fd, int otherwise)
{
	struct stat st;

	if (fd < 0 || !fake_shared || !fake_shared->unreadable || fstat(fd, &st) ||
	    st.st_ino != fake_shared->unreadable)
		return fd;
	close(fd);
	errno = otherwise;
	return -1;
}

int __real_openat64(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return opening(flags) ? -1 : readable(__real_openat64(dir, path, flags, mode), EIO);
}

int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (fake_shared && fake_shared->no_proc && !strncmp(path, "/proc/", 6) && strstr(path, "/stat")) {
		errno = EMFILE;
		return -1;
	}
	if (getenv("TK_BOOT") && strstr(path, "boot_id"))
		path = getenv("TK_BOOT");
	return opening(flags) ? -1 : __real_open64(path, flags, mode);
}

ssize_t __real_pread64(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t offset)
{
	return failed(DOES_IO | CHANGES_NOTHING) ? -1 : __real_pread64(fd, buf, len, offset);
}

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;
	int result;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == FICLONERANGE && fake_shared && fake_shared->full) {
		errno = ENOSPC;
		return -1;
	}
	result = failed(DOES_IO | NEEDS_ROOM) ? -1 : __real_ioctl(fd, request, arg);
	if (!result && fake_shared && request == FICLONERANGE)
		fake_shared->cloned += ((struct file_clone_range *)arg)->src_length;
	return result;
}

ssize_t __real_pwrite64(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t offset)
{
	int what = fault(DOES_IO | NEEDS_ROOM | NEEDS_MEMORY);

	if (dies_now() || what < 0) {
		if (wanted("TK_CRASH_HALF") || (what < 0 && fake_shared->fault.kind == FAULT_HALF))
			__real_pwrite64(fd, buf, len / 2, offset);
		kill(getpid(), SIGKILL);
	}
	if (what) { /* as a disk does that fills up, or fails, in the middle */
		__real_pwrite64(fd, buf, len / 2, offset);
		errno = what;
		return -1;
	}
	if (full()) {
		errno = ENOSPC;
		return -1;
	}
	if (fake_shared)
		fake_shared->written += len;
	return __real_pwrite64(fd, buf, len, offset);
}

int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags)
{
	if (failed(DOES_IO))
		return -1;
	if (fake_shared && fake_shared->unremovable) {
		fake_shared->unremoved++;
		errno = EIO;
		return -1;
	}
	return __real_unlinkat(dir, name, flags);
}

int __real_fallocate64(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t len)
{
	if (failed(DOES_IO | NEEDS_ROOM))
		return -1;
	if (full()) {
		errno = ENOSPC;
		return -1;
	}
	return __real_fallocate64(fd, mode, offset, len);
}

/* What waits for the disk is counted, and waits for as long as a test says. */
static void waits_for_disk(void)
{
	if (!fake_shared)
		return;
	fake_shared->flushes++;
	fake_shared->at_disk++;
	while (fake_shared->slow_disk)
		usleep(1000);
	fake_shared->at_disk--;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	struct stat st;

	waits_for_disk();
	if (failed(DOES_IO))
		return -1;
	if (fake_shared && fake_shared->unsyncable && !fstat(fd, &st) &&
	    st.st_ino == fake_shared->unsyncable) {
		errno = EIO;
		return -1;
	}
	return __real_fsync(fd);
}

#define FLUSH(name)                           \
	int __real_##name(int fd);            \
	int __wrap_##name(int fd);            \
	int __wrap_##name(int fd)             \
	{                                     \
		waits_for_disk();             \
		return failed(DOES_IO) ? -1 : __real_##name(fd); \
	}

FLUSH(fdatasync)

int __real_syncfs(int fd);
int __wrap_syncfs(int fd);
int __wrap_syncfs(int fd)
{
	waits_for_disk();
	if (fake_shared && fake_shared->unflushed) {
		fake_shared->unflushed--;
		errno = EIO;
		return -1;
	}
	return failed(DOES_IO) ? -1 : __real_syncfs(fd);
}

/* The kernel knows of a write that failed. */
int __real_sync_file_range(int fd, off_t from, off_t size, unsigned int flags);
int __wrap_sync_file_range(int fd, off_t from, off_t size, unsigned int flags);
int __wrap_sync_file_range(int fd, off_t from, off_t size, unsigned int flags)
{
	struct stat st;

	if (failed(DOES_IO | CHANGES_NOTHING))
		return -1;
	if (fake_shared && fake_shared->unsyncable && !fstat(fd, &st) && st.st_ino == fake_shared->unsyncable) {
		errno = EIO;
		return -1;
	}
	return __real_sync_file_range(fd, from, size, flags);
}

int __real_open_by_handle_at(int mount, struct file_handle *handle, int flags);
int __wrap_open_by_handle_at(int mount, struct file_handle *handle, int flags);
int __wrap_open_by_handle_at(int mount, struct file_handle *handle, int flags)
{
	int fd = readable(__real_open_by_handle_at(mount, handle, flags), ESTALE);
	struct stat st;

	if (fd < 0 || !fake_shared || !fake_shared->stale || fstat(fd, &st) || st.st_ino != fake_shared->stale)
		return fd;
	close(fd);
	errno = ESTALE;
	return -1;
}

/* Whoever has looked at the room there is, as who releases kept files does first, sees it once more with its name. */
static thread_local bool seen, looked;

int __real_fstatvfs64(int fd, struct statvfs *ret_st);
int __wrap_fstatvfs64(int fd, struct statvfs *ret_st);
int __wrap_fstatvfs64(int fd, struct statvfs *ret_st)
{
	int result = __real_fstatvfs64(fd, ret_st);

	looked = true;
	seen = false;
	if (!result && fake_shared && fake_shared->few_inodes) {
		ret_st->f_files = 1000;
		ret_st->f_ffree = 50;
	}
	return result;
}

int __real_fstat64(int fd, struct stat *ret_st);
int __wrap_fstat64(int fd, struct stat *ret_st);
int __wrap_fstat64(int fd, struct stat *ret_st)
{
	int result = __real_fstat64(fd, ret_st);

	if (!result && fake_shared && looked && fake_shared->vanishing == ret_st->st_ino) {
		ret_st->st_nlink = seen ? 0 : ret_st->st_nlink;
		seen = true;
	}
	return result;
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

long __real_sysconf(int name);
long __wrap_sysconf(int name);
long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN && getenv("TK_CORES") ? (long)wanted("TK_CORES")
								  : __real_sysconf(name);
}
