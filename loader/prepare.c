// SPDX-License-Identifier: GPL-2.0
/*
 * loader/prepare.c - reads a policy, checks it against this machine and says what
 * is wrong, before anything changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/cmd.h"
#include "loader/prepare.h"
#include "loader/problems.h"
#include "loader/shields.h"
#include "loader/util.h"

int tk_need_root(const char *verb)
{
	if (geteuid() == 0)
		return TK_EXIT_DONE;
	return tk_fail(verb, "the kernel programs", "only root may do that", "use sudo");
}

const char *tk_ability_name(enum tk_ability ability)
{
	static const char *const names[] = { "leases", "fanotify permission events", "file handles",
					     "reflinks" };

	return names[ability];
}

static bool can_lease(int directory)
{
	_cleanup_close_ int fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return false;
	/* On `reload` an agent watches: it closes its own description a moment after it has allowed the open, which
	 * nobody announces. */
	for (int tries = 0; fcntl(fd, F_SETLEASE, F_WRLCK); tries++) {
		if (errno != EAGAIN || tries == 100)
			return false;
		poll(NULL, 0, 10);
	}
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return true;
}

static bool can_mark(int directory)
{
	_cleanup_close_ int group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, O_RDONLY);

	/* On the directory itself, without its children: no open of anybody waits for this. */
	return group >= 0 && fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_ONDIR, directory, NULL) == 0;
}

static bool can_handle(int directory)
{
	struct {
		struct file_handle head;
		unsigned char room[MAX_HANDLE_SZ];
	} handle = { .head.handle_bytes = MAX_HANDLE_SZ };
	int mount;

	return name_to_handle_at(directory, "", &handle.head, &mount, AT_EMPTY_PATH) == 0;
}

static bool can_clone(int directory)
{
	_cleanup_close_ int from = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	_cleanup_close_ int to = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return from >= 0 && to >= 0 && pwrite(from, "x", 1, 0) == 1 && ioctl(to, FICLONE, from) == 0;
}

int tk_try_filesystem(const char *path, bool ret_can[TK_ABILITY_COUNT])
{
	_cleanup_close_ int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (directory < 0 || fstatfs(directory, &fs))
		return -errno;
	if (fs.f_type == OVERLAYFS_SUPER_MAGIC)
		return -EOPNOTSUPP; /* a mapping belongs to the lower inode: leases lie (KERNEL.md 10) */
	if (fs.f_flags & ST_RDONLY)
		return -EROFS;
	ret_can[TK_CAN_LEASE] = can_lease(directory);
	ret_can[TK_CAN_MARK] = can_mark(directory);
	ret_can[TK_CAN_HANDLE] = can_handle(directory);
	ret_can[TK_CAN_CLONE] = can_clone(directory);
	return 0;
}

/* Control groups of version 1 say of a process what each controller says, and no unit. */
static int check_units(const char *verb, const char *path, const struct tk_compiled *compiled)
{
	if (!compiled->unit_count || !access("/sys/fs/cgroup/cgroup.controllers", F_OK))
		return TK_EXIT_DONE;
	return tk_fail(verb, path,
		       "it names systemd units, and this machine does not have cgroup v2 at /sys/fs/cgroup",
		       "boot with systemd.unified_cgroup_hierarchy=1, or leave \"unit\" out");
}

static int check_filesystem(const char *verb, const char *path)
{
	bool can[TK_ABILITY_COUNT] = {};
	char why[128];
	int err = tk_try_filesystem(path, can);

	if (err == -EOPNOTSUPP)
		return tk_fail(verb, path, "overlayfs cannot say who has a file open",
			       "put the guard point on ext4, xfs or btrfs");
	if (err == -EROFS)
		return tk_fail(verb, path, "its filesystem is read-only, so nothing in it could be encrypted or opened",
			       "remount it writable");
	if (err)
		return tk_fail_err(verb, path, err);
	for (int i = 0; i < TK_CAN_CLONE; i++) {
		if (can[i])
			continue;
		snprintf(why, sizeof(why), "its filesystem has no %s", tk_ability_name(i));
		return tk_fail(verb, path, why, "put the guard point on ext4, xfs or btrfs");
	}
	return TK_EXIT_DONE;
}

