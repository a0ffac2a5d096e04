// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/fake_kernel.c - the agent-facing half of loader/kernel/kernel.h in user
 * space, so that the real agent runs where LSM programs cannot be loaded.
 *
 * It decides every open: raw for one user, plaintext for all others.  It learns what a
 * waiting thread is opening from /proc/TID/syscall, and whether a file is open from
 * the write lease (KERNEL.md 10), which counts waiting openers on this kernel as the
 * programs do.  It enforces nothing: tests look at the state before they read or write.
 * States live in a shared file (TK_FAKE_STATE), which outlives the agent.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/kernel/kernel.h"
#include "loader/agent/agent.h"
#include "tests/agent/fake_kernel.h"

struct tk_kernel {
	struct fake_shared *shared;
	int mount; /* a detached clone of TK_FAKE_MOUNT */
	pthread_mutex_t lock;
};

struct fake_shared *fake_shared;

union handle {
	struct file_handle head;
	char room[sizeof(struct file_handle) + 128];
};

int tk_kernel_open(struct tk_kernel **ret_kernel)
{
	struct tk_kernel *kernel = calloc(1, sizeof(*kernel));
	struct mount_attr private = {.propagation = MS_PRIVATE};
	int fd = open(getenv("TK_FAKE_STATE"), O_RDWR | O_CLOEXEC);
	int tree = open_tree(AT_FDCWD, getenv("TK_FAKE_MOUNT"), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (!kernel || fd < 0 || tree < 0)
		return -ENOENT;
	mount_setattr(tree, "", AT_EMPTY_PATH, &private, sizeof(private));
	kernel->mount = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fake_eyes[0] = kernel->mount;
	fake_eyes[1] = open(getenv("TK_BELOW"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	kernel->shared = mmap(NULL, sizeof(*kernel->shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (kernel->mount < 0 || fake_eyes[1] < 0 || kernel->shared == MAP_FAILED)
		return -ENOMEM;
	pthread_mutex_init(&kernel->lock, NULL);
	fake_shared = kernel->shared;
	*ret_kernel = kernel;
	return 0;
}

void tk_kernel_close(struct tk_kernel *kernel)
{
}

static void hang(struct tk_kernel *kernel, uint32_t whom)
{
	if (kernel->shared->hang != whom)
		return;
	kernel->shared->hanging++;
	for (;;)
		pause();
}

int tk_kernel_control(struct tk_kernel *kernel, struct tk_control *ret_control)
{
	hang(kernel, HANG_MAIN);
	*ret_control = kernel->shared->control;
	return 0;
}

int tk_kernel_set_agent(struct tk_kernel *kernel, uint32_t pid)
{
	kernel->shared->control.ready = 0;
	kernel->shared->control.agent = pid;
	return 0;
}

int tk_kernel_adopted(struct tk_kernel *kernel)
{
	kernel->shared->control.adopting = 0;
	return 0;
}

/* Times are part of the verdict, and there is none here. */
int tk_kernel_set_times(struct tk_kernel *kernel, uint32_t generation, const struct tk_times_now *now)
{
	return 0;
}

const char *tk_kernel_strerror(int err)
{
	return strerror(-err);
}

int tk_kernel_set_ready(struct tk_kernel *kernel, bool ready)
{
	kernel->shared->control.ready = ready;
	return 0;
}

int tk_kernel_add_vault(struct tk_kernel *kernel, const struct tk_inode *inode)
{
	return 0;
}

int tk_kernel_place_id(struct tk_kernel *kernel, const struct tk_inode *inode, uint32_t *ret_id)
{
	struct fake_shared *shared = kernel->shared;

	for (uint32_t i = 0; i < shared->place_count; i++)
		if (!memcmp(&shared->places[i], inode, sizeof(*inode))) {
			*ret_id = i + 100; /* not what tk_places_find() says */
			return 0;
		}
	if (shared->place_count == FAKE_PLACES)
		return -ENOSPC;
	shared->places[shared->place_count] = *inode;
	*ret_id = shared->place_count++ + 100;
	return 0;
}

int tk_kernel_add_place(struct tk_kernel *kernel, const struct tk_compiled *compiled,
			const struct tk_place *place)
{
	return 0;
}

int tk_kernel_add_programs(struct tk_kernel *kernel, uint32_t generation, const struct tk_resolved *resolved,
			   struct tk_added *ret_added)
{
	*ret_added = (struct tk_added){};
	return 0;
}

int tk_kernel_counters(struct tk_kernel *kernel, uint64_t ret_counters[TK_COUNTER_COUNT])
{
	memset(ret_counters, 0, TK_COUNTER_COUNT * sizeof(*ret_counters));
	return 0;
}

/* ---------------------------------------------------------------- files */

static struct fake_file *file_get(struct tk_kernel *kernel, const struct tk_inode *inode)
{
	TK_HOLD(&kernel->lock);

	return fake_file_find(kernel->shared, inode) ?: fake_file_add(kernel->shared, inode);
}

static int file_open(struct tk_kernel *kernel, const struct fake_file *file, int flags)
{
	union handle handle = {
		.head = {.handle_bytes = file->handle_bytes, .handle_type = file->handle_type}};

	memcpy(handle.head.f_handle, file->handle, file->handle_bytes);
	return open_by_handle_at(kernel->mount, &handle.head, flags | O_CLOEXEC | O_NONBLOCK);
}

/* True when somebody has it open or waits for opening it. */
static bool busy_now(struct tk_kernel *kernel, const struct fake_file *file)
{
	int fd;
	bool had;

	if (file->held)
		return true;
	if (!file->handle_bytes)
		return false; /* never opened */
	fd = file_open(kernel, file, O_RDONLY | O_NOATIME);
	if (fd < 0)
		return false;
	had = !tk_nobody_has(fd); /* the agent's, which keeps its reader of events from opening meanwhile */
	close(fd);
	return had;
}

/* The agent's own descriptors and those of this file are there for an instant only: look again. */
static bool busy(struct tk_kernel *kernel, const struct fake_file *file)
{
	for (int i = 0; i < 6 && !file->held; i++) {
		if (!busy_now(kernel, file))
			return false;
		usleep(300);
	}
	return true;
}

static void note_times(struct tk_kernel *kernel, struct fake_file *file)
{
	int fd = file_open(kernel, file, O_PATH);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st)) {
		file->mtime = st.st_mtim.tv_sec;
		file->mtime_ns = st.st_mtim.tv_nsec;
		file->size = (uint64_t)st.st_size;
	}
	if (fd >= 0)
		close(fd);
}

static void wait_at_gate(struct tk_kernel *kernel, const struct fake_file *file)
{
	struct fake_shared *shared = kernel->shared;
	struct stat st;
	int fd;

	if (!shared->gate || !file->handle_bytes)
		return;
	fd = file_open(kernel, file, O_PATH);
	if (fd >= 0 && !fstat(fd, &st) && (uint64_t)st.st_size >= shared->gate) {
		shared->at_gate++;
		while (shared->gate)
			usleep(1000);
		shared->at_gate--;
	}
	if (fd >= 0)
		close(fd);
}

static bool refused(struct fake_shared *shared, enum tk_file_state state)
{
	uint32_t left = shared->refusals;

	return left && state == shared->refuse_state &&
	       atomic_compare_exchange_strong(&shared->refusals, &left, left - 1);
}

extern int fake_step(void); /* a place to die, or to fail: crash_points.c */

int tk_kernel_set_state(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_file_state state)
{
	struct fake_file *file = file_get(kernel, inode);
	int err = fake_step();

	hang(kernel, HANG_WORKERS);
	if (err || !file)
		return err ?: -ENOMEM;
	if (refused(kernel->shared, state))
		return -EIO;
	if (state == TK_UNSEALING && file->raw)
		return -EBUSY;
	if (state == TK_SEALING && !file->raw && busy(kernel, file))
		return -EBUSY;
	if (state == TK_UNSEALING) {
		note_times(kernel, file);
		file->touched = false;
	}
	file->state = state;
	kernel->shared->seals += state == TK_SEALING;
	if (state == TK_SEALING || state == TK_UNSEALING)
		wait_at_gate(kernel, file);
	return 0;
}

int tk_kernel_state(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_file_state *ret_state)
{
	struct fake_file *file = fake_file_find(kernel->shared, inode);

	*ret_state = file ? (enum tk_file_state)file->state : TK_SEALED;
	return 0;
}

int tk_kernel_counts(struct tk_kernel *kernel, const struct tk_inode *inode,
		     struct tk_file_counts *ret_counts)
{
	struct fake_file *file = fake_file_find(kernel->shared, inode);
	struct tk_file_counts counts = {};
	struct fake_file before;

	if (file) {
		before = *file;
		counts.raw = file->raw;
		counts.plain = !counts.raw && busy(kernel, file);
		note_times(kernel, &before);
		counts.written = file->touched || before.mtime != file->mtime || before.mtime_ns != file->mtime_ns;
	}
	*ret_counts = counts;
	return 0;
}

/* ---------------------------------------------------------------- opens */

static uint32_t generation_of(const union handle *handle)
{
	uint32_t at = handle->head.handle_type == 1	 ? 4
		      : handle->head.handle_type == 0x81 ? 8
							 : 16,
		 generation;

	memcpy(&generation, handle->head.f_handle + at, 4);
	return generation;
}

static int place_of(struct tk_kernel *kernel, union handle *handle)
{
	struct fake_shared *shared = kernel->shared;
	int fd = open_by_handle_at(kernel->mount, &handle->head, O_PATH | O_CLOEXEC);
	char link[32], path[4096], *slash;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	close(fd);
	path[n > 0 ? n : 0] = '\0';
	while ((slash = strrchr(path, '/')) && slash != path) {
		*slash = '\0';
		if (fstatat(kernel->mount, path + 1, &st, 0))
			return -1;
		for (uint32_t i = 0; i < shared->place_count; i++)
			if (shared->places[i].ino == st.st_ino)
				return (int)i;
	}
	return -1;
}

int tk_kernel_take_open(struct tk_kernel *kernel, uint32_t tid, struct tk_pending_open *ret_open)
{
	struct fake_shared *shared = kernel->shared;
	union handle handle = {.head = {.handle_bytes = 128}};
	struct tk_pending_open pending = {.generation = shared->control.generation};
	struct fake_file *file;
	char path[2048] = "";
	struct stat st;
	int place, mount;

	hang(kernel, HANG_READER);
	if (shared->no_verdicts)
		return -ENOENT;
	if (fake_opened(tid, path, sizeof(path), &pending.flags) || stat(path, &st) ||
	    name_to_handle_at(AT_FDCWD, path, &handle.head, &mount, AT_SYMLINK_FOLLOW)) {
		fprintf(stderr, "fake kernel: what does thread %u open? %s\n", tid, path);
		shared->undecided++;
		return -ENOENT;
	}
	place = place_of(kernel, &handle);
	if (place < 0)
		return -ENOENT; /* outside: not decided */
	if (shared->kill_openers) {
		kill((pid_t)tid, SIGKILL);
		while (fake_opened(tid, path, sizeof(path), &pending.flags) == 0)
			usleep(1000);
		return -ENOENT; /* file_free_security has taken it away */
	}
	pending.inode = (struct tk_inode){
		.ino = st.st_ino, .dev = shared->places[place].dev, .igeneration = generation_of(&handle)};
	pending.guard = (uint32_t)place + 100;
	pending.view = fake_uid_of(tid) == FAKE_RAW_UID ? TK_VIEW_RAW : TK_VIEW_PLAIN;
	file = file_get(kernel, &pending.inode);
	if (!file)
		return -ENOMEM;
	file->handle_type = handle.head.handle_type;
	memcpy(file->handle, handle.head.f_handle, handle.head.handle_bytes);
	file->handle_bytes = handle.head.handle_bytes;
	if (pending.view == TK_VIEW_RAW)
		file->raw++;
	file->told = false;
	*ret_open = pending;
	return 0;
}

/* ---------------------------------------------------------------- rings */

int tk_kernel_poll_notices(struct tk_kernel *kernel, int timeout_ms, tk_notice_fn fn, void *ctx)
{
	static uint64_t took; /* ms, by the round before: others get as much */
	struct fake_shared *shared = kernel->shared;
	uint64_t begun;

	poll(NULL, 0, (int)(3 + took));
	if (shared->no_notices)
		return 0;
	begun = tk_now_ms();
	for (uint32_t i = 0; i < shared->file_count; i++) {
		struct fake_file *file = &shared->files[i];
		struct tk_notice notice = {.type = TK_NOTICE_CLOSED, .inode = file->inode};

		if (file->state != TK_OPEN && file->state != TK_OPEN_READ)
			continue;
		if (busy_now(kernel, file)) {
			file->told = false;
			continue;
		}
		if (file->told && !shared->bad_notices)
			continue;
		file->told = true;
		for (long times = shared->bad_notices ? random() % 4 / 2 * (1 + random() % 2) : 1; times; times--)
			fn(ctx, &notice);
	}
	took = tk_now_ms() - begun;
	return 0;
}

int tk_kernel_poll_events(struct tk_kernel *kernel, int timeout_ms, tk_event_fn fn, void *ctx)
{
	poll(NULL, 0, 1000);
	return 0;
}
