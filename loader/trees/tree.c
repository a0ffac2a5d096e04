// SPDX-License-Identifier: GPL-2.0
/*
 * loader/trees/tree.c - finds files and has them done in parallel; tree.h has the
 * contract.  All names are collected first: only then is it known which hard
 * links belong together and how much there is to do.
 */
#include "loader/trees/tree.h"
#include "loader/agent/agent.h"
#include "loader/cmd.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#define VAULT ".takakrypt" /* the agent's journal: what is in it is its own to encrypt */
#define THREADS_MIN 4	   /* with few processors: while one waits for the disk others work */
#define THREADS_MAX 32

struct entry {
	struct tk_tree_file file;
	char *path;
	size_t order;
	bool linked; /* has more than one name */
};

struct run {
	struct tk_tree *tree;
	struct entry *entries;
	size_t n, room, next;
	uint64_t total, moved; /* bytes, for the bar */
	pthread_mutex_t lock;  /* of next, moved, the bar and the tree's outcome */
	struct tk_bar bar;
};

static void run_clear(struct run *run)
{
	for (size_t i = 0; i < run->n; i++) {
		free(run->entries[i].path);
		free(run->entries[i].file.links);
	}
	free(run->entries);
}

static void ftsp(FTS **fts)
{
	if (*fts)
		fts_close(*fts);
}

/* ---------------------------------------------------------------- finding */

