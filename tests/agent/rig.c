// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/rig.c - sets up and takes down what the agent's tests run on.  Owns
 * mounts, images and agent processes, and leaves none of them behind.
 */
#include "tests/agent/rig.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"

int passed, failed;

bool check(bool good, const char *format, ...)
{
	va_list args;

	if (good) {
		passed++;
		return true;
	}
	failed++;
	printf("not ok: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	return false;
}

static bool run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command) == 0;
}

static void put(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

void rig_policy(const struct rig *rig)
{
	char text[1024], path[128], path2[128];

	snprintf(path2, sizeof(path2), "%s/key2", rig->dir);
	put(path2, "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n", 0600);
	snprintf(path, sizeof(path), "%s/key", rig->dir);
	put(path, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 0600);
	snprintf(
		text, sizeof(text),
		"{\"version\": 1, \"keys\": {\"k1\": {\"provider\": \"file\", \"path\": \"%s\"},\n"
		"\"k2\": {\"provider\": \"file\", \"path\": \"%s\"}}, \"policies\": {\n"
		"\"p\": {\"key\": \"k1\", \"algorithm\": \"aes-256-gcm\", \"chunk_size\": 65536, \"rules\":\n"
		"[{\"actions\": [\"all_ops\"], \"effects\": [\"permit\", \"apply_key\"]}]},\n"
		"\"q\": {\"key\": \"k2\", \"algorithm\": \"aes-256-gcm\", \"chunk_size\": 65536, \"rules\":\n"
		"[{\"actions\": [\"all_ops\"], \"effects\": [\"permit\", \"apply_key\"]}]}},\n"
		"\"guard_points\": [{\"name\": \"g\", \"path\": \"%s\", \"policy\": \"p\"},\n"
		"{\"name\": \"h\", \"path\": \"%s\", \"policy\": \"q\"}]}\n",
		path, path2, rig->guard, rig->other);
	snprintf(path, sizeof(path), "%s/policy.json", rig->dir);
	put(path, text, 0600);
}

/* The filesystem's root past every mark, for as long as it is mounted. */
static int clone_root(const char *path)
{
	struct mount_attr private = {.propagation = MS_PRIVATE};
	int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree >= 0)
		mount_setattr(tree, "", AT_EMPTY_PATH, &private, sizeof(private));
	return tree;
}

bool rig_mount(struct rig *rig, const char *image)
{
	if (!run("mount -o loop %s %s", image, rig->mount))
		return false;
	rig->below = clone_root(rig->mount);
	return rig->below >= 0;
}

void rig_unmount(struct rig *rig)
{
	if (rig->below >= 0)
		close(rig->below);
	rig->below = -1;
	/* The guard points' own mounts first. */
	umount2(rig->guard, UMOUNT_NOFOLLOW);
	umount2(rig->other, UMOUNT_NOFOLLOW);
	for (int i = 0; i < 100 && umount2(rig->mount, 0) && errno == EBUSY; i++)
		usleep(20000);
}

