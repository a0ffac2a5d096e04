// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/learn_write.c - writes what was learnt into a policy's JSON tree: sets,
 * rules, the guard point's own policy.
 */
#include "loader/study/learn.h"
#include "loader/study/learn_internal.h"
#include "loader/util.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Every path below the guard point, so that its exclusion is the guard point itself. */
#define BELOW "/?**"

static cJSON *section_of(cJSON *tree, const char *name)
{
	cJSON *section = cJSON_GetObjectItemCaseSensitive(tree, name);

	return section ? section : cJSON_AddObjectToObject(tree, name);
}

static bool is_name(const char *text)
{
	size_t len = strlen(text);

	for (const char *p = text; *p; p++) {
		if (*p < 0x20 || *p >= 0x7f)
			return false;
	}
	return len && len < TK_NAME_MAX;
}

/* `wanted`, or with a number behind it when that is taken. */
static void name_free(const cJSON *section, const char *wanted, char ret_name[TK_NAME_MAX])
{
	snprintf(ret_name, TK_NAME_MAX, "%s", wanted);
	for (unsigned int i = 2; cJSON_GetObjectItemCaseSensitive(section, ret_name); i++)
		snprintf(ret_name, TK_NAME_MAX, "%.50s %u", wanted, i);
}

/* ---------------------------------------------------------------- sets */

static const struct {
	const char *section, *list, *dimension, *word;
} kinds[TK_LEARN_DIMS] = {
	[TK_DIM_USERS] = {"user_sets", "users", "users", "users"},
	[TK_DIM_PROGRAMS] = {"process_sets", "processes", "processes", "programs"},
	[TK_DIM_PATHS] = {"resource_sets", "paths", "resources", "files"},
};

static int member_add(cJSON *list, enum tk_dim dim, const char *name)
{
	cJSON *process;

	if (dim != TK_DIM_PROGRAMS)
		return cJSON_AddItemToArray(list, cJSON_CreateString(name)) ? 0 : -ENOMEM;
	process = cJSON_CreateObject();
	return cJSON_AddItemToArray(list, process) && cJSON_AddStringToObject(process, "path", name)
		       ? 0
		       : -ENOMEM;
}

/* The only member's own name reads best: "jane", "nano". */
static const char *name_for(enum tk_dim dim, const char *only, const char *guard, char room[TK_NAME_MAX])
{
	const char *base =
		only && dim == TK_DIM_PROGRAMS && strrchr(only, '/') ? strrchr(only, '/') + 1 : only;

	if (base && dim != TK_DIM_PATHS && is_name(base))
		return base;
	snprintf(room, TK_NAME_MAX, "%.40s %s", guard, kinds[dim].word);
	return room;
}

/* The name of the set that is `fresh`, which is taken over; it goes into the section unless it is there. */
static const char *set_of(cJSON *tree, enum tk_dim dim, cJSON *fresh, const char *wanted)
{
	cJSON *section = section_of(tree, kinds[dim].section), *item;
	char name[TK_NAME_MAX];

	cJSON_ArrayForEach (item, section) {
		if (cJSON_Compare(item, fresh, true)) {
			cJSON_Delete(fresh);
			return item->string;
		}
	}
	name_free(section, wanted, name);
	if (!section || !cJSON_AddItemToObject(section, name, fresh)) {
		cJSON_Delete(fresh);
		return NULL;
	}
	return fresh->string;
}

/* Was one of the box's programs seen with code that would cost it a set with integrity? */
static bool has_foreign_code(const struct tk_lesson *lesson, const struct tk_box *box)
{
	for (size_t i = 0; i < lesson->sighting_count; i++) {
		const struct tk_sighting *sighting = &lesson->sightings[i];

		if (sighting->foreign_code && box->in[TK_DIM_PROGRAMS][sighting->at[TK_DIM_PROGRAMS]])
			return true;
	}
	return false;
}

/* NULL: no memory.  Never asked for the guard point itself. */
static const char *set_of_box(const struct tk_lesson *lesson, cJSON *tree, const char *guard,
			      const struct tk_box *box, enum tk_dim dim)
{
	cJSON *fresh = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(fresh, kinds[dim].list);
	char room[TK_NAME_MAX];
	const char *only = NULL;
	size_t count = 0;

	for (size_t i = 0; i < lesson->name_count[dim]; i++) {
		const char *name = lesson->names[dim][i];

		if (!box->in[dim][i] || !*name)
			continue;
		if (member_add(list, dim, name) < 0) {
			cJSON_Delete(fresh);
			return NULL;
		}
		only = name;
		count++;
	}
	if (dim == TK_DIM_PROGRAMS && has_foreign_code(lesson, box) &&
	    !cJSON_AddFalseToObject(fresh, "integrity")) {
		cJSON_Delete(fresh);
		return NULL;
	}
	return set_of(tree, dim, fresh, name_for(dim, count == 1 ? only : NULL, guard, room));
}