/* A mount of a filesystem that has been tried may still be read-only by itself. */
static int check_mount(const char *verb, const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs))
		return tk_fail_err(verb, path, -errno);
	if (fs.f_flags & ST_RDONLY)
		return tk_fail(verb, path, "it is mounted read-only, so nothing in it could be encrypted or opened",
			       "remount it writable");
	return TK_EXIT_DONE;
}

/* Each filesystem is tried once, however many guard points it holds. */
static int check_places(const char *verb, const struct tk_places *places)
{
	uint32_t *tried = calloc(places->count + 1, sizeof(*tried));
	int code = tried ? TK_EXIT_DONE : tk_fail_err(verb, "the guard points", -ENOMEM);
	size_t count = 0;

	for (size_t i = 0; code == TK_EXIT_DONE && i < places->count; i++) {
		uint32_t dev = places->items[i].inode.dev;
		size_t at = 0;

		while (at < count && tried[at] != dev)
			at++;
		if (at < count) {
			code = check_mount(verb, places->items[i].path);
			continue;
		}
		code = check_filesystem(verb, places->items[i].path);
		tried[count++] = dev;
	}
	free(tried);
	return code;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct tk_place *)a)->path, ((const struct tk_place *)b)->path);
}

/* The guard point that the path lies below, NULL: none, or it is one itself.  places: sorted by path. */
static const struct tk_place *place_above(const struct tk_places *places, const char *path)
{
	_cleanup_free_ char *above = strdup(path);
	struct tk_place key = {.path = above};
	const struct tk_place *found = NULL;
	char *slash;

	if (above && bsearch(&key, places->items, places->count, sizeof(key), by_path))
		return NULL;
	while (above && !found && (slash = strrchr(above, '/')) && slash != above) {
		*slash = '\0';
		found = bsearch(&key, places->items, places->count, sizeof(key), by_path);
	}
	return found;
}

/*
 * What is mounted inside a guard point has another root, so no walk upwards from there meets the guard point: it
 * would be unguarded, and look as if it were not.  Once a policy is in force such mounts are refused (sb_mount).
 */
static int check_mounts(const char *verb, const struct tk_places *places)
{
	struct tk_places sorted = {calloc(places->count + 1, sizeof(*sorted.items)), places->count};
	struct tk_mounts mounts = {0};
	int code = TK_EXIT_DONE, err = sorted.items ? tk_mountinfo_read("/proc/self/mountinfo", &mounts) : -ENOMEM;

	if (err) {
		code = tk_fail_err(verb, "/proc/self/mountinfo", err);
	} else if (places->count) {
		memcpy(sorted.items, places->items, places->count * sizeof(*sorted.items));
		qsort(sorted.items, sorted.count, sizeof(*sorted.items), by_path);
	}
	for (size_t i = 0; code == TK_EXIT_DONE && i < mounts.count; i++) {
		const struct tk_place *above = place_above(&sorted, mounts.items[i].point);
		char why[512];

		/* The agent's own, of a guard point that the policy in force has, shows what is there anyway. */
		if (!above || tk_mount_below_itself(&mounts, &mounts.items[i]))
			continue;
		snprintf(why, sizeof(why), "it is mounted inside the guard point %.300s and would not be guarded",
			 above->path);
		code = tk_fail(verb, mounts.items[i].point, why,
			       "unmount it, or make it a guard point of its own");
	}
	tk_mountinfo_free(&mounts);
	free(sorted.items);
	return code;
}

/* And, with them, the shields: before the filesystems are tried, as nothing can be made in a directory whose key is not
 * there. */
