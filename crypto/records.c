// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/records.c - the body of version 2: independent records (FORMAT.md), in
 * batches by as many threads as there are processors to spare.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/*
 * What is read, worked on and written at a time, in bytes of plaintext (but at
 * least one chunk).  When opening, nothing of a batch is written before all of
 * it is authentic; takakrypt.h promises that for whole files up to WHOLE_SIZE.
 * What is longer goes in batches whose two buffers stay in a core's own cache.
 */
#define WHOLE_SIZE (1U << 20)
#define BATCH_SIZE (1U << 18)
#define RECORDS_PER_BATCH_MAX (WHOLE_SIZE >> TK_CHUNK_LOG2_MIN)
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
	const struct tk_stream *s;
	uint64_t chunk, batch_records, batches;
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

/* What a thread owns. */
struct worker {
	struct tk_aead *aead;
	struct tk_buffer plain, sealed;
};

static void worker_clear(struct worker *w)
{
	tk_aead_free(w->aead);
	tk_buffer_free(&w->plain);
	tk_buffer_free(&w->sealed);
}

static int worker_init(struct worker *w, const struct job *j)
{
	const struct tk_header *h = j->s->header;
	uint64_t plain = j->batch_records * j->chunk, records = j->batch_records;
	int r;

	if (plain > h->original_size) {
		plain = h->original_size;
		records = (plain + j->chunk - 1) / j->chunk;
	}
	r = tk_buffer_new(&w->plain, plain);
	if (r == 0)
		r = tk_buffer_new(&w->sealed, plain + records * TK_RECORD_OVERHEAD);
	if (r == 0)
		r = tk_aead_new(h->algorithm, j->s->keys->body, j->s->seal, &w->aead);
	return r;
}

int tk_record_seal(struct tk_aead *aead, uint64_t index, const uint8_t *nonce, const uint8_t *plain,
		   size_t len, uint8_t *record)
{
	uint64_t aad = htole64(index);
	int r;

	memcpy(record, nonce, TK_NONCE_SIZE);
	r = tk_aead_begin(aead, record, &aad, sizeof(aad));
	if (r == 0)
		r = tk_aead_update(aead, plain, len, record + TK_NONCE_SIZE);
	if (r == 0)
		r = tk_aead_finish_seal(aead, record + TK_NONCE_SIZE + len);
	return r;
}

int tk_record_open(struct tk_aead *aead, uint64_t index, const uint8_t *record, size_t len, uint8_t *plain)
{
	uint64_t aad = htole64(index);
	int r;

	r = tk_aead_begin(aead, record, &aad, sizeof(aad));
	if (r == 0)
		r = tk_aead_update(aead, record + TK_NONCE_SIZE, len, plain);
	if (r == 0)
		r = tk_aead_finish_open(aead, record + TK_NONCE_SIZE + len);
	return r;
}

/* Reads, seals or opens, and writes batch number `batch`; ret_len: its plaintext. */
static int do_batch(const struct job *j, struct worker *w, uint64_t batch, uint64_t *ret_len)
{
	const struct tk_stream *s = j->s;
	uint8_t nonces[RECORDS_PER_BATCH_MAX * TK_NONCE_SIZE];
	uint64_t first = batch * j->batch_records, start = first * j->chunk;
	uint64_t left = s->header->original_size - start;
	size_t plain_len = w->plain.len < left ? w->plain.len : (size_t)left;
	size_t records = (plain_len + j->chunk - 1) / j->chunk;
	size_t sealed_len = plain_len + records * TK_RECORD_OVERHEAD;
	off_t plain_at = (off_t)start, sealed_at = (off_t)(start + first * TK_RECORD_OVERHEAD);
	int r;

	if (s->seal) {
		r = tk_pread_full(s->in_fd, w->plain.p, plain_len, s->in_offset + plain_at);
		if (r == 0)
			r = tk_random(nonces, records * TK_NONCE_SIZE);
	} else {
		r = tk_pread_full(s->in_fd, w->sealed.p, sealed_len, s->in_offset + sealed_at);
	}
	for (size_t i = 0; r == 0 && i < records; i++) {
		uint8_t *plain = w->plain.p + i * j->chunk;
		uint8_t *record = w->sealed.p + i * (j->chunk + TK_RECORD_OVERHEAD);
		size_t len = i + 1 < records ? j->chunk : plain_len - i * j->chunk;

		if (s->seal)
			r = tk_record_seal(w->aead, first + i, nonces + i * TK_NONCE_SIZE, plain, len,
					   record);
		else
			r = tk_record_open(w->aead, first + i, record, len, plain);
	}
	if (r == 0 && s->seal)
		r = tk_pwrite_full(s->out_fd, w->sealed.p, sealed_len, s->out_offset + sealed_at);
	else if (r == 0 && s->out_fd >= 0)
		r = tk_stream_write(s, w->plain.p, plain_len, start);
	if (r == 0)
		*ret_len = plain_len;
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

	if (crew->n == THREADS_MAX || others >= crew->cpus || atomic_load(&j->next) + 1 >= j->batches)
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
static void work(struct job *j, struct worker *w, struct crew *crew)
{
	while (!atomic_load(&j->stop)) {
		uint64_t batch, len = 0, done;
		int r;

		if (crew)
			hire(j, crew);
		batch = atomic_fetch_add(&j->next, 1);
		if (batch >= j->batches)
			return;
		r = do_batch(j, w, batch, &len);
		done = atomic_fetch_add(&j->done, len) + len;
		if (r == 0 && crew)
			r = tk_stream_progress(j->s, done);
		if (r < 0)
			fail(j, batch, r);
	}
}

static void *helper(void *arg)
{
	__attribute__((cleanup(worker_clear))) struct worker w = {};

	/* Without memory it leaves the work to the others. */
	if (worker_init(&w, arg) == 0)
		work(arg, &w, NULL);
	atomic_fetch_sub(&busy, 1);
	return NULL;
}

static unsigned int processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned int)CPU_COUNT(&set) : 1;
}

int tk_records(const struct tk_stream *s)
{
	__attribute__((cleanup(worker_clear))) struct worker w = {};
	uint64_t size = s->header->original_size, batch_size;
	struct job j = {.s = s, .chunk = UINT64_C(1) << s->header->chunk_log2};
	struct crew crew = {};
	int r;

	batch_size = size <= WHOLE_SIZE ? WHOLE_SIZE : BATCH_SIZE;
	j.batch_records = j.chunk < batch_size ? batch_size / j.chunk : 1;
	j.batches = (size + j.batch_records * j.chunk - 1) / (j.batch_records * j.chunk);
	if (j.batches == 0)
		return tk_stream_progress(s, 0);
	r = worker_init(&w, &j);
	if (r < 0)
		return r;
	r = pthread_mutex_init(&j.lock, NULL);
	if (r)
		return -r;
	if (j.batches > 1)
		crew.cpus = processors();
	atomic_fetch_add(&busy, 1);
	work(&j, &w, &crew);
	while (crew.n)
		pthread_join(crew.threads[--crew.n], NULL);
	atomic_fetch_sub(&busy, 1);
	pthread_mutex_destroy(&j.lock);
	return j.err ? j.err : tk_stream_progress(s, size);
}
