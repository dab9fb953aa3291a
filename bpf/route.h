/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_ROUTE_H
#define SHUNT_BPF_ROUTE_H

#include "conntrack.h"
#include "csum.h"
#include "fib.h"
#include "gate.h"
#include "parse.h"
#include "scratch.h"

/*
 * Flows that do not go through the stack: those of a pod that reached itself, and those that come
 * in and go out by uplinks. The latter carry the node's own address, with which the
 * stack would take them for martians. Both directions leave by redirect; answers are
 * restored where they come in.
 *
 * All of it out of line, behind one branch on the flow's flags.
 */

#define ROUTE_FLAGS (SHUNT_FLOW_HAIRPIN | SHUNT_FLOW_REDIRECT)

/* In what the stages return, above the reason: the scratch says how the packet leaves. */
#define ROUTE_SENT 0x100

enum route_how {
	ROUTE_STACK,  /* as packets of other flows */
	ROUTE_BOUNCE, /* back out of the gate that it came in by */
	ROUTE_OUT,    /* by the next hop in scratch.fib */
};

/* The reason for a rewritten packet of a flow with these flags, and ROUTE_SENT. */
static __always_inline int route_result(__u32 flags, int is_answer)
{
	if (flags & SHUNT_FLOW_HAIRPIN)
		return SHUNT_R_HAIRPIN | ROUTE_SENT;
	return (is_answer ? SHUNT_R_RESTORED : SHUNT_R_FORWARDED) | ROUTE_SENT;
}

static __always_inline int route_same_addr(const struct shunt_addr *a, const struct shunt_addr *b)
{
	return a->word_be[0] == b->word_be[0] && a->word_be[1] == b->word_be[1] &&
	       a->word_be[2] == b->word_be[2] && a->word_be[3] == b->word_be[3];
}

/**
 * route_plan - how will the flow in the scratch travel?
 *
 * Its backend is chosen. Into the scratch go the flags and the source for the record.
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_NO_ROUTE: the uplink has no address to lend.
 */
__attribute__((noinline)) int route_plan(hook_ctx *ctx)
{
	struct scratch *s = scratch_get();
	const struct shunt_gate *out;
	__u32 ifindex;
	long found;

	if (!s)
		return SHUNT_R_BAD_CONFIG;
	if (route_same_addr(&s->nf.backend, &s->pkt.tuple.src)) {
		s->nf.flags |= SHUNT_FLOW_HAIRPIN | SHUNT_FLOW_SOURCE_NAT;
		s->nf.source = s->pkt.tuple.dst;
		return SHUNT_R_FORWARDED;
	}
	if (!(s->nf.gate_flags & SHUNT_GATE_UPLINK))
		return SHUNT_R_FORWARDED;
	found = fib_ask(ctx, &s->fib, s->pkt.tuple.family, s->pkt.tuple.src.word_be,
			s->nf.backend.word_be, 0);
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return SHUNT_R_FORWARDED; /* the stack will tell the client */
	ifindex = s->fib.ifindex;
	out = bpf_map_lookup_elem(&shunt_gates, &ifindex);
	if (!out || !(out->flags & SHUNT_GATE_UPLINK))
		return SHUNT_R_FORWARDED;
#pragma GCC unroll 4
	for (int w = 0; w < 4; w++)
		s->nf.source.word_be[w] = SHUNT_PICK(s->pkt.tuple.family == SHUNT_V6,
						     out->source[SHUNT_V4].word_be[w],
						     out->source[SHUNT_V6].word_be[w]);
	if (!(s->nf.source.word_be[0] | s->nf.source.word_be[3]))
		return SHUNT_R_NO_ROUTE;
	s->nf.flags |= SHUNT_FLOW_REDIRECT | SHUNT_FLOW_SOURCE_NAT;
	return SHUNT_R_FORWARDED;
}

/* The hop limit of a plain frame; 0: cut short. */
static __always_inline __u32 route_hops(hook_ctx *ctx, __u32 family)
{
	const void *l3 = hook_data(ctx) + sizeof(struct ethhdr);

	if (l3 + sizeof(struct iphdr) > hook_end(ctx))
		return 0;
	return SHUNT_PICK(family == SHUNT_V6, ((const struct iphdr *)l3)->ttl,
			  ((const struct ipv6hdr *)l3)->hop_limit);
}

/* Length of the headers of a super-packet's segments, TCP options left out: never too much. */
static __always_inline __u32 route_headers(__u32 family, __u8 proto)
{
	const __u32 ip_len = family == SHUNT_V4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	return ip_len + (proto == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr));
}

