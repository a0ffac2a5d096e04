// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/marks_test.c - which opens reach the agent, from whatever mount namespace:
 * all inside guard points at the first try, but not of files that are open already, and outside one a mount.
 */
#include "tests/agent/marks_test.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "tests/agent/rig.h"

#define SIZE 70000

/* The descriptor of the agent's group, or -1. */
static int group_of(const struct rig *rig)
{
	char path[64], link[400], name[64];
	struct dirent *entry;
	int found = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)rig->agent);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		ssize_t n;

		snprintf(link, sizeof(link), "%s/%s", path, entry->d_name);
		n = readlink(link, name, sizeof(name) - 1);
		name[n > 0 ? n : 0] = '\0';
		if (strstr(name, "fanotify"))
			found = atoi(entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool is_ignored(const struct rig *rig, uint32_t id)
{
	unsigned int mount, flags, mask, ignored;
	char path[64], line[200];
	bool found = false;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)rig->agent, group_of(rig));
	in = fopen(path, "re");
	while (in && fgets(line, sizeof(line), in))
		if (sscanf(line, "fanotify mnt_id:%x mflags:%x mask:%x ignored_mask:%x", &mount, &flags,
			   &mask, &ignored) == 4 &&
		    mount == id)
			found = ignored;
	if (in)
		fclose(in);
	return found;
}

/* Whether opens of this very file ask nobody. */
static bool is_unasked(const struct rig *rig, const char *path)
{
	unsigned int device, flags, mask, ignored;
	unsigned long number;
	char info[64], line[200];
	bool found = false;
	struct stat st;
	FILE *in;

	snprintf(info, sizeof(info), "/proc/%d/fdinfo/%d", (int)rig->agent, group_of(rig));
	in = fopen(info, "re");
	while (in && !stat(path, &st) && fgets(line, sizeof(line), in))
		if (sscanf(line, "fanotify ino:%lx sdev:%x mflags:%x mask:%x ignored_mask:%x", &number, &device, &flags,
			   &mask, &ignored) == 5 &&
		    number == st.st_ino)
			found = ignored;
	if (in)
		fclose(in);
	return found;
}

static bool reaches(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static const char *outside(const struct rig *rig)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/outside", rig->mount);
	return path;
}

/* In a chroot "/" need not be a mount. */
static bool keep_mounts_here(const struct rig *rig)
{
	return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       (errno == EINVAL && !mount(NULL, rig->mount, NULL, MS_REC | MS_PRIVATE, NULL));
}

/* In a child with mounts of its own; what it says with check() counts. */
static void in_namespace(struct rig *rig, void (*act)(struct rig *rig))
{
	int status = -1, before = failed;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		check(!unshare(CLONE_NEWNS) && keep_mounts_here(rig), "%s: a namespace", rig->fs);
		act(rig);
		fflush(stdout);
		_exit(failed > before);
	}
	waitpid(child, &status, 0);
	check(!status, "%s: in a namespace of its own", rig->fs);
}

static void open_first(struct rig *rig)
{
	uint32_t wide = 0, narrow = 0;

	check(!compare(rig, in(rig, "ns"), SIZE, 1), "%s: the first open in a namespace", rig->fs);
	check(!tk_mount_id(AT_FDCWD, rig->mount, &wide) && !tk_mount_id(AT_FDCWD, rig->guard, &narrow) &&
		      wide != narrow,
	      "%s: mounts of the namespace", rig->fs);
	check(!is_ignored(rig, wide) && reaches(outside(rig)) && is_ignored(rig, wide),
	      "%s: an open outside is the last that asks", rig->fs);
	check(reaches(outside(rig)) && !is_ignored(rig, narrow) && !compare(rig, in(rig, "ns"), SIZE, 1),
	      "%s: inside every one asks", rig->fs);
}

static void write_first(struct rig *rig)
{
	check(write_new(in(rig, "ns"), SIZE, 1), "%s: the first open in a namespace writes", rig->fs);
}

/* A mount that is there before anything of it is opened, of a directory in the guard point. */
static void open_bound(struct rig *rig)
{
	char window[128], path[160];

	snprintf(window, sizeof(window), "%s/window", rig->dir);
	snprintf(path, sizeof(path), "%s/deep", window);
	check(!mount(in(rig, "dir"), window, NULL, MS_BIND, NULL) && !compare(rig, path, SIZE, 2),
	      "%s: by a bind mount in a namespace", rig->fs);
}

