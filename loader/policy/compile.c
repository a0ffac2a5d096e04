// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/compile.c - from the model to struct tk_compiled, and the way in
 * for everybody else: a text or a file becomes a compiled policy, or problems.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "loader/policy/internal.h"

#define FILE_MAX (16u << 20)

static char *copy(struct tk_report *report, const char *text)
{
	char *fresh = text ? strdup(text) : NULL;

	if (text && !fresh)
		report->no_memory = true;
	return fresh;
}

/* An array for `count` elements; never asks for none, so NULL always means no memory. */
static void *array(struct tk_report *report, size_t count, size_t size)
{
	void *fresh = calloc(count + 1, size);

	if (!fresh)
		report->no_memory = true;
	return fresh;
}

/* A list with NULL at its end; NULL for no list. */
static char **copy_strings(struct tk_report *report, const cJSON *list)
{
	char **strings = list ? array(report, (size_t)cJSON_GetArraySize(list), sizeof(*strings)) : NULL;
	const cJSON *item;
	size_t n = 0;

	if (strings)
		cJSON_ArrayForEach (item, list)
			strings[n++] = copy(report, item->valuestring);
	return strings;
}

/* ---------------------------------------------------------------- rules */

static void emit_rule(const struct tk_model_rule *rule, struct tk_compiled *compiled)
{
	struct tk_rule *out = &compiled->rules[compiled->rule_count++];

	memcpy(out->users, rule->sets[TK_USER_SETS], sizeof(out->users));
	memcpy(out->processes, rule->sets[TK_PROCESS_SETS], sizeof(out->processes));
	memcpy(out->resources, rule->sets[TK_RESOURCE_SETS], sizeof(out->resources));
	memcpy(out->times, rule->sets[TK_TIME_SETS], sizeof(out->times));
	out->actions = rule->actions;
	out->source = (uint16_t)rule->source;
	out->effects = rule->effects;
	out->named = rule->named;
	out->negated = rule->negated;
}

/* "browse": the same subjects may list directories, whatever resources the rule is about. */
static void emit_browse(const struct tk_model_rule *rule, struct tk_compiled *compiled)
{
	struct tk_model_rule extra = *rule;

	memset(extra.sets[TK_RESOURCE_SETS], 0, sizeof(extra.sets[TK_RESOURCE_SETS]));
	extra.actions = TK_LIST;
	extra.effects &= TK_PERMIT | TK_AUDIT;
	extra.named &= (uint8_t)~TK_RESOURCES;
	extra.negated &= (uint8_t)~TK_RESOURCES;
	emit_rule(&extra, compiled);
}

static void compile_policies(struct tk_report *report, const struct tk_model *model,
			     struct tk_compiled *compiled)
{
	compiled->rules = array(report, model->compiled_rule_count, sizeof(*compiled->rules));
	compiled->policies = array(report, model->policy_count, sizeof(*compiled->policies));
	compiled->encryption = array(report, model->policy_count, sizeof(*compiled->encryption));
	if (report->no_memory)
		return;
	for (size_t i = 0; i < model->policy_count; i++) {
		const struct tk_model_policy *policy = &model->policies[i];
		struct tk_policy *out = &compiled->policies[i];

		memcpy(out->name, policy->name, strlen(policy->name)); /* tk_check_name(): it fits */
		out->first_rule = (uint32_t)compiled->rule_count;
		for (size_t j = 0; j < policy->rule_count; j++) {
			const struct tk_model_rule *rule = &model->rules[policy->first_rule + j];

			emit_rule(rule, compiled);
			if (rule->browse)
				emit_browse(rule, compiled);
		}
		out->rule_count = (uint32_t)compiled->rule_count - out->first_rule;
		for (size_t j = out->first_rule; j < compiled->rule_count; j++)
			out->timed |= !!(compiled->rules[j].named & TK_TIMES);
		compiled->encryption[i] =
			(struct tk_encryption){policy->key, policy->algorithm, policy->chunk_log2};
	}
	compiled->policy_count = model->policy_count;
}

/* ---------------------------------------------------------------- names */

static void compile_sets(struct tk_report *report, const struct tk_model *model, enum tk_kind kind,
			 char ***ret_names, size_t *ret_count)
{
	char **names = array(report, model->set_count[kind], sizeof(*names));

	for (size_t i = 0; names && i < model->set_count[kind]; i++)
		names[i] = copy(report, model->sets[kind][i].name);
	*ret_names = names;
	*ret_count = names ? model->set_count[kind] : 0;
}

static void compile_login(const struct tk_model *model, struct tk_compiled *compiled)
{
	for (size_t i = 0; i < model->set_count[TK_USER_SETS]; i++)
		if (model->sets[TK_USER_SETS][i].login)
			compiled->login_sets.sets[i / 64] |= 1ull << (i % 64);
}

