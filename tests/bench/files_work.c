// SPDX-License-Identifier: GPL-2.0
/*
 * tests/bench/files_work.c - what `make bench-files` times.  It prints numbers and judges nothing, but ends
 * with failure when a file has other bytes than were written.
 *
 * usage: files_work files DIR COUNT SIZE OPENERS ROUNDS [PID...]   create, open, read and close small files
 *        files_work hold NAME COMMAND...          with that file of the guard point open
 *        files_work calls FILE COUNT read|write [PAUSE]
 *                                                 what each call on it costs, in ns of the clock; us between
 * rounds files_work fscrypt DIR                   an empty directory gets a policy under a random key
 *        files_work state FILE                    what the agent beside us shares (TK_BENCH_STATE)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fscrypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/files.h"

#define REOPENED 5000

static struct bench_shared *shared; /* NULL: no agent beside us */
static int closed = -1;

static _Noreturn void die(const char *what, const char *on)
{
	fprintf(stderr, "files_work: %s %s: %s\n", what, on, strerror(errno));
	exit(1);
}

static uint64_t clock_of(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		die("read the clock", "of a process");
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---------------------------------------------------------------- opening, as told to the agent */

static void attach(void)
{
	const char *path = getenv("TK_BENCH_STATE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (!path)
		return;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	closed = open(getenv("TK_BENCH_CLOSED"), O_RDWR | O_CLOEXEC);
	if (shared == MAP_FAILED || closed < 0)
		die("attach to", path);
	close(fd);
}

/* inner: the path from the filesystem's root. */
static int open_told(struct bench_slot *slot, const char *path, const char *inner, int flags)
{
	int fd;

	if (slot) {
		snprintf(slot->path, sizeof(slot->path), "%s", inner);
		slot->flags = (uint32_t)flags;
		slot->counted = 0;
	}
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		die("open", path);
	if (slot && !slot->counted) { /* the agent was not asked: the file is open already */
		struct stat st;

		if (fstat(fd, &st))
			die("stat", path);
		pthread_mutex_lock(&shared->lock);
		bench_file(shared, st.st_ino)->plain++;
		pthread_mutex_unlock(&shared->lock);
		slot->ino = st.st_ino;
	}
	return fd;
}

static void close_told(struct bench_slot *slot, int fd, bool written)
{
	struct bench_file *file;
	bool last;

	if (close(fd))
		die("close", "a file");
	if (!slot)
		return;
	pthread_mutex_lock(&shared->lock);
	file = bench_file(shared, slot->ino);
	file->written |= written;
	last = !--file->plain && (file->state == TK_OPEN || file->state == TK_OPEN_READ);
	pthread_mutex_unlock(&shared->lock);
	if (last && write(closed, &file->inode, sizeof(file->inode)) != sizeof(file->inode))
		die("tell of", "a close");
}

/* ---------------------------------------------------------------- files */

enum phase {
	CREATE,
	READ,
	REOPEN,
};

struct work {
	const char *dir;
	size_t size;
	unsigned int count, openers;
	uint8_t *content;
	enum phase phase;
	pthread_barrier_t begin;
};

struct opener {
	struct work *work;
	unsigned int number;
	pthread_t thread;
};

static void one_file(const struct work *work, struct bench_slot *slot, unsigned int number)
{
	static _Thread_local uint8_t buf[1 << 20];
	char path[256], inner[64];
	int fd;

	snprintf(path, sizeof(path), "%s/%u", work->dir, number);
	snprintf(inner, sizeof(inner), "guard/%u", number);
	if (work->phase == CREATE) {
		fd = open_told(slot, path, inner, O_WRONLY | O_CREAT | O_EXCL);
		memcpy(buf, work->content, work->size);
		memcpy(buf, &number, sizeof(number));
		if (write(fd, buf, work->size) != (ssize_t)work->size)
			die("write", path);
	} else {
		fd = open_told(slot, path, inner, O_RDONLY);
		if (read(fd, buf, work->size) != (ssize_t)work->size ||
		    memcmp(buf, &number, sizeof(number)) ||
		    memcmp(buf + sizeof(number), work->content + sizeof(number),
			   work->size - sizeof(number))) {
			errno = EILSEQ;
			die("read what was written from", path);
		}
	}
	close_told(slot, fd, work->phase == CREATE);
}

static void *opener_run(void *arg)
{
	const struct opener *self = arg;
	struct work *work = self->work;
	struct bench_slot *slot = shared ? &shared->slots[self->number] : NULL;

	if (slot)
		slot->tid = (uint32_t)gettid();
	pthread_barrier_wait(&work->begin);
	for (unsigned int i = self->number; i < work->count; i += work->openers)
		one_file(work, slot, work->phase == REOPEN ? 0 : i);
	return NULL;
}

struct meter {
	uint64_t elapsed, cpu, flushes;
};

/* Of the disk below: field 16 of its stat file (Documentation/block/stat.rst). */
static uint64_t flushes_of(const char *dir)
{
	uint64_t field[17] = {};
	char path[64];
	struct stat st;
	FILE *in;

	if (stat(getenv("TK_BENCH_MOUNT") ?: dir, &st))
		die("stat", dir);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(st.st_dev), minor(st.st_dev));
	in = fopen(path, "re");
	if (!in)
		return 0;
	for (int i = 0; i < 17 && fscanf(in, "%lu", &field[i]) == 1; i++)
		;
	fclose(in);
	return field[15];
}

static pid_t daemons[8];
static int daemon_count;

static struct meter meter_now(const char *dir)
{
	struct meter now = {clock_of(CLOCK_MONOTONIC), clock_of(CLOCK_PROCESS_CPUTIME_ID), flushes_of(dir)};

	for (int i = 0; i < daemon_count; i++) {
		clockid_t clock;

		if (clock_getcpuclockid(daemons[i], &clock))
			die("find the clock", "of a daemon");
		now.cpu += clock_of(clock);
	}
	return now;
}

static void print(const char *phase, const struct work *work, struct meter from)
{
	struct meter to = meter_now(work->dir);

	printf("%s %u %u %lu %lu %lu\n", phase, work->openers, work->count, to.elapsed - from.elapsed,
	       to.cpu - from.cpu, to.flushes - from.flushes);
}

/* Ciphertext is on the disk: the agent has sealed all, durably; of the others it is enough to flush. */
static void settle(const struct work *work)
{
	int fd;

	while (shared && shared->unsealed)
		usleep(100);
	fd = open(getenv("TK_BENCH_MOUNT") ?: work->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (!shared && syncfs(fd)))
		die("sync", work->dir);
	close(fd);
}

/* Past the marks. */
static void all_taka(const struct work *work)
{
	for (unsigned int i = 0; shared && i < work->count; i++) {
		char path[256], magic[4] = "";
		int fd;

		snprintf(path, sizeof(path), "%s/%u", getenv("TK_BENCH_BELOW"), i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, magic, 4) != 4 || memcmp(magic, "TAKA", 4)) {
			errno = EILSEQ;
			die("find ciphertext in", path);
		}
		close(fd);
	}
}

