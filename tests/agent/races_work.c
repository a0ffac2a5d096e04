// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/races_work.c - what one process does to the files, by chance, and looks at.
 *
 * It obeys the kernel programs, whose state the fake kernel half keeps: who was let in only because the
 * agent died, and finds no plaintext, neither reads nor writes.
 */
#include "tests/agent/races_self.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/small.h"

const char *const race_operations[RACE_OPERATIONS] = {
	"read",
	"mapped, read",
	"sendfile",
	"splice",
	"write",
	"fsync",
	"direct",
	"mapped, write",
	"O_TRUNC",
	"truncate",
	"replace",
	"unlink, new",
	"rename, and back",
	"link, read, unlink",
	"execute",
	"lease",
	"backup (raw)",
};

unsigned int chance(struct self *self, unsigned int end)
{
	self->random = self->random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(self->random >> 33) % end;
}

/* ---------------------------------------------------------------- what the programs know */

static bool is_plain(const struct fake_file *entry)
{
	return entry && (entry->state == TK_OPEN || entry->state == TK_OPEN_READ);
}

/* An open that may be used.  The programs let nobody in without an agent. */
int open_for(struct self *self, const char *name, int flags, struct fake_file **ret_entry)
{
	bool write = (flags & O_ACCMODE) != O_RDONLY, ready = self->rig->shared->control.ready;
	int fd = open(in(self->rig, name), flags | O_CLOEXEC, 0644);
	struct fake_file *entry = file_of(self->rig, fd);

	if (fd >= 0 && ready && (write ? entry && entry->state == TK_OPEN : is_plain(entry))) {
		if (write)
			entry->touched = true;
		*ret_entry = entry;
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---------------------------------------------------------------- looking */

static enum race_outcome violated(struct self *self, unsigned int file, unsigned int number,
				  const struct race_bounds *before, const void *bytes, size_t size)
{
	race_describe(self->race, file, number, before, bytes, size);
	return RACE_VIOLATED;
}

/* Of an open file.  What is found after the agent has died is looked at only if it is right. */
static enum race_outcome look(struct self *self, unsigned int file, int fd, const struct fake_file *entry)
{
	unsigned int number = chance(self, race_count(file)), count = 1 + chance(self, 16);
	uint32_t epoch = self->race->epoch;

	for (; count && number < race_count(file); count--, number++) {
		struct race_bounds before = race_now(self->race, file, number);
		ssize_t n = pread(fd, self->block, RACE_BLOCK, (off_t)number * RACE_BLOCK);

		if (n < 0)
			return is_plain(entry) && race_same_agent(self->race, epoch)
				       ? violated(self, file, number, &before, NULL, 0)
				       : RACE_FAILED;
		if (race_allowed(self->race, file, number, &before, self->block, (size_t)n))
			continue;
		if (!is_plain(entry) || !race_same_agent(self->race, epoch))
			return RACE_FAILED;
		return violated(self, file, number, &before, self->block, (size_t)n);
	}
	return RACE_DONE;
}

enum race_outcome do_read(struct self *self, unsigned int file, const char *name)
{
	struct fake_file *entry;
	enum race_outcome outcome = RACE_DONE;
	int fd = open_for(self, name, O_RDONLY, &entry);

	if (fd < 0)
		return RACE_REFUSED;
	for (unsigned int i = 1 + chance(self, 4); i && outcome == RACE_DONE; i--) {
		outcome = look(self, file, fd, entry);
		if (!chance(self, 4))
			usleep(chance(self, 10000)); /* held open while others come and go */
	}
	close(fd);
	return outcome;
}

static enum race_outcome do_map_read(struct self *self, unsigned int file)
{
	unsigned int number = chance(self, race_count(file));
	struct race_bounds before = race_now(self->race, file, number);
	uint32_t epoch = self->race->epoch;
	struct fake_file *entry;
	enum race_outcome outcome = RACE_DONE;
	struct stat st;
	void *at;
	int fd = open_for(self, race_name(file), O_RDONLY, &entry);

	if (fd < 0)
		return RACE_REFUSED;
	if (fstat(fd, &st) || st.st_size < (off_t)(number + 1) * RACE_BLOCK) {
		close(fd);
		return RACE_FAILED;
	}
	at = mmap(NULL, RACE_BLOCK, PROT_READ, MAP_SHARED, fd, (off_t)number * RACE_BLOCK);
	close(fd); /* the mapping alone keeps it open */
	if (at == MAP_FAILED)
		return RACE_FAILED;
	usleep(chance(self, 5000));
	memcpy(self->block, at, RACE_BLOCK);
	if (!race_allowed(self->race, file, number, &before, self->block, RACE_BLOCK))
		outcome = is_plain(entry) && race_same_agent(self->race, epoch)
				  ? violated(self, file, number, &before, self->block, RACE_BLOCK)
				  : RACE_FAILED;
	munmap(at, RACE_BLOCK);
	return outcome;
}

/* Pages that are in flight when the file is closed, sealed, and written anew.  Gives up the file's lock. */
static enum race_outcome do_pipe(struct self *self, unsigned int file, bool by_splice)
{
	unsigned int number = chance(self, race_count(file));
	struct race_bounds before = race_now(self->race, file, number);
	off_t offset = (off_t)number * RACE_BLOCK;
	enum race_outcome outcome = RACE_DONE;
	bool plain = false;
	struct fake_file *entry;
	ssize_t sent, n;
	int pipes[2];
	int fd = open_for(self, race_name(file), O_RDONLY, &entry);

	if (fd < 0)
		return RACE_REFUSED;
	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK)) {
		close(fd);
		return RACE_FAILED;
	}
	sent = by_splice ? splice(fd, &offset, pipes[1], NULL, RACE_BLOCK, 0)
			 : sendfile(pipes[1], fd, &offset, RACE_BLOCK);
	plain = is_plain(entry); /* it was until here */
	close(fd);
	race_unlock(self->locks, RACE_LOCK_FILES + file);
	usleep(chance(self, 20000));
	n = sent > 0 ? read(pipes[0], self->block, RACE_BLOCK) : 0;
	close(pipes[0]);
	close(pipes[1]);
	if (sent < 0 || n != sent)
		outcome = RACE_FAILED;
	else if (!race_allowed(self->race, file, number, &before, self->block, (size_t)n))
		outcome = plain ? violated(self, file, number, &before, self->block, (size_t)n) : RACE_FAILED;
	return outcome;
}

