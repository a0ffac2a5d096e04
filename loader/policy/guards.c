// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/guards.c - which guard point a path lies in, by its text.
 */
#include <errno.h>
#include <string.h>

#include "loader/policy/internal.h"

/* "/a/b" has two components; in a checked pattern a slash is always a separator. */
static size_t component_count(const char *path)
{
	size_t count = 0;

	for (const char *p = path; *p; p++)
		count += *p == '/';
	return count;
}

/* Length of the first `count` components of path; SIZE_MAX when it has fewer. */
static size_t prefix_length(const char *path, size_t count)
{
	const char *p = path;

	while (count-- > 0) {
		if (*p != '/')
			return SIZE_MAX;
		p = p + 1 + strcspn(p + 1, "/");
	}
	return (size_t)(p - path);
}

/*
 * A guard point's pattern holds no "**", so it matches only prefixes with as many components as itself.
 * Where two patterns match the same directory, the one written first has it.
 */
int tk_guard_of_path(const struct tk_compiled *compiled, const char *path, size_t *ret_guard,
		     const char **ret_below)
{
	TK_FREE char *prefix = strdup(path);
	size_t best = 0, found = 0;

	if (!prefix)
		return -ENOMEM;
	for (size_t i = 0; i < compiled->guard_count; i++) {
		size_t length = prefix_length(path, component_count(compiled->guards[i].path));
		char cut;

		if (length == SIZE_MAX || length <= best)
			continue;
		cut = prefix[length];
		prefix[length] = '\0';
		if (tk_glob_match(compiled->guards[i].path, prefix)) {
			best = length;
			found = i;
		}
		prefix[length] = cut;
	}
	if (!best)
		return -ENOENT;
	*ret_guard = found;
	*ret_below = path + best + (path[best] == '/');
	return 0;
}
