// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/contents.c - moves contents: ciphertext to plaintext and back.  Owns
 * the order of the steps, which is what keeps a file whole through a crash at any
 * instant.  Does not decide when a file moves (turn.c) nor how a record is stored
 * (journal.c).
 *
 * The order, both ways:
 *	1. the state is set, so that nobody reads or writes what is about to move;
 *	2. the ciphertext is durable in a record that says RESTORE;
 *	3. only then the file is touched: cut to nothing, then written;
 *	4. the record goes when the file is durable (seal), or says WRITABLE before the first
 *	   opener that may write is let in (unseal).
 * Whatever happens between 2 and 4, the payload put back gives the whole file.
 *
 * The file is cut before it is written because pages that are still in a pipe or a
 * socket must keep what they hold (KERNEL.md 18), which an overwrite would change.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "loader/agent/io.h"
#include "loader/agent/record.h"

/* Times that were set while the file was being encrypted, before it was touched, are the ones to keep. */
static void take_times(const struct tk_file *file, struct tk_record *record)
{
	struct stat st;

	if (!fstat(file->path, &st)) {
		record->atime = st.st_atim;
		record->mtime = st.st_mtim;
	}
}

/* The payload is the truth again, whatever the record said. */
static void make_payload_the_truth(struct tk_file *file)
{
	if (file->record.state == TK_WRITABLE)
		file->unsure = true; /* put_back() writes it down first */
	file->record.state = TK_RESTORE;
}

/* ---------------------------------------------------------------- unseal */

/* Empty, new, or plaintext from elsewhere: nothing moves, but the journal must know. */
static int begin_plain(struct tk_agent *agent, struct tk_file *file, const struct stat *st)
{
	struct tk_record record = tk_record_for(file, TK_WRITABLE, st);
	TK_AUTO_DRAFT draft = {.fd = -1};
	int err;

	if (file->has_record && file->record.payload_size)
		return -EBUSY; /* it may be the only copy */
	record.fresh = !st->st_size;
	record.plain_size = (uint64_t)st->st_size;
	err = tk_draft_new(file->volume, &draft);
	if (err == -EROFS && record.fresh)
		return 0; /* nothing can be written to it either */
	if (err)
		return err;
	err = tk_file_commit(file, &draft, &record, !record.fresh);
	if (err)
		return err;
	file->writable = true;
	return 0;
}

/* Step 2: the ciphertext, durable, in a record. */
static int keep_ciphertext(struct tk_agent *agent, struct tk_file *file, int fd, const struct stat *st,
			   const struct tk_header *header)
{
	struct tk_record record = tk_record_for(file, TK_RESTORE, st);
	TK_AUTO_DRAFT draft = {.fd = -1};
	int err;

	record.payload_size = (uint64_t)st->st_size;
	record.plain_size = header->original_size;
	err = tk_capability_read(fd, &record.capability);
	if (!err)
		err = tk_draft_new(file->volume, &draft);
	if (err)
		return err;
	err = tk_contents_copy(fd, 0, draft.fd, TK_PAYLOAD, record.payload_size);
	if (err)
		return err;
	return tk_file_commit(file, &draft, &record, true);
}

/* All of a small payload's plaintext. */
struct plaintext {
	uint8_t *bytes;
	size_t size;
};

static void plaintext_wipe(struct plaintext *plain)
{
	tk_wipe(plain->bytes, plain->size);
	free(plain->bytes);
}
#define AUTO_PLAINTEXT __attribute__((cleanup(plaintext_wipe))) struct plaintext

/* What is there in the end is authentic. */
static int read_plaintext(struct tk_agent *agent, struct tk_file *file, struct plaintext *ret_plain)
{
	TK_AUTO_FD payload = tk_record_payload(file->volume, &file->record);
	struct plaintext plain;
	struct tk_reader *reader;
	size_t size;
	int err = payload < 0 ? payload
			      : tk_contents_print(payload, TK_PAYLOAD, file->record.payload_size, &file->print);

	file->printed = false;
	if (!err)
		err = tk_reader_open(agent->keys, payload, TK_PAYLOAD, file->record.payload_size, &reader);
	if (err)
		return err;
	plain.size = size = tk_reader_header(reader)->original_size;
	plain.bytes = malloc(size + 1);
	err = plain.bytes ? tk_reader_read(reader, plain.bytes, size, 0, &plain.size) : -ENOMEM;
	tk_reader_free(reader);
	file->printed = !err;
	if (!err) {
		*ret_plain = plain;
		return 0;
	}
	if (plain.bytes)
		tk_wipe(plain.bytes, size); /* what came before the part that is not authentic */
	free(plain.bytes);
	return err;
}