static const char *set_of_everything_below(cJSON *tree)
{
	cJSON *fresh = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(fresh, kinds[TK_DIM_PATHS].list);

	if (member_add(list, TK_DIM_PATHS, BELOW) < 0) {
		cJSON_Delete(fresh);
		return NULL;
	}
	return set_of(tree, TK_DIM_PATHS, fresh, "below the guard point");
}

/* ---------------------------------------------------------------- rules */

/* A box has up to four rules: with and without the key, on what is below and on the guard point itself. */
struct part {
	const struct tk_box *box;
	uint32_t actions;
	bool key, itself;
};

static uint64_t seen_in(const struct tk_lesson *lesson, const struct part *part)
{
	uint64_t count = 0;

	for (size_t i = 0; i < lesson->sighting_count; i++) {
		const struct tk_sighting *sighting = &lesson->sightings[i];
		bool in = sighting->action & part->actions &&
			  !*lesson->names[TK_DIM_PATHS][sighting->at[TK_DIM_PATHS]] == part->itself;

		for (int dim = 0; dim < TK_LEARN_DIMS; dim++)
			in = in && part->box->in[dim][sighting->at[dim]];
		count += in ? sighting->count : 0;
	}
	return count;
}

static bool has_path(const struct tk_lesson *lesson, const struct tk_box *box, bool itself)
{
	for (size_t i = 0; i < lesson->name_count[TK_DIM_PATHS]; i++) {
		if (box->in[TK_DIM_PATHS][i] && !*lesson->names[TK_DIM_PATHS][i] == itself)
			return true;
	}
	return false;
}

static int add_list(cJSON *object, const char *name, const char *const *words, size_t count)
{
	cJSON *list = cJSON_CreateStringArray(words, (int)count);

	return cJSON_AddItemToObject(object, name, list) ? 0 : -ENOMEM;
}

static int add_resources(const struct tk_lesson *lesson, cJSON *tree, const char *guard, cJSON *rule,
			 const struct part *part)
{
	const char *set;
	cJSON *inverse;

	if (lesson->generalise == TK_LEARN_WIDE)
		return 0;
	if (!part->itself) {
		set = set_of_box(lesson, tree, guard, part->box, TK_DIM_PATHS);
		return set && cJSON_AddStringToObject(rule, "resources", set) ? 0 : -ENOMEM;
	}
	set = set_of_everything_below(tree);
	inverse = cJSON_AddObjectToObject(rule, "resources");
	return set && cJSON_AddStringToObject(inverse, "not", set) ? 0 : -ENOMEM;
}

static int add_rule(const struct tk_lesson *lesson, cJSON *tree, const char *guard, cJSON *rules,
		    const struct part *part)
{
	static const char *const effects[] = {"permit", "apply_key"};
	uint64_t count = seen_in(lesson, part);
	const char *actions[TK_ACTION_COUNT];
	size_t action_count = 0;
	cJSON *rule = cJSON_CreateObject();
	char comment[64];

	if (!cJSON_AddItemToArray(rules, rule))
		return -ENOMEM;
	snprintf(comment, sizeof(comment), "%" PRIu64 " observation%s", count, count == 1 ? "" : "s");
	if (!cJSON_AddStringToObject(rule, "comment", comment))
		return -ENOMEM;
	for (enum tk_dim dim = TK_DIM_USERS; dim <= TK_DIM_PROGRAMS; dim++) {
		const char *set = set_of_box(lesson, tree, guard, part->box, dim);

		if (!set || !cJSON_AddStringToObject(rule, kinds[dim].dimension, set))
			return -ENOMEM;
	}
	for (uint32_t action = 1; action <= TK_ALL_OPS; action <<= 1) {
		if (part->actions & action)
			actions[action_count++] = tk_action_name(action);
	}
	if (add_resources(lesson, tree, guard, rule, part) < 0 ||
	    add_list(rule, "actions", actions, action_count) < 0)
		return -ENOMEM;
	return add_list(rule, "effects", effects, part->key ? 2 : 1);
}

