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

/* Where the checksum of the L4 header at @l4_off stands in the frame. */
static __always_inline __u32 rewrite_csum_off(__u32 l4_off, int is_udp)
{
	return l4_off + (is_udp ? __builtin_offsetof(struct udphdr, check)
				: __builtin_offsetof(struct tcphdr, check));
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
	if (hook_fix_l4_csum(ctx, rewrite_csum_off(sizeof(struct ethhdr) + sizeof(*ip), is_udp),
			     csum_fold32(addr_diff), port_diff, is_udp))
		return SHUNT_R_REWRITE;
	return SHUNT_R_FORWARDED;
}

/* Word @w of the new source or destination of an IPv6 packet. */
static __always_inline __be32 rewrite_word(__be32 lo_be, const __be32 hi_be[3], int w)
{
	return w == 3 ? lo_be : hi_be[w];
}

/* Copies the addresses that a packet of @flow becomes. */
static __always_inline void rewrite_copy6(const struct shunt_flow *flow, int reverse,
					  struct shunt_addr *src, struct shunt_addr *dst)
{
#pragma GCC unroll 4
	for (int w = 0; w < 4; w++) {
		src->word_be[w] =
			reverse ? rewrite_word(flow->frontend_lo_be, flow->frontend_hi_be, w)
				: rewrite_word(flow->source_lo_be, flow->source_hi_be, w);
		dst->word_be[w] =
			reverse ? rewrite_word(flow->client_lo_be, flow->client_hi_be, w)
				: rewrite_word(flow->backend_lo_be, flow->backend_hi_be, w);
	}
}

/**
 * rewrite_ipv6 - as rewrite_ipv4(), with the addresses taken from the flow
 *
 * A function of its own frame: the addresses alone would fill a quarter of the stack.
 */
__attribute__((noinline)) int rewrite_ipv6(hook_ctx *ctx, __u64 ref, int reverse, int is_udp)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	struct ipv6hdr *ip = hook_data(ctx) + sizeof(struct ethhdr);
	struct udphdr *l4 = (void *)(ip + 1);
	__be16 sport_be, dport_be;
	struct shunt_addr src, dst;
	__u64 diff = 0, port_diff;

	if (!flow || (void *)(l4 + 1) > hook_end(ctx))
		return SHUNT_R_REWRITE;
	rewrite_copy6(flow, reverse, &src, &dst);
	sport_be = reverse ? flow->frontend_port_be : flow->source_port_be;
	dport_be = reverse ? flow->client_port_be : flow->backend_port_be;
	if (!shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref)))
		return SHUNT_R_REWRITE;

#pragma GCC unroll 4
	for (int w = 0; w < 4; w++) {
		diff = csum_diff_word(diff, ip->saddr.s6_addr32[w], src.word_be[w]);
		diff = csum_diff_word(diff, ip->daddr.s6_addr32[w], dst.word_be[w]);
	}
	__builtin_memcpy(&ip->saddr, &src, sizeof(src));
	__builtin_memcpy(&ip->daddr, &dst, sizeof(dst));
	port_diff = rewrite_ports(l4, sport_be, dport_be);
	if (hook_fix_l4_csum(ctx, rewrite_csum_off(sizeof(struct ethhdr) + sizeof(*ip), is_udp),
			     csum_fold32(diff), port_diff, is_udp))
		return SHUNT_R_REWRITE;
	return SHUNT_R_FORWARDED;
}

/**
 * rewrite_packet - put a flow's addresses and ports into its packet
 * @to:	     as nat_copy() gave it
 * @reverse: as nat_copy()
 *
 * Addresses, ports and the IPv4 checksum are written directly; the TCP or UDP checksum by
 * the hook, which knows whether it is complete. Bounds are checked once more, since the
 * verifier does not see that the parser's family and its pointers belong together. Packet
 * pointers are stale afterwards.
 *
 * Return: SHUNT_R_FORWARDED, or SHUNT_R_REWRITE: the kernel would not let us.
 */
static __always_inline enum shunt_reason rewrite_packet(hook_ctx *ctx,
							const struct shunt_tuple *tuple,
							const struct nat *to, __u64 ref,
							int reverse)
{
	const int is_udp = tuple->proto == IPPROTO_UDP;

	if (tuple->family == SHUNT_V6)
		return rewrite_ipv6(ctx, ref, reverse, is_udp);
	return rewrite_ipv4(ctx, to, is_udp);
}

#endif
