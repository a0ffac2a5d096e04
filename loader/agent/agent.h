/* SPDX-License-Identifier: GPL-2.0 */
/* loader/agent/agent.h - what the files of the agent share, and who calls whom.
 *
 *	agent.c		birth, main loop, death
 *	policy.c	which policy it works by
 *	mounts.c	private mounts and bind mounts; mountinfo.c reads /proc
 *	marks.c		which opens reach the agent
 *	fanotify.c	the only reader of permission events
 *	file.c		the table: who waits for which file; settle.c who waits for all of them
 *	workers.c	the threads that give files their turns
 *	due.c		which of them have one by themselves, and when
 *	turn.c		one turn of a file: serve its openers, seal it after the last
 *	contents.c	moves contents: unseal, seal, with put_back.c, bytes.c and attributes.c
 *	record.c	a file and its record, changed together
 *	torn.c		what lies in a file that nobody has watched, before a record is put over it
 *	kept.c		sealed files whose record stays, so that their next open waits for no disk
 *	journal.c	the records that make these moves safe
 *	recover.c	completes or undoes what an earlier agent left; lost.c finds out what was deleted
 *	sweep.c		finds what still lies as plaintext
 *	programs.c	recognises the policy's programs again after an upgrade
 *	events.c	audit events as lines, with subject.c; log.c what went wrong
 *	shortage.c	tells what the kernel programs run short of
 *	withdraw.c	guard points that a reload is about to take away
 *	control.c	the socket; status.c what it answers; client.c the other end
 *	watchdog.c	the guardian, a process that ends an agent that hangs
 *
 * Locks.  agent->lock guards the table, the queues and the fields of a file
 * that say so; it is never held over I/O (but over fanotify_mark(2)).  Everything else of a file belongs to
 * the worker that has its turn.  agent->policy_lock guards what a reload replaces.
 * Order: policy_lock before lock; nothing is locked under marks_lock.
 */
#ifndef TK_AGENT_H
#define TK_AGENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "bpf/abi.h"
#include "crypto/takakrypt.h"
#include "loader/agent/journal.h"
#include "loader/agent/mountinfo.h"
#include "loader/agent/places.h"
#include "loader/agent/small.h"
#include "loader/kernel/kernel.h"
#include "loader/policy/policy.h"

/* -------------------------------------------------------------- files */

/* An open that waits for the agent's answer. */
struct tk_opener {
	int event; /* the number fanotify knows it by; see tk_event_park() */
	uint32_t tid;
	uint32_t view;			/* enum tk_view */
	uint32_t flags;			/* f_flags */
	uint64_t deadline;		/* of waiting for readers of the other view; 0: not begun */
	struct tk_pending_open pending; /* while parked */
	struct tk_opener *next;
};

/* A file of the table: open, waited for, or not sealed. */
struct tk_file {
	/* Fixed. */
	struct tk_inode inode;
	struct tk_volume *volume;
	int path; /* O_PATH: the inode cannot be reused while the entry lives */
	struct tk_handle handle;
	struct tk_file *hash_next; /* agent->lock */

	/* Under agent->lock. */
	struct tk_opener *arrivals; /* newest first */
	struct tk_recipe recipe;      /* while it runs: of who has its turn, who reads it without the lock */
	struct tk_recipe next_recipe; /* what the next turn begins with, if `renewed` */
	bool renewed;
	bool queued, running;
	bool wanted;   /* somebody asked for a turn while one was running */
	bool plain;    /* plaintext was found in it: seal it */
	uint64_t due;  /* ms; when to have a turn by itself, 0 never; see tk_due_set() */
	struct tk_file *due_child, *due_next, *due_before; /* due.c's */
	uint64_t hold; /* ms; stay open until then (truncate(2)) */
	bool hold_wanted;
	bool release_wanted; /* kept, but its record is in somebody's way */
	uint32_t generation; /* of the policy that let the last opener in */
	struct tk_file *kept_older, *kept_newer;
	bool coming;	       /* may become one */
	bool listed;	       /* as kept, in agent->kept */
	bool touched;	       /* since it was kept, as its owner has just found out */
	uint32_t looked;       /* the round in which that was asked last */
	uint64_t kept_bytes;   /* of its payload, as counted */
	uint64_t linger; /* ms; stay open until then although nobody has it */
	bool unasked;	 /* its opens do not reach the agent: marks.c */
	unsigned int asked;   /* opens that did, since it was sealed last */
	_Atomic uint64_t bytes_done, bytes_total; /* being encrypted or decrypted; total 0: none */
	uint64_t size; /* a guess, to keep a worker free for small files */
	struct tk_file *queue_next;

