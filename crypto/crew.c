// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/crew.c - batches of records, by as many threads as there are processors
 * to spare.  Knows nothing of where records come from and where they go.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#define THREADS_MAX 64

/*
 * Threads of this process that are at work here, callers and helpers.  Helpers
 * are only taken on while there are fewer than processors: so a tree worked on
 * by many callers has no more threads and buffers than they bring, and the last
 * large file in it still gets every core.
 */
static atomic_uint busy;

/* One body on its way; shared by the threads that work on it. */
struct job {
	const struct tk_batches *b;
	atomic_uint_fast64_t next, done;
	atomic_bool stop;
	pthread_mutex_t lock; /* of the two below */
	uint64_t failed_batch;
	int err;
};

static void fail(struct job *j, uint64_t batch, int err)
{
	pthread_mutex_lock(&j->lock);
	/* The foremost failure is the one to report, whichever thread is first. */
	if (j->err == 0 || batch < j->failed_batch) {
		j->err = err;
		j->failed_batch = batch;
	}
	pthread_mutex_unlock(&j->lock);
	atomic_store(&j->stop, true);
}

static void worker_clear(struct tk_worker *w)
{
	tk_aead_free(w->aead);
	tk_buffer_free(&w->plain);
	tk_buffer_free(&w->sealed);
}

static int worker_init(struct tk_worker *w, const struct tk_batches *b)
{
	int r = tk_buffer_new(&w->plain, b->plain);

	if (r == 0)
		r = tk_buffer_new(&w->sealed, b->sealed);
	if (r == 0)
		r = tk_aead_new(b->algorithm, b->keys->body, b->seal, &w->aead);
	return r;
}

/* The helpers of one caller. */
struct crew {
	unsigned int cpus, n;
	pthread_t threads[THREADS_MAX];
};

static void *helper(void *arg);

/* Takes on one helper if there is work and a processor for it. */
static void hire(struct job *j, struct crew *crew)
{
	unsigned int others = atomic_load(&busy);
	sigset_t all, former;

	if (crew->n == THREADS_MAX || others >= crew->cpus || atomic_load(&j->next) + 1 >= j->b->n)
		return;
	if (!atomic_compare_exchange_strong(&busy, &others, others + 1))
		return; /* somebody else did; there is a next time */
	/* Signals belong to the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &former);
	if (pthread_create(&crew->threads[crew->n], NULL, helper, j) == 0)
		crew->n++;
	else
		atomic_fetch_sub(&busy, 1);
	pthread_sigmask(SIG_SETMASK, &former, NULL);
}

/* Works until no batch is left; only the caller's own thread (which has a crew) hires and reports. */
static void work(struct job *j, struct tk_worker *w, struct crew *crew)
{
	while (!atomic_load(&j->stop)) {
		uint64_t batch, len = 0, done;
		int r;

		if (crew)
			hire(j, crew);
		batch = atomic_fetch_add(&j->next, 1);
		if (batch >= j->b->n)
			return;
		r = j->b->batch(j->b->ctx, w, batch, &len);
		done = atomic_fetch_add(&j->done, len) + len;
		if (r == 0 && crew && j->b->report)
			r = j->b->report(j->b->ctx, done);
		if (r < 0)
			fail(j, batch, r);
	}
}

static void *helper(void *arg)
{
	__attribute__((cleanup(worker_clear))) struct tk_worker w = {};
	struct job *j = arg;

	/* Without memory it leaves the work to the others. */
	if (worker_init(&w, j->b) == 0)
		work(j, &w, NULL);
	atomic_fetch_sub(&busy, 1);
	return NULL;
}

static unsigned int processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned int)CPU_COUNT(&set) : 1;
}

int tk_batches_do(const struct tk_batches *b)
{
	__attribute__((cleanup(worker_clear))) struct tk_worker w = {};
	struct job j = {.b = b};
	struct crew crew = {};
	int r;

	r = worker_init(&w, b);
	if (r < 0)
		return r;
	r = pthread_mutex_init(&j.lock, NULL);
	if (r)
		return -r;
	if (b->n > 1)
		crew.cpus = processors();
	atomic_fetch_add(&busy, 1);
	work(&j, &w, &crew);
	while (crew.n)
		pthread_join(crew.threads[--crew.n], NULL);
	atomic_fetch_sub(&busy, 1);
	pthread_mutex_destroy(&j.lock);
	return j.err;
}
