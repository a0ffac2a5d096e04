// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/crypto_writer_test.c - parts of contents changed: random writes, cuts, extensions, commits and
 * reopenings of files of random size, chunk and algorithm beside a model in memory; what a writer refuses;
 * and that the stream, the reader and the command read what it wrote.  TK_SEED repeats a run, TK_CASES makes
 * it longer or shorter.  Faults and crashes: crypto_redo_test.c.
 */
#include "tests/unit/crypto_test.h"

#include <sys/wait.h>
#include <time.h>

static uint64_t dice;

static uint64_t roll(uint64_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % below;
}

#define MODEL_MAX (3 << 20)

/* What the plaintext must be: now, and as of the last commit. */
struct model {
	uint8_t *now, *committed;
	size_t size, committed_size;
};

struct rig {
	struct tk_keyring *ring;
	struct tk_params params;
	struct tk_writer *w;
	struct model m;
	int fd, log;
	off_t offset;
};

static void rig_up(struct rig *rig, struct tk_params params, off_t offset)
{
	uint8_t *before = malloc((size_t)offset + 1);

	*rig = (struct rig){.ring = ring_of("k", kek1), .params = params, .offset = offset};
	assert_non_null(before);
	memset(before, 'x', (size_t)offset); /* the file's own, before the TAKA */
	rig->fd = memfd(before, (size_t)offset);
	free(before);
	rig->log = memfd(NULL, 0);
	rig->m.now = calloc(1, MODEL_MAX);
	rig->m.committed = calloc(1, MODEL_MAX);
	assert_true(rig->m.now && rig->m.committed);
	assert_int_equal(tk_writer_create(rig->ring, &params, rig->fd, offset, rig->log, &rig->w), 0);
}

static void rig_down(struct rig *rig)
{
	tk_writer_free(rig->w);
	free(rig->m.now);
	free(rig->m.committed);
	close(rig->fd);
	close(rig->log);
	tk_keyring_free(rig->ring);
}

static void do_write(struct rig *rig, size_t len, size_t at)
{
	uint8_t *p = rig->m.now + at;

	if (at > rig->m.size)
		memset(rig->m.now + rig->m.size, 0, at - rig->m.size);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(dice >> (i % 57)) ^ (uint8_t)(i * 131);
	if (len && at + len > rig->m.size)
		rig->m.size = at + len;
	assert_int_equal(tk_writer_write(rig->w, p, len, at), 0);
	assert_int_equal(tk_writer_size(rig->w), rig->m.size);
	roll(2);
}

static void do_truncate(struct rig *rig, size_t size)
{
	if (size > rig->m.size)
		memset(rig->m.now + rig->m.size, 0, size - rig->m.size);
	rig->m.size = size;
	assert_int_equal(tk_writer_truncate(rig->w, size), 0);
	assert_int_equal(tk_writer_size(rig->w), size);
}

static void do_read(struct rig *rig, size_t len, size_t at)
{
	size_t left = at < rig->m.size ? rig->m.size - at : 0, n = 99;
	uint8_t *buf = malloc(len + 1);

	assert_non_null(buf);
	buf[len] = 0x5a;
	assert_int_equal(tk_writer_read(rig->w, buf, len, at, &n), 0);
	assert_int_equal(n, len < left ? len : left);
	if (n)
		assert_memory_equal(buf, rig->m.now + at, n);
	assert_int_equal(buf[len], 0x5a);
	free(buf);
}

