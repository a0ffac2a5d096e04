// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/who.c - users and groups as this machine knows them; the rest of explain.c.
 */
#include "loader/study/explain_internal.h"
#include "loader/util.h"

#include <errno.h>
#include <grp.h>
#include <string.h>

int tk_find_user(const char *name, uint32_t *ret_uid, const struct passwd **ret_passwd)
{
	uint64_t uid;
	const struct passwd *found;

	if (tk_parse_u64(name, UINT32_MAX - 1, &uid) == 0) {
		*ret_uid = (uint32_t)uid;
		*ret_passwd = getpwuid((uid_t)uid);
		return 0;
	}
	found = getpwnam(name);
	if (!found)
		return -ESRCH;
	*ret_uid = found->pw_uid;
	*ret_passwd = found;
	return 0;
}

static int find_group(const char *name, gid_t *ret_gid)
{
	uint64_t gid;
	const struct group *found;

	if (tk_parse_u64(name, UINT32_MAX - 1, &gid) == 0) {
		*ret_gid = (gid_t)gid;
		return 0;
	}
	found = getgrnam(name);
	if (!found)
		return -ESRCH;
	*ret_gid = found->gr_gid;
	return 0;
}

int tk_groups_of_user(const struct passwd *user, gid_t **ret_gids, size_t *ret_count)
{
	int count = 64;

	for (;;) {
		_cleanup_free_ gid_t *gids = calloc((size_t)count, sizeof(*gids));
		int room = count;

		if (!gids)
			return -ENOMEM;
		if (getgrouplist(user->pw_name, user->pw_gid, gids, &count) >= 0) {
			*ret_gids = TK_TAKE_PTR(gids);
			*ret_count = (size_t)count;
			return 0;
		}
		if (count <= room)
			count = 2 * room;
	}
}

int tk_groups_of_list(const char *list, gid_t **ret_gids, size_t *ret_count)
{
	_cleanup_free_ char *copy = strdup(list);
	_cleanup_free_ gid_t *gids = calloc(strlen(list) + 1, sizeof(*gids));
	size_t count = 0;
	char *rest = copy, *name;

	if (!copy || !gids)
		return -ENOMEM;
	while ((name = strsep(&rest, ","))) {
		if (*name && find_group(name, &gids[count++]) < 0)
			return -ESRCH;
	}
	*ret_gids = TK_TAKE_PTR(gids);
	*ret_count = count;
	return 0;
}

int tk_groups_of_uid(uint32_t uid, gid_t gid, gid_t **ret_gids, size_t *ret_count)
{
	const struct passwd *user = getpwuid(uid);
	gid_t *alone;

	if (user)
		return tk_groups_of_user(user, ret_gids, ret_count);
	alone = malloc(sizeof(*alone));
	if (!alone)
		return -ENOMEM;
	*alone = gid;
	*ret_gids = alone;
	*ret_count = 1;
	return 0;
}
