// SPDX-License-Identifier: GPL-2.0
/*
 * loader/keys/retire.c - `key retire`: takes a version of a key out of use, when no
 * file needs it any more.  Whatever cannot be told counts as in need.
 */
#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "loader/agent/shield.h"
#include "loader/cmd.h"
#include "loader/keys/verbs.h"
#include "loader/keys/files.h"
#include "loader/keys/source.h"
#include "loader/trees/tree.h"
#include "loader/trees/unfinished.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define NAMED_MAX 10 /* files that need it and are named; the others are counted */

static const char verb[] = "key";



struct job {
	const char *dir;
	uint32_t version;
	char what[48];
	char path[PATH_MAX]; /* of the version's file */
	struct tk_keysource keys;
	cJSON *agent;	    /* its state; NULL: none runs */
	atomic_uint needed; /* files */

	pthread_mutex_t lock; /* of the filesystems that files were found on */
	struct filesystem {
		dev_t dev;
		int fd; /* of the first file there */
	} * filesystems;
	size_t count;
};

static const cJSON *in(const cJSON *json, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(json, name);
}

/* ------------------------------------------------------------- the version */

static bool has(const struct tk_keydir *dir, uint32_t version, bool retired)
{
	for (size_t i = 0; i < dir->count; i++)
		if (dir->items[i].version == version && dir->items[i].retired == retired)
			return true;
	return false;
}

/* Is there such a version, and may it go? */
static int check_version(struct job *job)
{
	_cleanup_(tk_keydir_clear) struct tk_keydir dir = {};
	char name[TK_KEY_NAME];
	uint32_t current;
	bool retired;
	int r = tk_keydir_read(job->dir, &dir);

	if (r == -ENOTDIR)
		return tk_fail(job->what, job->dir, "it is a single file, which has no versions",
			       "name a key directory");
	if (r < 0)
		return tk_fail_err(job->what, job->dir, r);
	r = tk_key_read(job->what, job->dir, &current);
	if (r)
		return r;
	if (job->version == current)
		return tk_fail(job->what, job->dir, "it is the current version: files are written under it",
			       "`takakrypt-bpf key rotate` makes another one");
	retired = has(&dir, job->version, true);
	if (!has(&dir, job->version, false))
		return retired ? tk_fail(job->what, job->dir, "it is retired already",
					 "`takakrypt-bpf help key` says how to take it back")
			       : tk_fail(job->what, job->dir, "there is no such version",
					 "`takakrypt-bpf key list` shows them");
	if (retired)
		return tk_fail(job->what, job->dir, "another key of that version was retired before",
			       "find out which of the two is wanted");
	if ((size_t)snprintf(job->path, sizeof(job->path), "%s/%s", job->dir,
			     tk_key_name(job->version, false, name)) >= sizeof(job->path))
		return tk_fail_err(job->what, job->dir, -ENAMETOOLONG);
	return TK_EXIT_DONE;
}

/* --------------------------------------------------------------- the agent */

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * What it was given at its last load or reload, it writes with.  Only a file elsewhere is known to be another
 * key: where a command or a credential has its key from, nobody can tell.
 */
static int check_agents_key(const struct job *job, const cJSON *key)
{
	const char *provider = cJSON_GetStringValue(in(key, "provider"));
	const char *where = cJSON_GetStringValue(in(key, "where"));
	const char *id = cJSON_GetStringValue(in(key, "id"));
	const cJSON *current = in(key, "current");
	bool other = cJSON_IsNumber(current) && current->valuedouble != job->version;
	struct stat st, dir, file;
	char why[TK_KEY_ID_MAX + 80];

	if (!provider || strcmp(provider, "file") != 0) {
		snprintf(why, sizeof(why),
			 "the agent's key %s, which is no file, has that version and may be it",
			 id ? id : "without a name");
		return other ? TK_EXIT_DONE
			     : tk_fail(job->what, job->dir, why,
				       "`takakrypt-bpf unload` for the time, or give that key another "
				       "version");
	}
	if (!where || stat(where, &st) < 0)
		return other ? TK_EXIT_DONE
			     : tk_fail(job->what, job->dir,
				       "a key file of the agent's cannot be found, and may be this one",
				       "put it back where the policy says, or `takakrypt-bpf reload`");
	if (stat(job->dir, &dir) < 0)
		return tk_fail_err(job->what, job->dir, -errno);
	if (stat(job->path, &file) < 0)
		return tk_fail_err(job->what, job->path, -errno);
	if (same(&st, &dir) && !other)
		return tk_fail(job->what, job->dir, "the agent still writes files under it",
			       "`takakrypt-bpf reload`, then `rekey`, then try again");
	/* A single file is taken for one version, whatever its name. */
	if (same(&st, &file))
		return tk_fail(job->what, job->dir,
			       "the agent still writes files under it, as a key by itself",
			       "name the directory in the policy, `takakrypt-bpf reload`, and encrypt anew");
	return TK_EXIT_DONE;
}

