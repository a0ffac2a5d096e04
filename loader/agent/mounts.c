// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/mounts.c - gives each guard point a mount of its own, and the agent a
 * private one.  Owns the bind mounts.
 *
 * A guard point that is no mount's root becomes a bind mount of itself, so that opens
 * inside can be told from those outside by their mount (marks.c): only the former wait
 * for the agent.  The bind mount stays when the agent ends, so that nothing changes for
 * those who work inside; the next agent recognises it.
 *
 * The private mount is a detached clone of the mount that holds the guard point,
 * taken from below the bind mounts; the journal lives at its root.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "loader/agent/agent.h"

static void trouble(struct tk_spot *spot, const char *what, int err)
{
	snprintf(spot->trouble, sizeof(spot->trouble), "%s: %s", what, tk_strerror(err));
}

static char *join(const char *dir, const char *rest)
{
	char *path;

	if (!*rest)
		return strdup(dir);
	return asprintf(&path, "%s/%s", strcmp(dir, "/") ? dir : "", rest) < 0 ? NULL : path;
}

const struct tk_mount *tk_mount_below_itself(const struct tk_mounts *mounts, const struct tk_mount *mount)
{
	const struct tk_mount *parent = tk_mountinfo_find(mounts, mount->parent);
	TK_AUTO_TEXT own = NULL;
	const char *rest;

	if (!parent || parent == mount || parent->dev != mount->dev ||
	    !tk_path_below(parent->point, mount->point, &rest))
		return NULL;
	own = join(parent->root, rest);
	return own && !strcmp(own, mount->root) ? parent : NULL;
}

static struct tk_volume *volume_find(const struct tk_agent *agent, uint32_t dev)
{
	struct tk_volume *volume = agent->volumes;

	while (volume && volume->dev != dev)
		volume = volume->next;
	return volume;
}

static void volume_free(struct tk_volume *volume)
{
	tk_fd_close(&volume->vault);
	tk_fd_close(&volume->mount);
	tk_fd_close(&volume->tree);
	free(volume->point);
	free(volume);
}

