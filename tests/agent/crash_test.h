/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/crash_test.h - what dying at the wrong moment does.
 */
#ifndef TK_CRASH_TEST_H
#define TK_CRASH_TEST_H

void crash_tests(const char *fs);

#endif