/* Files in its hands have no ciphertext to look at, and may come back under the version they had. */
static int check_agent(struct job *job)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject();
	const cJSON *records, *key;
	struct tk_kernel *kernel;
	int err = -ENOMEM, code = TK_EXIT_DONE;

	cJSON_Delete(TK_TAKE_PTR(job->agent));
	if (request && cJSON_AddStringToObject(request, "verb", "status"))
		err = tk_client_ask(NULL, request, &job->agent);
	if (err == -ENOENT || err == -ECONNREFUSED) {
		err = tk_kernel_open(&kernel);
		if (err == -ENOENT || ((err == -EACCES || err == -EPERM) && geteuid() != 0))
			return TK_EXIT_DONE; /* tk_unfinished_any() looks at what an earlier one left */
		if (!err)
			tk_kernel_close(kernel);
		else if (err != -EPROTONOSUPPORT && err != -EUCLEAN)
			return tk_fail_err("retire: find out whether a policy is in force for", job->dir, err);
		return tk_fail(job->what, job->dir,
			       "a policy is in force, and no agent runs that could be asked",
			       "start the agent");
	}
	/* Keys of an agent are root's: nobody else could take one from it. */
	if ((err == -EACCES || err == -EPERM) && geteuid() != 0)
		return TK_EXIT_DONE;
	if (err)
		return tk_fail_err("ask", "the agent", err);
	records = in(in(job->agent, "files"), "records");
	if (!cJSON_IsNumber(records) || !cJSON_IsArray(in(job->agent, "keys")))
		return tk_fail(job->what, job->dir, "the agent that runs does not say what keys it has",
			       "start it anew, with this version of the command");
	if (records->valuedouble > 0)
		return tk_fail(job->what, job->dir,
			       "files in guard points are open or were of late, and may come back under it",
			       "`takakrypt-bpf settle`, when the programs that have them open have ended");
	if (cJSON_IsTrue(in(in(job->agent, "files"), "set_aside")))
		return tk_fail(job->what, job->dir, "contents that were set aside in the agent's journal may be under it",
			       "`takakrypt-bpf status` names them; when they are gone, start the agent anew");
	cJSON_ArrayForEach (key, in(job->agent, "keys"))
		code |= check_agents_key(job, key);
	return code;
}

/* In a guard point, what looks like plaintext may only look so to this command. */
static bool in_guard_point(const struct job *job, const char *path)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	const char *guard, *rest;
	const cJSON *item;

	cJSON_ArrayForEach (item, in(job->agent, "guard_points")) {
		guard = cJSON_GetStringValue(in(item, "path"));
		if (!real || !guard || tk_path_below(guard, real, &rest))
			return true;
	}
	return false;
}

/* --------------------------------------------------------------- the files */

static enum tk_tree_result needed(struct job *job, const char *path, const char *why, const char *remedy)
{
	if (atomic_fetch_add(&job->needed, 1) < NAMED_MAX)
		tk_fail(job->what, path, why, remedy);
	return TK_TREE_FAILED;
}

static enum tk_tree_result cannot_tell(struct job *job, const char *path, int err)
{
	char why[256];

	snprintf(why, sizeof(why), "whether it needs the version cannot be told (%s)", tk_strerror(err));
	return needed(job, path, why, tk_advice(err));
}

