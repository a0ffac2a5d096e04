/* SPDX-License-Identifier: GPL-2.0 */
/*
 * crypto/takakrypt.h - the TAKA format and the keys it needs, as a library.
 *
 * Owns: the bytes of FORMAT.md, the file keys inside them, the policy keys
 * (key encryption keys, "kek") in memory.  Knows nothing of policies, guard
 * points or the kernel.  Never prints, never exits.  Only crypto/aead.c
 * includes OpenSSL, only crypto/token.h p11-kit.
 *
 * Every function returns 0 or a negative number: -errno for the system's
 * errors, -TK_E_* for those of the format.  Outputs are named ret_* and are
 * untouched on failure.
 */
#ifndef TAKAKRYPT_H
#define TAKAKRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define TK_MAGIC "TAKA"
#define TK_KEK_SIZE 32	      /* bytes of a policy key */
#define TK_KEY_ID_MAX 255     /* FORMAT.md, Header: key_id_len */
#define TK_HEADER_V2_SIZE 512 /* FORMAT.md: the version 2 header is one sector */
#define TK_CHUNK_LOG2_MIN 12
#define TK_CHUNK_LOG2_MAX 24
#define TK_CHUNK_LOG2_DEFAULT 16
#define TK_HEADER_MAX (72 + TK_KEY_ID_MAX + 40 + 512) /* enough to parse any header */

enum tk_algorithm {
	TK_AES_256_GCM = 1,
	TK_CHACHA20_POLY1305 = 2,
};

/*
 * Errors of the format, in the order of FORMAT.md "Reader's checks".
 * tk_error_name() gives the word that vectors/manifest.json uses.
 */
enum tk_format_error {
	TK_E_FIRST = 10000,
	TK_E_TRUNCATED = TK_E_FIRST,
	TK_E_MAGIC,
	TK_E_VERSION,
	TK_E_ALGORITHM,
	TK_E_KEY_ID_LEN,
	TK_E_KEY_ID,
	TK_E_FLAGS,
	TK_E_RESERVED,
	TK_E_CHUNK_LOG2,
	TK_E_WRAP,
	TK_E_KEY_VERSION,
	TK_E_PADDING,
	TK_E_LENGTH,
	TK_E_NO_KEY, /* the key id or its version is not in the keyring */
	TK_E_WRONG_KEY,
	TK_E_AUTH,
	TK_E_LAST = TK_E_AUTH,
};

/* The manifest's word for a -TK_E_* ("auth"), NULL for anything else. */
const char *tk_error_name(int err);
/* One line for people for any value these functions return; static storage. */
const char *tk_strerror(int err);
/* "aes-256-gcm" and "chacha20-poly1305"; parse returns -EINVAL for others. */
const char *tk_algorithm_name(enum tk_algorithm algorithm);
int tk_algorithm_parse(const char *name, enum tk_algorithm *ret_algorithm);

/* A parsed and checked header.  Checked means: every check of FORMAT.md up to `length`. */
struct tk_header {
	uint32_t version;	/* 1 or 2 */
	uint32_t algorithm;	/* enum tk_algorithm */
	uint32_t size;		/* bytes of header: body starts here */
	uint32_t chunk_log2;	/* version 2 only, else 0 */
	uint32_t key_version;	/* version 2 only, else 0 */
	uint64_t original_size; /* bytes of plaintext */
	char key_id[TK_KEY_ID_MAX + 1];
	uint8_t iv[12];
	uint8_t tag[16];
	uint8_t wrapped_key[40]; /* version 2 only */
};

/* True when the first four bytes are the magic (FORMAT.md "What counts as encrypted"). */
bool tk_is_taka(const void *buf, size_t len);

/*
 * Checks the header in buf (len bytes from the start of a file of file_size
 * bytes; give TK_HEADER_MAX bytes or the whole file).  Needs no key.
 */
