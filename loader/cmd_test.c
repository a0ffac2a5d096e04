// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_test.c - `test`: asks a policy what its author wrote down that it
 * should say, and tells in TAP where it says something else.
 */
#include "loader/cmd.h"
#include "loader/study/explain.h"
#include "loader/policy/cases.h"
#include "loader/problems.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>

static const char verb[] = "test";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf test - hold a policy against the cases it was written for\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf test POLICY CASES\n"
	"\n"
	"DESCRIPTION\n"
	"    Asks POLICY each question in CASES, as `explain` would, and prints in TAP (the\n"
	"    Test Anything Protocol) whether the answer is the one expected. Where it is not,\n"
	"    comment lines say what was expected, what came, and which rule decided. Nothing\n"
	"    need be loaded and no root is needed.\n"
	"\n"
	"    CASES is a JSON list of objects with\n"
	"\n"
	"    name     shown in the result\n"
	"    user     a name or a uid, as a string\n"
	"    groups   optional: a list of names or gids, instead of those the system gives the\n"
	"             user; [] for none\n"
	"    process  path of the executable; one that does not exist here is judged by its\n"
	"             path alone\n"
	"    action   data_read, data_write, execute, list, create, delete, rename, link,\n"
	"             set_attr or key_op\n"
	"    path     absolute, need not exist\n"
	"    expect   \"permit+apply_key\" (works on plaintext), \"permit\" (on the bytes as\n"
	"             stored), \"deny\", or \"not_guarded\" (outside every guard point). The mode\n"
	"             does not matter: what monitor would record as denied is \"deny\".\n"
	"    login    optional: as whom he logged in, or \"none\"; the user himself if left out\n"
	"    unit     optional: the systemd unit the process runs in\n"
	"    foreign_code  optional: true when it has mapped code of a file that is not root's alone\n"
	"    at       optional: when, \"mon 09:30\" on every wall or an instant of RFC 3339; now if\n"
	"             left out\n"
	"    rule     optional: index of the rule that must decide, the first is 0\n"
	"\n"
	"OPTIONS\n"
	"    -h, --help  this text\n"
	"\n"
	"EXIT CODES\n"
	"    0  every answer is as expected\n"
	"    1  one is not, or POLICY or CASES could not be read\n"
	"    2  wrong usage; nothing was done\n"
	"\n"
	"EXAMPLE\n"
	"    cat > cases.json <<END\n"
	"    [ { \"name\": \"finance writes with nano\", \"user\": \"jane\", \"process\": "
	"\"/usr/bin/nano\",\n"
	"        \"action\": \"data_write\", \"path\": \"/srv/confidential/a.txt\",\n"
	"        \"expect\": \"permit+apply_key\" },\n"
	"      { \"name\": \"root does not read\", \"user\": \"root\", \"process\": \"/usr/bin/cat\",\n"
	"        \"action\": \"data_read\", \"path\": \"/srv/confidential/a.txt\", \"expect\": \"deny\" } ]\n"
	"    END\n"
	"    takakrypt-bpf test policy.json cases.json\n";

static enum tk_expect verdict_of(const struct tk_answer *answer)
{
	if (!answer->guarded)
		return TK_EXPECT_NOT_GUARDED;
	if (!(answer->effects & TK_PERMIT))
		return TK_EXPECT_DENY;
	return answer->effects & TK_APPLY_KEY ? TK_EXPECT_APPLY_KEY : TK_EXPECT_PERMIT;
}

/* "#" begins a directive in TAP. */
static void print_result(bool good, size_t number, const char *name)
{
	printf("%s %zu - ", good ? "ok" : "not ok", number);
	for (const char *part = name; *part; part++) {
		if (*part == '#')
			putchar('\\');
		tk_put_safe(stdout, (char[]){*part, '\0'});
	}
	putchar('\n');
}

static void print_decider(const struct tk_compiled *compiled, const struct tk_answer *answer)
{
	_cleanup_free_ char *text = answer->decided_by ? tk_rule_text(compiled, answer->decided_by) : NULL;

	if (answer->decided_by)
		printf("#   rule: %u (%s)\n", answer->decided_by->source, text ? text : "?");
	else if (answer->guarded)
		printf("#   rule: none (%s)\n", tk_reason_name(answer->reason));
	if (answer->guarded)
		printf("#   guard point: %s\n", compiled->guards[answer->guard].name);
}

/* True when the answer is as expected. */
static bool run_case(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
		     const struct tk_case *one, size_t number)
{
	const struct tk_question question = {
		.user = one->user,
		.groups = one->groups,
		.exe = one->process,
		.path = one->path,
		.login = one->login,
		.unit = one->unit,
		.foreign_code = one->foreign_code,
		.at = one->at,
		.action = one->action,
	};
	struct tk_answer answer = {0};
	const char *on = one->name, *why = "";
	int r = tk_explain(compiled, resolved, &question, &answer, &on, &why);
	enum tk_expect got = r < 0 ? one->expect : verdict_of(&answer);
	bool good =
		r == 0 && got == one->expect &&
		(one->rule == TK_ANY_RULE || (answer.decided_by && answer.decided_by->source == one->rule));

	print_result(good, number, one->name);
	if (r < 0) {
		fputs("#   cannot be asked: ", stdout);
		tk_put_safe(stdout, on);
		printf(": %s\n", r == -EINVAL ? why : strerror(-r));
	} else if (!good) {
		printf("#   expected: %s", tk_expect_names[one->expect]);
		if (one->rule != TK_ANY_RULE)
			printf(" by rule %d", one->rule);
		printf("\n#   got: %s\n", tk_expect_names[got]);
		print_decider(compiled, &answer);
	}
	tk_answer_free(&answer);
	return good;
}

static int test(const char *policy, const char *file)
{
	struct tk_compiled *compiled = NULL;
	struct tk_resolved *resolved = NULL;
	struct tk_cases cases = {0};
	struct tk_problems problems = {0};
	int r, code = tk_policy_open(policy, &compiled, &resolved);

	if (code != TK_EXIT_DONE)
		return code;
	r = tk_cases_load(file, &cases, &problems);
	if (problems.errors)
		tk_problems_print(stderr, file, &problems);
	else if (r < 0)
		tk_fail_err("read", file, r);
	if (r < 0)
		code = TK_EXIT_FAILED;
	else
		printf("1..%zu\n", cases.count);
	for (size_t i = 0; i < cases.count; i++) {
		if (!run_case(compiled, resolved, &cases.items[i], i + 1))
			code = TK_EXIT_FAILED;
	}
	tk_problems_free(&problems);
	tk_cases_free(&cases);
	tk_resolved_free(resolved);
	tk_compiled_free(compiled);
	return code;
}

int cmd_test(int argc, char **argv)
{
	const struct tk_option options[] = {{}};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (argc - optind != 2)
		return tk_usage(verb, "expected a POLICY and a file of CASES");
	return test(argv[optind], argv[optind + 1]);
}
