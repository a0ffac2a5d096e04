// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/runtime.c - what the agent asks the programs and tells them while
 * it runs: its presence, verdicts of waiting opens, states of files, rings.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "loader/kernel/internal.h"

int tk_kernel_control(struct tk_kernel *kernel, struct tk_control *ret_control)
{
	*ret_control = *(volatile struct tk_control *)kernel->control;
	return 0;
}

int tk_kernel_set_agent(struct tk_kernel *kernel, uint32_t pid)
{
	__atomic_store_n(&kernel->control->ready, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&kernel->control->agent, pid, __ATOMIC_SEQ_CST);
	tk_kernel_know_command(kernel); /* it may have been upgraded since the load */
	return 0;
}

int tk_kernel_set_loader(struct tk_kernel *kernel, uint32_t pid)
{
	__atomic_store_n(&kernel->control->loader, pid, __ATOMIC_SEQ_CST);
	return 0;
}

int tk_kernel_set_ready(struct tk_kernel *kernel, bool ready)
{
	__atomic_store_n(&kernel->control->ready, ready, __ATOMIC_SEQ_CST);
	return 0;
}

int tk_kernel_adopted(struct tk_kernel *kernel)
{
	__atomic_store_n(&kernel->control->adopting, 0, __ATOMIC_SEQ_CST);
	return 0;
}

int tk_kernel_set_times(struct tk_kernel *kernel, uint32_t generation, const struct tk_times_now *now)
{
	return bpf_map_update_elem(kernel->maps[TK_MAP_TIMES_NOW], &generation, now, BPF_EXIST) ? -errno : 0;
}

bool tk_kernel_has_times(struct tk_kernel *kernel)
{
	uint32_t generation = __atomic_load_n(&kernel->control->generation, __ATOMIC_SEQ_CST);
	struct tk_times_now now;

	return !bpf_map_lookup_elem(kernel->maps[TK_MAP_TIMES_NOW], &generation, &now) &&
	       now.until != UINT64_MAX;
}

int tk_kernel_watch(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_watch watch)
{
	int fd = kernel->maps[TK_MAP_WATCHED_POINTS];
	uint32_t value = watch;

	if (watch != TK_WATCH_NONE)
		return bpf_map_update_elem(fd, inode, &value, BPF_ANY) ? -errno : 0;
	return bpf_map_delete_elem(fd, inode) && errno != ENOENT ? -errno : 0;
}

int tk_kernel_watch_none(struct tk_kernel *kernel)
{
	int fd = kernel->maps[TK_MAP_WATCHED_POINTS];
	struct tk_inode inode;

	while (!bpf_map_get_next_key(fd, NULL, &inode))
		if (bpf_map_delete_elem(fd, &inode))
			return -errno;
	return errno == ENOENT ? 0 : -errno;
}

int tk_kernel_take_open(struct tk_kernel *kernel, uint32_t tid, struct tk_pending_open *ret_open)
{
	struct tk_pending_open open;
	int fd = kernel->maps[TK_MAP_PENDING_OPENS];

	/* The opener waits for our answer: nobody else touches its entry between the two calls. */
	if (bpf_map_lookup_elem(fd, &tid, &open))
		return -errno;
	if (bpf_map_delete_elem(fd, &tid) && errno != ENOENT)
		return -errno;
	*ret_open = open;
	return 0;
}

/* Through the agent's door.  The packet must be as long as an Ethernet header at least, which a command is. */
int tk_kernel_tell(struct tk_kernel *kernel, const struct tk_command *command)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = command, .data_size_in = sizeof(*command), .repeat = 1);

	if (bpf_prog_test_run_opts(kernel->command, &run))
		return -errno;
	return (int)run.retval;
}

int tk_kernel_set_state(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_file_state state)
{
	struct tk_command command = { .state = state, .inode = *inode };

	return tk_kernel_tell(kernel, &command);
}

int tk_kernel_is_narrow(struct tk_kernel *kernel, int fd)
{
	struct tk_command command = { .state = TK_IS_NARROW, .fd = (uint32_t)fd };

	return tk_kernel_tell(kernel, &command);
}

