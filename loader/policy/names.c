// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/names.c - the words for numbers of abi.h: actions and their
 * groups, effects, reasons.
 */
#include <string.h>

#include "loader/policy/internal.h"

/* Groups first, single actions after them. */
const struct tk_word tk_action_words[] = {
	{"read", TK_READ_GROUP},
	{"write", TK_WRITE_GROUP},
	{"all_ops", TK_ALL_OPS},
	{"data_read", TK_DATA_READ},
	{"data_write", TK_DATA_WRITE},
	{"execute", TK_EXECUTE},
	{"list", TK_LIST},
	{"create", TK_CREATE},
	{"delete", TK_DELETE},
	{"rename", TK_RENAME},
	{"link", TK_LINK},
	{"set_attr", TK_SET_ATTR},
	{"key_op", TK_KEY_OP},
};
const size_t tk_action_word_count = sizeof(tk_action_words) / sizeof(tk_action_words[0]);
#define GROUPS 3
_Static_assert(sizeof(tk_action_words) / sizeof(tk_action_words[0]) == GROUPS + TK_ACTION_COUNT,
	       "a word for every action");

const struct tk_word tk_effect_words[TK_EFFECT_WORDS] = {
	{"permit", TK_PERMIT},
	{"deny", 0},
	{"apply_key", TK_APPLY_KEY},
	{"audit", TK_AUDIT},
};

const char *tk_word_at(const void *words, size_t index)
{
	return ((const struct tk_word *)words)[index].name;
}

const struct tk_word *tk_word_find(const struct tk_word *words, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(words[i].name, name))
			return &words[i];
	}
	return NULL;
}

const char *tk_action_name(uint32_t action)
{
	for (size_t i = GROUPS; i < tk_action_word_count; i++) {
		if (tk_action_words[i].bits == action)
			return tk_action_words[i].name;
	}
	return NULL;
}

uint32_t tk_action_parse(const char *name)
{
	const struct tk_word *word = tk_word_find(tk_action_words + GROUPS, TK_ACTION_COUNT, name);

	return word ? word->bits : 0;
}

const char *tk_mode_name(uint32_t mode)
{
	return mode == TK_MONITOR ? "monitor" : mode == TK_LEARN ? "learn" : "enforce";
}

const char *tk_reason_name(uint32_t reason)
{
	static const char *const names[] = {
		[TK_BY_RULE] = "by_rule",
		[TK_NO_RULE] = "no_rule",
		[TK_PLACE_UNKNOWN] = "place_unknown",
		[TK_IDENTITY_UNKNOWN] = "identity_unknown",
		[TK_TIME_UNKNOWN] = "time_unknown",
		[TK_NOT_READY] = "not_ready",
		[TK_UNWATCHED_MOUNT] = "unwatched_mount",
		[TK_OTHER_VIEW] = "other_view",
		[TK_IN_TRANSITION] = "in_transition",
		[TK_LEAVES_GUARD] = "leaves_guard",
		[TK_GUARD_STRUCTURE] = "guard_structure",
		[TK_IOCTL] = "ioctl",
		[TK_NO_MEMORY] = "no_memory",
		[TK_SPLIT_VIEW] = "split_view",
		[TK_FOREIGN_TRACER] = "foreign_tracer",
		[TK_FOREIGN_CODE] = "foreign_code",
	};
	_Static_assert(sizeof(names) / sizeof(names[0]) == TK_REASON_COUNT, "a word for every reason");

	return reason < TK_REASON_COUNT ? names[reason] : "unknown";
}
