// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/policy_times_test.c - time sets at fixed instants: ranges past
 * midnight, weekdays, changes of summer time, the next change; zones against the C
 * library; zone files that are damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loader/policy/internal.h"

/* A policy of one time set, written with ' for ". */
static struct tk_compiled *compiled_of(const char *set)
{
	char text[1024];
	struct tk_compiled *compiled = NULL;
	struct tk_problems problems = {0};
	int r;

	snprintf(text, sizeof(text),
		 "{'version': 1, 'time_sets': {'s': %s}, 'policies': {'p': {'rules': [{'times': 's', "
		 "'actions': ['read'], 'effects': ['permit']}]}}, "
		 "'guard_points': [{'name': 'g', 'path': '/g', 'policy': 'p'}]}",
		 set);
	for (char *p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	r = tk_policy_compile(text, strlen(text), &compiled, &problems);
	if (r)
		fail_msg("%s: %s", problems.items[0].pointer, problems.items[0].message);
	tk_problems_free(&problems);
	return compiled;
}

static int64_t instant(const char *text)
{
	struct tk_moment moment;

	if (!tk_moment_parse(text, &moment) || moment.on_wall)
		fail_msg("%s is no instant", text);
	return moment.when;
}

struct expected {
	const char *set, *when;
	bool holds;
	const char *next;
};

#define JAKARTA "{'days': ['mon', 'tue', 'wed', 'thu', 'fri'], 'from': '08:00', 'to': '18:00', 'timezone': 'Asia/Jakarta'}"
#define NIGHT "{'days': ['fri'], 'from': '22:00', 'to': '06:00', 'timezone': 'Europe/Berlin'}"
#define GAP "{'from': '02:30', 'to': '04:00', 'timezone': 'Europe/Berlin'}"
#define TWICE "{'from': '02:30', 'to': '03:00', 'timezone': 'Europe/Berlin'}"
#define WEEKEND "{'days': ['sat', 'sun'], 'timezone': 'America/New_York'}"
#define EVENING "{'days': ['sun'], 'from': '18:00', 'to': '24:00', 'timezone': 'UTC'}"
/* clang-format off */
static const struct expected table[] = {
	/* 2026-11-20 is a Friday; Jakarta is 7 hours ahead and has no summer time. */
	{JAKARTA, "2026-11-20T07:59:59+07:00", false, "2026-11-20T01:00:00Z"},
	{JAKARTA, "2026-11-20T08:00:00+07:00", true, "2026-11-20T11:00:00Z"},
	{JAKARTA, "2026-11-20T17:59:59+07:00", true, "2026-11-20T11:00:00Z"},
	{JAKARTA, "2026-11-20T18:00:00+07:00", false, "2026-11-23T01:00:00Z"},
	{JAKARTA, "2026-11-21T09:00:00+07:00", false, "2026-11-23T01:00:00Z"},
	/* The night of Friday goes on into Saturday, that of Thursday not into Friday. */
	{NIGHT, "2026-11-20T05:00:00+01:00", false, "2026-11-20T21:00:00Z"},
	{NIGHT, "2026-11-20T22:00:00+01:00", true, "2026-11-21T05:00:00Z"},
	{NIGHT, "2026-11-21T00:00:00+01:00", true, "2026-11-21T05:00:00Z"},
	{NIGHT, "2026-11-21T05:59:59+01:00", true, "2026-11-21T05:00:00Z"},
	{NIGHT, "2026-11-21T06:00:00+01:00", false, "2026-11-27T21:00:00Z"},
	{NIGHT, "2026-11-21T22:30:00+01:00", false, "2026-11-27T21:00:00Z"},
	/* 2026-03-29: from 02:00 the clock goes to 03:00, which is past 02:30. */
	{GAP, "2026-03-29T00:59:59Z", false, "2026-03-29T01:00:00Z"},
	{GAP, "2026-03-29T01:00:00Z", true, "2026-03-29T02:00:00Z"},
	{GAP, "2026-03-29T02:00:00Z", false, "2026-03-30T00:30:00Z"},
	/* A range that lies in the gap does not happen that day. */
	{TWICE, "2026-03-28T12:00:00Z", false, "2026-03-30T00:30:00Z"},
	/* 2026-10-25: the clock shows 02:00 to 03:00 twice, so the range comes twice. */
	{TWICE, "2026-10-25T00:29:59Z", false, "2026-10-25T00:30:00Z"},
	{TWICE, "2026-10-25T00:30:00Z", true, "2026-10-25T01:00:00Z"},
	{TWICE, "2026-10-25T01:00:00Z", false, "2026-10-25T01:30:00Z"},
	{TWICE, "2026-10-25T01:30:00Z", true, "2026-10-25T02:00:00Z"},
	/* Whole days, over the end of summer time, and past the table of the zone's file. */
	{WEEKEND, "2026-10-31T03:59:59Z", false, "2026-10-31T04:00:00Z"},
	{WEEKEND, "2026-10-31T04:00:00Z", true, "2026-11-02T05:00:00Z"},
	{WEEKEND, "2026-11-02T05:00:00Z", false, "2026-11-07T05:00:00Z"},
	{WEEKEND, "2099-07-04T04:00:00Z", true, "2099-07-06T04:00:00Z"},
	{WEEKEND, "2099-12-04T12:00:00Z", false, "2099-12-05T05:00:00Z"},
	{EVENING, "2026-11-22T23:59:59Z", true, "2026-11-23T00:00:00Z"},
	{EVENING, "2026-11-23T00:00:00Z", false, "2026-11-29T18:00:00Z"},
};
/* clang-format on */

static void fixed_instants(void **state)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct tk_compiled *compiled = compiled_of(table[i].set);
		struct tk_set_bits holding;
		int64_t next;