static void test_namespaces(struct rig *rig)
{
	uint32_t wide = 0, narrow = 0;

	check(!tk_mount_id(AT_FDCWD, rig->mount, &wide) && !tk_mount_id(AT_FDCWD, rig->guard, &narrow) &&
		      is_ignored(rig, wide) && !is_ignored(rig, narrow),
	      "%s: at home opens outside never ask", rig->fs);
	check(write_new(outside(rig), 100, 9) && write_new(in(rig, "ns"), SIZE, 1) &&
		      !mkdir(in(rig, "dir"), 0755) && write_new(in(rig, "dir/deep"), SIZE, 2) &&
		      agent_settle(rig) && is_taka(rig, "ns"),
	      "%s: files", rig->fs);
	for (int i = 0; i < 30; i++)
		in_namespace(rig, i % 3 == 0 ? write_first : i % 3 == 1 ? open_first : open_bound);
	check(agent_settle(rig) && is_taka(rig, "ns") && is_taka(rig, "dir/deep"), "%s: sealed", rig->fs);
}

/* The lack of a verdict says nothing of the mount: the opener may have been killed while it waited. */
static void test_no_verdict(struct rig *rig)
{
	long alarms = status_number(rig, NULL, "failure_count");
	uint32_t narrow = 0;
	int fd;

	rig->shared->no_verdicts = true;
	fd = open(in(rig, "ns"), O_RDONLY | O_CLOEXEC);
	check(fd < 0 && errno == EPERM, "%s: without a verdict nobody opens", rig->fs);
	check(alarms >= 0 && WAIT_FOR(status_number(rig, NULL, "failure_count") == alarms + 1), "%s: which is an alarm", rig->fs);
	if (fd >= 0)
		close(fd);
	rig->shared->no_proc = true;
	fd = open(in(rig, "ns"), O_RDONLY | O_CLOEXEC);
	check(fd < 0 && WAIT_FOR(status_number(rig, NULL, "failure_count") == alarms + 2),
	      "%s: also when it cannot be told whether he was killed", rig->fs);
	rig->shared->no_proc = false;
	check(reaches(outside(rig)), "%s: but outside", rig->fs);
	rig->shared->no_verdicts = false;
	check(!tk_mount_id(AT_FDCWD, rig->guard, &narrow) && !is_ignored(rig, narrow) &&
		      !compare(rig, in(rig, "ns"), SIZE, 1) && agent_settle(rig),
	      "%s: and with one it goes on", rig->fs);
}

/* Who is killed while he waits takes the verdict with him: nobody got past the programs. */
static void test_killed(struct rig *rig)
{
	long alarms = status_number(rig, NULL, "failure_count");
	int status = 0;
	pid_t pid;

	rig->shared->kill_openers = true;
	pid = fork();
	if (!pid)
		_exit(open(in(rig, "ns"), O_RDONLY | O_CLOEXEC) < 0);
	check(pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "%s: killed while it waits", rig->fs);
	rig->shared->kill_openers = false;
	check(!compare(rig, in(rig, "ns"), SIZE, 1) && alarms >= 0 &&
		      status_number(rig, NULL, "failure_count") == alarms,
	      "%s: which is none", rig->fs);
}

/* Whoever holds a lease on his own file must not keep the reader of events, and so everybody, waiting. */
static void open_leased(struct rig *rig)
{
	char other[180];
	int fd = open(outside(rig), O_RDONLY | O_CLOEXEC);

	check(fd < 0 && errno == EPERM, "%s: an open that a lease is in the way of is denied, not waited for", rig->fs);
	if (fd >= 0)
		close(fd);
	snprintf(other, sizeof(other), "%s2", outside(rig));
	check(reaches(other), "%s: and others go on", rig->fs);
}

static void test_lease(struct rig *rig)
{
	char other[180];
	int fd = open(outside(rig), O_RDWR | O_CLOEXEC);

	snprintf(other, sizeof(other), "%s2", outside(rig));
	signal(SIGIO, SIG_IGN);
	check(write_new(other, 100, 9) && fd >= 0 && !fcntl(fd, F_SETLEASE, F_WRLCK), "%s: a lease", rig->fs);
	in_namespace(rig, open_leased);
	fcntl(fd, F_SETLEASE, F_UNLCK);
	close(fd);
	signal(SIGIO, SIG_DFL);
}

static bool reload(struct rig *rig)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;
	bool ok;

	rig_policy(rig);
	rig->shared->control.generation++;
	cJSON_AddStringToObject(request, "verb", "reload");
	ok = !tk_client_ask(rig->control, request, &answer) &&
	     cJSON_IsTrue(cJSON_GetObjectItem(answer, "ok"));
	cJSON_Delete(request);
	cJSON_Delete(answer);
	return ok;
}

