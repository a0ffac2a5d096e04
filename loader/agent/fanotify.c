// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/fanotify.c - the boundary to fanotify: reads permission events and
 * writes answers.  Owns the group and its descriptor, and the numbers of waiting
 * events.  Must not decide access (the kernel programs have), touch contents, look
 * up names or log: whatever the reader waits for may itself wait for the reader.
 *
 * Two things about the group's descriptor matter.  When it is closed every waiting
 * open is allowed (KERNEL.md 5); the kernel programs refuse to read then.  And it
 * is never duplicated, handed over or kept by a service manager, because then openers
 * would wait for an agent that is not there.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>

#include "loader/agent/agent.h"
#include "loader/agent/io.h"
#include "loader/agent/watchdog.h"

/* linux/fanotify.h of 6.14; older kernels answer EINVAL to such a response. */
#ifndef FAN_ERRNO_SHIFT
#define FAN_ERRNO_SHIFT 24
#endif

#define EVENTS_AT_ONCE 64
#define TELL_AGAIN_MS 10000
#define ALIVE_MS 1000 /* a sign of life though nothing is opened */

/*
 * FAN_CLASS_PRE_CONTENT: asked before virus scanners, who then see plaintext.  The queue must not overflow,
 * that would allow opens.  Descriptors are for reading: for writing, the kernel could fail to make them.
 * O_NONBLOCK is for these, too: the kernel opens them within read(2), and without it would wait there for whoever
 * holds a lease on his own file; with it that one open is denied, and the lease is on its way to be broken.
 */
int tk_fanotify_open(struct tk_agent *agent)
{
	int fd = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS |
				       FAN_REPORT_TID | FAN_CLOEXEC | FAN_NONBLOCK,
			       O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NOATIME | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	agent->fanotify = fd;
	agent->nothing = open("/dev/null", O_PATH | O_CLOEXEC);
	return agent->nothing < 0 ? -errno : 0;
}

/*
 * The kernel finds the event by the number it gave to the event's descriptor, so the number must stay
 * ours until the answer.  But the description behind it is an open of the file, which the lease test
 * would see (KERNEL.md 10): another one takes its place.
 */
int tk_event_park(struct tk_agent *agent, int event)
{
	return dup3(agent->nothing, event, O_CLOEXEC) < 0 ? -errno : 0;
}

/* The errors the kernel takes in an answer (fs/notify/fanotify/fanotify_user.c, process_access_response). */
static uint32_t errno_for(int err)
{
	switch (-err) {
	case EIO:
	case EPERM:
	case EBUSY:
	case ETXTBSY:
	case EAGAIN:
	case ENOSPC:
	case EDQUOT:
		return (uint32_t)-err;
	case EACCES:
	case EROFS:
	case TK_E_NO_KEY:
	case TK_E_WRONG_KEY:
		return EPERM;
	default:
		return EIO;
	}
}

void tk_event_answer(struct tk_agent *agent, int event, int err)
{
	struct fanotify_response response = {.fd = event, .response = err ? FAN_DENY : FAN_ALLOW};
	ssize_t n = -1;

	if (err && atomic_load(&agent->deny_errno)) {
		response.response |= errno_for(err) << FAN_ERRNO_SHIFT;
		n = write(agent->fanotify, &response, sizeof(response));
		if (n < 0 && errno == EINVAL) {
			atomic_store(&agent->deny_errno, false);
			response.response = FAN_DENY;
		}
	}
	/* ENOENT: the opener was killed while it waited. */
	if (n < 0)
		n = write(agent->fanotify, &response, sizeof(response));
	close(event);
}

/* What the programs left for this thread, if it is about this file. */
static int take_open(struct tk_agent *agent, uint32_t tid, const struct stat *st,
		     struct tk_pending_open *ret_pending)
{
	int err = tk_kernel_take_open(agent->kernel, tid, ret_pending);

	if (err)
		return err;
	return ret_pending->inode.ino == st->st_ino ? 0 : -ENOENT;
}

/*
 * Has the thread been killed?  Then it has taken the verdict with it (file_free_security); one that is not sleeps
 * in fanotify_get_response(), where only that can wake it.  What cannot be found out is no excuse.
 */
