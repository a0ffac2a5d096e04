// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/zone.c - what a clock on the wall shows in a time zone.  Reads the
 * system's zone files itself (TZif, RFC 9636): the C library knows one zone at a
 * time, the process's, which other threads may be using.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/policy/internal.h"

#define ZONE_DIR "/usr/share/zoneinfo/"
#define ZONE_NAME_MAX 128
#define ZONE_SIZE_MAX (256 << 10) /* the largest of tzdata has 4 KiB */
#define HEADER 44
#define DAY 86400

/* When in a year summer time begins or ends: RFC 9636, 3.3.1, as in POSIX' TZ. */
struct rule {
	enum { MONTH_WEEK_DAY, JULIAN, DAY_OF_YEAR } kind;
	int month, week, day;
	int32_t time; /* seconds of that day, by the clock before the change */
};

struct tk_zone {
	/* Past the last change written down, `rules` go on. */
	int32_t standard, summer; /* seconds east of UTC */
	bool has_rules, has_summer;
	struct rule begin, end;

	int32_t first; /* before the first change */
	size_t count;
	struct {
		int64_t at;
		int32_t offset; /* from then on */
	} changes[];
};

/* ---------------------------------------------------------------- the rules behind the table */

/* [+-]hh[:mm[:ss]] */
static bool parse_hours(const char **text, int32_t *ret_seconds)
{
	static const int32_t units[] = {3600, 60, 1};
	const char *p = *text;
	int32_t seconds = 0;
	bool minus = *p == '-';

	if (*p == '-' || *p == '+')
		p++;
	for (int i = 0; i < 3; i++) {
		int value = 0, digits = 0;

		for (; isdigit((unsigned char)*p) && digits < 3; digits++)
			value = value * 10 + *p++ - '0';
		if (!digits || value > (i ? 59 : 167))
			return false;
		seconds += value * units[i];
		if (*p != ':' || i == 2)
			break;
		p++;
	}
	*ret_seconds = minus ? -seconds : seconds;
	*text = p;
	return true;
}

static bool parse_name(const char **text)
{
	const char *p = *text;
	size_t len;

	if (*p == '<') {
		p = strchr(p, '>');
		*text = p ? p + 1 : *text;
		return p;
	}
	for (len = 0; isalpha((unsigned char)p[len]);)
		len++;
	*text = p + len;
	return len >= 3;
}

static bool parse_number(const char **text, int least, int most, int *ret)
{
	const char *p = *text;
	int value = 0, digits = 0;

	for (; isdigit((unsigned char)*p) && digits < 3; digits++)
		value = value * 10 + *p++ - '0';
	*text = p;
	*ret = value;
	return digits && value >= least && value <= most;
}

static bool parse_rule(const char **text, struct rule *rule)
{
	const char *p = *text;
	bool good;

	rule->time = 2 * 3600;
	if (*p == 'M') {
		p++;
		rule->kind = MONTH_WEEK_DAY;
		good = parse_number(&p, 1, 12, &rule->month) && *p++ == '.' &&
		       parse_number(&p, 1, 5, &rule->week) && *p++ == '.' && parse_number(&p, 0, 6, &rule->day);
	} else if (*p == 'J') {
		p++;
		rule->kind = JULIAN;
		good = parse_number(&p, 1, 365, &rule->day);
	} else {
		rule->kind = DAY_OF_YEAR;
		good = parse_number(&p, 0, 365, &rule->day);
	}
	if (good && *p == '/') {
		p++;
		good = parse_hours(&p, &rule->time);
	}
	*text = p;
	return good;
}

