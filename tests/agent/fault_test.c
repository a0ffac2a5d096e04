// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/fault_test.c - the agent meets a fault at one of its steps: it is killed, or
 * the disk is full, or broken, or there is no memory.  Faults of the machine are power_test.c's.
 */
#include "tests/agent/matrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	enum fault_kind kind;
	bool lasting;
	const char *name;
} faults[] = {
	{FAULT_KILL, false, "agent killed"},  {FAULT_HALF, false, "agent killed, half a write"},
	{FAULT_FULL, false, "ENOSPC once"},   {FAULT_FULL, true, "ENOSPC, then room"},
	{FAULT_IO, false, "EIO once"},	      {FAULT_IO, true, "EIO, then none"},
	{FAULT_MEMORY, false, "ENOMEM once"}, {FAULT_MEMORY, true, "ENOMEM, then memory"},
};
#define FAULTS (sizeof(faults) / sizeof(*faults))

static bool deadly(size_t fault)
{
	return faults[fault].kind <= FAULT_HALF;
}

static void arm(struct rig *rig, size_t fault, uint32_t at)
{
	struct fake_fault *to = &rig->shared->fault;

	to->kind = FAULT_NONE;
	to->steps = to->fired = 0;
	to->at = at;
	to->lasting = faults[fault].lasting;
	to->kind = faults[fault].kind;
}

static void disarm(struct rig *rig)
{
	rig->shared->fault.kind = FAULT_NONE;
}

static bool sealed_or_gone(const struct rig *rig, const char *name)
{
	uint32_t state = state_of(rig, name);

	return state == TK_SEALED || state == TK_KEPT || state == UINT32_MAX;
}

/* Of what the agent must find by itself the kernel's state says nothing: its sweep has to have ended. */
static bool done(const struct rig *rig, const struct work *work)
{
	bool by_sweep = work->operation == FOUND || work->operation == ADOPTED;

	return at_ease(rig) && sealed_or_gone(rig, work->name) && sealed_or_gone(rig, work->other) &&
	       (!by_sweep || (!rig->shared->asking && (!work->size || is_taka(rig, work->name))));
}

/* The operation with the fault to come.  Whether it came, before the file was sealed again. */
static bool meet(struct rig *rig, struct work *work, size_t fault, uint32_t at)
{
	struct fake_fault *armed = &rig->shared->fault;

	arm(rig, fault, at);
	work_do(rig, work, NULL, NULL);
	WAIT_FOR(armed->fired || done(rig, work));
	if (!deadly(fault) && armed->fired)
		usleep(5000); /* for what a lasting one does next */
	disarm(rig);
	return armed->fired;
}

/* The agent that comes after one that was killed. */
static bool succeed(struct rig *rig)
{
	waitpid(rig->agent, NULL, 0);
	rig->agent = 0;
	rig->shared->control.ready = 0;
	return agent_start(rig, NULL);
}

/*
 * What an agent that was killed left is met by one that has a fault of its own.  It need not become ready,
 * but must spoil nothing.
 */
static bool succeed_in_vain(struct rig *rig, size_t fault, uint32_t at)
{
	waitpid(rig->agent, NULL, 0);
	rig->agent = 0;
	rig->shared->control.ready = 0;
	arm(rig, fault, at);
	if (agent_start_quietly(rig)) {
		rig_ask_for_sweep(rig);
		WAIT_FOR(rig->shared->fault.fired || at_ease(rig));
	}
	disarm(rig);
	agent_kill(rig);
	return agent_start(rig, NULL);
}

/* kept: what was prepared may still have its record (TK_KEPT). */
static bool ready(struct rig *rig, const struct work *work, bool kept)
{
	if (!rig->agent && !agent_start(rig, NULL))
		return false;
	if (!all_sealed(rig))
		rig_ask_to_settle(rig); /* or records of files that are gone would be there for a moment */
	work_clear(rig, work);
	fake_files_forget(rig->shared); /* all is sealed: nothing is known of them */
	if (!work_prepare(rig, work) || !WAIT_FOR(at_ease(rig)))
		return false;
	return kept || all_sealed(rig) || (rig_ask_to_settle(rig) && WAIT_FOR(all_sealed(rig)));
}

/*
 * Settling alone proves little here: to the fake kernel half a descriptor of the agent's own, which it has
 * for long while it moves a large file, is somebody who still has the file open.  Each time it is asked the
 * agent tries again at once.
 */
static bool at_rest(struct rig *rig, const struct work *work)
{
	bool rests = false;

	for (int tries = 0; !rests && tries < 3; tries++)
		rests = rig_ask_to_settle(rig) && WAIT_FOR(done(rig, work)) &&
			(journal_empty(rig) || (rig_ask_to_settle(rig) && journal_empty(rig)));
	return rests;
}

/* What lies under the hands of an agent that has not finished says nothing: only what is at rest is looked
 * at. */