/* The inode's entry, or one that says nothing. */
static int open_file(struct tk_kernel *kernel, const struct tk_inode *inode, struct tk_open_file *ret)
{
	uint32_t index = TK_BUCKET_OF(inode);
	struct tk_bucket bucket;

	if (bpf_map_lookup_elem_flags(kernel->maps[TK_MAP_OPEN_FILES], &index, &bucket, BPF_F_LOCK))
		return -errno;
	for (size_t i = 0; i < TK_BUCKET_FILES; i++)
		if (!memcmp(&bucket.files[i].inode, inode, sizeof(*inode))) {
			*ret = bucket.files[i];
			return 0;
		}
	*ret = (struct tk_open_file){ .inode = *inode };
	return 0;
}

int tk_kernel_state(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_file_state *ret_state)
{
	struct tk_open_file file;
	int err = open_file(kernel, inode, &file);

	if (!err)
		*ret_state = file.state;
	return err;
}

int tk_kernel_counts(struct tk_kernel *kernel, const struct tk_inode *inode, struct tk_file_counts *ret_counts)
{
	struct tk_open_file file;
	int err = open_file(kernel, inode, &file);

	if (!err)
		*ret_counts = (struct tk_file_counts){
			.plain = file.plain, .raw = file.raw, .written = file.written };
	return err;
}

/* Is any file in this state, or, !is, in another?  True also when that is not known. */
static bool any_file(struct tk_kernel *kernel, enum tk_file_state state, bool is)
{
	struct tk_bucket bucket;

	for (uint32_t i = 0; i < TK_BUCKETS; i++) {
		if (bpf_map_lookup_elem_flags(kernel->maps[TK_MAP_OPEN_FILES], &i, &bucket, BPF_F_LOCK))
			return true; /* unknown */
		for (size_t k = 0; k < TK_BUCKET_FILES; k++)
			if ((bucket.files[k].state == state) == is)
				return true;
	}
	return false;
}

bool tk_kernel_any_open(struct tk_kernel *kernel)
{
	return any_file(kernel, TK_SEALED, false);
}

bool tk_kernel_any_kept(struct tk_kernel *kernel)
{
	return any_file(kernel, TK_KEPT, true);
}

/* The callback a ring was last polled with; libbpf fixes its own at creation. */
struct consumer {
	tk_notice_fn notice;
	tk_event_fn event;
	void *ctx;
};
static __thread struct consumer consumer;

static int on_notice(void *ctx, void *data, size_t size)
{
	if (size >= sizeof(struct tk_notice))
		consumer.notice(consumer.ctx, data);
	return 0;
}

static int on_event(void *ctx, void *data, size_t size)
{
	if (size >= sizeof(struct tk_event))
		consumer.event(consumer.ctx, data);
	return 0;
}

static int poll_ring(struct ring_buffer **ring, int map, ring_buffer_sample_fn fn, int timeout_ms)
{
	int got;

	if (!*ring)
		*ring = ring_buffer__new(map, fn, NULL, NULL);
	if (!*ring)
		return -errno;
	got = ring_buffer__poll(*ring, timeout_ms);
	return got < 0 && got != -EINTR ? got : 0;
}

int tk_kernel_poll_notices(struct tk_kernel *kernel, int timeout_ms, tk_notice_fn fn, void *ctx)
{
	consumer = (struct consumer){ .notice = fn, .ctx = ctx };
	return poll_ring(&kernel->notices, kernel->maps[TK_MAP_NOTICES], on_notice, timeout_ms);
}

int tk_kernel_poll_events(struct tk_kernel *kernel, int timeout_ms, tk_event_fn fn, void *ctx)
{
	consumer = (struct consumer){ .event = fn, .ctx = ctx };
	return poll_ring(&kernel->events, kernel->maps[TK_MAP_EVENTS], on_event, timeout_ms);
}

int tk_kernel_counters(struct tk_kernel *kernel, uint64_t ret_counters[TK_COUNTER_COUNT])
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values;
	int err = 0;

	if (cpus < 0)
		return cpus;
	values = calloc(cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < TK_COUNTER_COUNT && !err; i++) {
		uint64_t sum = 0;

		if (bpf_map_lookup_elem(kernel->maps[TK_MAP_COUNTERS], &i, values))
			err = -errno;
		for (int cpu = 0; cpu < cpus; cpu++)
			sum += values[cpu];
		ret_counters[i] = sum;
	}
	free(values);
	return err;
}