/* Remembers where the file is, for make_durable(). */
static int note_filesystem(struct job *job, dev_t dev, int fd)
{
	struct filesystem *grown;
	int r = 0;

	pthread_mutex_lock(&job->lock);
	for (size_t i = 0; i < job->count; i++)
		if (job->filesystems[i].dev == dev)
			goto out;
	grown = reallocarray(job->filesystems, job->count + 1, sizeof(*grown));
	if (grown)
		job->filesystems = grown;
	fd = grown ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (fd < 0)
		r = grown ? -errno : -ENOMEM;
	else
		grown[job->count++] = (struct filesystem){.dev = dev, .fd = fd};
out:
	pthread_mutex_unlock(&job->lock);
	return r;
}

/*
 * A header that was read is not yet on the disk: a rekey that was broken off may have written it and not have
 * made it durable.  Without the old version the file would be lost in a power failure.
 */
static int make_durable(struct job *job, int code)
{
	while (job->count) {
		const struct filesystem *fs = &job->filesystems[--job->count];

		if (code == TK_EXIT_DONE && syncfs(fs->fd) < 0)
			code = tk_fail_err("make durable", "the files", -errno);
		close(fs->fd);
	}
	return code;
}

/* Is the file in a directory whose shield was derived from this version?  1, 0, -errno. */
static int is_shielded_by(struct job *job, int fd)
{
	uint8_t its[TK_SHIELD_ID] = {}, ours[TK_SHIELD_ID], key[TK_SHIELD_KEY];
	const struct tk_keyring *ring;
	int err = tk_shield_of(fd, its);

	if (err)
		return err == -ENODATA || err == -EOPNOTSUPP || err == -EMEDIUMTYPE ? 0 : err;
	if (tk_keysource_ring(&job->keys, "shield", 0, &ring))
		return -ENOKEY; /* told */
	err = tk_shield_derive(ring, "shield", 0, key, ours);
	tk_wipe(key, sizeof(key));
	return err ? err : !memcmp(its, ours, sizeof(ours));
}

static enum tk_tree_result one_file(void *ctx, const struct tk_tree_file *f, tk_progress progress,
				    void *progress_ctx, uint64_t *ret_bytes)
{
	_cleanup_close_ int fd = -1;
	const struct tk_keyring *ring;
	struct job *job = ctx;
	struct tk_header h;
	struct stat st;
	int err;

	fd = tk_tree_open(f, job->what, &st);
	if (fd < 0) {
		atomic_fetch_add(&job->needed, 1);
		return TK_TREE_FAILED;
	}
	err = note_filesystem(job, st.st_dev, fd);
	if (err < 0)
		return cannot_tell(job, f->path, err);
	err = is_shielded_by(job, fd);
	if (err < 0)
		return cannot_tell(job, f->path, err);
	if (err)
		return needed(job, f->path, "its guard point's shield needs this version",
			      "keep it: a shield stays under the version it was set up with");
	if (tk_tree_magic(fd) == 0) {
		if (job->agent && st.st_size && in_guard_point(job, f->path))
			return needed(job, f->path, "the agent shows it to this command as plaintext",
				      "let root have it without apply_key, or unload the policy");
		return TK_TREE_SKIPPED;
	}
	err = tk_header_read(fd, 0, (uint64_t)st.st_size, &h);
	if (err < 0)
		return cannot_tell(job, f->path, err);
	/* By whatever number: the key's file may have been used by itself. */
	if (tk_keysource_ring(&job->keys, h.key_id, h.version == 2 ? h.key_version : job->version, &ring)) {
		atomic_fetch_add(&job->needed, 1);
		return TK_TREE_FAILED;
	}
	/* The same number of another key: its file key cannot be unwrapped, format 1 as a whole not opened.
	 */
	err = h.version == 2 ? tk_header_verify(ring, fd, 0, (uint64_t)st.st_size, NULL)
			     : tk_verify_fd(ring, fd, 0, (uint64_t)st.st_size, progress, progress_ctx);
	if (err == (h.version == 2 ? -TK_E_WRONG_KEY : -TK_E_AUTH))
		return TK_TREE_DONE;
	if (err < 0)
		return cannot_tell(job, f->path, err);
	return needed(job, f->path, "the file needs this version",
		      h.version == 2 && h.key_version == job->version
			      ? "put it under the current one: `takakrypt-bpf rekey`"
			      : "decrypt it and encrypt it anew");
}

