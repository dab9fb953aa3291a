/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_EGRESS_H
#define SHUNT_BPF_EGRESS_H

#include "action.h"
#include "conntrack.h"
#include "lookup.h"
#include "placed.h"
#include "rare.h"
#include "rewrite.h"
#include "trace.h"

/*
 * Backend to client, after netfilter: parse -> conntrack -> rewrite -> action; packets that are
 * not of the plain form by rare.h.
 */

/**
 * egress_flow - an answer, if it is one
 *
 * Return: SHUNT_R_RESTORED or SHUNT_R_DIRECT, rewritten as needed; SHUNT_R_NO_REPLY;
 * SHUNT_R_REWRITE.
 */
static __always_inline enum shunt_reason
egress_flow(hook_ctx *ctx, const struct shunt_settings *settings, struct packet *pkt)
{
	__u64 ref = shunt_ft_find_reply(FT, &pkt->tuple, SHUNT_FT_ANSWER);
	struct shunt_flow *flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	struct nat nat = {};
	int is_direct;

	TRACE_FLOW(ref);
	if (!flow || !nat_copy(flow, ref, 1, &nat))
		return SHUNT_R_NO_REPLY;
	conntrack_track(settings, flow, ref, pkt, 1);

	is_direct = nat.flags & SHUNT_FLOW_DIRECT;
	if (!is_direct)
		action_count_out(ctx, pkt->ip_bytes, nat.backend);
	else if (!(nat.flags & SHUNT_FLOW_SOURCE_NAT))
		return SHUNT_R_DIRECT;
	TRACE_REWRITE(ref, 1);
	if (rewrite_packet(ctx, pkt, &nat, ref, 1) != SHUNT_R_FORWARDED)
		return SHUNT_R_REWRITE;
	return is_direct ? SHUNT_R_DIRECT : SHUNT_R_RESTORED;
}

/* One family's answers. */
static __always_inline int egress_family(hook_ctx *ctx, __u32 family)
{
	const struct shunt_settings *settings = lookup_settings();
	struct packet pkt = {};
	int reason;

	if (!settings)
		return SHUNT_R_BAD_CONFIG;
	reason = parse_packet(ctx, family, &pkt);
	TRACE_PARSE(&pkt, reason);
	if (reason == SHUNT_R_FORWARDED)
		reason = egress_flow(ctx, settings, &pkt);
	return reason;
}

__attribute__((noinline)) int egress_v4(hook_ctx *ctx)
{
	return egress_family(ctx, SHUNT_V4);
}

__attribute__((noinline)) int egress_v6(hook_ctx *ctx)
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
	conntrack_track(settings, flow, ref, &s->pkt, 1);
	return rare_send(ctx, ref, RARE_ANSWER);
}

static __always_inline int egress(hook_ctx *ctx)
{
	int reason = PARSE_ODD, verdict;

	TRACE_BEGIN(ctx, SHUNT_TRACE_EGRESS);
	switch (parse_family(ctx)) {
	case SHUNT_V4:
		reason = egress_v4(ctx);
		if (reason == SHUNT_R_NO_REPLY && placed_is_used())
			reason = placed_answer_v4(ctx);
		break;
	case SHUNT_V6:
		reason = egress_v6(ctx);
		if (reason == SHUNT_R_NO_REPLY && placed_is_used())
			reason = placed_answer_v6(ctx);
		break;
	}
	if (reason == PARSE_ODD)
		reason = egress_rare(ctx);
	verdict = action_finish(ctx, reason, 0);
	TRACE_FINISH(verdict);
	return verdict;
}

#endif
