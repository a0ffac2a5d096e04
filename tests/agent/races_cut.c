// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/races_cut.c - operations that take content away: truncation, another file in its place.  Each
 * is alone with its file, and says before and after what it takes.
 */
#include "tests/agent/races_self.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void cut_begin(struct race_block *blocks, unsigned int from, unsigned int end)
{
	for (unsigned int i = from; i < end; i++)
		blocks[i].cut_begun = blocks[i].begun;
}

static void cut_end(struct race_block *blocks, unsigned int from, unsigned int end)
{
	for (unsigned int i = from; i < end; i++)
		blocks[i].cut_done = blocks[i].cut_begun;
}

enum race_outcome do_open_truncated(struct self *self, unsigned int file)
{
	struct race_block *blocks = self->race->blocks[file];
	struct fake_file *entry;
	int fd;

	race_lock(self->locks, RACE_LOCK_AGENT, false); /* nobody else keeps it from cutting ciphertext */
	race_lock(self->locks, RACE_LOCK_FREEZE, false);
	cut_begin(blocks, 0, race_count(file));
	fd = open_for(self, race_name(file), O_RDWR | O_TRUNC, &entry);
	if (fd >= 0) {
		cut_end(blocks, 0, race_count(file));
		close(fd);
	}
	race_unlock(self->locks, RACE_LOCK_FREEZE);
	race_unlock(self->locks, RACE_LOCK_AGENT);
	return fd >= 0 ? RACE_DONE : RACE_REFUSED;
}

enum race_outcome do_truncate(struct self *self, unsigned int file)
{
	struct race_block *blocks = self->race->blocks[file];
	unsigned int from = chance(self, race_count(file));
	struct fake_file *entry;
	bool good;
	int fd = open_for(self, race_name(file), O_RDWR | O_CREAT, &entry);

	if (fd < 0)
		return RACE_REFUSED;
	cut_begin(blocks, from, race_count(file));
	good = !ftruncate(fd, (off_t)from * RACE_BLOCK) && entry->state == TK_OPEN;
	if (good)
		cut_end(blocks, from, race_count(file));
	close(fd);
	return good ? RACE_DONE : RACE_FAILED;
}

enum race_outcome do_replace(struct self *self, unsigned int file)
{
	struct race_block *blocks = self->race->blocks[file];
	unsigned int count = 1 + chance(self, race_count(file) < 32 ? race_count(file) : 32);
	struct fake_file *entry;
	char name[32];
	bool good = true;
	int fd;

	snprintf(name, sizeof(name), "%s.new", race_name(file));
	unlink(in(self->rig, name));
	fd = open_for(self, name, O_RDWR | O_CREAT, &entry);
	if (fd < 0)
		return RACE_REFUSED;
	for (unsigned int i = 0; good && i < count; i++) {
		blocks[i].begun++;
		race_fill(self->block, file, i, blocks[i].begun);
		good = pwrite(fd, self->block, RACE_BLOCK, (off_t)i * RACE_BLOCK) == RACE_BLOCK;
	}
	good = good && !fsync(fd) && entry->state == TK_OPEN;
	if (chance(self, 2)) { /* before or after the rename: sealed under one name or the other */
		close(fd);
		fd = -1;
	}
	if (good) {
		cut_begin(blocks, count, race_count(file));
		good = !rename(in(self->rig, name), in(self->rig, race_name(file)));
	}
	for (unsigned int i = 0; good && i < count; i++)
		blocks[i].done = blocks[i].begun;
	if (good)
		cut_end(blocks, count, race_count(file));
	if (fd >= 0)
		close(fd);
	return good ? RACE_DONE : RACE_FAILED;
}

enum race_outcome do_unlink(struct self *self, unsigned int file)
{
	struct race_block *blocks = self->race->blocks[file];
	struct fake_file *entry;
	int fd = open_for(self, race_name(file), O_RDWR, &entry), again;

	cut_begin(blocks, 0, race_count(file));
	if (unlink(in(self->rig, race_name(file))) && errno != ENOENT) {
		close(fd);
		return RACE_FAILED;
	}
	cut_end(blocks, 0, race_count(file));
	again = open_for(self, race_name(file), O_RDWR | O_CREAT, &entry);
	if (fd >= 0) { /* it has no name any more; what is still in a pipe of somebody's is not touched */
		if (pwrite(fd, "to nobody", 9, (off_t)RACE_BLOCKS * RACE_BLOCK) < 0)
			errno = 0;
		close(fd);
	}
	if (again >= 0)
		close(again);
	return again >= 0 ? RACE_DONE : RACE_REFUSED;
}

enum race_outcome do_rename(struct self *self, unsigned int file)
{
	static uint32_t before[RACE_BLOCKS];
	struct race_block *blocks = self->race->blocks[file];
	enum race_outcome outcome = RACE_FAILED;
	char away[32];

	snprintf(away, sizeof(away), "%s.away", race_name(file));
	for (unsigned int i = 0; i < race_count(file); i++)
		before[i] = blocks[i].cut_begun;
	cut_begin(blocks, 0, race_count(file)); /* should it be killed in between */
	if (!rename(in(self->rig, race_name(file)), in(self->rig, away))) {
		outcome = do_read(self, file, away);
		if (rename(in(self->rig, away), in(self->rig, race_name(file))))
			return RACE_FAILED;
	}
	for (unsigned int i = 0; i < race_count(file); i++)
		blocks[i].cut_begun = before[i];
	return outcome;
}
