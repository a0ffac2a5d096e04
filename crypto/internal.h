/* SPDX-License-Identifier: GPL-2.0 */
/*
 * crypto/internal.h - what the files of the library share among themselves:
 * locked memory, and a header on its way between struct, bytes and keys.
 * Nothing outside crypto/ includes it.
 */
#ifndef TK_CRYPTO_INTERNAL_H
#define TK_CRYPTO_INTERNAL_H

#include <sys/stat.h>

#include "crypto/takakrypt.h"

#define TK_RECORD_OVERHEAD 28 /* FORMAT.md, Version 2 body: nonce[12] and tag[16] */

/*
 * Zeroed memory that is neither swapped nor dumped (locked.c); above 256 bytes
 * whole pages.  NULL with errno set (ENOMEM, EPERM, EAGAIN: mlock(2)).
 */
void *tk_locked_alloc(size_t len);
void tk_locked_free(void *p, size_t len); /* wipes; NULL is fine */

/* Every secret of one file while it is being worked on; lives in locked memory. */
struct tk_file_keys {
	uint8_t dek[32];
	uint8_t header[32]; /* K_header */
	uint8_t body[32];   /* K_body; version 1: the policy key */
};

static inline void tk_file_keys_freep(struct tk_file_keys **keys)
{
	tk_locked_free(*keys, sizeof(**keys));
}

/* A policy key with its versions, on its way into a ring. */
struct tk_key;
/*
 * How a provider wraps and unwraps that does not give the key away.  version is one the key was given by
 * tk_key_put(), with bytes of no meaning.  Thread-safe.  ret_why: static text; -TK_E_WRONG_KEY: wrapped is
 * not authentic under that key.
 */
struct tk_key_ops {
	int (*wrap)(void *owner, uint32_t version, const uint8_t key[32], uint8_t ret_wrapped[40],
		    const char **ret_why);
	int (*unwrap)(void *owner, uint32_t version, const uint8_t wrapped[40], uint8_t ret_key[32],
		      const char **ret_why);
	void (*free)(void *owner);
};
/* Takes owner over. */
void tk_key_set_ops(struct tk_key *key, const struct tk_key_ops *ops, void *owner);
int tk_key_new(const char *id, struct tk_key **ret_key); /* -EINVAL: the id */
int tk_key_put(struct tk_key *key, uint32_t version, const uint8_t bytes[TK_KEK_SIZE]);
size_t tk_key_versions(const struct tk_key *key);
void tk_key_free(struct tk_key *key); /* wipes; NULL is fine */
/* Takes key over; it must have a version.  A former one of that id is freed. */
void tk_keyring_replace(struct tk_keyring *ring, struct tk_key *key);

static inline void tk_key_freep(struct tk_key **key)
{
	tk_key_free(*key);
}

/* What a provider says, in locked memory, and the key in it: NULL when it is in neither form. */
struct tk_key_text {
	uint8_t bytes[2 * TK_KEK_SIZE + 2]; /* 64 digits, a newline, and one to notice excess */
	uint8_t kek[TK_KEK_SIZE];
};
const uint8_t *tk_key_text_parse(struct tk_key_text *text, size_t len);

static inline void tk_key_text_freep(struct tk_key_text **text)
{
	tk_locked_free(*text, sizeof(**text));
}

/* Root's, or the caller's own. */
bool tk_owner_trusted(const struct stat *st);
/*
 * The regular file at an absolute path that only root or the caller can change, as are all directories and
 * links on the way (others may put things into a sticky one): an O_PATH descriptor above 2.  -EPERM: others
 * can change it; -EISDIR: no regular file; -EINVAL: no absolute path; else why it cannot be found
 * (trusted.c).
 */
int tk_trusted_open(const char *path, int *ret_fd);

/* Sets *ret_why, if there is one, and returns err. */
int tk_key_refuse(int err, const char *why, const char **ret_why);

