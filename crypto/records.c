// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/records.c - whole contents, from descriptor to descriptor: the single
 * message of version 1 and the records of version 2 (FORMAT.md), the latter by
 * several threads when there are many.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * What is read, worked on and written at a time, in bytes of plaintext (but at
 * least one chunk).  When opening, nothing of a batch is written before all of
 * it is authentic.
 */
#define BATCH_SIZE (1U << 20)
#define RECORDS_PER_BATCH_MAX (BATCH_SIZE >> TK_CHUNK_LOG2_MIN)
#define BATCHES_PER_THREAD 2 /* below that a thread costs more than it brings */
#define THREADS_MAX 16

static const char v1_aad[] = {'p', 'a', 't', 'h', ':'};

/* A buffer that held plaintext. */
struct buffer {
	uint8_t *p;
	size_t len;
};

static void buffer_free(struct buffer *b)
{
	tk_wipe(b->p, b->len);
	free(b->p);
}

static int buffer_new(struct buffer *b, size_t len)
{
	b->p = malloc(len ? len : 1);
	if (!b->p)
		return -ENOMEM;
	b->len = len;
	return 0;
}

#define _cleanup_buffer_ __attribute__((cleanup(buffer_free)))
#define _cleanup_aead_ __attribute__((cleanup(tk_aead_freep)))
#define _cleanup_keys_ __attribute__((cleanup(tk_file_keys_freep)))

int tk_pread_full(int fd, void *buf, size_t len, off_t offset)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = pread(fd, p, len, offset);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -EIO;
		p += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

int tk_pwrite_full(int fd, const void *buf, size_t len, off_t offset)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = pwrite(fd, p, len, offset);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -EIO;
		p += n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

/* One whole content on its way; shared by the threads that work on it. */
struct stream {
	const struct tk_header *header;
	const struct tk_file_keys *keys;
	bool seal;
	int in_fd, out_fd;	     /* out_fd -1: nothing is written */
	off_t in_offset, out_offset; /* of the body, or of the plaintext */
	tk_progress progress;
	void *ctx;

	uint64_t chunk, batch_records, batches;
	atomic_uint_fast64_t next, done;
	atomic_bool stop;
	pthread_mutex_t lock; /* of the two below */
	uint64_t failed_batch;
	int err;
};

static void fail(struct stream *s, uint64_t batch, int err)
{
	pthread_mutex_lock(&s->lock);
	/* The foremost failure is the one to report, whichever thread is first. */
	if (s->err == 0 || batch < s->failed_batch) {
		s->err = err;
		s->failed_batch = batch;
	}
	pthread_mutex_unlock(&s->lock);
	atomic_store(&s->stop, true);
}

static int progress(const struct stream *s, uint64_t done)
{
	return s->progress && s->progress(s->ctx, done, s->header->original_size) ? -ECANCELED : 0;
}

/* What a thread owns. */
struct worker {
	struct tk_aead *aead;
	struct buffer plain, sealed;
};

static void worker_clear(struct worker *w)
{
	tk_aead_free(w->aead);
	buffer_free(&w->plain);
	buffer_free(&w->sealed);
}

static int worker_init(struct worker *w, const struct stream *s)
{
	uint64_t plain = s->batch_records * s->chunk, records = s->batch_records;
	int r;

	if (plain > s->header->original_size) {
		plain = s->header->original_size;
		records = (plain + s->chunk - 1) / s->chunk;
	}
	r = buffer_new(&w->plain, plain);
	if (r == 0)
		r = buffer_new(&w->sealed, plain + records * TK_RECORD_OVERHEAD);
	if (r == 0)
		r = tk_aead_new(s->header->algorithm, s->keys->body, s->seal, &w->aead);
	return r;
}

static int seal_record(struct worker *w, uint64_t index, const uint8_t *nonce, const uint8_t *plain,
		       size_t len, uint8_t *record)
{
	uint64_t aad = htole64(index);
	int r;

	memcpy(record, nonce, TK_NONCE_SIZE);
	r = tk_aead_begin(w->aead, record, &aad, sizeof(aad));
	if (r == 0)
		r = tk_aead_update(w->aead, plain, len, record + TK_NONCE_SIZE);
	if (r == 0)
		r = tk_aead_finish_seal(w->aead, record + TK_NONCE_SIZE + len);
	return r;
}

static int open_record(struct worker *w, uint64_t index, const uint8_t *record, size_t len, uint8_t *plain)
{
	uint64_t aad = htole64(index);
	int r;

	r = tk_aead_begin(w->aead, record, &aad, sizeof(aad));
	if (r == 0)
		r = tk_aead_update(w->aead, record + TK_NONCE_SIZE, len, plain);
	if (r == 0)
		r = tk_aead_finish_open(w->aead, record + TK_NONCE_SIZE + len);
	return r;
}