static int decrypt(struct tk_agent *agent, struct tk_file *file, int fd)
{
	TK_AUTO_FD payload = tk_record_payload(file->volume, &file->record);
	int err = payload < 0 ? payload
			      : tk_decrypt_fd(agent->keys, payload, TK_PAYLOAD, file->record.payload_size, fd, 0,
					      tk_file_progress, file, NULL);

	atomic_store(&file->bytes_total, 0);
	return err;
}

/* Step 3.  plain: NULL: each record of the payload is authenticated before it is written (tk_decrypt_fd). */
static int write_plaintext(struct tk_agent *agent, struct tk_file *file, int fd, const struct plaintext *plain)
{
	struct timespec begun;
	int err = tk_attributes_keep(file, fd);

	if (err)
		return err;
	clock_gettime(CLOCK_REALTIME, &begun);
	err = tk_file_cut(file);
	if (!err)
		err = plain ? tk_write_at(fd, plain->bytes, plain->size, 0) : decrypt(agent, file, fd);
	if (!err)
		err = tk_capability_restore(fd, &file->record.capability);
	return err ? err : tk_times_restore(fd, &file->record, &begun);
}

/* With a record that has the ciphertext, durably.  Takes over fd. */
static int show_plaintext(struct tk_agent *agent, struct tk_file *file, int fd, const struct plaintext *plain, bool write)
{
	int err, undo;

	err = write_plaintext(agent, file, fd, plain);
	if (!err && write)
		err = tk_contents_writable(agent, file);
	tk_fd_close(&fd);
	if (!err)
		return 0;
	make_payload_the_truth(file);
	file->state = TK_SEALING;
	undo = tk_contents_put_back(agent, file, TK_RELEASE);
	if (undo)
		tk_report(agent, "putting back the ciphertext failed and will be tried again: %s",
			  tk_strerror(undo));
	return err;
}

static int unseal_taka(struct tk_agent *agent, struct tk_file *file, const struct stat *st, bool write)
{
	TK_AUTO_FD fd = tk_file_reopen(file, O_RDWR);
	struct tk_header header;
	int err;

	if (fd < 0)
		return fd;
	err = tk_header_verify(agent->keys, fd, 0, (uint64_t)st->st_size, &header);
	/* Or ciphertext carried over from another guard point would be readable by this one's rules. */
	if (!err && strcmp(header.key_id, file->recipe.key_id))
		err = -TK_E_NO_KEY;
	if (!err)
		err = keep_ciphertext(agent, file, fd, st, &header);
	if (err)
		return err; /* the file was not touched */
	return show_plaintext(agent, file, tk_steal_fd(&fd), NULL, write);
}

/*
 * The record is there already, and the programs have seen to it that nobody has written to the file since.  But it may
 * have lain there for long: a disk that spoils it must not spoil the file as well.  -EUCLEAN: it has, and the file is
 * still kept.
 */
static int unseal_kept(struct tk_agent *agent, struct tk_file *file, bool write)
{
	TK_AUTO_FD fd = tk_file_reopen(file, O_RDWR);
	AUTO_PLAINTEXT plain = {};
	struct stat st;
	int err = fd < 0 ? fd : tk_await_resizes(fd);

	if (!err && fstat(fd, &st))
		err = -errno;
	if (!err)
		err = read_plaintext(agent, file, &plain);
	if (err) { /* untouched */
		if (fd >= 0 && tk_record_holds(file->volume, &file->record, fd) <= 0)
			err = -EUCLEAN;
		if (tk_file_set_state(agent, file, TK_KEPT))
			file->state = TK_SEALING;
		return err;
	}
	file->record.atime = st.st_atim;
	return show_plaintext(agent, file, tk_steal_fd(&fd), &plain, write);
}

static int unseal_sealed(struct tk_agent *agent, struct tk_file *file, bool write)
{
	enum tk_contents kind;
	TK_AUTO_FD fd = -1;
	struct stat st;
	int err;

	fd = tk_file_reopen(file, O_RDONLY);
	err = fd < 0 ? fd : tk_await_resizes(fd);
	if (!err)
		err = fstat(fd, &st) ? -errno : tk_contents_kind(fd, (uint64_t)st.st_size, &kind);
	tk_fd_close(&fd);
	if (!err) {
		/* Opened by its only name, which is inside then; and nobody gives it one outside. */
		file->inside = st.st_nlink <= 1;
		err = kind == TK_TAKA ? unseal_taka(agent, file, &st, write) : begin_plain(agent, file, &st);
	}
	if (err && file->state == TK_UNSEALING) {
		/* Untouched: undo the state.  A record may be there, by a sync that failed: remove it first. */
		if (tk_file_sealed(agent, file))
			file->state = TK_SEALING;
	}
	return err;
}