/* How it went with each key's provider (keyhealth.c); the ring keeps the list. */
struct tk_health;
struct tk_health **tk_keyring_healths(struct tk_keyring *ring);
void tk_healths_free(struct tk_health *healths);
/* -EAGAIN while the key's breaker is open, -ENOMEM. */
int tk_health_ask(struct tk_keyring *ring, const char *key_id);
/* why: of a failure, static; NULL: it went well.  breaks: the failure opens the breaker. */
void tk_health_tell(struct tk_keyring *ring, const char *key_id, const char *why, bool breaks);

/* 1..TK_KEY_ID_MAX bytes 0x21..0x7e without '/'. */
bool tk_key_id_valid(const char *key_id, size_t len);

/* Writes header->size bytes to out (room for TK_HEADER_MAX). */
void tk_header_build(const struct tk_header *header, uint8_t *out);

/*
 * A fresh header for `size` bytes of plaintext.  Version 2: new file key,
 * wrapped, header tag in place.  Version 1: fresh iv; the tag follows from the body.
 */
int tk_header_seal(const struct tk_keyring *ring, const struct tk_params *params, uint64_t size,
		   struct tk_file_keys *keys, struct tk_header *ret_header);

/* Version 2: a fresh iv, and the tag that belongs to it and all the rest of the header. */
int tk_header_tag(const struct tk_file_keys *keys, struct tk_header *header);

/* Bytes of the whole file of a header that was parsed or made by tk_header_seal(). */
uint64_t tk_header_file_size(const struct tk_header *header);

/* Finds the keys of a parsed header.  Version 2: unwraps and checks the header's tag. */
int tk_header_unseal(const struct tk_keyring *ring, const struct tk_header *header,
		     struct tk_file_keys *keys);

/* A buffer that held plaintext; wiped when freed.  Begins at a page. */
struct tk_buffer {
	uint8_t *p;
	size_t len;
};
int tk_buffer_new(struct tk_buffer *b, size_t len);
void tk_buffer_free(struct tk_buffer *b);

/* The body of one file on its way. */
struct tk_stream {
	const struct tk_header *header;
	const struct tk_file_keys *keys;
	bool seal;
	int in_fd, out_fd;	     /* out_fd -1: nothing is written */
	off_t in_offset, out_offset; /* of the body, or of the plaintext */
	bool holes;		     /* opening: zeros are left out, see tk_decrypt_fd_sparse() */
	tk_progress progress;
	void *ctx;
};
int tk_stream_progress(const struct tk_stream *s, uint64_t done); /* 0 or -ECANCELED */

/* Opening: writes plaintext from `at`, which is a multiple of 64 KiB. */
int tk_stream_write(const struct tk_stream *s, const uint8_t *p, size_t len, uint64_t at);

int tk_records(const struct tk_stream *s);			     /* version 2, either way */
int tk_message_seal(const struct tk_stream *s, struct tk_header *h); /* version 1; sets h->tag */
int tk_message_open(const struct tk_stream *s);

struct tk_aead;
/* Version 1: len bytes from `at`, all inside the message, of which everything is read and verified. */
int tk_message_part(const struct tk_header *h, struct tk_aead *aead, int fd, off_t body, void *buf, size_t len,
		    uint64_t at);
/*
 * Work in n batches, by the calling thread and as many more as there are processors to spare (crew.c).  Each
 * thread has a cipher under keys->body and two buffers; batch() is called with each number below n, by any of
 * them, and tells the plaintext it has done; report(), which may be NULL, with the sum, by the calling thread.
 * The failure of the lowest batch that failed is returned; others may then be undone.
 */
struct tk_worker {
	struct tk_aead *aead;
	struct tk_buffer plain, sealed;
};
struct tk_batches {
	uint64_t n;
	enum tk_algorithm algorithm;
	const struct tk_file_keys *keys;
	bool seal;
	size_t plain, sealed; /* bytes a worker's buffers need */
	int (*batch)(const void *ctx, struct tk_worker *w, uint64_t batch, uint64_t *ret_done);
	int (*report)(const void *ctx, uint64_t done);
	const void *ctx;
};
#define TK_BATCH_SIZE (1U << 18) /* plaintext of one: two such buffers stay in a core's own cache */
int tk_batches_do(const struct tk_batches *b);

