// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/scan.c - is a text JSON, to the letter of RFC 8259?
 *
 * cJSON builds the tree, but it lets pass what an access policy must not leave
 * in doubt (text after the end, invalid UTF-8, NUL, numbers like 01) and does not
 * say where a syntax error is.  So this reads the text first, builds nothing,
 * and knows the line.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "loader/policy/internal.h"

struct scan {
	struct tk_report *report;
	const unsigned char *text, *p, *end;
};

/* Reports `what` at the place that was reached. */
static bool scan_fail(struct scan *scan, const char *what)
{
	size_t line = 1, column = 1;

	for (const unsigned char *p = scan->text; p < scan->p; p++) {
		if (*p == '\n') {
			line++;
			column = 1;
		} else if ((*p & 0xc0) != 0x80) { /* characters, as editors count */
			column++;
		}
	}
	tk_error(scan->report, NULL, "line %zu, column %zu: %s", line, column, what);
	return false;
}

static bool scan_unexpected(struct scan *scan, const char *expected)
{
	char what[96];

	if (scan->p == scan->end)
		snprintf(what, sizeof(what), "expected %s, found the end of the text", expected);
	else if (*scan->p > 0x20 && *scan->p < 0x7f)
		snprintf(what, sizeof(what), "expected %s, found '%c'", expected, *scan->p);
	else
		snprintf(what, sizeof(what), "expected %s, found byte 0x%02x", expected, *scan->p);
	return scan_fail(scan, what);
}

static void scan_space(struct scan *scan)
{
	while (scan->p < scan->end &&
	       (*scan->p == ' ' || *scan->p == '\t' || *scan->p == '\n' || *scan->p == '\r'))
		scan->p++;
}

static bool scan_byte(struct scan *scan, unsigned char byte)
{
	if (scan->p == scan->end || *scan->p != byte)
		return false;
	scan->p++;
	return true;
}

/* One character of two or more bytes (RFC 3629: shortest form, no surrogates, at most U+10FFFF). */
static bool scan_utf8(struct scan *scan)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high, length;
	} forms[] = {
		{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	const unsigned char *p = scan->p;

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (*p < forms[i].first_low || *p > forms[i].first_high)
			continue;
		if (scan->end - p < forms[i].length || p[1] < forms[i].second_low ||
		    p[1] > forms[i].second_high)
			break;
		for (int j = 2; j < forms[i].length; j++) {
			if ((p[j] & 0xc0) != 0x80)
				return scan_fail(scan, "invalid UTF-8");
		}
		scan->p += forms[i].length;
		return true;
	}
	return scan_fail(scan, "invalid UTF-8");
}

/* The four digits after \u; scan->p is at the first. */
static bool scan_hex4(struct scan *scan, unsigned int *ret_unit)
{
	unsigned int unit = 0;

	for (int i = 0; i < 4; i++, scan->p++) {
		if (scan->p == scan->end || !isxdigit(*scan->p))
			return scan_unexpected(scan, "four hexadecimal digits");
		unit = unit * 16 +
		       (unsigned int)(isdigit(*scan->p) ? *scan->p - '0' : (*scan->p | 0x20) - 'a' + 10);
	}
	*ret_unit = unit;
	return true;
}

static bool scan_unicode_escape(struct scan *scan)
{
	unsigned int unit;

	if (!scan_hex4(scan, &unit))
		return false;
	if (!unit)
		return scan_fail(scan, "a NUL character in a string");
	if (unit < 0xd800 || unit > 0xdfff)
		return true;
	if (unit > 0xdbff)
		return scan_fail(scan, "a lone surrogate in a string");
	if (!scan_byte(scan, '\\') || !scan_byte(scan, 'u'))
		return scan_fail(scan, "a lone surrogate in a string");
	if (!scan_hex4(scan, &unit))
		return false;
	if (unit < 0xdc00 || unit > 0xdfff)
		return scan_fail(scan, "a lone surrogate in a string");
	return true;
}

