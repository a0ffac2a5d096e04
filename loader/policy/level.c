// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/level.c - one word at the top of a policy for what it leaves
 * unsaid.  policies/README.md has this table for people.
 */
#include <string.h>

#include "loader/policy/internal.h"

static const struct tk_level levels[] = {
	{"normal", TK_ENFORCE, false, true},
	{"minimal", TK_ENFORCE, false, false},
	{"paranoid", TK_ENFORCE, true, true},
	{"learning", TK_LEARN, false, true},
};
#define LEVELS (sizeof(levels) / sizeof(levels[0]))

static const char *level_at(const void *list, size_t index)
{
	return ((const struct tk_level *)list)[index].name;
}

const struct tk_level *tk_level_parse(struct tk_report *report, const struct tk_place *at, const char *name)
{
	if (!name)
		return &levels[0];
	for (size_t i = 0; i < LEVELS; i++) {
		if (!strcmp(levels[i].name, name))
			return &levels[i];
	}
	tk_error(report, at,
		 "no level \"%s\"%s (expected \"minimal\", \"normal\", \"paranoid\" or \"learning\")",
		 TK_SHOW(name), tk_did_you_mean(name, levels, LEVELS, level_at).text);
	return &levels[0];
}
