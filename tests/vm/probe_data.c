// SPDX-License-Identifier: GPL-2.0
/*
 * Owns the probe's operations that move a file's content, one for each way by which the
 * kernel lets content in or out: a policy that forgets one of them leaks through it.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_TEXT "written by the probe\n"

static const char *text_of(char *arg)
{
	return arg ? arg : DEFAULT_TEXT;
}

static void open_read(char **a)
{
	show_fd(must_open(a[0], O_RDONLY));
}

static void open_write(char **a)
{
	put_fd(must_open(a[0], O_WRONLY), text_of(a[1]));
}

static void open_append(char **a)
{
	put_fd(must_open(a[0], O_WRONLY | O_APPEND), text_of(a[1]));
}

static void open_truncate(char **a)
{
	int fd = must_open(a[0], O_WRONLY | O_TRUNC);
	struct stat st;

	if (!fstat(fd, &st) && st.st_size)
		wrong("O_TRUNC left %lld bytes", (long long)st.st_size);
	put_fd(fd, text_of(a[1]));
}

static void open_rdwr(char **a)
{
	int fd = must_open(a[0], O_RDWR);
	const char *text = text_of(a[1]);
	size_t size = strlen(text);
	char *back = calloc(1, size + 1);

	show_fd(fd);
	put_fd(fd, text);
	if (pread(fd, back, size, 0) != (ssize_t)size || memcmp(back, text, size))
		wrong("the file does not hold what was written");
}

static void create(char **a)
{
	put_fd(must_open(a[0], O_WRONLY | O_CREAT | O_EXCL), text_of(a[1]));
}

static void tmpfile_in(char **a)
{
	put_fd(must_open(a[0], O_WRONLY | O_TMPFILE), text_of(a[1]));
}

/* With a flag file: holds no more than the name until that is there. */
static void opath_reopen(char **a)
{
	char path[64];
	int fd = open(a[0], O_PATH | O_CLOEXEC);

	if (fd < 0)
		refused("open O_PATH");
	if (a[1]) {
		printf("opened\n");
		fflush(stdout);
		await(a[1]);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	show_fd(must_open(path, O_RDONLY));
}

static void proc_self_fd(char **a)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", must_open(a[0], O_RDONLY));
	show_fd(must_open(path, O_RDONLY));
}

static void direct_read(char **a)
{
	int fd = must_open(a[0], O_RDONLY | O_DIRECT);
	char *buf = aligned_alloc(4096, 4096);
	ssize_t n = pread(fd, buf, 4096, 0);

	if (n < 0)
		refused("read O_DIRECT");
	show(buf, n);
}

static void aio_read(char **a)
{
	static char buf[256];
	struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_buf = (uintptr_t)buf, .aio_nbytes = sizeof(buf)};
	struct iocb *list[] = {&cb};
	struct io_event event;
	aio_context_t ctx = 0;

	cb.aio_fildes = must_open(a[0], O_RDONLY);
	if (syscall(SYS_io_setup, 1, &ctx))
		no_setup("io_setup");
	if (syscall(SYS_io_submit, ctx, 1, list) != 1)
		refused("io_submit");
	if (syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL) != 1)
		no_setup("io_getevents");
	if (event.res < 0) {
		errno = -event.res;
		refused("aio read");
	}
	show(buf, event.res);
}

