/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tests/agent/fake_kernel.h - what the fake kernel half and the tests share: a file
 * in memory that outlives the agent, as the kernel's maps do.
 */
#ifndef TK_FAKE_KERNEL_H
#define TK_FAKE_KERNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi.h"

#define FAKE_FILES 16384
#define FAKE_CHAINS 4096
#define FAKE_PLACES 16
#define FAKE_RAW_UID 65534 /* opens by this user get the raw view */

struct fake_file {
	struct tk_inode inode;
	uint32_t next; /* in its chain: index + 1, or 0 */
	_Atomic uint32_t state;
	_Atomic bool told;    /* of its last close */
	_Atomic uint32_t raw; /* the agent counts up, tests count down when they close */
	_Atomic bool held;    /* a test has it open and says so, as it has thousands: nobody needs to look */
	int64_t mtime, mtime_ns; /* at UNSEALING: whether it was written to */
	uint64_t size;
	_Atomic bool
		touched; /* a test says that it writes: times alone cannot tell, at four milliseconds each */
	uint32_t handle_bytes;
	int32_t handle_type;
	uint8_t handle[128];
};

/* What happens at a step of the agent: a call that changes something, or asks for memory. */
enum fault_kind {
	FAULT_NONE,
	FAULT_KILL,
	FAULT_HALF, /* a write gets half way first */
	FAULT_FULL, /* ENOSPC: of what needs room */
	FAULT_IO,   /* EIO: of what reads or changes the disk */
	FAULT_MEMORY,
};

struct fake_fault {
	_Atomic uint32_t kind;	/* enum fault_kind; set last: from then on steps are counted */
	_Atomic uint32_t steps; /* that this kind can happen at */
	uint32_t at;		/* the first is 1 */
	bool lasting;		/* at all later ones as well */
	_Atomic uint32_t fired;
};

/* Hangs until it is killed: at its next call of ours. */
enum fake_hang {
	HANG_NOBODY,
	HANG_READER, /* of opens */
	HANG_MAIN,   /* thread */
	HANG_WORKERS,
};

struct fake_shared {
	struct tk_control control;
	_Atomic uint32_t file_count, place_count;
	struct tk_inode places[FAKE_PLACES];
	_Atomic uint32_t watched[FAKE_PLACES]; /* enum tk_watch */
	struct fake_file files[FAKE_FILES];    /* in the order they came to be known */
	_Atomic uint32_t chains[FAKE_CHAINS];  /* newest first: index + 1, or 0 */
	_Atomic uint32_t untimely;	       /* guard points opened while mounts there might be ignored */
	_Atomic uint32_t undecided;	       /* opens whose file the fake could not find out */

	/* What tests do to the agent while it runs; nothing when zero. */
	_Atomic uint32_t refuse_state, refusals; /* so many changes to this state fail with EIO */
	_Atomic pid_t late_sender;		 /* process whose answers are held up on their way */
	_Atomic uint64_t unsyncable;		 /* number of the inode whose fsync fails with EIO */
	_Atomic uint64_t unreadable;		 /* number of one that cannot be opened; by its handle: ESTALE */
	_Atomic uint64_t stale;			 /* number of one that cannot be by its handle alone */
	_Atomic uint64_t vanishing;		 /* number of one that has no name when that is asked again */
	_Atomic uint32_t unflushed;		 /* so many syncfs fail with EIO */
	_Atomic bool kill_openers;  /* each is killed, and gone, when the agent asks for its verdict */
	_Atomic bool no_proc;	    /* what threads do cannot be found out by the agent: EMFILE */
	_Atomic bool no_verdicts;   /* nothing is decided, as if the programs were switched off */
	_Atomic bool few_inodes;    /* statvfs says that few are left */
	_Atomic bool full;	    /* writes fail with ENOSPC */
	_Atomic bool unremovable;   /* unlinkat fails with EIO */
	_Atomic uint32_t unremoved; /* so often it did */
	_Atomic uint64_t gate;	    /* files of at least this size wait in SEALING and UNSEALING */
	_Atomic uint32_t at_gate;   /* how many do */
	_Atomic uint32_t seals;	    /* changes to SEALING so far */
	_Atomic uint64_t written;   /* bytes the agent has written so far */
	_Atomic uint64_t cloned;    /* bytes it has shared instead */
	_Atomic bool bad_notices;   /* of closes: half are lost, and some come twice */
	_Atomic bool no_notices;    /* of closes: all are lost */
	_Atomic uint32_t hang;	    /* enum fake_hang */
	_Atomic uint32_t hanging;   /* threads that do */
	_Atomic uint32_t flushes;   /* calls that wait until something is on the disk */
	_Atomic bool slow_disk;	    /* each of these waits until this is over */
	_Atomic uint32_t at_disk;   /* how many do, or are not through yet */
	_Atomic uint32_t asking;    /* orphans that wait for the answer of a sweep: rig_ask_for_sweep() */
	struct fake_fault fault;
};

/* NULL in the tests' own process. */
extern struct fake_shared *fake_shared;

/* Directories on the mounts that the tests look at the agent's work through: opens there reach no mark. */
extern int fake_eyes[2];

/* fake_files.c.  NULL: nothing is known of it.  By its number alone: the newest file that had it. */
struct fake_file *fake_file_of(struct fake_shared *shared, uint64_t ino);
struct fake_file *fake_file_find(struct fake_shared *shared, const struct tk_inode *inode);
/* One call at a time.  NULL: there is no place left. */
struct fake_file *fake_file_add(struct fake_shared *shared, const struct tk_inode *inode);
/* When all are sealed. */
void fake_files_forget(struct fake_shared *shared);

/* fake_openers.c: path and flags of the open that a thread waits in; 0, -errno.  Who it is. */
int fake_opened(uint32_t tid, char *ret_path, size_t size, uint32_t *ret_flags);
uint32_t fake_uid_of(uint32_t tid);

#endif
