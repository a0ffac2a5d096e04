/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TK_WITHDRAW_TEST_H
#define TK_WITHDRAW_TEST_H

void withdraw_tests(const char *fs);

#endif
