// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/marks.c - which opens reach the agent.  Owns the fanotify marks, and
 * what the kernel programs are told of them.
 *
 * The mark is on the filesystem: it covers every mount of it in every namespace from
 * the mount's first instant.  A mark on a mount would not be copied to the mount's
 * clones (KERNEL.md 4), and namespaces are made of clones.  So that opens outside guard
 * points wait for nobody, a mount that shows anything but guard points, a wide one, gets
 * a mark that ignores: those of our own namespace at once, any other when the first open
 * comes through it.  Contents of a guard point are opened through mounts inside it alone;
 * the programs refuse all others (file_open), so nothing there is missed.
 *
 * A mount becomes narrow when a guard point comes above its root.  No mark that ignores
 * may survive that, wherever the mount is.  So the programs are told that it comes, and
 * nobody marks a mount there any more; then all these marks go; and only then do the
 * programs let anybody in.
 *
 * A file that is open as plaintext, and may be written, has nothing to ask the agent either: the programs decide
 * and count, and refuse the raw view.  When it is opened again it gets a mark that ignores, on its inode, which
 * goes before the file may be sealed: who is counted before SEALING makes the programs refuse that state, and who is
 * counted later finds no mark (fsnotify_open_perm() comes after security_file_open()).  Whatever changes what a
 * file is sealed with, a policy or a guard point that comes, takes these marks away: openers bring it.
 *
 * Whether a mount is wide is asked of the programs, who look at the mount's root, and never
 * judged by what was opened through it: openers are killed while they wait, and their
 * verdicts go with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/fanotify.h>

#include "loader/agent/agent.h"

#define IGNORING (FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY)
#define IGNORE (FAN_MARK_ADD | FAN_MARK_MOUNT | IGNORING)
/*
 * A file that is open for reading alone is made writable for the sake of a mark when it is opened again this often:
 * that costs flushes, and a mark before it would let writers in.
 */
#define WORTHWHILE 64
#define CHEAP (1 << 20) /* bytes: openers wait while more is flushed */

/* ---------------------------------------------------------------- marks that ignore */

/*
 * An open that the programs have left no verdict on.  True when it is none of ours: it came through a wide
 * mount, which is ignored from now on.  By the reader of events: nothing here waits for an open.
 */
bool tk_marks_pass(struct tk_agent *agent, int event)
{
	/* As one step, or a guard point could come above the mount in between, and the mark would survive it.
	 */
	TK_HOLD(&agent->marks_lock);

	if (tk_kernel_is_narrow(agent->kernel, event) != 0)
		return false; /* or not known */
	/*
	 * The event's own description names the mount: no path in another namespace is followed.  Where the
	 * mark cannot be had, each open there costs a round trip.
	 */
	fanotify_mark(agent->fanotify, IGNORE, FAN_OPEN_PERM, event, NULL);
	return true;
}

static void ignore_own(struct tk_agent *agent, const struct tk_mount *mount)
{
	TK_AUTO_FD fd = open(mount->point, O_PATH | O_CLOEXEC);
	uint32_t id;
	char link[32];

	if (fd < 0 || tk_mount_id(fd, "", &id) || id != mount->id)
		return; /* hidden by another mount */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (tk_kernel_is_narrow(agent->kernel, fd) == 0)
		fanotify_mark(agent->fanotify, IGNORE, FAN_OPEN_PERM, AT_FDCWD, link);
}

/* The wide mounts of our own namespace, and the agent's private ones. */
static void ignore_ours(struct tk_agent *agent)
{
	struct tk_mounts mounts = {};

	for (struct tk_volume *volume = agent->volumes; volume; volume = volume->next)
		fanotify_mark(agent->fanotify, IGNORE, FAN_OPEN_PERM, volume->mount, ".");
	if (tk_mountinfo_read("/proc/self/mountinfo", &mounts))
		return;
	for (size_t i = 0; i < mounts.count; i++)
		for (struct tk_volume *volume = agent->volumes; volume; volume = volume->next)
			if (volume->dev == mounts.items[i].dev)
				ignore_own(agent, &mounts.items[i]);
	tk_mountinfo_free(&mounts);
}

/* ---------------------------------------------------------------- marks on filesystems */

static int mark_volume(struct tk_agent *agent, struct tk_volume *volume, bool wanted)
{
	unsigned int what = wanted ? FAN_MARK_ADD : FAN_MARK_REMOVE;

	if (volume->marked == wanted)
		return 0;
	if (fanotify_mark(agent->fanotify, what | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, volume->mount, "."))
		return -errno;
	volume->marked = wanted;
	return 0;
}

