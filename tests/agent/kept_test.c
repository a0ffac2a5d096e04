// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/kept_test.c - sealed files whose record stays: opening them waits for no disk, and their
 * record undoes nothing that anybody does to them.
 */
#include "tests/agent/defence_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "tests/agent/kept_test.h"

#define SIZE KEPT_SIZE

bool kept_read(const struct rig *rig, const char *name)
{
	int fd = open(in(rig, name), O_RDONLY | O_CLOEXEC);
	bool good = fd >= 0 && plain_now(rig, fd);
	char byte;

	good = good && pread(fd, &byte, 1, 0) == 1;
	if (fd >= 0)
		close(fd);
	return good;
}

bool kept_becomes(const struct rig *rig, const char *name, uint32_t state)
{
	return WAIT_FOR(state_of(rig, name) == state);
}

/* All by one descriptor: what is done to it after the last close touches a kept file. */
static bool put(const struct rig *rig, const char *name, int flags, unsigned int seed)
{
	int fd = open(in(rig, name), O_WRONLY | O_CLOEXEC | flags, 0666);
	static uint8_t bytes[SIZE];
	bool good;

	fill(bytes, SIZE, seed);
	good = fd >= 0 && plain_now(rig, fd) && !fchmod(fd, 0666) && pwrite(fd, bytes, SIZE, 0) == SIZE;
	if (fd >= 0)
		close(fd);
	return good;
}

bool kept_new(const struct rig *rig, const char *name, unsigned int seed)
{
	return put(rig, name, O_CREAT | O_TRUNC, seed) && kept_becomes(rig, name, TK_KEPT) && is_taka(rig, name);
}

/* How often the agent waits for the disk. */
static void test_flushes(struct rig *rig)
{
	_Atomic uint32_t *flushes = &rig->shared->flushes;
	struct snapshot before, after;
	struct tk_record record;
	uint32_t so_far;

	so_far = *flushes;
	check(kept_new(rig, "f", 1) && *flushes == so_far + 3,
	      "%s: kept: created and sealed with three flushes, %u", rig->fs, *flushes - so_far);
	check(WAIT_FOR(status_number(rig, "files", "kept") == 1) && !journal_empty(rig) &&
		      record_of(rig, "f", &record) && record.state == TK_RESTORE,
	      "%s: kept: with its record", rig->fs);
	check(agent_settle(rig) && state_of(rig, "f") == TK_SEALED && journal_empty(rig) &&
		      !status_number(rig, "files", "kept"),
	      "%s: kept: settled is without it", rig->fs);
	check(snapshot(rig, "f", &before), "%s: kept: snapshot", rig->fs);

	so_far = *flushes;
	check(kept_read(rig, "f") && kept_becomes(rig, "f", TK_KEPT) && *flushes == so_far + 2,
	      "%s: kept: the first open takes two flushes, %u", rig->fs, *flushes - so_far);
	so_far = *flushes;
	for (int i = 0; i < 20; i++)
		check(kept_read(rig, "f") && kept_becomes(rig, "f", TK_KEPT), "%s: kept: opened again", rig->fs);
	check(*flushes == so_far, "%s: kept: further ones take none, %u", rig->fs, *flushes - so_far);
	check(snapshot(rig, "f", &after) && same_snapshot(&before, &after), "%s: kept: which leaves no trace",
	      rig->fs);
	snapshot_free(&before);
	snapshot_free(&after);
	check(!compare(rig, in(rig, "f"), SIZE, 1) && kept_becomes(rig, "f", TK_KEPT), "%s: kept: content",
	      rig->fs);
	so_far = *flushes;
	check(put(rig, "f", 0, 2) && kept_becomes(rig, "f", TK_KEPT) && *flushes == so_far + 5,
	      "%s: kept: opened again and written with five, %u", rig->fs, *flushes - so_far);
	check(!compare(rig, in(rig, "f"), SIZE, 2) && kept_becomes(rig, "f", TK_KEPT),
	      "%s: kept: what was written", rig->fs);
	check(write_new(in(rig, "large"), 300 << 10, 3) && kept_becomes(rig, "large", TK_SEALED) &&
		      is_taka(rig, "large"),
	      "%s: kept: not a large one", rig->fs);
	check(!unlink(in(rig, "large")), "%s: kept: no large one", rig->fs);
}

