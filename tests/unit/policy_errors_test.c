// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/policy_errors_test.c - malformed policies and what exactly is said
 * about them: the first problem, as "pointer: message".
 */
#include "tests/unit/policy_faults.h"

/* clang-format off: one fault a line */
static const struct fault syntax[] = {
	{"", "line 1, column 1: expected a value, found the end of the text"},
	{"{", "line 1, column 2: expected a key in double quotes, found the end of the text"},
	{"{\n  'version' 1}", "line 2, column 13: expected ':', found '1'"},
	{"{'version': 1,}", "line 1, column 15: expected a key in double quotes, found '}'"},
	{"{'a': [1, 2}", "line 1, column 12: expected ',' or ']', found '}'"},
	{"{'a': 1 'b': 2}", "line 1, column 9: expected ',' or '}', found '\"'"},
	{"{} x", "line 1, column 4: expected nothing after the policy, found 'x'"},
	{"{}\n\n{}", "line 3, column 1: expected nothing after the policy, found '{'"},
	{"{'a': 01}", "line 1, column 8: expected ',' or '}', found '1'"},
	{"{'a': 1.}", "line 1, column 9: expected a digit, found '}'"},
	{"{'a': +1}", "line 1, column 7: expected a value, found '+'"},
	{"{'a': -}", "line 1, column 8: expected a digit, found '}'"},
	{"{'a': 1e}", "line 1, column 9: expected a digit, found '}'"},
	{"{'a': tru}", "line 1, column 7: expected a value, found 't'"},
	{"{'a': NaN}", "line 1, column 7: expected a value, found 'N'"},
	{"{'a': 'b}", "line 1, column 10: expected '\"' at the end of a string, found the end of the text"},
	{"{'a': 'b\n'}", "line 1, column 9: a control character in a string (write it as \\u00XX)"},
	{"{'a': '\\x'}", "line 1, column 9: expected an escape sequence, found 'x'"},
	{"{'a': '\\u12g4'}", "line 1, column 12: expected four hexadecimal digits, found 'g'"},
	{"{'a': '\\u0000'}", "line 1, column 14: a NUL character in a string"},
	{"{'a': '\\ud800'}", "line 1, column 14: a lone surrogate in a string"},
	{"{'a': '\\udc00'}", "line 1, column 14: a lone surrogate in a string"},
	{"{'a': '\\ud800\\u0041'}", "line 1, column 20: a lone surrogate in a string"},
	{"{'a': '\xff'}", "line 1, column 8: invalid UTF-8"},
	{"{'a': '\xc0\xaf'}", "line 1, column 8: invalid UTF-8"},
	{"{'a': '\xed\xa0\x80'}", "line 1, column 8: invalid UTF-8"},
	{"{'\xc3\xa4\xc3\xb6': '\xf5'}", "line 1, column 9: invalid UTF-8"},
	{"\xef\xbb\xbf{}", "line 1, column 1: expected a value, found byte 0xef"},
	{"{'a': 1000000000000000000000000000000000000000000000000000000000000000}",
	 "line 1, column 7: a number of more than 60 digits"},
	{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
	 "line 1, column 33: nested too deep"},
	{"// policy\n{}", "line 1, column 1: expected a value, found '/'"},
};

