/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/defence_test.h - what keeps a file from being lost or shown, one defence
 * after the other: each of these tests fails when its defence is taken out.
 */
#ifndef TK_DEFENCE_TEST_H
#define TK_DEFENCE_TEST_H

void defence_tests(const char *fs);
/* What an application expects when nothing goes wrong. */
void work_tests(const char *fs);
/* Two journals of one filesystem; files whose record stays; many large files; no room. */
void journal_tests(const char *fs);
void kept_tests(const char *fs);
void load_tests(const char *fs);
/* The key's token is taken out and put back. */
void token_tests(const char *fs);
/* An agent that is stopped or hangs. */
void watchdog_tests(const char *fs);
/* A guard point that fscrypt shields. */
void shield_tests(const char *fs);
/* So many files at once, so many seconds of opens. */
void limits_tests(const char *fs, unsigned int files, unsigned int seconds);

#endif
