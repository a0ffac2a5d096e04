// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/policy_glob_test.c - globs: worked examples, and random patterns
 * through the automaton and through tk_glob_match(), both against a matcher that
 * simply tries everything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/policy/policy.h"

/* ---------------------------------------------------------------- the obvious matcher */

static bool in_class(const char **pattern, char c)
{
	const char *p = *pattern + 1;
	bool negated = *p == '!', found = false, first = true;

	for (p += negated; first || *p != ']'; first = false) {
		char low = *p == '\\' ? *++p : *p, high;

		p++;
		high = low;
		if (p[0] == '-' && p[1] != ']') {
			p++;
			high = *p == '\\' ? *++p : *p;
			p++;
		}
		found |= low <= c && c <= high;
	}
	*pattern = p + 1;
	return c != '/' && c && found != negated;
}

static bool matches(const char *p, const char *t, bool at_start)
{
	if (!*p)
		return !*t;
	if (p[0] == '*' && p[1] == '*' && p[2] == '/' && at_start) {
		if (matches(p + 3, t, true))
			return true;
		for (const char *s = t; *s; s++) {
			if (*s == '/' && s > t && matches(p + 3, s + 1, true))
				return true;
		}
		return false;
	}
	if (p[0] == '*') {
		bool both = p[1] == '*';

		for (;; t++) {
			if (matches(p + 1 + both, t, false))
				return true;
			if (!*t || (*t == '/' && !both))
				return false;
		}
	}
	if (*p == '?')
		return *t && *t != '/' && matches(p + 1, t + 1, false);
	if (*p == '[')
		return in_class(&p, *t) && matches(p, t + 1, false);
	p += *p == '\\';
	return *p == *t && matches(p + 1, t + 1, *p == '/');
}

static bool resource_matches(const char *pattern, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (*pattern == '/')
		return matches(pattern + 1, path, true);
	if (strchr(pattern, '/'))
		return matches(pattern, path, true);
	return matches(pattern, slash ? slash + 1 : path, true);
}

/* ---------------------------------------------------------------- through the automaton */

/* A policy of one resource set for each pattern. */
static struct tk_compiled *compile(const char *const *patterns, size_t count)
{
	struct tk_problems problems = {0};
	struct tk_compiled *compiled = NULL;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("{\"version\": 1, \"guard_points\": [], \"resource_sets\": {", out);
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "%s\"s%zu\": {\"paths\": [\"", i ? "," : "", i);
		for (const char *p = patterns[i]; *p; p++)
			fprintf(out, "%s%c", *p == '\\' || *p == '"' ? "\\" : "", *p);
		fputs("\"]}", out);
	}
	fputs("}}", out);
	fclose(out);
	if (tk_policy_compile(text, len, &compiled, &problems))
		print_error("%s\n%s: %s\n", text, problems.items[0].pointer, problems.items[0].message);
	assert_non_null(compiled);
	tk_problems_free(&problems);
	free(text);
	return compiled;
}

static bool automaton_matches(const char *pattern, const char *path)
{
	struct tk_compiled *compiled = compile(&pattern, 1);
	uint64_t sets[TK_SET_WORDS];

	tk_resource_sets(compiled, path, sets);
	tk_compiled_free(compiled);
	return sets[0] & 1;
}