static int add_parts(const struct tk_lesson *lesson, cJSON *tree, const char *guard, cJSON *rules,
		     const struct tk_box *box, bool key)
{
	struct part part = {.box = box, .key = key};

	for (int i = 0; i < TK_ACTION_COUNT; i++) {
		if (box->effects[0][i] && !!(box->effects[0][i] & TK_APPLY_KEY) == key)
			part.actions |= 1u << i;
	}
	for (int itself = 0; part.actions && itself <= 1; itself++) {
		part.itself = itself;
		if (has_path(lesson, box, part.itself) && add_rule(lesson, tree, guard, rules, &part) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* A policy has at least one rule. */
static int add_nothing(cJSON *rules)
{
	static const char *const actions[] = {"all_ops"}, *const effects[] = {"deny", "audit"};
	cJSON *rule = cJSON_CreateObject();

	return cJSON_AddItemToArray(rules, rule) &&
			       cJSON_AddStringToObject(rule, "comment", "0 observations") &&
			       add_list(rule, "actions", actions, 1) == 0 &&
			       add_list(rule, "effects", effects, 2) == 0
		       ? 0
		       : -ENOMEM;
}

static int add_rules(struct tk_lesson *lesson, cJSON *tree, const char *guard, cJSON *rules)
{
	struct tk_boxes boxes = {0};
	int r = tk_lesson_boxes(lesson, &boxes);

	/* Plaintext first: where a pattern covers more than was seen, nobody gets ciphertext for it. */
	for (int key = 1; key >= 0; key--) {
		for (size_t i = 0; r == 0 && i < boxes.count; i++)
			r = add_parts(lesson, tree, guard, rules, &boxes.items[i], key);
	}
	if (r == 0 && !boxes.count)
		r = add_nothing(rules);
	tk_boxes_free(&boxes);
	return r;
}

/* ---------------------------------------------------------------- the policy */

static int put_text(cJSON *object, const char *key, const char *text)
{
	cJSON *fresh = cJSON_CreateString(text);

	if (fresh && (cJSON_GetObjectItemCaseSensitive(object, key)
			      ? cJSON_ReplaceItemInObjectCaseSensitive(object, key, fresh)
			      : cJSON_AddItemToObject(object, key, fresh)))
		return 0;
	cJSON_Delete(fresh);
	return -ENOMEM;
}

int tk_lesson_write(struct tk_lesson *lesson, cJSON *tree, cJSON *guard)
{
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(guard, "name"));
	const char *former = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(guard, "policy"));
	cJSON *policies = cJSON_GetObjectItemCaseSensitive(tree, "policies");
	cJSON *policy = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(policies, former), true);
	cJSON *rules = cJSON_CreateArray();
	char own[TK_NAME_MAX];

	name_free(policies, name, own);
	if (!rules || !policy || !cJSON_ReplaceItemInObjectCaseSensitive(policy, "rules", rules)) {
		cJSON_Delete(rules);
		cJSON_Delete(policy);
		return -ENOMEM;
	}
	if (!cJSON_AddItemToObject(policies, own, policy)) {
		cJSON_Delete(policy);
		return -ENOMEM;
	}
	if (put_text(guard, "policy", own) < 0 || put_text(guard, "mode", "enforce") < 0)
		return -ENOMEM;
	return add_rules(lesson, tree, name, rules);
}

/* A name, a list of names, or {"not": …} of either. */
static bool names(const cJSON *dimension, const char *name)
{
	const cJSON *item;

	if (cJSON_IsString(dimension))
		return !strcmp(dimension->valuestring, name);
	cJSON_ArrayForEach (item, dimension) {
		if (names(item, name))
			return true;
	}
	return false;
}

static bool is_used(const cJSON *tree, const char *dimension, const char *name)
{
	const cJSON *policy, *rule;

	cJSON_ArrayForEach (policy, cJSON_GetObjectItemCaseSensitive(tree, "policies")) {
		cJSON_ArrayForEach (rule, cJSON_GetObjectItemCaseSensitive(policy, "rules")) {
			if (names(cJSON_GetObjectItemCaseSensitive(rule, dimension), name))
				return true;
		}
	}
	return false;
}

void tk_lesson_prune(cJSON *tree)
{
	const cJSON *guards = cJSON_GetObjectItemCaseSensitive(tree, "guard_points"), *guard;
	cJSON *section = cJSON_GetObjectItemCaseSensitive(tree, "policies"), *item, *next;

	for (item = section ? section->child : NULL; item; item = next) {
		bool used = false;

		next = item->next;
		cJSON_ArrayForEach (guard, guards)
			used = used || names(cJSON_GetObjectItemCaseSensitive(guard, "policy"), item->string);
		if (!used)
			cJSON_Delete(cJSON_DetachItemViaPointer(section, item));
	}
	for (int dim = 0; dim < TK_LEARN_DIMS; dim++) {
		section = cJSON_GetObjectItemCaseSensitive(tree, kinds[dim].section);
		for (item = section ? section->child : NULL; item; item = next) {
			next = item->next;
			if (!is_used(tree, kinds[dim].dimension, item->string))
				cJSON_Delete(cJSON_DetachItemViaPointer(section, item));
		}
	}
}