/* A mount that is ignored becomes one of a guard point, in this namespace and in another. */
static void become_guarded(struct rig *rig)
{
	char window[128], path[160], later[128];
	uint32_t id = 0;

	snprintf(window, sizeof(window), "%s/window", rig->dir);
	snprintf(path, sizeof(path), "%s/f", window);
	snprintf(later, sizeof(later), "%s/later", rig->mount);
	check(!mount(later, window, NULL, MS_BIND, NULL) && reaches(path) &&
		      !tk_mount_id(AT_FDCWD, window, &id) && is_ignored(rig, id),
	      "%s: a mount that asks no more", rig->fs);
	snprintf(rig->other, sizeof(rig->other), "%s", later);
	check(reload(rig) && !is_ignored(rig, id) && !compare(rig, path, SIZE, 3) && !is_ignored(rig, id),
	      "%s: guarded, it asks at the first open", rig->fs);
}

static void test_reload(struct rig *rig)
{
	char later[128], file[160];

	snprintf(later, sizeof(later), "%s/later", rig->mount);
	snprintf(file, sizeof(file), "%s/f", later);
	check(!mkdir(later, 0755) && write_new(file, SIZE, 3), "%s: later", rig->fs);
	in_namespace(rig, become_guarded);
	umount2(rig->other, UMOUNT_NOFOLLOW);
	snprintf(rig->other, sizeof(rig->other), "%s", later);
	check(WAIT_FOR(is_taka(rig, "../later/f")) && !compare(rig, file, SIZE, 3) && agent_settle(rig),
	      "%s: guarded later, sealed", rig->fs);
}

/* A turn that has not ended, or another opener's, keeps the next one asking. */
static bool opened_until_unasked(const struct rig *rig, const char *path, int most)
{
	while (most-- > 0 && reaches(path))
		if (is_unasked(rig, path))
			return true;
	return false;
}

static bool begins_with(int fd, const char *text)
{
	char found[16] = "";

	return pread(fd, found, strlen(text), 0) == (ssize_t)strlen(text) && !strcmp(found, text);
}

static pid_t open_in_child(const char *path)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(!reaches(path));
	return pid;
}

/* What is open is opened again without the agent, and sealed all the same. */
static void test_reopened(struct rig *rig)
{
	int fd = open(in(rig, "again"), O_RDWR | O_CREAT | O_CLOEXEC, 0600), second, status = -1;
	static uint8_t bytes[SIZE];
	pid_t waits, passes;

	fill(bytes, SIZE, 5);
	if (!check(fd >= 0 && !is_unasked(rig, in(rig, "again")) && opened_until_unasked(rig, in(rig, "again"), 1000),
		   "%s: a file that may be written and is opened again asks no more", rig->fs)) {
		close(fd);
		return;
	}
	check(agent_stop_still(rig->agent), "%s: the agent is stopped", rig->fs);
	waits = open_in_child(in(rig, "ns"));
	passes = open_in_child(in(rig, "again"));
	check(waits > 0 && passes > 0 && WAIT_FOR(waitpid(passes, &status, WNOHANG) == passes) && !status &&
		      waitpid(waits, &status, WNOHANG) == 0,
	      "%s: the next one needs no agent, that of a sealed file does", rig->fs);
	second = status ? -1 : open(in(rig, "again"), O_RDWR | O_CLOEXEC);
	kill(rig->agent, SIGCONT);
	check(waitpid(waits, &status, 0) == waits && !status, "%s: which waited", rig->fs);
	check(second >= 0 && pwrite(second, bytes, SIZE, 0) == SIZE, "%s: what is written there", rig->fs);
	close(fd);
	close(second);
	check(agent_settle(rig) && is_taka(rig, "again") && !is_unasked(rig, in(rig, "again")) &&
		      !compare(rig, in(rig, "again"), SIZE, 5),
	      "%s: is sealed, and the next open asks", rig->fs);
}

