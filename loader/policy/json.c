// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/json.c - JSON as the policy needs it: a strict tree, and objects
 * and lists taken apart with every surprise reported at its place.
 */
#include <string.h>

#include "loader/policy/internal.h"

struct child {
	const char *key;
	size_t order;
};

static int child_compare(const void *a, const void *b)
{
	const struct child *x = a, *y = b;
	int order = strcmp(x->key, y->key);

	return order ? order : (x->order > y->order) - (x->order < y->order);
}

/* The children of an object, or the strings of a list, sorted. */
static struct child *children_sorted(const cJSON *parent, size_t *ret_count)
{
	struct child *children = NULL;
	const cJSON *item;
	size_t count = 0, order = 0;

	cJSON_ArrayForEach (item, parent) {
		const char *key = cJSON_IsObject(parent) ? item->string : cJSON_GetStringValue(item);
		struct child *child;

		if (key) {
			child = tk_append(&children, &count, sizeof(*child));
			if (!child) {
				free(children);
				return NULL;
			}
			*child = (struct child){.key = key, .order = order};
		}
		order++;
	}
	if (children)
		qsort(children, count, sizeof(*children), child_compare);
	*ret_count = count;
	return children;
}

static bool keys_are_unique(struct tk_report *report, const struct tk_place *at, const cJSON *item)
{
	TK_FREE struct child *children = NULL;
	const cJSON *child;
	size_t count = 0, index = 0;
	bool good = true;

	if (cJSON_IsObject(item) && item->child) {
		children = children_sorted(item, &count);
		if (!children)
			report->no_memory = true;
	}
	for (size_t i = 1; i < count; i++) {
		if (!strcmp(children[i - 1].key, children[i].key)) {
			tk_error(report, TK_AT_KEY(at, children[i].key), "this key occurs twice");
			good = false;
		}
	}
	if (!cJSON_IsObject(item) && !cJSON_IsArray(item))
		return good;
	cJSON_ArrayForEach (child, item) {
		const struct tk_place *place =
			cJSON_IsObject(item) ? TK_AT_KEY(at, child->string) : TK_AT(at, index);

		good &= keys_are_unique(report, place, child);
		index++;
	}
	return good;
}

cJSON *tk_json_parse(const char *text, size_t len, struct tk_report *report)
{
	TK_JSON cJSON *tree = NULL;
	cJSON *ret;

	if (!tk_json_scan(text, len, report))
		return NULL;
	tree = cJSON_ParseWithLength(text, len);
	if (!tree) {
		report->no_memory = true;
		return NULL;
	}
	if (!keys_are_unique(report, NULL, tree))
		return NULL;
	ret = tree;
	tree = NULL;
	return ret;
}

static const char *type_name(int type)
{
	switch (type & 0xff) {
	case cJSON_Object:
		return "an object";
	case cJSON_Array:
		return "a list";
	case cJSON_String:
		return "a string";
	case cJSON_Number:
		return "a number";
	case cJSON_True:
	case cJSON_False:
		return "true or false";
	default:
		return "null";
	}
}

const char *tk_json_type(const cJSON *item)
{
	return cJSON_IsTrue(item) ? "true" : cJSON_IsFalse(item) ? "false" : type_name(item->type);
}

static bool has_type(const cJSON *item, int type)
{
	int found = cJSON_IsFalse(item) ? cJSON_True : item->type & 0xff;

	return !type || found == type;
}

static const char *field_name(const void *names, size_t index)
{
	return ((const struct tk_field *)names)[index].name;
}

bool tk_json_fields(struct tk_report *report, const struct tk_place *at, const cJSON *object,
		    const struct tk_field *fields, size_t count, const cJSON **ret_items)
{
	const cJSON *item;

	for (size_t i = 0; i < count; i++)
		ret_items[i] = NULL;
	if (!cJSON_IsObject(object)) {
		tk_error(report, at, "expected an object, found %s", tk_json_type(object));
		return false;
	}
	cJSON_ArrayForEach (item, object) {
		const struct tk_place *here = TK_AT_KEY(at, item->string);
		size_t i = 0;

		while (i < count && strcmp(fields[i].name, item->string))
			i++;
		if (i == count)
			tk_error(report, here, "unknown key%s",
				 tk_did_you_mean(item->string, fields, count, field_name).text);
		else if (!has_type(item, fields[i].type))
			tk_error(report, here, "expected %s, found %s", type_name(fields[i].type),
				 tk_json_type(item));
		else
			ret_items[i] = item;
	}
	for (size_t i = 0; i < count; i++) {
		if (fields[i].kind == TK_REQUIRED &&
		    !cJSON_GetObjectItemCaseSensitive(object, fields[i].name))
			tk_error(report, at, "\"%s\" is missing", fields[i].name);
	}
	return true;
}

bool tk_json_strings(struct tk_report *report, const struct tk_place *at, const cJSON *list)
{
	TK_FREE struct child *children = NULL;
	const cJSON *item;
	size_t count = 0, index = 0;
	bool good = true;

	if (!list->child) {
		tk_error(report, at, "expected at least one entry, found an empty list");
		return false;
	}
	cJSON_ArrayForEach (item, list) {
		if (!cJSON_IsString(item)) {
			tk_error(report, TK_AT(at, index), "expected a string, found %s", tk_json_type(item));
			good = false;
		}
		index++;
	}
	children = children_sorted(list, &count);
	for (size_t i = 1; children && i < count; i++) {
		if (!strcmp(children[i - 1].key, children[i].key)) {
			tk_error(report, TK_AT(at, children[i].order), "\"%s\" is listed twice",
				 TK_SHOW(children[i].key));
			good = false;
		}
	}
	return good;
}
