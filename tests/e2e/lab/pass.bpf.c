// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Passes every packet. A veth delivers what its peer sends by XDP_TX or redirect only if it
 * has an XDP program itself; real NICs need nothing of the kind.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
