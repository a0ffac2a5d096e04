// SPDX-License-Identifier: GPL-2.0
/*
 * tests/differential/interpreter.c - see interpreter.h.  Quotations are from
 * POLICY.md and policies/README.md.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/differential/interpreter.h"
#include "tests/differential/world.h"

static const cJSON *get(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const char *text_of(const cJSON *object, const char *key)
{
	const cJSON *item = get(object, key);

	return item ? item->valuestring : NULL;
}

/* ---------------------------------------------------------------- globs */

static const char *class_end(const char *class)
{
	const char *p = class + 1;

	if (*p == '!')
		p++;
	if (*p == ']') /* "`]` is a member when it stands first" */
		p++;
	while (*p != ']')
		p += *p == '\\' ? 2 : 1;
	return p;
}

/* "`[a-z]` `[!a-z]`: one byte in, not in, the class; never `/`" */
static bool class_has(const char *class, unsigned char byte)
{
	const char *p = class + 1, *end = class_end(class);
	bool yes = true;

	if (byte == '/')
		return false;
	if (*p == '!') {
		yes = false;
		p++;
	}
	while (p < end) {
		unsigned char from, to;

		if (*p == '\\')
			p++;
		from = to = (unsigned char)*p++;
		if (*p == '-' && p + 1 < end) {
			p++;
			if (*p == '\\')
				p++;
			to = (unsigned char)*p++;
		}
		if (byte >= from && byte <= to)
			return yes;
	}
	return !yes;
}

static bool glob(const char *whole, const char *pattern, const char *text)
{
	bool component_start = pattern == whole || pattern[-1] == '/';

	switch (*pattern) {
	case '\0':
		return *text == '\0';
	case '*':
		if (pattern[1] != '*') {
			/* "any bytes but `/`, or none" */
			if (glob(whole, pattern + 1, text))
				return true;
			return *text && *text != '/' && glob(whole, pattern, text + 1);
		}
		if (component_start && pattern[2] == '/') {
			/* "nothing, or whole components" */
			const char *slash;

			if (glob(whole, pattern + 3, text))
				return true;
			slash = strchr(text, '/');
			return slash && glob(whole, pattern, slash + 1);
		}
		/* "any bytes, `/` included, or none" */
		if (glob(whole, pattern + 2, text))
			return true;
		return *text && glob(whole, pattern, text + 1);
	case '?':
		return *text && *text != '/' && glob(whole, pattern + 1, text + 1);
	case '[':
		return *text && class_has(pattern, (unsigned char)*text) &&
		       glob(whole, class_end(pattern) + 1, text + 1);
	case '\\':
		return *text == pattern[1] && glob(whole, pattern + 2, text + 1);
	default:
		return *text == *pattern && glob(whole, pattern + 1, text + 1);
	}
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ---------------------------------------------------------------- sets */

static bool id_listed(const cJSON *list, uint32_t id)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		if (strtoul(item->valuestring, NULL, 10) == id)
			return true;
	}
	return false;
}

/* "Identity is the filesystem uid and gid with the supplementary groups." */
static bool user_in_set(const cJSON *set, const struct question *question)
{
	/* "`"login": "required"` also demands that the login uid … is the same user" */
	if (text_of(set, "login") && question->login_uid != question->uid)
		return false;
	if (id_listed(get(set, "users"), question->uid))
		return true;
	for (size_t i = 0; i < question->gid_count; i++) {
		if (id_listed(get(set, "groups"), question->gids[i]))
			return true;
	}
	return false;
}

/* "`path` is a glob on the executable's path": its own, or that of a link which leads to it. */
static bool path_fits(const char *pattern, const char *root, const struct world_exe *exe)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", root, exe->path);
	if (glob(pattern, pattern, full))
		return true;
	if (!exe->link)
		return false;
	snprintf(full, sizeof(full), "%s%s", root, exe->link);
	return glob(pattern, pattern, full);
}

static bool is_below(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	return !strncmp(path, directory, len) && path[len] == '/';
}

/* "It counts only for files that root owns in directories that only root can write", looked for in some
 * places. */
static bool name_fits(const char *pattern, const struct world_exe *exe, bool searched)
{
	if (!exe->root_only || !glob(pattern, pattern, base_name(exe->path)))
		return false;
	return !searched || is_below(exe->path, WORLD_FLAT) || is_below(exe->path, WORLD_DEEP);
}

