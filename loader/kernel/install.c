// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/install.c - writes a policy into the maps as a new generation
 * beside the one in force, switches over by one store, clears the old one away.
 *
 * Until the store nothing a program reads has changed; a failure before it removes
 * what was written.  Hash keys carry the generation; the arrays' two halves take
 * turns, so the half written here belongs to the generation before last, which
 * nobody has read since the grace period of the last switch.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include <bpf/bpf.h>

#include "loader/kernel/internal.h"

int tk_put(struct tk_install *in, enum tk_map map, const void *key, const void *value)
{
	int err;

	if (!bpf_map_update_elem(in->kernel->maps[map], key, value, BPF_ANY))
		return 0;
	err = -errno;
	tk_why_set(in->why, "cannot add to map %s: %s%s", tk_map_names[map], strerror(-err),
		   err == -E2BIG ? " (it is full)" : "");
	return err;
}

static int put_at(struct tk_install *in, enum tk_map map, uint32_t per_slot, uint32_t index, const void *value)
{
	uint32_t key = TK_SLOT(in->generation) * per_slot + index;

	return tk_put(in, map, &key, value);
}

struct tk_inode_key tk_inode_key(uint32_t generation, const struct tk_inode *inode)
{
	return (struct tk_inode_key){
		.generation = generation,
		.dev = inode->dev,
		.ino = inode->ino,
		.igeneration = inode->igeneration,
	};
}

void tk_set_slot_bit(uint32_t *word, uint32_t generation, bool on)
{
	uint32_t bit = 1u << TK_SLOT(generation);

	if (on)
		__atomic_or_fetch(word, bit, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(word, ~bit, __ATOMIC_SEQ_CST);
}

static int put_tables(struct tk_install *in)
{
	const struct tk_compiled *c = in->compiled;
	int err = put_at(in, TK_MAP_LOGIN_SETS, 1, 0, &c->login_sets);

	if (!err)
		err = put_at(in, TK_MAP_INTEGRITY_SETS, 1, 0, &c->integrity_sets);

	for (size_t i = 0; i < c->rule_count && !err; i++)
		err = put_at(in, TK_MAP_RULES, TK_MAX_RULES, i, &c->rules[i]);
	for (size_t i = 0; i < c->policy_count && !err; i++)
		err = put_at(in, TK_MAP_POLICIES, TK_MAX_POLICIES, i, &c->policies[i]);
	for (size_t i = 0; i < c->state_count && !err; i++)
		err = put_at(in, TK_MAP_AUTOMATON, TK_MAX_STATES, i, &c->states[i]);
	return err;
}

static int put_times(struct tk_install *in)
{
	struct tk_times_now now;
	int64_t next;

	tk_times_now(in->compiled, &now, &next);
	return tk_put(in, TK_MAP_TIMES_NOW, &in->generation, &now);
}

static int put_ids(struct tk_install *in, enum tk_map map, const struct tk_member_id *ids, size_t count)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		struct tk_id_key key = { .generation = in->generation, .id = ids[i].id };

		err = tk_put(in, map, &key, &ids[i].sets);
	}
	return err;
}

static int put_units(struct tk_install *in)
{
	int err = 0;

	for (uint32_t i = 0; i < in->compiled->unit_count && !err; i++) {
		struct tk_unit_name key = { .generation = in->generation };
		uint32_t number = i + 1;

		memcpy(key.name, in->compiled->units[i], strlen(in->compiled->units[i])); /* tk_check_unit(): it fits */
		err = tk_put(in, TK_MAP_UNITS, &key, &number);
	}
	return err;
}

