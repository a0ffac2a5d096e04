// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/defence_test.c - defences of single files: which content is the truth
 * when a record, a state or an fsync cannot be had, and whose key a file is under.
 */
#include "tests/agent/defence_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "tests/agent/kept_test.h"
#include "tests/agent/rig.h"

#define SIZE 150000

static bool sealed_new(struct rig *rig, const char *name, unsigned int seed)
{
	return write_new(in(rig, name), SIZE, seed) && agent_settle(rig) && is_taka(rig, name);
}

static bool overwrite(int fd, unsigned int seed)
{
	static uint8_t buf[SIZE];

	fill(buf, SIZE, seed);
	return pwrite(fd, buf, SIZE, 0) == SIZE;
}

/* 0, or what open said. */
static int try_open(const struct rig *rig, const char *name, int flags)
{
	int fd = open(in(rig, name), flags | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* Writes past the agent; path is from the filesystem's root. */
static bool put_below(const struct rig *rig, const char *path, const void *bytes, size_t size)
{
	int fd = openat(rig->below, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool good = fd >= 0 && write(fd, bytes, size) == (ssize_t)size && !fsync(fd);

	if (fd >= 0)
		close(fd);
	return good;
}

/* ---------------------------------------------------------------- edited while unguarded */

/* The file "edited" is left as plaintext with a record, by an agent that was killed in an earlier boot. */
static bool leave_open(struct rig *rig, unsigned int seed)
{
	int fd;
	bool good = sealed_new(rig, "edited", seed);

	fd = open(in(rig, "edited"), O_RDONLY | O_CLOEXEC);
	good &= fd >= 0 && plain_now(rig, fd);
	agent_kill(rig);
	if (fd >= 0)
		close(fd);
	kernel_forget(rig);
	return good;
}

/* Somebody worked on a file while no policy was loaded, and the journal has another content of it. */
static void test_edited_unguarded(struct rig *rig)
{
	struct snapshot edited;
	int fd;

	check(leave_open(rig, 1) && agent_start(rig, NULL) && agent_settle(rig) && is_taka(rig, "edited") &&
		      !compare(rig, in(rig, "edited"), SIZE, 1) && agent_settle(rig) && no_records(rig),
	      "%s: not edited: put back", rig->fs);
	check(leave_open(rig, 2), "%s: left by a killed agent", rig->fs);
	fd = openat(rig->below, "guard/edited", O_WRONLY | O_CLOEXEC);
	check(fd >= 0 && pwrite(fd, "edit", 4, SIZE - 100) == 4 && snapshot(rig, "edited", &edited),
	      "%s: edited unguarded, in its last record", rig->fs);
	close(fd);
	check(agent_start(rig, NULL) && agent_settle(rig) && is_taka(rig, "edited") &&
		      !compare(rig, in(rig, "edited"), SIZE, 2) && agent_settle(rig),
	      "%s: edited unguarded: put back", rig->fs);
	check(status_number(rig, NULL, "failure_count") > 0, "%s: edited unguarded: reported", rig->fs);
	check(kept_found(rig, edited.bytes, edited.size) == 1 && no_records(rig), "%s: edited unguarded: kept", rig->fs);
	snapshot_free(&edited);
}

/* ---------------------------------------------------------------- which content is the truth */

/* The seal fails before it touched the file, and so does the way back: the file still is the truth. */
static void test_put_back_writable(struct rig *rig)
{
	struct fake_shared *shared = rig->shared;
	int fd;

	check(sealed_new(rig, "b", 3), "%s: b", rig->fs);
	fd = open(in(rig, "b"), O_RDWR | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && overwrite(fd, 4), "%s: b rewritten", rig->fs);
	shared->full = true;
	shared->refuse_state = TK_OPEN;
	shared->refusals = 1;
	close(fd);
	check(WAIT_FOR(!shared->refusals), "%s: b: neither sealed nor open again", rig->fs);
	shared->full = false;
	check(agent_settle(rig) && is_taka(rig, "b") && !compare(rig, in(rig, "b"), SIZE, 4) &&
		      agent_settle(rig) && no_records(rig),
	      "%s: a WRITABLE file is not overwritten with its old content", rig->fs);
}

/* An fsync that succeeds after one that failed proves nothing. */
static void test_sync_failed(struct rig *rig)
{
	struct tk_record record = {};
	struct stat st;
	int fd;

	check(sealed_new(rig, "s", 5) && !stat(in(rig, "s"), &st), "%s: s", rig->fs);
	fd = open(in(rig, "s"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd), "%s: s open", rig->fs);
	rig->shared->unsyncable = st.st_ino;
	check(try_open(rig, "s", O_RDWR) == EIO, "%s: no writing to what cannot be made durable", rig->fs);
	rig->shared->unsyncable = 0;
	check(try_open(rig, "s", O_RDWR) == EIO, "%s: nor after a later fsync that succeeds", rig->fs);
	check(record_of(rig, "s", &record) && record.state == TK_RESTORE && record.payload_size &&
		      state_of(rig, "s") == TK_OPEN_READ,
	      "%s: after a failed fsync the file can be restored", rig->fs);
	check(!compare(rig, in(rig, "s"), SIZE, 5), "%s: and be read", rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "s"), "%s: s sealed after a failed fsync", rig->fs);
	check(!try_open(rig, "s", O_RDWR) && agent_settle(rig) && !compare(rig, in(rig, "s"), SIZE, 5) &&
		      agent_settle(rig) && no_records(rig),
	      "%s: s can be written again once it was sealed", rig->fs);
}

/* What a crash would undo must not be written: the kernel is told so until the record says otherwise. */
static void test_open_read(struct rig *rig)
{
	struct tk_record record = {};
	int reader, writer;

	check(sealed_new(rig, "d", 6), "%s: d", rig->fs);
	reader = open(in(rig, "d"), O_RDONLY | O_CLOEXEC);
	check(reader >= 0 && state_of(rig, "d") == TK_OPEN_READ, "%s: for a reader: to be read only",
	      rig->fs);
	check(record_of(rig, "d", &record) && record.state == TK_RESTORE, "%s: d can be restored", rig->fs);
	agent_kill(rig);
	check(agent_start(rig, NULL) && WAIT_FOR(status_number(rig, "files", "open") == 1) &&
		      state_of(rig, "d") == TK_OPEN_READ,
	      "%s: adopted for a reader: to be read only", rig->fs);
	/* The record cannot be turned: then nothing may be written either. */
	rig->shared->full = true;
	check(try_open(rig, "d", O_WRONLY) && state_of(rig, "d") == TK_OPEN_READ,
	      "%s: the record cannot be turned: to be read only", rig->fs);
	rig->shared->full = false;
	writer = open(in(rig, "d"), O_WRONLY | O_CLOEXEC);
	check(writer >= 0 && state_of(rig, "d") == TK_OPEN, "%s: for a writer: open", rig->fs);
	check(record_of(rig, "d", &record) && record.state == TK_WRITABLE, "%s: and the record knows",
	      rig->fs);
	check(overwrite(writer, 7), "%s: d written", rig->fs);
	close(writer);
	close(reader);
	check(agent_settle(rig) && is_taka(rig, "d") && !compare(rig, in(rig, "d"), SIZE, 7) &&
		      agent_settle(rig) && no_records(rig),
	      "%s: d sealed with what was written", rig->fs);
}

/* ---------------------------------------------------------------- capabilities */

/* Moving contents takes capabilities away; afterwards they are what the last word on them was. */
static void test_capability(struct rig *rig)
{
	int fd;

	check(sealed_new(rig, "cap", 9) && set_capability(in(rig, "cap")), "%s: capability", rig->fs);
	fd = open(in(rig, "cap"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && has_capability(in(rig, "cap")), "%s: capability of an open file", rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "cap") && has_capability(in(rig, "cap")),
	      "%s: capability after reading", rig->fs);
	fd = open(in(rig, "cap"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && !removexattr(in(rig, "cap"), "security.capability"), "%s: taken while open",
	      rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "cap") && !has_capability(in(rig, "cap")),
	      "%s: a capability that was taken does not come back", rig->fs);
	fd = open(in(rig, "cap"), O_WRONLY | O_CLOEXEC);
	check(fd >= 0 && overwrite(fd, 10) && set_capability(in(rig, "cap")), "%s: given while open",
	      rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "cap") && has_capability(in(rig, "cap")),
	      "%s: capability given to what was written", rig->fs);
	agent_stop(rig);
}

/* The agent dies when the file is cut already and its new content cannot be written. */
static void test_capability_crash(struct rig *rig)
{
	char environment[64];

	for (int n = 1; n <= 6; n++) {
		snprintf(environment, sizeof(environment), "TK_FULL_AT=%d TK_FULL_UNTIL=/nowhere", n);
		check(agent_start(rig, environment), "%s: capability, full at %d", rig->fs, n);
		try_open(rig, "cap", O_RDONLY);
		agent_kill(rig);
		check(agent_start(rig, NULL) && agent_settle(rig) && is_taka(rig, "cap"),
		      "%s: capability, full at %d: recovered", rig->fs, n);
		check(has_capability(in(rig, "cap")), "%s: capability, full at %d: restored", rig->fs, n);
		check(!compare(rig, in(rig, "cap"), SIZE, 10) && agent_settle(rig) && no_records(rig) &&
			      agent_stop(rig),
		      "%s: capability, full at %d: content", rig->fs, n);
	}
	check(agent_start(rig, NULL), "%s: after capabilities", rig->fs);
}

/* ---------------------------------------------------------------- another key */

/* Ciphertext of one guard point carried into another: its rules must not open it. */
static void test_other_key(struct rig *rig)
{
	struct snapshot before, after;
	char path[160];
	int fd;

	check(sealed_new(rig, "e", 8) && snapshot(rig, "e", &before), "%s: e", rig->fs);
	check(put_below(rig, "other/e", before.bytes, before.size) &&
		      put_below(rig, "guard/e2", before.bytes, before.size),
	      "%s: e carried elsewhere", rig->fs);
	check(!compare(rig, in(rig, "e2"), SIZE, 8), "%s: under its own key: opened", rig->fs);
	snprintf(path, sizeof(path), "%s/e", rig->other);
	for (int i = 0; i < 2; i++) {
		fd = open(path, (i ? O_RDWR : O_RDONLY) | O_CLOEXEC);
		check(fd < 0 && errno == EPERM, "%s: under another guard point's key: refused", rig->fs);
		if (fd >= 0)
			close(fd);
	}
	check(agent_settle(rig) && snapshot(rig, "../other/e", &after) && after.size == before.size &&
		      !memcmp(after.bytes, before.bytes, after.size),
	      "%s: under another guard point's key: unchanged", rig->fs);
	check(no_records(rig), "%s: under another guard point's key: no record", rig->fs);
	snapshot_free(&before);
	snapshot_free(&after);
}

/* ---------------------------------------------------------------- a key's provider that fails */

/* The policy's first key from a command instead of its file. */
static bool key_from_command(const struct rig *rig)
{
	char path[160], text[2048] = "", whole[2300], from[200], *at;
	int fd;

	snprintf(path, sizeof(path), "%s/policy.json", rig->dir);
	snprintf(from, sizeof(from), "\"provider\": \"file\", \"path\": \"%s/key\"", rig->dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 || !(at = strstr(text, from))) {
		close(fd);
		return false;
	}
	*at = '\0';
	snprintf(whole, sizeof(whole),
		 "%s\"provider\": \"command\", \"argv\": [\"/bin/cat\", \"%s/key\"]%s", text, rig->dir,
		 at + strlen(from));
	if (ftruncate(fd, 0) || pwrite(fd, whole, strlen(whole), 0) < 0)
		*whole = '\0';
	close(fd);
	return *whole;
}

static bool reload(const struct rig *rig)
{
	char error[300];

	return !tk_client_tell(rig->control, "reload", error, sizeof(error));
}

/* Of the first key's status: the value of name as text, "null", or "" when there is none. */
static const char *key_status(const struct rig *rig, const char *name)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;
	static char text[300];
	char *printed = NULL;

	*text = '\0';
	cJSON_AddStringToObject(request, "verb", "status");
	if (!tk_client_ask(rig->control, request, &answer))
		printed = cJSON_PrintUnformatted(
			cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(answer, "keys"), 0), name));
	if (printed)
		snprintf(text, sizeof(text), "%s", printed);
	free(printed);
	cJSON_Delete(request);
	cJSON_Delete(answer);
	return text;
}

