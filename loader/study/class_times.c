// SPDX-License-Identifier: GPL-2.0
/*
 * loader/study/class_times.c - finds the classes of times: goes through a year from one
 * change of a time set to the next.  Two zones differ by another offset in winter than
 * in summer, so a week would not do.
 */
#include "loader/study/classes.h"
#include "loader/util.h"

#include <errno.h>
#include <string.h>

#define YEAR (366 * 86400)

struct clock {
	const struct tk_time_spec *spec;
	int side;
	uint32_t set;
	int64_t until; /* it holds, or does not, until then */
};

/* Both policies' sets as they are at `now`; returns when the next one may change. */
static int64_t holding_at(struct clock *clocks, size_t count, int64_t now, struct tk_class *class)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < count; i++) {
		struct clock *clock = &clocks[i];
		uint64_t *word = &class->sets[clock->side][clock->set / 64], bit = 1ull << (clock->set % 64);

		if (clock->until <= now)
			*word = tk_time_holds(clock->spec, now, &clock->until) ? *word | bit : *word & ~bit;
		next = clock->until < next ? clock->until : next;
	}
	return next;
}

static char *example_of(const struct tk_class *class, int64_t now)
{
	char text[32] = "";
	uint64_t any = 0;
	struct tm tm;

	for (int word = 0; word < TK_SIDES * TK_SET_WORDS; word++)
		any |= (&class->sets[0][0])[word];
	if (!any || !gmtime_r(&now, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return NULL;
	return strdup(text);
}

static int walk(struct clock *clocks, size_t count, int64_t from, struct tk_classes *classes)
{
	struct tk_class now = {0}, class;
	int64_t when = from, next;
	int r;

	do {
		next = holding_at(clocks, count, when, &now);
		class = now;
		class.example = example_of(&now, when);
		r = tk_class_add(classes, &class);
		if (r != 1)
			free(class.example);
		when = next;
	} while (r >= 0 && when < from + YEAR);
	return r < 0 ? r : 0;
}

int tk_classes_of_times(const struct tk_compiled *const sides[TK_SIDES], const struct tk_class_mask *mask,
			int64_t from, struct tk_classes *ret_classes)
{
	_cleanup_free_ struct clock *clocks = calloc(TK_SIDES * TK_MAX_SETS, sizeof(*clocks));
	struct tk_classes classes = {0};
	size_t count = 0;
	int r;

	if (!clocks)
		return -ENOMEM;
	for (int side = 0; side < TK_SIDES; side++) {
		for (uint32_t set = 0; set < sides[side]->time_set_count; set++) {
			if (mask->sets[side][set / 64] >> (set % 64) & 1)
				clocks[count++] = (struct clock){.spec = &sides[side]->times[set],
								 .side = side,
								 .set = set,
								 .until = INT64_MIN};
		}
	}
	r = walk(clocks, count, from, &classes);
	if (r < 0)
		tk_classes_free(&classes);
	else
		*ret_classes = classes;
	return r;
}
