// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/withdraw_test.c - guard points that a reload is about to take away: closed
 * to new opens until nothing is open there, and open again when something stays.
 */
#include "tests/agent/withdraw_test.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "tests/agent/rig.h"

#define SIZE 70000

/* What the agent says; NULL: nothing. */
static cJSON *withdraw(const struct rig *rig, const char *guard, int seconds)
{
	cJSON *request = cJSON_CreateObject(), *answer = NULL;

	cJSON_AddStringToObject(request, "verb", "withdraw");
	if (guard)
		cJSON_AddItemToArray(cJSON_AddArrayToObject(request, "guards"), cJSON_CreateString(guard));
	cJSON_AddNumberToObject(request, "timeout", seconds);
	if (tk_client_ask(rig->control, request, &answer))
		answer = NULL;
	cJSON_Delete(request);
	return answer;
}

static bool is_withdrawn(const struct rig *rig, const char *guard, int seconds)
{
	cJSON *answer = withdraw(rig, guard, seconds);
	bool ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "ok"));

	cJSON_Delete(answer);
	return ok;
}

/* It refuses, and says this. */
static bool is_refused(const struct rig *rig, const char *guard, const char *error)
{
	cJSON *answer = withdraw(rig, guard, 0);
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "error"));
	bool ok = text && strstr(text, error);

	cJSON_Delete(answer);
	return ok;
}

static uint32_t watch_of(const struct rig *rig, const char *path)
{
	struct tk_inode inode;

	for (uint32_t i = 0; !tk_inode_of_path(path, &inode) && i < rig->shared->place_count; i++)
		if (!memcmp(&rig->shared->places[i], &inode, sizeof(inode)))
			return rig->shared->watched[i];
	return TK_WATCH_NONE;
}

struct asking {
	const struct rig *rig;
	bool withdrawn;
	_Atomic bool done;
};

static void *ask(void *arg)
{
	struct asking *asking = arg;

	asking->withdrawn = is_withdrawn(asking->rig, "g", 60);
	asking->done = true;
	return NULL;
}

static void test_waits(const struct rig *rig, int fd)
{
	struct asking asking = {.rig = rig};
	pthread_t thread;

	if (!check(!pthread_create(&thread, NULL, ask, &asking), "%s: somebody asks", rig->fs))
		return;
	check(WAIT_FOR(watch_of(rig, rig->guard) == TK_WATCH_COMING), "%s: closed while it waits", rig->fs);
	check(watch_of(rig, rig->other) == TK_WATCHED, "%s: the other one is not", rig->fs);
	check(!asking.done && !is_taka(rig, "leaves"), "%s: it waits for what is open", rig->fs);
	close(fd);
	pthread_join(thread, NULL);
	check(asking.withdrawn, "%s: closed, it goes", rig->fs);
	check(is_taka(rig, "leaves") && at_ease(rig), "%s: sealed before", rig->fs);
	check(watch_of(rig, rig->guard) == TK_WATCH_COMING, "%s: and nobody is let in", rig->fs);
}

void withdraw_tests(const char *fs)
{
	char error[256];
	struct rig rig;
	int fd;

	if (check(rig_up(&rig, fs, 320) && agent_start(&rig, NULL), "%s: set up for withdrawing", fs)) {
		check(write_new(in(&rig, "leaves"), SIZE, 1) && agent_settle(&rig), "%s: a file", fs);
		check(watch_of(&rig, rig.guard) == TK_WATCHED, "%s: watched", fs);
		fd = open(in(&rig, "leaves"), O_RDONLY | O_CLOEXEC);
		check(fd >= 0 && plain_now(&rig, fd), "%s: open", fs);
		check(is_refused(&rig, "g", "1 file is open there"), "%s: what is open keeps it", fs);
		check(watch_of(&rig, rig.guard) == TK_WATCHED, "%s: then it is open again", fs);
		check(is_withdrawn(&rig, "h", 20), "%s: the other one goes", fs);
		check(is_refused(&rig, NULL, ""), "%s: without names nothing does", fs);
		check(watch_of(&rig, rig.other) == TK_WATCHED, "%s: and all are open", fs);
		test_waits(&rig, fd);
		check(!tk_client_tell(rig.control, "reload", error, sizeof(error)) &&
			      watch_of(&rig, rig.guard) == TK_WATCHED && !compare(&rig, in(&rig, "leaves"), SIZE, 1),
		      "%s: a reload that keeps it opens it", fs);
		check(agent_stop(&rig), "%s: withdrawing: stops in order", fs);
	}
	rig_down(&rig);
}
