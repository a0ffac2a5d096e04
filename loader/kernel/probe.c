// SPDX-License-Identifier: GPL-2.0
/*
 * loader/kernel/probe.c - what this kernel can do for us, found out by trying.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <linux/magic.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "takakrypt.skel.h"
#include "loader/kernel/internal.h"
#include "loader/kernel/preempt.h"
#include "loader/kernel/probe.h"

static void probe_lsm(tk_finding_fn fn, void *ctx)
{
	char list[200] = "";
	int active = tk_lsm_active(list, sizeof(list));
	struct tk_finding f = {
		.check = "bpf in the LSM list",
		.needed = true,
		.ok = active > 0,
		.remedy = active < 0 ? "mount -t securityfs securityfs /sys/kernel/security"
				     : "boot with lsm=<this list>,bpf",
	};

	snprintf(f.found, sizeof(f.found), "%s", active < 0 ? strerror(-active) : list);
	fn(ctx, &f);
}

static void probe_preemption(tk_finding_fn fn, void *ctx)
{
	struct tk_finding f = {
		.check = "LSM programs always run",
		.needed = true,
		.remedy = "boot with preempt=voluntary, or Linux 6.2, 6.1.54 or later",
	};

	f.ok = !tk_lsm_left_out(f.found, sizeof(f.found));
	fn(ctx, &f);
}

static void probe_hooks(tk_finding_fn fn, void *ctx)
{
	struct btf *btf = btf__load_vmlinux_btf();
	struct takakrypt_bpf *skeleton = btf ? takakrypt_bpf__open() : NULL;
	struct tk_finding f = {
		.check = "BTF of the kernel",
		.needed = true,
		.ok = btf != NULL,
		.remedy = "a kernel built with CONFIG_DEBUG_INFO_BTF=y is needed",
	};
	struct bpf_program *program;

	snprintf(f.found, sizeof(f.found), "%s", btf ? "/sys/kernel/btf/vmlinux" : strerror(errno));
	fn(ctx, &f);
	if (!skeleton) {
		btf__free(btf);
		return;
	}
	bpf_object__for_each_program(program, skeleton->obj) {
		const char *name = bpf_program__name(program);

		if (bpf_program__type(program) != BPF_PROG_TYPE_LSM)
			continue;
		f.check = name;
		f.ok = tk_hook_id(btf, name) >= 0;
		f.needed = !tk_program_optional(name);
		f.remedy = f.needed ? "5.15 or later with CONFIG_BPF_LSM=y is needed"
				    : "another hook does its work on this kernel";
		snprintf(f.found, sizeof(f.found), "%s", f.ok ? "LSM hook present" : "no such LSM hook");
		fn(ctx, &f);
	}
	takakrypt_bpf__destroy(skeleton);
	btf__free(btf);
}

static void probe_load(tk_finding_fn fn, void *ctx)
{
	struct tk_why why = {};
	int err = tk_kernel_try(&why);
	struct tk_finding f = {
		.check = "loading the programs",
		.needed = true,
		.ok = !err,
		.remedy = err == -EPERM ? "look for lockdown (dmesg), or a container without CAP_BPF" : "see the kernel's reason",
	};

	snprintf(f.found, sizeof(f.found), "%s", err ? why.text : "the kernel's verifier accepts them");
	fn(ctx, &f);
}

static void probe_bpffs(tk_finding_fn fn, void *ctx)
{
	struct statfs fs;
	struct tk_finding f = {
		.check = "bpf filesystem",
		.needed = true,
		.ok = !statfs("/sys/fs/bpf", &fs) && fs.f_type == BPF_FS_MAGIC,
		.remedy = "mount -t bpf bpf /sys/fs/bpf",
	};

	snprintf(f.found, sizeof(f.found), "%s", f.ok ? "/sys/fs/bpf" : "not mounted at /sys/fs/bpf");
	fn(ctx, &f);
}

/* Switching ftrace off switches every BPF LSM program off (KERNEL.md 15). */
static void probe_ftrace(tk_finding_fn fn, void *ctx)
{
	char value[16] = "";
	int err = tk_read_line("/proc/sys/kernel/ftrace_enabled", value, sizeof(value));
	struct tk_finding f = {
		.check = "kernel.ftrace_enabled",
		.needed = true,
		.ok = err == -ENOENT || !strcmp(value, "1"),
		.remedy = "sysctl kernel.ftrace_enabled=1",
	};

	snprintf(f.found, sizeof(f.found), "%s", err == -ENOENT ? "no such switch" : err ? strerror(-err) : value);
	fn(ctx, &f);
}

/* What the programs in force have run short of. */
static void probe_shortages(tk_finding_fn fn, void *ctx)
{
	static const enum tk_counter counters[] = { TK_COUNT_FOREIGN_FULL, TK_COUNT_NO_SCRATCH };
	uint64_t counted[TK_COUNTER_COUNT];
	struct tk_kernel *kernel;
	int err;

	if (tk_kernel_open(&kernel))
		return; /* none are */
	err = tk_kernel_counters(kernel, counted);
	for (size_t i = 0; !err && i < sizeof(counters) / sizeof(*counters); i++) {
		const char *remedy = tk_shortage_text(counters[i]);
		struct tk_finding f = {
			.check = tk_shortage_name(counters[i]),
			.ok = !counted[counters[i]],
			.remedy = remedy,
		};

		snprintf(f.found, sizeof(f.found), "%llu times", (unsigned long long)counted[counters[i]]);
		fn(ctx, &f);
	}
	tk_kernel_close(kernel);
}

void tk_kernel_probe(tk_finding_fn fn, void *ctx)
{
	probe_shortages(fn, ctx);
	probe_lsm(fn, ctx);
	probe_preemption(fn, ctx);
	probe_bpffs(fn, ctx);
	probe_ftrace(fn, ctx);
	probe_hooks(fn, ctx);
	probe_load(fn, ctx);
}
