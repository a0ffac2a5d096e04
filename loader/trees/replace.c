// SPDX-License-Identifier: GPL-2.0
/*
 * loader/trees/replace.c - new content for a file, by way of a second file in the
 * same directory that is complete and durable before it takes the name.
 */
#include "loader/trees/replace.h"
#include "crypto/takakrypt.h"
#include "loader/trees/lease.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/xattr.h>

static int because(int err, const char *why, const char **ret_why)
{
	*ret_why = why;
	return err;
}

#define TEMP ".takakrypt-"

static int temp_name(char name[TK_REPLACE_TEMP])
{
	uint64_t x;
	int err = tk_random(&x, sizeof(x));

	if (err == 0)
		snprintf(name, TK_REPLACE_TEMP, TEMP "%016" PRIx64, x);
	return err;
}

/* The first of its names that a run which was killed has left, or NULL. */
static const char *find_leftover(const char *path, const char *const *links)
{
	for (; path; path = links && *links ? *links++ : NULL) {
		const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

		if (strncmp(name, TEMP, strlen(TEMP)) == 0 &&
		    strspn(name + strlen(TEMP), "0123456789abcdef") == 16 &&
		    strlen(name) == strlen(TEMP) + 16)
			return path;
	}
	return NULL;
}

/* Without a name where the filesystem can: then even a kill leaves nothing behind. */
static int open_temp(struct tk_replace *r)
{
	int err;

	r->out_fd = openat(r->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (r->out_fd >= 0)
		return 0;
	/* NFS and overlayfs of older kernels among others; EISDIR: kernels without O_TMPFILE */
	if (errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	err = temp_name(r->temp);
	if (err < 0)
		return err;
	r->out_fd = openat(r->dir_fd, r->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (r->out_fd < 0) {
		err = -errno;
		r->temp[0] = '\0';
		return err;
	}
	return 0;
}

/* A directory and a name in it, out of a path. */
static int open_place(const char *path, int *ret_dir_fd, char **ret_name)
{
	_cleanup_free_ char *for_dir = strdup(path), *for_base = strdup(path), *name = NULL;
	int fd;

	if (!for_dir || !for_base)
		return -ENOMEM;
	name = strdup(basename(for_base));
	if (!name)
		return -ENOMEM;
	fd = open(dirname(for_dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_dir_fd = fd;
	*ret_name = TK_TAKE_PTR(name);
	return 0;
}

static nlink_t count_links(const char *const *links)
{
	nlink_t n = 0;

	while (links && links[n])
		n++;
	return n;
}

/*
 * A read lease is only to be had while nobody has the file open for writing,
 * and not a second time once somebody wants to.  Where leases are not to be had
 * at all (not the owner, some filesystems) what stat(2) says is what remains.
 */
static bool has_writer(struct tk_replace *r)
{
	int err = tk_lease_take(r->in_fd, F_RDLCK);

	r->leased = err == 0;
	return err == -EBUSY;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_file(const struct tk_replace *r)
{
	struct stat st;

	return fstatat(r->dir_fd, r->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == r->st.st_dev &&
	       st.st_ino == r->st.st_ino && st.st_size == r->st.st_size && st.st_nlink == r->st.st_nlink &&
	       same_time(&st.st_mtim, &r->st.st_mtim) && same_time(&st.st_ctim, &r->st.st_ctim);
}

int tk_replace_open(struct tk_replace *r, const char *path, const char *const *links, const char *output,
		    const char **ret_why)
{
	const char *left = output ? NULL : find_leftover(path, links);
	_cleanup_free_ char *real = NULL;
	struct stat st;
	int err;

	*r = TK_REPLACE_INIT;
	r->in_place = !output;
	r->links = links;
	if (left) {
		snprintf(r->why, sizeof(r->why),
			 "a run that was killed has left %.3000s, whose content another name may have anew",
			 left);
		return because(-EUCLEAN, r->why, ret_why);
	}
	real = realpath(path, NULL);
	if (!real)
		return because(-errno, "it cannot be found", ret_why);
	r->in_fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (r->in_fd < 0 || fstat(r->in_fd, &r->st) < 0)
		return because(-errno, "it cannot be opened", ret_why);
	if (S_ISDIR(r->st.st_mode))
		return because(-EISDIR, "it is a directory; name the files in it", ret_why);
	if (!S_ISREG(r->st.st_mode))
		return because(-EINVAL, "it is not a regular file", ret_why);
	if (r->in_place && r->st.st_nlink != 1 + count_links(links))
		return because(-EMLINK, "it has other hard links, which would keep the old content", ret_why);
	err = open_place(output ? output : real, &r->dir_fd, &r->name);
	if (err < 0)
		return because(err, "the directory of the result cannot be opened", ret_why);
	if (!r->in_place && fstatat(r->dir_fd, r->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return because(-EEXIST, "the file to be written already exists", ret_why);
	if (r->in_place && has_writer(r))
		return because(-EBUSY, "a program has it open for writing", ret_why);
	err = open_temp(r);
	if (err < 0)
		return because(err, "no file can be created in the directory of the result", ret_why);
	return 0;
}

/*
 * The labels that belong to a content and would be wrong for another one: a
 * copied IMA signature would make the file unreadable where it is enforced.
 */
static bool belongs_to_content(const char *name)
{
	return strcmp(name, "security.ima") == 0 || strcmp(name, "security.evm") == 0;
}

static int copy_xattr(int from, int to, const char *name)
{
	_cleanup_free_ char *value = NULL;
	ssize_t len;

	/* Between the two calls it may grow; then ERANGE, and the whole operation fails. */
	len = fgetxattr(from, name, NULL, 0);
	if (len < 0)
		return -errno;
	value = malloc((size_t)len + 1);
	if (!value)
		return -ENOMEM;
	len = fgetxattr(from, name, value, (size_t)len);
	if (len < 0)
		return -errno;
	return fsetxattr(to, name, value, (size_t)len, 0) < 0 ? -errno : 0;
}

static int copy_xattrs(int from, int to)
{
	_cleanup_free_ char *names = NULL;
	ssize_t len;
	int err;

	/* What the directory's default ACL gave to the new file is not the file's. */
	if (fremovexattr(to, "system.posix_acl_access") < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return -errno;
	len = flistxattr(from, NULL, 0);
	if (len < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	names = malloc((size_t)len + 1);
	if (!names)
		return -ENOMEM;
	len = flistxattr(from, names, (size_t)len);
	if (len < 0)
		return -errno;
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		if (belongs_to_content(name))
			continue;
		err = copy_xattr(from, to, name);
		if (err < 0)
			return err;
	}
	return 0;
}

/* The order matters: a change of owner clears set-id bits and capabilities. */
static int keep_metadata(const struct tk_replace *r, const char **ret_why)
{
	const struct timespec times[2] = {r->st.st_atim, r->st.st_mtim};
	struct stat st;
	int err;

	if (fstat(r->out_fd, &st) < 0)
		return because(-errno, "the new file cannot be examined", ret_why);
	if ((st.st_uid != r->st.st_uid || st.st_gid != r->st.st_gid) &&
	    fchown(r->out_fd, r->st.st_uid, r->st.st_gid) < 0)
		return because(-errno, "its owner and group cannot be kept", ret_why);
	err = copy_xattrs(r->in_fd, r->out_fd);
	if (err < 0)
		return because(err, "its ACL or other extended attributes cannot be kept", ret_why);
	if (fchmod(r->out_fd, r->st.st_mode & 07777) < 0)
		return because(-errno, "its mode cannot be kept", ret_why);
	if (futimens(r->out_fd, times) < 0)
		return because(-errno, "its times cannot be kept", ret_why);
	return 0;
}

/* Gives the new file a name, which must be new. */
static int link_as(const struct tk_replace *r, int dir_fd, const char *name)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", r->out_fd);
	if (linkat(AT_FDCWD, self, dir_fd, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	/* no /proc here: the other way needs CAP_DAC_READ_SEARCH */
	return linkat(r->out_fd, "", dir_fd, name, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int put_new(struct tk_replace *r, const char **ret_why)
{
	mode_t mask = umask(0);
	int err;

	umask(mask);
	if (fchmod(r->out_fd, r->st.st_mode & 0777 & ~mask) < 0)
		return because(-errno, "the mode of the new file cannot be set", ret_why);
	if (fsync(r->out_fd) < 0)
		return because(-errno, "the new file cannot be made durable", ret_why);
	if (!r->temp[0])
		err = link_as(r, r->dir_fd, r->name);
	else
		err = renameat2(r->dir_fd, r->temp, r->dir_fd, r->name, RENAME_NOREPLACE) < 0 ? -errno : 0;
	if (err < 0)
		return because(err, "the new file cannot be given its name", ret_why);
	r->temp[0] = '\0';
	return 0;
}

/* Only what was written here: after a failed exchange the only name of the old file may be that one. */
static void drop_temp(const struct tk_replace *r, int dir_fd, const char *temp)
{
	struct stat at, own;

	if (fstatat(dir_fd, temp, &at, AT_SYMLINK_NOFOLLOW) == 0 && fstat(r->out_fd, &own) == 0 &&
	    at.st_dev == own.st_dev && at.st_ino == own.st_ino)
		unlinkat(dir_fd, temp, 0);
}

/* Looks at the file itself, under whichever name: a rename changes its ctime, so that is left out. */
static bool untouched(const struct tk_replace *r)
{
	struct stat st;

	return (!r->leased || tk_lease_holds(r->in_fd, F_RDLCK)) && fstat(r->in_fd, &st) == 0 &&
	       st.st_size == r->st.st_size && st.st_mode == r->st.st_mode && st.st_uid == r->st.st_uid &&
	       st.st_gid == r->st.st_gid && same_time(&st.st_mtim, &r->st.st_mtim);
}

static bool is_old(const struct tk_replace *r, int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == r->st.st_dev &&
	       st.st_ino == r->st.st_ino;
}

/*
 * The new file, which has the name temp, takes a name of the old one.  A writer that came between a check and
 * a plain rename would write to a file without a name: so they are exchanged first, then the old one is
 * checked, and either goes or gets its name back.  -EBUSY: it changed.
 */
static int take_name(const struct tk_replace *r, int dir_fd, const char *temp, const char *name)
{
	int err;

	if (!is_old(r, dir_fd, name) || !untouched(r))
		return -EBUSY;
	if (renameat2(dir_fd, temp, dir_fd, name, RENAME_EXCHANGE) < 0) {
		/* EINVAL: filesystems that cannot exchange, NFS and older overlayfs among them */
		if (errno != EINVAL && errno != ENOSYS)
			return -errno;
		if (!untouched(r))
			return -EBUSY;
		return renameat(dir_fd, temp, dir_fd, name) < 0 ? -errno : 0;
	}
	if (is_old(r, dir_fd, temp) && untouched(r))
		return unlinkat(dir_fd, temp, 0) < 0 ? -errno : 0;
	err = renameat2(dir_fd, temp, dir_fd, name, RENAME_EXCHANGE) < 0 ? -errno : 0;
	return err ? err : -EBUSY;
}

/* The new file takes another name of the old one. */
static int relink(const struct tk_replace *r, const char *path)
{
	_cleanup_close_ int dir_fd = -1;
	_cleanup_free_ char *name = NULL;
	char temp[TK_REPLACE_TEMP];
	int err = open_place(path, &dir_fd, &name);

	if (err == 0)
		err = temp_name(temp);
	if (err == 0)
		err = link_as(r, dir_fd, temp);
	if (err < 0)
		return err;
	err = take_name(r, dir_fd, temp, name);
	if (err < 0) {
		drop_temp(r, dir_fd, temp);
		return err;
	}
	return fsync(dir_fd) < 0 ? -errno : 0;
}

/* All of them, one after the other; each is durable before the next. */
static int take_names(struct tk_replace *r, const char **ret_why)
{
	int err = take_name(r, r->dir_fd, r->temp, r->name);

	if (err == -EBUSY)
		return because(err, "it changed meanwhile", ret_why);
	if (err < 0)
		return because(err, "the new content cannot take its place", ret_why);
	r->temp[0] = '\0';
	for (const char *const *link = r->links; link && *link; link++) {
		err = relink(r, *link);
		if (err < 0)
			return because(err, "a hard link was left behind with the old content", ret_why);
	}
	return 0;
}

/*
 * While some links have the old content and some the new, the old one has a name more, durable before any of
 * them changes: were it not for that, nothing would tell after a kill that they belong together.
 */
static int set_witness(const struct tk_replace *r, char witness[TK_REPLACE_TEMP])
{
	int err = temp_name(witness);

	if (err == 0 && linkat(r->dir_fd, r->name, r->dir_fd, witness, 0) < 0)
		err = -errno;
	if (err < 0) {
		witness[0] = '\0';
		return err;
	}
	if (fsync(r->dir_fd) == 0)
		return 0;
	err = -errno;
	unlinkat(r->dir_fd, witness, 0);
	witness[0] = '\0';
	return err;
}

static int put_in_place(struct tk_replace *r, const char **ret_why)
{
	char witness[TK_REPLACE_TEMP] = "";
	int err = keep_metadata(r, ret_why);

	if (err < 0)
		return err;
	if (fsync(r->out_fd) < 0)
		return because(-errno, "the new content cannot be made durable", ret_why);
	if (!r->temp[0]) {
		err = temp_name(r->temp);
		if (err == 0)
			err = link_as(r, r->dir_fd, r->temp);
		if (err < 0) {
			r->temp[0] = '\0';
			return because(err, "the new content cannot be given a name", ret_why);
		}
	}
	if (has_writer(r))
		return because(-EBUSY, "a program opened it for writing meanwhile", ret_why);
	if (!same_file(r))
		return because(-EBUSY, "it changed meanwhile", ret_why);
	if (r->links && *r->links) {
		err = set_witness(r, witness);
		if (err < 0)
			return because(err, "its hard links cannot be given one more", ret_why);
	}
	err = take_names(r, ret_why);
	if (witness[0] && is_old(r, r->dir_fd, witness) && unlinkat(r->dir_fd, witness, 0) < 0 && err == 0)
		return because(-errno, "it is done, but the old content's last name cannot be removed",
			       ret_why);
	return err;
}

int tk_replace_commit(struct tk_replace *r, const char **ret_why)
{
	int err = r->in_place ? put_in_place(r, ret_why) : put_new(r, ret_why);

	if (err < 0)
		return err;
	if (fsync(r->dir_fd) < 0)
		return because(-errno, "it is done, but its directory could not be made durable", ret_why);
	return 0;
}

static const char *remedy_for(int err)
{
	switch (err) {
	case -EMLINK:
		return "name the other links too, remove them, or use -o";
	case -EBUSY:
		return "wait until nothing writes to it, and try again";
	case -EUCLEAN:
		return "find the name with the new content, `ln -f` it to the file's other names, remove "
		       "what was left, and start again";
	case -EISDIR:
	case -EINVAL:
		return NULL;
	}
	return tk_advice(err);
}

int tk_replace_fail(const char *verb, const char *path, const char *why, int err)
{
	char text[256];

	switch (err) {
	case -EMLINK:
	case -EBUSY:
	case -EUCLEAN:
	case -EISDIR:
	case -EINVAL:
	case -EEXIST:
		return tk_fail(verb, path, why, remedy_for(err));
	}
	snprintf(text, sizeof(text), "%s (%s)", why, tk_strerror(err));
	return tk_fail(verb, path, text, remedy_for(err));
}

void tk_replace_end(struct tk_replace *r)
{
	if (r->temp[0])
		drop_temp(r, r->dir_fd, r->temp);
	tk_closep(&r->out_fd);
	tk_closep(&r->in_fd); /* the lease ends with it */
	tk_closep(&r->dir_fd);
	free(r->name);
	*r = TK_REPLACE_INIT;
}