static void run_phase(struct work *work, enum phase phase, const char *name, const char *rest)
{
	struct opener openers[BENCH_SLOTS];
	struct meter before;

	work->phase = phase;
	pthread_barrier_init(&work->begin, NULL, work->openers + 1);
	for (unsigned int i = 0; i < work->openers; i++) {
		openers[i] = (struct opener){.work = work, .number = i};
		if (pthread_create(&openers[i].thread, NULL, opener_run, &openers[i]))
			die("start", "a thread");
	}
	before = meter_now(work->dir);
	pthread_barrier_wait(&work->begin);
	for (unsigned int i = 0; i < work->openers; i++)
		pthread_join(openers[i].thread, NULL);
	print(name, work, before);
	if (!rest)
		return;
	settle(work);
	print(rest, work, before);
	all_taka(work);
}

static void remove_all(const struct work *work)
{
	char path[256];

	for (unsigned int i = 0; i < work->count; i++) {
		snprintf(path, sizeof(path), "%s/%u", work->dir, i);
		if (unlink(path))
			die("remove", path);
	}
	settle(work);
}

static int files(char **argv)
{
	struct work work = {
		.dir = argv[0],
		.count = (unsigned int)atoi(argv[1]),
		.size = (size_t)atol(argv[2]),
		.openers = (unsigned int)atoi(argv[3]),
	};
	struct bench_slot *slot = shared ? &shared->slots[BENCH_SLOTS - 1] : NULL;
	char path[256];
	int fd;

	for (char **pid = argv + 5; *pid && daemon_count < 8; pid++)
		daemons[daemon_count++] = (pid_t)atoi(*pid);
	work.content = malloc(work.size);
	if (!work.content || work.openers >= BENCH_SLOTS || work.size < 4 || work.size > 1 << 20)
		return 2;
	for (size_t i = 0; i < work.size; i++)
		work.content[i] = (uint8_t)(i * 31 >> 3);
	for (int round = atoi(argv[4]); round > 0; round--) {
		run_phase(&work, CREATE, "create", "create-rest");
		run_phase(&work, READ, "read", "read-rest");
		remove_all(&work);
	}
	/* One file, open all the time, opened again. */
	work.openers = work.count = 1;
	run_phase(&work, CREATE, "-", "-");
	snprintf(path, sizeof(path), "%s/0", work.dir);
	if (shared) { /* after the threads' own, which are in use from the first on */
		slot = &shared->slots[1];
		slot->tid = (uint32_t)gettid();
	}
	fd = open_told(slot, path, "guard/0", O_RDONLY);
	work.count = REOPENED;
	for (int round = atoi(argv[4]); round > 0; round--)
		run_phase(&work, REOPEN, "reopen", NULL);
	/* Its close must find the inode again. */
	close_told(slot, fd, false);
	work.count = 1;
	settle(&work);
	remove_all(&work);
	return 0;
}

