// SPDX-License-Identifier: GPL-2.0
/*
 * Owns the probe's operations of a process that maps code: what a loader does for LD_PRELOAD,
 * what a program does for a plug-in, and what becomes of the process by it.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

/* Maps code of the file. `late`: as data first, and protected as code then. */
static void map_code(const char *path, int late)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *at;

	if (fd < 0)
		no_setup("open %s", path);
	at = mmap(NULL, PAGE, late ? PROT_READ : PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		refused("mmap");
	if (late && mprotect(at, PAGE, PROT_READ | PROT_EXEC))
		refused("mprotect");
	close(fd);
}

/* Code in memory that nobody has written to a file system. */
static void map_memory(const char *path)
{
	int from = open(path, O_RDONLY | O_CLOEXEC), to = memfd_create("code", MFD_CLOEXEC);
	char page[PAGE];

	if (from < 0 || to < 0 || read(from, page, PAGE) <= 0 || write(to, page, PAGE) != PAGE)
		no_setup("memfd");
	if (mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, to, 0) == MAP_FAILED)
		refused("mmap");
}

static void *map_in_thread(void *path)
{
	map_code(path, 0);
	return NULL;
}

static void code_in_thread(char *path)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, map_in_thread, path) || pthread_join(thread, NULL))
		no_setup("thread");
}

static void read_in_child(const char *path)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		no_setup("fork");
	if (pid)
		end_like(pid);
	show_fd(must_open(path, O_RDONLY));
	printf("ok\n");
	fflush(stdout);
	_exit(OK);
}

/* code-then-read HOW LIBRARY PATH: maps code of LIBRARY, then reads PATH. */
static void code_then_read(char **a)
{
	const char *how = a[0];

	if (!strcmp(how, "memfd"))
		map_memory(a[1]);
	else if (!strcmp(how, "thread"))
		code_in_thread(a[1]);
	else
		map_code(a[1], !strcmp(how, "mprotect"));
	if (!strcmp(how, "fork"))
		read_in_child(a[2]);
	if (!strcmp(how, "exec")) {
		fflush(stdout);
		execl("/proc/self/exe", "probe", "open-read", a[2], NULL);
		no_setup("exec");
	}
	show_fd(must_open(a[2], O_RDONLY));
}

/* code-then-wait LIBRARY FLAG PATH: maps code of LIBRARY, waits for FLAG, then reads PATH. */
static void code_then_wait(char **a)
{
	map_code(a[0], 0);
	printf("mapped\n");
	fflush(stdout);
	await(a[1]);
	show_fd(must_open(a[2], O_RDONLY));
}

/* code-stay LIBRARY: maps code of LIBRARY and stays. */
static void code_stay(char **a)
{
	map_code(a[0], 0);
	printf("mapped\n");
	fflush(stdout);
	pause(); /* hundreds that look around would take all there is of the processor */
}

/* Executes this program anew as code-stay, and returns when it has mapped the library. */
static int one_that_stays(const char *library)
{
	char said[64] = "";
	int out[2];
	pid_t child;
	FILE *in;

	if (pipe2(out, O_CLOEXEC))
		return 0;
	child = fork();
	if (!child) {
		dup2(out[1], STDOUT_FILENO);
		execl("/proc/self/exe", "probe", "code-stay", library, NULL);
		_exit(NO_SETUP);
	}
	close(out[1]);
	in = fdopen(out[0], "r");
	while (child > 0 && in && strcmp(said, "mapped\n") && fgets(said, sizeof(said), in))
		;
	if (in)
		fclose(in);
	return !strcmp(said, "mapped\n");
}

/* code-crowd LIBRARY COUNT FLAG: so many that have executed this program and mapped code of LIBRARY, until FLAG appears. */
static void code_crowd(char **a)
{
	long count = number(a[1]);

	if (setpgid(0, 0))
		no_setup("setpgid");
	for (long i = 0; i < count; i++)
		if (!one_that_stays(a[0]))
			no_setup("the %ld. of them", i + 1);
	printf("all there\n");
	fflush(stdout);
	await(a[2]);
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	for (long i = 0; i < count; i++)
		wait(NULL);
}

/* code-then-attach LIBRARY PID: maps code of LIBRARY, then traces PID. */
static void code_then_attach(char **a)
{
	pid_t pid = number(a[1]);

	map_code(a[0], 0);
	if (ptrace(PTRACE_ATTACH, pid, 0, 0))
		refused("ptrace");
	if (waitpid(pid, NULL, __WALL) != pid)
		wrong("attached, but it did not stop");
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

/* process-vm-writev PID ADDRESS: what a member holds in its memory there becomes "x". */
static void process_vm_write(char **a)
{
	char byte = 'x';
	struct iovec from = {.iov_base = &byte, .iov_len = 1};
	struct iovec to = {.iov_base = (void *)number(a[1]), .iov_len = 1};

	if (process_vm_writev(number(a[0]), &from, 1, &to, 1, 0) != 1)
		refused("process_vm_writev");
}

const struct operation code_operations[] = {
	{"code-then-read", "mmap|mprotect|memfd|thread|fork|exec LIBRARY PATH", code_then_read},
	{"code-then-wait", "LIBRARY FLAG PATH", code_then_wait},
	{"code-stay", "LIBRARY", code_stay},
	{"code-crowd", "LIBRARY COUNT FLAG", code_crowd},
	{"code-then-attach", "LIBRARY PID", code_then_attach},
	{"process-vm-writev", "PID ADDRESS", process_vm_write},
	{0},
};
