// SPDX-License-Identifier: GPL-2.0
/*
 * tests/differential/differential.c - random policies and questions, answered by
 * the interpreter and by every judge; any difference fails.
 *
 * usage: differential [--seed N] [--cases N] [--policies N] [--judge NAME] [--mutate KIND]
 *
 * --mutate spoils what the judge is given, or its answer, in one way, and turns the
 * outcome round: it succeeds when the difference is noticed.  A test that cannot
 * fail shows nothing.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/policy/internal.h"
#include "tests/differential/generate.h"
#include "tests/differential/judge.h"
#include "tests/differential/mutate.h"
#include "tests/differential/world.h"

static const struct judge *const judges[] = {&judge_user, &judge_kernel};
#define JUDGES (sizeof(judges) / sizeof(judges[0]))
#define SHOWN 5 /* differences that are printed */

struct run {
	const struct judge *judge;
	const struct mutation *mutation; /* NULL: none */
	char root[64];
	struct tk_inode exes[16];
	size_t asked, guarded, permitted, by_rule, differences;
};

/* One policy in all its forms. */
struct subject {
	char *text;
	cJSON *json;
	struct tk_compiled *compiled;
	struct tk_resolved *resolved;
};

/* ---------------------------------------------------------------- one policy */

static void subject_free(struct subject *subject)
{
	free(subject->text);
	cJSON_Delete(subject->json);
	tk_compiled_free(subject->compiled);
	tk_resolved_free(subject->resolved);
}

static int subject_make(struct run *run, struct dice *dice, struct subject *subject)
{
	char flat[128], deep[128];
	const char *flats[] = {flat, NULL}, *deeps[] = {deep, NULL};
	struct tk_search search = {flats, deeps, run->root, getuid()};
	struct tk_problems problems = {0};
	int r;

	snprintf(flat, sizeof(flat), "%s" WORLD_FLAT, run->root);
	snprintf(deep, sizeof(deep), "%s" WORLD_DEEP, run->root);
	subject->text = generate_policy(dice, run->root);
	subject->json = subject->text ? cJSON_Parse(subject->text) : NULL;
	if (!subject->json)
		return -ENOMEM;
	r = tk_policy_compile(subject->text, strlen(subject->text), &subject->compiled, &problems);
	if (r < 0 && problems.errors)
		fprintf(stderr, "the policy is refused: %s: %s\n%s", problems.items[0].pointer,
			problems.items[0].message, subject->text);
	if (!r)
		r = tk_resolve_in(subject->compiled, &search, &subject->resolved, &problems);
	tk_problems_free(&problems);
	return r;
}

/* ---------------------------------------------------------------- questions */

static void sets_drop(__u64 *from, const __u64 *lost)
{
	for (int i = 0; i < TK_SET_WORDS; i++)
		from[i] &= ~lost[i];
}

static void sets_join(__u64 *into, const __u64 *sets)
{
	for (int i = 0; i < TK_SET_WORDS; i++)
		into[i] |= sets[i];
}

static void member_join(__u64 *into, const struct tk_process *process, bool written)
{
	sets_join(into, process->sets);
	if (!written)
		sets_join(into, process->digest_sets);
}

static void members_join(__u64 *into, const struct tk_member_id *members, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++) {
		if (members[i].id == id)
			sets_join(into, members[i].sets.sets);
	}
}

/* What the hooks gather from the maps. */
static struct judge_case gather(const struct run *run, const struct subject *subject,
				const struct question *question)
{
	const struct tk_resolved *resolved = subject->resolved;
	struct judge_case asked = {.request.action = tk_action_parse(question->action)};
	int64_t next;

	tk_times_at(subject->compiled, world_instants[question->when], &asked.times.holding, &next);
	asked.times.until = UINT64_MAX;
	members_join(asked.request.users, resolved->users, resolved->user_count, question->uid);
	for (size_t i = 0; i < question->gid_count; i++)
		members_join(asked.request.users, resolved->groups, resolved->group_count, question->gids[i]);
	if (question->login_uid != question->uid)
		sets_drop(asked.request.users, subject->compiled->login_sets.sets);
	for (size_t i = 0; i < resolved->process_count; i++) {
		const struct tk_member_process *member = &resolved->processes[i];
		const char *unit = world_units[question->unit];

		if (member->unit != UINT32_MAX && (!unit || strcmp(subject->compiled->units[member->unit], unit)))
			continue;
		if (!memcmp(&member->exe, &run->exes[question->exe], sizeof(struct tk_inode)) ||
		    !strcmp(member->process.path, TK_ANY_EXE))
			member_join(asked.request.processes, &member->process, question->written);
	}
	if (question->foreign_code || world_exes[question->exe].foreign)
		sets_drop(asked.request.processes, subject->compiled->integrity_sets.sets);
	return asked;
}

