// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/members.c - the executables of process sets as the programs know them: by
 * inode, and those that a digest names only after they were measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "loader/kernel/internal.h"

/* The map that holds the member, and its key there. */
struct place {
	enum tk_map map;
	union {
		struct tk_inode_key exe;
		struct tk_unit_key unit;
	} key;
};

static struct place place_of(uint32_t generation, const struct tk_member_process *member, const struct tk_inode *exe)
{
	if (member->unit == UINT32_MAX)
		return (struct place){ .map = TK_MAP_PROCESS_SETS, .key.exe = tk_inode_key(generation, exe) };
	return (struct place){ .map = TK_MAP_UNIT_MEMBERS,
			       .key.unit = { .generation = generation, .unit = member->unit + 1, .exe = *exe } };
}

/*
 * Is the executable what its digest names, with nobody who has it open to change that?  1; 0; -EBUSY when somebody
 * has.  The descriptor that is read is the one whose inode is compared.
 */
static int measure(const struct tk_member_process *member, const struct tk_inode *exe)
{
	TK_AUTO_CLOSE int fd = open(member->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct tk_identified it;
	uint8_t digest[32];

	if (fd < 0 || tk_kernel_identify_fd(fd, &it) || memcmp(&it.inode, exe, sizeof(*exe)))
		return 0;
	if (it.written)
		return -EBUSY;
	return !tk_sha256_fd(fd, digest) && !memcmp(digest, member->sha256, sizeof(digest));
}

/* ---------------------------------------------------------------- all, for a generation that is not in force yet */

/*
 * A member by digest: first the programs are to notice writers, then it is measured.  One that has changed since the
 * policy was looked at, or that somebody may change any moment, is no member: that is told, and no failure, because
 * whoever may write to it could keep every policy out.
 */
static int put_digest(struct tk_install *in, const struct tk_member_process *member, const struct tk_inode *exe)
{
	struct tk_inode_key key = tk_inode_key(in->generation, exe);
	uint32_t holds = 1;

	/* Its place may be there already, from another unit's entry: what was found out then stays. */
	if (bpf_map_update_elem(in->kernel->maps[TK_MAP_DIGESTS], &key, &holds, BPF_NOEXIST) && errno != EEXIST)
		return tk_put(in, TK_MAP_DIGESTS, &key, &holds);
	if (measure(member, exe) == 1)
		return 0;
	tk_why_set(in->why, "%s is not what its digest names, or somebody has it open for writing: it is no member by it",
		   member->path);
	holds = 0;
	return tk_put(in, TK_MAP_DIGESTS, &key, &holds);
}

static bool any_digest(const struct tk_resolved *resolved)
{
	for (size_t i = 0; i < resolved->process_count; i++)
		if (resolved->processes[i].has_sha256)
			return true;
	return false;
}

/* Executables lie anywhere, so their inodes are asked of the kernel itself.  The caller frees. */
static int identify(const struct tk_resolved *resolved, struct tk_inode **ret_inodes)
{
	size_t count = resolved->process_count;
	const char **paths = calloc(count + 1, sizeof(*paths));
	struct tk_inode *inodes = calloc(count + 1, sizeof(*inodes));
	int err = paths && inodes ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !err; i++) {
		paths[i] = resolved->processes[i].path; /* TK_ANY_EXE cannot be opened, and stays zero */
		inodes[i] = resolved->processes[i].exe;
	}
	if (!err && count)
		err = tk_kernel_identify(paths, count, inodes);
	free(paths);
	if (err) {
		free(inodes);
		return err;
	}
	*ret_inodes = inodes;
	return 0;
}

int tk_put_processes(struct tk_install *in, const struct tk_resolved *resolved)
{
	struct tk_inode *inodes = NULL;
	int err = identify(resolved, &inodes);

	if (err)
		tk_why_set(in->why, "cannot identify the executables of the process sets: %s", strerror(-err));
	tk_set_slot_bit(&in->kernel->control->has_digests, in->generation, any_digest(resolved));
	for (size_t i = 0; i < resolved->process_count && !err; i++) {
		const struct tk_member_process *member = &resolved->processes[i];
		struct place place = place_of(in->generation, member, &inodes[i]);

		err = tk_put(in, place.map, &place.key, &member->process);
		if (!err && member->has_sha256)
			err = put_digest(in, member, &inodes[i]);
	}
	free(inodes);
	return err;
}

/* ---------------------------------------------------------------- more, in a generation that is in force */

static void add_sets(__u64 *to, const __u64 *from)
{
	for (size_t i = 0; i < TK_SET_WORDS; i++)
		to[i] |= from[i];
}

static bool has_sets(const __u64 *has, const __u64 *wanted)
{
	for (size_t i = 0; i < TK_SET_WORDS; i++)
		if (wanted[i] & ~has[i])
			return false;
	return true;
}

/*
 * Is the executable a member by its digest?  The other way round than for a generation to come: its sets are put into
 * force only after it was measured, and writers are noticed from before that.  1, 0, -EBUSY, -errno.
 */
static int measured(struct tk_install *in, const struct tk_member_process *member, const struct tk_inode *exe)
{
	struct tk_inode_key key = tk_inode_key(in->generation, exe);
	int digests = in->kernel->maps[TK_MAP_DIGESTS], is;
	uint32_t holds = 1;
	bool fresh;

	tk_set_slot_bit(&in->kernel->control->has_digests, in->generation, true);
	fresh = !bpf_map_update_elem(digests, &key, &holds, BPF_NOEXIST);
	if (!fresh && errno != EEXIST)
		return -errno;
	is = measure(member, exe);
	if (is != 1 && fresh)
		bpf_map_delete_elem(digests, &key); /* nobody is a member by it, so it may be tried anew */
	return is;
}

static int add_program(struct tk_install *in, const struct tk_member_process *member, const struct tk_inode *exe,
		       struct tk_added *added)
{
	struct place place = place_of(in->generation, member, exe);
	struct tk_process has = {}, wanted = member->process;
	int err;

	if (bpf_map_lookup_elem(in->kernel->maps[place.map], &place.key, &has) && errno != ENOENT)
		return -errno;
	if (!has_sets(has.digest_sets, wanted.digest_sets)) {
		int is = measured(in, member, exe);

		if (is == -EBUSY)
			added->busy = true;
		else if (is < 0)
			return is;
		if (is != 1)
			memset(wanted.digest_sets, 0, sizeof(wanted.digest_sets));
	}
	if (has_sets(has.sets, wanted.sets) && has_sets(has.digest_sets, wanted.digest_sets))
		return 0;
	add_sets(wanted.sets, has.sets);
	add_sets(wanted.digest_sets, has.digest_sets);
	err = tk_put(in, place.map, &place.key, &wanted);
	if (err)
		return err;
	added->count++;
	memcpy(added->last, wanted.path, sizeof(added->last));
	return 0;
}

int tk_kernel_add_programs(struct tk_kernel *kernel, uint32_t generation, const struct tk_resolved *resolved,
			   struct tk_added *ret_added)
{
	struct tk_install in = { .kernel = kernel, .generation = generation };
	struct tk_added added = {};
	struct tk_inode *inodes;
	int err = identify(resolved, &inodes);

	if (err)
		return err;
	/* What is so by its path alone does not wait until the others have been read. */
	for (int digests = 0; digests < 2; digests++)
		for (size_t i = 0; i < resolved->process_count; i++)
			if (resolved->processes[i].has_sha256 == digests) {
				int failed = add_program(&in, &resolved->processes[i], &inodes[i], &added);

				err = err ? err : failed;
			}
	free(inodes);
	*ret_added = added;
	return err;
}
