// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/cases.c - reads the cases that a policy is tested with.
 */
#include "loader/policy/cases.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "loader/policy/internal.h"

const char *const tk_expect_names[TK_EXPECTS] = {
	[TK_EXPECT_PERMIT] = "permit",
	[TK_EXPECT_APPLY_KEY] = "permit+apply_key",
	[TK_EXPECT_DENY] = "deny",
	[TK_EXPECT_NOT_GUARDED] = "not_guarded",
};

enum { NAME, USER, PROCESS, ACTION, PATH, EXPECT, GROUPS, LOGIN, UNIT, FOREIGN_CODE, AT, RULE, FIELDS };

static char *copy(struct tk_report *report, const cJSON *item)
{
	char *fresh = item ? strdup(item->valuestring) : NULL;

	if (item && !fresh)
		report->no_memory = true;
	return fresh;
}

/* An empty list means: in no group. */
static char *parse_groups(struct tk_report *report, const struct tk_place *at, const cJSON *list)
{
	const cJSON *item;
	size_t len, index = 0;
	char *text = NULL;
	FILE *out;

	if (list->child)
		tk_json_strings(report, at, list);
	out = open_memstream(&text, &len);
	if (!out) {
		report->no_memory = true;
		return NULL;
	}
	cJSON_ArrayForEach (item, list) {
		const char *name = cJSON_GetStringValue(item);

		if (name && strchr(name, ','))
			tk_error(report, TK_AT(at, index), "a group's name with a comma: give its gid");
		else if (name && tk_check_account(report, TK_AT(at, index), name, true))
			fprintf(out, "%s%s", index ? "," : "", name);
		index++;
	}
	if (fclose(out) == EOF) {
		report->no_memory = true;
		free(text);
		return NULL;
	}
	return text;
}

static const char *action_at(const void *words, size_t index)
{
	(void)words;
	return tk_action_name(1u << index);
}

static const char *expect_at(const void *names, size_t index)
{
	return ((const char *const *)names)[index];
}

static void parse_words(struct tk_report *report, const struct tk_place *at, const cJSON *const items[FIELDS],
			struct tk_case *out)
{
	if (items[ACTION]) {
		const char *word = items[ACTION]->valuestring;

		out->action = tk_action_parse(word);
		if (!out->action)
			tk_error(report, TK_AT_KEY(at, "action"), "no single action \"%s\"%s", TK_SHOW(word),
				 tk_did_you_mean(word, NULL, TK_ACTION_COUNT, action_at).text);
	}
	if (items[EXPECT]) {
		const char *word = items[EXPECT]->valuestring;
		int found = 0;

		while (found < TK_EXPECTS && strcmp(tk_expect_names[found], word))
			found++;
		if (found == TK_EXPECTS)
			tk_error(report, TK_AT_KEY(at, "expect"),
				 "no verdict \"%s\" (expected \"permit\", \"permit+apply_key\", \"deny\" or "
				 "\"not_guarded\")%s",
				 TK_SHOW(word),
				 tk_did_you_mean(word, tk_expect_names, TK_EXPECTS, expect_at).text);
		else
			out->expect = (enum tk_expect)found;
	}
	if (items[RULE]) {
		double rule = items[RULE]->valuedouble;

		if (rule < 0 || rule >= TK_MAX_RULES || rule != (int)rule)
			tk_error(report, TK_AT_KEY(at, "rule"),
				 "expected the index of a rule, the first is 0");
		else
			out->rule = (int)rule;
	}
}

