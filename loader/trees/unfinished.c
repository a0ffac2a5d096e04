// SPDX-License-Identifier: GPL-2.0
/*
 * loader/trees/unfinished.c - looks for records in the journals of the filesystems that
 * a verb is about to change.  Reads no record: which files they are about is only
 * known to an agent.
 */
#include "loader/trees/unfinished.h"
#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void mounts_freep(struct tk_mounts *mounts)
{
	tk_mountinfo_free(mounts);
}

static bool agent_runs(void)
{
	FILE *stream;
	int err = tk_client_connect(NULL, &stream);

	if (err == 0)
		fclose(stream);
	/* Whoever may not talk to it must take it as running: else no user could do anything beside it. */
	return err == 0 || err == -EACCES || err == -EPERM;
}

/* The verb that leaves records behind, knows it, and tells the journal that nothing guards the files any more. */
static const char unguarding[] = "unload";

/* Is there a journal in this directory, with records? */
static int look(const char *verb, const char *path, const char *dir)
{
	int records = tk_vault_in_use(dir);
	char why[512];

	if (records == 0)
		return 0;
	if (verb == unguarding) {
		records = tk_vault_unguard(dir);
		return records ? tk_fail_err("unload: note in the journal at", dir, records) : 0;
	}
	if (records < 0)
		snprintf(why, sizeof(why),
			 "whether the agent's journal at %.300s is empty cannot be found out (%s)", dir,
			 tk_strerror(records));
	else
		snprintf(why, sizeof(why),
			 "the agent's journal at %.300s has %d records: files there may be half moved", dir,
			 records);
	return tk_fail(verb, path, why,
		       agent_runs() ? "`takakrypt-bpf settle`; if they stay, have the agent guard that filesystem, so that it recovers "
				      "them"
				    : "start the agent (load the policy) so that it recovers them first");
}

/* Upwards through its filesystem: a mount whose root lay in between may have been the widest once. */
static int look_upwards(const char *verb, const char *path, const char *real)
{
	_cleanup_free_ char *dir = strdup(real);
	struct stat st;
	dev_t dev = 0;
	char *slash;

	if (!dir)
		return tk_fail_err(verb, path, -ENOMEM);
	for (;;) {
		if (stat(*dir ? dir : "/", &st) == 0 && S_ISDIR(st.st_mode)) {
			if (dev && st.st_dev != dev)
				return 0;
			dev = st.st_dev;
			if (look(verb, path, *dir ? dir : "/"))
				return TK_EXIT_FAILED;
		}
		slash = strrchr(dir, '/');
		if (!slash)
			return 0;
		*slash = '\0';
	}
}

/* The journal lies at the root of the widest mount of a filesystem, which need not be the one path is on. */
static int look_at_mounts(const char *verb, const char *path, const char *real,
			  const struct tk_mounts *mounts, bool crossing)
{
	const struct tk_mount *own = NULL;
	const char *rest;
	uint32_t id;

	if (tk_mount_id(AT_FDCWD, real, &id) == 0)
		own = tk_mountinfo_find(mounts, id);
	for (size_t i = 0; i < mounts->count; i++) {
		const struct tk_mount *m = &mounts->items[i];
		bool concerned =
			(own && m->dev == own->dev) || (crossing && tk_path_below(real, m->point, &rest));

		/* mounted over: not to be had */
		if (!concerned || tk_mount_id(AT_FDCWD, m->point, &id) || id != m->id)
			continue;
		if (look(verb, path, m->point))
			return TK_EXIT_FAILED;
	}
	return 0;
}

int tk_unfinished(const char *verb, char **paths, size_t n, bool crossing)
{
	return agent_runs() ? 0 : tk_unfinished_any(verb, paths, n, crossing);
}

int tk_unfinished_unguard(char **paths, size_t n)
{
	return tk_unfinished_any(unguarding, paths, n, false);
}

int tk_unfinished_any(const char *verb, char **paths, size_t n, bool crossing)
{
	_cleanup_(mounts_freep) struct tk_mounts mounts = {};
	int err = tk_mountinfo_read("/proc/self/mountinfo", &mounts);

	if (err < 0)
		return tk_fail_err("read", "/proc/self/mountinfo", err);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *real = realpath(paths[i], NULL);

		if (!real)
			continue; /* the verb's to refuse, in its own words */
		if (look_upwards(verb, paths[i], real) ||
		    look_at_mounts(verb, paths[i], real, &mounts, crossing))
			return TK_EXIT_FAILED;
	}
	return 0;
}