/* ---------------------------------------------------------------- retiring */

/* Everything that could need the version, and all of it durable. */
static int look(struct job *job, char **trees, size_t n)
{
	/* Across filesystems: what is not looked at may be in need. */
	struct tk_tree tree = {
		.verb = job->what, .directories = true, .cross = true, .fn = one_file, .ctx = job};
	int code = check_agent(job);

	/* Journals are root's, and so are the keys of what is in them. */
	if (code == TK_EXIT_DONE)
		code = (geteuid() == 0 ? tk_unfinished_any : tk_unfinished)(job->what, trees, n, true);
	if (code != TK_EXIT_DONE)
		return code;
	job->needed = 0;
	job->keys.path = job->path;
	snprintf(job->what, sizeof(job->what), "retire a key's version %" PRIu32 " beside", job->version);
	code = make_durable(job, tk_tree_run(&tree, trees, n));
	snprintf(job->what, sizeof(job->what), "retire version %" PRIu32 " of", job->version);
	tk_keysource_clear(&job->keys);
	if (job->needed > NAMED_MAX)
		fprintf(stderr, "takakrypt-bpf: and %u more files\n", job->needed - NAMED_MAX);
	return code;
}

static int take_back(struct job *job)
{
	int r = tk_keydir_retire(job->dir, job->version, true);

	if (r < 0) {
		tk_fail_err("take back", job->path, r);
		return tk_fail(job->what, job->dir, "files may need it, and it is out of use",
			       "rename it to its number");
	}
	return tk_fail(job->what, job->dir,
		       tk_interrupted() ? "it was interrupted" : "files may need it that came meanwhile",
		       "it was taken back into use");
}

static int retire(struct job *job, char **trees, size_t n)
{
	_cleanup_fclose_ FILE *hold = NULL;
	char name[TK_KEY_NAME], error[512];
	int code, r;

	snprintf(job->what, sizeof(job->what), "retire version %" PRIu32 " of", job->version);
	code = check_version(job);
	if (code != TK_EXIT_DONE)
		return code;
	/* Until the end no sealed file keeps a record, of which there are always some.  check_agent() says what is left. */
	tk_client_hold(NULL, "release", &hold, error, sizeof(error));
	code = look(job, trees, n);
	if (code != TK_EXIT_DONE && tk_interrupted())
		return tk_fail(job->what, job->dir, "it was interrupted",
			       "nothing was changed; start it again");
	if (code != TK_EXIT_DONE)
		return tk_fail(job->what, job->dir, "files may need it", "nothing was changed");
	r = snprintf(job->path, sizeof(job->path), "%s/%s", job->dir,
		     tk_key_name(job->version, true, name)) >= (int)sizeof(job->path)
		    ? -ENAMETOOLONG
		    : tk_keydir_retire(job->dir, job->version, false);
	if (r < 0)
		return tk_fail_err(job->what, job->dir, r);
	/* A file that its owner moved under the first walk from where it had not been yet to where it had. */
	if (look(job, trees, n) != TK_EXIT_DONE)
		return take_back(job);
	tk_put_safe(stdout, job->dir);
	printf(": version %" PRIu32 " is retired, and kept as %s\n", job->version, name);
	return TK_EXIT_DONE;
}

int tk_key_retire(int argc, char **argv)
{
	struct job job = {.keys = TK_KEYSOURCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};
	const struct tk_option options[] = {{"version", .number = &job.version, .min = 1, .max = UINT32_MAX}, {}};
	int code = tk_options(verb, tk_key_help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (!job.version)
		return tk_usage(verb, "retire needs --version N");
	if (optind == argc)
		return tk_usage(verb, "retire needs a key directory");
	job.dir = argv[optind++];
	if (optind == argc)
		return tk_usage(verb,
				"retire needs the trees that the key's files are in: whether one of them "
				"still needs the version is known from them alone");
	tk_hold_secrets();
	tk_catch_signals();
	code = retire(&job, argv + optind, (size_t)(argc - optind));
	free(job.filesystems);
	cJSON_Delete(job.agent);
	return code;
}
