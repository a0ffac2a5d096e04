// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_shield.c - `shield`: the tree of a guard point moves into a directory that has an fscrypt policy.
 *
 * Beside the guard point lies PLACE/tree while it works (PLACE is root's alone): first the copy, then, from the
 * exchange on, the old tree, which is called "old" once it is certain that nobody wrote to it meanwhile.  So what is
 * there tells how far a killed run had come: the guard point has no policy, the copy is thrown away and begun anew;
 * it has one, the old tree is looked at and removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/agent/shield.h"
#include "loader/cmd.h"
#include "loader/kernel/kernel.h"
#include "loader/prepare.h"
#include "loader/shields.h"
#include "loader/trees/copy.h"
#include "loader/options.h"
#include "loader/util.h"

static const char verb[] = "shield";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf shield - put the tree of a guard point under fscrypt\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf shield [--undo] POLICY GUARD-POINT\n"
	"\n"
	"DESCRIPTION\n"
	"    For a guard point with \"shield\": \"fscrypt\" that is not empty (load sets up an\n"
	"    empty one by itself); GUARD-POINT is its name or its path. Copies the tree into\n"
	"    a directory with an fscrypt policy beside it, holds the copy against it (contents,\n"
	"    owners, modes, times, hard links, ACLs and extended attributes), exchanges the two\n"
	"    in one step and removes the old one. No policy may be loaded, and nothing may use\n"
	"    the tree; who writes to it meanwhile is noticed, and nothing is lost. It needs as\n"
	"    much room again.\n"
	"\n"
	"    When it was broken off, start it again: it goes on or begins anew, whichever is\n"
	"    right. The blocks of the old tree are freed, not overwritten.\n"
	"\n"
	"OPTIONS\n"
	"    --undo      remove the copy that an earlier run has left, and do no more\n"
	"    -h, --help  this text\n"
	"\n" TK_HELP_EXIT_CODES;

struct work {
	char path[PATH_MAX], above[PATH_MAX];  /* of the guard point, and the directory it is in */
	char place[PATH_MAX], tree[PATH_MAX], old[PATH_MAX];
	const char *key_id;
	struct tk_keyring *ring;
};

/* ---------------------------------------------------------------- what is there */

static bool is_shielded(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	uint8_t identifier[TK_SHIELD_ID];

	return fd >= 0 && !tk_shield_of(fd, identifier);
}

static bool exists(const char *path)
{
	return !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);
}

static int sync_directory(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) ? -errno : 0;
}

/* Whoever could exchange a directory on the way would have root copy what he likes to where he likes. */
static int check_above(const char *path)
{
	char above[PATH_MAX];
	struct stat st;

	snprintf(above, sizeof(above), "%s", path);
	do {
		char *slash = strrchr(above, '/');

		slash[slash == above] = '\0';
		if (stat(above, &st))
			return tk_fail_err(verb, above, -errno);
		if (st.st_uid || (st.st_mode & 022 && !(st.st_mode & S_ISVTX)))
			return tk_fail(verb, above, "others than root can rename what is in it",
				       "let it be root's, with mode 755, until this is done");
	} while (above[1]);
	return TK_EXIT_DONE;
}

