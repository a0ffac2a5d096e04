// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/policy.c - which policy the agent works by.  Owns the guard points of
 * the generation in force, as the agent needs them, and the keys in the ring.
 *
 * The agent decides nothing, but its idea of which guard point is which must be
 * the kernel's: it asks for the ids the kernel programs use, by the directory's inode.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loader/agent/agent.h"
#include "loader/agent/shield.h"

static void spots_free(struct tk_spots *spots)
{
	for (size_t i = 0; i < spots->count; i++)
		free(spots->items[i].path);
	free(spots->items);
	free(spots->by_id);
	*spots = (struct tk_spots){};
}

static int by_id(const void *a, const void *b, void *arg)
{
	const struct tk_spot *items = arg;
	uint32_t one = items[*(const uint32_t *)a].id, other = items[*(const uint32_t *)b].id;

	return one < other ? -1 : one > other;
}

/* by_id has room for count. */
static void spots_index(struct tk_spots *spots)
{
	for (size_t i = 0; i < spots->count; i++)
		spots->by_id[i] = (uint32_t)i;
	qsort_r(spots->by_id, spots->count, sizeof(*spots->by_id), by_id, spots->items);
}

const struct tk_spot *tk_spot_find(const struct tk_agent *agent, uint32_t generation, uint32_t id)
{
	const struct tk_spots *spots = generation == agent->now.generation ? &agent->now : &agent->before;

	size_t low = 0, high = spots->count;

	if (spots->generation != generation)
		return NULL;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct tk_spot *spot = &spots->items[spots->by_id[middle]];

		if (spot->id == id)
			return spot;
		if (spot->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Where a guard point of this path is, or would have its place. */
static size_t spot_position(const struct tk_spots *spots, const char *path)
{
	size_t low = 0, high = spots->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(spots->items[middle].path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct tk_spot *spot_of_place(const struct tk_spots *spots, const struct tk_place *place)
{
	size_t at = spot_position(spots, place->path);
	struct tk_spot *spot = &spots->items[at];

	if (at == spots->count || strcmp(spot->path, place->path) ||
	    memcmp(&spot->inode, &place->inode, sizeof(spot->inode)))
		return NULL;
	return spot;
}

static void recipe_fill(const struct tk_compiled *compiled, uint32_t spec, struct tk_recipe *recipe)
{
	const struct tk_guard_spec *guard = &compiled->guards[spec];
	const struct tk_encryption *encryption = &compiled->encryption[guard->policy];

	*recipe = (struct tk_recipe){};
	snprintf(recipe->guard, sizeof(recipe->guard), "%s", guard->name);
	if (encryption->key == UINT32_MAX)
		return;
	recipe->algorithm = encryption->algorithm;
	recipe->chunk_log2 = encryption->chunk_log2;
	recipe->linger = guard->linger;
	snprintf(recipe->key_id, sizeof(recipe->key_id), "%s", compiled->keys[encryption->key].id);
}

/* A guard point without the shield that its policy wants stays closed. */
static int spot_mount(struct tk_agent *agent, const struct tk_compiled *compiled, struct tk_spot *spot,
		      struct tk_mounts *mounts)
{
	const char *why = NULL;

	if (compiled->guards[spot->spec].shield) {
		int err = tk_shield_raise(agent->keys, spot->recipe.key_id, spot->path, &why);

		if (err) {
			snprintf(spot->trouble, sizeof(spot->trouble), "no shield: %s", why);
			return err;
		}
	}
	return tk_mounts_add(agent, spot, mounts);
}

static void spot_fill(struct tk_agent *agent, const struct tk_compiled *compiled,
		      const struct tk_place *place, struct tk_spot *old, struct tk_mounts *mounts,
		      struct tk_spot *spot)
{
	spot->spec = place->spec;
	spot->mode = compiled->guards[place->spec].mode;
	spot->inode = place->inode;
	recipe_fill(compiled, place->spec, &spot->recipe);
	if (old && old->mounted) {
		spot->st_dev = old->st_dev;
		spot->volume = old->volume;
		spot->mounted = true;
		spot->marked = old->marked;
	}
	if (!spot->mounted && spot_mount(agent, compiled, spot, mounts))
		tk_report(agent, "%s: guard point %s: %s", spot->path, spot->recipe.guard, spot->trouble);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct tk_place *)a)->path, ((const struct tk_place *)b)->path);
}

/* Guard points of these places, outer ones first, so that the mounts nest as they do. */
static int spots_make(struct tk_agent *agent, const struct tk_compiled *compiled, struct tk_places *places,
		      struct tk_spots *old, struct tk_spots *ret_spots)
{
	struct tk_spots spots = {.generation = ret_spots->generation};
	struct tk_mounts mounts = {};
	int err = 0;

	spots.items = calloc(places->count + 1, sizeof(*spots.items));
	spots.by_id = calloc(places->count + 1, sizeof(*spots.by_id));
	if (!spots.items || !spots.by_id) {
		spots_free(&spots);
		return -ENOMEM;
	}
	qsort(places->items, places->count, sizeof(*places->items), by_path);
	for (size_t i = 0; i < places->count && !err; i++) {
		const struct tk_place *place = &places->items[i];
		struct tk_spot *spot = &spots.items[spots.count];

		err = tk_kernel_place_id(agent->kernel, &place->inode, &spot->id);
		if (err == -ENOENT) { /* it has appeared since: tk_policy_appear() */
			err = 0;
			continue;
		}
		spot->path = strdup(place->path);
		spots.count++;
		if (!err && !spot->path)
			err = -ENOMEM;
		if (!err)
			spot_fill(agent, compiled, place, spot_of_place(old, place), &mounts, spot);
		spot->recipe.generation = spots.generation;
	}
	tk_mountinfo_free(&mounts);
	if (err) {
		spots_free(&spots);
		return err;
	}
	spots_index(&spots);
	*ret_spots = spots;
	return 0;
}

static int load_keys(struct tk_agent *agent, const struct tk_compiled *compiled, char *ret_error, size_t size)
{
	for (size_t i = 0; i < compiled->key_count; i++) {
		const struct tk_key_spec *key = &compiled->keys[i];
		const char *why = NULL;
		int err = tk_keyring_add_source(agent->keys, key->id, &key->source, &why);

		if (err) {
			snprintf(ret_error, size, "key %s cannot be read from %s: %s", key->id, key->source.where,
				 why ? why : tk_strerror(err));
			return err;
		}
	}
	return 0;
}

/* True when the loader keeps the text for us: its name then says of which generation it is. */
static bool is_loaders(const struct tk_agent *agent)
{
	return !strcmp(agent->policy_path, TK_POLICY_FILE);
}

/* A loader that was killed after the kernel had the policy left the text under its generation's name. */
static void commit_text(const struct tk_agent *agent, uint32_t generation)
{
	char staged[64];

	snprintf(staged, sizeof(staged), TK_POLICY_STAGED, generation);
	if (is_loaders(agent))
		rename(staged, TK_POLICY_FILE);
}

static int load_text(struct tk_agent *agent, uint32_t generation, struct tk_compiled **ret_compiled,
		     struct tk_places **ret_places, char *ret_error, size_t size)
{
	struct tk_problems problems = {};
	int err;

	commit_text(agent, generation);
	err = tk_policy_load(agent->policy_path, ret_compiled, &problems);
	if (err) {
		snprintf(ret_error, size, "%s: %s", agent->policy_path, tk_strerror(err));
		for (size_t i = 0; i < problems.count; i++)
			if (!problems.items[i].warning) {
				snprintf(ret_error, size, "%s: %s: %s", agent->policy_path,
					 problems.items[i].pointer, problems.items[i].message);
				break;
			}
	} else {
		err = tk_places_find(*ret_compiled, ret_places, &problems);
		if (err) {
			snprintf(ret_error, size, "guard points cannot be found: %s", tk_strerror(err));
			tk_compiled_free(*ret_compiled);
			*ret_compiled = NULL;
		}
	}
	tk_problems_free(&problems);
	return err;
}

/* What earlier agents left on filesystems that are new to this one, before anything there may be opened. */
static void recover_new(struct tk_agent *agent)
{
	for (struct tk_volume *volume = agent->volumes; volume; volume = volume->next)
		if (!volume->recovered) {
			int err = tk_recover(agent, volume);

			if (err)
				tk_report(agent, "%s: the journal cannot be read: %s", volume->point,
					  tk_strerror(err));
			else
				volume->recovered = true;
		}
}

static void swap(struct tk_agent *agent, struct tk_compiled *compiled, bool doubtful, struct tk_spots *spots)
{
	struct tk_compiled *old = agent->compiled;

	pthread_rwlock_wrlock(&agent->policy_lock);
	spots_free(&agent->before);
	agent->before = agent->now;
	agent->now = *spots;
	agent->compiled = compiled;
	agent->text_doubtful = doubtful;
	pthread_rwlock_unlock(&agent->policy_lock);
	tk_compiled_free(old);
	tk_programs_look(agent);
}

/*
 * Takes over the policy that the kernel enforces.  On failure everything is as it was, and ret_error says
 * why in one line.
 */
static int adopt(struct tk_agent *agent, bool doubtful, char *ret_error, size_t size)
{
	struct tk_compiled *compiled = NULL;
	struct tk_places *places = NULL;
	struct tk_mounts mounts = {};
	struct tk_control control, again;
	struct tk_spots spots = {};
	int err = tk_kernel_control(agent->kernel, &control);

	if (err) {
		snprintf(ret_error, size, "the kernel programs cannot be asked: %s", tk_strerror(err));
		return err;
	}
	/* At once: keys may come from far away, and until they are here new openers wait. */
	tk_marks_renew(agent, control.generation);
	err = load_text(agent, control.generation, &compiled, &places, ret_error, size);
	if (err)
		return err;
	/* The text of a later generation takes its place only after that is in force. */
	if (tk_kernel_control(agent->kernel, &again) || again.generation != control.generation) {
		tk_places_free(places);
		tk_compiled_free(compiled);
		snprintf(ret_error, size, "the policy is being changed");
		return -EAGAIN;
	}
	err = load_keys(agent, compiled, ret_error, size);
	if (!err) {
		spots.generation = control.generation;
		err = spots_make(agent, compiled, places, &agent->now, &spots);
		if (err)
			snprintf(ret_error, size, "guard points cannot be set up: %s", tk_strerror(err));
	}
	if (err) {
		tk_places_free(places);
		tk_compiled_free(compiled);
		return err;
	}
	for (size_t i = 0; i < agent->now.count; i++) {
		const struct tk_spot *old = &agent->now.items[i];
		const struct tk_place key = {.path = old->path, .inode = old->inode};

		if (spot_of_place(&spots, &key))
			continue;
		tk_marks_forget(agent, &agent->now.items[i]);
		tk_mounts_remove(&agent->now.items[i], &mounts);
	}
	tk_mountinfo_free(&mounts);
	tk_places_free(places);
	tk_marks_set(agent, &spots);
	recover_new(agent);
	swap(agent, compiled, doubtful, &spots);
	tk_vaults_announce(agent);
	return 0;
}

int tk_policy_adopt(struct tk_agent *agent, char *ret_error, size_t size)
{
	return adopt(agent, false, ret_error, size);
}

/* The kernel has a generation that nobody has told of yet: the opener that waits for it goes on. */
int tk_policy_follow(struct tk_agent *agent)
{
	char error[256];
	int err = adopt(agent, !is_loaders(agent), error, sizeof(error));

	if (err)
		tk_report(agent, "the policy cannot be read again, the former one is kept: %s", error);
	return err;
}

static void insert(struct tk_agent *agent, struct tk_spot *spot)
{
	struct tk_spots *spots = &agent->now;
	struct tk_spot *items;
	uint32_t *ids;

	pthread_rwlock_wrlock(&agent->policy_lock);
	items = realloc(spots->items, (spots->count + 1) * sizeof(*items));
	spots->items = items ? items : spots->items;
	ids = realloc(spots->by_id, (spots->count + 1) * sizeof(*ids));
	spots->by_id = ids ? ids : spots->by_id;
	if (items && ids) {
		size_t at = spot_position(spots, spot->path);

		memmove(&items[at + 1], &items[at], (spots->count - at) * sizeof(*items));
		items[at] = *spot;
		spots->count++;
		spots_index(spots);
		spot->path = NULL;
	}
	pthread_rwlock_unlock(&agent->policy_lock);
	free(spot->path);
}

/*
 * The kernel's id of a place; one that has appeared since the policy was installed is made known to it, which
 * is only right while the text the agent has read is that of the generation in force.
 */
static int place_id(struct tk_agent *agent, const struct tk_place *place, uint32_t *next_id, uint32_t *ret_id)
{
	struct tk_place fresh = *place;
	struct tk_control control;
	int err = tk_kernel_place_id(agent->kernel, &place->inode, ret_id);

	if (err != -ENOENT)
		return err;
	if (agent->text_doubtful || tk_kernel_control(agent->kernel, &control) ||
	    control.generation != agent->now.generation)
		return -EAGAIN;
	fresh.id = (*next_id)++;
	err = tk_kernel_add_place(agent->kernel, agent->compiled, &fresh);
	if (!err)
		*ret_id = fresh.id;
	return err;
}

/* The innermost guard point that the path lies below; NULL: none, or it is one itself. */
static const struct tk_spot *spot_above(const struct tk_spots *spots, const char *path)
{
	TK_AUTO_TEXT above = strdup(path);
	const struct tk_spot *found = NULL;
	char *slash;

	while (above && !found) {
		size_t at = spot_position(spots, above);

		if (at < spots->count && !strcmp(spots->items[at].path, above))
			found = &spots->items[at];
		slash = strrchr(above, '/');
		if (!slash || slash == above)
			break;
		*slash = '\0';
	}
	return found && strcmp(found->path, path) ? found : NULL;
}

/* What `load` would have refused: something is mounted inside already.  From now on the programs keep it out. */
static void report_mounts_inside(struct tk_agent *agent)
{
	struct tk_mounts mounts = {};
	int err = tk_mountinfo_read("/proc/self/mountinfo", &mounts);

	if (err)
		tk_report(agent, "whether something is mounted inside a new guard point cannot be found out: %s",
			  tk_strerror(err));
	for (size_t i = 0; i < mounts.count; i++) {
		const struct tk_spot *above = spot_above(&agent->now, mounts.items[i].point);

		if (above && !tk_mount_below_itself(&mounts, &mounts.items[i]))
			tk_report(agent, "%s: mounted inside %s before that was a guard point, and NOT GUARDED; "
					 "unmount it, or make it a guard point of its own",
				  mounts.items[i].point, above->path);
	}
	tk_mountinfo_free(&mounts);
}

/* Directories that match a guard point's pattern only now, and guard points that could not be marked before.
 */
void tk_policy_appear(struct tk_agent *agent)
{
	struct tk_problems problems = {};
	struct tk_places *places = NULL;
	struct tk_mounts mounts = {};
	bool fresh = false, appeared = false, changed;
	uint32_t next_id = TK_MAX_GUARD_POINTS; /* above those of the installation */

	for (size_t i = 0; i < agent->now.count; i++) {
		struct tk_spot *spot = &agent->now.items[i];

		next_id = spot->id >= next_id ? spot->id + 1 : next_id;
		if (spot->mounted || !spot_mount(agent, agent->compiled, spot, &mounts))
			fresh |= !spot->marked;
	}
	tk_mountinfo_free(&mounts); /* those it has made may lie below what follows */
	if (!tk_places_find(agent->compiled, &places, &problems)) {
		qsort(places->items, places->count, sizeof(*places->items), by_path);
		for (size_t i = 0; i < places->count; i++) {
			struct tk_spot spot = {};

			if (spot_of_place(&agent->now, &places->items[i]))
				continue;
			spot.path = strdup(places->items[i].path);
			if (!spot.path || place_id(agent, &places->items[i], &next_id, &spot.id)) {
				free(spot.path);
				continue;
			}
			spot_fill(agent, agent->compiled, &places->items[i], NULL, &mounts, &spot);
			spot.recipe.generation = agent->now.generation;
			insert(agent, &spot);
			fresh = appeared = true;
		}
		tk_places_free(places);
	}
	tk_mountinfo_free(&mounts);
	tk_problems_free(&problems);
	if (appeared) {
		tk_marks_renew(agent, agent->now.generation);
		report_mounts_inside(agent);
	}
	changed = fresh && tk_marks_set(agent, &agent->now);
	for (struct tk_volume *volume = agent->volumes; volume; volume = volume->next)
		changed |= !atomic_load(&volume->recovered);
	if (!changed)
		return;
	recover_new(agent);
	tk_vaults_announce(agent);
	tk_sweep_ask(agent);
}
