/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/differential/interpreter.h - POLICY.md, read aloud: a slow, obvious
 * interpreter that walks the JSON for every question.  It shares no code with
 * loader/policy or bpf/decide.h, so that a misunderstanding must happen twice to
 * go unseen.
 */
#ifndef TK_TESTS_INTERPRETER_H
#define TK_TESTS_INTERPRETER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct question {
	uint32_t uid;
	uint32_t login_uid; /* (uint32_t)-1: never logged in */
	uint32_t gids[4];
	size_t gid_count;
	size_t when;	    /* index into world_instants */
	size_t unit;	    /* index into world_units */
	size_t exe;	    /* index into world_exes */
	bool foreign_code;  /* the process has mapped code that its group can write */
	bool written;	    /* somebody has opened the executable for writing since it was measured */
	char path[256];	    /* absolute */
	const char *action; /* a single one */
};

struct opinion {
	bool guarded; /* false: nothing else is meant */
	size_t guard; /* index in guard_points */
	const char *policy;
	char below[256];
	const char *mode;
	bool permit, apply_key, audit;
	int rule; /* index in the policy's rules; -1: none matched */
};

/* `root` is where the world's executables are. */
void interpret(const cJSON *policy, const char *root, const struct question *question,
	       struct opinion *ret_opinion);

#endif
