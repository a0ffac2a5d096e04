// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/executables.c - which files on this machine are the executables
 * that process sets name: by path, by base name where only root could have put
 * them, by digest.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/policy/internal.h"

#define DIRECTORY_DEPTH_MAX 64
#define HITS_MAX (4 * (size_t)TK_MAX_MEMBERS) /* an executable may be found for several sets */

static const char *const flat_default[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin",
					   "/sbin",	      "/bin",		NULL};
static const char *const deep_default[] = {"/usr/lib", "/usr/libexec", "/opt", "/usr/local", NULL};
const struct tk_search tk_search_default = {flat_default, deep_default, "/", 0};

struct finder {
	const struct tk_compiled *compiled;
	const struct tk_search *search;
	struct tk_digests *digests;
	struct tk_hits *hits;
	struct tk_device_cache cache;
	const struct tk_process_spec *spec; /* while its path is expanded */
	struct tk_glob **names;		    /* by entry: its `name`, NULL without one */
	bool *matched;			    /* by entry: some executable has the path and the name */
	bool *taken;			    /* by entry: and the digest, and the owner that integrity asks for */
	bool *foreign;			    /* by entry: some executable has all but that owner */
};

void tk_hits_free(struct tk_hits *hits)
{
	for (size_t i = 0; i < hits->count; i++)
		free(hits->items[i].path);
	free(hits->items);
	*hits = (struct tk_hits){0};
}

/* ---------------------------------------------------------------- one executable */

static bool only_owner_writes(const struct stat *st, uid_t owner)
{
	return st->st_uid == owner && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static bool asks_for_integrity(const struct tk_compiled *compiled, uint32_t set)
{
	return compiled->integrity_sets.sets[set / 64] >> (set % 64) & 1;
}

/*
 * True when root owns the file and every directory from it up to `top`, and nobody else can write any of
 * them.  The path must hold no symbolic link.
 */
static bool is_root_only(const struct tk_search *search, const char *path)
{
	TK_FREE char *part = strdup(path);
	size_t top = strcmp(search->top, "/") ? strlen(search->top) : 0;
	struct stat st;

	if (!part || strncmp(path, search->top, top) || path[top] != '/')
		return false;
	for (;;) {
		char *slash;

		if (lstat(*part ? part : "/", &st) < 0 || !only_owner_writes(&st, search->owner))
			return false;
		slash = strrchr(part, '/');
		if (strlen(part) == top || !slash)
			return true;
		*slash = '\0';
	}
}

static bool has_digest(struct finder *finder, int fd, const struct stat *st, const uint8_t sha256[32])
{
	uint8_t digest[32];

	return !tk_digest_of(finder->digests, fd, st, digest) && !memcmp(digest, sha256, sizeof(digest));
}

static int hit_add(struct finder *finder, const struct tk_process_spec *spec, const struct tk_inode *exe,
		   const char *path)
{
	struct tk_hit *hit;
	char *text;

	if (finder->hits->count == HITS_MAX)
		return -E2BIG;
	text = strdup(path);
	if (!text)
		return -ENOMEM;
	hit = tk_append(&finder->hits->items, &finder->hits->count, sizeof(*hit));
	if (!hit) {
		free(text);
		return -ENOMEM;
	}
	*hit = (struct tk_hit){
		.exe = *exe, .set = spec->set, .unit = spec->unit, .has_sha256 = spec->has_sha256, .path = text};
	memcpy(hit->sha256, spec->sha256, sizeof(hit->sha256));
	return 0;
}

/* Takes the executable at `path` for an entry whose path matches already, if all else holds as well. */
static int consider(struct finder *finder, const struct tk_process_spec *spec, const char *path)
{
	size_t index = (size_t)(spec - finder->compiled->processes);
	TK_CLOSE int fd =
		open(path, O_PATH | O_CLOEXEC); /* through symbolic links, to what would be executed */
	char link[32], real[PATH_MAX];
	struct tk_inode exe;
	struct stat st;
	ssize_t len;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, real, sizeof(real) - 1);
	if (len < 0)
		return 0;
	real[len] = '\0';
	if (spec->name && (!tk_glob_run(finder->names[index], strrchr(real, '/') + 1) ||
			   !is_root_only(finder->search, real)))
		return 0;
	finder->matched[index] = true;
	if (spec->has_sha256 && !has_digest(finder, fd, &st, spec->sha256))
		return 0;
	/* Who executes it maps its code, and would lose the set by that. */
	if (asks_for_integrity(finder->compiled, spec->set) && !only_owner_writes(&st, finder->search->owner)) {
		finder->foreign[index] = true;
		return 0;
	}
	r = tk_inode_cached(fd, &finder->cache, &exe);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	finder->taken[index] = true;
	return hit_add(finder, spec, &exe, real);
}

static int consider_path(void *ctx, const char *path)
{
	struct finder *finder = ctx;

	return consider(finder, finder->spec, path);
}

/* ---------------------------------------------------------------- by base name */

static int search_file(struct finder *finder, const char *path, const char *base)
{
	int r = 0;

	for (size_t i = 0; !r && i < finder->compiled->process_count; i++) {
		const struct tk_process_spec *spec = &finder->compiled->processes[i];

		if (spec->name && !spec->path && tk_glob_run(finder->names[i], base))
			r = consider(finder, spec, path);
	}
	return r;
}

