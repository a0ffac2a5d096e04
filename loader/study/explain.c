// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/explain.c - looks up on this machine what a question names, and lets
 * bpf/decide.h, the code of the kernel programs, decide.
 */
#include "loader/study/explain_internal.h"
#include "loader/util.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* The policy that decide.h reads; one question at a time. */
static const struct tk_compiled *in_force;

static const struct tk_rule *tk_rule_at(__u32 slot, __u32 index)
{
	return index < in_force->rule_count ? &in_force->rules[index] : NULL;
}

static const struct tk_state *tk_state_at(__u32 slot, __u32 state)
{
	return state < in_force->state_count ? &in_force->states[state] : NULL;
}

#include "bpf/decide.h"

void tk_answer_free(struct tk_answer *answer)
{
	free(answer->exe);
	free(answer->path);
	free(answer->misses);
	*answer = (struct tk_answer){0};
}

static void sets_join(uint64_t *into, const __u64 *sets)
{
	for (int i = 0; i < TK_SET_WORDS; i++)
		into[i] |= sets[i];
}

static void sets_drop(uint64_t *from, const __u64 *sets)
{
	for (int i = 0; i < TK_SET_WORDS; i++)
		from[i] &= ~sets[i];
}

static void member_join(uint64_t *into, const struct tk_member_id *members, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++) {
		if (members[i].id == id)
			sets_join(into, members[i].sets.sets);
	}
}

/* ---------------------------------------------------------------- who */

static void join_user(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
		      const gid_t *gids, size_t count, struct tk_answer *answer)
{
	answer->gid_count = count;
	member_join(answer->users, resolved->users, resolved->user_count, answer->uid);
	for (size_t i = 0; i < count; i++)
		member_join(answer->users, resolved->groups, resolved->group_count, gids[i]);
	if (!answer->same_login)
		sets_drop(answer->users, compiled->login_sets.sets);
}

/* True when the login uid is uid. */
static int explain_login(const char *login, uint32_t uid, bool *ret_same)
{
	const struct passwd *unused;
	uint32_t login_uid = uid;

	if (login && !strcmp(login, "none"))
		login_uid = (uint32_t)-1;
	else if (login && tk_find_user(login, &login_uid, &unused) < 0)
		return -EINVAL;
	*ret_same = login_uid == uid;
	return 0;
}

static int explain_user(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			const struct tk_question *question, struct tk_answer *answer, const char **ret_on,
			const char **ret_why)
{
	_cleanup_free_ gid_t *gids = NULL;
	const struct passwd *user;
	size_t count = 0;
	int r;

	*ret_on = question->user;
	*ret_why = "no such user on this machine (a uid is taken as it is)";
	r = tk_find_user(question->user, &answer->uid, &user);
	if (r < 0)
		return -EINVAL;
	if (question->login)
		*ret_on = question->login;
	r = explain_login(question->login, answer->uid, &answer->same_login);
	if (r < 0)
		return r;
	if (question->groups) {
		*ret_on = question->groups;
		*ret_why = "no such group on this machine (a gid is taken as it is)";
		r = tk_groups_of_list(question->groups, &gids, &count);
	} else if (user) {
		r = tk_groups_of_user(user, &gids, &count);
	}
	if (r < 0)
		return r == -ESRCH ? -EINVAL : r;
	join_user(compiled, resolved, gids, count, answer);
	return 0;
}

/* ---------------------------------------------------------------- through which program */

static bool is_in_unit(const struct tk_compiled *compiled, const struct tk_question *question, uint32_t unit)
{
	return unit == UINT32_MAX || (question->unit && !strcmp(compiled->units[unit], question->unit));
}

static bool is_inode(const struct tk_inode *a, const struct tk_inode *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->igeneration == b->igeneration;
}

static void join_executable(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			    const struct tk_question *question, const struct tk_inode *exe,
			    struct tk_answer *answer)
{
	for (size_t i = 0; i < resolved->process_count; i++) {
		const struct tk_member_process *member = &resolved->processes[i];

		if (!is_in_unit(compiled, question, member->unit))
			continue;
		if (strcmp(member->process.path, TK_ANY_EXE) && !is_inode(&member->exe, exe))
			continue;
		sets_join(answer->processes, member->process.sets);
		sets_join(answer->processes, member->process.digest_sets);
	}
}