static void examples(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool match;
	} cases[] = {
		{"*.ibd", "t.ibd", true},
		{"*.ibd", "a/b/t.ibd", true},
		{"*.ibd", "t.ibd/x", false},
		{"*.ibd", ".ibd", true},
		{"*.ibd", "", false},
		{"mysql/**", "mysql/a/b", true},
		{"mysql/**", "mysql", false},
		{"mysql/**", "x/mysql/a", false},
		{"*", "", true},
		{"*", "a/.b", true},
		{"**", "", true},
		{"**", "a/b", true},
		{"/*", "a", true},
		{"/*", "a/b", false},
		{"/*", "", true},
		{"/a", "a", true},
		{"/a", "b/a", false},
		{"a", "b/a", true},
		{"a", "a/b", false},
		{"**/x", "x", true},
		{"**/x", "a/b/x", true},
		{"**/x", "ax", false},
		{"a/**/b", "a/b", true},
		{"a/**/b", "a/x/y/b", true},
		{"a/**/b", "ab", false},
		{"a/**/b", "a/xb", false},
		{"a**b", "ab", true},
		{"/a**b", "a/x/b", true},
		{"a**b", "x/axb", true},
		{"**b", "a/b", true},
		{"a**b", "a/b", false},
		{"x/a**/b", "x/a/b", true},
		{"x/a**/b", "x/ac/d/b", true},
		{"?", "a", true},
		{"?", "", false},
		{"?", "\xc3\xa4", false},
		{"??", "\xc3\xa4", true},
		{"a?b", "a/b", false},
		{"[a-c]x", "bx", true},
		{"[a-c]x", "dx", false},
		{"[!a-c]x", "dx", true},
		{"x[!a]y/z", "x/y/z", false},
		{"x[+-9]y", "x/y", false},
		{"[]a]", "]", true},
		{"[!]a]", "]", false},
		{"[a-]", "-", true},
		{"[\\^a]", "^", true},
		{"[\\]]", "]", true},
		{"\\*", "*", true},
		{"\\*", "a", false},
		{"\\[a]", "[a]", true},
		{"a]", "a]", true},
		{"...", "...", true},
		{".*", ".git", true},
		{"A", "a", false},
		{"**/.cache/**", ".cache/x", true},
		{"**/.cache/**", "a/.cache/x/y", true},
		{"**/.cache/**", "a/.cache", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (automaton_matches(cases[i].pattern, cases[i].path) != cases[i].match ||
		    resource_matches(cases[i].pattern, cases[i].path) != cases[i].match)
			fail_msg("%s on \"%s\" is not %d", cases[i].pattern, cases[i].path, cases[i].match);
	}
	assert_true(tk_glob_match("/home/*/x", "/home/j/x"));
	assert_false(tk_glob_match("/home/*/x", "/home/j/k/x"));
	assert_true(tk_glob_match("/usr/**/gcc", "/usr/gcc"));
	assert_true(tk_glob_match("/**", "/a/b"));
	assert_false(tk_glob_match("home", "home"));
	assert_false(tk_glob_match("/[", "/["));
}

/* ---------------------------------------------------------------- at random */

static uint64_t seed = 42;

static unsigned int below(unsigned int bound)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned int)(seed >> 33) % bound;
}

static const char *one_of(const char *const *words, unsigned int count)
{
	return words[below(count)];
}
#define ONE_OF(words) one_of(words, sizeof(words) / sizeof((words)[0]))

/* A valid pattern by construction: no component "." or "..", never three stars. */
static void random_pattern(char *out, bool whole_path)
{
	static const char *const atoms[] = {"a", "b",	 "a",	 "b",	   ".",	  "*",
					    "?", "[ab]", "[!a]", "[a-b.]", "\\*", "\\a"};
	unsigned int components = 1 + below(3);

	*out = '\0';
	if (whole_path || !below(4))
		strcat(out, "/");
	for (unsigned int i = 0; i < components; i++) {
		bool star = false;

		if (i)
			strcat(out, "/");
		if (!below(4)) {
			strcat(out, "**");
			continue;
		}
		for (unsigned int j = 0, n = 1 + below(4); j < n; j++) {
			const char *atom = !star && !below(12) ? "**" : ONE_OF(atoms);

			if (star && *atom == '*')
				continue;
			star = *atom == '*';
			strcat(out, atom);
		}
		if (!star || below(3))
			strcat(out, "a");
	}
}

static void random_path(char *out)
{
	static const char *const names[] = {"a", "b", "aa", "ab", "ba", ".a", "*", "c", "a.b", "bab", "ca"};

	*out = '\0';
	for (unsigned int i = 0, n = below(5); i < n; i++) {
		strcat(out, i ? "/" : "");
		strcat(out, ONE_OF(names));
	}
}

static void automaton_at_random(void **state)
{
	unsigned int matched = 0, asked = 0;

	for (int round = 0; round < 1500; round++) {
		char patterns[8][128], path[128];
		const char *list[8];
		size_t count = 1 + below(8);
		struct tk_compiled *compiled;

		for (size_t i = 0; i < count; i++) {
			random_pattern(patterns[i], false);
			list[i] = patterns[i];
		}
		compiled = compile(list, count);
		for (int j = 0; j < 40; j++) {
			uint64_t sets[TK_SET_WORDS];

			random_path(path);
			tk_resource_sets(compiled, path, sets);
			for (size_t i = 0; i < count; i++) {
				bool expected = resource_matches(patterns[i], path);

				if ((sets[0] >> i & 1) != expected)
					fail_msg("%s on \"%s\" is not %d", patterns[i], path, expected);
				matched += expected;
				asked++;
			}
		}
		tk_compiled_free(compiled);
	}
	print_message("automaton: %u questions, %u matches\n", asked, matched);
	assert_true(matched > asked / 20);
}

static void whole_paths_at_random(void **state)
{
	for (int round = 0; round < 50000; round++) {
		char pattern[128], path[128] = "/";

		random_pattern(pattern, true);
		random_path(path + 1);
		if (path[1] && tk_glob_match(pattern, path) != matches(pattern, path, false))
			fail_msg("%s on \"%s\" is not %d", pattern, path, matches(pattern, path, false));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples),
		cmocka_unit_test(automaton_at_random),
		cmocka_unit_test(whole_paths_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
