// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/races_test.c - lets the processes loose on a filesystem, kills them and the agent, freezes
 * and thaws; lets all rest now and then, and looks; says what was found as a table.
 *
 * TK_SEED repeats the choices of a run (not the machine's); TK_SECONDS is how long.
 */
#include "tests/agent/races.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/small.h"

#define REST_EVERY_MS 7000

struct conductor {
	struct race *race;
	int locks;
	uint64_t random;
	pid_t workers[RACE_WRITERS], backup;
};

struct verdict {
	struct race race;
	int passed, failed;
};

static unsigned int chance(struct conductor *c, unsigned int end)
{
	c->random = c->random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(c->random >> 33) % end;
}

static void start_worker(struct conductor *c, unsigned int i)
{
	uint64_t seed = c->random ^ (uint64_t)i << 40;

	chance(c, 1);
	fflush(stdout);
	c->workers[i] = fork();
	if (!c->workers[i])
		race_worker(c->race, i, seed);
}

/* Whatever it does just now; mostly it waits for the agent. */
static void kill_worker(struct conductor *c)
{
	unsigned int i = chance(c, RACE_WRITERS);

	kill(c->workers[i], SIGKILL);
	waitpid(c->workers[i], NULL, 0);
	c->race->killed++;
	start_worker(c, i);
}

static bool change_agent(struct conductor *c)
{
	struct rig *rig = c->race->rig;
	bool good;

	race_lock(c->locks, RACE_LOCK_AGENT, true);
	c->race->epoch++;
	agent_kill(rig);
	c->race->agents_killed++;
	good = agent_start(rig, NULL);
	c->race->epoch++;
	race_unlock(c->locks, RACE_LOCK_AGENT);
	return check(good, "%s: races: an agent comes after one that was killed", rig->fs);
}

static void freeze(struct conductor *c)
{
	struct rig *rig = c->race->rig;
	int fd;

	race_lock(c->locks, RACE_LOCK_FREEZE, true);
	fd = open(rig->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (check(fd >= 0 && !ioctl(fd, FIFREEZE, 0), "%s: races: frozen", rig->fs)) {
		usleep(chance(c, 30000));
		check(!ioctl(fd, FITHAW, 0), "%s: races: thawed", rig->fs);
		c->race->frozen++;
	}
	if (fd >= 0)
		close(fd);
	race_unlock(c->locks, RACE_LOCK_FREEZE);
}

/* A file that was deleted when its agent was dead, or just before, leaves a record: README.md. */
static bool at_rest(struct race *race)
{
	struct rig *rig = race->rig;

	for (int tries = 0; tries < 6; tries++) {
		if (rig_ask_to_settle(rig) && WAIT_FOR(all_sealed(rig)))
			return true;
		race->orphans += race_bury(race);
	}
	for (uint32_t i = 0; i < rig->shared->file_count; i++)
		if (rig->shared->files[i].state != TK_SEALED)
			printf("# %s: inode %llu: state %u, raw %u\n", rig->fs,
			       (unsigned long long)rig->shared->files[i].inode.ino,
			       rig->shared->files[i].state, rig->shared->files[i].raw);
	return false;
}

/* Nobody does anything: all is sealed, the journal empty, and each block what it must be. */
static bool rest(struct conductor *c)
{
	struct rig *rig = c->race->rig;
	bool good;

	c->race->pause = true;
	race_lock(c->locks, RACE_LOCK_WORLD, true);
	good = check(at_rest(c->race), "%s: races: all comes to rest: sealed, the journal empty", rig->fs) &&
	       check(!race_check_all(c->race), "%s: races: each block is what it must be", rig->fs) &&
	       check(at_rest(c->race), "%s: races: and rests again", rig->fs);
	if (good)
		fake_files_forget(rig->shared); /* nothing is known of files that are sealed */
	c->race->rests++;
	race_unlock(c->locks, RACE_LOCK_WORLD);
	c->race->pause = false;
	return good;
}

static bool conduct(struct conductor *c, unsigned int seconds)
{
	uint64_t end = tk_now_ms() + seconds * 1000ull, next_rest = tk_now_ms() + REST_EVERY_MS;
	bool good = true;

	while (good && tk_now_ms() < end) {
		unsigned int what = chance(c, 40);

		usleep(5000 + chance(c, 30000));
		if (what == 0)
			good = change_agent(c);
		else if (what <= 2)
			freeze(c);
		else if (what <= 20)
			kill_worker(c);
		if (tk_now_ms() > next_rest) {
			good = good && rest(c);
			next_rest = tk_now_ms() + REST_EVERY_MS;
		}
	}
	return good && change_agent(c) && rest(c);
}

static void end_workers(struct conductor *c)
{
	c->race->over = true;
	for (unsigned int i = 0; i < RACE_WRITERS; i++)
		if (c->workers[i] > 0)
			waitpid(c->workers[i], NULL, 0);
	if (c->backup > 0)
		waitpid(c->backup, NULL, 0);
}

static bool put_program(const struct rig *rig)
{
	char command[300];

	snprintf(command, sizeof(command), "cp /bin/true %s && chmod 755 %s", in(rig, "x"), in(rig, "x"));
	return !system(command);
}

static void race_on(struct race *race, const char *fs, unsigned int seconds, uint64_t seed)
{
	static struct rig rig;
	struct conductor c = {.race = race, .random = seed * 1000003 + (uint64_t)*fs};
	unsigned int violations = 0;

	race->rig = &rig;
	if (!check(rig_up(&rig, fs, 400) && agent_start(&rig, NULL) && put_program(&rig) && at_rest(race),
		   "%s: set up for races", fs)) {
		rig_down(&rig);
		return;
	}
	c.locks = race_locks_open(race);
	rig.shared->bad_notices = true;
	for (unsigned int i = 0; i < RACE_WRITERS; i++)
		start_worker(&c, i);
	c.backup = fork();
	if (!c.backup)
		race_backup(race, seed);
	check(conduct(&c, seconds), "%s: races: to the end", fs);
	end_workers(&c);
	rig.shared->bad_notices = false;
	for (unsigned int i = 0; i < RACE_OPERATIONS; i++)
		violations += race->tally[i][RACE_VIOLATED];
	check(!violations, "%s: races: %u violations, seed %llu", fs, violations, (unsigned long long)seed);
	check(at_rest(race) && no_records(&rig) && agent_stop(&rig), "%s: races: stops in order", fs);
	close(c.locks);
	rig_down(&rig);
}

static void print(const struct race *race, const char *fs)
{
	for (unsigned int i = 0; i < RACE_OPERATIONS; i++) {
		const _Atomic uint64_t *tally = race->tally[i];

		printf("%-6s %-20s %8llu %8llu %8llu %8llu\n", fs, race_operations[i],
		       (unsigned long long)tally[RACE_DONE], (unsigned long long)tally[RACE_REFUSED],
		       (unsigned long long)tally[RACE_FAILED], (unsigned long long)tally[RACE_VIOLATED]);
	}
	printf("%-6s %llu processes and %llu agents killed, %llu times frozen, %llu rests, %llu records of "
	       "deleted files\n",
	       fs, (unsigned long long)race->killed, (unsigned long long)race->agents_killed,
	       (unsigned long long)race->frozen, (unsigned long long)race->rests,
	       (unsigned long long)race->orphans);
}

void race_tests(const char *const *fs, size_t count, unsigned int seconds)
{
	const char *text = getenv("TK_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 10) : 1;
	struct verdict *verdicts = mmap(NULL, count * sizeof(*verdicts), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	text = getenv("TK_SECONDS");
	seconds = text ? (unsigned int)strtoul(text, NULL, 10) : seconds;
	fflush(stdout);
	for (size_t i = 0; i < count; i++) {
		if (fork())
			continue;
		race_on(&verdicts[i].race, fs[i], seconds, seed);
		verdicts[i].passed = passed;
		verdicts[i].failed = failed;
		fflush(stdout);
		_exit(0);
	}
	for (int status; wait(&status) > 0;)
		check(!status, "races ran to their end: %x", (unsigned int)status);
	printf("\n%-6s %-20s %8s %8s %8s %8s\n", "", "operation", "done", "refused", "failed", "VIOLATED");
	for (size_t i = 0; i < count; i++) {
		passed += verdicts[i].passed;
		failed += verdicts[i].failed;
		print(&verdicts[i].race, fs[i]);
	}
	for (unsigned int i = 0; i < RACE_OPERATIONS; i++) {
		uint64_t done = 0;

		for (size_t k = 0; k < count; k++)
			done += verdicts[k].race.tally[i][RACE_DONE];
		check(done, "races: %s was done", race_operations[i]);
	}
	printf("seed %llu, %u s\n", (unsigned long long)seed, seconds);
	munmap(verdicts, count * sizeof(*verdicts));
}