static uint32_t verdict_of(const struct opinion *opinion)
{
	uint32_t effects = (opinion->permit ? TK_PERMIT : 0) | (opinion->apply_key ? TK_APPLY_KEY : 0) |
			   (opinion->audit ? TK_AUDIT : 0);

	return opinion->rule < 0 ? TK_VERDICT(effects, TK_NO_RULE, TK_NO_RULE_INDEX)
				 : TK_VERDICT(effects, TK_BY_RULE, opinion->rule);
}

static void differ(struct run *run, const struct subject *subject, const struct question *question,
		   const char *what, unsigned int expected, unsigned int found)
{
	if (run->differences++ >= SHOWN || run->mutation)
		return;
	fprintf(stderr, "DIFFERENCE: %s: interpreter %#x, %s %#x\n  uid %u, login uid %d, gids", what, expected,
		run->judge->name, found, question->uid, (int)question->login_uid);
	for (size_t i = 0; i < question->gid_count; i++)
		fprintf(stderr, " %u", question->gids[i]);
	fprintf(stderr, ", %s%s%s, %s %s at %lld\n%s\n", world_exes[question->exe].path,
		question->foreign_code ? " with foreign code" : "", question->written ? ", written to" : "", question->action, question->path,
		(long long)world_instants[question->when],
		subject->text);
}

/* The place: true when both agree that it is guarded, and how. */
static bool place_agrees(struct run *run, const struct subject *subject, const struct question *question,
			 const struct opinion *opinion, const char **ret_below, uint32_t *ret_policy)
{
	const struct tk_guard_spec *guard;
	size_t index = 0;
	bool guarded = !tk_guard_of_path(subject->compiled, question->path, &index, ret_below);

	if (guarded != opinion->guarded || (guarded && index != opinion->guard)) {
		differ(run, subject, question, "guard point",
		       opinion->guarded ? (unsigned int)opinion->guard : ~0u,
		       guarded ? (unsigned int)index : ~0u);
		return false;
	}
	if (!guarded)
		return false;
	guard = &subject->compiled->guards[index];
	if (strcmp(*ret_below, opinion->below) || strcmp(tk_mode_name(guard->mode), opinion->mode) ||
	    strcmp(subject->compiled->policies[guard->policy].name, opinion->policy)) {
		differ(run, subject, question, "the guard point's policy or mode", 0, 0);
		return false;
	}
	*ret_policy = guard->policy;
	return true;
}

static int judge_many(const struct judge *judge, const struct judge_case *asked, const char *const *paths,
		      const uint32_t *policies, size_t n, uint32_t *ret_verdicts)
{
	int r = 0;

	if (judge->decide_many)
		return judge->decide_many(judge->ctx, asked, paths, policies, n, ret_verdicts);
	for (size_t i = 0; i < n && !r; i++)
		r = judge->decide(judge->ctx, &asked[i], paths[i], policies[i], &ret_verdicts[i]);
	return r;
}