	/* The worker's who has the turn; `state` and `writable` may be read under the lock between turns. */
	enum tk_file_state state;
	bool writable; /* record says TK_WRITABLE */
	bool has_record;
	bool must_encrypt; /* whether it was written to is not known */
	bool unsure;	   /* the record on disk may be in the other state: a rewrite failed */
	bool unsynced;	   /* its record has come or gone, but a crash could undo that: a sync failed */
	struct tk_record record;
	struct tk_opener *waiting; /* oldest first */
	unsigned int attempts;	   /* failed tries to seal, for the back-off */
	bool settled_error;	   /* the failure was reported */
	bool inside;		   /* all its names, as far as it has any: who writes it is judged */
	bool recovered;		   /* the record is an earlier agent's: nobody has read all of it since */
	bool strange;		   /* so is it what lies in the file, and its times */
	bool unlooked;		   /* by torn.c, which is to look before the payload is put back */
	bool printed;		   /* the next is of the record's payload, which was authentic then */
	uint64_t print;
	bool unguarded;		   /* with the administrator's consent: then the file's own content stays */
	bool saved;		   /* as it was found */
	bool renewing;		   /* kept: written over itself, and not given its time back yet */
	bool doubtful;		   /* kept: whether its bytes reach the disk no flush will tell */
	bool proved;		   /* kept: they have, as a flush of it alone has told */
	unsigned int flush_errors; /* of the volume, before its bytes were written last */
	struct timespec kept_since; /* st_ctim when it became TK_KEPT; zero: not known */
	bool no_room;	  /* to seal it, when that was tried last: look for some first */
	bool sync_failed; /* its plaintext could not be made durable once: never writable again */
};

#define TK_TABLE_SIZE 4096 /* hash chains; a power of two */

struct tk_queue {
	struct tk_file *head, *tail;
	size_t length;
};

/* -------------------------------------------------------------- the agent */

#define TK_FAILURES 32
#define TK_LINES 1000
#define TK_THREADS 80

struct tk_failure {
	time_t when;
	char text[400];
};

struct tk_sweep {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t wanted, done; /* rounds asked for, rounds finished */
	bool running;
	uint64_t files, found; /* of the round that runs or ran: looked at, not sealed */
};

/* The time sets that hold: written by the main thread under policy_lock. */
struct tk_times {
	int timer;
	struct tk_set_bits holding;
	int64_t next; /* seconds since 1970; INT64_MAX: never */
	bool armed;   /* the timer will tell */
	bool frozen;  /* the kernel programs have not got them */
};

/* Executables of process sets that were replaced: programs.c. */
struct tk_programs {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t policies; /* taken over so far */
	uint64_t recognised;
	char last[TK_EXE_MAX];
};

struct tk_agent {
	struct tk_kernel *kernel;
	const char *policy_path;

	/* Under policy_lock. */
	pthread_rwlock_t policy_lock;
	struct tk_compiled *compiled;
	struct tk_spots now, before; /* of the generation in force, and of the one before */
	bool text_doubtful;	 /* written by the main thread: the text may be older than the generation in force */
	struct tk_times times;
	struct tk_keyring *keys; /* thread-safe by itself, never replaced */

	/* The main thread's. */
	struct tk_volume *volumes;
	int fanotify;
	int nothing;		/* what takes the place of an event's description */
	atomic_bool deny_errno; /* this kernel takes FAN_DENY_ERRNO */

	pthread_mutex_t marks_lock; /* marks.c */

