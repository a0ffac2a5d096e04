// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/mountinfo.c - reads /proc/PID/mountinfo (proc_pid_mountinfo(5)).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "loader/agent/agent.h"

void tk_mountinfo_free(struct tk_mounts *mounts)
{
	for (size_t i = 0; i < mounts->count; i++) {
		free(mounts->items[i].root);
		free(mounts->items[i].point);
	}
	free(mounts->items);
	*mounts = (struct tk_mounts){};
}

/* Space, tab, newline and backslash are written as \ooo. */
static char *unescape(const char *text)
{
	char *copy = strdup(text), *out = copy;

	if (!copy)
		return NULL;
	for (const char *in = text; *in; in++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
		    in[3] >= '0' && in[3] <= '7') {
			*out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
	return copy;
}

static int add_line(struct tk_mounts *mounts, char *line)
{
	struct tk_mount mount = {}, *items;
	unsigned int major, minor;
	char *save, *root, *point;
	int used = 0;

	if (sscanf(line, "%u %u %u:%u %n", &mount.id, &mount.parent, &major, &minor, &used) < 4 || !used)
		return -EBADMSG;
	root = strtok_r(line + used, " ", &save);
	point = strtok_r(NULL, " ", &save);
	if (!root || !point)
		return -EBADMSG;
	items = realloc(mounts->items, (mounts->count + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	mounts->items = items;
	mount.dev = major << 20 | minor;
	mount.root = unescape(root);
	mount.point = unescape(point);
	items[mounts->count++] = mount;
	return mount.root && mount.point ? 0 : -ENOMEM;
}

int tk_mountinfo_read(const char *path, struct tk_mounts *ret_mounts)
{
	struct tk_mounts mounts = {};
	TK_AUTO_TEXT line = NULL;
	size_t size = 0;
	int err = 0;
	FILE *in = fopen(path, "re");

	if (!in)
		return -errno;
	while (!err && getline(&line, &size, in) > 0)
		err = add_line(&mounts, line);
	if (!err && ferror(in))
		err = -EIO;
	fclose(in);
	if (err) {
		tk_mountinfo_free(&mounts);
		return err;
	}
	*ret_mounts = mounts;
	return 0;
}

int tk_mount_id(int fd, const char *path, uint32_t *ret_id)
{
	struct statx stx;

	if (statx(fd, path, AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_MNT_ID, &stx))
		return -errno;
	if (!(stx.stx_mask & STATX_MNT_ID))
		return -EOPNOTSUPP;
	*ret_id = (uint32_t)stx.stx_mnt_id;
	return 0;
}

const struct tk_mount *tk_mountinfo_find(const struct tk_mounts *mounts, uint32_t id)
{
	for (size_t i = 0; i < mounts->count; i++)
		if (mounts->items[i].id == id)
			return &mounts->items[i];
	return NULL;
}

bool tk_path_below(const char *dir, const char *path, const char **ret_rest)
{
	size_t len = strlen(dir);

	if (len && dir[len - 1] == '/')
		len--; /* the root */
	if (strncmp(dir, path, len) || (path[len] && path[len] != '/'))
		return false;
	path += len;
	while (*path == '/')
		path++;
	*ret_rest = path;
	return true;
}
