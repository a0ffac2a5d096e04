// SPDX-License-Identifier: GPL-2.0
/*
 * Owns the probe's disguise as another program: prctl(PR_SET_MM_EXE_FILE), which makes the
 * kernel believe that the process executes another file. The kernel demands that nothing
 * of the present one is mapped any more, so the rest happens in a page without a file.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RANGES 16
#define PAGE 4096

struct errno_name {
	long number;
	char line[32];
};

/* All that the page without a file may use. */
struct disguise {
	long program; /* descriptor */
	size_t ranges;
	struct {
		unsigned long start, size;
	} range[RANGES];
	char path[1024];
	char data[256 + 8];
	char ok[8], at_prctl[16], at_open[16], at_read[16];
	struct errno_name names[8];
};

static inline __attribute__((always_inline)) long call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline __attribute__((always_inline)) void say(const char *text)
{
	long n = 0;

	while (((volatile const char *)text)[n])
		n++;
	call(SYS_write, 1, (long)text, n, 0, 0);
}

static inline __attribute__((always_inline)) void fail(struct disguise *d, long error, const char *at)
{
	for (int i = 0; i < 8; i++)
		if (d->names[i].number == -error) {
			say(d->names[i].line);
			say(at);
			call(SYS_exit_group, REFUSED, 0, 0, 0, 0);
		}
	call(SYS_exit_group, WRONG, 0, 0, 0, 0);
}

/* Copied to a page of its own: position independent, calls nothing, reads no constant in memory. */
static __attribute__((noinline, noclone, optimize("O1", "no-stack-protector", "no-jump-tables"), aligned(PAGE)))
void act(struct disguise *d)
{
	long ret, fd;

	for (size_t i = 0; i < d->ranges; i++)
		call(SYS_munmap, d->range[i].start, d->range[i].size, 0, 0, 0);
	ret = call(SYS_prctl, PR_SET_MM, PR_SET_MM_EXE_FILE, d->program, 0, 0);
	if (ret < 0)
		fail(d, ret, d->at_prctl);
	fd = call(SYS_open, (long)d->path, O_RDONLY, 0, 0, 0);
	if (fd < 0)
		fail(d, fd, d->at_open);
	ret = call(SYS_read, fd, (long)d->data + 5, 255, 0, 0);
	if (ret < 0)
		fail(d, ret, d->at_read);
	d->data[5 + ret] = 0;
	say(d->data);
	say(d->ok);
	call(SYS_exit_group, OK, 0, 0, 0, 0);
	__builtin_unreachable();
}

static void name(struct errno_name *n, long number)
{
	n->number = number;
	snprintf(n->line, sizeof(n->line), "errno %s\n", strerrorname_np(number));
}

static void find_ranges(struct disguise *d)
{
	char line[4096], self[1024];
	FILE *maps = fopen("/proc/self/maps", "r");
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (!maps || n < 0)
		no_setup("/proc/self");
	self[n] = '\0';
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start, end;

		if (!strstr(line, self) || sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		if (d->ranges == RANGES)
			no_setup("too many mappings");
		d->range[d->ranges].start = start;
		d->range[d->ranges++].size = end - start;
	}
	fclose(maps);
	if (!d->ranges)
		no_setup("own mappings");
}

/* set-exe PROGRAM PATH: reads PATH as a process whose executable is PROGRAM. */
static void set_exe(char **a)
{
	static const long errors[] = {EPERM, EACCES, EBUSY, EINVAL, ENOENT, ENOKEY, EIO, ETXTBSY};
	char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct disguise d = {.data = "data ", .ok = "\nok\n", .at_prctl = "at prctl\n", .at_open = "at open\n",
			     .at_read = "at read\n"};

	if (page == MAP_FAILED)
		no_setup("mmap");
	d.program = open(a[0], O_RDONLY);
	if (d.program < 0)
		no_setup("open %s", a[0]);
	snprintf(d.path, sizeof(d.path), "%s", a[1]);
	for (int i = 0; i < 8; i++)
		name(&d.names[i], errors[i]);
	find_ranges(&d);
	fflush(stdout);
	memcpy(page, (const void *)(uintptr_t)act, PAGE);
	((void (*)(struct disguise *))(uintptr_t)page)(&d);
}

const struct operation exe_operations[] = {
	{"set-exe", "PROGRAM PATH", set_exe},
	{0},
};
