// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/keyring.c - policy keys in memory.  Where they come from is the business
 * of keyfile.c and keycommand.c.  Knows nothing of OpenSSL.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct kek {
	uint32_t version;
	uint8_t bytes[TK_KEK_SIZE];
};

/* Versions in ascending order; keks points to locked memory with room for `room`. */
struct tk_key {
	struct tk_key *next;
	atomic_uint refs;	      /* the ring's, and those of operations under way */
	const struct tk_key_ops *ops; /* NULL: the bytes are here */
	void *owner;
	char id[TK_KEY_ID_MAX + 1];
	size_t n, room;
	struct kek *keks;
};

struct tk_keyring {
	pthread_rwlock_t lock;
	struct tk_key *keys;
	struct tk_health *healths;
};

#define FIRST_ROOM 16
#define VERSIONS_MAX 4096 /* of one key; a directory with more is a mistake */

void tk_key_free(struct tk_key *key)
{
	if (!key || atomic_fetch_sub(&key->refs, 1) != 1)
		return;
	if (key->ops)
		key->ops->free(key->owner);
	tk_locked_free(key->keks, key->room * sizeof(*key->keks));
	free(key);
}

int tk_key_new(const char *id, struct tk_key **ret_key)
{
	size_t len = strnlen(id, TK_KEY_ID_MAX + 1);
	struct tk_key *key;

	if (!tk_key_id_valid(id, len))
		return -EINVAL;
	key = calloc(1, sizeof(*key));
	if (!key)
		return -ENOMEM;
	memcpy(key->id, id, len + 1);
	atomic_init(&key->refs, 1);
	*ret_key = key;
	return 0;
}

/* Where version is, or where it would have to be put. */
static size_t key_position(const struct tk_key *key, uint32_t version)
{
	size_t i = 0;

	while (i < key->n && key->keks[i].version < version)
		i++;
	return i;
}

int tk_key_put(struct tk_key *key, uint32_t version, const uint8_t bytes[TK_KEK_SIZE])
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
		struct tk_key *next = ring->keys->next;

		tk_key_free(ring->keys);
		ring->keys = next;
	}
	tk_healths_free(ring->healths);
	pthread_rwlock_destroy(&ring->lock);
	free(ring);
}

/* The pointer to the key, or the final NULL. */
static struct tk_key **find(struct tk_keyring *ring, const char *key_id)
{
	struct tk_key **p = &ring->keys;

	while (*p && strcmp((*p)->id, key_id) != 0)
		p = &(*p)->next;
	return p;
}

int tk_keyring_add(struct tk_keyring *ring, const char *key_id, uint32_t version,
		   const uint8_t kek[TK_KEK_SIZE])
{
	__attribute__((cleanup(tk_key_freep))) struct tk_key *fresh = NULL;
	struct tk_key **p;
	int r;

	if (version == 0)
		return -EINVAL;
	r = tk_key_new(key_id, &fresh);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&ring->lock);
	p = find(ring, key_id);
	r = *p && (*p)->ops ? -EOPNOTSUPP : tk_key_put(*p ? *p : fresh, version, kek);
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
	const struct tk_key *key = *find(locked, key_id);

	if (key)
		*ret_version = key->keks[key->n - 1].version;
	pthread_rwlock_unlock(&locked->lock);
	return key ? 0 : -TK_E_NO_KEY;
}

/* The entry of a version, 0: the current one; NULL.  Under the lock. */
static const struct kek *find_kek(const struct tk_key *key, uint32_t version)
{
	size_t i = version ? key_position(key, version) : key->n - 1;

	return i < key->n && (version == 0 || key->keks[i].version == version) ? &key->keks[i] : NULL;
}

int tk_keyring_get(const struct tk_keyring *ring, const char *key_id, uint32_t version,
		   uint8_t ret_kek[TK_KEK_SIZE])
{
	struct tk_keyring *locked = read_lock(ring);
	const struct tk_key *key = *find(locked, key_id);
	const struct kek *kek = key ? find_kek(key, version) : NULL;
	int r = !kek ? -TK_E_NO_KEY : key->ops ? -EOPNOTSUPP : 0;

	if (r == 0)
		memcpy(ret_kek, kek->bytes, TK_KEK_SIZE);
	pthread_rwlock_unlock(&locked->lock);
	return r;
}

int tk_keyring_version_after(const struct tk_keyring *ring, const char *key_id, uint32_t version,
			     uint32_t *ret_version)
{
	struct tk_keyring *locked = read_lock(ring);
	const struct tk_key *key = *find(locked, key_id);
	size_t i = 0;

	while (key && i < key->n && key->keks[i].version <= version)
		i++;
	if (key && i < key->n)
		*ret_version = key->keks[i].version;
	pthread_rwlock_unlock(&locked->lock);
	return key && i < key->n ? 0 : -TK_E_NO_KEY;
}

/*
 * Wraps or unwraps.  With a key that is here under the ring's lock, which spares another copy of it; a
 * provider may take its time, and so works without.
 */
static int work(const struct tk_keyring *ring, const char *key_id, uint32_t version, bool wrap,
		const uint8_t *in, uint8_t *out)
{
	struct tk_keyring *locked = read_lock(ring);
	struct tk_key *key = *find(locked, key_id);
	const struct kek *kek = key ? find_kek(key, version) : NULL;
	const char *why = NULL;
	int r;

	if (!kek || !key->ops) {
		r = !kek   ? -TK_E_NO_KEY
		    : wrap ? tk_key_wrap(kek->bytes, in, out)
			   : tk_key_unwrap(kek->bytes, in, out);
		pthread_rwlock_unlock(&locked->lock);
		return r;
	}
	atomic_fetch_add(&key->refs, 1);
	version = kek->version;
	pthread_rwlock_unlock(&locked->lock);
	r = wrap ? key->ops->wrap(key->owner, version, in, out, &why)
		 : key->ops->unwrap(key->owner, version, in, out, &why);
	/* That a file is not under this key says nothing of the provider. */
	tk_health_tell(locked, key_id, r < 0 && r != -TK_E_WRONG_KEY ? why : NULL, false);
	tk_key_free(key);
	return r;
}

int tk_keyring_wrap(const struct tk_keyring *ring, const char *key_id, uint32_t version,
		    const uint8_t key[32], uint8_t ret_wrapped[40])
{
	return work(ring, key_id, version, true, key, ret_wrapped);
}

int tk_keyring_unwrap(const struct tk_keyring *ring, const char *key_id, uint32_t version,
		      const uint8_t wrapped[40], uint8_t ret_key[32])
{
	return work(ring, key_id, version, false, wrapped, ret_key);
}

void tk_key_set_ops(struct tk_key *key, const struct tk_key_ops *ops, void *owner)
{
	key->ops = ops;
	key->owner = owner;
}

void tk_keyring_replace(struct tk_keyring *ring, struct tk_key *key)
{
	struct tk_key **p, *former;

	pthread_rwlock_wrlock(&ring->lock);
	p = find(ring, key->id);
	former = *p;
	key->next = former ? former->next : NULL;
	*p = key;
	pthread_rwlock_unlock(&ring->lock);
	tk_key_free(former);
}

struct tk_health **tk_keyring_healths(struct tk_keyring *ring)
{
	return &ring->healths;
}

size_t tk_key_versions(const struct tk_key *key)
{
	return key->n;
}
