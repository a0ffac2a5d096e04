// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/shortage.c - tells, once for each minute that it goes on, what the kernel
 * programs have run short of and denied something for.
 */
#include "loader/agent/agent.h"

#define AGAIN_MS 60000

void tk_shortage_tick(struct tk_agent *agent)
{
	static uint64_t told[TK_COUNTER_COUNT], when[TK_COUNTER_COUNT]; /* the main thread's */
	uint64_t counted[TK_COUNTER_COUNT], now = tk_now_ms();

	if (tk_kernel_counters(agent->kernel, counted))
		return;
	for (int i = 0; i < TK_COUNTER_COUNT; i++) {
		if (!tk_shortage_name(i) || counted[i] == told[i] || (when[i] && now < when[i] + AGAIN_MS))
			continue;
		tk_report(agent, "%s: %llu; %s", tk_shortage_name(i), (unsigned long long)counted[i],
			  tk_shortage_text(i));
		told[i] = counted[i];
		when[i] = now;
	}
}
