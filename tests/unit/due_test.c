// SPDX-License-Identifier: GPL-2.0
/*
 * tests/unit/due_test.c - whether files come to be due in order, whatever was changed in between: random
 * changes beside a list that is searched from end to end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "loader/agent/agent.h"

#define FILES 200
#define CHANGES 200000

static struct tk_agent agent;
static struct tk_file files[FILES];
static uint64_t wanted[FILES]; /* 0: not due */

static uint64_t earliest(void)
{
	uint64_t first = 0;

	for (size_t i = 0; i < FILES; i++)
		if (wanted[i] && (!first || wanted[i] < first))
			first = wanted[i];
	return first;
}

static bool change(size_t i, uint64_t due)
{
	bool first;

	wanted[i] = due;
	first = tk_due_set(&agent, &files[i], due);
	return files[i].due == due && (agent.due ? agent.due->due : 0) == earliest() &&
	       first == (agent.due == &files[i]);
}

static void test_order(void **state)
{
	unsigned int wrong = 0, told = 0, left = 0;
	uint64_t last = 0;

	(void)state;
	srandom(1);
	for (unsigned int n = 0; n < CHANGES; n++) {
		bool top = agent.due && random() % 3 == 0; /* as it mostly happens in life */
		size_t i = top ? (size_t)(agent.due - files) : (size_t)random() % FILES;

		/* Few moments, so that many are due at once. */
		wrong += !change(i, random() % 4 ? 1 + (uint64_t)random() % 300 : 0);
	}
	assert_int_equal(wrong, 0);
	for (size_t i = 0; i < FILES; i++)
		told += wanted[i] != 0;
	assert_int_not_equal(told, 0);
	for (; agent.due; left++) {
		assert_true(agent.due->due >= last);
		last = agent.due->due;
		assert_true(change((size_t)(agent.due - files), 0));
	}
	assert_int_equal(left, told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_order)};

	return cmocka_run_group_tests_name("due", tests, NULL, NULL);
}
