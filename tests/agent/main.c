// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/main.c - which of the agent's tests are run, on which filesystems.  As root:
 *	agent_test [PART] [FILESYSTEM...]
 * Without a part all on one filesystem after the other.  --quick crashes nothing, --defences does nothing but
 * that, --marks, --shield, --kept and --journal parts of it.  --crash is the crash matrix, --races many processes at the same files; with -sample, a little of it.
 * The same program is the agent, for the tests to start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "tests/agent/crash_test.h"
#include "tests/agent/defence_test.h"
#include "tests/agent/linger_test.h"
#include "tests/agent/marks_test.h"
#include "tests/agent/matrix.h"
#include "tests/agent/races.h"
#include "tests/agent/rig.h"
#include "tests/agent/withdraw_test.h"

enum part {
	ALL,
	QUICK,
	DEFENCES,
	MARKS,
	SHIELD,
	KEPT,
	JOURNAL,
	CRASH,
	CRASH_SAMPLE,
	WATCHDOG,
	RACES,
	RACES_SAMPLE,
	LIMITS,
	LIMITS_SAMPLE,
	REKEY,
	PARTS,
};
static const char *const part_names[PARTS] = {
	"",	   "--quick",	     "--defences", "--marks", "--shield", "--kept",	   "--journal",	      "--crash", "--crash-sample",
	"--watchdog", "--races", "--races-sample", "--limits",   "--limits-sample", "--rekey"};

static void test_filesystem(const char *fs, enum part part)
{
	switch (part) {
	case MARKS:
		marks_tests(fs);
		break;
	case SHIELD:
		shield_tests(fs);
		break;
	case KEPT:
		kept_tests(fs);
		break;
	case JOURNAL:
		journal_tests(fs);
		break;
	case WATCHDOG:
		watchdog_tests(fs);
		break;
	case LIMITS:
		limits_tests(fs, 10000, 30);
		break;
	case LIMITS_SAMPLE:
		limits_tests(fs, 300, 3);
		break;
	default:
		if (part != DEFENCES)
			work_tests(fs);
		marks_tests(fs);
		withdraw_tests(fs);
		linger_tests(fs);
		defence_tests(fs);
		journal_tests(fs);
		kept_tests(fs);
		load_tests(fs);
		token_tests(fs);
		shield_tests(fs);
		if (part == ALL)
			crash_tests(fs);
	}
}

static int agent(char **argv)
{
	struct tk_agent_options options = {.policy = argv[2], .control = argv[3], .ready_fd = atoi(argv[4])};

	if (getenv("TK_WATCHDOG"))
		options.watchdog = (unsigned int)atoi(getenv("TK_WATCHDOG"));
	return tk_agent_run(&options) ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const char *const all[] = {"ext4", "xfs", "btrfs"};
	static const struct extent whole = {.faults = 16, .kills = 32, .cuts = 4, .large = true},
				   sample = {.faults = 400, .kills = 300, .cuts = 150},
				   rekey = {.faults = 16, .cuts = 4, .large = true, .only_rekey = true};
	const char *const *fs = all;
	enum part part = ALL;
	size_t count = 3;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 5 && !strcmp(argv[1], "agent"))
		return agent(argv);
	if (geteuid()) {
		printf("root is needed\n");
		return 2;
	}
	if (argc > 1 && !strncmp(argv[1], "--", 2)) {
		for (part = PARTS - 1; part && strcmp(argv[1], part_names[part]); part--)
			;
		if (!part) {
			printf("%s: unknown\n", argv[1]);
			return 2;
		}
		argc--;
		argv++;
	}
	if (argc > 1) {
		fs = (const char *const *)argv + 1;
		count = (size_t)argc - 1;
	}
	if (part == CRASH || part == CRASH_SAMPLE || part == REKEY)
		check(crash_matrix(fs, count,
				   part == CRASH   ? &whole
				   : part == REKEY ? &rekey
						   : &sample),
		      "the crash matrix");
	else if (part == RACES || part == RACES_SAMPLE)
		race_tests(fs, count, part == RACES ? 120 : 10);
	else
		for (size_t i = 0; i < count; i++)
			test_filesystem(fs[i], part);
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
