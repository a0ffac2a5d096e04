// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/keycommand.c - keys out of the standard output of a command.  When a failing
 * one may be run again is keyhealth.c's to say.
 */
#include "crypto/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRIES 3
#define PAUSE_MS 100 /* after the first try; doubled after the next */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* ---------------------------------------------------------- the right file */

static int open_command(const char *path, int *ret_fd, const char **ret_why)
{
	int r = tk_trusted_open(path, ret_fd);

	switch (r) {
	case 0:
		return 0;
	case -EINVAL:
		return tk_key_refuse(r, "the key command is no absolute path", ret_why);
	case -EPERM:
		return tk_key_refuse(
			-EACCES,
			"the key command, or a directory or link on the way to it, can be changed by "
			"others than root and the caller",
			ret_why);
	case -EISDIR:
		return tk_key_refuse(-EACCES, "the key command is not a regular file", ret_why);
	}
	return tk_key_refuse(r, "the key command cannot be found", ret_why);
}

/*
 * A program is started by the descriptor that was checked, closed by the start itself.  A script's
 * interpreter opens it again, by its path: that nobody else can change where that leads was checked.
 */
static const char *way_to_start(int fd, const char *path, char self[40])
{
	__attribute__((cleanup(closep))) int reading = -1;
	char magic[2];

	snprintf(self, 40, "/proc/self/fd/%d", fd);
	reading = open(self, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return reading >= 0 && pread(reading, magic, 2, 0) == 2 && memcmp(magic, "#!", 2) != 0 ? self : path;
}

/* ---------------------------------------------------------------- running */

struct child {
	pid_t pid; /* 0: none, or reaped */
	int out, pidfd;
};

/* Nothing of it survives: it leads a session and a group of its own. */
static void child_end(struct child *c)
{
	if (c->pid) {
		kill(-c->pid, SIGKILL);
		kill(c->pid, SIGKILL);
		while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	closep(&c->out);
	closep(&c->pidfd);
}

/* command: the file, checked; above 2, closed on exec. */
static int start(int command, const char *const *argv, struct child *c)
{
	static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	char self[40];
	int pipe_fds[2], r;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	c->out = pipe_fds[0];
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	r = posix_spawnattr_setflags(&attr,
				     POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	/* In this order: the pipe may itself be descriptor 0, 1 or 2 of a daemon. */
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	for (int fd = 3; fd < command && r == 0; fd++)
		r = posix_spawn_file_actions_addclose(&actions, fd);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(&actions, command + 1);
	/* No shell and no copy of this process's memory: glibc spawns as vfork(2) does. */
	if (r == 0)
		r = posix_spawn(&c->pid, way_to_start(command, argv[0], self), &actions, &attr,
				(char *const *)argv, (char *const *)environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	close(pipe_fds[1]);
	if (r) {
		c->pid = 0;
		return -r;
	}
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	return c->pidfd < 0 ? -errno : 0;
}

/* 0 when fd has something (or its end), -ETIME. */
static int wait_for(int fd, int64_t deadline)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - now_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIME;
		if (errno != EINTR)
			return -errno;
	}
}

/* All it writes, up to one byte more than a key has. */
static int read_output(const struct child *c, struct tk_key_text *text, int64_t deadline, size_t *ret_len)
{
	size_t len = 0;

	while (len < sizeof(text->bytes)) {
		int r = wait_for(c->out, deadline);
		ssize_t n;

		if (r < 0)
			return r;
		n = read(c->out, text->bytes + len, sizeof(text->bytes) - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	*ret_len = len;
	return 0;
}

static int wait_exit(struct child *c, int64_t deadline)
{
	int status, r = wait_for(c->pidfd, deadline);

	if (r < 0)
		return r;
	while (waitpid(c->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	kill(-c->pid, SIGKILL); /* what it left running */
	c->pid = 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPROTO;
}

static int run_once(const char *const *argv, unsigned int timeout, struct tk_key_text *text,
		    const uint8_t **ret_kek, const char **ret_why)
{
	__attribute__((cleanup(child_end))) struct child c = {.out = -1, .pidfd = -1};
	int64_t deadline = now_ms() + (int64_t)timeout * 1000;
	const uint8_t *kek;
	__attribute__((cleanup(closep))) int command = -1;
	size_t len = 0;
	int r = open_command(argv[0], &command, ret_why);

	if (r < 0)
		return r;
	r = start(command, argv, &c);
	if (r < 0)
		return tk_key_refuse(r, "the key command cannot be started", ret_why);
	r = read_output(&c, text, deadline, &len);
	if (r == 0 && len == sizeof(text->bytes))
		return tk_key_refuse(-EINVAL, "the key command writes more than a key", ret_why);
	if (r == 0)
		r = wait_exit(&c, deadline);
	if (r == -ETIME)
		return tk_key_refuse(r, "the key command took too long", ret_why);
	if (r == -EPROTO)
		return tk_key_refuse(r, "the key command failed", ret_why);
	if (r < 0)
		return tk_key_refuse(r, "the key command's output cannot be read", ret_why);
	kek = tk_key_text_parse(text, len);
	if (!kek)
		return tk_key_refuse(
			-EINVAL, "the key command wrote neither 32 bytes nor 64 hexadecimal digits", ret_why);
	*ret_kek = kek;
	return 0;
}

/* ------------------------------------------------------------------ whole */

int tk_keyring_add_command(struct tk_keyring *ring, const char *key_id, const char *const *argv,
			   unsigned int timeout, const char **ret_why)
{
	__attribute__((cleanup(tk_key_text_freep))) struct tk_key_text *text = NULL;
	__attribute__((cleanup(tk_key_freep))) struct tk_key *key = NULL;
	const uint8_t *kek = NULL;
	const char *why = NULL;
	int r = tk_key_new(key_id, &key);

	if (r < 0)
		return tk_key_refuse(r, "the key id is not 1 to 255 printable characters without '/'",
				     ret_why);
	if (!argv[0] || timeout < 1 || timeout > TK_COMMAND_TIMEOUT_MAX)
		return tk_key_refuse(-EINVAL, "the key command or its timeout is no such thing", ret_why);
	text = tk_locked_alloc(sizeof(*text));
	if (!text)
		return tk_key_refuse(-errno, "no memory can be locked for the key (limit RLIMIT_MEMLOCK)",
				     ret_why);
	r = tk_health_ask(ring, key_id);
	if (r < 0)
		return tk_key_refuse(r, "the key command failed before and is not tried again yet", ret_why);
	for (int i = 0; i < TRIES; i++) {
		if (i)
			poll(NULL, 0, PAUSE_MS << (i - 1));
		r = run_once(argv, timeout, text, &kek, &why);
		if (r == 0)
			break;
	}
	tk_health_tell(ring, key_id, r ? why : NULL, true);
	if (r < 0)
		return tk_key_refuse(r, why, ret_why);
	r = tk_key_put(key, 1, kek);
	if (r < 0)
		return tk_key_refuse(r, "the key does not fit into locked memory", ret_why);
	tk_keyring_replace(ring, key);
	key = NULL;
	return 0;
}
