// SPDX-License-Identifier: GPL-2.0
/*
 * loader/key_retire.c - `key retire`: takes a version of a key out of use, when no
 * file needs it any more.  Whatever cannot be told counts as in need.
 */
#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/key.h"
#include "loader/keyfiles.h"
#include "loader/keysource.h"
#include "loader/tree.h"
#include "loader/unfinished.h"
#include "loader/util.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#define NAMED_MAX 10 /* files that need it and are named; the others are counted */

static const char verb[] = "key";

enum {
	OPT_VERSION = 256,
	OPT_DESTROY,
};

static const struct option options[] = {
	{"version", required_argument, NULL, OPT_VERSION},
	{"destroy", no_argument, NULL, OPT_DESTROY},
	{"help", no_argument, NULL, 'h'},
	{},
};

struct job {
	const char *dir;
	uint32_t version;
	bool destroy;
	bool retired; /* it is already, and to be destroyed now */
	char what[48];
	char path[PATH_MAX]; /* of the version's file */
	struct tk_keysource keys;
	cJSON *agent;	    /* its state; NULL: none runs */
	atomic_uint needed; /* files */
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
	job->retired = !has(&dir, job->version, false);
	if (job->retired && !has(&dir, job->version, true))
		return tk_fail(job->what, job->dir, "there is no such version",
			       "`takakrypt-bpf key list` shows them");
	if (job->retired && !job->destroy)
		return tk_fail(job->what, job->dir, "it is retired already",
			       "give --destroy to remove it for good");
	if (!job->retired && has(&dir, job->version, true))
		return tk_fail(job->what, job->dir, "another key of that version was retired before",
			       "find out which of the two is wanted");
	if ((size_t)snprintf(job->path, sizeof(job->path), "%s/%s", job->dir,
			     tk_key_name(job->version, job->retired, name)) >= sizeof(job->path))
		return tk_fail_err(job->what, job->dir, -ENAMETOOLONG);
	return TK_EXIT_DONE;
}

/* --------------------------------------------------------------- the agent */

/* What it was given at its last load or reload, it writes with. */
static int check_agents_key(const struct job *job, const cJSON *key, const struct stat *own)
{
	const char *where = cJSON_GetStringValue(in(key, "where"));
	const cJSON *current = in(key, "current");
	struct stat st;

	if (!where || stat(where, &st) < 0 || st.st_dev != own->st_dev || st.st_ino != own->st_ino)
		return TK_EXIT_DONE;
	if (cJSON_IsNumber(current) && current->valuedouble != job->version)
		return TK_EXIT_DONE;
	return tk_fail(job->what, job->dir, "the agent still writes files under it",
		       "`takakrypt-bpf reload`, then `rekey`, then try again");
}

/* Files in its hands have no ciphertext to look at, and may come back under the version they had. */
static int check_agent(struct job *job)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject();
	const cJSON *records, *key;
	struct tk_kernel *kernel;
	struct stat st;
	int err = -ENOMEM, code = TK_EXIT_DONE;

	if (request && cJSON_AddStringToObject(request, "verb", "status"))
		err = tk_client_ask(NULL, request, &job->agent);
	if (err == -ENOENT || err == -ECONNREFUSED) {
		if (tk_kernel_open(&kernel) < 0)
			return TK_EXIT_DONE; /* tk_unfinished() looks at what an earlier one left */
		tk_kernel_close(kernel);
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
			       "files in guard points are open, and may come back under it",
			       "let the programs that have them open end, and `takakrypt-bpf settle`");
	if (stat(job->dir, &st) < 0)
		return tk_fail_err(job->what, job->dir, -errno);
	cJSON_ArrayForEach (key, in(job->agent, "keys"))
		code |= check_agents_key(job, key, &st);
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
	if (tk_tree_magic(fd) == 0) {
		if (job->agent && st.st_size && in_guard_point(job, f->path))
			return needed(job, f->path, "the agent shows it to this command as plaintext",
				      "let root have it without apply_key, or unload the policy");
		return TK_TREE_SKIPPED;
	}
	err = tk_header_read(fd, 0, (uint64_t)st.st_size, &h);
	if (err < 0)
		return cannot_tell(job, f->path, err);
	if (h.version == 2 && h.key_version != job->version)
		return TK_TREE_DONE;
	if (tk_keysource_ring(&job->keys, h.key_id, job->version, &ring)) {
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
		      h.version == 2 ? "put it under the current one: `takakrypt-bpf rekey`"
				     : "decrypt it and encrypt it anew");
}

static int take_away(const struct job *job)
{
	int r = job->destroy ? tk_keydir_destroy(job->dir, job->version, job->retired)
			     : tk_keydir_retire(job->dir, job->version);
	char name[TK_KEY_NAME];

	if (r < 0)
		return tk_fail_err(job->what, job->dir, r);
	tk_put_safe(stdout, job->dir);
	if (job->destroy)
		printf(": version %" PRIu32 " is destroyed\n", job->version);
	else
		printf(": version %" PRIu32 " is retired, and kept as %s\n", job->version,
		       tk_key_name(job->version, true, name));
	return TK_EXIT_DONE;
}

static int retire(struct job *job, char **trees, size_t n)
{
	/* Across filesystems: what is not looked at may be in need. */
	struct tk_tree tree = {
		.verb = job->what, .directories = true, .cross = true, .fn = one_file, .ctx = job};
	int code;

	snprintf(job->what, sizeof(job->what), "retire version %" PRIu32 " of", job->version);
	code = check_version(job);
	if (code == TK_EXIT_DONE)
		code = check_agent(job);
	if (code == TK_EXIT_DONE)
		code = tk_unfinished(job->what, trees, n, true);
	if (code != TK_EXIT_DONE)
		return code;
	job->keys.path = job->path;
	snprintf(job->what, sizeof(job->what), "retire a key's version %" PRIu32 " beside", job->version);
	code = tk_tree_run(&tree, trees, n);
	snprintf(job->what, sizeof(job->what), "retire version %" PRIu32 " of", job->version);
	if (code == TK_EXIT_DONE)
		return take_away(job);
	if (tk_interrupted())
		return tk_fail(job->what, job->dir, "it was interrupted",
			       "nothing was changed; start it again");
	if (job->needed > NAMED_MAX)
		fprintf(stderr, "takakrypt-bpf: and %u more files\n", job->needed - NAMED_MAX);
	return tk_fail(job->what, job->dir, "files may need it", "nothing was changed");
}

int tk_key_retire(int argc, char **argv)
{
	struct job job = {.keys = TK_KEYSOURCE_INIT};
	int c, code;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (c) {
		case OPT_VERSION:
			if (job.version)
				return tk_usage(verb, "--version is given twice");
			code = tk_key_parse_version(optarg, &job.version);
			if (code)
				return code;
			break;
		case OPT_DESTROY:
			if (job.destroy)
				return tk_usage(verb, "--destroy is given twice");
			job.destroy = true;
			break;
		case 'h':
			return tk_key_help();
		default:
			return tk_usage_getopt(verb, argv, c);
		}
	}
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
	tk_keysource_clear(&job.keys);
	cJSON_Delete(job.agent);
	return code;
}
