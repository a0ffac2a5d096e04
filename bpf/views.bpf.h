/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/views.bpf.h - the two views of a file, one at a time.  Owns the maps
 * open_files and descriptions: who has a guarded file open, in which view, and
 * whether the plaintext is there.
 *
 * Plaintext and raw bytes exclude each other like readers and writers of a lock,
 * and the agent's transitions take part: everything changes under the entry's
 * lock.  A description is counted in file_open, before the agent is asked, and
 * uncounted in file_free_security, which runs for every description whose
 * file_open ran, failed opens and killed openers included.
 */
#ifndef TK_VIEWS_BPF_H
#define TK_VIEWS_BPF_H

#include "audit.bpf.h"
#include "place.bpf.h"

static __always_inline struct tk_bucket *tk_bucket(const struct tk_inode *inode)
{
	__u32 index = TK_BUCKET_OF(inode) & (TK_BUCKETS - 1);

	return bpf_map_lookup_elem(&open_files, &index);
}

/* Under the bucket's lock: the inode's entry, or NULL. */
static __always_inline struct tk_open_file *tk_find(struct tk_bucket *bucket, const struct tk_inode *inode)
{
	for (int i = 0; i < TK_BUCKET_FILES; i++) {
		struct tk_open_file *file = &bucket->files[i];

		if (file->inode.ino == inode->ino && file->inode.dev == inode->dev &&
		    file->inode.igeneration == inode->igeneration)
			return file;
	}
	return 0;
}

/* Under the bucket's lock: the inode's entry, in the place of one that says nothing if need be.  NULL: full. */
static __always_inline struct tk_open_file *tk_find_or_make(struct tk_bucket *bucket, const struct tk_inode *inode)
{
	struct tk_open_file *file = tk_find(bucket, inode);

	if (file)
		return file;
	for (int i = 0; i < TK_BUCKET_FILES; i++) {
		file = &bucket->files[i];
		if (file->plain || file->raw || file->state != TK_SEALED)
			continue;
		file->inode = *inode;
		file->written = 0;
		return file;
	}
	return 0;
}

/*
 * Does the raw view see this file, and may it write it?  A kept file shows its ciphertext, but a crash would undo
 * what is written there: the agent must have made it a sealed one before (loader/agent/kept.c).
 */
static __always_inline bool tk_is_raw(__u32 state, bool write)
{
	return state == TK_SEALED || (state == TK_KEPT && !write);
}

/*
 * Counts one more description.  0; -EBUSY when the raw view is asked for and the file is not sealed or open
 * as plaintext; -ENOMEM.  The plaintext view never answers -EBUSY: the agent waits for raw readers to go.
 * write: the raw view is asked for, and the agent will not be asked before the bytes are changed.
 */
TK_GLOBAL int tk_view_enter(struct tk_access *a, __u32 view, bool write)
{
	struct tk_open_file *file;
	struct tk_bucket *bucket;
	struct tk_inode inode;
	int err = -ENOMEM;

	if (!a)
		return -ENOMEM;
	inode = a->inode;
	bucket = tk_bucket(&inode);
	if (!bucket)
		return -ENOMEM;
	bpf_spin_lock(&bucket->lock);
	file = tk_find_or_make(bucket, &inode);
	if (file) {
		err = 0;
		if (view == TK_VIEW_PLAIN)
			file->plain++;
		else if (tk_is_raw(file->state, write) && !file->plain)
			file->raw++;
		else
			err = -EBUSY;
	}
	bpf_spin_unlock(&bucket->lock);
	return err;
}

/* Uncounts a description; tells the agent of the last one. */
static __always_inline void tk_view_leave(const struct tk_inode *inode, __u32 view)
{
	struct tk_bucket *bucket = tk_bucket(inode);
	struct tk_open_file *file;
	bool last = false;

	if (!bucket)
		return;
	bpf_spin_lock(&bucket->lock);
	file = tk_find(bucket, inode);
	if (file && view == TK_VIEW_PLAIN && file->plain)
		last = --file->plain == 0;
	else if (file && view == TK_VIEW_RAW && file->raw)
		last = --file->raw == 0;
	bpf_spin_unlock(&bucket->lock);
	if (last)
		tk_notify(TK_NOTICE_CLOSED, inode, 0, view);
}

/*
 * May an access in `view` go on through this description (NULL: it was opened before the policy was loaded)?
 * 0, or the reason.  The raw view needs the file sealed; the plaintext view needs the plaintext there.
 * `write` is noted under the same lock, so that no write escapes the seal.
 */
