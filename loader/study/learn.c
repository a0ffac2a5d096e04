// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/learn.c - collects what was seen; learn_write.c makes a policy of it.
 */
#include "loader/study/learn.h"
#include "loader/study/learn_internal.h"
#include "loader/util.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

/* ---------------------------------------------------------------- names */

static bool is_utf8(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		int more = *p < 0x80   ? 0
			   : *p < 0xc2 ? -1
			   : *p < 0xe0 ? 1
			   : *p < 0xf0 ? 2
			   : *p < 0xf5 ? 3
				       : -1;

		/* Too long forms, surrogates, and what is beyond U+10FFFF. */
		if (more < 0 || (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
		    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
			return false;
		while (more-- > 0) {
			if ((*++p & 0xc0) != 0x80)
				return false;
		}
	}
	return true;
}

/* The glob that matches this text alone: but for bytes a JSON text cannot hold, which become "?". */
static void put_literal(FILE *out, const char *text, size_t len, bool utf8)
{
	for (size_t i = 0; i < len; i++) {
		if (strchr("*?[\\", text[i]))
			putc('\\', out);
		if ((text[i] & 0x80 && !utf8) || text[i] == 0x7f)
			putc('?', out);
		else
			putc(text[i], out);
	}
}

/* Where the suffix of a base name begins: its end when there is none. */
static const char *suffix_of(const char *base)
{
	const char *dot = strrchr(base, '.');

	return dot && dot > base && dot[1] ? dot : base + strlen(base);
}

static char *path_pattern(const struct tk_lesson *lesson, const char *below)
{
	const char *slash = strrchr(below, '/'), *base = slash ? slash + 1 : below, *suffix = suffix_of(base);
	bool utf8 = is_utf8(below);
	char *text = NULL;
	size_t len;
	FILE *out;

	if (lesson->generalise == TK_LEARN_WIDE)
		return strdup("**");
	if (!*below)
		return strdup("");
	out = open_memstream(&text, &len);
	if (!out)
		return NULL;
	if (!slash)
		putc('/', out); /* anchors: else it would match at any depth */
	if (lesson->generalise == TK_LEARN_SETS) {
		put_literal(out, below, (size_t)(base - below), utf8);
		putc('*', out);
		put_literal(out, suffix, strlen(suffix), utf8);
	} else {
		put_literal(out, below, strlen(below), utf8);
	}
	return fclose(out) == EOF ? free(text), NULL : text;
}

static char *exe_pattern(const char *exe)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	put_literal(out, exe, strlen(exe), is_utf8(exe));
	return fclose(out) == EOF ? free(text), NULL : text;
}

/* A name, where it leads back to the uid. */
static char *user_name(uint32_t uid)
{
	const struct passwd *user = getpwuid(uid);
	char *name = user ? strdup(user->pw_name) : NULL;

	user = name ? getpwnam(name) : NULL;
	if (user && user->pw_uid == uid && is_utf8(name) && !strpbrk(name, " /:"))
		return name;
	free(name);
	return asprintf(&name, "%u", uid) < 0 ? NULL : name;
}

/* Takes over the name. */
static int name_index(struct tk_lesson *lesson, enum tk_dim dim, char *name, size_t *ret_index)
{
	size_t count = lesson->name_count[dim], i = 0;
	char **larger;

	if (!name)
		return -ENOMEM;
	while (i < count && strcmp(lesson->names[dim][i], name))
		i++;
	*ret_index = i;
	if (i < count || count == TK_LEARN_NAMES_MAX) {
		free(name);
		return i < count ? 0 : -E2BIG;
	}
	larger = reallocarray(lesson->names[dim], count + 1, sizeof(*larger));
	if (!larger) {
		free(name);
		return -ENOMEM;
	}
	lesson->names[dim] = larger;
	larger[lesson->name_count[dim]++] = name;
	return 0;
}

/* ---------------------------------------------------------------- deeds */

static bool touches_contents(uint32_t action)
{
	return action & (TK_DATA_READ | TK_DATA_WRITE | TK_EXECUTE);
}