static const struct fault structure[] = {
	{"[]", "expected an object, found a list"},
	{"null", "expected an object, found null"},
	{"{'guard_points': []}", "\"version\" is missing"},
	{"{'version': 1}", "\"guard_points\" is missing"},
	{"{'version': 2, 'guard_points': []}", "/version: expected 1, found 2"},
	{"{'version': '1', 'guard_points': []}", "/version: expected a number, found a string"},
	{"{'version': 1, 'guard_points': {}}", "/guard_points: expected a list, found an object"},
	{"{'version': 1, 'guard_points': [], 'version': 1}", "/version: this key occurs twice"},
	{POLICY("{'rules': [{'actions': ['read'], 'effects': ['permit'], 'actions': ['write']}]}"),
	 "/policies/p/rules/0/actions: this key occurs twice"},
	{"{'version': 1, 'guard_points': [], '\\u0076ersion': 1}", "/version: this key occurs twice"},
	{"{'version': 1, 'guard_point': []}", "/guard_point: unknown key (did you mean \"guard_points\"?)"},
	{"{'version': 1, 'guard_points': [], 'x': 1}", "/x: unknown key"},
	{"{'version': 1, 'guard_points': [], 'a/b~c\\n': 1}", "/a~1b~0c\\u000a: unknown key"},
	{"{'version': 1, 'guard_points': [], 'time_sets': []}",
	 "/time_sets: expected an object, found a list"},
	{"{'version': 1, 'guard_points': [], 'Version': 1}",
	 "/Version: unknown key (did you mean \"version\"?)"},
	{GUARD("{'name': 'g', 'path': '/g', 'policy': 'q'}"),
	 "/guard_points/0/policy: no policy \"q\" (did you mean \"p\"?)"},
	{GUARD("{'name': 'g', 'path': 'g', 'policy': 'p'}"),
	 "/guard_points/0/path: expected an absolute path"},
	{GUARD("{'name': 'g', 'path': '', 'policy': 'p'}"),
	 "/guard_points/0/path: expected an absolute path"},
	{GUARD("{'name': 'g', 'path': '/', 'policy': 'p'}"),
	 "/guard_points/0/path: \"/\" cannot be a guard point"},
	{GUARD("{'name': 'g', 'path': '/g/', 'policy': 'p'}"),
	 "/guard_points/0/path: a path does not end in \"/\""},
	{GUARD("{'name': 'g', 'path': '/a//g', 'policy': 'p'}"), "/guard_points/0/path: \"//\" in a path"},
	{GUARD("{'name': 'g', 'path': '/a/../g', 'policy': 'p'}"),
	 "/guard_points/0/path: \".\" or \"..\" in a path"},
	{GUARD("{'name': 'g', 'path': '/a/.', 'policy': 'p'}"),
	 "/guard_points/0/path: \".\" or \"..\" in a path"},
	{GUARD("{'name': 'g', 'path': '/a/**/b', 'policy': 'p'}"),
	 "/guard_points/0/path: \"**\" in a guard point's path (\"*\" stands for one component)"},
	{GUARD("{'name': 'g', 'path': '/a/[b', 'policy': 'p'}"), "/guard_points/0/path: \"[\" without \"]\""},
	{GUARD("{'name': '', 'path': '/g', 'policy': 'p'}"),
	 "/guard_points/0/name: a name has 1 to 63 printable ASCII characters"},
	{GUARD("{'name': 'g\\t', 'path': '/g', 'policy': 'p'}"),
	 "/guard_points/0/name: a name has 1 to 63 printable ASCII characters"},
	{GUARD("{'path': '/g', 'policy': 'p'}"), "/guard_points/0: \"name\" is missing"},
	{GUARD("{'name': 'g', 'path': '/g', 'policy': 'p', 'mode': 'Enforce'}"),
	 "/guard_points/0/mode: no mode \"Enforce\" (expected \"enforce\", \"monitor\" or \"learn\")"},
	{GUARD("{'name': 'g', 'path': '/g', 'policy': 'p'}, {'name': 'g', 'path': '/h', 'policy': 'p'}"),
	 "/guard_points/1/name: /guard_points/0 has this name already"},
	{GUARD("{'name': 'g', 'path': '/g', 'policy': 'p'}, {'name': 'h', 'path': '/g', 'policy': 'p'}"),
	 "/guard_points/1/path: /guard_points/0 has this path already"},
	{GUARD("7"), "/guard_points/0: expected an object, found a number"},
	{WHOLE("'keys': {'a b': {'provider': 'file', 'path': '/k'}},"),
	 "/keys/a b: a key's name has 1 to 255 printable ASCII characters, no space, no \"/\""},
	{WHOLE("'keys': {'k': {'provider': 'kmip', 'path': '/k'}},"),
	 "/keys/k/provider: no key provider \"kmip\" (expected \"file\", \"credential\", \"command\" or \"pkcs11\")"},
	{WHOLE("'keys': {'k': {'provider': 'pkcs11'}},"), "/keys/k: \"uri\" is missing"},
	{WHOLE("'keys': {'k': {'provider': 'pkcs11', 'uri': 'pkcs11:token=t;object=k?module-path=/m&pin-source=/p', 'path': '/k'}},"),
	 "/keys/k/path: unknown key"},
	{WHOLE("'keys': {'k': {'provider': 'pkcs11', 'uri': 'pkcs11:token=t;object=k?module-path=/m&pin-value=1234'}},"),
	 "/keys/k/uri: expected a PKCS#11 URI (RFC 7512) of a key: it holds the PIN (pin-value): put that into a file of "
	 "mode 0600 and name the file (pin-source)"},
	{WHOLE("'keys': {'k': {'provider': 'pkcs11', 'uri': 'pkcs11:token=t;object=k?pin-source=/p'}},"),
	 "/keys/k/uri: expected a PKCS#11 URI (RFC 7512) of a key: it lacks module-path=/PATH, the PKCS#11 module"},
	{WHOLE("'keys': {'k': {'provider': 'command'}},"), "/keys/k: \"argv\" is missing"},
	{WHOLE("'keys': {'k': {'provider': 'command', 'argv': ['/v'], 'path': '/k'}},"),
	 "/keys/k/path: unknown key"},
	{WHOLE("'keys': {'k': {'provider': 'command', 'argv': []}},"),
	 "/keys/k/argv: expected 1 to 64 strings: the command's path and its arguments"},
	{WHOLE("'keys': {'k': {'provider': 'command', 'argv': ['vault']}},"),
	 "/keys/k/argv/0: expected an absolute path"},
	{WHOLE("'keys': {'k': {'provider': 'command', 'argv': ['/vault', 7]}},"),
	 "/keys/k/argv/1: expected a string"},
	{WHOLE("'keys': {'k': {'provider': 'command', 'argv': ['/vault'], 'timeout': 0}},"),
	 "/keys/k/timeout: expected a whole number of seconds from 1 to 300"},
	{WHOLE("'keys': {'k': {'provider': 'credential'}},"), "/keys/k: \"name\" is missing"},
	{WHOLE("'keys': {'k': {'provider': 'credential', 'name': '../k'}},"),
	 "/keys/k/name: expected the name of a credential: a file name without \"/\""},
	{WHOLE("'keys': {'k': {'provider': 'file', 'path': 'k'}},"),
	 "/keys/k/path: expected an absolute path"},
	{WHOLE("'keys': {'k': {'provider': 'file'}},"), "/keys/k: \"path\" is missing"},
};

