/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TK_MARKS_TEST_H
#define TK_MARKS_TEST_H

void marks_tests(const char *fs);

#endif