static bool parse_rules(const char *text, struct tk_zone *zone)
{
	int32_t west;

	if (!*text)
		return true;
	if (!parse_name(&text) || !parse_hours(&text, &west))
		return false;
	zone->has_rules = true;
	zone->standard = -west;
	if (!*text)
		return true;
	if (!parse_name(&text))
		return false;
	zone->has_summer = true;
	zone->summer = zone->standard + 3600;
	if (*text && *text != ',') {
		if (!parse_hours(&text, &west))
			return false;
		zone->summer = -west;
	}
	return *text++ == ',' && parse_rule(&text, &zone->begin) && *text++ == ',' &&
	       parse_rule(&text, &zone->end) && !*text;
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 1970-01-01 to January 1 of a year. */
static int64_t year_start(int64_t year)
{
	int64_t before = year - 1;

	return 365 * (year - 1970) + (before / 4 - 1969 / 4) - (before / 100 - 1969 / 100) +
	       (before / 400 - 1969 / 400);
}

static int64_t year_of(int64_t day)
{
	int64_t year = 1970 + day / 366;

	while (year_start(year + 1) <= day)
		year++;
	while (year_start(year) > day)
		year--;
	return year;
}

/* The day a rule names, counted from 1970-01-01. */
static int64_t rule_day(const struct rule *rule, int64_t year)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t first = year_start(year), day;
	int length;

	if (rule->kind == DAY_OF_YEAR)
		return first + rule->day;
	if (rule->kind == JULIAN) /* February 29 is never counted */
		return first + rule->day - 1 + (is_leap(year) && rule->day >= 60);
	for (int month = 1; month < rule->month; month++)
		first += lengths[month - 1] + (month == 2 && is_leap(year));
	length = lengths[rule->month - 1] + (rule->month == 2 && is_leap(year));
	day = (rule->day - tk_weekday(first) + 7) % 7 + 7 * (rule->week - 1);
	if (day >= length) /* week 5 is the last one */
		day -= 7;
	return first + day;
}

static int32_t offset_by_rules(const struct tk_zone *zone, int64_t when, int64_t *ret_until)
{
	int64_t year = year_of(tk_floor_div(when + zone->standard, DAY)), until = INT64_MAX;
	int32_t offset = zone->standard;

	if (!zone->has_summer) {
		*ret_until = INT64_MAX;
		return zone->standard;
	}
	/* The last change not after `when`; of two at one instant the one of the later year. */
	for (int64_t y = year - 1, last = INT64_MIN; y <= year + 1; y++) {
		int64_t begin = rule_day(&zone->begin, y) * DAY + zone->begin.time - zone->standard;
		int64_t end = rule_day(&zone->end, y) * DAY + zone->end.time - zone->summer;

		if (begin <= when && begin >= last) {
			last = begin;
			offset = zone->summer;
		}
		if (end <= when && end >= last) {
			last = end;
			offset = zone->standard;
		}
		if (begin > when && begin < until)
			until = begin;
		if (end > when && end < until)
			until = end;
	}
	*ret_until = until;
	return offset;
}

int32_t tk_zone_offset(const struct tk_zone *zone, int64_t when, int64_t *ret_until)
{
	size_t low = 0, high = zone->count;

	/* The number of changes not after `when`. */
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (zone->changes[middle].at <= when)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == zone->count && zone->has_rules)
		return offset_by_rules(zone, when, ret_until);
	*ret_until = low < zone->count ? zone->changes[low].at : INT64_MAX;
	return low ? zone->changes[low - 1].offset : zone->first;
}

/* ---------------------------------------------------------------- the file */

struct counts {
	size_t utc, standard, leap, time, type, chars;
};

static uint64_t big_endian(const uint8_t *data, size_t bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *data++;
	return value;
}

static bool read_header(const uint8_t *data, size_t len, struct counts *ret)
{
	if (len < HEADER || memcmp(data, "TZif", 4) || data[4] < '2')
		return false;
	*ret = (struct counts){
		.utc = big_endian(data + 20, 4),
		.standard = big_endian(data + 24, 4),
		.leap = big_endian(data + 28, 4),
		.time = big_endian(data + 32, 4),
		.type = big_endian(data + 36, 4),
		.chars = big_endian(data + 40, 4),
	};
	/* So that no sum overflows. */
	return ret->utc <= len && ret->standard <= len && ret->leap <= len && ret->time <= len &&
	       ret->type <= len && ret->chars <= len;
}