static const struct fault sets[] = {
	{USERS("{}"), "/user_sets/s: expected \"users\", \"groups\" or both"},
	{USERS("{'users': []}"), "/user_sets/s/users: expected at least one entry, found an empty list"},
	{USERS("{'users': 'jane'}"), "/user_sets/s/users: expected a list, found a string"},
	{USERS("{'users': [1004]}"), "/user_sets/s/users/0: expected a string, found a number"},
	{USERS("{'users': ['a', 'b', 'a']}"), "/user_sets/s/users/2: \"a\" is listed twice"},
	{USERS("{'users': ['007']}"),
	 "/user_sets/s/users/0: \"007\" is not a user id (0 to 4294967294, no leading zeros)"},
	{USERS("{'groups': ['4294967295']}"),
	 "/user_sets/s/groups/0: \"4294967295\" is not a group id (0 to 4294967294, no leading zeros)"},
	{USERS("{'users': ['jane smith']}"), "/user_sets/s/users/0: \"jane smith\" is not a user name"},
	{USERS("{'groups': ['']}"), "/user_sets/s/groups/0: a group name has 1 to 255 bytes"},
	{USERS("{'users': ['a'], 'login': 'optional'}"),
	 "/user_sets/s/login: no login \"optional\" (expected \"required\")"},
	{USERS("{'users': ['a'], 'login': true}"), "/user_sets/s/login: expected a string, found true"},
	{USERS("{'login': 'required'}"), "/user_sets/s: expected \"users\", \"groups\" or both"},
	{USERS("{'user': ['a']}"), "/user_sets/s/user: unknown key (did you mean \"users\"?)"},
	{TIMES("'from': '08:00', 'to': '18:00'"), "/time_sets/s: \"timezone\" is missing"},
	{TIMES("'timezone': 'UTC'"), "/time_sets/s: expected \"days\", or \"from\" and \"to\", or all of them"},
	{TIMES("'timezone': 'UTC', 'days': []"),
	 "/time_sets/s/days: expected at least one entry, found an empty list"},
	{TIMES("'timezone': 'UTC', 'days': ['mon', 'monday']"),
	 "/time_sets/s/days/1: no day \"monday\" (one of sun, mon, tue, wed, thu, fri, sat)"},
	{TIMES("'timezone': 'UTC', 'from': '08:00'"), "/time_sets/s: \"from\" without \"to\""},
	{TIMES("'timezone': 'UTC', 'days': ['mon'], 'to': '08:00'"), "/time_sets/s: \"to\" without \"from\""},
	{TIMES("'timezone': 'UTC', 'from': '24:00', 'to': '08:00'"),
	 "/time_sets/s/from: expected a time from \"00:00\" to \"23:59\""},
	{TIMES("'timezone': 'UTC', 'from': '8:00', 'to': '08:00'"),
	 "/time_sets/s/from: expected a time from \"00:00\" to \"23:59\""},
	{TIMES("'timezone': 'UTC', 'from': '08:00', 'to': '24:01'"),
	 "/time_sets/s/to: expected a time from \"00:00\" to \"24:00\""},
	{TIMES("'timezone': 'UTC', 'from': '08:00', 'to': '08:00'"),
	 "/time_sets/s/to: the range is empty (for whole days leave \"from\" and \"to\" out)"},
	{TIMES("'timezone': 'Asia/Jakrta', 'days': ['mon']"),
	 "/time_sets/s/timezone: \"Asia/Jakrta\": no such zone in /usr/share/zoneinfo/ (\"Area/City\" or "
	 "\"UTC\"; package tzdata has them)"},
	{TIMES("'timezone': '../UTC', 'days': ['mon']"),
	 "/time_sets/s/timezone: \"../UTC\": no such zone in /usr/share/zoneinfo/ (\"Area/City\" or "
	 "\"UTC\"; package tzdata has them)"},
	{PROCESSES("{}"), "/process_sets/s: \"processes\" is missing"},
	{PROCESSES("{'processes': []}"),
	 "/process_sets/s/processes: expected at least one entry, found an empty list"},
	{PROCESSES("{'processes': ['/bin/sh']}"),
	 "/process_sets/s/processes/0: expected an object, found a string"},
	{PROCESSES("{'processes': [{}]}"),
	 "/process_sets/s/processes/0: expected \"path\", \"name\" or both, or \"unit\""},
	{PROCESSES("{'processes': [{'path': 'nano'}]}"),
	 "/process_sets/s/processes/0/path: a path that does not begin with \"/\""},
	{PROCESSES("{'processes': [{'name': 'a/b'}]}"),
	 "/process_sets/s/processes/0/name: \"/\" in a base name"},
	{PROCESSES("{'processes': [{'name': '**'}]}"),
	 "/process_sets/s/processes/0/name: \"**\" in a base name"},
	{PROCESSES("{'processes': [{'path': '/a', 'sha256': '12'}]}"),
	 "/process_sets/s/processes/0/sha256: expected a SHA-256 digest: 64 hexadecimal digits"},
	{PROCESSES("{'processes': [{'path': '/a', 'unit': 'x.slice'}]}"),
	 "/process_sets/s/processes/0/unit: expected the name of a systemd unit, \"NAME.service\" or .scope, "
	 ".socket, .mount, .swap"},
	{PROCESSES("{'processes': [{'unit': 'x.service', 'sha256': 'ab'}]}"),
	 "/process_sets/s/processes/0: expected \"path\", \"name\" or both beside \"sha256\""},
	{PROCESSES("{'processes': [{'unit': 'a123456789b123456789c123456789d123456789e123456789f1234.service'}]}"),
	 "/process_sets/s/processes/0/unit: a unit's name has at most 62 bytes here"},
	{PROCESSES("{'processes': [{'path': '/a'}], 'integrity': 'no'}"),
	 "/process_sets/s/integrity: expected true or false, found a string"},
	{RESOURCE(""), "/resource_sets/s/paths: expected at least one entry, found an empty list"},
	{RESOURCE("''"), "/resource_sets/s/paths/0: an empty pattern"},
	{RESOURCE("'/'"), "/resource_sets/s/paths/0: \"/\" at the end of a pattern"},
	{RESOURCE("'a', 'b/'"), "/resource_sets/s/paths/1: \"/\" at the end of a pattern"},
	{RESOURCE("'**/'"), "/resource_sets/s/paths/0: \"/\" at the end of a pattern"},
	{RESOURCE("'a//b'"), "/resource_sets/s/paths/0: \"//\" in a pattern"},
	{RESOURCE("'//a'"), "/resource_sets/s/paths/0: \"//\" in a pattern"},
	{RESOURCE("'**//a'"), "/resource_sets/s/paths/0: \"//\" in a pattern"},
	{RESOURCE("'[a'"), "/resource_sets/s/paths/0: \"[\" without \"]\""},
	{RESOURCE("'[]'"), "/resource_sets/s/paths/0: \"[\" without \"]\""},
	{RESOURCE("'[a\\\\'"), "/resource_sets/s/paths/0: \"[\" without \"]\""},
	{RESOURCE("'[a/b]'"), "/resource_sets/s/paths/0: \"/\" in a class"},
	{RESOURCE("'[^a]'"),
	 "/resource_sets/s/paths/0: \"[^\" (a class is negated by \"!\"; write \"\\^\" for the character)"},
	{RESOURCE("'[z-a]'"), "/resource_sets/s/paths/0: a range that runs backwards"},
	{RESOURCE("'[[:alpha:]]'"),
	 "/resource_sets/s/paths/0: a named class such as [:alpha:] (write the range)"},
	{RESOURCE("'[\xc3\xa4]'"),
	 "/resource_sets/s/paths/0: a character that is not ASCII in a class (patterns match bytes)"},
	{RESOURCE("'a\\\\'"), "/resource_sets/s/paths/0: \"\\\" at the end of a pattern"},
	{RESOURCE("'a\\\\/b'"), "/resource_sets/s/paths/0: \"\\/\" (a slash cannot be escaped)"},
	{RESOURCE("'a***'"), "/resource_sets/s/paths/0: more than two stars in a row"},
	{RESOURCE("'a/../b'"), "/resource_sets/s/paths/0: \".\" or \"..\" as a component"},
};

