// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/work.c - the operations of work.h, and the reading of what is left.  Owns
 * what old and new content of a file are; knows nothing of the faults in between.
 */
#include "tests/agent/work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/takakrypt.h"

#define MORE 5000 /* bytes appended */

const char *const operation_names[OPERATIONS] = {
	"new",	   "read",     "rewritten", "appended", "truncated", "replaced",
	"renamed", "unlinked", "linked",    "found",	"adopted",   "read-again",
	"rewritten-kept", "restored", "discarded", "supplanted", "reopened",
};
const char *const found_names[FOUND_KINDS] = {
	"old", "new", "half (while the application wrote)", "WRONG", "FORGOTTEN", "CLEAR", "DAMAGED",
};

/* What lies under the two names before and after: '-' nothing, 'o' old content, 'n' new. */
static const struct {
	char before[3], after[3];
} names_of[OPERATIONS] = {
	[NEW] = {"--", "n-"},	   [READ] = {"o-", "o-"},      [REWRITTEN] = {"o-", "n-"},
	[APPENDED] = {"o-", "n-"}, [TRUNCATED] = {"o-", "n-"}, [REPLACED] = {"o-", "n-"},
	[RENAMED] = {"o-", "-n"},  [UNLINKED] = {"o-", "--"},  [LINKED] = {"o-", "nn"},
	[FOUND] = {"--", "n-"},	   [ADOPTED] = {"--", "n-"},   [READ_AGAIN] = {"o-", "o-"},
	[REWRITTEN_KEPT] = {"o-", "n-"}, [RESTORED] = {"o-", "n-"}, [DISCARDED] = {"o-", "--"},
	[SUPPLANTED] = {"o-", "n-"}, [REOPENED] = {"o-", "n-"},
};

void work_name(struct work *work, enum operation operation, size_t size, unsigned int seed)
{
	*work = (struct work){.operation = operation, .size = size, .seed = seed};
	snprintf(work->name, sizeof(work->name), "%s-%zu", operation_names[operation], size);
	snprintf(work->other, sizeof(work->other), "%s-%zu.other", operation_names[operation], size);
}

/* ---------------------------------------------------------------- contents */

static size_t size_of(const struct work *work, char which)
{
	if (which == 'n' && work->operation == APPENDED)
		return work->size + MORE;
	if (which == 'n' && work->operation == TRUNCATED)
		return work->size / 2;
	return work->size;
}

static uint8_t *content(const struct work *work, char which)
{
	size_t size = size_of(work, which);
	uint8_t *bytes = malloc(size + 1);
	bool fresh = which == 'n' && work->operation != APPENDED && work->operation != TRUNCATED;

	if (!bytes)
		abort();
	fill(bytes, size < work->size ? size : work->size, work->seed * 2 + fresh);
	if (size > work->size)
		fill(bytes + work->size, size - work->size, work->seed * 2 + 1);
	return bytes;
}

bool work_prepare(const struct rig *rig, const struct work *work)
{
	return names_of[work->operation].before[0] != 'o' ||
	       write_new(in(rig, work->name), work->size, work->seed * 2);
}

void work_clear(const struct rig *rig, const struct work *work)
{
	unlink(in(rig, work->name));
	unlink(in(rig, work->other));
}

/* ---------------------------------------------------------------- doing it */

static bool may_write(const struct rig *rig, int fd)
{
	const struct fake_file *file = file_of(rig, fd);

	return file && file->state == TK_OPEN;
}

static bool put_content(int fd, const struct work *work, char which, off_t from)
{
	size_t size = size_of(work, which);
	uint8_t *bytes = content(work, which);
	bool good = pwrite(fd, bytes + from, size - (size_t)from, from) == (ssize_t)size - from;

	free(bytes);
	return good;
}

static bool put(int fd, const struct work *work, off_t from)
{
	return put_content(fd, work, 'n', from);
}