/* Every directory above a guard point, so that none is renamed away from it. */
static int put_ancestors(struct tk_install *in, const char *path)
{
	char *above = strdup(path), *slash;
	int err = 0;

	if (!above)
		return -ENOMEM;
	while (!err && (slash = strrchr(above, '/')) && slash != above) {
		struct tk_inode inode;
		struct tk_inode_key key;
		uint32_t one = 1;

		*slash = '\0';
		err = tk_inode_of_path(above, &inode);
		if (err) {
			tk_why_set(in->why, "cannot look at %s, above a guard point: %s", above, strerror(-err));
			break;
		}
		key = tk_inode_key(in->generation, &inode);
		err = tk_put(in, TK_MAP_GUARD_ANCESTORS, &key, &one);
	}
	free(above);
	return err;
}

static int put_place(struct tk_install *in, const struct tk_place *place)
{
	const struct tk_guard_spec *spec = &in->compiled->guards[place->spec];
	struct tk_inode_key key = tk_inode_key(in->generation, &place->inode);
	struct tk_guard_point guard = {
		.id = place->id,
		.policy = spec->policy,
		.mode = spec->mode,
	};
	uint32_t one = 1;
	int err;

	snprintf(guard.name, sizeof(guard.name), "%s", spec->name);
	memcpy(guard.policy_name, in->compiled->policies[spec->policy].name, sizeof(guard.policy_name));
	err = put_ancestors(in, place->path);
	if (!err)
		err = tk_put(in, TK_MAP_GUARD_POINTS, &key, &guard);
	/* Last: from here on the programs look at this filesystem. */
	if (!err)
		err = tk_put(in, TK_MAP_GUARDED_DEVICES, &place->inode.dev, &one);
	return err;
}

/* The agent's journals stay out of reach whatever the policy. */
static int carry_vaults(struct tk_install *in, uint32_t from)
{
	int fd = in->kernel->maps[TK_MAP_GUARD_POINTS], err = 0;
	struct tk_inode_key key, *previous = NULL;

	while (!err && !bpf_map_get_next_key(fd, previous, &key)) {
		struct tk_guard_point guard;

		previous = &key;
		if (key.generation != from || bpf_map_lookup_elem(fd, &key, &guard) ||
		    !(guard.flags & TK_GUARD_VAULT))
			continue;
		struct tk_inode_key carried = key;

		carried.generation = in->generation;
		err = tk_put(in, TK_MAP_GUARD_POINTS, &carried, &guard);
	}
	return err;
}

/* Removes a generation's entries from one hash map; every key begins with the generation. */
static void clear_map(int fd, size_t key_size, uint32_t generation)
{
	unsigned char key[sizeof(struct tk_unit_name)], next[sizeof(struct tk_unit_name)]; /* the longest */
	bool more = !bpf_map_get_next_key(fd, NULL, next);

	while (more) {
		uint32_t of;

		memcpy(key, next, key_size);
		more = !bpf_map_get_next_key(fd, key, next);
		memcpy(&of, key, sizeof(of));
		if (of == generation)
			bpf_map_delete_elem(fd, key);
	}
}

static void clear_generation(struct tk_kernel *kernel, uint32_t generation)
{
	clear_map(kernel->maps[TK_MAP_GUARD_POINTS], sizeof(struct tk_inode_key), generation);
	clear_map(kernel->maps[TK_MAP_GUARD_ANCESTORS], sizeof(struct tk_inode_key), generation);
	clear_map(kernel->maps[TK_MAP_PROCESS_SETS], sizeof(struct tk_inode_key), generation);
	clear_map(kernel->maps[TK_MAP_DIGESTS], sizeof(struct tk_inode_key), generation);
	clear_map(kernel->maps[TK_MAP_UNITS], sizeof(struct tk_unit_name), generation);
	clear_map(kernel->maps[TK_MAP_UNIT_MEMBERS], sizeof(struct tk_unit_key), generation);
	clear_map(kernel->maps[TK_MAP_USER_SETS], sizeof(struct tk_id_key), generation);
	clear_map(kernel->maps[TK_MAP_GROUP_SETS], sizeof(struct tk_id_key), generation);
	clear_map(kernel->maps[TK_MAP_TIMES_NOW], sizeof(uint32_t), generation);
}

