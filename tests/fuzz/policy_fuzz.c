// SPDX-License-Identifier: GPL-2.0
/*
 * tests/fuzz/policy_fuzz.c - libFuzzer target for the policy compiler: any text is
 * either refused with an error that says something, or compiled to tables that the
 * kernel programs can walk without leaving them.  The examples are its seeds:
 *
 *     policy_fuzz -max_len=16384 CORPUS policies
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "loader/policy/internal.h"

static void demand(bool holds)
{
	if (!holds)
		abort();
}

static void check_rules(const struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->policy_count; i++) {
		const struct tk_policy *policy = &compiled->policies[i];
		const struct tk_encryption *encryption = &compiled->encryption[i];

		demand(policy->rule_count && policy->rule_count <= TK_MAX_POLICY_RULES);
		demand(policy->first_rule + policy->rule_count <= compiled->rule_count);
		demand(strnlen(policy->name, TK_NAME_MAX) < TK_NAME_MAX);
		demand(encryption->key == UINT32_MAX || encryption->key < compiled->key_count);
		for (uint32_t j = 0; j < policy->rule_count; j++) {
			const struct tk_rule *rule = &compiled->rules[policy->first_rule + j];
			char *text = tk_rule_text(compiled, rule);

			demand(text && *text);
			free(text);
			demand(rule->actions && !(rule->actions & ~TK_ALL_OPS));
			demand(!(rule->effects & TK_APPLY_KEY) ||
			       (rule->effects & TK_PERMIT && encryption->key != UINT32_MAX));
			demand(!(rule->negated & ~rule->named));
		}
	}
	demand(compiled->rule_count <= TK_MAX_RULES && compiled->policy_count <= TK_MAX_POLICIES);
}

static void check_states(const struct tk_compiled *compiled)
{
	uint64_t sets[TK_SET_WORDS];

	demand(compiled->state_count >= 2 && compiled->state_count <= TK_MAX_STATES);
	for (size_t i = 0; i < compiled->state_count; i++) {
		for (unsigned int byte = 0; byte < 256; byte++)
			demand(compiled->states[i].next[byte] < compiled->state_count);
	}
	for (unsigned int byte = 0; byte < 256; byte++)
		demand(compiled->states[TK_STATE_DEAD].next[byte] == TK_STATE_DEAD);
	tk_resource_sets(compiled, "a/b", sets);
}

static void check_guards(const struct tk_compiled *compiled)
{
	const char *below;
	size_t guard;

	for (size_t i = 0; i < compiled->guard_count; i++) {
		const struct tk_guard_spec *spec = &compiled->guards[i];

		demand(spec->policy < compiled->policy_count && spec->path[0] == '/' && spec->path[1]);
		/* A path without globs lies in itself. */
		if (!strpbrk(spec->path, "*?[\\")) {
			demand(!tk_guard_of_path(compiled, spec->path, &guard, &below));
			demand(!*below);
		}
	}
}

/* One glob on its own: the same bytes as a pattern and as the text. */
static void check_glob(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size < 512 ? size : 512);

	demand(text);
	if (!strpbrk(text, "*?[\\")) {
		struct tk_glob *glob = NULL;
		const char *why = NULL;

		if (!tk_glob_parse(text, TK_GLOB_PATH, &glob, &why))
			demand(tk_glob_run(glob, text)); /* what is all literal matches itself */
		else
			demand(why && *why);
		free(glob);
	}
	tk_glob_match(text, "/a/b.c");
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tk_problems problems = {0};
	struct tk_compiled *compiled = NULL;
	int r = tk_policy_compile((const char *)data, size, &compiled, &problems);

	check_glob(data, size);
	demand(r == 0 || r == -EINVAL);
	demand((r != 0) == (problems.errors > 0) && (r != 0) == !compiled);
	for (size_t i = 0; i < problems.count; i++)
		demand(*problems.items[i].message && !strchr(problems.items[i].message, '\n'));
	if (compiled) {
		check_rules(compiled);
		check_states(compiled);
		check_guards(compiled);
	}
	tk_compiled_free(compiled);
	tk_problems_free(&problems);
	return 0;
}
