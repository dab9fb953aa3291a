/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_HOOK_XDP_H
#define SHUNT_BPF_HOOK_XDP_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "shunt/compat.h"

/*
 * The XDP side of what the stages need of their hook. The frame is as it was on the wire, with
 * a complete checksum, and its headers are linear, nearly always: see hook_xdp_frags.h. Behind veth
 * that is only so when the sender has `ethtool -K DEV tx off`, for the mark of a partial checksum
 * does not reach XDP.
 */
typedef struct xdp_md hook_ctx;

#define HOOK_PASS   XDP_PASS
#define HOOK_DROP   XDP_DROP
#define HOOK_IS_XDP 1

static __always_inline void *hook_data(hook_ctx *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *hook_end(hook_ctx *ctx)
{
	return (void *)(long)ctx->data_end;
}

static __always_inline __u32 hook_ifindex(hook_ctx *ctx)
{
	return ctx->ingress_ifindex;
}

/* XDP comes before the kernel has looked. */
static __always_inline int hook_is_own(hook_ctx *ctx)
{
	(void)ctx;
	return 0;
}

static __always_inline int hook_pull(hook_ctx *ctx, __u32 len)
{
	(void)ctx;
	(void)len;
	return -1; /* all there is, is linear, or out of reach */
}

/* Tags stand in the frame, where it is parsed. */
static __always_inline __u32 hook_tags(hook_ctx *ctx)
{
	(void)ctx;
	return 0;
}

static __always_inline __u32 hook_segments(hook_ctx *ctx)
{
	(void)ctx;
	return 1;
}

/* The TCP or UDP checksum @check after words changed by the diffs (RFC 1624, eqn. 3). */
static __always_inline __u16 hook_new_check(__u16 check, __u32 addr_diff, __u32 port_diff,
					    int is_udp)
{
	__u64 sum = (__u64)(__u16)~check + addr_diff + port_diff;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	return is_udp && !sum ? 0xffff : sum;
}

/*
 * Accounts for changed addresses and ports in the checksum of the TCP or UDP header at
 * @l4_off, a constant. @addr_diff, @port_diff: what must be added to the sum, as csum.h says.
 */
static __always_inline int hook_fix_l4_csum(hook_ctx *ctx, __u32 l4_off, int is_v6, __u32 addr_diff,
					    __u32 port_diff, int is_udp)
{
	void *data = hook_data(ctx);
	__u16 *check;

	(void)is_v6;
	if (is_udp) {
		check = data + l4_off + __builtin_offsetof(struct udphdr, check);
		SHUNT_OPAQUE_CASE(check, 0);
	} else {
		check = data + l4_off + __builtin_offsetof(struct tcphdr, check);
		SHUNT_OPAQUE_CASE(check, 1);
	}
	if ((void *)(check + 1) > hook_end(ctx))
		return -1;
	if (is_udp && !*check)
		return 0; /* the sender left it out */

	*check = hook_new_check(*check, addr_diff, port_diff, is_udp);
	return 0;
}

/* What a frame is whose headers are not linear. */
#ifdef SHUNT_HOOK_XDP_FRAGS
#include "hook_xdp_frags.h"
#define HOOK_NOT_LINEAR PARSE_ODD
#else
#define HOOK_NOT_LINEAR SHUNT_R_TRUNCATED
#endif

/*
 * Makes the frame @len bytes long; packet pointers are stale.
 * @old_len: of Ethernet and IP by their headers: packet pointers may not be subtracted without
 *	     CAP_PERFMON. A frame that was padded to 60 bytes keeps its padding.
 * @grow:    how much longer than the shortest frame the answer may be, a constant. It grows at
 *	     the head, where there is always room: a small frame behind veth has no tailroom.
 */
static __always_inline int hook_resize(hook_ctx *ctx, __u32 old_len, __u32 len, __u32 grow)
{
	if (grow && bpf_xdp_adjust_head(ctx, -(int)grow))
		return -1;
	return bpf_xdp_adjust_tail(ctx, (int)len - (int)(old_len + grow));
}

/* Writes @len bytes at the start of the frame. @len is a constant. */
#define hook_write(ctx, buf, len)                                                                  \
	({                                                                                         \
		void *start_ = hook_data(ctx);                                                     \
		int ret_ = -1;                                                                     \
		if (start_ + (len) <= hook_end(ctx)) {                                             \
			__builtin_memcpy(start_, buf, len);                                        \
			ret_ = 0;                                                                  \
		}                                                                                  \
		ret_;                                                                              \
	})

/* Bytes of the longest IP packet on the wire that this one of @ip_bytes stands for. */
static __always_inline __u32 hook_wire_bytes(hook_ctx *ctx, __u32 ip_bytes, __u32 headers)
{
	(void)ctx;
	(void)headers;
	return ip_bytes;
}

/* A frame leaves as it is: the neighbour must be known. */
#define HOOK_FINDS_NEIGHBOURS 0

/* Sends the frame out by the next hop that bpf_fib_lookup() found. Return: the verdict. */
static __always_inline int hook_leave(hook_ctx *ctx, const struct bpf_fib_lookup *to, int to_peer)
{
	struct ethhdr *eth = hook_data(ctx);

	(void)to_peer;

	if ((void *)(eth + 1) > hook_end(ctx))
		return XDP_DROP;
	__builtin_memcpy(eth->h_dest, to->dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, to->smac, ETH_ALEN);
	return to->ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(to->ifindex, 0);
}

static __always_inline int hook_bounce(hook_ctx *ctx)
{
	(void)ctx;
	return XDP_TX;
}

#endif
