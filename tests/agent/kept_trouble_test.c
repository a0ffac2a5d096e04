// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/kept_trouble_test.c - kept files when something goes wrong: writes that fail behind the agent's
 * back, no room, spoiled records, work on the files while nothing is guarded.  Neither file nor record is
 * given up before the other is known to be right.
 */
#include "tests/agent/kept_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"

#define SIZE KEPT_SIZE
#define SEVERAL 12 /* too many for each to be flushed alone, also when they are taken in two parts */

static const char *nth(const char *name, unsigned int i)
{
	static char names[4][16];
	static unsigned int next;
	char *out = names[next++ % 4];

	snprintf(out, sizeof(names[0]), "%s%u", name, i);
	return out;
}

static bool several(const struct rig *rig, const char *name, unsigned int seed)
{
	bool good = true;

	for (unsigned int i = 0; i < SEVERAL; i++)
		good = kept_new(rig, nth(name, i), seed + i) && good;
	return good;
}

/* They have changed, so that their records are in the way. */
static bool touch_all(const struct rig *rig, const char *name)
{
	bool good = true;

	for (unsigned int i = 0; i < SEVERAL; i++)
		good = !chmod(in(rig, nth(name, i)), 0640) && good;
	return good;
}

static bool all_are(const struct rig *rig, const char *name, uint32_t state)
{
	for (unsigned int i = 0; i < SEVERAL; i++)
		if (state_of(rig, nth(name, i)) != state)
			return false;
	return true;
}

static bool have_records(const struct rig *rig, const char *name)
{
	for (unsigned int i = 0; i < SEVERAL; i++)
		if (!record_of(rig, nth(name, i), &(struct tk_record){}))
			return false;
	return true;
}

static bool still_there(const struct rig *rig, const char *name, unsigned int seed)
{
	bool good = true;

	for (unsigned int i = 0; i < SEVERAL; i++)
		good = !compare(rig, in(rig, nth(name, i)), SIZE, seed + i) && good;
	return good;
}

/* A failed flush is told once, and not of which file: no later one proves anything of what was written before. */
static void test_unflushed(struct rig *rig)
{
	uint64_t written;

	check(agent_settle(rig) && several(rig, "p", 100) && several(rig, "q", 200), "%s: trouble: p, q", rig->fs);
	written = kept_moved(rig);
	rig->shared->unflushed = 1;
	check(touch_all(rig, "p") && WAIT_FOR(!rig->shared->unflushed), "%s: trouble: a flush fails", rig->fs);
	check(have_records(rig, "q"), "%s: trouble: no record goes by it", rig->fs);
	check(agent_settle(rig) && journal_empty(rig) && all_are(rig, "p", TK_SEALED) && all_are(rig, "q", TK_SEALED),
	      "%s: trouble: they go after the next", rig->fs);
	check(kept_moved(rig) >= written + 2 * SEVERAL * SIZE,
	      "%s: trouble: for which all were written again, %llu bytes", rig->fs,
	      (unsigned long long)(kept_moved(rig) - written));
	check(still_there(rig, "p", 100) && still_there(rig, "q", 200), "%s: trouble: p, q are whole", rig->fs);
}

/* The flush of all succeeds, and the kernel knows better of one. */
static void test_one_unwritten(struct rig *rig)
{
	struct stat st;

	check(agent_settle(rig) && several(rig, "p", 300) && !stat(in(rig, nth("p", 2)), &st), "%s: trouble: p again",
	      rig->fs);
	rig->shared->unsyncable = st.st_ino;
	check(touch_all(rig, "p") && WAIT_FOR(state_of(rig, nth("p", 5)) == TK_SEALED) &&
		      record_of(rig, nth("p", 2), &(struct tk_record){}) && state_of(rig, nth("p", 2)) == TK_KEPT,
	      "%s: trouble: one keeps its record", rig->fs);
	rig->shared->unsyncable = 0;
	check(agent_settle(rig) && journal_empty(rig) && still_there(rig, "p", 300),
	      "%s: trouble: until it is written again", rig->fs);
}