static int volume_open(struct tk_volume *volume)
{
	struct mount_attr private = {.propagation = MS_PRIVATE};
	struct tk_handle handle;

	volume->tree =
		open_tree(AT_FDCWD, volume->point, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);
	if (volume->tree < 0)
		return -errno;
	/* So that no bind mount propagates into it.  5.10 has no mount_setattr(2), and no such propagation.
	 */
	if (mount_setattr(volume->tree, "", AT_EMPTY_PATH, &private, sizeof(private)) && errno != ENOSYS)
		return -errno;
	volume->mount = openat(volume->tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (volume->mount < 0)
		return -errno;
	return tk_handle_of(volume->mount, "", &handle);
}

/* The filesystem below `base`; one volume a filesystem, whatever the number of its mounts. */
static int volume_make(struct tk_agent *agent, const struct tk_mount *base, struct tk_volume **ret_volume)
{
	struct tk_volume *volume = calloc(1, sizeof(*volume));
	int err;

	if (!volume)
		return -ENOMEM;
	volume->dev = base->dev;
	volume->tree = volume->mount = volume->vault = -1;
	pthread_mutex_init(&volume->flush_lock, NULL);
	volume->point = strdup(base->point);
	err = volume->point ? volume_open(volume) : -ENOMEM;
	if (!err)
		err = tk_vault_open(volume);
	if (err && err != -EROFS) {
		volume_free(volume);
		return err;
	}
	volume->next = agent->volumes;
	agent->volumes = volume;
	*ret_volume = volume;
	return 0;
}

/* Nobody but the agent may reach the journal; each generation must be told. */
void tk_vaults_announce(struct tk_agent *agent)
{
	for (struct tk_volume *volume = agent->volumes; volume; volume = volume->next) {
		struct tk_inode inode;
		int err;

		if (volume->vault < 0 || volume->vault_generation == agent->now.generation)
			continue;
		err = tk_inode_in(volume, volume->vault, &inode);
		if (!err)
			err = tk_kernel_add_vault(agent->kernel, &inode);
		if (err)
			tk_report(agent, "%s: the journal cannot be closed to others: %s", volume->point,
				  tk_strerror(err));
		else
			volume->vault_generation = agent->now.generation;
	}
}

/*
 * Recursively where something is mounted inside, which would be hidden; only there, because the kernel then
 * looks at every mount on this one, be they ten thousand.
 */
static int bind_onto_itself(struct tk_spot *spot, const struct tk_mounts *mounts)
{
	unsigned long flags = MS_BIND;
	const char *rest;

	for (size_t i = 0; i < mounts->count; i++)
		if (tk_path_below(spot->path, mounts->items[i].point, &rest))
			flags |= MS_REC;
	return mount(spot->path, spot->path, NULL, flags, NULL) ? -errno : 0;
}

static bool is_on_top(const struct tk_mount *mount)
{
	uint32_t id;

	return !tk_mount_id(AT_FDCWD, mount->point, &id) && id == mount->id;
}

/*
 * The mount that shows most of base's filesystem.  The journal lies at its root, so that it is found again
 * whichever guard point comes first, and in whatever order filesystems were mounted.
 */
static const struct tk_mount *widest(const struct tk_mounts *mounts, const struct tk_mount *base)
{
	const struct tk_mount *best = base;

	for (size_t i = 0; i < mounts->count; i++) {
		const struct tk_mount *mount = &mounts->items[i];

		if (mount->dev == base->dev && strlen(mount->root) < strlen(best->root) && is_on_top(mount))
			best = mount;
	}
	return best;
}

/*
 * Another journal of the same filesystem, left when the widest mount was another one, may hold the only copy of
 * a file.  Until that one is visible and chosen again nothing there may be opened.
 */
static int other_journal(struct tk_agent *agent, const struct tk_mounts *mounts, const struct tk_mount *chosen)
{
	for (size_t i = 0; i < mounts->count; i++) {
		const struct tk_mount *mount = &mounts->items[i];
		int records;

		if (mount->dev != chosen->dev || !strcmp(mount->root, chosen->root) || !is_on_top(mount))
			continue;
		records = tk_vault_in_use(mount->point);
		if (records < 0) {
			tk_report(agent, "%s: whether a journal lies here cannot be found out: %s", mount->point,
				  tk_strerror(records));
			return records;
		}
		if (records > 0) {
			tk_report(agent, "%s: a journal with %d records lies here, but the one in use would be at %s; "
					 "nothing on this filesystem is opened until it is empty or moved there",
				  mount->point, records, chosen->point);
			return -EUCLEAN;
		}
	}
	return 0;
}

/*
 * The mount that shows `path`.  `mounts` may be empty, or from before the last bind mounts: it is read anew when
 * the mount is not in it, once for most of ten thousand guard points.
 */
static const struct tk_mount *mount_of(const char *path, struct tk_mounts *mounts)
{
	const struct tk_mount *mount;
	uint32_t id;

	if (tk_mount_id(AT_FDCWD, path, &id))
		return NULL;
	mount = tk_mountinfo_find(mounts, id);
	if (mount)
		return mount;
	tk_mountinfo_free(mounts);
	return tk_mountinfo_read("/proc/self/mountinfo", mounts) ? NULL : tk_mountinfo_find(mounts, id);
}

static int place(struct tk_agent *agent, struct tk_spot *spot, struct tk_mounts *mounts, const char **ret_what)
{
	const struct tk_mount *own, *base, *below;
	const char *rest;
	int err = 0;

	*ret_what = "cannot be found among the mounts";
	own = base = mount_of(spot->path, mounts);
	if (!own || own->dev != spot->inode.dev || !tk_path_below(own->point, spot->path, &rest))
		return -ESTALE;
	while ((below = tk_mount_below_itself(mounts, base)))
		base = below;
	*ret_what =
		"its filesystem cannot be worked on (file handles and a place for the journal are needed)";
	spot->volume = volume_find(agent, base->dev);
	if (!spot->volume) {
		base = widest(mounts, base);
		err = other_journal(agent, mounts, base);
	}
	if (!err && !spot->volume)
		err = volume_make(agent, base, &spot->volume);
	if (err)
		return err;
	*ret_what = "cannot be bind mounted";
	return *rest ? bind_onto_itself(spot, mounts) : 0;
}

/*
 * Makes the guard point the root of a mount.  What fails is kept in spot->trouble.  mounts: empty, or what an
 * earlier call has filled it with; the caller frees it.
 */
int tk_mounts_add(struct tk_agent *agent, struct tk_spot *spot, struct tk_mounts *mounts)
{
	const char *what;
	struct stat st;
	int err;

	/* Also of one that cannot be watched: the sweep of an outer one must know it and stop there. */
	if (!stat(spot->path, &st))
		spot->st_dev = st.st_dev;
	err = place(agent, spot, mounts, &what);
	if (err) {
		trouble(spot, what, err);
		return err;
	}
	spot->mounted = true;
	spot->trouble[0] = '\0';
	return 0;
}

/* Takes the bind mount away; those who have files open there keep them.  mounts: as tk_mounts_add(). */
void tk_mounts_remove(struct tk_spot *spot, struct tk_mounts *mounts)
{
	const struct tk_mount *own;

	if (!spot->mounted)
		return;
	spot->mounted = false;
	/* Another filesystem may be mounted there by now. */
	own = mount_of(spot->path, mounts);
	if (own && own->dev == spot->inode.dev && !strcmp(own->point, spot->path) && tk_mount_below_itself(mounts, own))
		umount2(spot->path, MNT_DETACH | UMOUNT_NOFOLLOW);
}
