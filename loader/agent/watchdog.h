/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/agent/watchdog.h - ends an agent that is stopped or hung, so that whoever waits for it is
 * refused (ENOKEY) and does not wait for ever.
 */
#ifndef TK_AGENT_WATCHDOG_H
#define TK_AGENT_WATCHDOG_H

#include <stdbool.h>

/*
 * Longer than a machine that swaps, or a path to a disk that fails over, keeps one thread from running;
 * shorter than the 90 s that systemd gives a service to start, which may wait for an open of its own.
 */
#define TK_WATCHDOG_SECONDS 60
#define TK_WATCHDOG_MIN 5 /* a thread that is well shows it once a second */
#define TK_WATCHDOG_MAX 86400

/* What a thread is there for, which says what its silence means. */
enum tk_duty {
	TK_DUTY_OPENS, /* reads events: must always go on, whatever disks do */
	TK_DUTY_MAIN,  /* may wait for a disk */
	TK_DUTY_FILES, /* one of many; may wait for a disk and compute for long */
};

/**
 * tk_watchdog_start() - begin to be watched
 * @seconds: of silence that end the agent, TK_WATCHDOG_MIN to TK_WATCHDOG_MAX; 0: never
 *
 * Forks, so it comes before the first thread, the first key and the first descriptor that must not be
 * anybody else's.  The child ends with the agent.
 *
 * Return: 0 or -errno.
 */
int tk_watchdog_start(unsigned int seconds);

/* The calling thread lives, and has something to do. */
void tk_watchdog_alive(enum tk_duty duty);
/* It has nothing to do, or something that may take any time: its silence means nothing. */
void tk_watchdog_rest(void);

/* 0 when there is none. */
unsigned int tk_watchdog_seconds(void);
/* Whether the guardian lived and ran when tk_watchdog_lost() looked last. */
bool tk_watchdog_watches(void);
/* Looks.  True when it has been killed or stopped since; by one thread alone. */
bool tk_watchdog_lost(void);

#endif
