/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/cmd.h - the verbs of the command and the exit codes they share.
 * A new verb: cmd_NAME.c, a line here, a line in main.c's table.
 */
#ifndef TK_LOADER_CMD_H
#define TK_LOADER_CMD_H

#define TK_VERSION "0.1.0"

enum tk_exit {
	TK_EXIT_DONE = 0,
	TK_EXIT_FAILED = 1,
	TK_EXIT_USAGE = 2,
	TK_EXIT_DENIED = 3, /* denied, or would be denied */
	TK_EXIT_KERNEL = 4, /* this kernel cannot */
};

/* For the end of every --help. */
#define TK_HELP_EXIT_CODES                                                    \
	"EXIT CODES\n"                                                        \
	"    0  done\n"                                                       \
	"    1  failed; one line per failure says what, why and what to do\n" \
	"    2  wrong usage; nothing was done\n"

/* argv[0] is the verb.  Each returns an enum tk_exit and answers --help on stdout. */
int cmd_agent(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_settle(int argc, char **argv);
int cmd_shield(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_learn(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_unload(int argc, char **argv);
int cmd_decrypt(int argc, char **argv);
int cmd_encrypt(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_test(int argc, char **argv);
int cmd_rekey(int argc, char **argv);
int cmd_verify(int argc, char **argv);

/* The value of --watchdog, of `agent` and `load`: see struct tk_option. */
const char *tk_watchdog_parse(const char *text, void *into);

#endif
