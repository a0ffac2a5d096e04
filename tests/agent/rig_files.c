// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/rig_files.c - what tests ask of the files of a rig, through the guard point
 * or past it, and of the agent's word on them.  Owns the contents that tests write.
 */
#include "tests/agent/rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"

const char *in(const struct rig *rig, const char *name)
{
	static char paths[4][256];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", rig->guard, name);
	return path;
}

int below(const struct rig *rig, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", rig->inner, name);
	return openat(rig->below, path, O_RDONLY | O_CLOEXEC | O_NOATIME);
}

bool is_taka(const struct rig *rig, const char *name)
{
	char magic[4] = "";
	int fd = below(rig, name);
	bool good = fd >= 0 && read(fd, magic, 4) == 4 && !memcmp(magic, "TAKA", 4);

	if (fd >= 0)
		close(fd);
	return good;
}

bool record_of(const struct rig *rig, const char *name, struct tk_record *ret_record)
{
	struct tk_volume volume = {
		.vault = openat(rig->below, ".takakrypt", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	DIR *dir = volume.vault < 0 ? NULL : fdopendir(volume.vault);
	int fd = below(rig, name);
	struct dirent *entry;
	bool found = false;
	struct stat st;

	while (fd >= 0 && !fstat(fd, &st) && dir && !found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' && !tk_record_read(&volume, entry->d_name, ret_record) &&
			ret_record->inode.ino == st.st_ino;
	if (dir)
		closedir(dir);
	if (fd >= 0)
		close(fd);
	return found;
}

struct fake_file *file_of(const struct rig *rig, int fd)
{
	struct stat st;

	return fd < 0 || fstat(fd, &st) ? NULL : fake_file_of(rig->shared, st.st_ino);
}

uint32_t state_of(const struct rig *rig, const char *name)
{
	int fd = below(rig, name);
	const struct fake_file *file = file_of(rig, fd);

	if (fd < 0)
		return UINT32_MAX;
	close(fd);
	return file ? file->state : TK_SEALED;
}

long status_number(const struct rig *rig, const char *group, const char *name)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;
	const cJSON *at, *number;
	long value = -1;

	cJSON_AddStringToObject(request, "verb", "status");
	if (!tk_client_ask(rig->control, request, &answer)) {
		at = group ? cJSON_GetObjectItem(answer, group) : answer;
		number = cJSON_GetObjectItem(at, name);
		if (cJSON_IsNumber(number))
			value = (long)number->valuedouble;
	}
	cJSON_Delete(request);
	cJSON_Delete(answer);
	return value;
}

/* How many entries the vault has; the name of one. */
static int records(const struct rig *rig, char *ret_name, size_t size)
{
	int fd = openat(rig->below, ".takakrypt", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			count++;
			snprintf(ret_name, size, "%s", entry->d_name);
		}
	if (!dir)
		return -1;
	closedir(dir);
	return count;
}

bool no_records(const struct rig *rig)
{
	char name[256];
	int count = records(rig, name, sizeof(name));

	if (count > 0)
		printf("%d records left: %s\n", count, name);
	return !count;
}

bool journal_empty(const struct rig *rig)
{
	char name[256];

	return !records(rig, name, sizeof(name));
}

bool at_ease(const struct rig *rig)
{
	char name[256];
	int kept = 0;

	for (uint32_t i = 0; i < rig->shared->file_count; i++)
		kept += rig->shared->files[i].state == TK_KEPT;
	return records(rig, name, sizeof(name)) == kept;
}

void raw_closed(const struct rig *rig, const char *name)
{
	int fd = below(rig, name);
	struct stat st;

	for (uint32_t i = 0; fd >= 0 && !fstat(fd, &st) && i < rig->shared->file_count; i++)
		if (rig->shared->files[i].inode.ino == st.st_ino)
			rig->shared->files[i].raw = 0;
	if (fd >= 0)
		close(fd);
}

bool all_sealed(const struct rig *rig)
{
	for (uint32_t i = 0; i < rig->shared->file_count; i++)
		if (rig->shared->files[i].state != TK_SEALED)
			return false;
	return journal_empty(rig);
}

uint32_t state_of_fd(const struct rig *rig, int fd)
{
	const struct fake_file *file = file_of(rig, fd);

	return file ? file->state : UINT32_MAX;
}

bool plain_now(const struct rig *rig, int fd)
{
	uint32_t state = state_of_fd(rig, fd);

	return state == TK_OPEN || state == TK_OPEN_READ;
}

bool snapshot(const struct rig *rig, const char *name, struct snapshot *ret)
{
	int fd = below(rig, name);
	struct snapshot s = {};

	if (fd < 0 || fstat(fd, &s.st))
		return false;
	s.size = (size_t)s.st.st_size;
	s.bytes = malloc(s.size + 1);
	if (!s.bytes || pread(fd, s.bytes, s.size, 0) != (ssize_t)s.size)
		return false;
	s.xattr_size = fgetxattr(fd, "user.note", s.xattr, sizeof(s.xattr));
	close(fd);
	*ret = s;
	return true;
}

bool same_snapshot(const struct snapshot *a, const struct snapshot *b)
{
	return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size) && a->st.st_ino == b->st.st_ino &&
	       a->st.st_mode == b->st.st_mode && a->st.st_uid == b->st.st_uid &&
	       a->st.st_gid == b->st.st_gid && a->st.st_nlink == b->st.st_nlink &&
	       a->st.st_mtim.tv_sec == b->st.st_mtim.tv_sec &&
	       a->st.st_mtim.tv_nsec == b->st.st_mtim.tv_nsec && a->xattr_size == b->xattr_size &&
	       (a->xattr_size <= 0 || !memcmp(a->xattr, b->xattr, (size_t)a->xattr_size));
}

void snapshot_free(struct snapshot *s)
{
	free(s->bytes);
	*s = (struct snapshot){};
}

struct tk_keyring *rig_keys(void)
{
	static struct tk_keyring *ring;
	uint8_t key[TK_KEK_SIZE];

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i; /* as rig_policy() has it */
	if (!ring && (tk_keyring_new(&ring) || tk_keyring_add(ring, "k1", 1, key)))
		abort();
	return ring;
}

/* struct vfs_cap_data, revision 2. */
static const uint8_t capability[20] = {1, 0, 0, 2, 0, 0x20};

bool set_capability(const char *path)
{
	return !setxattr(path, "security.capability", capability, sizeof(capability), 0);
}

bool has_capability(const char *path)
{
	uint8_t found[64];

	return getxattr(path, "security.capability", found, sizeof(found)) == sizeof(capability) &&
	       !memcmp(found, capability, sizeof(capability));
}

void fill(uint8_t *buf, size_t size, unsigned int seed)
{
	uint32_t x = seed * 2654435761u + 1;

	for (size_t i = 0; i < size; i++) {
		x = x * 1664525u + 1013904223u;
		buf[i] = (uint8_t)(x >> 24);
	}
}

bool write_new(const char *path, size_t size, unsigned int seed)
{
	uint8_t *buf = malloc(size + 1);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	bool good;

	fill(buf, size, seed);
	good = fd >= 0 && write(fd, buf, size) == (ssize_t)size;
	if (fd >= 0)
		close(fd);
	free(buf);
	return good;
}

int compare(const struct rig *rig, const char *path, size_t size, unsigned int seed)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), result = -1;
	uint8_t *got, *want;
	const char *why = "";
	struct stat st;

	if (fd < 0)
		return errno;
	got = malloc(size + 1);
	want = malloc(size + 1);
	fill(want, size, seed);
	if (!plain_now(rig, fd))
		why = "it is not there as plaintext";
	else if (fstat(fd, &st) || (size_t)st.st_size != size)
		why = "it has another size";
	else if (read(fd, got, size + 1) != (ssize_t)size || memcmp(got, want, size))
		why = "it has other bytes";
	else
		result = 0;
	if (result)
		printf("%s: %s\n", path, why);
	free(got);
	free(want);
	close(fd);
	return result;
}
