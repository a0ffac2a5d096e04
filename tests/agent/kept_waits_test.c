// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/kept_waits_test.c - kept files and who waits: for their records to go, for the disk, or for what they
 * take.  Nobody waits for ever.
 */
#include "tests/agent/kept_test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "loader/keys/verbs.h"

#define SIZE KEPT_SIZE

/* Opens it for reading, says so, and keeps it open. */
struct holder {
	pid_t pid;
	int said;
};

static struct holder hold(const struct rig *rig, const char *name, uid_t uid)
{
	struct holder holder;
	int ends[2];

	fflush(stdout);
	if (pipe(ends))
		return (struct holder){.pid = -1, .said = -1};
	holder = (struct holder){.pid = fork(), .said = ends[0]};
	if (!holder.pid) {
		if (!uid || (!setgid(uid) && !setuid(uid)))
			open(in(rig, name), O_RDONLY | O_CLOEXEC);
		if (write(ends[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ends[1]);
	return holder;
}

/* Within ten seconds he has been let in, or refused. */
static bool answered(const struct holder *holder)
{
	struct pollfd set = {.fd = holder->said, .events = POLLIN};
	char byte;

	return poll(&set, 1, 10000) == 1 && read(holder->said, &byte, 1) == 1;
}

static void let_go(const struct holder *holder)
{
	kill(holder->pid, SIGKILL);
	waitpid(holder->pid, NULL, 0);
	close(holder->said);
}

/* An opener who waits for a reader of the raw view is to be looked at while the record's release has the turn. */
static void test_due_while_released(struct rig *rig)
{
	struct holder raw, plain;

	check(agent_settle(rig) && kept_new(rig, "due", 1), "%s: waits: due", rig->fs);
	raw = hold(rig, "due", FAKE_RAW_UID);
	check(answered(&raw) && state_of(rig, "due") == TK_KEPT, "%s: waits: read in the raw view", rig->fs);
	plain = hold(rig, "due", 0);
	check(WAIT_FOR(status_number(rig, "files", "waiting") == 1), "%s: waits: somebody else waits", rig->fs);
	rig->shared->slow_disk = true;
	rig_ask_for_sweep(rig);
	check(WAIT_FOR(rig->shared->at_disk), "%s: waits: its record is released", rig->fs);
	usleep(300000); /* his next look was due within a quarter of a second */
	rig->shared->slow_disk = false;
	let_go(&raw);
	raw_closed(rig, "due");
	check(answered(&plain), "%s: waits: whoever waits gets an answer", rig->fs);
	let_go(&plain);
	check(WAIT_FOR(!rig->shared->asking) && agent_settle(rig) && !compare(rig, in(rig, "due"), SIZE, 1),
	      "%s: waits: the agent goes on", rig->fs);
}

/* The record learns of the times first, durably; what is set meanwhile counts more. */
static void test_set_meanwhile(struct rig *rig)
{
	const struct timespec first[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	const struct timespec second[2] = {{.tv_sec = 1500000000}, {.tv_sec = 1500000000}};
	struct stat st = {};

	check(agent_settle(rig) && kept_new(rig, "set", 4), "%s: waits: set", rig->fs);
	rig->shared->slow_disk = true;
	check(!utimensat(AT_FDCWD, in(rig, "set"), first, 0) && WAIT_FOR(rig->shared->at_disk) &&
		      !utimensat(AT_FDCWD, in(rig, "set"), second, 0),
	      "%s: waits: times are set while the disk is told of others", rig->fs);
	rig->shared->slow_disk = false;
	check(kept_becomes(rig, "set", TK_SEALED) && !stat(in(rig, "set"), &st), "%s: waits: its record goes", rig->fs);
	check(st.st_mtim.tv_sec == 1500000000, "%s: waits: the last ones stay, not %lld", rig->fs,
	      (long long)st.st_mtim.tv_sec);
}

/* As chattr(1) does. */
static bool set_flags(const struct rig *rig, const char *name, int flags)
{
	int fd = below(rig, name), all = 0;
	bool good = fd >= 0 && !ioctl(fd, FS_IOC_GETFLAGS, &all);

	all = (all & ~(FS_IMMUTABLE_FL | FS_APPEND_FL)) | flags;
	good = good && !ioctl(fd, FS_IOC_SETFLAGS, &all);
	close(fd);
	return good;
}

/* In the end: that somebody wanted none to be kept may have come to its end only just now. */
static bool kept_again(const struct rig *rig, const char *name)
{
	return WAIT_FOR(kept_read(rig, name) &&
			WAIT_FOR(state_of(rig, name) == TK_KEPT || state_of(rig, name) == TK_SEALED) &&
			state_of(rig, name) == TK_KEPT);
}

static bool is_released(const struct rig *rig, const char *name)
{
	return kept_becomes(rig, name, TK_SEALED) && WAIT_FOR(journal_empty(rig)) && set_flags(rig, name, 0) &&
	       !compare(rig, in(rig, name), SIZE, 2) && kept_again(rig, name);
}

/* What cannot be written: its record must be able to go nevertheless, and not before the file is known to be durable. */
static void test_immutable(struct rig *rig)
{
	static const int flags[] = {FS_IMMUTABLE_FL, FS_APPEND_FL};
	char error[512] = "";
	FILE *hold = NULL;
	void *map;
	int fd;

	check(agent_settle(rig) && kept_new(rig, "fixed", 2), "%s: waits: fixed", rig->fs);
	for (int i = 0; i < 2; i++) {
		check(set_flags(rig, "fixed", flags[i]) &&
			      !tk_client_hold(rig->control, "release", &hold, error, sizeof(error)) && journal_empty(rig),
		      "%s: waits: no record is left, flags %#x: %s", rig->fs, flags[i], error);
		if (hold)
			fclose(hold);
		hold = NULL;
		check(is_released(rig, "fixed"), "%s: waits: it is as it was", rig->fs);
	}

	/* The next agent does not know whether all that is in memory has reached the disk. */
	agent_kill(rig);
	fd = below(rig, "fixed");
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	check(set_flags(rig, "fixed", FS_IMMUTABLE_FL) && map != MAP_FAILED && agent_start(rig, NULL) &&
		      WAIT_FOR(status_number(rig, NULL, "failure_count") > 0) && !journal_empty(rig) &&
		      state_of(rig, "fixed") == TK_KEPT,
	      "%s: waits: the record of what stays in memory stays", rig->fs);
	munmap(map, SIZE);
	close(fd);
	check(is_released(rig, "fixed"), "%s: waits: and goes when it has been read from the disk", rig->fs);

	agent_kill(rig);
	kernel_forget(rig);
	check(set_flags(rig, "fixed", FS_IMMUTABLE_FL) && agent_start(rig, NULL) && is_released(rig, "fixed"),
	      "%s: waits: so it does after a power cut", rig->fs);
}

/* Each record is a file, which others may be short of before they are short of blocks. */
static void test_few_inodes(struct rig *rig)
{
	check(agent_settle(rig) && kept_new(rig, "inode", 3), "%s: waits: where there are files to be had", rig->fs);
	rig->shared->few_inodes = true;
	check(kept_becomes(rig, "inode", TK_SEALED) && WAIT_FOR(journal_empty(rig)) && kept_read(rig, "inode") &&
		      kept_becomes(rig, "inode", TK_SEALED),
	      "%s: waits: none is kept where there are few", rig->fs);
	rig->shared->few_inodes = false;
	check(kept_again(rig, "inode"), "%s: waits: and then again", rig->fs);
}

/* Each takes a descriptor, which who opens another file may be short of. */
static void test_few_descriptors(struct rig *rig)
{
	struct rlimit before, few = {.rlim_cur = 400};
	bool good = true;
	char name[16];

	check(agent_settle(rig) && !prlimit(rig->agent, RLIMIT_NOFILE, NULL, &before), "%s: waits: descriptors", rig->fs);
	for (unsigned int i = 0; i < 52; i++) {
		snprintf(name, sizeof(name), "fd%u", i);
		good = good && kept_new(rig, name, i);
	}
	few.rlim_max = before.rlim_max;
	check(good && status_number(rig, "files", "kept") == 52 && !prlimit(rig->agent, RLIMIT_NOFILE, &few, NULL),
	      "%s: waits: kept files take 52 of 400", rig->fs);
	check(WAIT_FOR(status_number(rig, "files", "kept") <= 50), "%s: waits: an eighth is their part", rig->fs);
	check(!prlimit(rig->agent, RLIMIT_NOFILE, &before, NULL), "%s: waits: as many as before", rig->fs);
}

/* What is deleted while it is open for reading: the rest of the filesystem is not waited for where that is not needed. */
static void test_deleted(struct rig *rig)
{
	uint32_t so_far, most = strcmp(rig->fs, "btrfs") ? 1 : 2;
	int fd;

	check(agent_settle(rig) && kept_new(rig, "read", 4), "%s: waits: read", rig->fs);
	fd = open(in(rig, "read"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && !unlink(in(rig, "read")), "%s: waits: read, and deleted", rig->fs);
	so_far = rig->shared->flushes;
	close(fd);
	check(WAIT_FOR(journal_empty(rig)) && WAIT_FOR(!status_number(rig, "files", "records")), "%s: waits: closed", rig->fs);
	check(rig->shared->flushes <= so_far + most, "%s: waits: with %u flushes", rig->fs, rig->shared->flushes - so_far);
}

/* A disk that takes longer than the agent waits for a record that does not go (RELEASE_MS of control.c). */
static void test_slow_disk(struct rig *rig)
{
	char error[512] = "";
	FILE *hold = NULL;
	int status = -1;
	pid_t pid;

	check(agent_settle(rig) && kept_new(rig, "slow", 5), "%s: waits: slow", rig->fs);
	rig->shared->slow_disk = true;
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(tk_client_hold(rig->control, "release", &hold, error, sizeof(error)) ? 1 : 0);
	check(WAIT_FOR(rig->shared->at_disk), "%s: waits: a release of records begins", rig->fs);
	sleep(11);
	check(!waitpid(pid, &status, WNOHANG), "%s: waits: its end is waited for", rig->fs);
	rig->shared->slow_disk = false;
	check(waitpid(pid, &status, 0) == pid && !status && kept_becomes(rig, "slow", TK_SEALED), "%s: waits: and comes",
	      rig->fs);
}

static bool put_key(const char *dir, const char *version, char digit)
{
	char path[128], digits[2 * TK_KEK_SIZE];
	int fd;
	bool good;

	memset(digits, digit, sizeof(digits));
	snprintf(path, sizeof(path), "%s/%s", dir, version);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	good = fd >= 0 && write(fd, digits, sizeof(digits)) == sizeof(digits);
	close(fd);
	return good;
}

/* In the child that is the command: the agent that it finds where agents are found. */
static const char *agent_instead;

int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	struct sockaddr_un other = {.sun_family = AF_UNIX};

	if (!agent_instead || strcmp(((const struct sockaddr_un *)address)->sun_path, TK_CONTROL_SOCKET))
		return __real_connect(fd, address, len);
	snprintf(other.sun_path, sizeof(other.sun_path), "%s", agent_instead);
	return __real_connect(fd, (struct sockaddr *)&other, sizeof(other));
}

/* `key retire`. */
static int retire(const struct rig *rig, char *keys, char *tree)
{
	char *arguments[] = {"retire", "--version", "6", keys, tree, NULL};
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		agent_instead = rig->control;
		if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
			_exit(100);
		optind = 0;
		_exit(tk_key_retire(5, arguments));
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

/* Of another key, whose files lie elsewhere: a kept file is no reason to refuse, an open one is. */
static void test_retire(struct rig *rig)
{
	char keys[96], tree[128];
	int fd;

	snprintf(keys, sizeof(keys), "%s/keys", rig->dir);
	snprintf(tree, sizeof(tree), "%s/tree", rig->dir);
	check(agent_settle(rig) && kept_new(rig, "retire", 6) && !mkdir(keys, 0700) && !mkdir(tree, 0700) &&
		      put_key(keys, "6", '6') && put_key(keys, "7", '7'),
	      "%s: waits: two versions of a key", rig->fs);
	fd = open(in(rig, "retire"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && retire(rig, keys, tree) == 1, "%s: waits: not retired while a file is open",
	      rig->fs);
	close(fd);
	check(kept_again(rig, "retire") && !retire(rig, keys, tree), "%s: waits: retired while one is kept", rig->fs);
}

void kept_waits_tests(struct rig *rig)
{
	test_retire(rig);
	if (!strcmp(rig->fs, "ext4")) /* it takes eleven seconds */
		test_slow_disk(rig);
	test_deleted(rig);
	test_few_inodes(rig);
	test_few_descriptors(rig);
	test_immutable(rig);
	test_due_while_released(rig);
	test_set_meanwhile(rig);
}
