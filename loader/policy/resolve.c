// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/resolve.c - the names of a compiled policy, looked up on this
 * machine: what goes into user_sets, group_sets and process_sets.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "loader/policy/internal.h"

#define ENTRY_ROOM (1u << 20) /* a passwd or group entry; large groups are long */

/* One id in one set, before merging. */
struct id_hit {
	uint32_t id;
	uint32_t set;
};

/* ---------------------------------------------------------------- names of sets */

static void set_add(__u64 sets[TK_SET_WORDS], uint32_t set)
{
	sets[set / 64] |= 1ull << (set % 64);
}

/* Copies what fits; what is behind stays zero. */
static void text_cut(char *out, size_t room, const char *text)
{
	memcpy(out, text, strnlen(text, room - 1));
}

/* "editors,backup", cut to fit. */
static void set_names(const __u64 sets[TK_SET_WORDS], char *const *names, size_t count, char out[TK_NAME_MAX])
{
	size_t used = 0;

	for (size_t i = 0; i < count && used < TK_NAME_MAX - 1; i++) {
		size_t len;

		if (!(sets[i / 64] >> (i % 64) & 1))
			continue;
		if (used)
			out[used++] = ',';
		len = strnlen(names[i], TK_NAME_MAX - 1 - used);
		memcpy(out + used, names[i], len);
		used += len;
	}
}

/* ---------------------------------------------------------------- users and groups */

/* 0, -ENOENT when there is none of that name, or -errno of the look-up. */
static int account_find(const struct tk_user_spec *spec, char *room, uint32_t *ret_id)
{
	struct passwd user, *found_user = NULL;
	struct group group, *found_group = NULL;
	int r;

	if (tk_is_id(spec->name, ret_id))
		return 0;
	if (spec->group)
		r = getgrnam_r(spec->name, &group, room, ENTRY_ROOM, &found_group);
	else
		r = getpwnam_r(spec->name, &user, room, ENTRY_ROOM, &found_user);
	if (found_group || found_user) {
		*ret_id = found_group ? found_group->gr_gid : found_user->pw_uid;
		return 0;
	}
	/* getpwnam(3): these, too, are seen for "no such name". */
	return r == 0 || r == ESRCH || r == EBADF || r == EPERM ? -ENOENT : -r;
}

static void account_name(uint32_t id, bool is_group, char *room, char out[TK_NAME_MAX])
{
	struct passwd user, *found_user = NULL;
	struct group group, *found_group = NULL;

	if (is_group)
		getgrgid_r(id, &group, room, ENTRY_ROOM, &found_group);
	else
		getpwuid_r(id, &user, room, ENTRY_ROOM, &found_user);
	if (found_group)
		text_cut(out, TK_NAME_MAX, found_group->gr_name);
	else if (found_user)
		text_cut(out, TK_NAME_MAX, found_user->pw_name);
	else
		snprintf(out, TK_NAME_MAX, "%u", id);
}