static bool holds_any(const struct tk_volume *volume, const struct tk_spots *spots)
{
	for (size_t i = 0; i < spots->count; i++)
		if (spots->items[i].mounted && spots->items[i].volume == volume)
			return true;
	return false;
}

/* From here on nobody takes a mount in it for a wide one; who did has left a mark. */
static int announce(struct tk_agent *agent, const struct tk_spot *spot)
{
	TK_HOLD(&agent->marks_lock);

	return tk_kernel_watch(agent->kernel, &spot->inode, TK_WATCH_COMING);
}

static int watch(struct tk_agent *agent, struct tk_spot *spot)
{
	int err = mark_volume(agent, spot->volume, true);

	if (!err)
		err = tk_kernel_watch(agent->kernel, &spot->inode, TK_WATCHED);
	if (err)
		return err;
	spot->marked = true;
	spot->trouble[0] = '\0';
	return 0;
}

/*
 * Makes opens in these guard points, and in no others, reach the agent.  True when some do that did not. What
 * fails is kept in spot->trouble, and stays closed.
 */
bool tk_marks_set(struct tk_agent *agent, struct tk_spots *spots)
{
	bool fresh = false, changed = false;
	int err = 0;

	for (size_t i = 0; i < spots->count && !err; i++)
		if (spots->items[i].mounted && !spots->items[i].marked) {
			fresh = true;
			err = announce(agent, &spots->items[i]);
		}
	if (!err && fresh &&
	    fanotify_mark(agent->fanotify, FAN_MARK_FLUSH | FAN_MARK_MOUNT, 0, AT_FDCWD, "/"))
		err = -errno;
	if (!err && fresh)
		ignore_ours(agent);
	for (size_t i = 0; i < spots->count; i++) {
		struct tk_spot *spot = &spots->items[i];
		int spot_err = err;

		if (!spot->mounted || spot->marked)
			continue;
		if (!spot_err)
			spot_err = watch(agent, spot);
		changed |= !spot_err;
		if (spot_err && !*spot->trouble) {
			snprintf(spot->trouble, sizeof(spot->trouble), "cannot be marked: %s",
				 tk_strerror(spot_err));
			tk_report(agent, "%s: guard point %s: %s", spot->path, spot->recipe.guard,
				  spot->trouble);
		}
	}
	for (struct tk_volume *volume = agent->volumes; volume; volume = volume->next)
		if (volume->marked && !holds_any(volume, spots))
			mark_volume(agent, volume, false);
	return changed;
}

/* The guard point is no more: the programs let nobody open contents by it, and mounts in it may be ignored.
 */
void tk_marks_forget(struct tk_agent *agent, struct tk_spot *spot)
{
	if (!spot->mounted)
		return;
	spot->marked = false;
	if (tk_kernel_watch(agent->kernel, &spot->inode, TK_WATCH_NONE))
		tk_report(agent, "%s: the kernel programs cannot be told that it is watched no more",
			  spot->path);
}

/* ---------------------------------------------------------------- marks on files */

static int mark_file(struct tk_agent *agent, const struct tk_file *file, unsigned int what)
{
	char link[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->path);
	return fanotify_mark(agent->fanotify, what | IGNORING, FAN_OPEN_PERM, AT_FDCWD, link) ? -errno : 0;
}

/*
 * Of a file that is open, and that is to be sealed as the present policy says.  Where the mark cannot be had each open
 * costs a round trip.
 */
void tk_marks_spare(struct tk_agent *agent, struct tk_file *file)
{
	if (file->writable && file->asked > 1 && !file->unasked &&
	    tk_file_recipe(file)->generation == agent->unasked_generation)
		file->unasked = !mark_file(agent, file, FAN_MARK_ADD);
}

bool tk_marks_worthwhile(const struct tk_file *file)
{
	return !file->writable && file->asked > WORTHWHILE && file->size <= CHEAP;
}

int tk_marks_ask_again(struct tk_agent *agent, struct tk_file *file)
{
	int err;
	TK_HOLD(&agent->lock);

	err = file->unasked ? mark_file(agent, file, FAN_MARK_REMOVE) : 0;
	if (err && err != -ENOENT)
		return err;
	file->unasked = false;
	file->asked = 0;
	return 0;
}

void tk_marks_renew(struct tk_agent *agent, uint32_t generation)
{
	TK_HOLD(&agent->lock);

	/* Of inodes alone.  It fails for bad arguments only (do_fanotify_mark()). */
	fanotify_mark(agent->fanotify, FAN_MARK_FLUSH, 0, AT_FDCWD, "/");
	agent->unasked_generation = generation;
	for (size_t i = 0; i < TK_TABLE_SIZE; i++)
		for (struct tk_file *file = agent->table[i]; file; file = file->hash_next)
			file->unasked = false;
}
