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
#include <sys/mman.h>
#include <sys/wait.h>
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

/* COUNT processes at once, each with its number; all must end with the same.  Ends like they did. */
static void at_once(long count, int (*act)(char **a, long number), char **a)
{
	long ended[256] = {};

	fflush(stdout);
	for (long i = 0; i < count; i++) {
		pid_t child = fork();

		if (child < 0)
			no_setup("the %ld. fork", i + 1);
		if (!child)
			_exit(act(a, i));
	}
	for (long i = 0; i < count; i++) {
		int status;

		if (wait(&status) < 0)
			no_setup("wait");
		ended[WIFEXITED(status) ? WEXITSTATUS(status) : 255]++;
	}
	for (int i = 1; i < 256; i++)
		if (ended[i] && ended[i] < count)
			wrong("%ld of %ld ended with %s", ended[i], count, strerrorname_np(i) ?: "a signal");
		else if (ended[i]) {
			errno = i;
			refused("open");
		}
}

/* One of them: forks TIMES children one after the other, each of which tries PATH. */
static int fork_and_open(char **a, long me)
{
	long times = number(a[2]);
	int first = -1, status;

	(void)me;
	for (long i = 0; i < times; i++) {
		pid_t child = fork();

		if (!child)
			_exit(open(a[3], O_RDONLY | O_CLOEXEC) < 0 ? errno : 0);
		if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
			return ECHILD;
		if (first < 0)
			first = WEXITSTATUS(status);
		if (WEXITSTATUS(status) != first)
			return EILSEQ; /* one was treated otherwise than the others */
	}
	return first;
}

/*
 * forks-then-open LIBRARY COUNT TIMES PATH: maps code of LIBRARY; of COUNT processes at once each has TIMES children
 * that open PATH.  All of them must fare alike.
 */
static void forks_then_open(char **a)
{
	int fd = open(a[0], O_RDONLY | O_CLOEXEC);

	if (fd < 0 || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		no_setup("map code of %s", a[0]);
	close(fd);
	at_once(number(a[1]), fork_and_open, a);
}

static int open_and_truncate(char **a, long me)
{
	long times = number(a[2]);
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s%ld", a[0], me);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (long i = 0; fd >= 0 && i < times; i++)
		if (truncate(path, 100 + i % 2))
			return errno;
	return fd < 0 ? errno : 0;
}

/* truncates PREFIX COUNT TIMES: COUNT processes at once; each has PREFIXn open and resizes it by its name. */
static void truncates(char **a)
{
	at_once(number(a[1]), open_and_truncate, a);
}

const struct operation load_operations[] = {
	{"forks-then-open", "LIBRARY COUNT TIMES PATH", forks_then_open},
	{"truncates", "PREFIX COUNT TIMES", truncates},
	{"hammer", "PATH FLAG [ERRNO]", hammer},
	{"hammer-open", "PATH FLAG", hammer_open},
	{"answering", "PATH", answering},
	{0},
};
