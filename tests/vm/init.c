// SPDX-License-Identifier: GPL-2.0
/*
 * Owns the inside of a test VM: process 1. It inserts the modules, makes the machine's
 * own root (read-only 9p share) writable with a tmpfs overlay, mounts the scratch disks,
 * runs one command and carries its output, its status and the kernel's log out.
 *
 * A C program and no shell script, because process 1 must end the run when the command
 * ends although something the command left behind, which may even defend itself against
 * SIGKILL, still holds the output pipe.
 *
 * Channels, so that the serial console belongs to the kernel alone. They are ports of the
 * isa-debugcon kind: a byte is in the host's file when the instruction ends, so nothing can
 * be lost when the VM is switched off (virtio-serial writes behind).
 *   OUT_PORT     what the command writes
 *   LOG_PORT     the kernel's log, after the command
 *   RESULT_PORT  "start ...", then one line "exit N", written last. Without it the VM died.
 *
 * gcc -static -O2 -o init init.c (tests/vm/initramfs does it)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* tests/vm/run builds the machine with these. */
#define OUT_PORT 0xe9
#define LOG_PORT 0xea
#define RESULT_PORT 0xeb
#define EXIT_PORT 0xf4 /* isa-debug-exit: a write ends QEMU at once */

static char cmdline[4096];
static char release[64];

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	dprintf(2, "init: ");
	vdprintf(2, fmt, ap);
	dprintf(2, "\n");
	va_end(ap);
}

static void put_out(unsigned short port, const char *buf, size_t size)
{
	__asm__ volatile("rep outsb" : "+S"(buf), "+c"(size) : "d"(port) : "memory");
}

__attribute__((format(printf, 2, 3))) static void printf_out(unsigned short port, const char *fmt, ...)
{
	char line[9000];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	put_out(port, line, n < (int)sizeof(line) ? n : (int)sizeof(line) - 1);
}

