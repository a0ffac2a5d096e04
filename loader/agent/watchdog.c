// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/watchdog.c - the guardian: a process that kills the agent when it is stopped (SIGSTOP, a
 * debugger) or hung.  A hung agent is as good as a dead one, and a dead one harms nobody: the kernel
 * programs clear `ready` at its exit, opens that wait are let go and refused to read.
 *
 * The guardian is forked before there is anything to guard: it has no key, no fanotify descriptor and no
 * lock, only the page in which the agent's threads show that they live, and the agent's pidfd.
 *
 * Silence is counted in the guardian's own looks, each worth two ticks at most, and not read from a clock:
 * while the machine is suspended, the VM paused or the control group frozen the guardian does not run
 * either, and nobody is blamed for that time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "loader/agent/agent.h"
#include "loader/agent/watchdog.h"

#define TICK_MS 500

struct pulse {
	atomic_uint tid, duty, beats;
	atomic_bool busy;
};

struct page {
	atomic_uint count;
	struct pulse pulses[TK_THREADS];
};

static struct page *page;  /* NULL: nobody watches */
static unsigned int limit; /* seconds */
static pid_t guardian;
static atomic_bool watched;

static _Thread_local struct pulse *own;

/* ---------------------------------------------------------------- the guardian */

/* What it has made of a pulse. */
struct seen {
	unsigned int beats;
	uint64_t silence; /* ms */
};

/* Does the thread compute, or wait for a disk?  Neither is seen of one that is stopped or waits for a lock.
 */
static bool at_work(pid_t agent, unsigned int tid)
{
	char path[64], line[256] = "", *state;
	TK_AUTO_FD fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/task/%u/stat", agent, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		return false;
	state = strrchr(line, ')'); /* the name before it may have any character */
	return state && state[1] && (state[2] == 'R' || state[2] == 'D');
}

/* How long the thread has owed a sign of life, after another `step` ms. */
static uint64_t silence_of(pid_t agent, const struct pulse *pulse, struct seen *seen, uint64_t step)
{
	unsigned int beats = pulse->beats;

	if (!pulse->busy || beats != seen->beats ||
	    (pulse->duty != TK_DUTY_OPENS && at_work(agent, pulse->tid)))
		seen->silence = 0;
	else
		seen->silence += step;
	seen->beats = beats;
	return seen->silence;
}

/* What is hung; NULL: nothing.  One thread for files may be, as the others go on. */
static const char *what_hangs(pid_t agent, struct seen *seen, uint64_t step)
{
	unsigned int count = page->count < TK_THREADS ? page->count : TK_THREADS, files = 0, silent = 0;
	const char *what = NULL;

	for (unsigned int i = 0; i < count; i++) {
		bool hung = silence_of(agent, &page->pulses[i], &seen[i], step) >= limit * 1000ull;

		files += page->pulses[i].duty == TK_DUTY_FILES;
		silent += page->pulses[i].duty == TK_DUTY_FILES && hung;
		if (hung && page->pulses[i].duty == TK_DUTY_OPENS)
			what = "the reader of opens";
		else if (hung && page->pulses[i].duty == TK_DUTY_MAIN)
			what = "the main thread";
	}
	return files && silent == files ? "every worker" : what;
}

static _Noreturn void guard(pid_t agent, int pidfd)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	struct seen seen[TK_THREADS] = {};
	uint64_t last = tk_now_ms();
	const char *what;

	for (;;) {
		uint64_t now, step;

		if (poll(&end, 1, TICK_MS) > 0)
			_exit(0); /* it has ended */
		now = tk_now_ms();
		step = now - last < 2 * TICK_MS ? now - last : 2 * TICK_MS;
		last = now;
		what = what_hangs(agent, seen, step);
		if (what)
			break;
	}
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* there is one more thing to do */
	if (!syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0))
		dprintf(STDERR_FILENO,
			"takakrypt-bpf: watchdog: agent %d: %s has not moved for %u s (stopped by a signal "
			"or a "
			"debugger, or hung): killed, so that nobody waits for it; start it again "
			"(`takakrypt-bpf agent`)\n",
			agent, what, limit);
	_exit(1);
}

/* In the child.  What ends the agent in order, or is typed at its terminal, is not meant for the guardian. */
static _Noreturn void become_guardian(pid_t agent, int pidfd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != agent)
		_exit(0);
	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_IGN);
	prctl(PR_SET_NAME, "tk-guardian", 0, 0, 0);
	if (dup2(pidfd, 3) < 0 || chdir("/"))
		_exit(1);
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	closefrom(4);
	guard(agent, 3);
}

/* ---------------------------------------------------------------- in the agent */

int tk_watchdog_start(unsigned int seconds)
{
	pid_t agent = getpid();
	TK_AUTO_FD pidfd = -1;
	struct page *fresh;

	if (!seconds)
		return 0;
	pidfd = (int)syscall(SYS_pidfd_open, agent, 0);
	if (pidfd < 0)
		return -errno;
	fresh = mmap(NULL, sizeof(*fresh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fresh == MAP_FAILED)
		return -errno;
	page = fresh;
	limit = seconds;
	guardian = fork();
	if (!guardian)
		become_guardian(agent, pidfd);
	if (guardian < 0)
		return -errno;
	watched = true;
	return 0;
}

void tk_watchdog_alive(enum tk_duty duty)
{
	unsigned int slot;

	if (!page)
		return;
	if (!own) {
		slot = atomic_fetch_add(&page->count, 1);
		if (slot >= TK_THREADS)
			return;
		own = &page->pulses[slot];
		own->duty = duty;
		own->tid = (unsigned int)syscall(SYS_gettid);
	}
	own->beats++;
	own->busy = true;
}

void tk_watchdog_rest(void)
{
	if (own)
		own->busy = false;
}

unsigned int tk_watchdog_seconds(void)
{
	return limit;
}

bool tk_watchdog_watches(void)
{
	return watched;
}

/* It is a child, and all others are waited for by who started them. */
bool tk_watchdog_lost(void)
{
	bool before = watched;
	int status;
	pid_t pid;

	while (guardian > 0 && (pid = waitpid(guardian, &status, WNOHANG | WUNTRACED | WCONTINUED))) {
		watched = pid > 0 && WIFCONTINUED(status);
		if (pid < 0 || WIFEXITED(status) || WIFSIGNALED(status))
			guardian = 0;
	}
	return before && !watched;
}