static int check_keys(const char *verb, const struct tk_compiled *compiled, const struct tk_places *places)
{
	_cleanup_keyring_ struct tk_keyring *ring = NULL;
	int err = tk_keyring_new(&ring);

	if (err)
		return tk_fail_err(verb, "the keys", err);
	for (size_t i = 0; i < compiled->key_count; i++) {
		const struct tk_key_spec *key = &compiled->keys[i];
		const char *why = NULL;
		char on[512];

		/* Only the agent's service has its credentials: the agent reports what is wrong with them. */
		if (tk_key_source_is_services(&key->source))
			continue;
		err = tk_keyring_add_source(ring, key->id, &key->source, &why);
		if (!err)
			continue;
		snprintf(on, sizeof(on), "key %s from %s", key->id, key->source.where);
		return tk_fail(verb, on, why ? why : tk_strerror(err),
			       err == -ENOENT ? "`takakrypt-bpf key generate` makes a key" : tk_advice(err));
	}
	return tk_shields_raise(verb, compiled, places, ring);
}

static int compile(const char *verb, const char *path, struct tk_prepared *prepared)
{
	struct tk_problems problems = {};
	int err = tk_policy_load(path, &prepared->compiled, &problems);

	if (!err)
		err = tk_resolve(prepared->compiled, &prepared->resolved, &problems);
	if (!err)
		err = tk_places_find(prepared->compiled, &prepared->places, &problems);
	tk_problems_print(stderr, path, &problems);
	tk_problems_free(&problems);
	if (err == -EINVAL)
		return tk_fail(verb, path, "the policy has errors", "mend them; nothing was changed");
	return err ? tk_fail_err(verb, path, err) : TK_EXIT_DONE;
}

int tk_prepare(const char *verb, const char *path, struct tk_prepared *ret_prepared)
{
	bool loaded = !access(TK_BPFFS_DIR, F_OK); /* then the kernel has keys that are in use */
	struct tk_prepared prepared = {};
	int code = compile(verb, path, &prepared);

	if (code == TK_EXIT_DONE)
		code = check_units(verb, path, prepared.compiled);
	if (code == TK_EXIT_DONE)
		code = check_keys(verb, prepared.compiled, prepared.places);
	if (code == TK_EXIT_DONE)
		code = check_places(verb, prepared.places);
	if (code == TK_EXIT_DONE)
		code = check_mounts(verb, prepared.places);
	if (code != TK_EXIT_DONE) {
		if (!loaded && prepared.places)
			tk_shields_lower(verb, prepared.compiled, prepared.places);
		tk_prepared_free(&prepared);
		return code;
	}
	*ret_prepared = prepared;
	return TK_EXIT_DONE;
}

void tk_prepared_free(struct tk_prepared *prepared)
{
	tk_compiled_free(prepared->compiled);
	tk_resolved_free(prepared->resolved);
	tk_places_free(prepared->places);
	*prepared = (struct tk_prepared){};
}

static int copy_all(int in, int out)
{
	char buf[65536];
	ssize_t got;

	while ((got = read(in, buf, sizeof(buf))) > 0)
		for (ssize_t done = 0; done < got;) {
			ssize_t put = write(out, buf + done, got - done);

			if (put < 0)
				return -errno;
			done += put;
		}
	return got < 0 ? -errno : 0;
}

int tk_policy_stage(const char *path, uint32_t generation)
{
	_cleanup_close_ int in = open(path, O_RDONLY | O_CLOEXEC), out = -1;
	char staged[64];
	int err;

	if (in < 0)
		return -errno;
	snprintf(staged, sizeof(staged), TK_POLICY_STAGED, generation);
	unlink(staged);
	out = open(staged, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		return -errno;
	err = copy_all(in, out);
	if (err)
		unlink(staged);
	return err;
}

int tk_policy_commit(uint32_t generation)
{
	char staged[64];

	snprintf(staged, sizeof(staged), TK_POLICY_STAGED, generation);
	return rename(staged, TK_POLICY_FILE) && errno != ENOENT ? -errno : 0;
}

int tk_policy_lock(const char *verb)
{
	int fd;

	if (mkdir(TK_RUN_DIR, 0700) && errno != EEXIST)
		return tk_fail_err(verb, TK_RUN_DIR, -errno);
	fd = open(TK_RUN_DIR "/policy.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
		return TK_EXIT_DONE; /* the end of the process lets go of it */
	if (errno != EWOULDBLOCK)
		return tk_fail_err(verb, TK_RUN_DIR "/policy.lock", -errno);
	return tk_fail(verb, "the policy", "another load, reload or unload is at work", "wait until it has ended");
}
