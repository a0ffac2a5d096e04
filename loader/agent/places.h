/* SPDX-License-Identifier: GPL-2.0 */
/* loader/agent/places.h - filesystems with guard points on them, and the guard points. */
#ifndef TK_AGENT_PLACES_H
#define TK_AGENT_PLACES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi.h"
#include "crypto/takakrypt.h"


#define TK_HANDLE_MAX 128 /* MAX_HANDLE_SZ */
#define TK_BOOT_ID 40	   /* bytes: a UUID as text, and zeros */

struct tk_handle {
	uint32_t bytes;
	int32_t type;
	uint8_t data[TK_HANDLE_MAX];
};

/* A record whose file has no inode any more, or one that cannot be read; see tk_lost_conclude(). */
struct tk_lost;

/* One filesystem with guard points on it.  Lives as long as the agent. */
struct tk_volume {
	uint32_t dev;		   /* as in struct tk_inode */
	int tree;		   /* keeps a detached clone of a mount of it: opens there reach no mark */
	int mount;		   /* its root, as open_by_handle_at(2) wants it */
	int vault;		   /* directory of the journal; -1 while it cannot be had (read-only) */
	bool marked;		   /* opens on it reach the agent, but for those through ignored mounts */
	atomic_bool recovered;	   /* what an earlier agent left is done with or in the table */
	uint32_t vault_generation; /* that the kernel programs know the vault in */
	struct tk_lost *lost;	   /* the sweep's, once recovered */
	atomic_bool litter;	   /* a draft could not be removed: see tk_vault_tidy() */
	char *point;		   /* mount point it was cloned of, for people */
	char boot[TK_BOOT_ID];	   /* this one; once there is a vault */
	size_t kept;		   /* files, under agent->lock; see kept.c */
	uint64_t kept_bytes;	   /* of their payloads */
	bool cramped;		   /* little room is left on it, when that was looked at last */
	atomic_bool read_only;	   /* so that no record can go, when that was tried last */
	pthread_mutex_t flush_lock; /* for the next two, and held over syncfs(2) */
	atomic_uint flush_errors;  /* failed flushes of the whole volume */
	struct tk_volume *next;
};

/* How a file is encrypted, copied out of the policy so that it outlives a reload. */
struct tk_recipe {
	uint32_t generation; /* of the policy that says so */
	uint32_t algorithm; /* enum tk_algorithm; 0: the policy names no key */
	uint32_t chunk_log2;
	uint32_t linger; /* ms */
	char key_id[TK_KEY_ID_MAX + 1];
	char guard[TK_NAME_MAX];
};

/* A guard point the agent looks after. */
struct tk_spot {
	uint32_t id;   /* what struct tk_pending_open.guard says */
	uint32_t spec; /* index into tk_compiled.guards */
	uint32_t mode;
	char *path;
	struct tk_inode inode;
	dev_t st_dev;	   /* stat's device: differs from inode.dev on btrfs */
	bool mounted;	   /* it is the root of a mount, and the volume is known */
	bool marked;	   /* opens below it reach the agent, and the kernel programs know */
	char trouble[160]; /* why not */
	struct tk_volume *volume;
	struct tk_recipe recipe;
};

/* The guard points of one generation. */
struct tk_spots {
	uint32_t generation;
	struct tk_spot *items; /* sorted by path: outer ones before inner ones */
	uint32_t *by_id;       /* indices of the same, sorted by id */
	size_t count;
};

#endif