	/* Under lock. */
	pthread_mutex_t lock;
	pthread_cond_t work; /* something is queued or due */
	pthread_cond_t idle; /* a turn has ended */
	struct tk_file *table[TK_TABLE_SIZE];
	size_t file_count;
	struct tk_queue small, large;
	struct {
		struct tk_file *oldest, *newest;
		size_t count;
		uint32_t round; /* of looking at all */
		unsigned int coming; /* turns that may end with one more */
		bool failed; /* the last time that some should go */
		bool going; /* some do, as far as is known, and that takes as long as the disk takes */
	} kept;
	pthread_cond_t kept_work; /* records are to be released */
	unsigned int workers, running, large_most, running_large;
	bool halted;
	uint32_t unasked_generation; /* of the policy whose openers may lead to tk_file.unasked */
	struct tk_file *due;	  /* the one that is due first; NULL: none is */
	struct tk_opener *parked; /* of a generation the agent does not know yet */
	struct tk_opener *namesakes; /* another file is kept under the number of theirs */

	struct tk_sweep sweep;
	struct tk_programs programs;
	atomic_bool ready, stopping;
	atomic_bool set_aside; /* a journal has, or had since this agent's birth, contents that no file of the table has */
	atomic_bool releasing; /* somebody is about to take guard points away: none is kept */
	atomic_bool settling; /* somebody waits until all that is closed is durable without its record */
	atomic_uint tids[TK_THREADS]; /* the agent's own threads */
	atomic_uint tid_count;

	/* Under log_lock. */
	pthread_mutex_t log_lock;
	struct tk_failure failures[TK_FAILURES];
	uint64_t failure_count, failure_printed;
	char *lines[TK_LINES]; /* audit events as JSON */
	uint64_t line_count;

	int wake; /* eventfd: the main loop should look around */
	int told; /* eventfd: the control thread should look around */
	atomic_bool reload_wanted, stop_wanted, unload_wanted;
	atomic_uint_fast64_t reloads;
	atomic_uint_fast64_t withdrawn_until; /* ms; 0: no guard point is closed by tk_withdraw() */
	char reload_error[512]; /* under log_lock */
	time_t started;
	uint64_t born, ready_after; /* tk_now_ms(), and milliseconds from then to readiness */
};

struct tk_agent_options {
	const char *policy;  /* NULL: TK_POLICY_FILE */
	const char *control; /* NULL: TK_CONTROL_SOCKET */
	int ready_fd;	     /* told "ready" or the error, then closed; -1: none */
	unsigned int watchdog; /* seconds: see watchdog.h; 0: none */
};
#define TK_CONTROL_SOCKET TK_RUN_DIR "/control"

/* The agent's whole life in the foreground.  0 after an orderly end. */
int tk_agent_run(const struct tk_agent_options *options);

/* policy.c */
int tk_policy_adopt(struct tk_agent *agent, char *ret_error, size_t error_size);
int tk_policy_follow(struct tk_agent *agent);
void tk_policy_appear(struct tk_agent *agent);
/* Under policy_lock.  NULL: no such guard point in that generation, or a generation that is long gone. */
const struct tk_spot *tk_spot_find(const struct tk_agent *agent, uint32_t generation, uint32_t id);

/* times.c: by the main thread alone */
int tk_times_open(struct tk_agent *agent);
/* Says which time sets hold now, and waits for the next change; after another policy was taken over, too. */
void tk_times_refresh(struct tk_agent *agent);
void tk_times_fired(struct tk_agent *agent); /* the timer can be read */
void tk_times_tick(struct tk_agent *agent);  /* each second: for what went wrong */

/* programs.c */
void *tk_programs_thread(void *agent);
void tk_programs_look(struct tk_agent *agent); /* another policy was taken over */

/* shortage.c: by the main thread, each second */
void tk_shortage_tick(struct tk_agent *agent);

/* withdraw.c; guards: names, a JSON array of texts */
struct cJSON;
int tk_withdraw(struct tk_agent *agent, const struct cJSON *guards);
size_t tk_withdraw_left(struct tk_agent *agent, const struct cJSON *guards);
void tk_withdraw_end(struct tk_agent *agent);
void tk_withdraw_tick(struct tk_agent *agent); /* each second */

/* mounts.c: by the main thread alone */
int tk_mounts_add(struct tk_agent *agent, struct tk_spot *spot, struct tk_mounts *mounts);
void tk_mounts_remove(struct tk_spot *spot, struct tk_mounts *mounts);
void tk_vaults_announce(struct tk_agent *agent);