static int id_hit_compare(const void *a, const void *b)
{
	const struct id_hit *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int accounts_find(const struct tk_compiled *compiled, bool groups, char *room,
			 struct tk_problems *problems, struct id_hit **ret_hits, size_t *ret_count)
{
	TK_FREE struct id_hit *hits = calloc(compiled->user_count + 1, sizeof(*hits));
	size_t count = 0;
	int r;

	if (!hits)
		return -ENOMEM;
	for (size_t i = 0; i < compiled->user_count; i++) {
		const struct tk_user_spec *spec = &compiled->users[i];
		const char *what = groups ? "group" : "user";

		if (spec->group != groups)
			continue;
		r = account_find(spec, room, &hits[count].id);
		if (!r)
			hits[count++].set = spec->set;
		else if (r == -ENOENT)
			r = tk_problem_add(problems, true, spec->pointer, "no %s \"%s\" on this machine yet",
					   what, TK_SHOW(spec->name));
		else
			r = tk_problem_add(problems, true, spec->pointer,
					   "%s \"%s\" could not be looked up: %s", what, TK_SHOW(spec->name),
					   strerror(-r));
		if (r < 0)
			return r;
	}
	qsort(hits, count, sizeof(*hits), id_hit_compare);
	*ret_hits = hits;
	*ret_count = count;
	hits = NULL;
	return 0;
}

static int accounts_resolve(const struct tk_compiled *compiled, bool groups, struct tk_problems *problems,
			    struct tk_member_id **members, size_t *count)
{
	TK_FREE char *room = malloc(ENTRY_ROOM);
	TK_FREE struct id_hit *hits = NULL;
	size_t hit_count;
	int r;

	if (!room)
		return -ENOMEM;
	r = accounts_find(compiled, groups, room, problems, &hits, &hit_count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < hit_count; i++) {
		struct tk_member_id *member = *count ? &(*members)[*count - 1] : NULL;

		if (!member || member->id != hits[i].id) {
			member = tk_append(members, count, sizeof(*member));
			if (!member)
				return -ENOMEM;
			member->id = hits[i].id;
			account_name(member->id, groups, room, member->sets.name);
		}
		set_add(member->sets.sets, hits[i].set);
	}
	for (size_t i = 0; i < *count; i++)
		set_names((*members)[i].sets.sets, compiled->user_sets, compiled->user_set_count,
			  (*members)[i].sets.set_names);
	return *count > TK_MAX_MEMBERS ? -E2BIG : 0;
}

/* ---------------------------------------------------------------- executables */

static int inode_compare(const struct tk_inode *x, const struct tk_inode *y)
{
	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return (x->igeneration > y->igeneration) - (x->igeneration < y->igeneration);
}

/* Equal inodes of a unit together, and of their names the first in the alphabet, so that the result is the same each
 * time. */
static int hit_compare(const void *a, const void *b)
{
	const struct tk_hit *x = a, *y = b;
	int order = (x->unit > y->unit) - (x->unit < y->unit);

	if (!order)
		order = inode_compare(&x->exe, &y->exe);
	return order ? order : strcmp(x->path, y->path);
}

static int processes_merge(const struct tk_compiled *compiled, const struct tk_hits *hits,
			   struct tk_resolved *resolved)
{
	for (size_t i = 0; i < hits->count; i++) {
		const struct tk_hit *hit = &hits->items[i];
		struct tk_member_process *member =
			resolved->process_count ? &resolved->processes[resolved->process_count - 1] : NULL;

		if (!member || member->unit != hit->unit || inode_compare(&member->exe, &hit->exe)) {
			member = tk_append(&resolved->processes, &resolved->process_count, sizeof(*member));
			if (!member)
				return -ENOMEM;
			member->exe = hit->exe;
			member->unit = hit->unit;
			member->path = strdup(hit->path);
			if (!member->path)
				return -ENOMEM;
			text_cut(member->process.path, TK_EXE_MAX, hit->path);
		}
		if (!hit->has_sha256) {
			set_add(member->process.sets, hit->set);
			continue;
		}
		/* Two digests of one file: it was written to meanwhile, and has at most one of them. */
		if (member->has_sha256 && memcmp(member->sha256, hit->sha256, sizeof(hit->sha256)))
			continue;
		member->has_sha256 = true;
		memcpy(member->sha256, hit->sha256, sizeof(member->sha256));
		set_add(member->process.digest_sets, hit->set);
	}
	for (size_t i = 0; i < resolved->process_count; i++) {
		struct tk_process *process = &resolved->processes[i].process;
		__u64 all[TK_SET_WORDS];

		for (size_t word = 0; word < TK_SET_WORDS; word++)
			all[word] = process->sets[word] | process->digest_sets[word];
		set_names(all, compiled->process_sets, compiled->process_set_count, process->set_names);
	}
	return resolved->process_count > TK_MAX_MEMBERS ? -E2BIG : 0;
}

static int processes_resolve(const struct tk_compiled *compiled, const struct tk_search *search,
			     struct tk_digests *digests, struct tk_problems *problems,
			     struct tk_resolved *resolved)
{
	struct tk_hits hits = {0};
	int r = tk_find_executables(compiled, search, digests, problems, &hits);

	if (!r && hits.count)
		qsort(hits.items, hits.count, sizeof(*hits.items), hit_compare);
	if (!r)
		r = processes_merge(compiled, &hits, resolved);
	tk_hits_free(&hits);
	return r;
}

/* ---------------------------------------------------------------- all */

void tk_resolved_free(struct tk_resolved *resolved)
{
	if (!resolved)
		return;
	free(resolved->users);
	free(resolved->groups);
	for (size_t i = 0; i < resolved->process_count; i++)
		free(resolved->processes[i].path);
	free(resolved->processes);
	free(resolved);
}

int tk_resolve_in(const struct tk_compiled *compiled, const struct tk_search *search,
		  struct tk_resolved **ret_resolved, struct tk_problems *problems)
{
	struct tk_resolved *resolved = calloc(1, sizeof(*resolved));
	const char *what = "users";
	int r;

	if (!resolved)
		return -ENOMEM;
	r = accounts_resolve(compiled, false, problems, &resolved->users, &resolved->user_count);
	if (!r) {
		what = "groups";
		r = accounts_resolve(compiled, true, problems, &resolved->groups, &resolved->group_count);
	}
	if (!r) {
		what = "executables";
		r = processes_resolve(compiled, search, NULL, problems, resolved);
	}
	if (r == -E2BIG)
		tk_problem_add(problems, false, "", "the policy's sets have more than %d %s on this machine",
			       TK_MAX_MEMBERS, what);
	if (r < 0) {
		tk_resolved_free(resolved);
		return r;
	}
	*ret_resolved = resolved;
	return 0;
}

int tk_resolve(const struct tk_compiled *compiled, struct tk_resolved **ret_resolved,
	       struct tk_problems *problems)
{
	return tk_resolve_in(compiled, &tk_search_default, ret_resolved, problems);
}

int tk_resolve_programs_in(const struct tk_compiled *compiled, const struct tk_search *search,
			   struct tk_digests *digests, struct tk_resolved **ret_resolved,
			   struct tk_problems *problems)
{
	struct tk_resolved *resolved = calloc(1, sizeof(*resolved));
	int r = resolved ? processes_resolve(compiled, search, digests, problems, resolved) : -ENOMEM;

	if (digests)
		tk_digests_turn(digests);
	if (r < 0) {
		tk_resolved_free(resolved);
		return r;
	}
	*ret_resolved = resolved;
	return 0;
}

int tk_resolve_programs(const struct tk_compiled *compiled, struct tk_digests *digests,
			struct tk_resolved **ret_resolved, struct tk_problems *problems)
{
	return tk_resolve_programs_in(compiled, &tk_search_default, digests, ret_resolved, problems);
}
