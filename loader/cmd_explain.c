// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_explain.c - `explain`: what a policy says to one question, which
 * rule says so, and why the rules before it do not apply.
 */
#include "loader/cmd.h"
#include "loader/explain.h"
#include "loader/problems.h"
#include "loader/util.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static const char verb[] = "explain";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf explain - tell what a policy says, and why\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf explain POLICY --user USER [--groups GROUP,...] --process EXE\n"
	"        --action ACTION [--json] PATH\n"
	"\n"
	"DESCRIPTION\n"
	"    Says whether USER, through the program EXE, may do ACTION to PATH, which rule\n"
	"    decides, and which part of each earlier rule did not match.  The verdict comes\n"
	"    from the code that runs in the kernel.  Nothing need be loaded, PATH need not\n"
	"    exist, and no root is needed (but what root alone can look up is then not seen).\n"
	"\n"
	"    PERMIT apply_key   works on plaintext\n"
	"    PERMIT             reads and writes the bytes as stored\n"
	"    DENY               is refused\n"
	"    NOT GUARDED        PATH lies outside every guard point; nothing is decided\n"
	"\n"
	"    A guard point in mode monitor or learn permits what is denied: \"would be denied\".\n"
	"\n"
	"OPTIONS\n"
	"    --user USER        a name or a uid\n"
	"    --groups GROUP,... names or gids, instead of those the system gives USER\n"
	"    --process EXE      path of the executable; one that does not exist here is\n"
	"                       judged by its path alone\n"
	"    --action ACTION    data_read, data_write, execute, list, create, delete, rename,\n"
	"                       link, set_attr or key_op\n"
	"    --json             an object with \"verdict\" (permit, deny, not_guarded) and all\n"
	"                       the rest\n"
	"    -h, --help         this text\n"
	"\n" TK_HELP_EXIT_CODES "    3  denied, or would be denied if the mode were enforce\n"
	"\n"
	"EXAMPLE\n"
	"    takakrypt-bpf explain /etc/takakrypt/policy.json --user jane --process \\\n"
	"        /usr/bin/nano --action data_read /home/jane/Documents/Confidential/a.txt\n";

static const struct option options[] = {
	{"user", required_argument, NULL, 'u'},
	{"groups", required_argument, NULL, 'g'},
	{"process", required_argument, NULL, 'p'},
	{"action", required_argument, NULL, 'a'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{},
};

struct request {
	const char *policy;
	struct tk_question question;
	bool json;
};

static bool is_permitted(const struct tk_answer *answer)
{
	return !answer->guarded || answer->effects & TK_PERMIT;
}

static bool is_extra(const struct tk_compiled *compiled, const struct tk_rule *rule)
{
	return rule > compiled->rules && rule[-1].source == rule->source && rule->actions == TK_LIST &&
	       !(rule->named & TK_RESOURCES);
}

/* ---------------------------------------------------------------- text */

static void print_sets(const char *before, const uint64_t *sets, char *const *names, size_t count)
{
	const char *between = before;

	for (size_t i = 0; i < count; i++) {
		if (sets[i / 64] >> (i % 64) & 1) {
			printf("%s%s", between, names[i]);
			between = ", ";
		}
	}
	if (between == before)
		printf("%snone", before);
	putchar('\n');
}

static int print_rule(const char *before, const struct tk_compiled *compiled, const struct tk_rule *rule)
{
	_cleanup_free_ char *text = tk_rule_text(compiled, rule);

	if (!text)
		return -ENOMEM;
	printf("%srule %u%s: %s\n", before, rule->source, is_extra(compiled, rule) ? " (browse)" : "", text);
	return 0;
}

static void print_miss(const struct tk_rule *rule, const struct tk_miss *miss, uint32_t action)
{
	static const struct {
		uint8_t bit;
		const char *name, *outside, *inside;
	} words[] = {
		{TK_USERS, "users", "the user is in none of these sets",
		 "the user is in a set that is excluded"},
		{TK_PROCESSES, "processes", "the program is in none of these sets",
		 "the program is in a set that is excluded"},
		{TK_RESOURCES, "resources", "the path is in none of these sets",
		 "the path is in a set that is excluded"},
	};

	if (miss->action)
		printf("        actions: %s is not among them\n", tk_action_name(action));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (miss->dimensions & words[i].bit)
			printf("        %s: %s\n", words[i].name,
			       rule->negated & words[i].bit ? words[i].inside : words[i].outside);
	}
}

