// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/agent_test.c - the agent at work on real filesystems, beside a fake
 * kernel half: what an application expects of files, one expectation after the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "tests/agent/defence_test.h"
#include "tests/agent/rig.h"

static void test_read_cycle(struct rig *rig)
{
	static const size_t sizes[] = {1, 4096, 65536, 65537, 1000003};
	struct snapshot before, after;
	char name[32];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		snprintf(name, sizeof(name), "read-%zu", sizes[i]);
		check(write_new(in(rig, name), sizes[i], 7), "%s: %s written", rig->fs, name);
		check(!setxattr(in(rig, name), "user.note", "kept", 4, 0), "%s: xattr", rig->fs);
		check(agent_settle(rig), "%s: %s settles", rig->fs, name);
		check(is_taka(rig, name), "%s: %s is sealed", rig->fs, name);
		usleep(20000);
		if (!check(snapshot(rig, name, &before), "%s: snapshot", rig->fs))
			continue;
		check(!compare(rig, in(rig, name), sizes[i], 7), "%s: %s reads as written", rig->fs, name);
		check(agent_settle(rig), "%s: %s settles again", rig->fs, name);
		check(snapshot(rig, name, &after) && same_snapshot(&before, &after),
		      "%s: reading %s leaves no trace", rig->fs, name);
		snapshot_free(&before);
		snapshot_free(&after);
	}
	check(no_records(rig), "%s: no record is left", rig->fs);
}

static bool write_at(const char *path, int flags, const void *buf, size_t size, off_t offset)
{
	int fd = open(path, flags | O_CLOEXEC);
	bool good = fd >= 0 && pwrite(fd, buf, size, offset) == (ssize_t)size;

	if (fd >= 0)
		close(fd);
	return good;
}

static bool reads(const struct rig *rig, const char *name, const void *want, size_t size)
{
	int fd = open(in(rig, name), O_RDONLY | O_CLOEXEC);
	char buf[4096];
	bool good = fd >= 0 && plain_now(rig, fd) && read(fd, buf, sizeof(buf)) == (ssize_t)size &&
		    !memcmp(buf, want, size);

	if (fd >= 0)
		close(fd);
	return good;
}

static void test_writes(struct rig *rig)
{
	struct stat st;

	check(write_new(in(rig, "w"), 0, 1), "%s: empty file", rig->fs);
	check(agent_settle(rig) && !stat(in(rig, "w"), &st) && !st.st_size, "%s: an empty file stays empty",
	      rig->fs);
	check(write_at(in(rig, "w"), O_WRONLY, "hello world", 11, 0), "%s: write", rig->fs);
	check(agent_settle(rig) && is_taka(rig, "w"), "%s: sealed after writing", rig->fs);
	check(reads(rig, "w", "hello world", 11), "%s: written content", rig->fs);
	check(agent_settle(rig) && write_at(in(rig, "w"), O_WRONLY, "HELLO", 5, 0), "%s: overwrite", rig->fs);
	check(agent_settle(rig) && is_taka(rig, "w") && reads(rig, "w", "HELLO world", 11),
	      "%s: overwritten in place", rig->fs);
	check(agent_settle(rig) && write_at(in(rig, "w"), O_WRONLY | O_APPEND, "!!", 2, 0), "%s: append",
	      rig->fs);
	check(agent_settle(rig) && is_taka(rig, "w") && reads(rig, "w", "HELLO world!!", 13), "%s: appended",
	      rig->fs);
	check(agent_settle(rig) && write_at(in(rig, "w"), O_WRONLY | O_TRUNC, "new", 3, 0), "%s: O_TRUNC",
	      rig->fs);
	check(agent_settle(rig) && is_taka(rig, "w") && reads(rig, "w", "new", 3), "%s: after O_TRUNC",
	      rig->fs);
	check(agent_settle(rig) && write_at(in(rig, "w"), O_WRONLY | O_TRUNC, "", 0, 0), "%s: to nothing",
	      rig->fs);
	check(agent_settle(rig) && !stat(in(rig, "w"), &st) && !st.st_size, "%s: nothing stays nothing",
	      rig->fs);
	check(write_at(in(rig, "w"), O_WRONLY, "TAKAhashi-san", 13, 0) && agent_settle(rig) &&
		      reads(rig, "w", "TAKAhashi-san", 13),
	      "%s: plaintext that begins like TAKA", rig->fs);
	check(agent_settle(rig) && no_records(rig), "%s: no record is left after writing", rig->fs);
}

