/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpf/abi.h - the one header the kernel programs and user space share: keys and
 * values of every map, events, limits.  It owns layouts and numbers, no code.
 *
 * Every struct is laid out by hand (fixed widths, explicit padding, size
 * asserted), because a map written by one build may be read by another.
 *
 * Generations.  A loaded policy is a generation, numbered from 1.  Maps keyed by
 * hash carry the generation in their key; array maps hold two generations, the
 * even and the odd one, in two halves ("slots": generation & 1).  One store to
 * control.generation moves every program from the old policy to the new one.
 */
#ifndef TK_ABI_H
#define TK_ABI_H

#include <linux/bpf.h> /* struct bpf_spin_lock */
#include <linux/types.h>

/* -------------------------------------------------------------- limits (POLICY.md) */

#define TK_MAX_SETS 256		      /* of each kind */
#define TK_SET_WORDS (TK_MAX_SETS / 64)
#define TK_MAX_POLICIES 1024
#define TK_MAX_POLICY_RULES 1024      /* in one policy, as compiled */
#define TK_MAX_RULES 4096	      /* in all, as compiled */
#define TK_MAX_GUARD_POINTS 65536
#define TK_MAX_STATES 4096	      /* of the resource automaton */
#define TK_MAX_DEPTH 64		      /* path components below a guard point */
#define TK_MAX_GROUPS 256	      /* supplementary groups looked at; more: unknown, so denied */
#define TK_MAX_MEMBERS 65536	      /* entries of process_sets, user_sets, group_sets, each generation */
#define TK_NAME_MAX 64		      /* bytes of a name shown in a map, with its terminator; longer is cut */
#define TK_EXE_MAX 128

#define TK_SLOTS 2
#define TK_SLOT(generation) ((generation) & 1)

/* -------------------------------------------------------------- actions and effects (POLICY.md) */

enum tk_action {
	TK_DATA_READ = 1 << 0,
	TK_DATA_WRITE = 1 << 1,
	TK_EXECUTE = 1 << 2,
	TK_LIST = 1 << 3,
	TK_CREATE = 1 << 4,
	TK_DELETE = 1 << 5,
	TK_RENAME = 1 << 6,
	TK_LINK = 1 << 7,
	TK_SET_ATTR = 1 << 8,
	TK_KEY_OP = 1 << 9,
};
#define TK_ACTION_COUNT 10
#define TK_READ_GROUP (TK_DATA_READ | TK_EXECUTE | TK_LIST)
#define TK_WRITE_GROUP (TK_DATA_WRITE | TK_CREATE | TK_DELETE | TK_RENAME | TK_LINK | TK_SET_ATTR)
#define TK_ALL_OPS ((1 << TK_ACTION_COUNT) - 1)

enum tk_effect {
	TK_PERMIT = 1 << 0,    /* absent: deny */
	TK_APPLY_KEY = 1 << 1, /* only with TK_PERMIT */
	TK_AUDIT = 1 << 2,
};

enum tk_dimension {
	TK_USERS = 1 << 0,
	TK_PROCESSES = 1 << 1,
	TK_RESOURCES = 1 << 2,
	TK_TIMES = 1 << 3,
};

enum tk_mode {
	TK_ENFORCE = 0,
	TK_MONITOR = 1, /* decide, record, permit */
	TK_LEARN = 2,	/* the same, and record what is permitted, too */
};

/* -------------------------------------------------------------- the compiled policy */

struct tk_rule {
	__u64 users[TK_SET_WORDS];     /* one bit a set */
	__u64 processes[TK_SET_WORDS];
	__u64 resources[TK_SET_WORDS];
	__u64 times[TK_SET_WORDS];
	__u16 actions;		       /* enum tk_action bits */
	__u16 source;		       /* index of the rule in the policy's "rules" */
	__u8 effects;		       /* enum tk_effect bits */
	__u8 named;		       /* enum tk_dimension: dimensions the rule names; others match all */
	__u8 negated;		       /* enum tk_dimension: of the named ones, those written {"not": …} */
	__u8 pad;
};
_Static_assert(sizeof(struct tk_rule) == 136, "tk_rule");

