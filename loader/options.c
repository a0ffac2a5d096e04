// SPDX-License-Identifier: GPL-2.0
/*
 * loader/options.c - from a table of options to getopt_long(3) and back; options.h has
 * the contract.
 */
#include "loader/options.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "loader/cmd.h"
#include "loader/util.h"

/* What getopt_long() did not understand: '?', or ':' for a value that is missing. */
static int not_understood(const char *verb, char **argv, int c)
{
	const char *given = argv[optind - 1];

	if (c == ':')
		return tk_usage(verb, "option %s needs a value", given);
	/* An unknown short option may be in the middle of a bundle; optopt knows it. */
	if (optopt && strncmp(given, "--", 2) != 0)
		return tk_usage(verb, "there is no option -%c", optopt);
	if (optopt)
		return tk_usage(verb, "option %s takes no value", given);
	return tk_usage(verb, "there is no option %s, or it is not unique", given);
}

static int take(const char *verb, const struct tk_option *option)
{
	const char *wrong;

	if (option->flag) {
		*option->flag = true;
	} else if (option->text) {
		*option->text = optarg;
	} else if (option->number) {
		uint64_t v;

		if (tk_parse_u64(optarg, option->max, &v) < 0 || v < option->min)
			return tk_usage(verb, "--%s %s is not a number from %" PRIu32 " to %" PRIu32,
					option->name, optarg, option->min, option->max);
		*option->number = (uint32_t)v;
	} else {
		wrong = option->parse(optarg, option->into);
		if (wrong)
			return tk_usage(verb, "--%s %s %s", option->name, optarg, wrong);
	}
	return TK_GO_ON;
}

int tk_options(const char *verb, const char *help, const struct tk_option *options, int argc, char **argv)
{
	struct option known[TK_OPTIONS_MAX + 2] = {{"help", no_argument, NULL, 'h'}};
	char letters[2 * TK_OPTIONS_MAX + 3] = ":h", *end = letters + 2;
	bool given[TK_OPTIONS_MAX] = {};
	int c;

	for (int i = 0; options[i].name; i++) {
		assert(i < TK_OPTIONS_MAX);
		known[i + 1] = (struct option){options[i].name, options[i].flag ? no_argument : required_argument,
					       NULL, UCHAR_MAX + 1 + i};
		if (!options[i].letter)
			continue;
		*end++ = options[i].letter;
		if (!options[i].flag)
			*end++ = ':';
	}
	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, letters, known, NULL)) != -1) {
		int i = c - UCHAR_MAX - 1, code;

		if (c == 'h') {
			fputs(help, stdout);
			return TK_EXIT_DONE;
		}
		if (c == '?' || c == ':')
			return not_understood(verb, argv, c);
		for (int k = 0; i < 0 && options[k].name; k++)
			if (options[k].letter == c)
				i = k;
		if (given[i])
			return tk_usage(verb, "--%s is given twice", options[i].name);
		given[i] = true;
		code = take(verb, &options[i]);
		if (code != TK_GO_ON)
			return code;
	}
	return TK_GO_ON;
}