static int set_paths(struct work *work, const char *path)
{
	struct statx self;
	char *slash;
	int err;

	if (!realpath(path, work->path))
		return tk_fail_err(verb, path, -errno);
	if (statx(AT_FDCWD, work->path, 0, STATX_BASIC_STATS, &self))
		return tk_fail_err(verb, path, -errno);
	if (self.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return tk_fail(verb, path, "it is where something is mounted",
			       "unmount it; the root of a filesystem cannot have a shield, a directory in it can");
	snprintf(work->above, sizeof(work->above), "%s", work->path);
	err = tk_shields_place(work->path, work->place);
	if (err)
		return tk_fail_err(verb, path, err);
	slash = strrchr(work->above, '/');
	slash[slash == work->above] = '\0';
	strcpy(stpcpy(work->tree, work->place), "/tree");
	strcpy(stpcpy(work->old, work->place), "/old");
	return check_above(work->path);
}

/* The guard point of this name or path, its one directory and its key. */
static int find_guard(const struct tk_compiled *compiled, const struct tk_places *places, const char *name,
		      struct work *work)
{
	const struct tk_guard_spec *guard = NULL;
	const char *path = NULL;

	for (size_t i = 0; i < places->count; i++) {
		const struct tk_guard_spec *spec = &compiled->guards[places->items[i].spec];

		if (strcmp(places->items[i].path, name) && strcmp(spec->name, name))
			continue;
		if (path)
			return tk_fail(verb, name, "it stands for several directories", "name one by its path");
		guard = spec;
		path = places->items[i].path;
	}
	if (!path)
		return tk_fail(verb, name, "the policy has no guard point of that name or path that exists", NULL);
	if (!guard->shield)
		return tk_fail(verb, name, "the policy wants no shield for it", "add \"shield\": \"fscrypt\" to it");
	work->key_id = compiled->keys[compiled->encryption[guard->policy].key].id;
	return set_paths(work, path);
}

static int read_key(const struct tk_compiled *compiled, struct work *work)
{
	for (size_t i = 0; i < compiled->key_count; i++) {
		const char *why = NULL;
		int err;

		if (strcmp(compiled->keys[i].id, work->key_id))
			continue;
		err = tk_keyring_add_source(work->ring, work->key_id, &compiled->keys[i].source, &why);
		if (err)
			return tk_fail(verb, work->key_id, why ? why : tk_strerror(err), tk_advice(err));
	}
	return TK_EXIT_DONE;
}

/* ---------------------------------------------------------------- the steps */

static int raise_one(const struct work *work, const char *path)
{
	const char *why = NULL;

	return tk_shield_raise(work->ring, work->key_id, path, &why) ? tk_fail(verb, path, why, NULL) : TK_EXIT_DONE;
}

static int remove_place(const struct work *work)
{
	if (rmdir(work->place) && errno != ENOENT)
		return tk_fail_err(verb, work->place, -errno);
	sync_directory(work->above);
	return TK_EXIT_DONE;
}

/* A copy that was never put in place: what is in it is in the guard point. */
static int drop_copy(const struct work *work)
{
	int code = TK_EXIT_DONE;

	if (is_shielded(work->path))
		return tk_fail(verb, work->path, "it is done: what lies beside it is the old tree",
			       "start it without --undo, which removes that");
	if (exists(work->tree) && rmdir(work->tree)) { /* empty: killed before it got its policy */
		if (!is_shielded(work->tree))
			return tk_fail(verb, work->tree, "it is no copy of this program's", "look at it, and remove it");
		code = tk_treecopy_remove(work->tree);
	}
	return code == TK_EXIT_DONE ? remove_place(work) : code;
}

static int make_place(const struct work *work)
{
	struct stat st;

	if (mkdir(work->place, 0700) && errno != EEXIST)
		return tk_fail_err(verb, work->place, -errno);
	if (lstat(work->place, &st))
		return tk_fail_err(verb, work->place, -errno);
	if (!S_ISDIR(st.st_mode) || st.st_uid || st.st_mode & 077)
		return tk_fail(verb, work->place, "it is in the way, and not this program's", "give it another name");
	return TK_EXIT_DONE;
}

static int copy(const struct work *work)
{
	struct tk_tree_size size;
	int code = tk_treecopy_measure(work->path, &size);

	if (code == TK_EXIT_DONE)
		code = make_place(work);
	if (code == TK_EXIT_DONE && mkdir(work->tree, 0700))
		code = tk_fail_err(verb, work->tree, -errno);
	if (code == TK_EXIT_DONE)
		code = raise_one(work, work->tree);
	if (code == TK_EXIT_DONE)
		code = tk_treecopy_run(work->path, work->tree, &size);
	if (code == TK_EXIT_DONE)
		code = tk_treecopy_verify(work->path, work->tree, &size);
	return code;
}

/* Both trees are durable before, both names after it. */
static int exchange(const struct work *work)
{
	_cleanup_close_ int above = open(work->above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (above < 0 || syncfs(above) ||
	    renameat2(AT_FDCWD, work->path, AT_FDCWD, work->tree, RENAME_EXCHANGE) || fsync(above) ||
	    sync_directory(work->place))
		return tk_fail_err(verb, work->path, -errno);
	return TK_EXIT_DONE;
}

/*
 * The old tree is out of everybody's reach now; what was written to it until then would be lost.  Then both stay: which
 * of the two is right nobody can tell, as people may have begun to work in the new one.
 */
static int finish(const struct work *work)
{
	int code = TK_EXIT_DONE;

	if (exists(work->tree)) {
		code = tk_treecopy_unchanged(work->tree, work->path);
		if (code != TK_EXIT_DONE)
			return tk_interrupted() ? code
						: tk_fail(verb, work->tree, "the old tree is kept here: it was written to after it was "
									    "copied, or the new one since",
							  "bring what is missing into the new one, remove the old one, and start again");
		if (renameat2(AT_FDCWD, work->tree, AT_FDCWD, work->old, RENAME_NOREPLACE) ||
		    sync_directory(work->place))
			return tk_fail_err(verb, work->old, -errno);
	}
	if (exists(work->old))
		code = tk_treecopy_remove(work->old);
	return code == TK_EXIT_DONE ? remove_place(work) : code;
}

static int shield(const struct work *work)
{
	int code;

	if (is_shielded(work->path)) {
		code = raise_one(work, work->path);
		if (code == TK_EXIT_DONE && !exists(work->place)) {
			printf("%s has its shield already\n", work->path);
			return TK_EXIT_DONE;
		}
	} else {
		code = exists(work->place) ? drop_copy(work) : TK_EXIT_DONE;
		if (code == TK_EXIT_DONE)
			code = copy(work);
		if (code == TK_EXIT_DONE)
			code = exchange(work);
	}
	if (code == TK_EXIT_DONE)
		code = finish(work);
	if (code == TK_EXIT_DONE)
		printf("%s has its shield\n", work->path);
	return code;
}

static int run(const char *policy, const char *guard, bool undo)
{
	_cleanup_keyring_ struct tk_keyring *ring = NULL;
	struct tk_compiled *compiled = NULL;
	struct tk_places *places = NULL;
	struct work work = {};
	int code, err = tk_shields_policy(policy, &compiled, &places);

	if (!err)
		err = tk_keyring_new(&ring);
	if (err)
		code = err == -EINVAL ? tk_fail(verb, policy, "the policy has errors", "`takakrypt-bpf check` lists them")
				      : tk_fail_err(verb, policy, err);
	else
		code = find_guard(compiled, places, guard, &work);
	work.ring = ring;
	if (code == TK_EXIT_DONE)
		code = read_key(compiled, &work);
	if (code == TK_EXIT_DONE) {
		code = undo ? drop_copy(&work) : shield(&work);
		/* Whichever of the two has it. */
		tk_shield_lower(work.path);
		tk_shield_lower(work.tree);
	}
	tk_places_free(places);
	tk_compiled_free(compiled);
	return code;
}

int cmd_shield(int argc, char **argv)
{
	bool undo = false;
	const struct tk_option options[] = {{"undo", .flag = &undo}, {}};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (argc - optind != 2)
		return tk_usage(verb, "a policy and a guard point are expected");
	if (tk_need_root(verb) || tk_policy_lock(verb))
		return TK_EXIT_FAILED;
	if (!access(TK_BPFFS_DIR, F_OK))
		return tk_fail(verb, argv[optind + 1], "a policy is loaded", "`takakrypt-bpf unload` first");
	tk_hold_secrets();
	tk_catch_signals();
	return run(argv[optind], argv[optind + 1], undo);
}
