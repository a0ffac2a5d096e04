// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/limits_test.c - many files open at once, many opens one after the other beside a worker that is
 * stuck, no descriptors, no room for the journal: who cannot be served is refused and told why, and nothing
 * is lost.  Prints what things cost; asserts none of it.
 */
#include "tests/agent/defence_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/client.h"
#include "loader/agent/small.h"
#include "tests/agent/rig.h"

#define SIZE 8192
#define STUCK (5 << 20)

static const char *numbered(const struct rig *rig, unsigned int number)
{
	char name[32];

	snprintf(name, sizeof(name), "n%u", number);
	return in(rig, name);
}

/* Of the agent's process; descriptors, and KiB in memory. */
static long descriptors(const struct rig *rig)
{
	char path[64];
	struct dirent *entry;
	long count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", rig->agent);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static long memory(const struct rig *rig)
{
	char path[64];
	long pages = 0;
	FILE *statm;

	snprintf(path, sizeof(path), "/proc/%d/statm", rig->agent);
	statm = fopen(path, "re");
	if (!statm || fscanf(statm, "%*d %ld", &pages) != 1)
		pages = 0;
	if (statm)
		fclose(statm);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Whether some failure that the agent tells of has this in it. */
static bool is_told(const struct rig *rig, const char *what)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;
	const cJSON *item;
	bool told = false;

	cJSON_AddStringToObject(request, "verb", "status");
	if (!tk_client_ask(rig->control, request, &answer))
		cJSON_ArrayForEach (item, cJSON_GetObjectItem(answer, "failures"))
			told = told || strstr(cJSON_GetStringValue(cJSON_GetObjectItem(item, "text")), what);
	cJSON_Delete(request);
	cJSON_Delete(answer);
	return told;
}

static int open_error(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? errno : 0;
}

/* Nobody has anything open: what is not sealed is kept. */
static bool all_closed(const struct rig *rig)
{
	for (uint32_t i = 0; i < rig->shared->file_count; i++)
		if (rig->shared->files[i].state != TK_SEALED && rig->shared->files[i].state != TK_KEPT)
			return false;
	return at_ease(rig);
}

/* Ten thousand files take a while, so it is not asked for before it is nearly so. */
static bool at_rest(const struct rig *rig)
{
	for (int tries = 0; tries < 60; tries++)
		if (WAIT_FOR(all_closed(rig)) && rig_ask_to_settle(rig) && WAIT_FOR(all_sealed(rig)))
			return true;
	return false;
}

static unsigned int count_intact(const struct rig *rig, unsigned int files)
{
	unsigned int good = 0;

	for (unsigned int i = 0; i < files; i++)
		good += !compare(rig, numbered(rig, i), SIZE, i);
	return good;
}

/* ---------------------------------------------------------------- many at once */

/* How many of them are there as plaintext afterwards. */
static unsigned int open_many(struct rig *rig, int *ret_held, unsigned int files)
{
	unsigned int opened = 0;

	for (unsigned int i = 0; i < files; i++) {
		ret_held[i] = open(numbered(rig, i), O_RDWR | O_CLOEXEC);
		if (ret_held[i] < 0 || !plain_now(rig, ret_held[i]))
			continue;
		file_of(rig, ret_held[i])->held = true;
		opened++;
	}
	return opened;
}

static void close_many(struct rig *rig, const int *held, unsigned int files)
{
	for (unsigned int i = 0; i < files; i++) {
		if (file_of(rig, held[i]))
			file_of(rig, held[i])->held = false;
		if (held[i] >= 0)
			close(held[i]);
	}
}

static void test_many(struct rig *rig, unsigned int files)
{
	long idle_memory = memory(rig), idle_descriptors = descriptors(rig);
	int *held = malloc(files * sizeof(*held));
	uint64_t begun = tk_now_ms();
	unsigned int opened = open_many(rig, held, files);

	check(opened == files, "%s: %u of %u files are open at once", rig->fs, opened, files);
	printf("# %s: %u files opened in %.1f s; each takes the agent %.1f KiB and %.2f descriptors\n",
	       rig->fs, files, (double)(tk_now_ms() - begun) / 1000,
	       (double)(memory(rig) - idle_memory) / files,
	       (double)(descriptors(rig) - idle_descriptors) / files);
	check(WAIT_FOR(status_number(rig, "files", "open") == (long)files), "%s: and status counts them",
	      rig->fs);
	begun = tk_now_ms();
	close_many(rig, held, files);
	free(held);
	check(at_rest(rig), "%s: all of them are sealed", rig->fs);
	printf("# %s: and sealed %.1f s after the close\n", rig->fs, (double)(tk_now_ms() - begun) / 1000);
}

/* More than the agent looks at in a second: no close is heard of, and all of them are found nevertheless. */
static void test_unheard(struct rig *rig, unsigned int files)
{
	unsigned int tries = 0;
	int held[2500];

	files = files < 2500 ? files : 2500;
	check(open_many(rig, held, files) == files, "%s: %u are open", rig->fs, files);
	rig->shared->no_notices = true;
	close_many(rig, held, files);
	while (!WAIT_FOR(all_closed(rig)) && ++tries < 6)
		;
	check(tries < 6, "%s: %u that were closed unheard are sealed", rig->fs, files);
	rig->shared->no_notices = false;
}

/* ---------------------------------------------------------------- one after the other, beside one that is
 * stuck */

static void test_sustained(struct rig *rig, unsigned int files, unsigned int seconds)
{
	uint64_t begun, now;
	unsigned int opens = 0, wrong = 0;
	int status = -1;
	pid_t stuck;

	check(write_new(in(rig, "stuck"), STUCK, 1) && at_rest(rig), "%s: a file to be stuck with", rig->fs);
	rig->shared->gate = STUCK;
	fflush(stdout);
	stuck = fork();
	if (!stuck)
		_exit(compare(rig, in(rig, "stuck"), STUCK, 1) != 0);
	check(WAIT_FOR(rig->shared->at_gate == 1), "%s: a worker is stuck", rig->fs);
	begun = tk_now_ms();
	do {
		unsigned int i = opens % files;

		wrong += compare(rig, numbered(rig, i), SIZE, i) != 0;
		opens++;
		now = tk_now_ms();
	} while (now - begun < seconds * 1000ull);
	check(!wrong && rig->shared->at_gate == 1, "%s: %u of %u opens failed beside a worker that is stuck",
	      rig->fs, wrong, opens);
	printf("# %s: %.0f opens of sealed files a second, one after the other, by one process\n", rig->fs,
	       opens * 1000.0 / (double)(now - begun));
	rig->shared->gate = 0;
	check(waitpid(stuck, &status, 0) == stuck && !status && at_rest(rig), "%s: and that one goes on",
	      rig->fs);
}

/* ---------------------------------------------------------------- no descriptors */

static void test_descriptors(struct rig *rig, unsigned int files)
{
	/* The agent keeps 320 for itself, so twenty are left for files. */
	struct rlimit before = {}, few = {.rlim_cur = (rlim_t)descriptors(rig) + 320 + 20};
	unsigned int opened = 0, refused = 0;
	int held[100];

	files = files < 100 ? files : 100;
	prlimit(rig->agent, RLIMIT_NOFILE, NULL, &before);
	check(before.rlim_cur >= 20000 && before.rlim_cur == before.rlim_max,
	      "%s: the agent has raised its limit to %llu", rig->fs, (unsigned long long)before.rlim_cur);
	few.rlim_max = before.rlim_max;
	check(!prlimit(rig->agent, RLIMIT_NOFILE, &few, NULL), "%s: few descriptors", rig->fs);
	for (unsigned int i = 0; i < files; i++) {
		held[i] = open(numbered(rig, i), O_RDWR | O_CLOEXEC);
		refused += held[i] < 0;
		opened += held[i] >= 0 && plain_now(rig, held[i]);
	}
	check(opened && refused && opened + refused == files, "%s: %u are open, %u refused, none in between",
	      rig->fs, opened, refused);
	check(few.rlim_cur - (rlim_t)descriptors(rig) >= 300, "%s: enough are left to the agent: %ld of %ld", rig->fs, (long)few.rlim_cur - descriptors(rig), (long)few.rlim_cur);
	check(WAIT_FOR(is_told(rig, "Too many open files")), "%s: and it tells why, %u files open", rig->fs,
	      opened);
	for (unsigned int i = 0; i < files; i++)
		if (held[i] >= 0)
			close(held[i]);
	check(at_rest(rig), "%s: what is closed needs none", rig->fs);
	/* Not even for the event: the kernel itself refuses. */
	few.rlim_cur = 3;
	check(!prlimit(rig->agent, RLIMIT_NOFILE, &few, NULL) && open_error(numbered(rig, 0), O_RDONLY),
	      "%s: none at all: refused", rig->fs);
	check(!prlimit(rig->agent, RLIMIT_NOFILE, &before, NULL), "%s: enough of them again", rig->fs);
	check(WAIT_FOR(is_told(rig, "opens are refused: Too many open files")), "%s: it tells that opens are refused",
	      rig->fs);
	check(at_rest(rig) && count_intact(rig, files) == files && at_rest(rig), "%s: nothing was lost",
	      rig->fs);
}

/* ---------------------------------------------------------------- no room for the journal */

/* To the last byte, small pieces and large. */
static bool fill_up(const char *path)
{
	static char zeros[1 << 20];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	for (size_t piece = sizeof(zeros); fd >= 0 && piece >= 512;)
		if (write(fd, zeros, piece) < (ssize_t)piece)
			piece /= 2;
	return fd >= 0 && (fsync(fd), !close(fd));
}

static void test_full(struct rig *rig)
{
	struct snapshot before, after;
	char filler[160];
	int held, err;

	snprintf(filler, sizeof(filler), "%s/filler", rig->mount);
	held = open(numbered(rig, 1), O_RDONLY | O_CLOEXEC);
	check(held >= 0 && plain_now(rig, held), "%s: one is open", rig->fs);
	check(snapshot(rig, "n0", &before) && fill_up(filler), "%s: the journal's filesystem is full",
	      rig->fs);
	err = open_error(numbered(rig, 0), O_RDWR);
	check(err == ENOSPC, "%s: opening what is sealed is refused: %s", rig->fs, strerror(err));
	check(is_told(rig, "No space left on device"), "%s: it tells that there is no room", rig->fs);
	check(snapshot(rig, "n0", &after) && same_snapshot(&before, &after), "%s: the file was not touched",
	      rig->fs);
	check(!compare(rig, numbered(rig, 1), SIZE, 1), "%s: what is open goes on", rig->fs);
	close(held);
	check(!unlink(filler), "%s: room again", rig->fs);
	sync();
	check(at_rest(rig) && !compare(rig, numbered(rig, 0), SIZE, 0) &&
		      !compare(rig, numbered(rig, 1), SIZE, 1) && at_rest(rig),
	      "%s: nothing was lost for want of room", rig->fs);
	snapshot_free(&before);
	snapshot_free(&after);
}

void limits_tests(const char *fs, unsigned int files, unsigned int seconds)
{
	struct rlimit limit;
	struct rig rig;
	bool written = true;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (!check(rig_up(&rig, fs, files > 1000 ? 1024 : 320) && agent_start(&rig, NULL),
		   "%s: set up for limits", fs)) {
		rig_down(&rig);
		return;
	}
	for (unsigned int i = 0; i < files; i++)
		written = written && write_new(numbered(&rig, i), SIZE, i);
	check(written && at_rest(&rig), "%s: %u files", fs, files);
	test_many(&rig, files);
	test_unheard(&rig, files);
	check(count_intact(&rig, files) == files && at_rest(&rig), "%s: all are what they were", fs);
	test_sustained(&rig, files, seconds);
	test_descriptors(&rig, files);
	test_full(&rig);
	check(no_records(&rig) && agent_stop(&rig), "%s: limits: stops in order", fs);
	rig_down(&rig);
}
