// SPDX-License-Identifier: GPL-2.0
/*
 * loader/trees/copy.c - walks a tree and holds another one against it.  Copying is cp's business, which knows how;
 * that it was done right is this file's, which trusts it in nothing.
 *
 * The walk changes into the directories (fts without FTS_NOCHDIR), which then are what it found: people may own
 * directories below, and put links there.  The copy is looked at by path from its own root, where only root gets.
 */
#include "loader/trees/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/fs.h>
#include <poll.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "loader/cmd.h"
#include "loader/trees/lease.h"
#include "loader/util.h"

#define PIECE (1 << 20)
#define BAR_MS 50 /* the end of cp is waited for; meanwhile the bar moves */
/* What chattr(1) sets and cp does not keep. */
#define KEPT_FLAGS (FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_SYNC_FL | FS_DIRSYNC_FL)

static const char verb[] = "shield";

struct pair { /* a file with several names, and its copy */
	ino_t from, to;
};

struct walk {
	const char *from;
	int to; /* root of the copy; -1: none is looked at */
	bool contents;
	uint64_t entries, bytes, done;
	void *links; /* of struct pair, by from */
	struct tk_bar *bar;
	uint64_t total;
	char *buf; /* two pieces */
};

/* -------------------------------------------------- one entry against its copy */

static int fails(const FTSENT *f, const char *why, const char *remedy)
{
	return tk_fail(verb, f->fts_path, why, remedy);
}

static const char again[] = "end what uses the tree, and start again";

