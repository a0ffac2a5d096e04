// SPDX-License-Identifier: GPL-2.0
/*
 * loader/shields.c - the shields of all guard points of a policy, one after the other; agent/shield.c knows how one
 * is raised.
 */
#include "loader/shields.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loader/agent/shield.h"
#include "loader/kernel/kernel.h"
#include "loader/util.h"

#define PLACE ".takakrypt-shield-"

static const char *remedy(int err)
{
	switch (err) {
	case -ENOTEMPTY:
		return "`takakrypt-bpf shield` sets it up";
	case -EOPNOTSUPP:
		return "`takakrypt-bpf doctor` says what to do, or leave \"shield\" out";
	case -TK_E_WRONG_KEY:
		return "put the version of the key that it was set up with back into the key directory";
	case -EPERM:
		return "guard a directory in it";
	default:
		return NULL;
	}
}

int tk_shields_place(const char *path, char *ret_place)
{
	const char *slash = strrchr(path, '/');
	int n;

	if (strlen(slash + 1) > NAME_MAX - strlen(PLACE))
		return -ENAMETOOLONG;
	n = snprintf(ret_place, PATH_MAX, "%.*s/" PLACE "%s", (int)(slash - path), path, slash + 1);
	return n >= PATH_MAX - 8 ? -ENAMETOOLONG : 0;
}

/* Then the guard point's tree may be the copy or the old one, and what is written to it now could be lost. */
static bool half_done(const char *path)
{
	char place[PATH_MAX];

	return !tk_shields_place(path, place) && !access(place, F_OK);
}

int tk_shields_raise(const char *verb, const struct tk_compiled *compiled, const struct tk_places *places,
		     const struct tk_keyring *ring)
{
	for (size_t i = 0; i < places->count; i++) {
		const struct tk_guard_spec *guard = &compiled->guards[places->items[i].spec];
		const char *why = NULL;
		int err;

		if (!guard->shield)
			continue;
		if (half_done(places->items[i].path))
			return tk_fail(verb, places->items[i].path, "setting up its shield was broken off",
				       "start `takakrypt-bpf shield` again");
		err = tk_shield_raise(ring, compiled->keys[compiled->encryption[guard->policy].key].id,
				      places->items[i].path, &why);
		if (err)
			return tk_fail(verb, places->items[i].path, why, remedy(err));
	}
	return TK_EXIT_DONE;
}

int tk_shields_lower(const char *verb, const struct tk_compiled *compiled, const struct tk_places *places)
{
	int code = TK_EXIT_DONE;

	for (size_t i = 0; i < places->count; i++) {
		const char *path = places->items[i].path;
		int err = compiled->guards[places->items[i].spec].shield ? tk_shield_lower(path) : 0;

		if (err == -EBUSY)
			code = tk_fail(verb, path, "files there are still open: its shield's key stays in the kernel for them",
				       "end the programs that use them (lsof +D)");
		else if (err && err != -ENODATA && err != -EOPNOTSUPP)
			code = tk_fail_err(verb, path, err);
	}
	return code;
}

int tk_shields_policy(const char *path, struct tk_compiled **ret_compiled, struct tk_places **ret_places)
{
	struct tk_problems problems = {};
	int err = tk_policy_load(path, ret_compiled, &problems);

	if (!err) {
		err = tk_places_find(*ret_compiled, ret_places, &problems);
		if (err) {
			tk_compiled_free(*ret_compiled);
			*ret_compiled = NULL;
		}
	}
	tk_problems_free(&problems);
	return err;
}

static bool is_shielded(const struct tk_compiled *compiled, const struct tk_places *places, const char *path)
{
	for (size_t i = 0; i < places->count; i++)
		if (!strcmp(places->items[i].path, path))
			return compiled->guards[places->items[i].spec].shield;
	return false;
}

int tk_shields_kept(const char *verb, const char *old_policy, const struct tk_compiled *compiled,
		    const struct tk_places *places)
{
	struct tk_compiled *old = NULL;
	struct tk_places *old_places = NULL;
	int err = tk_shields_policy(old_policy, &old, &old_places), code = TK_EXIT_DONE;

	if (err)
		return err == -ENOENT ? TK_EXIT_DONE : tk_fail_err(verb, old_policy, err);
	for (size_t i = 0; i < old_places->count && code == TK_EXIT_DONE; i++) {
		const char *path = old_places->items[i].path;

		if (old->guards[old_places->items[i].spec].shield && !is_shielded(compiled, places, path))
			code = tk_fail(verb, path, "the policy in force shields it, the new one does not",
				       "unload, and load the new one");
	}
	tk_places_free(old_places);
	tk_compiled_free(old);
	return code;
}