/* "what holds where nothing else is said; `normal` if not given" */
static bool has_level(const cJSON *policy, const char *level)
{
	const char *said = text_of(policy, "level");

	return !strcmp(said ? said : "normal", level);
}

/* "entries are alternatives, the fields of an entry hold together" */
static bool process_in_set(const cJSON *policy, const cJSON *set, const char *root, const struct question *question)
{
	const struct world_exe *exe = &world_exes[question->exe];
	const char *in = world_units[question->unit];
	const cJSON *entry, *integrity = get(set, "integrity");
	bool kept = integrity ? cJSON_IsTrue(integrity) : !has_level(policy, "minimal");

	/*
	 * "A member process that maps executable code from a file that is not root's, or group or world writable,
	 * loses its membership", and who executes a file maps its code
	 */
	if (kept && (question->foreign_code || exe->foreign))
		return false;

	cJSON_ArrayForEach (entry, get(set, "processes")) {
		const char *path = text_of(entry, "path"), *name = text_of(entry, "name"),
			   *sha256 = text_of(entry, "sha256"), *unit = text_of(entry, "unit");

		if (path && !path_fits(path, root, exe))
			continue;
		if (name && !name_fits(name, exe, !path))
			continue;
		if (unit && (!in || strcmp(unit, in)))
			continue;
		/* "One with a digest loses its place the moment it is written to." */
		if (sha256 && (question->written || strcasecmp(sha256, exe->sha256)))
			continue;
		return true;
	}
	return false;
}

static bool resource_in_set(const cJSON *set, const char *below)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, get(set, "paths")) {
		const char *pattern = item->valuestring;
		bool fits;

		if (!strchr(pattern, '/')) /* "matches the base name at any depth" */
			fits = glob(pattern, pattern, base_name(below));
		else if (*pattern == '/') /* "One leading `/` only anchors" */
			fits = glob(pattern + 1, pattern + 1, below);
		else
			fits = glob(pattern, pattern, below);
		if (fits)
			return true;
	}
	return false;
}

/* What the clock on the wall shows, by the C library; asked once for each zone and instant. */
static const struct tm *wall_clock(const char *zone, size_t instant)
{
	static struct tm clocks[16][64];
	static bool known[16][64];
	time_t when = world_instants[instant];
	size_t index = 0;

	while (strcmp(world_zones[index], zone))
		index++;
	if (!known[index][instant]) {
		setenv("TZ", zone, 1);
		tzset();
		localtime_r(&when, &clocks[index][instant]);
		known[index][instant] = true;
	}
	return &clocks[index][instant];
}

static bool lists(const cJSON *list, const char *word);

static bool on_day(const cJSON *set, int weekday)
{
	static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

	return !get(set, "days") || lists(get(set, "days"), days[weekday]);
}

/* "weekdays, a range that may pass midnight": its day is the one on which it begins */
static bool time_in_set(const cJSON *set, size_t instant)
{
	const struct tm *tm = wall_clock(text_of(set, "timezone"), instant);
	const char *from = text_of(set, "from"), *to = text_of(set, "to");
	char now[16];

	if (!from)
		return on_day(set, tm->tm_wday);
	snprintf(now, sizeof(now), "%02d:%02d", tm->tm_hour, tm->tm_min);
	if (strcmp(from, to) < 0)
		return on_day(set, tm->tm_wday) && strcmp(now, from) >= 0 && strcmp(now, to) < 0;
	if (strcmp(now, from) >= 0)
		return on_day(set, tm->tm_wday);
	return strcmp(now, to) < 0 && on_day(set, (tm->tm_wday + 6) % 7);
}

/* ---------------------------------------------------------------- rules */

struct situation {
	const cJSON *policy; /* the whole text */
	const char *root;
	const struct question *question;
	const char *below;
};

static bool in_set(const struct situation *now, const char *dimension, const char *name)
{
	if (!strcmp(dimension, "users"))
		return user_in_set(get(get(now->policy, "user_sets"), name), now->question);
	if (!strcmp(dimension, "processes"))
		return process_in_set(now->policy, get(get(now->policy, "process_sets"), name), now->root, now->question);
	if (!strcmp(dimension, "times"))
		return time_in_set(get(get(now->policy, "time_sets"), name), now->question->when);
	return resource_in_set(get(get(now->policy, "resource_sets"), name), now->below);
}

