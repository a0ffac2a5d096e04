// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_reload.c - `reload`: another policy in the place of the one in force.
 *
 * The kernel switches generations whole; the agent then reads the same text.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/prepare.h"
#include "loader/options.h"
#include "loader/util.h"

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf reload - change the policy in force, in one step\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf reload POLICY\n"
	"\n"
	"DESCRIPTION\n"
	"    Checks the policy as `load` does, then swaps it in: every decision is made by the\n"
	"    old policy or by the new one, never by a mixture. Open files are judged by the new\n"
	"    one at their next read or write. If anything is wrong, the old policy stays in\n"
	"    force.\n"
	"\n"
	"OPTIONS\n"
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

static int swap(struct tk_kernel *kernel, const char *path)
{
	struct tk_prepared prepared = {};
	struct tk_why why = {};
	struct tk_control now;
	int err, code = tk_prepare("reload", path, &prepared);

	if (code != TK_EXIT_DONE)
		return code;
	err = tk_kernel_control(kernel, &now);
	if (!err)
		err = tk_policy_stage(path, now.generation + 1);
	if (err)
		code = tk_fail_err("reload: store", path, err);
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
	static const struct tk_option options[] = {{}};
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
	code = swap(kernel, argv[optind]);
	tk_kernel_set_loader(kernel, 0);
	tk_kernel_close(kernel);
	return code;
}
