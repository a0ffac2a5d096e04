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
#include <time.h>

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

/* "Groups:\t4 24 27 " of a thread whose "Uid:" ends with the event's fsuid, as a list of JSON; NULL: not
 * known. */
static char *groups_of(const struct tk_event *event)
{
	TK_AUTO_TEXT line = NULL;
	TK_AUTO_TEXT list = NULL;
	size_t room = 0, len, count = 0;
	bool same = false, found = false;
	char name[32];
	FILE *file, *out = open_memstream(&list, &len);

	snprintf(name, sizeof(name), "/proc/%u/status", event->tid);
	file = out ? fopen(name, "re") : NULL;
	while (file && !found && getline(&line, &room, file) > 0) {
		char *at = line + 7, *end;
		unsigned int fsuid;

		if (sscanf(line, "Uid: %*u %*u %*u %u", &fsuid) == 1)
			same = fsuid == event->uid;
		found = !strncmp(line, "Groups:", 7);
		for (unsigned long gid = found ? strtoul(at, &end, 10) : 0; found && end != at;
		     gid = strtoul(at, &end, 10)) {
			fprintf(out, "%c%lu", count++ ? ',' : '[', gid);
			at = end;
		}
	}
	if (file)
		fclose(file);
	if (!out)
		return NULL;
	fputs(count ? "]" : "[]", out);
	if (fclose(out) == EOF)
		return NULL;
	/* Nobody's verdict depends on more, they are refused (TK_IDENTITY_UNKNOWN). */
	return found && same && count < TK_MAX_GROUPS ? strdup(list) : NULL;
}

/* The unit of a control group's path, as bpf/unit.bpf.h finds it; "": none.  NULL: below a namespace of its
 * own, or too deep. */
static const char *unit_of(char *path)
{
	unsigned int depth = 1; /* the root */
	char *name = path;

	if (!strncmp(path, "/..", 3))
		return NULL;
	for (const char *p = path; *p; p++)
		depth += *p == '/';
	if (depth > TK_UNIT_DEPTH)
		return NULL;
	while (*name == '/') {
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

/* "0::/system.slice/cron.service" is the control group of the unified hierarchy.  NULL: not known. */
static char *unit_at(const struct tk_event *event)
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
	return unit ? strdup(unit) : NULL;
}

/*
 * What was found of a thread last.  It does for an event from before that: looking again would be later
 * still. So a program that does much at once is looked up once, and the ring does not run full meanwhile.
 */
static struct subject {
	uint32_t tid, uid;
	struct tk_inode exe;
	uint64_t looked_ns; /* CLOCK_BOOTTIME, before looking; 0: never */
	char *groups, *unit;
} subjects[64];

static struct subject *subject_of(const struct tk_event *event)
{
	struct subject *subject = &subjects[event->tid % (sizeof(subjects) / sizeof(subjects[0]))];
	struct timespec now;
	char path[4096];

	if (subject->tid == event->tid && subject->uid == event->uid &&
	    !memcmp(&subject->exe, &event->exe, sizeof(event->exe)) && event->time_ns <= subject->looked_ns)
		return subject;
	free(subject->groups);
	free(subject->unit);
	clock_gettime(CLOCK_BOOTTIME, &now);
	*subject = (struct subject){
		.tid = event->tid,
		.uid = event->uid,
		.exe = event->exe,
		.looked_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
	};
	if (exe_running(event, path, sizeof(path))) {
		exe_remember(&event->exe, path);
		subject->groups = groups_of(event);
		subject->unit = unit_at(event);
	}
	return subject;
}

void tk_subject_add(cJSON *json, const struct tk_event *event)
{
	const struct subject *subject;
	const char *known;
	char inode[64];

	if (!event->exe.ino)
		return; /* a kernel thread */
	snprintf(inode, sizeof(inode), "%" PRIu32 ":%llu:%" PRIu32, event->exe.dev,
		 (unsigned long long)event->exe.ino, event->exe.igeneration);
	subject = subject_of(event);
	if (subject->groups)
		cJSON_AddRawToObject(json, "groups", subject->groups);
	if (subject->unit && *subject->unit)
		cJSON_AddStringToObject(json, "unit", subject->unit);
	else if (subject->unit)
		cJSON_AddNullToObject(json, "unit");
	known = exe_recall(&event->exe);
	if (known)
		cJSON_AddStringToObject(json, "exe", known);
	cJSON_AddStringToObject(json, "exe_inode", inode);
}
