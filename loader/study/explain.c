// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/explain.c - looks up on this machine what a question names, and lets
 * bpf/decide.h, the code of the kernel programs, decide.
 */
#include "loader/study/explain_internal.h"
#include "loader/util.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

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

static int find_user(const char *name, uint32_t *ret_uid, const struct passwd **ret_passwd)
{
	uint64_t uid;
	const struct passwd *found;

	if (tk_parse_u64(name, UINT32_MAX - 1, &uid) == 0) {
		*ret_uid = (uint32_t)uid;
		*ret_passwd = getpwuid((uid_t)uid);
		return 0;
	}
	found = getpwnam(name);
	if (!found)
		return -ESRCH;
	*ret_uid = found->pw_uid;
	*ret_passwd = found;
	return 0;
}

static int find_group(const char *name, gid_t *ret_gid)
{
	uint64_t gid;
	const struct group *found;

	if (tk_parse_u64(name, UINT32_MAX - 1, &gid) == 0) {
		*ret_gid = (gid_t)gid;
		return 0;
	}
	found = getgrnam(name);
	if (!found)
		return -ESRCH;
	*ret_gid = found->gr_gid;
	return 0;
}

static int groups_of_user(const struct passwd *user, gid_t **ret_gids, size_t *ret_count)
{
	int count = 64;

	for (;;) {
		_cleanup_free_ gid_t *gids = calloc((size_t)count, sizeof(*gids));
		int room = count;

		if (!gids)
			return -ENOMEM;
		if (getgrouplist(user->pw_name, user->pw_gid, gids, &count) >= 0) {
			*ret_gids = TK_TAKE_PTR(gids);
			*ret_count = (size_t)count;
			return 0;
		}
		if (count <= room)
			count = 2 * room;
	}
}

static int groups_of_list(const char *list, gid_t **ret_gids, size_t *ret_count)
{
	_cleanup_free_ char *copy = strdup(list);
	_cleanup_free_ gid_t *gids = calloc(strlen(list) + 1, sizeof(*gids));
	size_t count = 0;
	char *rest = copy, *name;

	if (!copy || !gids)
		return -ENOMEM;
	while ((name = strsep(&rest, ","))) {
		if (*name && find_group(name, &gids[count++]) < 0)
			return -ESRCH;
	}
	*ret_gids = TK_TAKE_PTR(gids);
	*ret_count = count;
	return 0;
}

static void join_user(const struct tk_compiled *compiled, const struct tk_resolved *resolved, const gid_t *gids,
		      size_t count, struct tk_answer *answer)
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
	else if (login && find_user(login, &login_uid, &unused) < 0)
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
	r = find_user(question->user, &answer->uid, &user);
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
		r = groups_of_list(question->groups, &gids, &count);
	} else if (user) {
		r = groups_of_user(user, &gids, &count);
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

static void join_executable(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			    const struct tk_question *question, const struct tk_inode *exe,
			    struct tk_answer *answer)
{
	for (size_t i = 0; i < resolved->process_count; i++) {
		const struct tk_member_process *member = &resolved->processes[i];

		if (!is_in_unit(compiled, question, member->unit))
			continue;
		if (!strcmp(member->process.path, TK_ANY_EXE))
			sets_join(answer->processes, member->process.sets);
		else if (member->exe.dev == exe->dev && member->exe.ino == exe->ino &&
			 member->exe.igeneration == exe->igeneration)
			sets_join(answer->processes, member->process.sets);
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

/* By the sets in the answer. */
static __u32 verdict_of(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			const struct tk_question *question, struct tk_answer *answer,
			struct tk_request *ret_request, struct tk_set_bits *ret_holding)
{
	struct tk_request request = {.action = question->action};
	__u32 verdict = verdict_beforehand(resolved, answer);

	tk_resource_sets(compiled, answer->below, answer->resources);
	memcpy(request.users, answer->users, sizeof(request.users));
	memcpy(request.processes, answer->processes, sizeof(request.processes));
	memcpy(request.resources, answer->resources, sizeof(request.resources));
	tk_times_of(compiled, &question->at, ret_holding);
	memcpy(answer->times, ret_holding->sets, sizeof(answer->times));
	*ret_request = request;
	return verdict ? verdict
		       : tk_verdict_of_sets(compiled, policy_of(compiled, answer), &request, ret_holding);
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

/* The system's groups of a user whose own were not recorded; none when the user is unknown. */
static int groups_of_uid(uint32_t uid, gid_t gid, gid_t **ret_gids, size_t *ret_count)
{
	const struct passwd *user = getpwuid(uid);
	gid_t *alone;

	if (user)
		return groups_of_user(user, ret_gids, ret_count);
	alone = malloc(sizeof(*alone));
	if (!alone)
		return -ENOMEM;
	*alone = gid;
	*ret_gids = alone;
	*ret_count = 1;
	return 0;
}

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
	if (!known.gids) {
		r = groups_of_uid(recorded->uid, recorded->gid, &gids, &known.gid_count);
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
	/* As the kernel told it: real when it was recorded, whatever lies there now. */
	answer->path = strdup(recorded->path);
	if (!answer->path)
		return -ENOMEM;
	tk_explain_place(compiled, answer);
	return answer->guarded ? explain_all_ways(compiled, resolved, &question, &known, &exe, answer) : 0;
}