/* One request through a fresh io_uring, without liburing. Returns the completion's result. */
static int uring(const struct io_uring_sqe *request)
{
	struct io_uring_params p = {0};
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqe;
	char *sq, *cq;
	int ring = syscall(SYS_io_uring_setup, 4, &p);

	if (ring < 0)
		no_setup("io_uring_setup");
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(__u32), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	sqes = mmap(NULL, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		    ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		no_setup("mmap of the ring");
	sqes[0] = *request;
	((__u32 *)(sq + p.sq_off.array))[0] = 0;
	__atomic_store_n((__u32 *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		no_setup("io_uring_enter");
	if (!__atomic_load_n((__u32 *)(cq + p.cq_off.tail), __ATOMIC_ACQUIRE))
		wrong("io_uring completed nothing");
	cqe = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	return cqe->res;
}

static void uring_read_fd(int fd)
{
	static char buf[256];
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)buf, .len = sizeof(buf)};
	int n = uring(&sqe);

	if (n < 0) {
		errno = -n;
		refused("io_uring read");
	}
	show(buf, n);
}

static void io_uring_read(char **a)
{
	uring_read_fd(must_open(a[0], O_RDONLY));
}

/* IOSQE_ASYNC: a kernel worker thread opens it, on behalf of this process. */
static void io_uring_open(char **a)
{
	struct io_uring_sqe sqe = {.opcode = IORING_OP_OPENAT,
				   .fd = AT_FDCWD,
				   .addr = (uintptr_t)a[0],
				   .open_flags = O_RDONLY,
				   .flags = IOSQE_ASYNC};
	int fd = uring(&sqe);

	if (fd < 0) {
		errno = -fd;
		refused("io_uring open");
	}
	show_fd(fd);
}

static char *map(int fd, int prot, int flags, const char *step)
{
	char *at = mmap(NULL, 4096, prot, flags, fd, 0);

	if (at == MAP_FAILED)
		refused(step);
	return at;
}

static void mmap_read(char **a)
{
	int fd = must_open(a[0], O_RDONLY);
	struct stat st;
	char *at = map(fd, PROT_READ, MAP_SHARED, "mmap");

	/* Touching a page beyond the end is SIGBUS, which would say nothing about permission. */
	if (fstat(fd, &st) || !st.st_size)
		no_setup("%s is empty", a[0]);
	show(at, st.st_size < 256 ? st.st_size : 256);
}

static void mmap_exec(char **a)
{
	map(must_open(a[0], O_RDONLY), PROT_READ | PROT_EXEC, MAP_PRIVATE, "mmap");
}

static void write_mapping(int fd, char *at, const char *text)
{
	size_t size = strlen(text);
	struct stat st;
	char *back = calloc(1, size + 1);

	if (fstat(fd, &st) || st.st_size < (off_t)size)
		no_setup("the file is shorter than the text");
	memcpy(at, text, size);
	if (msync(at, 4096, MS_SYNC))
		refused("msync");
	if (pread(fd, back, size, 0) != (ssize_t)size || memcmp(back, text, size))
		wrong("the file does not hold what was written to its mapping");
}

static void mmap_write(char **a)
{
	int fd = must_open(a[0], O_RDWR);

	write_mapping(fd, map(fd, PROT_READ | PROT_WRITE, MAP_SHARED, "mmap"), text_of(a[1]));
}

/* A private mapping reads the file; what is written to it stays in memory. */
static void mmap_private(char **a)
{
	int fd = must_open(a[0], O_RDONLY);
	char *at = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, "mmap"), before[64];
	ssize_t n = pread(fd, before, sizeof(before), 0);
	char after[64];

	if (n <= 0)
		no_setup("read of %s", a[0]);
	show(at, n);
	memset(at, '#', n);
	if (pread(fd, after, sizeof(after), 0) != n || memcmp(before, after, n))
		wrong("a private mapping changed the file");
}

static void mprotect_write(char **a)
{
	int fd = must_open(a[0], O_RDWR);
	char *at = map(fd, PROT_READ, MAP_SHARED, "mmap");

	if (mprotect(at, 4096, PROT_READ | PROT_WRITE))
		refused("mprotect");
	write_mapping(fd, at, text_of(a[1]));
}

static void show_received(int fd, ssize_t size, const char *step)
{
	char buf[256];
	ssize_t n = 0;

	if (size < 0)
		refused(step);
	if (size)
		n = read(fd, buf, sizeof(buf));
	if (n < 0)
		no_setup("reading what %s sent", step);
	show(buf, n);
}

static void do_sendfile(char **a)
{
	int fd = must_open(a[0], O_RDONLY), pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		no_setup("socketpair");
	show_received(pair[1], sendfile(pair[0], fd, NULL, 256), "sendfile");
}

static void do_splice(char **a)
{
	int fd = must_open(a[0], O_RDONLY), pair[2];

	if (pipe(pair))
		no_setup("pipe");
	show_received(pair[0], splice(fd, NULL, pair[1], NULL, 256, 0), "splice");
}

static int destination(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		no_setup("open %s", path);
	return fd;
}

static void do_copy_file_range(char **a)
{
	int from = must_open(a[0], O_RDONLY), to = destination(a[1]);

	if (copy_file_range(from, NULL, to, NULL, 1 << 20, 0) < 0)
		refused("copy_file_range");
	show_fd(to);
}

static void clone(char **a)
{
	int from = must_open(a[0], O_RDONLY), to = destination(a[1]);

	if (ioctl(to, FICLONE, from))
		refused("ioctl FICLONE");
	show_fd(to);
}

/* linux/ext4.h is no public header. */
struct move_extent {
	__u32 reserved, donor_fd;
	__u64 orig_start, donor_start, len, moved_len;
};

/* ext4 swaps the blocks of two files; FILE keeps its content, DONOR loses its own. */
static void move_extents(char **a)
{
	struct move_extent m = {.len = 1};
	int fd = must_open(a[0], O_RDWR), donor = open(a[1], O_RDWR | O_CLOEXEC);

	if (donor < 0)
		no_setup("open %s", a[1]);
	m.donor_fd = donor;
	if (ioctl(fd, _IOWR('f', 15, struct move_extent), &m))
		refused("ioctl EXT4_IOC_MOVE_EXT");
	if (m.moved_len != 1)
		wrong("EXT4_IOC_MOVE_EXT moved %llu blocks", (unsigned long long)m.moved_len);
}