struct tk_policy {
	__u32 first_rule; /* index into rules, within the slot */
	__u32 rule_count; /* <= TK_MAX_POLICY_RULES */
	__u32 timed;	  /* 1: a rule names time sets, so times_now must be read */
	char name[TK_NAME_MAX];
};
_Static_assert(sizeof(struct tk_policy) == 76, "tk_policy");

/* One state of the resource automaton.  State 0 rejects and stays; state 1 is the start. */
struct tk_state {
	__u16 next[256];
	__u64 sets[TK_SET_WORDS]; /* resource sets that accept when the path ends here */
};
_Static_assert(sizeof(struct tk_state) == 544, "tk_state");
#define TK_STATE_DEAD 0
#define TK_STATE_START 1

/* An inode for as long as it exists.  dev as the kernel has it: major << 20 | minor of the superblock. */
struct tk_inode {
	__u64 ino;
	__u32 dev;
	__u32 igeneration; /* i_generation; 0 where the filesystem keeps none */
};
_Static_assert(sizeof(struct tk_inode) == 16, "tk_inode");

struct tk_inode_key {
	__u32 generation; /* of the policy */
	__u32 dev;
	__u64 ino;
	__u32 igeneration;
	__u32 pad;
};
_Static_assert(sizeof(struct tk_inode_key) == 24, "tk_inode_key");

enum tk_guard_flag {
	TK_GUARD_VAULT = 1 << 0, /* the agent's journal: nobody else, whatever the policy says */
};

struct tk_guard_point {
	__u32 id;     /* index in user space's table of this generation */
	__u32 policy; /* index into policies, within the slot */
	enum tk_mode mode;
	__u32 flags; /* enum tk_guard_flag */
	char name[TK_NAME_MAX];
	char policy_name[TK_NAME_MAX];
};
_Static_assert(sizeof(struct tk_guard_point) == 144, "tk_guard_point");

struct tk_process {
	__u64 sets[TK_SET_WORDS];
	__u64 digest_sets[TK_SET_WORDS]; /* besides, while map `digests` says that the contents are those named */
	char path[TK_EXE_MAX];
	char set_names[TK_NAME_MAX];
};
_Static_assert(sizeof(struct tk_process) == 256, "tk_process");

/*
 * A process that has mapped code of a file that is not root's alone, with all that were forked since its execve, by the
 * address of the description of what they execute: map `foreign_code`.  Also the command, once it has been traced.
 */
#define TK_MAX_FOREIGN 65536 /* where it is not known how many processes there can be: loader/kernel/programs.c */
struct tk_foreign_code {
	struct tk_inode file; /* the first one */
	__u32 pid;	      /* who mapped it, or traces */
	__u32 pad;
};
_Static_assert(sizeof(struct tk_foreign_code) == 24, "tk_foreign_code");

/* A systemd unit as a policy names it; see tk_unit_of(). */
#define TK_MAX_UNITS 4096 /* each generation */
#define TK_UNIT_MAX 64	  /* bytes of a name with its terminator and one to spare: longer ones are no member's */
#define TK_UNIT_DEPTH 32  /* control groups from a process to the root, that included; deeper: unknown, which denies */
struct tk_unit_name {
	__u32 generation;
	char name[TK_UNIT_MAX];
};
_Static_assert(sizeof(struct tk_unit_name) == 68, "tk_unit_name");

/* Members that are so in one unit alone. */
struct tk_unit_key {
	__u32 generation;
	__u32 unit;	     /* what map `units` says, from 1 */
	struct tk_inode exe; /* all zero: every executable */
};
_Static_assert(sizeof(struct tk_unit_key) == 24, "tk_unit_key");

struct tk_id_key {
	__u32 generation;
	__u32 id; /* uid or gid in the initial user namespace */
};

struct tk_id_sets {
	__u64 sets[TK_SET_WORDS];
	char name[TK_NAME_MAX];	     /* of the user or group */
	char set_names[TK_NAME_MAX];
};
_Static_assert(sizeof(struct tk_id_sets) == 160, "tk_id_sets");

/* Maps of one value a slot that say something of each set: one bit a set. */
struct tk_set_bits {
	__u64 sets[TK_SET_WORDS];
};
_Static_assert(sizeof(struct tk_set_bits) == 32, "tk_set_bits");

