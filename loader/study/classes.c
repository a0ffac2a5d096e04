// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/classes.c - finds the classes of users and of programs: from what the
 * sets' entries say, atoms; from atoms that may hold together, classes.  Those of
 * paths are in class_paths.c, of times in class_times.c.
 */
#include "loader/study/classes.h"
#include "loader/util.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>

/* One entry of a set, or the same one in several sets of both policies. */
struct atom {
	char *key;			       /* equal entries have equal keys; also how it is shown */
	bool alone;			       /* excludes every other such: a uid, a path without a glob */
	const struct tk_process_spec *process; /* NULL: a user or a group */
	uint64_t sets[TK_SIDES][TK_SET_WORDS];
};

struct atoms {
	struct atom *items;
	size_t count;
};

static void atoms_free(struct atoms *atoms)
{
	for (size_t i = 0; i < atoms->count; i++)
		free(atoms->items[i].key);
	free(atoms->items);
}
#define _cleanup_atoms_ _cleanup_(atoms_free)

/* Takes over the key. */
static int atom_add(struct atoms *atoms, char *key, bool alone, const struct tk_process_spec *process,
		    int side, uint32_t set)
{
	size_t i = 0;
	struct atom *larger;

	if (!key)
		return -ENOMEM;
	while (i < atoms->count && strcmp(atoms->items[i].key, key))
		i++;
	if (i == atoms->count) {
		larger = reallocarray(atoms->items, i + 1, sizeof(*larger));
		if (!larger) {
			free(key);
			return -ENOMEM;
		}
		atoms->items = larger;
		larger[atoms->count++] =
			(struct atom){.key = TK_TAKE_PTR(key), .alone = alone, .process = process};
	}
	free(key);
	atoms->items[i].sets[side][set / 64] |= 1ull << (set % 64);
	return 0;
}

/* Drops what the mask leaves nothing of. */
static void atoms_mask(struct atoms *atoms, const struct tk_class_mask *mask)
{
	size_t kept = 0;

	for (size_t i = 0; i < atoms->count; i++) {
		struct atom *atom = &atoms->items[i];
		uint64_t any = 0;

		for (int word = 0; word < TK_SIDES * TK_SET_WORDS; word++)
			any |= (&atom->sets[0][0])[word] &= (&mask->sets[0][0])[word];
		if (any)
			atoms->items[kept++] = *atom;
		else
			free(atom->key);
	}
	atoms->count = kept;
}

/* ---------------------------------------------------------------- from atoms to classes */

void tk_classes_free(struct tk_classes *classes)
{
	for (size_t i = 0; i < classes->count; i++)
		free(classes->items[i].example);
	free(classes->items);
	*classes = (struct tk_classes){0};
}

