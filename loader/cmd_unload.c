// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_unload.c - `unload`: the end of a policy, once everything is sealed.
 *
 * The agent goes first, because it alone can seal; the programs last, so that
 * nothing is unguarded while it works.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/options.h"
#include "loader/prepare.h"
#include "loader/shields.h"
#include "loader/trees/unfinished.h"
#include "loader/util.h"

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf unload - end the policy in force\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf unload [--force]\n"
	"\n"
	"DESCRIPTION\n"
	"    Seals every closed file, ends the agent, takes the programs out of the kernel.\n"
	"    Files that programs still have open as plaintext cannot be sealed, so unload then\n"
	"    refuses. Afterwards the guard points are directories like others, with TAKA files\n"
	"    in them.\n"
	"\n"
	"OPTIONS\n"
	"    --force     unload all the same: files still open stay plaintext on the disk\n"
	"                until the policy is loaded again, which seals them; what is done\n"
	"                to files until then counts more than what the journal has of them\n"
	"    -h, --help  this text\n"
	"\n" TK_HELP_EXIT_CODES;

/* Files the agent cannot seal because somebody has them open; -errno: no agent answers. */
static int open_files(uint64_t *ret_open)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject(), *answer = NULL;
	const cJSON *files;
	int err;

	cJSON_AddStringToObject(request, "verb", "settle");
	cJSON_AddNumberToObject(request, "timeout", 60);
	err = tk_client_ask(NULL, request, &answer);
	if (err)
		return err;
	cJSON_Delete(answer);
	answer = NULL;
	cJSON_ReplaceItemInObject(request, "verb", cJSON_CreateString("status"));
	err = tk_client_ask(NULL, request, &answer);
	if (err)
		return err;
	files = cJSON_GetObjectItemCaseSensitive(answer, "files");
	/* Kept ones are sealed, and come and go: release() sees to them. */
	*ret_open = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(files, "unsealed"));
	return 0;
}

/* Soon anybody may write the files: no record may undo that.  The agent keeps none until *ret_hold is closed. */
static int release(bool force, FILE **ret_hold)
{
	char error[512] = "";
	int err = tk_client_hold(NULL, "release", ret_hold, error, sizeof(error));

	if (!err || force)
		return TK_EXIT_DONE;
	return tk_fail("unload", "the policy", *error ? error : strerror(-err),
		       "mend that, or --force leaves them to the next agent");
}

/* Without an agent: does the kernel hold a file that was never sealed again? */
static bool left_open(void)
{
	struct tk_kernel *kernel;
	bool left;
	int err = tk_kernel_open(&kernel);

	if (err)
		return err != -ENOENT; /* half loaded: there never was an agent; else it cannot be told */
	left = tk_kernel_any_open(kernel);
	tk_kernel_close(kernel);
	return left;
}

/* The bind mount an agent that is gone has left over a guard point. */
static void remove_bind_mounts(void)
{
	struct tk_problems problems = {};
	struct tk_compiled *compiled = NULL;
	struct tk_places *places = NULL;

	if (!tk_policy_load(TK_POLICY_FILE, &compiled, &problems) &&
	    !tk_places_find(compiled, &places, &problems))
		for (size_t i = places->count; i-- > 0;) {
			struct statx self, above;
			char parent[4096 + 4];

			snprintf(parent, sizeof(parent), "%s/..", places->items[i].path);
			/* A mount of its own, of the filesystem around it: ours. */
			if (!statx(AT_FDCWD, places->items[i].path, 0, STATX_BASIC_STATS, &self) &&
			    !statx(AT_FDCWD, parent, 0, STATX_BASIC_STATS, &above) &&
			    self.stx_attributes & STATX_ATTR_MOUNT_ROOT && self.stx_dev_major == above.stx_dev_major &&
			    self.stx_dev_minor == above.stx_dev_minor)
				umount2(places->items[i].path, MNT_DETACH);
		}
	tk_problems_free(&problems);
	tk_places_free(places);
	tk_compiled_free(compiled);
}

static int stop_agent(bool force)
{
	char error[256] = "", why[96];
	_cleanup_fclose_ FILE *hold = NULL;
	uint64_t open = 0;
	int err = open_files(&open);

	if (err == -ENOENT || err == -ECONNREFUSED) {
		if (left_open() && !force)
			return tk_fail("unload", "the policy", "the agent does not run and has left files unsealed, or records of them",
				       "start it (`takakrypt-bpf agent &`) and unload again; --force leaves them as they are");
		remove_bind_mounts();
		return TK_EXIT_DONE;
	}
	if (err)
		return tk_fail_err("unload: ask", "the agent", err);
	if (open && !force) {
		snprintf(why, sizeof(why), "%llu file%s still open", (unsigned long long)open,
			 open == 1 ? " is" : "s are");
		return tk_fail("unload", "the policy", why,
			       "end the programs that use them (lsof +D), or --force leaves them plaintext");
	}
	if (release(force, &hold))
		return TK_EXIT_FAILED;
	err = tk_client_stop(NULL, true, error, sizeof(error));
	if (err)
		return tk_fail("unload: stop", "the agent", *error ? error : strerror(-err), "see `takakrypt-bpf status`");
	return TK_EXIT_DONE;
}

/* What is done to the files from now on counts more than records that were left. */
static int leave_unguarded(void)
{
	struct tk_compiled *compiled = NULL;
	struct tk_places *places = NULL;
	int code = TK_EXIT_DONE, err = tk_shields_policy(TK_POLICY_FILE, &compiled, &places);

	if (err == -ENOENT)
		return TK_EXIT_DONE; /* half loaded: there never was an agent */
	if (err)
		return tk_fail_err("unload: find the guard points of", TK_POLICY_FILE, err);
	for (size_t i = 0; i < places->count; i++)
		if (tk_unfinished_unguard(&(char *){places->items[i].path}, 1))
			code = TK_EXIT_FAILED;
	tk_places_free(places);
	tk_compiled_free(compiled);
	return code;
}

/* After the last file was sealed, and when the agent, who has directories open, has ended. */
static int lower_shields(void)
{
	struct tk_compiled *compiled = NULL;
	struct tk_places *places = NULL;
	int code, err = tk_shields_policy(TK_POLICY_FILE, &compiled, &places);

	if (err == -ENOENT)
		return TK_EXIT_DONE; /* half loaded: nothing was raised */
	if (err)
		return tk_fail_err("unload: take the keys of shields from the kernel", TK_POLICY_FILE, err);
	code = tk_shields_lower("unload", compiled, places);
	tk_places_free(places);
	tk_compiled_free(compiled);
	return code;
}

int cmd_unload(int argc, char **argv)
{
	bool force = false;
	const struct tk_option options[] = {{"force", .flag = &force}, {}};
	int err = tk_options("unload", help, options, argc, argv);

	if (err != TK_GO_ON)
		return err;
	if (argc != optind)
		return tk_usage("unload", "no argument is expected");
	if (tk_need_root("unload") || tk_policy_lock("unload"))
		return TK_EXIT_FAILED;
	if (access(TK_BPFFS_DIR, F_OK))
		return tk_fail("unload", "the policy", "none is loaded", NULL);
	if (stop_agent(force))
		return TK_EXIT_FAILED;
	err = tk_kernel_unload();
	if (err)
		return tk_fail_err("unload: unpin", TK_BPFFS_DIR, err);
	err = force ? leave_unguarded() : TK_EXIT_DONE;
	err |= lower_shields();
	unlink(TK_POLICY_FILE);
	printf("unloaded: nothing is guarded any more\n");
	return err;
}
