// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_replay.c - `replay`: asks a policy about what was recorded under
 * another one, and tells what it would change.
 */
#include "loader/cmd.h"
#include "loader/problems.h"
#include "loader/study/recording.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char verb[] = "replay";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf replay - what a policy would change about what was recorded\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf replay [--json] POLICY EVENTS\n"
	"\n"
	"DESCRIPTION\n"
	"    Asks POLICY about each audit event in EVENTS (lines of `takakrypt-bpf events\n"
	"    --json`; - is standard input) and prints what would change, by guard point and\n"
	"    deciding rule, with the number of events and one of them as an example:\n"
	"\n"
	"    permit to deny         what was permitted would be denied\n"
	"    plaintext to stored    permitted without apply_key: ciphertext would be read\n"
	"    deny to permit         what was denied would be permitted\n"
	"    stored to plaintext    permitted with apply_key now\n"
	"    not guarded            the path lies in no guard point of POLICY any more\n"
	"\n"
	"    What cannot be asked again is counted, too, with the reason: refusals that no rule\n"
	"    decided (no agent, the other view, a busy file), and events that lack the path or\n"
	"    the program. Verdicts of a guard point in mode monitor count as written: \"deny\"\n"
	"    is what enforce would deny.\n"
	"\n"
	"    Users are asked by their uid and the groups recorded; where the process had ended\n"
	"    before its groups were looked up, the system's of the user are taken, and their\n"
	"    number is told. Programs are asked by their path, as the one that is there now; by\n"
	"    their inode where the path was not recorded. Time sets, log-in and units are asked\n"
	"    as of the event. Where one of these was not recorded (a process that ended too early\n"
	"    has no unit) and the verdict hangs on it, the event is counted under \"cannot be\n"
	"    decided\", with what it lacks.\n"
	"\n"
	"    Only what was audited was recorded: give rules the effect audit, or the guard\n"
	"    point the mode learn, to record all.\n"
	"\n"
	"OPTIONS\n"
	"    --json      an object: \"events\", \"unchanged\", \"malformed\", \"groups_assumed\", and\n"
	"                \"changes\", a list of objects with \"change\", \"guard_point\", \"rule\",\n"
	"                \"why\", \"count\" and \"example\"\n"
	"    -h, --help  this text\n"
	"\n"
	"EXIT CODES\n"
	"    0  nothing that was permitted would be denied or lose its plaintext\n"
	"    1  failed, or the answer is not complete: lines that are no events were passed\n"
	"       over, each is told; or events cannot be decided\n"
	"    2  wrong usage; nothing was done\n"
	"    3  something that was permitted would be denied, or lose its plaintext\n"
	"\n"
	"EXAMPLE\n"
	"    takakrypt-bpf events --json > events.jsonl\n"
	"    takakrypt-bpf replay new.json events.jsonl && takakrypt-bpf reload new.json\n";

enum change { LOST, LOST_KEY, GAINED, GAINED_KEY, UNGUARDED, UNFIT, UNDECIDED, SAME };
#define CHANGES SAME
static const struct {
	const char *name, *title;
} changes[CHANGES] = {
	[LOST] = {"permit_to_deny", "permit to deny"},
	[LOST_KEY] = {"plaintext_to_stored", "plaintext to stored"},
	[GAINED] = {"deny_to_permit", "deny to permit"},
	[GAINED_KEY] = {"stored_to_plaintext", "stored to plaintext"},
	[UNGUARDED] = {"not_guarded", "not guarded"},
	[UNFIT] = {"cannot_be_asked", "cannot be asked"},
	[UNDECIDED] = {"cannot_be_decided", "cannot be decided"},
};

/* Deeds that change in the same way, by the same rule. */
struct group {
	enum change change;
	const char *guard;	    /* borrowed */
	const struct tk_rule *rule; /* of the new policy; NULL: none */
	const char *why;	    /* where there is no rule */
	uint64_t count;
	const struct tk_deed *example;
};

struct replay {
	const struct tk_compiled *compiled;
	const struct tk_resolved *resolved;
	struct group *groups;
	size_t group_count, group_room;
	uint64_t unchanged, groups_assumed;
	uint64_t totals[CHANGES];
};