/* ---------------------------------------------------------------- writing */

static unsigned int own_block(struct self *self, unsigned int file)
{
	unsigned int row = chance(self, (race_count(file) + RACE_WRITERS - 1) / RACE_WRITERS);
	unsigned int number = row * RACE_WRITERS + self->writer;

	return number < race_count(file) ? number : self->writer;
}

static enum race_outcome do_write(struct self *self, unsigned int file, bool sync)
{
	unsigned int number = own_block(self, file);
	struct race_block *block = &self->race->blocks[file][number];
	struct fake_file *entry;
	uint32_t sequence;
	bool good;
	int fd = open_for(self, race_name(file), O_RDWR | O_CREAT | (race_direct(file) ? O_DIRECT : 0),
			  &entry);

	if (fd < 0)
		return RACE_REFUSED;
	sequence = block->begun + 1;
	race_fill(self->block, file, number, sequence);
	block->begun = sequence;
	good = pwrite(fd, self->block, RACE_BLOCK, (off_t)number * RACE_BLOCK) == RACE_BLOCK &&
	       entry->state == TK_OPEN;
	if (good)
		block->done = sequence;
	if (good && sync)
		good = !fsync(fd);
	close(fd);
	return good ? RACE_DONE : RACE_FAILED;
}

static enum race_outcome do_map_write(struct self *self, unsigned int file)
{
	unsigned int number = own_block(self, file);
	struct race_block *block = &self->race->blocks[file][number];
	struct fake_file *entry;
	uint32_t sequence;
	struct stat st;
	bool good;
	void *at;
	int fd = open_for(self, race_name(file), O_RDWR | O_CREAT, &entry);

	if (fd < 0)
		return RACE_REFUSED;
	good = !fstat(fd, &st) && st.st_size >= (off_t)(number + 1) * RACE_BLOCK;
	at = good ? mmap(NULL, RACE_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)number * RACE_BLOCK)
		  : MAP_FAILED;
	close(fd);
	if (at == MAP_FAILED)
		return RACE_FAILED;
	usleep(chance(self, 3000));
	sequence = block->begun + 1;
	block->begun = sequence;
	race_fill(at, file, number, sequence);
	good = entry->state == TK_OPEN;
	if (good)
		block->done = sequence;
	munmap(at, RACE_BLOCK);
	return good ? RACE_DONE : RACE_FAILED;
}

