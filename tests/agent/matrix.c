// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/matrix.c - runs the crash matrix, a process for each filesystem, counts what it finds,
 * and says it as a table.
 */
#include "tests/agent/matrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TALLIES 24 /* of a filesystem */

const size_t matrix_sizes[] = {0, 1, 4095, 4096, 65535, 65536, 65537, 300 << 10, 40 << 20};
const size_t matrix_size_count = sizeof(matrix_sizes) / sizeof(*matrix_sizes);

/* Each filesystem's process writes its own; the first one reads them all at the end. */
struct column {
	struct tally tallies[TALLIES];
	size_t count;
	int passed, failed;
};
static struct column *column;

struct tally *tally_new(const char *fs, const char *fault)
{
	for (size_t i = 0; i < column->count; i++)
		if (!strcmp(column->tallies[i].fault, fault))
			return &column->tallies[i];
	column->tallies[column->count] = (struct tally){.fs = fs, .fault = fault};
	return &column->tallies[column->count++];
}

void tally_found(struct tally *tally, const struct work *work, enum found found, const char *where)
{
	tally->files++;
	tally->found[found]++;
	check(!is_fault(found), "%s: %s: %s: %s of %zu bytes: %s", tally->fs, tally->fault, where,
	      operation_names[work->operation], work->size, found_names[found]);
}

bool tally_mounts(struct tally *tally, struct rig *rig, bool torn, const char *where)
{
	if (rig_mount(rig, rig->disk->image))
		return true;
	tally->torn += torn;
	tally->broken += !torn;
	printf("# %s: %s: %s: not mounted\n", tally->fs, tally->fault, where);
	check(torn && tally->torn <= 1 + tally->points / 50, "%s: %s: %s: mounted", tally->fs, tally->fault, where);
	return false;
}

static unsigned long print(const struct column *of)
{
	unsigned long points = 0;

	for (size_t i = 0; i < of->count; i++) {
		const struct tally *t = &of->tallies[i];

		printf("%-6s %-28s %7lu %8lu %8lu %8lu %6lu %6lu %9lu %6lu %8lu %5lu %6lu\n", t->fs, t->fault,
		       t->points, t->files, t->found[OLD], t->found[CHANGED], t->found[HALF], t->found[WRONG],
		       t->found[FORGOTTEN], t->found[CLEAR], t->found[DAMAGED], t->left, t->broken);
		points += t->points;
	}
	return points;
}

bool chosen(unsigned int one_in, const char *fs, unsigned int a, unsigned int b, unsigned int c)
{
	const char *sparse = getenv("TK_SPARSE"); /* of those that would be tried, one in so many */
	uint64_t x = (uint64_t)*fs << 56 ^ (uint64_t)a << 40 ^ (uint64_t)b << 20 ^ c;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (x >> 20) % (one_in * (sparse ? strtoul(sparse, NULL, 10) : 1)) == 0;
}

static void on_filesystem(const char *fs, const struct extent *extent)
{
	passed = failed = 0;
	if (!extent->only_rekey)
		fault_matrix(fs, extent);
	if (!extent->only_rekey && !getenv("TK_POINT"))
		power_matrix(fs, extent);
	if (!getenv("TK_POINT"))
		rekey_matrix(fs, extent);
	column->passed = passed;
	column->failed = failed;
	fflush(stdout);
	_exit(0);
}

bool crash_matrix(const char *const *fs, size_t count, const struct extent *extent)
{
	struct column *columns = mmap(NULL, count * sizeof(*columns), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	time_t begun = time(NULL);
	unsigned long points = 0;
	bool good = true;

	if (columns == MAP_FAILED)
		return false;
	fflush(stdout);
	for (size_t i = 0; i < count; i++) {
		column = &columns[i];
		if (!fork())
			on_filesystem(fs[i], extent);
	}
	for (int status; wait(&status) > 0;)
		good = good && !status;
	printf("\n%-6s %-28s %7s %8s %8s %8s %6s %6s %9s %6s %8s %5s %6s\n", "", "fault", "points", "files",
	       "old", "new", "half*", "WRONG", "FORGOTTEN", "CLEAR", "DAMAGED", "LEFT", "BROKEN");
	for (size_t i = 0; i < count; i++) {
		points += print(&columns[i]);
		passed += columns[i].passed;
		failed += columns[i].failed;
		good = good && columns[i].passed;
	}
	printf("* the power went while the application was writing, before its fsync\n");
	printf("%lu points in %ld s\n", points, (long)(time(NULL) - begun));
	munmap(columns, count * sizeof(*columns));
	return good && points && !failed;
}