static void print_subject(const struct tk_compiled *compiled, const struct request *request,
			  const struct tk_answer *answer)
{
	fputs("user:        ", stdout);
	tk_put_safe(stdout, request->question.user);
	printf(" (uid %u, %zu group%s)", answer->uid, answer->gid_count, answer->gid_count == 1 ? "" : "s");
	print_sets(" in user sets: ", answer->users, compiled->user_sets, compiled->user_set_count);
	fputs("program:     ", stdout);
	tk_put_safe(stdout, answer->exe);
	print_sets(" in process sets: ", answer->processes, compiled->process_sets,
		   compiled->process_set_count);
	if (!answer->exe_exists)
		puts("             (not on this machine: judged by its path alone; entries with \"name\" or\n"
		     "             \"sha256\" do not count)");
}

static int print_answer(const struct tk_compiled *compiled, const struct request *request,
			const struct tk_answer *answer)
{
	const struct tk_guard_spec *guard = &compiled->guards[answer->guard];
	const struct tk_policy *policy;
	uint8_t effects = answer->effects;
	int r = 0;

	if (!answer->guarded) {
		fputs("NOT GUARDED\npath:        ", stdout);
		tk_put_safe(stdout, answer->path);
		puts(" is not guarded: it lies outside every guard point");
		return 0;
	}
	policy = &compiled->policies[guard->policy];
	printf("%s%s%s", effects & TK_PERMIT ? "PERMIT" : "DENY", effects & TK_APPLY_KEY ? " apply_key" : "",
	       effects & TK_AUDIT ? " (audited)" : "");
	if (guard->mode != TK_ENFORCE && !(effects & TK_PERMIT))
		printf(": would be denied (%s)", tk_mode_name(guard->mode));
	printf("\nguard point: %s (", guard->name);
	tk_put_safe(stdout, guard->path);
	printf("), policy %s, mode %s\npath below:  ", policy->name, tk_mode_name(guard->mode));
	tk_put_safe(stdout, *answer->below ? answer->below : "(the guard point itself)");
	print_sets(" in resource sets: ", answer->resources, compiled->resource_sets,
		   compiled->resource_set_count);
	print_subject(compiled, request, answer);
	if (answer->decided_by)
		r = print_rule("decided by:  ", compiled, answer->decided_by);
	else
		printf("decided by:  %s\n", answer->reason == TK_NO_RULE ? "no rule matches; that denies"
									 : tk_reason_name(answer->reason));
	for (size_t i = 0; i < answer->miss_count && r == 0; i++) {
		r = print_rule("    not ", compiled, answer->misses[i].rule);
		print_miss(answer->misses[i].rule, &answer->misses[i], request->question.action);
	}
	return r;
}

/* ---------------------------------------------------------------- JSON */

static int add_sets(cJSON *object, const char *name, const uint64_t *sets, char *const *names, size_t count)
{
	cJSON *list = cJSON_AddArrayToObject(object, name);

	for (size_t i = 0; list && i < count; i++) {
		if (sets[i / 64] >> (i % 64) & 1 && !cJSON_AddItemToArray(list, cJSON_CreateString(names[i])))
			return -ENOMEM;
	}
	return list ? 0 : -ENOMEM;
}

static int add_rule(cJSON *object, const struct tk_compiled *compiled, const struct tk_rule *rule)
{
	_cleanup_free_ char *text = tk_rule_text(compiled, rule);

	return text && cJSON_AddNumberToObject(object, "rule", rule->source) &&
			       cJSON_AddBoolToObject(object, "browse", is_extra(compiled, rule)) &&
			       cJSON_AddStringToObject(object, "text", text)
		       ? 0
		       : -ENOMEM;
}

static int add_misses(cJSON *object, const struct tk_compiled *compiled, const struct tk_answer *answer)
{
	static const char *const names[] = {"users", "processes", "resources"};
	cJSON *list = cJSON_AddArrayToObject(object, "earlier");

	for (size_t i = 0; i < answer->miss_count; i++) {
		const struct tk_miss *miss = &answer->misses[i];
		cJSON *item = cJSON_CreateObject(), *unmatched;

		if (!cJSON_AddItemToArray(list, item) || add_rule(item, compiled, miss->rule) < 0)
			return -ENOMEM;
		unmatched = cJSON_AddArrayToObject(item, "unmatched");
		if (miss->action && !cJSON_AddItemToArray(unmatched, cJSON_CreateString("actions")))
			return -ENOMEM;
		for (size_t bit = 0; bit < 3; bit++) {
			if (miss->dimensions >> bit & 1 &&
			    !cJSON_AddItemToArray(unmatched, cJSON_CreateString(names[bit])))
				return -ENOMEM;
		}
	}
	return list ? 0 : -ENOMEM;
}

