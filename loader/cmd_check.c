// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_check.c - `check`: would these policies load, and is there anything
 * about them one should know?  Changes nothing and needs no root.
 */
#include "loader/cmd.h"
#include "loader/problems.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>

static const char verb[] = "check";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf check - check policies without loading them\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf check [--json] POLICY...\n"
	"\n"
	"DESCRIPTION\n"
	"    Reads, checks and compiles each POLICY exactly as load does, and looks its\n"
	"    users, groups and executables up on this machine.  Errors refuse a policy;\n"
	"    warnings tell of what is unused, can never match, or is not here yet.  Every\n"
	"    line names the place as a JSON pointer:\n"
	"\n"
	"    policy.json: /policies/documents/rules/1/users: no user set \"finanse\" (did\n"
	"    you mean \"finance\"?)\n"
	"\n"
	"OPTIONS\n"
	"    --json      an array with one object for each POLICY: \"file\", \"good\" (true or\n"
	"                false), \"errors\" and \"warnings\", lists of objects with \"pointer\"\n"
	"                and \"message\"\n"
	"    -h, --help  this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf check /etc/takakrypt/policy.json && takakrypt-bpf reload\n";

static int compile_and_resolve(const char *file, struct tk_problems *problems)
{
	struct tk_compiled *compiled = NULL;
	struct tk_resolved *resolved = NULL;
	int r = tk_policy_load(file, &compiled, problems);

	if (!r)
		r = tk_resolve(compiled, &resolved, problems);
	tk_resolved_free(resolved);
	tk_compiled_free(compiled);
	return r;
}

static int add_json(cJSON *array, const char *file, bool good, const struct tk_problems *problems)
{
	cJSON *object = cJSON_CreateObject();

	/* What was added belongs to the array; on failure the caller drops all of it. */
	if (!object || !cJSON_AddItemToArray(array, object) ||
	    !cJSON_AddStringToObject(object, "file", file) || !cJSON_AddBoolToObject(object, "good", good) ||
	    !cJSON_AddItemToObject(object, "errors", tk_problems_json(problems, false)) ||
	    !cJSON_AddItemToObject(object, "warnings", tk_problems_json(problems, true)))
		return -ENOMEM;
	return 0;
}

/* One policy; TK_EXIT_DONE or TK_EXIT_FAILED. */
static int check(const char *file, cJSON *array)
{
	struct tk_problems problems = {0};
	int r = compile_and_resolve(file, &problems), code = r ? TK_EXIT_FAILED : TK_EXIT_DONE;

	if (r && !problems.errors)
		code = tk_fail_err("check", file, r);
	if (array) {
		if (add_json(array, file, !r, &problems) < 0)
			code = tk_fail_err("write", "the report", -ENOMEM);
	} else {
		tk_problems_print(stderr, file, &problems);
		if (!r) {
			tk_put_safe(stdout, file);
			puts(": good");
		}
	}
	tk_problems_free(&problems);
	return code;
}

int cmd_check(int argc, char **argv)
{
	_cleanup_json_ cJSON *array = NULL;
	bool json = false;
	const struct tk_option options[] = {{"json", .flag = &json}, {}};
	int r, code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (json && !(array = cJSON_CreateArray()))
		return tk_fail_err("write", "the report", -ENOMEM);
	code = TK_EXIT_DONE;
	if (optind == argc)
		return tk_usage(verb, "no policy is named");
	for (int i = optind; i < argc; i++) {
		if (check(argv[i], array) != TK_EXIT_DONE)
			code = TK_EXIT_FAILED;
	}
	r = array ? tk_json_print(array) : 0;
	return r < 0 ? tk_fail_err("write", "the report", r) : code;
}
