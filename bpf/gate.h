/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_GATE_H
#define SHUNT_BPF_GATE_H

#include "conntrack.h"
#include "nexthop.h"
#include "parse_any.h"

/*
 * What the role of the gate that a packet came in by means for it. All of this is out of the
 * way of packets of known flows that come by the gate that their flow came by.
 */

static __always_inline const struct shunt_gate *gate_find(__u32 ifindex)
{
	return bpf_map_lookup_elem(&shunt_gates, &ifindex);
}

/* A MAC as one number. */
static __always_inline __u64 gate_mac(const __u8 *mac)
{
	__u32 low;
	__u16 high;

	__builtin_memcpy(&low, mac, sizeof(low));
	__builtin_memcpy(&high, mac + sizeof(low), sizeof(high));
	return (__u64)high << 32 | low;
}

/*
 * Is the frame for this host? One that a switch floods, or a capture lets in, may be another
 * node's, which has the same service: who answered it would end a connection there.
 * @gate: NULL or without a list: nothing is known, so it is taken for ours.
 */
static __always_inline int gate_is_for_us(hook_ctx *ctx, const struct shunt_gate *gate)
{
	const struct ethhdr *eth = hook_data(ctx);
	__u64 to;

	if (hook_is_own(ctx) || !gate || !(gate->flags & SHUNT_GATE_MACS) ||
	    (const void *)(eth + 1) > hook_end(ctx))
		return 1;
	to = gate_mac(eth->h_dest);
#pragma GCC unroll 4
	for (int i = 0; i < SHUNT_MAX_GATE_MACS; i++)
		if (gate_mac(gate->mac[i]) == to)
			return 1;
	return 0;
}

static __always_inline __u32 gate_flags(__u32 ifindex)
{
	const struct shunt_gate *gate = gate_find(ifindex);

	return gate ? gate->flags : 0;
}

/* fe80::/10: on its link by nature, and every link has that route. */
static __always_inline int gate_is_link_local(const struct shunt_tuple *tuple)
{
	return tuple->family == SHUNT_V6 &&
	       (tuple->src.word_be[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Can what the kernel said of the way to a source be that of one behind an external gate? */
static __always_inline int gate_is_no_source(long found, __u32 out_flags)
{
	switch (found) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return out_flags && !(out_flags & SHUNT_GATE_EXTERNAL);
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
	case BPF_FIB_LKUP_RET_NOT_FWDED: /* local, or no route */
		return 1;
	default:
		return 0;
	}
}

/**
 * gate_is_spoofed - does a packet claim a source that cannot be where it came from?
 *
 * Only asked at external gates. The source must have a route, and not to this node nor out of
 * a gate (or the bridge of one) that is not external. Where the kernel gives no answer, since
 * it does not forward here or the route is one of a tunnel, the source counts as good.
 */
__attribute__((noinline)) int gate_is_spoofed(hook_ctx *ctx, const struct shunt_tuple *tuple)
{
	struct scratch *s = scratch_get();
	long found;

	if (!tuple || !s || gate_is_link_local(tuple))
		return 0;
	/* Not kept: a flood of sources would displace next hops. */
	found = fib_ask(ctx, &s->fib, hook_ifindex(ctx), tuple->family, tuple->dst.word_be,
			tuple->src.word_be, 0);
	return gate_is_no_source(found, nexthop_out_flags(s->fib.ifindex));
}

/* As gate_is_spoofed(), of an answer of a known flow, in the scratch: they come in numbers. */
__attribute__((noinline)) int gate_answer_is_spoofed(hook_ctx *ctx)
{
	struct scratch *s = scratch_get();
	__u32 ifindex = hook_ifindex(ctx);
	long found;

	if (!s || !(gate_flags(ifindex) & SHUNT_GATE_EXTERNAL) || gate_is_link_local(&s->pkt.tuple))
		return 0;
	found = nexthop_find(ctx, s, ifindex, s->pkt.tuple.family, s->pkt.tuple.dst.word_be,
			     s->pkt.tuple.src.word_be, 0);
	return gate_is_no_source(found, s->out_flags);
}

/**
 * gate_admit_new - may the packet in the scratch, without an entry, come in here?
 * @service: what it is addressed to; 0: a backend directly, and that may be another's frame
 *
 * Return: SHUNT_R_FORWARDED, SHUNT_R_OTHER_HOST or SHUNT_R_SPOOFED.
 */
__attribute__((noinline)) int gate_admit_new(hook_ctx *ctx, __u32 service)
{
	const struct shunt_gate *gate = gate_find(hook_ifindex(ctx));
	struct scratch *s = scratch_get();

	if (!gate || !s)
		return SHUNT_R_FORWARDED;
	s->nf.gate_flags = gate->flags;
	if (service && !gate_is_for_us(ctx, gate))
		return SHUNT_R_OTHER_HOST;
	if (!(gate->flags & SHUNT_GATE_EXTERNAL))
		return SHUNT_R_FORWARDED;
	return gate_is_spoofed(ctx, &s->pkt.tuple) ? SHUNT_R_SPOOFED : SHUNT_R_FORWARDED;
}

/* As gate_is_spoofed(), of a packet that is parsed anew: the fast path keeps its registers. */
static __always_inline int gate_source_is_spoofed(hook_ctx *ctx)
{
	const struct scratch *s = scratch_get();

	if (!s)
		return 0;
	rare_parse(ctx);
	return gate_is_spoofed(ctx, &s->pkt.tuple);
}

/**
 * gate_admit_other - a packet of a known flow that came in by @gate_ifindex, not by this one
 * @flow_flags: enum shunt_flow_flags
 *
 * From one external gate to another a flow may move: routes from afar do.
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_ALREADY: another flow's packet, rewritten at its own
 * gate; SHUNT_R_SPOOFED: a flow from inside.
 */
__attribute__((noinline)) int gate_admit_other(hook_ctx *ctx, __u32 flow_flags, __u32 gate_ifindex)
{
	const struct shunt_gate *came;

	if (flow_flags & SHUNT_FLOW_GATE_BOUND)
		return SHUNT_R_ALREADY;
	if (!(gate_flags(hook_ifindex(ctx)) & SHUNT_GATE_EXTERNAL))
		return SHUNT_R_FORWARDED;
	came = gate_find(gate_ifindex);
	if (came)
		return came->flags & SHUNT_GATE_EXTERNAL ? SHUNT_R_FORWARDED : SHUNT_R_SPOOFED;
	/* That gate is gone. */
	return gate_source_is_spoofed(ctx) ? SHUNT_R_SPOOFED : SHUNT_R_FORWARDED;
}

#endif
