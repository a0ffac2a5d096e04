// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/crypto_vectors_test.c - the vectors as the manifest says, by every
 * way into a file, and with a system that reads and writes as little at a time as
 * it may.  TK_VECTORS names the directory of the vectors; without it: tests/vectors.
 */
#include "tests/unit/crypto_test.h"

#include <cjson/cJSON.h>
#include <sys/syscall.h>

/* ---------------------------------------------------------- small pieces */

/* What pread(2) and pwrite(2) do in this program: all at once, single bytes, or any split, with
 * interruptions. */
static enum { WHOLE, SINGLE, RANDOM } pieces;
static unsigned long calls;
static uint32_t dice = 2463534242u;

static uint32_t roll(uint32_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 17;
	dice ^= dice << 5;
	return dice % below;
}

/* How much of len bytes is done now; 0 for a signal that comes first. */
static size_t piece(size_t len)
{
	calls++;
	if (pieces == WHOLE || len == 0)
		return len;
	if (pieces == SINGLE)
		return 1;
	if (roll(4) == 0) {
		errno = EINTR;
		return 0;
	}
	return 1 + roll(len < 5000 ? (uint32_t)len : 5000);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	size_t n = piece(len);

	return n || !len ? syscall(SYS_pread64, fd, buf, n, offset) : -1;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	size_t n = piece(len);

	return n || !len ? syscall(SYS_pwrite64, fd, buf, n, offset) : -1;
}

/* ---------------------------------------------------------------- vectors */

static const char *vectors_dir(void)
{
	const char *dir = getenv("TK_VECTORS");

	return dir ? dir : "tests/vectors";
}

static int open_vector(const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", vectors_dir(), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("cannot open %s: %s", path, strerror(errno));
	return fd;
}

static cJSON *manifest(void)
{
	int fd = open_vector("manifest.json");
	size_t len;
	char *text = (char *)contents(fd, &len);
	cJSON *json = cJSON_ParseWithLength(text, len);

	assert_true(cJSON_IsArray(json));
	free(text);
	close(fd);
	return json;
}

static const char *word(const cJSON *entry, const char *name)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, name));

	assert_non_null(s);
	return s;
}

static void assert_sha256(int fd, const char *expected)
{
	char command[100], got[65] = "";
	FILE *pipe;

	snprintf(command, sizeof(command), "sha256sum < /proc/%d/fd/%d", (int)getpid(), fd);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_int_equal(fread(got, 1, 64, pipe), 64);
	pclose(pipe);
	assert_string_equal(got, expected);
}

static struct tk_keyring *vector_ring(const char *hex)
{
	struct tk_keyring *ring;
	uint8_t kek[TK_KEK_SIZE];
	char long_id[TK_KEY_ID_MAX + 1] = "";

	for (size_t i = 0; i < sizeof(kek); i++)
		assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &kek[i]), 1);
	memset(long_id, 'k', TK_KEY_ID_MAX);
	ring = ring_of("vector", kek);
	assert_int_equal(tk_keyring_add(ring, "vector", 7, kek), 0);
	assert_int_equal(tk_keyring_add(ring, long_id, 1, kek), 0);
	return ring;
}

/* The same by tk_reader: the same bytes, or the same word. */
static void check_reader(const struct tk_keyring *ring, int fd, int out, int expected)
{
	struct tk_reader *reader = NULL;
	size_t size, len = 99;
	uint8_t *plain, *got;
	int r, mode = pieces;

	pieces = WHOLE; /* the next read is the test's own */
	plain = contents(out, &size);
	pieces = mode;
	got = malloc(1 << 20); /* more than any of them has */
	assert_non_null(got);
	r = tk_reader_open(ring, fd, 0, size_of(fd), &reader);
	if (r == 0)
		r = tk_reader_read(reader, got, 1 << 20, 0, &len);
	else
		assert_null(reader);
	if (r != expected)
		fail_msg("by the reader: %s, not %s", tk_strerror(r), tk_strerror(expected));
	assert_int_equal(len, r ? 99 : size);
	assert_memory_equal(plain, got, r ? 0 : size);
	tk_reader_free(reader);
	free(plain);
	free(got);
}