/* ---------------------------------------------------------------- the rest */

static int hold(char **argv)
{
	struct bench_slot *slot = shared ? &shared->slots[0] : NULL;
	char inner[64];
	int status = 1, fd;
	pid_t pid;

	snprintf(inner, sizeof(inner), "guard/%s", strrchr(argv[0], '/') + 1);
	if (slot) {
		slot->tid = (uint32_t)gettid();
		snprintf(shared->anybody.path, sizeof(shared->anybody.path), "%s", inner);
		shared->anybody.flags = O_RDWR;
	}
	fd = open_told(slot, argv[0], inner, O_RDWR | O_CREAT);
	pid = fork();
	if (!pid) {
		execvp(argv[1], argv + 1);
		die("run", argv[1]);
	}
	waitpid(pid, &status, 0);
	close_told(slot, fd, true);
	if (shared)
		shared->anybody.path[0] = '\0';
	if (getenv("TK_BENCH_MOUNT"))
		settle(&(struct work){.dir = argv[0]});
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int new_state(char **argv)
{
	pthread_mutexattr_t attributes;
	int fd = open(argv[0], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof(*shared)))
		die("make", argv[0]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		die("map", argv[0]);
	shared->control.generation = 1;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	return pthread_mutex_init(&shared->lock, &attributes);
}

static int fscrypt(char **argv)
{
	struct fscrypt_add_key_arg *add = calloc(1, sizeof(*add) + 64);
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	int fd = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	add->key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
	add->raw_size = 64;
	if (fd < 0 || getrandom(add->raw, 64, 0) != 64 || ioctl(fd, FS_IOC_ADD_ENCRYPTION_KEY, add))
		die("add a key to", argv[0]);
	memcpy(policy.master_key_identifier, add->key_spec.u.identifier,
	       sizeof(policy.master_key_identifier));
	if (ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
		die("set the policy of", argv[0]);
	return 0;
}

enum call {
	CLOCK, /* nothing: what looking at the clock costs */
	OPEN,
	READ_4K,
	WRITE_4K,
	STAT,
	CLOSE,
	CALLS,
};

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The least and the middle one of each call.  read: for reading only, so that it costs no encryption. */
static int calls(char **argv)
{
	static const char *const names[CALLS] = {"clock", "open", "read", "write", "stat", "close"};
	bool write = !strcmp(argv[2], "write");
	uint64_t *spent[CALLS], clock = 0;
	unsigned int count = (unsigned int)atoi(argv[1]);
	static char buf[4096];

	for (int call = 0; call < CALLS; call++)
		if (!(spent[call] = calloc(count, sizeof(**spent))))
			die("find memory", "for the result");
	for (unsigned int i = 0; i < count; i++) {
		uint64_t at[CALLS + 1];
		struct stat st;
		bool good;
		int fd;

		at[CLOCK] = clock_of(CLOCK_MONOTONIC);
		at[OPEN] = clock_of(CLOCK_MONOTONIC);
		fd = open(argv[0], (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
		at[READ_4K] = clock_of(CLOCK_MONOTONIC);
		good = pread(fd, buf, sizeof(buf), 0) == sizeof(buf);
		at[WRITE_4K] = clock_of(CLOCK_MONOTONIC);
		good = good && (!write || pwrite(fd, buf, sizeof(buf), 0) == sizeof(buf));
		at[STAT] = clock_of(CLOCK_MONOTONIC);
		good = good && !stat(argv[0], &st);
		at[CLOSE] = clock_of(CLOCK_MONOTONIC);
		good = good && !close(fd);
		at[CALLS] = clock_of(CLOCK_MONOTONIC);
		if (!good)
			die("use", argv[0]);
		for (int call = 0; call < CALLS; call++)
			spent[call][i] = at[call + 1] - at[call];
		if (argv[3]) /* until it is sealed again */
			usleep((useconds_t)atoi(argv[3]));
	}
	for (int call = 0; call < CALLS; call++) {
		qsort(spent[call], count, sizeof(**spent), by_value);
		clock = call == CLOCK ? spent[call][0] : clock;
		if (call != CLOCK && (call != WRITE_4K || write))
			printf("%s %lu %lu\n", names[call], spent[call][0] - clock,
			       spent[call][count / 2] - clock);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "state") && argc == 3)
		return new_state(argv + 2);
	attach();
	if (!strcmp(verb, "files") && argc >= 7)
		return files(argv + 2);
	if (!strcmp(verb, "hold") && argc >= 4)
		return hold(argv + 2);
	if (!strcmp(verb, "calls") && argc >= 5)
		return calls(argv + 2);
	if (!strcmp(verb, "fscrypt") && argc == 3)
		return fscrypt(argv + 2);
	fprintf(stderr, "files_work: see the head of tests/bench/files_work.c\n");
	return 2;
}