/* What the kernel's word about the way means for a packet. */
static __always_inline int route_judge(struct scratch *s, long found, int is_answer)
{
	if (found == BPF_FIB_LKUP_RET_SUCCESS ||
	    (HOOK_FINDS_NEIGHBOURS && found == BPF_FIB_LKUP_RET_NO_NEIGH)) {
		s->route_how = ROUTE_OUT;
		return SHUNT_R_FORWARDED;
	}
	if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return SHUNT_R_TOO_BIG;
	/* Restored, an answer has no address of this node any more; the stack may know more. */
	s->route_how = ROUTE_STACK;
	return is_answer ? SHUNT_R_FORWARDED : SHUNT_R_NO_ROUTE;
}

/**
 * route_find - the way on of a packet of a flow with one of ROUTE_FLAGS, not rewritten yet
 * @is_answer: 0: to the backend, 1: to the client
 * @ip_bytes:  its length
 *
 * Return: SHUNT_R_FORWARDED and the way in the scratch, for route_send(); SHUNT_R_HELD: the
 * record has got another tenant; SHUNT_R_NO_ROUTE, SHUNT_R_HOP_LIMIT, SHUNT_R_TOO_BIG.
 */
__attribute__((noinline)) int route_find(hook_ctx *ctx, __u64 ref, int is_answer, __u32 ip_bytes)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	struct shunt_addr src, dst;
	struct scratch *s = scratch_get();
	__u32 family, flags;
	__u8 proto;

	if (!flow || !s)
		return SHUNT_R_BAD_CONFIG;
	family = flow->family;
	flags = flow->flags;
	proto = flow->proto;
	src.word_be[3] = SHUNT_PICK(is_answer, flow->source_lo_be, flow->frontend_lo_be);
	dst.word_be[3] = SHUNT_PICK(is_answer, flow->backend_lo_be, flow->client_lo_be);
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		src.word_be[w] =
			SHUNT_PICK(is_answer, flow->source_hi_be[w], flow->frontend_hi_be[w]);
		dst.word_be[w] =
			SHUNT_PICK(is_answer, flow->backend_hi_be[w], flow->client_hi_be[w]);
	}
	if (!shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref)))
		return SHUNT_R_HELD;
	if (flags & SHUNT_FLOW_HAIRPIN) {
		s->route_how = ROUTE_BOUNCE;
		return SHUNT_R_FORWARDED;
	}
	if (route_hops(ctx, family) <= 1)
		return SHUNT_R_HOP_LIMIT;
	return route_judge(s,
			   fib_ask(ctx, &s->fib, family, src.word_be, dst.word_be,
				   hook_wire_bytes(ctx, ip_bytes, route_headers(family, proto))),
			   is_answer);
}

/* One hop less. Return: 0, or -1: cut short. */
static __always_inline int route_count_hop(hook_ctx *ctx, __u32 family)
{
	void *l3 = hook_data(ctx) + sizeof(struct ethhdr);
	struct ipv6hdr *ip6 = l3;
	struct iphdr *ip = l3;

	if (l3 + sizeof(struct iphdr) > hook_end(ctx))
		return -1;
	if (family != SHUNT_V4) {
		SHUNT_WRITE_ONCE(ip6->hop_limit, SHUNT_READ_ONCE(ip6->hop_limit) - 1);
		return 0;
	}
	/* The high byte of its word. */
	ip->check = csum_update(ip->check, (__u16)~bpf_htons(0x100));
	SHUNT_WRITE_ONCE(ip->ttl, SHUNT_READ_ONCE(ip->ttl) - 1);
	return 0;
}

/* Source and destination of the link exchanged. */
static __always_inline int route_turn(hook_ctx *ctx)
{
	struct ethhdr *eth = hook_data(ctx);
	__u8 mac[ETH_ALEN];

	if ((void *)(eth + 1) > hook_end(ctx))
		return -1;
	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	return 0;
}

/**
 * route_send - send a rewritten packet on as route_find() said
 *
 * Return: the hook's verdict.
 */
__attribute__((noinline)) int route_send(hook_ctx *ctx)
{
	struct scratch *s = scratch_get();

	if (!s)
		return HOOK_DROP;
	switch (s->route_how) {
	case ROUTE_BOUNCE:
		return route_turn(ctx) ? HOOK_DROP : hook_bounce(ctx);
	case ROUTE_OUT:
		if (route_count_hop(ctx, s->fib.family == FIB_AF_INET ? SHUNT_V4 : SHUNT_V6))
			return HOOK_DROP;
		return hook_leave(ctx, &s->fib);
	default:
		return HOOK_PASS;
	}
}

#endif