static bool touches_contents(uint32_t action)
{
	return action & (TK_DATA_READ | TK_DATA_WRITE | TK_EXECUTE);
}

static enum change change_of(const struct tk_compiled *compiled, const struct tk_deed *deed,
			     const struct tk_answer *answer)
{
	bool permitted = answer->effects & TK_PERMIT, key = answer->effects & TK_APPLY_KEY;

	if (!answer->guarded)
		return UNGUARDED;
	if (permitted != deed->permitted)
		return permitted ? GAINED : LOST;
	/* Only contents have a view, and two only where they are encrypted. */
	if (!permitted || key == deed->apply_key || !touches_contents(deed->action) ||
	    compiled->encryption[compiled->guards[answer->guard].policy].key == UINT32_MAX)
		return SAME;
	return key ? GAINED_KEY : LOST_KEY;
}

static int note(struct replay *replay, const struct tk_deed *deed, struct group group)
{
	size_t room = replay->group_room ? 2 * replay->group_room : 16;
	struct group *larger;

	replay->totals[group.change] += deed->count;
	for (size_t i = 0; i < replay->group_count; i++) {
		struct group *known = &replay->groups[i];

		if (known->change == group.change && known->rule == group.rule &&
		    !strcmp(known->guard, group.guard) && !strcmp(known->why, group.why)) {
			known->count += deed->count;
			return 0;
		}
	}
	if (replay->group_count == replay->group_room) {
		larger = reallocarray(replay->groups, room, sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		replay->groups = larger;
		replay->group_room = room;
	}
	group.count = deed->count;
	group.example = deed;
	replay->groups[replay->group_count++] = group;
	return 0;
}

static int ask(struct replay *replay, const struct tk_deed *deed)
{
	const char *unfit = tk_deed_unfit(deed);
	struct tk_recorded recorded = tk_deed_recorded(deed);
	struct group group = {.change = UNFIT, .guard = deed->guard, .why = unfit};
	struct tk_answer answer = {0};
	int r;

	if (unfit)
		return note(replay, deed, group);
	if (!deed->gids)
		replay->groups_assumed += deed->count;
	r = tk_explain_recorded(replay->compiled, replay->resolved, &recorded, &answer);
	if (r == 0) {
		group.change = answer.lacks ? UNDECIDED : change_of(replay->compiled, deed, &answer);
		group.rule = answer.lacks ? NULL : answer.decided_by;
		group.why = answer.lacks     ? answer.lacks
			    : answer.guarded ? tk_reason_name(answer.reason)
					     : "outside every guard point";
		if (answer.guarded)
			group.guard = replay->compiled->guards[answer.guard].name;
		if (group.change == SAME)
			replay->unchanged += deed->count;
		else
			r = note(replay, deed, group);
	}
	tk_answer_free(&answer);
	return r;
}

/* ---------------------------------------------------------------- telling */

static int print_text(const struct replay *replay, const struct tk_recording *recording)
{
	for (size_t change = 0; change < CHANGES; change++) {
		if (!replay->totals[change])
			continue;
		printf("%s: %" PRIu64 "\n", changes[change].title, replay->totals[change]);
		for (size_t i = 0; i < replay->group_count; i++) {
			const struct group *group = &replay->groups[i];
			_cleanup_free_ char *text =
				group->rule ? tk_rule_text(replay->compiled, group->rule) : NULL;

			if (group->change != change)
				continue;
			if (group->rule && !text)
				return -ENOMEM;
			fputs("    ", stdout);
			tk_put_safe(stdout, group->guard);
			if (group->rule)
				printf(", rule %u (%s)", group->rule->source, text);
			else
				printf(", %s", group->why);
			printf(": %" PRIu64 "\n        ", group->count);
			tk_deed_print(stdout, group->example);
			putchar('\n');
		}
	}
	printf("%" PRIu64 " event%s, %" PRIu64 " unchanged\n", recording->event_count,
	       recording->event_count == 1 ? "" : "s", replay->unchanged);
	if (replay->groups_assumed)
		printf("of %" PRIu64 " the groups were not recorded: the system's were taken\n",
		       replay->groups_assumed);
	return 0;
}

static int add_example(cJSON *object, const struct tk_deed *deed)
{
	cJSON *example = cJSON_AddObjectToObject(object, "example");

	if (!example || tk_json_u64(example, "line", deed->line) < 0 ||
	    tk_json_u64(example, "uid", deed->uid) < 0 ||
	    !cJSON_AddStringToObject(example, "path", deed->path))
		return -ENOMEM;
	if (deed->action && !cJSON_AddStringToObject(example, "action", tk_action_name(deed->action)))
		return -ENOMEM;
	return !deed->exe || cJSON_AddStringToObject(example, "exe", deed->exe) ? 0 : -ENOMEM;
}

static int add_group(cJSON *list, const struct replay *replay, const struct group *group)
{
	cJSON *object = cJSON_CreateObject();
	_cleanup_free_ char *text = group->rule ? tk_rule_text(replay->compiled, group->rule) : NULL;

	if (!cJSON_AddItemToArray(list, object) ||
	    !cJSON_AddStringToObject(object, "change", changes[group->change].name) ||
	    !cJSON_AddStringToObject(object, "guard_point", group->guard) ||
	    !(group->rule ? cJSON_AddNumberToObject(object, "rule", group->rule->source)
			  : cJSON_AddNullToObject(object, "rule")) ||
	    (group->rule && !text) || !cJSON_AddStringToObject(object, "why", text ?: group->why))
		return -ENOMEM;
	return tk_json_u64(object, "count", group->count) < 0 ? -ENOMEM : add_example(object, group->example);
}

static int print_json(const struct replay *replay, const struct tk_recording *recording)
{
	_cleanup_json_ cJSON *object = cJSON_CreateObject();
	cJSON *list;

	if (!object || tk_json_u64(object, "events", recording->event_count) < 0 ||
	    tk_json_u64(object, "unchanged", replay->unchanged) < 0 ||
	    tk_json_u64(object, "malformed", recording->malformed) < 0 ||
	    tk_json_u64(object, "groups_assumed", replay->groups_assumed) < 0)
		return -ENOMEM;
	list = cJSON_AddArrayToObject(object, "changes");
	for (size_t i = 0; list && i < replay->group_count; i++) {
		if (add_group(list, replay, &replay->groups[i]) < 0)
			return -ENOMEM;
	}
	return list ? tk_json_print(object) : -ENOMEM;
}

/* ---------------------------------------------------------------- the verb */

static int ask_all(struct replay *replay, const struct tk_recording *recording, const char *policy, bool json)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < recording->deed_count; i++)
		r = ask(replay, recording->deeds[i]);
	if (r < 0)
		return tk_fail_err("ask", policy, r);
	r = json ? print_json(replay, recording) : print_text(replay, recording);
	if (r < 0)
		return tk_fail_err("write", "the report", r);
	if (recording->malformed || replay->totals[UNDECIDED])
		return TK_EXIT_FAILED; /* the answer is incomplete, whatever it is */
	return replay->totals[LOST] || replay->totals[LOST_KEY] ? TK_EXIT_DENIED : TK_EXIT_DONE;
}

