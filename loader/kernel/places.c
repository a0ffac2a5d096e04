// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/places.c - the guard points of a policy as directories of this
 * machine: patterns expanded, symlinks resolved, inodes identified.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/kernel/internal.h"

void tk_places_free(struct tk_places *places)
{
	if (!places)
		return;
	for (size_t i = 0; i < places->count; i++)
		free(places->items[i].path);
	free(places->items);
	free(places);
}

static int warn(struct tk_problems *problems, const struct tk_compiled *compiled, size_t spec,
		const char *message)
{
	struct tk_problem *items, problem = { .warning = true };

	if (!problems)
		return 0;
	items = realloc(problems->items, (problems->count + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	problems->items = items;
	if (asprintf(&problem.pointer, "/guard_points/%zu/path", spec) < 0)
		return -ENOMEM;
	if (asprintf(&problem.message, "%s: %s", compiled->guards[spec].path, message) < 0) {
		free(problem.pointer);
		return -ENOMEM;
	}
	items[problems->count++] = problem;
	return 0;
}

static bool same_inode(const struct tk_inode *a, const struct tk_inode *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->igeneration == b->igeneration;
}

/* Adds one directory.  Two patterns that meet in one directory are one guard point: the first in the text. */
static int add(struct tk_places *places, size_t spec, const char *match)
{
	char real[PATH_MAX];
	struct tk_inode inode;
	struct tk_place *items;
	int err;

	if (!realpath(match, real))
		return errno == ENOENT ? 0 : -errno;
	err = tk_inode_of_path(real, &inode);
	if (err)
		return err;
	for (size_t i = 0; i < places->count; i++)
		if (same_inode(&places->items[i].inode, &inode))
			return 0;
	if (places->count == TK_MAX_GUARD_POINTS)
		return -E2BIG;
	items = realloc(places->items, (places->count + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	places->items = items;
	items[places->count] = (struct tk_place){ .id = places->count, .spec = spec, .inode = inode,
						  .path = strdup(real) };
	if (!items[places->count].path)
		return -ENOMEM;
	places->count++;
	return 0;
}

/* One pattern's search. */
struct search {
	struct tk_places *places;
	size_t spec;
	size_t files; /* matches that are no directories */
};

static int found(void *ctx, const char *match)
{
	struct search *search = ctx;
	struct stat st;

	if (stat(match, &st))
		return 0; /* gone in the meantime, or a link to nowhere */
	if (!S_ISDIR(st.st_mode)) {
		search->files++;
		return 0;
	}
	return add(search->places, search->spec, match);
}

static int expand(struct tk_places *places, const struct tk_compiled *compiled, size_t spec,
		  struct tk_problems *problems)
{
	struct search search = { .places = places, .spec = spec };
	size_t before = places->count;
	int err = tk_glob_expand(compiled->guards[spec].path, found, &search);

	if (err || places->count > before)
		return err;
	for (size_t i = 0; i < before; i++)
		if (places->items[i].spec != spec && tk_glob_match(compiled->guards[spec].path, places->items[i].path))
			return 0; /* all its directories belong to an earlier guard point */
	return warn(problems, compiled, spec,
		    search.files ? "is not a directory, so it is not guarded" :
				   "does not exist yet; it is guarded as soon as it appears");
}

int tk_places_find(const struct tk_compiled *compiled, struct tk_places **ret_places,
		   struct tk_problems *problems)
{
	struct tk_places *places = calloc(1, sizeof(*places));
	int err = places ? 0 : -ENOMEM;

	for (size_t i = 0; i < compiled->guard_count && !err; i++)
		err = expand(places, compiled, i, problems);
	if (err) {
		tk_places_free(places);
		return err;
	}
	*ret_places = places;
	return 0;
}
