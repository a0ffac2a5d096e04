// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_settle.c - `settle`: waits until whatever nobody has open is sealed.
 */
#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>

static const char verb[] = "settle";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf settle - wait until all closed files are sealed\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf settle [--timeout SECONDS]\n"
	"\n"
	"DESCRIPTION\n"
	"    Looks through all guard points for plaintext and waits until every file that\n"
	"    nobody has open is encrypted: before a backup or a snapshot, say. Files that\n"
	"    programs have open stay as they are. Afterwards the agent's journal holds nothing\n"
	"    of any other file.\n"
	"\n"
	"OPTIONS\n"
	"    --timeout SECONDS  fail after so long; 0, the default, waits for ever\n"
	"    -h, --help         this text\n"
	"\n" TK_HELP_EXIT_CODES;


static int settle(uint64_t timeout)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject(), *answer = NULL;
	const char *why;
	int err;

	if (!request || !cJSON_AddStringToObject(request, "verb", verb) ||
	    !cJSON_AddNumberToObject(request, "timeout", (double)timeout))
		return tk_fail_err("ask", "the agent", -ENOMEM);
	err = tk_client_ask(NULL, request, &answer);
	if (err == -ENOENT || err == -ECONNREFUSED)
		return tk_fail("ask", "the agent", "none runs",
			       "start it with `takakrypt-bpf load` or `agent`");
	if (err)
		return tk_fail_err("ask", "the agent", err);
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "ok")))
		return TK_EXIT_DONE;
	why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "error"));
	return tk_fail("settle", "the guard points", why ? why : "the agent gave no reason",
		       "`takakrypt-bpf status` tells of failures");
}

int cmd_settle(int argc, char **argv)
{
	uint32_t timeout = 0;
	const struct tk_option options[] = {{"timeout", .number = &timeout, .max = 1000000000}, {}};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (optind < argc)
		return tk_usage(verb, "unexpected argument: %s", argv[optind]);
	return settle(timeout);
}
