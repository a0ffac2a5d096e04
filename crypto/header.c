// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/header.c - the header of FORMAT.md: its layout, the reader's checks in
 * their order, building one, and the step between a header and its keys.
 */
#include "crypto/aead.h"
#include "crypto/internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Offsets behind the key id, relative to its end (FORMAT.md, Header, with N taken out). */
enum {
	OFF_VERSION = 4,
	OFF_ALGORITHM = 8,
	OFF_KEY_ID_LEN = 12,
	OFF_KEY_ID = 16,
	FIXED_SIZE = 16,

	REL_IV = 0,
	REL_TAG = 12,
	REL_ORIGINAL_SIZE = 28,
	REL_FLAGS = 36,
	REL_RESERVED = 40,
	REL_CHUNK_LOG2 = 40,
	REL_WRAP = 41,
	REL_WRAPPED_LEN = 42,
	REL_KEY_VERSION = 44,
	REL_TRAILING = 48,
	REL_WRAPPED_KEY = 56,
	REL_PADDING = 96,

	V1_SIZE = 72, /* plus N */
	WRAP_AES_KW = 1,
};

_Static_assert(FIXED_SIZE + REL_WRAPPED_KEY == V1_SIZE,
	       "the version 1 header ends where the wrapped key begins");
_Static_assert(FIXED_SIZE + TK_KEY_ID_MAX + REL_PADDING <= TK_HEADER_V2_SIZE, "the longest key id fits");
_Static_assert(TK_HEADER_MAX >= TK_HEADER_V2_SIZE && TK_HEADER_MAX >= V1_SIZE + TK_KEY_ID_MAX, "any header");

static const char label_header[] = "takakrypt v2 header";
static const char label_body[] = "takakrypt v2 body";

static uint32_t get_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static void put_u32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void put_u64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len--)
		if (*p++)
			return false;
	return true;
}

bool tk_is_taka(const void *buf, size_t len)
{
	return len >= 4 && memcmp(buf, TK_MAGIC, 4) == 0;
}

