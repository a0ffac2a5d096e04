// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_events.c - `events`: the audit trail, as lines for people, as JSON, or as
 * CEF.  Asks the agent; where none runs it reads the kernel's ring itself.
 */
#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char verb[] = "events";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf events - show decisions that were audited\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf events [--json | --cef] [--follow] [--last N]\n"
	"\n"
	"DESCRIPTION\n"
	"    Shows the last events the agent keeps (1000): time, verdict, action, path,\n"
	"    user, program, rule and reason. Without an agent, those that wait in the\n"
	"    kernel's ring are shown, and thereby taken from it.\n"
	"\n"
	"OPTIONS\n"
	"    --json        a line of JSON each; `replay` and `learn` read them\n"
	"    --cef         a line of Common Event Format each\n"
	"    -f, --follow  go on with what happens\n"
	"    --last N      the last N only; 0 with --follow for new ones only\n"
	"    -h, --help    this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf events -f --json | jq -r 'select(.verdict==\"deny\") | .path'\n";


enum form {
	TEXT,
	JSON,
	CEF,
};

/* ---------------------------------------------------------------- printing */

static const char *text(const cJSON *event, const char *name)
{
	const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, name));

	return value ? value : "";
}

static long number(const cJSON *event, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(event, name);

	return cJSON_IsNumber(item) ? (long)item->valuedouble : -1;
}

static void print_text(const cJSON *event)
{
	const char *program = *text(event, "exe") ? text(event, "exe") : text(event, "comm");

	printf("%s %-6s %-10s ", text(event, "time"), text(event, "verdict"), text(event, "action"));
	tk_put_safe(stdout, text(event, "path"));
	if (*text(event, "user"))
		printf("  %s", text(event, "user"));
	else
		printf("  uid %ld", number(event, "uid"));
	fputs(" with ", stdout);
	tk_put_safe(stdout, program);
	if (number(event, "rule") >= 0)
		printf("  rule %ld", number(event, "rule"));
	printf("  %s", text(event, "reason"));
	if (*text(event, "error"))
		printf(" (%s)", text(event, "error"));
	if (*text(event, "mode"))
		printf("  %s", text(event, "mode"));
	putchar('\n');
}

/* ArcSight Common Event Format, version 0: '=' and '\' are escaped in values, controls left out. */
static void cef_value(const char *key, const char *value)
{
	if (!*value)
		return;
	printf(" %s=", key);
	for (; *value; value++) {
		if (*value == '=' || *value == '\\')
			putchar('\\');
		if ((unsigned char)*value >= ' ')
			putchar(*value);
	}
}

static void print_cef(const cJSON *event)
{
	bool denied = !strcmp(text(event, "verdict"), "deny");

	printf("CEF:0|Takakrypt|takakrypt-bpf|" TK_VERSION "|%s|%s %s|%d|", text(event, "action"),
	       text(event, "verdict"), text(event, "action"), denied ? 7 : 3);
	printf("outcome=%s", denied ? "failure" : "success");
	cef_value("end", text(event, "time"));
	cef_value("act", text(event, "action"));
	cef_value("filePath", text(event, "path"));
	cef_value("suser", text(event, "user"));
	printf(" suid=%ld spid=%ld", number(event, "uid"), number(event, "pid"));
	cef_value("sproc", *text(event, "exe") ? text(event, "exe") : text(event, "comm"));
	cef_value("reason", text(event, "reason"));
	cef_value("cs1Label", "guardPoint");
	cef_value("cs1", text(event, "guard"));
	if (number(event, "rule") >= 0)
		printf(" cn1Label=rule cn1=%ld", number(event, "rule"));
	putchar('\n');
}

static void print(enum form form, const char *line)
{
	_cleanup_json_ cJSON *event = form == JSON ? NULL : cJSON_Parse(line);

	if (form == JSON)
		puts(line);
	else if (event && form == CEF)
		print_cef(event);
	else if (event)
		print_text(event);
	fflush(stdout);
}

