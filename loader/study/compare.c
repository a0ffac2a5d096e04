// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/compare.c - compares two policies of a guard point; compare.h says how.
 */
#include "loader/study/compare.h"
#include "loader/study/explain.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>

#define CELLS_MAX 65536	    /* combinations of classes */
#define RULES_MAX 200000000 /* rules looked at, at most: some seconds */

void tk_comparison_free(struct tk_comparison *comparison)
{
	for (int dim = 0; dim < TK_DIMS; dim++)
		tk_classes_free(&comparison->classes[dim]);
	tk_boxes_free(&comparison->changes);
	*comparison = (struct tk_comparison){0};
}

/* ---------------------------------------------------------------- which sets count */

static void mask_of(const struct tk_compiled *compiled, const struct tk_policy *policy, int side,
		    struct tk_class_mask masks[TK_DIMS])
{
	for (uint32_t i = 0; i < policy->rule_count; i++) {
		const struct tk_rule *rule = &compiled->rules[policy->first_rule + i];

		for (int word = 0; word < TK_SET_WORDS; word++) {
			masks[TK_DIM_USERS].sets[side][word] |= rule->users[word];
			masks[TK_DIM_PROGRAMS].sets[side][word] |= rule->processes[word];
			masks[TK_DIM_PATHS].sets[side][word] |= rule->resources[word];
			masks[TK_DIM_TIMES].sets[side][word] |= rule->times[word];
		}
	}
}

/* Its Monday: not the very instant, or the same question would have another example for an answer each time.
 */
static int64_t this_week(void)
{
	const int64_t day = 86400, monday = 4 * day; /* 1970-01-05 */
	int64_t now = time(NULL);

	return now - (now - monday) % (7 * day);
}

static int find_classes(const struct tk_compiled *const sides[TK_SIDES],
			const struct tk_policy *const policies[TK_SIDES], struct tk_classes classes[TK_DIMS])
{
	struct tk_class_mask masks[TK_DIMS] = {0};
	uint64_t cells = 1, rules = 0;
	int r;

	for (int side = 0; side < TK_SIDES; side++) {
		mask_of(sides[side], policies[side], side, masks);
		rules += policies[side]->rule_count;
	}
	r = tk_classes_of_users(sides, &masks[TK_DIM_USERS], &classes[TK_DIM_USERS]);
	if (r == 0)
		r = tk_classes_of_programs(sides, &masks[TK_DIM_PROGRAMS], &classes[TK_DIM_PROGRAMS]);
	if (r == 0)
		r = tk_classes_of_paths(sides, &masks[TK_DIM_PATHS], &classes[TK_DIM_PATHS]);
	if (r == 0)
		r = tk_classes_of_times(sides, &masks[TK_DIM_TIMES], this_week(), &classes[TK_DIM_TIMES]);
	for (int dim = 0; r == 0 && dim < TK_DIMS; dim++)
		cells *= classes[dim].count;
	return r == 0 && (cells > CELLS_MAX || cells * TK_ACTION_COUNT * rules > RULES_MAX) ? -E2BIG : r;
}

/* ---------------------------------------------------------------- one combination */

static uint8_t effects_of(const struct tk_compiled *compiled, const struct tk_policy *policy,
			  struct tk_request *request, struct tk_set_bits *times)
{
	uint8_t effects = TK_VERDICT_EFFECTS(tk_verdict_of_sets(compiled, policy, request, times));

	if (!(request->action & (TK_DATA_READ | TK_DATA_WRITE | TK_EXECUTE)))
		effects &= (uint8_t)~TK_APPLY_KEY;
	return effects;
}

/* True when something changes. */
static bool ask(const struct tk_compiled *const sides[TK_SIDES],
		const struct tk_policy *const policies[TK_SIDES], const struct tk_class *const who[TK_DIMS],
		uint8_t ret_effects[TK_SIDES][TK_ACTION_COUNT])
{
	for (int side = 0; side < TK_SIDES; side++) {
		struct tk_request request = {0};
		struct tk_set_bits times;

		memcpy(times.sets, who[TK_DIM_TIMES]->sets[side], sizeof(times.sets));
		memcpy(request.users, who[TK_DIM_USERS]->sets[side], sizeof(request.users));
		memcpy(request.processes, who[TK_DIM_PROGRAMS]->sets[side], sizeof(request.processes));
		memcpy(request.resources, who[TK_DIM_PATHS]->sets[side], sizeof(request.resources));
		for (int i = 0; i < TK_ACTION_COUNT; i++) {
			request.action = 1u << i;
			ret_effects[side][i] = effects_of(sides[side], policies[side], &request, &times);
		}
	}
	for (int i = 0; i < TK_ACTION_COUNT; i++) {
		if (ret_effects[0][i] == ret_effects[1][i])
			ret_effects[0][i] = ret_effects[1][i] = 0;
	}
	return memcmp(ret_effects[0], ret_effects[1], sizeof(ret_effects[0])) != 0;
}

/* ---------------------------------------------------------------- all */

/* From one dimension on, at these places of those before it. */
static int compare_from(const struct tk_compiled *const sides[TK_SIDES],
			const struct tk_policy *const policies[TK_SIDES], struct tk_comparison *comparison,
			enum tk_dim dim, size_t at[TK_DIMS])
{
	const struct tk_classes *classes = comparison->classes;
	uint8_t effects[TK_SIDES][TK_ACTION_COUNT];
	size_t first = comparison->changes.count;
	const struct tk_class *who[TK_DIMS];
	int r = 0;

	if (dim == TK_DIMS) {
		for (int i = 0; i < TK_DIMS; i++)
			who[i] = &classes[i].items[at[i]];
		return ask(sides, policies, who, effects) ? tk_boxes_add(&comparison->changes, at, effects)
							  : 0;
	}
	for (at[dim] = 0; r == 0 && at[dim] < classes[dim].count; at[dim]++)
		r = compare_from(sides, policies, comparison, dim + 1, at);
	tk_boxes_merge(&comparison->changes, first, dim);
	return r;
}

int tk_compare(const struct tk_compiled *const sides[TK_SIDES],
	       const struct tk_policy *const policies[TK_SIDES], struct tk_comparison *ret_comparison)
{
	struct tk_comparison comparison = {0};
	int r = find_classes(sides, policies, comparison.classes);
	size_t at[TK_DIMS];

	for (int dim = 0; dim < TK_DIMS; dim++)
		comparison.changes.sizes[dim] = comparison.classes[dim].count;
	if (r == 0)
		r = compare_from(sides, policies, &comparison, TK_DIM_USERS, at);
	if (r < 0)
		tk_comparison_free(&comparison);
	else
		*ret_comparison = comparison;
	return r;
}
