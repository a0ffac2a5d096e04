// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/rekey_test.c - `rekey` in the crash matrix: headers written in place, and new file keys
 * (--reencrypt), met by every fault at every step, and by power cuts.  There is no agent in it.
 *
 * Afterwards the file has its content, whole, under the old version of the key or the new one; once the
 * command has said that it is done, under the new one.  What a kill leaves beside it is a whole file as well,
 * and the command, started again as its manual says, brings everything to the end.
 */
#include "tests/agent/matrix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/takakrypt.h"
#include "loader/agent/small.h"
#include "loader/cmd.h"

#define LEFT ".takakrypt-" /* loader/replace.h */
#define STEPS_MAX 400

static const struct {
	enum fault_kind kind;
	bool lasting;
	const char *name;
} faults[] = {
	{FAULT_KILL, false, "rekey killed"},	{FAULT_HALF, false, "rekey killed, half a write"},
	{FAULT_FULL, false, "rekey, ENOSPC"},	{FAULT_FULL, true, "rekey, ENOSPC"},
	{FAULT_IO, false, "rekey, EIO"},	{FAULT_IO, true, "rekey, EIO"},
	{FAULT_MEMORY, false, "rekey, ENOMEM"},
};
#define FAULTS (sizeof(faults) / sizeof(*faults))

struct subject {
	struct rig *rig;
	bool reencrypt;
	size_t size;
	char name[64];
};

static struct tk_keyring *keys(void)
{
	static struct tk_keyring *ring;
	uint8_t one[TK_KEK_SIZE], two[TK_KEK_SIZE];

	memset(one, 0x11, sizeof(one));
	memset(two, 0x22, sizeof(two));
	if (!ring &&
	    (tk_keyring_new(&ring) || tk_keyring_add(ring, "k", 1, one) || tk_keyring_add(ring, "k", 2, two)))
		abort();
	return ring;
}

static bool put_key(const struct rig *rig, unsigned int version)
{
	char path[128], text[2 * TK_KEK_SIZE + 2];
	bool good;
	int fd;

	snprintf(path, sizeof(path), "%s/versions", rig->dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/versions/%u", rig->dir, version);
	memset(text, version == 1 ? '1' : '2', sizeof(text) - 2);
	text[sizeof(text) - 2] = '\n';
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	good = fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1;
	if (fd >= 0)
		close(fd);
	return good;
}

static const char *path_of(const struct subject *subject)
{
	return in(subject->rig, subject->name);
}

static bool prepare(const struct subject *subject)
{
	const struct tk_params params = {
		.algorithm = TK_AES_256_GCM, .version = 2, .chunk_log2 = 16, .key_id = "k", .key_version = 1};
	TK_AUTO_FD plain = memfd_create("plain", MFD_CLOEXEC), fd = -1;
	uint8_t *bytes = malloc(subject->size + 1);
	uint64_t size;
	bool good;

	fill(bytes, subject->size, 7);
	unlink(path_of(subject));
	fd = open(path_of(subject), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	good = plain >= 0 && fd >= 0 && pwrite(plain, bytes, subject->size, 0) == (ssize_t)subject->size &&
	       !tk_encrypt_fd(keys(), &params, plain, 0, subject->size, fd, 0, NULL, NULL, &size) &&
	       !fsync(fd);
	free(bytes);
	return good;
}

/* Its exit code; 128: it was killed. */
static int run(const struct subject *subject, bool faulty)
{
	char path[128], target[256];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/versions", subject->rig->dir);
	snprintf(target, sizeof(target), "%s", path_of(subject));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		char *argv[] = {
			"rekey", "--key-file", path, target, subject->reencrypt ? "--reencrypt" : NULL, NULL};

		if (!getenv("TK_POINT") && !freopen("/dev/null", "w", stderr))
			_exit(1);
		fake_shared = faulty ? subject->rig->shared : NULL;
		_exit(cmd_rekey(subject->reencrypt ? 5 : 4, argv));
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* ---------------------------------------------------------------- looking */

static enum found look_at(const struct subject *subject, const char *path, bool done)
{
	TK_AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC), plain = memfd_create("plain", MFD_CLOEXEC);
	uint8_t *got = malloc(subject->size + 1), *want = malloc(subject->size + 1);
	struct tk_header header;
	enum found found = WRONG;
	struct stat st;

	fill(want, subject->size, 7);
	if (fd < 0 || fstat(fd, &st))
		goto out;
	if (pread(fd, got, 4, 0) == 4 && !tk_is_taka((char *)got, 4)) {
		found = CLEAR;
		goto out;
	}
	found = DAMAGED;
	if (tk_decrypt_fd(keys(), fd, 0, (uint64_t)st.st_size, plain, 0, NULL, NULL, &header))
		goto out;
	found = WRONG;
	if (fstat(plain, &st) || (size_t)st.st_size != subject->size ||
	    pread(plain, got, subject->size, 0) != (ssize_t)subject->size || memcmp(got, want, subject->size))
		goto out;
	found = header.key_version == 2 ? CHANGED : done ? FORGOTTEN : OLD;
out:
	free(got);
	free(want);
	return found;
}

/* What lies beside the file: -1 when something of it is not whole.  Removes it, as an administrator would. */
static int clear_left(const struct subject *subject)
{
	DIR *dir = opendir(subject->rig->guard);
	struct dirent *entry;
	int left = 0;

	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, LEFT, strlen(LEFT)))
			continue;
		if (is_fault(look_at(subject, in(subject->rig, entry->d_name), false)))
			left = -1;
		else if (left >= 0)
			left++;
		unlink(in(subject->rig, entry->d_name));
	}
	if (dir)
		closedir(dir);
	return left;
}