static void test_names(struct rig *rig)
{
	int fd;

	check(write_new(in(rig, "n1"), 5000, 2) && agent_settle(rig), "%s: n1", rig->fs);
	fd = open(in(rig, "n1"), O_RDWR | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd), "%s: n1 open", rig->fs);
	check(!rename(in(rig, "n1"), in(rig, "n2")) && pwrite(fd, "x", 1, 0) == 1, "%s: rename while open",
	      rig->fs);
	check(!link(in(rig, "n2"), in(rig, "n3")), "%s: link while open", rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "n2") && is_taka(rig, "n3"), "%s: renamed and linked: sealed",
	      rig->fs);
	fd = open(in(rig, "n3"), O_WRONLY | O_CLOEXEC);
	check(pwrite(fd, "y", 1, 0) == 1, "%s: write by the second name", rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "n2"), "%s: sealed by the first name", rig->fs);
	fd = open(in(rig, "n2"), O_RDWR | O_CLOEXEC);
	check(!unlink(in(rig, "n2")) && !unlink(in(rig, "n3")) && plain_now(rig, fd),
	      "%s: unlinked while open", rig->fs);
	check(pwrite(fd, "z", 1, 0) == 1, "%s: write after unlink", rig->fs);
	close(fd);
	check(agent_settle(rig) && no_records(rig), "%s: no record of what was deleted", rig->fs);
}

static void test_mmap(struct rig *rig)
{
	int fd = open(in(rig, "m"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char *map;

	check(fd >= 0 && !ftruncate(fd, 100000), "%s: file to map", rig->fs);
	map = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (!check(map != MAP_FAILED, "%s: mmap", rig->fs))
		return;
	memset(map, 'm', 1000);
	usleep(300000);
	check(!is_taka(rig, "m"), "%s: not sealed while mapped", rig->fs);
	memset(map + 50000, 'n', 1000);
	munmap(map, 100000);
	check(agent_settle(rig) && is_taka(rig, "m"), "%s: sealed after munmap", rig->fs);
	fd = open(in(rig, "m"), O_RDONLY | O_CLOEXEC);
	map = mmap(NULL, 100000, PROT_READ, MAP_SHARED, fd, 0);
	check(map != MAP_FAILED && map[999] == 'm' && !map[1000] && map[50999] == 'n', "%s: mapped content",
	      rig->fs);
	if (map != MAP_FAILED)
		munmap(map, 100000);
	close(fd);
	check(agent_settle(rig) && no_records(rig), "%s: sealed after the mapping", rig->fs);
}

/* Pages that a pipe still holds must stay what they were (KERNEL.md 18). */
static void test_pipe(struct rig *rig)
{
	uint8_t want[8192], got[8192] = {};
	int pipes[2], fd, count = 0;

	fill(want, sizeof(want), 9);
	check(write_new(in(rig, "p"), sizeof(want), 9) && agent_settle(rig), "%s: file for the pipe",
	      rig->fs);
	check(!pipe(pipes), "pipe");
	fd = open(in(rig, "p"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) &&
		      splice(fd, NULL, pipes[1], NULL, sizeof(want), 0) == sizeof(want),
	      "%s: splice", rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "p"), "%s: sealed while the pipe holds pages", rig->fs);
	close(pipes[1]);
	while (count < (int)sizeof(got)) {
		ssize_t n = read(pipes[0], got + count, sizeof(got) - (size_t)count);

		if (n <= 0)
			break;
		count += (int)n;
	}
	close(pipes[0]);
	check(count == sizeof(got) && !memcmp(want, got, sizeof(got)), "%s: the pipe holds plaintext",
	      rig->fs);
}

static void test_large(struct rig *rig)
{
	size_t size = 40 << 20;

	check(write_new(in(rig, "large"), size, 11) && agent_settle(rig) && is_taka(rig, "large"),
	      "%s: 40 MiB", rig->fs);
	check(!compare(rig, in(rig, "large"), size, 11), "%s: 40 MiB read", rig->fs);
	check(agent_settle(rig) && is_taka(rig, "large") && !unlink(in(rig, "large")),
	      "%s: 40 MiB sealed again", rig->fs);
}

static int many_openers(const struct rig *rig, unsigned int me)
{
	char name[32];

	for (unsigned int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "many-%u", (me + i) % 4);
		if (compare(rig, in(rig, name), 30000, (me + i) % 4))
			return 1;
	}
	return 0;
}

