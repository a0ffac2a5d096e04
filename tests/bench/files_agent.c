// SPDX-License-Identifier: GPL-2.0
/*
 * tests/bench/files_agent.c - the real agent, with loader/kernel/kernel.h played by tests/bench/files.h.
 *
 * usage: files_agent POLICY CONTROL READY_FD, with TK_BENCH_STATE, TK_BENCH_MOUNT, TK_BENCH_GUARD,
 * TK_BENCH_CLOSED
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/kernel/kernel.h"
#include "tests/bench/files.h"

#define PLACE 100

struct tk_kernel {
	struct bench_shared *shared;
	int mount;  /* a private clone: looking up names there reaches no mark */
	int closed; /* inodes whose last description is closed, from the openers */
	const char *guard;
};

union handle {
	struct file_handle head;
	char room[sizeof(struct file_handle) + TK_HANDLE_MAX];
};

int tk_kernel_open(struct tk_kernel **ret_kernel)
{
	struct mount_attr private = {.propagation = MS_PRIVATE};
	struct tk_kernel *kernel = calloc(1, sizeof(*kernel));
	int fd = open(getenv("TK_BENCH_STATE"), O_RDWR | O_CLOEXEC);
	int tree = open_tree(AT_FDCWD, getenv("TK_BENCH_MOUNT"), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (!kernel || fd < 0 || tree < 0 ||
	    mount_setattr(tree, "", AT_EMPTY_PATH, &private, sizeof(private)))
		return -ENOENT;
	kernel->mount = tree;
	kernel->guard = getenv("TK_BENCH_GUARD");
	kernel->closed = open(getenv("TK_BENCH_CLOSED"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	kernel->shared = mmap(NULL, sizeof(*kernel->shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (kernel->closed < 0 || kernel->shared == MAP_FAILED)
		return -ENOMEM;
	*ret_kernel = kernel;
	return 0;
}

void tk_kernel_close(struct tk_kernel *kernel)
{
}

int tk_kernel_control(struct tk_kernel *kernel, struct tk_control *ret_control)
{
	*ret_control = kernel->shared->control;
	return 0;
}

int tk_kernel_set_agent(struct tk_kernel *kernel, uint32_t pid)
{
	kernel->shared->control.agent = pid;
	return 0;
}

int tk_kernel_adopted(struct tk_kernel *kernel)
{
	return 0;
}

int tk_kernel_set_times(struct tk_kernel *kernel, uint32_t generation, const struct tk_times_now *now)
{
	return 0;
}

int tk_kernel_add_programs(struct tk_kernel *kernel, uint32_t generation, const struct tk_resolved *resolved,
			   struct tk_added *ret_added)
{
	*ret_added = (struct tk_added){};
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
	kernel->shared->place = *inode;
	*ret_id = PLACE;
	return 0;
}

int tk_kernel_add_place(struct tk_kernel *kernel, const struct tk_compiled *compiled,
			const struct tk_place *place)
{
	return 0;
}

int tk_kernel_counters(struct tk_kernel *kernel, uint64_t ret_counters[TK_COUNTER_COUNT])
{
	memset(ret_counters, 0, TK_COUNTER_COUNT * sizeof(*ret_counters));
	return 0;
}

int tk_kernel_watch(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_watch watch)
{
	return 0;
}

int tk_kernel_watch_none(struct tk_kernel *kernel)
{
	return 0;
}

/* The mount the agent has made of the guard point is the only narrow one. */
int tk_kernel_is_narrow(struct tk_kernel *kernel, int fd)
{
	struct statx there, here;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &there) ||
	    statx(AT_FDCWD, kernel->guard, 0, STATX_MNT_ID, &here))
		return -errno;
	return there.stx_mnt_id == here.stx_mnt_id;
}

/* ---------------------------------------------------------------- files */

int tk_kernel_set_state(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_file_state state)
{
	struct bench_shared *shared = kernel->shared;
	struct bench_file *file;
	int err = 0;

	pthread_mutex_lock(&shared->lock);
	file = bench_file(shared, inode->ino);
	if (memcmp(&file->inode, inode, sizeof(*inode)))
		*file = (struct bench_file){.inode = *inode, .state = TK_SEALED};
	if (state == TK_SEALING && file->plain) {
		err = -EBUSY;
	} else {
		if (state == TK_UNSEALING)
			file->written = false;
		shared->unsealed += (state != TK_SEALED) - (file->state != TK_SEALED);
		file->state = state;
	}
	pthread_mutex_unlock(&shared->lock);
	return err;
}

int tk_kernel_state(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_file_state *ret_state)
{
	*ret_state = (enum tk_file_state)bench_file(kernel->shared, inode->ino)->state;
	return 0;
}

int tk_kernel_counts(struct tk_kernel *kernel, const struct tk_inode *inode,
		     struct tk_file_counts *ret_counts)
{
	const struct bench_file *file = bench_file(kernel->shared, inode->ino);

	*ret_counts = (struct tk_file_counts){.plain = file->plain, .written = file->written};
	return 0;
}

/* ---------------------------------------------------------------- opens */

/* FILEID_INO32_GEN, as ext4 has it. */
static uint32_t word(const union handle *handle, size_t number)
{
	uint32_t value;

	memcpy(&value, handle->head.f_handle + number * sizeof(value), sizeof(value));
	return value;
}

static struct bench_slot *slot_of(struct bench_shared *shared, uint32_t tid)
{
	for (int i = 0; i < BENCH_SLOTS && shared->slots[i].tid; i++)
		if (shared->slots[i].tid == tid)
			return &shared->slots[i];
	return shared->anybody.path[0] ? &shared->anybody : NULL;
}

int tk_kernel_take_open(struct tk_kernel *kernel, uint32_t tid, struct tk_pending_open *ret_open)
{
	struct bench_shared *shared = kernel->shared;
	struct bench_slot *slot = slot_of(shared, tid);
	union handle handle = {.head = {.handle_bytes = TK_HANDLE_MAX}};
	struct bench_file *file;
	int mount_id;

	if (!slot || !*slot->path || name_to_handle_at(kernel->mount, slot->path, &handle.head, &mount_id, 0))
		return -ENOENT;
	*ret_open = (struct tk_pending_open){
		.generation = shared->control.generation,
		.guard = PLACE,
		.view = TK_VIEW_PLAIN,
		.flags = slot->flags,
		.inode = {.ino = word(&handle, 0), .dev = shared->place.dev, .igeneration = word(&handle, 1)},
	};
	if (slot == &shared->anybody)
		return 0; /* somebody else has it open for longer */
	pthread_mutex_lock(&shared->lock);
	file = bench_file(shared, ret_open->inode.ino);
	if (memcmp(&file->inode, &ret_open->inode, sizeof(file->inode)))
		*file = (struct bench_file){.inode = ret_open->inode, .state = TK_SEALED};
	file->plain++;
	pthread_mutex_unlock(&shared->lock);
	slot->ino = ret_open->inode.ino;
	slot->counted = 1;
	return 0;
}

/* ---------------------------------------------------------------- rings */

int tk_kernel_poll_notices(struct tk_kernel *kernel, int timeout_ms, tk_notice_fn fn, void *ctx)
{
	struct pollfd ready = {.fd = kernel->closed, .events = POLLIN};
	struct tk_inode inodes[64];
	ssize_t n;

	if (poll(&ready, 1, timeout_ms) <= 0)
		return 0;
	n = read(kernel->closed, inodes, sizeof(inodes));
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(*inodes); i++) {
		struct tk_notice notice = {.type = TK_NOTICE_CLOSED, .inode = inodes[i]};

		fn(ctx, &notice);
	}
	return 0;
}

int tk_kernel_poll_events(struct tk_kernel *kernel, int timeout_ms, tk_event_fn fn, void *ctx)
{
	poll(NULL, 0, 1000);
	return 0;
}

int main(int argc, char **argv)
{
	struct tk_agent_options options = {};

	if (argc != 4)
		return 2;
	options.policy = argv[1];
	options.control = argv[2];
	options.ready_fd = atoi(argv[3]);
	return tk_agent_run(&options) ? 1 : 0;
}
