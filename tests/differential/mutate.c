// SPDX-License-Identifier: GPL-2.0
/*
 * tests/differential/mutate.c - see mutate.h.
 */
#include <string.h>

#include "tests/differential/judge_abi.h"
#include "tests/differential/mutate.h"

static inline const struct tk_rule *tk_rule_at(__u32 slot, __u32 index)
{
	return NULL;
}
static inline const struct tk_state *tk_state_at(__u32 slot, __u32 state)
{
	return NULL;
}
#include "bpf/decide.h"

static void flip_permit(uint32_t *verdict)
{
	*verdict ^= TK_PERMIT;
}

static void wrong_rule(uint32_t *verdict)
{
	*verdict ^= 1u << 16;
}

static void drop_negation(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->rule_count; i++)
		compiled->rules[i].negated = 0;
}

/* A rule that names a set with no members must not match everything. */
static void drop_dimension(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->rule_count; i++)
		compiled->rules[i].named &= (__u8)~TK_RESOURCES;
}

static void last_match(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->policy_count; i++) {
		struct tk_rule *first = &compiled->rules[compiled->policies[i].first_rule];
		struct tk_rule *last = first + compiled->policies[i].rule_count - 1, spare;

		for (; first < last; first++, last--) {
			spare = *first;
			*first = *last;
			*last = spare;
		}
	}
}

static void drop_browse(struct tk_compiled *compiled)
{
	for (size_t i = 1; i < compiled->rule_count; i++) {
		struct tk_rule *rule = &compiled->rules[i];

		if (rule->source == rule[-1].source && rule->actions == TK_LIST)
			rule->actions = 0;
	}
}

/* Browsing must not hand out plaintext. */
static void browse_with_key(struct tk_compiled *compiled)
{
	for (size_t i = 1; i < compiled->rule_count; i++) {
		struct tk_rule *rule = &compiled->rules[i];

		if (rule->source == rule[-1].source && rule->actions == TK_LIST)
			rule->effects |= rule[-1].effects & TK_APPLY_KEY;
	}
}

static void drop_apply_key(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->rule_count; i++)
		compiled->rules[i].effects &= (__u8)~TK_APPLY_KEY;
}

static void slash_is_a_byte(struct tk_compiled *compiled)
{
	for (size_t i = 1; i < compiled->state_count; i++)
		compiled->states[i].next['/'] = compiled->states[i].next['z'];
}

static void last_state(struct tk_compiled *compiled)
{
	memset(compiled->states[compiled->state_count - 1].sets, 0, sizeof(compiled->states[0].sets));
}

static void drop_login(struct tk_compiled *compiled)
{
	memset(&compiled->login_sets, 0, sizeof(compiled->login_sets));
}

static void drop_integrity(struct tk_compiled *compiled)
{
	memset(&compiled->integrity_sets, 0, sizeof(compiled->integrity_sets));
}

/* Of a level that says so, and of a rule that does. */
static void drop_audit(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->rule_count; i++)
		compiled->rules[i].effects &= (__u8)~TK_AUDIT;
}

static void drop_mode(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->guard_count; i++)
		compiled->guards[i].mode = TK_ENFORCE;
}

static void learn_is_monitor(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->guard_count; i++)
		compiled->guards[i].mode = compiled->guards[i].mode == TK_LEARN ? TK_MONITOR : compiled->guards[i].mode;
}

static void no_users(struct judge_case *asked)
{
	memset(asked->request.users, 0, sizeof(asked->request.users));
}

static void no_processes(struct judge_case *asked)
{
	memset(asked->request.processes, 0, sizeof(asked->request.processes));
}

static void any_unit(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->unit_count; i++)
		strcpy(compiled->units[i], "one.service");
}

static void no_times(struct judge_case *asked)
{
	memset(&asked->times.holding, 0, sizeof(asked->times.holding));
}

/* The day of a range is the one it begins on. */
static void day_of_the_end(struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->time_set_count; i++) {
		struct tk_time_spec *spec = &compiled->times[i];

		if (spec->to < spec->from)
			spec->days = (__u8)((spec->days << 1 | spec->days >> 6) & 0x7f);
	}
}

static const struct mutation mutations[] = {
	{"flip-permit", NULL, NULL, flip_permit},
	{"wrong-rule", NULL, NULL, wrong_rule},
	{"drop-negation", drop_negation, NULL, NULL},
	{"drop-dimension", drop_dimension, NULL, NULL},
	{"last-match", last_match, NULL, NULL},
	{"drop-browse", drop_browse, NULL, NULL},
	{"browse-with-key", browse_with_key, NULL, NULL},
	{"drop-apply-key", drop_apply_key, NULL, NULL},
	{"slash-is-a-byte", slash_is_a_byte, NULL, NULL},
	{"last-state", last_state, NULL, NULL},
	{"drop-login", drop_login, NULL, NULL},
	{"drop-integrity", drop_integrity, NULL, NULL},
	{"drop-audit", drop_audit, NULL, NULL},
	{"drop-mode", drop_mode, NULL, NULL},
	{"learn-is-monitor", learn_is_monitor, NULL, NULL},
	{"no-users", NULL, no_users, NULL},
	{"no-processes", NULL, no_processes, NULL},
	{"any-unit", any_unit, NULL, NULL},
	{"no-times", NULL, no_times, NULL},
	{"day-of-the-end", day_of_the_end, NULL, NULL},
};

const struct mutation *mutation_find(const char *name)
{
	for (size_t i = 0; i < sizeof(mutations) / sizeof(mutations[0]); i++) {
		if (!strcmp(mutations[i].name, name))
			return &mutations[i];
	}
	return NULL;
}