static int add(struct run *run, const char *path, const struct stat *st, bool named)
{
	struct entry *e;

	if (run->n == run->room) {
		size_t room = run->room ? run->room * 2 : 256;
		struct entry *grown = reallocarray(run->entries, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		run->entries = grown;
		run->room = room;
	}
	e = &run->entries[run->n];
	*e = (struct entry){.order = run->n, .file.named = named};
	if (st) {
		e->file.size = (uint64_t)st->st_size;
		e->file.dev = st->st_dev;
		e->file.ino = st->st_ino;
		e->linked = st->st_nlink > 1;
	}
	e->path = strdup(path);
	if (!e->path)
		return -ENOMEM;
	run->n++;
	return 0;
}

/*
 * Is the directory that the walk came upon, and whose parent it is in, a journal of the agent's?  Nobody but
 * root can have made one, and it lies where a mount begins.  Elsewhere one may be left of a mount that is no
 * more: with records in it, it counts as failed.  Anything else of that name is a directory like others.
 */
static bool is_vault(struct run *run, const FTSENT *f)
{
	struct statx parent;
	int records;

	if (f->fts_level == FTS_ROOTLEVEL || strcmp(f->fts_name, VAULT) != 0 || f->fts_statp->st_uid != 0 ||
	    f->fts_statp->st_mode & 077)
		return false;
	if (statx(AT_FDCWD, ".", 0, 0, &parent) == 0 && parent.stx_attributes & STATX_ATTR_MOUNT_ROOT) {
		run->tree->special++;
		return true;
	}
	records = tk_vault_in_use(".");
	if (records == 0)
		return false;
	tk_fail(run->tree->verb, f->fts_path,
		records < 0 ? tk_strerror(records)
			    : "it looks like the agent's journal of a filesystem that is mounted no more",
		"mount that again and start the agent; if it is none, give it another name");
	run->tree->failed++;
	return true;
}

/* One thing that the walk came upon. */
static int visit(struct run *run, FTS *fts, FTSENT *f)
{
	struct tk_tree *tree = run->tree;
	bool named = f->fts_level == FTS_ROOTLEVEL;

	switch (f->fts_info) {
	case FTS_D:
		tree->had_directory = true;
		if (!tree->directories) {
			tk_fail(tree->verb, f->fts_path, "it is a directory", tree->no_directories);
			tree->failed++;
		} else if (fts->fts_options & FTS_NOCHDIR) {
			/* fts has chosen so itself, and would check nothing: see find() */
			tk_fail(tree->verb, f->fts_path, "the working directory cannot be opened",
				"change into one that can");
			tree->failed++;
			fts_set(fts, f, FTS_SKIP);
		}
		if (!tree->directories || is_vault(run, f))
			fts_set(fts, f, FTS_SKIP);
		return 0;
	case FTS_DP:
		/* Opened, it was not what had been found under its name: nothing in it was looked at. */
		if (f->fts_errno) {
			tk_fail("examine", f->fts_path, "another directory took its place meanwhile",
				"start it again");
			tree->failed++;
		}
		return 0;
	case FTS_DNR:
		tk_fail_err("read the directory", f->fts_path, -f->fts_errno);
		tree->failed++;
		return 0;
	case FTS_F:
		if (!named && !tree->cross && f->fts_statp->st_dev != fts->fts_dev) {
			tree->special++; /* mounted over a file */
			return 0;
		}
		return add(run, f->fts_path, f->fts_statp, named);
	}
	/* What is named is the verb's to refuse, in its own words. */
	if (named)
		return add(run, f->fts_path, NULL, true);
	if (f->fts_info == FTS_NS || f->fts_info == FTS_ERR || f->fts_info == FTS_DC) {
		tk_fail_err("examine", f->fts_path, -f->fts_errno);
		tree->failed++;
	} else {
		tree->special++;
	}
	return 0;
}

/*
 * Changes into the directories while it walks: only then fts checks that each is the one it found, and not a
 * symbolic link that somebody put in its place.  Nothing else runs yet that could need the working directory.
 */
static int find(struct run *run, char **paths, size_t n)
{
	int flags = FTS_PHYSICAL | FTS_COMFOLLOW | (run->tree->cross ? 0 : FTS_XDEV);
	_cleanup_free_ char **list = calloc(n + 1, sizeof(*list));
	_cleanup_(ftsp) FTS *fts = NULL;
	FTSENT *f;
	int r = 0, err;

	if (!list)
		return -ENOMEM;
	memcpy(list, paths, n * sizeof(*list));
	fts = fts_open(list, flags, NULL);
	if (!fts)
		return -errno;
	errno = 0;
	while (r == 0 && !tk_interrupted() && (f = fts_read(fts))) {
		r = visit(run, fts, f);
		errno = 0;
	}
	err = errno;
	if (fts_close(TK_TAKE_PTR(fts)) < 0)
		return -errno; /* not back where relative names begin */
	if (r == 0 && err == ENOENT) {
		/* A directory was moved away from around the walk, which could not go on: what it had found
		 * is done. */
		tk_fail("examine", "the files", "directories were moved meanwhile", "start it again");
		run->tree->failed++;
		return 0;
	}
	return r ? r : -err;
}

/* -------------------------------------------------- one file, many names */

static int by_inode(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->file.dev != y->file.dev)
		return x->file.dev < y->file.dev ? -1 : 1;
	if (x->file.ino != y->file.ino)
		return x->file.ino < y->file.ino ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static int by_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

/* The same name given twice, perhaps by different ways, is not a second link. */
static bool same_name(const char *a, const char *b)
{
	_cleanup_free_ char *x = realpath(a, NULL), *y = realpath(b, NULL);

	return strcmp(a, b) == 0 || (x && y && strcmp(x, y) == 0);
}

/* entries[from..to) are one file: the first stays and takes the names of the others. */
static int join(struct run *run, size_t from, size_t to)
{
	struct entry *first = &run->entries[from];
	size_t n = 0;

	if (to - from == 1 || !first->file.ino)
		return 0;
	first->file.links = calloc(to - from, sizeof(*first->file.links));
	if (!first->file.links)
		return -ENOMEM;
	for (size_t i = from + 1; i < to; i++) {
		bool known = !first->linked || same_name(first->path, run->entries[i].path);

		for (size_t k = 0; k < n && !known; k++)
			known = same_name(first->file.links[k], run->entries[i].path);
		if (!known)
			first->file.links[n++] = run->entries[i].path;
	}
	return 0;
}

static int join_links(struct run *run)
{
	size_t from = 0;
	int r = 0;

	qsort(run->entries, run->n, sizeof(*run->entries), by_inode);
	for (size_t i = 1; i <= run->n && r == 0; i++) {
		if (i < run->n && run->entries[i].file.dev == run->entries[from].file.dev &&
		    run->entries[i].file.ino == run->entries[from].file.ino && run->entries[i].file.ino)
			continue;
		r = join(run, from, i);
		for (size_t k = from + 1; k < i; k++)
			run->entries[k].order = SIZE_MAX; /* done with the first */
		from = i;
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < run->n; i++)
		run->entries[i].file.path = run->entries[i].path;
	qsort(run->entries, run->n, sizeof(*run->entries), by_order);
	return 0;
}

/* ------------------------------------------------------------------ doing */

/* One file's share of the bar. */
struct share {
	struct run *run;
	uint64_t size, moved;
};

static int report(void *ctx, uint64_t done, uint64_t total)
{
	struct share *share = ctx;
	struct run *run = share->run;
	uint64_t now = total ? (uint64_t)((double)share->size * ((double)done / (double)total)) : 0;
	int r = tk_interrupted();

	pthread_mutex_lock(&run->lock);
	if (now > share->moved) {
		run->moved += now - share->moved;
		share->moved = now;
	}
	if (!r)
		r = tk_bar_update(&run->bar, run->moved < run->total ? run->moved : run->total, run->total);
	pthread_mutex_unlock(&run->lock);
	return r;
}

static void count(struct run *run, enum tk_tree_result result, uint64_t bytes)
{
	struct tk_tree *tree = run->tree;

	pthread_mutex_lock(&run->lock);
	switch (result) {
	case TK_TREE_DONE:
		tree->done++;
		tree->bytes += bytes;
		break;
	case TK_TREE_SKIPPED:
		tree->skipped++;
		break;
	case TK_TREE_FAILED:
		tree->failed++;
		break;
	}
	pthread_mutex_unlock(&run->lock);
}

static void *work(void *arg)
{
	struct run *run = arg;

	while (!tk_interrupted()) {
		struct share share = {.run = run};
		const struct entry *e = NULL;
		enum tk_tree_result result;
		uint64_t bytes = 0;

		pthread_mutex_lock(&run->lock);
		if (run->next < run->n && run->entries[run->next].order != SIZE_MAX)
			e = &run->entries[run->next++];
		pthread_mutex_unlock(&run->lock);
		if (!e)
			break;
		share.size = e->file.size;
		result = run->tree->fn(run->tree->ctx, &e->file, report, &share, &bytes);
		report(&share, 1, 1);
		count(run, result, bytes);
	}
	return NULL;
}

static size_t threads_wanted(const struct run *run)
{
	cpu_set_t set;
	size_t n = THREADS_MIN;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && (size_t)CPU_COUNT(&set) * 2 > n)
		n = (size_t)CPU_COUNT(&set) * 2;
	if (n > THREADS_MAX)
		n = THREADS_MAX;
	if (n > run->n)
		n = run->n;
	return run->tree->one_thread || n == 0 ? 1 : n;
}

