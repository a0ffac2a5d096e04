// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/stamp.c - one number for what the process sets' paths lead to at the
 * moment: cheap to take again and again, and different when it is worth a closer look.
 */
#include <string.h>
#include <sys/stat.h>

#include "loader/policy/internal.h"

/* FNV-1a.  Two states that share a number by chance would be told apart by the next change. */
#define FNV_BEGIN 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

static void mix(uint64_t *stamp, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		*stamp = (*stamp ^ p[i]) * FNV_PRIME;
}

/* Through symbolic links, to what would be executed. */
static int mix_path(void *ctx, const char *path)
{
	uint64_t seen[8] = {0};
	struct stat st;

	if (!stat(path, &st)) {
		const uint64_t there[8] = {st.st_dev,	      st.st_ino,	   (uint64_t)st.st_size,
					   st.st_mode,	      st.st_uid,	   (uint64_t)st.st_ctim.tv_sec,
					   (uint64_t)st.st_ctim.tv_nsec, 1};

		memcpy(seen, there, sizeof(seen));
	}
	mix(ctx, seen, sizeof(seen));
	return 0;
}

uint64_t tk_programs_stamp_in(const struct tk_compiled *compiled, const struct tk_search *search)
{
	uint64_t stamp = FNV_BEGIN;

	for (size_t i = 0; i < compiled->process_count; i++) {
		mix(&stamp, &i, sizeof(i));
		if (compiled->processes[i].path)
			tk_glob_expand(compiled->processes[i].path, mix_path, &stamp);
	}
	for (size_t i = 0; tk_programs_deep(compiled) && search->flat[i]; i++)
		mix_path(&stamp, search->flat[i]);
	return stamp;
}

uint64_t tk_programs_stamp(const struct tk_compiled *compiled)
{
	return tk_programs_stamp_in(compiled, &tk_search_default);
}

bool tk_programs_deep(const struct tk_compiled *compiled)
{
	for (size_t i = 0; i < compiled->process_count; i++)
		if (compiled->processes[i].name && !compiled->processes[i].path)
			return true;
	return false;
}
