// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_doctor.c - `doctor`: is this machine ready?  It tries each thing
 * instead of guessing from version numbers; one line each, with the remedy.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>

#include "loader/agent/shield.h"
#include "loader/cmd.h"
#include "loader/kernel/probe.h"
#include "loader/prepare.h"
#include "loader/options.h"
#include "loader/util.h"

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf doctor - is this kernel ready, and what to change\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf doctor [--json] [POLICY.json | DIRECTORY]...\n"
	"\n"
	"DESCRIPTION\n"
	"    Tries what takakrypt-bpf stands on: the LSM list, BTF, each hook, loading the\n"
	"    programs, fanotify, ftrace; and for each guard point of the policy, or each\n"
	"    directory, what its filesystem can do. One line each, with the remedy. Nothing is\n"
	"    left loaded.\n"
	"\n"
	"OPTIONS\n"
	"    --json      an array of {\"check\", \"ok\", \"needed\", \"found\", \"remedy\"}\n"
	"    -h, --help  this text\n"
	"\n" TK_HELP_EXIT_CODES
	"    4  something that is needed is missing\n";

struct findings {
	cJSON *json; /* NULL: print as they come */
	bool missing;
};

static void found(void *ctx, const struct tk_finding *f)
{
	struct findings *all = ctx;

	if (!f->ok && f->needed)
		all->missing = true;
	if (all->json) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "check", f->check);
		cJSON_AddBoolToObject(item, "ok", f->ok);
		cJSON_AddBoolToObject(item, "needed", f->needed);
		cJSON_AddStringToObject(item, "found", f->found);
		cJSON_AddStringToObject(item, "remedy", f->ok ? "" : f->remedy);
		cJSON_AddItemToArray(all->json, item);
		return;
	}
	printf("%-7s %s: %s%s%s\n", f->ok ? "ok" : f->needed ? "MISSING" : "note", f->check, f->found,
	       f->ok || !*f->remedy ? "" : "; ", f->ok ? "" : f->remedy);
}

static void try_fanotify(struct findings *all)
{
	_cleanup_close_ int group =
		fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | FAN_REPORT_TID |
				      FAN_CLOEXEC,
			      O_RDONLY);
	struct tk_finding f = {
		.check = "fanotify permission events",
		.needed = true,
		.ok = group >= 0,
		.remedy = "a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS=y is needed, and CAP_SYS_ADMIN in the "
			  "initial user namespace",
	};

	snprintf(f.found, sizeof(f.found), "%s", f.ok ? "available, with thread ids" : strerror(errno));
	found(all, &f);
}

static void try_shield(struct findings *all, const char *path);

static void try_directory(struct findings *all, const char *path)
{
	bool can[TK_ABILITY_COUNT] = {};
	int err = tk_try_filesystem(path, can);
	struct tk_finding f = { .check = path, .needed = true, .remedy = "put the guard point on ext4, xfs or btrfs" };

	if (err) {
		snprintf(f.found, sizeof(f.found), "%s",
			 err == -EOPNOTSUPP ? "on overlayfs, which cannot say who has a file open" : strerror(-err));
		if (err == -EROFS)
			f.remedy = "remount it writable";
		else if (err == -ENOENT)
			f.remedy = "make the directory";
		found(all, &f);
		return;
	}
	for (int i = 0; i < TK_ABILITY_COUNT; i++) {
		f.ok = can[i];
		f.needed = i != TK_CAN_CLONE;
		if (i == TK_CAN_CLONE)
			f.remedy = "opening a large file copies it; xfs and btrfs share the blocks instead";
		snprintf(f.found, sizeof(f.found), "%s%s", can[i] ? "" : "no ", tk_ability_name(i));
		found(all, &f);
	}
	try_shield(all, path);
}

static void try_shield(struct findings *all, const char *path)
{
	_cleanup_close_ int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint8_t identifier[TK_SHIELD_ID];
	int err = directory < 0 ? -errno : tk_shield_of(directory, identifier);
	struct tk_finding f = {
		.check = path,
		.ok = !err || err == -ENODATA,
		.remedy = "on ext4: unmount it, `tune2fs -O encrypt DEVICE`, mount it again; others cannot",
	};

	snprintf(f.found, sizeof(f.found), "%s",
		 !err		   ? "has an fscrypt policy: a shield, or another program's"
		 : err == -ENODATA ? "can have a shield (fscrypt)"
				   : "cannot have a shield (fscrypt)");
	found(all, &f);
}

static int try_argument(struct findings *all, const char *path)
{
	struct tk_problems problems = {};
	struct tk_compiled *compiled = NULL;
	struct tk_places *places = NULL;
	size_t len = strlen(path);
	int err;

	if (len < 5 || strcmp(path + len - 5, ".json")) {
		try_directory(all, path);
		return TK_EXIT_DONE;
	}
	err = tk_policy_load(path, &compiled, &problems);
	if (!err)
		err = tk_places_find(compiled, &places, &problems);
	for (size_t i = 0; !err && i < places->count; i++)
		try_directory(all, places->items[i].path);
	tk_problems_free(&problems);
	tk_places_free(places);
	tk_compiled_free(compiled);
	return err ? tk_fail_err("doctor", path, err) : TK_EXIT_DONE;
}

int cmd_doctor(int argc, char **argv)
{
	struct findings all = {};
	bool json = false;
	const struct tk_option options[] = {{"json", .flag = &json}, {}};
	int code = tk_options("doctor", help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	code = TK_EXIT_DONE;
	if (json && !(all.json = cJSON_CreateArray()))
		return tk_fail_err("doctor", "the report", -ENOMEM);
	if (tk_need_root("doctor"))
		return TK_EXIT_FAILED;
	tk_kernel_probe(found, &all);
	try_fanotify(&all);
	for (int i = optind; i < argc && code == TK_EXIT_DONE; i++)
		code = try_argument(&all, argv[i]);
	if (all.json)
		tk_json_print(all.json);
	cJSON_Delete(all.json);
	return code != TK_EXIT_DONE ? code : all.missing ? TK_EXIT_KERNEL : TK_EXIT_DONE;
}