static void test_key_health(struct rig *rig)
{
	char key[160], aside[160];

	snprintf(key, sizeof(key), "%s/key", rig->dir);
	snprintf(aside, sizeof(aside), "%s/aside", rig->dir);
	check(!strcmp(key_status(rig, "provider"), "\"file\"") && !strcmp(key_status(rig, "failures"), "0"),
	      "%s: a key's health: of a file", rig->fs);
	check(key_from_command(rig) && reload(rig), "%s: a key's health: by a command", rig->fs);
	check(!strcmp(key_status(rig, "provider"), "\"command\"") &&
		      !strcmp(key_status(rig, "current"), "1") && !strcmp(key_status(rig, "failures"), "0") &&
		      key_status(rig, "last_success")[0] == '"' && !strcmp(key_status(rig, "open_until"), "null"),
	      "%s: a key's health: good", rig->fs);
	check(sealed_new(rig, "k", 9), "%s: a key's health: a file under it", rig->fs);
	check(!rename(key, aside) && !reload(rig), "%s: a key's health: fails", rig->fs);
	check(atoi(key_status(rig, "failures")) > 0 && key_status(rig, "last_failure")[0] == '"' &&
		      !strcmp(key_status(rig, "why"), "\"the key command failed\""),
	      "%s: a key's health: failed", rig->fs);
	check(!compare(rig, in(rig, "k"), SIZE, 9), "%s: a key's health: what the agent has stays usable", rig->fs);
	check(!rename(aside, key) && WAIT_FOR(reload(rig)), "%s: a key's health: mended", rig->fs);
	check(!strcmp(key_status(rig, "failures"), "0") && !strcmp(key_status(rig, "why"), "") &&
		      !strcmp(key_status(rig, "open_until"), "null"),
	      "%s: a key's health: good again", rig->fs);
	rig_policy(rig);
	check(reload(rig), "%s: a key's health: back to files", rig->fs);
}