static _Noreturn void end(void)
{
	outb(0, EXIT_PORT);
	/* Not reached, unless the ports are denied. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static _Noreturn void die(const char *what, const char *name)
{
	say("%s %s: %s", what, name, strerror(errno));
	end();
}

/* Value of "tk.NAME=" on the kernel's command line, or NULL. Separate storage each. */
static char *option(const char *name)
{
	char key[32];
	char *at;

	snprintf(key, sizeof(key), "tk.%s=", name);
	at = strstr(cmdline, key);
	if (!at)
		return NULL;
	at += strlen(key);
	return strndup(at, strcspn(at, " \n"));
}

static ssize_t slurp(const char *path, char **ret)
{
	size_t size = 0, room = 65536;
	char *buf = malloc(room + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || !buf)
		return -1;
	while ((n = read(fd, buf + size, room - size)) > 0) {
		size += n;
		if (size == room) {
			room *= 2;
			buf = realloc(buf, room + 1);
			if (!buf)
				return -1;
		}
	}
	close(fd);
	if (n < 0)
		return -1;
	buf[size] = 0;
	*ret = buf;
	return size;
}

/* Inserts the modules named in /modules/LIST.list, one file name a line, in that order. */
static void insert(const char *list)
{
	char path[256], *names, *line, *rest;

	snprintf(path, sizeof(path), "/modules/%s.list", list);
	if (slurp(path, &names) < 0)
		return; /* all of it built in */
	for (rest = names; (line = strsep(&rest, "\n"));) {
		int fd;

		if (!*line)
			continue;
		snprintf(path, sizeof(path), "/modules/%s", line);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			die("cannot open module", line);
		if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
			say("module %s: %s", line, strerror(errno));
		close(fd);
	}
	free(names);
}

static void must_mount(const char *what, const char *where, const char *type, unsigned long flags,
		       const char *data)
{
	mkdir(where, 0755);
	if (mount(what, where, type, flags, data))
		die("cannot mount", where);
}

static void may_mount(const char *what, const char *where, const char *type, unsigned long flags,
		      const char *data)
{
	mkdir(where, 0755);
	if (mount(what, where, type, flags, data))
		say("no %s on %s: %s", type, where, strerror(errno));
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		say("cannot write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* The share below, the memory above, and the result becomes /. */
static void make_root(void)
{
	must_mount("tmpfs", "/top", "tmpfs", 0, "mode=0755");
	mkdir("/top/lower", 0755);
	mkdir("/top/upper", 0755);
	mkdir("/top/work", 0755);
	mkdir("/top/root", 0755);
	/* A large msize: the emulated CPU pays for each request, not for its size. */
	must_mount("root", "/top/lower", "9p", MS_RDONLY,
		   "trans=virtio,version=9p2000.L,cache=loose,msize=512000");
	must_mount("overlay", "/top/root", "overlay", 0,
		   "xino=on,lowerdir=/top/lower,upperdir=/top/upper,workdir=/top/work");
	if (chdir("/top/root") || mount("/dev", "dev", NULL, MS_MOVE, NULL) ||
	    mount("/proc", "proc", NULL, MS_MOVE, NULL) || mount(".", "/", NULL, MS_MOVE, NULL) ||
	    chroot(".") || chdir("/"))
		die("cannot change to", "the new root");
	/* As systemd does: bind mounts made by one test reach the others' namespaces. */
	mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
}

static void mount_system(void)
{
	must_mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	may_mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=700");
	may_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	may_mount("securityfs", "/sys/kernel/security", "securityfs", 0, NULL);
	may_mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	may_mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	may_mount("devpts", "/dev/pts", "devpts", 0, "gid=5,mode=620,ptmxmode=666");
	may_mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	may_mount("mqueue", "/dev/mqueue", "mqueue", 0, NULL);
	must_mount("tmpfs", "/run", "tmpfs", 0, "mode=0755");
	must_mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777");
	mkdir("/run/lock", 01777);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	sethostname("takakrypt-vm", 12);
	put("/etc/hosts", "127.0.0.1 localhost takakrypt-vm\n"); /* a minimal system has none */
}

/*
 * The fresh /tmp, /run and /mnt hide what this machine keeps there, which may be the
 * repository itself: a directory opened before (FD) is put back under its name.
 */
static void put_back(int fd, const char *path)
{
	char name[64], part[512];
	struct stat a, b;

	if (fd < 0 || fstat(fd, &a) || (!stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino))
		return;
	for (size_t i = 1; i <= strlen(path) && i < sizeof(part); i++)
		if (path[i] == '/' || !path[i]) {
			snprintf(part, sizeof(part), "%.*s", (int)i, path);
			mkdir(part, 0755);
		}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	must_mount(name, path, NULL, MS_BIND, NULL);
}

static void loopback_up(void)
{
	struct ifreq req = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0 || ioctl(s, SIOCSIFFLAGS, &req))
		say("loopback stays down: %s", strerror(errno));
	if (s >= 0)
		close(s);
}

/* "ext4,xfs": the virtio disks vda, vdb ... in this order, each on /mnt/TYPE (/mnt/TYPE2 ...). */
static void mount_disks(char *types)
{
	char dev[] = "/dev/vda", where[64], *type;

	mkdir("/mnt", 0755);
	must_mount("tmpfs", "/mnt", "tmpfs", 0, "mode=0755");
	for (; (type = strsep(&types, ",")); dev[7]++) {
		int copy = 1;

		if (!*type || !strcmp(type, "raw"))
			continue;
		snprintf(where, sizeof(where), "/mnt/%s", type);
		while (mkdir(where, 0755) && errno == EEXIST)
			snprintf(where, sizeof(where), "/mnt/%s%d", type, ++copy);
		if (mount(dev, where, type, 0, NULL))
			die("cannot mount the disk on", where);
	}
}

/* Passes on what the pipe holds now. Returns 0 at its end. */
static int relay(int from)
{
	static char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		put_out(OUT_PORT, buf, n);
	return n != 0;
}

/* NUL-separated strings in FILE as a NULL-terminated vector. */
static char **strings(const char *run, const char *file)
{
	char path[512], *text;
	char **v;
	ssize_t size;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s", run, file);
	size = slurp(path, &text);
	if (size < 0)
		die("cannot read", path);
	v = calloc(size + 2, sizeof(*v));
	for (ssize_t at = 0; at < size; at += strlen(text + at) + 1)
		v[n++] = text + at;
	return v;
}

static int run_command(char **argv, char **env, const char *cwd)
{
	int fds[2], status = 0, alive = 1;
	sigset_t set;
	pid_t pid;

	/* SIGCHLD must break the poll, whenever it comes. */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (pipe2(fds, O_CLOEXEC))
		die("no", "pipe");
	fcntl(fds[0], F_SETPIPE_SZ, 1 << 20);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	pid = fork();
	if (pid < 0)
		die("cannot", "fork");
	if (!pid) {
		int null = open("/dev/null", O_RDONLY);

		sigprocmask(SIG_UNBLOCK, &set, NULL);
		ioperm(OUT_PORT, EXIT_PORT - OUT_PORT + 1, 0);
		setsid();
		dup2(null, 0);
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(null);
		if (chdir(cwd)) {
			say("cannot enter %s: %s", cwd, strerror(errno));
			_exit(127);
		}
		environ = env;
		execvpe(argv[0], argv, env);
		say("cannot run %s: %s", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	close(fds[1]);
	while (alive) {
		struct pollfd p = {.fd = fds[0], .events = POLLIN};
		struct timespec most = {.tv_sec = 1};
		sigset_t none;
		pid_t done;
		int st;

		sigemptyset(&none);
		ppoll(&p, 1, &most, &none);
		while ((done = waitpid(-1, &st, WNOHANG)) > 0)
			if (done == pid) {
				status = st;
				alive = 0;
			}
		/* When its end is seen everything it wrote is in the pipe. */
		if (!relay(fds[0]) && alive) {
			/* It closed its output and goes on: only its end is left to wait for. */
			while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
				;
			alive = 0;
		}
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void no_signal(int signal)
{
}

static void send_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char rec[8192];
	ssize_t n;

	/* -EPIPE: a record was overwritten before it was read; the next read goes on. */
	while (fd >= 0 && ((n = read(fd, rec, sizeof(rec) - 1)) > 0 || errno == EPIPE)) {
		char *text;
		unsigned prio;
		unsigned long long seq, us;

		if (n <= 0)
			continue;
		rec[n] = 0;
		text = strchr(rec, ';');
		if (!text || sscanf(rec, "%u,%llu,%llu", &prio, &seq, &us) != 3)
			continue;
		text++;
		text[strcspn(text, "\n")] = 0; /* what follows are device tags */
		printf_out(LOG_PORT, "<%u>[%5llu.%06llu] %s\n", prio & 7, us / 1000000, us % 1000000, text);
	}
	if (fd >= 0)
		close(fd);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = no_signal};
	char *run, *disks, *text, *at, path[512], image[512];
	char **argv, **env, **where;
	int code, dirs[2];
	struct timespec t;

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mkdir("/sys", 0755);
	if (mount("devtmpfs", "/dev", "devtmpfs", 0, "mode=0755") && errno != EBUSY)
		die("cannot mount", "/dev");
	must_mount("proc", "/proc", "proc", 0, NULL);
	/* Lockdown denies this when it comes first, on the kernel's command line; later it does no harm. */
	if (ioperm(OUT_PORT, EXIT_PORT - OUT_PORT + 1, 1))
		die("cannot reach", "the ports to the host");
	sigaction(SIGCHLD, &sa, NULL);
	if (slurp("/proc/cmdline", &text) < 0)
		die("cannot read", "/proc/cmdline");
	snprintf(cmdline, sizeof(cmdline), "%s", text);
	if (slurp("/proc/sys/kernel/osrelease", &text) > 0)
		snprintf(release, sizeof(release), "%.*s", (int)strcspn(text, "\n"), text);
	run = option("run");
	disks = option("disks");
	if (!run)
		die("no tk.run= on", "the command line");

	insert("base");
	for (at = disks ? strdup(disks) : NULL; at && *at;) {
		char *type = strsep(&at, ",");

		insert(type);
	}
	make_root();
	where = strings(run, "where"); /* repository, image directory */
	argv = strings(run, "command");
	env = strings(run, "environment");
	for (int i = 0; i < 2; i++)
		dirs[i] = open(where[i], O_PATH | O_CLOEXEC);
	mount_system();
	loopback_up();
	if (disks)
		mount_disks(disks);
	for (int i = 0; i < 2; i++)
		put_back(dirs[i], where[i]);

	/* modprobe and the kernel's own requests for modules find this kernel's. */
	snprintf(path, sizeof(path), "/lib/modules/%s", release);
	snprintf(image, sizeof(image), "%s/lib/modules/%s", where[1], release);
	mkdir("/lib/modules", 0755);
	if (symlink(image, path) && errno != EEXIST)
		say("cannot link %s: %s", path, strerror(errno));
	put("/proc/sys/kernel/printk_ratelimit", "0");

	clock_gettime(CLOCK_BOOTTIME, &t);
	printf_out(RESULT_PORT, "start %ld.%03ld %s\n", (long)t.tv_sec, t.tv_nsec / 1000000, release);
	code = run_command(argv, env, where[0]);
	send_log();
	printf_out(RESULT_PORT, "exit %d\n", code);
	/* No sync: scratch disks are scratch, and those kept for a later boot were told so by the test. */
	end();
}