static bool was_killed(uint32_t tid)
{
	char path[32], stat[256];
	const char *state;
	ssize_t n;
	TK_AUTO_FD fd = -1;

	if (!tid) /* of a PID namespace that is not seen from here */
		return false;
	snprintf(path, sizeof(path), "/proc/%u/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -errno : tk_read_at(fd, stat, sizeof(stat) - 1, 0);
	if (n <= 0)
		return n == -ENOENT || n == -ESRCH;
	stat[n] = '\0';
	state = strrchr(stat, ')'); /* proc(5): the name may hold anything */
	return state && state[2] != 'D' && state[2] != 'S';
}

/* An event through a mount that shows guard points alone, which no verdict was left for. */
static void undecided(struct tk_agent *agent, int event, uint32_t tid)
{
	char link[32], name[192] = "?";
	struct tk_control control;
	ssize_t n;
	bool killed;

	/*
	 * Before the first readiness the programs may not be attached yet, and if they are they have refused.
	 * Afterwards a program was skipped or switched off (KERNEL.md 14, 15).
	 */
	if (!atomic_load(&agent->ready)) {
		tk_event_answer(agent, event, 0);
		return;
	}
	/*
	 * Or the policy in force has one guard point less than the marks, until the agent has read it; or this is
	 * the loader, which the programs let pass while it tries the guard points' filesystems.
	 */
	if (!tk_kernel_control(agent->kernel, &control) &&
	    (control.generation != agent->now.generation || (control.loader && control.loader == tid))) {
		tk_event_answer(agent, event, 0);
		return;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", event);
	n = readlink(link, name, sizeof(name) - 1);
	if (n > 0)
		name[n] = '\0';
	killed = was_killed(tid);
	tk_event_answer(agent, event, -EPERM);
	if (!killed)
		tk_report(agent,
			  "ALARM: %s: opened by thread %u without a verdict of the kernel programs: denied",
			  name, tid);
}

/* An open is denied for want of descriptors, by the kernel or here.  Told once in a while. */
static void out_of_descriptors(struct tk_agent *agent, int err)
{
	static uint64_t next;

	if (tk_now_ms() < next)
		return;
	next = tk_now_ms() + TELL_AGAIN_MS;
	tk_report(agent, "opens are refused: %s; each file that is open takes the agent a descriptor (raise %s)",
		  tk_strerror(-err), err == EMFILE ? "LimitNOFILE= of its service, or fs.nr_open" : "fs.file-max");
}

static void handle(struct tk_agent *agent, const struct fanotify_event_metadata *event)
{
	uint32_t tid = (uint32_t)event->pid;
	struct tk_opener *opener;
	struct stat st;

	if (event->fd < 0)
		return; /* the kernel denied it, as it could not make a descriptor */
	if (tk_thread_own(agent, tid) || (!fstat(event->fd, &st) && !S_ISREG(st.st_mode))) {
		tk_event_answer(agent, event->fd, 0);
		return;
	}
	opener = calloc(1, sizeof(*opener));
	if (!opener) {
		tk_event_answer(agent, event->fd, -EAGAIN);
		return;
	}
	if (take_open(agent, tid, &st, &opener->pending)) {
		free(opener);
		if (tk_marks_pass(agent, event->fd))
			tk_event_answer(agent, event->fd, 0);
		else
			undecided(agent, event->fd, tid);
		return;
	}
	if (tk_files_full(agent, &opener->pending.inode, event->fd)) {
		out_of_descriptors(agent, EMFILE);
		tk_event_answer(agent, event->fd, -EMFILE);
		free(opener);
		return;
	}
	opener->event = event->fd;
	opener->tid = tid;
	opener->view = opener->pending.view;
	opener->flags = opener->pending.flags;
	tk_files_open(agent, opener);
}

void *tk_fanotify_thread(void *arg)
{
	static _Alignas(struct fanotify_event_metadata) char
		buf[EVENTS_AT_ONCE * sizeof(struct fanotify_event_metadata)];
	struct tk_agent *agent = arg;
	struct pollfd ready = {.fd = agent->fanotify, .events = POLLIN};

	for (;;) {
		struct fanotify_event_metadata *event = (void *)buf;
		ssize_t n;

		tk_watchdog_alive(TK_DUTY_OPENS);
		n = tk_read_without_leases(agent->fanotify, buf, sizeof(buf));

		if (n <= 0) {
			/* Any other error is of one event (KERNEL.md 2), which the kernel has denied. */
			if (n < 0 && errno == EAGAIN)
				poll(&ready, 1, ALIVE_MS);
			else if (n < 0 && (errno == EMFILE || errno == ENFILE))
				out_of_descriptors(agent, errno);
			continue;
		}
		for (; FAN_EVENT_OK(event, n); event = FAN_EVENT_NEXT(event, n))
			handle(agent, event);
	}
	return NULL;
}