/* Waits until every program that may have read the old generation number has ended (programs run under RCU). */
static bool grace_period(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0;
}

int tk_kernel_install(struct tk_kernel *kernel, const struct tk_compiled *compiled,
		      const struct tk_resolved *resolved, const struct tk_places *places,
		      struct tk_why *ret_why)
{
	uint32_t before = __atomic_load_n(&kernel->control->generation, __ATOMIC_SEQ_CST);
	struct tk_install in = {
		.kernel = kernel,
		.compiled = compiled,
		.generation = before + 1,
		.why = ret_why,
	};
	int err;

	/* What a failed install, or one whose grace period could not be waited for, left under this number. */
	clear_generation(kernel, in.generation);
	if (before)
		clear_generation(kernel, before - 1);
	err = put_tables(&in);
	if (!err)
		err = put_times(&in);
	if (!err)
		err = put_ids(&in, TK_MAP_USER_SETS, resolved->users, resolved->user_count);
	if (!err)
		err = put_ids(&in, TK_MAP_GROUP_SETS, resolved->groups, resolved->group_count);
	if (!err)
		err = put_units(&in);
	if (!err)
		err = tk_put_processes(&in, resolved);
	if (!err && before)
		err = carry_vaults(&in, before);
	for (size_t i = 0; i < places->count && !err; i++)
		err = put_place(&in, &places->items[i]);
	if (err) {
		clear_generation(kernel, in.generation);
		return err;
	}
	tk_set_slot_bit(&kernel->control->has_groups, in.generation, resolved->group_count > 0);
	tk_set_slot_bit(&kernel->control->has_resources, in.generation, compiled->resource_set_count > 0);
	tk_set_slot_bit(&kernel->control->has_units, in.generation, compiled->unit_count > 0);
	tk_kernel_know_command(kernel);
	__atomic_store_n(&kernel->control->adopting, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&kernel->control->generation, in.generation, __ATOMIC_SEQ_CST);
	if (before && grace_period())
		clear_generation(kernel, before);
	return 0;
}

/* Cached places of this generation were right until now. */
static int places_changed(struct tk_kernel *kernel)
{
	struct tk_command command = { .state = TK_PLACES_CHANGED };

	return tk_kernel_tell(kernel, &command);
}

int tk_kernel_add_place(struct tk_kernel *kernel, const struct tk_compiled *compiled,
			const struct tk_place *place)
{
	struct tk_install in = {
		.kernel = kernel,
		.compiled = compiled,
		.generation = __atomic_load_n(&kernel->control->generation, __ATOMIC_SEQ_CST),
	};
	int err = put_place(&in, place);

	return err ? err : places_changed(kernel);
}

int tk_kernel_place_id(struct tk_kernel *kernel, const struct tk_inode *inode, uint32_t *ret_id)
{
	struct tk_inode_key key =
		tk_inode_key(__atomic_load_n(&kernel->control->generation, __ATOMIC_SEQ_CST), inode);
	struct tk_guard_point guard;

	if (bpf_map_lookup_elem(kernel->maps[TK_MAP_GUARD_POINTS], &key, &guard))
		return -errno;
	*ret_id = guard.id;
	return 0;
}

int tk_kernel_add_vault(struct tk_kernel *kernel, const struct tk_inode *inode)
{
	struct tk_install in = {
		.kernel = kernel,
		.generation = __atomic_load_n(&kernel->control->generation, __ATOMIC_SEQ_CST),
	};
	struct tk_inode_key key = tk_inode_key(in.generation, inode);
	struct tk_guard_point guard = { .flags = TK_GUARD_VAULT, .id = UINT32_MAX, .name = "(journal)" };
	uint32_t one = 1;
	int err = tk_put(&in, TK_MAP_GUARD_POINTS, &key, &guard);

	if (!err)
		err = tk_put(&in, TK_MAP_GUARDED_DEVICES, &inode->dev, &one);
	return err ? err : places_changed(kernel);
}
