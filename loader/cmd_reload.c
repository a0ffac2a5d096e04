// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_reload.c - `reload`: another policy in the place of the one in force.
 *
 * The kernel switches generations whole; the agent then reads the same text.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/options.h"
#include "loader/prepare.h"
#include "loader/shields.h"
#include "loader/util.h"

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf reload - change the policy in force, in one step\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf reload [--force] POLICY\n"
	"\n"
	"DESCRIPTION\n"
	"    Checks the policy as `load` does, then swaps it in: every decision is made by the\n"
	"    old policy or by the new one, never by a mixture. Open files are judged by the new\n"
	"    one at their next read or write. If anything is wrong, the old policy stays in\n"
	"    force.\n"
	"\n"
	"    What is open in guard points that the new policy does not have is sealed first:\n"
	"    they are closed to new opens, and reload refuses when files there stay open.\n"
	"\n"
	"OPTIONS\n"
	"    --force     reload all the same: files still open there stay plaintext, which\n"
	"                nothing guards, until they are closed; where a filesystem has become\n"
	"                read-only, records of sealed files stay in the journal\n"
	"    -h, --help  this text\n"
	"\n" TK_HELP_EXIT_CODES
	"\n"
	"EXAMPLE\n"
	"    takakrypt-bpf reload /etc/takakrypt/policy.json\n";

static int tell_agent(void)
{
	char error[512] = "";
	int err = tk_client_tell(NULL, "reload", error, sizeof(error));

	if (err == -ENOENT || err == -ECONNREFUSED) {
		fprintf(stderr, "warning: no agent runs: contents answer ENOKEY until `takakrypt-bpf agent` does\n");
		return TK_EXIT_DONE;
	}
	if (err)
		return tk_fail("reload: tell", "the agent", *error ? error : strerror(-err),
			       "the kernel has the new policy; restart the agent");
	return TK_EXIT_DONE;
}

#define BATCH 32	/* names in a request, whose length is limited */
#define PATIENCE 10	/* seconds for files to be closed and sealed */

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct tk_place *)a)->path, ((const struct tk_place *)b)->path);
}

/* Names of the guard points in force of which the new policy lacks a directory.  NULL: no memory. */
static cJSON *names_gone(const struct tk_compiled *compiled, const struct tk_places *now, struct tk_places *later)
{
	cJSON *gone = cJSON_CreateArray();
	uint32_t last = UINT32_MAX;

	qsort(later->items, later->count, sizeof(*later->items), by_path);
	/* A pattern's directories come together. */
	for (size_t i = 0; gone && i < now->count; i++) {
		const struct tk_place *place = &now->items[i];

		if (place->spec == last ||
		    bsearch(place, later->items, later->count, sizeof(*later->items), by_path))
			continue;
		last = place->spec;
		cJSON_AddItemToArray(gone, cJSON_CreateString(compiled->guards[last].name));
	}
	return gone;
}

/* The beginning of the list, as many as a request takes, off it: withdrawn, or a line in ret_error. */
static int withdraw_some(cJSON *gone, char *ret_error, size_t size)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject(), *answer = NULL;
	cJSON *guards = cJSON_AddArrayToObject(request, "guards");
	const char *why;
	int err;

	cJSON_AddStringToObject(request, "verb", "withdraw");
	cJSON_AddNumberToObject(request, "timeout", PATIENCE);
	for (int i = 0; i < BATCH && cJSON_GetArraySize(gone); i++)
		cJSON_AddItemToArray(guards, cJSON_DetachItemFromArray(gone, 0));
	err = tk_client_ask(NULL, request, &answer);
	if (err || cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "ok")))
		return err;
	why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "error"));
	snprintf(ret_error, size, "it would take away guard point %s%s, and %s",
		 cJSON_GetStringValue(cJSON_GetArrayItem(guards, 0)), cJSON_GetArraySize(guards) > 1 ? " and others" : "",
		 why ? why : "the agent does not say whether files are open there");
	return -EBUSY;
}

/* Without an agent nothing is sealed, and nothing new is opened. */
static int withdraw_alone(struct tk_kernel *kernel, const char *path)
{
	if (!tk_kernel_any_open(kernel))
		return TK_EXIT_DONE;
	return tk_fail("reload", path, "it would take away guard points, and the agent does not run and has left files unsealed",
		       "start it (`takakrypt-bpf agent &`) and reload again; --force leaves them plaintext");
}