/* Time sets that hold, and how long that is known. */
struct tk_times_now {
	struct tk_set_bits holding;
	__u64 until; /* nanoseconds of CLOCK_BOOTTIME: the next change and TK_TIMES_LATE; UINT64_MAX: no change */
};
_Static_assert(sizeof(struct tk_times_now) == 40, "tk_times_now");
#define TK_TIMES_LATE 1000000000ull /* nanoseconds the agent may take to tell of a change */

/* -------------------------------------------------------------- questions and verdicts (decide.h) */

/* Who wants what, with what kind of resource.  Sets are bits; see struct tk_rule. */
struct tk_request {
	__u64 users[TK_SET_WORDS];
	__u64 processes[TK_SET_WORDS];
	__u64 resources[TK_SET_WORDS];
	__u32 slot;
	__u32 action; /* one enum tk_action */
};

/* A verdict in one word: effects, reason and the rule's index in the policy text. */
#define TK_VERDICT(effects, reason, rule) ((__u32)(effects) | (__u32)(reason) << 8 | (__u32)(rule) << 16)
#define TK_VERDICT_EFFECTS(verdict) ((verdict) & 0xff)
#define TK_VERDICT_REASON(verdict) ((verdict) >> 8 & 0xff)
#define TK_VERDICT_RULE(verdict) ((verdict) >> 16)
/* No match denies and audits (POLICY.md, Evaluation). */
#define TK_VERDICT_NO_RULE TK_VERDICT(TK_AUDIT, TK_NO_RULE, TK_NO_RULE_INDEX)
#define TK_VERDICT_UNKNOWN TK_VERDICT(TK_AUDIT, TK_PLACE_UNKNOWN, TK_NO_RULE_INDEX)

/* -------------------------------------------------------------- run-time state */

/* The single value of map `control`. */
struct tk_control {
	__u32 abi;	     /* TK_ABI of whoever loaded: first for ever, so that every version finds it */
	__u32 generation;    /* the policy in force; 0: none, nothing is guarded */
	__u32 ready;	     /* 1: the agent has recovered and answers opens */
	__u32 agent;	     /* its process id (tgid, initial pid namespace); 0: none */
	__u32 has_groups;    /* bit per slot: the generation names groups, so they must be looked up */
	__u32 has_resources; /* bit per slot: the generation has patterns, so names must be read */
	__u32 loader;	     /* a process that changes the policy; 0: none */
	/*
	 * 1 from load or reload until the agent has looked through the guard points: descriptions opened before
	 * may go on as plaintext.  Afterwards only those of files the agent has found to be plaintext (TK_OPEN).
	 */
	__u32 adopting;
	__u32 has_units;     /* bit per slot: the generation names units, so control groups must be looked at */
	__u32 has_digests;   /* bit per slot: the generation names digests, so writers of executables must be noticed */
	struct tk_inode command; /* takakrypt-bpf itself, for key_op; all zero: not known */
};
_Static_assert(sizeof(struct tk_control) == 56, "tk_control");

enum tk_view {
	TK_VIEW_NONE = 0, /* no contents: directories, devices, sockets */
	TK_VIEW_PLAIN = 1, /* apply_key: plaintext */
	TK_VIEW_RAW = 2,   /* bytes as stored */
};

enum tk_file_state {
	TK_SEALED = 0,	  /* also: nothing known.  TAKA, empty, or plaintext the agent has not met yet */
	TK_UNSEALING = 1,
	TK_OPEN = 2,	  /* plaintext on disk, and the journal knows */
	TK_SEALING = 3,
	TK_OPEN_READ = 4, /* plaintext on disk, to be read only: a crash would undo what is written */
	TK_KEPT = 5,	  /* TAKA, and a crash puts just these bytes back: nobody may write them as they are stored */
};

/* A file that somebody has open, or that is not sealed. */
struct tk_open_file {
	struct tk_inode inode; /* all zero: the place is free */
	__u32 state;	       /* enum tk_file_state; the agent sets it, through the command program */
	__u32 plain;	       /* open descriptions with the plaintext view, openers still waiting included */
	__u32 raw;	       /* open descriptions with the raw view */
	__u32 written;	       /* 1 after a write, writable shared mapping or truncation in the plaintext view */
};
_Static_assert(sizeof(struct tk_open_file) == 32, "tk_open_file");

