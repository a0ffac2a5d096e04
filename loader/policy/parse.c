// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/parse.c - from the text to struct tk_model: every section but
 * the rules (rules.c).  Reports all it finds; a fault in one place does not keep
 * the others from being read.
 */
#include <string.h>

#include "loader/policy/internal.h"

const char *const tk_section_names[TK_KINDS] = {"user_sets", "process_sets", "resource_sets"};
const char *const tk_kind_words[TK_KINDS] = {"user set", "process set", "resource set"};
const char *const tk_dimension_names[TK_KINDS] = {"users", "processes", "resources"};

/* Appends to a list of the model, or notes that there is no memory. */
#define APPEND(report, list, count)                                                          \
	({                                                                                   \
		__typeof__(*(list)) *fresh_ = tk_append(&(list), &(count), sizeof(*(list))); \
		if (!fresh_)                                                                 \
			(report)->no_memory = true;                                          \
		fresh_;                                                                      \
	})

/* ---------------------------------------------------------------- keys */

static void parse_key(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
		      const cJSON *object)
{
	static const struct tk_field fields[] = {
		{"provider", cJSON_String, TK_REQUIRED},
		{"path", cJSON_String, TK_REQUIRED},
	};
	const cJSON *items[2];
	struct tk_model_key *key;

	tk_check_key_id(report, at, object->string);
	key = APPEND(report, model->keys, model->key_count);
	if (!key)
		return;
	key->id = object->string;
	if (!tk_json_fields(report, at, object, fields, 2, items))
		return;
	if (items[0] && strcmp(items[0]->valuestring, "file"))
		tk_error(report, TK_AT_KEY(at, "provider"),
			 "key provider \"%s\" is not supported by this version (expected \"file\")",
			 TK_SHOW(items[0]->valuestring));
	if (items[1] && tk_check_path(report, TK_AT_KEY(at, "path"), items[1]->valuestring))
		key->path = items[1]->valuestring;
}

static void parse_keys(struct tk_report *report, struct tk_model *model, const cJSON *keys)
{
	const struct tk_place *here = TK_AT_KEY(NULL, "keys");
	const cJSON *item;

	cJSON_ArrayForEach (item, keys)
		parse_key(report, model, TK_AT_KEY(here, item->string), item);
}

/* ---------------------------------------------------------------- sets */

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
			user = APPEND(report, model->users, model->user_count);
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
		{"login", 0, TK_UNSUPPORTED},
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
}

static void parse_process(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			  const cJSON *object, uint32_t set, size_t index)
{
	static const struct tk_field fields[] = {
		{"path", cJSON_String, TK_OPTIONAL},
		{"name", cJSON_String, TK_OPTIONAL},
		{"sha256", cJSON_String, TK_OPTIONAL},
		{"unit", 0, TK_UNSUPPORTED},
	};
	struct tk_model_process process = {.set = set, .index = index}, *added;
	TK_FREE struct tk_glob *path = NULL;
	TK_FREE struct tk_glob *name = NULL;
	const cJSON *items[4];

	if (!tk_json_fields(report, at, object, fields, 4, items))
		return;
	if (!cJSON_GetObjectItemCaseSensitive(object, "path") &&
	    !cJSON_GetObjectItemCaseSensitive(object, "name"))
		/* A digest alone would mean reading every executable of the machine. */
		tk_error(report, at, "expected \"path\", \"name\" or both");
	if (items[0] &&
	    tk_check_glob(report, TK_AT_KEY(at, "path"), items[0]->valuestring, TK_GLOB_PATH, &path))
		process.path = items[0]->valuestring;
	if (items[1] &&
	    tk_check_glob(report, TK_AT_KEY(at, "name"), items[1]->valuestring, TK_GLOB_NAME, &name))
		process.name = items[1]->valuestring;
	if (items[2])
		process.has_sha256 = tk_check_sha256(report, TK_AT_KEY(at, "sha256"), items[2]->valuestring,
						     process.sha256);
	added = APPEND(report, model->processes, model->process_count);
	if (added)
		*added = process;
}

static void parse_process_set(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			      const cJSON *object, uint32_t set)
{
	static const struct tk_field fields[] = {
		{"processes", cJSON_Array, TK_REQUIRED},
		{"integrity", 0, TK_UNSUPPORTED},
	};
	const struct tk_place *list = TK_AT_KEY(at, "processes");
	const cJSON *items[2], *item;
	size_t index = 0;

	if (!tk_json_fields(report, at, object, fields, 2, items) || !items[0])
		return;
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
			pattern = APPEND(report, model->patterns, model->pattern_count);
			if (pattern)
				*pattern = (struct tk_model_pattern){set, index, glob};
			else
				free(glob);
		}
		index++;
	}
}

