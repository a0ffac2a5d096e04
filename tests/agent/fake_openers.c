// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/fake_openers.c - what a thread is opening, found out from outside: the fake
 * kernel has no hook that would be told.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/agent/fake_kernel.h"

static void read_text(uint32_t tid, uint64_t address, char *ret_text, size_t size)
{
	struct iovec local = {ret_text, size - 1}, remote = {(void *)address, size - 1};
	ssize_t n = process_vm_readv((pid_t)tid, &local, 1, &remote, 1, 0);

	if (n <= 0) { /* the end of a page */
		local.iov_len = remote.iov_len =
			4096 - address % 4096 < size ? 4096 - address % 4096 : size - 1;
		n = process_vm_readv((pid_t)tid, &local, 1, &remote, 1, 0);
	}
	ret_text[n > 0 ? n : 0] = '\0';
}

/* The system call a thread waits in.  It may still be on its way to sleep. */
static int read_syscall(uint32_t tid, long *ret_number, uint64_t args[6])
{
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%u/syscall", tid);
	for (int i = 0; i < 100000; i++) {
		FILE *in = fopen(path, "re");
		bool got = in && fgets(line, sizeof(line), in);

		if (in)
			fclose(in);
		if (got && sscanf(line, "%ld %lx %lx %lx %lx %lx %lx", ret_number, &args[0], &args[1],
				  &args[2], &args[3], &args[4], &args[5]) == 7)
			return 0;
		if (!in)
			return -ESRCH;
		sched_yield();
	}
	return -EAGAIN;
}

/* What the thread is opening, as a path this process can look at: also where its root or its mounts are others. */
int fake_opened(uint32_t tid, char *ret_path, size_t size, uint32_t *ret_flags)
{
	char text[1024], base[64];
	uint64_t args[6], name;
	long number;
	int err = read_syscall(tid, &number, args);

	if (err)
		return err;
	snprintf(base, sizeof(base), "/proc/%u/cwd", tid);
	switch (number) {
	case SYS_open:
		name = args[0];
		*ret_flags = (uint32_t)args[1];
		break;
	case SYS_creat:
		name = args[0];
		*ret_flags = O_CREAT | O_WRONLY | O_TRUNC;
		break;
	case SYS_openat:
		name = args[1];
		*ret_flags = (uint32_t)args[2];
		if ((int)args[0] != AT_FDCWD)
			snprintf(base, sizeof(base), "/proc/%u/fd/%d", tid, (int)args[0]);
		break;
	case SYS_execve:
		name = args[0];
		*ret_flags = O_RDONLY;
		break;
	default:
		return -ENOSYS;
	}
	read_text(tid, name, text, sizeof(text));
	if (*text == '/')
		snprintf(ret_path, size, "/proc/%u/root%s", tid, text);
	else
		snprintf(ret_path, size, "%s/%s", base, text);
	return 0;
}

/* The place a file lies in: the nearest directory above it that is one, whatever mount it was opened through. */
uint32_t fake_uid_of(uint32_t tid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%u", tid);
	return stat(path, &st) ? 0 : st.st_uid;
}
