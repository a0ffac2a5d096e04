// SPDX-License-Identifier: GPL-2.0
/*
 * crypto/locked.c - memory for secrets: never swapped, never in a core dump,
 * wiped when given back.  Knows nothing of what is kept in it.
 *
 * A file's keys are small and live for microseconds, and mapping and locking a
 * page for each of them costs more than encrypting 8 KiB does.  So small pieces
 * share pages that stay locked for the next file.
 */
#include "crypto/internal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOT_SIZE 256
#define SLOTS 16 /* of an arena: one page where pages have 4 KiB */

struct arena {
	struct arena *next;
	uint8_t *slots; /* locked */
	uint32_t used;	/* a bit for each slot */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct arena *arenas; /* never unmapped */

static size_t whole_pages(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (len + page - 1) / page * page;
}

static void *map_locked(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	if (p == MAP_FAILED)
		return NULL;
	if (mlock(p, size) == 0 && madvise(p, size, MADV_DONTDUMP) == 0)
		return p;
	err = errno;
	munmap(p, size);
	errno = err;
	return NULL;
}

static struct arena *arena_new(void)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->slots = map_locked(whole_pages(SLOTS * SLOT_SIZE));
	if (!a->slots) {
		free(a);
		return NULL;
	}
	a->next = arenas;
	arenas = a;
	return a;
}

static void *slot_alloc(void)
{
	struct arena *a;
	uint8_t *p = NULL;

	pthread_mutex_lock(&lock);
	a = arenas;
	while (a && a->used == (UINT32_C(1) << SLOTS) - 1)
		a = a->next;
	if (!a)
		a = arena_new();
	if (a) {
		int i = __builtin_ctz(~a->used);

		a->used |= UINT32_C(1) << i;
		p = a->slots + i * SLOT_SIZE;
	}
	pthread_mutex_unlock(&lock);
	return p;
}

static void slot_free(uint8_t *p)
{
	struct arena *a;

	pthread_mutex_lock(&lock);
	for (a = arenas; a && (p < a->slots || p >= a->slots + SLOTS * SLOT_SIZE); a = a->next)
		;
	assert(a);
	a->used &= ~(UINT32_C(1) << (p - a->slots) / SLOT_SIZE);
	pthread_mutex_unlock(&lock);
}

void *tk_locked_alloc(size_t len)
{
	return len <= SLOT_SIZE ? slot_alloc() : map_locked(whole_pages(len));
}

void tk_locked_free(void *p, size_t len)
{
	if (!p)
		return;
	tk_wipe(p, len);
	if (len <= SLOT_SIZE)
		slot_free(p);
	else
		munmap(p, whole_pages(len)); /* unlocks too */
}
