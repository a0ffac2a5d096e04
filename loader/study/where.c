// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/where.c - which guard point a path of this machine lies in; explain.c
 * asks.
 */
#include "loader/study/explain_internal.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

int tk_canonical(const char *path, char **ret_path)
{
	_cleanup_free_ char *head = strdup(path), *real = NULL;
	size_t len = strlen(path);
	const char *rest;
	char *joined;

	if (!head)
		return -ENOMEM;
	while (len > 1 && head[len - 1] == '/')
		head[--len] = '\0';
	while (!(real = realpath(len ? head : (*path == '/' ? "/" : "."), NULL))) {
		if (!len)
			return -errno;
		while (len && head[len - 1] != '/')
			len--;
		while (len && head[len - 1] == '/')
			len--;
		head[len] = '\0';
	}
	rest = path + len;
	while (*rest == '/')
		rest++;
	len = strlen(rest);
	while (len && rest[len - 1] == '/')
		len--;
	for (const char *p = rest; *p; p += strcspn(p, "/"), p += strspn(p, "/")) {
		size_t part = strcspn(p, "/");

		if (part <= 2 && !strncmp(p, "..", part))
			return -EINVAL;
	}
	if (asprintf(&joined, "%s%s%.*s", real, len && real[1] ? "/" : "", (int)len, rest) < 0)
		return -ENOMEM;
	*ret_path = joined;
	return 0;
}

struct place {
	const char *path; /* what is asked about */
	size_t best;	  /* length of the innermost guard point's path so far */
};

static int place_try(void *ctx, const char *found)
{
	struct place *place = ctx;
	_cleanup_free_ char *real = realpath(found, NULL);
	struct stat st;
	size_t len = real ? strlen(real) : 0;

	if (len > place->best && stat(real, &st) == 0 && S_ISDIR(st.st_mode) &&
	    !strncmp(real, place->path, len) && (place->path[len] == '/' || !place->path[len]))
		place->best = len;
	return 0;
}

void tk_explain_place(const struct tk_compiled *compiled, struct tk_answer *answer)
{
	struct place place = {.path = answer->path};
	const char *below;
	size_t guard;

	for (size_t i = 0; i < compiled->guard_count; i++) {
		size_t before = place.best;

		tk_glob_expand(compiled->guards[i].path, place_try, &place);
		if (place.best > before) {
			answer->guarded = true;
			answer->guard = i;
		}
	}
	if (answer->guarded)
		answer->below = answer->path + place.best + (answer->path[place.best] == '/');
	if (!tk_guard_of_path(compiled, answer->path, &guard, &below) &&
	    (!answer->guarded || below > answer->below)) {
		answer->guarded = true;
		answer->guard = guard;
		answer->below = below;
	}
}