/* marks.c: by the main thread, */
bool tk_marks_set(struct tk_agent *agent, struct tk_spots *spots);
void tk_marks_forget(struct tk_agent *agent, struct tk_spot *spot);
void tk_marks_renew(struct tk_agent *agent, uint32_t generation); /* what to seal files with changes */
/* by the reader of events, */
bool tk_marks_pass(struct tk_agent *agent, int event);
/* and by who has the file's turn, or the reader while nobody has it: a mark for a file that is open, under lock. */
void tk_marks_spare(struct tk_agent *agent, struct tk_file *file);
bool tk_marks_worthwhile(const struct tk_file *file); /* to make it writable for that */
/* The mark is gone.  0, or -errno: nothing has changed. */
int tk_marks_ask_again(struct tk_agent *agent, struct tk_file *file);

/* fanotify.c */
int tk_fanotify_open(struct tk_agent *agent);
void *tk_fanotify_thread(void *agent);
/* Gives the event's number a description that is nobody's, so that it neither counts nor is used again. */
int tk_event_park(struct tk_agent *agent, int event);
/* err: 0 allow, -errno deny.  The event is closed. */
void tk_event_answer(struct tk_agent *agent, int event, int err);

/* handle.c */
int tk_handle_of(int fd, const char *path, struct tk_handle *ret_handle); /* fd itself when path is "" */
bool tk_handle_same(const struct tk_handle *a, const struct tk_handle *b);
int tk_handle_open(const struct tk_volume *volume, const struct tk_handle *handle,
		   int flags); /* fd, or -errno */
int tk_inode_in(const struct tk_volume *volume, int fd, struct tk_inode *ret_inode);
/* A file known by its inode alone; `like` is the handle of any inode of its filesystem.  O_PATH fd, or
 * -errno. */
int tk_handle_guess(const struct tk_volume *volume, const struct tk_handle *like,
		    const struct tk_inode *inode);

/* file.c */
/* Whether another open file would take the agent's last descriptors, which seals need. */
bool tk_files_full(struct tk_agent *agent, const struct tk_inode *inode, int event);
/* An event with the verdict that was left for it.  Takes over opener; answers now or later. */
void tk_files_open(struct tk_agent *agent, struct tk_opener *opener);
void tk_files_unpark(struct tk_agent *agent);
void tk_files_retry(struct tk_agent *agent); /* those who wait for another file to be released */
struct tk_file *tk_file_find(struct tk_agent *agent, const struct tk_inode *inode); /* under lock */
/* An entry that is not in the table yet; fd is any description of the file. */
int tk_file_make(struct tk_volume *volume, const struct tk_inode *inode, int fd, struct tk_file **ret_file);
void tk_file_insert(struct tk_agent *agent, struct tk_file *file); /* under lock */
void tk_file_drop(struct tk_agent *agent, struct tk_file *file);   /* under lock */
void tk_file_free(struct tk_file *file);
int tk_file_reopen(const struct tk_file *file, int flags); /* fd, or -errno; adds O_NOATIME and the like */
/* What it is to be sealed with: no turn that seals begins without it.  Under lock. */
struct tk_recipe *tk_file_recipe(struct tk_file *file);
void tk_files_look(struct tk_agent *agent, bool impatient);
/* From now on it stays open for as long as its guard point says, whoever closes it.  Under lock. */
void tk_file_linger(struct tk_file *file);
/* A tk_progress, of the file that is encrypted or decrypted, for `status`. */
int tk_file_progress(void *file, uint64_t done, uint64_t total);
void tk_files_closed(struct tk_agent *agent, const struct tk_inode *inode);
int tk_files_plain(struct tk_agent *agent, struct tk_volume *volume, const struct tk_recipe *recipe,
		   const struct tk_inode *inode, int fd);
void tk_files_truncate(struct tk_agent *agent, const struct tk_inode *inode, uint32_t guard, uint32_t view);

/* settle.c: what lingers is sealed now. */
void tk_files_hurry(struct tk_agent *agent);
/* Files that nobody has open as plaintext and that are not sealed yet; counted as far as `enough`. */
size_t tk_files_unsettled(struct tk_agent *agent, size_t enough);

