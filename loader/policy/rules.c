// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/rules.c - a policy's rules: dimensions, actions, effects.
 */
#include <string.h>

#include "loader/policy/internal.h"

static const char *set_name_at(const void *sets, size_t index)
{
	return ((const struct tk_model_set *)sets)[index].name;
}

static void parse_set_name(struct tk_report *report, struct tk_model *model, enum tk_kind kind,
			   const struct tk_place *at, const char *name, struct tk_model_rule *rule)
{
	struct tk_model_set *sets = model->sets[kind];

	for (size_t i = 0; i < model->set_count[kind]; i++) {
		if (!strcmp(sets[i].name, name)) {
			sets[i].used = true;
			rule->sets[kind][i / 64] |= 1ull << (i % 64);
			return;
		}
	}
	tk_error(report, at, "no %s \"%s\"%s", tk_kind_words[kind], TK_SHOW(name),
		 tk_did_you_mean(name, sets, model->set_count[kind], set_name_at).text);
}

static void parse_dimension(struct tk_report *report, struct tk_model *model, enum tk_kind kind,
			    const struct tk_place *at, const cJSON *item, struct tk_model_rule *rule)
{
	static const struct tk_field fields[] = {{"not", 0, TK_REQUIRED}};
	const struct tk_place not_place = {.parent = at, .key = "not"}, *inner = at;
	const cJSON *value = item, *name;
	size_t index = 0;

	rule->named |= (uint8_t)(1 << kind);
	if (cJSON_IsObject(item)) {
		if (!tk_json_fields(report, at, item, fields, 1, &value) || !value)
			return;
		rule->negated |= (uint8_t)(1 << kind);
		inner = &not_place;
	}
	if (cJSON_IsString(value)) {
		parse_set_name(report, model, kind, inner, value->valuestring, rule);
		return;
	}
	if (!cJSON_IsArray(value)) {
		tk_error(report, inner, "expected the name of a %s%s, found %s", tk_kind_words[kind],
			 value == item ? ", a list of names or {\"not\": …}" : " or a list of names",
			 tk_json_type(value));
		return;
	}
	tk_json_strings(report, inner, value);
	cJSON_ArrayForEach (name, value) {
		if (cJSON_IsString(name))
			parse_set_name(report, model, kind, TK_AT(inner, index), name->valuestring, rule);
		index++;
	}
}

static void parse_actions(struct tk_report *report, const struct tk_place *at, const cJSON *list,
			  struct tk_model_rule *rule)
{
	const cJSON *item;
	size_t index = 0;

	tk_json_strings(report, at, list);
	cJSON_ArrayForEach (item, list) {
		const char *name = cJSON_GetStringValue(item);
		const struct tk_word *word =
			name ? tk_word_find(tk_action_words, tk_action_word_count, name) : NULL;

		if (word)
			rule->actions |= (uint16_t)word->bits;
		else if (name)
			tk_error(report, TK_AT(at, index), "no action \"%s\"%s", TK_SHOW(name),
				 tk_did_you_mean(name, tk_action_words, tk_action_word_count, tk_word_at)
					 .text);
		index++;
	}
}

static void parse_effects(struct tk_report *report, const struct tk_place *at, const cJSON *list,
			  const struct tk_model_policy *policy, struct tk_model_rule *rule)
{
	bool permit = false, deny = false, good;
	const cJSON *item;
	size_t index = 0;

	good = tk_json_strings(report, at, list);
	cJSON_ArrayForEach (item, list) {
		const char *name = cJSON_GetStringValue(item);
		const struct tk_word *word =
			name ? tk_word_find(tk_effect_words, TK_EFFECT_WORDS, name) : NULL;

		if (word) {
			rule->effects |= (uint8_t)word->bits;
			permit |= word->bits == TK_PERMIT;
			deny |= !word->bits;
		} else if (name) {
			tk_error(report, TK_AT(at, index), "no effect \"%s\"%s", TK_SHOW(name),
				 tk_did_you_mean(name, tk_effect_words, TK_EFFECT_WORDS, tk_word_at).text);
			good = false;
		}
		index++;
	}
	if (!good)
		return;
	if (permit == deny)
		tk_error(report, at, "expected exactly one of \"permit\" and \"deny\"");
	else if (rule->effects & TK_APPLY_KEY && !permit)
		tk_error(report, at, "\"apply_key\" goes only with \"permit\"");
	else if (rule->effects & TK_APPLY_KEY && !policy->key_name)
		tk_error(report, at, "\"apply_key\", but the policy names no \"key\"");
}