static void compile_integrity(const struct tk_model *model, struct tk_compiled *compiled)
{
	for (size_t i = 0; i < model->set_count[TK_PROCESS_SETS]; i++)
		if (model->sets[TK_PROCESS_SETS][i].integrity)
			compiled->integrity_sets.sets[i / 64] |= 1ull << (i % 64);
}

/* The place of entry `index` of list `key` in a set. */
static char *entry_pointer(struct tk_report *report, const struct tk_model *model, enum tk_kind kind,
			   uint32_t set, const char *key, size_t index)
{
	const struct tk_place *section = TK_AT_KEY(NULL, tk_section_names[kind]);
	const struct tk_place *here = TK_AT_KEY(section, model->sets[kind][set].name);
	char *pointer = tk_pointer(TK_AT(TK_AT_KEY(here, key), index));

	if (!pointer)
		report->no_memory = true;
	return pointer;
}

static void compile_users(struct tk_report *report, const struct tk_model *model,
			  struct tk_compiled *compiled)
{
	compiled->users = array(report, model->user_count, sizeof(*compiled->users));
	for (size_t i = 0; compiled->users && i < model->user_count; i++) {
		const struct tk_model_user *user = &model->users[i];

		compiled->users[compiled->user_count++] = (struct tk_user_spec){
			.set = user->set,
			.name = copy(report, user->name),
			.group = user->group,
			.pointer = entry_pointer(report, model, TK_USER_SETS, user->set,
						 user->group ? "groups" : "users", user->index),
		};
	}
}

/* The number of a unit, which it gets when it is named first. */
static uint32_t unit_number(struct tk_report *report, const struct tk_place *at, const char *name,
			    struct tk_compiled *compiled)
{
	char **added;

	for (size_t i = 0; i < compiled->unit_count; i++)
		if (!strcmp(compiled->units[i], name))
			return (uint32_t)i;
	if (compiled->unit_count == TK_MAX_UNITS) {
		tk_error(report, at, "more than %d units", TK_MAX_UNITS);
		return UINT32_MAX;
	}
	added = TK_APPEND(report, compiled->units, compiled->unit_count);
	if (added && !(*added = copy(report, name)))
		compiled->unit_count--;
	return (uint32_t)compiled->unit_count - 1;
}

static void compile_processes(struct tk_report *report, const struct tk_model *model,
			      struct tk_compiled *compiled)
{
	compiled->processes = array(report, model->process_count, sizeof(*compiled->processes));
	for (size_t i = 0; compiled->processes && i < model->process_count; i++) {
		const struct tk_model_process *process = &model->processes[i];
		struct tk_process_spec *out = &compiled->processes[compiled->process_count++];

		*out = (struct tk_process_spec){
			.set = process->set,
			.path = copy(report, process->path),
			.name = copy(report, process->name),
			.unit = UINT32_MAX,
			.has_sha256 = process->has_sha256,
			.pointer = entry_pointer(report, model, TK_PROCESS_SETS, process->set, "processes",
						 process->index),
		};
		memcpy(out->sha256, process->sha256, sizeof(out->sha256));
		if (process->unit)
			out->unit = unit_number(report, TK_AT_KEY(NULL, "process_sets"), process->unit, compiled);
	}
}

static void compile_times(struct tk_report *report, struct tk_model *model, struct tk_compiled *compiled)
{
	compiled->times = array(report, model->time_count, sizeof(*compiled->times));
	for (size_t i = 0; compiled->times && i < model->time_count; i++) {
		compiled->times[i] = model->times[i];
		model->times[i].zone = NULL;
	}
}

static void compile_keys_and_guards(struct tk_report *report, const struct tk_model *model,
				    struct tk_compiled *compiled)
{
	compiled->keys = array(report, model->key_count, sizeof(*compiled->keys));
	for (size_t i = 0; compiled->keys && i < model->key_count; i++) {
		const struct tk_model_key *key = &model->keys[i];

		compiled->keys[compiled->key_count++] = (struct tk_key_spec){
			.id = copy(report, key->id),
			.source = {.provider = key->provider,
				   .where = copy(report, key->where),
				   .argv = copy_strings(report, key->argv),
				   .timeout = key->timeout},
		};
	}
	compiled->guards = array(report, model->guard_count, sizeof(*compiled->guards));
	for (size_t i = 0; compiled->guards && i < model->guard_count; i++) {
		const struct tk_model_guard *guard = &model->guards[i];

		compiled->guards[compiled->guard_count++] = (struct tk_guard_spec){
			.name = copy(report, guard->name),
			.path = copy(report, guard->path),
			.policy = guard->policy,
			.mode = guard->mode,
			.shield = guard->shield,
			.linger = guard->linger,
		};
	}
}