/* "A dimension is a set's name, a list of names (any of them), or {"not": …} of either." */
static bool holds(const struct situation *now, const char *dimension, const cJSON *value)
{
	const cJSON *item;

	if (!value)
		return true; /* "One that is left out matches everything." */
	if (cJSON_IsObject(value))
		return !holds(now, dimension, get(value, "not"));
	if (cJSON_IsString(value))
		return in_set(now, dimension, value->valuestring);
	cJSON_ArrayForEach (item, value) {
		if (in_set(now, dimension, item->valuestring))
			return true;
	}
	return false;
}

static bool is_one_of(const char *action, const char *words)
{
	size_t len = strlen(action);

	for (const char *p = words; (p = strstr(p, action)); p += len) {
		if ((p == words || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
			return true;
	}
	return false;
}

static bool lists(const cJSON *list, const char *word)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		if (!strcmp(item->valuestring, word))
			return true;
	}
	return false;
}

static bool has_action(const cJSON *actions, const char *action)
{
	return lists(actions, action) || lists(actions, "all_ops") ||
	       (lists(actions, "read") && is_one_of(action, "data_read execute list")) ||
	       (lists(actions, "write") &&
		is_one_of(action, "data_write create delete rename link set_attr"));
}

/* "Rules are tried in the order written. … The first match decides. No match denies and audits." */
static void decide(const struct situation *now, const cJSON *rules, struct opinion *opinion)
{
	const cJSON *rule;
	int index = 0;

	cJSON_ArrayForEach (rule, rules) {
		bool subject = holds(now, "users", get(rule, "users")) &&
			       holds(now, "processes", get(rule, "processes")) &&
			       holds(now, "times", get(rule, "times"));
		bool resource = holds(now, "resources", get(rule, "resources"));
		bool action = has_action(get(rule, "actions"), now->question->action);
		/* "`"browse": true` on a rule also permits its subjects to list directories." */
		bool browse = cJSON_IsTrue(get(rule, "browse")) && !strcmp(now->question->action, "list");

		if (subject && ((action && resource) || browse)) {
			const cJSON *effects = get(rule, "effects");

			opinion->permit = lists(effects, "permit");
			opinion->apply_key = action && resource && lists(effects, "apply_key");
			opinion->audit = lists(effects, "audit") || has_level(now->policy, "paranoid");
			opinion->rule = index;
			return;
		}
		index++;
	}
	opinion->permit = opinion->apply_key = false;
	opinion->audit = true;
	opinion->rule = -1;
}

/* "The innermost guard point decides."  Of two for the same directory, "the first written". */
static bool find_guard(const cJSON *policy, const char *path, struct opinion *opinion)
{
	const cJSON *guards = get(policy, "guard_points");
	char directory[256];

	/* The path itself, then its parents, up to but not including "/". */
	snprintf(directory, sizeof(directory), "%s", path);
	while (*directory) {
		const cJSON *guard;
		size_t index = 0;

		cJSON_ArrayForEach (guard, guards) {
			const char *pattern = text_of(guard, "path"), *mode = text_of(guard, "mode");
			const char *below = path + strlen(directory);

			if (glob(pattern, pattern, directory)) {
				opinion->guard = index;
				opinion->policy = text_of(guard, "policy");
				opinion->mode = mode ? mode : has_level(policy, "learning") ? "learn" : "enforce";
				snprintf(opinion->below, sizeof(opinion->below), "%s",
					 *below == '/' ? below + 1 : below);
				return true;
			}
			index++;
		}
		*strrchr(directory, '/') = '\0';
	}
	return false;
}

void interpret(const cJSON *policy, const char *root, const struct question *question,
	       struct opinion *ret_opinion)
{
	struct situation now = {policy, root, question, ret_opinion->below};

	ret_opinion->guarded = find_guard(policy, question->path, ret_opinion);
	if (ret_opinion->guarded)
		decide(&now, get(get(get(policy, "policies"), ret_opinion->policy), "rules"), ret_opinion);
}
