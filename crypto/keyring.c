// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/keyring.c - policy keys: where they live in memory and how they come
 * out of files.  Knows nothing of OpenSSL.
 */
#include "crypto/internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct kek {
	uint32_t version;
	uint8_t bytes[TK_KEK_SIZE];
};

/* Versions in ascending order; keks points to locked memory with room for `room`. */
struct key {
	struct key *next;
	char id[TK_KEY_ID_MAX + 1];
	size_t n, room;
	struct kek *keks;
};

struct tk_keyring {
	pthread_rwlock_t lock;
	struct key *keys;
};

#define FIRST_ROOM 16
#define VERSIONS_MAX 4096 /* of one key; a directory with more is a mistake */

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static void key_free(struct key *key)
{
	if (!key)
		return;
	tk_locked_free(key->keks, key->room * sizeof(*key->keks));
	free(key);
}

static void key_freep(struct key **key)
{
	key_free(*key);
}

static int key_new(const char *id, struct key **ret_key)
{
	size_t len = strnlen(id, TK_KEY_ID_MAX + 1);
	struct key *key;

	if (!tk_key_id_valid(id, len))
		return -EINVAL;
	key = calloc(1, sizeof(*key));
	if (!key)
		return -ENOMEM;
	memcpy(key->id, id, len + 1);
	*ret_key = key;
	return 0;
}

/* Where version is, or where it would have to be put. */
static size_t key_position(const struct key *key, uint32_t version)
{
	size_t i = 0;

	while (i < key->n && key->keks[i].version < version)
		i++;
	return i;
}

static int key_put(struct key *key, uint32_t version, const uint8_t bytes[TK_KEK_SIZE])
{
	size_t i = key_position(key, version);

	if (i < key->n && key->keks[i].version == version) {
		memcpy(key->keks[i].bytes, bytes, TK_KEK_SIZE);
		return 0;
	}
	if (key->n == VERSIONS_MAX)
		return -E2BIG;
	if (key->n == key->room) {
		size_t room = key->room ? key->room * 2 : FIRST_ROOM;
		struct kek *keks = tk_locked_alloc(room * sizeof(*keks));

		if (!keks)
			return -errno;
		if (key->n)
			memcpy(keks, key->keks, key->n * sizeof(*keks));
		tk_locked_free(key->keks, key->room * sizeof(*keks));
		key->keks = keks;
		key->room = room;
	}
	memmove(&key->keks[i + 1], &key->keks[i], (key->n - i) * sizeof(key->keks[0]));
	key->keks[i].version = version;
	memcpy(key->keks[i].bytes, bytes, TK_KEK_SIZE);
	key->n++;
	return 0;
}

int tk_keyring_new(struct tk_keyring **ret_ring)
{
	struct tk_keyring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	r = pthread_rwlock_init(&ring->lock, NULL);
	if (r) {
		free(ring);
		return -r;
	}
	*ret_ring = ring;
	return 0;
}

void tk_keyring_free(struct tk_keyring *ring)
{
	if (!ring)
		return;
	while (ring->keys) {
		struct key *next = ring->keys->next;

		key_free(ring->keys);
		ring->keys = next;
	}
	pthread_rwlock_destroy(&ring->lock);
	free(ring);
}

/* The pointer to the key, or the final NULL. */
static struct key **find(struct tk_keyring *ring, const char *key_id)
{
	struct key **p = &ring->keys;

	while (*p && strcmp((*p)->id, key_id) != 0)
		p = &(*p)->next;
	return p;
}

int tk_keyring_add(struct tk_keyring *ring, const char *key_id, uint32_t version,
		   const uint8_t kek[TK_KEK_SIZE])
{
	__attribute__((cleanup(key_freep))) struct key *fresh = NULL;
	struct key **p;
	int r;

	if (version == 0)
		return -EINVAL;
	r = key_new(key_id, &fresh);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&ring->lock);
	p = find(ring, key_id);
	r = key_put(*p ? *p : fresh, version, kek);
	if (r == 0 && !*p) {
		*p = fresh;
		fresh = NULL;
	}
	pthread_rwlock_unlock(&ring->lock);
	return r;
}

/* Readers take the lock of a ring they may not change: the lock is no part of its value. */
static struct tk_keyring *read_lock(const struct tk_keyring *ring)
{
	struct tk_keyring *mutable_ring = (struct tk_keyring *)ring;

	pthread_rwlock_rdlock(&mutable_ring->lock);
	return mutable_ring;
}

int tk_keyring_current(const struct tk_keyring *ring, const char *key_id, uint32_t *ret_version)
{
	struct tk_keyring *locked = read_lock(ring);
	const struct key *key = *find(locked, key_id);

	if (key)
		*ret_version = key->keks[key->n - 1].version;
	pthread_rwlock_unlock(&locked->lock);
	return key ? 0 : -TK_E_NO_KEY;
}

int tk_keyring_get(const struct tk_keyring *ring, const char *key_id, uint32_t version,
		   uint8_t ret_kek[TK_KEK_SIZE])
{
	struct tk_keyring *locked = read_lock(ring);
	const struct key *key = *find(locked, key_id);
	int r = -TK_E_NO_KEY;

	if (key) {
		size_t i = version ? key_position(key, version) : key->n - 1;

		if (i < key->n && (version == 0 || key->keks[i].version == version)) {
			memcpy(ret_kek, key->keks[i].bytes, TK_KEK_SIZE);
			r = 0;
		}
	}
	pthread_rwlock_unlock(&locked->lock);
	return r;
}

/* ------------------------------------------------------------ file provider */