/* `count` questions, at most JUDGE_BATCH, about one policy. */
static int ask(struct run *run, struct dice *dice, const struct subject *subject, size_t count)
{
	static struct question questions[JUDGE_BATCH];
	static struct opinion opinions[JUDGE_BATCH];
	static struct judge_case asked[JUDGE_BATCH];
	static const char *paths[JUDGE_BATCH];
	static uint32_t policies[JUDGE_BATCH], verdicts[JUDGE_BATCH];
	size_t n = 0;
	int r;

	for (size_t i = 0; i < count; i++) {
		generate_question(dice, &questions[n]);
		interpret(subject->json, run->root, &questions[n], &opinions[n]);
		run->asked++;
		if (!place_agrees(run, subject, &questions[n], &opinions[n], &paths[n], &policies[n]))
			continue;
		asked[n] = gather(run, subject, &questions[n]);
		if (run->mutation && run->mutation->request)
			run->mutation->request(&asked[n]);
		n++;
	}
	r = judge_many(run->judge, asked, paths, policies, n, verdicts);
	if (r < 0)
		return r;
	if (run->mutation && run->mutation->verdict && n)
		run->mutation->verdict(&verdicts[n / 2]);
	for (size_t i = 0; i < n; i++) {
		if (verdicts[i] != verdict_of(&opinions[i]))
			differ(run, subject, &questions[i], "verdict", verdict_of(&opinions[i]), verdicts[i]);
		run->permitted += opinions[i].permit;
		run->by_rule += opinions[i].rule >= 0;
	}
	run->guarded += n;
	return 0;
}

/* ---------------------------------------------------------------- all */

static int run_policy(struct run *run, struct dice *dice, size_t cases)
{
	struct subject subject = {0};
	int r = subject_make(run, dice, &subject);

	if (!r && run->mutation && run->mutation->compiled)
		run->mutation->compiled(subject.compiled);
	if (!r)
		r = run->judge->load(run->judge->ctx, subject.compiled);
	while (!r && cases) {
		size_t batch = cases < JUDGE_BATCH ? cases : JUDGE_BATCH;

		r = ask(run, dice, &subject, batch);
		cases -= batch;
	}
	subject_free(&subject);
	return r;
}

static int run_all(struct run *run, uint64_t seed, size_t cases, size_t policies)
{
	int r = world_create(run->root);

	for (size_t i = 0; !r && i < world_exe_count; i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s%s", run->root, world_exes[i].path);
		r = tk_inode_of_path(path, &run->exes[i]);
	}
	for (size_t i = 0; !r && i < policies; i++) {
		/* A seed of its own for each policy: a difference can be had again without those before it.
		 */
		struct dice dice = {seed + i};

		r = run_policy(run, &dice, cases / policies + (i < cases % policies));
		if (run->differences && !run->mutation) {
			fprintf(stderr, "again: differential --seed %llu --policies 1 --cases %zu\n",
				(unsigned long long)(seed + i), cases / policies + 1);
			break;
		}
		/* A judge may be slow; one difference is enough. */
		if (run->differences)
			break;
	}
	world_remove(run->root);
	return r;
}

static int outcome(const struct run *run, int r)
{
	if (r < 0) {
		fprintf(stderr, "differential: %s\n", strerror(-r));
		return 1;
	}
	printf("%s judge %s%s%s: %zu questions, %zu guarded, %zu by a rule, %zu permitted, %zu differences\n",
	       (run->differences > 0) == !!run->mutation ? "ok" : "not ok", run->judge->name, run->mutation ? ", spoiled: " : "", run->mutation ? run->mutation->name : "",
	       run->asked, run->guarded, run->by_rule, run->permitted, run->differences);
	if (run->mutation)
		return !run->differences;
	return run->differences > 0;
}

static const struct judge *judge_find(const char *name)
{
	for (size_t i = 0; i < JUDGES; i++) {
		if (!strcmp(judges[i]->name, name))
			return judges[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},	    {"cases", required_argument, NULL, 'c'},
		{"policies", required_argument, NULL, 'p'}, {"judge", required_argument, NULL, 'j'},
		{"mutate", required_argument, NULL, 'm'},   {0},
	};
	size_t cases = 100000, policies = 0;
	struct run run = {.judge = judges[0]};
	uint64_t seed = 1;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'c')
			cases = strtoull(optarg, NULL, 0);
		else if (c == 'p')
			policies = strtoull(optarg, NULL, 0);
		else if (c == 'j')
			run.judge = judge_find(optarg);
		else if (c == 'm')
			run.mutation = mutation_find(optarg);
		if (c == '?' || (c == 'm' && !run.mutation) || !run.judge)
			return 2;
	}
	if (optind != argc || !cases)
		return 2;
	if (!policies)
		policies = cases / 200 + 1;
	return outcome(&run, run_all(&run, seed, cases, policies));
}
