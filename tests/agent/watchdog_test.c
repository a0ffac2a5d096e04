// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/watchdog_test.c - an agent that is stopped or hangs is killed, and nothing is lost; one that
 * is idle, that waits for a disk with one thread, or whose machine slept, is not.
 *
 * Each case waits for seconds, so they run side by side, each in a process and on a filesystem of its own.
 */
#include "tests/agent/defence_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/small.h"
#include "tests/agent/rig.h"

#define LIMIT 6 /* seconds: what must survive has five to show a sign of life on a busy machine */
#define WATCHED "TK_WATCHDOG=6 TK_CORES=3"
#define SIZE 100000
#define LARGE (5 << 20) /* gets a worker for large files */

/* ---------------------------------------------------------------- the two processes */

/* A child of the agent by that name; 0: none. */
static pid_t guardian_of(pid_t agent)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		char path[300], name[32] = "";
		int parent = 0;
		FILE *in;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		in = atoi(entry->d_name) > 0 ? fopen(path, "re") : NULL;
		if (in && fscanf(in, "%*d (%31[^)]) %*c %d", name, &parent) == 2 && parent == agent &&
		    !strcmp(name, "tk-guardian"))
			found = atoi(entry->d_name);
		if (in)
			fclose(in);
	}
	if (proc)
		closedir(proc);
	return found;
}

