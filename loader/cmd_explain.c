// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_explain.c - `explain`: what a policy says to one question, which
 * rule says so, and why the rules before it do not apply.
 */
#include "loader/cmd.h"
#include "loader/study/explain.h"
#include "loader/problems.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static const char verb[] = "explain";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf explain - tell what a policy says, and why\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf explain POLICY --user USER [--groups GROUP,...] [--login-uid USER]\n"
	"        --process EXE [--unit UNIT] --action ACTION [--at TIME] [--json] PATH\n"
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
	"    --login-uid USER   who logged in: a name, a uid or \"none\", instead of USER himself\n"
	"    --process EXE      path of the executable; one that does not exist here is\n"
	"                       judged by its path alone\n"
	"    --unit UNIT        the systemd unit it runs in, instead of none that is named\n"
	"    --foreign-code     it has mapped code of a file that is not root's alone\n"
	"    --action ACTION    data_read, data_write, execute, list, create, delete, rename,\n"
	"                       link, set_attr or key_op\n"
	"    --at TIME          instead of now: 2026-11-21T09:30:00+07:00, or \"mon 09:30\", by the\n"
	"                       clock in the zone of each time set\n"
	"    --json             an object with \"verdict\" (permit, deny, not_guarded) and all\n"
	"                       the rest\n"
	"    -h, --help         this text\n"
	"\n" TK_HELP_EXIT_CODES "    3  denied, or would be denied if the mode were enforce\n"
	"\n"
	"EXAMPLE\n"
	"    takakrypt-bpf explain /etc/takakrypt/policy.json --user jane --process \\\n"
	"        /usr/bin/nano --action data_read /home/jane/Documents/Confidential/a.txt\n";


struct request {
	const char *policy;
	struct tk_question question;
	const char *at; /* NULL: now */
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

static bool sets_meet(const __u64 *a, const __u64 *b)
{
	bool meet = false;

	for (int i = 0; i < TK_SET_WORDS; i++)
		meet |= (a[i] & b[i]) != 0;
	return meet;
}

static bool asks_for_unit(const struct tk_compiled *compiled, const struct tk_rule *rule)
{
	for (size_t i = 0; i < compiled->process_count; i++) {
		const struct tk_process_spec *spec = &compiled->processes[i];

		if (spec->unit != UINT32_MAX && rule->processes[spec->set / 64] >> (spec->set % 64) & 1)
			return true;
	}
	return false;
}

static void print_miss(const struct tk_compiled *compiled, const struct tk_answer *answer,
		       const struct tk_miss *miss, uint32_t action)
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
		{TK_TIMES, "times", "none of these sets holds at this time",
		 "a set that is excluded holds at this time"},
	};

	const struct tk_rule *rule = miss->rule;

	if (miss->action)
		printf("        actions: %s is not among them\n",
		       tk_action_name(answer->by_key_op ? TK_KEY_OP : action));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (miss->dimensions & words[i].bit)
			printf("        %s: %s\n", words[i].name,
			       rule->negated & words[i].bit ? words[i].inside : words[i].outside);
	}
	if (miss->dimensions & TK_PROCESSES && asks_for_unit(compiled, rule))
		puts("        processes: an entry counts only in its unit (--unit)");
	if (miss->dimensions & TK_PROCESSES && answer->foreign_code &&
	    sets_meet(rule->processes, compiled->integrity_sets.sets))
		puts("        processes: a set asks for integrity, and code that is not root's alone is mapped");
	if (miss->dimensions & TK_USERS && !answer->same_login && sets_meet(rule->users, compiled->login_sets.sets))
		puts("        users: a set requires to be logged in as the user himself");
}

static void print_subject(const struct tk_compiled *compiled, const struct request *request,
			  const struct tk_answer *answer)
{
	fputs("user:        ", stdout);
	tk_put_safe(stdout, request->question.user);
	printf(" (uid %u, %zu group%s%s)", answer->uid, answer->gid_count, answer->gid_count == 1 ? "" : "s",
	       answer->same_login ? "" : ", not logged in as this user");
	print_sets(" in user sets: ", answer->users, compiled->user_sets, compiled->user_set_count);
	fputs("program:     ", stdout);
	tk_put_safe(stdout, answer->exe);
	if (request->question.unit) {
		fputs(" in ", stdout);
		tk_put_safe(stdout, request->question.unit);
	}
	print_sets(" in process sets: ", answer->processes, compiled->process_sets,
		   compiled->process_set_count);
	if (answer->guarded && answer->by_key_op)
		puts("             (this command: a rule permits key_op, and so all it does, as stored)");
	if (!answer->exe_exists)
		puts("             (not on this machine: judged by its path alone; entries with \"name\" or\n"
		     "             \"sha256\" do not count)");
}

