// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/sets.c - from the text to struct tk_model: the sections of sets.
 */
#include <errno.h>
#include <string.h>

#include "loader/policy/internal.h"

const char *const tk_section_names[TK_KINDS] = {"user_sets", "process_sets", "resource_sets", "time_sets"};
const char *const tk_kind_words[TK_KINDS] = {"user set", "process set", "resource set", "time set"};
const char *const tk_dimension_names[TK_KINDS] = {"users", "processes", "resources", "times"};

static void parse_accounts(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			   const cJSON *list, uint32_t set, bool group)
{
	const cJSON *item;
	size_t index = 0;

	tk_json_strings(report, at, list);
	cJSON_ArrayForEach (item, list) {
		const char *name = cJSON_GetStringValue(item);
		struct tk_model_user *user;

		if (name && tk_check_account(report, TK_AT(at, index), name, group)) {
			user = TK_APPEND(report, model->users, model->user_count);
			if (user)
				*user = (struct tk_model_user){set, index, name, group};
		}
		index++;
	}
}

static void parse_user_set(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			   const cJSON *object, uint32_t set)
{
	static const struct tk_field fields[] = {
		{"users", cJSON_Array, TK_OPTIONAL},
		{"groups", cJSON_Array, TK_OPTIONAL},
		{"login", cJSON_String, TK_OPTIONAL},
	};
	const cJSON *items[3];

	if (!tk_json_fields(report, at, object, fields, 3, items))
		return;
	if (!cJSON_GetObjectItemCaseSensitive(object, "users") &&
	    !cJSON_GetObjectItemCaseSensitive(object, "groups"))
		tk_error(report, at, "expected \"users\", \"groups\" or both");
	if (items[0])
		parse_accounts(report, model, TK_AT_KEY(at, "users"), items[0], set, false);
	if (items[1])
		parse_accounts(report, model, TK_AT_KEY(at, "groups"), items[1], set, true);
	if (items[2] && strcmp(items[2]->valuestring, "required"))
		tk_error(report, TK_AT_KEY(at, "login"), "no login \"%s\" (expected \"required\")",
			 TK_SHOW(items[2]->valuestring));
	model->sets[TK_USER_SETS][set].login = items[2];
}

static void parse_process(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			  const cJSON *object, uint32_t set, size_t index)
{
	static const struct tk_field fields[] = {
		{"path", cJSON_String, TK_OPTIONAL},
		{"name", cJSON_String, TK_OPTIONAL},
		{"sha256", cJSON_String, TK_OPTIONAL},
		{"unit", cJSON_String, TK_OPTIONAL},
	};
	struct tk_model_process process = {.set = set, .index = index}, *added;
	TK_FREE struct tk_glob *path = NULL;
	TK_FREE struct tk_glob *name = NULL;
	const cJSON *items[4];

	if (!tk_json_fields(report, at, object, fields, 4, items))
		return;
	if (!cJSON_GetObjectItemCaseSensitive(object, "path") &&
	    !cJSON_GetObjectItemCaseSensitive(object, "name") &&
	    (items[2] || !cJSON_GetObjectItemCaseSensitive(object, "unit")))
		/* A digest alone would mean reading every executable of the machine. */
		tk_error(report, at, "expected \"path\", \"name\" or both%s",
			 items[2] ? " beside \"sha256\"" : ", or \"unit\"");
	if (items[0] &&
	    tk_check_glob(report, TK_AT_KEY(at, "path"), items[0]->valuestring, TK_GLOB_PATH, &path))
		process.path = items[0]->valuestring;
	if (items[1] &&
	    tk_check_glob(report, TK_AT_KEY(at, "name"), items[1]->valuestring, TK_GLOB_NAME, &name))
		process.name = items[1]->valuestring;
	if (items[2])
		process.has_sha256 = tk_check_sha256(report, TK_AT_KEY(at, "sha256"), items[2]->valuestring,
						     process.sha256);
	if (items[3] && tk_check_unit(report, TK_AT_KEY(at, "unit"), items[3]->valuestring))
		process.unit = items[3]->valuestring;
	added = TK_APPEND(report, model->processes, model->process_count);
	if (added)
		*added = process;
}

static void parse_process_set(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			      const cJSON *object, uint32_t set)
{
	static const struct tk_field fields[] = {
		{"processes", cJSON_Array, TK_REQUIRED},
		{"integrity", cJSON_True, TK_OPTIONAL},
	};
	const struct tk_place *list = TK_AT_KEY(at, "processes");
	const cJSON *items[2], *item;
	size_t index = 0;

	if (!tk_json_fields(report, at, object, fields, 2, items) || !items[0])
		return;
	model->sets[TK_PROCESS_SETS][set].integrity =
		items[1] ? cJSON_IsTrue(items[1]) : model->level->integrity;
	if (!items[0]->child)
		tk_error(report, list, "expected at least one entry, found an empty list");
	cJSON_ArrayForEach (item, items[0]) {
		parse_process(report, model, TK_AT(list, index), item, set, index);
		index++;
	}
}