/* The stream and the reader see in the file what was committed last. */
static void check_file(struct rig *rig)
{
	int out = memfd(NULL, 0);
	uint64_t size = size_of(rig->fd) - (uint64_t)rig->offset, expected;
	struct tk_reader *reader = NULL;
	size_t len, at, n = 0;
	uint8_t *plain, buf[5000], x = 0;

	assert_int_equal(tk_sealed_size(&rig->params, rig->m.committed_size, &expected), 0);
	assert_int_equal(size, expected);
	assert_int_equal(tk_decrypt_fd(rig->ring, rig->fd, rig->offset, size, out, 0, NULL, NULL, NULL), 0);
	plain = contents(out, &len);
	assert_int_equal(len, rig->m.committed_size);
	assert_memory_equal(plain, rig->m.committed, len);
	assert_int_equal(tk_reader_open(rig->ring, rig->fd, rig->offset, size, &reader), 0);
	at = roll(len + 1);
	assert_int_equal(tk_reader_read(reader, buf, sizeof(buf), at, &n), 0);
	assert_memory_equal(buf, plain + at, n);
	for (off_t i = 0; i < rig->offset; i++) {
		assert_int_equal(pread(rig->fd, &x, 1, i), 1);
		assert_int_equal(x, 'x');
	}
	tk_reader_free(reader);
	free(plain);
	close(out);
}

static void do_commit(struct rig *rig)
{
	assert_int_equal(tk_writer_commit(rig->w), 0);
	assert_int_equal(size_of(rig->log), 0);
	memcpy(rig->m.committed, rig->m.now, rig->m.size);
	rig->m.committed_size = rig->m.size;
}

/* What was not committed is gone. */
static void do_reopen(struct rig *rig)
{
	tk_writer_free(rig->w);
	rig->w = NULL;
	assert_int_equal(tk_writer_open(rig->ring, rig->fd, rig->offset, rig->log, &rig->w), 0);
	memcpy(rig->m.now, rig->m.committed, rig->m.committed_size);
	rig->m.size = rig->m.committed_size;
	assert_int_equal(tk_writer_size(rig->w), rig->m.size);
}

/* About the edges of chunks as often as anywhere. */
static size_t place(size_t chunk, size_t most)
{
	size_t at = roll(2) ? roll(most) : roll(most / chunk + 1) * chunk + roll(3);

	return at < most ? at : most - 1;
}

static void random_file(unsigned int steps)
{
	uint32_t chunk_log2 = roll(8) ? 12 + (uint32_t)roll(6) : 18 + (uint32_t)roll(7);
	size_t chunk = (size_t)1 << chunk_log2, most = roll(2) ? MODEL_MAX : 6 * 4096 + 100;
	struct rig rig;

	rig_up(&rig, params_of(2, 1 + (int)roll(2), chunk_log2), roll(2) ? 0 : (off_t)roll(3000));
	do_commit(&rig);
	while (steps--) {
		size_t at = place(chunk, most), len = roll(2) ? roll(200) : roll(roll(4) ? 3 * chunk : most);

		len = len < most - at ? len : most - at;
		switch (roll(16)) {
		case 0:
			do_commit(&rig);
			check_file(&rig);
			break;
		case 1:
			do_reopen(&rig);
			break;
		case 2:
			do_truncate(&rig, at);
			break;
		case 3: /* close to the end */
			do_truncate(&rig, rig.m.size - roll(rig.m.size < 10 ? rig.m.size + 1 : 10));
			break;
		case 4: /* appended in small pieces */
			for (int i = 0; i < 50 && rig.m.size + 100 < most; i++)
				do_write(&rig, roll(100), rig.m.size);
			break;
		case 5:
		case 6:
		case 7:
			do_read(&rig, roll(2) ? len : most, at);
			break;
		default:
			do_write(&rig, len, at);
		}
	}
	do_read(&rig, rig.m.size + 10, 0);
	do_commit(&rig);
	check_file(&rig);
	do_read(&rig, rig.m.size + 10, 0);
	assert_int_equal(lseek(rig.fd, 0, SEEK_CUR) + lseek(rig.log, 0, SEEK_CUR), 0);
	rig_down(&rig);
}

static void test_random(void **state)
{
	const char *text = getenv("TK_SEED"), *cases = getenv("TK_CASES");
	unsigned long seed = text ? strtoul(text, NULL, 10) : (unsigned long)time(NULL);

	dice = seed * 2654435761u + 1;
	print_message("# TK_SEED=%lu\n", seed);
	for (unsigned long i = cases ? strtoul(cases, NULL, 10) : 60; i; i--)
		random_file(60);
}