/* After the opening quote. */
static bool scan_string(struct scan *scan)
{
	while (scan->p < scan->end) {
		if (*scan->p == '"') {
			scan->p++;
			return true;
		}
		if (*scan->p < 0x20)
			return scan_fail(scan, "a control character in a string (write it as \\u00XX)");
		if (*scan->p == '\\') {
			scan->p++;
			if (scan_byte(scan, 'u')) {
				if (!scan_unicode_escape(scan))
					return false;
			} else if (scan->p == scan->end || !*scan->p || !strchr("\"\\/bfnrt", *scan->p)) {
				return scan_unexpected(scan, "an escape sequence");
			} else {
				scan->p++;
			}
		} else if (*scan->p < 0x80) {
			scan->p++;
		} else if (!scan_utf8(scan)) {
			return false;
		}
	}
	return scan_unexpected(scan, "'\"' at the end of a string");
}

static bool scan_digits(struct scan *scan)
{
	if (scan->p == scan->end || !isdigit(*scan->p))
		return scan_unexpected(scan, "a digit");
	while (scan->p < scan->end && isdigit(*scan->p))
		scan->p++;
	return true;
}

static bool scan_number(struct scan *scan)
{
	const unsigned char *start = scan->p;

	scan_byte(scan, '-');
	if (!scan_byte(scan, '0') && !scan_digits(scan))
		return false;
	if (scan_byte(scan, '.') && !scan_digits(scan))
		return false;
	if (scan_byte(scan, 'e') || scan_byte(scan, 'E')) {
		if (!scan_byte(scan, '+'))
			scan_byte(scan, '-');
		if (!scan_digits(scan))
			return false;
	}
	/* cJSON reads numbers through a buffer of 64 bytes. */
	if (scan->p - start > 60) {
		scan->p = start;
		return scan_fail(scan, "a number of more than 60 digits");
	}
	return true;
}

static bool scan_word(struct scan *scan, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(scan->end - scan->p) < len || memcmp(scan->p, word, len))
		return scan_unexpected(scan, "a value");
	scan->p += len;
	return true;
}

static bool scan_value(struct scan *scan, unsigned int depth);

/* After the opening brace. */
static bool scan_object(struct scan *scan, unsigned int depth)
{
	scan_space(scan);
	if (scan_byte(scan, '}'))
		return true;
	for (;;) {
		scan_space(scan);
		if (!scan_byte(scan, '"'))
			return scan_unexpected(scan, "a key in double quotes");
		if (!scan_string(scan))
			return false;
		scan_space(scan);
		if (!scan_byte(scan, ':'))
			return scan_unexpected(scan, "':'");
		if (!scan_value(scan, depth))
			return false;
		if (scan_byte(scan, '}'))
			return true;
		if (!scan_byte(scan, ','))
			return scan_unexpected(scan, "',' or '}'");
	}
}

/* After the opening bracket. */
static bool scan_array(struct scan *scan, unsigned int depth)
{
	scan_space(scan);
	if (scan_byte(scan, ']'))
		return true;
	for (;;) {
		if (!scan_value(scan, depth))
			return false;
		if (scan_byte(scan, ']'))
			return true;
		if (!scan_byte(scan, ','))
			return scan_unexpected(scan, "',' or ']'");
	}
}

/* A value with the white space around it. */
static bool scan_value(struct scan *scan, unsigned int depth)
{
	bool good;

	scan_space(scan);
	if (depth >= TK_JSON_DEPTH)
		return scan_fail(scan, "nested too deep");
	if (scan_byte(scan, '{'))
		good = scan_object(scan, depth + 1);
	else if (scan_byte(scan, '['))
		good = scan_array(scan, depth + 1);
	else if (scan_byte(scan, '"'))
		good = scan_string(scan);
	else if (scan->p < scan->end && (*scan->p == '-' || isdigit(*scan->p)))
		good = scan_number(scan);
	else if (scan->p < scan->end && *scan->p == 't')
		good = scan_word(scan, "true");
	else if (scan->p < scan->end && *scan->p == 'f')
		good = scan_word(scan, "false");
	else
		good = scan->p < scan->end && *scan->p == 'n' ? scan_word(scan, "null")
							      : scan_unexpected(scan, "a value");
	scan_space(scan);
	return good;
}

bool tk_json_scan(const char *text, size_t len, struct tk_report *report)
{
	const unsigned char *bytes = (const unsigned char *)text;
	struct scan scan = {.report = report, .text = bytes, .p = bytes, .end = bytes + len};

	if (!scan_value(&scan, 0))
		return false;
	if (scan.p != scan.end)
		return scan_unexpected(&scan, "nothing after the policy");
	return true;
}
