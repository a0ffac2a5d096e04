/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loader/kernel/kernel.h - the kernel half as user space sees it: load, attach,
 * pin, fill a generation, and what the agent asks and tells while it runs.
 *
 * The only directory that includes skeletons and libbpf.  Never prints.
 * Functions return 0 or -errno; ret_* outputs are untouched on failure.
 * A struct tk_kernel may be used by several threads at once.
 */
#ifndef TK_KERNEL_H
#define TK_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "loader/policy/policy.h"

#define TK_BPFFS_DIR "/sys/fs/bpf/takakrypt"
/* Where the loader leaves the policy's text for the agent; root alone may look. */
#define TK_RUN_DIR "/run/takakrypt"
#define TK_POLICY_FILE TK_RUN_DIR "/policy.json"
/* The same before it is known to be in force: with the generation's number, so that none is taken for another. */
#define TK_POLICY_STAGED TK_POLICY_FILE ".%u"

struct tk_kernel;

/* A guard point found on this machine: one match of a guard point's path pattern. */
struct tk_place {
	uint32_t id;	       /* index in struct tk_places; stable within a generation, never reused in it */
	uint32_t spec;	       /* index into tk_compiled.guards */
	char *path;	       /* absolute, symlinks resolved */
	struct tk_inode inode; /* of the directory */
};

struct tk_places {
	struct tk_place *items;
	size_t count;
};

/* ------------------------------------------------------------ loading (cmd_load, cmd_unload, cmd_reload) */

/* Why tk_kernel_load() failed, for people: one line with the remedy. */
struct tk_why {
	char text[512];
};

/* Opens, loads and pins programs and maps; attaches nothing.  -EEXIST when one is loaded already. */
int tk_kernel_load(struct tk_kernel **ret_kernel, struct tk_why *ret_why);
/*
 * Opens the maps of the loaded one by their pins.  -ENOENT: none is loaded, or a load or unload was cut off where nothing
 * is guarded; with any other error a policy may be in force: -EPROTONOSUPPORT when the maps are those of a version with
 * which this one does not agree on what they hold, -EUCLEAN when somebody has removed some.
 */
int tk_kernel_open(struct tk_kernel **ret_kernel);
/* Why it failed, and what to do where that is not plain. */
const char *tk_kernel_strerror(int err);
void tk_kernel_close(struct tk_kernel *kernel); /* leaves everything pinned in force */

/*
 * Writes generation (current + 1) beside the one in force, switches over, waits until no program can
 * still be reading the old one, removes it.  On failure the one in force is as it was.  On success ret_why may hold
 * a warning: an executable that is no member by its digest.  The programs must be attached, or writes to executables
 * go unnoticed meanwhile; without a generation they decide nothing.
 */
int tk_kernel_install(struct tk_kernel *kernel, const struct tk_compiled *compiled,
		      const struct tk_resolved *resolved, const struct tk_places *places,
		      struct tk_why *ret_why);
/* Attaches every hook this kernel has and pins the links: from here on the policy is enforced. */
int tk_kernel_attach(struct tk_kernel *kernel, struct tk_why *ret_why);
/* This process changes the policy: the programs let it look at guard points until it exits. */
int tk_kernel_set_loader(struct tk_kernel *kernel, uint32_t pid);
/* Detaches and unpins everything.  Removes whatever a failed load left, too. */
int tk_kernel_unload(void);

/* ------------------------------------------------------------ running (agent, status) */

int tk_kernel_control(struct tk_kernel *kernel, struct tk_control *ret_control);
/* This process is the agent: the programs let it pass, and clear `ready` when one of its threads exits. */
int tk_kernel_set_agent(struct tk_kernel *kernel, uint32_t pid);
int tk_kernel_set_ready(struct tk_kernel *kernel, bool ready);
/*
 * Every file in a guard point has been looked at: those that were open before the policy came and are
 * plaintext are TK_OPEN by now.  From here on no other description from before may go on.
 */
int tk_kernel_adopted(struct tk_kernel *kernel);

/* What tk_kernel_add_programs() has done. */
struct tk_added {
	size_t count;		/* executables that have more sets than before */
	char last[TK_EXE_MAX];	/* one of them */
	bool busy;		/* somebody has one open for writing: it is to be tried again */
};

/*
 * Executables that have appeared, in a generation that is in force.  Nothing is taken away: what has been replaced may
 * still run.  Who is a member by a digest is measured before he is one, which takes as long as reading him takes; a
 * digest that was lost by a write stays so until the next install.  -E2BIG: a map is full; -errno.
 */