static void parse_resource_set(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			       const cJSON *object, uint32_t set)
{
	static const struct tk_field fields[] = {{"paths", cJSON_Array, TK_REQUIRED}};
	const struct tk_place *list = TK_AT_KEY(at, "paths");
	const cJSON *items[1], *item;
	size_t index = 0;

	if (!tk_json_fields(report, at, object, fields, 1, items) || !items[0])
		return;
	tk_json_strings(report, list, items[0]);
	cJSON_ArrayForEach (item, items[0]) {
		const char *text = cJSON_GetStringValue(item);
		struct tk_glob *glob = NULL;
		struct tk_model_pattern *pattern;

		if (text && tk_check_glob(report, TK_AT(list, index), text, TK_GLOB_RESOURCE, &glob)) {
			pattern = TK_APPEND(report, model->patterns, model->pattern_count);
			if (pattern)
				*pattern = (struct tk_model_pattern){set, index, glob};
			else
				free(glob);
		}
		index++;
	}
}

static void parse_days(struct tk_report *report, const struct tk_place *at, const cJSON *list,
		       struct tk_time_spec *spec)
{
	const cJSON *item;
	size_t index = 0;

	spec->days = 0;
	tk_json_strings(report, at, list);
	cJSON_ArrayForEach (item, list) {
		const char *name = cJSON_GetStringValue(item);
		unsigned int day;

		if (name && tk_day_parse(name, &day))
			spec->days |= (uint8_t)(1 << day);
		else if (name)
			tk_error(report, TK_AT(at, index),
				 "no day \"%s\" (one of sun, mon, tue, wed, thu, fri, sat)", TK_SHOW(name));
		index++;
	}
}

static void parse_range(struct tk_report *report, const struct tk_place *at, const cJSON *from,
			const cJSON *to, struct tk_time_spec *spec)
{
	if (!from || !to) {
		tk_error(report, at, "\"%s\" without \"%s\"", from ? "from" : "to", from ? "to" : "from");
		return;
	}
	if (!tk_clock_parse(from->valuestring, &spec->from) || spec->from == 24 * 60)
		tk_error(report, TK_AT_KEY(at, "from"), "expected a time from \"00:00\" to \"23:59\"");
	else if (!tk_clock_parse(to->valuestring, &spec->to))
		tk_error(report, TK_AT_KEY(at, "to"), "expected a time from \"00:00\" to \"24:00\"");
	else if (spec->from == spec->to)
		tk_error(report, TK_AT_KEY(at, "to"),
			 "the range is empty (for whole days leave \"from\" and \"to\" out)");
}

static void parse_time_set(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			   const cJSON *object, uint32_t set)
{
	static const struct tk_field fields[] = {
		{"days", cJSON_Array, TK_OPTIONAL},
		{"from", cJSON_String, TK_OPTIONAL},
		{"to", cJSON_String, TK_OPTIONAL},
		{"timezone", cJSON_String, TK_REQUIRED},
	};
	struct tk_time_spec *spec = TK_APPEND(report, model->times, model->time_count);
	const cJSON *items[4];
	const char *why;
	int r;

	if (!spec)
		return;
	*spec = (struct tk_time_spec){.days = 0x7f, .to = 24 * 60};
	if (!tk_json_fields(report, at, object, fields, 4, items))
		return;
	if (!object->child || (object->child == items[3] && !object->child->next))
		tk_error(report, at, "expected \"days\", or \"from\" and \"to\", or all of them");
	if (items[0])
		parse_days(report, TK_AT_KEY(at, "days"), items[0], spec);
	if (items[1] || items[2])
		parse_range(report, at, items[1], items[2], spec);
	if (!items[3])
		return;
	r = tk_zone_read(items[3]->valuestring, &spec->zone, &why);
	if (r == -EINVAL)
		tk_error(report, TK_AT_KEY(at, "timezone"), "\"%s\": %s", TK_SHOW(items[3]->valuestring), why);
	else if (r < 0)
		report->no_memory = true;
}

void tk_model_parse_sets(struct tk_report *report, struct tk_model *model, enum tk_kind kind,
			 const cJSON *sets)
{
	static void (*const parse_set[TK_KINDS])(struct tk_report *, struct tk_model *,
						 const struct tk_place *, const cJSON *, uint32_t) = {
		parse_user_set,
		parse_process_set,
		parse_resource_set,
		parse_time_set,
	};
	const struct tk_place *here = TK_AT_KEY(NULL, tk_section_names[kind]);
	const cJSON *item;

	cJSON_ArrayForEach (item, sets) {
		const struct tk_place *at = TK_AT_KEY(here, item->string);
		struct tk_model_set *set;

		if (model->set_count[kind] == TK_MAX_SETS) {
			tk_error(report, at, "more than %d %ss", TK_MAX_SETS, tk_kind_words[kind]);
			return;
		}
		tk_check_name(report, at, item->string);
		set = TK_APPEND(report, model->sets[kind], model->set_count[kind]);
		if (!set)
			return;
		set->name = item->string;
		parse_set[kind](report, model, at, item, (uint32_t)(model->set_count[kind] - 1));
	}
}
