// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/sweep.c - walks the guard points and finds what still lies as
 * plaintext: moved in, restored, or from before the policy.  Finds only; sealing is
 * a turn like any other, and somebody who opens such a file meanwhile is served first.
 *
 * The walk goes over the private mount, so it meets no other filesystem, and stops
 * at nested guard points, which are walked by their own policy.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "loader/agent/agent.h"

#define DEPTH_MAX (TK_MAX_DEPTH + 1) /* nobody but the agent gets deeper */
#define QUEUE_ENOUGH 64

struct root {
	dev_t dev;
	ino_t ino;
	struct tk_inode inode;
	struct tk_handle handle;
	struct tk_volume *volume;
	struct tk_recipe recipe;
	dev_t vault_dev;
	ino_t vault_ino;
};

struct walk {
	struct tk_agent *agent;
	const struct root *roots, *root;
	size_t root_count;
	bool encrypts; /* the guard point that is walked: plaintext is to be found */
	bool lost;     /* files of records are looked for */
	bool whole;    /* every name was met */
};

static void count(struct tk_agent *agent, uint64_t *counter)
{
	TK_HOLD(&agent->sweep.lock);
	(*counter)++;
}

/* The sweep is patient: openers' files go first. */
static void wait_for_room(struct tk_agent *agent)
{
	TK_HOLD(&agent->lock);

	while (agent->small.length + agent->large.length > QUEUE_ENOUGH)
		pthread_cond_wait(&agent->idle, &agent->lock);
}

/* Under lock. */
static bool found_waits(const struct tk_agent *agent)
{
	for (size_t i = 0; i < TK_TABLE_SIZE; i++)
		for (const struct tk_file *file = agent->table[i]; file; file = file->hash_next)
			if ((file->queued || file->running) && file->plain)
				return true;
	return false;
}

/* Until each file that was found has had a turn.  (Other files' turns may never cease.) */
static void wait_for_found(struct tk_agent *agent)
{
	TK_HOLD(&agent->lock);

	while (found_waits(agent))
		pthread_cond_wait(&agent->idle, &agent->lock);
}

static void look(struct walk *walk, int dir, const char *name)
{
	struct tk_agent *agent = walk->agent;
	TK_AUTO_FD fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC);
	TK_AUTO_FD path = -1;
	enum tk_file_state state;
	struct tk_inode inode;
	enum tk_contents kind;
	struct stat st, again;
	bool known;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return;
	count(agent, &agent->sweep.files);
	if (tk_inode_in(walk->root->volume, fd, &inode) || tk_contents_kind(fd, (uint64_t)st.st_size, &kind))
		return;
	{
		TK_HOLD(&agent->lock);
		known = tk_file_find(agent, &inode);
	}
	if (known)
		return;
	if (kind == TK_EMPTY && !tk_nobody_has(fd))
		kind = TK_PLAIN; /* somebody may be about to write to it */
	if (kind != TK_PLAIN && (tk_kernel_state(agent->kernel, &inode, &state) || state == TK_SEALED))
		return;
	/* Plaintext, or a state that an earlier agent left behind. */
	path = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	tk_fd_close(&fd); /* or the lease test would find it */
	if (path < 0 || fstat(path, &again) || again.st_ino != st.st_ino || again.st_dev != st.st_dev)
		return; /* renamed: somebody is at work here */
	wait_for_room(agent);
	if (!tk_files_plain(agent, walk->root->volume, &walk->root->recipe, &inode, path))
		count(agent, &agent->sweep.found);
}

static int by_number(const void *a, const void *b)
{
	const struct root *one = a, *other = b;

	if (one->dev != other->dev)
		return one->dev < other->dev ? -1 : 1;
	return one->ino < other->ino ? -1 : one->ino > other->ino;
}

/* Another guard point, or the journal. */
static bool not_ours(const struct walk *walk, const struct stat *st)
{
	const struct root key = {.dev = st->st_dev, .ino = st->st_ino};

	return (walk->root->vault_ino == st->st_ino && walk->root->vault_dev == st->st_dev) ||
	       bsearch(&key, walk->roots, walk->root_count, sizeof(key), by_number);
}

