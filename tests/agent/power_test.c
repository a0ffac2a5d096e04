// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/power_test.c - the power is cut at any write of the disk: what the application
 * knew to be durable is there, the rest is old or new, and all of it is sealed again.
 *
 * One run is recorded and then cut at many places.  What was written since the disk's last flush is there in
 * part, in any order.
 */
#include "tests/agent/matrix.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORKS (OPERATIONS * 9)
#define WAYS 4 /* to lose what was not flushed */

struct run {
	struct rig *rig;
	const struct extent *extent;
	struct tally *tally;
	struct work works[WORKS];
	size_t count;
	unsigned int number;
};

static size_t position(void *disk)
{
	return ((struct disk *)disk)->entries + 1;
}

static void add(struct run *run, enum operation operation, size_t size)
{
	struct work *work = &run->works[run->count++];

	work_name(work, operation, size, run->number * 1000 + (unsigned int)run->count);
}

static bool record(struct run *run)
{
	struct rig *rig = run->rig;
	bool good = true;

	for (size_t i = 0; i < run->count; i++)
		good = good && work_prepare(rig, &run->works[i]);
	good = good && agent_settle(rig);
	sync();
	disk_record(rig->disk);
	for (size_t i = 0; good && i < run->count; i++) {
		work_do(rig, &run->works[i], position, rig->disk);
		if (i % 8 == 7) /* mostly the agent works while the application goes on */
			good = rig_ask_to_settle(rig);
	}
	good = good && agent_settle(rig) && agent_stop(rig);
	for (size_t i = 0; good && i < run->count; i++)
		good = check(work_look(rig, &run->works[i], SIZE_MAX) == CHANGED, "%s: %s: recorded whole",
			     rig->fs, run->works[i].name);
	rig_unmount(rig);
	good = good && disk_idle(rig->disk);
	disk_rewind(rig->disk);
	return good;
}

/* What an administrator finds who switches the machine on again. */
static void look(struct run *run, size_t now, bool torn, const char *where)
{
	struct rig *rig = run->rig;

	kernel_forget(rig);
	run->tally->points++;
	if (!tally_mounts(run->tally, rig, torn, where))
		return;
	if (!check(agent_start(rig, NULL) && rig_ask_to_settle(rig), "%s: power cut %s: the agent recovers", rig->fs,
		   where)) {
		run->tally->broken++;
		agent_kill(rig);
		return;
	}
	if (!check(WAIT_FOR(all_sealed(rig)), "%s: power cut %s: the journal is empty", rig->fs, where)) {
		run->tally->left++;
		agent_kill(rig); /* what it has not finished says nothing */
		return;
	}
	for (size_t i = 0; i < run->count; i++)
		tally_found(run->tally, &run->works[i], work_look(rig, &run->works[i], now + 1), where);
	agent_kill(rig); /* it has nothing to do any more, and this is faster */
}

static void cut(struct run *run, size_t flushed, size_t now, unsigned int way)
{
	/* btrfs trusts its disk to write the four kilobytes of a superblock as one. */
	size_t sector = strcmp(run->rig->fs, "btrfs") ? 512 : 4096;
	char where[64];

	snprintf(where, sizeof(where), "in run %u at write %zu, way %u", run->number, now, way);
	run->rig->disk->superblock = !strcmp(run->rig->fs, "ext4");
	disk_cut(run->rig->disk, flushed, now, sector, way ? now * 2654435761u + way : 0);
	look(run, now, way, where);
	rig_unmount(run->rig);
	check(disk_idle(run->rig->disk), "%s: power cut %s: unmounted", run->rig->fs, where);
	disk_undo(run->rig->disk);
}

static void replay(struct run *run)
{
	struct disk *disk = run->rig->disk;
	size_t flushed = 0, count = disk->entries;

	for (size_t now = 1; now <= count; now++) {
		bool flush = now == count || !disk->log[now].length;

		/* Each write alone, and before each flush in several ways. */
		for (unsigned int way = 0; way < (flush ? WAYS : 1); way++)
			if (chosen(run->extent->cuts * (flush ? 1 : 8), run->rig->fs, run->number, way,
				   (unsigned int)now))
				cut(run, flushed, now, way);
		if (now < count && flush) {
			disk_play(disk, flushed, now + 1);
			flushed = now + 1;
		}
	}
	disk_play(disk, flushed, count);
}

/* On a filesystem that is mounted, and that is left so. */
static void test_run(struct run *run)
{
	struct rig *rig = run->rig;

	fake_files_forget(rig->shared);
	run->tally = tally_new(rig->fs, "power cut");
	if (check(agent_start(rig, NULL) && record(run), "%s: run %u recorded", rig->fs, run->number)) {
		printf("# %s: power cuts, run %u: %zu writes and flushes\n", rig->fs, run->number,
		       rig->disk->entries);
		replay(run);
	}
	kernel_forget(rig);
	check(rig_mount(rig, rig->disk->image) && agent_start(rig, NULL), "%s: after run %u", rig->fs,
	      run->number);
	for (size_t i = 0; i < run->count; i++)
		work_clear(rig, &run->works[i]);
	check(agent_settle(rig) && agent_stop(rig), "%s: cleared after run %u", rig->fs, run->number);
	run->count = 0;
	run->number++;
}

void power_matrix(const char *fs, const struct extent *extent)
{
	static struct run run;
	struct rig rig;
	int fuse;

	fuse = open("/dev/fuse",
		    O_RDWR | O_CLOEXEC); /* the name alone may be there without what it stands for */
	if (fuse < 0) {
		printf("skip %s: no power cuts without /dev/fuse\n", fs);
		return;
	}
	close(fuse);
	run = (struct run){.rig = &rig, .extent = extent};
	if (!check(rig_up_on_disk(&rig, fs, 640), "%s: set up for power cuts", fs)) {
		rig_down(&rig);
		return;
	}
	for (size_t i = 0; i < matrix_size_count; i++) {
		if (!extent->large && matrix_sizes[i] > 1 << 20)
			continue;
		/* Large files are never kept; and all of them must find room together. */
		for (enum operation operation = 0;
		     operation < (matrix_sizes[i] > 1 << 20 ? READ_AGAIN : OPERATIONS); operation++)
			add(&run, operation, matrix_sizes[i]);
		/* Small ones together: they get in each other's way. */
		if (i % 4 == 3 || i + 1 == matrix_size_count || matrix_sizes[i + 1] > 1 << 20)
			test_run(&run);
	}
	rig_down(&rig);
}