/* What is open in guard points that the new policy does not have is sealed before it takes them away. */
static int withdraw(struct tk_kernel *kernel, const char *path, struct tk_places *later)
{
	_cleanup_json_ cJSON *gone = NULL;
	struct tk_problems problems = {};
	struct tk_compiled *compiled = NULL;
	struct tk_places *now = NULL;
	char error[512] = "";
	int err = tk_policy_load(TK_POLICY_FILE, &compiled, &problems);

	if (!err)
		err = tk_places_find(compiled, &now, &problems);
	if (!err)
		gone = names_gone(compiled, now, later);
	if (!err && !gone)
		err = -ENOMEM;
	tk_problems_free(&problems);
	tk_places_free(now);
	tk_compiled_free(compiled);
	if (err)
		return tk_fail_err("reload: find the guard points in force by", TK_POLICY_FILE, err);
	while (!err && cJSON_GetArraySize(gone))
		err = withdraw_some(gone, error, sizeof(error));
	if (err == -ENOENT || err == -ECONNREFUSED)
		return withdraw_alone(kernel, path);
	if (err)
		return tk_fail("reload", path, *error ? error : tk_strerror(err),
			       "the former policy stays in force; end the programs that use the files (lsof +D), or --force "
			       "leaves them plaintext until they are closed");
	return TK_EXIT_DONE;
}

/*
 * A file that the new policy guards no more may be written at once, and no record may undo that.  The agent keeps
 * none from now on, until it has the new policy and *ret_hold is closed.
 */
static int release(struct tk_kernel *kernel, const char *path, bool force, FILE **ret_hold)
{
	char error[512] = "";
	int err = tk_client_hold(NULL, "release", ret_hold, error, sizeof(error));

	if ((err == -ENOENT || err == -ECONNREFUSED) && !tk_kernel_any_kept(kernel))
		return TK_EXIT_DONE;
	if (!err || force)
		return TK_EXIT_DONE;
	if (err == -ENOENT || err == -ECONNREFUSED)
		return tk_fail("reload", path, "no agent runs, and the one before has left records of sealed files in the journal",
			       "start it with `takakrypt-bpf agent`, then reload");
	return tk_fail("reload", path, *error ? error : strerror(-err),
		       "the former policy stays in force; --force reloads all the same");
}

static int swap(struct tk_kernel *kernel, const char *path, bool force)
{
	struct tk_prepared prepared = {};
	_cleanup_fclose_ FILE *hold = NULL;
	struct tk_why why = {};
	struct tk_control now;
	int err, code = tk_prepare("reload", path, &prepared);

	if (code == TK_EXIT_DONE)
		code = tk_shields_kept("reload", TK_POLICY_FILE, prepared.compiled, prepared.places);
	if (code == TK_EXIT_DONE && !force)
		code = withdraw(kernel, path, prepared.places);
	if (code != TK_EXIT_DONE) {
		tk_prepared_free(&prepared);
		return code;
	}
	err = tk_kernel_control(kernel, &now);
	if (!err)
		err = tk_policy_stage(path, now.generation + 1);
	if (err)
		code = tk_fail_err("reload: store", path, err);
	else if ((code = release(kernel, path, force, &hold)) != TK_EXIT_DONE)
		; /* told */
	else if (tk_kernel_install(kernel, prepared.compiled, prepared.resolved, prepared.places, &why))
		code = tk_fail("reload", path, why.text, "the former policy stays in force");
	else if ((err = tk_policy_commit(now.generation + 1)))
		code = tk_fail_err("reload: the kernel has the new policy, but the agent cannot get it", path, err);
	else {
		if (*why.text)
			fprintf(stderr, "warning: %s\n", why.text);
		code = tell_agent();
	}
	if (code == TK_EXIT_DONE)
		printf("reloaded %s: %zu guard point%s, %zu rule%s\n", path, prepared.places->count,
		       prepared.places->count == 1 ? "" : "s", prepared.compiled->rule_count,
		       prepared.compiled->rule_count == 1 ? "" : "s");
	tk_prepared_free(&prepared);
	return code;
}

int cmd_reload(int argc, char **argv)
{
	bool force = false;
	const struct tk_option options[] = {{"force", .flag = &force}, {}};
	struct tk_kernel *kernel;
	int err, code = tk_options("reload", help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (argc - optind != 1)
		return tk_usage("reload", "one policy is expected");
	if (tk_need_root("reload") || tk_policy_lock("reload"))
		return TK_EXIT_FAILED;
	err = tk_kernel_open(&kernel);
	if (err == -ENOENT)
		return tk_fail("reload", argv[optind], "no policy is loaded", "use `takakrypt-bpf load`");
	if (err)
		return tk_fail("reload", argv[optind], tk_kernel_strerror(err), NULL);
	/* It must look at guard points to find their inodes. */
	tk_kernel_set_loader(kernel, getpid());
	code = swap(kernel, argv[optind], force);
	tk_kernel_set_loader(kernel, 0);
	tk_kernel_close(kernel);
	return code;
}
