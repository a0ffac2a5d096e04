// SPDX-License-Identifier: GPL-2.0
/* tests/unit/preempt_test.c - whether a kernel preempts, by what it says of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "loader/kernel/preempt.h"

static const struct {
	const char *version, *mode, *command_line;
	enum tk_preemption is;
} kernels[] = {
	{"#1 SMP Debian 5.10.216-1 (2024-05-03)", "", "quiet", TK_PREEMPTION_OFF},
	{"#91-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023", "", "preempt=full", TK_PREEMPTION_OFF},
	{"#91-Ubuntu SMP PREEMPT Tue Nov 14 13:30:08 UTC 2023", "", "", TK_PREEMPTION_ON},
	{"#91-Ubuntu SMP PREEMPT Tue Nov 14 13:30:08 UTC 2023", "none (voluntary) full\n", "", TK_PREEMPTION_OFF},
	{"#1 SMP PREEMPT_RT Debian 6.1.90-1", "none voluntary (full)", "preempt=none", TK_PREEMPTION_ON},
	{"#1 SMP PREEMPT_DYNAMIC Debian 6.1.20-1", "none (voluntary) full\n", "preempt=full", TK_PREEMPTION_OFF},
	{"#1 SMP PREEMPT_DYNAMIC Debian 6.1.20-1", "(none) voluntary full\n", "", TK_PREEMPTION_OFF},
	{"#1 SMP PREEMPT_DYNAMIC Debian 6.1.20-1", "none voluntary (full)\n", "", TK_PREEMPTION_ON},
	{"#1 SMP PREEMPT_DYNAMIC Debian 7.2.1-1", "none voluntary full (lazy)\n", "", TK_PREEMPTION_ON},
	{"#1 SMP PREEMPT_DYNAMIC Debian 6.1.20-1", "", "ro quiet\n", TK_PREEMPTION_UNKNOWN},
	{"#1 SMP PREEMPT_DYNAMIC Debian 6.1.20-1", "", "ro nopreempt=none\n", TK_PREEMPTION_UNKNOWN},
	{"#1 SMP PREEMPT_DYNAMIC Debian 6.1.20-1", "", "preempt=voluntary quiet\n", TK_PREEMPTION_OFF},
	{"#1 SMP PREEMPT_DYNAMIC Debian 6.1.20-1", "", "preempt=none preempt=full\n", TK_PREEMPTION_ON},
};

static void test_preemption(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
		if (tk_preemption(kernels[i].version, kernels[i].mode, kernels[i].command_line) != kernels[i].is)
			fail_msg("%s, %s, %s", kernels[i].version, kernels[i].mode, kernels[i].command_line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_preemption)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