static void look(struct rig *rig, struct tally *tally, const struct work *work, bool recovered,
		 const char *where)
{
	tally->points++;
	if (recovered && !check(at_rest(rig, work), "%s: %s: %s: %s of %zu bytes: sealed, the journal empty",
				rig->fs, tally->fault, where, operation_names[work->operation], work->size)) {
		tally->left++;
		agent_kill(rig);
		recovered = agent_start(rig, NULL) && at_rest(rig, work);
	}
	if (!check(recovered, "%s: %s: %s: %s of %zu bytes: the agent recovers", rig->fs, tally->fault, where,
		   operation_names[work->operation], work->size)) {
		tally->broken++;
		agent_kill(rig); /* the next one clears up, or nothing will be as expected */
		return;
	}
	tally_found(tally, work, work_look(rig, work, SIZE_MAX), where);
}

/* One point.  False when the operation has no such step. */
static bool point(struct rig *rig, struct work *work, size_t fault, uint32_t at, bool twice)
{
	struct tally *tally = tally_new(rig->fs, twice ? "killed, then one more" : faults[fault].name);
	size_t second = (at * 7 + work->operation) % FAULTS;
	char where[96];

	snprintf(where, sizeof(where), "%zu at step %u", fault, at);
	work->seed++;
	if (!check(ready(rig, work, (fault ^ work->operation) & 1), "%s: %s: set up", rig->fs, work->name))
		return false;
	if (!meet(rig, work, fault, at)) {
		/* Again: what has been deleted is still kept for a moment, and then it is not. */
		check(WAIT_FOR(done(rig, work)) && work_look(rig, work, SIZE_MAX) == CHANGED,
		      "%s: %s: works without a fault", rig->fs, work->name);
		return false;
	}
	if (twice) {
		snprintf(where, sizeof(where), "%zu at step %u, then %s at %u", fault, at,
			 faults[second].name, at % 41 + 1);
		look(rig, tally, work, succeed_in_vain(rig, second, at % 41 + 1), where);
	} else {
		look(rig, tally, work, !deadly(fault) || succeed(rig), where);
	}
	return true;
}

#define STEPS_MAX 2000

/* False when the operation is over before that step. */
static bool test_step(struct rig *rig, struct work *work, size_t fault, uint32_t at)
{
	bool reached = point(rig, work, fault, at, false);

	if (reached && fault == 0)
		point(rig, work, fault, at, true);
	return reached;
}

static void test_steps(struct rig *rig, struct work *work, size_t fault, unsigned int one_in)
{
	for (uint32_t at = 1; at <= STEPS_MAX; at++)
		if (chosen(one_in, rig->fs, (unsigned int)(fault << 5 | work->operation),
			   (unsigned int)work->size, at) &&
		    !test_step(rig, work, fault, at))
			break;
}

static void test_one(struct rig *rig, const struct extent *extent, enum operation operation, size_t size)
{
	struct work work;

	work_name(&work, operation, size, (unsigned int)operation << 24);
	for (size_t fault = 0; fault < FAULTS; fault++)
		test_steps(rig, &work, fault,
			   (deadly(fault) ? extent->kills : extent->faults) * (size > 1 << 20 ? 8 : 1));
	work_clear(rig, &work);
}

/*
 * One point again, as it was printed: TK_POINT="adopted-4096 4 19" is operation and size, fault, step.
 * Without the step all of them, without the fault each.
 */
static void test_again(struct rig *rig, const char *text)
{
	unsigned int only, at;
	struct work work;
	char name[32];
	int given = sscanf(text, "%31s %u %u", name, &only, &at);

	for (unsigned int i = 0; i < OPERATIONS * matrix_size_count; i++) {
		work_name(&work, (enum operation)(i % OPERATIONS), matrix_sizes[i / OPERATIONS], i << 24);
		if (given < 1 || strcmp(work.name, name))
			continue;
		for (size_t fault = 0; fault < FAULTS; fault++)
			if (given == 3 && fault == only)
				test_step(rig, &work, fault, at);
			else if (given < 2 || (given == 2 && fault == only))
				test_steps(rig, &work, fault, 1);
	}
}

void fault_matrix(const char *fs, const struct extent *extent)
{
	const char *again = getenv("TK_POINT");
	struct rig rig;

	if (!check(rig_up(&rig, fs, 640) && agent_start(&rig, NULL), "%s: set up for faults", fs)) {
		rig_down(&rig);
		return;
	}
	if (again)
		test_again(&rig, again);
	else
		for (enum operation operation = 0; operation < OPERATIONS; operation++)
			for (size_t i = 0; i < matrix_size_count; i++)
				if (extent->large || matrix_sizes[i] < 1 << 20)
					test_one(&rig, extent, operation, matrix_sizes[i]);
	if (rig.agent)
		agent_stop(&rig);
	rig_down(&rig);
}
