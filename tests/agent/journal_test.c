// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/journal_test.c - two journals of one filesystem: one at its root, one in a
 * directory that was all the agent could see of it for a while.  No file is ever
 * recovered from one of them while the other has the last word on it.  And one that
 * cannot be written to for a while.
 */
#include "tests/agent/defence_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "loader/agent/agent.h"
#include "tests/agent/rig.h"

#define SIZE 70000

/* A second mount of the filesystem, of a directory of it, with the guard points below that. */
struct narrow {
	struct rig *rig;
	char mount[96];
	char environment[128]; /* the fake kernel half looks through it as well */
};

static bool narrow_up(struct narrow *narrow, struct rig *rig)
{
	char sub[128];

	narrow->rig = rig;
	snprintf(narrow->mount, sizeof(narrow->mount), "%s/narrow", rig->dir);
	snprintf(narrow->environment, sizeof(narrow->environment), "TK_FAKE_MOUNT=%s", narrow->mount);
	snprintf(sub, sizeof(sub), "%s/sub", rig->mount);
	if (mkdir(sub, 0755) || mkdir(narrow->mount, 0755) || mount(sub, narrow->mount, NULL, MS_BIND, NULL))
		return false;
	snprintf(rig->inner, sizeof(rig->inner), "sub/guard");
	snprintf(rig->guard, sizeof(rig->guard), "%s/guard", narrow->mount);
	snprintf(rig->other, sizeof(rig->other), "%s/other", narrow->mount);
	rig_policy(rig);
	return !mkdir(rig->guard, 0755) && !mkdir(rig->other, 0755);
}

static void narrow_down(struct narrow *narrow)
{
	struct rig *rig = narrow->rig;

	agent_kill(rig);
	umount2(rig->guard, UMOUNT_NOFOLLOW);
	umount2(rig->other, UMOUNT_NOFOLLOW);
	umount2(narrow->mount, UMOUNT_NOFOLLOW);
}

/* Something lies over the filesystem's root, so that the directory is all there is to be seen. */
static bool hide(const struct rig *rig, bool hidden)
{
	return !(hidden ? mount("nothing", rig->mount, "tmpfs", 0, NULL)
			: umount2(rig->mount, UMOUNT_NOFOLLOW));
}

/* Records in the vault of a directory, by its path from the filesystem's root. */
static int records_in(const struct rig *rig, const char *dir)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", rig->below, dir);
	return tk_vault_in_use(path);
}

