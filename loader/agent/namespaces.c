// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/namespaces.c - finds every mount, in whatever namespace, that shows a
 * guard point, and marks it.  Owns the list of mounts the kernel programs let through.
 *
 * Marks are not copied to clones of a mount (KERNEL.md 4), and containers are made
 * of clones.  A mount that also shows what lies outside guard points is never marked:
 * every open there would wait.  The plaintext view stays refused through those.
 *
 * Paths in another namespace are its owner's to arrange: they are resolved within its
 * root, and what was reached is marked only if it is the mount that was meant.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/syscall.h>

#include "loader/agent/agent.h"

struct tk_watched {
	uint32_t id;
	bool seen;
};

/* A mount namespace as one of its processes sees it. */
struct view {
	ino_t ns;
	dev_t root_dev;
	ino_t root_ino;
};

struct views {
	struct view *items;
	size_t count;
};

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

/* Where the mount is among the watched, which are sorted by id, or would have its place. */
static size_t watched_position(const struct tk_agent *agent, uint32_t id)
{
	size_t low = 0, high = agent->watched_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (agent->watched[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_watched(struct tk_agent *agent, uint32_t id, bool keep)
{
	size_t at = watched_position(agent, id);

	if (at == agent->watched_count || agent->watched[at].id != id)
		return false;
	agent->watched[at].seen |= keep;
	return true;
}

/* Tells the programs that opens through this mount reach the agent. */
int tk_mount_watch(struct tk_agent *agent, uint32_t id)
{
	size_t at = watched_position(agent, id);
	struct tk_watched *items;
	int err;

	if (is_watched(agent, id, true))
		return 0;
	items = realloc(agent->watched, (agent->watched_count + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	agent->watched = items;
	err = tk_kernel_watch_mount(agent->kernel, id, true);
	if (err)
		return err;
	memmove(&items[at + 1], &items[at], (agent->watched_count - at) * sizeof(*items));
	items[at] = (struct tk_watched){.id = id, .seen = true};
	agent->watched_count++;
	return 0;
}

/* A mount id that is free again may come back as another mount: its mark is gone. */
static void forget_unseen(struct tk_agent *agent)
{
	size_t kept = 0;

	for (size_t i = 0; i < agent->watched_count; i++) {
		if (agent->watched[i].seen)
			agent->watched[kept++] = agent->watched[i];
		else
			tk_kernel_watch_mount(agent->kernel, agent->watched[i].id, false);
	}
	agent->watched_count = kept;
}

/* flag: FAN_MARK_ADD or FAN_MARK_REMOVE. */
static int mark_mount(struct tk_agent *agent, int root, const struct tk_mount *mount, unsigned int flag)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	TK_AUTO_FD fd = -1;
	uint32_t id = 0;
	char link[32];
	int err;

	fd = (int)syscall(SYS_openat2, root, mount->point, &how, sizeof(how));
	if (fd < 0)
		return -errno;
	err = tk_mount_id(fd, "", &id);
	if (err || id != mount->id)
		return err ? err : -ESTALE;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return fanotify_mark(agent->fanotify, flag | FAN_MARK_MOUNT, FAN_OPEN_PERM, AT_FDCWD, link) ? -errno
												    : 0;
}

/* By filesystem and place in it. */
static int by_root(const void *a, const void *b)
{
	const struct tk_spot *one = *(const struct tk_spot *const *)a, *other = *(const struct tk_spot *const *)b;

	if (one->inode.dev != other->inode.dev)
		return one->inode.dev < other->inode.dev ? -1 : 1;
	return strcmp(one->root, other->root);
}

/* The marked guard points, sorted by_root. */
struct roots {
	const struct tk_spot **items;
	size_t count;
};

static int roots_make(const struct tk_agent *agent, struct roots *ret_roots)
{
	struct roots roots = {.items = calloc(agent->now.count + 1, sizeof(*roots.items))};

	if (!roots.items)
		return -ENOMEM;
	for (size_t i = 0; i < agent->now.count; i++)
		if (agent->now.items[i].marked)
			roots.items[roots.count++] = &agent->now.items[i];
	qsort(roots.items, roots.count, sizeof(*roots.items), by_root);
	*ret_roots = roots;
	return 0;
}

/* A guard point that a mount shows some of, and nothing else: one whose root is the mount's, or above it. */
static const struct tk_spot *shown(const struct roots *roots, const struct tk_mount *mount)
{
	TK_AUTO_TEXT path = strdup(mount->root);
	struct tk_spot key = {.inode.dev = mount->dev, .root = path};
	const struct tk_spot *wanted = &key, **found;

	while (path) {
		char *slash = strrchr(path, '/');

		found = bsearch(&wanted, roots->items, roots->count, sizeof(*roots->items), by_root);
		if (found)
			return *found;
		if (!slash || !path[1])
			return NULL;
		slash[slash == path] = '\0'; /* "/a" is followed by "/" */
	}
	return NULL;
}

static void scan_mount(struct tk_agent *agent, const struct roots *roots, int root,
		       const struct tk_mount *mount, const char *pid)
{
	const struct tk_spot *spot = shown(roots, mount);
	int err = 0;

	if (!spot) {
		/* Its guard point is no more: opens there are nobody's business. */
		if (is_watched(agent, mount->id, false))
			mark_mount(agent, root, mount, FAN_MARK_REMOVE);
		return;
	}
	/*
	 * Marked again even if its id is watched: ids are used again at once, and the mount that had this one
	 * before took its mark with it.  A mark that is there stays as it is.
	 */
	if (!spot->whole)
		err = mark_mount(agent, root, mount, FAN_MARK_ADD);
	if (!err)
		err = tk_mount_watch(agent, mount->id);
	if (err == -ENOENT || err == -ESTALE) /* hidden by another mount: its mark, if it has one, stays */
		is_watched(agent, mount->id, true);
	else if (err)
		tk_report(agent, "%s in the namespace of process %s cannot be marked: %s", mount->point, pid,
			  tk_strerror(err));
}

static void scan_process(struct tk_agent *agent, const struct roots *roots, const char *pid)
{
	struct tk_mounts mounts = {};
	TK_AUTO_FD root = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/root", pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%s/mountinfo", pid);
	if (root < 0 || tk_mountinfo_read(path, &mounts))
		return; /* it has ended */
	for (size_t i = 0; i < mounts.count; i++)
		scan_mount(agent, roots, root, &mounts.items[i], pid);
	tk_mountinfo_free(&mounts);
}

/* True the first time; a process that has ended counts as seen. */
static bool new_view(struct views *views, int proc, const char *pid)
{
	struct view view, *items;
	struct stat ns, root;
	char path[64];

	snprintf(path, sizeof(path), "%s/ns/mnt", pid);
	if (fstatat(proc, path, &ns, 0))
		return false;
	snprintf(path, sizeof(path), "%s/root", pid);
	if (fstatat(proc, path, &root, 0))
		return false;
	view = (struct view){.ns = ns.st_ino, .root_dev = root.st_dev, .root_ino = root.st_ino};
	for (size_t i = 0; i < views->count; i++)
		if (views->items[i].ns == view.ns && views->items[i].root_dev == view.root_dev &&
		    views->items[i].root_ino == view.root_ino)
			return false;
	items = realloc(views->items, (views->count + 1) * sizeof(*items));
	if (!items)
		return true;
	views->items = items;
	items[views->count++] = view;
	return true;
}

/* Looks at every mount namespace that has a process in it. */
void tk_namespaces_scan(struct tk_agent *agent)
{
	struct views views = {};
	struct dirent *entry;
	struct roots roots;
	DIR *proc = opendir("/proc");

	if (!proc)
		return;
	if (roots_make(agent, &roots)) {
		closedir(proc);
		return;
	}
	for (size_t i = 0; i < agent->watched_count; i++)
		agent->watched[i].seen = false;
	if (new_view(&views, dirfd(proc), "self"))
		scan_process(agent, &roots, "self");
	while ((entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]) && new_view(&views, dirfd(proc), entry->d_name))
			scan_process(agent, &roots, entry->d_name);
	closedir(proc);
	free(views.items);
	free(roots.items);
	forget_unseen(agent);
}
