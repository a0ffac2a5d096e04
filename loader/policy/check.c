// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/check.c - is a value what POLICY.md allows there, and does the
 * whole make sense?  Single values first, then what only shows between them.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "loader/policy/internal.h"

#define GUARD_PATH_MAX 4095

bool tk_check_name(struct tk_report *report, const struct tk_place *at, const char *name)
{
	size_t len = strlen(name);
	bool good = len > 0 && len < TK_NAME_MAX;

	for (size_t i = 0; good && i < len; i++)
		good = name[i] >= 0x20 && name[i] < 0x7f;
	if (!good)
		tk_error(report, at, "a name has 1 to %d printable ASCII characters", TK_NAME_MAX - 1);
	return good;
}

bool tk_check_key_id(struct tk_report *report, const struct tk_place *at, const char *id)
{
	size_t len = strlen(id);
	bool good = len > 0 && len <= TK_KEY_ID_MAX;

	for (size_t i = 0; good && i < len; i++)
		good = id[i] > 0x20 && id[i] < 0x7f && id[i] != '/';
	if (!good)
		tk_error(report, at,
			 "a key's name has 1 to %d printable ASCII characters, no space, no \"/\"",
			 TK_KEY_ID_MAX);
	return good;
}

bool tk_is_id(const char *name, uint32_t *ret_id)
{
	uint64_t id = 0;
	size_t len = strlen(name);

	if (!len || len > 10 || (len > 1 && *name == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)name[i]))
			return false;
		id = id * 10 + (uint64_t)(name[i] - '0');
	}
	if (id >= UINT32_MAX) /* (uid_t)-1 means "no change" to the kernel */
		return false;
	*ret_id = (uint32_t)id;
	return true;
}

bool tk_check_account(struct tk_report *report, const struct tk_place *at, const char *name, bool group)
{
	const char *what = group ? "group" : "user";
	uint32_t id;
	size_t len = strlen(name);

	if (len && strspn(name, "0123456789") == len && !tk_is_id(name, &id)) {
		tk_error(report, at, "\"%s\" is not a %s id (0 to 4294967294, no leading zeros)",
			 TK_SHOW(name), what);
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		/* No tool makes a name that begins with "-"; a number below zero is a slip. */
		if (*name == '-' || (unsigned char)name[i] <= 0x20 || name[i] == 0x7f || name[i] == ':' ||
		    name[i] == '/') {
			tk_error(report, at, "\"%s\" is not a %s name", TK_SHOW(name), what);
			return false;
		}
	}
	if (!len || len > 255) {
		tk_error(report, at, "a %s name has 1 to 255 bytes", what);
		return false;
	}
	return true;
}

bool tk_check_path(struct tk_report *report, const struct tk_place *at, const char *path)
{
	const char *why = NULL;

	if (*path != '/')
		why = "expected an absolute path";
	else if (strlen(path) > GUARD_PATH_MAX)
		why = "a path has at most 4095 bytes";
	else if (path[1] && path[strlen(path) - 1] == '/')
		why = "a path does not end in \"/\"";
	for (const char *p = path; !why && p; p = strchr(p + 1, '/')) {
		size_t len = strcspn(p + 1, "/");

		if (!len && p[1])
			why = "\"//\" in a path";
		else if ((len == 1 && p[1] == '.') || (len == 2 && p[1] == '.' && p[2] == '.'))
			why = "\".\" or \"..\" in a path";
	}
	if (why)
		tk_error(report, at, "%s", why);
	return !why;
}

bool tk_check_guard_path(struct tk_report *report, const struct tk_place *at, const char *path)
{
	TK_FREE struct tk_glob *glob = NULL;

	if (!tk_check_path(report, at, path))
		return false;
	if (!path[1]) {
		tk_error(report, at, "\"/\" cannot be a guard point");
		return false;
	}
	if (!tk_check_glob(report, at, path, TK_GLOB_PATH, &glob))
		return false;
	for (size_t i = 0; i < glob->count; i++) {
		if (glob->tokens[i].kind == TK_DSTAR || glob->tokens[i].kind == TK_DIRS) {
			/* Noticing a directory anywhere below another would mean watching all of it. */
			tk_error(report, at,
				 "\"**\" in a guard point's path (\"*\" stands for one component)");
			return false;
		}
	}
	return true;
}

bool tk_check_glob(struct tk_report *report, const struct tk_place *at, const char *pattern,
		   enum tk_glob_use use, struct tk_glob **ret_glob)
{
	const char *why;
	int r = tk_glob_parse(pattern, use, ret_glob, &why);

	if (r == -EINVAL)
		tk_error(report, at, "%s", why);
	else if (r < 0)
		report->no_memory = true;
	return !r;
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10;
}