bool tk_key_id_valid(const char *key_id, size_t len)
{
	if (len < 1 || len > TK_KEY_ID_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (key_id[i] < 0x21 || key_id[i] > 0x7e || key_id[i] == '/')
			return false;
	return true;
}

const char *tk_algorithm_name(enum tk_algorithm algorithm)
{
	switch (algorithm) {
	case TK_AES_256_GCM:
		return "aes-256-gcm";
	case TK_CHACHA20_POLY1305:
		return "chacha20-poly1305";
	}
	return NULL;
}

int tk_algorithm_parse(const char *name, enum tk_algorithm *ret_algorithm)
{
	for (enum tk_algorithm a = TK_AES_256_GCM; a <= TK_CHACHA20_POLY1305; a++) {
		if (strcmp(name, tk_algorithm_name(a)) == 0) {
			*ret_algorithm = a;
			return 0;
		}
	}
	return -EINVAL;
}

/* Bytes of a whole TAKA file; false on overflow. */
static bool file_size_of(uint32_t version, uint32_t header_size, uint32_t chunk_log2, uint64_t size,
			 uint64_t *ret_size)
{
	uint64_t records = version == 2 ? tk_record_count(size, chunk_log2) : 0, total;

	/* records <= 2^52, so the product is safe */
	if (__builtin_add_overflow(size, records * TK_RECORD_OVERHEAD, &total) ||
	    __builtin_add_overflow(total, (uint64_t)header_size, &total))
		return false;
	*ret_size = total;
	return true;
}

uint64_t tk_header_file_size(const struct tk_header *h)
{
	uint64_t size = 0;

	file_size_of(h->version, h->size, h->chunk_log2, h->original_size, &size);
	return size;
}

/* The group that only version 2 has, in FORMAT.md's order. */
static int parse_v2(const uint8_t *buf, size_t key_id_len, struct tk_header *h)
{
	const uint8_t *rel = buf + OFF_KEY_ID + key_id_len;

	if (!all_zero(rel + REL_TRAILING, 8))
		return -TK_E_RESERVED;
	h->chunk_log2 = rel[REL_CHUNK_LOG2];
	if (h->chunk_log2 < TK_CHUNK_LOG2_MIN || h->chunk_log2 > TK_CHUNK_LOG2_MAX)
		return -TK_E_CHUNK_LOG2;
	if (rel[REL_WRAP] != WRAP_AES_KW || rel[REL_WRAPPED_LEN] != TK_WRAPPED_SIZE ||
	    rel[REL_WRAPPED_LEN + 1])
		return -TK_E_WRAP;
	h->key_version = get_u32(rel + REL_KEY_VERSION);
	if (h->key_version == 0)
		return -TK_E_KEY_VERSION;
	memcpy(h->wrapped_key, rel + REL_WRAPPED_KEY, sizeof(h->wrapped_key));
	if (!all_zero(rel + REL_PADDING, (size_t)(buf + TK_HEADER_V2_SIZE - (rel + REL_PADDING))))
		return -TK_E_PADDING;
	return 0;
}

int tk_header_parse(const void *data, size_t len, uint64_t file_size, struct tk_header *ret_header)
{
	const uint8_t *buf = data, *rel;
	struct tk_header h = {};
	uint32_t key_id_len;
	uint64_t total;
	int r;

	if (len > file_size)
		len = (size_t)file_size;
	if (len < FIXED_SIZE)
		return -TK_E_TRUNCATED;
	if (!tk_is_taka(buf, len))
		return -TK_E_MAGIC;
	h.version = get_u32(buf + OFF_VERSION);
	if (h.version != 1 && h.version != 2)
		return -TK_E_VERSION;
	h.algorithm = get_u32(buf + OFF_ALGORITHM);
	if (h.algorithm != TK_AES_256_GCM && h.algorithm != TK_CHACHA20_POLY1305)
		return -TK_E_ALGORITHM;
	key_id_len = get_u32(buf + OFF_KEY_ID_LEN);
	if (key_id_len < 1 || key_id_len > TK_KEY_ID_MAX)
		return -TK_E_KEY_ID_LEN;
	h.size = h.version == 1 ? V1_SIZE + key_id_len : TK_HEADER_V2_SIZE;
	if (len < h.size)
		return -TK_E_TRUNCATED;
	memcpy(h.key_id, buf + OFF_KEY_ID, key_id_len);
	if (!tk_key_id_valid(h.key_id, key_id_len))
		return -TK_E_KEY_ID;

	rel = buf + OFF_KEY_ID + key_id_len;
	memcpy(h.iv, rel + REL_IV, sizeof(h.iv));
	memcpy(h.tag, rel + REL_TAG, sizeof(h.tag));
	h.original_size = get_u64(rel + REL_ORIGINAL_SIZE);
	if (get_u32(rel + REL_FLAGS))
		return -TK_E_FLAGS;
	if (h.version == 1)
		r = all_zero(rel + REL_RESERVED, 16) ? 0 : -TK_E_RESERVED;
	else
		r = parse_v2(buf, key_id_len, &h);
	if (r < 0)
		return r;
	if (!file_size_of(h.version, h.size, h.chunk_log2, h.original_size, &total) || total != file_size)
		return -TK_E_LENGTH;
	*ret_header = h;
	return 0;
}

int tk_header_read(int fd, off_t offset, uint64_t size, struct tk_header *ret_header)
{
	uint8_t buf[TK_HEADER_MAX];
	size_t want = size < sizeof(buf) ? (size_t)size : sizeof(buf), got = 0;

	while (got < want) {
		ssize_t n = pread(fd, buf + got, want - got, offset + (off_t)got);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return tk_header_parse(buf, got, size, ret_header);
}

void tk_header_build(const struct tk_header *h, uint8_t *out)
{
	size_t n = strlen(h->key_id);
	uint8_t *rel = out + OFF_KEY_ID + n;

	memset(out, 0, h->size);
	memcpy(out, TK_MAGIC, 4);
	put_u32(out + OFF_VERSION, h->version);
	put_u32(out + OFF_ALGORITHM, h->algorithm);
	put_u32(out + OFF_KEY_ID_LEN, (uint32_t)n);
	memcpy(out + OFF_KEY_ID, h->key_id, n);
	memcpy(rel + REL_IV, h->iv, sizeof(h->iv));
	memcpy(rel + REL_TAG, h->tag, sizeof(h->tag));
	put_u64(rel + REL_ORIGINAL_SIZE, h->original_size);
	if (h->version == 1)
		return;
	rel[REL_CHUNK_LOG2] = (uint8_t)h->chunk_log2;
	rel[REL_WRAP] = WRAP_AES_KW;
	rel[REL_WRAPPED_LEN] = TK_WRAPPED_SIZE;
	put_u32(rel + REL_KEY_VERSION, h->key_version);
	memcpy(rel + REL_WRAPPED_KEY, h->wrapped_key, sizeof(h->wrapped_key));
}

int tk_sealed_size(const struct tk_params *p, uint64_t size, uint64_t *ret_size)
{
	uint32_t header_size = TK_HEADER_V2_SIZE, chunk_log2 = 0;
	uint64_t total;

	if ((p->version != 1 && p->version != 2) || !tk_algorithm_name(p->algorithm) || !p->key_id ||
	    !tk_key_id_valid(p->key_id, strnlen(p->key_id, TK_KEY_ID_MAX + 1)))
		return -EINVAL;
	if (p->version == 1) {
		header_size = V1_SIZE + (uint32_t)strlen(p->key_id);
		if (size > tk_aead_message_max(p->algorithm))
			return -EOVERFLOW;
	} else {
		chunk_log2 = p->chunk_log2;
		if (chunk_log2 < TK_CHUNK_LOG2_MIN || chunk_log2 > TK_CHUNK_LOG2_MAX)
			return -EINVAL;
	}
	if (!file_size_of(p->version, header_size, chunk_log2, size, &total) || total > INT64_MAX)
		return -EOVERFLOW;
	*ret_size = total;
	return 0;
}

/* The header tag authenticates the whole header with zeros in its own place; no plaintext. */
static int header_aad(const struct tk_header *h, const uint8_t key[32], bool seal, struct tk_aead **ret_aead)
{
	__attribute__((cleanup(tk_aead_freep))) struct tk_aead *aead = NULL;
	uint8_t bytes[TK_HEADER_V2_SIZE];
	struct tk_header untagged = *h;
	int r;

	memset(untagged.tag, 0, sizeof(untagged.tag));
	tk_header_build(&untagged, bytes);
	r = tk_aead_new(h->algorithm, key, seal, &aead);
	if (r < 0)
		return r;
	r = tk_aead_begin(aead, h->iv, bytes, sizeof(bytes));
	if (r < 0)
		return r;
	*ret_aead = aead;
	aead = NULL;
	return 0;
}

int tk_header_tag(const struct tk_file_keys *keys, struct tk_header *h)
{
	__attribute__((cleanup(tk_aead_freep))) struct tk_aead *aead = NULL;
	int r;

	/* K_header stays the same, so every tag needs an iv of its own. */
	r = tk_random(h->iv, sizeof(h->iv));
	if (r < 0)
		return r;
	r = header_aad(h, keys->header, true, &aead);
	if (r < 0)
		return r;
	return tk_aead_finish_seal(aead, h->tag);
}

/* Wraps keys->dek under the header's policy key. */
static int wrap_v2(const struct tk_keyring *ring, const struct tk_file_keys *keys, struct tk_header *h)
{
	int r = tk_keyring_wrap(ring, h->key_id, h->key_version, keys->dek, h->wrapped_key);

	return r < 0 ? r : tk_header_tag(keys, h);
}

static int derive_v2(struct tk_file_keys *keys)
{
	int r = tk_hkdf_expand(keys->dek, label_header, keys->header);

	return r < 0 ? r : tk_hkdf_expand(keys->dek, label_body, keys->body);
}

int tk_header_seal(const struct tk_keyring *ring, const struct tk_params *p, uint64_t size,
		   struct tk_file_keys *keys, struct tk_header *ret_header)
{
	struct tk_header h = {
		.version = p->version,
		.algorithm = p->algorithm,
		.original_size = size,
		.key_version = p->key_version,
	};
	uint64_t total;
	int r;

	r = tk_sealed_size(p, size, &total);
	if (r < 0)
		return r;
	strcpy(h.key_id, p->key_id);
	if (h.key_version == 0) {
		r = tk_keyring_current(ring, p->key_id, &h.key_version);
		if (r < 0)
			return r;
	}
	if (p->version == 1) {
		r = tk_keyring_get(ring, p->key_id, h.key_version, keys->body);
		h.size = V1_SIZE + (uint32_t)strlen(h.key_id);
		h.key_version = 0;
		if (r == 0)
			r = tk_random(h.iv, sizeof(h.iv));
	} else {
		h.size = TK_HEADER_V2_SIZE;
		h.chunk_log2 = p->chunk_log2;
		r = tk_random(keys->dek, sizeof(keys->dek));
		if (r == 0)
			r = derive_v2(keys);
		if (r == 0)
			r = wrap_v2(ring, keys, &h);
	}
	if (r < 0)
		return r;
	*ret_header = h;
	return 0;
}

int tk_header_unseal(const struct tk_keyring *ring, const struct tk_header *h, struct tk_file_keys *keys)
{
	__attribute__((cleanup(tk_aead_freep))) struct tk_aead *aead = NULL;
	int r;

	if (h->version == 1)
		return tk_keyring_get(ring, h->key_id, 0, keys->body);
	r = tk_keyring_unwrap(ring, h->key_id, h->key_version, h->wrapped_key, keys->dek);
	if (r < 0)
		return r;
	r = derive_v2(keys);
	if (r < 0)
		return r;
	r = header_aad(h, keys->header, false, &aead);
	if (r < 0)
		return r;
	return tk_aead_finish_open(aead, h->tag);
}

int tk_header_verify(const struct tk_keyring *ring, int fd, off_t offset, uint64_t size,
		     struct tk_header *ret_header)
{
	__attribute__((cleanup(tk_file_keys_freep))) struct tk_file_keys *keys = NULL;
	struct tk_header h;
	int r;

	r = tk_header_read(fd, offset, size, &h);
	if (r < 0)
		return r;
	keys = tk_locked_alloc(sizeof(*keys));
	if (!keys)
		return -errno;
	r = tk_header_unseal(ring, &h, keys);
	if (r < 0)
		return r;
	if (ret_header)
		*ret_header = h;
	return 0;
}

int tk_header_rewrap(const struct tk_keyring *ring, int fd, off_t offset, uint64_t size, uint32_t key_version,
		     struct tk_header *ret_header)
{
	__attribute__((cleanup(tk_file_keys_freep))) struct tk_file_keys *keys = NULL;
	uint8_t bytes[TK_HEADER_V2_SIZE];
	struct stat before, now;
	struct tk_header h;
	ssize_t n;
	int r;

	if (fstat(fd, &before) < 0)
		return -errno;
	r = tk_header_read(fd, offset, size, &h);
	if (r < 0)
		return r;
	if (h.version != 2)
		return -EINVAL;
	keys = tk_locked_alloc(sizeof(*keys));
	if (!keys)
		return -errno;
	r = tk_header_unseal(ring, &h, keys);
	if (r < 0)
		return r;
	if (key_version == 0) {
		r = tk_keyring_current(ring, h.key_id, &key_version);
		if (r < 0)
			return r;
	}
	h.key_version = key_version;
	r = wrap_v2(ring, keys, &h);
	if (r < 0)
		return r;
	tk_header_build(&h, bytes);
	/* A header made from what somebody has replaced meanwhile would be the end of the new content. */
	if (fstat(fd, &now) < 0)
		return -errno;
	if (now.st_size != before.st_size || now.st_mtim.tv_sec != before.st_mtim.tv_sec ||
	    now.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
		return -EBUSY;
	/* One write, one sector: never split, or a crash could leave half of each. */
	do
		n = pwrite(fd, bytes, sizeof(bytes), offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != sizeof(bytes))
		return -EIO;
	if (ret_header)
		*ret_header = h;
	return 0;
}
