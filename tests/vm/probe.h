/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Owns the contract between the probe's operations and its frame: how an operation says
 * what happened. Nothing here knows about the product under test.
 *
 * An operation returns OK after the kernel allowed everything, and otherwise leaves
 * through one of the three calls below, which end the process. What belongs to the tested
 * act goes through refused(), what merely prepares it through no_setup(): a broken probe
 * can then never pass for a denial.
 */
#ifndef TK_PROBE_H
#define TK_PROBE_H

#include <stddef.h>
#include <sys/types.h>

enum outcome { OK = 0, REFUSED = 10, WRONG = 11, NO_SETUP = 12 };

/* The tested act failed with errno, at this step (a system call's name). */
_Noreturn void refused(const char *step);
/* It was refused without an errno; NAME says how. */
_Noreturn void refused_as(const char *name, const char *step);
/* The kernel did something inconsistent: success without effect, other data than written. */
_Noreturn __attribute__((format(printf, 1, 2))) void wrong(const char *fmt, ...);
/* The act could not be tried. errno is printed if not 0. */
_Noreturn __attribute__((format(printf, 1, 2))) void no_setup(const char *fmt, ...);

/* Prints data as a line "data TEXT", at most 256 bytes, bytes that do not print as \xHH. */
void show(const char *data, size_t size);
/* Reads and shows from the file's beginning; an empty file is data too. */
void show_fd(int fd);
/* Writes all of TEXT at offset 0. */
void put_fd(int fd, const char *text);
int must_open(const char *path, int flags);
long number(const char *text);
/* Changes to these identities for good; negative and NULL leave them. */
void become(long uid, long gid, const char *groups);
/* Waits up to a minute for a file to appear. */
void await(const char *flag);
/* Ends like the child did: operations that need a second process act in it. */
_Noreturn void end_like(pid_t child);

struct operation {
	const char *name;
	const char *arguments; /* "PATH [TEXT]": words in brackets may be left out; "..." takes all */
	void (*act)(char **args); /* NULL-terminated, one slot for each word; returns if it worked */
};

extern const struct operation data_operations[], name_operations[], other_operations[], exe_operations[],
	code_operations[], load_operations[];

#endif
