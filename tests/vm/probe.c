// SPDX-License-Identifier: GPL-2.0
/*
 * Owns the frame of the probe: one named operation on given paths under a given identity,
 * with an outcome that cannot be mistaken. See probe.h for what operations promise.
 *
 *   probe [--login N] [--uid N] [--gid N] [--groups A,B] [--repeat-until-ok MS] OPERATION ARGUMENT...
 *
 * First line of output "probe OPERATION", then what was read, and at the end
 *   exit 0   "ok"                          it worked
 *   exit 10  "errno NAME" and "at STEP"    the kernel refused it
 *   exit 11  "wrong ..."                   it did something inconsistent
 *   exit 12  "setup ..."                   it could not be tried
 * `probe --list` prints the operations.
 *
 * gcc -static -O2 -std=gnu17 -Wall -Wextra -o build/tests/probe tests/vm/probe*.c
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGS 16

static const struct operation *const tables[] = {data_operations, name_operations, other_operations,
					       exe_operations, code_operations, load_operations};

static _Noreturn void leave(enum outcome how)
{
	fflush(stdout);
	_exit(how);
}

void refused_as(const char *name, const char *step)
{
	printf("errno %s\nat %s\n", name, step);
	leave(REFUSED);
}

void refused(const char *step)
{
	const char *name = strerrorname_np(errno);

	/* An operation that failed without saying why is the probe's fault. */
	if (!errno || !name)
		wrong("%s failed with errno %d", step, errno);
	refused_as(name, step);
}

void wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("wrong ");
	vprintf(fmt, ap);
	printf("\n");
	leave(WRONG);
}

void no_setup(const char *fmt, ...)
{
	int e = errno;
	va_list ap;

	va_start(ap, fmt);
	printf("setup ");
	vprintf(fmt, ap);
	printf("%s%s\n", e ? ": " : "", e ? strerror(e) : "");
	leave(NO_SETUP);
}

void show(const char *data, size_t size)
{
	printf("data ");
	for (size_t i = 0; i < size && i < 256; i++) {
		unsigned char c = data[i];

		if (c >= ' ' && c < 127 && c != '\\')
			putchar(c);
		else
			printf("\\x%02x", c);
	}
	putchar('\n');
}

void show_fd(int fd)
{
	char buf[256];
	ssize_t n = pread(fd, buf, sizeof(buf), 0);

	if (n < 0)
		refused("read");
	show(buf, n);
}

void put_fd(int fd, const char *text)
{
	ssize_t size = strlen(text), n = write(fd, text, size);

	if (n < 0)
		refused("write");
	if (n != size)
		wrong("write took %zd of %zd bytes", n, size);
}

int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		refused("open");
	return fd;
}

long number(const char *text)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 0);
	if (errno || end == text || *end) {
		errno = 0;
		no_setup("'%s' is no number", text);
	}
	return n;
}

void become(long uid, long gid, const char *groups)
{
	gid_t list[32];
	size_t n = 0;

	if (groups) {
		char *copy = strdup(groups), *rest = copy, *word;

		while ((word = strsep(&rest, ",")) && n < 32)
			if (*word)
				list[n++] = number(word);
		free(copy);
	}
	/* Without --groups a changed uid keeps none of root's. */
	if ((groups || uid > 0) && setgroups(n, list))
		no_setup("setgroups");
	if (gid >= 0 && setresgid(gid, gid, gid))
		no_setup("setresgid %ld", gid);
	if (uid >= 0 && setresuid(uid, uid, uid))
		no_setup("setresuid %ld", uid);
}

/* As log-in does it, once for the process and all that come of it. */
static void log_in(const char *uid)
{
	int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, uid, strlen(uid)) != (ssize_t)strlen(uid) || close(fd))
		no_setup("/proc/self/loginuid");
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void await(const char *flag)
{
	for (long end = now_ms() + 300000; access(flag, F_OK); usleep(2000))
		if (now_ms() > end)
			no_setup("%s did not appear", flag);
}

