// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/preempt.c - may this kernel leave out LSM programs?
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "loader/kernel/preempt.h"

#define EXEMPT "__bpf_prog_enter_recur" /* what programs enter by that are left out */

enum tk_preemption tk_preemption(const char *version, const char *mode, const char *command_line)
{
	const char *asked = NULL;

	if (strstr(version, "PREEMPT_RT"))
		return TK_PREEMPTION_ON;
	if (!strstr(version, "PREEMPT"))
		return TK_PREEMPTION_OFF;
	if (strstr(mode, "(none)") || strstr(mode, "(voluntary)"))
		return TK_PREEMPTION_OFF;
	if (strchr(mode, '('))
		return TK_PREEMPTION_ON;
	if (!strstr(version, "PREEMPT_DYNAMIC"))
		return TK_PREEMPTION_ON;
	for (const char *next = command_line; (next = strstr(next, "preempt=")); next++)
		if (next == command_line || next[-1] == ' ')
			asked = next + strlen("preempt="); /* the last one counts */
	if (!asked)
		return TK_PREEMPTION_UNKNOWN;
	return !strncmp(asked, "none", 4) || !strncmp(asked, "voluntary", 9) ? TK_PREEMPTION_OFF : TK_PREEMPTION_ON;
}

/* The first line of a file; "" when there is none. */
static void read_text(const char *path, char *buf, size_t size)
{
	FILE *in = fopen(path, "re");

	if (!in || !fgets(buf, (int)size, in))
		buf[0] = '\0';
	if (in)
		fclose(in);
}

static bool is_exempt(void)
{
	FILE *in = fopen("/proc/kallsyms", "re");
	char line[256];
	bool found = false;

	while (in && !found && fgets(line, sizeof(line), in)) {
		const char *name = strrchr(line, ' ');

		/* A module's name may follow, or what a compiler adds to names of its own making (LTO). */
		found = name && !strncmp(name + 1, EXEMPT, strlen(EXEMPT)) && strchr("\n\t.", name[1 + strlen(EXEMPT)]);
	}
	if (in)
		fclose(in);
	return found;
}

int tk_lsm_left_out(char *ret_found, size_t size)
{
	char mode[128], command_line[4096];
	enum tk_preemption preemption;
	struct utsname name;

	uname(&name);
	read_text("/sys/kernel/debug/sched/preempt", mode, sizeof(mode));
	read_text("/proc/cmdline", command_line, sizeof(command_line));
	preemption = tk_preemption(name.version, mode, command_line);
	if (preemption == TK_PREEMPTION_OFF) {
		snprintf(ret_found, size, "tasks are not preempted in the kernel");
		return 0;
	}
	if (is_exempt()) {
		snprintf(ret_found, size, "LSM programs are exempt");
		return 0;
	}
	snprintf(ret_found, size, "Linux %s %s, and may leave out LSM programs then (no %s in /proc/kallsyms)", name.release,
		 preemption == TK_PREEMPTION_ON ? "preempts tasks in the kernel"
						: "may preempt tasks in the kernel (/sys/kernel/debug/sched/preempt would tell)",
		 EXEMPT);
	return 1;
}