/* For reading alone: a mark would let writers in unseen, so the file is made ready for them first. */
static void test_read_again(struct rig *rig)
{
	int fd = open(in(rig, "again"), O_RDONLY | O_CLOEXEC), write_fd;

	check(fd >= 0 && reaches(in(rig, "again")) && reaches(in(rig, "again")) && !is_unasked(rig, in(rig, "again")),
	      "%s: a file that is open for reading goes on asking", rig->fs);
	check(opened_until_unasked(rig, in(rig, "again"), 1000), "%s: but not for ever", rig->fs);
	write_fd = open(in(rig, "again"), O_WRONLY | O_CLOEXEC);
	check(write_fd >= 0 && pwrite(write_fd, "changed", 7, 0) == 7 && !close(write_fd) && !close(fd) &&
		      agent_settle(rig) && is_taka(rig, "again"),
	      "%s: and what a writer leaves", rig->fs);
	fd = open(in(rig, "again"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && begins_with(fd, "changed"), "%s: is kept", rig->fs);
	close(fd);
	check(agent_settle(rig), "%s: read again", rig->fs);
}

static bool is_kept(const struct rig *rig, const char *name)
{
	return WAIT_FOR(state_of(rig, name) == TK_KEPT);
}

/*
 * Of a kept file the record says that a crash undoes what is written: so it says otherwise before the mark is
 * there, and the mark is gone before it says so again.
 */
static void test_kept_again(struct rig *rig)
{
	struct tk_record record = {};
	int fd, write_fd;

	check(reaches(in(rig, "again")) && is_kept(rig, "again"), "%s: a file is kept", rig->fs);
	fd = open(in(rig, "again"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && reaches(in(rig, "again")) && !is_unasked(rig, in(rig, "again")) &&
		      record_of(rig, "again", &record) && record.state == TK_RESTORE,
	      "%s: read again, it goes on asking, and a crash would undo what is written", rig->fs);
	check(opened_until_unasked(rig, in(rig, "again"), 1000) && record_of(rig, "again", &record) &&
		      record.state == TK_WRITABLE && state_of(rig, "again") == TK_OPEN,
	      "%s: none does any more where nobody is asked", rig->fs);
	write_fd = open(in(rig, "again"), O_WRONLY | O_CLOEXEC);
	check(write_fd >= 0 && pwrite(write_fd, "unasked", 7, 0) == 7 && !close(write_fd) && !close(fd) &&
		      is_kept(rig, "again") && is_taka(rig, "again") && !is_unasked(rig, in(rig, "again")),
	      "%s: kept anew, it asks", rig->fs);
	fd = open(in(rig, "again"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && begins_with(fd, "unasked") && opened_until_unasked(rig, in(rig, "again"), 1000),
	      "%s: what was written is there", rig->fs);
	write_fd = open(in(rig, "again"), O_WRONLY | O_CLOEXEC);
	check(write_fd >= 0 && pwrite(write_fd, "crashes", 7, 0) == 7, "%s: written when the machine dies", rig->fs);
	agent_kill(rig);
	close(write_fd);
	close(fd);
	kernel_forget(rig);
	fd = agent_start(rig, NULL) ? open(in(rig, "again"), O_RDONLY | O_CLOEXEC) : -1;
	check(fd >= 0 && begins_with(fd, "crashes") && !is_unasked(rig, in(rig, "again")),
	      "%s: and there afterwards", rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "again"), "%s: sealed after it", rig->fs);
}

/* What a file is sealed with comes with its openers: another policy has to meet them. */
static void test_renewed(struct rig *rig)
{
	int fd = open(in(rig, "again"), O_RDWR | O_CLOEXEC);

	check(fd >= 0 && opened_until_unasked(rig, in(rig, "again"), 1000) && reload(rig) &&
		      !is_unasked(rig, in(rig, "again")),
	      "%s: after a reload a file that is open asks again", rig->fs);
	check(opened_until_unasked(rig, in(rig, "again"), 1000), "%s: for a while", rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "again"), "%s: reloaded while open, sealed", rig->fs);
}

void marks_tests(const char *fs)
{
	struct rig rig;
	char window[128];

	if (check(rig_up(&rig, fs, 320) && agent_start(&rig, NULL), "%s: set up for marks", fs)) {
		snprintf(window, sizeof(window), "%s/window", rig.dir);
		check(!mkdir(window, 0755), "%s: a window", fs);
		test_namespaces(&rig);
		test_no_verdict(&rig);
		test_killed(&rig);
		test_lease(&rig);
		test_reopened(&rig);
		test_read_again(&rig);
		test_kept_again(&rig);
		test_renewed(&rig);
		test_reload(&rig);
		check(!rig.shared->untimely, "%s: no guard point was opened before its time", fs);
		check(!rig.shared->undecided, "%s: every open was understood", fs);
		check(agent_stop(&rig), "%s: marks: stops in order", fs);
	}
	rig_down(&rig);
}