int tk_lesson_add(struct tk_lesson *lesson, const struct tk_deed *deed, const char *exe, const char *below)
{
	struct tk_sighting sighting = {.action = deed->action,
				       .count = deed->count,
				       .foreign_code = deed->foreign_code},
			   *larger;
	size_t count = lesson->sighting_count;
	int r = name_index(lesson, TK_DIM_USERS, user_name(deed->uid), &sighting.at[TK_DIM_USERS]);

	if (r == 0)
		r = name_index(lesson, TK_DIM_PROGRAMS, exe_pattern(exe), &sighting.at[TK_DIM_PROGRAMS]);
	if (r == 0)
		r = name_index(lesson, TK_DIM_PATHS, path_pattern(lesson, below), &sighting.at[TK_DIM_PATHS]);
	if (r < 0)
		return r;
	sighting.key = lesson->key && deed->apply_key && touches_contents(deed->action);
	if (!(count & (count - 1))) { /* doubles at each power of two */
		larger = reallocarray(lesson->sightings, count ? 2 * count : 1, sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		lesson->sightings = larger;
	}
	lesson->sightings[lesson->sighting_count++] = sighting;
	lesson->event_count += deed->count;
	return 0;
}

void tk_lesson_free(struct tk_lesson *lesson)
{
	for (int dim = 0; dim < TK_LEARN_DIMS; dim++) {
		for (size_t i = 0; i < lesson->name_count[dim]; i++)
			free(lesson->names[dim][i]);
		free(lesson->names[dim]);
	}
	free(lesson->sightings);
	*lesson = (struct tk_lesson){0};
}

/* ---------------------------------------------------------------- boxes */

static int sighting_compare(const void *a, const void *b)
{
	const struct tk_sighting *x = a, *y = b;

	for (int dim = 0; dim < TK_LEARN_DIMS; dim++) {
		if (x->at[dim] != y->at[dim])
			return x->at[dim] < y->at[dim] ? -1 : 1;
	}
	return 0;
}

/* All that one user did in one program to one path. */
static int box_add(const struct tk_lesson *lesson, size_t first, size_t end, struct tk_boxes *boxes)
{
	uint8_t effects[TK_SIDES][TK_ACTION_COUNT] = {0};
	uint8_t rest = TK_PERMIT; /* what has no view goes with what has one: one rule less */

	for (size_t i = first; i < end; i++) {
		const struct tk_sighting *sighting = &lesson->sightings[i];

		/* Plaintext once, plaintext always: a program that got it must not be given ciphertext. */
		effects[0][__builtin_ctz(sighting->action)] |=
			(uint8_t)(TK_PERMIT | (sighting->key ? TK_APPLY_KEY : 0));
		if (sighting->key)
			rest |= TK_APPLY_KEY;
	}
	for (int i = 0; i < TK_ACTION_COUNT; i++) {
		if (effects[0][i] && !touches_contents(1u << i))
			effects[0][i] = rest;
	}
	return tk_boxes_add(boxes, lesson->sightings[first].at, effects);
}

int tk_lesson_boxes(struct tk_lesson *lesson, struct tk_boxes *boxes)
{
	size_t count = lesson->sighting_count, of_user = 0, of_program = 0;

	for (int dim = 0; dim < TK_LEARN_DIMS; dim++)
		boxes->sizes[dim] = lesson->name_count[dim];
	boxes->sizes[TK_DIM_TIMES] = 1;
	if (count)
		qsort(lesson->sightings, count, sizeof(*lesson->sightings), sighting_compare);
	for (size_t first = 0, end; first < count; first = end) {
		const struct tk_sighting *now = &lesson->sightings[first];
		const struct tk_sighting *before = first ? now - 1 : now;
		bool other_user = now->at[TK_DIM_USERS] != before->at[TK_DIM_USERS];

		if (other_user || now->at[TK_DIM_PROGRAMS] != before->at[TK_DIM_PROGRAMS]) {
			tk_boxes_merge(boxes, of_program, TK_DIM_PATHS);
			of_program = boxes->count;
		}
		if (other_user) {
			tk_boxes_merge(boxes, of_user, TK_DIM_PROGRAMS);
			of_user = of_program = boxes->count;
		}
		for (end = first + 1; end < count && !sighting_compare(now, &lesson->sightings[end]); end++)
			;
		if (box_add(lesson, first, end, boxes) < 0)
			return -ENOMEM;
	}
	tk_boxes_merge(boxes, of_program, TK_DIM_PATHS);
	tk_boxes_merge(boxes, of_user, TK_DIM_PROGRAMS);
	tk_boxes_merge(boxes, 0, TK_DIM_USERS);
	return 0;
}
