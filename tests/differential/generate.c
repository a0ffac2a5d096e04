// SPDX-License-Identifier: GPL-2.0
/*
 * tests/differential/generate.c - see generate.h.  What is made is valid by
 * construction; small alphabets make patterns, sets and paths meet often.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/differential/generate.h"
#include "tests/differential/world.h"

static unsigned int roll(struct dice *dice, unsigned int bound)
{
	/* splitmix64 (Steele, Lea, Flood 2014) */
	uint64_t z = dice->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (unsigned int)((z ^ z >> 31) >> 32) % bound;
}

static const char *pick(struct dice *dice, const char *const *words, size_t count)
{
	return words[roll(dice, (unsigned int)count)];
}
#define PICK(dice, words) pick(dice, words, sizeof(words) / sizeof((words)[0]))

struct out {
	FILE *file;
	struct dice *dice;
	const char *root;
	unsigned int user_sets, process_sets, resource_sets, time_sets, policies;
};

static void put_string(struct out *out, const char *text)
{
	putc('"', out->file);
	for (; *text; text++)
		fprintf(out->file, "%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
	putc('"', out->file);
}

/* A subset of `count` things, at least one, each by its number through put(). */
static void put_some(struct out *out, unsigned int count, void (*put)(struct out *, unsigned int))
{
	unsigned int chosen = roll(out->dice, (1u << count) - 1) + 1;
	const char *between = "";

	/* Fewer are likelier to tell. */
	if (roll(out->dice, 2))
		chosen = 1u << roll(out->dice, count);
	putc('[', out->file);
	for (unsigned int i = 0; i < count; i++) {
		if (chosen >> i & 1) {
			fputs(between, out->file);
			put(out, i);
			between = ", ";
		}
	}
	putc(']', out->file);
}

/* ---------------------------------------------------------------- sets */

static void put_uid(struct out *out, unsigned int index)
{
	fprintf(out->file, "\"%u\"", world_uids[index]);
}

static void put_gid(struct out *out, unsigned int index)
{
	fprintf(out->file, "\"%u\"", world_gids[index]);
}

static void put_user_set(struct out *out)
{
	unsigned int what = roll(out->dice, 3); /* 0: both, 1: groups, 2: users */

	if (!roll(out->dice, 3))
		fputs("\"login\": \"required\", ", out->file);
	if (what != 1) {
		fputs("\"users\": ", out->file);
		put_some(out, (unsigned int)world_uid_count, put_uid);
	}
	if (!what)
		fputs(", ", out->file);
	if (what != 2) {
		fputs("\"groups\": ", out->file);
		put_some(out, (unsigned int)world_gid_count, put_gid);
	}
}

static void put_process(struct out *out)
{
	static const char *const paths[] = {"/bin/tool", "/bin/*",	  "/bin/t?*", "/**/tool",
					    "/opt/**",	 "/opt/*/editor", "/*/tool",  "/bin/[a-s]*",
					    "/**",	 "/srv/tool.bin", "/none/x",  "/opt/too[!a]",
					    "/**/*.bin"};
	static const char *const names[] = {"tool", "t*", "*", "editor", "[!t]*", "tool.bin", "none", "??*"};
	unsigned int what = roll(out->dice, 4); /* 0, 3: path, 1: name, 2: both */
	const char *unit = roll(out->dice, 3) ? NULL : world_units[1 + roll(out->dice, WORLD_UNITS - 1)];
	char full[512];

	putc('{', out->file);
	if (unit)
		fprintf(out->file, "\"unit\": \"%s\"", unit);
	if (unit && !roll(out->dice, 3)) {
		putc('}', out->file);
		return;
	}
	fputs(unit ? ", " : "", out->file);
	if (what != 1) {
		snprintf(full, sizeof(full), "%s%s", out->root, PICK(out->dice, paths));
		fputs("\"path\": ", out->file);
		put_string(out, full);
	}
	if (what == 1 || what == 2) {
		fputs(what == 2 ? ", \"name\": " : "\"name\": ", out->file);
		put_string(out, PICK(out->dice, names));
	}
	if (!roll(out->dice, 4))
		fprintf(out->file, ", \"sha256\": \"%s\"",
			world_exes[roll(out->dice, (unsigned int)world_exe_count)].sha256);
	putc('}', out->file);
}

static void put_process_set(struct out *out)
{
	if (!roll(out->dice, 3))
		fprintf(out->file, "\"integrity\": %s, ", roll(out->dice, 3) ? "false" : "true");
	fputs("\"processes\": [", out->file);
	for (unsigned int i = 0, n = 1 + roll(out->dice, 2); i < n; i++) {
		fputs(i ? ", " : "", out->file);
		put_process(out);
	}
	putc(']', out->file);
}

/* A component; a star never stands beside a star, and "." never alone. */
static void random_component(struct dice *dice, char *into)
{
	static const char *const atoms[] = {"a", "b", "c", "a", "?", "[ab]", "[!a]", "[a-b]", "\\a", ".x"};
	bool star = false;

	if (!roll(dice, 5)) {
		strcat(into, "**");
		return;
	}
	for (unsigned int i = 0, n = 1 + roll(dice, 3); i < n; i++) {
		star = !star && !roll(dice, 3);
		strcat(into, star ? (roll(dice, 8) ? "*" : "**") : PICK(dice, atoms));
	}
}

static void put_resource_set(struct out *out)
{
	char patterns[3][128] = {""};
	unsigned int n = 1 + roll(out->dice, 3), kept = 0;

	fputs("\"paths\": [", out->file);
	for (unsigned int i = 0; i < n; i++) {
		bool twice = false;

		if (!roll(out->dice, 5))
			strcat(patterns[i], "/");
		for (unsigned int j = 0, parts = 1 + roll(out->dice, 3); j < parts; j++) {
			strcat(patterns[i], j ? "/" : "");
			random_component(out->dice, patterns[i]);
		}
		for (unsigned int j = 0; j < i; j++)
			twice |= !strcmp(patterns[i], patterns[j]);
		if (twice)
			continue;
		fputs(kept++ ? ", " : "", out->file);
		put_string(out, patterns[i]);
	}
	putc(']', out->file);
}

static void put_day(struct out *out, unsigned int index)
{
	static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

	fprintf(out->file, "\"%s\"", days[index]);
}

static void put_time_set(struct out *out)
{
	static const char *const clocks[] = {"00:00", "01:30", "02:00", "02:30", "03:00", "06:00",
					     "09:59", "18:00", "22:00", "23:59", "24:00"};
	unsigned int what = roll(out->dice, 3); /* 0: both, 1: a range, 2: days */
	unsigned int from = roll(out->dice, 10), to = (from + 1 + roll(out->dice, 10)) % 11;

	fprintf(out->file, "\"timezone\": \"%s\"", pick(out->dice, world_zones, world_zone_count));
	if (what != 1) {
		fputs(", \"days\": ", out->file);
		put_some(out, 7, put_day);
	}
	if (what != 2)
		fprintf(out->file, ", \"from\": \"%s\", \"to\": \"%s\"", clocks[from], clocks[to]);
}

static void put_sets(struct out *out, const char *section, char letter, unsigned int count,
		     void (*put)(struct out *))
{
	fprintf(out->file, " \"%s\": {", section);
	for (unsigned int i = 0; i < count; i++) {
		fprintf(out->file, "%s\n  \"%c%u\": {", i ? "," : "", letter, i);
		put(out);
		putc('}', out->file);
	}
	fputs("},\n", out->file);
}

/* ---------------------------------------------------------------- rules */

static void put_user_set_name(struct out *out, unsigned int index)
{
	fprintf(out->file, "\"u%u\"", index);
}

static void put_process_set_name(struct out *out, unsigned int index)
{
	fprintf(out->file, "\"p%u\"", index);
}

static void put_resource_set_name(struct out *out, unsigned int index)
{
	fprintf(out->file, "\"r%u\"", index);
}

static void put_time_set_name(struct out *out, unsigned int index)
{
	fprintf(out->file, "\"t%u\"", index);
}

static void put_dimension(struct out *out, const char *name, unsigned int count,
			  void (*put)(struct out *, unsigned int))
{
	unsigned int shape;

	if (!count || !roll(out->dice, 2))
		return;
	shape = roll(out->dice, 4);
	fprintf(out->file, "\"%s\": %s", name, shape & 1 ? "{\"not\": " : "");
	if (shape & 2)
		put(out, roll(out->dice, count));
	else
		put_some(out, count, put);
	fputs(shape & 1 ? "}, " : ", ", out->file);
}

static void put_action(struct out *out, unsigned int index)
{
	static const char *const groups[] = {"read", "write", "all_ops"};

	fprintf(out->file, "\"%s\"", index < 3 ? groups[index] : world_actions[index - 3]);
}

static void put_rule(struct out *out, bool key)
{
	bool permit = roll(out->dice, 3);
	bool apply_key = key && permit && roll(out->dice, 2), audit = roll(out->dice, 2);

	fputs("{ ", out->file);
	put_dimension(out, "users", out->user_sets, put_user_set_name);
	put_dimension(out, "processes", out->process_sets, put_process_set_name);
	put_dimension(out, "resources", out->resource_sets, put_resource_set_name);
	put_dimension(out, "times", out->time_sets, put_time_set_name);
	fputs("\"actions\": ", out->file);
	put_some(out, roll(out->dice, 2) ? 3 : 3 + WORLD_ACTIONS, put_action);
	fprintf(out->file, ", \"effects\": [\"%s\"%s%s]", permit ? "permit" : "deny",
		apply_key ? ", \"apply_key\"" : "", audit ? ", \"audit\"" : "");
	if (!roll(out->dice, 3))
		fprintf(out->file, ", \"browse\": %s", permit ? "true" : "false");
	fputs(" }", out->file);
}

static void put_policies(struct out *out)
{
	fputs(" \"policies\": {", out->file);
	for (unsigned int i = 0; i < out->policies; i++) {
		bool key = roll(out->dice, 4);

		fprintf(out->file, "%s\n  \"policy%u\": { %s\"rules\": [", i ? "," : "", i,
			key ? "\"key\": \"k\", " : "");
		for (unsigned int j = 0, n = 1 + roll(out->dice, 8); j < n; j++) {
			fputs(j ? ",\n   " : "\n   ", out->file);
			put_rule(out, key);
		}
		fputs("] }", out->file);
	}
	fputs("},\n", out->file);
}

/* ---------------------------------------------------------------- guard points */

static void put_guards(struct out *out)
{
	static const char *const paths[] = {"/g/a",	 "/g/b",     "/g/*",	 "/g/a/b",    "/g/*/b",
					    "/g/[ab]/c", "/g/a/*/c", "/g/?/b/c", "/g/\\a/ab", "/g/c"};
	static const char *const modes[] = {"enforce", "monitor", "learn"};
	unsigned int order = roll(out->dice, 10), step = 1 + 2 * roll(out->dice, 2),
		     n = 1 + roll(out->dice, 6);

	fputs(" \"guard_points\": [", out->file);
	for (unsigned int i = 0; i < n; i++) {
		fprintf(out->file, "%s\n  { \"name\": \"g%u\", \"path\": ", i ? "," : "", i);
		put_string(out, paths[(order + i * step) % 10]);
		fprintf(out->file, ", \"policy\": \"policy%u\"", roll(out->dice, out->policies));
		if (roll(out->dice, 3))
			fprintf(out->file, ", \"mode\": \"%s\"", PICK(out->dice, modes));
		fputs(" }", out->file);
	}
	fputs("]\n", out->file);
}

char *generate_policy(struct dice *dice, const char *root)
{
	static const char *const levels[] = {"minimal", "normal", "paranoid", "learning"};
	struct out out = {.dice = dice, .root = root};
	char *text = NULL;
	size_t len;

	out.file = open_memstream(&text, &len);
	if (!out.file)
		return NULL;
	out.user_sets = roll(dice, 5);
	out.process_sets = roll(dice, 5);
	out.resource_sets = roll(dice, 6);
	out.time_sets = roll(dice, 4);
	out.policies = 1 + roll(dice, 3);
	fputs("{\n \"version\": 1,\n", out.file);
	if (roll(dice, 2))
		fprintf(out.file, " \"level\": \"%s\",\n", PICK(dice, levels));
	fputs(" \"keys\": { \"k\": { \"provider\": \"file\", \"path\": \"/k\" } },\n",
	      out.file);
	put_sets(&out, "user_sets", 'u', out.user_sets, put_user_set);
	put_sets(&out, "process_sets", 'p', out.process_sets, put_process_set);
	put_sets(&out, "resource_sets", 'r', out.resource_sets, put_resource_set);
	put_sets(&out, "time_sets", 't', out.time_sets, put_time_set);
	put_policies(&out);
	put_guards(&out);
	fputs("}\n", out.file);
	fclose(out.file);
	return text;
}

void generate_question(struct dice *dice, struct question *ret_question)
{
	static const char *const names[] = {"a", "b", "c", "ab", "ba", ".x", "a.x", "bca", "aa"};
	struct question question = {.exe = roll(dice, (unsigned int)world_exe_count)};

	question.uid = roll(dice, 6) ? world_uids[roll(dice, (unsigned int)world_uid_count)] : 4242;
	question.login_uid = question.uid;
	if (!roll(dice, 3))
		question.login_uid =
			roll(dice, 2) ? world_uids[roll(dice, (unsigned int)world_uid_count)] : (uint32_t)-1;
	question.when = roll(dice, (unsigned int)world_instant_count);
	question.unit = roll(dice, WORLD_UNITS);
	question.foreign_code = !roll(dice, 4);
	question.written = !roll(dice, 4);
	question.gid_count = roll(dice, 4);
	for (size_t i = 0; i < question.gid_count; i++)
		question.gids[i] = world_gids[roll(dice, (unsigned int)world_gid_count)];
	question.action = world_actions[roll(dice, WORLD_ACTIONS)];
	strcpy(question.path, roll(dice, 10) ? "/g" : "/elsewhere");
	for (unsigned int i = 0, n = roll(dice, 7); i < n; i++) {
		strcat(question.path, "/");
		strcat(question.path, PICK(dice, names));
	}
	*ret_question = question;
}
