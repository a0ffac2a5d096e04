/* SPDX-License-Identifier: GPL-2.0 */
/* loader/kernel/preempt.h - may this kernel leave out LSM programs? */
#ifndef TK_PREEMPT_H
#define TK_PREEMPT_H

#include <stddef.h>

enum tk_preemption {
	TK_PREEMPTION_OFF,
	TK_PREEMPTION_ON,
	TK_PREEMPTION_UNKNOWN,
};

/*
 * Does a kernel take the processor from tasks that run in it?  version: what uname(2) says; mode: the line of
 * /sys/kernel/debug/sched/preempt (Linux 5.13), with the mode in force in brackets, or ""; command_line: its own.
 */
enum tk_preemption tk_preemption(const char *version, const char *mode, const char *command_line);

/*
 * Until Linux 6.2 (and 6.1.54) a kernel left out an LSM program, and so allowed what it was to decide, when a task that it
 * had preempted on that processor was in the middle of the same one (e50e86dbcabd; KERNEL.md 14).  Where LSM programs are
 * exempt, those that are not enter by a function of their own, which the kernel's symbols show.
 * 0: it does not; 1: it does, or that is not known: ret_found says what was seen.
 */
int tk_lsm_left_out(char *ret_found, size_t size);

#endif
