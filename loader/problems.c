// SPDX-License-Identifier: GPL-2.0
/*
 * loader/problems.c - prints a policy's problems; problems.h has the form.
 */
#include "loader/problems.h"
#include "loader/cmd.h"
#include "loader/util.h"

void tk_problems_print(FILE *out, const char *file, const struct tk_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++) {
		const struct tk_problem *problem = &problems->items[i];

		tk_put_safe(out, file);
		fputs(problem->warning ? ": warning: " : ": ", out);
		if (*problem->pointer) {
			tk_put_safe(out, problem->pointer);
			fputs(": ", out);
		}
		tk_put_safe(out, problem->message);
		putc('\n', out);
	}
}

cJSON *tk_problems_json(const struct tk_problems *problems, bool warnings)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < problems->count; i++) {
		const struct tk_problem *problem = &problems->items[i];
		cJSON *object;

		if (problem->warning != warnings)
			continue;
		object = cJSON_CreateObject();
		if (!object || !cJSON_AddItemToArray(list, object) ||
		    !cJSON_AddStringToObject(object, "pointer", problem->pointer) ||
		    !cJSON_AddStringToObject(object, "message", problem->message))
			return NULL;
	}
	return TK_TAKE_PTR(list);
}

int tk_policy_open(const char *file, struct tk_compiled **ret_compiled, struct tk_resolved **ret_resolved)
{
	struct tk_compiled *compiled = NULL;
	struct tk_problems problems = {0};
	int r = tk_policy_load(file, &compiled, &problems), code = TK_EXIT_FAILED;

	if (r == 0 && ret_resolved) {
		tk_problems_free(&problems);
		r = tk_resolve(compiled, ret_resolved, &problems);
	}
	if (r == 0) {
		*ret_compiled = TK_TAKE_PTR(compiled);
		code = TK_EXIT_DONE;
	} else if (problems.errors) {
		tk_problems_print(stderr, file, &problems);
	} else {
		tk_fail_err("read", file, r);
	}
	tk_problems_free(&problems);
	tk_compiled_free(compiled);
	return code;
}
