// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/events.c - what the kernel programs post: notices, which give files
 * turns, and audit events, which become lines of JSON.  Each ring has a thread of
 * its own; user names are looked up here, where nobody's open waits for it.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "loader/agent/agent.h"
#include "loader/agent/subject.h"

#define USERS 64 /* remembered names; a look-up may ask a server far away */

/* ---------------------------------------------------------------- notices */

static void on_notice(void *ctx, const struct tk_notice *notice)
{
	struct tk_agent *agent = ctx;

	switch (notice->type) {
	case TK_NOTICE_CLOSED:
		tk_files_closed(agent, &notice->inode);
		break;
	case TK_NOTICE_TRUNCATE:
		tk_files_truncate(agent, &notice->inode, notice->guard, notice->view);
		break;
	}
}

void *tk_notices_thread(void *arg)
{
	struct tk_agent *agent = arg;

	for (;;) {
		int err = tk_kernel_poll_notices(agent->kernel, -1, on_notice, agent);

		if (err && err != -EINTR && err != -ETIMEDOUT && err != -EAGAIN) {
			tk_report(agent,
				  "notices of the kernel programs cannot be read, the table is looked at, "
				  "a part each second, instead: %s",
				  tk_strerror(err));
			for (;;)
				pause(); /* a thread of the agent must not end */
		}
	}
	return NULL;
}

/* ---------------------------------------------------------------- one event */

/* Names come from the leaf upwards, each with its terminator. */
static char *path_of(const struct tk_event *event, const char *guard_path)
{
	size_t len = event->path_len < TK_EVENT_PATH ? event->path_len : TK_EVENT_PATH;
	bool cut = event->path_len >= TK_EVENT_PATH;
	char *path = malloc(strlen(guard_path) + len + 8), *out = path;
	size_t end = len;

	if (!path)
		return NULL;
	out += sprintf(out, "%s", strcmp(guard_path, "/") ? guard_path : "");
	if (cut)
		out += sprintf(out, "/...");
	while (end > 0) {
		size_t start = end - 1; /* the terminator */

		while (start > 0 && event->path[start - 1])
			start--;
		*out++ = '/';
		for (size_t i = start; i < end && event->path[i]; i++)
			*out++ = event->path[i];
		end = start;
	}
	*out = '\0';
	return path;
}

static const char *user_name(uint32_t uid)
{
	static struct {
		bool known;
		uint32_t uid;
		char name[64];
	} users[USERS];
	char buf[2048];
	struct passwd entry, *found = NULL;
	size_t slot = uid % USERS;

	if (users[slot].known && users[slot].uid == uid)
		return users[slot].name;
	users[slot].known = true;
	users[slot].uid = uid;
	users[slot].name[0] = '\0';
	if (!getpwuid_r(uid, &entry, buf, sizeof(buf), &found) && found)
		snprintf(users[slot].name, sizeof(users[slot].name), "%s", found->pw_name);
	return users[slot].name;
}

static void add_time(cJSON *json, uint64_t boot_ns)
{
	struct timespec real, boot;
	char text[40], stamp[64];
	int64_t ns;
	time_t seconds;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	ns = (int64_t)real.tv_sec * 1000000000 + real.tv_nsec -
	     ((int64_t)boot.tv_sec * 1000000000 + boot.tv_nsec - (int64_t)boot_ns);
	seconds = (time_t)(ns / 1000000000);
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp, sizeof(stamp), "%s.%03dZ", text, (int)(ns % 1000000000 / 1000000));
	cJSON_AddStringToObject(json, "time", stamp);
}

/* "data_read", or "data_read,data_write" where an open asked for both and neither was looked at alone. */
static void add_actions(cJSON *json, uint32_t actions)
{
	char names[160] = "";
	size_t used = 0;

	for (uint32_t action = 1; action && action <= actions; action <<= 1) {
		if (!(actions & action) || !tk_action_name(action))
			continue;
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", used ? "," : "",
					 tk_action_name(action));
		if (used >= sizeof(names))
			break;
	}
	cJSON_AddStringToObject(json, "action", *names ? names : "none");
}

char *tk_event_json(const struct tk_event *event, const char *guard_path, const char *guard_name)
{
	/* What learn mode lets pass counts as permitted, in the view that it gives: it is to be learnt. */
	bool let = event->mode == TK_LEARN && !event->result && !(event->effects & TK_PERMIT);
	bool denied = event->result || (event->mode == TK_MONITOR && !(event->effects & TK_PERMIT));
	TK_AUTO_TEXT path = path_of(event, guard_path);
	cJSON *json = cJSON_CreateObject();
	char comm[TK_COMM_LEN + 1] = "";
	const char *reason = tk_reason_name(event->reason);
	char *line;

	if (!json)
		return NULL;
	add_time(json, event->time_ns);
	cJSON_AddStringToObject(json, "verdict", denied ? "deny" : "permit");
	if (event->mode != TK_ENFORCE)
		cJSON_AddStringToObject(json, "mode", tk_mode_name(event->mode));
	add_actions(json, event->action);
	cJSON_AddStringToObject(json, "path", path ? path : "?");
	if (event->path_len >= TK_EVENT_PATH)
		cJSON_AddBoolToObject(json, "path_cut", true);
	cJSON_AddStringToObject(json, "guard", guard_name);
	cJSON_AddNumberToObject(json, "uid", event->uid);
	if (*user_name(event->uid))
		cJSON_AddStringToObject(json, "user", user_name(event->uid));
	/* Null, and not left out: "never logged in" is known, and decides. */
	if (event->login_uid != UINT32_MAX)
		cJSON_AddNumberToObject(json, "login_uid", event->login_uid);
	else
		cJSON_AddNullToObject(json, "login_uid");
	cJSON_AddNumberToObject(json, "gid", event->gid);
	cJSON_AddNumberToObject(json, "pid", event->pid);
	memcpy(comm, event->comm, TK_COMM_LEN);
	cJSON_AddStringToObject(json, "comm", comm);
	tk_subject_add(json, event);
	if (event->foreign_code)
		cJSON_AddBoolToObject(json, "foreign_code", true);
	if (event->rule != TK_NO_RULE_INDEX)
		cJSON_AddNumberToObject(json, "rule", event->rule);
	cJSON_AddBoolToObject(json, "apply_key", let || event->effects & TK_APPLY_KEY);
	cJSON_AddStringToObject(json, "reason", reason ? reason : "?");
	cJSON_AddNumberToObject(json, "result", event->result);
	if (event->result)
		cJSON_AddStringToObject(json, "error", strerrorname_np(-event->result) ?: "?");
	line = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	return line;
}

/* ---------------------------------------------------------------- the ring */

static void on_event(void *ctx, const struct tk_event *event)
{
	struct tk_agent *agent = ctx;
	char *line;

	{
		TK_HOLD_READ(&agent->policy_lock);
		const struct tk_spot *spot = tk_spot_find(agent, event->generation, event->guard);
		const char *none = event->guard == TK_NO_GUARD ? "" : "?";

		line = tk_event_json(event, spot ? spot->path : none, spot ? spot->recipe.guard : none);
	}
	if (line)
		tk_line_add(agent, line);
}

void *tk_events_thread(void *arg)
{
	struct tk_agent *agent = arg;

	for (;;) {
		int err = tk_kernel_poll_events(agent->kernel, -1, on_event, agent);

		if (err && err != -EINTR && err != -ETIMEDOUT && err != -EAGAIN) {
			tk_report(agent, "audit events of the kernel programs cannot be read: %s",
				  tk_strerror(err));
			for (;;)
				pause(); /* a thread of the agent must not end */
		}
	}
	return NULL;
}
