// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/kept_unguarded_test.c - what becomes of files that somebody has worked on while nothing guarded them and
 * the journal had records of them: after a crash, in a rescue boot, with the disk in another machine.  Nothing is
 * lost, and what a crash leaves by itself is not taken for work.
 */
#include "tests/agent/kept_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "loader/agent/agent.h"

#define SIZE KEPT_SIZE

static bool holds(int vault, const char *name, const void *bytes, size_t size)
{
	int fd = openat(vault, name, O_RDONLY | O_CLOEXEC), plain = memfd_create("plain", MFD_CLOEXEC);
	void *got = malloc(size + 1);
	struct stat st;
	bool good;

	good = fd >= 0 && !fstat(fd, &st) &&
	       !tk_decrypt_fd(rig_keys(), fd, 0, (uint64_t)st.st_size, plain, 0, NULL, NULL, NULL) &&
	       pread(plain, got, size + 1, 0) == (ssize_t)size && !memcmp(got, bytes, size);
	free(got);
	close(plain);
	if (fd >= 0)
		close(fd);
	return good;
}

int kept_found(const struct rig *rig, const void *bytes, size_t size)
{
	int fd = openat(rig->below, ".takakrypt", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "found-", 6))
			continue;
		count = count < 0 || !holds(fd, entry->d_name, bytes, size) ? -1 : count + 1;
		unlinkat(fd, entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
	return count;
}

/* Past the agent and every mark: cut when bytes is NULL. */
static bool put(const struct rig *rig, const char *name, const void *bytes, size_t size, off_t at, int flags)
{
	char path[64];
	int fd;
	bool good;

	snprintf(path, sizeof(path), "guard/%s", name);
	fd = openat(rig->below, path, O_WRONLY | O_CLOEXEC | flags);
	good = fd >= 0 && (!bytes || pwrite(fd, bytes, size, at) == (ssize_t)size) && !fsync(fd);
	if (fd >= 0)
		close(fd);
	return good;
}

/* The power goes while the file is kept, or, open, while it is plaintext. */
static bool crash(struct rig *rig, const char *name, bool open_then)
{
	int fd = open_then ? open(in(rig, name), O_RDONLY | O_CLOEXEC) : -1;
	bool good = !open_then || (fd >= 0 && plain_now(rig, fd));

	agent_kill(rig);
	if (fd >= 0)
		close(fd);
	kernel_forget(rig);
	return good;
}

static bool told(const struct rig *rig)
{
	return status_number(rig, NULL, "failure_count") > 0;
}

static bool as_before(struct rig *rig, const char *name, unsigned int seed)
{
	return agent_settle(rig) && is_taka(rig, name) && !compare(rig, in(rig, name), SIZE, seed) && agent_settle(rig);
}

/* Edited in place, with no clock to tell: the file is what it was made durable as, and the edit can be had. */
static void test_edited(struct rig *rig)
{
	static const char edit[] = "edited while nothing was guarded";

	for (int open_then = 0; open_then < 2; open_then++) {
		check(agent_settle(rig) && kept_new(rig, "edited", 20) && crash(rig, "edited", open_then) &&
			      put(rig, "edited", edit, sizeof(edit), 0, O_TRUNC),
		      "%s: unguarded: edited", rig->fs);
		check(agent_start(rig, NULL) && as_before(rig, "edited", 20) && told(rig),
		      "%s: unguarded: what the journal has is put back, and told", rig->fs);
		agent_kill(rig);
		kernel_forget(rig);
		check(agent_start(rig, NULL) && as_before(rig, "edited", 20) && told(rig),
		      "%s: unguarded: told again", rig->fs);
		check(kept_found(rig, edit, sizeof(edit)) == 1 && no_records(rig),
		      "%s: unguarded: the edit can be had", rig->fs);
		agent_kill(rig);
		check(agent_start(rig, NULL) && !told(rig), "%s: unguarded: until somebody has taken it", rig->fs);
	}
}

