// SPDX-License-Identifier: GPL-2.0
/*
 * loader/cmd_learn.c - `learn`: from what was recorded in mode learn to the policy
 * that permits it, and no more than that.
 */
#include "loader/agent/agent.h"
#include "loader/agent/client.h"
#include "loader/cmd.h"
#include "loader/study/learn.h"
#include "loader/problems.h"
#include "loader/options.h"
#include "loader/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

static const char verb[] = "learn";

static const char help[] =
	"NAME\n"
	"    takakrypt-bpf learn - write the policy that permits what was recorded\n"
	"\n"
	"SYNOPSIS\n"
	"    takakrypt-bpf learn [--guard NAME] [--from EVENTS] [--policy FILE]\n"
	"        [--generalise none|sets|wide] [-o FILE]\n"
	"\n"
	"DESCRIPTION\n"
	"    A guard point in mode learn permits everything, encrypts its files, and records\n"
	"    each access. When the applications have done all they do, `learn` writes the\n"
	"    policy that permits what was recorded: who, in which program, did what to which\n"
	"    files, put together into user sets, process sets and resource sets. Each learnt\n"
	"    rule has a \"comment\" with the number of observations. Read it before you load it:\n"
	"    what an intruder did meanwhile has been learnt as well.\n"
	"\n"
	"    Keys, guard points and everything else are taken from the policy in force; the\n"
	"    learnt guard points get rules of their own and the mode enforce. Policies and\n"
	"    sets that nothing uses any more are left out.\n"
	"\n"
	"    The agent keeps the last 1000 events. A busy application needs a recording:\n"
	"    `takakrypt-bpf events --json --follow > EVENTS`, and --from. What was lost, and\n"
	"    events that lack the path or the program, are told as warnings on stderr: the\n"
	"    result then permits less than was done.\n"
	"\n"
	"OPTIONS\n"
	"    --guard NAME       this guard point alone, whatever its mode; otherwise all in mode\n"
	"                       learn\n"
	"    --from EVENTS      lines of `takakrypt-bpf events --json`, - for standard input;\n"
	"                       otherwise what the running agent keeps\n"
	"    --policy FILE      the policy to begin with; otherwise the one in force,\n"
	"                       /run/takakrypt/policy.json\n"
	"    --generalise HOW   none: exactly the files that were seen; sets (the default): for a\n"
	"                       file all in its directory with its suffix, for one without a\n"
	"                       suffix all in its directory; wide: the whole guard point\n"
	"    -o, --output FILE  write there, not to standard output; never overwrites\n"
	"    -h, --help         this text\n"
	"\n" TK_HELP_EXIT_CODES "\n"
	"EXAMPLE\n"
	"    takakrypt-bpf events --json --follow --last 1000 > events.jsonl   # while it works\n"
	"    takakrypt-bpf learn --from events.jsonl -o new.json\n"
	"    takakrypt-bpf replay new.json events.jsonl && takakrypt-bpf reload new.json\n";


struct options {
	const char *guard, *from, *policy, *output, *how;
	enum tk_generalise generalise;
};

struct learn {
	const struct options *options;
	struct tk_compiled *compiled;
	struct tk_resolved *resolved;
	struct tk_recording recording;
	struct tk_lesson *lessons; /* one for each guard point; of those not chosen nothing is learnt */
	bool *chosen;
	uint64_t unfit;	       /* events that lack something */
	const char *unfit_why; /* the last one's */
};

static void warn(const char *format, uint64_t count, const char *rest)
{
	fputs("takakrypt-bpf: learn: warning: ", stderr);
	fprintf(stderr, format, count, rest);
	putc('\n', stderr);
}

/* ---------------------------------------------------------------- where events come from */

static uint64_t number(const cJSON *json, const char *object, const char *name)
{
	const cJSON *item =
		cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, object), name);

	return cJSON_IsNumber(item) && item->valuedouble > 0 ? (uint64_t)item->valuedouble : 0;
}

static int read_agent(struct tk_recording *recording)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject();
	_cleanup_fclose_ FILE *stream = NULL;
	int r = tk_client_connect(NULL, &stream);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return tk_fail("learn from", "the agent", "none runs", "name a recording with --from");
	if (r == 0 && !(cJSON_AddStringToObject(request, "verb", "events") &&
			cJSON_AddNumberToObject(request, "last", TK_LINES)))
		r = -ENOMEM;
	if (r == 0)
		r = tk_client_send(stream, request);
	if (r == 0)
		r = tk_recording_read(recording, stream, "the agent's events");
	return r < 0 ? tk_fail_err("learn from", "the agent", r) : TK_EXIT_DONE;
}