int tk_header_parse(const void *buf, size_t len, uint64_t file_size, struct tk_header *ret_header);
/* The same from a descriptor: `size` bytes of TAKA beginning at offset. */
int tk_header_read(int fd, off_t offset, uint64_t size, struct tk_header *ret_header);

/* ------------------------------------------------------------------ keys */

/*
 * Policy keys in locked, undumpable memory, wiped when freed.  Thread-safe.
 * A key is a file of 32 raw bytes or 64 hex digits (a final newline is
 * allowed), or a directory of such files named by version (1, 2, ...); the
 * highest version is the current one.  A single file is version 1.
 */
struct tk_keyring;
int tk_keyring_new(struct tk_keyring **ret_ring);
void tk_keyring_free(struct tk_keyring *ring); /* NULL is fine */
/*
 * Reads a key from path and adds it under key_id, replacing a former one.
 * -EACCES: a file that group or others can read or write, a directory they can write, an owner who is
 * neither root nor the caller; -EINVAL: neither 32 bytes nor 64 hex digits, or a name in a directory that
 * is no version (names with a leading dot are skipped); -ENOENT: also an empty directory; -EEXIST never.
 * ret_why (may be NULL) then points to static text saying what was wrong.
 */
int tk_keyring_add_file(struct tk_keyring *ring, const char *key_id, const char *path, const char **ret_why);
/* The same from $CREDENTIALS_DIRECTORY/name (systemd.exec(5), LoadCredential=); -ENOENT without that
 * variable. */
int tk_keyring_add_credential(struct tk_keyring *ring, const char *key_id, const char *name,
			      const char **ret_why);
/*
 * The same from the standard output of a command, in the forms of a key file, as version 1.  argv[0] is an
 * absolute path to a file that only root or the caller can change, as are all directories and links on the way
 * (others may put things into a sticky one); a program is started as the very file that was checked, a script,
 * whose interpreter opens it, by that path; there is no shell, no input, no descriptor
 * but output, and only PATH and LANG in the environment; its messages are discarded.  What it started is
 * killed when `timeout` seconds (1..TK_COMMAND_TIMEOUT_MAX) are over or when it writes more than a key.
 * It is tried three times, 0.1 and 0.2 s apart.  After that the key's breaker is open: for 1 s, doubled with
 * each further failure up to 5 min, calls fail with -EAGAIN at once and nothing is started.  What the ring
 * holds already stays usable.  -ETIME: the timeout; -EPROTO: it failed; -EINVAL: what it wrote is no key.
 */
#define TK_COMMAND_TIMEOUT_MAX 300
int tk_keyring_add_command(struct tk_keyring *ring, const char *key_id, const char *const *argv,
			   unsigned int timeout, const char **ret_why);

enum tk_provider {
	TK_PROVIDER_FILE,
	TK_PROVIDER_CREDENTIAL,
	TK_PROVIDER_COMMAND,
	TK_PROVIDER_PKCS11,
};
/*
 * A key in a token, which wraps and unwraps with it (CKM_AES_KEY_WRAP) and never gives it away; so it is of no use
 * for format 1.  uri: RFC 7512, with token (or serial ...), object or id, and in its query module-path and
 * pin-source: file:/PATH, a file that only root or the caller can read, or credential:NAME.  The versions are
 * the token's AES-256 keys of that description, by CKA_ID: a big-endian number of up to 4 bytes, none: 1.
 * The module must be root's or the caller's, as a command must.  A wrong PIN is not tried a second time by this
 * process, and no PIN is when one more wrong one would lock the token.
 * -EINVAL: the uri, the key; -EACCES: the PIN's file, the module, the key's attributes; -ENOMEDIUM: no such token;
 * -ENOKEY: no such key; -EKEYREJECTED: the PIN; -EREMOTEIO: the token failed; others of open(2).
 */
int tk_keyring_add_token(struct tk_keyring *ring, const char *key_id, const char *uri, const char **ret_why);
/* -EINVAL: not such a URI.  Nothing is loaded or read. */
int tk_key_uri_check(const char *uri, const char **ret_why);

