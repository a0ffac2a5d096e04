// SPDX-License-Identifier: GPL-2.0
/*
 * loader/agent/times.c - tells the kernel programs which time sets hold, at each
 * change.  The main thread's; `status` reads what is kept here.
 *
 * The timer follows the wall clock and also fires when that clock is set.
 */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>

#include "loader/agent/agent.h"

int tk_times_open(struct tk_agent *agent)
{
	agent->times.timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	return agent->times.timer < 0 ? -errno : 0;
}

/* A timer that cannot be armed, or fired too early to be of use, is made up for by tk_times_tick(). */
static bool arm(struct tk_agent *agent, int64_t next)
{
	struct itimerspec at = {.it_value.tv_sec = next};

	return !timerfd_settime(agent->times.timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL);
}

void tk_times_refresh(struct tk_agent *agent)
{
	struct tk_times fresh = agent->times;
	struct tk_times_now now;
	int err;

	/* Bits of another text would mean other sets: the loader's stay until the reload is told of. */
	if (agent->text_doubtful)
		return;
	if (!agent->compiled->time_set_count) {
		fresh.frozen = false;
		fresh.next = INT64_MAX;
	} else {
		/* Armed before the clock is read: a change of it in between fires. */
		fresh.armed = arm(agent, INT64_MAX / 1000000000);
		tk_times_now(agent->compiled, &now, &fresh.next);
		fresh.holding = now.holding;
		if (fresh.armed && fresh.next != INT64_MAX)
			fresh.armed = arm(agent, fresh.next);
		err = tk_kernel_set_times(agent->kernel, agent->now.generation, &now);
		if (err && !fresh.frozen)
			tk_report(agent, "the time sets that hold cannot be brought up to date: %s", tk_strerror(err));
		fresh.frozen = err;
	}
	pthread_rwlock_wrlock(&agent->policy_lock);
	agent->times = fresh;
	pthread_rwlock_unlock(&agent->policy_lock);
}

void tk_times_fired(struct tk_agent *agent)
{
	uint64_t times;

	/* ECANCELED: the clock was set. */
	if (read(agent->times.timer, &times, sizeof(times)) > 0 || errno == ECANCELED)
		tk_times_refresh(agent);
}

void tk_times_tick(struct tk_agent *agent)
{
	bool due = agent->times.next <= time(NULL) || !agent->times.armed;

	if (agent->times.frozen || (agent->compiled->time_set_count && due))
		tk_times_refresh(agent);
}