static int by_from(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/* Names of one file are names of one file, and of no other: as each of them has as many. */
static bool linked_alike(struct walk *walk, const struct stat *from, const struct stat *to)
{
	struct pair *pair = malloc(sizeof(*pair)), **known;

	if (!pair)
		return false;
	*pair = (struct pair){from->st_ino, to->st_ino};
	known = tsearch(pair, &walk->links, by_from);
	if (!known || *known != pair)
		free(pair);
	return known && (*known)->to == to->st_ino;
}

static bool same_attributes(struct walk *walk, const struct stat *from, const struct stat *to)
{
	bool directory = S_ISDIR(from->st_mode);

	return from->st_mode == to->st_mode && from->st_uid == to->st_uid && from->st_gid == to->st_gid &&
	       from->st_mtim.tv_sec == to->st_mtim.tv_sec && from->st_mtim.tv_nsec == to->st_mtim.tv_nsec &&
	       from->st_rdev == to->st_rdev &&
	       (directory || (from->st_size == to->st_size && from->st_nlink == to->st_nlink)) &&
	       (directory || from->st_nlink == 1 || linked_alike(walk, from, to));
}

/* Each attribute of one is the other's; twice, and both have the same. */
static bool has_xattrs_of(const char *a, const char *b)
{
	_cleanup_free_ char *names = NULL, *one = malloc(65536), *two = malloc(65536);
	ssize_t length = llistxattr(a, NULL, 0);

	if (length < 0)
		return errno == ENOTSUP;
	names = malloc((size_t)length + 1);
	if (!names || !one || !two || llistxattr(a, names, (size_t)length) != length)
		return false;
	for (const char *name = names; name < names + length; name += strlen(name) + 1) {
		ssize_t size = lgetxattr(a, name, one, 65536);

		if (size < 0 || lgetxattr(b, name, two, 65536) != size || memcmp(one, two, (size_t)size))
			return false;
	}
	return true;
}

static bool same_target(const FTSENT *f, int to, const char *below)
{
	char one[4096], two[4096];
	ssize_t length = readlink(f->fts_accpath, one, sizeof(one));

	return length >= 0 && length < (ssize_t)sizeof(one) &&
	       readlinkat(to, below, two, sizeof(two)) == length && !memcmp(one, two, (size_t)length);
}

/* 0, -EILSEQ: they differ, -ECANCELED, or another -errno. */
static int compare_contents(struct walk *walk, int one, int two, uint64_t size)
{
	for (uint64_t at = 0; at < size;) {
		ssize_t n = pread(one, walk->buf, PIECE, (off_t)at);

		if (n <= 0)
			return n ? -errno : -EILSEQ;
		if (pread(two, walk->buf + PIECE, (size_t)n, (off_t)at) != n ||
		    memcmp(walk->buf, walk->buf + PIECE, (size_t)n))
			return -EILSEQ;
		at += (uint64_t)n;
		walk->done += (uint64_t)n;
		if (walk->bar && tk_bar_update(walk->bar, walk->done, walk->total))
			return -ECANCELED;
	}
	return 0;
}

/* A file that only its readers have open; its flags can be asked for with the same descriptor. */
static int open_quiet(const FTSENT *f, int *ret_fd)
{
	_cleanup_close_ int fd = open(f->fts_accpath, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC);
	struct stat st;
	int flags = 0, err;

	if (fd < 0 || fstat(fd, &st))
		return tk_fail_err(verb, f->fts_path, -errno);
	if (st.st_dev != f->fts_statp->st_dev || st.st_ino != f->fts_statp->st_ino)
		return fails(f, "another file took its place meanwhile", again);
	if (!ioctl(fd, FS_IOC_GETFLAGS, &flags) && flags & KEPT_FLAGS)
		return fails(f, "it has attributes that a copy would not have (lsattr)", "take them away by chattr");
	err = S_ISREG(st.st_mode) ? tk_lease_take(fd, F_RDLCK) : 0;
	if (err)
		return err == -EBUSY ? fails(f, "a program has it open for writing", again)
				     : tk_fail_err(verb, f->fts_path, err);
	*ret_fd = TK_TAKE_FD(fd);
	return TK_EXIT_DONE;
}

static int against_copy(struct walk *walk, const FTSENT *f, int fd)
{
	const char *below = f->fts_path + strlen(walk->from);
	char link[48], other[64 + 4096];
	struct stat st;
	int err = 0;

	below = *below ? below + 1 : ".";
	if (fstatat(walk->to, below, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? fails(f, "the copy has not got it", again) : tk_fail_err(verb, f->fts_path, -errno);
	if (!same_attributes(walk, f->fts_statp, &st))
		return fails(f, "it is not as it was copied: owner, mode, time, size or links", again);
	if (S_ISLNK(st.st_mode) && !same_target(f, walk->to, below))
		return fails(f, "it leads elsewhere than its copy", again);
	if (!walk->contents)
		return TK_EXIT_DONE;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", walk->to);
	if (snprintf(other, sizeof(other), "%s/%s", link, below) >= (int)sizeof(other))
		return tk_fail_err(verb, f->fts_path, -ENAMETOOLONG);
	if (!has_xattrs_of(f->fts_accpath, other) || !has_xattrs_of(other, f->fts_accpath))
		return fails(f, "its copy has other extended attributes or ACLs", again);
	if (S_ISREG(st.st_mode)) {
		_cleanup_close_ int copy = openat(walk->to, below, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

		err = copy < 0 ? -errno : compare_contents(walk, fd, copy, (uint64_t)st.st_size);
	}
	if (err == -EILSEQ)
		return fails(f, "its copy has other contents", again);
	return err == -ECANCELED ? TK_EXIT_FAILED : err ? tk_fail_err(verb, f->fts_path, err) : TK_EXIT_DONE;
}

/* -------------------------------------------------- walking */

static void ftsp(FTS **fts)
{
	if (*fts)
		fts_close(*fts);
}

static int visit(struct walk *walk, const FTS *fts, const FTSENT *f)
{
	_cleanup_close_ int fd = -1;
	int code = TK_EXIT_DONE;

	switch (f->fts_info) {
	case FTS_DP:
		return f->fts_errno ? fails(f, "another directory took its place meanwhile", again) : TK_EXIT_DONE;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return tk_fail_err(verb, f->fts_path, -f->fts_errno);
	case FTS_DC:
		return tk_fail_err(verb, f->fts_path, -ELOOP);
	}
	if (f->fts_statp->st_dev != fts->fts_dev)
		return fails(f, "something is mounted there", "unmount it");
	walk->entries++;
	if (S_ISREG(f->fts_statp->st_mode))
		walk->bytes += (uint64_t)f->fts_statp->st_size;
	if (S_ISREG(f->fts_statp->st_mode) || S_ISDIR(f->fts_statp->st_mode))
		code = open_quiet(f, &fd);
	if (code == TK_EXIT_DONE && walk->to >= 0)
		code = against_copy(walk, f, fd);
	return code;
}

static int walk_run(struct walk *walk)
{
	char *const roots[] = {(char *)walk->from, NULL};
	_cleanup_(ftsp) FTS *fts = fts_open(roots, FTS_PHYSICAL, NULL);
	int code = TK_EXIT_DONE;
	FTSENT *f;

	if (!fts)
		return tk_fail_err(verb, walk->from, -errno);
	while (errno = 0, code == TK_EXIT_DONE && !tk_interrupted() && (f = fts_read(fts)))
		code = visit(walk, fts, f);
	if (code == TK_EXIT_DONE && !tk_interrupted() && errno)
		code = tk_fail_err(verb, walk->from, -errno);
	tdestroy(walk->links, free);
	walk->links = NULL;
	return tk_interrupted() ? TK_EXIT_FAILED : code;
}

int tk_treecopy_measure(const char *from, struct tk_tree_size *ret_size)
{
	struct walk walk = {.from = from, .to = -1};
	int code = walk_run(&walk);

	if (code == TK_EXIT_DONE)
		*ret_size = (struct tk_tree_size){walk.entries, walk.bytes};
	return code;
}

static int hold_against(const char *from, const char *to, const struct tk_tree_size *size, struct tk_bar *bar)
{
	_cleanup_close_ int root = open(to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *buf = malloc(2 * PIECE);
	struct walk walk = {.from = from, .to = root, .contents = size, .bar = bar, .buf = buf},
		    copy = {.from = to, .to = -1};
	int code;

	if (root < 0 || !buf)
		return tk_fail_err(verb, to, root < 0 ? -errno : -ENOMEM);
	walk.total = size ? size->bytes : 0;
	code = walk_run(&walk);
	if (code == TK_EXIT_DONE && size)
		code = walk_run(&copy);
	if (code == TK_EXIT_DONE && size && walk.entries != copy.entries)
		code = tk_fail(verb, from, "its copy has more in it", again);
	return code;
}

int tk_treecopy_verify(const char *from, const char *to, const struct tk_tree_size *size)
{
	struct tk_bar bar;
	int code;

	tk_bar_start(&bar, "verify");
	code = hold_against(from, to, size, &bar);
	tk_bar_end(&bar);
	return code;
}

int tk_treecopy_unchanged(const char *from, const char *to)
{
	return hold_against(from, to, NULL, NULL);
}

int tk_treecopy_remove(const char *tree)
{
	char *const roots[] = {(char *)tree, NULL};
	_cleanup_(ftsp) FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_XDEV, NULL);
	FTSENT *f;

	if (!fts)
		return tk_fail_err(verb, tree, -errno);
	while (errno = 0, !tk_interrupted() && (f = fts_read(fts))) {
		bool directory = f->fts_info == FTS_DP;

		if (f->fts_info == FTS_D)
			continue;
		if (unlinkat(AT_FDCWD, f->fts_accpath, directory ? AT_REMOVEDIR : 0) && errno != ENOENT)
			return tk_fail_err(verb, f->fts_path, -errno);
	}
	return tk_interrupted() ? TK_EXIT_FAILED : errno ? tk_fail_err(verb, tree, -errno) : TK_EXIT_DONE;
}

/* -------------------------------------------------- copying */

static _Noreturn void become_cp(const char *from, const char *to, pid_t parent)
{
	_cleanup_free_ char *contents = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || asprintf(&contents, "%s/.", from) < 0)
		_exit(127);
	execl("/bin/cp", "cp", "-a", "--reflink=never", "--", contents, to, NULL);
	fprintf(stderr, "takakrypt-bpf: %s: /bin/cp: %s\n", verb, strerror(errno));
	_exit(127);
}

/* What it has written so far: proc(5). */
static uint64_t written_by(pid_t pid)
{
	unsigned long long value = 0;
	char path[48], line[64];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
	in = fopen(path, "re");
	while (in && fgets(line, sizeof(line), in) && sscanf(line, "wchar: %llu", &value) != 1)
		;
	if (in)
		fclose(in);
	return value;
}

int tk_treecopy_run(const char *from, const char *to, const struct tk_tree_size *size)
{
	pid_t parent = getpid(), pid;
	struct pollfd ended = {.fd = -1, .events = POLLIN};
	struct tk_bar bar;
	int status = 0, code = TK_EXIT_DONE;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return tk_fail_err(verb, "/bin/cp", -errno);
	if (!pid)
		become_cp(from, to, parent);
	ended.fd = pidfd_open(pid, 0);
	tk_bar_start(&bar, "copy");
	while (!waitpid(pid, &status, WNOHANG)) {
		uint64_t done = written_by(pid);

		if (tk_bar_update(&bar, done < size->bytes ? done : size->bytes, size->bytes))
			kill(pid, SIGKILL);
		poll(&ended, 1, BAR_MS);
	}
	tk_bar_end(&bar);
	tk_closep(&ended.fd);
	if (tk_interrupted())
		code = TK_EXIT_FAILED;
	else if (!WIFEXITED(status) || WEXITSTATUS(status))
		code = tk_fail(verb, from, "cp could not copy it", "see above; what was copied is removed by --undo");
	return code;
}
