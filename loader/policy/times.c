// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/times.c - which time sets hold at an instant, and until when that
 * stays so.
 *
 * A set is about the clock on the wall of its zone: "02:30" holds from the first
 * moment that clock shows 02:30 or later.  A range past midnight belongs to the day
 * it begins.
 */
#include <ctype.h>
#include <string.h>
#include <time.h>

#include "loader/policy/internal.h"

#define DAY 86400
#define NSEC_PER_SEC 1000000000
#define CUTS_MAX 64 /* a set changes within 8 days, at 3 cuts each, and at changes of the zone's offset */

const char *const tk_day_names[7] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static bool wall_holds(const struct tk_time_spec *spec, unsigned int weekday, unsigned int second)
{
	unsigned int from = spec->from * 60u, to = spec->to * 60u;
	bool today = spec->days >> weekday & 1, yesterday = spec->days >> (weekday + 6) % 7 & 1;

	if (from < to)
		return today && second >= from && second < to;
	return (today && second >= from) || (yesterday && second < to);
}

static bool spec_holds(const struct tk_time_spec *spec, int64_t when)
{
	int64_t until, local = when + tk_zone_offset(spec->zone, when, &until), day = tk_floor_div(local, DAY);

	return wall_holds(spec, tk_weekday(day), (unsigned int)(local - day * DAY));
}

/* The first instant after `when` at which the answer is another one. */
static int64_t spec_next(const struct tk_time_spec *spec, int64_t when)
{
	bool now = spec_holds(spec, when);

	for (int i = 0; i < CUTS_MAX; i++) {
		int64_t until, local = when + tk_zone_offset(spec->zone, when, &until);
		int64_t second = local - tk_floor_div(local, DAY) * DAY, cut = DAY;

		if (spec->from * 60 > second)
			cut = spec->from * 60 < cut ? spec->from * 60 : cut;
		if (spec->to * 60 > second)
			cut = spec->to * 60 < cut ? spec->to * 60 : cut;
		when += cut - second;
		if (until < when)
			when = until;
		if (spec_holds(spec, when) != now)
			return when;
	}
	return when;
}

bool tk_time_holds(const struct tk_time_spec *spec, int64_t when, int64_t *ret_until)
{
	*ret_until = spec_next(spec, when);
	return spec_holds(spec, when);
}

void tk_times_at(const struct tk_compiled *compiled, int64_t when, struct tk_set_bits *ret_holding,
		 int64_t *ret_next)
{
	struct tk_set_bits holding = {0};
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < compiled->time_set_count; i++) {
		int64_t change;

		if (tk_time_holds(&compiled->times[i], when, &change))
			holding.sets[i / 64] |= 1ull << (i % 64);
		next = change < next ? change : next;
	}
	*ret_holding = holding;
	*ret_next = next;
}

void tk_times_now(const struct tk_compiled *compiled, struct tk_times_now *ret_now, int64_t *ret_next)
{
	struct timespec real, boot;

	/* In this order: what passes in between, a suspended machine's hours even, makes the answer hold shorter. */
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &real);
	memset(ret_now, 0, sizeof(*ret_now));
	tk_times_at(compiled, real.tv_sec, &ret_now->holding, ret_next);
	ret_now->until = UINT64_MAX;
	if (*ret_next != INT64_MAX)
		ret_now->until = (uint64_t)((boot.tv_sec + *ret_next - real.tv_sec) * NSEC_PER_SEC +
					    boot.tv_nsec - real.tv_nsec) +
				 TK_TIMES_LATE;
}

void tk_times_of(const struct tk_compiled *compiled, const struct tk_moment *moment,
		 struct tk_set_bits *ret_holding)
{
	struct tk_set_bits holding = {0};

	for (size_t i = 0; i < compiled->time_set_count; i++) {
		const struct tk_time_spec *spec = &compiled->times[i];

		if (moment->on_wall ? wall_holds(spec, moment->weekday, moment->minute * 60u)
				    : spec_holds(spec, moment->when))
			holding.sets[i / 64] |= 1ull << (i % 64);
	}
	*ret_holding = holding;
}

/* ---------------------------------------------------------------- words */

bool tk_day_parse(const char *name, unsigned int *ret_day)
{
	for (unsigned int day = 0; day < 7; day++) {
		if (!strcmp(name, tk_day_names[day])) {
			*ret_day = day;
			return true;
		}
	}
	return false;
}

/* `count` digits, as a number. */
static bool digits(const char **text, int count, int *ret)
{
	int value = 0;

	for (int i = 0; i < count; i++, (*text)++) {
		if (!isdigit((unsigned char)**text))
			return false;
		value = value * 10 + **text - '0';
	}
	*ret = value;
	return true;
}

bool tk_clock_parse(const char *text, uint16_t *ret_minute)
{
	int hour, minute;

	if (!digits(&text, 2, &hour) || *text++ != ':' || !digits(&text, 2, &minute) || *text)
		return false;
	if (minute > 59 || hour > 24 || (hour == 24 && minute))
		return false;
	*ret_minute = (uint16_t)(hour * 60 + minute);
	return true;
}

/* "Z" or "+07:00" behind a date and a time. */
static bool parse_offset(const char *text, int *ret_seconds)
{
	int sign = *text == '-' ? -1 : 1, hour, minute;

	if ((*text == 'Z' || *text == 'z') && !text[1]) {
		*ret_seconds = 0;
		return true;
	}
	if (*text != '+' && *text != '-')
		return false;
	text++;
	if (!digits(&text, 2, &hour) || *text++ != ':' || !digits(&text, 2, &minute) || *text || hour > 23 ||
	    minute > 59)
		return false;
	*ret_seconds = sign * (hour * 3600 + minute * 60);
	return true;
}

static bool parse_rfc3339(const char *text, int64_t *ret_when)
{
	int year, month, day, hour, minute, second, offset;
	struct tm tm;

	if (!digits(&text, 4, &year) || *text++ != '-' || !digits(&text, 2, &month) || *text++ != '-' ||
	    !digits(&text, 2, &day) || (*text != 'T' && *text != 't' && *text != ' '))
		return false;
	text++;
	if (!digits(&text, 2, &hour) || *text++ != ':' || !digits(&text, 2, &minute) || *text++ != ':' ||
	    !digits(&text, 2, &second))
		return false;
	if (*text == '.') /* parts of a second decide nothing */
		text += 1 + strspn(text + 1, "0123456789");
	if (!parse_offset(text, &offset) || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 60)
		return false;
	tm = (struct tm){.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
	*ret_when = timegm(&tm) + hour * 3600 + minute * 60 + second - offset;
	return tm.tm_mday == day && day; /* otherwise it was February 30 */
}

bool tk_moment_parse(const char *text, struct tk_moment *ret_moment)
{
	struct tk_moment moment = {0};
	char name[4];

	if (parse_rfc3339(text, &moment.when)) {
		*ret_moment = moment;
		return true;
	}
	if (strlen(text) != strlen("mon 09:30") || text[3] != ' ')
		return false;
	memcpy(name, text, 3);
	name[3] = '\0';
	moment.on_wall = true;
	if (!tk_day_parse(name, &moment.weekday) || !tk_clock_parse(text + 4, &moment.minute) ||
	    moment.minute == 24 * 60)
		return false;
	*ret_moment = moment;
	return true;
}