static void parse_case(struct tk_report *report, const struct tk_place *at, const cJSON *object,
		       struct tk_case *out)
{
	static const struct tk_field fields[FIELDS] = {
		[NAME] = {"name", cJSON_String, TK_REQUIRED},
		[USER] = {"user", cJSON_String, TK_REQUIRED},
		[PROCESS] = {"process", cJSON_String, TK_REQUIRED},
		[ACTION] = {"action", cJSON_String, TK_REQUIRED},
		[PATH] = {"path", cJSON_String, TK_REQUIRED},
		[EXPECT] = {"expect", cJSON_String, TK_REQUIRED},
		[GROUPS] = {"groups", cJSON_Array, TK_OPTIONAL},
		[LOGIN] = {"login", cJSON_String, TK_OPTIONAL},
		[UNIT] = {"unit", cJSON_String, TK_OPTIONAL},
		[FOREIGN_CODE] = {"foreign_code", cJSON_True, TK_OPTIONAL},
		[AT] = {"at", cJSON_String, TK_OPTIONAL},
		[RULE] = {"rule", cJSON_Number, TK_OPTIONAL},
	};
	const cJSON *items[FIELDS];

	out->rule = TK_ANY_RULE;
	if (!tk_json_fields(report, at, object, fields, FIELDS, items))
		return;
	for (int i = NAME; i <= EXPECT; i++) {
		if (items[i] && !*items[i]->valuestring)
			tk_error(report, TK_AT_KEY(at, fields[i].name), "an empty string");
	}
	out->name = copy(report, items[NAME]);
	out->user = copy(report, items[USER]);
	out->process = copy(report, items[PROCESS]);
	out->path = copy(report, items[PATH]);
	out->login = copy(report, items[LOGIN]);
	out->unit = copy(report, items[UNIT]);
	out->foreign_code = items[FOREIGN_CODE] && cJSON_IsTrue(items[FOREIGN_CODE]);
	out->at.when = time(NULL);
	if (items[AT] && !tk_moment_parse(items[AT]->valuestring, &out->at))
		tk_error(report, TK_AT_KEY(at, "at"),
			 "expected \"mon 09:30\" or an instant such as \"2026-11-21T09:30:00+07:00\"");
	if (items[GROUPS])
		out->groups = parse_groups(report, TK_AT_KEY(at, "groups"), items[GROUPS]);
	parse_words(report, at, items, out);
	if (items[RULE] && items[EXPECT] && out->expect == TK_EXPECT_NOT_GUARDED)
		tk_error(report, TK_AT_KEY(at, "rule"), "no rule decides what is not guarded");
}

static void parse_cases(struct tk_report *report, const cJSON *tree, struct tk_cases *cases)
{
	const cJSON *item;

	if (!cJSON_IsArray(tree)) {
		tk_error(report, NULL, "expected a list of cases, found %s", tk_json_type(tree));
		return;
	}
	/* A test that tests nothing would always pass. */
	if (!tree->child)
		tk_error(report, NULL, "expected at least one case, found an empty list");
	cJSON_ArrayForEach (item, tree) {
		size_t index = cases->count;
		struct tk_case *fresh = tk_append(&cases->items, &cases->count, sizeof(*fresh));

		if (!fresh) {
			report->no_memory = true;
			return;
		}
		parse_case(report, TK_AT(NULL, index), item, fresh);
	}
}

void tk_cases_free(struct tk_cases *cases)
{
	for (size_t i = 0; i < cases->count; i++) {
		free(cases->items[i].name);
		free(cases->items[i].user);
		free(cases->items[i].process);
		free(cases->items[i].path);
		free(cases->items[i].groups);
		free(cases->items[i].login);
		free(cases->items[i].unit);
	}
	free(cases->items);
	*cases = (struct tk_cases){0};
}

int tk_cases_load(const char *path, struct tk_cases *ret_cases, struct tk_problems *ret_problems)
{
	struct tk_report report = {0};
	struct tk_cases cases = {0};
	TK_FREE char *text = NULL;
	TK_JSON cJSON *tree = NULL;
	size_t len;
	int r = tk_text_read(path, &text, &len);

	if (r < 0)
		return r;
	tree = tk_json_parse(text, len, &report);
	if (tree)
		parse_cases(&report, tree, &cases);
	r = tk_report_end(&report, ret_problems);
	if (r < 0)
		tk_cases_free(&cases);
	else
		*ret_cases = cases;
	return r;
}
