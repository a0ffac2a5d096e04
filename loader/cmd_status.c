// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_status.c - `status`: what is in force, and how it goes.
 */
#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/kernel/kernel.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char verb[] = "status";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf status - what is in force, and how it goes\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf status [--json]\n"
	"\n"
	"DESCRIPTION\n"
	"    Shows whether the kernel programs are loaded and the agent is ready, the guard\n"
	"    points, the keys (where each comes from, its current version, and when its\n"
	"    provider last gave it and last failed), files by state, how far those are that are\n"
	"    being encrypted or decrypted, what failed of late, and counters.\n"
	"\n"
	"OPTIONS\n"
	"    --json      an object: \"loaded\", \"state\" of the agent (none, starting, ready,\n"
	"                stopping) and what else the agent says\n"
	"    -h, --help  this text\n"
	"\n"
	"EXIT CODES\n"
	"    0  a policy is in force and the agent is ready\n"
	"    1  it is not\n"
	"    2  wrong usage\n";

static const char *text(const cJSON *json, const char *name)
{
	const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

	return value ? value : "";
}

static uint64_t number(const cJSON *json, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsNumber(item) && item->valuedouble > 0 ? (uint64_t)item->valuedouble : 0;
}

static void print_guard(const cJSON *guard)
{
	fputs("  ", stdout);
	tk_put_safe(stdout, text(guard, "path"));
	fputs("  ", stdout);
	tk_put_safe(stdout, text(guard, "name"));
	printf(", %s", text(guard, "mode"));
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(guard, "watched")))
		puts(", watched");
	else
		printf(", NOT WATCHED, contents cannot be opened: %s\n", text(guard, "trouble"));
}

static void print_key(const cJSON *key)
{
	printf("  %s  %s ", text(key, "id"), text(key, "provider"));
	tk_put_safe(stdout, text(key, "where"));
	if (number(key, "current"))
		printf(", version %" PRIu64, number(key, "current"));
	if (*text(key, "last_success"))
		printf(", read %s", text(key, "last_success"));
	if (number(key, "failures"))
		printf("; FAILED since, %" PRIu64 " times, the last %s: %s", number(key, "failures"),
		       text(key, "last_failure"), text(key, "why"));
	if (*text(key, "open_until"))
		printf("; not tried again before %s", text(key, "open_until"));
	putchar('\n');
}

static void print_times(const cJSON *times)
{
	const char *between = "";
	const cJSON *item;

	printf("times        ");
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(times, "holding")) {
		printf("%s%s", between, item->valuestring);
		between = ", ";
	}
	printf("%s; next change %s%s\n", *between ? " hold" : "none holds",
	       *text(times, "next") ? text(times, "next") : "never",
	       cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(times, "frozen"))
		       ? "; FROZEN, the kernel programs go by older ones"
		       : "");
}

static void print_work(const cJSON *work)
{
	uint64_t size = number(work, "size");
	char of[TK_SIZE_TEXT];

	printf("    %3.0f%% of %s  ", size ? 100.0 * (double)number(work, "done") / (double)size : 0,
	       tk_size_text(size, of));
	tk_put_safe(stdout, text(work, "path"));
	putchar('\n');
}