/* More than an errno is the fault. */
int kept_raw(const struct rig *rig, const char *name, int flags, const void *bytes, size_t size)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		char magic[4] = "";
		int fd;

		if (setgid(FAKE_RAW_UID) || setuid(FAKE_RAW_UID))
			_exit(255);
		fd = open(in(rig, name), flags | O_CLOEXEC);
		if (fd < 0)
			_exit(errno);
		if ((flags & O_ACCMODE) == O_RDONLY)
			_exit(read(fd, magic, 4) != 4 || !tk_is_taka(magic, 4) ? 254 : 0);
		if (state_of_fd(rig, fd) != TK_SEALED) /* the kernel programs let nobody write it */
			_exit(253);
		_exit(bytes && (ftruncate(fd, 0) || write(fd, bytes, size) != (ssize_t)size || fsync(fd)));
	}
	waitpid(pid, &status, 0);
	raw_closed(rig, name);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 252;
}

uint64_t kept_moved(const struct rig *rig)
{
	return rig->shared->written + rig->shared->cloned;
}

int kept_asides(const struct rig *rig)
{
	int fd = openat(rig->below, ".takakrypt", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		count += !strncmp(entry->d_name, "aside-", 6) && !unlinkat(fd, entry->d_name, 0);
	if (dir)
		closedir(dir);
	return count;
}

/* What a backup program brings back must not be undone by the record of what was there before. */
static void test_raw_views(struct rig *rig)
{
	struct snapshot saved, spoiled;
	uint32_t so_far;
	char error[64];
	int fd;

	check(kept_new(rig, "r", 4) && snapshot(rig, "r", &saved), "%s: kept: saved", rig->fs);
	check(kept_new(rig, "r", 5) && snapshot(rig, "r", &spoiled), "%s: kept: spoiled", rig->fs);
	so_far = rig->shared->flushes;
	check(!kept_raw(rig, "r", O_RDONLY, NULL, 0) && state_of(rig, "r") == TK_KEPT &&
		      rig->shared->flushes == so_far,
	      "%s: kept: the raw view reads it as it is", rig->fs);
	for (int i = 0; i < 70; i++)
		kept_raw(rig, "r", O_RDONLY, NULL, 0);
	fd = open(in(rig, "r"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && WAIT_FOR(status_number(rig, "files", "in_transition") == 0) &&
		      !close(fd) && kept_becomes(rig, "r", TK_KEPT) && rig->shared->flushes == so_far,
	      "%s: kept: which makes nobody wait who opens it then, %u", rig->fs, rig->shared->flushes - so_far);
	for (int end = 0; end < 2; end++) {
		int result = kept_raw(rig, "r", O_WRONLY, saved.bytes, saved.size);

		check(!result, "%s: kept: brought back in place, %d", rig->fs, result);
		check(state_of(rig, "r") == TK_SEALED && !record_of(rig, "r", &(struct tk_record){}),
		      "%s: kept: its record has gone before", rig->fs);
		agent_kill(rig);
		if (end)
			kernel_forget(rig);
		check(agent_start(rig, NULL) && !compare(rig, in(rig, "r"), SIZE, 4) &&
			      kept_becomes(rig, "r", TK_KEPT),
		      "%s: kept: and stays", rig->fs);
		check(kept_new(rig, "r", 5), "%s: kept: spoiled again", rig->fs);
	}
	/* Whose record cannot go is not written. */
	rig->shared->unremovable = true;
	check(kept_raw(rig, "r", O_WRONLY, NULL, 0) && state_of(rig, "r") == TK_KEPT,
	      "%s: kept: its record cannot go", rig->fs);
	rig->shared->unremovable = false;
	check(!compare(rig, in(rig, "r"), SIZE, 5) && kept_becomes(rig, "r", TK_KEPT),
	      "%s: kept: and it is read as before", rig->fs);
	check(!tk_client_tell(rig->control, "reload", error, sizeof(error)), "%s: kept: reloaded", rig->fs);
	snapshot_free(&saved);
	snapshot_free(&spoiled);
}

/* The record's flush fails, then the file's: nobody writes it, nothing is lost. */
static void test_unsyncable(struct rig *rig)
{
	struct stat st;

	check(kept_new(rig, "s", 6) && !fstatat(rig->below, ".takakrypt", &st, 0), "%s: kept: s", rig->fs);
	rig->shared->unsyncable = st.st_ino;
	check(kept_raw(rig, "s", O_WRONLY, NULL, 0) && state_of(rig, "s") == TK_KEPT &&
		      !record_of(rig, "s", &(struct tk_record){}),
	      "%s: kept: its record has gone, but may come back", rig->fs);
	rig->shared->unsyncable = 0;
	check(!kept_raw(rig, "s", O_WRONLY, NULL, 0) && state_of(rig, "s") == TK_SEALED,
	      "%s: kept: until it may not", rig->fs);

	check(kept_new(rig, "s", 7) && !stat(in(rig, "s"), &st), "%s: kept: s again", rig->fs);
	rig->shared->unsyncable = st.st_ino;
	check(kept_raw(rig, "s", O_WRONLY, NULL, 0) && record_of(rig, "s", &(struct tk_record){}),
	      "%s: kept: what cannot be made durable keeps its record", rig->fs);
	rig->shared->unsyncable = 0;
	check(!kept_raw(rig, "s", O_WRONLY, NULL, 0), "%s: kept: who writes it as stored is let in afterwards",
	      rig->fs);
	check(agent_settle(rig) && kept_becomes(rig, "s", TK_SEALED) && journal_empty(rig) &&
		      !compare(rig, in(rig, "s"), SIZE, 7) && kept_becomes(rig, "s", TK_KEPT),
	      "%s: kept: it is written anew", rig->fs);
}

/* What the record knows nothing of. */
static void test_touched(struct rig *rig)
{
	const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	struct stat st;
	int fd;

	check(kept_new(rig, "t", 8) && !utimensat(AT_FDCWD, in(rig, "t"), times, 0), "%s: kept: touched",
	      rig->fs);
	check(!compare(rig, in(rig, "t"), SIZE, 8) && kept_becomes(rig, "t", TK_KEPT) &&
		      !stat(in(rig, "t"), &st) && st.st_mtim.tv_sec == 1000000000,
	      "%s: kept: the time stays when it is read", rig->fs);
	check(!utimensat(AT_FDCWD, in(rig, "t"), (struct timespec[]){{.tv_sec = 5}, {.tv_sec = 5}}, 0) &&
		      kept_becomes(rig, "t", TK_SEALED) && WAIT_FOR(!record_of(rig, "t", &(struct tk_record){})),
	      "%s: kept: no longer", rig->fs);
	agent_kill(rig);
	kernel_forget(rig);
	check(agent_start(rig, NULL) && !stat(in(rig, "t"), &st) && st.st_mtim.tv_sec == 5,
	      "%s: kept: the time stays when the machine dies", rig->fs);

	check(kept_new(rig, "gone", 9) && !unlink(in(rig, "gone")), "%s: kept: deleted", rig->fs);
	check(WAIT_FOR(journal_empty(rig)), "%s: kept: its record goes", rig->fs);
	for (int end = 0; end < 2; end++) {
		check(kept_new(rig, "gone", 9), "%s: kept: to be deleted", rig->fs);
		agent_kill(rig);
		check(!unlink(in(rig, "gone")), "%s: kept: deleted while no agent ran", rig->fs);
		if (end)
			kernel_forget(rig);
		check(agent_start(rig, NULL) && WAIT_FOR(journal_empty(rig)),
		      "%s: kept: its record goes then, too", rig->fs);
	}
	check(kept_new(rig, "link", 9) && !link(in(rig, "link"), in(rig, "link2")) &&
		      kept_becomes(rig, "link", TK_SEALED),
	      "%s: kept: not with two names", rig->fs);
	check(!compare(rig, in(rig, "link"), SIZE, 9) && kept_becomes(rig, "link", TK_SEALED) &&
		      WAIT_FOR(journal_empty(rig)),
	      "%s: kept: not with two names, when it is read", rig->fs);
	/* Of what had two names when it was opened the last one may be where anybody writes it. */
	fd = open(in(rig, "link"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && !unlink(in(rig, "link")) && !close(fd) && kept_becomes(rig, "link2", TK_SEALED) &&
		      kept_read(rig, "link2") && kept_becomes(rig, "link2", TK_KEPT),
	      "%s: kept: but when it is opened by its only one", rig->fs);
	check(kept_new(rig, "old", 10) && kept_new(rig, "new", 11) &&
		      !rename(in(rig, "new"), in(rig, "old")) && !compare(rig, in(rig, "old"), SIZE, 11) &&
		      agent_settle(rig) && journal_empty(rig),
	      "%s: kept: renamed over", rig->fs);
	check(!utimensat(AT_FDCWD, in(rig, "old"), NULL, 0), "%s: kept: touched when sealed", rig->fs);
}

/* The next agent finds it as it is; what the one before has been told of the disk nobody knows. */
static void test_agents(struct rig *rig)
{
	struct snapshot written_then = {};
	uint64_t written;
	int fd;

	check(kept_new(rig, "a", 12), "%s: kept: a", rig->fs);
	agent_kill(rig);
	written = kept_moved(rig);
	check(agent_start(rig, NULL) && kept_becomes(rig, "a", TK_SEALED) && WAIT_FOR(journal_empty(rig)) &&
		      kept_moved(rig) >= written + SIZE,
	      "%s: kept: recovered, and written over itself", rig->fs);
	check(!compare(rig, in(rig, "a"), SIZE, 12) && kept_becomes(rig, "a", TK_KEPT), "%s: kept: content",
	      rig->fs);
	agent_kill(rig);
	kernel_forget(rig);
	check(agent_start(rig, NULL) && agent_settle(rig) && journal_empty(rig) &&
		      !compare(rig, in(rig, "a"), SIZE, 12) && kept_becomes(rig, "a", TK_KEPT),
	      "%s: kept: recovered after a crash", rig->fs);
	check(agent_stop(rig) && journal_empty(rig) && state_of(rig, "a") == TK_SEALED,
	      "%s: kept: not beyond an end in order", rig->fs);

	/* The policy was another one while no agent ran, and somebody wrote the file. */
	check(agent_start(rig, NULL) && kept_read(rig, "a") && kept_becomes(rig, "a", TK_KEPT),
	      "%s: kept: a again", rig->fs);
	agent_kill(rig);
	fd = openat(rig->below, "guard/a", O_WRONLY | O_CLOEXEC);
	check(fd >= 0 && pwrite(fd, "TAKE", 4, 0) == 4 && snapshot(rig, "a", &written_then),
	      "%s: kept: written with no agent", rig->fs);
	close(fd);
	check(agent_start(rig, NULL) && status_number(rig, NULL, "failure_count") > 0 &&
		      agent_settle(rig) && !compare(rig, in(rig, "a"), SIZE, 12) && agent_settle(rig) &&
		      kept_found(rig, written_then.bytes, written_then.size) == 1 && !unlink(in(rig, "a")),
	      "%s: kept: both are kept", rig->fs);
	snapshot_free(&written_then);
}

static bool spoil_record(struct rig *rig, const char *name)
{
	struct tk_record record;
	char path[128];
	int fd = -1;
	bool good;

	if (record_of(rig, name, &record)) {
		snprintf(path, sizeof(path), ".takakrypt/%s", record.name);
		fd = openat(rig->below, path, O_WRONLY | O_CLOEXEC);
	}
	good = fd >= 0 && pwrite(fd, "spoiled", 7, TK_PAYLOAD + 5000) == 7;
	if (fd >= 0)
		close(fd);
	return good;
}

/* A record that has been spoiled on the disk does not spoil its file. */
static void test_spoiled(struct rig *rig)
{
	int fd;

	check(kept_new(rig, "d", 15) && spoil_record(rig, "d"), "%s: kept: its record spoiled", rig->fs);
	check(!compare(rig, in(rig, "d"), SIZE, 15) && kept_becomes(rig, "d", TK_KEPT) &&
		      !compare(rig, in(rig, "d"), SIZE, 15) && kept_becomes(rig, "d", TK_KEPT),
	      "%s: kept: the file is as it was", rig->fs);
	fd = open(in(rig, "d"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && spoil_record(rig, "d"), "%s: kept: its record spoiled while it is open", rig->fs);
	close(fd);
	check(kept_becomes(rig, "d", TK_KEPT) && !compare(rig, in(rig, "d"), SIZE, 15), "%s: kept: and it is still as it was",
	      rig->fs);
}

/* The kernel programs remember no more files; the filesystem has little room; the agent's journal none. */
static void test_limits(struct rig *rig)
{
	char name[16], filler[160];
	uint32_t so_far;
	bool good = true;

	check(agent_settle(rig), "%s: kept: before the limits", rig->fs);
	rig->shared->refuse_state = TK_KEPT;
	rig->shared->refusals = UINT32_MAX;
	check(write_new(in(rig, "l"), SIZE, 13) && kept_becomes(rig, "l", TK_SEALED) &&
		      WAIT_FOR(is_taka(rig, "l")) && WAIT_FOR(journal_empty(rig)),
	      "%s: kept: refused by the kernel programs", rig->fs);
	rig->shared->refusals = 0;

	for (unsigned int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		good = good && kept_new(rig, name, i);
	}
	so_far = rig->shared->flushes;
	check(good && WAIT_FOR(status_number(rig, "files", "kept") == 100), "%s: kept: a hundred", rig->fs);
	check(agent_settle(rig) && journal_empty(rig), "%s: kept: settled", rig->fs);
	check(rig->shared->flushes - so_far < 20, "%s: kept: with few flushes, %u", rig->fs,
	      rig->shared->flushes - so_far);

	check(kept_read(rig, "n1") && kept_becomes(rig, "n1", TK_KEPT) && kept_read(rig, "n2") &&
		      kept_becomes(rig, "n2", TK_KEPT),
	      "%s: kept: two", rig->fs);
	rig->shared->full = true;
	check(!kept_read(rig, "n3") && state_of(rig, "n1") == TK_SEALED && state_of(rig, "n2") == TK_SEALED,
	      "%s: kept: not when the journal has no room", rig->fs);
	rig->shared->full = false;
	check(kept_read(rig, "n3") && kept_becomes(rig, "n3", TK_KEPT), "%s: kept: one", rig->fs);
	snprintf(filler, sizeof(filler), "%s/filler", rig->mount);
	close(open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	good = false;
	for (int percent = 99; !good && percent > 50 && !truncate(filler, 0); percent--) {
		int fd = open(filler, O_WRONLY | O_CLOEXEC);

		good = fd >= 0 && !posix_fallocate(fd, 0, (off_t)320 * percent / 100 << 20);
		if (fd >= 0)
			close(fd);
	}
	/* What btrfs calls free is not data's alone. */
	check((good && kept_becomes(rig, "n3", TK_SEALED) && WAIT_FOR(journal_empty(rig)) &&
	       kept_read(rig, "n3") && kept_becomes(rig, "n3", TK_SEALED)) ||
		      !strcmp(rig->fs, "btrfs"),
	      "%s: kept: not when little room is left", rig->fs);
	check(!unlink(filler), "%s: kept: room again", rig->fs);
}

/* Another key for the guard point: what was sealed under the one before is not opened. */
static void test_another_key(struct rig *rig)
{
	char path[160], text[2048] = "", error[300], *at;
	int fd;

	check(kept_new(rig, "k", 14), "%s: kept: k", rig->fs);
	snprintf(path, sizeof(path), "%s/policy.json", rig->dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	check(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && (at = strstr(text, "\"key\": \"k1\"")) &&
		      memcpy(at, "\"key\": \"k2\"", 11) && pwrite(fd, text, strlen(text), 0) > 0,
	      "%s: kept: another key", rig->fs);
	close(fd);
	rig->shared->control.generation++;
	check(!tk_client_tell(rig->control, "reload", error, sizeof(error)), "%s: kept: in force", rig->fs);
	check(!kept_read(rig, "k") && WAIT_FOR(state_of(rig, "k") == TK_SEALED && journal_empty(rig)),
	      "%s: kept: not opened under it", rig->fs);
	rig_policy(rig);
	rig->shared->control.generation++;
	check(!tk_client_tell(rig->control, "reload", error, sizeof(error)) &&
		      !compare(rig, in(rig, "k"), SIZE, 14) && kept_becomes(rig, "k", TK_KEPT),
	      "%s: kept: under its own", rig->fs);
	rig->shared->control.generation++;
	check(!tk_client_tell(rig->control, "reload", error, sizeof(error)) && kept_becomes(rig, "k", TK_SEALED),
	      "%s: kept: no record outlives its policy", rig->fs);
}

void kept_tests(const char *fs)
{
	struct rig rig;

	if (check(rig_up(&rig, fs, 320) && agent_start(&rig, NULL), "%s: set up for kept files", fs)) {
		test_flushes(&rig);
		test_raw_views(&rig);
		test_unsyncable(&rig);
		test_spoiled(&rig);
		test_touched(&rig);
		test_agents(&rig);
		test_limits(&rig);
		test_another_key(&rig);
		kept_trouble_tests(&rig);
		kept_unguarded_tests(&rig);
		kept_waits_tests(&rig);
		check(!rig.shared->undecided, "%s: kept: every open was understood", fs);
		check(agent_stop(&rig) && journal_empty(&rig), "%s: kept: stops in order", fs);
	}
	rig_down(&rig);
}