/* ---------------------------------------------------------------- from the agent */

static int from_agent(FILE *stream, enum form form, bool follow, uint64_t last)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject();
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int err;

	if (!request || !cJSON_AddStringToObject(request, "verb", verb) ||
	    !cJSON_AddNumberToObject(request, "last", (double)last) ||
	    !cJSON_AddBoolToObject(request, "follow", follow))
		return tk_fail_err("ask", "the agent", -ENOMEM);
	err = tk_client_send(stream, request);
	if (err)
		return tk_fail_err("ask", "the agent", err);
	while (!ferror(stdout) && (n = getline(&line, &room, stream)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		print(form, line);
	}
	if (follow && !ferror(stdout))
		return tk_fail("follow", "the agent", "it has ended", NULL);
	return TK_EXIT_DONE;
}

/* ---------------------------------------------------------------- from the ring */

struct ring {
	struct tk_kernel *kernel;
	struct tk_compiled *compiled;
	struct tk_places *places;
	enum form form;
};

static void on_event(void *ctx, const struct tk_event *event)
{
	const struct ring *ring = ctx;
	const char *path = event->guard == TK_NO_GUARD ? "" : "?", *name = path;
	_cleanup_free_ char *line = NULL;

	for (size_t i = 0; ring->places && i < ring->places->count; i++) {
		const struct tk_place *place = &ring->places->items[i];
		uint32_t id;

		if (!tk_kernel_place_id(ring->kernel, &place->inode, &id) && id == event->guard) {
			path = place->path;
			name = ring->compiled->guards[place->spec].name;
		}
	}
	line = tk_event_json(event, path, name);
	if (line)
		print(ring->form, line);
}

static int from_ring(enum form form, bool follow)
{
	struct tk_problems problems = {};
	struct ring ring = {.form = form};
	int err;

	err = tk_kernel_open(&ring.kernel);
	if (err == -ENOENT)
		return tk_fail("read", "the events", "no policy is loaded", "`takakrypt-bpf load` one");
	if (err)
		return tk_fail("read", "the events", tk_kernel_strerror(err), NULL);
	if (!tk_policy_load(TK_POLICY_FILE, &ring.compiled, &problems))
		tk_places_find(ring.compiled, &ring.places, &problems);
	tk_problems_free(&problems);
	do
		err = tk_kernel_poll_events(ring.kernel, follow ? -1 : 0, on_event, &ring);
	while (follow && !ferror(stdout) && (!err || err == -EINTR));
	tk_places_free(ring.places);
	tk_compiled_free(ring.compiled);
	tk_kernel_close(ring.kernel);
	return err && err != -ETIMEDOUT && err != -EAGAIN ? tk_fail_err("read", "the events", err)
							  : TK_EXIT_DONE;
}

int cmd_events(int argc, char **argv)
{
	bool follow = false, json = false, cef = false;
	uint32_t last = TK_LINES;
	const struct tk_option options[] = {
		{"json", .flag = &json},
		{"cef", .flag = &cef},
		{"follow", 'f', .flag = &follow},
		{"last", .number = &last, .max = TK_LINES},
		{},
	};
	int err = tk_options(verb, help, options, argc, argv);
	enum form form = json ? JSON : cef ? CEF : TEXT;
	FILE *stream;

	if (err != TK_GO_ON)
		return err;
	if (json && cef)
		return tk_usage(verb, "one of --json and --cef, not both");
	if (optind < argc)
		return tk_usage(verb, "unexpected argument: %s", argv[optind]);
	err = tk_client_connect(NULL, &stream);
	if (err == -ENOENT || err == -ECONNREFUSED)
		return from_ring(form, follow);
	if (err)
		return tk_fail_err("ask", "the agent", err);
	err = from_agent(stream, form, follow, last);
	fclose(stream);
	return err;
}