/* The first agent that meets the edit dies, at any of its steps; what the kernel knows of the file is from that one. */
static void test_met_twice(struct rig *rig)
{
	static const char edit[] = "edited while nothing was guarded, and met twice";
	struct fake_fault *fault = &rig->shared->fault;
	/* The same steps on each filesystem: one of them is enough to see them all. */
	unsigned int stride = strcmp(rig->fs, "ext4") ? 5 : 1, deaths = 0, later = 0;

	for (uint32_t at = 1; later * stride < 4 && at < 60; at += stride) {
		int found;

		if (!check(agent_settle(rig) && kept_new(rig, "twice", 33) && crash(rig, "twice", false) &&
				   put(rig, "twice", edit, sizeof(edit), 0, O_TRUNC),
			   "%s: unguarded: edited, to be met twice", rig->fs))
			return;
		fault->steps = fault->fired = 0;
		fault->at = at;
		fault->kind = FAULT_KILL;
		if (agent_start_quietly(rig))
			WAIT_FOR(fault->fired || at_ease(rig));
		if (is_taka(rig, "twice")) /* the edit is gone by then */
			later++;
		else
			deaths += fault->fired;
		fault->kind = FAULT_NONE;
		agent_kill(rig);
		check(agent_start(rig, NULL) && as_before(rig, "twice", 33), "%s: unguarded: put back after a death at step %u",
		      rig->fs, at);
		/* Two, when the first one died before it could know that it had kept it. */
		found = kept_found(rig, edit, sizeof(edit));
		check(found == 1 || found == 2, "%s: unguarded: the edit can be had after a death at step %u: %d", rig->fs, at,
		      found);
		agent_kill(rig);
		check(agent_start(rig, NULL), "%s: unguarded: after being met twice", rig->fs);
	}
	check(deaths * stride >= 10 && later, "%s: unguarded: all steps were tried: %u", rig->fs, deaths);
}

/* A part of it, in whatever it was. */
static void test_edited_in_part(struct rig *rig)
{
	static uint8_t bytes[2 * SIZE];
	struct snapshot edited;

	check(kept_new(rig, "part", 21) && crash(rig, "part", true) && put(rig, "part", "edit", 4, 9000, 0) &&
		      snapshot(rig, "part", &edited),
	      "%s: unguarded: edited in part", rig->fs);
	check(agent_start(rig, NULL) && as_before(rig, "part", 21) && kept_found(rig, edited.bytes, edited.size) == 1,
	      "%s: unguarded: the whole of it is kept", rig->fs);
	snapshot_free(&edited);
	check(kept_new(rig, "part", 22) && crash(rig, "part", false) && snapshot(rig, "part", &edited),
	      "%s: unguarded: kept", rig->fs);
	memcpy(bytes, edited.bytes, edited.size);
	memcpy(bytes + edited.size, "more", 4);
	check(put(rig, "part", "more", 4, (off_t)edited.size, 0) && agent_start(rig, NULL) && as_before(rig, "part", 22) &&
		      kept_found(rig, bytes, edited.size + 4) == 1,
	      "%s: unguarded: ciphertext with something behind it", rig->fs);
	snapshot_free(&edited);
}

/* No room to keep the edit, and then a disk that fails: it stays where it is, and nobody is let in. */
static void test_no_room(struct rig *rig)
{
	static const char edit[] = "edited, and no room to keep that";
	struct snapshot now = {};

	check(kept_new(rig, "room", 23) && crash(rig, "room", false) && put(rig, "room", edit, sizeof(edit), 0, O_TRUNC),
	      "%s: unguarded: edited where there is no room", rig->fs);
	rig->shared->full = true;
	check(agent_start(rig, NULL) && WAIT_FOR(told(rig)) && !kept_read(rig, "room"),
	      "%s: unguarded: nobody is let in", rig->fs);
	check(snapshot(rig, "room", &now) && now.size == sizeof(edit) && !memcmp(now.bytes, edit, now.size) &&
		      record_of(rig, "room", &(struct tk_record){}),
	      "%s: unguarded: neither is given up", rig->fs);
	snapshot_free(&now);
	rig->shared->full = false;
	check(as_before(rig, "room", 23) && kept_found(rig, edit, sizeof(edit)) == 1 && no_records(rig),
	      "%s: unguarded: until there is room", rig->fs);
}