/* One record of version 2 (FORMAT.md): len bytes of plaintext, len + TK_RECORD_OVERHEAD of record. */
int tk_record_seal(struct tk_aead *aead, uint64_t index, const uint8_t *nonce, const uint8_t *plain,
		   size_t len, uint8_t *record);
int tk_record_open(struct tk_aead *aead, uint64_t index, const uint8_t *record, size_t len, uint8_t *plain);

/* Of a body of version 2: how many records, and the plaintext in one of them. */
static inline uint64_t tk_record_count(uint64_t size, uint32_t chunk_log2)
{
	return (size >> chunk_log2) + ((size & ((UINT64_C(1) << chunk_log2) - 1)) != 0);
}

static inline size_t tk_record_length(uint64_t size, uint32_t chunk_log2, uint64_t record)
{
	uint64_t left = size - (record << chunk_log2), chunk = UINT64_C(1) << chunk_log2;

	return (size_t)(left < chunk ? left : chunk);
}

/*
 * Records that were changed, sealed, in the slots of a log until they are committed (changes.c).  Begins as zeros
 * with fd, an empty log's, and chunk_log2.
 */
#define TK_NO_RECORD UINT64_MAX
#define TK_CHANGES_SLOTS_AT 1536 /* what comes before is redo.c's */
struct tk_changes {
	int fd;
	uint32_t chunk_log2;
	uint64_t slots, *records; /* of each slot the number of its record, or TK_NO_RECORD */
	size_t room;		  /* buckets: half of them, and as many records, are in use at most */
	uint64_t *buckets;	  /* by a record's number: its slot and 1, or 0 */
	bool used;		  /* the log: since it was cleared, even if all was dropped again */
};
void tk_changes_free(struct tk_changes *c); /* memory alone */
bool tk_changes_find(const struct tk_changes *c, uint64_t record, uint64_t *ret_slot);
/* The slot it has, or a new one, which the caller fills. */
int tk_changes_claim(struct tk_changes *c, uint64_t record, uint64_t *ret_slot);
/* Seals n records from `first` on into slots, on all processors: plain's chunks, NULL: zeros.  h: the size. */
int tk_changes_seal(struct tk_changes *c, const struct tk_header *h, const struct tk_file_keys *keys,
		    const uint8_t *plain, uint64_t first, uint64_t n);
void tk_changes_drop(struct tk_changes *c, uint64_t first); /* and all records behind it */

static inline uint64_t tk_changes_stride(const struct tk_changes *c)
{
	return (UINT64_C(1) << c->chunk_log2) + TK_RECORD_OVERHEAD;
}

static inline off_t tk_changes_at(const struct tk_changes *c, uint64_t slot)
{
	return (off_t)(TK_CHANGES_SLOTS_AT + slot * tk_changes_stride(c));
}

/*
 * The commit (redo.c): completes the log on the disk; puts everything into the file and the file on the disk;
 * empties the log on the disk.  header: the tagged one the file gets; before: the bytes it has, or zeros.
 */
int tk_changes_finish(struct tk_changes *c, const struct tk_file_keys *keys, const struct tk_header *header,
		      const uint8_t *before);
int tk_changes_apply(const struct tk_changes *c, const struct tk_header *header, int fd, off_t offset);
int tk_changes_clear(struct tk_changes *c);
/* -ESTALE: the file's header is another; zeros: there is none. */
int tk_changes_header_is(int fd, off_t offset, const uint8_t *header);

/* A range from offset on is one that off_t can name. */
bool tk_range_fits(off_t offset, uint64_t size);

/* Positional I/O of exactly len bytes; -EIO when the file ends early. */
int tk_pread_full(int fd, void *buf, size_t len, off_t offset);
int tk_pwrite_full(int fd, const void *buf, size_t len, off_t offset);

#endif
