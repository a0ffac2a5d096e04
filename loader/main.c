// SPDX-License-Identifier: GPL-2.0
/*
 * loader/main.c - finds the verb and lets it run.
 */
#include "loader/cmd.h"
#include "loader/util.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* In the order of the help. */
static const struct verb {
	const char *name;
	const char *summary;
	int (*fn)(int argc, char **argv);
} verbs[] = {
	{"load", "put a policy into force", cmd_load},
	{"unload", "end it: seal everything, detach the programs", cmd_unload},
	{"reload", "change the policy in force, in one step", cmd_reload},
	{"status", "the state of the kernel half and of the agent", cmd_status},
	{"events", "the audit trail", cmd_events},
	{"settle", "wait until everything that is closed is sealed", cmd_settle},
	{"agent", "the agent in the foreground", cmd_agent},
	{"check", "check policies without loading them", cmd_check},
	{"explain", "tell what a policy says to one access, and why", cmd_explain},
	{"test", "hold a policy against the cases it was written for", cmd_test},
	{"replay", "what a policy would change about what was recorded", cmd_replay},
	{"diff", "what two policies decide differently", cmd_diff},
	{"learn", "write the policy that permits what was recorded, and no more", cmd_learn},
	{"doctor", "is this machine ready, and what to change", cmd_doctor},
	{"encrypt", "encrypt files and trees", cmd_encrypt},
	{"decrypt", "decrypt files and trees", cmd_decrypt},
	{"verify", "authenticate every byte of encrypted files", cmd_verify},
	{"rekey", "put encrypted files under another version of their key", cmd_rekey},
	{"inspect", "show what encrypted files say about themselves; needs no key", cmd_inspect},
	{"shield", "put a guard point's tree under fscrypt", cmd_shield},
	{"key", "make, list, rotate and retire keys", cmd_key},
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void help(FILE *out)
{
	fprintf(out, "takakrypt-bpf: transparent file encryption for Linux servers\n"
		     "\n"
		     "usage: takakrypt-bpf VERB [OPTION...] [ARGUMENT...]\n"
		     "       takakrypt-bpf help VERB\n"
		     "       takakrypt-bpf --help | --version\n"
		     "\n");
	for (size_t i = 0; i < N_VERBS; i++)
		fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
	fprintf(out, "\n"
		     "exit codes: 0 done, 1 failed, 2 wrong usage, 3 denied, 4 this kernel cannot\n");
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < N_VERBS; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int unknown(const char *name)
{
	tk_fail("find", name, "there is no such verb", "`takakrypt-bpf --help` lists them");
	return TK_EXIT_USAGE;
}

/* What went to stdout counts only once it is out: a full disk is a failure. */
static int flushed(int code)
{
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == TK_EXIT_DONE)
		return tk_fail("write", "standard output", "it could not be written completely",
			       "check the disk or the reader behind it");
	return code;
}

int main(int argc, char **argv)
{
	const struct verb *verb;

	if (argc < 2) {
		help(stderr);
		return TK_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("takakrypt-bpf " TK_VERSION);
		return flushed(TK_EXIT_DONE);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		char *ask[] = {argc > 2 ? argv[2] : NULL, (char *)"--help", NULL};

		if (argc == 2) {
			help(stdout);
			return flushed(TK_EXIT_DONE);
		}
		verb = find_verb(argv[2]);
		return verb ? flushed(verb->fn(2, ask)) : unknown(argv[2]);
	}
	verb = find_verb(argv[1]);
	return verb ? flushed(verb->fn(argc - 1, argv + 1)) : unknown(argv[1]);
}
