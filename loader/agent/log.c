// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/log.c - what went wrong, kept for `status` and printed by the main
 * thread; and audit events as lines, kept for `events`.  Nothing here blocks on I/O
 * but tk_log_print(), which only the main thread calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/agent/agent.h"

void tk_wake(int eventfd)
{
	uint64_t one = 1;

	if (eventfd >= 0 && write(eventfd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is awake enough */
}

void tk_report(struct tk_agent *agent, const char *format, ...)
{
	struct tk_failure failure = {.when = time(NULL)};
	va_list args;

	va_start(args, format);
	vsnprintf(failure.text, sizeof(failure.text), format, args);
	va_end(args);
	for (char *c = failure.text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?'; /* file names come from anywhere */
	{
		TK_HOLD(&agent->log_lock);
		agent->failures[agent->failure_count++ % TK_FAILURES] = failure;
	}
	tk_wake(agent->wake);
}

void tk_report_aside(struct tk_agent *agent, const struct tk_volume *volume, const char *record, const char *file)
{
	atomic_store(&agent->set_aside, true);
	tk_report(agent,
		  "%s: the journal has another content of %s, which was changed or removed unguarded: it was set aside as "
		  "/.takakrypt/%s; after `unload`, `tail -c +4097` of that is a TAKA file: restore it, or remove the "
		  "record",
		  volume->point, file, record);
}

void tk_report_found(struct tk_agent *agent, const struct tk_volume *volume, const char *found, const char *file)
{
	atomic_store(&agent->set_aside, true);
	tk_report(agent,
		  "%s: %s had other bytes than ours (overwritten just before a crash, changed unguarded, or the disk's "
		  "fault) and is as it was sealed last: they are kept as /.takakrypt/%s; after `unload`, move that away, and `takakrypt-bpf decrypt` "
		  "gives them: use them, or remove it",
		  volume->point, file, found);
}

/* Prints what has not been printed; more than TK_FAILURES at once lose the oldest. */
void tk_log_print(struct tk_agent *agent)
{
	for (;;) {
		struct tk_failure failure;

		{
			TK_HOLD(&agent->log_lock);
			if (agent->failure_printed == agent->failure_count)
				return;
			if (agent->failure_count - agent->failure_printed > TK_FAILURES)
				agent->failure_printed = agent->failure_count - TK_FAILURES;
			failure = agent->failures[agent->failure_printed++ % TK_FAILURES];
		}
		fprintf(stderr, "takakrypt-bpf: agent: %s\n", failure.text);
	}
}

/* Takes over the line. */
void tk_line_add(struct tk_agent *agent, char *line)
{
	{
		TK_HOLD(&agent->log_lock);
		char **slot = &agent->lines[agent->line_count++ % TK_LINES];

		free(*slot);
		*slot = line;
	}
	tk_wake(agent->told);
}

/* Where the file lies now, for people. */
void tk_file_name(const struct tk_file *file, char *ret_name, size_t size)
{
	const char *point = strcmp(file->volume->point, "/") ? file->volume->point : "";
	char link[32], path[512];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->path);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	snprintf(ret_name, size, "%s%s", point, path);
}
