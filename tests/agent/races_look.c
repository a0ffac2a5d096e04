// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/races_look.c - who looks at the files beside the workers: a backup in the raw view, which sees
 * whole ciphertext or nothing, and the look at everything while all others rest.
 */
#include "tests/agent/races.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crypto/takakrypt.h"
#include "loader/agent/small.h"

#define BACKUP 16 /* its place in race_operations */

/* Each block of a description of plaintext against what may be found since `before`. */
static unsigned int count_wrong(const struct race *race, unsigned int file, int fd,
				const struct race_bounds *before)
{
	static uint64_t block[RACE_BLOCK / 8];
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < race_count(file); i++) {
		ssize_t n = pread(fd, block, RACE_BLOCK, (off_t)i * RACE_BLOCK);

		if (n >= 0 && race_allowed(race, file, i, &before[i], block, (size_t)n))
			continue;
		race_describe(race, file, i, &before[i], block, n > 0 ? (size_t)n : 0);
		wrong++;
	}
	return wrong;
}

static void note(const struct race *race, unsigned int file, struct race_bounds *ret_bounds)
{
	for (unsigned int i = 0; i < race_count(file); i++)
		ret_bounds[i] = race_now(race, file, i);
}

/* ---------------------------------------------------------------- the raw view */

/*
 * Of the only one who opens it so.  When the agent was not asked (loader/agent/marks.c) the file is open as
 * plaintext, and the programs would have refused: tk_view_enter().
 */
static bool is_counted(const struct rig *rig, const struct stat *st)
{
	for (uint32_t i = rig->shared->file_count; i-- > 0;)
		if (rig->shared->files[i].inode.ino == st->st_ino)
			return rig->shared->files[i].raw;
	return false;
}

static enum race_outcome back_up(const struct race *race, unsigned int file)
{
	static struct race_bounds before[RACE_BLOCKS];
	TK_AUTO_FD fd = -1, plain = -1;
	enum race_outcome outcome = RACE_DONE;
	struct stat st;
	int err;

	note(race, file, before);
	fd = open(in(race->rig, race_name(file)), O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || !is_counted(race->rig, &st))
		return RACE_REFUSED;
	if (!st.st_size)
		return RACE_DONE;
	plain = memfd_create("plain", MFD_CLOEXEC);
	err = tk_decrypt_fd(rig_keys(), fd, 0, (uint64_t)st.st_size, plain, 0, NULL, NULL, NULL);
	if (err) {
		printf("VIOLATION: %s: the raw view of %s is not whole ciphertext: %s\n", race->rig->fs,
		       race_name(file), tk_strerror(err));
		outcome = RACE_VIOLATED;
	} else if (count_wrong(race, file, plain, before)) {
		outcome = RACE_VIOLATED;
	}
	return outcome;
}

void race_backup(struct race *race, uint64_t seed)
{
	int locks = race_locks_open(race);

	if (setgid(FAKE_RAW_UID) || setuid(FAKE_RAW_UID))
		_exit(1);
	for (unsigned int file = (unsigned int)seed % RACE_FILES; !race->over;
	     file = (file + 1) % RACE_FILES) {
		enum race_outcome outcome = RACE_REFUSED;
		struct stat st = {};

		usleep(5000);
		if (race->pause)
			continue;
		race_lock(locks, RACE_LOCK_WORLD, false);
		race_lock(locks, RACE_LOCK_AGENT,
			  false); /* who has it open is counted by the one that lives */
		race_lock(locks, RACE_LOCK_FILES + file, false);
		if (!race->pause && !stat(in(race->rig, race_name(file)), &st))
			outcome = back_up(race, file);
		for (uint32_t i = 0; i < race->rig->shared->file_count; i++) /* file_free_security */
			if (st.st_ino && race->rig->shared->files[i].inode.ino == st.st_ino)
				race->rig->shared->files[i].raw = 0;
		race_unlock(locks, RACE_LOCK_FILES + file);
		race_unlock(locks, RACE_LOCK_AGENT);
		race_unlock(locks, RACE_LOCK_WORLD);
		race->tally[BACKUP][outcome]++;
	}
	_exit(0);
}

/* ---------------------------------------------------------------- everything */

/* Not even the agent has it any more. */
static bool is_deleted(int mount, const struct fake_file *file)
{
	union {
		struct file_handle head;
		char room[sizeof(struct file_handle) + sizeof(file->handle)];
	} handle = {.head = {.handle_bytes = file->handle_bytes, .handle_type = file->handle_type}};
	int fd;

	if (!file->handle_bytes)
		return false;
	memcpy(handle.head.f_handle, file->handle, file->handle_bytes);
	fd = open_by_handle_at(mount, &handle.head, O_PATH | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == ESTALE;
}

unsigned int race_bury(const struct race *race)
{
	struct fake_shared *shared = race->rig->shared;
	int vault = openat(race->rig->below, ".takakrypt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	TK_AUTO_FD mount = openat(race->rig->below, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = vault < 0 ? NULL : fdopendir(vault);
	unsigned int buried = 0;
	struct dirent *entry;

	if (!dir)
		return 0;
	for (uint32_t i = 0; i < shared->file_count; i++) {
		struct fake_file *file = &shared->files[i];
		unsigned long long inode;
		unsigned int generation;

		if (file->state == TK_SEALED || !is_deleted(mount, file))
			continue;
		for (rewinddir(dir); (entry = readdir(dir));)
			if (sscanf(entry->d_name, "%*x-%llx-%x", &inode, &generation) == 2 &&
			    inode == file->inode.ino && generation == file->inode.igeneration)
				unlinkat(vault, entry->d_name, 0);
		file->state = TK_SEALED;
		buried++;
	}
	closedir(dir);
	return buried;
}

static bool opens(const struct rig *rig, const char *name, int *ret_fd)
{
	int fd = open(in(rig, name), O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && plain_now(rig, fd)) {
		*ret_fd = fd;
		return true;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

unsigned int race_check_all(const struct race *race)
{
	static struct race_bounds bounds[RACE_BLOCKS];
	unsigned int wrong = 0;

	for (unsigned int file = 0; file < RACE_FILES; file++) {
		const char *name = race_name(file);
		int fd = below(race->rig, name);
		struct stat st = {};

		if (fd < 0)
			continue; /* somebody was killed who had taken it away */
		wrong += !check(!fstat(fd, &st) && (!st.st_size || is_taka(race->rig, name)),
				"%s: races: %s is at rest and plaintext", race->rig->fs, name);
		close(fd);
		note(race, file, bounds);
		if (!check(WAIT_FOR(opens(race->rig, name, &fd)), "%s: races: %s opens", race->rig->fs,
			   name)) {
			wrong++;
			continue;
		}
		wrong += count_wrong(race, file, fd, bounds);
		close(fd);
	}
	return wrong;
}
