/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TK_LINGER_TEST_H
#define TK_LINGER_TEST_H

void linger_tests(const char *fs);

#endif
