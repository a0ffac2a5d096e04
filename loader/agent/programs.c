// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/programs.c - recognises the policy's programs again when an upgrade puts new
 * files in their places, or when they are installed at last.  A thread of its own: it
 * reads whole executables, and must make nobody wait.
 *
 * Several times a second the paths are looked at, and no more; when one leads elsewhere, all
 * are looked up as at load, and those that are new are told to the kernel programs.
 * Until then a new file is no member.  A file is read when it has changed, not before.
 */
#include <string.h>

#include "loader/agent/agent.h"

#define LOOK_MS 200   /* how often the paths are looked at */
#define DEEP_MS 10000 /* how often trees are searched for base names */
#define SHARE 20      /* but no more than this part of a processor's time is spent by looking */

/* The thread's own. */
struct watch {
	struct tk_digests *digests;
	uint32_t generation; /* that the rest is about; 0: none */
	uint64_t stamp;
	uint64_t deep;		  /* ms; when trees are to be searched again */
	bool again;		  /* something was not done: the next look is no shorter */
	bool failed;		  /* that was reported */
	struct tk_problems known; /* of the last look; those of the first were told by the loader */
};

/* The policy in force, while its text is known to be that.  NULL: it is not, or, with *ms 0, names no programs. */
static struct tk_compiled *policy_in_force(struct tk_agent *agent, uint32_t *ret_generation, uint64_t *ms)
{
	struct tk_control control;
	TK_HOLD_READ(&agent->policy_lock);

	if (!agent->compiled->process_count || atomic_load(&agent->stopping))
		*ms = 0;
	if (!*ms || agent->text_doubtful || tk_kernel_control(agent->kernel, &control) ||
	    control.generation != agent->now.generation)
		return NULL;
	*ret_generation = agent->now.generation;
	return tk_compiled_share(agent->compiled);
}

static bool is_known(const struct tk_problems *known, const struct tk_problem *problem)
{
	for (size_t i = 0; i < known->count; i++)
		if (!strcmp(known->items[i].pointer, problem->pointer) &&
		    !strcmp(known->items[i].message, problem->message))
			return true;
	return false;
}

/* An upgrade to what the policy does not name leaves an entry without a member: that is told, once. */
static void tell(struct tk_agent *agent, struct watch *watch, bool first, struct tk_problems *problems)
{
	for (size_t i = 0; i < problems->count && !first; i++)
		if (!is_known(&watch->known, &problems->items[i]))
			tk_report(agent, "policy: %s: %s", problems->items[i].pointer, problems->items[i].message);
	tk_problems_free(&watch->known);
	watch->known = *problems;
}

static void count(struct tk_agent *agent, const struct tk_added *added)
{
	TK_HOLD(&agent->programs.lock);

	agent->programs.recognised += added->count;
	memcpy(agent->programs.last, added->last, sizeof(added->last));
}

static void look_up(struct tk_agent *agent, struct watch *watch, const struct tk_compiled *compiled,
		    uint32_t generation)
{
	bool first = watch->generation != generation;
	struct tk_resolved *resolved = NULL;
	struct tk_problems problems = {};
	struct tk_added added = {};
	int err = tk_resolve_programs(compiled, watch->digests, &resolved, &problems);

	if (!err && !atomic_load(&agent->stopping))
		err = tk_kernel_add_programs(agent->kernel, generation, resolved, &added);
	if (err)
		tk_problems_free(&problems);
	else
		tell(agent, watch, first, &problems);
	tk_resolved_free(resolved);
	if (added.count)
		count(agent, &added);
	if (err && !watch->failed)
		tk_report(agent, "programs of the process sets that were replaced cannot be recognised, `reload` may: %s",
			  tk_strerror(err));
	watch->failed = err;
	watch->again = err || added.busy;
	watch->generation = generation;
}

/* Processor time that the thread has had: it is what costs, and waiting for a busy machine is no reason to rest. */
static uint64_t cpu_ms(void)
{
	struct timespec spent;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
	return (uint64_t)spent.tv_sec * 1000 + spent.tv_nsec / 1000000;
}

/* How long to rest afterwards, in milliseconds. */
static uint64_t look(struct tk_agent *agent, struct watch *watch, const struct tk_compiled *compiled,
		     uint32_t generation)
{
	uint64_t begun = cpu_ms(), looked, rest;
	/* Before they are looked up: what changes meanwhile is a change the next time. */
	uint64_t stamp = tk_programs_stamp(compiled);
	bool deep = tk_programs_deep(compiled) && tk_now_ms() >= watch->deep, same = stamp == watch->stamp;

	looked = cpu_ms();
	rest = SHARE * (looked - begun);
	rest = rest > LOOK_MS ? rest : LOOK_MS;
	if (watch->generation == generation && same && !watch->again && !deep)
		return rest;
	watch->stamp = stamp;
	look_up(agent, watch, compiled, generation);
	looked = cpu_ms() - looked;
	watch->deep = tk_now_ms() + DEEP_MS + SHARE * looked;
	return rest > 2 * looked ? rest : 2 * looked; /* who replaces a large file all the time gets no more */
}

/* Until another policy than the last one seen comes, or for so many milliseconds; 0: for ever. */
static void rest(struct tk_programs *programs, uint64_t *seen, uint64_t ms)
{
	uint64_t end = ms ? tk_now_ms() + ms : 0;
	struct timespec until = {.tv_sec = (time_t)(end / 1000), .tv_nsec = (long)(end % 1000) * 1000000};
	TK_HOLD(&programs->lock);

	while (programs->policies == *seen)
		if (!ms)
			pthread_cond_wait(&programs->changed, &programs->lock);
		else if (pthread_cond_timedwait(&programs->changed, &programs->lock, &until))
			break;
	*seen = programs->policies;
}

void tk_programs_look(struct tk_agent *agent)
{
	TK_HOLD(&agent->programs.lock);

	agent->programs.policies++;
	pthread_cond_signal(&agent->programs.changed);
}

void *tk_programs_thread(void *arg)
{
	struct tk_agent *agent = arg;
	struct watch watch = {};
	uint64_t seen = 0;

	for (;;) {
		uint64_t ms = LOOK_MS;
		uint32_t generation;
		struct tk_compiled *compiled = policy_in_force(agent, &generation, &ms);

		if (compiled && !watch.digests)
			watch.digests = tk_digests_new();
		if (compiled && watch.digests)
			ms = look(agent, &watch, compiled, generation);
		tk_compiled_free(compiled);
		rest(&agent->programs, &seen, ms);
	}
	return NULL;
}
