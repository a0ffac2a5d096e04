// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/describe.c - a compiled rule and sets of bits in words again, for
 * people.
 */
#include <stdio.h>

#include "loader/policy/internal.h"

static void put_names(FILE *out, const __u64 sets[TK_SET_WORDS], char *const *names, size_t count)
{
	const char *between = "";

	for (size_t i = 0; i < count; i++) {
		if (sets[i / 64] >> (i % 64) & 1) {
			fprintf(out, "%s%s", between, names[i]);
			between = ", ";
		}
	}
}

static void put_dimension(FILE *out, const struct tk_rule *rule, enum tk_kind kind,
			  const __u64 sets[TK_SET_WORDS], char *const *names, size_t count)
{
	if (!(rule->named >> kind & 1))
		return;
	fprintf(out, "%s %s", tk_dimension_names[kind], rule->negated >> kind & 1 ? "not " : "");
	put_names(out, sets, names, count);
	fputs("; ", out);
}

/* Groups where they fit, single actions for the rest. */
static void put_actions(FILE *out, uint32_t actions)
{
	const char *between = "";

	for (size_t i = 0; i < tk_action_word_count && actions; i++) {
		const struct tk_word *word = &tk_action_words[i];

		/* all_ops stands behind the smaller groups in the table, but comes first here. */
		if (actions == TK_ALL_OPS && word->bits != TK_ALL_OPS)
			continue;
		if ((actions & word->bits) == word->bits) {
			fprintf(out, "%s%s", between, word->name);
			actions &= ~word->bits;
			between = ", ";
		}
	}
}

char *tk_rule_text(const struct tk_compiled *compiled, const struct tk_rule *rule)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	put_dimension(out, rule, TK_USER_SETS, rule->users, compiled->user_sets, compiled->user_set_count);
	put_dimension(out, rule, TK_PROCESS_SETS, rule->processes, compiled->process_sets,
		      compiled->process_set_count);
	put_dimension(out, rule, TK_RESOURCE_SETS, rule->resources, compiled->resource_sets,
		      compiled->resource_set_count);
	put_dimension(out, rule, TK_TIME_SETS, rule->times, compiled->time_sets, compiled->time_set_count);
	put_actions(out, rule->actions);
	fputs(rule->effects & TK_PERMIT ? " → permit" : " → deny", out);
	if (rule->effects & TK_APPLY_KEY)
		fputs(", apply_key", out);
	if (rule->effects & TK_AUDIT)
		fputs(", audit", out);
	return fclose(out) == EOF ? free(text), NULL : text;
}