static int refuse(int err, const char *why, const char **ret_why)
{
	if (ret_why)
		*ret_why = why;
	return err;
}

static int nibble(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(const uint8_t hex[2 * TK_KEK_SIZE], uint8_t out[TK_KEK_SIZE])
{
	for (size_t i = 0; i < TK_KEK_SIZE; i++) {
		int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

struct key_text {
	uint8_t bytes[2 * TK_KEK_SIZE + 2]; /* 64 digits, a newline, and one to notice excess */
	uint8_t kek[TK_KEK_SIZE];
};

static void key_text_freep(struct key_text **text)
{
	tk_locked_free(*text, sizeof(**text));
}

static bool owner_trusted(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/* One key file, open and of known type, becomes a version. */
static int add_version(int fd, const struct stat *st, struct key *key, uint32_t version, const char **ret_why)
{
	__attribute__((cleanup(key_text_freep))) struct key_text *text = NULL;
	const uint8_t *kek;
	size_t len = 0;
	int r;

	if (!owner_trusted(st))
		return refuse(-EACCES, "the key file belongs to neither root nor the caller", ret_why);
	/* With an ACL the group bits are its mask, so this covers those too. */
	if (st->st_mode & 077)
		return refuse(-EACCES,
			      "the key file is open to its group or to others (mode must be 0600 or 0400)",
			      ret_why);
	text = tk_locked_alloc(sizeof(*text));
	if (!text)
		return refuse(-errno, "no memory can be locked for the key (limit RLIMIT_MEMLOCK)", ret_why);
	while (len < sizeof(text->bytes)) {
		ssize_t n = read(fd, text->bytes + len, sizeof(text->bytes) - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return refuse(-errno, "the key file cannot be read", ret_why);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (len == TK_KEK_SIZE)
		kek = text->bytes;
	else if ((len == 2 * TK_KEK_SIZE || (len == 2 * TK_KEK_SIZE + 1 && text->bytes[len - 1] == '\n')) &&
		 unhex(text->bytes, text->kek))
		kek = text->kek;
	else
		return refuse(-EINVAL, "the key file holds neither 32 bytes nor 64 hexadecimal digits",
			      ret_why);
	r = key_put(key, version, kek);
	return r < 0 ? refuse(r, "the key does not fit into locked memory", ret_why) : 0;
}

/* 1..UINT32_MAX in decimal without leading zeros; 0 for anything else. */
static uint32_t parse_version(const char *name)
{
	uint64_t v = 0;

	if (name[0] == '0')
		return 0;
	for (; *name; name++) {
		if (*name < '0' || *name > '9')
			return 0;
		v = v * 10 + (uint64_t)(*name - '0');
		if (v > UINT32_MAX)
			return 0;
	}
	return (uint32_t)v;
}

/* Takes the descriptor over. */
static int add_directory(int dir_fd, const struct stat *st, struct key *key, const char **ret_why)
{
	__attribute__((cleanup(closedirp))) DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;

	if (!dir) {
		int err = -errno;

		close(dir_fd);
		return refuse(err, "the key directory cannot be read", ret_why);
	}
	if (!owner_trusted(st))
		return refuse(-EACCES, "the key directory belongs to neither root nor the caller", ret_why);
	if (st->st_mode & 022)
		return refuse(-EACCES, "the key directory can be written by its group or by others", ret_why);
	for (;;) {
		__attribute__((cleanup(closep))) int fd = -1;
		struct stat file;
		uint32_t version;
		int r;

		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			if (errno)
				return refuse(-errno, "the key directory cannot be read", ret_why);
			break;
		}
		if (entry->d_name[0] == '.')
			continue;
		version = parse_version(entry->d_name);
		if (version == 0)
			return refuse(-EINVAL,
				      "the key directory holds something not named by a version (1, 2, ...)",
				      ret_why);
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0 || fstat(fd, &file) < 0)
			return refuse(-errno, "a key file in the directory cannot be opened", ret_why);
		if (!S_ISREG(file.st_mode))
			return refuse(-EINVAL, "the key directory holds something that is no regular file",
				      ret_why);
		r = add_version(fd, &file, key, version, ret_why);
		if (r < 0)
			return r;
	}
	return key->n ? 0 : refuse(-ENOENT, "the key directory is empty", ret_why);
}

int tk_keyring_add_file(struct tk_keyring *ring, const char *key_id, const char *path, const char **ret_why)
{
	__attribute__((cleanup(key_freep))) struct key *key = NULL;
	__attribute__((cleanup(closep))) int fd = -1;
	struct key **p;
	struct stat st;
	int r;

	r = key_new(key_id, &key);
	if (r < 0)
		return refuse(r, "the key id is not 1 to 255 printable characters without '/'", ret_why);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return refuse(-errno, "the key file cannot be opened", ret_why);
	if (S_ISDIR(st.st_mode)) {
		int dir_fd = fd;

		fd = -1;
		r = add_directory(dir_fd, &st, key, ret_why);
	} else if (S_ISREG(st.st_mode)) {
		r = add_version(fd, &st, key, 1, ret_why);
	} else {
		r = refuse(-EINVAL, "the key is neither a regular file nor a directory", ret_why);
	}
	if (r < 0)
		return r;

	pthread_rwlock_wrlock(&ring->lock);
	p = find(ring, key_id);
	if (*p) {
		struct key *former = *p;

		key->next = former->next;
		*p = key;
		key = former; /* freed, and wiped, on the way out */
	} else {
		*p = key;
		key = NULL;
	}
	pthread_rwlock_unlock(&ring->lock);
	return 0;
}
