/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/options.h - a verb's options as a table: what they are called, where their
 * values go.  Each may be given once; every verb has --help and -h besides.
 */
#ifndef TK_LOADER_OPTIONS_H
#define TK_LOADER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* One of flag, text, number and parse says what it takes; what they point to is left alone when it is not given. */
struct tk_option {
	const char *name; /* without "--"; NULL ends a table */
	char letter;	  /* "-o" for it as well; 0: none */

	bool *flag;	   /* takes no value */
	const char **text; /* takes any; borrowed from argv */
	uint32_t *number;  /* takes a decimal from min to max */
	uint32_t min, max;
	/* takes a value to put into `into`; NULL, or what is wrong with it: "is not a power of two" */
	const char *(*parse)(const char *value, void *into);
	void *into;
};

#define TK_OPTIONS_MAX 16
#define TK_GO_ON (-1)
/*
 * Reads the options.  TK_GO_ON: the arguments begin at argv[optind]; otherwise the exit code, after `help` or a
 * line about the wrong usage was printed.
 */
int tk_options(const char *verb, const char *help, const struct tk_option *options, int argc, char **argv);

#endif