/*
 * SEALED or KEPT to OPEN.  write: the opener may write.  -EAGAIN: readers of the raw view have it open.  After
 * any other failure the file is as it was, or SEALED, or SEALING when putting it back failed.
 */
int tk_contents_unseal(struct tk_agent *agent, struct tk_file *file, bool write)
{
	bool kept = file->state == TK_KEPT;
	int err = 0;

	if (kept && !tk_kept_holds(file)) {
		err = tk_kept_release(agent, &file, 1, true);
		kept = false;
	}
	if (err)
		return err;
	/* Its content is in the record and nowhere else, perhaps: put back first. */
	if (file->state != TK_KEPT && (file->state != TK_SEALED || file->has_record))
		return -EBUSY;
	/* Step 1: atomic with the count of raw descriptions. */
	err = tk_file_set_state(agent, file, TK_UNSEALING);
	if (err)
		return err == -EBUSY ? -EAGAIN : err;
	err = kept ? unseal_kept(agent, file, write) : unseal_sealed(agent, file, write);
	if (err == -EUCLEAN && file->state == TK_KEPT) {
		err = tk_kept_release(agent, &file, 1, true); /* after which it is kept no more */
		return err ? err : tk_contents_unseal(agent, file, write);
	}
	if (err)
		return err;
	err = tk_file_set_state(agent, file, TK_OPEN);
	if (!err)
		return 0;
	if (file->has_record && file->record.payload_size) { /* the only durable copy: not to be removed */
		make_payload_the_truth(file);
		file->state = TK_SEALING;
		tk_contents_put_back(agent, file, TK_RELEASE);
	}
	/* Untouched, with a record that nothing depends on. */
	if (file->state == TK_UNSEALING && tk_file_sealed(agent, file))
		file->state = TK_SEALING;
	return err;
}

/*
 * RESTORE to WRITABLE: from here on the file's own content is the truth, so it must be durable first.  An fsync
 * that has failed once proves nothing when it succeeds later (the pages are marked clean): such a file stays
 * as it can be restored.
 */