/* Reads, seals or opens, and writes batch number `batch`; ret_len: its plaintext. */
static int do_batch(const struct stream *s, struct worker *w, uint64_t batch, uint64_t *ret_len)
{
	uint8_t nonces[RECORDS_PER_BATCH_MAX * TK_NONCE_SIZE];
	uint64_t first = batch * s->batch_records, start = first * s->chunk;
	uint64_t left = s->header->original_size - start;
	size_t plain_len = w->plain.len < left ? w->plain.len : (size_t)left;
	size_t records = (plain_len + s->chunk - 1) / s->chunk;
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
		uint8_t *plain = w->plain.p + i * s->chunk;
		uint8_t *record = w->sealed.p + i * (s->chunk + TK_RECORD_OVERHEAD);
		size_t len = i + 1 < records ? s->chunk : plain_len - i * s->chunk;

		if (s->seal)
			r = seal_record(w, first + i, nonces + i * TK_NONCE_SIZE, plain, len, record);
		else
			r = open_record(w, first + i, record, len, plain);
	}
	if (r == 0 && s->seal)
		r = tk_pwrite_full(s->out_fd, w->sealed.p, sealed_len, s->out_offset + sealed_at);
	else if (r == 0 && s->out_fd >= 0)
		r = tk_pwrite_full(s->out_fd, w->plain.p, plain_len, s->out_offset + plain_at);
	if (r == 0)
		*ret_len = plain_len;
	return r;
}

/* Works until no batch is left; only the caller's own thread reports progress. */
static void work(struct stream *s, struct worker *w, bool reports)
{
	while (!atomic_load(&s->stop)) {
		uint64_t batch = atomic_fetch_add(&s->next, 1), len = 0, done;
		int r;

		if (batch >= s->batches)
			return;
		r = do_batch(s, w, batch, &len);
		done = atomic_fetch_add(&s->done, len) + len;
		if (r == 0 && reports)
			r = progress(s, done);
		if (r < 0)
			fail(s, batch, r);
	}
}

static void *helper(void *arg)
{
	__attribute__((cleanup(worker_clear))) struct worker w = {};

	/* Without memory it leaves the work to the others. */
	if (worker_init(&w, arg) == 0)
		work(arg, &w, false);
	return NULL;
}

static unsigned int helpers_wanted(const struct stream *s)
{
	uint64_t by_work = s->batches / BATCHES_PER_THREAD;
	unsigned int cpus = 1;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		cpus = (unsigned int)CPU_COUNT(&set);
	if (cpus > THREADS_MAX)
		cpus = THREADS_MAX;
	if (cpus > by_work)
		cpus = (unsigned int)by_work;
	return cpus > 1 ? cpus - 1 : 0;
}

