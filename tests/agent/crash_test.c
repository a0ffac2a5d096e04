// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/crash_test.c - the agent dies, the machine dies, the disk is full: the
 * content is the old or the new, complete, and sealed afterwards.
 *
 * A power cut is the agent's death and a copy of the image at that moment: what had
 * not reached the device is gone.  (Background write-back is put off, so that the copy is of
 * one moment.)
 */
#include "tests/agent/crash_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/agent/rig.h"

#define SIZE 150000 /* three records of the format */

/*
 * One rewrite by an application that obeys the kernel programs.  True when it became durable, with the
 * capability that writing takes away.
 */
static bool rewrite(const struct rig *rig, const char *name, unsigned int seed)
{
	static uint8_t buf[SIZE];
	int fd = open(in(rig, name), O_RDWR | O_CLOEXEC);
	bool done = false;

	fill(buf, SIZE, seed);
	if (fd >= 0 && plain_now(rig, fd))
		done = pwrite(fd, buf, SIZE, 0) == SIZE && set_capability(in(rig, name)) && !fsync(fd);
	if (fd >= 0)
		close(fd);
	return done;
}

static bool remount_copy(struct rig *rig)
{
	char command[512], image[128];
	bool ok;

	snprintf(command, sizeof(command), "cp --sparse=always %s/image %s/copy", rig->dir, rig->dir);
	ok = system(command) == 0;
	rig_unmount(rig);
	snprintf(command, sizeof(command), "mv %s/copy %s/image", rig->dir, rig->dir);
	snprintf(image, sizeof(image), "%s/image", rig->dir);
	kernel_forget(rig);
	return ok && system(command) == 0 && rig_mount(rig, image);
}

/* What the application does while the agent dies. */
enum cycle {
	REWRITES,
	READS,	 /* the kept ciphertext goes back */
	CREATES, /* a record that is not synced */
};
static const char *const cycle_names[] = {"rewriting", "reading", "creating"};

static bool create(const struct rig *rig, const char *name, unsigned int seed)
{
	static uint8_t buf[SIZE];
	int fd = open(in(rig, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	bool done = false;

	fill(buf, SIZE, seed);
	if (fd >= 0 && plain_now(rig, fd))
		done = pwrite(fd, buf, SIZE, 0) == SIZE && !fsync(fd);
	if (fd >= 0)
		close(fd);
	return done;
}

/* In a child: the open may end with the agent.  True when something new became durable. */
static bool act(const struct rig *rig, enum cycle cycle, unsigned int old, unsigned int new)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd;

		switch (cycle) {
		case REWRITES:
			_exit(!rewrite(rig, "c", new));
		case CREATES:
			_exit(!create(rig, "c", new));
		case READS:
			fd = open(in(rig, "c"), O_RDONLY | O_CLOEXEC);
			if (fd >= 0)
				close(fd);
			_exit(1);
		}
	}
	waitpid(pid, &status, 0);
	return status == 0;
}

static bool prepare(struct rig *rig, enum cycle cycle, unsigned int old)
{
	bool good = agent_start(rig, NULL);

	if (good && cycle == CREATES)
		good = !unlink(in(rig, "c"));
	else if (good)
		good = rewrite(rig, "c", old);
	good = good && agent_settle(rig) && agent_stop(rig);
	sync();
	return good;
}

/* The file as it must be: old or new; of a file that was not created durably, nothing at all. */
static bool as_expected(const struct rig *rig, enum cycle cycle, bool written, unsigned int old,
			unsigned int new)
{
	struct stat st;

	if (cycle == CREATES && !written) {
		bool nothing = stat(in(rig, "c"), &st) || !st.st_size;

		if (nothing && !create(rig, "c", new)) /* for the next round */
			return false;
		return nothing;
	}
	return is_taka(rig, "c") && (cycle == CREATES || has_capability(in(rig, "c"))) &&
	       !compare(rig, in(rig, "c"), SIZE, written ? new : old);
}

/* Nobody has it open, so that is how it ends: see agent_settle() for why settling alone can be too early. */
static bool at_rest(const struct rig *rig)
{
	uint32_t state;

	state = state_of(rig, "c");
	if (state == TK_KEPT) /* sealed too late for that */
		rig_ask_to_settle(rig);
	if (!journal_empty(rig))
		return false;
	return state == TK_SEALED || state == UINT32_MAX;
}

