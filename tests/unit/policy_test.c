// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/policy_test.c - what good policies compile to, the warnings they
 * come with, and the limits.  Texts are written with ' for ", to be read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loader/policy/policy.h"

static char *quoted(const char *text)
{
	char *copy = strdup(text);

	for (char *p = copy; *p; p++) {
		if (*p == '\'')
			*p = '"';
	}
	return copy;
}

/* Compiles what must be good; *problems holds the warnings. */
static struct tk_compiled *compiled(const char *text, struct tk_problems *problems)
{
	struct tk_compiled *result = NULL;
	char *copy = quoted(text);
	int r = tk_policy_compile(copy, strlen(copy), &result, problems);

	if (r)
		print_error("%s: %s\n", problems->items[0].pointer, problems->items[0].message);
	assert_int_equal(r, 0);
	assert_int_equal(problems->errors, 0);
	free(copy);
	return result;
}

static void assert_problem(const struct tk_problem *problem, bool warning, const char *text)
{
	char said[512];

	snprintf(said, sizeof(said), "%s: %s", problem->pointer, problem->message);
	assert_string_equal(said, text);
	assert_int_equal(problem->warning, warning);
}

#define SETS                                                                             \
	"'version': 1, 'keys': {'k': {'provider': 'file', 'path': '/keys/k'}},"          \
	"'user_sets': {'a': {'users': ['u', '7']}, 'b': {'groups': ['g']}},"             \
	"'process_sets': {'x': {'processes': [{'path': '/x*'}, {'name': 'n', 'sha256': " \
	"'000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F'}]}},"        \
	"'resource_sets': {'r': {'paths': ['*.r']}},"
#define GUARD "'guard_points': [{'name': 'g', 'path': '/srv/*/g', 'policy': 'p', 'mode': 'monitor'}]"

static void everything(void **state)
{
	struct tk_problems problems = {0};
	struct tk_compiled *c =
		compiled("{" SETS "'policies': {'p': {'key': 'k', 'chunk_size': 4096, 'rules': ["
			 "{'users': ['a', 'b'], 'processes': {'not': 'x'}, 'resources': 'r',"
			 " 'actions': ['data_read', 'write'],"
			 " 'effects': ['permit', 'apply_key', 'audit'], 'browse': true},"
			 "{'actions': ['all_ops'], 'effects': ['deny']}]}}," GUARD "}",
			 &problems);
	const struct tk_rule *rule = c->rules;

	assert_int_equal(problems.count, 0);
	assert_int_equal(c->rule_count, 3);
	assert_int_equal(c->policy_count, 1);
	assert_string_equal(c->policies[0].name, "p");
	assert_int_equal(c->policies[0].rule_count, 3);
	assert_int_equal(c->encryption[0].key, 0);
	assert_int_equal(c->encryption[0].algorithm, TK_AES_256_GCM);
	assert_int_equal(c->encryption[0].chunk_log2, 12);
	assert_int_equal(rule->users[0], 3);
	assert_int_equal(rule->processes[0], 1);
	assert_int_equal(rule->resources[0], 1);
	assert_int_equal(rule->named, TK_USERS | TK_PROCESSES | TK_RESOURCES);
	assert_int_equal(rule->negated, TK_PROCESSES);
	assert_int_equal(rule->actions, TK_DATA_READ | TK_WRITE_GROUP);
	assert_int_equal(rule->effects, TK_PERMIT | TK_APPLY_KEY | TK_AUDIT);
	rule++; /* of "browse" */
	assert_int_equal(rule->users[0], 3);
	assert_int_equal(rule->processes[0], 1);
	assert_int_equal(rule->resources[0], 0);
	assert_int_equal(rule->named, TK_USERS | TK_PROCESSES);
	assert_int_equal(rule->negated, TK_PROCESSES);
	assert_int_equal(rule->actions, TK_LIST);
	assert_int_equal(rule->effects, TK_PERMIT | TK_AUDIT);
	assert_int_equal(rule->source, 0);
	rule++;
	assert_int_equal(rule->named, 0);
	assert_int_equal(rule->effects, 0);
	assert_int_equal(rule->source, 1);

	assert_string_equal(c->guards[0].path, "/srv/*/g");
	assert_int_equal(c->guards[0].mode, TK_MONITOR);
	assert_string_equal(c->keys[0].source.where, "/keys/k");
	assert_int_equal(c->user_count, 3);
	assert_string_equal(c->users[2].pointer, "/user_sets/b/groups/0");
	assert_true(c->users[2].group);
	assert_int_equal(c->process_count, 2);
	assert_string_equal(c->processes[1].pointer, "/process_sets/x/processes/1");
	assert_int_equal(c->processes[1].sha256[31], 0x1f);
	tk_compiled_free(c);
	tk_problems_free(&problems);
}

