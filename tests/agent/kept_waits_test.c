// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/kept_waits_test.c - kept files and who waits: for their records to go, for the disk, or for what they
 * take.  Nobody waits for ever.
 */
#include "tests/agent/kept_test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/agent.h"

#define SIZE KEPT_SIZE

/* Opens it for reading, says so, and keeps it open. */
struct holder {
	pid_t pid;
	int said;
};

static struct holder hold(const struct rig *rig, const char *name, uid_t uid)
{
	struct holder holder;
	int ends[2];

	fflush(stdout);
	if (pipe(ends))
		return (struct holder){.pid = -1, .said = -1};
	holder = (struct holder){.pid = fork(), .said = ends[0]};
	if (!holder.pid) {
		if (!uid || (!setgid(uid) && !setuid(uid)))
			open(in(rig, name), O_RDONLY | O_CLOEXEC);
		if (write(ends[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ends[1]);
	return holder;
}

/* Within ten seconds he has been let in, or refused. */
static bool answered(const struct holder *holder)
{
	struct pollfd set = {.fd = holder->said, .events = POLLIN};
	char byte;

	return poll(&set, 1, 10000) == 1 && read(holder->said, &byte, 1) == 1;
}

static void let_go(const struct holder *holder)
{
	kill(holder->pid, SIGKILL);
	waitpid(holder->pid, NULL, 0);
	close(holder->said);
}

/* An opener who waits for a reader of the raw view is to be looked at while the record's release has the turn. */
static void test_due_while_released(struct rig *rig)
{
	struct holder raw, plain;

	check(agent_settle(rig) && kept_new(rig, "due", 1), "%s: waits: due", rig->fs);
	raw = hold(rig, "due", FAKE_RAW_UID);
	check(answered(&raw) && state_of(rig, "due") == TK_KEPT, "%s: waits: read in the raw view", rig->fs);
	plain = hold(rig, "due", 0);
	check(WAIT_FOR(status_number(rig, "files", "waiting") == 1), "%s: waits: somebody else waits", rig->fs);
	rig->shared->slow_disk = true;
	rig_ask_for_sweep(rig);
	check(WAIT_FOR(rig->shared->at_disk), "%s: waits: its record is released", rig->fs);
	usleep(300000); /* his next look was due within a quarter of a second */
	rig->shared->slow_disk = false;
	let_go(&raw);
	raw_closed(rig, "due");
	check(answered(&plain), "%s: waits: whoever waits gets an answer", rig->fs);
	let_go(&plain);
	check(WAIT_FOR(!rig->shared->asking) && agent_settle(rig) && !compare(rig, in(rig, "due"), SIZE, 1),
	      "%s: waits: the agent goes on", rig->fs);
}

void kept_waits_tests(struct rig *rig)
{
	test_due_while_released(rig);
}