/* status: the command's, or 128 when it was killed or the power went. */
static void look(const struct subject *subject, struct tally *tally, int status, const char *where)
{
	const char *what = subject->reencrypt ? "rekey --reencrypt" : "rekey", *fs = subject->rig->fs;
	enum found found = look_at(subject, path_of(subject), status == 0);
	int left = clear_left(subject);

	tally->files++;
	tally->found[found]++;
	check(!is_fault(found), "%s: %s: %s: %s of %zu bytes: %s", fs, tally->fault, where, what,
	      subject->size, found_names[found]);
	/* Only a kill may leave something, or a disk that does not let it be removed, which is said; it is
	 * whole. */
	if (!check(left == 0 || (left > 0 && status && subject->reencrypt &&
				 (status == 128 || strstr(tally->fault, "EIO"))),
		   "%s: %s: %s: %s of %zu bytes ended with %d: what is left beside it (%d)", fs, tally->fault,
		   where, what, subject->size, status, left))
		tally->left++;
	if (!check(run(subject, false) == 0 && look_at(subject, path_of(subject), true) == CHANGED &&
			   clear_left(subject) == 0,
		   "%s: %s: %s: %s of %zu bytes: started again", fs, tally->fault, where, what,
		   subject->size))
		tally->broken++;
}

/* ---------------------------------------------------------------- faults */

/* False when the command is over before that step. */
static bool point(const struct subject *subject, size_t fault, uint32_t at)
{
	struct fake_fault *armed = &subject->rig->shared->fault;
	struct tally *tally = tally_new(subject->rig->fs, faults[fault].name);
	char where[64];
	int status;

	if (!check(prepare(subject), "%s: %s: set up", subject->rig->fs, subject->name))
		return false;
	armed->steps = armed->fired = 0;
	armed->at = at;
	armed->lasting = faults[fault].lasting;
	armed->kind = faults[fault].kind;
	status = run(subject, true);
	armed->kind = FAULT_NONE;
	if (!armed->fired) {
		check(status == 0 && look_at(subject, path_of(subject), true) == CHANGED &&
			      !clear_left(subject),
		      "%s: %s works without a fault", subject->rig->fs, subject->name);
		return false;
	}
	snprintf(where, sizeof(where), "%zu at step %u", fault, at);
	tally->points++;
	look(subject, tally, status, where);
	return true;
}

