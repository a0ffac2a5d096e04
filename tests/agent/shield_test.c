// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/shield_test.c - an open file of a shielded guard point does not lie on the disk in the clear,
 * and that of another one does: the whole disk is searched.  And the agent finds the key again, whatever
 * happened.
 */
#include "tests/agent/defence_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/agent/shield.h"
#include "tests/agent/rig.h"

#define SIZE 30000

/* How often the bytes of test content number `seed` are on the disk, as far as its first 64 tell. */
static int on_disk(const struct rig *rig, unsigned int seed)
{
	char image[128];
	uint8_t needle[64];
	int fd, count = 0;
	struct stat st;
	uint8_t *disk, *at;

	fill(needle, sizeof(needle), seed);
	snprintf(image, sizeof(image), "%s/image", rig->dir);
	syncfs(rig->below);
	fd = open(image, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return -1;
	disk = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (disk == MAP_FAILED)
		return -1;
	for (at = disk; (at = memmem(at, (size_t)(disk + st.st_size - at), needle, sizeof(needle))); at++)
		count++;
	munmap(disk, (size_t)st.st_size);
	return count;
}

static int written(const struct rig *rig, const char *name, unsigned int seed)
{
	uint8_t *bytes = malloc(SIZE);
	int fd = open(in(rig, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	fill(bytes, SIZE, seed);
	check(fd >= 0 && plain_now(rig, fd) && write(fd, bytes, SIZE) == SIZE && !fsync(fd), "%s: written",
	      name);
	free(bytes);
	return fd;
}

/* The guard point becomes another directory, which is empty. */
static void move_guard(struct rig *rig, const char *name, bool shield)
{
	snprintf(rig->inner, sizeof(rig->inner), "%s", name);
	snprintf(rig->guard, sizeof(rig->guard), "%s/%s", rig->mount, name);
	mkdir(rig->guard, 0755);
	rig->shield = shield;
	rig_policy(rig);
}

static bool key_is_there(const struct rig *rig)
{
	struct stat st;

	return !fstatat(rig->below, "shielded/a", &st, 0); /* by its name, which is encrypted */
}

static void test_control(struct rig *rig)
{
	int fd;

	check(agent_start(rig, NULL), "without a shield");
	fd = written(rig, "control", 11);
	check(on_disk(rig, 11) > 0, "without a shield an open file lies on the disk in the clear");
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "control"), "and is sealed");
	check(agent_stop(rig), "without a shield: stops");
	umount2(rig->guard, 0);
}

static void test_open(struct rig *rig)
{
	int fd, again;

	move_guard(rig, "shielded", true);
	check(agent_start(rig, NULL), "with a shield");
	fd = written(rig, "a", 12);
	check(on_disk(rig, 12) == 0, "an open file does not lie on the disk in the clear");
	again = open(in(rig, "a"), O_RDONLY | O_CLOEXEC);
	check(again >= 0 && !compare(rig, in(rig, "a"), SIZE, 12), "nor does it read otherwise");
	close(again);
	close(fd);
	check(agent_settle(rig) && is_taka(rig, "a") && no_records(rig), "it is sealed");
	check(!compare(rig, in(rig, "a"), SIZE, 12), "and opened");
	check(on_disk(rig, 12) == 0, "and never was in the clear");
	check(agent_settle(rig), "settled");
}

/* Everything of the kernel's is lost, its keys too: the agent has to raise the shield before it recovers. */
static void test_recovery(struct rig *rig)
{
	char image[128];
	int fd = written(rig, "a", 13);

	snprintf(image, sizeof(image), "%s/image", rig->dir);
	agent_kill(rig);
	close(fd);
	umount2(rig->guard, 0);
	check(key_is_there(rig), "the agent's death leaves the key to the kernel");
	rig_unmount(rig);
	kernel_forget(rig);
	check(rig_mount(rig, image), "mounted again");
	check(!key_is_there(rig), "a mount knows no key");
	check(agent_start(rig, NULL), "an agent that recovers");
	check(WAIT_FOR(is_taka(rig, "a")) && agent_settle(rig) && no_records(rig),
	      "it has sealed what was open");
	check(!compare(rig, in(rig, "a"), SIZE, 13) && agent_settle(rig), "with what was durable");
	check(on_disk(rig, 13) == 0, "never in the clear");
}

static void test_lower(struct rig *rig)
{
	int held;

	check(agent_stop(rig), "stops");
	umount2(rig->guard, 0);
	held = openat(rig->below, "shielded/a", O_RDONLY | O_CLOEXEC);
	check(held >= 0 && tk_shield_lower(rig->guard) == -EBUSY,
	      "a file that is open keeps its key, and it is said");
	close(held);
	check(!tk_shield_lower(rig->guard) && !key_is_there(rig), "without the key not even names are there");
	check(!tk_shield_lower(rig->guard), "twice is as good as once");
}

/* A tree that was never set up, and one of another key: closed, and told. */
static void test_refused(struct rig *rig)
{
	struct tk_keyring *ring = NULL;
	uint8_t key[TK_KEK_SIZE] = {1}, identifier[TK_SHIELD_ID];
	const char *why = "";
	char path[160];
	int fd;

	check(!tk_keyring_new(&ring) && !tk_keyring_add(ring, "k1", 1, key), "another key");
	check(tk_shield_raise(ring, "k1", rig->guard, &why) == -TK_E_WRONG_KEY && !key_is_there(rig),
	      "of another key: refused (%s)", why);
	snprintf(path, sizeof(path), "%s/full", rig->mount);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/full/file", rig->mount);
	check(write_new(path, 10, 1), "a tree");
	snprintf(path, sizeof(path), "%s/full", rig->mount);
	check(tk_shield_raise(ring, "k1", path, &why) == -ENOTEMPTY, "a tree: refused (%s)", why);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(tk_shield_of(fd, identifier) == -ENODATA, "and as it was");
	close(fd);
	check(tk_shield_raise(ring, "k1", "/proc", &why) == -EOPNOTSUPP, "no such filesystem: refused (%s)",
	      why);

	/* Rotation: the version that it was set up with is found among others. */
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i; /* as rig_policy() has it */
	check(!tk_keyring_add(ring, "k1", 7, key) && !tk_shield_raise(ring, "k1", rig->guard, &why) &&
		      key_is_there(rig),
	      "a key with another version beside it: raised");
	check(!tk_shield_lower(rig->guard) &&
		      !tk_keyring_add(ring, "k1", 9, (const uint8_t[TK_KEK_SIZE]){2}) &&
		      !tk_shield_raise(ring, "k1", rig->guard, &why) && key_is_there(rig),
	      "a key that was rotated: raised");
	tk_keyring_free(ring);

	move_guard(rig, "full", true);
	check(agent_start(rig, NULL), "an agent with a tree");
	fd = open(in(rig, "file"), O_RDONLY | O_CLOEXEC);
	check(!is_taka(rig, "file"), "it does not touch the tree");
	check(rig->shared->watched[rig->shared->place_count - 1] == TK_WATCH_NONE,
	      "and lets nobody in there");
	close(fd);
	check(agent_stop(rig), "and stops");
}

void shield_tests(const char *fs)
{
	struct rig rig;

	if (strcmp(fs, "ext4"))
		return;
	if (check(rig_up(&rig, fs, 64), "%s: set up for a shield", fs)) {
		test_control(&rig);
		test_open(&rig);
		test_recovery(&rig);
		test_lower(&rig);
		test_refused(&rig);
	}
	rig_down(&rig);
}