static bool is_gone(pid_t pid)
{
	char path[64], state = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	in = fopen(path, "re");
	if (!in)
		return true;
	if (fscanf(in, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	fclose(in);
	return state == 'Z' || state == 'X';
}

static bool lives(const struct rig *rig)
{
	return !is_gone(rig->agent) && status_number(rig, NULL, "workers") > 0;
}

/* It is killed, within the limit and what a busy machine adds. */
static bool is_killed(struct rig *rig)
{
	int status = 0;
	pid_t pid = 0;

	for (int i = 0; i < 12 && !pid; i++) /* WAIT_FOR() is ten seconds */
		WAIT_FOR((pid = waitpid(rig->agent, &status, WNOHANG)) != 0);
	if (pid != rig->agent)
		return false;
	rig->agent = 0;
	rig->shared->control.ready = 0; /* sched_process_exit */
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* Everything is as it was for an agent that comes next. */
static void check_nothing_lost(struct rig *rig, const char *what)
{
	check((rig->agent || agent_start(rig, WATCHED)) && !compare(rig, in(rig, "sealed"), SIZE, 1) &&
		      agent_settle(rig) && WAIT_FOR(all_sealed(rig)) && is_taka(rig, "sealed"),
	      "%s: the next agent has lost nothing", what);
}

/* In the agent's log; after its death, so the guardian may still be at it. */
static bool is_told(const struct rig *rig, const char *what)
{
	char path[128], line[512];
	bool told = false;
	FILE *in;

	snprintf(path, sizeof(path), "%s/log", rig->dir);
	in = fopen(path, "re");
	while (in && !told && fgets(line, sizeof(line), in))
		told = strstr(line, what) && strstr(line, "has not moved for 6 s");
	if (in)
		fclose(in);
	return told;
}

static pid_t in_child(const struct rig *rig, const char *name)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = open(in(rig, name), O_RDONLY | O_CLOEXEC);

		/* What file_permission would say: without an agent that is ready nothing that is sealed is
		 * read. */
		_exit(fd < 0 ? 1 : plain_now(rig, fd) ? 2 : 3);
	}
	return pid;
}

/* ---------------------------------------------------------------- who is killed */

static void test_stopped(struct rig *rig)
{
	int fd = open(in(rig, "held"), O_RDWR | O_CREAT | O_CLOEXEC, 0600), status = 0;
	pid_t guardian = guardian_of(rig->agent), opener;
	char text[32] = "";
	uint64_t begun, ms;

	check(guardian > 0, "stopped: there is a guardian");
	check(fd >= 0 && write(fd, "one", 3) == 3, "stopped: a file is open");
	begun = tk_now_ms();
	check(agent_stop_still(rig->agent), "stopped: it is");
	opener = in_child(rig, "sealed");
	usleep(1000000);
	check(!waitpid(opener, &status, WNOHANG), "stopped: an open waits");
	check(write(fd, "two", 3) == 3, "stopped: who has a file open goes on");
	check(is_killed(rig), "stopped: the agent is killed");
	ms = tk_now_ms() - begun; /* its last sign of life may be a second older */
	check(WAIT_FOR(is_told(rig, "watchdog: agent ")), "stopped: and why is told");
	check(ms >= (LIMIT - 2) * 1000, "stopped: not before its time: after %d ms", (int)ms);
	check(WAIT_FOR(waitpid(opener, &status, WNOHANG) == opener), "stopped: the open ends");
	check(WIFEXITED(status) && WEXITSTATUS(status) != 2, "stopped: without plaintext");
	check(WAIT_FOR(is_gone(guardian)), "stopped: the guardian ends with it");
	check(write(fd, "three", 5) == 5, "stopped: and on");
	check(agent_start(rig, WATCHED) && plain_now(rig, fd) && write(fd, "!", 1) == 1,
	      "stopped: the open file is adopted");
	close(fd);
	check(agent_settle(rig) && WAIT_FOR(is_taka(rig, "held") && all_sealed(rig)), "stopped: and sealed");
	fd = open(in(rig, "held"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && read(fd, text, sizeof(text) - 1) == 12 && !strcmp(text, "onetwothree!"),
	      "stopped: with all that was written: %s", text);
	close(fd);
	check_nothing_lost(rig, "stopped");
}

static void hangs(struct rig *rig, const char *what, uint32_t whom)
{
	pid_t opener;

	rig->shared->hang = whom;
	opener = in_child(rig, "sealed");
	check(WAIT_FOR(rig->shared->hanging == 1), "%s: hangs", what);
	check(is_killed(rig) && WAIT_FOR(is_told(rig, what)), "%s: the agent is killed, and why is told",
	      what);
	rig->shared->hang = rig->shared->hanging = 0;
	check(WAIT_FOR(waitpid(opener, NULL, WNOHANG) == opener), "%s: the open ends", what);
	check_nothing_lost(rig, what);
}

static void test_reader(struct rig *rig)
{
	hangs(rig, "the reader of opens", HANG_READER);
}

static void test_main(struct rig *rig)
{
	hangs(rig, "the main thread", HANG_MAIN);
}

/* All of them wait for ever, and for no disk. */
static void test_workers(struct rig *rig)
{
	long workers = status_number(rig, NULL, "workers");
	char name[32];
	pid_t pid[64]; /* as many as there can be */

	for (long i = 0; i < workers; i++) {
		snprintf(name, sizeof(name), "w%ld", i);
		check(write_new(in(rig, name), SIZE, 2), "workers: %s", name);
	}
	check(agent_settle(rig) && WAIT_FOR(all_sealed(rig)), "workers: settled");
	rig->shared->hang = HANG_WORKERS;
	for (long i = 0; i < workers; i++) {
		snprintf(name, sizeof(name), "w%ld", i);
		pid[i] = in_child(rig, name);
	}
	check(WAIT_FOR(rig->shared->hanging == workers), "workers: all %ld hang", workers);
	check(is_killed(rig), "workers: the agent is killed");
	rig->shared->hang = rig->shared->hanging = 0;
	for (long i = 0; i < workers; i++)
		check(WAIT_FOR(waitpid(pid[i], NULL, WNOHANG) == pid[i]), "workers: open %ld ends", i);
	check_nothing_lost(rig, "workers");
}

/* ---------------------------------------------------------------- who is not */

/* Nothing to do but for one worker, which is not through for longer than the limit. */
static void test_one_stuck(struct rig *rig)
{
	pid_t reader;
	int status;

	check(write_new(in(rig, "large"), LARGE, 3) && agent_settle(rig) && WAIT_FOR(all_sealed(rig)),
	      "one worker: a large file");
	rig->shared->gate = LARGE;
	reader = in_child(rig, "large");
	check(WAIT_FOR(rig->shared->at_gate == 1), "one worker: is stuck");
	usleep((LIMIT + 3) * 1000000);
	check(lives(rig), "one worker: stuck, the others idle: the agent is not killed");
	check(!compare(rig, in(rig, "sealed"), SIZE, 1), "one worker: others are served");
	rig->shared->gate = 0;
	check(waitpid(reader, &status, 0) == reader && WEXITSTATUS(status) == 2,
	      "one worker: and it goes on");
	check(agent_settle(rig) && WAIT_FOR(all_sealed(rig)), "one worker: settled");
}

/* The machine slept: neither process ran for longer than the limit, and the agent comes to itself later. */
static void test_suspended(struct rig *rig)
{
	pid_t guardian = guardian_of(rig->agent);

	check(guardian > 0, "suspended: there is a guardian");
	check(agent_stop_still(guardian) && agent_stop_still(rig->agent), "suspended: both are");
	usleep((LIMIT + 2) * 1000000);
	kill(guardian, SIGCONT);
	usleep(700000); /* a look of the guardian's, and a bit */
	kill(rig->agent, SIGCONT);
	usleep(2000000);
	check(lives(rig), "suspended: the agent is not killed for it");
	check(guardian_of(rig->agent) == guardian, "suspended: and watched on");
	check(agent_stop_still(rig->agent) && is_killed(rig), "suspended: it is, when it hangs afterwards");
	check_nothing_lost(rig, "suspended");
}

static void test_guardian_killed(struct rig *rig)
{
	pid_t guardian = guardian_of(rig->agent);
	long failures = status_number(rig, NULL, "failure_count");

	check(guardian > 0 && status_number(rig, "watchdog", "seconds") == LIMIT, "guardian: is there");
	kill(guardian, SIGTERM); /* a service manager's, to all: it ends with the agent and not before */
	kill(guardian, SIGINT);
	usleep(300000);
	check(!is_gone(guardian), "guardian: SIGTERM and SIGINT are not for it");
	kill(guardian, SIGKILL);
	check(WAIT_FOR(status_number(rig, NULL, "failure_count") > failures), "guardian: its end is told of");
	check(!compare(rig, in(rig, "sealed"), SIZE, 1), "guardian: the agent goes on without");
	check(agent_stop(rig), "guardian: and ends in order");
	check(agent_start(rig, WATCHED) && (guardian = guardian_of(rig->agent)) > 0, "guardian: a new one");
	check(agent_stop(rig) && WAIT_FOR(is_gone(guardian)), "guardian: ends with an orderly end");
	check(agent_start(rig, "TK_WATCHDOG=0") && !guardian_of(rig->agent) &&
		      !status_number(rig, "watchdog", "seconds"),
	      "guardian: none is asked for");
}

/* ---------------------------------------------------------------- side by side */

static void (*const cases[])(struct rig *rig) = {
	test_stopped,	test_reader,	      test_main, test_workers, test_one_stuck,
	test_suspended, test_guardian_killed,
};
#define CASES (sizeof(cases) / sizeof(*cases))

static void run_case(const char *fs, size_t number)
{
	struct rig rig;

	if (check(rig_up(&rig, fs, 320) && agent_start(&rig, WATCHED), "%s: set up for the watchdog", fs)) {
		check(write_new(in(&rig, "sealed"), SIZE, 1) && agent_settle(&rig) &&
			      WAIT_FOR(all_sealed(&rig)),
		      "%s: a sealed file", fs);
		cases[number](&rig);
		check(!rig.agent || agent_stop(&rig), "%s: watchdog: stops in order", fs);
	}
	rig_down(&rig);
}

void watchdog_tests(const char *fs)
{
	struct {
		int passed, failed;
	} *counts = mmap(NULL, CASES * sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	pid_t pids[CASES];

	fflush(stdout);
	for (size_t i = 0; i < CASES; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		passed = failed = 0;
		run_case(fs, i);
		counts[i].passed = passed;
		counts[i].failed = failed;
		fflush(stdout);
		_exit(0);
	}
	for (size_t i = 0; i < CASES; i++) {
		int status = -1;

		waitpid(pids[i], &status, 0);
		passed += counts[i].passed;
		failed += counts[i].failed;
		check(!status && counts[i].passed, "%s: watchdog case %zu ran to its end", fs, i);
	}
	munmap(counts, CASES * sizeof(*counts));
}