static void test_many(struct rig *rig)
{
	unsigned int bad = 0;
	char name[32];

	for (unsigned int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "many-%u", i);
		check(write_new(in(rig, name), 30000, i), "%s: %s", rig->fs, name);
	}
	fflush(stdout);
	for (unsigned int i = 0; i < 16; i++)
		if (!fork())
			_exit(many_openers(rig, i));
	for (unsigned int i = 0; i < 16; i++) {
		int status = -1;

		wait(&status);
		bad += status != 0;
	}
	check(!bad, "%s: 16 processes, 40 opens each, %u failed", rig->fs, bad);
	check(agent_settle(rig) && is_taka(rig, "many-0") && is_taka(rig, "many-3") && no_records(rig),
	      "%s: sealed after many", rig->fs);
}

/* In a child of the user who gets the raw view: 0, or what open said. */
static int raw_open(struct rig *rig, const char *name, int flags, char ret_magic[4])
{
	int fds[2], status, result[2] = {0};
	struct stat st;
	bool known = !stat(in(rig, name), &st);

	fflush(stdout);
	if (pipe(fds))
		return EIO;
	if (!fork()) {
		if (setgid(FAKE_RAW_UID) || setuid(FAKE_RAW_UID))
			_exit(1);
		int fd = open(in(rig, name), flags | O_CLOEXEC);

		result[0] = fd < 0 ? errno : 0;
		if (fd >= 0 && read(fd, &result[1], 4) < 0)
			result[0] = errno;
		if (write(fds[1], result, sizeof(result)) < 0)
			_exit(1);
		_exit(0);
	}
	wait(&status);
	if (read(fds[0], result, sizeof(result)) < 0)
		result[0] = EIO;
	close(fds[0]);
	close(fds[1]);
	memcpy(ret_magic, &result[1], 4);
	for (uint32_t i = 0; known && i < rig->shared->file_count; i++) /* file_free_security */
		if (rig->shared->files[i].inode.ino == st.st_ino)
			rig->shared->files[i].raw = 0;
	return result[0];
}

static void test_raw(struct rig *rig)
{
	char magic[4];
	int fd;

	check(write_new(in(rig, "r"), 3000, 3) && !chmod(in(rig, "r"), 0644) && agent_settle(rig), "%s: r",
	      rig->fs);
	check(!raw_open(rig, "r", O_RDONLY, magic) && !memcmp(magic, "TAKA", 4), "%s: raw view sees TAKA",
	      rig->fs);
	fd = open(in(rig, "r"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd), "%s: plaintext view after it", rig->fs);
	check(raw_open(rig, "r", O_RDONLY, magic) == EBUSY, "%s: raw view is busy while it is open", rig->fs);
	close(fd);
	check(agent_settle(rig) && !raw_open(rig, "r", O_RDONLY, magic) && !memcmp(magic, "TAKA", 4),
	      "%s: raw view after the last close", rig->fs);
	check(agent_settle(rig) && no_records(rig), "%s: settled after raw", rig->fs);
}

static void test_damaged(struct rig *rig)
{
	struct snapshot before, after;
	char magic[4];
	int fd, err;

	for (int body = 0; body < 2; body++) {
		const char *name = body ? "damaged-body" : "damaged-header";
		char path[64];

		check(write_new(in(rig, name), 3 << 20, 4) && !chmod(in(rig, name), 0666) &&
			      agent_settle(rig),
		      "%s: %s", rig->fs, name);
		check(!compare(rig, in(rig, name), 3 << 20, 4) && agent_settle(rig), "%s: %s before", rig->fs,
		      name);
		snprintf(path, sizeof(path), "guard/%s", name);
		fd = openat(rig->below, path, O_RDWR | O_CLOEXEC);
		check(pwrite(fd, "\xff\x00\xff", 3, body ? 2 << 20 : 30) == 3, "%s: damage", rig->fs);
		close(fd);
		check(snapshot(rig, name, &before), "%s: damaged", rig->fs);
		fd = open(in(rig, name), O_RDONLY | O_CLOEXEC);
		err = errno;
		check(fd < 0 && (err == EIO || err == EPERM), "%s: %s is refused (%d)", rig->fs, name,
		      fd < 0 ? err : 0);
		if (fd >= 0)
			close(fd);
		check(snapshot(rig, name, &after) && same_snapshot(&before, &after), "%s: %s is unchanged",
		      rig->fs, name);
		check(!raw_open(rig, name, O_RDONLY, magic), "%s: a backup of %s can be made", rig->fs, name);
		check(agent_settle(rig) && no_records(rig), "%s: %s leaves no record", rig->fs, name);
		snapshot_free(&before);
		snapshot_free(&after);
		unlink(in(rig, name));
	}
}