/* The plaintext goes back into a file of the same kind and comes out again. */
static void check_seal(const struct tk_keyring *ring, const struct tk_header *h, int plain,
		       const char *sha256)
{
	const struct tk_params p = {.algorithm = h->algorithm,
				    .version = h->version,
				    .key_id = h->key_id,
				    .chunk_log2 = h->chunk_log2,
				    .key_version = h->key_version};
	int sealed = encrypted(ring, &p, plain), out = memfd(NULL, 0);

	assert_int_equal(tk_decrypt_fd(ring, sealed, 0, size_of(sealed), out, 0, NULL, NULL, NULL), 0);
	assert_int_equal(size_of(out), h->original_size);
	assert_sha256(out, sha256);
	close(sealed);
	close(out);
}

static void check_vector(const cJSON *entry)
{
	const char *name = word(entry, "file"), *expect = word(entry, "expect");
	struct tk_keyring *ring = vector_ring(word(entry, "kek"));
	int fd = open_vector(name), out = memfd(NULL, 0), r;
	bool needs_key = strcmp(expect, "auth") == 0 || strcmp(expect, "wrong_key") == 0;
	uint64_t size = size_of(fd);
	struct tk_header header, untouched;

	memset(&header, 0x5a, sizeof(header));
	untouched = header;
	r = tk_decrypt_fd(ring, fd, 0, size, out, 0, NULL, NULL, &header);
	assert_int_equal(tk_verify_fd(ring, fd, 0, size, NULL, NULL), r);
	check_reader(ring, fd, out, r);
	if (strcmp(expect, "ok") == 0) {
		if (r)
			fail_msg("%s: %s", name, tk_strerror(r));
		assert_int_equal(header.original_size,
				 (uint64_t)cJSON_GetObjectItemCaseSensitive(entry, "size")->valuedouble);
		assert_int_equal(size_of(out), header.original_size);
		assert_sha256(out, word(entry, "sha256"));
		assert_int_equal(tk_header_verify(ring, fd, 0, size, NULL), 0);
		check_seal(ring, &header, out, word(entry, "sha256"));
	} else {
		if (!tk_error_name(r) || strcmp(tk_error_name(r), expect) != 0)
			fail_msg("%s: %s, expected %s", name, r ? tk_strerror(r) : "ok", expect);
		assert_int_equal(size_of(out), 0); /* not one byte of plaintext */
		assert_memory_equal(&header, &untouched, sizeof(header));
		assert_int_equal(tk_header_read(fd, 0, size, &header), needs_key ? 0 : r);
	}
	close(fd);
	close(out);
	tk_keyring_free(ring);
}

static unsigned long check_all(int mode)
{
	cJSON *json, *entry;
	int n = 0;

	pieces = WHOLE;
	json = manifest();
	pieces = mode;
	calls = 0;
	cJSON_ArrayForEach (entry, json) {
		check_vector(entry);
		n++;
	}
	assert_int_equal(n, 74);
	cJSON_Delete(json);
	return calls;
}

static void test_whole(void **state)
{
	assert_in_range(check_all(WHOLE), 1, 5000);
}

/* Each byte of the vectors is a call at least: the functions above are the ones that the library uses. */
static void test_single_bytes(void **state)
{
	assert_in_range(check_all(SINGLE), 2000000, 100000000);
}

static void test_random_splits(void **state)
{
	for (int i = 0; i < 4; i++)
		assert_in_range(check_all(RANDOM), 5000, 100000);
}

/* usage: crypto_vectors_test [PATTERN]   without the tests whose name matches */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_single_bytes),
		cmocka_unit_test(test_random_splits),
	};

	if (argc > 1)
		cmocka_set_skip_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