/* Dies before the nth step.  False when it was through before that. */
static bool crash_at(struct rig *rig, enum cycle cycle, unsigned long n, bool half, bool cut)
{
	unsigned int old = (unsigned int)n * 2, new = old + 1;
	const char *name = cycle_names[cycle];
	char environment[64];
	bool written, died;

	if (!check(prepare(rig, cycle, old), "%s: %s, step %lu: set up", rig->fs, name, n))
		return false;
	snprintf(environment, sizeof(environment), "TK_CRASH_AT=%lu%s", n, half ? " TK_CRASH_HALF=1" : "");
	written = agent_start(rig, environment) && act(rig, cycle, old, new);
	died = !rig->agent || !agent_settle(rig);
	agent_kill(rig);
	if (cut && !check(remount_copy(rig), "%s: %s, step %lu: power cut", rig->fs, name, n))
		return false;
	check(agent_start(rig, NULL) && agent_settle(rig) && WAIT_FOR(at_rest(rig)),
	      "%s: %s, step %lu: recovery", rig->fs, name, n);
	check(as_expected(rig, cycle, written, old, new), "%s: %s, step %lu%s%s: %s content, sealed", rig->fs,
	      name, n, half ? ", half a write" : "", cut ? ", power cut" : "", written ? "new" : "old");
	check(agent_settle(rig) && WAIT_FOR(at_rest(rig)) && no_records(rig) && agent_stop(rig),
	      "%s: %s, step %lu: no record left", rig->fs, name, n);
	return died;
}

static void test_steps(const char *fs, enum cycle cycle, bool half, bool cut)
{
	struct rig rig;
	unsigned long n = 0;

	if (check(rig_up(&rig, fs,
			 !strcmp(fs, "ext4")  ? 64
			 : !strcmp(fs, "xfs") ? 320
					      : 200) &&
			  agent_start(&rig, NULL) && write_new(in(&rig, "c"), SIZE, 1) &&
			  agent_settle(&rig) && agent_stop(&rig),
		  "%s: set up for crashes", fs)) {
		if (strcmp(fs, "xfs"))
			mount(NULL, rig.mount, NULL, MS_REMOUNT, "commit=600");
		while (crash_at(&rig, cycle, ++n, half, cut) && n < 200)
			;
		printf("# %s: %s: %lu steps%s%s\n", fs, cycle_names[cycle], n - 1,
		       half ? ", half writes" : "", cut ? ", power cuts" : "");
	}
	rig_down(&rig);
}

/* ---------------------------------------------------------------- at random */

#define WRITERS 3
#define ROUNDS 60

struct progress {
	_Atomic bool stop;
	_Atomic unsigned int durable[WRITERS], begun[WRITERS];
};

static void writer(const struct rig *rig, struct progress *progress, unsigned int me)
{
	char name[16];

	snprintf(name, sizeof(name), "k%u", me);
	while (!progress->stop) {
		unsigned int next = progress->durable[me] + 1;

		progress->begun[me] = next;
		if (rewrite(rig, name, next * WRITERS + me))
			progress->durable[me] = next;
		else
			usleep(2000);
		usleep((useconds_t)(random() % 8000));
	}
	_exit(0);
}

static void test_random(const char *fs)
{
	struct progress *progress =
		mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int bad = 0, before, cycles = 0;
	struct rig rig;
	char name[16];

	if (!check(rig_up(&rig, fs, 320) && agent_start(&rig, NULL), "%s: set up for kills", fs))
		return;
	for (unsigned int i = 0; i < WRITERS; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		write_new(in(&rig, name), SIZE, i);
	}
	check(agent_settle(&rig), "%s: settled before the kills", fs);
	srandom(1);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pids[WRITERS];

		fflush(stdout);
		before = progress->durable[0] + progress->durable[1] + progress->durable[2];
		progress->stop = false;
		for (unsigned int i = 0; i < WRITERS; i++) {
			pids[i] = fork();
			if (!pids[i]) {
				srandom((unsigned int)round * 7 + i);
				writer(&rig, progress, i);
			}
		}
		usleep((useconds_t)(2000 + random() % 60000));
		agent_kill(&rig);
		if (random() %
		    2) /* those who were let in by its end are still there when the next one comes */
			bad += !agent_start(&rig, NULL);
		progress->stop = true;
		for (unsigned int i = 0; i < WRITERS; i++)
			waitpid(pids[i], NULL, 0);
		if (!rig.agent)
			bad += !agent_start(&rig, NULL);
		bad += !agent_settle(&rig);
		for (unsigned int i = 0; i < WRITERS; i++) {
			snprintf(name, sizeof(name), "k%u", i);
			bad += !is_taka(&rig, name);
			bad += compare(&rig, in(&rig, name), SIZE, progress->durable[i] * WRITERS + i) != 0;
		}
		bad += !agent_settle(&rig) || !no_records(&rig);
		cycles += progress->durable[0] + progress->durable[1] + progress->durable[2] - before;
	}
	check(!bad, "%s: %d kills at random: %u faults", fs, ROUNDS, bad);
	printf("# %s: %d kills, %u rewrites\n", fs, ROUNDS, cycles);
	agent_stop(&rig);
	rig_down(&rig);
	munmap(progress, sizeof(*progress));
}