/* Where a key comes from, and one function for all of them. */
struct tk_key_source {
	enum tk_provider provider;
	char *where;	      /* the path, the credential's name, argv[0], or the URI */
	char **argv;	      /* command only; NULL at the end */
	unsigned int timeout; /* command only; seconds */
};
int tk_keyring_add_source(struct tk_keyring *ring, const char *key_id, const struct tk_key_source *source,
			  const char **ret_why);
/* It hangs on a credential, and this process was given none ($CREDENTIALS_DIRECTORY). */
bool tk_key_source_is_services(const struct tk_key_source *source);

/* How it goes with a key's provider, for reports. */
struct tk_key_health {
	bool open;		    /* the command's breaker: nothing is started before retry_seconds are over */
	unsigned int failures;	    /* since the last success; of a command each is three tries */
	unsigned int retry_seconds; /* while open, rounded up */
	time_t last_success, last_failure; /* by the wall's clock; 0: none yet */
	const char *why;		   /* of the last failure, static; NULL when a success followed */
};
/* -TK_E_NO_KEY: no provider was ever asked for it. */
int tk_keyring_health(struct tk_keyring *ring, const char *key_id, struct tk_key_health *ret_health);
/* Adds raw bytes as one version (tests, other providers). */
int tk_keyring_add(struct tk_keyring *ring, const char *key_id, uint32_t version,
		   const uint8_t kek[TK_KEK_SIZE]);
/* The current version of a key. -TK_E_NO_KEY. */
int tk_keyring_current(const struct tk_keyring *ring, const char *key_id, uint32_t *ret_version);
/*
 * Copies a kek out; version 0 means the current one (format 1 files). The caller wipes with tk_wipe().
 * -EOPNOTSUPP: it is in a token, which never gives it.
 */
int tk_keyring_get(const struct tk_keyring *ring, const char *key_id, uint32_t version,
		   uint8_t ret_kek[TK_KEK_SIZE]);
/*
 * A file key under a policy key, and back: RFC 3394 with the default IV (FORMAT.md, Header), by whoever has the
 * policy key.  version 0: the current one.  -TK_E_NO_KEY, -TK_E_WRONG_KEY; of a token -ENOMEDIUM (it is not
 * there), -EKEYREJECTED (it refuses the PIN), -ENOKEY (the key is not in it any more), -EREMOTEIO (it failed).
 */
int tk_keyring_wrap(const struct tk_keyring *ring, const char *key_id, uint32_t version, const uint8_t key[32],
		    uint8_t ret_wrapped[40]);
int tk_keyring_unwrap(const struct tk_keyring *ring, const char *key_id, uint32_t version,
		      const uint8_t wrapped[40], uint8_t ret_key[32]);
/* The lowest version above this one (0: the lowest of all).  -TK_E_NO_KEY: there is none. */
int tk_keyring_version_after(const struct tk_keyring *ring, const char *key_id, uint32_t version,
			     uint32_t *ret_version);
/*
 * The master key of an fscrypt policy, and the name the kernel knows it by, from one version of a policy key: two
 * HKDF-SHA256-Expand of it (RFC 5869) that nothing else uses, 64 bytes because kernels before 5.16 want as many
 * for AES-256-XTS.  It depends on nothing else, so nothing that could get lost has to be kept beside the key:
 * which version a directory is under its policy tells, which names the key.
 */
#define TK_SHIELD_KEY 64
#define TK_SHIELD_ID 16
/* version 0: the current one.  The caller wipes.  -TK_E_NO_KEY; -EOPNOTSUPP: it is in a token. */
int tk_shield_derive(const struct tk_keyring *ring, const char *key_id, uint32_t version,
		     uint8_t ret_key[TK_SHIELD_KEY], uint8_t ret_identifier[TK_SHIELD_ID]);
/* The same of whichever version that has this name.  -TK_E_WRONG_KEY: none has. */
int tk_shield_find(const struct tk_keyring *ring, const char *key_id, const uint8_t identifier[TK_SHIELD_ID],
		   uint8_t ret_key[TK_SHIELD_KEY], uint32_t *ret_version);