static unsigned int start_helpers(struct stream *s, pthread_t threads[THREADS_MAX])
{
	unsigned int wanted = helpers_wanted(s), n = 0;
	sigset_t all, former;

	if (!wanted)
		return 0;
	/* Signals belong to the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &former);
	while (n < wanted && pthread_create(&threads[n], NULL, helper, s) == 0)
		n++;
	pthread_sigmask(SIG_SETMASK, &former, NULL);
	return n;
}

/* The body of version 2, either way. */
static int do_records(struct stream *s)
{
	__attribute__((cleanup(worker_clear))) struct worker w = {};
	pthread_t threads[THREADS_MAX];
	unsigned int n;
	int r;

	s->chunk = UINT64_C(1) << s->header->chunk_log2;
	s->batch_records = s->chunk < BATCH_SIZE ? BATCH_SIZE / s->chunk : 1;
	s->batches =
		(s->header->original_size + s->batch_records * s->chunk - 1) / (s->batch_records * s->chunk);
	if (s->batches == 0)
		return progress(s, 0);
	r = worker_init(&w, s);
	if (r < 0)
		return r;
	r = pthread_mutex_init(&s->lock, NULL);
	if (r)
		return -r;
	n = start_helpers(s, threads);
	work(s, &w, true);
	while (n)
		pthread_join(threads[--n], NULL);
	pthread_mutex_destroy(&s->lock);
	return s->err ? s->err : progress(s, s->header->original_size);
}

/* The single message of version 1, in pieces through one buffer; the tag is the caller's business. */
static int do_message(const struct stream *s, struct tk_aead *aead, struct buffer *b, bool two_passes,
		      int pass)
{
	uint64_t size = s->header->original_size, at = 0;
	int r;

	r = tk_aead_begin(aead, s->header->iv, v1_aad, sizeof(v1_aad));
	while (r == 0 && at < size) {
		size_t len = size - at < b->len ? (size_t)(size - at) : b->len;

		r = tk_pread_full(s->in_fd, b->p, len, s->in_offset + (off_t)at);
		if (r == 0)
			r = tk_aead_update(aead, b->p, len, b->p);
		if (r == 0 && pass == 2)
			r = tk_pwrite_full(s->out_fd, b->p, len, s->out_offset + (off_t)at);
		at += len;
		if (r == 0)
			r = progress(s, two_passes ? (pass == 2 ? size + at : at) / 2 : at);
	}
	return r;
}

static size_t message_buffer(uint64_t size)
{
	return size < BATCH_SIZE ? (size_t)size : BATCH_SIZE;
}

static int seal_v1(const struct stream *s, struct tk_header *h)
{
	_cleanup_aead_ struct tk_aead *aead = NULL;
	_cleanup_buffer_ struct buffer b = {};
	int r;

	r = buffer_new(&b, message_buffer(h->original_size));
	if (r == 0)
		r = tk_aead_new(h->algorithm, s->keys->body, true, &aead);
	if (r == 0)
		r = do_message(s, aead, &b, false, 2);
	return r < 0 ? r : tk_aead_finish_seal(aead, h->tag);
}

/*
 * No plaintext before the tag is verified: what fits one buffer is opened there
 * and then written; anything longer is read twice.  The second pass verifies
 * too, so a file that changes in between is reported, with -TK_E_AUTH.
 */
static int open_v1(const struct stream *s)
{
	const struct tk_header *h = s->header;
	_cleanup_aead_ struct tk_aead *aead = NULL;
	_cleanup_buffer_ struct buffer b = {};
	bool two_passes = s->out_fd >= 0 && h->original_size > BATCH_SIZE;
	int r;

	if (h->original_size > tk_aead_message_max(h->algorithm))
		return -EOVERFLOW;
	r = buffer_new(&b, message_buffer(h->original_size));
	if (r == 0)
		r = tk_aead_new(h->algorithm, s->keys->body, false, &aead);
	if (r == 0)
		r = do_message(s, aead, &b, two_passes, 1);
	if (r == 0)
		r = tk_aead_finish_open(aead, h->tag);
	if (r < 0 || s->out_fd < 0)
		return r;
	if (!two_passes)
		return tk_pwrite_full(s->out_fd, b.p, h->original_size, s->out_offset);
	r = do_message(s, aead, &b, true, 2);
	return r < 0 ? r : tk_aead_finish_open(aead, h->tag);
}

static bool range_fits(off_t offset, uint64_t size)
{
	return offset >= 0 && size <= (uint64_t)INT64_MAX - (uint64_t)offset;
}

int tk_encrypt_fd(const struct tk_keyring *ring, const struct tk_params *params, int in_fd, off_t in_offset,
		  uint64_t size, int out_fd, off_t out_offset, tk_progress report, void *ctx,
		  uint64_t *ret_size)
{
	_cleanup_keys_ struct tk_file_keys *keys = NULL;
	uint8_t bytes[TK_HEADER_MAX];
	struct tk_header h;
	uint64_t sealed;
	int r;

	r = tk_sealed_size(params, size, &sealed);
	if (r < 0)
		return r;
	if (!range_fits(in_offset, size) || !range_fits(out_offset, sealed))
		return -EOVERFLOW;
	keys = tk_locked_alloc(sizeof(*keys));
	if (!keys)
		return -errno;
	r = tk_header_seal(ring, params, size, keys, &h);
	if (r < 0)
		return r;

	struct stream s = {
		.header = &h,
		.keys = keys,
		.seal = true,
		.in_fd = in_fd,
		.in_offset = in_offset,
		.out_fd = out_fd,
		.out_offset = out_offset + (off_t)h.size,
		.progress = report,
		.ctx = ctx,
	};
	r = h.version == 1 ? seal_v1(&s, &h) : do_records(&s);
	if (r < 0)
		return r;
	/* Last: what was begun and not finished shall not look like a TAKA file. */
	tk_header_build(&h, bytes);
	r = tk_pwrite_full(out_fd, bytes, h.size, out_offset);
	if (r < 0)
		return r;
	if (ret_size)
		*ret_size = sealed;
	return 0;
}

static int open_fd(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, int out_fd,
		   off_t out_offset, tk_progress report, void *ctx, struct tk_header *ret_header)
{
	_cleanup_keys_ struct tk_file_keys *keys = NULL;
	struct tk_header h;
	int r;

	r = tk_header_read(in_fd, in_offset, size, &h);
	if (r < 0)
		return r;
	if (!range_fits(in_offset, size) || !range_fits(out_offset, h.original_size))
		return -EOVERFLOW;
	keys = tk_locked_alloc(sizeof(*keys));
	if (!keys)
		return -errno;
	r = tk_header_unseal(ring, &h, keys);
	if (r < 0)
		return r;

	struct stream s = {
		.header = &h,
		.keys = keys,
		.seal = false,
		.in_fd = in_fd,
		.in_offset = in_offset + (off_t)h.size,
		.out_fd = out_fd,
		.out_offset = out_offset,
		.progress = report,
		.ctx = ctx,
	};
	r = h.version == 1 ? open_v1(&s) : do_records(&s);
	if (r < 0)
		return r;
	if (ret_header)
		*ret_header = h;
	return 0;
}

int tk_decrypt_fd(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, int out_fd,
		  off_t out_offset, tk_progress report, void *ctx, struct tk_header *ret_header)
{
	if (out_fd < 0)
		return -EBADF;
	return open_fd(ring, in_fd, in_offset, size, out_fd, out_offset, report, ctx, ret_header);
}

int tk_verify_fd(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, tk_progress report,
		 void *ctx)
{
	return open_fd(ring, in_fd, in_offset, size, -1, 0, report, ctx, NULL);
}