		tk_times_at(compiled, instant(table[i].when), &holding, &next);
		if ((holding.sets[0] == 1) != table[i].holds || next != instant(table[i].next))
			fail_msg("%s at %s: %d until %lld, not until %s", table[i].set, table[i].when,
				 (int)holding.sets[0], (long long)next, table[i].next);
		tk_compiled_free(compiled);
	}
}

static void on_the_wall(void **state)
{
	static const struct {
		const char *at;
		bool holds;
	} walls[] = {{"fri 22:00", true}, {"fri 21:59", false}, {"sat 05:59", true}, {"sat 06:00", false},
		     {"fri 05:59", false}};
	struct tk_compiled *compiled = compiled_of(NIGHT);

	for (size_t i = 0; i < sizeof(walls) / sizeof(walls[0]); i++) {
		struct tk_set_bits holding;
		struct tk_moment moment;

		assert_true(tk_moment_parse(walls[i].at, &moment));
		tk_times_of(compiled, &moment, &holding);
		if ((holding.sets[0] == 1) != walls[i].holds)
			fail_msg("%s", walls[i].at);
	}
	tk_compiled_free(compiled);
}

static void moments(void **state)
{
	static const char *const bad[] = {"",
					  "mon",
					  "mon 9:30",
					  "mon 24:00",
					  "mon 09:60",
					  "day 09:30",
					  "mon 09:30 ",
					  "2026-11-21",
					  "2026-11-21T09:30:00",
					  "2026-11-21T09:30Z",
					  "2026-02-29T00:00:00Z",
					  "2026-13-01T00:00:00Z",
					  "2026-11-21T24:00:00Z",
					  "2026-11-21T09:30:00+7:00",
					  "2026-11-21T09:30:00Zx"};
	struct tk_moment moment;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (tk_moment_parse(bad[i], &moment))
			fail_msg("\"%s\" is taken", bad[i]);
	assert_int_equal(instant("1970-01-01T00:00:00Z"), 0);
	assert_int_equal(instant("2023-11-15T05:13:20.75+07:00"), 1700000000);
	assert_int_equal(instant("2024-02-29 23:59:59-00:30"), instant("2024-03-01T00:29:59Z"));
}

/* Each zone's offset every few hours over many years, and around each change. */
static void as_the_c_library(void **state)
{
	static const char *const zones[] = {"UTC",
					    "Europe/Berlin",
					    "America/New_York",
					    "Asia/Jakarta",
					    "Australia/Lord_Howe",
					    "Africa/Casablanca",
					    "America/Sao_Paulo",
					    "Pacific/Apia",
					    "Asia/Gaza",
					    "Europe/Dublin",
					    "America/Nuuk",
					    "Asia/Kathmandu",
					    "Antarctica/Troll"};

	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
		struct tk_zone *zone;
		const char *why;
		int64_t until;

		assert_int_equal(tk_zone_read(zones[i], &zone, &why), 0);
		setenv("TZ", zones[i], 1);
		tzset();
		for (int64_t when = 0; when < 5000000000; when += 45000) {
			struct tm tm;

			for (int64_t at = when; at <= when + 1; at++) {
				time_t t = at;
				int32_t offset = tk_zone_offset(zone, at, &until);

				localtime_r(&t, &tm);
				if (offset != tm.tm_gmtoff)
					fail_msg("%s at %lld: %d, not %ld", zones[i], (long long)at, offset,
						 tm.tm_gmtoff);
			}
			/* Nothing may change before it is said to. */
			if (until > when && until < when + 45000) {
				time_t t = until - 1;

				localtime_r(&t, &tm);
				assert_int_equal(tm.tm_gmtoff, tk_zone_offset(zone, when + 1, &until));
			}
		}
		free(zone);
	}
	unsetenv("TZ");
}

static void damaged_zones(void **state)
{
	static const char *const names[] = {"",	  "/etc/passwd", "../zoneinfo/UTC", "UTC/", ".UTC", "Area//City",
					    "Europe", "no/such/zone", "right/UTC", "tzdata.zi", "a b"};
	uint8_t data[8192];
	struct tk_zone *zone;
	const char *why;
	size_t len;
	FILE *in = fopen("/usr/share/zoneinfo/Europe/Berlin", "re");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (tk_zone_read(names[i], &zone, &why) != -EINVAL)
			fail_msg("\"%s\" is taken", names[i]);
	assert_non_null(in);
	len = fread(data, 1, sizeof(data), in);
	fclose(in);
	assert_int_equal(tk_zone_parse(data, len, &zone, &why), 0);
	free(zone);
	for (size_t shorter = 0; shorter < len; shorter++)
		assert_int_equal(tk_zone_parse(data, shorter, &zone, &why), -EINVAL);
	data[4] = '\0'; /* version 1 */
	assert_int_equal(tk_zone_parse(data, len, &zone, &why), -EINVAL);
	data[4] = '2';
	for (size_t i = 20; i < 44; i++) {
		data[i] ^= 0xff;
		if (!tk_zone_parse(data, len, &zone, &why))
			fail_msg("damage at byte %zu is taken", i);
		data[i] ^= 0xff;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixed_instants), cmocka_unit_test(on_the_wall),
		cmocka_unit_test(moments),	  cmocka_unit_test(as_the_c_library),
		cmocka_unit_test(damaged_zones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
