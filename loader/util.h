/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/util.h - what the verbs share: cleanup, the one line per failure,
 * the progress bar, numbers in and out.  No verb's own business.
 */
#ifndef TK_LOADER_UTIL_H
#define TK_LOADER_UTIL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "crypto/takakrypt.h"

/* ---------------------------------------------------------------- cleanup */

static inline void tk_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void tk_freep(void *p)
{
	free(*(void **)p);
}

static inline void tk_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void tk_json_freep(cJSON **json)
{
	cJSON_Delete(*json);
}

static inline void tk_keyring_freep(struct tk_keyring **ring)
{
	tk_keyring_free(*ring);
}

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_close_ _cleanup_(tk_closep) /* int fd = -1 */
#define _cleanup_free_ _cleanup_(tk_freep)
#define _cleanup_fclose_ _cleanup_(tk_fclosep)
#define _cleanup_json_ _cleanup_(tk_json_freep)
#define _cleanup_keyring_ _cleanup_(tk_keyring_freep)

/* Hands ownership over: yields the value and leaves none behind. */
#define TK_TAKE_PTR(p)                        \
	({                                    \
		__typeof__(p) tk_taken = (p); \
		(p) = NULL;                   \
		tk_taken;                     \
	})
#define TK_TAKE_FD(fd)               \
	({                           \
		int tk_taken = (fd); \
		(fd) = -1;           \
		tk_taken;            \
	})

/* --------------------------------------------------------------- failures */

/*
 * One line on stderr: "takakrypt-bpf: WHAT ON: WHY; REMEDY".  Control
 * characters in `on` and `why` are shown as \xNN.  remedy may be NULL.
 * Returns TK_EXIT_FAILED.
 */
int tk_fail(const char *what, const char *on, const char *why, const char *remedy);
/* The same for a value of the library or a -errno: tk_strerror() and advice that fits it. */
int tk_fail_err(const char *what, const char *on, int err);
/* File names come from anywhere: none may move the cursor or forge a line. */
void tk_put_safe(FILE *f, const char *text);
/* What to do about an error; NULL when nothing useful can be said. */
const char *tk_advice(int err);
/* "takakrypt-bpf: VERB: MESSAGE; see `takakrypt-bpf help VERB`".  Returns TK_EXIT_USAGE. */
int tk_usage(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* ---------------------------------------------------------------- numbers */

/* Decimal, no sign, no blanks, no leading zeros but "0" itself; -EINVAL, -ERANGE. */
int tk_parse_u64(const char *text, uint64_t max, uint64_t *ret_value);
/* The same with an optional K, M or G (1024). */
int tk_parse_size(const char *text, uint64_t *ret_value);

#define TK_SIZE_TEXT 24
/* "317 B", "1.5 KiB"; returns buf. */
const char *tk_size_text(uint64_t bytes, char buf[TK_SIZE_TEXT]);

/* ------------------------------------------------------------------- json */

/* As an integer of 64 bits: cJSON's own numbers are doubles.  -ENOMEM. */
int tk_json_u64(cJSON *object, const char *name, uint64_t value);
/* Prints to stdout with a newline.  -ENOMEM. */
int tk_json_print(const cJSON *json);

/* ---------------------------------------------------------------- process */

/* No core dump and no ptrace by other users' processes: for verbs that hold keys. */
void tk_hold_secrets(void);

/* SIGINT, SIGTERM and SIGHUP set a flag instead of killing, so temporary files can be removed. */
void tk_catch_signals(void);
bool tk_interrupted(void);

/*
 * A line on stderr while it is a terminal: bytes, rate, time left.  Silent
 * otherwise and for what takes less than half a second.
 */
struct tk_bar {
	const char *label; /* borrowed */
	bool terminal, drawn;
	struct timespec start, last;
};
void tk_bar_start(struct tk_bar *bar, const char *label);
/* A tk_progress; ctx is the bar.  Stops the work when tk_interrupted(). */
int tk_bar_update(void *ctx, uint64_t done, uint64_t total);
void tk_bar_end(struct tk_bar *bar);

#endif
