// SPDX-License-Identifier: GPL-2.0
/*
 * tests/agent/token_test.c - the key is in a token, and the token is taken out while the
 * agent works: who has a file open goes on, nobody else is let in, nothing is lost,
 * and when the token is back everything is sealed.
 *
 * The token is SoftHSM behind tests/unit/token_shim.c, which plays its being taken out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/agent/client.h"
#include "tests/agent/defence_test.h"
#include "tests/agent/rig.h"

#define SIZE 70000

static bool put(const struct rig *rig, const char *name, const char *text)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	file = fopen(path, "we");
	return file && fputs(text, file) >= 0 && !fchmod(fileno(file), 0600) && !fclose(file);
}

/* A token that has the key of the policy's first key file (no zero bytes in it: softhsm2-util ends there). */
static bool make_token(const struct rig *rig)
{
	char text[1200], path[160];

	snprintf(path, sizeof(path), "%s/conf", rig->dir);
	setenv("SOFTHSM2_CONF", path, 1);
	setenv("TOKEN_SHIM", rig->dir, 1);
	snprintf(text, sizeof(text), "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n",
		 rig->dir);
	if (!put(rig, "conf", text) || !put(rig, "pin", "73916428\n") || !put(rig, "kek", "the key in the token and in file") ||
	    !put(rig, "key", "746865206b657920696e2074686520746f6b656e20616e6420696e2066696c65\n"))
		return false;
	snprintf(text, sizeof(text),
		 "cd %s && mkdir tokens && "
		 "softhsm2-util --init-token --free --label prod --pin 73916428 --so-pin 87654321 >&2 && "
		 "softhsm2-util --import kek --aes --token prod --label payroll --id 01 --pin 73916428 >&2 && "
		 "rm kek && install -m 700 \"$OLDPWD\"/build/tests/token_shim.so module.so",
		 rig->dir);
	return system(text) == 0;
}

/* The same policy, with the token in the place of the first key file. */
static bool policy_with_token(const struct rig *rig)
{
	char text[2048] = "", whole[3000], from[200], path[160], *at;
	FILE *file;

	snprintf(path, sizeof(path), "%s/policy.json", rig->dir);
	file = fopen(path, "re");
	if (!file || !fread(text, 1, sizeof(text) - 1, file) || fclose(file))
		return false;
	snprintf(from, sizeof(from), "\"provider\": \"file\", \"path\": \"%s/key\"}", rig->dir);
	at = strstr(text, from);
	if (!at)
		return false;
	*at = '\0';
	snprintf(whole, sizeof(whole),
		 "%s\"provider\": \"pkcs11\", \"uri\": \"pkcs11:token=prod;object=payroll;type=secret-key?"
		 "module-path=%s/module.so&pin-source=file:%s/pin\"}%s",
		 text, rig->dir, rig->dir, at + strlen(from));
	return put(rig, "policy.json", whole);
}

static bool reload(const struct rig *rig)
{
	char error[300];

	return !tk_client_tell(rig->control, "reload", error, sizeof(error));
}

static void taken_out(const struct rig *rig, bool out)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/removed", rig->dir);
	check(out ? put(rig, "removed", "") : !unlink(path), "%s: token: %s", rig->fs, out ? "out" : "in again");
}

static void test_removal(struct rig *rig)
{
	uint8_t *bytes = malloc(SIZE);
	long failures;
	int fd, other;

	fill(bytes, SIZE, 3);
	check(!compare(rig, in(rig, "a"), SIZE, 1) && !compare(rig, in(rig, "b"), SIZE, 2) && agent_settle(rig),
	      "%s: token: what a key file encrypted, the token decrypts", rig->fs);
	fd = open(in(rig, "a"), O_RDWR | O_CLOEXEC);
	check(fd >= 0, "%s: token: open while it is in", rig->fs);
	failures = status_number(rig, NULL, "failure_count");

	taken_out(rig, true);
	check(pwrite(fd, bytes, SIZE, 0) == SIZE && !fsync(fd), "%s: token: who has it open goes on", rig->fs);
	other = open(in(rig, "b"), O_RDONLY | O_CLOEXEC);
	check(other < 0 && (errno == EIO || errno == EPERM), "%s: token: nobody else is let in", rig->fs);
	if (other >= 0)
		close(other);
	check(is_taka(rig, "b"), "%s: token: what is sealed stays", rig->fs);
	check(!reload(rig), "%s: token: a policy whose key cannot be had is refused", rig->fs);
	close(fd);
	/* The agent's own descriptor, while it tries, can look like somebody who has the file open: see agent_settle(). */
	check(WAIT_FOR(status_number(rig, NULL, "failure_count") >= failures + 2) && WAIT_FOR(!rig_ask_to_settle(rig)),
	      "%s: token: sealing waits, and says so", rig->fs);
	check(!is_taka(rig, "a") && !compare(rig, in(rig, "a"), SIZE, 3), "%s: token: and loses nothing", rig->fs);

	taken_out(rig, false);
	check(WAIT_FOR(agent_settle(rig) && is_taka(rig, "a") && journal_empty(rig)), "%s: token: sealed when it is back",
	      rig->fs);
	check(!compare(rig, in(rig, "a"), SIZE, 3) && !compare(rig, in(rig, "b"), SIZE, 2),
	      "%s: token: all is there", rig->fs);
	free(bytes);
}

void token_tests(const char *fs)
{
	struct rig rig;

	if (check(rig_up(&rig, fs, 320) && make_token(&rig) && agent_start(&rig, NULL), "%s: set up for tokens", fs)) {
		check(write_new(in(&rig, "a"), SIZE, 1) && write_new(in(&rig, "b"), SIZE, 2) && agent_settle(&rig),
		      "%s: token: files of the key file's time", fs);
		check(policy_with_token(&rig) && reload(&rig), "%s: token: the key moves there", fs);
		test_removal(&rig);
		check(agent_stop(&rig), "%s: token: stops in order", fs);
	}
	rig_down(&rig);
}