static void parse_sets(struct tk_report *report, struct tk_model *model, enum tk_kind kind, const cJSON *sets)
{
	static void (*const parse_set[TK_KINDS])(struct tk_report *, struct tk_model *,
						 const struct tk_place *, const cJSON *, uint32_t) = {
		parse_user_set,
		parse_process_set,
		parse_resource_set,
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
		set = APPEND(report, model->sets[kind], model->set_count[kind]);
		if (!set)
			return;
		set->name = item->string;
		parse_set[kind](report, model, at, item, (uint32_t)(model->set_count[kind] - 1));
	}
}

/* ---------------------------------------------------------------- policies */

static const char *key_id_at(const void *keys, size_t index)
{
	return ((const struct tk_model_key *)keys)[index].id;
}

static void parse_policy_key(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			     const char *name, struct tk_model_policy *policy)
{
	policy->key_name = name;
	for (size_t i = 0; i < model->key_count; i++) {
		if (!strcmp(model->keys[i].id, name)) {
			policy->key = (uint32_t)i;
			model->keys[i].used = true;
			return;
		}
	}
	tk_error(report, at, "no key \"%s\"%s", TK_SHOW(name),
		 tk_did_you_mean(name, model->keys, model->key_count, key_id_at).text);
}

static void parse_chunk_size(struct tk_report *report, const struct tk_place *at, double value,
			     struct tk_model_policy *policy)
{
	for (uint32_t log2 = TK_CHUNK_LOG2_MIN; log2 <= TK_CHUNK_LOG2_MAX; log2++) {
		if (value == (double)(1u << log2)) {
			policy->chunk_log2 = log2;
			return;
		}
	}
	tk_error(report, at, "expected a power of two from %u to %u", 1u << TK_CHUNK_LOG2_MIN,
		 1u << TK_CHUNK_LOG2_MAX);
}

static void parse_encryption(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			     const cJSON *const items[3], struct tk_model_policy *policy)
{
	static const char *const names[] = {"key", "algorithm", "chunk_size"};

	if (items[0])
		parse_policy_key(report, model, TK_AT_KEY(at, names[0]), items[0]->valuestring, policy);
	if (items[1] && tk_algorithm_parse(items[1]->valuestring, &policy->algorithm) < 0)
		tk_error(report, TK_AT_KEY(at, names[1]),
			 "no algorithm \"%s\" (expected \"aes-256-gcm\" or \"chacha20-poly1305\")",
			 TK_SHOW(items[1]->valuestring));
	if (items[2])
		parse_chunk_size(report, TK_AT_KEY(at, names[2]), items[2]->valuedouble, policy);
	for (int i = 1; i < 3; i++) {
		if (items[i] && !policy->key_name)
			tk_error(report, TK_AT_KEY(at, names[i]),
				 "\"%s\" without \"key\": nothing is encrypted", names[i]);
	}
}

static void parse_policy(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			 const cJSON *object)
{
	static const struct tk_field fields[] = {
		{"key", cJSON_String, TK_OPTIONAL},
		{"algorithm", cJSON_String, TK_OPTIONAL},
		{"chunk_size", cJSON_Number, TK_OPTIONAL},
		{"rules", cJSON_Array, TK_REQUIRED},
	};
	struct tk_model_policy *policy = APPEND(report, model->policies, model->policy_count);
	const cJSON *items[4];

	if (!policy)
		return;
	*policy = (struct tk_model_policy){
		.name = object->string,
		.key = UINT32_MAX,
		.algorithm = TK_AES_256_GCM,
		.chunk_log2 = TK_CHUNK_LOG2_DEFAULT,
		.first_rule = model->rule_count,
	};
	tk_check_name(report, at, object->string);
	if (!tk_json_fields(report, at, object, fields, 4, items))
		return;
	parse_encryption(report, model, at, items, policy);
	if (items[3])
		tk_model_parse_rules(report, model, TK_AT_KEY(at, "rules"), items[3], policy);
	policy->rule_count = model->rule_count - policy->first_rule;
}

static void parse_policies(struct tk_report *report, struct tk_model *model, const cJSON *policies)
{
	const struct tk_place *here = TK_AT_KEY(NULL, "policies");
	const cJSON *item;

	cJSON_ArrayForEach (item, policies) {
		if (model->policy_count == TK_MAX_POLICIES) {
			tk_error(report, TK_AT_KEY(here, item->string), "more than %d policies",
				 TK_MAX_POLICIES);
			return;
		}
		parse_policy(report, model, TK_AT_KEY(here, item->string), item);
	}
}

/* ---------------------------------------------------------------- guard points */

static const char *policy_name_at(const void *policies, size_t index)
{
	return ((const struct tk_model_policy *)policies)[index].name;
}

