/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_RARE_H
#define SHUNT_BPF_RARE_H

#include "action.h"
#include "fragment.h"
#include "gate.h"
#include "rare_icmp.h"
#include "rare_rewrite.h"
#include "route.h"
#include "trace.h"

/*
 * Packets that parse.h does not take: behind VLAN tags, with IPv4 options or IPv6 extension
 * headers, fragments, headers in a later buffer of the frame, and ICMP. The scratch holds
 * the packet, and where its headers stand; lookup, flow table and decision are those of plain
 * packets. Kernels that lack what it takes have rare_none.h in its place.
 */

/* What rare_read() says of a packet that is to be decided: a number that no reason has. */
#define RARE_DECIDE 0xff

enum rare_how {
	RARE_ANSWER = 1 << 0, /* of the backend; else of the client */
	RARE_NEW = 1 << 1,    /* the flow's first packet */
	RARE_BACK = 1 << 2,   /* an answer at ingress, of a flow that goes past the stack */
};

/**
 * rare_send - count and rewrite the packet in the scratch, one of the flow @ref
 * @how: enum rare_how
 *
 * Return: SHUNT_R_FORWARDED or SHUNT_R_RESTORED; SHUNT_R_DIRECT; SHUNT_R_REWRITE; or the record
 * has got another tenant meanwhile: SHUNT_R_HELD, for an answer SHUNT_R_NO_REPLY, for a later
 * fragment SHUNT_R_FRAGMENT_UNKNOWN. Or what route.h says.
 */
__attribute__((noinline)) int rare_send(hook_ctx *ctx, __u64 ref, __u32 how)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	const int is_answer = how & RARE_ANSWER;
	struct scratch *s = scratch_get();
	__u32 flags, backend;

	if (!flow || !s)
		return SHUNT_R_BAD_CONFIG;
	flags = flow->flags;
	backend = flow->backend;
	if (!rare_target(flow, ref, is_answer, &s->to)) {
		if (s->at.part == PLACE_LATER)
			return SHUNT_R_FRAGMENT_UNKNOWN;
		return is_answer ? SHUNT_R_NO_REPLY : SHUNT_R_HELD;
	}
	/* Where answers of other flows are, at egress, they go on as they are. */
	if (is_answer && !(how & RARE_BACK))
		flags &= ~ROUTE_FLAGS;
	if (flags & ROUTE_FLAGS) {
		int reason = rare_route(ctx, ref, s, flags, is_answer);

		if (reason != SHUNT_R_FORWARDED)
			return reason;
	}
	if (s->at.part == PLACE_FIRST)
		fragment_note(ref, is_answer);
	if (flags & SHUNT_FLOW_DIRECT) {
		if (!(flags & SHUNT_FLOW_SOURCE_NAT))
			return SHUNT_R_DIRECT;
	} else if (is_answer) {
		action_count_out(ctx, s->pkt.ip_bytes, backend);
	} else {
		action_count_in(ctx, s->pkt.ip_bytes, backend, !!(how & RARE_NEW));
	}
	TRACE_REWRITE(ref, is_answer);
	if (rare_rewrite(ctx, s) != SHUNT_R_FORWARDED)
		return SHUNT_R_REWRITE;
	if (flags & SHUNT_FLOW_DIRECT)
		return SHUNT_R_DIRECT;
	if (flags & ROUTE_FLAGS)
		return route_result(flags, is_answer);
	return is_answer ? SHUNT_R_RESTORED : SHUNT_R_FORWARDED;
}

/**
 * rare_led - count and rewrite the packet in the scratch, one of the flow there (placed.h)
 * @reason: SHUNT_R_RESTORED for an answer, else one of its client
 * @is_new: 1: the flow's first packet
 *
 * Of fragments the first alone: the others find no flow.
 *
 * Return: @reason, or SHUNT_R_REWRITE.
 */
__attribute__((noinline)) int rare_led(hook_ctx *ctx, int reason, int is_new)
{
	const int is_answer = reason == SHUNT_R_RESTORED;
	struct scratch *s = scratch_get();

	if (!s)
		return SHUNT_R_BAD_CONFIG;
	rare_target(&s->flow, SHUNT_FT_REF(0u, s->flow.life), is_answer, &s->to);
	if (is_answer)
		action_count_out(ctx, s->pkt.ip_bytes, s->flow.backend);
	else
		action_count_in(ctx, s->pkt.ip_bytes, s->flow.backend, is_new);
	TRACE_PLACED(is_answer);
	return rare_rewrite(ctx, s) == SHUNT_R_FORWARDED ? reason : SHUNT_R_REWRITE;
}

/* Is a later fragment of an answer one that cannot come from here? */
static __always_inline int rare_back_is_spoofed(hook_ctx *ctx)
{
	const struct shunt_settings *settings = lookup_settings();

	return settings && settings->flags & SHUNT_S_EXTERNAL && gate_answer_is_spoofed(ctx);
}

/*
 * A later fragment goes where its first one went. It is no sign of life of the flow: that has
 * just had one.
 */
static __always_inline int rare_later(hook_ctx *ctx, int is_answer)
{
	__u64 ref = fragment_find(is_answer), back = 0;
	const struct shunt_flow *flow;

	/* At ingress: of an answer that goes past the stack? */
	if (!ref && !is_answer)
		ref = back = fragment_find(1);
	if (!ref)
		return SHUNT_R_FRAGMENT_UNKNOWN;
	if (ref == FRAGMENT_OVERLAPS)
		return SHUNT_R_FRAGMENT;
	TRACE_FLOW(ref);
	flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	if (!flow)
		return SHUNT_R_FRAGMENT_UNKNOWN;
	if (back && rare_back_is_spoofed(ctx))
		return SHUNT_R_SPOOFED;
	if (back)
		return flow->flags & ROUTE_FLAGS ? rare_send(ctx, ref, RARE_ANSWER | RARE_BACK)
						 : SHUNT_R_FRAGMENT_UNKNOWN;
	if (!is_answer && flow->gate_ifindex != hook_ifindex(ctx)) {
		int reason = gate_admit_other(ctx, flow->flags, flow->gate_ifindex);

		TRACE_SAID(SHUNT_TRACE_GATE, reason);
		if (reason != SHUNT_R_FORWARDED)
			return reason;
	}
	return rare_send(ctx, ref, is_answer ? RARE_ANSWER : 0);
}

/**
 * rare_read - read a frame of any form into the scratch
 * @is_answer: a constant. 0: at ingress, 1: at egress
 *
 * Return: RARE_DECIDE: a packet with ports, to be decided; otherwise nothing is left to do, and
 * this is the reason.
 */
static __always_inline int rare_read(hook_ctx *ctx, int is_answer)
{
	const struct scratch *s = scratch_get();
	int reason = rare_parse(ctx);

	if (!s)
		return SHUNT_R_BAD_CONFIG;
	if (reason != SHUNT_R_NOT_IP)
		TRACE_PARSE(&s->pkt, reason);
	TRACE_PART(s->at.part);
	if (reason == SHUNT_R_L4_PROTO)
		return rare_icmp(ctx, is_answer);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	return s->at.part == PLACE_LATER ? rare_later(ctx, is_answer) : RARE_DECIDE;
}

#endif