/* What an application sees; -1: nothing. */
static off_t size_of(const struct rig *rig, const char *name)
{
	int fd = open(in(rig, name), O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (fd >= 0)
		close(fd);
	return size;
}

/* The administrator has said that he works unguarded (`unload --force`): then his word is the last. */
static void test_unguarded_by_intent(struct rig *rig)
{
	static const char edit[] = "edited by intent";
	static const char zeros[SIZE];
	char text[sizeof(edit) + 1];
	int fd, cut;

	check(kept_new(rig, "emptied", 30) && kept_new(rig, "shorter", 31) && kept_new(rig, "zeroed", 32),
	      "%s: unguarded: to be cut by intent", rig->fs);
	cut = open(in(rig, "shorter"), O_RDONLY | O_CLOEXEC);
	check(cut >= 0 && plain_now(rig, cut) && kept_new(rig, "intent", 24) && kept_new(rig, "torn", 25) &&
		      crash(rig, "torn", true) && put(rig, "intent", edit, sizeof(edit), 0, O_TRUNC) &&
		      put(rig, "emptied", NULL, 0, 0, O_TRUNC) && put(rig, "zeroed", zeros, SIZE, 0, O_TRUNC) &&
		      !truncate(in(rig, "shorter"), 8192) && !tk_vault_unguard(rig->mount),
	      "%s: unguarded: by intent", rig->fs);
	close(cut);
	check(agent_start(rig, NULL) && agent_settle(rig) && is_taka(rig, "intent") && told(rig),
	      "%s: unguarded: the edit is sealed", rig->fs);
	fd = open(in(rig, "intent"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && read(fd, text, sizeof(text)) == sizeof(edit) &&
		      !memcmp(text, edit, sizeof(edit)),
	      "%s: unguarded: the edit stays", rig->fs);
	close(fd);
	check(size_of(rig, "emptied") == 0 && !compare(rig, in(rig, "shorter"), 8192, 31) && size_of(rig, "zeroed") == SIZE,
	      "%s: unguarded: so does what was cut", rig->fs);
	check(as_before(rig, "torn", 25) && kept_asides(rig) == 4 && no_records(rig),
	      "%s: unguarded: and what lies there whole is sealed as it was", rig->fs);
	/* Also when the first agent cannot make up for it and dies, alone or with the machine. */
	for (int end = 0; end < 2; end++) {
		struct stat st;

		check(kept_new(rig, "intent", 24) && crash(rig, "intent", false) &&
			      put(rig, "intent", edit, sizeof(edit), 0, O_TRUNC) && !tk_vault_unguard(rig->mount) &&
			      !stat(in(rig, "intent"), &st),
		      "%s: unguarded: by intent again", rig->fs);
		rig->shared->unsyncable = st.st_ino;
		check(agent_start(rig, NULL) && WAIT_FOR(told(rig)) && !kept_read(rig, "intent"),
		      "%s: unguarded: and not to be had yet", rig->fs);
		agent_kill(rig);
		if (end)
			kernel_forget(rig);
		rig->shared->unsyncable = 0;
		check(agent_start(rig, NULL) && agent_settle(rig) && size_of(rig, "intent") == sizeof(edit) &&
			      kept_asides(rig) == 1,
		      "%s: unguarded: the edit stays with the next agent", rig->fs);
	}
	/* It is said of that time alone. */
	check(kept_new(rig, "intent", 24) && crash(rig, "intent", false) &&
		      put(rig, "intent", edit, sizeof(edit), 0, O_TRUNC) && agent_start(rig, NULL) &&
		      as_before(rig, "intent", 24) && kept_found(rig, edit, sizeof(edit)) == 1 && !kept_asides(rig),
	      "%s: unguarded: not of the next", rig->fs);
}

/* What a power cut leaves is known for what it is, whatever else was done to the file: chown -R, restorecon, a clock. */
static void test_torn(struct rig *rig)
{
	struct snapshot sealed, plain;
	static uint8_t torn[2 * SIZE];
	int fd;

	check(kept_new(rig, "torn", 26) && snapshot(rig, "torn", &sealed), "%s: unguarded: torn", rig->fs);
	fd = open(in(rig, "torn"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && snapshot(rig, "torn", &plain), "%s: unguarded: torn open", rig->fs);
	agent_kill(rig);
	close(fd);
	for (int way = 0; way < 4; way++) {
		size_t size = way & 1 ? sealed.size : plain.size - 100;

		kernel_forget(rig);
		memcpy(torn, way & 1 ? sealed.bytes : plain.bytes, size);
		memcpy(torn + 4096, way & 1 ? plain.bytes + 4096 : sealed.bytes + 4096, 512);
		memset(torn + 8192, 0, way & 2 ? 5120 : 0);
		check(put(rig, "torn", torn, size, 0, O_TRUNC) && !chmod(in(rig, "torn"), 0600 + way),
		      "%s: unguarded: torn, way %d", rig->fs, way);
		check(agent_start(rig, NULL) && as_before(rig, "torn", 26) && !told(rig) && no_records(rig),
		      "%s: unguarded: torn, way %d, is no edit", rig->fs, way);
		check(kept_read(rig, "torn") && kept_becomes(rig, "torn", TK_KEPT), "%s: unguarded: kept again", rig->fs);
		agent_kill(rig);
	}
	snapshot_free(&sealed);
	snapshot_free(&plain);
	check(agent_start(rig, NULL), "%s: unguarded: after torn ones", rig->fs);
}

/* Plaintext that is TAKA itself, of a key that nobody here has. */
static void test_taka_within(struct rig *rig)
{
	struct tk_params params = {.algorithm = TK_AES_256_GCM, .version = 2, .chunk_log2 = 16, .key_id = "another"};
	int plain = memfd_create("plain", MFD_CLOEXEC), sealed = memfd_create("sealed", MFD_CLOEXEC), fd;
	uint8_t key[TK_KEK_SIZE] = {1}, *text = malloc(2 * SIZE), *got = malloc(2 * SIZE);
	struct tk_keyring *ring;
	uint64_t size = 0;

	check(!ftruncate(plain, SIZE) && !tk_keyring_new(&ring) && !tk_keyring_add(ring, "another", 1, key) &&
		      !tk_encrypt_fd(ring, &params, plain, 0, SIZE, sealed, 0, NULL, NULL, &size) &&
		      pread(sealed, text, 2 * SIZE, 0) == (ssize_t)size,
	      "%s: unguarded: TAKA of another key", rig->fs);
	fd = open(in(rig, "within"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, text, size) == (ssize_t)size, "%s: unguarded: within", rig->fs);
	close(fd);
	check(kept_becomes(rig, "within", TK_KEPT) && crash(rig, "within", true), "%s: unguarded: within, torn", rig->fs);
	check(agent_start(rig, NULL) && agent_settle(rig) && !kept_asides(rig) && no_records(rig) && !told(rig),
	      "%s: unguarded: plaintext that is TAKA is no edit", rig->fs);
	fd = open(in(rig, "within"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && read(fd, got, 2 * SIZE) == (ssize_t)size && !memcmp(got, text, size),
	      "%s: unguarded: within is as it was", rig->fs);
	close(fd);
	close(plain);
	close(sealed);
	free(text);
	free(got);
	tk_keyring_free(ring);
}

/* A time that somebody has given a kept file is the file's; the one that a cut move leaves is not. */
static void test_times(struct rig *rig)
{
	struct tk_record record = {};
	struct stat before, after;
	struct snapshot sealed;

	/* Before its bytes are written over themselves, which the machine may not survive. */
	check(agent_settle(rig) && kept_new(rig, "time", 26) && !stat(in(rig, "time"), &before), "%s: unguarded: time", rig->fs);
	rig->shared->unsyncable = before.st_ino;
	check(!utimensat(AT_FDCWD, in(rig, "time"), (struct timespec[]){{.tv_sec = 5}, {.tv_sec = 6}}, 0) &&
		      WAIT_FOR(record_of(rig, "time", &record) && record.mtime.tv_sec == 6),
	      "%s: unguarded: the record gets to know it", rig->fs);
	rig->shared->unsyncable = 0;
	check(agent_settle(rig) && kept_new(rig, "time", 27) &&
		      !utimensat(AT_FDCWD, in(rig, "time"), (struct timespec[]){{.tv_sec = 5}, {.tv_sec = 7}}, 0) &&
		      crash(rig, "time", false),
	      "%s: unguarded: a time is set", rig->fs);
	check(agent_start(rig, NULL) && agent_settle(rig) && !stat(in(rig, "time"), &after) && after.st_mtim.tv_sec == 7,
	      "%s: unguarded: and stays", rig->fs);
	check(kept_new(rig, "time", 28) && !stat(in(rig, "time"), &before) && snapshot(rig, "time", &sealed) &&
		      crash(rig, "time", false) && put(rig, "time", sealed.bytes, sealed.size, 0, 0),
	      "%s: unguarded: a move is cut short before its last step", rig->fs);
	check(agent_start(rig, NULL) && agent_settle(rig) && !stat(in(rig, "time"), &after) &&
		      after.st_mtim.tv_sec == before.st_mtim.tv_sec && after.st_mtim.tv_nsec == before.st_mtim.tv_nsec,
	      "%s: unguarded: the time is as before", rig->fs);
	snapshot_free(&sealed);
}

/* The agent dies while it writes a kept file over itself, which takes time and capability from it for a moment. */
static void test_renewal_cut_short(struct rig *rig)
{
	struct stat before, after;
	struct snapshot sealed;

	for (int capable = 0; capable < 2; capable++) {
		check(agent_settle(rig) && kept_new(rig, "renewed", 29) && agent_settle(rig) &&
			      (!capable || set_capability(in(rig, "renewed"))) && kept_read(rig, "renewed") &&
			      kept_becomes(rig, "renewed", TK_KEPT) && !stat(in(rig, "renewed"), &before) &&
			      snapshot(rig, "renewed", &sealed),
		      "%s: unguarded: to be renewed", rig->fs);
		agent_kill(rig);
		check(put(rig, "renewed", sealed.bytes, sealed.size, 0, 0) && !has_capability(in(rig, "renewed")),
		      "%s: unguarded: a renewal is cut short", rig->fs);
		check(agent_start(rig, NULL) && agent_settle(rig) && !stat(in(rig, "renewed"), &after) &&
			      after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
			      after.st_mtim.tv_nsec == before.st_mtim.tv_nsec,
		      "%s: unguarded: the time is as before the renewal", rig->fs);
		check(has_capability(in(rig, "renewed")) == capable && !compare(rig, in(rig, "renewed"), SIZE, 29),
		      "%s: unguarded: so is the capability", rig->fs);
		snapshot_free(&sealed);
	}
	/* And one that fails. */
	check(kept_read(rig, "renewed") && kept_becomes(rig, "renewed", TK_KEPT), "%s: unguarded: kept again", rig->fs);
	rig->shared->full = true;
	check(!chmod(in(rig, "renewed"), 0640) && WAIT_FOR(told(rig)), "%s: unguarded: a renewal fails", rig->fs);
	rig->shared->full = false;
	check(agent_settle(rig) && !stat(in(rig, "renewed"), &after) && after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
		      after.st_mtim.tv_nsec == before.st_mtim.tv_nsec && has_capability(in(rig, "renewed")),
	      "%s: unguarded: and has not changed them", rig->fs);
}

void kept_unguarded_tests(struct rig *rig)
{
	test_edited(rig);
	test_met_twice(rig);
	test_edited_in_part(rig);
	test_no_room(rig);
	test_unguarded_by_intent(rig);
	test_torn(rig);
	test_taka_within(rig);
	test_times(rig);
	test_renewal_cut_short(rig);
}