/* The key in a text of one of the two forms of a key file.  -EINVAL. */
int tk_key_parse(const void *text, size_t len, uint8_t ret_kek[TK_KEK_SIZE]);
void tk_wipe(void *p, size_t len);
int tk_random(void *buf, size_t len);

/* -------------------------------------------------------- whole contents */

struct tk_params {
	enum tk_algorithm algorithm;
	uint32_t version;    /* format: 1 or 2 */
	uint32_t chunk_log2; /* format 2: TK_CHUNK_LOG2_MIN..MAX */
	const char *key_id;
	uint32_t key_version; /* 0: the ring's current one */
};

/* Called now and then with bytes of plaintext done; returning non-zero stops with -ECANCELED. */
typedef int (*tk_progress)(void *ctx, uint64_t done, uint64_t total);

/*
 * Bytes of TAKA that `size` bytes of plaintext become.  -EINVAL: params; -EOVERFLOW: more than off_t holds,
 * or (version 1) than one AEAD message may: 2^36 - 32 bytes with AES-256-GCM.
 */
int tk_sealed_size(const struct tk_params *params, uint64_t size, uint64_t *ret_size);

/*
 * Encrypts `size` bytes of in_fd from in_offset to out_fd from out_offset (positional I/O; neither
 * descriptor's offset moves; out_fd is not truncated or synced; the ranges must not overlap in one file).
 * The header is written last.  -EIO when in_fd ends early.
 */
int tk_encrypt_fd(const struct tk_keyring *ring, const struct tk_params *params, int in_fd, off_t in_offset,
		  uint64_t size, int out_fd, off_t out_offset, tk_progress progress, void *ctx,
		  uint64_t *ret_size);

/*
 * Decrypts the `size` bytes of TAKA at in_offset of in_fd to out_fd from out_offset.
 * Each record (version 1: the whole body, in a first pass) is authenticated before any of its
 * plaintext is written, and up to 1 MiB of plaintext nothing is written unless everything is authentic.
 * Beyond that, records before a damaged one may have been written when -TK_E_AUTH is returned (version 1:
 * only when the file changed between the passes): the caller discards what it has.
 * The two ranges must not overlap in one file.  ret_header may be NULL.
 */
int tk_decrypt_fd(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, int out_fd,
		  off_t out_offset, tk_progress progress, void *ctx, struct tk_header *ret_header);

/*
 * The same to the end of a regular file: plaintext of zeros, 64 KiB at a multiple of that, is left out, so that
 * a file that was sparse is so again (FORMAT.md knows no holes: the ciphertext has them as encrypted zeros).
 * For who can do without the blocks: a hole that is filled later may meet a full disk.
 * -EINVAL: out_fd is no regular file or longer than out_offset.
 */
int tk_decrypt_fd_sparse(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size, int out_fd,
			 off_t out_offset, tk_progress progress, void *ctx, struct tk_header *ret_header);

/* Decrypts nothing to anywhere: true authenticity of header and every record. */
int tk_verify_fd(const struct tk_keyring *ring, int in_fd, off_t in_offset, uint64_t size,
		 tk_progress progress, void *ctx);

/* ---------------------------------------------------- parts of contents */

/*
 * Reads any part of a TAKA file in any order; used by one thread at a time.
 *
 * tk_reader_open() makes every check that needs no body, with tk_decrypt_fd()'s errors: the header against
 * `size`, its tag (version 2), the key.  What is wrong in the body shows when it is read.  The descriptor stays
 * the caller's and must outlive the reader; its offset does not move.  The ring may be freed before.
 */
struct tk_reader;
int tk_reader_open(const struct tk_keyring *ring, int fd, off_t offset, uint64_t size,
		   struct tk_reader **ret_reader);
