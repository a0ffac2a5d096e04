// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/parse.c - from the text to struct tk_model: every section but
 * the keys (keys.c), the sets (sets.c) and the rules (rules.c).  Reports all it finds; a fault in one
 * place does not keep the others from being read.
 */
#include <string.h>

#include "loader/policy/internal.h"

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
	struct tk_model_policy *policy = TK_APPEND(report, model->policies, model->policy_count);
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

/*
 * The shield's key is derived from the policy's, by `load` and by the agent alike: so it must be one that both can
 * read, and that is given away at all.
 */
static bool parse_shield(struct tk_report *report, const struct tk_model *model, const struct tk_place *at,
			 const char *shield, uint32_t policy)
{
	const struct tk_model_key *key;

	if (strcmp(shield, "fscrypt")) {
		tk_error(report, at, "no shield \"%s\" (expected \"fscrypt\")", TK_SHOW(shield));
		return false;
	}
	if (policy == UINT32_MAX)
		return false; /* said already */
	if (!model->policies[policy].key_name) {
		tk_error(report, at, "\"shield\" with the policy \"%s\", which has no key: nothing is encrypted",
			 TK_SHOW(model->policies[policy].name));
		return false;
	}
	if (model->policies[policy].key == UINT32_MAX)
		return false;
	key = &model->keys[model->policies[policy].key];
	if (key->provider == TK_PROVIDER_FILE || key->provider == TK_PROVIDER_COMMAND)
		return true;
	tk_error(report, at, "\"shield\" wants a key that \"load\" can read (provider \"file\" or \"command\"): "
			     "\"%s\" is of provider \"%s\"",
		 TK_SHOW(key->id), tk_provider_name(key->provider));
	return false;
}

static uint32_t parse_linger(struct tk_report *report, const struct tk_place *at, double ms)
{
	if (ms >= 0 && ms <= TK_LINGER_MAX && ms == (uint32_t)ms)
		return (uint32_t)ms;
	tk_error(report, at, "expected a whole number of milliseconds from 0 to %d", TK_LINGER_MAX);
	return 0;
}

static void parse_guard(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			const cJSON *object)
{
	static const struct tk_field fields[] = {
		{"name", cJSON_String, TK_REQUIRED},
		{"path", cJSON_String, TK_REQUIRED},
		{"policy", cJSON_String, TK_REQUIRED},
		{"mode", cJSON_String, TK_OPTIONAL},
		{"shield", cJSON_String, TK_OPTIONAL},
		{"linger", cJSON_Number, TK_OPTIONAL},
	};
	struct tk_model_guard *guard = TK_APPEND(report, model->guards, model->guard_count);
	const cJSON *items[6];

	if (!guard)
		return;
	guard->policy = UINT32_MAX;
	guard->mode = model->level->mode;
	if (!tk_json_fields(report, at, object, fields, 6, items))
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
	if (items[4])
		guard->shield = parse_shield(report, model, TK_AT_KEY(at, "shield"), items[4]->valuestring,
					     guard->policy);
	if (items[5])
		guard->linger = parse_linger(report, TK_AT_KEY(at, "linger"), items[5]->valuedouble);
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
		{"resource_sets", cJSON_Object, TK_OPTIONAL}, {"time_sets", cJSON_Object, TK_OPTIONAL},
		{"policies", cJSON_Object, TK_OPTIONAL},      {"guard_points", cJSON_Array, TK_REQUIRED},
		{"level", cJSON_String, TK_OPTIONAL},
	};
	const cJSON *items[9];

	model->tree = tk_json_parse(text, len, report);
	if (!model->tree || !tk_json_fields(report, NULL, model->tree, fields, 9, items))
		return;
	if (items[0] && items[0]->valuedouble != 1) {
		tk_error(report, TK_AT_KEY(NULL, "version"), "expected 1, found %.15g",
			 items[0]->valuedouble);
		return; /* whatever follows is of another language */
	}
	model->level = tk_level_parse(report, TK_AT_KEY(NULL, "level"), cJSON_GetStringValue(items[8]));
	/* Names before what refers to them; cJSON_ArrayForEach passes over a missing section. */
	tk_model_parse_keys(report, model, items[1]);
	for (int kind = 0; kind < TK_KINDS; kind++)
		tk_model_parse_sets(report, model, (enum tk_kind)kind, items[2 + kind]);
	parse_policies(report, model, items[6]);
	parse_guards(report, model, items[7]);
	tk_check_whole(report, model);
}

void tk_model_free(struct tk_model *model)
{
	for (size_t i = 0; i < model->pattern_count; i++)
		free(model->patterns[i].glob);
	for (size_t i = 0; i < model->time_count; i++)
		free(model->times[i].zone);
	for (int kind = 0; kind < TK_KINDS; kind++)
		free(model->sets[kind]);
	free(model->times);
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