static uint32_t parse_policy_name(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
				  const char *name)
{
	for (size_t i = 0; i < model->policy_count; i++) {
		if (!strcmp(model->policies[i].name, name)) {
			model->policies[i].used = true;
			return (uint32_t)i;
		}
	}
	tk_error(report, at, "no policy \"%s\"%s", TK_SHOW(name),
		 tk_did_you_mean(name, model->policies, model->policy_count, policy_name_at).text);
	return UINT32_MAX;
}

static enum tk_mode parse_mode(struct tk_report *report, const struct tk_place *at, const char *mode)
{
	if (!strcmp(mode, "monitor"))
		return TK_MONITOR;
	if (!strcmp(mode, "learn"))
		return TK_LEARN;
	if (strcmp(mode, "enforce"))
		tk_error(report, at, "no mode \"%s\" (expected \"enforce\", \"monitor\" or \"learn\")",
			 TK_SHOW(mode));
	return TK_ENFORCE;
}

static void parse_guard(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			const cJSON *object)
{
	static const struct tk_field fields[] = {
		{"name", cJSON_String, TK_REQUIRED},
		{"path", cJSON_String, TK_REQUIRED},
		{"policy", cJSON_String, TK_REQUIRED},
		{"mode", cJSON_String, TK_OPTIONAL},
	};
	struct tk_model_guard *guard = APPEND(report, model->guards, model->guard_count);
	const cJSON *items[4];

	if (!guard)
		return;
	guard->policy = UINT32_MAX;
	if (!tk_json_fields(report, at, object, fields, 4, items))
		return;
	if (items[0] && tk_check_name(report, TK_AT_KEY(at, "name"), items[0]->valuestring))
		guard->name = items[0]->valuestring;
	if (items[1] && tk_check_guard_path(report, TK_AT_KEY(at, "path"), items[1]->valuestring))
		guard->path = items[1]->valuestring;
	if (items[2])
		guard->policy =
			parse_policy_name(report, model, TK_AT_KEY(at, "policy"), items[2]->valuestring);
	if (items[3])
		guard->mode = parse_mode(report, TK_AT_KEY(at, "mode"), items[3]->valuestring);
}

static void parse_guards(struct tk_report *report, struct tk_model *model, const cJSON *guards)
{
	const struct tk_place *here = TK_AT_KEY(NULL, "guard_points");
	const cJSON *item;

	cJSON_ArrayForEach (item, guards) {
		const struct tk_place *at = TK_AT(here, model->guard_count);

		if (model->guard_count == TK_MAX_GUARD_POINTS) {
			tk_error(report, at, "more than %d guard points", TK_MAX_GUARD_POINTS);
			return;
		}
		parse_guard(report, model, at, item);
	}
}

/* ---------------------------------------------------------------- the whole */

void tk_model_parse(struct tk_report *report, struct tk_model *model, const char *text, size_t len)
{
	static const struct tk_field fields[] = {
		{"version", cJSON_Number, TK_REQUIRED},	      {"keys", cJSON_Object, TK_OPTIONAL},
		{"user_sets", cJSON_Object, TK_OPTIONAL},     {"process_sets", cJSON_Object, TK_OPTIONAL},
		{"resource_sets", cJSON_Object, TK_OPTIONAL}, {"policies", cJSON_Object, TK_OPTIONAL},
		{"guard_points", cJSON_Array, TK_REQUIRED},   {"time_sets", 0, TK_UNSUPPORTED},
	};
	const cJSON *items[8];

	model->tree = tk_json_parse(text, len, report);
	if (!model->tree || !tk_json_fields(report, NULL, model->tree, fields, 8, items))
		return;
	if (items[0] && items[0]->valuedouble != 1) {
		tk_error(report, TK_AT_KEY(NULL, "version"), "expected 1, found %.15g",
			 items[0]->valuedouble);
		return; /* whatever follows is of another language */
	}
	/* Names before what refers to them; cJSON_ArrayForEach passes over a missing section. */
	parse_keys(report, model, items[1]);
	for (int kind = 0; kind < TK_KINDS; kind++)
		parse_sets(report, model, (enum tk_kind)kind, items[2 + kind]);
	parse_policies(report, model, items[5]);
	parse_guards(report, model, items[6]);
	tk_check_whole(report, model);
}

void tk_model_free(struct tk_model *model)
{
	for (size_t i = 0; i < model->pattern_count; i++)
		free(model->patterns[i].glob);
	for (int kind = 0; kind < TK_KINDS; kind++)
		free(model->sets[kind]);
	free(model->keys);
	free(model->users);
	free(model->processes);
	free(model->patterns);
	free(model->rules);
	free(model->policies);
	free(model->guards);
	cJSON_Delete(model->tree);
	*model = (struct tk_model){0};
}