void tk_reader_free(struct tk_reader *reader); /* wipes; NULL is fine */
/* As long as the reader. */
const struct tk_header *tk_reader_header(const struct tk_reader *reader);
/*
 * Up to len bytes of plaintext from `at`; fewer only at the end of the plaintext, 0 beyond it.  All of them are
 * authentic when this returns 0.  Version 2 reads and opens the records that the range touches, and keeps the
 * last of them for the next call, which may find it there after the file has changed; version 1 has one tag for
 * everything, so each call reads all of the file and takes another len bytes of memory.
 * -TK_E_AUTH: the part is damaged, or was put there from elsewhere; -EIO: the file has become shorter.
 * buf then holds no plaintext: version 2 may have wiped it, version 1 left it as it was.
 */
int tk_reader_read(struct tk_reader *reader, void *buf, size_t len, uint64_t at, size_t *ret_len);

/* ----------------------------------------------- changing parts of contents */

/*
 * Writes and reads any part of a version 2 file in any order, extends and cuts it; used by one thread at a
 * time (large writes take others on, as whole contents do).
 *
 * The file is touched by tk_writer_commit() alone, and that is all or nothing: a record that is overwritten
 * in place is neither old nor new when the power goes, so what was changed waits, sealed, in a second file of
 * the caller's, the log, which is on the disk before anything else is done.  After a crash, or when a commit
 * failed, the file may be between its two states, where a reader meets -TK_E_LENGTH, -TK_E_AUTH, or some
 * records of each.  tk_writer_recover() ends that, and has to come before anybody reads or writes the file
 * again.
 *
 * The TAKA is at offset and ends with its file.  Both descriptors are open for reading and writing, without
 * O_APPEND, stay the caller's and must outlive the writer; their offsets do not move.  The log is a regular
 * file, empty at first; it becomes as long as what changes between two commits, holds no plaintext, and is as
 * worthy of protection as the file.  The caller keeps it where it is found after a crash, its directory
 * synced (or takes a memfd for a file that nobody has seen yet), one for each file, and keeps others off
 * both: a second writer, and readers during a commit.  The ring may be freed before.
 *
 * Every record is sealed under a nonce of its own, 96 random bits, each time it goes to the log.  The file
 * key stays, so that two things are as they cannot be with whole contents: who can write the file's bytes can
 * put an earlier record back in its own place, and it is authentic; and of 2^32 records sealed under one key
 * (SP 800-38D 8.3) those of former writers count as well, which no field tells.  tk_reencrypt_fd() gives a
 * new key.
 *
 * Version 1 is a single message under the policy key itself: no part of it can change by itself.  It gives
 * -EOPNOTSUPP; tk_decrypt_fd() and tk_encrypt_fd() make version 2 of it.
 */
struct tk_writer;
/*
 * An existing file, as of its last commit: a log that was left is seen to first, as by tk_writer_recover(),
 * with its errors; then those of tk_reader_open().  -EBADF: a descriptor is not as above; -EOPNOTSUPP: version 1.
 */
int tk_writer_open(const struct tk_keyring *ring, int fd, off_t offset, int log_fd,
		   struct tk_writer **ret_writer);
/*
 * A new one, of no plaintext, where fd ends at offset; -EEXIST where it does not.  There is nothing, not even
 * a header, before the first commit.  Errors of tk_encrypt_fd() and of tk_writer_open().
 */
int tk_writer_create(const struct tk_keyring *ring, const struct tk_params *params, int fd, off_t offset,
		     int log_fd, struct tk_writer **ret_writer);
