/* SPDX-License-Identifier: GPL-2.0 */
/* loader/agent/small.h - what every file of the agent uses: things that end with their block, and the clock. */
#ifndef TK_AGENT_SMALL_H
#define TK_AGENT_SMALL_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static inline void tk_fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
static inline void tk_text_free(char **text)
{
	free(*text);
}
#define TK_AUTO_FD __attribute__((cleanup(tk_fd_close))) int
#define TK_AUTO_TEXT __attribute__((cleanup(tk_text_free))) char *

static inline void tk_unlock(pthread_mutex_t **mutex)
{
	pthread_mutex_unlock(*mutex);
}
/* Holds a mutex to the end of the block. */
#define TK_HOLD(mutex)                                                         \
	__attribute__((cleanup(tk_unlock), unused)) pthread_mutex_t *tk_held = \
		(pthread_mutex_lock(mutex), (mutex))

static inline void tk_rwlock_unlock(pthread_rwlock_t **lock)
{
	pthread_rwlock_unlock(*lock);
}
#define TK_HOLD_READ(rwlock)                                                                \
	__attribute__((cleanup(tk_rwlock_unlock), unused)) pthread_rwlock_t *tk_held_read = \
		(pthread_rwlock_rdlock(rwlock), (rwlock))

static inline int tk_steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Milliseconds of CLOCK_MONOTONIC. */
static inline uint64_t tk_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
