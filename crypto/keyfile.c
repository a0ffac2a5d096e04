// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/keyfile.c - keys out of files and directories, systemd's credentials
 * among them: who may own them, who may read them, what they hold.
 */
#include "crypto/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int nibble(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(const uint8_t hex[2 * TK_KEK_SIZE], uint8_t out[TK_KEK_SIZE])
{
	for (size_t i = 0; i < 2 * TK_KEK_SIZE; i++)
		if (nibble(hex[i]) < 0)
			return false;
	for (size_t i = 0; i < TK_KEK_SIZE; i++)
		out[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
	return true;
}

int tk_key_parse(const void *text, size_t len, uint8_t ret_kek[TK_KEK_SIZE])
{
	const uint8_t *p = text;

	if (len == TK_KEK_SIZE) {
		memcpy(ret_kek, p, TK_KEK_SIZE);
		return 0;
	}
	if (len != 2 * TK_KEK_SIZE && (len != 2 * TK_KEK_SIZE + 1 || p[len - 1] != '\n'))
		return -EINVAL;
	return unhex(p, ret_kek) ? 0 : -EINVAL;
}

const uint8_t *tk_key_text_parse(struct tk_key_text *text, size_t len)
{
	return tk_key_parse(text->bytes, len, text->kek) < 0 ? NULL : text->kek;
}

/* One key file, open and of known type, becomes a version. */
static int add_version(int fd, const struct stat *st, struct tk_key *key, uint32_t version,
		       const char **ret_why)
{
	__attribute__((cleanup(tk_key_text_freep))) struct tk_key_text *text = NULL;
	const uint8_t *kek;
	size_t len = 0;
	int r;

	if (!tk_owner_trusted(st))
		return tk_key_refuse(-EACCES, "the key file belongs to neither root nor the caller", ret_why);
	/* With an ACL the group bits are its mask, so this covers those too. */
	if (st->st_mode & 077)
		return tk_key_refuse(
			-EACCES, "the key file is open to its group or to others (mode must be 0600 or 0400)",
			ret_why);
	text = tk_locked_alloc(sizeof(*text));
	if (!text)
		return tk_key_refuse(-errno, "no memory can be locked for the key (limit RLIMIT_MEMLOCK)",
				     ret_why);
	while (len < sizeof(text->bytes)) {
		ssize_t n = read(fd, text->bytes + len, sizeof(text->bytes) - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return tk_key_refuse(-errno, "the key file cannot be read", ret_why);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	kek = tk_key_text_parse(text, len);
	if (!kek)
		return tk_key_refuse(-EINVAL, "the key file holds neither 32 bytes nor 64 hexadecimal digits",
				     ret_why);
	r = tk_key_put(key, version, kek);
	return r < 0 ? tk_key_refuse(r, "the key does not fit into locked memory", ret_why) : 0;
}

/* 1..UINT32_MAX in decimal without leading zeros; 0 for anything else. */
static uint32_t parse_version(const char *name)
{
	uint64_t v = 0;

	if (name[0] == '0')
		return 0;
	for (; *name; name++) {
		if (*name < '0' || *name > '9')
			return 0;
		v = v * 10 + (uint64_t)(*name - '0');
		if (v > UINT32_MAX)
			return 0;
	}
	return (uint32_t)v;
}

/* Takes the descriptor over. */
static int add_directory(int dir_fd, const struct stat *st, struct tk_key *key, const char **ret_why)
{
	__attribute__((cleanup(closedirp))) DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;

	if (!dir) {
		int err = -errno;

		close(dir_fd);
		return tk_key_refuse(err, "the key directory cannot be read", ret_why);
	}
	if (!tk_owner_trusted(st))
		return tk_key_refuse(-EACCES, "the key directory belongs to neither root nor the caller",
				     ret_why);
	if (st->st_mode & 022)
		return tk_key_refuse(-EACCES, "the key directory can be written by its group or by others",
				     ret_why);
	for (;;) {
		__attribute__((cleanup(closep))) int fd = -1;
		struct stat file;
		uint32_t version;
		int r;

		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			if (errno)
				return tk_key_refuse(-errno, "the key directory cannot be read", ret_why);
			break;
		}
		if (entry->d_name[0] == '.')
			continue;
		version = parse_version(entry->d_name);
		if (version == 0)
			return tk_key_refuse(
				-EINVAL,
				"the key directory holds something not named by a version (1, 2, ...)",
				ret_why);
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0 || fstat(fd, &file) < 0)
			return tk_key_refuse(-errno, "a key file in the directory cannot be opened", ret_why);
		if (!S_ISREG(file.st_mode))
			return tk_key_refuse(-EINVAL,
					     "the key directory holds something that is no regular file",
					     ret_why);
		r = add_version(fd, &file, key, version, ret_why);
		if (r < 0)
			return r;
	}
	return tk_key_versions(key) ? 0 : tk_key_refuse(-ENOENT, "the key directory is empty", ret_why);
}

int tk_keyring_add_file(struct tk_keyring *ring, const char *key_id, const char *path, const char **ret_why)
{
	__attribute__((cleanup(tk_key_freep))) struct tk_key *key = NULL;
	__attribute__((cleanup(closep))) int fd = -1;
	struct stat st;
	int r;

	r = tk_key_new(key_id, &key);
	if (r < 0)
		return tk_key_refuse(r, "the key id is not 1 to 255 printable characters without '/'",
				     ret_why);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return tk_key_refuse(-errno, "the key file cannot be opened", ret_why);
	if (S_ISDIR(st.st_mode)) {
		int dir_fd = fd;

		fd = -1;
		r = add_directory(dir_fd, &st, key, ret_why);
	} else if (S_ISREG(st.st_mode)) {
		r = add_version(fd, &st, key, 1, ret_why);
	} else {
		r = tk_key_refuse(-EINVAL, "the key is neither a regular file nor a directory", ret_why);
	}
	if (r < 0)
		return r;

	tk_keyring_replace(ring, key);
	key = NULL;
	return 0;
}

/* What systemd's LoadCredential= and its relatives put there for the service alone. */
int tk_keyring_add_credential(struct tk_keyring *ring, const char *key_id, const char *name,
			      const char **ret_why)
{
	const char *dir = secure_getenv("CREDENTIALS_DIRECTORY");
	char path[4096];

	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return tk_key_refuse(-EINVAL, "the credential's name is no file name", ret_why);
	if (!dir)
		return tk_key_refuse(-ENOENT,
				     "the service was given no credentials (LoadCredential= in its unit)",
				     ret_why);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return tk_key_refuse(-ENAMETOOLONG, "the credential's path is too long", ret_why);
	return tk_keyring_add_file(ring, key_id, path, ret_why);
}