/* Every chunk size and algorithm, in writes that all processors share, before and behind a hole. */
static void test_large(void **state)
{
	for (uint32_t chunk_log2 = TK_CHUNK_LOG2_MIN; chunk_log2 <= TK_CHUNK_LOG2_MAX; chunk_log2++) {
		struct tk_params p = params_of(2, 1 + chunk_log2 % 2, chunk_log2);
		size_t chunk = (size_t)1 << chunk_log2, size = 5 * chunk < 3 << 20 ? 3 << 20 : 2 * chunk + 5,
		       len;
		struct tk_keyring *ring = ring_of("k", kek1);
		int in = plaintext(size), fd = memfd(NULL, 0), log = memfd(NULL, 0), out = memfd(NULL, 0);
		struct tk_writer *w = NULL;
		uint8_t *plain = contents(in, &len), *got;

		assert_int_equal(tk_writer_create(ring, &p, fd, 0, log, &w), 0);
		assert_int_equal(tk_writer_write(w, plain, size, 0), 0);
		assert_int_equal(tk_writer_write(w, plain, size, 2 * size + 1), 0);
		/* over records that are in the log in another order */
		assert_int_equal(tk_writer_write(w, plain, size - 3, 3), 0);
		assert_int_equal(tk_writer_write(w, plain, size, 0), 0);
		assert_int_equal(tk_writer_commit(w), 0);
		assert_int_equal(tk_decrypt_fd(ring, fd, 0, size_of(fd), out, 0, NULL, NULL, NULL), 0);
		got = contents(out, &len);
		assert_int_equal(len, 3 * size + 1);
		assert_memory_equal(got, plain, size);
		assert_memory_equal(got + 2 * size + 1, plain, size);
		assert_int_equal(got[size], 0);
		assert_memory_equal(got + size, got + size + 1, size); /* all of them */
		tk_writer_free(w);
		free(plain);
		free(got);
		close(in);
		close(fd);
		close(log);
		close(out);
		tk_keyring_free(ring);
	}
}

/* Small writes in a row go to the log a chunk at a time, and without changes a commit does nothing. */
static void test_little_is_written(void **state)
{
	struct rig rig;
	struct stat before, after;

	rig_up(&rig, params_of(2, TK_AES_256_GCM, 12), 0);
	for (int i = 0; i < 4096; i++)
		do_write(&rig, 1, rig.m.size);
	assert_int_equal(size_of(rig.log), 0);
	do_write(&rig, 1, rig.m.size);
	assert_int_equal(size_of(rig.log), 1536 + 4096 + 28);
	/* the same record keeps its place */
	for (int i = 0; i < 10; i++)
		do_write(&rig, 1, (size_t)i % 2 * 4096);
	assert_int_equal(size_of(rig.log), 1536 + 2 * (4096 + 28) - 4095);
	do_commit(&rig);
	assert_int_equal(fstat(rig.fd, &before), 0);
	do_read(&rig, 5000, 0);
	do_write(&rig, 0, 1 << 20);
	do_truncate(&rig, rig.m.size);
	do_commit(&rig);
	assert_int_equal(fstat(rig.fd, &after), 0);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
	check_file(&rig);
	/* nor when all that went to the log was cut off again */
	do_truncate(&rig, 4096);
	do_commit(&rig);
	do_write(&rig, 3 * 4096, 4096);
	assert_true(size_of(rig.log) > 0);
	do_truncate(&rig, 4096);
	do_commit(&rig);
	check_file(&rig);
	rig_down(&rig);
}

/* One changed byte changes one record and the header, and the file key stays. */
static void test_the_rest_stays(void **state)
{
	struct rig rig;
	uint8_t *before, *after;
	size_t len, same = 0;

	rig_up(&rig, params_of(2, TK_CHACHA20_POLY1305, 12), 0);
	do_write(&rig, 10 * 4096 + 7, 0);
	do_commit(&rig);
	before = contents(rig.fd, &len);
	do_write(&rig, 1, 3 * 4096 + 5);
	do_commit(&rig);
	after = contents(rig.fd, &len);
	for (size_t i = 0; i <= 10; i++) {
		size_t at = 512 + i * 4124, n = i == 10 ? 7 + 28 : 4124;

		same += memcmp(before + at, after + at, n) == 0;
	}
	assert_int_equal(same, 10);
	assert_memory_not_equal(before + 512 + 3 * 4124, after + 512 + 3 * 4124, 12);
	assert_memory_equal(before, after, 16 + 1); /* up to its iv */
	assert_memory_not_equal(before + 17, after + 17, 12);
	assert_memory_equal(before + 17 + 28, after + 17 + 28, 512 - 45);
	free(before);
	free(after);
	rig_down(&rig);
}

