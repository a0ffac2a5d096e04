// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/subject.c - who the process of an event is, looked up in /proc while
 * it may still run: the path of its executable, its supplementary groups, its systemd
 * unit.  An event is told without what cannot be known for certain any more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/agent/agent.h"
#include "loader/agent/subject.h"

#define EXES 256 /* remembered paths: most programs end before their last event is read */

static struct {
	struct tk_inode inode;
	char *path;
} exes[EXES];

static const char *exe_recall(const struct tk_inode *inode)
{
	size_t slot = (inode->ino ^ inode->dev) % EXES;

	return exes[slot].path && !memcmp(&exes[slot].inode, inode, sizeof(*inode)) ? exes[slot].path : NULL;
}

static void exe_remember(const struct tk_inode *inode, const char *path)
{
	size_t slot = (inode->ino ^ inode->dev) % EXES;
	const char *known = exe_recall(inode);
	char *fresh;

	if (known && !strcmp(known, path))
		return;
	fresh = strdup(path);
	if (!fresh)
		return;
	free(exes[slot].path);
	exes[slot].inode = *inode;
	exes[slot].path = fresh;
}

/* True while the process still runs what it ran: neither another program by exec, nor another process. */
static bool exe_running(const struct tk_event *event, char *path, size_t size)
{
	char link[32];
	struct stat st;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%u/exe", event->pid);
	if (stat(link, &st) || st.st_ino != event->exe.ino)
		return false;
	n = readlink(link, path, size - 1);
	if (n <= 0 || (size_t)n == size - 1)
		return false;
	path[n] = '\0';
	return st.st_nlink > 0; /* else " (deleted)" stands behind the path */
}

/* "Groups:\t4 24 27 " of a thread whose "Uid:" ends with the event's fsuid. */
static void groups_add(cJSON *json, const struct tk_event *event)
{
	TK_AUTO_TEXT line = NULL;
	cJSON *groups = NULL;
	bool same = false;
	size_t room = 0, count = 0;
	char name[32];
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%u/status", event->tid);
	file = fopen(name, "re");
	while (file && getline(&line, &room, file) > 0) {
		char *at = line + 7, *end;
		unsigned int fsuid;

		if (sscanf(line, "Uid: %*u %*u %*u %u", &fsuid) == 1)
			same = fsuid == event->uid;
		if (strncmp(line, "Groups:", 7))
			continue;
		groups = cJSON_CreateArray();
		for (unsigned long gid = strtoul(at, &end, 10); end != at; gid = strtoul(at, &end, 10)) {
			cJSON_AddItemToArray(groups, cJSON_CreateNumber((double)gid));
			count++;
			at = end;
		}
		break;
	}
	if (file)
		fclose(file);
	/* Nobody's verdict depends on more, they are refused (TK_IDENTITY_UNKNOWN). */
	if (groups && same && count < TK_MAX_GROUPS)
		cJSON_AddItemToObject(json, "groups", groups);
	else
		cJSON_Delete(groups);
}

/* The unit of a control group's path, as bpf/unit.bpf.h finds it; "": none.  Below a namespace of its own:
 * NULL. */
static const char *unit_of(char *path)
{
	unsigned int depth = 1; /* the root */
	char *name = path;

	if (!strncmp(path, "/..", 3))
		return NULL;
	for (const char *p = path; *p; p++)
		depth += *p == '/';
	while (depth <= TK_UNIT_DEPTH && *name == '/') {
		char *end = strchrnul(name + 1, '/');
		size_t len = (size_t)(end - name - 1);
		bool slice = len >= strlen("x.slice") - 1 && len + 1 < TK_UNIT_MAX &&
			     !strncmp(end - 6, ".slice", 6);

		if (!slice) {
			*end = '\0';
			name += name[1] == '_' ? 2 : 1;
			return strlen(name) < TK_UNIT_MAX - 1 ? name : "";
		}
		name = end;
	}
	return "";
}

/* "0::/system.slice/cron.service" is the control group of the unified hierarchy. */
static void unit_add(cJSON *json, const struct tk_event *event)
{
	TK_AUTO_TEXT line = NULL;
	const char *unit = NULL;
	size_t room = 0;
	char name[32];
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%u/cgroup", event->tid);
	file = fopen(name, "re");
	while (file && !unit && getline(&line, &room, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "0::/", 4))
			unit = unit_of(line + 3);
	}
	if (file)
		fclose(file);
	if (unit && *unit)
		cJSON_AddStringToObject(json, "unit", unit);
	else if (unit)
		cJSON_AddNullToObject(json, "unit");
}

void tk_subject_add(cJSON *json, const struct tk_event *event)
{
	char path[4096], inode[64];
	const char *known;

	if (!event->exe.ino)
		return; /* a kernel thread */
	snprintf(inode, sizeof(inode), "%" PRIu32 ":%llu:%" PRIu32, event->exe.dev,
		 (unsigned long long)event->exe.ino, event->exe.igeneration);
	if (exe_running(event, path, sizeof(path))) {
		exe_remember(&event->exe, path);
		groups_add(json, event);
		unit_add(json, event);
	}
	known = exe_recall(&event->exe);
	if (known)
		cJSON_AddStringToObject(json, "exe", known);
	cJSON_AddStringToObject(json, "exe_inode", inode);
}