static void print_agent(const cJSON *agent)
{
	const cJSON *files = cJSON_GetObjectItemCaseSensitive(agent, "files");
	const cJSON *sweep = cJSON_GetObjectItemCaseSensitive(agent, "sweep");
	const cJSON *programs = cJSON_GetObjectItemCaseSensitive(agent, "programs");
	const cJSON *watchdog = cJSON_GetObjectItemCaseSensitive(agent, "watchdog");
	const cJSON *item;

	printf("agent        %s, process %" PRIu64 ", ready after %" PRIu64 ".%03" PRIu64 " s\n", text(agent, "state"),
	       number(agent, "pid"), number(agent, "ready_after_ms") / 1000, number(agent, "ready_after_ms") % 1000);
	printf("watchdog     ");
	if (!number(watchdog, "seconds"))
		printf("off\n");
	else if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(watchdog, "watches")))
		printf("ends the agent when it hangs for %" PRIu64 " s\n", number(watchdog, "seconds"));
	else
		printf("GONE: killed or stopped; start the agent anew\n");
	printf("policy       generation %" PRIu64 "\n", number(agent, "generation"));
	printf("guard points\n");
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(agent, "guard_points"))
		print_guard(item);
	printf("keys\n");
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(agent, "keys"))
		print_key(item);
	if (cJSON_HasObjectItem(agent, "times"))
		print_times(cJSON_GetObjectItemCaseSensitive(agent, "times"));
	printf("files        %" PRIu64 " open, %" PRIu64 " in transition, %" PRIu64 " waiting, %" PRIu64
	       " open raw, %" PRIu64 " to be sealed\n",
	       number(files, "open"), number(files, "in_transition"), number(files, "waiting"),
	       number(files, "open_raw"), number(agent, "unsettled"));
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(agent, "work"))
		print_work(item);
	printf("sweep        %s, %" PRIu64 " files looked at, %" PRIu64 " found in plaintext\n",
	       cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(sweep, "running")) ? "running"
	       : number(sweep, "rounds")					? "done"
										: "not begun",
	       number(sweep, "files"), number(sweep, "found"));
	if (number(programs, "recognised")) {
		printf("programs     %" PRIu64 " recognised since they came or were replaced, the last ",
		       number(programs, "recognised"));
		tk_put_safe(stdout, text(programs, "last"));
		putchar('\n');
	}
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(agent, "counters"))
		printf("%-16s %" PRIu64 "\n", item->string, (uint64_t)item->valuedouble);
	if (number(agent, "failure_count"))
		printf("failures     %" PRIu64 ", the last:\n", number(agent, "failure_count"));
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(agent, "failures")) {
		printf("  %s  ", text(item, "time"));
		tk_put_safe(stdout, text(item, "text"));
		putchar('\n');
	}
}

/* 0, or as of tk_kernel_open(). */
static int look_at_kernel(bool *ret_has_times)
{
	struct tk_kernel *kernel;
	int err = tk_kernel_open(&kernel);

	if (err)
		return err;
	*ret_has_times = tk_kernel_has_times(kernel);
	tk_kernel_close(kernel);
	return 0;
}

/* In the place of an agent that does not answer. */
static cJSON *no_agent(bool has_times)
{
	cJSON *answer = cJSON_CreateObject();

	cJSON_AddStringToObject(answer, "state", "none");
	if (has_times)
		cJSON_AddBoolToObject(cJSON_AddObjectToObject(answer, "times"), "frozen", true);
	return answer;
}

static int status(bool json)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject(), *answer = NULL;
	bool has_times = false, loaded, ready;
	int err = -ENOMEM, kernel_err = look_at_kernel(&has_times);

	loaded = !kernel_err || kernel_err == -EPROTONOSUPPORT || kernel_err == -EUCLEAN;
	if (request && cJSON_AddStringToObject(request, "verb", verb))
		err = tk_client_ask(NULL, request, &answer);
	if (err == -EACCES || err == -EPERM)
		return tk_fail_err("ask", "the agent", err);
	if (err) /* nobody listens */
		answer = no_agent(has_times);
	cJSON_DeleteItemFromObjectCaseSensitive(answer, "ok");
	if (loaded || kernel_err == -ENOENT)
		cJSON_AddBoolToObject(answer, "loaded", loaded);
	else
		cJSON_AddNullToObject(answer, "loaded"); /* cannot be told */
	ready = loaded && !strcmp(text(answer, "state"), "ready");
	if (json) {
		err = tk_json_print(answer);
		if (err)
			return tk_fail_err("print", "the status", err);
		return ready ? TK_EXIT_DONE : TK_EXIT_FAILED;
	}
	if (kernel_err == -ENOENT)
		printf("programs     not loaded: nothing is guarded\n");
	else
		printf("programs     %s%s\n", loaded ? "" : "cannot be told: ",
		       kernel_err ? tk_kernel_strerror(kernel_err) : "loaded");
	if (!strcmp(text(answer, "state"), "none"))
		printf("agent        none%s\n", loaded ? ": contents of guarded files cannot be opened" : "");
	else
		print_agent(answer);
	if (!strcmp(text(answer, "state"), "none") && has_times)
		printf("times        frozen: time sets hold, or do not, as when the agent ended\n");
	return ready ? TK_EXIT_DONE : TK_EXIT_FAILED;
}

int cmd_status(int argc, char **argv)
{
	bool json = false;
	const struct tk_option options[] = {{"json", .flag = &json}, {}};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (optind < argc)
		return tk_usage(verb, "unexpected argument: %s", argv[optind]);
	return status(json);
}