static void print_times(const struct tk_compiled *compiled, const struct tk_answer *answer)
{
	if (compiled->time_set_count)
		print_sets("time sets that hold: ", answer->times, compiled->time_sets,
			   compiled->time_set_count);
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
	print_times(compiled, answer);
	if (answer->decided_by)
		r = print_rule("decided by:  ", compiled, answer->decided_by);
	else
		printf("decided by:  %s\n", answer->reason == TK_NO_RULE ? "no rule matches; that denies"
									 : tk_reason_name(answer->reason));
	for (size_t i = 0; i < answer->miss_count && r == 0; i++) {
		r = print_rule("    not ", compiled, answer->misses[i].rule);
		print_miss(compiled, answer, &answer->misses[i], request->question.action);
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
	static const char *const names[] = {"users", "processes", "resources", "times"};
	cJSON *list = cJSON_AddArrayToObject(object, "earlier");

	for (size_t i = 0; i < answer->miss_count; i++) {
		const struct tk_miss *miss = &answer->misses[i];
		cJSON *item = cJSON_CreateObject(), *unmatched;

		if (!cJSON_AddItemToArray(list, item) || add_rule(item, compiled, miss->rule) < 0)
			return -ENOMEM;
		unmatched = cJSON_AddArrayToObject(item, "unmatched");
		if (miss->action && !cJSON_AddItemToArray(unmatched, cJSON_CreateString("actions")))
			return -ENOMEM;
		for (size_t bit = 0; bit < 4; bit++) {
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
	    !cJSON_AddBoolToObject(object, "by_key_op", answer->by_key_op) ||
	    !cJSON_AddStringToObject(object, "reason", tk_reason_name(answer->reason)) ||
	    !cJSON_AddStringToObject(object, "guard_point", guard->name) ||
	    !cJSON_AddStringToObject(object, "policy", compiled->policies[guard->policy].name) ||
	    !cJSON_AddStringToObject(object, "mode", tk_mode_name(guard->mode)) ||
	    !cJSON_AddStringToObject(object, "below", answer->below))
		return -ENOMEM;
	if (add_sets(object, "resource_sets", answer->resources, compiled->resource_sets,
		     compiled->resource_set_count) < 0 ||
	    add_sets(object, "time_sets", answer->times, compiled->time_sets, compiled->time_set_count) < 0)
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
	    !cJSON_AddBoolToObject(object, "foreign_code", answer->foreign_code) ||
	    !cJSON_AddNumberToObject(object, "uid", answer->uid) ||
	    !cJSON_AddBoolToObject(object, "logged_in", answer->same_login) ||
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

static const char *set_time(const char *text, void *into)
{
	struct request *request = into;

	request->at = text;
	return tk_moment_parse(text, &request->question.at)
		       ? NULL
		       : "is no time (such as 2026-11-21T09:30:00+07:00 or \"mon 09:30\")";
}

int cmd_explain(int argc, char **argv)
{
	struct request request = {.question.at.when = time(NULL)};
	struct tk_question *question = &request.question;
	const char *action = NULL;
	const struct tk_option options[] = {
		{"user", .text = &question->user},
		{"groups", .text = &question->groups},
		{"login-uid", .text = &question->login},
		{"process", .text = &question->exe},
		{"unit", .text = &question->unit},
		{"foreign-code", .flag = &question->foreign_code},
		{"action", .text = &action},
		{"at", .parse = set_time, .into = &request},
		{"json", .flag = &request.json},
		{},
	};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (argc - optind != 2)
		return tk_usage(verb, "expected a POLICY and a PATH");
	if (!question->user || !question->exe || !action)
		return tk_usage(verb, "--user, --process and --action are needed");
	question->action = tk_action_parse(action);
	if (!question->action)
		return tk_usage(verb,
				"no action \"%s\" (one of data_read, data_write, execute, list, create, "
				"delete, rename, link, set_attr, key_op)",
				action);
	request.policy = argv[optind];
	question->path = argv[optind + 1];
	return explain(&request);
}
