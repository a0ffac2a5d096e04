// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/crypto_redo_test.c - what a writer leaves when calls fail, write less than they were told, or
 * the power goes: after tk_writer_recover() the file is what it was or what it should have become, and
 * nothing else. And what it says to logs that are damaged.  TK_SEED repeats a run.
 */
#include "tests/unit/crypto_commits.h"

#include <time.h>

/* ------------------------------------------------------------------- faults */

static void arm(unsigned long call, enum fault fault)
{
	calls.calls = 0;
	calls.fail_at = call;
	calls.fault = fault;
	calls.fired = false;
}

/* Recovers, with each call of it failing once (again and again, until none is left to fail). */
static void recover_with_faults(int file, int log, enum fault fault)
{
	for (unsigned long call = 1;; call++) {
		int r;

		arm(call, fault);
		r = tk_writer_recover(ring, file, 0, log);
		arm(0, FAILS);
		if (r == 0)
			break;
		assert_true(r == -EIO || r == -ENOSPC);
	}
}

static void test_faults(void **state)
{
	unsigned long points = 0, old = 0;

	for (size_t i = 0; i < SCENARIOS; i++) {
		struct states st;

		states_of(&scenarios[i], &st);
		for (enum fault fault = FAILS; fault < FAULTS; fault++) {
			bool fired = true;

			for (unsigned long call = 1; fired; call++) {
				int done, r, found;

				calls.file = memfd(st.file.p, st.file.len);
				calls.log = memfd(NULL, 0);
				arm(call, fault);
				r = play(&st, calls.file, calls.log, &done, NULL);
				fired = calls.fired;
				arm(0, FAILS);
				assert_true(r == 0 || r == -EIO || r == -ENOSPC);
				assert_true(fired || r == 0);
				/* alone it must do; and where calls fail in it as well */
				if (call % 2)
					recover_with_faults(calls.file, calls.log, fault);
				assert_int_equal(tk_writer_recover(ring, calls.file, 0, calls.log), 0);
				assert_int_equal(size_of(calls.log), 0);
				found = state_of(&st, done, r == 0 ? done : done + 1, calls.file);
				if (found < 0)
					fail_msg("%s: call %lu, fault %d: neither old nor new", st.s->name,
						 call, (int)fault);
				points += fired;
				old += found == 0;
				close(calls.file);
				close(calls.log);
			}
		}
		states_free(&st);
	}
	calls.file = calls.log = -1;
	print_message("# %lu faults, %lu times the file stayed as it was\n", points, old);
	assert_true(points > 500 && old > 100 && old < points);
}

/* -------------------------------------------------------------- power cuts */

/* A sector is written or not: that much a disk gives. */
static void write_some(int fd, const struct op *op, unsigned int odds)
{
	for (size_t done = 0, n; done < op->len; done += n) {
		size_t sector = 512 - ((size_t)op->at + done) % 512;

		n = sector < op->len - done ? sector : op->len - done;
		if (roll(4) < odds)
			assert_int_equal(pwrite(fd, op->data + done, n, op->at + (off_t)done), n);
	}
}

/* The first n operations, of which those that no sync came after are there with odds of 0 to 4 quarters. */
static void cut(const struct states *st, size_t n, unsigned int odds, int *ret_file, int *ret_log)
{
	int fds[2] = {memfd(st->file.p, st->file.len), memfd(NULL, 0)};

	for (size_t i = 0; i < n; i++) {
		const struct op *op = &calls.ops[i];
		bool synced = false;

		for (size_t k = i + 1; k < n && !synced; k++)
			synced = calls.ops[k].kind == SYNC && calls.ops[k].log == op->log;
		if (op->kind == WRITE)
			write_some(fds[op->log], op, synced ? 4 : odds);
		else if (op->kind == CUT && (synced || roll(4) < odds))
			assert_int_equal(ftruncate(fds[op->log], op->at), 0);
	}
	*ret_file = fds[0];
	*ret_log = fds[1];
}

