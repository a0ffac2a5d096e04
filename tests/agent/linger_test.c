// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/linger_test.c - files that stay plaintext for a while after their last
 * close: opened again for nothing, sealed in time, and at once when somebody wants it.
 */
#include "tests/agent/linger_test.h"

#include <fcntl.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "tests/agent/rig.h"

#define SIZE 70000
#define LONG_MS 600000
#define SHORT_MS 1500

/* Guard point "other" has no linger: when what is closed there is sealed, the close before it was heard of. */
static bool are_closes_heard(const struct rig *rig)
{
	char path[160];
	uint32_t seals = rig->shared->seals;

	snprintf(path, sizeof(path), "%s/after", rig->other);
	return write_new(path, 1, 1) && WAIT_FOR(rig->shared->seals > seals && is_taka(rig, "../other/after"));
}

static bool reload(const struct rig *rig)
{
	char error[256];

	return !tk_client_tell(rig->control, "reload", error, sizeof(error));
}

static void test_stays(struct rig *rig)
{
	uint64_t written;
	uint32_t seals;

	check(!compare(rig, in(rig, "f"), SIZE, 1) && are_closes_heard(rig), "%s: read and closed", rig->fs);
	check(!is_taka(rig, "f") && state_of(rig, "f") == TK_OPEN_READ, "%s: it lingers", rig->fs);
	seals = rig->shared->seals;
	written = rig->shared->written;
	for (int i = 0; i < 20; i++)
		check(!compare(rig, in(rig, "f"), SIZE, 1), "%s: opened again", rig->fs);
	check(rig->shared->seals == seals && rig->shared->written == written, "%s: for nothing", rig->fs);
	check(agent_settle(rig) && is_taka(rig, "f"), "%s: settling does not wait for it", rig->fs);
}

static void test_written(struct rig *rig)
{
	check(write_new(in(rig, "w"), SIZE, 2) && are_closes_heard(rig) && !is_taka(rig, "w"), "%s: a new one lingers",
	      rig->fs);
	check(write_new(in(rig, "w"), SIZE, 3) && are_closes_heard(rig) && !is_taka(rig, "w"),
	      "%s: and one that is written again", rig->fs);
	agent_kill(rig);
	check(agent_start(rig, NULL) && agent_settle(rig) && is_taka(rig, "w") && !compare(rig, in(rig, "w"), SIZE, 3),
	      "%s: the agent's death ends it", rig->fs);
	check(!unlink(in(rig, "w")) && agent_settle(rig), "%s: removed meanwhile", rig->fs);
}

/* By itself: not before its time, and not long after. */
static void test_ends(struct rig *rig)
{
	uint64_t begun, took;
	uint32_t seals;
	bool came;

	rig->linger = SHORT_MS;
	rig_policy(rig);
	check(reload(rig), "%s: a shorter time", rig->fs);
	begun = tk_now_ms(); /* before the open: were its close heard of late, that would be when it began */
	check(!compare(rig, in(rig, "f"), SIZE, 1), "%s: read", rig->fs);
	seals = rig->shared->seals;
	came = WAIT_FOR(rig->shared->seals > seals); /* to look at the file would be one more open and close */
	took = tk_now_ms() - begun;
	check(came && took >= SHORT_MS, "%s: sealed after %llu ms", rig->fs, (unsigned long long)took);
	check(agent_settle(rig) && is_taka(rig, "f"), "%s: nothing is left", rig->fs);
}

void linger_tests(const char *fs)
{
	struct rig rig;

	if (check(rig_up(&rig, fs, 320), "%s: set up for lingering", fs)) {
		rig.linger = LONG_MS;
		rig_policy(&rig);
		check(agent_start(&rig, NULL) && write_new(in(&rig, "f"), SIZE, 1) && agent_settle(&rig), "%s: a file", fs);
		test_stays(&rig);
		test_written(&rig);
		test_ends(&rig);
		rig.linger = LONG_MS;
		rig_policy(&rig);
		check(reload(&rig) && !compare(&rig, in(&rig, "f"), SIZE, 1) && agent_stop(&rig) && is_taka(&rig, "f"),
		      "%s: the agent's end does not wait for it", fs);
	}
	rig_down(&rig);
}