/* What a disk did to a kept file is no edit, also when somebody touches the file: the record is the truth. */
static void test_spoiled_file(struct rig *rig)
{
	static const char zeros[4096];

	for (int lost = 0; lost < 2; lost++) {
		int fd, founds;

		check(agent_settle(rig) && kept_new(rig, "disk", 16), "%s: trouble: disk", rig->fs);
		fd = openat(rig->below, "guard/disk", O_WRONLY | O_CLOEXEC);
		check(fd >= 0 && pwrite(fd, lost ? zeros : "spoiled", lost ? 4096 : 7, 8192) > 0 && !fchmod(fd, 0640),
		      "%s: trouble: a disk spoils a file that is touched", rig->fs);
		close(fd);
		check(kept_becomes(rig, "disk", TK_SEALED) && !compare(rig, in(rig, "disk"), SIZE, 16) && agent_settle(rig),
		      "%s: trouble: its record has it", rig->fs);
		founds = kept_found(rig, "", 0);
		check(!kept_asides(rig) && (lost ? !founds : founds), "%s: trouble: and nothing is given up", rig->fs);
	}
}

/* It loses its name while its record is on its way out: then, too, the record stays until the file is durable. */
static void test_vanishing(struct rig *rig)
{
	struct stat st;

	check(agent_settle(rig) && kept_new(rig, "vanish", 17) && !stat(in(rig, "vanish"), &st), "%s: trouble: vanish",
	      rig->fs);
	rig->shared->unsyncable = rig->shared->vanishing = st.st_ino;
	check(kept_raw(rig, "vanish", O_WRONLY, NULL, 0) && record_of(rig, "vanish", &(struct tk_record){}),
	      "%s: trouble: the record of what vanishes and is not durable stays", rig->fs);
	rig->shared->unsyncable = rig->shared->vanishing = 0;
	check(agent_settle(rig) && journal_empty(rig) && !compare(rig, in(rig, "vanish"), SIZE, 17),
	      "%s: trouble: until it is", rig->fs);
}

/* A flush for another reason fails: what it was told of those that are kept is not told again. */
static void test_lost_unflushed(struct rig *rig)
{
	char error[300];
	uint64_t written;
	uint32_t left;

	check(agent_settle(rig) && kept_new(rig, "deleted", 18), "%s: trouble: deleted", rig->fs);
	agent_kill(rig);
	rig->shared->unflushed = 1000;
	check(!unlink(in(rig, "deleted")) && agent_start(rig, NULL) && several(rig, "p", 400),
	      "%s: trouble: a record without a file", rig->fs);
	left = rig->shared->unflushed;
	check(!tk_client_tell(rig->control, "reload", error, sizeof(error)) && WAIT_FOR(rig->shared->unflushed < left) &&
		      have_records(rig, "p"),
	      "%s: trouble: which cannot be removed", rig->fs);
	rig->shared->unflushed = 0;
	written = kept_moved(rig);
	check(agent_settle(rig) && journal_empty(rig) && kept_moved(rig) >= written + SEVERAL * SIZE &&
		      still_there(rig, "p", 400),
	      "%s: trouble: what was kept is written again", rig->fs);
}

/* A kept file's plaintext finds no room, nor does its ciphertext: the record is all there is of it. */
static void test_no_room(struct rig *rig)
{
	check(agent_settle(rig) && kept_new(rig, "full", 7) && kept_new(rig, "way", 8), "%s: trouble: full", rig->fs);
	rig->shared->full = true;
	check(!kept_read(rig, "full"), "%s: trouble: cannot be opened without room", rig->fs);
	rig->shared->full = false;
	check(WAIT_FOR(is_taka(rig, "full")) && agent_settle(rig) && !compare(rig, in(rig, "full"), SIZE, 7),
	      "%s: trouble: nothing of it is lost", rig->fs);
}