int tk_kernel_add_programs(struct tk_kernel *kernel, uint32_t generation, const struct tk_resolved *resolved,
			   struct tk_added *ret_added);
/* A guard point that has appeared, in the generation in force. */
int tk_kernel_add_place(struct tk_kernel *kernel, const struct tk_compiled *compiled,
			const struct tk_place *place);
/*
 * The id under which the generation in force knows the guard point at this directory: the agent's own
 * tk_places_find() may number them otherwise, as directories come and go.  -ENOENT: not (yet) a guard point.
 */
int tk_kernel_place_id(struct tk_kernel *kernel, const struct tk_inode *inode, uint32_t *ret_id);
/* A directory nobody but the agent may touch (the journal's). */
int tk_kernel_add_vault(struct tk_kernel *kernel, const struct tk_inode *inode);
/*
 * Whether opens reach the agent through every mount that shows the guard point at this directory, or some of it, and
 * nothing else: a narrow one.  Contents are opened through no other mount, and not before TK_WATCHED.
 */
int tk_kernel_watch(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_watch watch);
int tk_kernel_watch_none(struct tk_kernel *kernel); /* an agent begins */
/* Is the mount that the descriptor was opened through a narrow one?  1, 0 or -errno. */
int tk_kernel_is_narrow(struct tk_kernel *kernel, int fd);

/*
 * The verdict file_open left for the thread whose open waits; taken away.  -ENOENT: the open was not
 * decided, deny it.
 */
int tk_kernel_take_open(struct tk_kernel *kernel, uint32_t tid, struct tk_pending_open *ret_open);

/*
 * What the programs hold of one inode.  An inode never spoken of is TK_SEALED with counts of 0.
 *
 * tk_kernel_set_state() is atomic with the counts:
 *   TK_UNSEALING  -EBUSY while raw descriptions are open; sets written to 0
 *   TK_SEALING    -EBUSY while plaintext descriptions are open, openers that wait for the agent included
 *   TK_OPEN, TK_OPEN_READ  always
 *   TK_KEPT       -ENOSPC where too many files are remembered already
 *   TK_SEALED     always; the entry is forgotten when no description is left
 * It survives the agent: after a restart tk_kernel_state() still answers.
 */
int tk_kernel_set_state(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_file_state state);
int tk_kernel_state(struct tk_kernel *kernel, const struct tk_inode *inode, enum tk_file_state *ret_state);
int tk_kernel_counts(struct tk_kernel *kernel, const struct tk_inode *inode,
		     struct tk_file_counts *ret_counts);

/* The time sets that hold from now on.  -ENOENT: that generation is gone. */
int tk_kernel_set_times(struct tk_kernel *kernel, uint32_t generation, const struct tk_times_now *now);

/* Do verdicts of the generation in force change with the time? */
bool tk_kernel_has_times(struct tk_kernel *kernel);

/* Is any file open as plaintext, or on its way? */
bool tk_kernel_any_open(struct tk_kernel *kernel);
/* Has any file a record that would undo what is written to it unguarded (TK_KEPT)? */
bool tk_kernel_any_kept(struct tk_kernel *kernel);

/*
 * Waits for notices and hands each to the callback; returns after at least one, or after timeout_ms (-1: none).
 * One reader at a time for each of the two rings.
 */
typedef void (*tk_notice_fn)(void *ctx, const struct tk_notice *notice);
int tk_kernel_poll_notices(struct tk_kernel *kernel, int timeout_ms, tk_notice_fn fn, void *ctx);
typedef void (*tk_event_fn)(void *ctx, const struct tk_event *event);
int tk_kernel_poll_events(struct tk_kernel *kernel, int timeout_ms, tk_event_fn fn, void *ctx);

/* Counters of what the programs ran short of, each of which denied something: what, and the remedy.  NULL: no such. */
const char *tk_shortage_name(enum tk_counter counter);
const char *tk_shortage_text(enum tk_counter counter);
int tk_kernel_counters(struct tk_kernel *kernel, uint64_t ret_counters[TK_COUNTER_COUNT]);

/* ------------------------------------------------------------ places (no BPF involved) */

/* Expands the guard points' patterns on this machine.  What matches nothing is a warning in problems. */
int tk_places_find(const struct tk_compiled *compiled, struct tk_places **ret_places,
		   struct tk_problems *problems);
void tk_places_free(struct tk_places *places);

#endif
