// SPDX-License-Identifier: GPL-2.0
/*
 * Owns the probe's operations that involve another process or the mount table: passed
 * descriptors, debuggers, executed programs, bind mounts.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif

/*
 * Executes PROGRAM as a child that is traced from before, lets it go after the execve: what it would need to
 * put code of its own into it. Waits for its end.
 */
static void traced_exec(char **a)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		no_setup("fork");
	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(NO_SETUP);
		execv(a[0], a);
		_exit(errno);
	}
	if (waitpid(pid, &status, 0) < 0)
		no_setup("waitpid");
	if (WIFEXITED(status)) {
		errno = WEXITSTATUS(status);
		refused("execve of a traced process");
	}
	if (!WIFSTOPPED(status) || ptrace(PTRACE_DETACH, pid, NULL, NULL))
		no_setup("detach");
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		no_setup("waitpid");
	printf("ended %d\n", WEXITSTATUS(status));
}

/* Runs PATH; a pipe that closes on success tells a refused exec from a program that failed. */
static void do_exec(char **a)
{
	int fds[2], error = 0, status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		no_setup("pipe");
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		no_setup("fork");
	if (!pid) {
		execv(a[0], a);
		error = errno;
		if (write(fds[1], &error, sizeof(error)) < 0)
			_exit(NO_SETUP);
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], &error, sizeof(error)) == sizeof(error)) {
		errno = error;
		refused("execve");
	}
	if (waitpid(pid, &status, 0) < 0)
		no_setup("waitpid");
	/* Killed between exec's point of no return and main: an interpreter or library was refused. */
	if (WIFSIGNALED(status))
		refused_as("SIGNAL", "start of the program");
	if (WEXITSTATUS(status))
		wrong("the program ended with %d", WEXITSTATUS(status));
}

static void send_fd(int socket, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header;
	} control = {0};
	struct iovec byte = {.iov_base = "x", .iov_len = 1};
	struct msghdr m = {.msg_iov = &byte,
			   .msg_iovlen = 1,
			   .msg_control = control.space,
			   .msg_controllen = sizeof(control.space)};

	control.header = (struct cmsghdr){
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(socket, &m, 0) != 1)
		refused("sendmsg SCM_RIGHTS");
}

/*
 * Receives a descriptor from the socket and reads from it. An internal half of recvfd, an
 * operation of its own so that another copy of the probe can be executed for it. When the
 * kernel refuses to hand over, no errno reaches the receiver: it sets MSG_CTRUNC instead.
 */
static void receive(char **a)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header;
	} control = {0};
	char byte;
	struct iovec v = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control.space,
			   .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(number(a[0]), &m, MSG_CMSG_CLOEXEC) != 1)
		no_setup("recvmsg");
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_len < CMSG_LEN(sizeof(int))) {
		if (m.msg_flags & MSG_CTRUNC)
			refused_as("MSG_CTRUNC", "recvmsg SCM_RIGHTS");
		errno = 0;
		no_setup("no descriptor in the message");
	}
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	show_fd(fd);
}

/* recvfd PATH [UID] [PROGRAM]: opened here, read by a process with another uid or executable. */
static void recvfd(char **a)
{
	int fd = open(a[0], O_RDONLY | O_CLOEXEC), pair[2];
	char number_text[16];
	pid_t pid;

	if (fd < 0)
		no_setup("open %s", a[0]);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		no_setup("socketpair");
	snprintf(number_text, sizeof(number_text), "%d", pair[1]);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		no_setup("fork");
	if (!pid) {
		close(fd);
		close(pair[0]);
		if (a[1] && strcmp(a[1], "-"))
			become(number(a[1]), -1, NULL);
		if (a[1] && a[2]) {
			execl(a[2], a[2], "receive", number_text, NULL);
			no_setup("exec %s", a[2]);
		}
		receive((char *[]){number_text, NULL});
		printf("ok\n");
		fflush(stdout);
		_exit(OK);
	}
	close(pair[1]);
	send_fd(pair[0], fd);
	end_like(pid);
}

/* pass-on PATH PROGRAM ARGUMENT...: opens on descriptor 3, which PROGRAM inherits. */
static void pass_on(char **a)
{
	int fd = open(a[0], O_RDONLY);

	if (fd < 0)
		no_setup("open %s", a[0]);
	if (fd != 3 && dup2(fd, 3) < 0)
		no_setup("dup2");
	fflush(stdout);
	execv(a[1], a + 1);
	no_setup("exec %s", a[1]);
}

/*
 * The victim: opens, reads into memory, prints "holding PID DESCRIPTOR ADDRESS" and stays
 * until it is killed. What it holds is what others try to get at.
 */