/* ---------------------------------------------------------------- full disk */

static void fill_disk(const char *path)
{
	static char zeros[1 << 16];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	size_t piece = sizeof(zeros);

	while (piece >= 512)
		if (write(fd, zeros, piece) < (ssize_t)piece)
			piece /= 2;
	fsync(fd);
	close(fd);
}

static void test_full(const char *fs)
{
	char filler[160];
	struct rig rig;
	int fd;

	if (!check(rig_up(&rig, fs, 320) && agent_start(&rig, NULL), "%s: set up for a full disk", fs))
		return;
	snprintf(filler, sizeof(filler), "%s/filler", rig.mount);
	check(write_new(in(&rig, "f"), SIZE, 1) && agent_settle(&rig), "%s: f", fs);
	fd = open(in(&rig, "f"), O_RDWR | O_CLOEXEC);
	check(fd >= 0 && plain_now(&rig, fd), "%s: f open", fs);
	close(fd);
	check(agent_settle(&rig) && rewrite(&rig, "f", 2), "%s: f rewritten", fs);
	fd = open(in(&rig, "f"), O_RDWR | O_CLOEXEC);
	fill_disk(filler);
	check(fd >= 0 && plain_now(&rig, fd) && (pwrite(fd, "x", 1, 0) == 1 || !strcmp(fs, "btrfs")),
	      "%s: written on a full disk", fs); /* btrfs copies on write, so it cannot */
	close(fd);
	usleep(300000);
	check(!is_taka(&rig, "f") || !strcmp(fs, "btrfs"), "%s: there is no room to seal it", fs);
	fd = open(in(&rig, "f"), O_RDWR | O_CLOEXEC);
	check(fd >= 0 || !strcmp(fs, "btrfs"), "%s: it can be opened meanwhile", fs);
	if (fd >= 0) {
		check(plain_now(&rig, fd), "%s: and read", fs);
		close(fd);
	}
	unlink(filler);
	sync();
	check(rewrite(&rig, "f", 3) && agent_settle(&rig) && is_taka(&rig, "f"),
	      "%s: sealed when there is room", fs);
	check(!compare(&rig, in(&rig, "f"), SIZE, 3) && agent_settle(&rig) && no_records(&rig),
	      "%s: nothing was lost", fs);
	agent_stop(&rig);
	rig_down(&rig);
}

/* The disk is full in the very middle of sealing and unsealing: each write in turn. */
static void test_full_steps(const char *fs)
{
	struct rig rig;
	char until[128], environment[256];
	unsigned long n;

	if (!check(rig_up(&rig, fs, 320) && agent_start(&rig, NULL) && write_new(in(&rig, "c"), SIZE, 1) &&
			   agent_settle(&rig) && agent_stop(&rig),
		   "%s: set up for full steps", fs))
		return;
	snprintf(until, sizeof(until), "%s/room", rig.dir);
	for (n = 1; n <= 10; n++) {
		bool written;

		unlink(until);
		check(agent_start(&rig, NULL) && rewrite(&rig, "c", 500) && agent_settle(&rig) &&
			      agent_stop(&rig),
		      "%s: full at %lu: set up", fs, n);
		snprintf(environment, sizeof(environment), "TK_FULL_AT=%lu TK_FULL_UNTIL=%s", n, until);
		if (!check(agent_start(&rig, environment), "%s: full at %lu: agent", fs, n))
			break;
		written = rewrite(&rig, "c", 501);
		usleep(50000);
		close(open(until, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		check(agent_settle(&rig) && is_taka(&rig, "c"), "%s: full at %lu: sealed when there is room",
		      fs, n);
		check(!compare(&rig, in(&rig, "c"), SIZE, written ? 501 : 500), "%s: full at %lu: %s content",
		      fs, n, written ? "new" : "old");
		check(agent_settle(&rig) && no_records(&rig) && agent_stop(&rig),
		      "%s: full at %lu: no record", fs, n);
	}
	rig_down(&rig);
}

void crash_tests(const char *fs)
{
	test_full(fs);
	test_full_steps(fs);
	test_random(fs);
	for (enum cycle cycle = REWRITES; cycle <= CREATES; cycle++) {
		test_steps(fs, cycle, false, false);
		test_steps(fs, cycle, true, false);
		test_steps(fs, cycle, false, true);
		test_steps(fs, cycle, true, true);
	}
}