/* Wipes; what was not committed is lost, and left in the log for the next to discard.  NULL is fine. */
void tk_writer_free(struct tk_writer *writer);
/* Bytes of plaintext, uncommitted ones among them. */
uint64_t tk_writer_size(const struct tk_writer *writer);
/* As tk_reader_read(), of what was written last, committed or not.  buf is wiped on failure. */
int tk_writer_read(struct tk_writer *writer, void *buf, size_t len, uint64_t at, size_t *ret_len);
/*
 * All of len bytes at `at`, also beyond the end: what is between reads as zeros (and takes its room:
 * FORMAT.md knows no holes).  Of a chunk that is changed in part the rest must be authentic.  One changed
 * chunk is kept in memory, so small writes in a row seal it once; whole chunks of large writes do not pass it.
 * In memory are two chunks, about 40 bytes for each record that changed since the last commit, and while a
 * large write or a commit lasts 1 MiB, or a chunk if that is more, for each thread.  -EOVERFLOW: the file
 * would be longer than off_t holds; nothing was done.
 *
 * After any other failure of this, truncate or commit (-ENOSPC, -EIO, -TK_E_AUTH, ...) the writer refuses
 * everything with the same error: free it and begin again with tk_writer_open(), from the last commit.
 */
int tk_writer_write(struct tk_writer *writer, const void *buf, size_t len, uint64_t at);
/* Cuts or, with zeros, extends to size bytes of plaintext.  Failures as above. */
int tk_writer_truncate(struct tk_writer *writer, uint64_t size);
/*
 * Makes everything since the last commit the content of the file.  When this returns 0, the file is on the
 * disk as it is now, and the log is empty there.  When it fails, or there is a crash, tk_writer_recover()
 * makes the file what it was before, or what it should have become, and nothing else: the latter once the log
 * is complete.  Room that the file grows by is reserved before, where the filesystem can.  Without changes
 * nothing is done. -ESTALE: the header or the length is not what it was: somebody else has changed the file.
 */
int tk_writer_commit(struct tk_writer *writer);
/*
 * Ends what a crash or a failure left: a complete log is put into the file, and the file on the disk; one
 * that is not complete never touched it.  In both cases the log is then empty, on the disk.  Of a log that is
 * empty nothing is asked, not even a key.  Any failure keeps the log, so this can be repeated: -ENOSPC and
 * others of the system; -EINVAL: this is no log, or one whose marks are damaged; -ESTALE: the file is not the
 * one that the log was begun with; -TK_E_NO_KEY and others of tk_reader_open(): of the log's header; other
 * -TK_E_*: the log is damaged.  All of the log was authentic before this
 * touches the file; the commit that failed may have left it between its states, though.
 */
int tk_writer_recover(const struct tk_keyring *ring, int fd, off_t offset, int log_fd);

/* ------------------------------------------------------------- the header */

/* Header only: looks the key up, unwraps, checks the header's tag (version 1: key lookup only). */
int tk_header_verify(const struct tk_keyring *ring, int fd, off_t offset, uint64_t size,
		     struct tk_header *ret_header);

/*
 * Version 2: puts the file under another version of its policy key (0: the ring's current one) by
 * replacing the header, in one write of TK_HEADER_V2_SIZE bytes at offset; same file key, the body is not
 * touched, nothing is synced.  The old header is verified first.  -EINVAL: version 1 has no file key.
 * -EBUSY: the file's size or mtime changed in between, nothing was written; only a lease, which is the caller's
 * to take, keeps writers out altogether.  ret_header may be NULL.
 */
int tk_header_rewrap(const struct tk_keyring *ring, int fd, off_t offset, uint64_t size, uint32_t key_version,
		     struct tk_header *ret_header);

/*
 * Version 2: writes the `size` bytes of TAKA at in_offset of in_fd anew to out_fd from out_offset, with the same
 * length, algorithm, chunk size and key id, a new file key, and under key_version (0: the ring's current one).
 * Every record is authenticated before it is sealed again; the header is written last.  -EINVAL: version 1 has
 * no file key.  On failure the caller discards what out_fd has.  ret_header may be NULL.
 */
int tk_reencrypt_fd(const struct tk_keyring *ring, uint32_t key_version, int in_fd, off_t in_offset,
		    uint64_t size, int out_fd, off_t out_offset, tk_progress progress, void *ctx,
		    struct tk_header *ret_header);

/* SHA-256 of a file's whole contents; the descriptor's offset does not move.  -errno of pread(2). */
int tk_sha256_fd(int fd, uint8_t ret[32]);

#endif
