/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/unit/crypto_commits.h - commits that can be disturbed: the system's calls of the whole program,
 * played here so that they fail or are recorded; what is written in between; and which state a file is in
 * afterwards.
 */
#ifndef TK_TESTS_CRYPTO_COMMITS_H
#define TK_TESTS_CRYPTO_COMMITS_H

#include "tests/unit/crypto_test.h"

#include <sys/syscall.h>

#define CHUNK 4096
#define STRIDE (CHUNK + 28)
#define SLOTS_AT 1536 /* crypto/redo.c */

/* ------------------------------------------------------ the system's calls */

enum kind { WRITE, CUT, SYNC };
struct op {
	enum kind kind;
	bool log; /* of the log, else of the file */
	off_t at;
	size_t len;
	uint8_t *data;
};
enum fault { FAILS, FAILS_FROM_NOW_ON, SHORT, SHORT_THEN_FAILS, FAULTS };

static struct {
	int file, log; /* whose calls these are about */
	unsigned long calls, fail_at;
	enum fault fault;
	bool fired;
	struct op *ops; /* what was done, when it is recorded */
	size_t n_ops, room;
	bool recording;
} calls = {.file = -1, .log = -1};

/* Whether this call is the one.  A short write is no failure of its own, the second half of it may be. */
static bool fails(int fd, bool writes, size_t *len)
{
	bool now;

	if (!calls.fail_at || (fd != calls.file && fd != calls.log))
		return false;
	calls.calls++;
	now = calls.calls == calls.fail_at;
	calls.fired |= now;
	if (calls.fault == FAILS || (!writes && calls.fault >= SHORT))
		return now;
	if (calls.fault == FAILS_FROM_NOW_ON)
		return calls.calls >= calls.fail_at;
	if (now)
		*len = *len * 3 / 4;
	return calls.fault == SHORT_THEN_FAILS && calls.calls == calls.fail_at + 1;
}

static void record(enum kind kind, int fd, off_t at, const void *data, size_t len)
{
	struct op *op;

	if (!calls.recording || (fd != calls.file && fd != calls.log))
		return;
	if (calls.n_ops == calls.room) {
		calls.room = calls.room ? 2 * calls.room : 64;
		calls.ops = realloc(calls.ops, calls.room * sizeof(*calls.ops));
		assert_non_null(calls.ops);
	}
	op = &calls.ops[calls.n_ops++];
	*op = (struct op){
		.kind = kind, .log = fd == calls.log, .at = at, .len = len, .data = malloc(len + 1)};
	assert_non_null(op->data);
	if (len)
		memcpy(op->data, data, len);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
	ssize_t n;

	if (fails(fd, true, &len)) {
		errno = ENOSPC;
		return -1;
	}
	n = syscall(SYS_pwrite64, fd, buf, len, at);
	if (n > 0)
		record(WRITE, fd, at, buf, (size_t)n);
	return n;
}

ssize_t pread(int fd, void *buf, size_t len, off_t at)
{
	if (fails(fd, false, &len)) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, len, at);
}

static int other(int fd, enum kind kind, off_t at, long number)
{
	size_t none = 0;
	int r;

	if (fails(fd, false, &none)) {
		errno = EIO;
		return -1;
	}
	r = (int)(kind == CUT ? syscall(number, fd, at) : syscall(number, fd));
	if (r == 0)
		record(kind, fd, at, NULL, 0);
	return r;
}

int ftruncate(int fd, off_t size)
{
	return other(fd, CUT, size, SYS_ftruncate);
}

int fdatasync(int fd)
{
	return other(fd, SYNC, 0, SYS_fdatasync);
}

int fsync(int fd)
{
	return other(fd, SYNC, 0, SYS_fsync);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
	size_t none = 0;

	if (fails(fd, false, &none)) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, at, len);
}

static void forget_ops(void)
{
	for (size_t i = 0; i < calls.n_ops; i++)
		free(calls.ops[i].data);
	free(calls.ops);
	calls.ops = NULL;
	calls.n_ops = calls.room = 0;
	calls.recording = false;
}

/* ---------------------------------------------------------------- scenarios */

static struct tk_keyring *ring;
static uint64_t dice;

static uint64_t roll(uint64_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % below;
}

/* A file's bytes, or its plaintext. */
struct bytes {
	uint8_t *p;
	size_t len;
};

static struct bytes bytes_of(int fd)
{
	struct bytes b;

	b.p = contents(fd, &b.len);
	return b;
}

static void set_bytes(int fd, struct bytes b)
{
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, b.p, b.len, 0), b.len);
}