/* After a power cut, with a record that the disk has spoiled meanwhile: what the file has may be all there is. */
static void test_spoiled_after_cut(struct rig *rig)
{
	struct snapshot before, after;
	struct tk_record record;
	char path[128];
	int fd;

	check(agent_settle(rig) && kept_new(rig, "cut", 9) && record_of(rig, "cut", &record), "%s: trouble: cut", rig->fs);
	fd = open(in(rig, "cut"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd), "%s: trouble: cut is plaintext", rig->fs);
	agent_kill(rig);
	close(fd);
	kernel_forget(rig);
	snprintf(path, sizeof(path), ".takakrypt/%s", record.name);
	fd = openat(rig->below, path, O_RDWR | O_CLOEXEC);
	check(fd >= 0 && pwrite(fd, "spoiled", 7, TK_PAYLOAD + 5000) == 7 && snapshot(rig, "cut", &before),
	      "%s: trouble: its record spoiled", rig->fs);
	close(fd);
	check(agent_start(rig, NULL) && WAIT_FOR(status_number(rig, NULL, "failure_count") > 0), "%s: trouble: is told",
	      rig->fs);
	check(snapshot(rig, "cut", &after) && after.size == before.size && !memcmp(after.bytes, before.bytes, after.size),
	      "%s: trouble: the file is not touched", rig->fs);
	check(record_of(rig, "cut", &record) && !kept_read(rig, "cut"), "%s: trouble: nor is it shown", rig->fs);
	snapshot_free(&before);
	snapshot_free(&after);
	agent_kill(rig);
	snprintf(path, sizeof(path), ".takakrypt/%s", record.name);
	check(!unlinkat(rig->below, path, 0), "%s: trouble: the administrator has chosen the file", rig->fs);
	kernel_forget(rig);
	check(agent_start(rig, NULL) && agent_settle(rig) && !compare(rig, in(rig, "cut"), SIZE, 9) && agent_settle(rig),
	      "%s: trouble: which was whole", rig->fs);
}

static bool copy_below(const struct rig *rig, const struct snapshot *from, const char *name)
{
	char path[64];
	int fd;
	bool good;

	snprintf(path, sizeof(path), "guard/%s", name);
	fd = openat(rig->below, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	good = fd >= 0 && write(fd, from->bytes, from->size) == (ssize_t)from->size && !fsync(fd);
	close(fd);
	return good;
}

/* No crash leaves a whole file of another encryption: somebody has put it there. */
static void test_restored_unguarded(struct rig *rig)
{
	struct snapshot saved;

	check(agent_settle(rig) && kept_new(rig, "back", 10) && snapshot(rig, "back", &saved) &&
		      kept_new(rig, "back", 11),
	      "%s: trouble: back", rig->fs);
	agent_kill(rig);
	kernel_forget(rig);
	check(copy_below(rig, &saved, "back"), "%s: trouble: brought back while nothing is guarded", rig->fs);
	for (int boots = 0; boots < 3; boots++) {
		check(agent_start(rig, NULL) && agent_settle(rig) && !compare(rig, in(rig, "back"), SIZE, 10) &&
			      agent_settle(rig),
		      "%s: trouble: stays, boot %d", rig->fs, boots);
		check(status_number(rig, NULL, "failure_count") > 0, "%s: trouble: and is told each time", rig->fs);
		agent_kill(rig);
		kernel_forget(rig);
	}
	check(agent_start(rig, NULL) && kept_asides(rig) == 1, "%s: trouble: the record is set aside", rig->fs);
	snapshot_free(&saved);
}

/* The name is there, and leads to the record's file, whatever its handle does. */
static void test_stale(struct rig *rig)
{
	struct stat st;

	check(agent_settle(rig) && kept_new(rig, "stale", 12) && !stat(in(rig, "stale"), &st), "%s: trouble: stale",
	      rig->fs);
	agent_kill(rig);
	rig->shared->stale = st.st_ino;
	check(agent_start(rig, NULL) && rig_ask_to_settle(rig) && status_number(rig, NULL, "failure_count") > 0 &&
		      record_of(rig, "stale", &(struct tk_record){}),
	      "%s: trouble: a record whose file has a name stays", rig->fs);
	agent_kill(rig);
	rig->shared->stale = 0;
	check(agent_start(rig, NULL) && agent_settle(rig) && journal_empty(rig) &&
		      !compare(rig, in(rig, "stale"), SIZE, 12) && agent_settle(rig),
	      "%s: trouble: and is recovered", rig->fs);
}

/* What is gone after the machine died may have been lost, not deleted. */
static void test_gone_in_another_boot(struct rig *rig)
{
	char boot[96], environment[128];
	int fd;

	snprintf(boot, sizeof(boot), "%s/boot", rig->dir);
	snprintf(environment, sizeof(environment), "TK_BOOT=%s", boot);
	fd = open(boot, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, "00000000-0000-0000-0000-000000000001\n", 37) == 37, "%s: trouble: a boot", rig->fs);
	close(fd);
	check(agent_settle(rig) && kept_new(rig, "lost", 13), "%s: trouble: lost", rig->fs);
	agent_kill(rig);
	check(!unlink(in(rig, "lost")), "%s: trouble: lost is gone", rig->fs);
	kernel_forget(rig);
	check(agent_start(rig, environment) && rig_ask_to_settle(rig) && kept_asides(rig) == 1 &&
		      status_number(rig, NULL, "failure_count") > 0,
	      "%s: trouble: its record is set aside", rig->fs);
	agent_kill(rig);
	check(agent_start(rig, NULL), "%s: trouble: after the other boot", rig->fs);
}

