/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_EGRESS_H
#define SHUNT_BPF_EGRESS_H

#include "action.h"
#include "conntrack.h"
#include "lookup.h"
#include "placed.h"
#include "rare.h"
#include "rewrite.h"
#include "signals.h"
#include "trace.h"

/*
 * Backend to client, after netfilter: parse -> conntrack -> rewrite -> action; packets that are
 * not of the plain form by rare.h.
 */

/**
 * egress_flow - an answer, if it is one
 *
 * Return: SHUNT_R_RESTORED, with SIGNALS_PEEK, or SHUNT_R_DIRECT, rewritten as needed;
 * SHUNT_R_NO_REPLY; SHUNT_R_REWRITE.
 */
static __always_inline __u64 egress_flow(hook_ctx *ctx, const struct shunt_settings *settings,
					 struct packet *pkt)
{
	__u64 ref = shunt_ft_find_reply(FT, &pkt->tuple, SHUNT_FT_ANSWER);
	struct shunt_flow *flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	struct nat nat = {};
	int is_direct;

	TRACE_FLOW(ref);
	if (!flow || !nat_copy(flow, ref, 1, &nat))
		return SHUNT_R_NO_REPLY;
	if (conntrack_track(settings, flow, ref, pkt, 1) == SHUNT_R_REFUSED)
		return SHUNT_R_REFUSED;

	is_direct = nat.flags & SHUNT_FLOW_DIRECT;
	if (!is_direct)
		action_count_out(ctx, pkt->ip_bytes, nat.backend);
	else if (!(nat.flags & SHUNT_FLOW_SOURCE_NAT))
		return SHUNT_R_DIRECT;
	TRACE_REWRITE(ref, 1);
	if (rewrite_packet(ctx, pkt, &nat, ref, 1) != SHUNT_R_FORWARDED)
		return SHUNT_R_REWRITE;
	if (is_direct)
		return SHUNT_R_DIRECT;
	return signals_result(SHUNT_R_RESTORED | signals_wanted(nat.flags), ref, 0);
}

/* One family's answers. */
static __always_inline __u64 egress_family(hook_ctx *ctx, __u32 family)
{
	const struct shunt_settings *settings = lookup_settings();
	struct packet pkt = {};
	int reason;

	if (!settings)
		return SHUNT_R_BAD_CONFIG;
	reason = parse_packet(ctx, family, &pkt);
	TRACE_PARSE(&pkt, reason);
	return reason == SHUNT_R_FORWARDED ? egress_flow(ctx, settings, &pkt) : (__u64)reason;
}

__attribute__((noinline)) __u64 egress_v4(hook_ctx *ctx)
{
	return egress_family(ctx, SHUNT_V4);
}

__attribute__((noinline)) __u64 egress_v6(hook_ctx *ctx)
{
	return egress_family(ctx, SHUNT_V6);
}

/* An answer that is not of the plain form. */
__attribute__((noinline)) int egress_rare(hook_ctx *ctx)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct scratch *s = scratch_get();
	int reason = rare_read(ctx, 1);
	struct shunt_flow *flow;
	__u64 ref;

	if (reason != RARE_DECIDE)
		return reason;
	if (!settings || !s)
		return SHUNT_R_BAD_CONFIG;
	ref = shunt_ft_find_reply(FT, &s->pkt.tuple, SHUNT_FT_ANSWER);
	TRACE_FLOW(ref);
	flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	if (!flow)
		return placed_is_used() && placed_prove() ? rare_led(ctx, SHUNT_R_RESTORED, 0)
							  : SHUNT_R_NO_REPLY;
	if (conntrack_track(settings, flow, ref, &s->pkt, 1) == SHUNT_R_REFUSED)
		return SHUNT_R_REFUSED;
	return rare_send(ctx, ref, RARE_ANSWER);
}

static __always_inline int egress(hook_ctx *ctx)
{
	__u64 result = PARSE_ODD;
	int verdict;

	TRACE_BEGIN(ctx, SHUNT_TRACE_EGRESS);
	switch (parse_family(ctx)) {
	case SHUNT_V4:
		result = egress_v4(ctx);
		if (result == SHUNT_R_NO_REPLY && placed_is_used())
			result = placed_answer_v4(ctx);
		break;
	case SHUNT_V6:
		result = egress_v6(ctx);
		if (result == SHUNT_R_NO_REPLY && placed_is_used())
			result = placed_answer_v6(ctx);
		break;
	}
	if (result == PARSE_ODD)
		result = egress_rare(ctx);
	if (result & SIGNALS_PEEK && signals_peek(ctx, result >> 32, 0))
		result = SHUNT_R_REQUEST_BEHIND;
	verdict = action_finish(ctx, result & 0xff, 0);
	TRACE_FINISH(verdict);
	return verdict;
}

#endif
