/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/rig.h - a filesystem in a file, a guard point on it, an agent beside it.
 */
#ifndef TK_AGENT_RIG_H
#define TK_AGENT_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "tests/agent/disk.h"
#include "tests/agent/fake_kernel.h"

struct rig {
	const char *fs;
	char dir[64];	 /* of everything */
	char mount[96];	 /* the filesystem */
	char inner[32];	 /* path of the guard point from the filesystem's root */
	char guard[128]; /* the guard point */
	char other[128]; /* another one, under another key */
	char control[96];
	bool shield; /* of guard, in the policy */
	unsigned int linger; /* ms, likewise */
	int below; /* the filesystem's root, where opens reach no mark */
	struct fake_shared *shared;
	pid_t agent;
	struct disk *disk; /* NULL: a plain file */
};

extern int passed, failed;

/* Whether it comes true within ten seconds. */
#define WAIT_FOR(condition)                                                         \
	({                                                                          \
		bool came = false;                                                  \
		for (int tries = 0; !(came = (condition)) && tries < 5000; tries++) \
			usleep(2000);                                               \
		came;                                                               \
	})
/* Counts, and tells of failures. */
bool check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool rig_up(struct rig *rig, const char *fs, unsigned int megabytes);
/* On a disk whose writes can be played again; false also where there is no FUSE. */
bool rig_up_on_disk(struct rig *rig, const char *fs, unsigned int megabytes);
void rig_down(struct rig *rig);
bool rig_mount(struct rig *rig, const char *image);
void rig_unmount(struct rig *rig);
/* environment: NULL, or NAME=VALUE of the agent.  False when it ended before it was ready. */
/* Writes the policy anew, after guard or other were changed. */
void rig_policy(const struct rig *rig);
bool agent_start(struct rig *rig, const char *environment);
bool agent_start_quietly(struct rig *rig); /* it is expected to refuse */
void agent_kill(struct rig *rig);
/* True when it ended by itself with code 0. */
bool agent_stop(struct rig *rig);
bool agent_stop_still(pid_t pid); /* with SIGSTOP; a process has stopped when all its threads have, one after the other */
bool agent_settle(struct rig *rig);
bool rig_ask_to_settle(const struct rig *rig); /* once: see agent_settle() */
void rig_ask_for_sweep(const struct rig *rig); /* does not wait for it */
/* Nothing lies in the journal, and the kernel knows of no file that is not sealed. */
bool all_sealed(const struct rig *rig);
bool journal_empty(const struct rig *rig); /* says nothing */
/* Nothing lies in the journal but records of kept files. */
bool at_ease(const struct rig *rig);
/* What the kernel has of an open file (enum tk_file_state); UINT32_MAX: nothing. */
uint32_t state_of_fd(const struct rig *rig, int fd);
/* Nobody has it open in the raw view any more: what the kernel programs would notice. */
void raw_closed(const struct rig *rig, const char *name);
/* The machine was switched off: nothing of the kernel's is left. */
void kernel_forget(struct rig *rig);

/* A path in the guard point; static storage, four at a time. */
const char *in(const struct rig *rig, const char *name);
/* The bytes on disk, past the agent.  -1, or a descriptor. */
int below(const struct rig *rig, const char *name);
bool is_taka(const struct rig *rig, const char *name);
/* What the journal says of an open file of the guard point; waits for nothing. */
struct tk_record;
bool record_of(const struct rig *rig, const char *name, struct tk_record *ret_record);
/* What the fake kernel half knows of an open file; NULL: nothing, or fd is -1. */
struct fake_file *file_of(const struct rig *rig, int fd);
/* What the fake kernel has been told of it. */
uint32_t state_of(const struct rig *rig, const char *name);
/* A number of the agent's status; group may be NULL.  -1 when it does not answer. */
long status_number(const struct rig *rig, const char *group, const char *name);
bool no_records(const struct rig *rig);
/* What file_permission would ask: is the plaintext there? */
bool plain_now(const struct rig *rig, int fd);

struct snapshot {
	struct stat st;
	uint8_t *bytes;
	size_t size;
	char xattr[64];
	ssize_t xattr_size;
};
bool snapshot(const struct rig *rig, const char *name, struct snapshot *ret);
bool same_snapshot(const struct snapshot *a, const struct snapshot *b);
void snapshot_free(struct snapshot *s);

/* With k1, the key of the guard point. */
struct tk_keyring *rig_keys(void);

/* security.capability, as setcap(8) would set it: cap_net_raw, effective. */
bool set_capability(const char *path);
bool has_capability(const char *path);

/* The byte at `at` of test content number `seed`. */
void fill(uint8_t *buf, size_t size, unsigned int seed);
bool write_new(const char *path, size_t size, unsigned int seed);
/* Reads through the guard point: 0 equal, else errno of the open or -1 for other bytes. */
int compare(const struct rig *rig, const char *path, size_t size, unsigned int seed);

#endif
