// SPDX-License-Identifier: GPL-2.0
/*
 * loader/keys/files.c - makes, names and removes the files that keys are kept in;
 * files.h has the contract.
 */
#include "loader/keys/files.h"
#include "loader/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

const char *tk_key_name(uint32_t version, bool retired, char buf[TK_KEY_NAME])
{
	snprintf(buf, TK_KEY_NAME, "%s%" PRIu32, retired ? TK_KEY_RETIRED : "", version);
	return buf;
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int write_key(int fd, const uint8_t kek[TK_KEK_SIZE], bool hex)
{
	char text[2 * TK_KEK_SIZE + 2] = {};
	int r;

	if (!hex)
		return write_all(fd, kek, TK_KEK_SIZE);
	/* It lives for the length of one write; dumps are off, so a refusal to lock is no reason to stop. */
	(void)mlock(text, sizeof(text));
	for (size_t i = 0; i < TK_KEK_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", kek[i]);
	text[2 * TK_KEK_SIZE] = '\n';
	r = write_all(fd, text, 2 * TK_KEK_SIZE + 1);
	tk_wipe(text, sizeof(text));
	(void)munlock(text, sizeof(text));
	return r;
}

/* Without a name until it is whole: an agent may read the directory at any instant. */
static int create_unnamed(int dir_fd, const char *name, const uint8_t kek[TK_KEK_SIZE], bool hex)
{
	_cleanup_close_ int fd = openat(dir_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	char self[40];
	int r;

	if (fd < 0)
		return errno == EISDIR || errno == ENOENT ? -EOPNOTSUPP : -errno;
	r = fchmod(fd, 0600) < 0 ? -errno
				 : write_key(fd, kek, hex); /* whatever the umask and a default ACL say */
	if (r < 0)
		return r;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, dir_fd, name, AT_SYMLINK_FOLLOW) < 0)
		return errno == ENOENT ? -EOPNOTSUPP : -errno; /* no /proc */
	return 0;
}

/* Without O_TMPFILE (NFS, older overlayfs): under a name that no reader of keys looks at, until it is whole.
 */
static int create_named(int dir_fd, const char *name, const uint8_t kek[TK_KEK_SIZE], bool hex)
{
	_cleanup_close_ int fd = -1;
	char temp[40];
	uint64_t x;
	int r = tk_random(&x, sizeof(x));

	if (r < 0)
		return r;
	snprintf(temp, sizeof(temp), TK_KEY_UNFINISHED "%016" PRIx64, x);
	fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = fchmod(fd, 0600) < 0 ? -errno : write_key(fd, kek, hex);
	if (r == 0 && renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) == 0)
		return 0;
	/* EINVAL: filesystems that have no such rename, NFS among them; a link never replaces either */
	if (r == 0 && (errno == EINVAL || errno == ENOSYS))
		r = linkat(dir_fd, temp, dir_fd, name, 0) < 0 ? -errno : 0;
	else if (r == 0)
		r = -errno;
	if (unlinkat(dir_fd, temp, 0) < 0 && r == 0)
		r = -errno;
	return r;
}

static int create_at(int dir_fd, const char *name, const uint8_t kek[TK_KEK_SIZE], bool hex)
{
	int r = create_unnamed(dir_fd, name, kek, hex);

	if (r == -EOPNOTSUPP)
		r = create_named(dir_fd, name, kek, hex);
	if (r == 0 && fsync(dir_fd) < 0) {
		r = -errno;
		unlinkat(dir_fd, name, 0);
	}
	return r;
}

static int create_file(const char *path, const uint8_t kek[TK_KEK_SIZE], bool hex)
{
	_cleanup_free_ char *for_dir = strdup(path), *for_base = strdup(path);
	_cleanup_close_ int dir_fd = -1;
	struct stat st;

	if (!for_dir || !for_base)
		return -ENOMEM;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return -EISDIR;
	dir_fd = open(dirname(for_dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	return create_at(dir_fd, basename(for_base), kek, hex);
}

static int create_version(const char *path, uint32_t version, const uint8_t kek[TK_KEK_SIZE], bool hex)
{
	_cleanup_close_ int dir_fd = -1, parent_fd = -1;
	char name[TK_KEY_NAME];
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	/* The directory may be new: its own name has to be durable as well. */
	parent_fd = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd < 0 || fsync(parent_fd) < 0)
		return -errno;
	/* Another key under that number would make a file of the retired one look damaged. */
	if (fstatat(dir_fd, tk_key_name(version, true, name), &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return create_at(dir_fd, tk_key_name(version, false, name), kek, hex);
}

int tk_keyfile_create(const char *path, uint32_t version, const uint8_t kek[TK_KEK_SIZE], bool hex)
{
	return version ? create_version(path, version, kek, hex) : create_file(path, kek, hex);
}

/* -------------------------------------------------------------- directories */

static bool parse_name(const char *name, struct tk_keydir_version *ret_version)
{
	bool retired = strncmp(name, TK_KEY_RETIRED, strlen(TK_KEY_RETIRED)) == 0;
	uint64_t v;

	if (tk_parse_u64(retired ? name + strlen(TK_KEY_RETIRED) : name, UINT32_MAX, &v) < 0 || v == 0)
		return false;
	*ret_version = (struct tk_keydir_version){.version = (uint32_t)v, .retired = retired};
	return true;
}

static int by_version(const void *a, const void *b)
{
	const struct tk_keydir_version *x = a, *y = b;

	return x->version < y->version ? -1 : x->version > y->version;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int tk_keydir_read(const char *path, struct tk_keydir *ret_dir)
{
	_cleanup_(closedirp) DIR *dir = opendir(path);
	_cleanup_(tk_keydir_clear) struct tk_keydir found = {};
	struct tk_keydir_version version;
	const struct dirent *entry;
	size_t room = 0;

	if (!dir)
		return -errno;
	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		if (!parse_name(entry->d_name, &version))
			continue;
		if (found.count == room) {
			struct tk_keydir_version *grown;

			room = room ? room * 2 : 16;
			grown = reallocarray(found.items, room, sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			found.items = grown;
		}
		found.items[found.count++] = version;
	}
	if (errno)
		return -errno;
	if (found.count)
		qsort(found.items, found.count, sizeof(*found.items), by_version);
	*ret_dir = found;
	found = (struct tk_keydir){};
	return 0;
}

void tk_keydir_clear(struct tk_keydir *dir)
{
	free(dir->items);
	*dir = (struct tk_keydir){};
}

int tk_keydir_retire(const char *path, uint32_t version, bool back)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char from[TK_KEY_NAME], to[TK_KEY_NAME];
	int r;

	if (fd < 0 || renameat2(fd, tk_key_name(version, back, from), fd, tk_key_name(version, !back, to),
				RENAME_NOREPLACE) < 0)
		return -errno;
	if (fsync(fd) == 0)
		return 0;
	r = -errno;
	if (!back) /* in use it does no harm */
		renameat2(fd, to, fd, from, RENAME_NOREPLACE);
	return r;
}