/* Whoever did not recover meets errors, or chunks as they were in some state, and nothing else. */
static void check_chunks(const struct states *st, int file)
{
	struct tk_reader *reader = NULL;
	uint8_t buf[CHUNK];
	size_t n = 0;

	if (tk_reader_open(ring, file, 0, size_of(file), &reader) < 0)
		return;
	for (uint64_t at = 0; at < tk_reader_header(reader)->original_size; at += CHUNK) {
		bool known = false;
		int r = tk_reader_read(reader, buf, CHUNK, at, &n);

		assert_true(r == 0 || r == -TK_E_AUTH);
		for (int i = 0; r == 0 && i <= st->last; i++)
			known |= st->plain[i].len >= at + n && memcmp(st->plain[i].p + at, buf, n) == 0;
		assert_true(r || known);
	}
	tk_reader_free(reader);
}

static void test_power_cuts(void **state)
{
	const char *text = getenv("TK_SEED");
	unsigned long seed = text ? strtoul(text, NULL, 10) : (unsigned long)time(NULL), cuts = 0,
		      between = 0;

	dice = seed * 2654435761u + 1;
	print_message("# TK_SEED=%lu\n", seed);
	for (size_t i = 0; i < SCENARIOS; i++) {
		size_t ops[COMMITS + 1] = {};
		struct states st;
		int done;

		states_of(&scenarios[i], &st);
		calls.file = memfd(st.file.p, st.file.len);
		calls.log = memfd(NULL, 0);
		calls.recording = true;
		assert_int_equal(play(&st, calls.file, calls.log, &done, ops), 0);
		calls.recording = false;
		assert_int_equal(done, st.last);
		close(calls.file);
		close(calls.log);
		calls.file = calls.log = -1;
		for (size_t n = 0; n <= calls.n_ops; n++) {
			for (unsigned int round = 0; round < 12; round++) {
				int file, log, from = 0, found;

				while (from < st.last && ops[from + 1] <= n)
					from++;
				cut(&st, n, round % 5, &file, &log);
				check_chunks(&st, file);
				between += state_of(&st, 0, st.last, file) < 0;
				assert_int_equal(tk_writer_recover(ring, file, 0, log), 0);
				assert_int_equal(size_of(log), 0);
				found = state_of(&st, from, from < st.last ? from + 1 : from, file);
				if (found < 0)
					fail_msg("%s: cut after %zu of %zu: neither old nor new", st.s->name,
						 n, calls.n_ops);
				close(file);
				close(log);
				cuts++;
			}
		}
		forget_ops();
		states_free(&st);
	}
	print_message("# %lu cuts, %lu of which left the file between two states\n", cuts, between);
	assert_true(between > 100);
}

/* ----------------------------------------------------------------- the log */

/* The file and its log when the log is complete and the file not begun. */
static void complete_log(struct states *st, int *ret_file, int *ret_log)
{
	size_t ops[COMMITS + 1], n = 0;
	int done;

	states_of(&scenarios[1], st);
	calls.file = memfd(st->file.p, st->file.len);
	calls.log = memfd(NULL, 0);
	calls.recording = true;
	assert_int_equal(play(st, calls.file, calls.log, &done, ops), 0);
	for (int syncs = 0; syncs < 2; n++)
		syncs += calls.ops[n].kind == SYNC;
	calls.recording = false;
	close(calls.file);
	close(calls.log);
	calls.file = calls.log = -1;
	cut(st, n, 4, ret_file, ret_log);
	forget_ops();
}

static void assert_bytes(int fd, struct bytes expected)
{
	struct bytes b = bytes_of(fd);

	assert_true(same(b, expected));
	free(b.p);
}

