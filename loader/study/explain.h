/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/study/explain.h - who, through which program, wants what: the same question
 * that the kernel programs answer, asked beforehand.
 */
#ifndef TK_LOADER_EXPLAIN_H
#define TK_LOADER_EXPLAIN_H

#include "bpf/abi.h"
#include "loader/policy/policy.h"

struct tk_question {
	const char *user;   /* name or uid */
	const char *groups; /* names or gids with commas between; NULL: the system's for the user */
	const char *login;  /* as whom he logged in: name or uid, "none"; NULL: as user */
	const char *exe;
	const char *unit; /* systemd's; NULL: none */
	bool foreign_code; /* the process has mapped code that is not root's alone */
	const char *path;
	struct tk_moment at;
	uint32_t action;
};

/* An earlier rule and the dimensions that kept it from matching. */
struct tk_miss {
	const struct tk_rule *rule;
	bool action;
	uint8_t dimensions; /* enum tk_dimension bits */
};

struct tk_answer {
	uint32_t uid;
	size_t gid_count;
	bool same_login; /* false: no sets that require log-in */
	uint64_t users[TK_SET_WORDS], processes[TK_SET_WORDS], resources[TK_SET_WORDS];
	uint64_t times[TK_SET_WORDS]; /* that hold */
	char *exe;	 /* as it was looked up */
	bool exe_exists; /* false: judged by its path alone */
	bool foreign_code; /* mapped by the process, or the executable itself: no sets that ask for integrity */
	bool command;	   /* it is the running one's executable */
	char *path;	 /* canonical */
	bool guarded;	 /* false: nothing below is meant */
	size_t guard;
	const char *below;		  /* part of path */
	uint8_t effects;		  /* enum tk_effect bits */
	uint8_t reason;			  /* enum tk_reason */
	const struct tk_rule *decided_by; /* NULL: none matched, or none was asked */
	bool by_key_op; /* judged as key_op, which permits the command everything */
	struct tk_miss *misses;
	size_t miss_count;
	const char *lacks; /* of what was recorded: why there is no verdict; NULL: there is one */
};

/*
 * Answers.  -EINVAL when the question makes no sense, with its part in *ret_on and the fault in *ret_why;
 * -errno.  *answer begins as zeros; tk_answer_free() in either case.
 */
int tk_explain(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
	       const struct tk_question *question, struct tk_answer *answer, const char **ret_on,
	       const char **ret_why);
void tk_answer_free(struct tk_answer *answer);

/* The verdict (TK_VERDICT) of one of the policies on a subject and a resource given as sets; not thread-safe. */
uint32_t tk_verdict_of_sets(const struct tk_compiled *compiled, const struct tk_policy *policy,
			    struct tk_request *request, struct tk_set_bits *times);

/* Who did what, as an audit event has it: numbers for names, a path as it was. */
struct tk_recorded {
	uint32_t uid, gid;
	const gid_t *gids; /* gid among them; NULL: the system's for the user */
	size_t gid_count;
	const char *exe;	   /* NULL: known by its inode alone */
	struct tk_inode exe_inode; /* counts where exe is NULL */
	const char *path;	   /* absolute */
	uint32_t action;
	bool foreign_code; /* mapped by the process */
	enum tk_login { TK_LOGIN_UNKNOWN, TK_LOGIN_SAME, TK_LOGIN_OTHER } login;
	uint32_t unit;			 /* index into the policy's units */
#define TK_UNIT_NONE UINT32_MAX		 /* in none that the policy names */
#define TK_UNIT_UNKNOWN (UINT32_MAX - 1) /* not recorded */
	bool timed;
	int64_t when; /* seconds since 1970, where timed */
};

/* The same answer to it, unless it hangs on what was not recorded.  -errno; *answer begins as zeros;
 * tk_answer_free() in either case. */
int tk_explain_recorded(const struct tk_compiled *compiled, const struct tk_resolved *resolved,
			const struct tk_recorded *recorded, struct tk_answer *answer);

#endif
