/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/policy/policy.h - from policy.json to what the kernel maps hold.
 *
 * Owns parsing, checking and compiling (POLICY.md).  It knows no BPF object and
 * opens no map: it reads the policy's text and, in tk_resolve(), the machine's
 * users, groups and executables.  Never prints: problems are collected in a
 * struct tk_problems, each with its JSON pointer.
 */
#ifndef TK_POLICY_H
#define TK_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi.h"
#include "crypto/takakrypt.h"

/* ---------------------------------------------------------------- problems */

struct tk_problem {
	bool warning;	/* an error refuses the policy; a warning is only told */
	char *pointer;	/* RFC 6901, "/policies/documents/rules/1/users" */
	char *message;	/* what was found, what was expected: one line, no full stop */
};

struct tk_problems {
	struct tk_problem *items;
	size_t count;
	size_t errors;
};
void tk_problems_free(struct tk_problems *problems);

/* ---------------------------------------------------------------- the compiled policy */

struct tk_key_spec {
	char *id;
	struct tk_key_source source;
};
const char *tk_provider_name(enum tk_provider provider); /* as a policy says it */

/* How files below a guard point are encrypted; parallel to `policies`. */
struct tk_encryption {
	uint32_t key; /* index into keys; UINT32_MAX: the policy names none (then no rule may apply_key) */
	enum tk_algorithm algorithm;
	uint32_t chunk_log2;
};

#define TK_LINGER_MAX 600000

struct tk_guard_spec {
	char *name;
	char *path; /* absolute, may hold globs */
	uint32_t policy;
	enum tk_mode mode;
	uint32_t linger; /* ms that a file stays plaintext after its last close; up to TK_LINGER_MAX */
	bool shield; /* its directory has an fscrypt policy, under a key derived from the policy's */
};

/* One alternative of a process set, with the sets it belongs to. */
struct tk_process_spec {
	uint32_t set;	/* process set */
	char *path;	/* glob or NULL */
	char *name;	/* glob on the base name or NULL */
	uint32_t unit;	/* index into units; UINT32_MAX: in any, or in none.  Alone: any executable in it */
	bool has_sha256;
	uint8_t sha256[32];
	char *pointer;	/* for warnings */
};

/* When a time set holds, by the clock on the wall of its zone. */
struct tk_zone;
struct tk_time_spec {
	uint8_t days;	   /* bit 0: Sunday.  Of the day the range begins */
	uint16_t from, to; /* minutes of the day; to is exclusive; to < from: past midnight */
	struct tk_zone *zone;
};

/* One user or group named by a user set. */
struct tk_user_spec {
	uint32_t set;
	char *name;	/* name or decimal id */
	bool group;
	char *pointer;
};

/*
 * Everything a generation is, before names are looked up on this machine.  Sets
 * of one kind are numbered in the order of the text, over all policies.
 */
struct tk_compiled {
	unsigned int others; /* owners but for one: tk_compiled_share() */
	char **user_sets, **process_sets, **resource_sets, **time_sets; /* names */
	size_t user_set_count, process_set_count, resource_set_count, time_set_count;
	struct tk_set_bits login_sets;	   /* user sets with "login": "required" */
	struct tk_set_bits integrity_sets; /* process sets without "integrity": false */

	struct tk_rule *rules;
	size_t rule_count;
	struct tk_policy *policies;
	struct tk_encryption *encryption;
	size_t policy_count;

	struct tk_key_spec *keys;
	size_t key_count;
	struct tk_guard_spec *guards;
	size_t guard_count;
	struct tk_process_spec *processes;
	size_t process_count;
	char **units; /* names of systemd units, each once */
	size_t unit_count;
	struct tk_user_spec *users;
	size_t user_count;
	struct tk_time_spec *times; /* one a time set */

	struct tk_state *states; /* [0] dead, [1] start */
	size_t state_count;
};

/*
 * Parses, checks and compiles `text` (len bytes; need not be terminated).
 * -EINVAL with at least one error in ret_problems when the policy is refused, -ENOMEM.
 * Warnings may come with success.  The caller frees both.
 */
int tk_policy_compile(const char *text, size_t len, struct tk_compiled **ret_compiled,
		      struct tk_problems *ret_problems);
/* The same from a file.  -errno of the reading, or as above.  A policy over 16 MiB is refused (-EFBIG). */
int tk_policy_load(const char *path, struct tk_compiled **ret_compiled, struct tk_problems *ret_problems);
void tk_compiled_free(struct tk_compiled *compiled); /* NULL is fine */
/* One more owner of the same, in any thread; each frees it once, and none changes it. */
struct tk_compiled *tk_compiled_share(struct tk_compiled *compiled);
/* A whole file, not terminated.  -EFBIG over 16 MiB, -errno.  The caller frees. */
int tk_text_read(const char *path, char **ret_text, size_t *ret_len);

/* ---------------------------------------------------------------- this machine */

struct tk_member_id {
	uint32_t id; /* uid or gid */
	struct tk_id_sets sets;
};

#define TK_ANY_EXE "(any)"
struct tk_member_process {
	uint32_t unit;	     /* index into units: only there; UINT32_MAX: wherever it is */
	struct tk_inode exe; /* all zero, with path TK_ANY_EXE: every executable of the unit */
	bool has_sha256;     /* of some sets because of its contents: process.digest_sets */
	uint8_t sha256[32];
	char *path; /* whole; that in `process` is cut to fit */
	struct tk_process process;
};