/* ---------------------------------------------------------------- others */

static enum race_outcome do_link(struct self *self, unsigned int file)
{
	enum race_outcome outcome;
	char name[32];

	snprintf(name, sizeof(name), "%s.link%u", race_name(file), self->writer);
	unlink(in(self->rig, name));
	if (link(in(self->rig, race_name(file)), in(self->rig, name)))
		return RACE_FAILED;
	outcome = do_read(self, file, name);
	unlink(in(self->rig, name));
	return outcome;
}

static enum race_outcome do_execute(struct self *self)
{
	struct race *race = self->race;
	uint32_t epoch = race->epoch;
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		execl(in(self->rig, "x"), "x", NULL);
		_exit(errno == ENOEXEC ? 99 : 98);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return RACE_FAILED;
	if (!status)
		return RACE_DONE;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 98)
		return RACE_REFUSED;
	if (!race_same_agent(race, epoch))
		return RACE_FAILED;
	printf("VIOLATION: %s: a program is not what it was: status %x\n", self->rig->fs,
	       (unsigned int)status);
	return RACE_VIOLATED;
}

static enum race_outcome do_lease(struct self *self, unsigned int file)
{
	struct fake_file *entry;
	bool had;
	int fd = open_for(self, race_name(file), O_RDONLY, &entry);

	if (fd < 0)
		return RACE_REFUSED;
	had = !fcntl(fd, F_SETLEASE, F_RDLCK);
	if (had) {
		usleep(chance(self, 5000));
		fcntl(fd, F_SETLEASE, F_UNLCK);
	}
	close(fd);
	return had ? RACE_DONE : RACE_FAILED;
}

/* ---------------------------------------------------------------- by chance */

static bool takes_away(unsigned int operation)
{
	return operation >= 8 && operation <= 12;
}

static enum race_outcome do_one(struct self *self, unsigned int operation, unsigned int file)
{
	switch (operation) {
	case 0:
		return do_read(self, file, race_name(file));
	case 1:
		return do_map_read(self, file);
	case 2:
	case 3:
		return do_pipe(self, file, operation == 3);
	case 4:
	case 5:
	case 6:
		return do_write(self, file, operation == 5);
	case 7:
		return do_map_write(self, file);
	case 8:
		return do_open_truncated(self, file);
	case 9:
		return do_truncate(self, file);
	case 10:
		return do_replace(self, file);
	case 11:
		return do_unlink(self, file);
	case 12:
		return do_rename(self, file);
	case 13:
		return do_link(self, file);
	case 14:
		return do_execute(self);
	default:
		return do_lease(self, file);
	}
}

void race_worker(struct race *race, unsigned int writer, uint64_t seed)
{
	static struct self self;

	self = (struct self){.race = race,
			     .rig = race->rig,
			     .writer = writer,
			     .random = seed,
			     .locks = race_locks_open(race)};
	signal(SIGIO, SIG_IGN); /* a lease that is broken */
	signal(SIGPIPE, SIG_IGN);
	while (!race->over) {
		/* Content is taken away less often than it is written. */
		unsigned int operation = chance(&self, 16), file = chance(&self, RACE_FILES);
		enum race_outcome outcome;

		if (takes_away(operation) && chance(&self, 3))
			operation -= 5;
		if (operation == 6)
			file = 1;
		if (race_direct(file) && (operation == 1 || operation == 7))
			file = 2;
		if (race_direct(file) && (operation == 4 || operation == 5))
			operation = 6;
		while (race->pause && !race->over)
			usleep(2000);
		race_lock(self.locks, RACE_LOCK_WORLD, false);
		if (!race->pause) {
			race_lock(self.locks, RACE_LOCK_FILES + file, takes_away(operation));
			outcome = do_one(&self, operation, file);
			race->tally[operation][outcome]++;
			race_unlock(self.locks, RACE_LOCK_FILES + file);
		}
		race_unlock(self.locks, RACE_LOCK_WORLD);
	}
	_exit(0);
}
