/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_ROUTE_H
#define SHUNT_BPF_ROUTE_H

#include "conntrack.h"
#include "csum.h"
#include "fib.h"
#include "gate.h"
#include "nexthop.h"
#include "parse.h"
#include "scratch.h"

/*
 * Flows that do not go through the stack: those of a pod that reached itself; those that come in
 * and go out by uplinks, which carry the node's own address (it is lent), with which the stack
 * would take them for martians; and with `--forward redirect` all whose ways to the backend and
 * back lead from gate to gate. Both directions leave by redirect; answers are restored where
 * they come in.
 *
 * A flow of the last kind can do without: where its way does not lead past the stack any
 * more, it goes by the stack from then on, in both directions. So does a single packet of it that
 * is too long, or at its last hop: the stack cuts or tells.
 *
 * All of it out of line, behind one branch on the flow's flags.
 */

#define ROUTE_FLAGS (SHUNT_FLOW_HAIRPIN | SHUNT_FLOW_REDIRECT)

/* In what the stages return, above the reason: the scratch says how the packet leaves. */
#define ROUTE_SENT 0x100

enum route_how {
	ROUTE_STACK,  /* as packets of other flows */
	ROUTE_BOUNCE, /* back out of the gate that it came in by */
	ROUTE_OUT,    /* by the next hop that nexthop_found() tells */
	ROUTE_PEER,   /* the same, at once into the other end of a veth */
	ROUTE_END,    /* as ROUTE_STACK, and so does the rest of the flow from now on */
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

/* Does what the kernel said about the way lead past the stack, from XDP or from tc? */
static __always_inline int route_is_open(long found, __u32 out_flags, int is_xdp)
{
	if (is_xdp)
		return found == BPF_FIB_LKUP_RET_SUCCESS && out_flags & SHUNT_GATE_XMIT;
	return (found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH) &&
	       out_flags & NEXTHOP_IS_GATE;
}

/* From uplink to uplink: the source that the one which nexthop_found() names has to lend. */
static __always_inline int route_lend(struct scratch *s)
{
	__u32 ifindex = nexthop_found(s)->ifindex;
	const struct shunt_gate *out = gate_find(ifindex);

	if (!out)
		return SHUNT_R_NO_ROUTE;
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

/* The way to the backend in the scratch. Return: as nexthop_find(). */
__attribute__((noinline)) int route_ask(hook_ctx *ctx)
{
	struct scratch *s = scratch_get();

	if (!s)
		return BPF_FIB_LKUP_RET_NOT_FWDED;
	return nexthop_find(ctx, s, hook_ifindex(ctx), s->pkt.tuple.family,
			    s->pkt.tuple.src.word_be, s->nf.backend.word_be, 0);
}

/* The same for answers, from where the first way ends. */
__attribute__((noinline)) int route_ask_back(hook_ctx *ctx)
{
	struct scratch *s = scratch_get();

	if (!s)
		return BPF_FIB_LKUP_RET_NOT_FWDED;
	return nexthop_find(ctx, s, nexthop_found(s)->ifindex, s->pkt.tuple.family,
			    s->pkt.tuple.dst.word_be, s->pkt.tuple.src.word_be, 0);
}

/* May the flow go past the stack, in both directions? @found: as nexthop_find() said. */
static __always_inline int route_is_free(hook_ctx *ctx, struct scratch *s, long found)
{
	__u32 out_flags = s->out_flags;

	/* Not between VLANs. */
	if (!route_is_open(found, out_flags, HOOK_IS_XDP) ||
	    s->at.l3_off != sizeof(struct ethhdr) || hook_tags(ctx))
		return 0;
	found = route_ask_back(ctx);
	return route_is_open(found, s->out_flags, !!(out_flags & SHUNT_GATE_XDP));
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
	const struct shunt_settings *settings = lookup_settings();
	struct scratch *s = scratch_get();
	int is_wanted;
	long found;

	if (!s || !settings)
		return SHUNT_R_BAD_CONFIG;
	if (route_same_addr(&s->nf.backend, &s->pkt.tuple.src)) {
		s->nf.flags |= SHUNT_FLOW_HAIRPIN | SHUNT_FLOW_SOURCE_NAT;
		s->nf.source = s->pkt.tuple.dst;
		return SHUNT_R_FORWARDED;
	}
	is_wanted = settings->flags & SHUNT_S_REDIRECT;
	if (!is_wanted && !(s->nf.gate_flags & SHUNT_GATE_UPLINK))
		return SHUNT_R_FORWARDED;
	found = route_ask(ctx);
	/* What else it may say, the stack will tell the client. */
	if ((found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH) &&
	    s->nf.gate_flags & s->out_flags & SHUNT_GATE_UPLINK)
		return route_lend(s);
	if (!is_wanted)
		return SHUNT_R_FORWARDED;
	if (route_is_free(ctx, s, found))
		s->nf.flags |= SHUNT_FLOW_REDIRECT;
	else
		s->nf.is_by_stack = 1;
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

/* What the kernel's word about the way means for a packet of a flow with a lent source. */
static __always_inline int route_judge(struct scratch *s, long found, int is_answer)
{
	if (found == BPF_FIB_LKUP_RET_SUCCESS ||
	    (HOOK_FINDS_NEIGHBOURS && found == BPF_FIB_LKUP_RET_NO_NEIGH)) {
		s->route_how = ROUTE_OUT;
		return SHUNT_R_FORWARDED;
	}
	/* Restored, an answer has no address of this node any more; the stack may know more. */
	s->route_how = ROUTE_STACK;
	return is_answer ? SHUNT_R_FORWARDED : SHUNT_R_NO_ROUTE;
}

/* A packet of a flow that can do without redirect goes by the stack: an answer as it came. */
static __always_inline int route_aside(struct scratch *s, int is_answer)
{
	s->route_how = ROUTE_STACK;
	return is_answer ? SHUNT_R_NO_SERVICE : SHUNT_R_FORWARDED;
}

/* From now on the flow goes by the stack. Should it have got another tenant: that one, too. */
static __always_inline void route_end(struct shunt_flow *flow)
{
	union {
		struct {
			__u8 proto, family;
			__u16 flags;
		} part;
		__u32 word;
	} rest = { .part = { 0xff, 0xff, (__u16)~SHUNT_FLOW_REDIRECT } };

	_Static_assert(__builtin_offsetof(struct shunt_flow, flags) ==
			       __builtin_offsetof(struct shunt_flow, proto) + 2,
		       "one word with the protocol and the family");
	__sync_fetch_and_and((__u32 *)&flow->proto, rest.word);
}

/* Both ends of the way into the scratch. Return: is the source lent? */
static __always_inline __u32 route_ends(struct scratch *s, const struct shunt_flow *flow,
					int is_answer)
{
	__u32 lent = flow->source_lo_be ^ flow->client_lo_be;

	s->way_src.word_be[3] = SHUNT_PICK(is_answer, flow->source_lo_be, flow->frontend_lo_be);
	s->way_dst.word_be[3] = SHUNT_PICK(is_answer, flow->backend_lo_be, flow->client_lo_be);
	if (flow->family == SHUNT_V4) {
		/* An IPv4 packet reads one line of its flow. */
		__builtin_memset(&s->way_src, 0, 3 * sizeof(__be32));
		__builtin_memset(&s->way_dst, 0, 3 * sizeof(__be32));
		return lent;
	}
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		s->way_src.word_be[w] =
			SHUNT_PICK(is_answer, flow->source_hi_be[w], flow->frontend_hi_be[w]);
		s->way_dst.word_be[w] =
			SHUNT_PICK(is_answer, flow->backend_hi_be[w], flow->client_hi_be[w]);
		lent |= flow->source_hi_be[w] ^ flow->client_hi_be[w];
		/* One word after the other: all at once would spill, and the frame is dear. */
		asm volatile("" : "+r"(lent) : : "memory");
	}
	return lent;
}

/**
 * route_find - the way on of a packet of a flow with one of ROUTE_FLAGS, not rewritten yet
 * @is_answer: 0: to the backend, 1: to the client
 * @ip_bytes:  its length
 *
 * Return: SHUNT_R_FORWARDED and the way in the scratch, for route_send(); SHUNT_R_HELD: the
 * record has got another tenant; SHUNT_R_NO_ROUTE, SHUNT_R_HOP_LIMIT, SHUNT_R_TOO_BIG. An answer
 * that goes by the stack is not to be touched: SHUNT_R_NO_SERVICE, SHUNT_R_BY_STACK.
 */
__attribute__((noinline)) int route_find(hook_ctx *ctx, __u64 ref, int is_answer, __u32 ip_bytes)
{
	struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	struct scratch *s = scratch_get();
	__u32 family, flags, lent;
	__u8 proto;
	long found;

	if (!flow || !s)
		return SHUNT_R_BAD_CONFIG;
	family = flow->family;
	flags = flow->flags;
	proto = flow->proto;
	lent = route_ends(s, flow, is_answer);
	if (!shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref)))
		return SHUNT_R_HELD;
	if (flags & SHUNT_FLOW_HAIRPIN) {
		s->route_how = ROUTE_BOUNCE;
		return SHUNT_R_FORWARDED;
	}
	if (route_hops(ctx, family) <= 1)
		return lent ? SHUNT_R_HOP_LIMIT : route_aside(s, is_answer);
	found = nexthop_find(ctx, s, hook_ifindex(ctx), family, s->way_src.word_be,
			     s->way_dst.word_be,
			     hook_wire_bytes(ctx, ip_bytes, route_headers(family, proto)));
	if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return lent ? SHUNT_R_TOO_BIG : route_aside(s, is_answer);
	if (lent)
		return route_judge(s, found, is_answer);
	if (route_is_open(found, s->out_flags, HOOK_IS_XDP)) {
		s->route_how = found == BPF_FIB_LKUP_RET_SUCCESS && s->out_flags & SHUNT_GATE_PEER
				       ? ROUTE_PEER
				       : ROUTE_OUT;
		return SHUNT_R_FORWARDED;
	}
	s->route_how = ROUTE_END;
	s->route_flow = SHUNT_FT_INDEX(ref);
	if (!is_answer)
		return SHUNT_R_FORWARDED;
	route_end(flow);
	return SHUNT_R_BY_STACK;
}

/* For a client's rewritten packet: the reason, which says so if its flow's redirect ends here. */
static __always_inline int route_reason(int reason)
{
	struct scratch *s = scratch_get();
	struct shunt_flow *flow;

	if (!s || s->route_how != ROUTE_END)
		return reason;
	flow = shunt_ft_flow(FT, s->route_flow);
	if (flow)
		route_end(flow);
	return SHUNT_R_BY_STACK;
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
static __always_inline int route_send(hook_ctx *ctx)
{
	const struct bpf_fib_lookup *to;
	struct scratch *s = scratch_get();

	if (!s)
		return HOOK_DROP;
	switch (s->route_how) {
	case ROUTE_BOUNCE:
		return route_turn(ctx) ? HOOK_DROP : hook_bounce(ctx);
	case ROUTE_OUT:
	case ROUTE_PEER:
		to = nexthop_found(s);
		if (route_count_hop(ctx, to->family == FIB_AF_INET ? SHUNT_V4 : SHUNT_V6))
			return HOOK_DROP;
		return hook_leave(ctx, to, s->route_how == ROUTE_PEER);
	default:
		return HOOK_PASS;
	}
}

#endif