static bool sync_names(const struct rig *rig)
{
	int fd = openat(rig->below, rig->inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && !fsync(fd);

	if (fd >= 0)
		close(fd);
	return good;
}

/* settle: in between, so that the former file's record goes before its name is known to have gone. */
static bool replace(const struct rig *rig, const struct work *work, bool settle)
{
	int fd = open(in(rig, work->other), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool good = may_write(rig, fd) && put(fd, work, 0) && !fsync(fd);

	if (fd >= 0)
		close(fd);
	if (!good)
		unlink(in(rig, work->other));
	good = good && !rename(in(rig, work->other), in(rig, work->name));
	if (good && settle)
		rig_ask_to_settle(rig);
	return good && sync_names(rig);
}

/* Past the agent, as if it had lain there before the policy. */
static bool lay(const struct rig *rig, const struct work *work)
{
	bool adopted = work->operation == ADOPTED;
	char path[256];
	bool good;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", rig->inner, work->name);
	fd = openat(rig->below, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	good = fd >= 0 && put(fd, work, 0) && !fsync(fd) && sync_names(rig);
	if (good)
		rig_ask_for_sweep(rig);
	if (good && adopted) { /* found, but it cannot be sealed */
		for (int tries = 0; !may_write(rig, fd) && tries < 1000; tries++)
			usleep(1000);
		good = put(fd, work, 0) && !fsync(fd);
	}
	if (fd >= 0)
		close(fd);
	return good;
}

/* Reads it, and waits until it is kept: as it is from then on a crash may leave it, but nobody's writing. */
static bool read_before(const struct rig *rig, const struct work *work)
{
	int fd = open(in(rig, work->name), O_RDONLY | O_CLOEXEC);
	bool good = fd >= 0 && plain_now(rig, fd);

	if (fd >= 0)
		close(fd);
	for (int tries = 0; good && state_of(rig, work->name) != TK_KEPT && tries < 100; tries++)
		usleep(2000);
	return good;
}

/* The same content: so the plaintext is what the disk has, and the ciphertext is in the record alone. */
static bool write_again(const struct rig *rig, const struct work *work)
{
	int fd = open(in(rig, work->name), O_RDWR | O_CLOEXEC);
	bool good = may_write(rig, fd) && put_content(fd, work, 'o', 0) && !fsync(fd);

	if (fd >= 0)
		close(fd);
	return good;
}

/* Open for reading all the while.  More often than the agent goes on being asked: see loader/agent/marks.c. */
static bool reopen(const struct rig *rig, const struct work *work)
{
	int reader = open(in(rig, work->name), O_RDONLY | O_CLOEXEC), writer;
	bool good = reader >= 0 && plain_now(rig, reader);

	for (int i = 0; good && i < 70; i++) {
		int fd = open(in(rig, work->name), O_RDONLY | O_CLOEXEC);

		good = fd >= 0 && plain_now(rig, fd);
		if (fd >= 0)
			close(fd);
	}
	writer = good ? open(in(rig, work->name), O_WRONLY | O_CLOEXEC) : -1;
	good = may_write(rig, writer) && put(writer, work, 0) && !fsync(writer);
	if (writer >= 0)
		close(writer);
	if (reader >= 0)
		close(reader);
	return good;
}

/* In a child, whom the agent gives the raw view.  The kernel programs would let nobody write before this. */
static bool restore(const struct rig *rig, const struct work *work)
{
	size_t size = size_of(work, 'n');
	uint8_t *bytes = content(work, 'n');
	int plain = memfd_create("plain", MFD_CLOEXEC), sealed = memfd_create("sealed", MFD_CLOEXEC);
	struct tk_params params = {.algorithm = TK_AES_256_GCM, .version = 2, .chunk_log2 = 16, .key_id = "k1"};
	uint64_t length = 0;
	int status = -1;
	pid_t pid;

	if (!size) { /* as it is */
		free(bytes);
		close(plain);
		close(sealed);
		return true;
	}
	if ( pwrite(plain, bytes, size, 0) != (ssize_t)size ||
	    tk_encrypt_fd(rig_keys(), &params, plain, 0, size, sealed, 0, NULL, NULL, &length) ||
	    chmod(in(rig, work->name), 0666))
		length = 0;
	close(plain);
	free(bytes);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = !length || setgid(FAKE_RAW_UID) || setuid(FAKE_RAW_UID)
				 ? -1
				 : open(in(rig, work->name), O_WRONLY | O_CLOEXEC);
		bool good = fd >= 0 && state_of_fd(rig, fd) == TK_SEALED && !ftruncate(fd, 0);

		while (good && lseek(fd, 0, SEEK_CUR) < (off_t)length)
			good = sendfile(fd, sealed, NULL, length) > 0;
		_exit(!good || fsync(fd));
	}
	waitpid(pid, &status, 0);
	close(sealed);
	raw_closed(rig, work->name);
	return !status;
}

static bool on_open_file(const struct rig *rig, const struct work *work, int fd)
{
	switch (work->operation) {
	case READ:
	case READ_AGAIN:
		return true;
	case APPENDED:
		return put(fd, work, (off_t)work->size) && !fsync(fd);
	case TRUNCATED:
		return !ftruncate(fd, (off_t)work->size / 2) && !fsync(fd);
	case RENAMED:
		return put(fd, work, 0) && !fsync(fd) && !rename(in(rig, work->name), in(rig, work->other)) &&
		       sync_names(rig);
	case LINKED:
		return !link(in(rig, work->name), in(rig, work->other)) && put(fd, work, 0) && !fsync(fd) &&
		       sync_names(rig);
	case UNLINKED:
		return put(fd, work, 0) && !unlink(in(rig, work->name)) && sync_names(rig);
	case NEW:
		return put(fd, work, 0) && !fsync(fd) && sync_names(rig);
	default:
		return put(fd, work, 0) && !fsync(fd);
	}
}

static size_t always_one(void *ctx)
{
	return 1;
}

void work_do(const struct rig *rig, struct work *work, size_t (*clock)(void *), void *ctx)
{
	bool reads = work->operation == READ || work->operation == READ_AGAIN;
	int flags = reads ? O_RDONLY : work->operation == NEW ? O_RDWR | O_CREAT : O_RDWR;
	bool done;
	int fd;

	clock = clock ?: always_one;
	work->begun = clock(ctx);
	done = work->operation < READ_AGAIN || read_before(rig, work);
	switch (work->operation) {
	case REPLACED:
		done = replace(rig, work, false);
		break;
	case SUPPLANTED:
		done = done && write_again(rig, work) && read_before(rig, work) && replace(rig, work, ctx);
		break;
	case FOUND:
	case ADOPTED:
		done = lay(rig, work);
		break;
	case RESTORED:
		done = done && restore(rig, work);
		break;
	case REOPENED:
		done = done && reopen(rig, work);
		break;
	case DISCARDED:
		done = done && !unlink(in(rig, work->name)) && sync_names(rig);
		break;
	default:
		fd = open(in(rig, work->name), flags | O_CLOEXEC, 0600);
		done = done && (reads ? fd >= 0 && plain_now(rig, fd) : may_write(rig, fd)) &&
		       on_open_file(rig, work, fd);
		if (fd >= 0)
			close(fd);
	}
	work->durable = done ? clock(ctx) : 0;
}

/* ---------------------------------------------------------------- looking */

struct look {
	bool there, clear, damaged;
	size_t size;
	uint8_t *bytes; /* plaintext */
};

static struct look look_at(const struct rig *rig, const char *name)
{
	int fd = below(rig, name), plain = -1;
	struct look look = {};
	char magic[4] = "";
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		look.damaged = fd >= 0 || errno != ENOENT;
		goto out;
	}
	look.there = true;
	if (!st.st_size)
		goto out;
	if (pread(fd, magic, 4, 0) != 4 || !tk_is_taka(magic, 4)) {
		look.clear = true;
		goto out;
	}
	plain = memfd_create("plain", MFD_CLOEXEC);
	if (tk_decrypt_fd(rig_keys(), fd, 0, (uint64_t)st.st_size, plain, 0, NULL, NULL, NULL) ||
	    fstat(plain, &st)) {
		look.damaged = true;
		goto out;
	}
	look.size = (size_t)st.st_size;
	look.bytes = malloc(look.size + 1);
	look.damaged = !look.bytes || pread(plain, look.bytes, look.size, 0) != (ssize_t)look.size;
out:
	if (fd >= 0)
		close(fd);
	if (plain >= 0)
		close(plain);
	return look;
}

static bool is(const struct work *work, const struct look *look, char which)
{
	uint8_t *want;
	bool same;

	if (which == '-') /* an open that is refused may have created it */
		return !look->there || (!look->size && names_of[work->operation].before[0] == '-');
	if (!look->there || look->size != size_of(work, which))
		return false;
	want = content(work, which);
	same = !look->size || !memcmp(want, look->bytes, look->size);
	free(want);
	return same;
}

static bool both_are(const struct work *work, const struct look looks[2], const char *which)
{
	return is(work, &looks[0], which[0]) && is(work, &looks[1], which[1]);
}

enum found work_look(const struct rig *rig, const struct work *work, size_t now)
{
	struct look looks[2] = {look_at(rig, work->name), look_at(rig, work->other)};
	bool old = both_are(work, looks, names_of[work->operation].before);
	bool new = both_are(work, looks, names_of[work->operation].after);
	bool over = work->durable && now >= work->durable;
	/* When there is no clock an operation that is not over has not begun: its open was refused. */
	bool under_way = now != SIZE_MAX && work->begun && now >= work->begun && !over;
	enum found found;

	/* The name that is taken over has one content or the other at each instant. */
	if (under_way && (work->operation == REPLACED || work->operation == SUPPLANTED))
		under_way = is(work, &looks[0], 'o') || is(work, &looks[0], 'n');
	/* Who restores writes ciphertext himself. */
	if (under_way && work->operation == RESTORED && (looks[0].damaged || looks[0].clear))
		found = HALF;
	else if (looks[0].damaged || looks[1].damaged)
		found = DAMAGED;
	else if (looks[0].clear || looks[1].clear)
		found = CLEAR;
	else if (over)
		found = new ? CHANGED : old ? FORGOTTEN : WRONG;
	else if (old)
		found = OLD;
	else
		found = !under_way ? WRONG : new ? CHANGED : HALF;
	free(looks[0].bytes);
	free(looks[1].bytes);
	return found;
}
