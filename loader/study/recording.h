/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/recording.h - recorded audit events (the lines of `events --json`) as
 * replay and learn need them: each distinct deed once, with how often it was seen.
 */
#ifndef TK_LOADER_RECORDING_H
#define TK_LOADER_RECORDING_H

#include <stdio.h>

#include "loader/study/explain.h"

struct tk_deed {
	char *guard;		   /* name of the guard point, as recorded */
	char *path;		   /* absolute; "?…" when the guard point was not known */
	char *exe;		   /* NULL: the process had ended before it was looked up */
	struct tk_inode exe_inode; /* all zero: not recorded */
	gid_t *gids;		   /* NULL: not recorded */
	size_t gid_count;
	uint32_t uid, gid;
	uint32_t action; /* enum tk_action, or 0: several at once, or none */
	int rule;	 /* -1: none */
	uint32_t reason; /* enum tk_reason; TK_REASON_COUNT: of another version */
	bool permitted, apply_key, cut;
	bool foreign_code; /* mapped by the process */
	/* What the recording's policy asks for, and nothing where there is none. */
	enum tk_login login;
	uint32_t unit; /* as in struct tk_recorded */
	bool timed;
	int64_t when;		    /* of the first one */
	struct tk_set_bits holding; /* time sets, at each of them */
	size_t line; /* where it was seen first, from 1 */
	uint64_t count;
};

struct tk_recording {
	/* Whose time sets, units and log-in tell deeds apart; set before the first line.  NULL: nothing of
	 * that does. */
	const struct tk_compiled *policy;
	struct tk_deed **deeds; /* in the order of their first lines */
	size_t deed_count, deed_room;
	uint64_t event_count;
	size_t malformed;
	void *index; /* recording.c's own */
};

/*
 * Reads lines to the end.  A line that is no event is reported on stderr with its number, counted, and
 * passed over.  `name` is the stream's, for people.  -ENOMEM, -errno of reading.
 */
int tk_recording_read(struct tk_recording *recording, FILE *stream, const char *name);
/* One line more; -EINVAL with the fault in *ret_why. */
int tk_recording_add(struct tk_recording *recording, const char *line, const char **ret_why);
void tk_recording_free(struct tk_recording *recording);

/*
 * Whether the rules decided.  Of sets that foreign code cost its process they may have, too; the loss itself is no
 * access.
 */
bool tk_deed_by_rules(const struct tk_deed *deed);
/* Whether a rule decided, so that another policy's rules can be asked the same: NULL, or why not. */
const char *tk_deed_unfit(const struct tk_deed *deed);
/* What is asked again; borrows from the deed. */
struct tk_recorded tk_deed_recorded(const struct tk_deed *deed);
/* "data_read /srv/a by uid 1001 in /usr/bin/cat (line 17)" */
void tk_deed_print(FILE *out, const struct tk_deed *deed);

#endif
