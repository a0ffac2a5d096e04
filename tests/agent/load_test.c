// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/load_test.c - much to do: many large files beside small ones, and no room
 * for what must be sealed.  Counts turns and bytes, never time.
 */
#include "tests/agent/defence_test.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/client.h"
#include "tests/agent/rig.h"

#define LARGE (5 << 20)
#define LARGE_FILES 6
#define SMALL 3000
#define SMALL_FILES 10
#define CORES 3 /* fewer than there are large files */

/* ---------------------------------------------------------------- small files beside large ones */

/* In a child, which may wait for ever: opens each small file and closes it again. */
static pid_t open_small(const struct rig *rig)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	for (unsigned int i = 0; i < SMALL_FILES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "small-%u", i);
		if (compare(rig, in(rig, name), SMALL, i))
			_exit(1);
	}
	_exit(0);
}

static bool small_sealed(const struct rig *rig)
{
	char name[32];

	for (unsigned int i = 0; i < SMALL_FILES; i++) {
		snprintf(name, sizeof(name), "small-%u", i);
		if (!is_taka(rig, name) || (state_of(rig, name) != TK_SEALED && state_of(rig, name) != TK_KEPT))
			return false;
	}
	return true;
}

/*
 * The large files hold at the gate all the workers they get, one for each core.  Others are left for the small files,
 * which are opened and sealed meanwhile.
 */
static void small_meanwhile(struct rig *rig, const char *what)
{
	struct fake_shared *shared = rig->shared;
	int status = -1;
	pid_t pid;

	check(WAIT_FOR(status_number(rig, "files", "in_transition") >= LARGE_FILES &&
		       shared->at_gate >= CORES),
	      "%s: %s: workers with large files", rig->fs, what);
	pid = open_small(rig);
	if (!check(WAIT_FOR(waitpid(pid, &status, WNOHANG) == pid) && !status,
		   "%s: %s: small files are opened", rig->fs, what)) {
		kill(pid, SIGKILL);
		shared->gate = 0;
		waitpid(pid, &status, 0);
		return;
	}
	check(WAIT_FOR(small_sealed(rig)), "%s: %s: and sealed", rig->fs, what);
	check(shared->at_gate == CORES, "%s: %s: %u workers have large files", rig->fs, what, shared->at_gate);
	shared->gate = 0;
}

