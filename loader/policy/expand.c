// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/expand.c - the existing paths that a path glob matches.
 */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "loader/policy/internal.h"

#define ENTRIES_MAX 4000000 /* directory entries looked at for one pattern */
#define DEPTH_MAX 128

struct expansion {
	const struct tk_glob *glob; /* the whole pattern */
	int (*found)(void *ctx, const char *path);
	void *ctx;
	size_t entries;
	char path[PATH_MAX];
};

/* Writes '/' and name behind the first len bytes of the path; 0 when it does not fit. */
static size_t path_append(struct expansion *e, size_t len, const char *name, size_t name_len)
{
	if (len + 1 + name_len >= sizeof(e->path))
		return 0;
	e->path[len] = '/';
	memcpy(e->path + len + 1, name, name_len);
	e->path[len + 1 + name_len] = '\0';
	return len + 1 + name_len;
}

static DIR *directory_open(struct expansion *e, size_t len)
{
	e->path[len] = '\0';
	return opendir(len ? e->path : "/");
}

/* The next entry that is not "." or ".."; *ret_len is the length of its path, now in e->path. */
static int entry_next(struct expansion *e, DIR *dir, size_t len, struct dirent **ret_entry, size_t *ret_len)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (++e->entries > ENTRIES_MAX)
			return -E2BIG;
		*ret_len = path_append(e, len, entry->d_name, strlen(entry->d_name));
		if (*ret_len)
			break;
	}
	*ret_entry = entry;
	return 0;
}

/* Filesystems in which no executable and no directory worth guarding can be. */
static bool is_pseudo(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return true;
	return fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC || fs.f_type == CGROUP_SUPER_MAGIC ||
	       fs.f_type == CGROUP2_SUPER_MAGIC || fs.f_type == DEBUGFS_MAGIC || fs.f_type == TRACEFS_MAGIC ||
	       fs.f_type == SECURITYFS_MAGIC || fs.f_type == BPF_FS_MAGIC || fs.f_type == DEVPTS_SUPER_MAGIC;
}

/* Everything below the first len bytes of the path, against the whole pattern; symbolic links are not
 * followed. */
static int walk(struct expansion *e, size_t len, dev_t dev, unsigned int depth)
{
	TK_CLOSEDIR DIR *dir = depth < DEPTH_MAX ? directory_open(e, len) : NULL;
	struct dirent *entry;
	size_t entry_len;
	int r = 0;

	while (dir && !r) {
		struct stat st;

		r = entry_next(e, dir, len, &entry, &entry_len);
		if (r < 0 || !entry)
			break;
		if (tk_glob_run(e->glob, e->path))
			r = e->found(e->ctx, e->path);
		if (r || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
			continue;
		if (lstat(e->path, &st) < 0 || !S_ISDIR(st.st_mode) ||
		    (st.st_dev != dev && is_pseudo(e->path)))
			continue;
		r = walk(e, entry_len, st.st_dev, depth + 1);
	}
	return r;
}

static bool has_double_star(const char *component, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++) {
		if (component[i] == '\\')
			i++;
		else if (component[i] == '*' && component[i + 1] == '*')
			return true;
	}
	return false;
}

static int expand(struct expansion *e, size_t len, const char *rest);

static int expand_wild(struct expansion *e, size_t len, const char *component, const char *rest)
{
	TK_FREE char *text = strndup(component, (size_t)(rest - component));
	TK_FREE struct tk_glob *glob = NULL;
	TK_CLOSEDIR DIR *dir = NULL;
	struct dirent *entry;
	size_t entry_len;
	const char *why;
	int r;

	if (!text)
		return -ENOMEM;
	r = tk_glob_parse(text, TK_GLOB_NAME, &glob, &why);
	if (r < 0)
		return r;
	dir = directory_open(e, len);
	while (dir && !r) {
		r = entry_next(e, dir, len, &entry, &entry_len);
		if (r < 0 || !entry)
			break;
		if (tk_glob_run(glob, entry->d_name))
			r = expand(e, entry_len, rest);
	}
	return r;
}

/* A component without wildcards: its backslashes go. */
static int expand_plain(struct expansion *e, size_t len, const char *component, const char *rest)
{
	char name[NAME_MAX + 1];
	size_t used = 0;

	for (const char *p = component; p < rest; p++) {
		if (*p == '\\')
			p++;
		if (used == NAME_MAX)
			return 0; /* no such file can exist */
		name[used++] = *p;
	}
	len = path_append(e, len, name, used);
	return len ? expand(e, len, rest) : 0;
}

/* The first len bytes of the path stand; rest, empty or beginning with '/', is still pattern. */
static int expand(struct expansion *e, size_t len, const char *rest)
{
	const char *component = rest + 1;
	size_t component_len;
	struct stat st;

	e->path[len] = '\0';
	if (!*rest)
		return lstat(e->path, &st) < 0 ? 0 : e->found(e->ctx, e->path);
	component_len = strcspn(component, "/");
	if (has_double_star(component, component_len))
		return stat(len ? e->path : "/", &st) < 0 ? 0 : walk(e, len, st.st_dev, 0);
	if (memchr(component, '*', component_len) || memchr(component, '?', component_len) ||
	    memchr(component, '[', component_len))
		return expand_wild(e, len, component, component + component_len);
	return expand_plain(e, len, component, component + component_len);
}

int tk_glob_expand(const char *pattern, int (*found)(void *ctx, const char *path), void *ctx)
{
	TK_FREE struct expansion *e = calloc(1, sizeof(*e));
	TK_FREE struct tk_glob *glob = NULL;
	const char *why;
	int r;

	if (!e)
		return -ENOMEM;
	r = tk_glob_parse(pattern, TK_GLOB_PATH, &glob, &why);
	if (r < 0)
		return r;
	e->glob = glob;
	e->found = found;
	e->ctx = ctx;
	return expand(e, 0, pattern);
}
