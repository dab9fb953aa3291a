/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_ANSWER_H
#define SHUNT_BPF_ANSWER_H

#include "action.h"
#include "rewrite.h"
#include "route.h"
#include "signals.h"
#include "trace.h"

/*
 * Answers of flows that do not go through the stack (route.h): restored where they come in. Without
 * `--forward redirect` their destination port is one of the reserved ones, so all other
 * packets pay one comparison.
 */

/* May a packet to @port_be be an answer that concerns ingress? */
static __always_inline int answer_may_be(const struct shunt_settings *settings, __be16 port_be)
{
	return settings->flags & SHUNT_S_ANSWERS ||
	       (__u16)(bpf_ntohs(port_be) - settings->nat_port_first) < settings->nat_port_count;
}

/* May an answer to the flow come in by this gate? A pod that reached itself has one gate. */
static __always_inline int answer_is_welcome(hook_ctx *ctx, const struct shunt_flow *flow)
{
	if (!(flow->flags & ROUTE_FLAGS))
		return 0; /* it is restored at egress */
	return !(flow->flags & SHUNT_FLOW_HAIRPIN) || flow->gate_ifindex == hook_ifindex(ctx);
}

/* Does an answer of a known flow, in the scratch, come in where its sender is not? */
static __always_inline int answer_is_spoofed(hook_ctx *ctx, const struct shunt_settings *settings)
{
	return settings->flags & SHUNT_S_EXTERNAL && gate_answer_is_spoofed(ctx);
}

/**
 * answer_open - a packet that may be an answer, at ingress
 * @family: a constant
 *
 * Return: SHUNT_R_NO_SERVICE: it is none, and untouched; otherwise the reason, with ROUTE_SENT
 * if the packet was restored, and SIGNALS_PEEK.
 */
static __always_inline __u64 answer_open(hook_ctx *ctx, __u32 family)
{
	const struct shunt_settings *settings = lookup_settings();
	struct scratch *s = scratch_get();
	struct shunt_flow *flow;
	struct nat nat = {};
	int reason;
	__u64 ref;

	if (!settings || !s)
		return SHUNT_R_BAD_CONFIG;
	__builtin_memset(&s->pkt, 0, sizeof(s->pkt));
	if (parse_linear(ctx, family, &s->pkt) != SHUNT_R_FORWARDED)
		return SHUNT_R_TRUNCATED;
	ref = shunt_ft_find_reply(FT, &s->pkt.tuple, SHUNT_FT_ANSWER);
	flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	if (!flow)
		return SHUNT_R_NO_SERVICE;
	if (answer_is_spoofed(ctx, settings))
		return SHUNT_R_SPOOFED;
	if (!answer_is_welcome(ctx, flow) || !nat_copy(flow, ref, 1, &nat))
		return SHUNT_R_NO_SERVICE;
	TRACE_FLOW(ref);
	reason = route_find(ctx, ref, 1, s->pkt.ip_bytes);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	if (conntrack_track(settings, flow, ref, &s->pkt, 1) == SHUNT_R_REFUSED)
		return SHUNT_R_REFUSED;
	action_count_out(ctx, s->pkt.ip_bytes, nat.backend);
	TRACE_REWRITE(ref, 1);
	if (rewrite_packet(ctx, &s->pkt, &nat, ref, 1) != SHUNT_R_FORWARDED)
		return SHUNT_R_REWRITE;
	return signals_result(
		route_result(nat.flags, 1) | signals_wanted(nat.flags) | SIGNALS_BACKEND, ref, 0);
}

__attribute__((noinline)) __u64 answer_v4(hook_ctx *ctx)
{
	return answer_open(ctx, SHUNT_V4);
}

__attribute__((noinline)) __u64 answer_v6(hook_ctx *ctx)
{
	return answer_open(ctx, SHUNT_V6);
}

#endif