static void parse_rule(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
		       const cJSON *object, const struct tk_model_policy *policy, struct tk_model_rule *rule)
{
	static const struct tk_field fields[] = {
		{"users", 0, TK_OPTIONAL},
		{"processes", 0, TK_OPTIONAL},
		{"resources", 0, TK_OPTIONAL},
		{"times", 0, TK_OPTIONAL},
		{"actions", cJSON_Array, TK_REQUIRED},
		{"effects", cJSON_Array, TK_REQUIRED},
		{"browse", cJSON_True, TK_OPTIONAL},
		{"comment", cJSON_String, TK_OPTIONAL}, /* for people: means nothing */
	};
	const cJSON *items[8];

	_Static_assert(1 << TK_USER_SETS == TK_USERS && 1 << TK_PROCESS_SETS == TK_PROCESSES &&
			       1 << TK_RESOURCE_SETS == TK_RESOURCES && 1 << TK_TIME_SETS == TK_TIMES,
		       "kinds of sets in the order of enum tk_dimension");
	if (!tk_json_fields(report, at, object, fields, 8, items))
		return;
	for (int kind = 0; kind < TK_KINDS; kind++) {
		if (items[kind])
			parse_dimension(report, model, (enum tk_kind)kind,
					TK_AT_KEY(at, tk_dimension_names[kind]), items[kind], rule);
	}
	if (items[4])
		parse_actions(report, TK_AT_KEY(at, "actions"), items[4], rule);
	if (items[5])
		parse_effects(report, TK_AT_KEY(at, "effects"), items[5], policy, rule);
	rule->browse = cJSON_IsTrue(items[6]);
	if (rule->browse && items[5] && !(rule->effects & TK_PERMIT))
		tk_error(report, TK_AT_KEY(at, "browse"), "\"browse\" goes only with the effect \"permit\"");
}

void tk_model_parse_rules(struct tk_report *report, struct tk_model *model, const struct tk_place *at,
			  const cJSON *rules, const struct tk_model_policy *policy)
{
	const cJSON *item;
	size_t index = 0, compiled = 0;

	if (!rules->child)
		tk_error(report, at, "expected at least one rule, found an empty list");
	cJSON_ArrayForEach (item, rules) {
		struct tk_model_rule rule = {.source = index}, *added;
		const struct tk_place *here = TK_AT(at, index);

		parse_rule(report, model, here, item, policy, &rule);
		rule.effects |= model->level->audit_all ? TK_AUDIT : 0;
		compiled += rule.browse ? 2 : 1;
		model->compiled_rule_count += rule.browse ? 2 : 1;
		if (compiled > TK_MAX_POLICY_RULES || model->compiled_rule_count > TK_MAX_RULES) {
			tk_error(report, here, "more than %d rules in %s (one with \"browse\" counts twice)",
				 compiled > TK_MAX_POLICY_RULES ? TK_MAX_POLICY_RULES : TK_MAX_RULES,
				 compiled > TK_MAX_POLICY_RULES ? "a policy" : "all");
			return;
		}
		added = tk_append(&model->rules, &model->rule_count, sizeof(*added));
		if (!added) {
			report->no_memory = true;
			return;
		}
		*added = rule;
		index++;
	}
}