static int read_file(struct tk_recording *recording, const char *name)
{
	_cleanup_fclose_ FILE *stream =
		strcmp(name, "-") ? fopen(name, "re") : fdopen(dup(STDIN_FILENO), "r");
	int r = stream ? tk_recording_read(recording, stream, name) : -errno;

	return r < 0 ? tk_fail_err("read", name, r) : TK_EXIT_DONE;
}

/* What the running agent knows to be missing.  Of a policy from elsewhere it knows nothing. */
static void warn_of_losses(const struct options *options)
{
	_cleanup_json_ cJSON *request = cJSON_CreateObject(), *answer = NULL;
	uint64_t dropped, recorded, kept;

	if (options->policy || !cJSON_AddStringToObject(request, "verb", "status") ||
	    tk_client_ask(NULL, request, &answer))
		return;
	dropped = number(answer, "counters", "events_dropped");
	recorded = number(answer, "events", "recorded");
	kept = number(answer, "events", "kept");
	if (dropped)
		warn("%" PRIu64 " events were lost since the policy was loaded, the kernel's ring was full%s",
		     dropped, ": what they tell is not learnt; do it again, slower");
	if (!options->from && recorded > kept)
		warn("the agent no longer keeps %" PRIu64 " earlier events%s", recorded - kept,
		     ": record with `events --json --follow`, and use --from");
}

/* ---------------------------------------------------------------- learning */

/* The recorded path; or the one that the policy found for the inode, unless it may be cut. */
static const char *exe_of(const struct learn *learn, const struct tk_deed *deed)
{
	if (deed->exe)
		return deed->exe;
	for (size_t i = 0; i < learn->resolved->process_count; i++) {
		const struct tk_member_process *member = &learn->resolved->processes[i];

		if (!memcmp(&member->exe, &deed->exe_inode, sizeof(member->exe)) &&
		    strlen(member->process.path) < TK_EXE_MAX - 1)
			return member->process.path;
	}
	return NULL;
}

static int learn_deed(struct learn *learn, const struct tk_deed *deed)
{
	const char *why = tk_deed_unfit(deed), *exe = exe_of(learn, deed);
	struct tk_recorded recorded = tk_deed_recorded(deed);
	struct tk_answer answer = {0};
	int r = 0;

	/* What was refused was not done; and no rule permits what another reason refuses. */
	if (!deed->permitted || !tk_deed_by_rules(deed))
		return 0;
	if (!why && !exe)
		why = "the program was not recorded";
	if (why) {
		learn->unfit += deed->count;
		learn->unfit_why = why;
		return 0;
	}
	r = tk_explain_recorded(learn->compiled, learn->resolved, &recorded, &answer);
	if (r == 0 && answer.guarded && learn->chosen[answer.guard])
		r = tk_lesson_add(&learn->lessons[answer.guard], deed, exe, answer.below);
	tk_answer_free(&answer);
	return r;
}

static int choose(struct learn *learn)
{
	const struct options *options = learn->options;
	const struct tk_compiled *compiled = learn->compiled;
	size_t count = 0;

	learn->lessons = calloc(compiled->guard_count + 1, sizeof(*learn->lessons));
	learn->chosen = calloc(compiled->guard_count + 1, sizeof(*learn->chosen));
	if (!learn->lessons || !learn->chosen)
		return tk_fail_err("learn", options->policy ?: TK_POLICY_FILE, -ENOMEM);
	for (size_t i = 0; i < compiled->guard_count; i++) {
		const struct tk_guard_spec *guard = &compiled->guards[i];

		learn->chosen[i] =
			options->guard ? !strcmp(options->guard, guard->name) : guard->mode == TK_LEARN;
		learn->lessons[i].generalise = options->generalise;
		learn->lessons[i].key = compiled->encryption[guard->policy].key != UINT32_MAX;
		count += learn->chosen[i];
	}
	if (count)
		return TK_EXIT_DONE;
	if (options->guard)
		return tk_fail("learn", options->guard, "the policy has no guard point of that name", NULL);
	return tk_fail("learn", options->policy ?: TK_POLICY_FILE, "no guard point is in mode learn",
		       "name one with --guard");
}

static int learn_all(struct learn *learn)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < learn->recording.deed_count; i++)
		r = learn_deed(learn, learn->recording.deeds[i]);
	if (r == -E2BIG)
		return tk_fail("learn from", "the events",
			       "more than 4096 users, programs or files were seen",
			       "--generalise sets or wide");
	if (r < 0)
		return tk_fail_err("learn from", "the events", r);
	if (learn->unfit)
		warn("%" PRIu64 " events are not learnt: %s", learn->unfit, learn->unfit_why);
	for (size_t i = 0; i < learn->compiled->guard_count; i++) {
		if (learn->chosen[i] && !learn->lessons[i].event_count)
			warn("%" PRIu64 " events were seen of %s: nothing will be permitted there",
			     (uint64_t)0, learn->compiled->guards[i].name);
	}
	return TK_EXIT_DONE;
}