static const struct fault rules[] = {
	{POLICY("{'rules': []}"), "/policies/p/rules: expected at least one rule, found an empty list"},
	{POLICY("{}"), "/policies/p: \"rules\" is missing"},
	{POLICY("{'key': 'kk', 'rules': [{" DO "}]}"),
	 "/policies/p/key: no key \"kk\" (did you mean \"k\"?)"},
	{POLICY("{'key': 'k', 'algorithm': 'aes', 'rules': [{" DO "}]}"),
	 "/policies/p/algorithm: no algorithm \"aes\" (expected \"aes-256-gcm\" or \"chacha20-poly1305\")"},
	{POLICY("{'key': 'k', 'chunk_size': 65537, 'rules': [{" DO "}]}"),
	 "/policies/p/chunk_size: expected a power of two from 4096 to 16777216"},
	{POLICY("{'key': 'k', 'chunk_size': 2048, 'rules': [{" DO "}]}"),
	 "/policies/p/chunk_size: expected a power of two from 4096 to 16777216"},
	{POLICY("{'algorithm': 'aes-256-gcm', 'rules': [{'actions': ['read'], 'effects': ['permit']}]}"),
	 "/policies/p/algorithm: \"algorithm\" without \"key\": nothing is encrypted"},
	{POLICY("{'rules': [{" DO "}]}"),
	 "/policies/p/rules/0/effects: \"apply_key\", but the policy names no \"key\""},
	{RULE("'effects': ['permit']"), "/policies/p/rules/0: \"actions\" is missing"},
	{RULE("'actions': ['read']"), "/policies/p/rules/0: \"effects\" is missing"},
	{RULE("'actions': [], 'effects': ['permit']"),
	 "/policies/p/rules/0/actions: expected at least one entry, found an empty list"},
	{RULE("'actions': 'read', 'effects': ['permit']"),
	 "/policies/p/rules/0/actions: expected a list, found a string"},
	{RULE("'actions': ['reed'], 'effects': ['permit']"),
	 "/policies/p/rules/0/actions/0: no action \"reed\" (did you mean \"read\"?)"},
	{RULE("'actions': ['read', 'read'], 'effects': ['permit']"),
	 "/policies/p/rules/0/actions/1: \"read\" is listed twice"},
	{RULE("'actions': ['read'], 'effects': ['permit', 'deny']"),
	 "/policies/p/rules/0/effects: expected exactly one of \"permit\" and \"deny\""},
	{RULE("'actions': ['read'], 'effects': ['audit']"),
	 "/policies/p/rules/0/effects: expected exactly one of \"permit\" and \"deny\""},
	{RULE("'actions': ['read'], 'effects': ['deny', 'apply_key']"),
	 "/policies/p/rules/0/effects: \"apply_key\" goes only with \"permit\""},
	{RULE("'actions': ['read'], 'effects': ['allow']"),
	 "/policies/p/rules/0/effects/0: no effect \"allow\""},
	{RULE("'actions': ['read'], 'effects': ['deny'], 'browse': true"),
	 "/policies/p/rules/0/browse: \"browse\" goes only with the effect \"permit\""},
	{RULE(DO ", 'browse': 1"), "/policies/p/rules/0/browse: expected true or false, found a number"},
	{RULE(DO ", 'times': 'office'"),
	 "/policies/p/rules/0/times: no time set \"office\""},
	{RULE(DO ", 'users': 'finanse'"),
	 "/policies/p/rules/0/users: no user set \"finanse\" (did you mean \"finance\"?)"},
	{RULE(DO ", 'users': ['finance', 'stuff']"),
	 "/policies/p/rules/0/users/1: no user set \"stuff\" (did you mean \"staff\"?)"},
	{RULE(DO ", 'users': {'not': 'jane'}"), "/policies/p/rules/0/users/not: no user set \"jane\""},
	{RULE(DO ", 'processes': {'not': ['editors', 'x']}"),
	 "/policies/p/rules/0/processes/not/1: no process set \"x\""},
	{RULE(DO ", 'resources': 'finance'"), "/policies/p/rules/0/resources: no resource set \"finance\""},
	{RULE(DO ", 'users': []"),
	 "/policies/p/rules/0/users: expected at least one entry, found an empty list"},
	{RULE(DO ", 'users': {'not': []}"),
	 "/policies/p/rules/0/users/not: expected at least one entry, found an empty list"},
	{RULE(DO ", 'users': {}"), "/policies/p/rules/0/users: \"not\" is missing"},
	{RULE(DO ", 'users': {'no': 'finance'}"),
	 "/policies/p/rules/0/users/no: unknown key (did you mean \"not\"?)"},
	{RULE(DO ", 'users': {'not': {'not': 'finance'}}"),
	 "/policies/p/rules/0/users/not: expected the name of a user set or a list of names, found an "
	 "object"},
	{RULE(DO ", 'users': 7"),
	 "/policies/p/rules/0/users: expected the name of a user set, a list of names or "
	 "{\"not\": …}, found a number"},
	{RULE(DO ", 'users': ['finance', 'finance']"),
	 "/policies/p/rules/0/users/1: \"finance\" is listed twice"},
	{RULE(DO ", 'user': 'finance'"), "/policies/p/rules/0/user: unknown key (did you mean \"users\"?)"},
};

