// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/shortage.c - what the programs may run short of, in words: each time
 * they denied something for it, and somebody should know why.
 */
#include "loader/kernel/kernel.h"

static const struct {
	const char *name, *text;
} shortages[TK_COUNTER_COUNT] = {
	[TK_COUNT_FOREIGN_FULL] = {
		"mappings refused for want of room in foreign_code",
		"there are more processes with code that is not root's than kernel.threads-max let expect at load; end some, "
		"or `unload` and `load`, which makes room by what the limit is now",
	},
	[TK_COUNT_NO_SCRATCH] = {
		"units that could not be told in the crowd",
		"an access was denied for that; tried again it works",
	},
};

const char *tk_shortage_name(enum tk_counter counter)
{
	return shortages[counter].name;
}

const char *tk_shortage_text(enum tk_counter counter)
{
	return shortages[counter].text;
}
