/* SPDX-License-Identifier: GPL-2.0 */
/* loader/agent/journal.h - the records that make moving contents safe; journal.c has the bytes. */
#ifndef TK_AGENT_JOURNAL_H
#define TK_AGENT_JOURNAL_H

#include <time.h>

#include "loader/agent/places.h"

enum tk_record_state {
	TK_RESTORE = 1,	 /* the file's content is the payload: ciphertext */
	TK_WRITABLE = 2, /* the file's own content is the truth: plaintext */
};

#define TK_RECORD_NAME 48
#define TK_PAYLOAD \
	4096 /* offset of the payload in a record: a block, so that it can be shared (FICLONERANGE) */

/* One not-sealed file, as the journal has it. */
struct tk_capability {
	char value[64];
	uint32_t size; /* 0: none */
};

struct tk_record {
	char name[TK_RECORD_NAME]; /* in the vault */
	uint64_t sequence;
	uint32_t state; /* enum tk_record_state */
	bool fresh;	/* made for an empty file: never synced, nothing depends on it */
	bool unguarded; /* its file's own content counts more: see tk_vault_unguard() */
	bool this_boot; /* read: it was written since the machine was started */
	struct tk_inode inode;
	struct tk_handle handle;
	uint64_t payload_size;	      /* 0: none */
	uint64_t plain_size;	      /* bytes of plaintext that were written at unseal */
	struct timespec atime, mtime; /* that the payload goes with */
	struct timespec stored_mtime; /* the mtime that is in the vault */
	struct tk_capability capability; /* security.capability, which moving the contents takes away */
	struct tk_recipe recipe;
};

/* A record in the making, under a temporary name; gone unless committed. */
struct tk_draft {
	struct tk_volume *volume; /* borrowed */
	int fd;
	char name[TK_RECORD_NAME];
};
#define TK_AUTO_DRAFT __attribute__((cleanup(tk_draft_drop))) struct tk_draft

int tk_vault_open(struct tk_volume *volume);
/* How many records lie in the vault at a mount point; 0 when there is none. */
int tk_vault_in_use(const char *point);
/*
 * The administrator has taken the guard away (`unload --force`), and knows it: what is in the files from then on
 * counts more than the records that are still there.  The first is for a mount point and durable.
 */
int tk_vault_unguard(const char *point);
bool tk_vault_was_unguarded(const struct tk_volume *volume);
int tk_vault_guarded_again(const struct tk_volume *volume); /* durably, when each record that it concerns says so */
void tk_record_name(struct tk_record *record);
int tk_draft_new(struct tk_volume *volume, struct tk_draft *ret_draft);
/*
 * Puts the record in front of the draft's payload and gives it its name.  replace: the file has a record
 * already; -EEXIST when it has one that the caller does not know of.
 */
int tk_draft_commit(struct tk_draft *draft, struct tk_record *record, bool durable, bool replace);
void tk_draft_drop(struct tk_draft *draft);
/* One durable write: state and times as they are in the struct. */
int tk_record_rewrite(struct tk_volume *volume, struct tk_record *record);
int tk_record_payload(const struct tk_volume *volume, const struct tk_record *record); /* fd, or -errno */
int tk_record_unlink(struct tk_volume *volume, const struct tk_record *record);
int tk_record_remove(struct tk_volume *volume, const struct tk_record *record); /* and durably */
/*
 * Out of recovery's way, for good (and durably, when the vault is synced): what it holds is not for the agent to
 * decide.  ret_name: of TK_RECORD_NAME bytes, what it is called from now on.
 */
int tk_record_aside(struct tk_volume *volume, const struct tk_record *record, char *ret_name);
bool tk_record_is_aside(const char *name);
/* Durably: what was found in the record's file, which the draft has as a TAKA file, and no record. */
int tk_draft_found(struct tk_draft *draft, const struct tk_record *record, char *ret_name);
bool tk_record_is_found(const char *name);
/* Has the file just the payload's bytes?  1, 0; -errno when either cannot be read. */
int tk_record_holds(const struct tk_volume *volume, const struct tk_record *record, int fd);
/* -EBADMSG: not a whole record.  -ENODATA: one whose making was cut short and that never mattered. */
int tk_record_read(const struct tk_volume *volume, const char *name, struct tk_record *ret_record);

#endif