/* ---------------------------------------------------------------- another policy meanwhile */

/* Guard point g by policy "p" or "q", whose key is the other one. */
static bool guard_by(const struct rig *rig, char policy)
{
	char path[160], text[2048] = "", *at;
	int fd;

	snprintf(path, sizeof(path), "%s/policy.json", rig->dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	at = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? strstr(text, "\"name\": \"g\"") : NULL;
	at = at ? strstr(at, "\"policy\": \"") : NULL;
	if (at && pwrite(fd, &policy, 1, at - text + (off_t)strlen("\"policy\": \"")) != 1)
		at = NULL;
	close(fd);
	return at && reload(rig);
}

static bool waits_in_kernel(pid_t pid)
{
	char path[48], line[256] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		*line = '\0';
	close(fd);
	state = strrchr(line, ')');
	return state && state[2] == 'D';
}

/*
 * Who comes by a new policy while the file has a turn by the former one is served by his own: it stays open for him,
 * and is sealed under his key, or he could not open it again.
 */
static void test_policy_meanwhile(struct rig *rig)
{
	int fd, status = -1;
	pid_t pid;

	check(sealed_new(rig, "m", 9), "%s: m", rig->fs);
	fd = open(in(rig, "m"), O_RDWR | O_CLOEXEC);
	check(fd >= 0 && overwrite(fd, 10), "%s: m is written", rig->fs);
	rig->shared->gate = SIZE;
	close(fd);
	check(WAIT_FOR(rig->shared->at_gate == 1), "%s: m is about to be sealed", rig->fs);
	check(guard_by(rig, 'q'), "%s: another key from now on", rig->fs);
	pid = fork();
	if (!pid)
		_exit(open(in(rig, "m"), O_RDONLY | O_CLOEXEC) < 0 ? errno : 0);
	check(WAIT_FOR(waits_in_kernel(pid)), "%s: somebody opens it", rig->fs);
	rig->shared->gate = 0;
	check(waitpid(pid, &status, 0) == pid && !status, "%s: it is open (%d)", rig->fs, status);
	check(agent_settle(rig) && is_taka(rig, "m") && !compare(rig, in(rig, "m"), SIZE, 10),
	      "%s: sealed under the new key", rig->fs);
	check(agent_settle(rig) && !unlink(in(rig, "m")) && guard_by(rig, 'p'), "%s: back to the former key", rig->fs);
}

void defence_tests(const char *fs)
{
	struct rig rig;

	if (check(rig_up(&rig, fs, 320) && agent_start(&rig, NULL), "%s: set up for defences", fs)) {
		test_edited_unguarded(&rig);
		test_put_back_writable(&rig);
		test_sync_failed(&rig);
		test_open_read(&rig);
		test_capability(&rig);
		test_capability_crash(&rig);
		test_other_key(&rig);
		test_policy_meanwhile(&rig);
		test_key_health(&rig);
		check(!rig.shared->undecided, "%s: every open was understood", fs);
		check(agent_stop(&rig), "%s: defences: stops in order", fs);
	}
	rig_down(&rig);
}