/* Of a program that is not there contents and owner cannot be known. */
static void join_absent(const struct tk_compiled *compiled, const struct tk_question *question,
			struct tk_answer *answer)
{
	for (size_t i = 0; i < compiled->process_count; i++) {
		const struct tk_process_spec *spec = &compiled->processes[i];

		if (!spec->name && !spec->has_sha256 && is_in_unit(compiled, question, spec->unit) &&
		    (!spec->path || tk_glob_match(spec->path, answer->exe)))
			answer->processes[spec->set / 64] |= 1ull << (spec->set % 64);
	}
}

static void join_process(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			 const struct tk_question *question, const struct tk_inode *exe,
			 struct tk_answer *answer)
{
	if (answer->exe && !answer->exe_exists)
		join_absent(compiled, question, answer);
	else
		join_executable(compiled, resolved, question, exe, answer);
	if (answer->foreign_code)
		sets_drop(answer->processes, compiled->integrity_sets.sets);
}

static bool is_foreign(const char *exe)
{
	struct statvfs fs;
	struct stat st;

	return stat(exe, &st) < 0 || st.st_uid || st.st_mode & (S_IWGRP | S_IWOTH) || statvfs(exe, &fs) < 0 ||
	       fs.f_flag & ST_NOSUID;
}

/* Is it the command, by its own will? */
static bool is_command(const struct tk_inode *exe, const struct tk_answer *answer)
{
	struct tk_inode own;

	return !answer->foreign_code && exe->ino && tk_inode_of_path("/proc/self/exe", &own) == 0 &&
	       is_inode(&own, exe);
}

/* -EINVAL: neither on this machine nor named by an absolute path, or not to be looked at. */
static int find_process(const char *exe, struct tk_answer *answer, struct tk_inode *ret_inode,
			const char **ret_why)
{
	int r;

	*ret_why = "a program that is not on this machine is named by its absolute path";
	answer->exe = realpath(exe, NULL);
	if (!answer->exe) {
		if (*exe != '/')
			return -EINVAL;
		answer->exe = strdup(exe);
		return answer->exe ? 0 : -ENOMEM;
	}
	answer->exe_exists = true;
	answer->foreign_code |= is_foreign(answer->exe);
	r = tk_inode_of_path(answer->exe, ret_inode);
	if (r == 0)
		return 0;
	*ret_why = strerror(-r);
	return -EINVAL;
}

/* ---------------------------------------------------------------- the verdict */

static size_t depth_below(const char *below)
{
	size_t depth = *below ? 1 : 0;

	for (const char *p = below; *p; p++)
		depth += *p == '/';
	return depth;
}

/* What the programs refuse before they ask a rule. */
static __u32 verdict_beforehand(const struct tk_resolved *resolved, const struct tk_answer *answer)
{
	if (depth_below(answer->below) > TK_MAX_DEPTH)
		return TK_VERDICT_UNKNOWN;
	if (resolved->group_count && answer->gid_count > TK_MAX_GROUPS)
		return TK_VERDICT(TK_AUDIT, TK_IDENTITY_UNKNOWN, TK_NO_RULE_INDEX);
	return 0;
}

uint32_t tk_verdict_of_sets(const struct tk_compiled *compiled, const struct tk_policy *policy,
			    struct tk_request *request, struct tk_set_bits *times)
{
	in_force = compiled;
	return tk_decide(request, times, policy);
}

static const struct tk_policy *policy_of(const struct tk_compiled *compiled, const struct tk_answer *answer)
{
	return &compiled->policies[compiled->guards[answer->guard].policy];
}

