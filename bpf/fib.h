/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_FIB_H
#define SHUNT_BPF_FIB_H

#include "hook.h"
#include "shunt/abi.h"

/* linux/socket.h is not for the BPF target. */
#define FIB_AF_INET  2
#define FIB_AF_INET6 10

/**
 * fib_ask - which way does a packet go?
 * @fib:      in the scratch; filled anew, and with the answer
 * @ifindex:  where it came in
 * @src, @dst: addresses as in struct shunt_addr
 * @ip_bytes: its length, if the way's MTU matters; else 0
 *
 * Return: as bpf_fib_lookup().
 */
static __always_inline long fib_ask(hook_ctx *ctx, struct bpf_fib_lookup *fib, __u32 ifindex,
				    __u32 family, const __be32 *src, const __be32 *dst,
				    __u32 ip_bytes)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ifindex;
	fib->tot_len = ip_bytes > 0xffff ? 0xffff : ip_bytes;
	fib->family = family == SHUNT_V6 ? FIB_AF_INET6 : FIB_AF_INET;
	/* An IPv4 address is the first word of what is there for IPv6; nobody reads the others. */
	fib->ipv6_src[0] = SHUNT_PICK(family == SHUNT_V6, src[3], src[0]);
	fib->ipv6_dst[0] = SHUNT_PICK(family == SHUNT_V6, dst[3], dst[0]);
#pragma GCC unroll 3
	for (int w = 1; w < 4; w++) {
		fib->ipv6_src[w] = src[w];
		fib->ipv6_dst[w] = dst[w];
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

#endif