/* workers.c */
int tk_workers_start(struct tk_agent *agent);
int tk_thread_start(struct tk_agent *agent, void *(*run)(void *), void *arg, const char *name);
bool tk_thread_own(const struct tk_agent *agent, uint32_t tid);
void tk_file_queue(struct tk_agent *agent, struct tk_file *file);	      /* under lock */
void tk_file_due(struct tk_agent *agent, struct tk_file *file, uint64_t due); /* under lock */
bool tk_file_outgrown(struct tk_agent *agent, struct tk_file *file);
/* Under lock, after a turn: due is what tk_file_turn() has returned. */
void tk_file_turned(struct tk_agent *agent, struct tk_file *file, uint64_t due);
/* Waits until no file has a turn or waits for one. */
void tk_workers_drain(struct tk_agent *agent);
/* Waits for the turns that are going on; none begins any more. */
void tk_workers_halt(struct tk_agent *agent);

/* due.c: under lock.  due: ms, 0 never.  True when no other file is due before this one. */
bool tk_due_set(struct tk_agent *agent, struct tk_file *file, uint64_t due);

/* turn.c: returns the time (tk_now_ms) of the next turn, 0 when another one is only needed if something
 * happens. */
#define TK_TURN_LAST UINT64_MAX /* the file is sealed and nobody has it: it may leave the table */
uint64_t tk_file_turn(struct tk_agent *agent, struct tk_file *file);
void tk_files_let_go(struct tk_agent *agent); /* at the end of an unload */

/* contents.c: each leaves state, record and kernel's state consistent, whatever it returns. */
enum tk_contents {
	TK_EMPTY,
	TK_TAKA, /* sealed, or damaged */
	TK_PLAIN,
};
int tk_contents_kind(int fd, uint64_t size, enum tk_contents *ret_kind);
/* 1 the same, 0 others, -errno.  The second is false also when either cannot be read. */
int tk_contents_compare(int a, off_t a_offset, int b, off_t b_offset, uint64_t size);
bool tk_contents_same(int a, off_t a_offset, int b, off_t b_offset, uint64_t size);
int tk_contents_copy(int in, off_t in_offset, int out, off_t out_offset, uint64_t size);
int tk_contents_print(int fd, off_t offset, uint64_t size, uint64_t *ret_print);
int tk_file_cut(const struct tk_file *file);
int tk_contents_unseal(struct tk_agent *agent, struct tk_file *file, bool write);
int tk_contents_seal(struct tk_agent *agent, struct tk_file *file);
enum tk_then {
	TK_RELEASE, /* durable, and the record goes */
	TK_KEEP,    /* the record stays if it may, and then nothing needs to be durable */
	/* Likewise; but the disk may still have what the application has overwritten, which no record knows of. */
	TK_FLUSH_AND_KEEP,
};
int tk_contents_put_back(struct tk_agent *agent, struct tk_file *file, enum tk_then then);
/* With a descriptor for reading and writing; -1: it is made.  Closed before anybody may run the file. */
int tk_contents_put_back_by(struct tk_agent *agent, struct tk_file *file, int *fd, enum tk_then then);
int tk_contents_check(struct tk_agent *agent, const struct tk_file *file);
bool tk_contents_usable(struct tk_agent *agent, const struct tk_file *file); /* or nobody has its key now */
int tk_contents_renew(struct tk_agent *agent, struct tk_file *file, bool flush);
/*
 * The payload, which is whole, is about to be put over what the file has.  0: nothing is lost by that, as a move has
 * left it so, or it was saved in the journal.  1: it stays, durably, and it is the record that was set aside.
 * -errno: neither, and the payload must not be put there.
 */
int tk_torn_yield(struct tk_agent *agent, struct tk_file *file, int fd);
int tk_contents_writable(struct tk_agent *agent, struct tk_file *file);
bool tk_nobody_has(int fd);
/* Returns when who was resizing the file by its name is done.  0 or -errno: that is not known. */
int tk_await_resizes(int fd);
int tk_room_take(int fd, uint64_t size);