static int replay_file(const char *policy, const char *file, bool json)
{
	_cleanup_fclose_ FILE *stream =
		strcmp(file, "-") ? fopen(file, "re") : fdopen(dup(STDIN_FILENO), "r");
	struct tk_compiled *compiled = NULL;
	struct tk_resolved *resolved = NULL;
	struct tk_recording recording = {0};
	struct replay replay = {0};
	int r, code;

	if (!stream)
		return tk_fail_err("read", file, -errno);
	code = tk_policy_open(policy, &compiled, &resolved);
	if (code != TK_EXIT_DONE)
		return code;
	replay.compiled = compiled;
	replay.resolved = resolved;
	recording.policy = compiled;
	r = tk_recording_read(&recording, stream, file);
	code = r < 0 ? tk_fail_err("read", file, r) : ask_all(&replay, &recording, policy, json);
	free(replay.groups);
	tk_recording_free(&recording);
	tk_resolved_free(resolved);
	tk_compiled_free(compiled);
	return code;
}

int cmd_replay(int argc, char **argv)
{
	bool json = false;
	const struct tk_option options[] = {{"json", .flag = &json}, {}};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (argc - optind != 2)
		return tk_usage(verb, "expected a POLICY and a file of EVENTS");
	return replay_file(argv[optind], argv[optind + 1], json);
}