bool tk_check_sha256(struct tk_report *report, const struct tk_place *at, const char *hex, uint8_t ret[32])
{
	if (strlen(hex) != 64 || strspn(hex, "0123456789abcdefABCDEF") != 64) {
		tk_error(report, at, "expected a SHA-256 digest: 64 hexadecimal digits");
		return false;
	}
	for (int i = 0; i < 32; i++)
		ret[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	return true;
}

/* systemd.unit(5), and what has processes: not a slice, whose units have them. */
bool tk_check_unit(struct tk_report *report, const struct tk_place *at, const char *unit)
{
	static const char *const suffixes[] = {".service", ".scope", ".socket", ".mount", ".swap"};
	size_t len = strlen(unit);
	bool good = false;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		size_t tail = strlen(suffixes[i]);

		good |= len > tail && !strcmp(unit + len - tail, suffixes[i]);
	}
	for (size_t i = 0; good && i < len; i++)
		good = isalnum((unsigned char)unit[i]) || strchr(":-_.\\@", unit[i]);
	if (!good)
		tk_error(report, at,
			 "expected the name of a systemd unit, \"NAME.service\" or .scope, .socket, .mount, .swap");
	else if (len > TK_UNIT_MAX - 2)
		tk_error(report, at, "a unit's name has at most %d bytes here", TK_UNIT_MAX - 2);
	return good && len <= TK_UNIT_MAX - 2;
}

/* ---------------------------------------------------------------- the whole */

struct guard_ref {
	const char *text;
	size_t index;
};

static int guard_ref_compare(const void *a, const void *b)
{
	const struct guard_ref *x = a, *y = b;
	int order = strcmp(x->text, y->text);

	return order ? order : (x->index > y->index) - (x->index < y->index);
}

static void check_guard_duplicates(struct tk_report *report, const struct tk_model *model, bool paths)
{
	TK_FREE struct guard_ref *refs = calloc(model->guard_count, sizeof(*refs));
	const struct tk_place *guards = TK_AT_KEY(NULL, "guard_points");
	size_t count = 0;

	if (!refs) {
		report->no_memory = true;
		return;
	}
	for (size_t i = 0; i < model->guard_count; i++) {
		const char *text = paths ? model->guards[i].path : model->guards[i].name;

		if (text)
			refs[count++] = (struct guard_ref){.text = text, .index = i};
	}
	qsort(refs, count, sizeof(*refs), guard_ref_compare);
	for (size_t i = 1; i < count; i++) {
		if (!strcmp(refs[i - 1].text, refs[i].text))
			tk_error(report, TK_AT_KEY(TK_AT(guards, refs[i].index), paths ? "path" : "name"),
				 "/guard_points/%zu has this %s already", refs[i - 1].index,
				 paths ? "path" : "name");
	}
}

void tk_check_whole(struct tk_report *report, const struct tk_model *model)
{
	const struct tk_place *keys = TK_AT_KEY(NULL, "keys"), *policies = TK_AT_KEY(NULL, "policies");

	if (model->guard_count) {
		check_guard_duplicates(report, model, false);
		check_guard_duplicates(report, model, true);
	} else if (!report->problems.errors) {
		tk_warning(report, TK_AT_KEY(NULL, "guard_points"), "no guard point: nothing is guarded");
	}
	if (report->problems.errors)
		return; /* what is unused follows from the errors */
	for (size_t i = 0; i < model->key_count; i++) {
		if (!model->keys[i].used)
			tk_warning(report, TK_AT_KEY(keys, model->keys[i].id), "no policy uses this key");
	}
	for (size_t kind = 0; kind < TK_KINDS; kind++) {
		for (size_t i = 0; i < model->set_count[kind]; i++) {
			if (!model->sets[kind][i].used)
				tk_warning(report,
					   TK_AT_KEY(TK_AT_KEY(NULL, tk_section_names[kind]),
						     model->sets[kind][i].name),
					   "no rule uses this %s", tk_kind_words[kind]);
		}
	}
	for (size_t i = 0; i < model->policy_count; i++) {
		if (!model->policies[i].used)
			tk_warning(report, TK_AT_KEY(policies, model->policies[i].name),
				   "no guard point uses this policy");
	}
}

/* Rules out of reach: each of their actions is decided by an earlier rule that names no dimension. */
static void check_policy_reach(struct tk_report *report, const struct tk_compiled *compiled, size_t index)
{
	const struct tk_policy *policy = &compiled->policies[index];
	const struct tk_rule *rules = &compiled->rules[policy->first_rule];
	const struct tk_place *policies = TK_AT_KEY(NULL, "policies"),
			      *here = TK_AT_KEY(policies, policy->name);
	unsigned int caught = 0, last = 0;
	bool apply_key = false;

	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct tk_rule *rule = &rules[i];
		bool is_extra = i && rules[i - 1].source == rule->source; /* of "browse" */

		if (!is_extra && !(rule->actions & ~caught))
			tk_warning(report, TK_AT(TK_AT_KEY(here, "rules"), rule->source),
				   "never reached: rule %u decides before it", last);
		if (!rule->named && rule->actions & ~caught) {
			caught |= rule->actions;
			last = rule->source;
		}
		apply_key |= rule->effects & TK_APPLY_KEY;
	}
	if (compiled->encryption[index].key != UINT32_MAX && !apply_key)
		tk_warning(report, TK_AT_KEY(here, "key"),
			   "no rule has the effect \"apply_key\": nobody can read what is encrypted");
}

void tk_check_reach(struct tk_report *report, const struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->policy_count; i++)
		check_policy_reach(report, compiled, i);
}