static __always_inline __u32 tk_view_holds(const struct tk_inode *inode, const struct tk_description *description,
					   __u32 view, bool write, bool adopting)
{
	struct tk_bucket *bucket = tk_bucket(inode);
	__u32 state = TK_SEALED, plain = 0;
	struct tk_open_file *file;

	if (!bucket)
		return TK_NO_MEMORY;
	if (description && description->view != view)
		return TK_OTHER_VIEW; /* a descriptor that was passed on, or a policy that changed */
	bpf_spin_lock(&bucket->lock);
	file = tk_find(bucket, inode);
	if (file) {
		state = file->state;
		plain = file->plain;
		if (write && view == TK_VIEW_PLAIN && state != TK_OPEN_READ)
			file->written = 1;
	}
	bpf_spin_unlock(&bucket->lock);
	/*
	 * A raw description is counted, so the agent unseals nothing while there is one: it goes on even while
	 * somebody waits for the plaintext.  One from before the load is not, and must keep away from then on.
	 */
	if (view == TK_VIEW_RAW)
		return tk_is_raw(state, write) && (description || !plain) ? 0 : TK_OTHER_VIEW;
	if (state == TK_OPEN || (state == TK_OPEN_READ && !write))
		return 0;
	/*
	 * Opened before the load: plaintext perhaps, until the agent has looked.  Opened since: the agent died
	 * before it answered, so the bytes are not plaintext.
	 */
	return !description && state == TK_SEALED && adopting ? 0 : TK_IN_TRANSITION;
}

/*
 * The verdict left for the agent, a word, is removed by the thread that it is about alone, which is in no other open
 * then: any other thread could meet the word that has come in its place.  Here it is one that no event has asked for
 * (loader/agent/marks.c).
 */
static __always_inline void tk_take_back_word(void)
{
	__u32 tid = bpf_get_current_pid_tgid();

	if (bpf_map_lookup_elem(&pending_opens, &tid))
		bpf_map_delete_elem(&pending_opens, &tid);
}

/* Is this file plaintext, or on its way?  `left`: and nobody has it open. */
static __always_inline bool tk_is_unsealed(const struct tk_inode *inode, bool left)
{
	struct tk_bucket *bucket = tk_bucket(inode);
	struct tk_open_file *file;
	bool unsealed;

	if (!bucket)
		return true;
	bpf_spin_lock(&bucket->lock);
	file = tk_find(bucket, inode);
	unsealed = file && (!tk_is_raw(file->state, false) || file->plain) && !(left && file->plain);
	bpf_spin_unlock(&bucket->lock);
	return unsealed;
}

/*
 * Under the bucket's lock: may this file, which has a place, keep it for as long as the agent likes?  Not so many
 * that an open finds no place.
 */
_Static_assert(TK_SEALED == 0, "counted as nothing");
static __always_inline bool tk_has_room(const struct tk_bucket *bucket)
{
	__u64 taken = 0;

	/* Counted without a branch: the verifier would follow each way through all of them. */
	for (int i = 0; i < TK_BUCKET_FILES; i++) {
		const struct tk_open_file *file = &bucket->files[i];
		__u64 any = (__u64)file->plain | file->raw | file->state, minus = -any;

		asm volatile("" : "+r"(minus)); /* nor may the compiler make one of it */
		taken += (any | minus) >> 63;
	}
	return taken <= TK_BUCKET_FILES / 2;
}

/*
 * Outside, may somebody by this name see what was unsealed for those who came by another?  A file that is open and
 * has no other name is one whose guard point was taken away (`reload --force`): a file like others there.  Once it
 * is closed it is about to be sealed, and cannot be told from one whose name inside is gone: it is opened no more,
 * but who has opened it before the load goes on.  opened: he comes by description a->file, and may if it was counted.
 */
TK_GLOBAL int tk_is_others(struct tk_access *a, bool opened)
{
	struct tk_inode inode;
	__u64 address;
	bool several;

	if (!a)
		return 1;
	inode = a->inode;
	address = a->file;
	several = tk_has_other_names(a);
	if (opened && (!several || bpf_map_lookup_elem(&descriptions, &address)))
		return 0;
	return tk_is_unsealed(&inode, !several);
}

/* The agent's side of the lock: see tk_kernel_set_state(). */
static __always_inline int tk_set_state(const struct tk_inode *inode, __u32 state)
{
	struct tk_bucket *bucket = tk_bucket(inode);
	struct tk_open_file *file;
	int err = 0;

	if (!bucket)
		return -ENOMEM;
	bpf_spin_lock(&bucket->lock);
	file = state == TK_SEALED ? tk_find(bucket, inode) : tk_find_or_make(bucket, inode);
	if (!file)
		err = state == TK_SEALED ? 0 : -ENOMEM;
	else if (state == TK_UNSEALING && file->raw)
		err = -EBUSY;
	else if (state == TK_SEALING && file->plain)
		err = -EBUSY;
	else if (state == TK_KEPT && !tk_has_room(bucket))
		err = -ENOSPC;
	else
		file->state = state;
	if (file && !err && state == TK_UNSEALING)
		file->written = 0;
	bpf_spin_unlock(&bucket->lock);
	return err;
}

#endif
