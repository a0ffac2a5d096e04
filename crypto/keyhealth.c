// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/keyhealth.c - how it went with each key's provider: for reports, and as the
 * breaker that keeps a failing command from being run again and again.
 */
#include "crypto/internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_MS_FIRST 1000 /* doubled with each further failure */
#define OPEN_MS_MAX 300000

struct tk_health {
	struct tk_health *next;
	char id[TK_KEY_ID_MAX + 1];
	unsigned int failures;	 /* since the last success */
	int64_t open_until;	 /* of now_ms() */
	time_t success, failure; /* 0: none yet */
	const char *why;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of every ring's list */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* NULL: no memory.  The id is a valid one. */
static struct tk_health *health_of(struct tk_keyring *ring, const char *key_id, bool make)
{
	struct tk_health **list = tk_keyring_healths(ring), *h = *list;

	while (h && strcmp(h->id, key_id) != 0)
		h = h->next;
	if (h || !make)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	strcpy(h->id, key_id);
	h->next = *list;
	*list = h;
	return h;
}

int tk_health_ask(struct tk_keyring *ring, const char *key_id)
{
	const struct tk_health *h;
	int r = 0;

	pthread_mutex_lock(&lock);
	h = health_of(ring, key_id, true);
	if (!h)
		r = -ENOMEM;
	else if (h->open_until > now_ms())
		r = -EAGAIN;
	pthread_mutex_unlock(&lock);
	return r;
}

void tk_health_tell(struct tk_keyring *ring, const char *key_id, const char *why, bool breaks)
{
	struct tk_health *h;

	pthread_mutex_lock(&lock);
	h = health_of(ring, key_id, true);
	if (h && !why) {
		h->success = time(NULL);
		h->failures = 0;
		h->open_until = 0;
		h->why = NULL;
	} else if (h) {
		int64_t wait = h->failures < 9 ? (int64_t)OPEN_MS_FIRST << h->failures : OPEN_MS_MAX;

		h->failure = time(NULL);
		h->failures++;
		h->why = why;
		h->open_until = breaks ? now_ms() + (wait < OPEN_MS_MAX ? wait : OPEN_MS_MAX) : 0;
	}
	pthread_mutex_unlock(&lock);
}

void tk_healths_free(struct tk_health *h)
{
	while (h) {
		struct tk_health *next = h->next;

		free(h);
		h = next;
	}
}

int tk_keyring_health(struct tk_keyring *ring, const char *key_id, struct tk_key_health *ret_health)
{
	const struct tk_health *h;

	pthread_mutex_lock(&lock);
	h = health_of(ring, key_id, false);
	if (h) {
		int64_t left = h->open_until - now_ms();

		*ret_health = (struct tk_key_health){
			.open = left > 0,
			.failures = h->failures,
			.retry_seconds = left > 0 ? (unsigned int)((left + 999) / 1000) : 0,
			.last_success = h->success,
			.last_failure = h->failure,
			.why = h->why,
		};
	}
	pthread_mutex_unlock(&lock);
	return h ? 0 : -TK_E_NO_KEY;
}