static struct tk_miss miss_of(const struct tk_rule *rule, const struct tk_request *request,
			      const struct tk_set_bits *times)
{
	struct tk_miss miss = {.rule = rule, .action = !(rule->actions & request->action)};

	if (!tk_dimension_matches(rule, TK_USERS, rule->users, request->users))
		miss.dimensions |= TK_USERS;
	if (!tk_dimension_matches(rule, TK_PROCESSES, rule->processes, request->processes))
		miss.dimensions |= TK_PROCESSES;
	if (!tk_dimension_matches(rule, TK_RESOURCES, rule->resources, request->resources))
		miss.dimensions |= TK_RESOURCES;
	if (!tk_dimension_matches(rule, TK_TIMES, rule->times, times->sets))
		miss.dimensions |= TK_TIMES;
	return miss;
}

/*
 * By the sets in the answer.  Whom a rule permits key_op may do anything through the command, on the bytes as
 * stored (tk_key_op() in bpf/judge.bpf.h).
 */
static __u32 verdict_of(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			const struct tk_question *question, struct tk_answer *answer,
			struct tk_request *ret_request, struct tk_set_bits *ret_holding)
{
	const struct tk_policy *policy = policy_of(compiled, answer);
	struct tk_request request = {.action = TK_KEY_OP};
	__u32 verdict = verdict_beforehand(resolved, answer);

	tk_resource_sets(compiled, answer->below, answer->resources);
	memcpy(request.users, answer->users, sizeof(request.users));
	memcpy(request.processes, answer->processes, sizeof(request.processes));
	memcpy(request.resources, answer->resources, sizeof(request.resources));
	tk_times_of(compiled, &question->at, ret_holding);
	memcpy(answer->times, ret_holding->sets, sizeof(answer->times));
	if (!verdict && answer->command) {
		verdict = tk_verdict_of_sets(compiled, policy, &request, ret_holding);
		answer->by_key_op = TK_VERDICT_EFFECTS(verdict) & TK_PERMIT;
		verdict = answer->by_key_op ? verdict & ~(__u32)TK_APPLY_KEY : 0;
	}
	if (!verdict) {
		request.action = question->action;
		verdict = tk_verdict_of_sets(compiled, policy, &request, ret_holding);
	}
	*ret_request = request;
	return verdict;
}

static int explain_verdict(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			   const struct tk_question *question, struct tk_answer *answer)
{
	const struct tk_policy *policy = policy_of(compiled, answer);
	struct tk_request request;
	struct tk_set_bits holding;
	__u32 verdict = verdict_of(compiled, resolved, question, answer, &request, &holding);

	answer->effects = TK_VERDICT_EFFECTS(verdict);
	answer->reason = TK_VERDICT_REASON(verdict);
	if (answer->reason != TK_BY_RULE && answer->reason != TK_NO_RULE)
		return 0;
	answer->misses = calloc(policy->rule_count + 1, sizeof(*answer->misses));
	if (!answer->misses)
		return -ENOMEM;
	for (uint32_t i = 0; i < policy->rule_count; i++) {
		const struct tk_rule *rule = &compiled->rules[policy->first_rule + i];

		if (tk_rule_matches(rule, &request, &holding)) {
			answer->decided_by = rule;
			break;
		}
		answer->misses[answer->miss_count++] = miss_of(rule, &request, &holding);
	}
	return 0;
}

int tk_explain(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
	       const struct tk_question *question, struct tk_answer *answer, const char **ret_on,
	       const char **ret_why)
{
	struct tk_inode exe = {0};
	int r = explain_user(compiled, resolved, question, answer, ret_on, ret_why);

	if (r == 0) {
		*ret_on = question->exe;
		r = find_process(question->exe, answer, &exe, ret_why);
	}
	if (r < 0)
		return r;
	answer->foreign_code |= question->foreign_code;
	answer->command = is_command(&exe, answer);
	join_process(compiled, resolved, question, &exe, answer);
	*ret_on = question->path;
	*ret_why = "\".\" or \"..\" behind a directory that does not exist";
	r = tk_canonical(question->path, &answer->path);
	if (r < 0)
		return r;
	tk_explain_place(compiled, answer);
	return answer->guarded ? explain_verdict(compiled, resolved, question, answer) : 0;
}

