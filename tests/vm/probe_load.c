// SPDX-License-Identifier: GPL-2.0
/*
 * Owns the probe's operations that go on and on while something else happens, and hold
 * each single time against what is expected.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Between two tries: what is at work beside us is to get on, too. */
static void breathe(void)
{
	poll(NULL, 0, 5);
}

static void told(unsigned long times)
{
	printf("times %lu\n", times);
}

/*
 * hammer PATH FLAG [ERRNO]: opens and reads it until FLAG appears; each time it must be refused with ERRNO, or
 * without one give the same contents.
 */
static void hammer(char **a)
{
	char first[256], now[256];
	unsigned long times = 0;
	ssize_t size = -1;

	for (; access(a[1], F_OK); times++, breathe()) {
		int fd = open(a[0], O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, now, sizeof(now));

		if (n < 0 && a[2] && !strcmp(strerrorname_np(errno), a[2])) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		if (n < 0)
			wrong("the %lu. time: %s", times + 1, strerrorname_np(errno));
		close(fd);
		if (a[2])
			wrong("the %lu. time: permitted", times + 1);
		if (size < 0) {
			size = n;
			memcpy(first, now, sizeof(first));
		}
		if (n != size || memcmp(first, now, n))
			wrong("the %lu. time: other contents", times + 1);
	}
	told(times);
}

/* hammer-open PATH FLAG: opens it once, then writes and reads it until FLAG appears. */
static void hammer_open(char **a)
{
	int fd = must_open(a[0], O_RDWR);
	unsigned long times = 0;

	printf("opened\n");
	fflush(stdout);
	for (; access(a[1], F_OK); times++, breathe()) {
		char written = 'a' + times % 26, back = 0;

		if (pwrite(fd, &written, 1, 0) != 1)
			wrong("the %lu. write: %s", times + 1, strerrorname_np(errno));
		if (pread(fd, &back, 1, 0) != 1)
			wrong("the %lu. read: %s", times + 1, strerrorname_np(errno));
		if (back != written)
			wrong("the %lu. time: other contents", times + 1);
	}
	told(times);
}

/* answering PATH: opens it once; for each line of input, "r" or "w", it reads or writes, and says "ok" or the errno. */
static void answering(char **a)
{
	int fd = must_open(a[0], O_RDWR);
	char line[16], byte;

	printf("opened\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		ssize_t n = *line == 'w' ? pwrite(fd, "A", 1, 0) : pread(fd, &byte, 1, 0);

		printf("%s\n", n == 1 ? "ok" : n < 0 ? strerrorname_np(errno) : "short");
		fflush(stdout);
	}
}

const struct operation load_operations[] = {
	{"hammer", "PATH FLAG [ERRNO]", hammer},
	{"hammer-open", "PATH FLAG", hammer_open},
	{"answering", "PATH", answering},
	{0},
};
