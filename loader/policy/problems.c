// SPDX-License-Identifier: GPL-2.0
/*
 * loader/policy/problems.c - problems and the places they are at: collecting
 * them, writing a place as a JSON pointer, guessing what was meant.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/policy/internal.h"

void *tk_append(void *items, size_t *count, size_t size)
{
	void **array = items;
	char *fresh;

	/* The array doubles whenever its count reaches a power of two, so no capacity need be kept. */
	if (!(*count & (*count - 1)) || !*count) {
		size_t capacity = *count ? *count * 2 : 1;

		if (__builtin_mul_overflow(capacity, size, &capacity))
			return NULL;
		fresh = realloc(*array, capacity);
		if (!fresh)
			return NULL;
		*array = fresh;
	}
	fresh = (char *)*array + *count * size;
	memset(fresh, 0, size);
	(*count)++;
	return fresh;
}

void tk_problems_free(struct tk_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++) {
		free(problems->items[i].pointer);
		free(problems->items[i].message);
	}
	free(problems->items);
	*problems = (struct tk_problems){0};
}

static int problem_add(struct tk_problems *problems, bool warning, char *pointer, char *message)
{
	struct tk_problem *problem;

	if (!pointer || !message)
		goto no_memory;
	problem = tk_append(&problems->items, &problems->count, sizeof(*problem));
	if (!problem)
		goto no_memory;
	*problem = (struct tk_problem){.warning = warning, .pointer = pointer, .message = message};
	problems->errors += !warning;
	return 0;

no_memory:
	free(pointer);
	free(message);
	return -ENOMEM;
}

__attribute__((format(printf, 1, 0))) static char *message_format(const char *format, va_list args)
{
	char *message;

	return vasprintf(&message, format, args) < 0 ? NULL : message;
}

int tk_problem_add(struct tk_problems *problems, bool warning, const char *pointer, const char *format, ...)
{
	va_list args;
	char *message;

	va_start(args, format);
	message = message_format(format, args);
	va_end(args);
	return problem_add(problems, warning, strdup(pointer), message);
}

void tk_error(struct tk_report *report, const struct tk_place *at, const char *format, ...)
{
	va_list args;
	char *message;

	if (report->problems.errors >= TK_ERRORS_SHOWN) {
		report->more = true;
		return;
	}
	va_start(args, format);
	message = message_format(format, args);
	va_end(args);
	if (problem_add(&report->problems, false, tk_pointer(at), message) < 0)
		report->no_memory = true;
}

void tk_warning(struct tk_report *report, const struct tk_place *at, const char *format, ...)
{
	va_list args;
	char *message;

	va_start(args, format);
	message = message_format(format, args);
	va_end(args);
	if (problem_add(&report->problems, true, tk_pointer(at), message) < 0)
		report->no_memory = true;
}

int tk_report_end(struct tk_report *report, struct tk_problems *ret_problems)
{
	if (report->more &&
	    tk_problem_add(&report->problems, false, "", "more errors follow; only the first %d are shown",
			   TK_ERRORS_SHOWN) < 0)
		report->no_memory = true;
	if (report->no_memory) {
		tk_problems_free(&report->problems);
		return -ENOMEM;
	}
	*ret_problems = report->problems;
	return report->problems.errors ? -EINVAL : 0;
}

/* ---------------------------------------------------------------- places */

static void pointer_token(FILE *out, const char *key)
{
	for (const unsigned char *p = (const unsigned char *)key; *p; p++) {
		if (*p == '~')
			fputs("~0", out);
		else if (*p == '/')
			fputs("~1", out);
		else if (*p < 0x20 || *p == 0x7f)
			fprintf(out, "\\u%04x", *p);
		else
			putc(*p, out);
	}
}

static void pointer_write(FILE *out, const struct tk_place *at)
{
	if (!at)
		return;
	pointer_write(out, at->parent);
	putc('/', out);
	if (at->key)
		pointer_token(out, at->key);
	else
		fprintf(out, "%zu", at->index);
}

char *tk_pointer(const struct tk_place *at)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	bool failed;

	if (!out)
		return NULL;
	pointer_write(out, at);
	failed = ferror(out);
	if (fclose(out) == EOF || failed) {
		free(text);
		return NULL;
	}
	return text;
}

const char *tk_show(char buf[TK_SHOWN], const char *text)
{
	size_t used = 0;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (used > TK_SHOWN - 12) {
			/* Do not cut a character in two. */
			while (used && ((unsigned char)buf[used - 1] & 0xc0) == 0x80)
				used--;
			if (used && (unsigned char)buf[used - 1] >= 0xc0)
				used--;
			strcpy(buf + used, "…");
			return buf;
		}
		if (*p < 0x20 || *p == 0x7f)
			used += (size_t)sprintf(buf + used, "\\u%04x", *p);
		else
			buf[used++] = (char)*p;
	}
	buf[used] = '\0';
	return buf;
}

/* ---------------------------------------------------------------- did you mean */

#define WORD_MAX 63

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap neighbours) from a to b; neither is longer than WORD_MAX. */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2];
	size_t a_len = strlen(a), b_len = strlen(b);

	for (size_t j = 0; j <= b_len; j++)
		last[j] = (unsigned int)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned int *spare = before;

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = least(least(row[j - 1], last[j]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

struct tk_hint tk_did_you_mean(const char *word, const void *names, size_t count, tk_name_at name_at)
{
	size_t len = strlen(word);
	unsigned int best = len < 5 ? 2 : len < 8 ? 3 : 4;
	const char *found = NULL;
	struct tk_hint hint = {""};

	if (len > WORD_MAX)
		return hint;
	for (size_t i = 0; i < count; i++) {
		const char *name = name_at(names, i);
		unsigned int distance;

		if (strlen(name) > WORD_MAX)
			continue;
		distance = edit_distance(word, name);
		if (distance < best) {
			best = distance;
			found = name;
		}
	}
	if (found)
		snprintf(hint.text, sizeof(hint.text), " (did you mean \"%s\"?)", TK_SHOW(found));
	return hint;
}