static void name_subject(struct subject *subject, struct rig *rig, bool reencrypt, size_t size)
{
	*subject = (struct subject){.rig = rig, .reencrypt = reencrypt, .size = size};
	snprintf(subject->name, sizeof(subject->name), "%s-%zu", reencrypt ? "reencrypt" : "rekey", size);
}

static void test_faults(struct rig *rig, const struct extent *extent)
{
	struct subject subject;

	for (size_t i = 0; i < 2 * matrix_size_count; i++) {
		size_t size = matrix_sizes[i / 2];

		if (!size || (size > 1 << 20 && !extent->large))
			continue;
		name_subject(&subject, rig, i % 2, size);
		for (size_t fault = 0; fault < FAULTS; fault++)
			for (uint32_t at = 1; at <= STEPS_MAX; at++)
				if (chosen(extent->faults / 8 * (size > 1 << 20 ? 8 : 1), rig->fs,
					   (unsigned int)(fault << 1 | i % 2) + 500, (unsigned int)size,
					   at) &&
				    !point(&subject, fault, at))
					break;
		unlink(path_of(&subject));
	}
}

/* ---------------------------------------------------------------- power cuts */

static void cut(struct subject *subjects, size_t count, const size_t *done, size_t flushed, size_t now,
		unsigned int way)
{
	struct rig *rig = subjects->rig;
	size_t sector = strcmp(rig->fs, "btrfs") ? 512 : 4096; /* power_test.c */
	struct tally *tally = tally_new(rig->fs, "rekey, power cut");
	char where[64];

	snprintf(where, sizeof(where), "at write %zu, way %u", now, way);
	tally->points++;
	disk_cut(rig->disk, flushed, now, sector, way ? now * 2654435761u + way : 0);
	if (tally_mounts(tally, rig, way, where))
		for (size_t i = 0; i < count; i++) {
			struct subject *subject = &subjects[i];

			look(subject, tally, done[i] <= now ? 0 : 128, where);
		}
	rig_unmount(rig);
	check(disk_idle(rig->disk), "%s: power cut %s: unmounted", rig->fs, where);
	disk_undo(rig->disk);
}

static void test_cuts(const char *fs, const struct extent *extent)
{
	struct subject subjects[2 * 8];
	size_t done[2 * 8], count = 0, flushed = 0;
	struct disk *disk;
	struct rig rig;
	bool good;

	good = check(rig_up_on_disk(&rig, fs, 320) && put_key(&rig, 1) && put_key(&rig, 2),
		     "%s: set up for power cuts of rekey", fs);
	for (size_t i = 0; good && i < 2 * matrix_size_count; i++)
		if (matrix_sizes[i / 2] && matrix_sizes[i / 2] < 1 << 20) {
			name_subject(&subjects[count], &rig, i % 2, matrix_sizes[i / 2]);
			good = prepare(&subjects[count++]);
		}
	sync();
	disk = rig.disk;
	if (good)
		disk_record(disk);
	for (size_t i = 0; good && i < count; i++) {
		good = run(&subjects[i], false) == 0;
		done[i] = disk->entries;
	}
	check(good, "%s: rekey recorded", fs);
	rig_unmount(&rig);
	good = good && disk_idle(disk);
	if (good)
		disk_rewind(disk);
	for (size_t now = 1; good && now <= disk->entries; now++) {
		bool flush = now == disk->entries || !disk->log[now].length;

		for (unsigned int way = 0; way < (flush ? 4u : 1u); way++)
			if (chosen(extent->cuts * (flush ? 1 : 8), fs, 900, way, (unsigned int)now))
				cut(subjects, count, done, flushed, now, way);
		if (now < disk->entries && flush) {
			disk_play(disk, flushed, now + 1);
			flushed = now + 1;
		}
	}
	rig_down(&rig);
}

void rekey_matrix(const char *fs, const struct extent *extent)
{
	struct rig rig;

	if (check(rig_up(&rig, fs, 320) && put_key(&rig, 1) && put_key(&rig, 2), "%s: set up for rekey", fs))
		test_faults(&rig, extent);
	rig_down(&rig);
	if (!access("/dev/fuse", R_OK | W_OK))
		test_cuts(fs, extent);
}