/* attributes.c */
bool tk_same_time(const struct timespec *a, const struct timespec *b);
bool tk_same_mtime(const struct stat *st, const struct tk_record *record);
int tk_times_restore(int fd, struct tk_record *record, const struct timespec *begun);
int tk_capability_read(int fd, struct tk_capability *ret_capability);
int tk_attributes_keep(struct tk_file *file, int fd);
int tk_capability_restore(int fd, const struct tk_capability *kept);

/* kept.c: a turn's owner decides, the list is under lock */
bool tk_kept_allowed(struct tk_agent *agent, struct tk_file *file);
/*
 * TK_KEPT: nothing but the agent has touched it since, and its record is the one to use, if it is whole.  False also
 * when that is of another recipe.
 */
bool tk_kept_holds(const struct tk_file *file);
/*
 * TK_KEPT to TK_SEALED: durable, and without a record that could undo what is written next.  The files are of one
 * volume, and the caller has their turns.  alone: the rest of the filesystem is not waited for.  0, or the first
 * error; each file's state says how far it came.
 */
int tk_kept_release(struct tk_agent *agent, struct tk_file **files, size_t count, bool alone);
/*
 * All of the volume to the disk.  A failure is told only once, to whom it may concern: so it is counted, and
 * nothing that was written before it was told of is taken for durable any more.
 */
int tk_volume_flush(struct tk_volume *volume);
/* Before the record of a file without a name goes: that it has none is made durable. */
int tk_kept_gone(const struct tk_file *file);
/* Releases all of a volume but those that have a turn.  True when there were any. */
bool tk_kept_give_way(struct tk_agent *agent, const struct tk_volume *volume);
void tk_kept_list(struct tk_agent *agent, struct tk_file *file); /* under lock, after a turn */
void tk_kept_unlist(struct tk_agent *agent, struct tk_file *file); /* under lock */
/* The reason for letting none be kept any more has just come. */
void tk_kept_hurry(struct tk_agent *agent);
/* 0: none is kept.  -EAGAIN: those that are go.  -EROFS: they cannot, for a reason in ret_why. */
int tk_kept_left(struct tk_agent *agent, char *ret_why, size_t size);
/* There are fewer than *ret_count, which becomes what there are now; or some are on their way out. */
bool tk_kept_fewer(struct tk_agent *agent, size_t *ret_count);
void *tk_kept_thread(void *agent);

/* recover.c, sweep.c */
int tk_recover(struct tk_agent *agent, struct tk_volume *volume);
/* Removes drafts that nobody is writing and that could not be removed when they were dropped. */
void tk_vault_tidy(struct tk_volume *volume);
/* A name of that number was met in the directory. */
void tk_lost_seen(struct tk_volume *volume, int dir, const char *name, uint64_t ino);
/* After all names of these guard points were met, if `whole`. */
void tk_lost_conclude(struct tk_agent *agent, struct tk_volume *volume, bool whole);
void *tk_sweep_thread(void *agent);
uint64_t tk_sweep_ask(struct tk_agent *agent);
uint64_t tk_sweep_done(struct tk_agent *agent);

/* log.c */
void tk_report(struct tk_agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A record that tk_record_aside() has renamed, and what of its file. */
void tk_report_aside(struct tk_agent *agent, const struct tk_volume *volume, const char *record, const char *file);
/* What tk_draft_found() has kept, and of which file. */
void tk_report_found(struct tk_agent *agent, const struct tk_volume *volume, const char *found, const char *file);
void tk_log_print(struct tk_agent *agent);
void tk_line_add(struct tk_agent *agent, char *line);
void tk_file_name(const struct tk_file *file, char *ret_name, size_t size);
void tk_wake(int eventfd);

/* events.c */
void *tk_events_thread(void *agent);
void *tk_notices_thread(void *agent);
/* One audit event as a line of JSON; the caller frees.  spot may be NULL. */
char *tk_event_json(const struct tk_event *event, const char *guard_path, const char *guard_name);

/* control.c, status.c */
int tk_control_open(const char *path, int *ret_fd);
struct tk_control_args {
	struct tk_agent *agent;
	int listener;
};
void *tk_control_thread(void *args);
char *tk_status_json(struct tk_agent *agent);

#endif