/* ---------------------------------------------------------------- the result */

/* It must load: a limit may have been passed. */
static int check_result(const char *text)
{
	struct tk_compiled *compiled = NULL;
	struct tk_problems problems = {0};
	int r = tk_policy_compile(text, strlen(text), &compiled, &problems);

	if (r < 0)
		tk_problems_print(stderr, "the learnt policy", &problems);
	tk_problems_free(&problems);
	tk_compiled_free(compiled);
	return r < 0 ? tk_fail("learn", "the policy", "what was seen does not fit into one",
			       "--generalise sets or wide, or one --guard at a time")
		     : TK_EXIT_DONE;
}

static int write_result(const char *text, const char *output)
{
	_cleanup_close_ int fd = -1;
	_cleanup_fclose_ FILE *file = NULL;

	if (!output)
		return puts(text) < 0 ? tk_fail_err("write", "standard output", -errno) : TK_EXIT_DONE;
	fd = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return tk_fail("write", output, "it exists already", "remove it, or choose another name");
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		return tk_fail_err("write", output, -errno);
	fd = -1; /* the stream's now */
	if (fprintf(file, "%s\n", text) < 0 || fflush(file) || fsync(fileno(file)))
		return tk_fail_err("write", output, -errno);
	return TK_EXIT_DONE;
}

static int write_policy(struct learn *learn, const char *base)
{
	_cleanup_free_ char *text = NULL, *result = NULL;
	_cleanup_json_ cJSON *tree = NULL;
	cJSON *guard;
	size_t len, index = 0;
	int r = tk_text_read(base, &text, &len);

	if (r < 0)
		return tk_fail_err("read", base, r);
	tree = cJSON_ParseWithLength(text, len);
	cJSON_ArrayForEach (guard, cJSON_GetObjectItemCaseSensitive(tree, "guard_points")) {
		if (r == 0 && index < learn->compiled->guard_count && learn->chosen[index])
			r = tk_lesson_write(&learn->lessons[index], tree, guard);
		index++;
	}
	/* Compiled a moment ago: if it has fewer or more, it is another one by now. */
	if (index != learn->compiled->guard_count)
		return tk_fail("read", base, "it has changed meanwhile", "try again");
	tk_lesson_prune(tree);
	result = r < 0 ? NULL : cJSON_Print(tree);
	if (!result)
		return tk_fail_err("learn", base, -ENOMEM);
	r = check_result(result);
	return r == TK_EXIT_DONE ? write_result(result, learn->options->output) : r;
}

static int learn_policy(const struct options *options)
{
	const char *base = options->policy ?: TK_POLICY_FILE;
	struct learn learn = {.options = options};
	int code = tk_policy_open(base, &learn.compiled, &learn.resolved);

	if (code == TK_EXIT_DONE)
		code = choose(&learn);
	if (code == TK_EXIT_DONE)
		code = options->from ? read_file(&learn.recording, options->from)
				     : read_agent(&learn.recording);
	if (code == TK_EXIT_DONE) {
		warn_of_losses(options);
		code = learn_all(&learn);
	}
	if (code == TK_EXIT_DONE)
		code = write_policy(&learn, base);
	if (code == TK_EXIT_DONE && learn.recording.malformed)
		code = TK_EXIT_FAILED; /* each was told */
	for (size_t i = 0; learn.lessons && i < learn.compiled->guard_count; i++)
		tk_lesson_free(&learn.lessons[i]);
	free(learn.lessons);
	free(learn.chosen);
	tk_recording_free(&learn.recording);
	tk_resolved_free(learn.resolved);
	tk_compiled_free(learn.compiled);
	return code;
}

/* ---------------------------------------------------------------- the verb */

static const char *set_generalise(const char *text, void *into)
{
	static const char *const words[] = {"none", "sets", "wide"};

	for (size_t i = 0; i < 3; i++)
		if (!strcmp(words[i], text)) {
			*(enum tk_generalise *)into = (enum tk_generalise)i;
			return NULL;
		}
	return "is not none, sets or wide";
}

int cmd_learn(int argc, char **argv)
{
	struct options chosen = {.generalise = TK_LEARN_SETS};
	const struct tk_option options[] = {
		{"guard", .text = &chosen.guard},
		{"from", .text = &chosen.from},
		{"policy", .text = &chosen.policy},
		{"output", 'o', .text = &chosen.output},
		{"generalise", .parse = set_generalise, .into = &chosen.generalise},
		{},
	};
	int code = tk_options(verb, help, options, argc, argv);

	if (code != TK_GO_ON)
		return code;
	if (optind < argc)
		return tk_usage(verb, "unexpected argument: %s", argv[optind]);
	return learn_policy(&chosen);
}
