// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_load.c - `load`: a policy into force, whole or not at all.
 *
 * Order: everything that can be refused is refused first (prepare.c); then the
 * kernel half, filled before it is attached; then the agent, which recovers and
 * says when it is ready.  Until then opens of contents answer ENOKEY.  Whatever
 * fails takes everything before it back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loader/agent/watchdog.h"
#include "loader/cmd.h"
#include "loader/options.h"
#include "loader/prepare.h"
#include "loader/shields.h"
#include "loader/util.h"

#define AGENT_LOG TK_RUN_DIR "/agent.log"

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf load - put a policy into force\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf load [--no-agent] [--watchdog SECONDS] [--json] POLICY\n"
	"\n"
	"DESCRIPTION\n"
	"    Checks the policy, loads the kernel programs and starts the agent. Returns when\n"
	"    the agent is ready: from then on authorised programs work on plaintext, everybody\n"
	"    else is refused. Plaintext already in a guard point is encrypted in the\n"
	"    background (`status` shows how far). If anything fails, nothing is changed.\n"
	"\n"
	"    The programs are pinned below /sys/fs/bpf/takakrypt and enforce the policy until\n"
	"    `unload`, whatever happens to the agent.\n"
	"\n"
	"OPTIONS\n"
	"    --no-agent  the kernel half only: opening contents fails with ENOKEY until\n"
	"                `takakrypt-bpf agent` runs\n"
	"    --watchdog SECONDS\n"
	"                how long the agent may hang before it is killed, 0: for ever (default\n"
	"                60; `takakrypt-bpf help agent`)\n"
	"    --json      print the result as JSON\n"
	"    -h, --help  this text\n"
	"\n" TK_HELP_EXIT_CODES
	"    4  this kernel cannot; `takakrypt-bpf doctor` says what is missing\n"
	"\n"
	"EXAMPLE\n"
	"    takakrypt-bpf load /etc/takakrypt/policy.json\n";

/* In the child: a session of its own, nothing of ours kept open but the pipe. */
static void become_agent(int ready, unsigned int watchdog)
{
	char fd[16], seconds[16];
	int null = open("/dev/null", O_RDWR);
	int log = open(AGENT_LOG, O_WRONLY | O_CREAT | O_APPEND, 0600);

	setsid();
	if (chdir("/") || null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0)
		_exit(TK_EXIT_FAILED);
	if (dup2(ready, 3) < 0)
		_exit(TK_EXIT_FAILED);
	closefrom(4);
	fcntl(3, F_SETFD, 0);
	snprintf(fd, sizeof(fd), "%d", 3);
	snprintf(seconds, sizeof(seconds), "%u", watchdog);
	execl("/proc/self/exe", "takakrypt-bpf", "agent", "--ready-fd", fd, "--watchdog", seconds, NULL);
	_exit(TK_EXIT_FAILED);
}

