// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/digests.c - digests of files, remembered by inode, size and times.
 *
 * What is remembered says which files are worth a closer look, and no more: before a
 * digest counts in the kernel the inode is measured once more, while writers of it
 * are noticed (loader/kernel/members.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/policy/internal.h"

struct measured {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed, modified;
	uint8_t digest[32];
};

/* Trees of tsearch(3): what this turn has asked for, and what the one before had. */
struct tk_digests {
	void *now, *before;
};

struct tk_digests *tk_digests_new(void)
{
	return calloc(1, sizeof(struct tk_digests));
}

void tk_digests_free(struct tk_digests *digests)
{
	if (!digests)
		return;
	tdestroy(digests->now, free);
	tdestroy(digests->before, free);
	free(digests);
}

void tk_digests_turn(struct tk_digests *digests)
{
	tdestroy(digests->before, free);
	digests->before = digests->now;
	digests->now = NULL;
}

static int times_compare(const struct timespec *a, const struct timespec *b)
{
	if (a->tv_sec != b->tv_sec)
		return a->tv_sec < b->tv_sec ? -1 : 1;
	return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

static int compare(const void *a, const void *b)
{
	const struct measured *x = a, *y = b;
	int order;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	order = times_compare(&x->changed, &y->changed);
	return order ? order : times_compare(&x->modified, &y->modified);
}

static int measure(int fd, uint8_t ret_digest[32])
{
	TK_CLOSE int readable = -1;
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	readable = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return readable < 0 ? -errno : tk_sha256_fd(readable, ret_digest);
}

int tk_digest_of(struct tk_digests *digests, int fd, const struct stat *st, uint8_t ret_digest[32])
{
	struct measured wanted = {.dev = st->st_dev,
				  .ino = st->st_ino,
				  .size = st->st_size,
				  .changed = st->st_ctim,
				  .modified = st->st_mtim};
	struct measured **known, *fresh;
	int r;

	if (!digests)
		return measure(fd, ret_digest);
	known = tfind(&wanted, &digests->now, compare);
	if (known) {
		memcpy(ret_digest, (*known)->digest, sizeof(wanted.digest));
		return 0;
	}
	known = tfind(&wanted, &digests->before, compare);
	if (known)
		wanted = **known;
	r = known ? 0 : measure(fd, wanted.digest);
	if (r < 0)
		return r;
	memcpy(ret_digest, wanted.digest, sizeof(wanted.digest));
	/* Without memory it is measured again the next time. */
	fresh = malloc(sizeof(*fresh));
	if (!fresh)
		return 0;
	*fresh = wanted;
	if (!tsearch(fresh, &digests->now, compare))
		free(fresh);
	return 0;
}