void end_like(pid_t child)
{
	int status;

	fflush(stdout);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			no_setup("waitpid");
	if (!WIFEXITED(status))
		wrong("the second process died of signal %d", WTERMSIG(status));
	_exit(WEXITSTATUS(status));
}

static const struct operation *find(const char *name)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (const struct operation *op = tables[t]; op->name; op++)
			if (!strcmp(op->name, name))
				return op;
	errno = 0;
	no_setup("no operation '%s'", name);
}

static void list(void)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (const struct operation *op = tables[t]; op->name; op++)
			printf("%s %s\n", op->name, op->arguments);
}

/* Too few or too many arguments must not become a denial by accident (ENOENT on ""). */
static void count(const struct operation *op, char **args)
{
	int have = 0, least = 0, most = 0;

	for (const char *at = op->arguments; *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");

		if (!strncmp(at, "...", 3)) {
			most = MAX_ARGS;
		} else {
			most++;
			if (*at != '[')
				least++;
		}
		at += n;
	}
	while (args[have])
		have++;
	errno = 0;
	if (have < least || have > most)
		no_setup("usage: %s %s", op->name, op->arguments);
}

/* One try in a process of its own: a try must not inherit the identity or the descriptors of the last. */
static int attempt(const struct operation *op, char **args, long uid, long gid, const char *groups, int out)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		no_setup("fork");
	if (!pid) {
		if (dup2(out, 1) < 0)
			_exit(NO_SETUP);
		printf("probe %s\n", op->name);
		become(uid, gid, groups);
		op->act(args);
		printf("ok\n");
		leave(OK);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			no_setup("waitpid");
	if (!WIFEXITED(status)) {
		printf("probe %s\n", op->name);
		wrong("it died of signal %d", WTERMSIG(status));
	}
	return WEXITSTATUS(status);
}

static int repeat(const struct operation *op, char **args, long uid, long gid, const char *groups, long limit)
{
	long end = now_ms() + limit;
	FILE *out = tmpfile();
	char buf[4096];
	size_t n;
	int code;

	if (!out)
		no_setup("tmpfile");
	for (;;) {
		if (ftruncate(fileno(out), 0) || lseek(fileno(out), 0, SEEK_SET) < 0)
			no_setup("tmpfile");
		code = attempt(op, args, uid, gid, groups, fileno(out));
		/* Only a refusal may turn into success by waiting. */
		if (code != REFUSED || now_ms() > end)
			break;
		usleep(5000);
	}
	rewind(out);
	while ((n = fread(buf, 1, sizeof(buf), out)) > 0)
		fwrite(buf, 1, n, stdout);
	fflush(stdout);
	return code;
}

int main(int argc, char **argv)
{
	char *args[MAX_ARGS + 2] = {0};
	const char *groups = NULL;
	long uid = -1, gid = -1, limit = -1;
	const struct operation *op;
	int i;

	for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i += 2) {
		errno = 0;
		if (!strcmp(argv[i], "--list")) {
			list();
			return 0;
		}
		if (i + 1 == argc)
			no_setup("%s wants a value", argv[i]);
		if (!strcmp(argv[i], "--uid"))
			uid = number(argv[i + 1]);
		else if (!strcmp(argv[i], "--gid"))
			gid = number(argv[i + 1]);
		else if (!strcmp(argv[i], "--groups"))
			groups = argv[i + 1];
		else if (!strcmp(argv[i], "--login"))
			log_in(argv[i + 1]);
		else if (!strcmp(argv[i], "--repeat-until-ok"))
			limit = number(argv[i + 1]);
		else
			no_setup("no option %s", argv[i]);
	}
	errno = 0;
	if (i == argc)
		no_setup("usage: probe [OPTION]... OPERATION ARGUMENT... (probe --list)");
	if (argc - i > MAX_ARGS)
		no_setup("too many arguments");
	op = find(argv[i++]);
	for (int n = 0; i < argc; i++)
		args[n++] = argv[i];
	count(op, args);
	return limit < 0 ? attempt(op, args, uid, gid, groups, 1) : repeat(op, args, uid, gid, groups, limit);
}