/* Names looked up: what goes into user_sets, group_sets and process_sets. */
struct tk_resolved {
	struct tk_member_id *users;
	size_t user_count;
	struct tk_member_id *groups;
	size_t group_count;
	struct tk_member_process *processes;
	size_t process_count;
};

/*
 * Looks up users, groups and executables.  Unknown ones are warnings, appended to
 * problems.  Digests are computed of the files found.  -E2BIG past TK_MAX_MEMBERS.
 */
int tk_resolve(const struct tk_compiled *compiled, struct tk_resolved **ret_resolved,
	       struct tk_problems *problems);
void tk_resolved_free(struct tk_resolved *resolved);

/* Digests by file and time of its last change, so that one that has not changed is not read again. */
struct tk_digests;
struct tk_digests *tk_digests_new(void); /* NULL: no memory */
void tk_digests_free(struct tk_digests *digests); /* NULL is fine */

/*
 * The executables alone, for who looks again and again: digests (not NULL) remembers what it has measured from one call
 * to the next, and forgets what the last call did not ask for.  As tk_resolve() in all else.
 */
int tk_resolve_programs(const struct tk_compiled *compiled, struct tk_digests *digests,
			struct tk_resolved **ret_resolved, struct tk_problems *problems);
/*
 * A number that changes when a path of the process sets leads to another file, or to one that has changed, or when a
 * directory changes that is searched flat for names.  What lies deeper is not looked at: see tk_programs_deep().
 */
uint64_t tk_programs_stamp(const struct tk_compiled *compiled);
/* Does an entry have a name alone, so that whole trees are searched for it? */
bool tk_programs_deep(const struct tk_compiled *compiled);

/*
 * An inode's identity as the kernel programs see it: the superblock's device (from
 * /proc/self/mountinfo, since btrfs answers stat with another), inode number, and
 * i_generation (FS_IOC_GETVERSION; 0 where the filesystem keeps none).
 */
int tk_inode_of_fd(int fd, struct tk_inode *ret_inode);
int tk_inode_of_path(const char *path, struct tk_inode *ret_inode);

/* ---------------------------------------------------------------- questions */

/* The resource sets `path` (below the guard point, no leading '/', "" for the guard point itself) is in. */
void tk_resource_sets(const struct tk_compiled *compiled, const char *path, uint64_t ret_sets[TK_SET_WORDS]);

/*
 * The time sets that hold at `when` (seconds since 1970), and the first instant after it at which that
 * changes; INT64_MAX when it never does.
 */
void tk_times_at(const struct tk_compiled *compiled, int64_t when, struct tk_set_bits *ret_holding,
		 int64_t *ret_next);

/* The same now, as the kernel programs want it.  A change that follows shortly is met by TK_TIMES_LATE. */
void tk_times_now(const struct tk_compiled *compiled, struct tk_times_now *ret_now, int64_t *ret_next);

/*
 * Whether this one holds at `when`, and an instant after it until which that does not change, in *ret_until:
 * when it does, or some weeks later.
 */
bool tk_time_holds(const struct tk_time_spec *spec, int64_t when, int64_t *ret_until);

/* An instant, or what the clock on the wall shows, wherever that wall is. */
struct tk_moment {
	bool on_wall;
	int64_t when;		     /* an instant */
	unsigned int weekday;	     /* on the wall: 0 is Sunday */
	uint16_t minute;	     /* of the day */
};
/* "2026-11-21T09:30:00+07:00" (RFC 3339) or "mon 09:30". */
bool tk_moment_parse(const char *text, struct tk_moment *ret_moment);
void tk_times_of(const struct tk_compiled *compiled, const struct tk_moment *moment,
		 struct tk_set_bits *ret_holding);

/* "data_read" …; NULL for anything else. */
const char *tk_action_name(uint32_t action);
/* A single action's bit, 0 if there is none of that name. */
uint32_t tk_action_parse(const char *name);
const char *tk_reason_name(uint32_t reason);
const char *tk_mode_name(uint32_t mode);

/*
 * The guard points whose path pattern `path` lies in or is (absolute and normalised): the innermost one,
 * with the part of path below it in *ret_below (points into path).  -ENOENT when there is none.
 */
int tk_guard_of_path(const struct tk_compiled *compiled, const char *path, size_t *ret_guard,
		     const char **ret_below);

/* fnmatch with `**`: POLICY.md's path globs, on whole paths. */
bool tk_glob_match(const char *pattern, const char *path);

/*
 * Calls found() for every existing path that a glob (as in tk_glob_match) matches, until it answers other
 * than 0, which is then returned.  Symbolic links to directories are followed, but not below `**`;
 * directories that cannot be read are passed over.  -EINVAL: no glob; -E2BIG: 4 million directory entries
 * looked at and no end; -ENOMEM.
 */
int tk_glob_expand(const char *pattern, int (*found)(void *ctx, const char *path), void *ctx);

/* "users finance; processes editors; read, write → permit, apply_key".  The caller frees; NULL: no memory. */
char *tk_rule_text(const struct tk_compiled *compiled, const struct tk_rule *rule);

#endif
