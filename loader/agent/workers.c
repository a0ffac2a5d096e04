// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/workers.c - the threads that give files their turns, and the queues
 * they take them from.  Owns whose turn it is; turn.c owns what happens in it.
 *
 * There are two queues, each first come, first served.  Large files take no more
 * workers than there are processors, so that a small file waits behind small ones only.
 *
 * The agent's threads are all started at its birth and none ends before the
 * process does: the kernel programs take the end of any of them for its death.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

#include "loader/agent/agent.h"
#include "loader/agent/watchdog.h"

#define LARGE (4 << 20) /* bytes: some milliseconds of work */
#define WORKERS_MAX 64
#define WORKERS_MIN 32 /* mostly they wait for the disk, and one flush serves all who wait for it */

/* ---------------------------------------------------------------- threads */

struct thread {
	struct tk_agent *agent;
	void *(*run)(void *);
	void *arg;
};

static void *thread_main(void *arg)
{
	struct thread thread = *(struct thread *)arg;
	unsigned int slot = atomic_fetch_add(&thread.agent->tid_count, 1);

	free(arg);
	assert(slot < TK_THREADS);
	atomic_store(&thread.agent->tids[slot], (unsigned int)syscall(SYS_gettid));
	return thread.run(thread.arg);
}

/* Starts a thread that takes no signals and whose opens the event reader lets pass. */
int tk_thread_start(struct tk_agent *agent, void *(*run)(void *), void *arg, const char *name)
{
	struct thread *thread = malloc(sizeof(*thread));
	sigset_t all, old;
	pthread_t id;
	int err;

	if (!thread)
		return -ENOMEM;
	*thread = (struct thread){.agent = agent, .run = run, .arg = arg};
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&id, NULL, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(thread);
		return -err;
	}
	pthread_setname_np(id, name);
	pthread_detach(id);
	return 0;
}

bool tk_thread_own(const struct tk_agent *agent, uint32_t tid)
{
	unsigned int count = atomic_load(&agent->tid_count);

	if (tid == (uint32_t)getpid())
		return true;
	for (unsigned int i = 0; i < count && i < TK_THREADS; i++)
		if (atomic_load(&agent->tids[i]) == tid)
			return true;
	return false;
}

/* ---------------------------------------------------------------- queues */

static void push(struct tk_queue *queue, struct tk_file *file)
{
	file->queue_next = NULL;
	if (queue->tail)
		queue->tail->queue_next = file;
	else
		queue->head = file;
	queue->tail = file;
	queue->length++;
}

static struct tk_file *pop(struct tk_queue *queue)
{
	struct tk_file *file = queue->head;

	if (!file)
		return NULL;
	queue->head = file->queue_next;
	if (!queue->head)
		queue->tail = NULL;
	queue->length--;
	return file;
}

/* Under lock: the file gets a turn, another one after the present if it is running. */
void tk_file_queue(struct tk_agent *agent, struct tk_file *file)
{
	tk_due_set(agent, file, 0); /* also of one whose turn kept.c has taken: queue_due() waits for that */
	if (file->running) {
		file->wanted = true;
		return;
	}
	if (file->queued)
		return;
	file->queued = true;
	push(file->size >= LARGE ? &agent->large : &agent->small, file);
	pthread_cond_signal(&agent->work);
}

/*
 * A file is small when it is created, and may be large by the time it is sealed.  True when it has grown into the
 * other queue: the present turn, a small file's, must end, and it gets another one.
 */
bool tk_file_outgrown(struct tk_agent *agent, struct tk_file *file)
{
	struct stat st;
	bool small;

	if (fstat(file->path, &st))
		return false;
	TK_HOLD(&agent->lock);
	small = file->size < LARGE;
	file->size = (uint64_t)st.st_size;
	if (!small || file->size < LARGE)
		return false;
	file->wanted = true;
	return true;
}

/* Under lock. */
static void queue_due(struct tk_agent *agent)
{
	uint64_t now = tk_now_ms();

	while (agent->due && agent->due->due <= now)
		tk_file_queue(agent, agent->due);
}

static struct tk_file *next_file(struct tk_agent *agent, bool *ret_large)
{
	bool room = agent->running_large < agent->large_most;

	*ret_large = false;
	/* One worker for large files as soon as there is one; the others for small ones first. */
	if (agent->large.head && room && !agent->running_large) {
		*ret_large = true;
		return pop(&agent->large);
	}
	if (agent->small.head)
		return pop(&agent->small);
	if (!agent->large.head || !room)
		return NULL;
	*ret_large = true;
	return pop(&agent->large);
}

static void wait_for_work(struct tk_agent *agent)
{
	struct timespec until;

	if (!agent->due) {
		pthread_cond_wait(&agent->work, &agent->lock);
		return;
	}
	until.tv_sec = (time_t)(agent->due->due / 1000);
	until.tv_nsec = (long)(agent->due->due % 1000) * 1000000;
	pthread_cond_timedwait(&agent->work, &agent->lock, &until);
}

void tk_file_due(struct tk_agent *agent, struct tk_file *file, uint64_t due)
{
	if (tk_due_set(agent, file, due))
		pthread_cond_signal(&agent->work);
}

void tk_file_turned(struct tk_agent *agent, struct tk_file *file, uint64_t due)
{
	file->running = false;
	tk_kept_list(agent, file);
	if (file->wanted || file->arrivals || file->hold_wanted) {
		file->wanted = false;
		tk_file_queue(agent, file);
	} else if (due == TK_TURN_LAST) {
		tk_file_drop(agent, file);
	} else if (due) {
		tk_file_due(agent, file, due);
	}
	pthread_cond_broadcast(&agent->idle);
}

static void *worker(void *arg)
{
	struct tk_agent *agent = arg;

	pthread_mutex_lock(&agent->lock);
	for (;;) {
		struct tk_file *file;
		uint64_t due;
		bool large;

		queue_due(agent);
		file = agent->halted ? NULL : next_file(agent, &large);
		if (!file) {
			wait_for_work(agent);
			continue;
		}
		file->queued = false;
		file->running = true;
		agent->running++;
		agent->running_large += large;
		pthread_mutex_unlock(&agent->lock);

		tk_watchdog_alive(TK_DUTY_FILES);
		due = tk_file_turn(agent, file);
		tk_watchdog_rest();

		pthread_mutex_lock(&agent->lock);
		agent->running--;
		agent->running_large -= large;
		tk_file_turned(agent, file, due);
		if (large)
			pthread_cond_signal(&agent->work); /* there is room for the next large one */
	}
	return NULL;
}

int tk_workers_start(struct tk_agent *agent)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	/* Large files mostly compute; and one worker is left for the small ones. */
	agent->large_most = cores < 1 ? 1 : cores >= WORKERS_MAX ? WORKERS_MAX - 1 : (unsigned int)cores;
	agent->workers = agent->large_most < WORKERS_MIN ? WORKERS_MIN : agent->large_most + 1;
	for (unsigned int i = 0; i < agent->workers; i++) {
		int err = tk_thread_start(agent, worker, agent, "tk-worker");

		if (err)
			return err;
	}
	return tk_thread_start(agent, tk_kept_thread, agent, "tk-kept");
}

void tk_workers_drain(struct tk_agent *agent)
{
	TK_HOLD(&agent->lock);

	while (agent->small.head || agent->large.head || agent->running)
		pthread_cond_wait(&agent->idle, &agent->lock);
}

void tk_workers_halt(struct tk_agent *agent)
{
	TK_HOLD(&agent->lock);

	agent->halted = true;
	while (agent->running)
		pthread_cond_wait(&agent->idle, &agent->lock);
}
