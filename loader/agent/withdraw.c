// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/withdraw.c - closes guard points that a reload is about to take away, so that
 * what is open there is sealed first: afterwards nothing keeps others from the plaintext.
 *
 * The kernel programs are told that opens there do not reach the agent; they then let
 * nobody open contents (ENOKEY), and who has a file open goes on.  If no reload follows,
 * the doors open again by themselves.  By the control thread, but for tk_withdraw_tick().
 */
#include <string.h>

#include <cjson/cJSON.h>

#include "loader/agent/agent.h"

#define WITHDRAWN_MS 30000 /* for the reload to come, after the last question */

static bool is_named(const cJSON *guards, const char *name)
{
	const cJSON *guard;

	cJSON_ArrayForEach (guard, guards)
		if (cJSON_IsString(guard) && !strcmp(guard->valuestring, name))
			return true;
	return false;
}

/* guards NULL: all of them. */
static int watch(struct tk_agent *agent, const cJSON *guards, enum tk_watch watch)
{
	int err = 0;
	TK_HOLD_READ(&agent->policy_lock);

	for (size_t i = 0; i < agent->now.count && !err; i++) {
		const struct tk_spot *spot = &agent->now.items[i];

		if (spot->marked && (!guards || is_named(guards, spot->recipe.guard)))
			err = tk_kernel_watch(agent->kernel, &spot->inode, watch);
	}
	return err;
}

int tk_withdraw(struct tk_agent *agent, const cJSON *guards)
{
	atomic_store(&agent->withdrawn_until, tk_now_ms() + WITHDRAWN_MS);
	return watch(agent, guards, TK_WATCH_COMING);
}

void tk_withdraw_end(struct tk_agent *agent)
{
	if (!atomic_exchange(&agent->withdrawn_until, 0))
		return;
	if (watch(agent, NULL, TK_WATCHED)) {
		atomic_store(&agent->withdrawn_until, tk_now_ms());
		tk_report(agent, "guard points that were to be taken away cannot be opened again yet");
	}
}

void tk_withdraw_tick(struct tk_agent *agent)
{
	uint64_t until = atomic_load(&agent->withdrawn_until);

	if (until && tk_now_ms() >= until)
		tk_withdraw_end(agent);
}

/* Sealed, and it stays so.  A kept file's record goes before the reload. */
static bool is_sealed(const struct tk_file *file)
{
	if (file->running || file->queued || file->arrivals || file->waiting || file->plain)
		return false;
	return file->state == TK_KEPT || (file->state == TK_SEALED && !file->has_record);
}

/* Files of these guard points that are not sealed. */
size_t tk_withdraw_left(struct tk_agent *agent, const struct cJSON *guards)
{
	size_t left = 0;
	TK_HOLD(&agent->lock);

	atomic_store(&agent->withdrawn_until, tk_now_ms() + WITHDRAWN_MS);
	for (size_t i = 0; i < TK_TABLE_SIZE; i++)
		for (const struct tk_file *file = agent->table[i]; file; file = file->hash_next)
			left += is_named(guards, file->recipe.guard) && !is_sealed(file);
	return left;
}