/*
 * Map `open_files`: a hash table of our own, an array of buckets, each under its lock, so that the two views
 * exclude each other exactly.  Not a hash map, because one gives a deleted element's memory to the next
 * key at once, under the hands of whoever still holds a pointer (since 6.1, bpf_mem_cache_free); not inode
 * storage, because a description outlives its inode (file_free_security in __fput).  A file whose counts are
 * 0 and whose state is TK_SEALED leaves its place to the next one.
 */
#define TK_BUCKETS 16384
#define TK_BUCKET_FILES 16
struct tk_bucket {
	struct bpf_spin_lock lock;
	__u32 pad;
	struct tk_open_file files[TK_BUCKET_FILES];
};
_Static_assert(sizeof(struct tk_bucket) == 520, "tk_bucket");
#define TK_BUCKET_OF(inode)                                                                                          \
	((__u32)((((inode)->ino ^ ((__u64)(inode)->igeneration << 32) ^ (inode)->dev) * 0x9e3779b97f4a7c15ULL) >> 50))
_Static_assert(TK_BUCKETS == 1 << (64 - 50), "TK_BUCKET_OF");

/* What user space sees of it. */
struct tk_file_counts {
	__u32 plain;
	__u32 raw;
	__u32 written;
	__u32 pad;
};

/* Map `descriptions`: an open file description of a guarded regular file, by its address. */
struct tk_description {
	struct tk_inode inode;
	__u32 view;	  /* enum tk_view */
	__u32 tid;	  /* of the opener, for pending_opens */
	__u32 generation; /* of the policy that decided last */
	__u32 executing;  /* opened by execve: decided once, for the process that called it */
};
_Static_assert(sizeof(struct tk_description) == 32, "tk_description");

/*
 * What the agent says to the programs: the payload of a BPF_PROG_TEST_RUN of program `command`, which
 * answers 0 or -errno.  The inode of no file (all zero) is refused.
 */
struct tk_command {
	__u32 state; /* enum tk_file_state: set it; or one of those below */
	__u32 fd;    /* TK_IS_NARROW: the caller's */
	struct tk_inode inode;
};
_Static_assert(sizeof(struct tk_command) == 24, "tk_command");
#define TK_PLACES_CHANGED 0x100 /* forget every cached place: guard points came or went within a generation */
#define TK_IS_NARROW 0x101	/* does the descriptor's mount show guard points alone?  1: it does; 0; -errno */

/* What map watched_points says of a guard point.  Mounts below any of them are narrow. */
enum tk_watch {
	TK_WATCH_NONE = 0,
	TK_WATCH_COMING, /* opens there may still be ignored */
	TK_WATCHED,	 /* they reach the agent */
};

/* An opener's verdict, in map `pending_opens` under its thread id, for the agent to take. */
struct tk_pending_open {
	struct tk_inode inode;
	__u32 generation;
	__u32 guard; /* tk_guard_point.id */
	__u32 view;  /* enum tk_view */
	__u32 flags; /* f_flags, O_TRUNC included */
	__u64 description; /* address of the struct file, as a name */
};
_Static_assert(sizeof(struct tk_pending_open) == 40, "tk_pending_open");

/* What reading iterator `identify` yields for each descriptor of the reading process. */
struct tk_identified {
	__u32 fd;
	__u32 written; /* 1: somebody has it open for writing */
	struct tk_inode inode;
};
_Static_assert(sizeof(struct tk_identified) == 24, "tk_identified");

/* -------------------------------------------------------------- events */