static void test_fairness(struct rig *rig)
{
	pid_t readers[LARGE_FILES];
	int held[LARGE_FILES];
	unsigned int good = 0;
	char name[32];

	for (unsigned int i = 0; i < SMALL_FILES; i++) {
		snprintf(name, sizeof(name), "small-%u", i);
		check(write_new(in(rig, name), SMALL, i), "%s: %s", rig->fs, name);
	}
	check(agent_settle(rig), "%s: small files", rig->fs);

	for (unsigned int i = 0; i < LARGE_FILES; i++) {
		snprintf(name, sizeof(name), "large-%u", i);
		held[i] = open(in(rig, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		check(held[i] >= 0 && write_new(in(rig, name), LARGE, i), "%s: %s", rig->fs, name);
	}
	rig->shared->gate = LARGE;
	for (unsigned int i = 0; i < LARGE_FILES; i++)
		close(held[i]);
	small_meanwhile(rig, "large files are sealed");
	check(agent_settle(rig) && is_taka(rig, "large-0") && is_taka(rig, "large-5"),
	      "%s: large files sealed", rig->fs);

	rig->shared->gate = LARGE;
	fflush(stdout);
	for (unsigned int i = 0; i < LARGE_FILES; i++) {
		snprintf(name, sizeof(name), "large-%u", i);
		readers[i] = fork();
		if (!readers[i])
			_exit(compare(rig, in(rig, name), LARGE, i) != 0);
	}
	small_meanwhile(rig, "large files are opened");
	for (unsigned int i = 0; i < LARGE_FILES; i++) {
		int status = -1;

		waitpid(readers[i], &status, 0);
		good += !status;
	}
	check(good == LARGE_FILES, "%s: %u large files read", rig->fs, good);
	check(agent_settle(rig) && no_records(rig), "%s: settled after large files", rig->fs);
}

/* ---------------------------------------------------------------- no room */

#define BIG (20 << 20)
#define LEFT (8 << 20)

/* Leaves so much room that a seal gets under way, and too little for it to end. */
static bool fill_disk(const char *path)
{
	static char zeros[1 << 20];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	size_t piece = sizeof(zeros);
	struct stat st;
	bool good;

	while (fd >= 0 && piece >= 4096)
		if (write(fd, zeros, piece) < (ssize_t)piece)
			piece /= 2;
	good = fd >= 0 && !syncfs(fd) && !fstat(fd, &st) && !ftruncate(fd, st.st_size - LEFT) && !syncfs(fd);
	if (fd >= 0)
		close(fd);
	return good;
}

/* A seal that has found no room once is not tried again before there is some: tries are many, bytes are none.
 */
static void test_no_room(struct rig *rig)
{
	struct fake_shared *shared = rig->shared;
	uint64_t written;
	char filler[160];
	uint32_t seals;
	long failures;
	int held;

	snprintf(filler, sizeof(filler), "%s/filler", rig->mount);
	check(write_new(in(rig, "big"), BIG, 1) && agent_settle(rig) && is_taka(rig, "big"), "%s: big",
	      rig->fs);
	held = open(in(rig, "big"), O_RDWR | O_CLOEXEC);
	check(held >= 0 && write_new(in(rig, "big"), BIG, 2) && !fsync(held), "%s: big rewritten", rig->fs);
	failures = status_number(rig, NULL, "failure_count");
	check(fill_disk(filler), "%s: disk filled", rig->fs);
	close(held);
	check(WAIT_FOR(status_number(rig, NULL, "failure_count") > failures), "%s: no room to seal", rig->fs);
	seals = shared->seals;
	written = shared->written;
	check(WAIT_FOR(shared->seals >= seals + 2), "%s: sealing is tried again", rig->fs);
	written = shared->written - written;
	check(written < LEFT / 2, "%s: and not begun in vain: %llu bytes written", rig->fs,
	      (unsigned long long)written);
	check(!is_taka(rig, "big") && !compare(rig, in(rig, "big"), BIG, 2), "%s: big can be read meanwhile",
	      rig->fs);
	check(!unlink(filler), "%s: room again", rig->fs);
	sync();
	check(agent_settle(rig) && is_taka(rig, "big") && !compare(rig, in(rig, "big"), BIG, 2) &&
		      agent_settle(rig) && no_records(rig),
	      "%s: sealed when there is room", rig->fs);
}

/* ---------------------------------------------------------------- what status shows of it */

/* How far it is with this file; -1: nothing to do there. */
static double share_done(const struct rig *rig, const char *name)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;
	const cJSON *item;
	double share = -1;

	cJSON_AddStringToObject(request, "verb", "status");
	if (!tk_client_ask(rig->control, request, &answer))
		cJSON_ArrayForEach (item, cJSON_GetObjectItem(answer, "work")) {
			const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(item, "path"));
			size_t skip = strlen(path) < strlen(name) ? 0 : strlen(path) - strlen(name);

			if (!strcmp(path + skip, name))
				share = cJSON_GetNumberValue(cJSON_GetObjectItem(item, "done")) /
					cJSON_GetNumberValue(cJSON_GetObjectItem(item, "size"));
		}
	cJSON_Delete(request);
	cJSON_Delete(answer);
	return share;
}

static void test_progress(struct rig *rig)
{
	double share = -1;
	pid_t pid;

	check(write_new(in(rig, "shown"), BIG, 1) && agent_settle(rig), "%s: a file that takes a while", rig->fs);
	fflush(stdout);
	pid = fork();
	if (!pid)
		for (;;)
			compare(rig, in(rig, "shown"), BIG, 1);
	check(WAIT_FOR((share = share_done(rig, "/shown")) > 0 && share < 1), "%s: status shows how far it is",
	      rig->fs);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	check(WAIT_FOR(agent_settle(rig) && share_done(rig, "/shown") < 0), "%s: and nothing when it is done", rig->fs);
}

void load_tests(const char *fs)
{
	struct rig rig;

	if (check(rig_up(&rig, fs, 320) && agent_start(&rig, "TK_CORES=3"), "%s: set up for load", fs)) {
		test_fairness(&rig);
		test_no_room(&rig);
		test_progress(&rig);
		check(agent_stop(&rig), "%s: load: stops in order", fs);
	}
	rig_down(&rig);
}