/* Read-only from one moment to the next: no record can go, and none must; who asks for that is told. */
static void test_read_only(struct rig *rig)
{
	char error[512] = "";
	FILE *hold = NULL;

	check(agent_settle(rig) && kept_new(rig, "ro", 14) && !mount(NULL, rig->mount, NULL, MS_REMOUNT | MS_RDONLY, NULL),
	      "%s: trouble: read-only", rig->fs);
	check(tk_client_hold(rig->control, "release", &hold, error, sizeof(error)) == -EIO && strstr(error, "read-only"),
	      "%s: trouble: unload is told that a record stays: %s", rig->fs, error);
	check(tk_client_tell(rig->control, "settle", error, sizeof(error)) == -EIO && strstr(error, "read-only") &&
		      state_of(rig, "ro") == TK_KEPT && record_of(rig, "ro", &(struct tk_record){}),
	      "%s: trouble: so is who settles: %s", rig->fs, error);
	check(!mount(NULL, rig->mount, NULL, MS_REMOUNT, NULL) && agent_settle(rig) && journal_empty(rig) &&
		      !compare(rig, in(rig, "ro"), SIZE, 14),
	      "%s: trouble: writable again", rig->fs);
}

/* From when somebody is about to take guard points away until he is done, however long that takes. */
static void test_released(struct rig *rig)
{
	char error[512] = "";
	FILE *hold = NULL;

	check(agent_settle(rig) && kept_new(rig, "hold", 15), "%s: trouble: kept", rig->fs);
	check(!tk_client_hold(rig->control, "release", &hold, error, sizeof(error)) && state_of(rig, "hold") == TK_SEALED &&
		      journal_empty(rig),
	      "%s: trouble: released", rig->fs);
	check(kept_read(rig, "hold") && kept_becomes(rig, "hold", TK_SEALED) && journal_empty(rig),
	      "%s: trouble: none is kept", rig->fs);
	if (hold)
		fclose(hold);
	check(WAIT_FOR(kept_read(rig, "hold") && kept_becomes(rig, "hold", TK_KEPT)), "%s: trouble: again", rig->fs);
}

void kept_trouble_tests(struct rig *rig)
{
	test_unflushed(rig);
	test_one_unwritten(rig);
	test_spoiled_file(rig);
	test_vanishing(rig);
	test_lost_unflushed(rig);
	test_no_room(rig);
	test_spoiled_after_cut(rig);
	test_restored_unguarded(rig);
	test_stale(rig);
	test_gone_in_another_boot(rig);
	test_read_only(rig);
	test_released(rig);
}
