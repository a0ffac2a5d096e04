// SPDX-License-Identifier: GPL-2.0
/*
 * loader/compare.c - compares two policies of a guard point; compare.h says how.
 */
#include "loader/compare.h"
#include "loader/explain.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>

#define CELLS_MAX 65536 /* combinations of classes */
#define RULES_MAX 200000000 /* rules looked at, at most: some seconds */

static void change_free(struct tk_change *change)
{
	for (int dim = 0; dim < TK_DIMS; dim++)
		free(change->in[dim]);
}

void tk_comparison_free(struct tk_comparison *comparison)
{
	for (int dim = 0; dim < TK_DIMS; dim++)
		tk_classes_free(&comparison->classes[dim]);
	for (size_t i = 0; i < comparison->change_count; i++)
		change_free(&comparison->changes[i]);
	free(comparison->changes);
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
		}
	}
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
	for (int dim = 0; r == 0 && dim < TK_DIMS; dim++)
		cells *= classes[dim].count;
	return r == 0 && (cells > CELLS_MAX || cells * TK_ACTION_COUNT * rules > RULES_MAX) ? -E2BIG : r;
}

/* ---------------------------------------------------------------- one combination */

static uint8_t effects_of(const struct tk_compiled *compiled, const struct tk_policy *policy,
			  struct tk_request *request)
{
	uint8_t effects = TK_VERDICT_EFFECTS(tk_verdict_of_sets(compiled, policy, request));

	if (!(request->action & (TK_DATA_READ | TK_DATA_WRITE | TK_EXECUTE)))
		effects &= (uint8_t)~TK_APPLY_KEY;
	return effects;
}

/* True when something changes. */
static bool ask(const struct tk_compiled *const sides[TK_SIDES], const struct tk_policy *const policies[TK_SIDES],
		const struct tk_class *const who[TK_DIMS], struct tk_change *change)
{
	for (int side = 0; side < TK_SIDES; side++) {
		struct tk_request request = {0};

		memcpy(request.users, who[TK_DIM_USERS]->sets[side], sizeof(request.users));
		memcpy(request.processes, who[TK_DIM_PROGRAMS]->sets[side], sizeof(request.processes));
		memcpy(request.resources, who[TK_DIM_PATHS]->sets[side], sizeof(request.resources));
		for (int i = 0; i < TK_ACTION_COUNT; i++) {
			request.action = 1u << i;
			change->effects[side][i] = effects_of(sides[side], policies[side], &request);
		}
	}
	for (int i = 0; i < TK_ACTION_COUNT; i++) {
		if (change->effects[0][i] == change->effects[1][i])
			change->effects[0][i] = change->effects[1][i] = 0;
	}
	return memcmp(change->effects[0], change->effects[1], sizeof(change->effects[0])) != 0;
}

/* ---------------------------------------------------------------- putting together */

static int change_add(struct tk_comparison *comparison, const size_t at[TK_DIMS], struct tk_change change)
{
	size_t count = comparison->change_count;

	if (!(count & (count - 1))) { /* doubles at each power of two */
		struct tk_change *larger =
			reallocarray(comparison->changes, count ? 2 * count : 1, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		comparison->changes = larger;
	}
	for (int dim = 0; dim < TK_DIMS; dim++) {
		change.in[dim] = calloc(comparison->classes[dim].count, 1);
		if (!change.in[dim]) {
			change_free(&change);
			return -ENOMEM;
		}
		change.in[dim][at[dim]] = 1;
	}
	comparison->changes[comparison->change_count++] = change;
	return 0;
}

static bool alike_but_for(const struct tk_comparison *comparison, const struct tk_change *a,
			  const struct tk_change *b, int but)
{
	if (memcmp(a->effects, b->effects, sizeof(a->effects)))
		return false;
	for (int dim = 0; dim < TK_DIMS; dim++) {
		if (dim != but && memcmp(a->in[dim], b->in[dim], comparison->classes[dim].count))
			return false;
	}
	return true;
}

/* Puts those from `first` on together that differ in one dimension alone. */
static void merge(struct tk_comparison *comparison, size_t first, int dim)
{
	size_t kept = first;

	for (size_t i = first; i < comparison->change_count; i++) {
		struct tk_change *change = &comparison->changes[i];
		size_t other = first;

		while (other < kept && !alike_but_for(comparison, &comparison->changes[other], change, dim))
			other++;
		if (other == kept) {
			comparison->changes[kept++] = *change;
			continue;
		}
		for (size_t j = 0; j < comparison->classes[dim].count; j++)
			comparison->changes[other].in[dim][j] |= change->in[dim][j];
		change_free(change);
	}
	comparison->change_count = kept;
}

static int compare_all(const struct tk_compiled *const sides[TK_SIDES],
		       const struct tk_policy *const policies[TK_SIDES], struct tk_comparison *comparison)
{
	const struct tk_classes *classes = comparison->classes;

	for (size_t u = 0; u < classes[TK_DIM_USERS].count; u++) {
		size_t of_user = comparison->change_count;

		for (size_t p = 0; p < classes[TK_DIM_PROGRAMS].count; p++) {
			size_t of_program = comparison->change_count;

			for (size_t q = 0; q < classes[TK_DIM_PATHS].count; q++) {
				const struct tk_class *who[] = {&classes[TK_DIM_USERS].items[u],
								&classes[TK_DIM_PROGRAMS].items[p],
								&classes[TK_DIM_PATHS].items[q]};
				struct tk_change change = {0};

				if (ask(sides, policies, who, &change) &&
				    change_add(comparison, (size_t[]){u, p, q}, change) < 0)
					return -ENOMEM;
			}
			merge(comparison, of_program, TK_DIM_PATHS);
		}
		merge(comparison, of_user, TK_DIM_PROGRAMS);
	}
	merge(comparison, 0, TK_DIM_USERS);
	return 0;
}

int tk_compare(const struct tk_compiled *const sides[TK_SIDES], const struct tk_policy *const policies[TK_SIDES],
	       struct tk_comparison *ret_comparison)
{
	struct tk_comparison comparison = {0};
	int r = find_classes(sides, policies, comparison.classes);

	if (r == 0)
		r = compare_all(sides, policies, &comparison);
	if (r < 0)
		tk_comparison_free(&comparison);
	else
		*ret_comparison = comparison;
	return r;
}