static size_t block_size(const struct counts *n, size_t word)
{
	return n->time * (word + 1) + n->type * 6 + n->chars + n->leap * (word + 4) + n->standard + n->utc;
}

/* Offsets go to a day and a bit; more would only be damage (RFC 9636, 3.2). */
static bool read_offset(const uint8_t *types, size_t index, size_t count, int32_t *ret)
{
	if (index >= count)
		return false;
	*ret = (int32_t)big_endian(types + 6 * index, 4);
	return *ret > -26 * 3600 && *ret < 26 * 3600;
}

static bool read_changes(const uint8_t *data, const struct counts *n, struct tk_zone *zone)
{
	const uint8_t *indices = data + n->time * 8, *types = indices + n->time;

	if (!read_offset(types, 0, n->type, &zone->first))
		return false;
	for (size_t i = 0; i < n->time; i++) {
		zone->changes[i].at = (int64_t)big_endian(data + 8 * i, 8);
		if ((i && zone->changes[i].at <= zone->changes[i - 1].at) ||
		    !read_offset(types, indices[i], n->type, &zone->changes[i].offset))
			return false;
	}
	zone->count = n->time;
	return true;
}

/* "\n" rules "\n" behind everything else. */
static bool read_footer(const uint8_t *data, size_t len, struct tk_zone *zone)
{
	char text[128];

	if (len < 2 || len - 2 >= sizeof(text) || data[0] != '\n' || data[len - 1] != '\n')
		return false;
	memcpy(text, data + 1, len - 2);
	text[len - 2] = '\0';
	return parse_rules(text, zone);
}

int tk_zone_parse(const uint8_t *data, size_t len, struct tk_zone **ret_zone, const char **ret_why)
{
	TK_FREE struct tk_zone *zone = NULL;
	struct counts n;
	size_t size;

	*ret_why = "its zone file is damaged, or older than TZif version 2";
	if (!read_header(data, len, &n) || HEADER + block_size(&n, 4) > len)
		return -EINVAL;
	size = HEADER + block_size(&n, 4); /* the first block has 32 bits and is of no use */
	data += size;
	len -= size;
	if (!read_header(data, len, &n) || HEADER + block_size(&n, 8) > len)
		return -EINVAL;
	if (n.leap) {
		*ret_why = "a zone that counts leap seconds, which the system's clock does not";
		return -EINVAL;
	}
	zone = calloc(1, sizeof(*zone) + n.time * sizeof(zone->changes[0]));
	if (!zone)
		return -ENOMEM;
	size = HEADER + block_size(&n, 8);
	if (!read_changes(data + HEADER, &n, zone) || !read_footer(data + size, len - size, zone))
		return -EINVAL;
	*ret_zone = zone;
	zone = NULL;
	return 0;
}

/* Letters, digits and "_+-/", no component empty or hidden: the name becomes part of a path. */
static bool is_zone_name(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > ZONE_NAME_MAX || name[len - 1] == '/')
		return false;
	for (size_t i = 0; i < len; i++) {
		bool at_start = !i || name[i - 1] == '/';

		if (at_start ? !isalnum((unsigned char)name[i])
			     : !isalnum((unsigned char)name[i]) && !strchr("_+-/", name[i]))
			return false;
	}
	return true;
}

int tk_zone_read(const char *name, struct tk_zone **ret_zone, const char **ret_why)
{
	char path[sizeof(ZONE_DIR) + ZONE_NAME_MAX];
	TK_FREE uint8_t *data = NULL;
	TK_CLOSE int fd = -1;
	struct stat st;
	ssize_t got;

	*ret_why = "no such zone in " ZONE_DIR " (\"Area/City\" or \"UTC\"; package tzdata has them)";
	if (!is_zone_name(name))
		return -EINVAL;
	strcpy(path, ZONE_DIR);
	strcat(path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > ZONE_SIZE_MAX)
		return -EINVAL;
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return -ENOMEM;
	got = read(fd, data, (size_t)st.st_size);
	return got < 0 ? -EINVAL : tk_zone_parse(data, (size_t)got, ret_zone, ret_why);
}
