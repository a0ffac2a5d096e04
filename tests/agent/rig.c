// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/rig.c - sets up and takes down what the agent's tests run on.  Owns
 * mounts, images and agent processes, and leaves none of them behind.
 */
#include "tests/agent/rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
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
	char text[1200], path[128], path2[128];

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
		"\"guard_points\": [{\"name\": \"g\", \"path\": \"%s\", \"policy\": \"p\", \"linger\": %u%s},\n"
		"{\"name\": \"h\", \"path\": \"%s\", \"policy\": \"q\"}]}\n",
		path, path2, rig->guard, rig->linger, rig->shield ? ", \"shield\": \"fscrypt\"" : "", rig->other);
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
	/* The image before may still be mounted in a namespace somebody made meanwhile; its copy has the same
	 * UUID. */
	if (!run("mount -o loop%s %s %s", strcmp(rig->fs, "xfs") ? "" : ",nouuid", image, rig->mount))
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

/* The kernel half's memory, and a policy. */
static bool share(struct rig *rig)
{
	char path[128];
	int fd;

	mkdir(rig->guard, 0755);
	mkdir(rig->other, 0755);
	rig_policy(rig);
	snprintf(path, sizeof(path), "%s/kernel", rig->dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*rig->shared)))
		return false;
	rig->shared = mmap(NULL, sizeof(*rig->shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (rig->shared == MAP_FAILED) {
		rig->shared = NULL;
		return false;
	}
	rig->shared->control.generation = 1;
	return true;
}

static bool make_dir(struct rig *rig, const char *fs)
{
	*rig = (struct rig){.fs = fs, .below = -1};
	snprintf(rig->dir, sizeof(rig->dir), "%s/tk-agent-test.XXXXXX", getenv("TMPDIR") ?: "/tmp");
	if (!mkdtemp(rig->dir))
		return false;
	snprintf(rig->mount, sizeof(rig->mount), "%s/mnt", rig->dir);
	snprintf(rig->inner, sizeof(rig->inner), "guard");
	snprintf(rig->guard, sizeof(rig->guard), "%s/guard", rig->mount);
	snprintf(rig->other, sizeof(rig->other), "%s/other", rig->mount);
	snprintf(rig->control, sizeof(rig->control), "%s/control", rig->dir);
	mkdir(rig->mount, 0755);
	return !chmod(rig->dir, 0755);
}

bool rig_up(struct rig *rig, const char *fs, unsigned int megabytes)
{
	char image[128];

	if (!make_dir(rig, fs))
		return false;
	snprintf(image, sizeof(image), "%s/image", rig->dir);
	return run("truncate -s %uM %s && mkfs.%s -q %s %s >/dev/null 2>&1", megabytes, image, fs,
		   strcmp(fs, "ext4") ? "" : "-O encrypt", image) &&
	       rig_mount(rig, image) && share(rig);
}

bool rig_up_on_disk(struct rig *rig, const char *fs, unsigned int megabytes)
{
	if (!make_dir(rig, fs))
		return false;
	rig->disk = disk_new(rig->dir, (uint64_t)megabytes << 20);
	return rig->disk && run("mkfs.%s -q %s >/dev/null 2>&1", fs, rig->disk->image) &&
	       rig_mount(rig, rig->disk->image) && share(rig);
}

void rig_down(struct rig *rig)
{
	agent_kill(rig);
	rig_unmount(rig);
	if (failed)
		run("sort %s/log | uniq -c | sort -rn | head -20", rig->dir);
	if (rig->disk)
		disk_free(rig->disk);
	run("rm -rf --one-file-system %s", rig->dir);
	if (rig->shared)
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

static bool start(struct rig *rig, const char *environment, bool quietly)
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
	if (n > 0 && !quietly)
		printf("agent: %s", line);
	agent_kill(rig);
	return false;
}

bool agent_start(struct rig *rig, const char *environment)
{
	return start(rig, environment, false);
}

bool agent_start_quietly(struct rig *rig)
{
	return start(rig, NULL, true);
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

static bool all_stopped(pid_t pid)
{
	char path[300];
	bool all = true;
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		char state = 'T';
		FILE *in;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, entry->d_name);
		in = fopen(path, "re");
		all = all && in && fscanf(in, "%*d (%*[^)]) %c", &state) == 1 && state == 'T';
		if (in)
			fclose(in);
	}
	if (tasks)
		closedir(tasks);
	return tasks && all;
}

bool agent_stop_still(pid_t pid)
{
	return !kill(pid, SIGSTOP) && WAIT_FOR(all_stopped(pid));
}

bool rig_ask_to_settle(const struct rig *rig)
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

static bool any_kept(const struct rig *rig)
{
	for (uint32_t i = 0; i < rig->shared->file_count; i++)
		if (rig->shared->files[i].state == TK_KEPT)
			return true;
	return false;
}

/*
 * Twice: the fake kernel half counts by the lease, so a descriptor the agent has for an instant can look like
 * somebody who still has the file open, and that needs no settling.
 */
bool agent_settle(struct rig *rig)
{
	if (!rig_ask_to_settle(rig))
		return false;
	usleep(3000);
	for (int tries = 0; tries < 100; tries++) {
		if (!rig_ask_to_settle(rig))
			return false;
		if (!any_kept(rig)) /* sealed just after it had answered */
			break;
		usleep(10000);
	}
	return true;
}

/* An orphan waits for the answer; shared->asking says that one does. */
void rig_ask_for_sweep(const struct rig *rig)
{
	pid_t pid;

	fflush(stdout);
	rig->shared->asking++;
	pid = fork();
	if (!pid) {
		if (!fork()) {
			close_range(STDOUT_FILENO, ~0u, 0); /* nothing stays open because of it */
			rig_ask_to_settle(rig);
			rig->shared->asking--;
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}