/* What nobody changes is not opened; a damaged record is an error where it is needed, and can be overwritten.
 */
static void test_damage(void **state)
{
	struct rig rig;
	uint8_t c, buf[3 * 4096], zeros[sizeof(buf)] = {};
	off_t at = 512 + 4124 + 100;
	size_t n = 99;

	rig_up(&rig, params_of(2, TK_AES_256_GCM, 12), 0);
	do_write(&rig, 4 * 4096, 0);
	do_commit(&rig);
	do_reopen(&rig);
	assert_int_equal(pread(rig.fd, &c, 1, at), 1);
	c ^= 4;
	assert_int_equal(pwrite(rig.fd, &c, 1, at), 1);
	do_read(&rig, 4096, 0);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(tk_writer_read(rig.w, buf, sizeof(buf), 0, &n), -TK_E_AUTH);
	assert_int_equal(n, 99);
	assert_memory_equal(buf, zeros, 4096);
	do_write(&rig, 10, 2 * 4096); /* reading does it no harm */
	assert_int_equal(tk_writer_write(rig.w, "x", 1, 4096), -TK_E_AUTH);
	/* a write that could not be is the end of it */
	assert_int_equal(tk_writer_write(rig.w, "x", 1, 0), -TK_E_AUTH);
	assert_int_equal(tk_writer_read(rig.w, buf, 1, 0, &n), -TK_E_AUTH);
	assert_int_equal(tk_writer_truncate(rig.w, 0), -TK_E_AUTH);
	assert_int_equal(tk_writer_commit(rig.w), -TK_E_AUTH);
	do_reopen(&rig);
	do_write(&rig, 4096, 4096);
	do_commit(&rig);
	check_file(&rig);
	rig_down(&rig);
}