static void check_size(const char *path, long size)
{
	struct stat st;

	if (!stat(path, &st) && st.st_size != size)
		wrong("%s has %lld bytes and not %ld", path, (long long)st.st_size, size);
}

static void do_truncate(char **a)
{
	if (truncate(a[0], number(a[1])))
		refused("truncate");
	check_size(a[0], number(a[1]));
}

static void do_ftruncate(char **a)
{
	if (ftruncate(must_open(a[0], O_WRONLY), number(a[1])))
		refused("ftruncate");
	check_size(a[0], number(a[1]));
}

static void punch(char **a)
{
	if (fallocate(must_open(a[0], O_WRONLY), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, number(a[1])))
		refused("fallocate");
}

static void by_handle(char **a, int cold)
{
	struct file_handle *handle = calloc(1, sizeof(*handle) + MAX_HANDLE_SZ);
	int fd, mount, id;

	handle->handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(AT_FDCWD, a[0], handle, &id, 0))
		no_setup("name_to_handle_at");
	mount = open(a[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mount < 0)
		no_setup("open %s", a[1]);
	if (cold) {
		/* Without the dentry in the cache the kernel makes one that has no parent. */
		fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
		sync();
		if (fd < 0 || write(fd, "2", 1) != 1)
			no_setup("drop_caches");
		close(fd);
	}
	fd = open_by_handle_at(mount, handle, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		refused("open_by_handle_at");
	show_fd(fd);
}

static void open_by_handle(char **a)
{
	by_handle(a, 0);
}

static void open_by_handle_cold(char **a)
{
	by_handle(a, 1);
}

/* Opens, says so, and reads when the flag file is there: what became of the right meanwhile? */
static void open_then_read(char **a)
{
	int fd = must_open(a[0], O_RDONLY);

	printf("opened\n");
	fflush(stdout);
	await(a[1]);
	show_fd(fd);
}

static void open_then_write(char **a)
{
	int fd = must_open(a[0], O_WRONLY);

	printf("opened\n");
	fflush(stdout);
	await(a[1]);
	put_fd(fd, text_of(a[2]));
}

/* On a descriptor that was inherited: 3<FILE probe fd-read 3 */
static void fd_read(char **a)
{
	show_fd(number(a[0]));
}

static void fd_write(char **a)
{
	put_fd(number(a[0]), text_of(a[1]));
}

const struct operation data_operations[] = {
	{"open-read", "PATH", open_read},
	{"open-write", "PATH [TEXT]", open_write},
	{"open-append", "PATH [TEXT]", open_append},
	{"open-truncate", "PATH [TEXT]", open_truncate},
	{"open-rdwr", "PATH [TEXT]", open_rdwr},
	{"create", "PATH [TEXT]", create},
	{"tmpfile", "DIRECTORY [TEXT]", tmpfile_in},
	{"opath-reopen", "PATH [FLAG]", opath_reopen},
	{"proc-self-fd", "PATH", proc_self_fd},
	{"direct-read", "PATH", direct_read},
	{"aio-read", "PATH", aio_read},
	{"io-uring-read", "PATH", io_uring_read},
	{"io-uring-open", "PATH", io_uring_open},
	{"mmap-read", "PATH", mmap_read},
	{"mmap-write", "PATH [TEXT]", mmap_write},
	{"mmap-exec", "PATH", mmap_exec},
	{"mmap-private", "PATH", mmap_private},
	{"mprotect-write", "PATH [TEXT]", mprotect_write},
	{"sendfile", "PATH", do_sendfile},
	{"splice", "PATH", do_splice},
	{"copy-file-range", "PATH DESTINATION", do_copy_file_range},
	{"clone", "PATH DESTINATION", clone},
	{"move-extents", "PATH DONOR", move_extents},
	{"truncate", "PATH SIZE", do_truncate},
	{"ftruncate", "PATH SIZE", do_ftruncate},
	{"punch", "PATH SIZE", punch},
	{"open-by-handle", "PATH MOUNT", open_by_handle},
	{"open-by-handle-cold", "PATH MOUNT", open_by_handle_cold},
	{"open-then-read", "PATH FLAG", open_then_read},
	{"open-then-write", "PATH FLAG [TEXT]", open_then_write},
	{"fd-read", "DESCRIPTOR", fd_read},
	{"fd-write", "DESCRIPTOR [TEXT]", fd_write},
	{0},
};
