/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_REWRITE_H
#define SHUNT_BPF_REWRITE_H

#include "csum.h"
#include "conntrack.h"
#include "hook.h"

/* Writes the ports. Return: the diff that they make. TCP and UDP both begin with them. */
static __always_inline __u64 rewrite_ports(struct udphdr *l4, __be16 sport_be, __be16 dport_be)
{
	__u64 diff = 0;

	if (l4->source != sport_be)
		diff += (__u64)(__u16)~l4->source + sport_be;
	if (l4->dest != dport_be)
		diff += (__u64)(__u16)~l4->dest + dport_be;
	l4->source = sport_be;
	l4->dest = dport_be;
	return diff;
}

static __always_inline enum shunt_reason rewrite_ipv4(hook_ctx *ctx, const struct nat *to,
						      int is_udp)
{
	struct iphdr *ip = hook_data(ctx) + sizeof(struct ethhdr);
	struct udphdr *l4 = (void *)(ip + 1);
	__u64 addr_diff, port_diff;

	if ((void *)(l4 + 1) > hook_end(ctx))
		return SHUNT_R_REWRITE;
	addr_diff = csum_diff_word(csum_diff_word(0, ip->daddr, to->dst_lo_be), ip->saddr,
				   to->src_lo_be);
	ip->saddr = to->src_lo_be;
	ip->daddr = to->dst_lo_be;
	ip->check = csum_update(ip->check, addr_diff);
	port_diff = rewrite_ports(l4, to->sport_be, to->dport_be);
	if (hook_fix_l4_csum(ctx, sizeof(struct ethhdr) + sizeof(*ip), 0, csum_fold32(addr_diff),
			     port_diff, is_udp))
		return SHUNT_R_REWRITE;
	return SHUNT_R_FORWARDED;
}

/* Replaces an IPv6 address by one of a flow's. Return: @diff with what that changes. */
static __always_inline __u64 rewrite_addr6(struct in6_addr *addr, __be32 lo_be,
					   const __be32 hi_be[3], __u64 diff)
{
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		diff = csum_diff_word(diff, addr->s6_addr32[w], hi_be[w]);
		addr->s6_addr32[w] = hi_be[w];
		/* One word after the other: all at once would spill, and the frame is dear. */
		asm volatile("" : "+r"(diff) : : "memory");
	}
	diff = csum_diff_word(diff, addr->s6_addr32[3], lo_be);
	addr->s6_addr32[3] = lo_be;
	asm volatile("" : "+r"(diff) : : "memory");
	return diff;
}

/*
 * As rewrite_ipv4(), with the addresses taken from the flow, whose life was @life. @reverse is a
 * constant. Should the record be reused under our eyes, the half-written packet is dropped.
 */
static __always_inline int rewrite_ipv6(hook_ctx *ctx, const struct shunt_flow *flow, __u32 life,
					int reverse, int is_udp)
{
	struct ipv6hdr *ip = hook_data(ctx) + sizeof(struct ethhdr);
	struct udphdr *l4 = (void *)(ip + 1);
	__u64 diff, port_diff;

	if (!flow || (void *)(l4 + 1) > hook_end(ctx))
		return SHUNT_R_REWRITE;
	if (reverse) {
		diff = rewrite_addr6(&ip->saddr, flow->frontend_lo_be, flow->frontend_hi_be, 0);
		diff = rewrite_addr6(&ip->daddr, flow->client_lo_be, flow->client_hi_be, diff);
		port_diff = rewrite_ports(l4, flow->frontend_port_be, flow->client_port_be);
	} else {
		diff = rewrite_addr6(&ip->saddr, flow->source_lo_be, flow->source_hi_be, 0);
		diff = rewrite_addr6(&ip->daddr, flow->backend_lo_be, flow->backend_hi_be, diff);
		port_diff = rewrite_ports(l4, flow->source_port_be, flow->backend_port_be);
	}
	if (!shunt_ft_is_fresh(flow, life) ||
	    hook_fix_l4_csum(ctx, sizeof(struct ethhdr) + sizeof(*ip), 1, csum_fold32(diff),
			     port_diff, is_udp))
		return SHUNT_R_REWRITE;
	return SHUNT_R_FORWARDED;
}

/* Functions of their own frame: the addresses alone would fill a quarter of the stack. */
__attribute__((noinline)) int rewrite_ipv6_in(hook_ctx *ctx, __u64 ref, int is_udp)
{
	return rewrite_ipv6(ctx, shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)), SHUNT_FT_LIFE(ref), 0,
			    is_udp);
}

__attribute__((noinline)) int rewrite_ipv6_out(hook_ctx *ctx, __u64 ref, int is_udp)
{
	return rewrite_ipv6(ctx, shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)), SHUNT_FT_LIFE(ref), 1,
			    is_udp);
}

/* The same for a flow that is not in the table: placed.h. */
__attribute__((noinline)) int rewrite_placed_in(hook_ctx *ctx, const struct shunt_flow *flow,
						int is_udp)
{
	return rewrite_ipv6(ctx, flow, flow ? flow->life : 0, 0, is_udp);
}

__attribute__((noinline)) int rewrite_placed_out(hook_ctx *ctx, const struct shunt_flow *flow,
						 int is_udp)
{
	return rewrite_ipv6(ctx, flow, flow ? flow->life : 0, 1, is_udp);
}

/**
 * rewrite_packet - put a flow's addresses and ports into its packet
 * @to:	     as nat_copy() gave it
 * @reverse: as nat_copy()
 *
 * Addresses, ports and the IPv4 checksum are written directly; the TCP or UDP checksum by
 * the hook, which knows whether it is complete. Packet pointers are stale afterwards.
 *
 * Return: SHUNT_R_FORWARDED, or SHUNT_R_REWRITE: the kernel would not let us.
 */
static __always_inline enum shunt_reason rewrite_packet(hook_ctx *ctx, const struct packet *pkt,
							const struct nat *to, __u64 ref,
							int reverse)
{
	const int is_udp = pkt->tuple.proto == IPPROTO_UDP;

	if (pkt->tuple.family == SHUNT_V4)
		return rewrite_ipv4(ctx, to, is_udp);
	return reverse ? rewrite_ipv6_out(ctx, ref, is_udp) : rewrite_ipv6_in(ctx, ref, is_udp);
}

#endif
