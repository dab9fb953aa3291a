/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_RARE_REWRITE_H
#define SHUNT_BPF_RARE_REWRITE_H

#include "conntrack.h"
#include "csum.h"
#include "hook.h"
#include "route.h"
#include "scratch.h"

/* Writing addresses and ports where struct place says that the headers stand. */

/* Addresses and ports of the flow into @to. Return: 1, or 0: it has got another tenant. */
static __always_inline int rare_target(const struct shunt_flow *flow, __u64 ref, int is_answer,
				       struct shunt_tuple *to)
{
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		to->src.word_be[w] =
			SHUNT_PICK(is_answer, flow->source_hi_be[w], flow->frontend_hi_be[w]);
		to->dst.word_be[w] =
			SHUNT_PICK(is_answer, flow->backend_hi_be[w], flow->client_hi_be[w]);
	}
	to->src.word_be[3] = SHUNT_PICK(is_answer, flow->source_lo_be, flow->frontend_lo_be);
	to->dst.word_be[3] = SHUNT_PICK(is_answer, flow->backend_lo_be, flow->client_lo_be);
	to->sport_be = SHUNT_PICK(is_answer, flow->source_port_be, flow->frontend_port_be);
	to->dport_be = SHUNT_PICK(is_answer, flow->backend_port_be, flow->client_port_be);
	return shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref));
}

static __always_inline int rare_same_addr(const struct shunt_addr *a, const struct shunt_addr *b)
{
	return !((a->word_be[0] ^ b->word_be[0]) | (a->word_be[1] ^ b->word_be[1]) |
		 (a->word_be[2] ^ b->word_be[2]) | (a->word_be[3] ^ b->word_be[3]));
}

/* What a sum over both addresses gains by the change. Words that are 0 in both count for 0. */
static __always_inline __u32 rare_addr_diff(const struct shunt_tuple *from,
					    const struct shunt_tuple *to)
{
	__u64 diff = 0;

#pragma GCC unroll 4
	for (int w = 0; w < 4; w++) {
		diff = csum_diff_word(diff, from->src.word_be[w], to->src.word_be[w]);
		diff = csum_diff_word(diff, from->dst.word_be[w], to->dst.word_be[w]);
	}
	return csum_fold32(diff);
}

/**
 * rare_write_addrs - write both addresses into an IP header
 * @diff: as rare_addr_diff() said
 * @head: what the change of an IPv4 header's own checksum makes in a sum over it; may be added to
 *
 * Of a later fragment in IPv6 no checksum makes up for the addresses.
 *
 * Return: 0, or negative.
 */
static __always_inline int rare_write_addrs(hook_ctx *ctx, const struct place *at, __u32 family,
					    const struct shunt_tuple *to, __u32 diff, __u64 *head)
{
	struct {
		__u16 check;
		__be16 addrs_be[4];
	} tail; /* of an IPv4 header */
	__u32 off = at->l3_off + __builtin_offsetof(struct ipv6hdr, saddr);
	__u16 check;

	_Static_assert(__builtin_offsetof(struct shunt_tuple, dst) == sizeof(struct shunt_addr),
		       "both addresses, as in the header");
	if (family == SHUNT_V6)
		return at->part == PLACE_LATER
			       ? hook_store_summed(ctx, off, &to->src, 2 * sizeof(to->src))
			       : hook_store(ctx, off, &to->src, 2 * sizeof(to->src));
	off = at->l3_off + __builtin_offsetof(struct iphdr, check);
	if (hook_load(ctx, off, &check, sizeof(check)))
		return -1;
	tail.check = csum_update(check, diff);
	*head += (__u64)(__u16)~check + tail.check;
	__builtin_memcpy(&tail.addrs_be[0], &to->src.word_be[3], sizeof(__be32));
	__builtin_memcpy(&tail.addrs_be[2], &to->dst.word_be[3], sizeof(__be32));
	return hook_store(ctx, off, &tail, sizeof(tail));
}

/* Makes the packet in the scratch one of s->to, wherever its headers stand. */
static __always_inline int rare_rewrite(hook_ctx *ctx, const struct scratch *s)
{
	const __u32 diff = rare_addr_diff(&s->pkt.tuple, &s->to);
	const __u32 family = s->pkt.tuple.family;
	__u64 ports, head = 0;

	if (rare_write_addrs(ctx, &s->at, family, &s->to, diff, &head))
		return SHUNT_R_REWRITE;
	if (s->at.part == PLACE_LATER)
		return SHUNT_R_FORWARDED;
	_Static_assert(__builtin_offsetof(struct shunt_tuple, dport_be) ==
			       __builtin_offsetof(struct shunt_tuple, sport_be) + sizeof(__be16),
		       "both ports, as in the header");
	ports = (__u64)(__u16)~s->pkt.tuple.sport_be + s->to.sport_be +
		(__u16)~s->pkt.tuple.dport_be + s->to.dport_be;
	if (hook_store(ctx, s->at.l4_off, &s->to.sport_be, 2 * sizeof(__be16)) ||
	    hook_fix_l4_csum_any(ctx, s->at.l4_off, family == SHUNT_V6, diff, ports,
				 s->pkt.tuple.proto == IPPROTO_UDP))
		return SHUNT_R_REWRITE;
	return SHUNT_R_FORWARDED;
}

/* The way of the packet in the scratch, as route_find(). Between VLANs none leaves by redirect. */
static __always_inline int rare_route(hook_ctx *ctx, __u64 ref, struct scratch *s, __u32 flags,
				      int is_answer)
{
	if (flags & SHUNT_FLOW_REDIRECT &&
	    (s->at.l3_off != sizeof(struct ethhdr) || hook_tags(ctx)))
		return flags & SHUNT_FLOW_SOURCE_NAT ? SHUNT_R_NO_ROUTE : route_aside(s, is_answer);
	return route_find(ctx, ref, is_answer, s->pkt.ip_bytes);
}

#endif
