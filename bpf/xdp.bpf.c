// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Native XDP on uplinks: splits what comes in. Answers are restored by tc egress. For kernels
 * that refuse xdp_frags.bpf.c.
 */
#define SHUNT_HOOK_XDP

#include "hook.h"
#include "ingress.h"

SEC("xdp")
int shunt_xdp_ingress(struct xdp_md *ctx)
{
	return ingress(ctx);
}

/* bpf/ is dual-licensed; the kernel wants its own spelling of that. */
char _license[] SEC("license") = "Dual BSD/GPL";