bool rig_up(struct rig *rig, const char *fs, unsigned int megabytes)
{
	char path[128];
	int fd;

	*rig = (struct rig){.fs = fs, .below = -1};
	snprintf(rig->dir, sizeof(rig->dir), "/tmp/tk-agent-test.XXXXXX");
	if (!mkdtemp(rig->dir))
		return false;
	snprintf(rig->mount, sizeof(rig->mount), "%s/mnt", rig->dir);
	snprintf(rig->inner, sizeof(rig->inner), "guard");
	snprintf(rig->guard, sizeof(rig->guard), "%s/guard", rig->mount);
	snprintf(rig->other, sizeof(rig->other), "%s/other", rig->mount);
	snprintf(rig->control, sizeof(rig->control), "%s/control", rig->dir);
	mkdir(rig->mount, 0755);
	chmod(rig->dir, 0755);
	snprintf(path, sizeof(path), "%s/image", rig->dir);
	if (!run("truncate -s %uM %s && mkfs.%s -q %s >/dev/null 2>&1", megabytes, path, fs, path) ||
	    !rig_mount(rig, path))
		return false;
	mkdir(rig->guard, 0755);
	mkdir(rig->other, 0755);
	rig_policy(rig);
	snprintf(path, sizeof(path), "%s/kernel", rig->dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*rig->shared)))
		return false;
	rig->shared = mmap(NULL, sizeof(*rig->shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	rig->shared->control.generation = 1;
	return rig->shared != MAP_FAILED;
}

void rig_down(struct rig *rig)
{
	agent_kill(rig);
	rig_unmount(rig);
	if (failed)
		run("sort %s/log | uniq -c | sort -rn | head -20", rig->dir);
	run("rm -rf --one-file-system %s", rig->dir);
	munmap(rig->shared, sizeof(*rig->shared));
}

void kernel_forget(struct rig *rig)
{
	memset(rig->shared, 0, sizeof(*rig->shared));
	rig->shared->control.generation = 1;
}

/* ---------------------------------------------------------------- the agent's process */

static void become_agent(const struct rig *rig, const char *environment, int ready)
{
	char state[128], policy[128], fd[16], log[128], below[64];

	snprintf(log, sizeof(log), "%s/log", rig->dir);
	if (!freopen(log, "a", stderr))
		_exit(127);
	snprintf(state, sizeof(state), "%s/kernel", rig->dir);
	snprintf(policy, sizeof(policy), "%s/policy.json", rig->dir);
	snprintf(fd, sizeof(fd), "%d", ready);
	setenv("TK_FAKE_STATE", state, 1);
	setenv("TK_FAKE_MOUNT", rig->mount, 1);
	snprintf(below, sizeof(below), "/proc/%d/fd/%d", (int)getppid(), rig->below);
	setenv("TK_BELOW", below, 1);
	if (environment) {
		char *copy = strdup(environment);

		for (char *save, *item = strtok_r(copy, " ", &save); item; item = strtok_r(NULL, " ", &save))
			putenv(item);
	}
	execl("/proc/self/exe", "agent_test", "agent", policy, rig->control, fd, NULL);
	_exit(127);
}

bool agent_start(struct rig *rig, const char *environment)
{
	char line[640] = "";
	int pipes[2];
	ssize_t n;

	agent_kill(rig); /* one that a failed check left */
	if (pipe(pipes))
		return false;
	fcntl(pipes[0], F_SETFD, FD_CLOEXEC);
	rig->agent = fork();
	if (!rig->agent)
		become_agent(rig, environment, pipes[1]);
	close(pipes[1]);
	n = read(pipes[0], line, sizeof(line) - 1);
	close(pipes[0]);
	if (n > 0 && !strcmp(line, "ready\n"))
		return true;
	if (n > 0)
		printf("agent: %s", line);
	agent_kill(rig);
	return false;
}

void agent_kill(struct rig *rig)
{
	if (rig->agent <= 0)
		return;
	kill(rig->agent, SIGKILL);
	waitpid(rig->agent, NULL, 0);
	rig->agent = 0;
	rig->shared->control.ready = 0; /* sched_process_exit */
}

bool agent_stop(struct rig *rig)
{
	int status = -1;

	kill(rig->agent, SIGTERM);
	waitpid(rig->agent, &status, 0);
	rig->agent = 0;
	rig->shared->control.ready = 0;
	return status == 0;
}

static bool settle_once(struct rig *rig)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;
	bool ok;

	cJSON_AddStringToObject(request, "verb", "settle");
	cJSON_AddNumberToObject(request, "timeout", 20);
	ok = !tk_client_ask(rig->control, request, &answer) &&
	     cJSON_IsTrue(cJSON_GetObjectItem(answer, "ok"));
	if (!ok && answer)
		printf("settle: %s\n", cJSON_GetStringValue(cJSON_GetObjectItem(answer, "error")));
	cJSON_Delete(request);
	cJSON_Delete(answer);
	return ok;
}

/*
 * Twice: the fake kernel half counts by the lease, so a descriptor the agent has for an instant can look like
 * somebody who still has the file open, and that needs no settling.
 */
bool agent_settle(struct rig *rig)
{
	if (!settle_once(rig))
		return false;
	usleep(3000);
	return settle_once(rig);
}

/* ---------------------------------------------------------------- files */

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

uint32_t state_of(const struct rig *rig, const char *name)
{
	uint32_t state = TK_SEALED;
	int fd = below(rig, name);
	struct stat st;

	if (fd < 0)
		return UINT32_MAX;
	if (!fstat(fd, &st))
		for (uint32_t i = 0; i < rig->shared->file_count; i++) /* the newest file of that number */
			if (rig->shared->files[i].inode.ino == st.st_ino)
				state = rig->shared->files[i].state;
	close(fd);
	return state;
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

bool no_records(const struct rig *rig)
{
	int fd = openat(rig->below, ".takakrypt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool none = dir;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			printf("record left: %s\n", entry->d_name);
			none = false;
		}
	if (dir)
		closedir(dir);
	return none;
}

bool plain_now(const struct rig *rig, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	for (uint32_t i = rig->shared->file_count; i-- > 0;) /* the newest file of that number */
		if (rig->shared->files[i].inode.ino == st.st_ino)
			return rig->shared->files[i].state == TK_OPEN ||
			       rig->shared->files[i].state == TK_OPEN_READ;
	return false;
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