static void test_refused(void **state)
{
	struct tk_keyring *ring = ring_of("k", kek1), *other = ring_of("k", kek2);
	struct tk_params v1 = params_of(1, TK_AES_256_GCM, 0), v2 = params_of(2, TK_AES_256_GCM, 12),
			 bad = v2;
	int in = plaintext(10000), old = encrypted(ring, &v1, in), fd = encrypted(ring, &v2, in);
	int log = memfd(NULL, 0), empty = memfd(NULL, 0), text = memfd("my only copy", 12), r;
	struct tk_writer *w = NULL;
	size_t n;
	uint8_t byte;

	assert_int_equal(tk_writer_open(ring, old, 0, log, &w), -EOPNOTSUPP);
	assert_int_equal(tk_writer_create(ring, &v1, empty, 0, log, &w), -EOPNOTSUPP);
	assert_non_null(strstr(tk_strerror(-EOPNOTSUPP), "write the file anew in format 2"));
	assert_int_equal(tk_writer_open(other, fd, 0, log, &w), -TK_E_WRONG_KEY);
	assert_int_equal(tk_writer_open(ring, empty, 0, log, &w), -TK_E_TRUNCATED);
	assert_int_equal(tk_writer_open(ring, in, 0, log, &w), -TK_E_MAGIC);
	assert_int_equal(tk_writer_open(ring, fd, -1, log, &w), -EINVAL);
	assert_int_equal(tk_writer_open(ring, -1, 0, log, &w), -EBADF);
	assert_int_equal(tk_writer_open(ring, fd, 0, -1, &w), -EBADF);
	assert_int_equal(tk_writer_create(ring, &v2, fd, 0, log, &w), -EEXIST);
	assert_int_equal(tk_writer_create(ring, &v2, empty, 5, log, &w), -EEXIST);
	bad.chunk_log2 = 25;
	assert_int_equal(tk_writer_create(ring, &bad, empty, 0, log, &w), -EINVAL);
	/* what is no log is not emptied */
	assert_int_equal(tk_writer_open(ring, fd, 0, text, &w), -EINVAL);
	assert_int_equal(tk_writer_open(ring, fd, 0, fd, &w), -EINVAL);
	assert_int_equal(size_of(text), 12);
	for (int i = 0; i < 2; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		r = open(path, (i ? O_RDONLY : O_RDWR | O_APPEND) | O_CLOEXEC);
		assert_true(r >= 0);
		assert_int_equal(tk_writer_open(ring, r, 0, log, &w), -EBADF);
		close(r);
	}
	assert_null(w);

	assert_int_equal(tk_writer_open(ring, fd, 0, log, &w), 0);
	assert_int_equal(tk_writer_write(w, "x", 1, UINT64_MAX), -EOVERFLOW);
	assert_int_equal(tk_writer_write(w, "x", 1, INT64_MAX), -EOVERFLOW);
	assert_int_equal(tk_writer_truncate(w, INT64_MAX), -EOVERFLOW);
	assert_int_equal(tk_writer_read(w, &byte, 1, UINT64_MAX, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(tk_writer_size(w), 10000);
	/* another key version meanwhile: what would come after it is refused, and nothing is lost */
	assert_int_equal(tk_writer_write(w, "x", 1, 0), 0);
	assert_int_equal(tk_keyring_add(ring, "k", 2, kek2), 0);
	assert_int_equal(tk_header_rewrap(ring, fd, 0, size_of(fd), 2, NULL), 0);
	assert_int_equal(tk_writer_commit(w), -ESTALE);
	tk_writer_free(w);
	assert_int_equal(tk_writer_open(ring, fd, 0, log, &w), 0);
	assert_int_equal(tk_writer_read(w, &byte, 1, 0, &n), 0);
	assert_int_not_equal(byte, 'x');
	assert_int_equal(tk_writer_write(w, "x", 1, 0), 0);
	assert_int_equal(tk_writer_commit(w), 0);
	assert_int_equal(tk_verify_fd(ring, fd, 0, size_of(fd), NULL, NULL), 0);
	tk_writer_free(w);
	for (size_t i = 0; i < 6; i++)
		close(((int[]){in, old, fd, log, empty, text})[i]);
	tk_keyring_free(ring);
	tk_keyring_free(other);
}

static void put_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* `takakrypt-bpf decrypt` of what a writer wrote, on whatever disk /tmp is. */
static void test_command(void **state)
{
	char dir[] = "/tmp/takakrypt-writer-XXXXXX", file[64], key[64], out[64];
	struct rig rig;
	uint8_t *plain;
	size_t len;
	int status, fd;
	pid_t pid;

	rig_up(&rig, params_of(2, TK_AES_256_GCM, 16), 0);
	do_write(&rig, 300000, 70000);
	do_commit(&rig);
	do_write(&rig, 9, 65530);
	do_truncate(&rig, 300001);
	do_commit(&rig);
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(key, sizeof(key), "%s/key", dir);
	snprintf(out, sizeof(out), "%s/out", dir);
	plain = contents(rig.fd, &len);
	put_file(file, plain, len);
	put_file(key, kek1, sizeof(kek1));
	free(plain);
	pid = fork();
	if (pid == 0) {
		execl("build/takakrypt-bpf", "takakrypt-bpf", "decrypt", "--key-file", key, "-o", out, file,
		      NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fd = open(out, O_RDONLY | O_CLOEXEC);
	plain = contents(fd, &len);
	assert_int_equal(len, rig.m.size);
	assert_memory_equal(plain, rig.m.now, len);
	close(fd);
	free(plain);
	unlink(file);
	unlink(key);
	unlink(out);
	assert_int_equal(rmdir(dir), 0);
	rig_down(&rig);
}

/* usage: crypto_writer_test [PATTERN]   without the tests whose name matches */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_little_is_written),
		cmocka_unit_test(test_the_rest_stays),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_command),
	};

	if (argc > 1)
		cmocka_set_skip_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