static void do_all(struct run *run)
{
	pthread_t threads[THREADS_MAX];
	size_t n = 0, wanted = threads_wanted(run);

	for (size_t i = 0; i < run->n; i++)
		run->total += run->entries[i].order != SIZE_MAX ? run->entries[i].file.size : 0;
	tk_bar_start(&run->bar, run->n == 1 ? run->entries[0].path : run->tree->verb);
	/* Signals only set a flag: whichever thread gets them, all see it. */
	while (n + 1 < wanted && pthread_create(&threads[n], NULL, work, run) == 0)
		n++;
	work(run);
	while (n)
		pthread_join(threads[--n], NULL);
	tk_bar_end(&run->bar);
}

int tk_tree_run(struct tk_tree *tree, char **paths, size_t n)
{
	_cleanup_(run_clear) struct run run = {.tree = tree, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct timespec from, to;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &from);
	r = find(&run, paths, n);
	if (r == 0)
		r = join_links(&run);
	if (r < 0)
		return tk_fail_err("find", "the files", r);
	do_all(&run);
	clock_gettime(CLOCK_MONOTONIC, &to);
	tree->seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	return tree->failed || tk_interrupted() ? TK_EXIT_FAILED : TK_EXIT_DONE;
}

int tk_tree_open(const struct tk_tree_file *f, const char *verb, struct stat *ret_st)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (f->named ? 0 : O_NOFOLLOW);
	_cleanup_close_ int fd = open(f->path, flags);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		tk_fail_err(verb, f->path, -errno);
		return -1;
	}
	if (!f->named && (st.st_dev != f->dev || st.st_ino != f->ino)) {
		tk_fail(verb, f->path, "another file took its place meanwhile", "start it again");
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		tk_fail(verb, f->path, "it is not a regular file", NULL);
		return -1;
	}
	*ret_st = st;
	return TK_TAKE_FD(fd);
}

int tk_tree_magic(int fd)
{
	char magic[4];
	ssize_t n = pread(fd, magic, sizeof(magic), 0);

	return n < 0 ? -errno : tk_is_taka(magic, (size_t)n);
}

int tk_tree_print(const struct tk_tree *tree, bool json, const char *past_tense)
{
	_cleanup_json_ cJSON *object = NULL;
	char text[TK_SIZE_TEXT];
	int r = 0;

	if (!json) {
		printf("%s %" PRIu64 " files (%s) in %.1f s; %" PRIu64 " skipped, %" PRIu64 " failed%s\n",
		       past_tense, tree->done, tk_size_text(tree->bytes, text), tree->seconds, tree->skipped,
		       tree->failed, tk_interrupted() ? "; interrupted, start it again to go on" : "");
		return 0;
	}
	object = cJSON_CreateObject();
	if (!object || !cJSON_AddStringToObject(object, "verb", tree->verb))
		return tk_fail_err("write", "the report", -ENOMEM);
	r |= tk_json_u64(object, "done", tree->done);
	r |= tk_json_u64(object, "skipped", tree->skipped);
	r |= tk_json_u64(object, "failed", tree->failed);
	r |= tk_json_u64(object, "special", tree->special);
	r |= tk_json_u64(object, "bytes", tree->bytes);
	if (!cJSON_AddNumberToObject(object, "seconds", tree->seconds) ||
	    !cJSON_AddBoolToObject(object, "interrupted", tk_interrupted()))
		r = -ENOMEM;
	if (r == 0)
		r = tk_json_print(object);
	return r < 0 ? tk_fail_err("write", "the report", -ENOMEM) : 0;
}