static void levels(void **state)
{
	static const struct {
		const char *text;
		enum tk_mode said, unsaid;
		uint8_t effects;
		bool integrity;
	} rows[] = {
		{"", TK_MONITOR, TK_ENFORCE, TK_PERMIT, true},
		{"'level': 'minimal',", TK_MONITOR, TK_ENFORCE, TK_PERMIT, false},
		{"'level': 'normal',", TK_MONITOR, TK_ENFORCE, TK_PERMIT, true},
		{"'level': 'paranoid',", TK_MONITOR, TK_ENFORCE, TK_PERMIT | TK_AUDIT, true},
		{"'level': 'learning',", TK_MONITOR, TK_LEARN, TK_PERMIT, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tk_problems problems = {0};
		struct tk_compiled *c;
		char text[768];

		snprintf(text, sizeof(text),
			 "{'version': 1, %s 'process_sets': {'a': {'processes': [{'path': '/a'}]},"
			 "'b': {'integrity': true, 'processes': [{'path': '/b'}]},"
			 "'c': {'integrity': false, 'processes': [{'path': '/c'}]}},"
			 "'policies': {'p': {'rules': [{'actions': ['read'], 'effects': ['permit']}]}}, "
			 "'guard_points': [{'name': 'g', 'path': '/g', 'policy': 'p', 'mode': 'monitor'},"
			 "{'name': 'h', 'path': '/h', 'policy': 'p'}]}",
			 rows[i].text);
		c = compiled(text, &problems);
		assert_int_equal(c->guards[0].mode, rows[i].said);
		assert_int_equal(c->guards[1].mode, rows[i].unsaid);
		assert_int_equal(c->rules[0].effects, rows[i].effects);
		assert_int_equal(c->integrity_sets.sets[0], rows[i].integrity ? 3 : 2);
		tk_compiled_free(c);
		tk_problems_free(&problems);
	}
}

static void warnings(void **state)
{
	struct tk_problems problems = {0};
	struct tk_compiled *c =
		compiled("{" SETS "'policies': {'p': {'key': 'k', 'rules': ["
			 "{'users': 'a', 'actions': ['list'], 'effects': ['deny']},"
			 "{'actions': ['read'], 'effects': ['permit']},"
			 "{'actions': ['write'], 'effects': ['permit']},"
			 "{'users': 'a', 'actions': ['data_read', 'create'], 'effects': ['deny']},"
			 "{'actions': ['all_ops'], 'effects': ['deny']},"
			 "{'users': 'a', 'actions': ['key_op'], 'effects': ['deny']}]}, "
			 "'q': {'rules': [{'actions': ['read'], 'effects': ['deny']}]}}," GUARD "}",
			 &problems);

	assert_int_equal(problems.count, 7);
	assert_problem(&problems.items[0], true, "/user_sets/b: no rule uses this user set");
	assert_problem(&problems.items[1], true, "/process_sets/x: no rule uses this process set");
	assert_problem(&problems.items[2], true, "/resource_sets/r: no rule uses this resource set");
	assert_problem(&problems.items[3], true, "/policies/q: no guard point uses this policy");
	assert_problem(&problems.items[4], true,
		       "/policies/p/rules/3: never reached: rule 2 decides before it");
	assert_problem(&problems.items[5], true,
		       "/policies/p/rules/5: never reached: rule 4 decides before it");
	assert_problem(
		&problems.items[6], true,
		"/policies/p/key: no rule has the effect \"apply_key\": nobody can read what is encrypted");
	tk_compiled_free(c);
	tk_problems_free(&problems);

	problems = (struct tk_problems){0};
	c = compiled("{'version': 1, 'keys': {'k': {'provider': 'file', 'path': '/k'}}, 'guard_points': []}",
		     &problems);
	assert_int_equal(problems.count, 2);
	assert_problem(&problems.items[0], true, "/guard_points: no guard point: nothing is guarded");
	assert_problem(&problems.items[1], true, "/keys/k: no policy uses this key");
	assert_int_equal(c->state_count, 2);
	tk_compiled_free(c);
	tk_problems_free(&problems);
}

static void test_key_providers(void **state)
{
	struct tk_problems problems = {};
	struct tk_compiled *c =
		compiled("{'version': 1, 'guard_points': [], 'keys': {"
			 "'f': {'provider': 'file', 'path': '/k'}, 'c': {'provider': 'credential', 'name': 'n'},"
			 "'x': {'provider': 'command', 'argv': ['/v', '-a', '']},"
			 "'y': {'provider': 'command', 'argv': ['/v'], 'timeout': 300}}}",
			 &problems);

	assert_int_equal(c->key_count, 4);
	assert_int_equal(c->keys[0].source.provider, TK_PROVIDER_FILE);
	assert_null(c->keys[0].source.argv);
	assert_int_equal(c->keys[1].source.provider, TK_PROVIDER_CREDENTIAL);
	assert_string_equal(c->keys[1].source.where, "n");
	assert_int_equal(c->keys[2].source.provider, TK_PROVIDER_COMMAND);
	assert_string_equal(c->keys[2].source.where, "/v");
	assert_string_equal(c->keys[2].source.argv[1], "-a");
	assert_string_equal(c->keys[2].source.argv[2], "");
	assert_null(c->keys[2].source.argv[3]);
	assert_int_equal(c->keys[2].source.timeout, 10);
	assert_int_equal(c->keys[3].source.timeout, 300);
	tk_compiled_free(c);
	tk_problems_free(&problems);
}

/* ---------------------------------------------------------------- limits */

/* Compiles `head`, `count` times `item` (# in it is the number), `tail`; the first error, or NULL when good.
 */
static char *of_many(const char *head, const char *item, size_t count, const char *tail)
{
	struct tk_problems problems = {0};
	struct tk_compiled *c = NULL;
	char *text = NULL, *copy, *said = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs(head, out);
	for (size_t i = 0; i < count; i++) {
		fputs(i ? "," : "", out);
		for (const char *p = item; *p; p++) {
			if (*p == '#')
				fprintf(out, "%zu", i);
			else
				putc(*p, out);
		}
	}
	fputs(tail, out);
	fclose(out);
	copy = quoted(text);
	if (tk_policy_compile(copy, strlen(copy), &c, &problems)) {
		const struct tk_problem *problem = problems.items;

		while (problem->warning)
			problem++;
		assert_true(asprintf(&said, "%s: %s", problem->pointer, problem->message) > 0);
	}
	tk_problems_free(&problems);
	tk_compiled_free(c);
	free(copy);
	free(text);
	return said;
}

static void assert_limit(const char *head, const char *item, size_t limit, const char *tail,
			 const char *problem)
{
	char *said = of_many(head, item, limit, tail);

	assert_null(said);
	said = of_many(head, item, limit + 1, tail);
	assert_non_null(said);
	assert_string_equal(said, problem);
	free(said);
}

static void limits(void **state)
{
	static const char rule[] = "{'actions': ['read'], 'effects': ['permit']}";

	assert_limit("{'version': 1, 'guard_points': [], 'user_sets': {", "'s#': {'users': ['u#']}", 256,
		     "}}", "/user_sets/s256: more than 256 user sets");
	assert_limit("{'version': 1, 'guard_points': [], 'process_sets': {",
		     "'s#': {'processes': [{'path': '/x#'}]}", 256, "}}",
		     "/process_sets/s256: more than 256 process sets");
	assert_limit("{'version': 1, 'guard_points': [], 'resource_sets': {", "'s#': {'paths': ['/x#']}", 256,
		     "}}", "/resource_sets/s256: more than 256 resource sets");
	assert_limit("{'version': 1, 'guard_points': [], 'policies': {'p': {'rules': [", rule, 1024, "]}}}",
		     "/policies/p/rules/1024: more than 1024 rules in a policy (one with \"browse\" counts "
		     "twice)");
	assert_limit(
		"{'version': 1, 'guard_points': [], 'policies': {'p': {'rules': [",
		"{'actions': ['read'], 'effects': ['permit'], 'browse': true}", 512, "]}}}",
		"/policies/p/rules/512: more than 1024 rules in a policy (one with \"browse\" counts twice)");
	assert_limit("{'version': 1, 'guard_points': [], 'policies': {",
		     "'p#': {'rules': [{'actions': ['read'], 'effects': ['permit']}]}", 1024, "}}",
		     "/policies/p1024: more than 1024 policies");
	assert_limit("{'version': 1, 'policies': {'p': {'rules': [{'actions': ['read'], 'effects': "
		     "['permit']}]}}, "
		     "'guard_points': [",
		     "{'name': 'g#', 'path': '/g#', 'policy': 'p'}", 65536, "]}",
		     "/guard_points/65536: more than 65536 guard points");
}

static void rules_in_all(void **state)
{
	struct tk_problems problems = {0};
	struct tk_compiled *c = NULL;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("{\"version\": 1, \"guard_points\": [], \"policies\": {", out);
	for (int i = 0; i < 5; i++) {
		fprintf(out, "%s\"p%d\": {\"rules\": [", i ? "," : "", i);
		for (int j = 0; j < 1000; j++)
			fprintf(out, "%s{\"actions\": [\"read\"], \"effects\": [\"deny\"]}", j ? "," : "");
		fputs("]}", out);
	}
	fputs("}}", out);
	fclose(out);
	assert_int_equal(tk_policy_compile(text, len, &c, &problems), -EINVAL);
	assert_problem(
		&problems.items[0], false,
		"/policies/p4/rules/96: more than 4096 rules in all (one with \"browse\" counts twice)");
	tk_problems_free(&problems);
	free(text);
}

/* Patterns that multiply are refused, soon, and the one that goes too far is named. */
static void automaton_limit(void **state)
{
	static const char head[] = "{'version': 1, 'guard_points': [], 'resource_sets': {'r': {'paths': [";
	char *said = of_many(head, "'*a#b#c*'", 40, "]}}}");
	struct timespec before, after;

	assert_non_null(said);
	assert_true(!strncmp(said, "/resource_sets/r/paths/", 23));
	assert_non_null(
		strstr(said, "with this pattern the resource sets need more than 4096 automaton states"));
	assert_true(strtoul(said + 23, NULL, 10) < 39);
	free(said);

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	said = of_many(head, "'[!b]**a??????????????????????##'", 2000, "]}}}");
	assert_non_null(said);
	free(said);
	said = of_many(head, "'**/**/**/**/**/*/**/*x*/**/a#/#*'", 3000, "]}}}");
	assert_non_null(said);
	free(said);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true(after.tv_sec - before.tv_sec < 60); /* without the bounds: not in this life */

	said = of_many(head, "'*.x#', 'dir#/**'", 100, "]}}}");
	assert_null(said);
}

/* ---------------------------------------------------------------- questions */

static void guard_of_path(void **state)
{
	static const struct {
		const char *path, *below;
		int guard;
	} cases[] = {
		{"/srv/a", "", 0},
		{"/srv/a/x/y", "x/y", 0},
		{"/srv/a/in", "", 1},
		{"/srv/a/in/z", "z", 1},
		{"/srv/ax", NULL, -1},
		{"/srv", NULL, -1},
		{"/home/j/D/f", "f", 2},
		{"/home/j/E/f", NULL, -1},
		{"/home/j/k/D/f", NULL, -1},
		{"/home/.j/D", "", 2},
		{"/home/q/D/in/x", "in/x", 2},
		{"/w/[x]/f", "f", 4},
		{"/w/x/f", NULL, -1},
		{"/", NULL, -1},
		{"/home/k/D/s/t", "t", 3},
		{"/home/k/D/s", "", 3},
		{"/srv/a/inn", "inn", 0},
	};
	struct tk_problems problems = {0};
	struct tk_compiled *c = compiled("{'version': 1, 'policies': {'p': {'rules': [{'actions': ['read'], "
					 "'effects': ['permit']}]}}, 'guard_points': ["
					 "{'name': '0', 'path': '/srv/a', 'policy': 'p'},"
					 "{'name': '1', 'path': '/srv/a/in', 'policy': 'p'},"
					 "{'name': '2', 'path': '/home/*/D', 'policy': 'p'},"
					 "{'name': '3', 'path': '/home/k/D/?', 'policy': 'p'},"
					 "{'name': '4', 'path': '/w/\\\\[x]', 'policy': 'p'},"
					 "{'name': '5', 'path': '/home/[a-z]/D', 'policy': 'p'}]}",
					 &problems);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *below = NULL;
		size_t guard = SIZE_MAX;
		int r = tk_guard_of_path(c, cases[i].path, &guard, &below);

		assert_int_equal(r, cases[i].below ? 0 : -ENOENT);
		if (r)
			continue;
		assert_int_equal(guard, cases[i].guard);
		assert_string_equal(below, cases[i].below);
	}
	tk_compiled_free(c);
	tk_problems_free(&problems);
}