/* ---------------------------------------------------------------- what was recorded */

/* The sets of the subject as they would be after this log-in, in this unit. */
static void join_subject(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			 const struct tk_question *question, const struct tk_recorded *recorded,
			 const struct tk_inode *exe, struct tk_answer *answer)
{
	memset(answer->users, 0, sizeof(answer->users));
	memset(answer->processes, 0, sizeof(answer->processes));
	join_user(compiled, resolved, recorded->gids, recorded->gid_count, answer);
	join_process(compiled, resolved, question, exe, answer);
}

static bool asks_for_times(const struct tk_compiled *compiled, const struct tk_policy *policy)
{
	bool asks = false;

	for (uint32_t i = 0; i < policy->rule_count; i++)
		asks = asks || compiled->rules[policy->first_rule + i].named & TK_TIMES;
	return asks;
}

/*
 * What was not recorded is tried in every way it can have been.  Where that gives one verdict it is the
 * verdict; otherwise answer->lacks says what it hangs on.
 */
static int explain_all_ways(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			    struct tk_question *question, const struct tk_recorded *recorded,
			    const struct tk_inode *exe, struct tk_answer *answer)
{
	bool any_unit = recorded->unit == TK_UNIT_UNKNOWN, any_login = recorded->login == TK_LOGIN_UNKNOWN;
	uint8_t first = 0, view = TK_PERMIT;
	bool asked = false;

	if (recorded->action & (TK_DATA_READ | TK_DATA_WRITE | TK_EXECUTE)) /* contents alone have a view */
		view |= TK_APPLY_KEY;
	if (!recorded->timed && asks_for_times(compiled, policy_of(compiled, answer)))
		answer->lacks = "the time was not recorded";
	for (uint32_t unit = 0; unit <= compiled->unit_count; unit++) {
		bool none = unit == compiled->unit_count;

		if (!any_unit && (none ? TK_UNIT_NONE : unit) != recorded->unit)
			continue;
		question->unit = none ? NULL : compiled->units[unit];
		for (int same = 0; same <= 1; same++) {
			struct tk_request request;
			struct tk_set_bits holding;
			uint8_t effects;

			if (!any_login && same != (recorded->login == TK_LOGIN_SAME))
				continue;
			answer->same_login = same;
			join_subject(compiled, resolved, question, recorded, exe, answer);
			effects = view & TK_VERDICT_EFFECTS(verdict_of(compiled, resolved, question, answer,
								       &request, &holding));
			if (asked && effects != first)
				answer->lacks = !any_unit    ? "the log-in was not recorded"
						: !any_login ? "the unit was not recorded"
							     : "log-in and unit were not recorded";
			first = effects;
			asked = true;
		}
	}
	return explain_verdict(compiled, resolved, question, answer);
}

int tk_explain_recorded(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			const struct tk_recorded *recorded, struct tk_answer *answer)
{
	struct tk_question question = {
		.exe = recorded->exe, .action = recorded->action, .at.when = recorded->when};
	struct tk_recorded known = *recorded;
	struct tk_inode exe = recorded->exe_inode;
	_cleanup_free_ gid_t *gids = NULL;
	const char *why;
	int r = 0;

	answer->uid = recorded->uid;
	answer->foreign_code = recorded->foreign_code;
	if (!known.gids) {
		r = tk_groups_of_uid(recorded->uid, recorded->gid, &gids, &known.gid_count);
		known.gids = gids;
	}
	if (r == 0 && question.exe)
		r = find_process(question.exe, answer, &exe, &why);
	if (r == -EINVAL) { /* as the one whose inode was recorded */
		exe = recorded->exe_inode;
		r = 0;
	}
	if (r < 0)
		return r;
	answer->command = is_command(&exe, answer);
	/* As the kernel told it: real when it was recorded, whatever lies there now. */
	answer->path = strdup(recorded->path);
	if (!answer->path)
		return -ENOMEM;
	tk_explain_place(compiled, answer);
	return answer->guarded ? explain_all_ways(compiled, resolved, &question, &known, &exe, answer) : 0;
}