/* clang-format on */

FAULTS_TEST(syntax)
FAULTS_TEST(structure)
FAULTS_TEST(sets)
FAULTS_TEST(rules)

static void nul_in_text(void **state)
{
	static const char text[] = "{\"version\": 1\0}";
	char *said = first_error(text, sizeof(text) - 1);

	assert_string_equal(said, "line 1, column 14: expected ',' or '}', found byte 0x00");
	free(said);
}

/* Past a bound the rest is counted, not told. */
static void many_errors(void **state)
{
	struct tk_problems problems = {0};
	struct tk_compiled *compiled = NULL;
	char text[8192] = "{\"version\": 1, \"guard_points\": [0";

	for (int i = 1; i < 200; i++)
		strcat(text, ", 0");
	strcat(text, "]}");
	assert_int_equal(tk_policy_compile(text, strlen(text), &compiled, &problems), -EINVAL);
	assert_int_equal(problems.errors, 51);
	assert_string_equal(problems.items[50].message, "more errors follow; only the first 50 are shown");
	tk_problems_free(&problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syntax_faults), cmocka_unit_test(structure_faults),
		cmocka_unit_test(sets_faults),	 cmocka_unit_test(rules_faults),
		cmocka_unit_test(nul_in_text),	 cmocka_unit_test(many_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