static bool same(struct bytes a, struct bytes b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* What happens to a file; after all of it comes a commit. */
enum what { NOTHING, PUT, SIZE, COMMIT };
struct step {
	enum what what;
	size_t at, len; /* SIZE: at */
	char letter;	/* PUT: of these */
};
#define NO_FILE SIZE_MAX
/* clang-format off */
static const struct scenario {
	const char *name;
	size_t size; /* at first */
	struct step steps[6];
} scenarios[] = {
	{"overwritten", 5 * CHUNK + 100,
	 {{PUT, 10, 20, 'a'}, {PUT, 2 * CHUNK, 2 * CHUNK, 'b'}, {PUT, 5 * CHUNK + 1, 9, 'c'}}},
	{"longer", 2 * CHUNK + 100,
	 {{PUT, 2 * CHUNK + 90, 100, 'a'}, {PUT, 6 * CHUNK + 5, 3 * CHUNK, 'b'}, {PUT, 0, 1, 'c'}}},
	{"shorter", 6 * CHUNK + 10,
	 {{PUT, 5 * CHUNK, 10, 'a'}, {PUT, CHUNK - 1, 2, 'b'}, {SIZE, 3 * CHUNK + 7, 0, 0}}},
	{"emptied", 3 * CHUNK + 1, {{PUT, 0, 2 * CHUNK, 'a'}, {SIZE, 0, 0, 0}}},
	{"from empty", 0, {{PUT, 100, 3 * CHUNK, 'a'}}},
	{"shorter and longer", 4 * CHUNK, {{SIZE, CHUNK + 1, 0, 0}, {SIZE, 5 * CHUNK, 0, 0}, {PUT, 3 * CHUNK, 1, 'a'}}},
	{"new", NO_FILE, {{PUT, 0, 3 * CHUNK + 5, 'a'}, {PUT, CHUNK, 1, 'b'}}},
	{"new and empty", NO_FILE, {}},
	{"two commits", 3 * CHUNK + 9,
	 {{PUT, CHUNK, CHUNK, 'a'}, {PUT, 3 * CHUNK, 5000, 'b'}, {COMMIT, 0, 0, 0}, {SIZE, 2 * CHUNK + 1, 0, 0}, {PUT, 7, CHUNK, 'c'}}},
};
/* clang-format on */
#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))
#define COMMITS 2

/* Its states: the file's bytes at first, the plaintext there must be after 0, 1, 2 commits. */
struct states {
	const struct scenario *s;
	struct bytes file, plain[COMMITS + 1];
	int last;
};

static void states_of(const struct scenario *s, struct states *st)
{
	struct tk_params p = params_of(2, TK_AES_256_GCM, 12);
	int in = plaintext(s->size == NO_FILE ? 0 : s->size), fd;
	struct bytes now = bytes_of(in);

	*st = (struct states){.s = s};
	if (s->size == NO_FILE) {
		st->file.p = calloc(1, 1);
	} else {
		fd = encrypted(ring, &p, in);
		st->file = bytes_of(fd);
		close(fd);
	}
	close(in);
	st->plain[0] = now;
	now.p = memcpy(calloc(1, 16 * CHUNK), now.p, now.len);
	for (size_t i = 0;; i++) {
		const struct step *step = &s->steps[i];
		size_t end = step->what == PUT	  ? step->at + step->len
			     : step->what == SIZE ? step->at
						  : now.len;

		if (step->what == PUT)
			memset(now.p + step->at, step->letter, step->len);
		else if (step->what == SIZE && step->at < now.len)
			memset(now.p + step->at, 0, now.len - step->at);
		if (end > now.len || step->what == SIZE)
			now.len = end;
		if (step->what == COMMIT || step->what == NOTHING) {
			st->plain[++st->last] =
				(struct bytes){memcpy(malloc(now.len + 1), now.p, now.len), now.len};
			if (step->what == NOTHING)
				break;
		}
	}
	free(now.p);
}

static void states_free(struct states *st)
{
	free(st->file.p);
	for (int i = 0; i <= st->last; i++)
		free(st->plain[i].p);
}

/* Plays all of it.  ret_done: commits that were; ret_ops (may be NULL): the operations recorded by then. */
static int play(const struct states *st, int file, int log, int *ret_done, size_t *ret_ops)
{
	struct tk_params p = params_of(2, TK_AES_256_GCM, 12);
	struct tk_writer *w = NULL;
	uint8_t letters[4 * CHUNK];
	int r, done = 0;

	r = st->s->size == NO_FILE ? tk_writer_create(ring, &p, file, 0, log, &w)
				   : tk_writer_open(ring, file, 0, log, &w);
	for (size_t i = 0; r == 0 && done < st->last; i++) {
		const struct step *step = &st->s->steps[i];

		memset(letters, step->letter, sizeof(letters));
		if (step->what == PUT)
			r = tk_writer_write(w, letters, step->len, step->at);
		else if (step->what == SIZE)
			r = tk_writer_truncate(w, step->at);
		else
			r = tk_writer_commit(w);
		if (r == 0 && (step->what == COMMIT || step->what == NOTHING) && done++ < COMMITS && ret_ops)
			ret_ops[done] = calls.n_ops;
	}
	tk_writer_free(w);
	*ret_done = done;
	return r;
}

/* The file is in one of the states from..to, and which; -1: in none. */
static int state_of(const struct states *st, int from, int to, int file)
{
	int out = memfd(NULL, 0), found = -1, r;
	struct bytes plain;

	if (st->s->size == NO_FILE && from == 0 && size_of(file) == 0) {
		close(out);
		return 0;
	}
	r = tk_decrypt_fd(ring, file, 0, size_of(file), out, 0, NULL, NULL, NULL);
	plain = bytes_of(out);
	for (int i = to; r == 0 && i >= from && found < 0; i--)
		if (same(plain, st->plain[i]) && !(i == 0 && st->s->size == NO_FILE))
			found = i;
	free(plain.p);
	close(out);
	return found;
}

#endif
