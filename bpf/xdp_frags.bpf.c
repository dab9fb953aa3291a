// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Native XDP on uplinks, with what kernels have since 5.18: jumbo frames and packets of any form.
 * Where it does not load, xdp.bpf.c takes its place.
 */
#define SHUNT_HOOK_XDP
#define SHUNT_HOOK_XDP_FRAGS

#include "hook.h"
#include "ingress.h"

SEC("xdp.frags")
int shunt_xdp_ingress(struct xdp_md *ctx)
{
	return ingress(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