static void compile_model(struct tk_report *report, struct tk_model *model, struct tk_compiled *compiled)
{
	compile_sets(report, model, TK_USER_SETS, &compiled->user_sets, &compiled->user_set_count);
	compile_sets(report, model, TK_PROCESS_SETS, &compiled->process_sets, &compiled->process_set_count);
	compile_sets(report, model, TK_RESOURCE_SETS, &compiled->resource_sets,
		     &compiled->resource_set_count);
	compile_sets(report, model, TK_TIME_SETS, &compiled->time_sets, &compiled->time_set_count);
	compile_login(model, compiled);
	compile_integrity(model, compiled);
	compile_times(report, model, compiled);
	compile_policies(report, model, compiled);
	compile_users(report, model, compiled);
	compile_processes(report, model, compiled);
	compile_keys_and_guards(report, model, compiled);
	tk_automaton_build(report, model, compiled);
	if (!report->no_memory)
		tk_check_reach(report, compiled);
}

/* ---------------------------------------------------------------- the way in */

static void names_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

struct tk_compiled *tk_compiled_share(struct tk_compiled *compiled)
{
	__atomic_fetch_add(&compiled->others, 1, __ATOMIC_RELAXED);
	return compiled;
}

void tk_compiled_free(struct tk_compiled *compiled)
{
	if (!compiled || __atomic_fetch_sub(&compiled->others, 1, __ATOMIC_ACQ_REL))
		return;
	names_free(compiled->user_sets, compiled->user_set_count);
	names_free(compiled->process_sets, compiled->process_set_count);
	names_free(compiled->resource_sets, compiled->resource_set_count);
	for (size_t i = 0; compiled->times && i < compiled->time_set_count; i++)
		free(compiled->times[i].zone);
	names_free(compiled->units, compiled->unit_count);
	names_free(compiled->time_sets, compiled->time_set_count);
	free(compiled->times);
	for (size_t i = 0; i < compiled->key_count; i++) {
		free(compiled->keys[i].id);
		free(compiled->keys[i].source.where);
		for (char **arg = compiled->keys[i].source.argv; arg && *arg; arg++)
			free(*arg);
		free(compiled->keys[i].source.argv);
	}
	for (size_t i = 0; i < compiled->guard_count; i++) {
		free(compiled->guards[i].name);
		free(compiled->guards[i].path);
	}
	for (size_t i = 0; i < compiled->process_count; i++) {
		free(compiled->processes[i].path);
		free(compiled->processes[i].name);
		free(compiled->processes[i].pointer);
	}
	for (size_t i = 0; i < compiled->user_count; i++) {
		free(compiled->users[i].name);
		free(compiled->users[i].pointer);
	}
	free(compiled->keys);
	free(compiled->guards);
	free(compiled->processes);
	free(compiled->users);
	free(compiled->rules);
	free(compiled->policies);
	free(compiled->encryption);
	free(compiled->states);
	free(compiled);
}

int tk_policy_compile(const char *text, size_t len, struct tk_compiled **ret_compiled,
		      struct tk_problems *ret_problems)
{
	struct tk_report report = {0};
	struct tk_model model = {0};
	struct tk_compiled *compiled = NULL;
	int r;

	tk_model_parse(&report, &model, text, len);
	if (!report.problems.errors && !report.no_memory) {
		compiled = calloc(1, sizeof(*compiled));
		if (compiled)
			compile_model(&report, &model, compiled);
		else
			report.no_memory = true;
	}
	tk_model_free(&model);
	r = tk_report_end(&report, ret_problems);
	if (r < 0)
		tk_compiled_free(compiled);
	else
		*ret_compiled = compiled;
	return r;
}

int tk_text_read(const char *path, char **ret_text, size_t *ret_len)
{
	TK_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	TK_FREE char *text = NULL;
	size_t len = 0, room = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		if (len == room) {
			char *larger = realloc(text, room = room ? 2 * room : 16384);

			if (!larger)
				return -ENOMEM;
			text = larger;
		}
		n = read(fd, text + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
		if (len > FILE_MAX)
			return -EFBIG;
	}
	*ret_text = text;
	*ret_len = len;
	text = NULL;
	return 0;
}

int tk_policy_load(const char *path, struct tk_compiled **ret_compiled, struct tk_problems *ret_problems)
{
	TK_FREE char *text = NULL;
	size_t len;
	int r = tk_text_read(path, &text, &len);

	return r < 0 ? r : tk_policy_compile(text, len, ret_compiled, ret_problems);
}