enum tk_reason {
	TK_BY_RULE = 0,
	TK_NO_RULE,		 /* no rule matched */
	TK_PLACE_UNKNOWN,	 /* too deep, disconnected, or a lookup failed */
	TK_IDENTITY_UNKNOWN,	 /* too many groups, or a lookup failed */
	TK_TIME_UNKNOWN,	 /* time sets have changed, and the agent has not said how */
	TK_NOT_READY,		 /* no agent: ENOKEY */
	TK_UNWATCHED_MOUNT,	 /* the agent is not asked about opens through this mount: ENOKEY */
	TK_OTHER_VIEW,		 /* open in the other view: EBUSY */
	TK_IN_TRANSITION,	 /* being sealed or unsealed: EBUSY, ENOKEY */
	TK_LEAVES_GUARD,	 /* rename or link across a guard point's edge: EXDEV */
	TK_GUARD_STRUCTURE,	 /* renaming a guard point or its ancestor, mounting in it, the vault: EBUSY, EPERM */
	TK_IOCTL,		 /* an ioctl that could move contents past the checks */
	TK_NO_MEMORY,		 /* bookkeeping could not be allocated */
	TK_SPLIT_VIEW,		 /* read and write are permitted in different views */
	TK_FOREIGN_TRACER,	 /* ptrace by a process outside the member's sets */
	TK_FOREIGN_CODE,	 /* it has mapped code that is not root's alone, which cost it sets; or: it does so now */
	TK_REASON_COUNT
};

enum tk_event_type {
	TK_EVENT_AUDIT = 1,  /* ring `events`: a decision */
	TK_NOTICE_CLOSED,    /* ring `notices`: the last plaintext or raw description of a file is gone */
	TK_NOTICE_TRUNCATE,  /* ring `notices`: a sealed file cannot be truncated, or a kept one written; please unseal or release it */
};

#define TK_EVENT_PATH 1024
#define TK_EVENT_COMPONENT 256 /* NAME_MAX and its terminator */
#define TK_COMM_LEN 16

struct tk_event {
	__u32 type; /* enum tk_event_type */
	__u32 pid;  /* tgid */
	__u64 time_ns; /* CLOCK_BOOTTIME */
	struct tk_inode inode;
	struct tk_inode exe;
	__u32 tid;
	__u32 uid; /* fsuid */
	__u32 gid; /* fsgid */
	__u32 login_uid;
	__u32 generation;
	__u32 guard; /* tk_guard_point.id; TK_NO_GUARD: outside, and the path begins at the root of its filesystem */
	__u32 action; /* enum tk_action: one, or all that were asked for when none was judged; 0: ptrace, or a loss of sets */
	__u32 mount; /* mount id */
	__u16 rule; /* source index; TK_NO_RULE_INDEX when none */
	__u8 effects;
	__u8 reason; /* enum tk_reason */
	__u8 mode; /* enum tk_mode: under TK_MONITOR and TK_LEARN a denial was recorded but not enforced */
	__u8 foreign_code; /* 1: the process has mapped code that is not root's alone */
	__u8 pad[2];
	__s32 result; /* 0 or -errno given to the caller */
	__u32 path_len; /* bytes of path in use */
	char comm[TK_COMM_LEN];
	/*
	 * Names from the leaf upwards to the guard point, each with its terminator: "report.txt\0" "2026\0".
	 * Cut (path_len == TK_EVENT_PATH) when it does not fit.
	 */
	char path[TK_EVENT_PATH];
};
#define TK_NO_RULE_INDEX 0xffff
#define TK_NO_GUARD 0xffffffff

struct tk_notice {
	__u32 type; /* enum tk_event_type */
	__u32 pid;
	__u32 tid;
	__u32 pad;
	struct tk_inode inode;
	__u32 guard;
	__u32 view; /* CLOSED: the view whose count fell to zero */
};
_Static_assert(sizeof(struct tk_notice) == 40, "tk_notice");

/* Indices of per-CPU array `counters`. */
enum tk_counter {
	TK_COUNT_DECISIONS,
	TK_COUNT_DENIED,
	TK_COUNT_EVENTS_DROPPED,
	TK_COUNT_NOTICES_DROPPED,
	TK_COUNT_PLACE_CACHED,
	TK_COUNT_PLACE_WALKED,
	TK_COUNT_FOREIGN_FULL,	    /* mappings of foreign code refused, because foreign_code was full */
	TK_COUNT_NO_SCRATCH,	    /* units that could not be told, because all places of a processor were in use */
	TK_COUNTER_COUNT
};

#endif
