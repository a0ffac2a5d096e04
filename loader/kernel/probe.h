/* SPDX-License-Identifier: GPL-2.0 */
/* loader/kernel/probe.h - what this kernel can do for us, found out by trying. */
#ifndef TK_PROBE_H
#define TK_PROBE_H

#include <stdbool.h>

struct tk_finding {
	const char *check;  /* what was tried */
	bool ok, needed;
	char found[512];    /* what was seen */
	const char *remedy; /* what to do when it is not ok; "" when there is nothing */
};
typedef void (*tk_finding_fn)(void *ctx, const struct tk_finding *finding);

/* LSM list, BTF, bpffs, ftrace, each hook, loading the programs.  Leaves nothing loaded. */
void tk_kernel_probe(tk_finding_fn fn, void *ctx);

#endif