int tk_class_add(struct tk_classes *classes, const struct tk_class *class)
{
	struct tk_class *larger;

	for (size_t i = 0; i < classes->count; i++) {
		if (!memcmp(classes->items[i].sets, class->sets, sizeof(class->sets)))
			return 0;
	}
	if (classes->count == TK_CLASSES_MAX)
		return -E2BIG;
	larger = reallocarray(classes->items, classes->count + 1, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	classes->items = larger;
	larger[classes->count++] = *class;
	return 1;
}

/* Some atoms that may hold together: `atom` and those of the combination before. */
struct combination {
	uint32_t before; /* 0: the empty one */
	uint32_t atom;
	uint64_t sets[TK_SIDES][TK_SET_WORDS];
};
#define COMBINATIONS_MAX 65536

struct join {
	const struct atoms *atoms;
	bool (*together)(const struct atom *a, const struct atom *b);
	struct combination *items; /* the first is empty */
	size_t count;
	const struct tk_class *always; /* in each; its example is told behind every other */
	struct tk_classes *classes;
};

/* "uid 1001 + gid 2001", "/usr/bin/vim in web.service"; NULL for the empty one. */
static int example_of(const struct join *join, size_t index, char **ret_example)
{
	const char *where = join->always->example;
	_cleanup_free_ char *text = NULL;

	if (!index && where && !(text = strdup("any program")))
		return -ENOMEM;

	for (; index; index = join->items[index].before) {
		const char *key = join->atoms->items[join->items[index].atom].key;
		char *longer;

		if (asprintf(&longer, "%s%s%s", key, text ? " + " : "", text ?: "") < 0)
			return -ENOMEM;
		free(text);
		text = longer;
	}
	if (where) {
		char *longer;

		if (asprintf(&longer, "%s in %s", text, where) < 0)
			return -ENOMEM;
		free(text);
		text = longer;
	}
	*ret_example = TK_TAKE_PTR(text);
	return 0;
}

static int class_add(struct join *join, size_t index)
{
	struct tk_class class = {0};
	int r;

	memcpy(class.sets, join->items[index].sets, sizeof(class.sets));
	r = tk_class_add(join->classes, &class);
	/* The last one's example: made only where it is needed. */
	return r == 1 ? example_of(join, index, &join->classes->items[join->classes->count - 1].example) : r;
}

/* Adds an atom to a combination, if it may hold beside it and makes a difference. */
static int extend(struct join *join, size_t index, uint32_t added)
{
	const struct atom *atom = &join->atoms->items[added];
	struct combination *fresh = &join->items[join->count];

	for (size_t i = index; i; i = join->items[i].before) {
		if (!join->together(&join->atoms->items[join->items[i].atom], atom))
			return 0;
	}
	*fresh = (struct combination){.before = (uint32_t)index, .atom = added};
	for (int word = 0; word < TK_SIDES * TK_SET_WORDS; word++)
		(&fresh->sets[0][0])[word] =
			(&join->items[index].sets[0][0])[word] | (&atom->sets[0][0])[word];
	/* Those with this atom and without what makes it idle are combinations, too. */
	if (!memcmp(fresh->sets, join->items[index].sets, sizeof(fresh->sets)))
		return 0;
	join->count++;
	return class_add(join, join->count - 1);
}

/* Into classes that may hold some already; `always` is in each. */
static int classes_join(const struct atoms *atoms,
			bool (*together)(const struct atom *a, const struct atom *b),
			const struct tk_class *always, struct tk_classes *classes)
{
	_cleanup_free_ struct combination *items = calloc(COMBINATIONS_MAX, sizeof(*items));
	struct join join = {.atoms = atoms,
			    .together = together,
			    .items = items,
			    .count = 1,
			    .always = always,
			    .classes = classes};
	int r;

	if (!items)
		return -ENOMEM;
	memcpy(items[0].sets, always->sets, sizeof(items[0].sets));
	r = class_add(&join, 0);
	/* In the order of their size, so that a class is shown by as few atoms as can be. */
	for (size_t i = 0; !r && i < join.count; i++) {
		for (uint32_t next = i ? items[i].atom + 1 : 0; !r && next < atoms->count; next++)
			r = join.count == COMBINATIONS_MAX ? -E2BIG : extend(&join, i, next);
	}
	return r;
}

/* Each class once more for who lacks what these sets ask for, and so has none of them; `how` ends its example. */
static int classes_split(const struct tk_set_bits *const asking[TK_SIDES], const char *how,
			 struct tk_classes *classes)
{
	size_t count = classes->count;

	for (size_t i = 0; i < count; i++) {
		struct tk_class class = classes->items[i];
		int r;

		for (int side = 0; side < TK_SIDES; side++) {
			for (int word = 0; word < TK_SET_WORDS; word++)
				class.sets[side][word] &= ~asking[side]->sets[word];
		}
		if (!memcmp(class.sets, classes->items[i].sets, sizeof(class.sets)))
			continue;
		if (asprintf(&class.example, "%s%s", classes->items[i].example, how) < 0)
			return -ENOMEM;
		r = tk_class_add(classes, &class);
		if (r != 1)
			free(class.example);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---------------------------------------------------------------- users */

static char *user_key(const struct tk_user_spec *spec)
{
	const struct passwd *user = spec->group ? NULL : getpwnam(spec->name);
	const struct group *group = spec->group ? getgrnam(spec->name) : NULL;
	char *key;

	if ((user    ? asprintf(&key, "uid %u", user->pw_uid)
	     : group ? asprintf(&key, "gid %u", group->gr_gid)
		     : asprintf(&key, "%s %s", spec->group ? "gid" : "uid", spec->name)) < 0)
		return NULL;
	return key;
}

static bool users_together(const struct atom *a, const struct atom *b)
{
	return !a->alone || !b->alone;
}

int tk_classes_of_users(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
			struct tk_classes *ret_classes)
{
	_cleanup_atoms_ struct atoms atoms = {0};
	const struct tk_set_bits *const asking[TK_SIDES] = {&sides[0]->login_sets, &sides[1]->login_sets};
	const struct tk_class always = {0};
	struct tk_classes classes = {0};
	int r;

	for (int side = 0; side < TK_SIDES; side++) {
		for (size_t i = 0; i < sides[side]->user_count; i++) {
			const struct tk_user_spec *spec = &sides[side]->users[i];

			r = atom_add(&atoms, user_key(spec), !spec->group, NULL, side, spec->set);
			if (r < 0)
				return r;
		}
	}
	atoms_mask(&atoms, mask);
	r = classes_join(&atoms, users_together, &always, &classes);
	if (r == 0)
		r = classes_split(asking, " + another log-in", &classes);
	if (r < 0)
		tk_classes_free(&classes);
	else
		*ret_classes = classes;
	return r;
}

/* ---------------------------------------------------------------- programs */

static bool is_literal(const struct tk_process_spec *spec)
{
	return spec->path && !spec->name && !spec->has_sha256 && !strpbrk(spec->path, "*?[\\");
}

static char *process_key(const struct tk_process_spec *spec)
{
	char digest[65] = "", *key;

	if (is_literal(spec)) {
		key = realpath(spec->path, NULL);
		return key ? key : strdup(spec->path);
	}
	for (int i = 0; spec->has_sha256 && i < 32; i++)
		sprintf(digest + 2 * i, "%02x", spec->sha256[i]);
	if (asprintf(&key, "%s%s%s%s%s", spec->path ?: "", spec->name ? " named " : "", spec->name ?: "",
		     *digest ? " sha256 " : "", digest) < 0)
		return NULL;
	return key;
}

/* False when the texts before the first special character already differ. */
static bool beginnings_meet(const char *a, const char *b)
{
	size_t x = strcspn(a, "*?[\\"), y = strcspn(b, "*?[\\");

	return !strncmp(a, b, x < y ? x : y);
}

static bool programs_together(const struct atom *a, const struct atom *b)
{
	const struct tk_process_spec *x = a->process, *y = b->process;
	const char *literal = a->alone ? a->key : b->key;
	const struct tk_process_spec *other = a->alone ? y : x;

	if (a->alone && b->alone)
		return false;
	if (a->alone || b->alone) {
		if (other->path && !tk_glob_match(other->path, literal))
			return false;
		return !other->name || beginnings_meet(other->name, strrchr(literal, '/') + 1);
	}
	if (x->has_sha256 && y->has_sha256 && memcmp(x->sha256, y->sha256, sizeof(x->sha256)))
		return false;
	return (!x->path || !y->path || beginnings_meet(x->path, y->path)) &&
	       (!x->name || !y->name || beginnings_meet(x->name, y->name));
}

/* A path without a glob is in the sets of all globs that match it, always. */
static void literals_complete(struct atoms *atoms)
{
	for (size_t i = 0; i < atoms->count; i++) {
		for (size_t j = 0; j < atoms->count; j++) {
			struct atom *literal = &atoms->items[i];
			const struct atom *glob = &atoms->items[j];

			if (!literal->alone || glob->alone || glob->process->name ||
			    glob->process->has_sha256 || !tk_glob_match(glob->process->path, literal->key))
				continue;
			for (int word = 0; word < TK_SIDES * TK_SET_WORDS; word++)
				(&literal->sets[0][0])[word] |= (&glob->sets[0][0])[word];
		}
	}
}

static bool is_unit_alone(const struct tk_process_spec *spec)
{
	return !spec->path && !spec->name && !spec->has_sha256;
}

/* Programs in one unit; NULL: in none that a policy names. */
static int programs_in(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
		       char *unit, struct tk_classes *classes)
{
	_cleanup_atoms_ struct atoms atoms = {0};
	struct tk_class always = {.example = unit};

	for (int side = 0; side < TK_SIDES; side++) {
		for (size_t i = 0; i < sides[side]->process_count; i++) {
			const struct tk_process_spec *spec = &sides[side]->processes[i];
			int r = 0;

			if (spec->unit != UINT32_MAX &&
			    (!unit || strcmp(sides[side]->units[spec->unit], unit)))
				continue;
			if (is_unit_alone(spec))
				always.sets[side][spec->set / 64] |= 1ull << (spec->set % 64);
			else
				r = atom_add(&atoms, process_key(spec), is_literal(spec), spec, side,
					     spec->set);
			if (r < 0)
				return r;
		}
		for (int word = 0; word < TK_SET_WORDS; word++)
			always.sets[side][word] &= mask->sets[side][word];
	}
	literals_complete(&atoms);
	atoms_mask(&atoms, mask);
	return classes_join(&atoms, programs_together, &always, classes);
}

static bool names_unit(const struct tk_compiled *compiled, const char *unit)
{
	for (size_t i = 0; i < compiled->unit_count; i++) {
		if (!strcmp(compiled->units[i], unit))
			return true;
	}
	return false;
}

int tk_classes_of_programs(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
			   struct tk_classes *ret_classes)
{
	const struct tk_set_bits *const asking[TK_SIDES] = {&sides[0]->integrity_sets,
							    &sides[1]->integrity_sets};
	struct tk_classes classes = {0};
	int r = programs_in(sides, mask, NULL, &classes);

	for (int side = 0; side < TK_SIDES; side++) {
		for (size_t i = 0; r == 0 && i < sides[side]->unit_count; i++) {
			if (!side || !names_unit(sides[0], sides[side]->units[i]))
				r = programs_in(sides, mask, sides[side]->units[i], &classes);
		}
	}
	if (r == 0)
		r = classes_split(asking, TK_WITH_FOREIGN_CODE, &classes);
	if (r < 0)
		tk_classes_free(&classes);
	else
		*ret_classes = classes;
	return r;
}
