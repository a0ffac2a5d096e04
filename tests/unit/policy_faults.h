/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/unit/policy_faults.h - what the tests of malformed policies share: a policy around
 * what is tried, and the first problem as "pointer: message".
 *
 * Texts are written with ' for ", to be read.
 */
#ifndef TK_TESTS_POLICY_FAULTS_H
#define TK_TESTS_POLICY_FAULTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/policy/policy.h"

struct fault {
	const char *text;
	const char *problem;
};

/* A policy around what is tried. */
#define GUARDS "'guard_points': [{'name': 'g', 'path': '/srv/g', 'policy': 'p'}]"
#define SETS                                                                          \
	"'user_sets': {'finance': {'users': ['jane']}, 'staff': {'users': ['joe']}}," \
	"'process_sets': {'editors': {'processes': [{'path': '/usr/bin/nano'}]}},"    \
	"'resource_sets': {'tables': {'paths': ['*.ibd']}},"
#define WHOLE(sections) "{'version': 1," sections GUARDS "}"
#define KEY "'keys': {'k': {'provider': 'file', 'path': '/k'}},"
#define POLICY(policy) WHOLE(KEY SETS "'policies': {'p': " policy "},")
#define RULE(rule) POLICY("{'key': 'k', 'rules': [{" rule "}]}")
#define DO "'actions': ['read'], 'effects': ['permit', 'apply_key']"
#define USERS(set) WHOLE("'user_sets': {'s': " set "}, 'policies': {'p': {'rules': [{" DO "}]}},")
#define PROCESSES(set) WHOLE("'process_sets': {'s': " set "}, 'policies': {'p': {'rules': [{" DO "}]}},")
#define TIMES(set) WHOLE("'time_sets': {'s': {" set "}}, 'policies': {'p': {'rules': [{" DO "}]}},")
#define RESOURCE(pattern) \
	WHOLE("'resource_sets': {'s': {'paths': [" pattern "]}}, 'policies': {'p': {'rules': [{" DO "}]}},")
#define GUARD(guards)                                                                                   \
	"{'version': 1, 'policies': {'p': {'rules': [{'actions': ['read'], 'effects': ['permit']}]}}, " \
	"'guard_points': [" guards "]}"

/* Compiles and returns the first error as "pointer: message"; the caller frees. */
static char *first_error(const char *text, size_t len)
{
	struct tk_problems problems = {0};
	struct tk_compiled *compiled = NULL;
	char *said = NULL;

	assert_int_equal(tk_policy_compile(text, len, &compiled, &problems), -EINVAL);
	assert_null(compiled);
	assert_true(problems.errors > 0);
	for (size_t i = 0; i < problems.count && !said; i++) {
		const struct tk_problem *problem = &problems.items[i];

		if (!problem->warning)
			assert_true(asprintf(&said, "%s%s%s", problem->pointer, *problem->pointer ? ": " : "",
					     problem->message) > 0);
	}
	tk_problems_free(&problems);
	return said;
}

static void check_faults(const struct fault *faults, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *text = strdup(faults[i].text), *said;

		for (char *p = text; *p; p++) {
			if (*p == '\'')
				*p = '"';
		}
		said = first_error(text, strlen(text));
		assert_string_equal(said, faults[i].problem);
		free(said);
		free(text);
	}
}

#define FAULTS_TEST(name)                                           \
	static void name##_faults(void **state)                     \
	{                                                           \
		check_faults(name, sizeof(name) / sizeof(name[0])); \
	}

#endif