static void test_two_journals(struct narrow *narrow)
{
	struct rig *rig = narrow->rig;
	struct snapshot before, after;
	int fd;

	check(hide(rig, true) && agent_start(rig, narrow->environment), "%s: agent of a directory", rig->fs);
	check(write_new(in(rig, "f"), SIZE, 1) && agent_settle(rig) && is_taka(rig, "f"), "%s: f", rig->fs);
	fd = open(in(rig, "f"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd), "%s: f open", rig->fs);
	check(records_in(rig, "sub") == 1, "%s: its record lies in the directory", rig->fs);
	agent_kill(rig);
	close(fd);
	kernel_forget(rig);
	check(snapshot(rig, "f", &before), "%s: f left by a killed agent", rig->fs);

	/* Now the root can be seen, and the journal would be there. */
	check(hide(rig, false) && agent_start(rig, NULL), "%s: agent of the filesystem", rig->fs);
	check(WAIT_FOR(status_number(rig, "sweep", "rounds") > 0), "%s: the sweep is through", rig->fs);
	check(records_in(rig, "sub") == 1, "%s: the other journal keeps its record", rig->fs);
	check(records_in(rig, ".") <= 0, "%s: and none is made beside it", rig->fs);
	check(snapshot(rig, "f", &after) && same_snapshot(&before, &after), "%s: nothing there is touched",
	      rig->fs);
	check(!rig->shared->file_count, "%s: nor opened", rig->fs);
	check(status_number(rig, NULL, "failure_count") > 0, "%s: and the administrator is told", rig->fs);
	snapshot_free(&after);
	snapshot_free(&before);
	agent_kill(rig);

	/* As it was: recovered from where the record is.  Then the journal at the root can be used. */
	check(hide(rig, true) && agent_start(rig, narrow->environment) && agent_settle(rig) &&
		      is_taka(rig, "f") && !compare(rig, in(rig, "f"), SIZE, 1) && agent_settle(rig) &&
		      agent_stop(rig),
	      "%s: recovered from its own journal", rig->fs);
	check(records_in(rig, "sub") == 0 && hide(rig, false) && agent_start(rig, NULL), "%s: emptied",
	      rig->fs);
	fd = open(in(rig, "f"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && records_in(rig, ".") == 1 && records_in(rig, "sub") == 0,
	      "%s: then the journal at the root is used", rig->fs);
	if (fd >= 0)
		close(fd);
	check(agent_settle(rig) && is_taka(rig, "f") && no_records(rig) && agent_stop(rig),
	      "%s: sealed from the journal at the root", rig->fs);
}

/* A directory of that name that anybody could have made is no journal, and must not keep an agent from work.
 */
static void test_not_a_journal(struct narrow *narrow)
{
	struct rig *rig = narrow->rig;
	char vault[128], record[192];

	snprintf(vault, sizeof(vault), "%s/.takakrypt", narrow->mount);
	snprintf(record, sizeof(record), "%s/00000007-0000000000000007-00000007", vault);
	/* The one that the test before has left is the agent's own. */
	check(!rmdir(vault) && !mkdir(vault, 0755) && !chown(vault, 1000, 1000) && write_new(record, 10, 1),
	      "%s: somebody's directory", rig->fs);
	check(agent_start(rig, NULL) && !compare(rig, in(rig, "f"), SIZE, 1) && agent_settle(rig) &&
		      agent_stop(rig),
	      "%s: somebody's directory is no journal", rig->fs);
	check(!chown(vault, 0, 0) && !chmod(vault, 0700) && agent_start(rig, NULL) &&
		      WAIT_FOR(status_number(rig, "sweep", "rounds") > 0) &&
		      status_number(rig, NULL, "failure_count") > 0,
	      "%s: the same of root's alone would be one", rig->fs);
	agent_kill(rig);
}

/* What could not be done in the vault is done later, by the agent that runs. */
static void test_vault_in_trouble(struct rig *rig)
{
	struct stat vault;
	int fd;

	if (!check(agent_start(rig, NULL) && write_new(in(rig, "t"), SIZE, 1) && agent_settle(rig) &&
			   !fstatat(rig->below, ".takakrypt", &vault, 0),
		   "%s: set up for trouble", rig->fs))
		return;
	fd = open(in(rig, "t"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && !journal_empty(rig), "%s: t open", rig->fs);
	rig->shared->unsyncable = vault.st_ino;
	rig->shared->refuse_state = TK_KEPT; /* kept_test.c has it */
	rig->shared->refusals = UINT32_MAX;
	close(fd);
	check(WAIT_FOR(journal_empty(rig)), "%s: its record is removed", rig->fs);
	check(state_of(rig, "t") == TK_SEALING, "%s: but not durably, so nobody is let in", rig->fs);
	rig->shared->unsyncable = rig->shared->refusals = 0;
	check(agent_settle(rig) && state_of(rig, "t") == TK_SEALED && !compare(rig, in(rig, "t"), SIZE, 1) &&
		      agent_settle(rig),
	      "%s: it is sealed when that can be made durable", rig->fs);

	rig->shared->unremovable = rig->shared->full = true;
	check(!write_new(in(rig, "t"), SIZE, 2) && rig->shared->unremoved && !journal_empty(rig),
	      "%s: a draft stays", rig->fs);
	rig->shared->unremovable = rig->shared->full = false;
	check(agent_settle(rig) && is_taka(rig, "t") && no_records(rig), "%s: and is removed later", rig->fs);
	agent_stop(rig);
}

/* Of an inode that cannot be read the kernel says what it says of one that is gone. */
static void test_unreadable(struct rig *rig)
{
	struct stat st;
	int fd;

	if (!check(agent_start(rig, NULL) && write_new(in(rig, "u"), SIZE, 5) && agent_settle(rig),
		   "%s: set up to be unreadable", rig->fs))
		return;
	fd = open(in(rig, "u"), O_RDONLY | O_CLOEXEC);
	check(fd >= 0 && plain_now(rig, fd) && !fstat(fd, &st) && !journal_empty(rig), "%s: u open", rig->fs);
	agent_kill(rig);
	close(fd);
	/* As a power cut leaves it while it is moved: its content is in the record alone. */
	kernel_forget(rig);
	fd = openat(rig->below, "guard/u", O_WRONLY | O_TRUNC | O_CLOEXEC);
	close(fd);
	rig->shared->unreadable = st.st_ino;
	check(fd >= 0 && agent_start(rig, NULL) && WAIT_FOR(status_number(rig, NULL, "failure_count") > 0),
	      "%s: u cannot be read, and that is reported", rig->fs);
	check(rig_ask_to_settle(rig) && !journal_empty(rig), "%s: its record, which has its content, is kept", rig->fs);
	agent_kill(rig);
	rig->shared->unreadable = 0;
	check(agent_start(rig, NULL) && agent_settle(rig) && is_taka(rig, "u") &&
		      !compare(rig, in(rig, "u"), SIZE, 5) && agent_settle(rig) && no_records(rig),
	      "%s: when it can be read again it is whole", rig->fs);
	agent_stop(rig);
}

/* Records are named after device numbers, which may be others when the machine comes up again: a name may be another's. */
static void test_exchanged_names(struct rig *rig)
{
	static const char *const names[] = {"n0", "n1", "n2"};
	struct tk_record records[3];
	int fds[3], vault;
	bool good = agent_start(rig, NULL);

	for (unsigned int i = 0; i < 3; i++) {
		good = good && write_new(in(rig, names[i]), SIZE, 10 + i) && agent_settle(rig);
		fds[i] = good ? open(in(rig, names[i]), O_RDONLY | O_CLOEXEC) : -1;
		good = good && plain_now(rig, fds[i]) && record_of(rig, names[i], &records[i]);
	}
	agent_kill(rig);
	for (unsigned int i = 0; i < 3; i++)
		close(fds[i]);
	if (!check(good, "%s: set up for exchanged names", rig->fs))
		return;
	/* A power cut in the midst of their moves has left the content of all to the records. */
	kernel_forget(rig);
	for (unsigned int i = 0; i < 3; i++) {
		char path[64];

		snprintf(path, sizeof(path), "guard/%s", names[i]);
		fds[i] = openat(rig->below, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		good = good && fds[i] >= 0;
		close(fds[i]);
	}
	vault = openat(rig->below, ".takakrypt", O_PATH | O_CLOEXEC);
	check(good && !renameat2(vault, records[0].name, vault, records[1].name, RENAME_EXCHANGE) &&
		      !renameat2(vault, records[1].name, vault, records[2].name, RENAME_EXCHANGE),
	      "%s: three records, each with the name of another one", rig->fs);
	close(vault);
	check(agent_start(rig, NULL) && agent_settle(rig), "%s: recovered under exchanged names", rig->fs);
	for (unsigned int i = 0; i < 3; i++) {
		bool taka = is_taka(rig, names[i]);
		int err = compare(rig, in(rig, names[i]), SIZE, 10 + i);

		check(taka && !err, "%s: %s has its content again", rig->fs, names[i]);
	}
	check(agent_settle(rig) && no_records(rig) && !status_number(rig, NULL, "failure_count") && agent_stop(rig),
	      "%s: no record is left, and nothing to tell", rig->fs);
}

void journal_tests(const char *fs)
{
	struct narrow narrow = {};
	struct rig rig;

	if (check(rig_up(&rig, fs, 320), "%s: set up for a journal", fs)) {
		test_vault_in_trouble(&rig);
		test_unreadable(&rig);
		test_exchanged_names(&rig);
	}
	rig_down(&rig);

	if (check(rig_up(&rig, fs, 320), "%s: set up for journals", fs)) {
		if (check(narrow_up(&narrow, &rig), "%s: a mount of a directory", fs)) {
			test_two_journals(&narrow);
			test_not_a_journal(&narrow);
		}
		narrow_down(&narrow);
	}
	rig_down(&rig);
}