static void test_read_only(struct rig *rig)
{
	struct snapshot before, after;
	int fd;

	check(write_new(in(rig, "ro"), 3000, 5) && agent_settle(rig) &&
		      !compare(rig, in(rig, "ro"), 3000, 5) && agent_settle(rig) &&
		      snapshot(rig, "ro", &before),
	      "%s: ro before", rig->fs);
	agent_stop(rig);
	check(!mount(NULL, rig->mount, NULL, MS_REMOUNT | MS_RDONLY, NULL), "%s: remount read-only", rig->fs);
	check(agent_start(rig, NULL), "%s: an agent on a read-only filesystem", rig->fs);
	fd = open(in(rig, "ro"), O_RDONLY | O_CLOEXEC);
	check(fd < 0, "%s: what cannot be unsealed cannot be opened", rig->fs);
	if (fd >= 0)
		close(fd);
	check(snapshot(rig, "ro", &after) && same_snapshot(&before, &after), "%s: ro unchanged", rig->fs);
	agent_stop(rig);
	check(!mount(NULL, rig->mount, NULL, MS_REMOUNT, NULL) && agent_start(rig, NULL),
	      "%s: writable again", rig->fs);
	check(!compare(rig, in(rig, "ro"), 3000, 5) && agent_settle(rig), "%s: and readable", rig->fs);
}

/* What was there before the policy, with and without somebody who has it open. */
static void test_sweep(struct rig *rig)
{
	int held, fd;

	agent_stop(rig);
	umount2(rig->guard, 0);
	mkdir(in(rig, "old"), 0755);
	check(write_new(in(rig, "old/a"), 20000, 6) && write_new(in(rig, "old/held"), 100, 6),
	      "%s: from before", rig->fs);
	held = open(in(rig, "old/held"), O_RDWR | O_CLOEXEC);
	check(agent_start(rig, NULL), "%s: agent", rig->fs);
	check(WAIT_FOR(is_taka(rig, "old/a")), "%s: the sweep seals", rig->fs);
	check(!is_taka(rig, "old/held"), "%s: but nothing that is open", rig->fs);
	close(held);
	check(agent_settle(rig) && is_taka(rig, "old/held"), "%s: until it is closed", rig->fs);
	check(!compare(rig, in(rig, "old/a"), 20000, 6), "%s: swept content", rig->fs);
	fd = open(in(rig, "old/held"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd), "%s: held content", rig->fs);
	close(fd);
	check(agent_settle(rig) && no_records(rig), "%s: no record after the sweep", rig->fs);
}

/* An agent that ends in order leaves open files to the next one. */
static void test_restart(struct rig *rig)
{
	int fd = open(in(rig, "re"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	check(fd >= 0 && write(fd, "one", 3) == 3, "%s: open over a restart", rig->fs);
	check(agent_stop(rig), "%s: orderly stop", rig->fs);
	check(plain_now(rig, fd) && write(fd, "two", 3) == 3, "%s: goes on without an agent", rig->fs);
	check(agent_start(rig, NULL) && plain_now(rig, fd) && write(fd, "three", 5) == 5, "%s: adopted",
	      rig->fs);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "re") && reads(rig, "re", "onetwothree", 11),
	      "%s: sealed by the next", rig->fs);
	check(agent_settle(rig) && no_records(rig), "%s: no record after the restart", rig->fs);
}

/* Whoever asks the agent to end is answered before it has ended. */
static void test_told_to_stop(struct rig *rig)
{
	char error[128] = "";
	int status = -1;

	rig->shared->late_sender = rig->agent;
	check(!tk_client_stop(rig->control, false, error, sizeof(error)), "%s: told to stop, it says so: %s",
	      rig->fs, error);
	rig->shared->late_sender = 0;
	waitpid(rig->agent, &status, 0);
	rig->agent = 0;
	rig->shared->control.ready = 0;
	check(!status && agent_start(rig, NULL), "%s: and has", rig->fs);
}

void work_tests(const char *fs)
{
	struct rig rig;

	if (!check(rig_up(&rig, fs, 400) && agent_start(&rig, NULL), "%s: set up", fs)) {
		rig_down(&rig);
		return;
	}
	test_read_cycle(&rig);
	test_writes(&rig);
	test_names(&rig);
	test_mmap(&rig);
	test_pipe(&rig);
	test_large(&rig);
	test_many(&rig);
	test_raw(&rig);
	test_damaged(&rig);
	test_read_only(&rig);
	test_sweep(&rig);
	test_restart(&rig);
	test_told_to_stop(&rig);
	check(!rig.shared->undecided, "%s: every open was understood by the fake kernel", fs);
	check(agent_stop(&rig), "%s: stops in order", fs);
	rig_down(&rig);
}
