/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_EGRESS_H
#define SHUNT_BPF_EGRESS_H

#include "action.h"
#include "conntrack.h"
#include "lookup.h"
#include "rewrite.h"

/* Backend to client, after netfilter: parse -> conntrack -> rewrite -> action. */

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

	if (!flow || !nat_copy(flow, ref, 1, &nat))
		return SHUNT_R_NO_REPLY;
	conntrack_track(settings, flow, ref, pkt, 1);

	is_direct = nat.flags & SHUNT_FLOW_DIRECT;
	if (!is_direct)
		action_count_out(ctx, nat.backend);
	else if (!(nat.flags & SHUNT_FLOW_SOURCE_NAT))
		return SHUNT_R_DIRECT;
	if (rewrite_packet(ctx, &pkt->tuple, &nat, ref, 1) != SHUNT_R_FORWARDED)
		return SHUNT_R_REWRITE;
	return is_direct ? SHUNT_R_DIRECT : SHUNT_R_RESTORED;
}

static __always_inline int egress(hook_ctx *ctx)
{
	const struct shunt_settings *settings = lookup_settings();
	struct packet pkt = {};
	enum shunt_reason reason;

	if (!settings)
		return HOOK_PASS; /* an array has its element 0 */
	reason = parse_packet(ctx, &pkt);
	if (reason == SHUNT_R_FORWARDED)
		reason = egress_flow(ctx, settings, &pkt);
	return action_finish(ctx, reason, 0);
}

#endif