/* Takes over fd. */
static void walk_dir(struct walk *walk, int fd, unsigned int depth)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		walk->whole = false;
		close(fd);
		return;
	}
	while (errno = 0, !atomic_load(&walk->agent->stopping) && (entry = readdir(dir))) {
		const char *name = entry->d_name;
		struct stat st;
		int child;

		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		if (walk->lost && entry->d_type != DT_DIR)
			tk_lost_seen(walk->root->volume, fd, name, entry->d_ino);
		if (walk->encrypts && (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN))
			look(walk, fd, name);
		if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)
			continue;
		if (depth == DEPTH_MAX) {
			walk->whole = false;
			continue;
		}
		child = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);
		if (child < 0) {
			walk->whole = walk->whole && errno == ENOTDIR;
			continue;
		}
		if (fstat(child, &st) || not_ours(walk, &st))
			close(child);
		else
			walk_dir(walk, child, depth + 1);
	}
	if (errno || atomic_load(&walk->agent->stopping))
		walk->whole = false;
	closedir(dir);
}

/* A copy of what is to be walked, sorted by_number, so that a reload need not wait. */
static struct root *roots_of(struct tk_agent *agent, size_t *ret_count)
{
	struct root *roots;
	size_t n = 0;
	TK_HOLD_READ(&agent->policy_lock);

	roots = calloc(agent->now.count + 1, sizeof(*roots));
	for (size_t i = 0; roots && i < agent->now.count; i++) {
		const struct tk_spot *spot = &agent->now.items[i];
		struct root root = {.dev = spot->st_dev, .ino = spot->inode.ino, .inode = spot->inode};
		struct stat st;

		if (!spot->marked || tk_handle_of(AT_FDCWD, spot->path, &root.handle)) {
			/* Not walked, but an outer one's walk must stop here: it has a key of its own. */
			roots[n++] = root;
			continue;
		}
		root.volume = spot->volume;
		root.recipe = spot->recipe;
		if (spot->volume->vault >= 0 && !fstat(spot->volume->vault, &st)) {
			root.vault_dev = st.st_dev;
			root.vault_ino = st.st_ino;
		}
		roots[n++] = root;
	}
	if (roots)
		qsort(roots, n, sizeof(*roots), by_number);
	*ret_count = n;
	return roots;
}

static void sweep(struct tk_agent *agent)
{
	struct walk walk = {.agent = agent, .whole = true};
	struct root *roots = roots_of(agent, &walk.root_count);

	walk.roots = roots;
	for (size_t i = 0; roots && i < walk.root_count; i++) {
		struct tk_volume *volume = roots[i].volume;
		int fd;

		walk.root = &roots[i];
		if (!volume) {
			walk.whole = false;
			continue;
		}
		tk_vault_tidy(volume);
		walk.encrypts = roots[i].recipe.algorithm;
		walk.lost = atomic_load(&volume->recovered) && volume->lost;
		if (!walk.encrypts && !walk.lost)
			continue;
		fd = tk_handle_open(volume, &walk.root->handle, O_RDONLY | O_DIRECTORY | O_NOATIME);
		if (fd >= 0)
			walk_dir(&walk, fd, 0);
		else
			walk.whole = false;
	}
	for (size_t i = 0; roots && i < walk.root_count; i++)
		if (roots[i].volume && atomic_load(&roots[i].volume->recovered))
			tk_lost_conclude(agent, roots[i].volume, walk.whole);
	free(roots);
}

/* Asks for a round that begins after now.  Its number is done when tk_sweep_done() has reached it. */
uint64_t tk_sweep_ask(struct tk_agent *agent)
{
	TK_HOLD(&agent->sweep.lock);

	agent->sweep.wanted = agent->sweep.done + 1 + agent->sweep.running;
	pthread_cond_signal(&agent->sweep.changed);
	return agent->sweep.wanted;
}

uint64_t tk_sweep_done(struct tk_agent *agent)
{
	TK_HOLD(&agent->sweep.lock);

	return agent->sweep.done;
}

void *tk_sweep_thread(void *arg)
{
	struct tk_agent *agent = arg;
	struct tk_sweep *state = &agent->sweep;
	struct tk_control control;
	uint32_t generation;

	pthread_mutex_lock(&state->lock);
	for (;;) {
		while (state->wanted <= state->done)
			pthread_cond_wait(&state->changed, &state->lock);
		state->running = true;
		state->files = state->found = 0;
		pthread_mutex_unlock(&state->lock);
		generation = agent->now.generation;
		sweep(agent);
		wait_for_found(agent);
		/* Now every file that was open before this generation is known for what it is. */
		if (!tk_kernel_control(agent->kernel, &control) && control.generation == generation)
			tk_kernel_adopted(agent->kernel);
		pthread_mutex_lock(&state->lock);
		state->running = false;
		state->done++;
		tk_wake(agent->told);
	}
	return NULL;
}
