// SPDX-License-Identifier: GPL-2.0
/*
 * loader/problems.c - prints a policy's problems; problems.h has the form.
 */
#include "loader/problems.h"
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
