// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/fake_files.c - the fake kernel half's table of files: ten thousand of them are found as quickly
 * as one.  Owns the chains.  The agent adds, tests look and forget; who looks takes no lock.
 */
#include <string.h>

#include "tests/agent/fake_kernel.h"

static _Atomic uint32_t *chain(struct fake_shared *shared, uint64_t ino)
{
	return &shared->chains[ino * 0x9e3779b97f4a7c15ull >> 52];
}
_Static_assert(FAKE_CHAINS == 1 << 12, "chain");

static struct fake_file *at(struct fake_shared *shared, uint32_t link)
{
	return link ? &shared->files[link - 1] : NULL;
}

struct fake_file *fake_file_of(struct fake_shared *shared, uint64_t ino)
{
	struct fake_file *file = at(shared, *chain(shared, ino));

	while (file && file->inode.ino != ino)
		file = at(shared, file->next);
	return file;
}

struct fake_file *fake_file_find(struct fake_shared *shared, const struct tk_inode *inode)
{
	struct fake_file *file = at(shared, *chain(shared, inode->ino));

	while (file && memcmp(&file->inode, inode, sizeof(*inode)))
		file = at(shared, file->next);
	return file;
}

struct fake_file *fake_file_add(struct fake_shared *shared, const struct tk_inode *inode)
{
	_Atomic uint32_t *head = chain(shared, inode->ino);
	struct fake_file *file;

	if (shared->file_count == FAKE_FILES)
		return NULL;
	file = &shared->files[shared->file_count];
	memset(file, 0, sizeof(*file));
	file->inode = *inode;
	file->next = *head;
	/* Counted first: an agent that is killed here leaves no link to a place that is free. */
	*head = ++shared->file_count;
	return file;
}

void fake_files_forget(struct fake_shared *shared)
{
	memset(shared->chains, 0, sizeof(shared->chains));
	shared->file_count = 0;
}