static int add_place(cJSON *object, const struct tk_compiled *compiled, const struct tk_answer *answer)
{
	const struct tk_guard_spec *guard = &compiled->guards[answer->guard];
	uint8_t effects = answer->effects;
	cJSON *decided;

	if (!cJSON_AddBoolToObject(object, "apply_key", effects & TK_APPLY_KEY) ||
	    !cJSON_AddBoolToObject(object, "audit", effects & TK_AUDIT) ||
	    !cJSON_AddStringToObject(object, "reason", tk_reason_name(answer->reason)) ||
	    !cJSON_AddStringToObject(object, "guard_point", guard->name) ||
	    !cJSON_AddStringToObject(object, "policy", compiled->policies[guard->policy].name) ||
	    !cJSON_AddStringToObject(object, "mode", tk_mode_name(guard->mode)) ||
	    !cJSON_AddStringToObject(object, "below", answer->below))
		return -ENOMEM;
	if (add_sets(object, "resource_sets", answer->resources, compiled->resource_sets,
		     compiled->resource_set_count) < 0)
		return -ENOMEM;
	decided = answer->decided_by ? cJSON_AddObjectToObject(object, "decided_by")
				     : cJSON_AddNullToObject(object, "decided_by");
	if (!decided || (answer->decided_by && add_rule(decided, compiled, answer->decided_by) < 0))
		return -ENOMEM;
	return add_misses(object, compiled, answer);
}

static int print_json(const struct tk_compiled *compiled, const struct tk_answer *answer)
{
	_cleanup_json_ cJSON *object = cJSON_CreateObject();
	const char *verdict = !answer->guarded ? "not_guarded" : is_permitted(answer) ? "permit" : "deny";

	if (!object || !cJSON_AddStringToObject(object, "verdict", verdict) ||
	    !cJSON_AddStringToObject(object, "path", answer->path) ||
	    !cJSON_AddStringToObject(object, "process", answer->exe) ||
	    !cJSON_AddBoolToObject(object, "process_exists", answer->exe_exists) ||
	    !cJSON_AddNumberToObject(object, "uid", answer->uid) ||
	    add_sets(object, "user_sets", answer->users, compiled->user_sets, compiled->user_set_count) < 0 ||
	    add_sets(object, "process_sets", answer->processes, compiled->process_sets,
		     compiled->process_set_count) < 0)
		return -ENOMEM;
	if (answer->guarded && add_place(object, compiled, answer) < 0)
		return -ENOMEM;
	return tk_json_print(object);
}

/* ---------------------------------------------------------------- the verb */

static int answer_request(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			  const struct request *request)
{
	struct tk_answer answer = {0};
	const char *on = request->policy, *why = "";
	int code, r = tk_explain(compiled, resolved, &request->question, &answer, &on, &why);

	if (r < 0) {
		code = r == -EINVAL ? tk_fail("explain", on, why, NULL) : tk_fail_err("explain", on, r);
	} else {
		code = is_permitted(&answer) ? TK_EXIT_DONE : TK_EXIT_DENIED;
		r = request->json ? print_json(compiled, &answer) : print_answer(compiled, request, &answer);
		if (r < 0)
			code = tk_fail_err("write", "the report", r);
	}
	tk_answer_free(&answer);
	return code;
}

static int explain(const struct request *request)
{
	struct tk_compiled *compiled = NULL;
	struct tk_resolved *resolved = NULL;
	int code = tk_policy_open(request->policy, &compiled, &resolved);

	if (code == TK_EXIT_DONE)
		code = answer_request(compiled, resolved, request);
	tk_resolved_free(resolved);
	tk_compiled_free(compiled);
	return code;
}

static int set_once(const char **option, const char *value, const char *name)
{
	if (*option)
		return tk_usage(verb, "%s is given twice", name);
	*option = value;
	return TK_EXIT_DONE;
}

static int set_option(struct request *request, int c, const char **action)
{
	switch (c) {
	case 'u':
		return set_once(&request->question.user, optarg, "--user");
	case 'g':
		return set_once(&request->question.groups, optarg, "--groups");
	case 'p':
		return set_once(&request->question.exe, optarg, "--process");
	case 'a':
		return set_once(action, optarg, "--action");
	default:
		if (request->json)
			return tk_usage(verb, "--json is given twice");
		request->json = true;
		return TK_EXIT_DONE;
	}
}

int cmd_explain(int argc, char **argv)
{
	struct request request = {0};
	const char *action = NULL;
	int c, code;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return TK_EXIT_DONE;
		}
		if (c == '?' || c == ':')
			return tk_usage_getopt(verb, argv, c);
		code = set_option(&request, c, &action);
		if (code != TK_EXIT_DONE)
			return code;
	}
	if (argc - optind != 2)
		return tk_usage(verb, "expected a POLICY and a PATH");
	if (!request.question.user || !request.question.exe || !action)
		return tk_usage(verb, "--user, --process and --action are needed");
	request.question.action = tk_action_parse(action);
	if (!request.question.action)
		return tk_usage(verb,
				"no action \"%s\" (one of data_read, data_write, execute, list, create, "
				"delete, rename, link, set_attr, key_op)",
				action);
	request.policy = argv[optind];
	request.question.path = argv[optind + 1];
	return explain(&request);
}