/* The regular files of a directory, and with depth those below; symbolic links are not what is looked for. */
static int search_directory(struct finder *finder, const char *path, unsigned int depth)
{
	TK_CLOSEDIR DIR *dir = NULL;
	struct dirent *entry;
	struct stat st;
	int r = 0;

	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || !only_owner_writes(&st, finder->search->owner))
		return 0;
	dir = opendir(path);
	while (dir && !r && (entry = readdir(dir))) {
		TK_FREE char *child = NULL;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (entry->d_type == DT_LNK || (entry->d_type == DT_DIR && !depth))
			continue;
		if (asprintf(&child, "%s/%s", path, entry->d_name) < 0)
			return -ENOMEM;
		if (entry->d_type == DT_UNKNOWN && lstat(child, &st) < 0)
			continue;
		if (entry->d_type == DT_REG || (entry->d_type == DT_UNKNOWN && S_ISREG(st.st_mode)))
			r = search_file(finder, child, entry->d_name);
		else if (depth &&
			 (entry->d_type == DT_DIR || (entry->d_type == DT_UNKNOWN && S_ISDIR(st.st_mode))))
			r = search_directory(finder, child, depth - 1);
	}
	return r;
}

/* Where /bin is a link to /usr/bin it is searched once too often, which only costs time. */
static int search_list(struct finder *finder, const char *const *directories, unsigned int depth)
{
	int r = 0;

	for (size_t i = 0; !r && directories[i]; i++) {
		TK_FREE char *real = realpath(directories[i], NULL);

		if (real)
			r = search_directory(finder, real, depth);
	}
	return r;
}

static int search_names(struct finder *finder)
{
	int r;

	if (!tk_programs_deep(finder->compiled))
		return 0;
	r = search_list(finder, finder->search->flat, 0);
	return r ? r : search_list(finder, finder->search->deep, DIRECTORY_DEPTH_MAX);
}

/* ---------------------------------------------------------------- all */

static int names_parse(struct finder *finder)
{
	size_t count = finder->compiled->process_count;
	const char *why;
	int r = 0;

	finder->names = calloc(count + 1, sizeof(*finder->names));
	finder->matched = calloc(count + 1, sizeof(*finder->matched));
	finder->taken = calloc(count + 1, sizeof(*finder->taken));
	finder->foreign = calloc(count + 1, sizeof(*finder->foreign));
	if (!finder->names || !finder->matched || !finder->taken || !finder->foreign)
		return -ENOMEM;
	for (size_t i = 0; !r && i < count; i++) {
		if (finder->compiled->processes[i].name)
			r = tk_glob_parse(finder->compiled->processes[i].name, TK_GLOB_NAME,
					  &finder->names[i], &why);
	}
	return r;
}

/* An entry with a unit alone: whatever is executed there. */
static int take_any(struct finder *finder, const struct tk_process_spec *spec)
{
	static const struct tk_inode any;
	size_t index = (size_t)(spec - finder->compiled->processes);

	finder->matched[index] = finder->taken[index] = true;
	return hit_add(finder, spec, &any, TK_ANY_EXE);
}

static int find_all(struct finder *finder, struct tk_problems *problems)
{
	int r = names_parse(finder);

	for (size_t i = 0; !r && i < finder->compiled->process_count; i++) {
		const struct tk_process_spec *spec = &finder->compiled->processes[i];

		finder->spec = spec;
		if (spec->path)
			r = tk_glob_expand(spec->path, consider_path, finder);
		else if (!spec->name)
			r = take_any(finder, spec);
		if (r == -E2BIG && finder->hits->count < HITS_MAX)
			r = tk_problem_add(problems, true, spec->pointer,
					   "the search for \"%s\" was given up: too many files", spec->path);
	}
	if (!r)
		r = search_names(finder);
	for (size_t i = 0; !r && i < finder->compiled->process_count; i++) {
		const struct tk_process_spec *spec = &finder->compiled->processes[i];
		const char *what = spec->path ? spec->path : spec->name;

		if (!finder->matched[i])
			r = tk_problem_add(problems, true, spec->pointer,
					   "no executable \"%s\" on this machine yet", TK_SHOW(what));
		else if (finder->foreign[i])
			r = tk_problem_add(problems, true, spec->pointer,
					   "an executable \"%s\" is no member: it is not root's, or its group or "
					   "everybody can write it (\"integrity\": false on the set lets it be one)",
					   TK_SHOW(what));
		else if (!finder->taken[i])
			r = tk_problem_add(problems, true, spec->pointer,
					   "no executable \"%s\" with this digest on this machine",
					   TK_SHOW(what));
	}
	return r;
}

int tk_find_executables(const struct tk_compiled *compiled, const struct tk_search *search,
			struct tk_digests *digests, struct tk_problems *problems, struct tk_hits *hits)
{
	struct finder finder = {.compiled = compiled, .search = search, .digests = digests, .hits = hits};
	int r = find_all(&finder, problems);

	for (size_t i = 0; finder.names && i < compiled->process_count; i++)
		free(finder.names[i]);
	free(finder.names);
	free(finder.matched);
	free(finder.taken);
	free(finder.foreign);
	return r;
}