static void hold(char **a)
{
	static char buf[4096];
	int fd = must_open(a[0], O_RDONLY);

	if (read(fd, buf, sizeof(buf)) < 0)
		refused("read");
	/* Yama would refuse strangers; the policy under test is meant to. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	printf("holding %d %d 0x%lx\n", getpid(), fd, (unsigned long)buf);
	fflush(stdout);
	for (;;)
		pause();
}

static void map_hold(char **a)
{
	int fd = must_open(a[0], O_RDONLY);
	char *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		refused("mmap");
	close(fd);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	printf("holding %d -1 0x%lx\n", getpid(), (unsigned long)at);
	fflush(stdout);
	for (;;)
		pause();
}

static void process_vm_read(char **a)
{
	char buf[64];
	struct iovec to = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct iovec from = {.iov_base = (void *)strtoul(a[1], NULL, 0), .iov_len = sizeof(buf)};
	ssize_t n = process_vm_readv(number(a[0]), &to, 1, &from, 1, 0);

	if (n < 0)
		refused("process_vm_readv");
	show(buf, n);
}

static void proc_mem(char **a)
{
	char path[64], buf[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/mem", number(a[0]));
	fd = must_open(path, O_RDONLY);
	n = pread(fd, buf, sizeof(buf), strtoul(a[1], NULL, 0));
	if (n < 0)
		refused("read /proc/pid/mem");
	show(buf, n);
}

static void proc_fd(char **a)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/fd/%ld", number(a[0]), number(a[1]));
	show_fd(must_open(path, O_RDONLY));
}

static void pidfd_getfd_read(char **a)
{
	int pidfd = syscall(SYS_pidfd_open, number(a[0]), 0), fd;

	if (pidfd < 0)
		no_setup("pidfd_open");
	fd = syscall(SYS_pidfd_getfd, pidfd, number(a[1]), 0);
	if (fd < 0)
		refused("pidfd_getfd");
	show_fd(fd);
}

static void ptrace_attach(char **a)
{
	pid_t pid = number(a[0]);
	int status;

	if (ptrace(PTRACE_ATTACH, pid, 0, 0))
		refused("ptrace");
	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		wrong("attached, but it did not stop");
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void do_kill(char **a)
{
	if (kill(number(a[0]), number(a[1])))
		refused("kill");
}

static void do_bind(char **a)
{
	if (mount(a[0], a[1], NULL, MS_BIND, NULL))
		refused("mount MS_BIND");
}

static void mount_tmpfs(char **a)
{
	if (mount("probe", a[0], "tmpfs", 0, NULL))
		refused("mount tmpfs");
}

static void do_umount(char **a)
{
	if (umount2(a[0], MNT_DETACH))
		refused("umount");
}

static int tree(const char *directory)
{
	int fd = syscall(SYS_open_tree, AT_FDCWD, directory, OPEN_TREE_CLONE);

	if (fd < 0)
		refused("open_tree");
	return fd;
}

/* Through a copy of the mount that is attached nowhere. */
static void open_tree_read(char **a)
{
	int fd = openat(tree(a[0]), a[1], O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		refused("openat");
	show_fd(fd);
}

static void do_move_mount(char **a)
{
	if (syscall(SYS_move_mount, tree(a[0]), "", AT_FDCWD, a[1], MOVE_MOUNT_F_EMPTY_PATH))
		refused("move_mount");
}

/* As root of a user namespace of its own, where every capability is had for nothing. */
static void unshare_read(char **a)
{
	int fd;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		no_setup("unshare");
	fd = open(a[0], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		refused("open");
	show_fd(fd);
}

static void chroot_read(char **a)
{
	if (chroot(a[0]) || chdir("/"))
		no_setup("chroot %s", a[0]);
	show_fd(must_open(a[1], O_RDONLY));
}

/* Under another name than the program's. */
static void comm_read(char **a)
{
	if (prctl(PR_SET_NAME, a[0], 0, 0, 0))
		refused("prctl PR_SET_NAME");
	show_fd(must_open(a[1], O_RDONLY));
}

const struct operation other_operations[] = {
	{"exec", "PROGRAM ...", do_exec},
	{"traced-exec", "PROGRAM ...", traced_exec},
	{"recvfd", "PATH [UID] [PROGRAM]", recvfd},
	{"receive", "SOCKET", receive},
	{"pass-on", "PATH PROGRAM ...", pass_on},
	{"hold", "PATH", hold},
	{"map-hold", "PATH", map_hold},
	{"process-vm-readv", "PID ADDRESS", process_vm_read},
	{"proc-mem", "PID ADDRESS", proc_mem},
	{"proc-fd", "PID DESCRIPTOR", proc_fd},
	{"pidfd-getfd", "PID DESCRIPTOR", pidfd_getfd_read},
	{"ptrace-attach", "PID", ptrace_attach},
	{"kill", "PID SIGNAL", do_kill},
	{"bind", "FROM TO", do_bind},
	{"mount-tmpfs", "DIRECTORY", mount_tmpfs},
	{"umount", "DIRECTORY", do_umount},
	{"move-mount", "FROM TO", do_move_mount},
	{"open-tree-read", "DIRECTORY NAME", open_tree_read},
	{"unshare-read", "PATH", unshare_read},
	{"chroot-read", "DIRECTORY PATH", chroot_read},
	{"comm-read", "NAME PATH", comm_read},
	{0},
};
