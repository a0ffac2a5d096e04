/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/agent/record.h - a file and its record, for those who have the file's turn.  All but
 * tk_file_set_state() may fail half way and be called again.  0 or -errno.
 */
#ifndef TK_AGENT_RECORD_H
#define TK_AGENT_RECORD_H

#include "loader/agent/agent.h"

/* Here and in the kernel programs; -EBUSY and -ENOSPC: see tk_kernel_set_state(). */
int tk_file_set_state(struct tk_agent *agent, struct tk_file *file, enum tk_file_state state);
/* One in that state with the times of st, and nothing of contents yet. */
struct tk_record tk_record_for(const struct tk_file *file, enum tk_record_state state, const struct stat *st);
int tk_file_commit(struct tk_file *file, struct tk_draft *draft, struct tk_record *record, bool durable);
int tk_file_turn_record(struct tk_file *file, enum tk_record_state state);
int tk_file_sync_vault(struct tk_file *file);
/* The record's name only: tk_file_sync_vault() makes it durable. */
int tk_file_unlink(struct tk_file *file);
/* The file's own content must be durable before. */
int tk_file_sealed(struct tk_agent *agent, struct tk_file *file);
int tk_file_forget(struct tk_file *file);

/* lost.c, before the volume is recovered: this record's file is gone, or cannot be read. */
int tk_lost_add(struct tk_volume *volume, const struct tk_record *record);

#endif