int tk_contents_writable(struct tk_agent *agent, struct tk_file *file)
{
	TK_AUTO_FD fd = -1;
	struct stat st;
	int err;

	if (file->sync_failed)
		return -EIO;
	/* Not for writing: that would give the opener ETXTBSY if it is execve. */
	fd = tk_file_reopen(file, O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		return fd < 0 ? fd : -errno;
	if (!file->has_record) { /* it was empty on a filesystem that was read-only at that time */
		err = begin_plain(agent, file, &st);
	} else if (fsync(fd)) {
		file->sync_failed = true;
		return -errno;
	} else {
		err = tk_file_turn_record(file, TK_WRITABLE);
	}
	return err || file->state != TK_OPEN ? err : tk_file_set_state(agent, file, TK_OPEN);
}

/* ---------------------------------------------------------------- seal */

/* Nobody wrote: the kept ciphertext goes back, byte for byte. */
static int seal_unwritten(struct tk_agent *agent, struct tk_file *file, int *fd, const struct stat *st)
{
	make_payload_the_truth(file);
	file->record.atime = st->st_atim;
	return tk_contents_put_back_by(agent, file, fd, TK_KEEP);
}

/* Encrypts into a new record, which takes the place of the old one in the instant it is whole and durable. */
static int encrypt_to_record(struct tk_agent *agent, struct tk_file *file, int fd, const struct stat *st)
{
	struct tk_record record = tk_record_for(file, TK_RESTORE, st);
	struct tk_params params = {
		.algorithm = (enum tk_algorithm)file->recipe.algorithm,
		.version = 2,
		.chunk_log2 = file->recipe.chunk_log2,
		.key_id = file->recipe.key_id,
	};
	TK_AUTO_DRAFT draft = {.fd = -1};
	int err;

	record.plain_size = (uint64_t)st->st_size;
	err = tk_sealed_size(&params, record.plain_size, &record.payload_size);
	if (!err)
		err = tk_capability_read(fd, &record.capability);
	if (!err)
		err = tk_draft_new(file->volume, &draft);
	/* Tried once, and each try would encrypt in vain until the disk is full. */
	if (!err && file->no_room)
		err = tk_room_take(draft.fd, TK_PAYLOAD + record.payload_size);
	if (!err)
		err = tk_encrypt_fd(agent->keys, &params, fd, 0, record.plain_size, draft.fd, TK_PAYLOAD,
				    tk_file_progress, file, &record.payload_size);
	atomic_store(&file->bytes_total, 0);
	if (err)
		return err;
	err = tk_file_commit(file, &draft, &record, true);
	if (draft.fd < 0) {
		file->writable = false;
		file->unsure = false;
		file->recovered = false;
	}
	return err;
}

static int seal_written(struct tk_agent *agent, struct tk_file *file, int *fd, const struct stat *st)
{
	int err = encrypt_to_record(agent, file, *fd, st);

	file->no_room = err == -ENOSPC || err == -EDQUOT;
	if (err)
		return err;
	take_times(file, &file->record);
	return tk_contents_put_back_by(agent, file, fd, TK_FLUSH_AND_KEEP);
}

/* True when the file must not be encrypted: it is TAKA already (copied in, say), of a key that is known. */
static bool is_sealed_already(struct tk_agent *agent, int fd, const struct stat *st)
{
	enum tk_contents kind;
	struct tk_header header;

	return !tk_contents_kind(fd, (uint64_t)st->st_size, &kind) && kind == TK_TAKA &&
	       !tk_header_verify(agent->keys, fd, 0, (uint64_t)st->st_size, &header);
}

/*
 * The programs note each write, but only while a guard point is there: one that a reload has taken away
 * leaves the file's own time as witness.  (utimensat(2) alone then costs an encryption that was not needed.)
 */
static bool unwritten(const struct tk_file *file, const struct tk_file_counts *counts, const struct stat *st)
{
	return file->has_record && file->record.payload_size && !counts->written && !file->must_encrypt &&
	       (uint64_t)st->st_size == file->record.plain_size && tk_same_mtime(st, &file->record);
}

static int seal_steps(struct tk_agent *agent, struct tk_file *file)
{
	TK_AUTO_FD fd = tk_file_reopen(file, O_RDWR);
	struct tk_file_counts counts;
	struct stat st;
	int err = fd < 0 ? fd : tk_await_resizes(fd);

	/* Again: nobody can write any more. */
	if (!err)
		err = tk_kernel_counts(agent->kernel, &file->inode, &counts);
	if (err || fstat(fd, &st))
		return err ?: -errno;
	if (!tk_nobody_has(fd))
		return -EAGAIN;
	if (!st.st_nlink) { /* it ends with its last descriptor: ours */
		err = tk_kept_gone(file);
		return err ? err : tk_file_sealed(agent, file);
	}
	if (unwritten(file, &counts, &st) && tk_contents_usable(agent, file))
		return seal_unwritten(agent, file, &fd, &st);
	if (!st.st_size && (!file->has_record || file->record.fresh) && !counts.written)
		return tk_file_sealed(agent, file);
	if (!st.st_size || is_sealed_already(agent, fd, &st)) {
		/* Without its record the file speaks for itself, so what it says must be on disk. */
		if (fsync(fd))
			return -errno;
		return tk_file_sealed(agent, file);
	}
	return seal_written(agent, file, &fd, &st);
}

/*
 * To SEALED, from OPEN or (plaintext found) from SEALED.  -EBUSY: somebody has it open in the plaintext
 * view; -EAGAIN: some other descriptor exists.  On failure the state is what it was, or SEALING when only
 * tk_contents_put_back() is missing.
 */
int tk_contents_seal(struct tk_agent *agent, struct tk_file *file)
{
	enum tk_file_state before = file->state;
	struct tk_file_counts counts;
	TK_AUTO_FD fd = -1;
	int err;

	/* Before the lease test, which would refuse who opens it unasked and does not want to wait (O_NONBLOCK). */
	err = tk_marks_ask_again(agent, file) ?: tk_kernel_counts(agent->kernel, &file->inode, &counts);
	if (err)
		return err;
	if (counts.plain)
		return -EBUSY;
	/* A first look before the state changes: it would disturb who had the file open before the load. */
	fd = tk_file_reopen(file, O_RDONLY);
	if (fd < 0)
		return fd;
	if (!tk_nobody_has(fd))
		return -EAGAIN;
	tk_fd_close(&fd);
	err = tk_file_set_state(agent, file, TK_SEALING); /* -EBUSY when an opener has come */
	if (err)
		return err;
	file->state = before;
	err = seal_steps(agent, file);
	if (!err || file->state != before)
		return err;
	/* The file was not touched.  Found plaintext has no record: the raw view may write it next. */
	if ((before == TK_SEALED && tk_file_forget(file)) || tk_file_set_state(agent, file, before))
		file->state = TK_SEALING;
	return err;
}