/* One that was damaged, or is of another file, is refused and kept, and the file is not touched. */
static void test_damaged_log(void **state)
{
	struct tk_keyring *stranger = ring_of("j", kek1);
	struct states st;
	struct bytes log_bytes;
	int file, log, other_file;
	size_t flips = 0, harmless = 0;

	complete_log(&st, &file, &log);
	assert_bytes(file, st.file);
	log_bytes = bytes_of(log);
	/* every bit of the head, one of every byte of the headers, some of the rest */
	for (size_t i = 0, at = 0; at < log_bytes.len; i++) {
		uint8_t bit = (uint8_t)(1 << (at < 512 ? i % 8 : roll(8)));

		log_bytes.p[at] ^= bit;
		set_bytes(log, log_bytes);
		if (tk_writer_recover(ring, file, 0, log) == 0) { /* room that no record fills */
			assert_true(at >= SLOTS_AT);
			assert_int_equal(state_of(&st, 1, 1, file), 1);
			set_bytes(file, st.file);
			harmless++;
		} else {
			assert_bytes(log, log_bytes);
			assert_bytes(file, st.file);
			flips++;
		}
		log_bytes.p[at] ^= bit;
		at += at < 512 ? i % 8 == 7 : at < SLOTS_AT ? 1 : 1 + roll(60);
	}
	print_message("# %zu flips refused, %zu harmless\n", flips, harmless);
	assert_true(flips > 512 * 8 + 1024 + 300 && harmless < 400);
	for (size_t n = 512; n < log_bytes.len; n += 1 + roll(200)) {
		set_bytes(log, (struct bytes){log_bytes.p, n});
		assert_int_equal(tk_writer_recover(ring, file, 0, log), -TK_E_LENGTH);
		assert_int_equal(size_of(log), n);
	}
	set_bytes(log, log_bytes);
	assert_int_equal(tk_writer_recover(stranger, file, 0, log), -TK_E_NO_KEY);
	other_file = memfd(st.file.p, st.file.len);
	assert_int_equal(tk_header_rewrap(ring, other_file, 0, st.file.len, 0, NULL), 0);
	assert_int_equal(tk_writer_recover(ring, other_file, 0, log), -ESTALE);
	assert_bytes(log, log_bytes);
	assert_bytes(file, st.file);
	assert_int_equal(tk_writer_recover(ring, file, 0, log), 0);
	assert_int_equal(state_of(&st, 1, 1, file), 1);
	tk_keyring_free(stranger);
	free(log_bytes.p);
	states_free(&st);
	close(file);
	close(other_file);
	close(log);
}

/* A complete log is seen to by who opens the file for writing. */
static void test_open_recovers(void **state)
{
	struct tk_writer *w = NULL;
	struct states st;
	int file, log;

	complete_log(&st, &file, &log);
	assert_int_equal(tk_writer_open(ring, file, 0, log, &w), 0);
	assert_int_equal(tk_writer_size(w), st.plain[1].len);
	assert_int_equal(state_of(&st, 1, 1, file), 1);
	tk_writer_free(w);
	states_free(&st);
	close(file);
	close(log);
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 12);
}

/* Whatever is sealed, again and again, at the same place and by many threads, is so under a nonce of its own.
 */
static void test_nonces(void **state)
{
	struct tk_params p = params_of(2, TK_AES_256_GCM, 12);
	uint8_t *large = calloc(40, CHUNK), (*nonces)[12] = calloc(20000, 12);
	struct tk_writer *w = NULL;
	size_t n = 0;

	calls.file = memfd(NULL, 0);
	calls.log = memfd(NULL, 0);
	calls.recording = true;
	assert_true(large && nonces);
	assert_int_equal(tk_writer_create(ring, &p, calls.file, 0, calls.log, &w), 0);
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(tk_writer_write(w, "x", 1, i % 3 * CHUNK), 0);
		if (i % 100 == 0) {
			assert_int_equal(tk_writer_write(w, large, (size_t)40 * CHUNK, CHUNK), 0);
			assert_int_equal(tk_writer_truncate(w, i), 0);
			assert_int_equal(tk_writer_truncate(w, (size_t)20 * CHUNK), 0);
			assert_int_equal(tk_writer_commit(w), 0);
		}
	}
	/* every record goes to the log first */
	for (size_t i = 0; i < calls.n_ops; i++) {
		const struct op *op = &calls.ops[i];

		if (op->kind != WRITE || !op->log || op->at < SLOTS_AT || (op->at - SLOTS_AT) % STRIDE)
			continue;
		for (size_t at = 0; at + 28 < op->len && n < 20000; at += STRIDE)
			memcpy(nonces[n++], op->data + at, 12);
	}
	print_message("# %zu nonces\n", n);
	assert_in_range(n, 1000 + 10 * (40 + 18), 19999);
	qsort(nonces, n, 12, by_bytes);
	for (size_t i = 1; i < n; i++)
		assert_int_not_equal(memcmp(nonces[i - 1], nonces[i], 12), 0);
	tk_writer_free(w);
	close(calls.file);
	close(calls.log);
	calls.file = calls.log = -1;
	forget_ops();
	free(large);
	free(nonces);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),	    cmocka_unit_test(test_power_cuts),
		cmocka_unit_test(test_damaged_log), cmocka_unit_test(test_open_recovers),
		cmocka_unit_test(test_nonces),
	};
	int failed;

	dice = 88172645463325252u;
	ring = ring_of("k", kek1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	tk_keyring_free(ring);
	return failed;
}