static void words(void **state)
{
	for (uint32_t i = 0; i < TK_ACTION_COUNT; i++)
		assert_int_equal(tk_action_parse(tk_action_name(1u << i)), 1u << i);
	assert_null(tk_action_name(TK_READ_GROUP));
	assert_null(tk_action_name(0));
	assert_int_equal(tk_action_parse("read"), 0);
	for (uint32_t i = 0; i < TK_REASON_COUNT; i++)
		assert_true(strlen(tk_reason_name(i)) > 0);
}

static void rule_text(void **state)
{
	struct tk_problems problems = {0};
	struct tk_compiled *c =
		compiled("{" SETS "'policies': {'p': {'key': 'k', 'rules': ["
			 "{'users': {'not': ['b', 'a']}, 'resources': 'r', 'processes': 'x',"
			 " 'actions': ['read', 'create'], 'effects': ['permit', 'apply_key']},"
			 "{'actions': ['all_ops'], 'effects': ['deny', 'audit']}]}}," GUARD "}",
			 &problems);
	char *text = tk_rule_text(c, &c->rules[0]);

	assert_string_equal(text,
			    "users not a, b; processes x; resources r; read, create → permit, apply_key");
	free(text);
	text = tk_rule_text(c, &c->rules[1]);
	assert_string_equal(text, "all_ops → deny, audit");
	free(text);
	tk_compiled_free(c);
	tk_problems_free(&problems);
}

static void from_file(void **state)
{
	struct tk_problems problems = {0};
	struct tk_compiled *c = NULL;
	char path[] = "/tmp/policy-test-XXXXXX";
	int fd = mkstemp(path);

	assert_int_equal(tk_policy_load("/nonexistent", &c, &problems), -ENOENT);
	assert_int_equal(tk_policy_load("/", &c, &problems), -EISDIR);
	assert_int_equal(ftruncate(fd, (16 << 20) + 1), 0);
	assert_int_equal(tk_policy_load(path, &c, &problems), -EFBIG);
	assert_int_equal(problems.count, 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(tk_policy_load(path, &c, &problems), -EINVAL);
	assert_int_equal(problems.errors, 1);
	tk_problems_free(&problems);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything),	   cmocka_unit_test(levels),
	   cmocka_unit_test(warnings),
		cmocka_unit_test(limits),	   cmocka_unit_test(rules_in_all),
		cmocka_unit_test(automaton_limit), cmocka_unit_test(guard_of_path),
		cmocka_unit_test(words),	   cmocka_unit_test(rule_text),
		cmocka_unit_test(test_key_providers),
		cmocka_unit_test(from_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
