/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_FORWARD_H
#define SHUNT_BPF_FORWARD_H

#include "action.h"
#include "rewrite.h"
#include "route.h"
#include "signals.h"
#include "trace.h"

/**
 * forward_packet - count and rewrite a packet of the client
 * @ref:    as the lookup gave it
 * @is_new: 1: the flow's first packet
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_DIRECT: of a connection without a service, rewritten only
 * if its source port had to be translated; SHUNT_R_HELD: the record was reused under our
 * eyes, the sender's next packet decides; SHUNT_R_REWRITE; or what route.h says. With
 * SIGNALS_PEEK.
 */
static __always_inline int forward_packet(hook_ctx *ctx, const struct packet *pkt,
					  const struct shunt_flow *flow, __u64 ref, int is_new)
{
	struct nat nat = {};
	int is_direct;

	/* Before there is much to keep over a call. */
	if (flow->flags & ROUTE_FLAGS) {
		int reason = route_find(ctx, ref, 0, pkt->ip_bytes);

		if (reason != SHUNT_R_FORWARDED)
			return reason;
	}
	if (!nat_copy(flow, ref, 0, &nat))
		return SHUNT_R_HELD;
	is_direct = nat.flags & SHUNT_FLOW_DIRECT;
	if (!is_direct)
		action_count_in(ctx, pkt->ip_bytes, nat.backend, is_new);
	else if (!(nat.flags & SHUNT_FLOW_SOURCE_NAT))
		return SHUNT_R_DIRECT;
	TRACE_REWRITE(ref, 0);
	if (rewrite_packet(ctx, pkt, &nat, ref, 0) != SHUNT_R_FORWARDED)
		return SHUNT_R_REWRITE;
	if (is_direct)
		return SHUNT_R_DIRECT;
	return signals_wanted(nat.flags) |
	       (nat.flags & ROUTE_FLAGS ? route_result(nat.flags, 0) : SHUNT_R_FORWARDED);
}

#endif