/* Reads the agent's one line: "ready", or why not. */
static int hear_agent(int fd, char *line, size_t size)
{
	size_t used = 0;
	ssize_t got;

	while (used < size - 1 && (got = read(fd, line + used, size - 1 - used)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		used += got;
	}
	line[used] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return 0;
}

static int start_agent(unsigned int watchdog, pid_t *ret_pid)
{
	char line[512] = "";
	int pipes[2];
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		return tk_fail_err("load", "the agent", -errno);
	pid = fork();
	if (pid == 0)
		become_agent(pipes[1], watchdog);
	close(pipes[1]);
	if (pid < 0) {
		close(pipes[0]);
		return tk_fail_err("load", "the agent", -errno);
	}
	if (hear_agent(pipes[0], line, sizeof(line)) || strcmp(line, "ready")) {
		const char *why = !strncmp(line, "error: ", 7) ? line + 7 : line;

		kill(pid, SIGTERM);
		waitpid(pid, NULL, 0);
		close(pipes[0]);
		return tk_fail("load", "the agent", *why ? why : "it ended before it was ready",
			       "see " AGENT_LOG "; nothing was loaded");
	}
	close(pipes[0]);
	*ret_pid = pid;
	return TK_EXIT_DONE;
}

#define LISTED 20 /* guard points, for people */

static int report(const struct tk_prepared *p, const char *path, pid_t agent, bool json)
{
	cJSON *out;

	if (!json) {
		printf("loaded %s: %zu guard point%s, %zu rule%s, ", path, p->places->count,
		       p->places->count == 1 ? "" : "s", p->compiled->rule_count,
		       p->compiled->rule_count == 1 ? "" : "s");
		if (agent)
			printf("agent %d ready\n", agent);
		else
			printf("no agent: contents answer ENOKEY\n");
		for (size_t i = 0; i < p->places->count && i < LISTED; i++)
			printf("  %s (%s)\n", p->places->items[i].path,
			       p->compiled->guards[p->places->items[i].spec].name);
		if (p->places->count > LISTED)
			printf("  and %zu more: `takakrypt-bpf status` lists them\n", p->places->count - LISTED);
		return TK_EXIT_DONE;
	}
	out = cJSON_CreateObject();
	cJSON_AddStringToObject(out, "policy", path);
	tk_json_u64(out, "guard_points", p->places->count);
	tk_json_u64(out, "rules", p->compiled->rule_count);
	tk_json_u64(out, "agent", agent);
	tk_json_print(out);
	cJSON_Delete(out);
	return TK_EXIT_DONE;
}

static int kernel_failed(const char *path, int err, const struct tk_why *why)
{
	tk_fail("load", path, *why->text ? why->text : strerror(-err), NULL);
	return err == -EOPNOTSUPP ? TK_EXIT_KERNEL : TK_EXIT_FAILED;
}

#define FIRST_GENERATION 1

static int load(const char *path, bool with_agent, unsigned int watchdog, bool json)
{
	struct tk_prepared prepared = {};
	struct tk_kernel *kernel = NULL;
	struct tk_why why = {};
	pid_t agent = 0;
	int err, code;

	if (access(TK_BPFFS_DIR, F_OK) == 0)
		return tk_fail("load", path, "a policy is loaded already",
			       "use `takakrypt-bpf reload` to change it or `takakrypt-bpf unload` to end it");
	code = tk_prepare("load", path, &prepared);
	if (code != TK_EXIT_DONE)
		return code;
	err = tk_kernel_load(&kernel, &why);
	if (err) {
		tk_shields_lower("load", prepared.compiled, prepared.places);
		tk_prepared_free(&prepared);
		return kernel_failed(path, err, &why);
	}
	err = tk_policy_stage(path, FIRST_GENERATION);
	if (!err)
		err = tk_kernel_attach(kernel, &why);
	if (!err)
		err = tk_kernel_install(kernel, prepared.compiled, prepared.resolved, prepared.places, &why);
	if (!err)
		err = tk_policy_commit(FIRST_GENERATION);
	if (!err && *why.text)
		fprintf(stderr, "warning: %s\n", why.text);
	if (err)
		code = kernel_failed(path, err, &why);
	else if (with_agent)
		code = start_agent(watchdog, &agent);
	tk_kernel_close(kernel);
	if (code == TK_EXIT_DONE) {
		code = report(&prepared, path, agent, json);
	} else {
		tk_kernel_unload();
		unlink(TK_POLICY_FILE);
		tk_shields_lower("load", prepared.compiled, prepared.places);
	}
	tk_prepared_free(&prepared);
	return code;
}

int cmd_load(int argc, char **argv)
{
	unsigned int watchdog = TK_WATCHDOG_SECONDS;
	bool no_agent = false, json = false;
	const struct tk_option options[] = {
		{"no-agent", .flag = &no_agent},
		{"watchdog", .parse = tk_watchdog_parse, .into = &watchdog},
		{"json", .flag = &json},
		{},
	};
	int code = tk_options("load", help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (argc - optind != 1)
		return tk_usage("load", "one policy is expected");
	if (tk_need_root("load") || tk_policy_lock("load"))
		return TK_EXIT_FAILED;
	return load(argv[optind], !no_agent, watchdog, json);
}
