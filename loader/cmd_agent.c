// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_agent.c - `agent`: the agent in the foreground.
 */
#include "loader/agent/agent.h"
#include "loader/agent/watchdog.h"
#include "loader/cmd.h"
#include "loader/options.h"
#include "loader/util.h"

#include <fcntl.h>
#include <limits.h>

static const char verb[] = "agent";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf agent - turn files to plaintext for those who may, and back\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf agent [--watchdog SECONDS] [--ready-fd N]\n"
	"\n"
	"DESCRIPTION\n"
	"    Works in the foreground for the policy that is in force, until SIGTERM or\n"
	"    SIGINT. `load` starts one by itself; run it from a service manager instead so\n"
	"    that it is started again should it die (Type=notify is understood). SIGHUP\n"
	"    reads the policy again.\n"
	"\n"
	"    It decides nothing: the kernel programs do, and without an agent they refuse to\n"
	"    open contents (ENOKEY). First it completes or undoes what an agent that was\n"
	"    killed left behind. When it ends it seals every closed file; files that are\n"
	"    still open go on working and are taken over by the next agent.\n"
	"\n"
	"    Opens wait for an agent that is stopped (SIGSTOP, a debugger) or hangs, until a\n"
	"    second process, its watchdog, kills it. Then they fail with ENOKEY, as without\n"
	"    an agent, and nothing is lost: start it again, or have the service manager do so\n"
	"    (Restart=on-failure). A suspended machine and a slow disk kill no agent.\n"
	"\n"
	"OPTIONS\n"
	"    --watchdog SECONDS\n"
	"                  how long it may hang, 5 to 86400; 0: for ever. Default 60, longer\n"
	"                  than a swapping machine keeps a thread from running, shorter than\n"
	"                  the 90 s that systemd gives a service to start\n"
	"    --ready-fd N  write \"ready\" or \"error: WHY\" and a newline to descriptor N\n"
	"                  once it is known, then close it\n"
	"    -h, --help    this text\n"
	"\n" TK_HELP_EXIT_CODES;

static const char *set_descriptor(const char *text, void *into)
{
	uint64_t fd;

	if (tk_parse_u64(text, INT_MAX, &fd) || fcntl((int)fd, F_GETFD) < 0)
		return "is not an open descriptor";
	*(int *)into = (int)fd;
	return NULL;
}

const char *tk_watchdog_parse(const char *text, void *into)
{
	uint64_t seconds;

	if (tk_parse_u64(text, TK_WATCHDOG_MAX, &seconds) || (seconds && seconds < TK_WATCHDOG_MIN))
		return "is not a number of seconds from 5 to 86400, or 0 for none";
	*(unsigned int *)into = (unsigned int)seconds;
	return NULL;
}
_Static_assert(TK_WATCHDOG_MIN == 5 && TK_WATCHDOG_MAX == 86400, "the text above, and the help");

int cmd_agent(int argc, char **argv)
{
	struct tk_agent_options agent = {.ready_fd = -1, .watchdog = TK_WATCHDOG_SECONDS};
	const struct tk_option options[] = {
		{"ready-fd", .parse = set_descriptor, .into = &agent.ready_fd},
		{"watchdog", .parse = tk_watchdog_parse, .into = &agent.watchdog},
		{},
	};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (optind < argc)
		return tk_usage(verb, "unexpected argument: %s", argv[optind]);
	if (agent.ready_fd >= 0)
		fcntl(agent.ready_fd, F_SETFD, FD_CLOEXEC);
	return tk_agent_run(&agent) ? TK_EXIT_FAILED : TK_EXIT_DONE;
}
