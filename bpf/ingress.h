/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_INGRESS_H
#define SHUNT_BPF_INGRESS_H

#include "action.h"
#include "answer.h"
#include "forward.h"
#include "gate.h"
#include "newflow.h"
#include "signals.h"
#include "trace.h"

#ifdef HOOK_ANY_OFFSET
#include "canned.h"
#include "rare.h"
#else
#include "rare_none.h"
#endif

/*
 * Client to backend, before netfilter: parse -> lookup -> conntrack -> (new flow: affinity,
 * variant, backend) -> rewrite -> action; packets that are not of the plain form by rare.h.
 *
 * Three functions, each with a frame of its own, called one after the other: the fast path,
 * the slow path where it is needed, and the verdict. 512 bytes of stack hold the longest
 * chain also on kernels that round each frame up to 32 bytes.
 */

/* What the fast path says to the slow one: nothing is decided, a new flow may begin. */
#define INGRESS_NEW 0xff

/* No service's, but maybe an answer that is to be restored here. */
#define INGRESS_ANSWER 0xfd

/*
 * A SYN to a flow that a RST has ended, or seemed to: does it begin a new one? For a second,
 * while a flow that lives on may show it, the SYN goes where the flow went: a forged pair of RST
 * and SYN must not lead a connection astray. Not to a backend that may get nothing new.
 */
static __always_inline int ingress_reset_is_over(const struct shunt_settings *settings,
						 const struct shunt_flow *flow)
{
	__u32 index = flow->backend, idle = (__u32)bpf_jiffies64() - flow->seen_jiffies;
	const struct shunt_backend *backend = bpf_map_lookup_elem(&shunt_backends, &index);

	if (backend && backend->flags)
		return 1;
	return (__s32)idle >= (__s32)lookup_second(settings);
}

/* Must the entry go before this packet is looked at? A closed or idle one, asked anew. */
static __always_inline int ingress_is_stale(const struct shunt_settings *settings,
					    const struct shunt_flow *flow, __u32 state,
					    const struct packet *pkt)
{
	if (pkt->tuple.proto == IPPROTO_TCP) {
		if (!parse_is_syn(pkt))
			return 0;
		if (state == SHUNT_F_CLOSED)
			return 1;
		if (shunt_ft_is_reset(state) && ingress_reset_is_over(settings, flow))
			return 1;
	}
	return shunt_ft_is_expired(FT, flow, state, bpf_jiffies64());
}

/**
 * ingress_known - a packet of a flow that is in the table
 *
 * Return: SHUNT_R_FORWARDED: to be rewritten; the reason why not; INGRESS_NEW: the entry was
 * stale or led nowhere and went, the packet begins a new flow.
 */
static __always_inline int ingress_known(hook_ctx *ctx, const struct shunt_settings *settings,
					 struct shunt_flow *flow, __u64 ref,
					 const struct packet *pkt)
{
	int reason;

	if (ingress_is_stale(settings, flow, SHUNT_LIFE_STATE(SHUNT_FT_LIFE(ref)), pkt)) {
		TRACE_STALE();
		shunt_ft_remove(FT, ref);
		return INGRESS_NEW;
	}
	if (flow->gate_ifindex != hook_ifindex(ctx)) {
		reason = gate_admit_other(ctx, flow->flags, flow->gate_ifindex);
		TRACE_SAID(SHUNT_TRACE_GATE, reason);
		if (reason != SHUNT_R_FORWARDED)
			return reason;
	}
	if (settings->flags & SHUNT_S_PACKET_LIMITS) {
		reason = limit_packets(SHUNT_FT_INDEX(ref), hook_segments(ctx), pkt->ip_bytes);
		if (reason != SHUNT_R_FORWARDED)
			return reason;
	}
	reason = conntrack_track(settings, flow, ref, pkt, 0);
	if (reason == CONNTRACK_UNANSWERED) {
		if (!reselect_find(SHUNT_FT_INDEX(ref), conntrack_hash(&pkt->tuple)))
			return SHUNT_R_FORWARDED;
		TRACE_STALE();
		shunt_ft_remove(FT, ref);
		return INGRESS_NEW;
	}
	if (reason == SHUNT_R_BACKEND_GONE &&
	    (pkt->tuple.proto == IPPROTO_UDP || parse_is_syn(pkt))) {
		TRACE_STALE();
		shunt_ft_remove(FT,
				SHUNT_FT_REF(SHUNT_FT_INDEX(ref),
					     SHUNT_LIFE_GEN(SHUNT_FT_LIFE(ref)) | SHUNT_F_CLOSED));
		return INGRESS_NEW;
	}
	return reason;
}

/* What the slow path needs of a packet without an entry goes into the scratch. */
static __always_inline __u64 ingress_hand_over(const struct packet *pkt,
					       const struct target *target, __u64 hash)
{
	struct scratch *s = scratch_get();

	if (!s)
		return SHUNT_R_BAD_CONFIG;
	s->pkt = *pkt;
	s->nf.hash = hash;
	return target_pack(target) | INGRESS_NEW;
}

/**
 * ingress_fast - packets that are not ours, and those of known flows
 * @family: a constant
 *
 * Return: the reason in the low byte; above it, for INGRESS_NEW, what lookup_target() found
 * (target_pack()), for a reject the variant in the upper half, with SIGNALS_PEEK the flow.
 */
static __always_inline __u64 ingress_fast(hook_ctx *ctx, __u32 family)
{
	const struct shunt_settings *settings = lookup_settings();
	struct target target = {};
	struct packet pkt = {};
	struct shunt_flow *flow;
	__u64 ref, hash;
	int reason;

	if (!settings)
		return SHUNT_R_BAD_CONFIG;
	reason = parse_packet(ctx, family, &pkt);
	TRACE_PARSE(&pkt, reason);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	reason = lookup_target(settings, &pkt.tuple, &target);
	TRACE_LOOKUP(&target, reason);
	if (reason != SHUNT_R_FORWARDED) {
		if (reason == SHUNT_R_NO_SERVICE && answer_may_be(settings, pkt.tuple.dport_be))
			return INGRESS_ANSWER;
		return reason;
	}

	hash = shunt_table_hash(settings->table_key, &pkt.tuple.src, &pkt.tuple.dst,
				pkt.tuple.sport_be, pkt.tuple.dport_be, pkt.tuple.proto, family);
	flow = shunt_ft_find_flow(FT, &pkt.tuple, hash, &ref);
	TRACE_FLOW(ref);
	if (!flow)
		return ingress_hand_over(&pkt, &target, hash);
	reason = ingress_known(ctx, settings, flow, ref, &pkt);
	if (reason == INGRESS_NEW)
		return target_pack(&target) | NEWFLOW_PARSE | INGRESS_NEW;
	if (reason == SHUNT_R_FORWARDED)
		reason = forward_packet(ctx, &pkt, flow, ref, 0);
	return signals_result(reason, ref, flow->variant);
}

__attribute__((noinline)) __u64 ingress_fast_v4(hook_ctx *ctx)
{
	return ingress_fast(ctx, SHUNT_V4);
}

__attribute__((noinline)) __u64 ingress_fast_v6(hook_ctx *ctx)
{
	return ingress_fast(ctx, SHUNT_V6);
}

/* As answer_open(), of the packet in the scratch, however it was parsed. */
static __always_inline int ingress_rare_answer(hook_ctx *ctx)
{
	const struct shunt_settings *settings = lookup_settings();
	struct scratch *s = scratch_get();
	struct shunt_flow *flow;
	int reason;
	__u64 ref;

	if (!settings || !s)
		return SHUNT_R_BAD_CONFIG;
	ref = shunt_ft_find_reply(FT, &s->pkt.tuple, SHUNT_FT_ANSWER);
	flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	if (!flow)
		return SHUNT_R_NO_SERVICE;
	if (answer_is_spoofed(ctx, settings))
		return SHUNT_R_SPOOFED;
	if (!answer_is_welcome(ctx, flow))
		return SHUNT_R_NO_SERVICE;
	TRACE_FLOW(ref);
	reason = rare_send(ctx, ref, RARE_ANSWER | RARE_BACK);
	if (reason & ROUTE_SENT &&
	    conntrack_track(settings, flow, ref, &s->pkt, 1) == SHUNT_R_REFUSED)
		return SHUNT_R_REFUSED;
	return reason;
}

/* A packet that is not of the plain form, read. Return: as rare_read(). */
__attribute__((noinline)) int ingress_rare_read(hook_ctx *ctx)
{
	return rare_read(ctx, 0);
}

/* The packet in the scratch, of a known flow; in a frame of its own. Return: as ingress_known(). */
__attribute__((noinline)) int ingress_rare_known(hook_ctx *ctx, __u64 ref)
{
	const struct shunt_settings *settings = lookup_settings();
	struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	const struct scratch *s = scratch_get();

	if (!settings || !flow || !s)
		return SHUNT_R_BAD_CONFIG;
	return ingress_known(ctx, settings, flow, ref, &s->pkt);
}

/**
 * ingress_rare - decide a packet that is not of the plain form, which the scratch holds
 *
 * Return: as ingress_fast(), nothing left to decide.
 */
__attribute__((noinline)) __u64 ingress_rare(hook_ctx *ctx)
{
	const struct shunt_settings *settings = lookup_settings();
	struct scratch *s = scratch_get();
	int reason, is_new = 0;
	struct target target = {};
	struct shunt_flow *flow;
	__u32 variant = 0;
	__u64 ref;

	if (!settings || !s)
		return SHUNT_R_BAD_CONFIG;
	if (answer_may_be(settings, s->pkt.tuple.dport_be)) {
		reason = ingress_rare_answer(ctx);
		if (reason != SHUNT_R_NO_SERVICE)
			return reason;
	}
	reason = lookup_target(settings, &s->pkt.tuple, &target);
	TRACE_LOOKUP(&target, reason);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	s->nf.hash = conntrack_hash(&s->pkt.tuple);
	ref = conntrack_find(&s->pkt.tuple, s->nf.hash);
	TRACE_FLOW(ref);
	flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	reason = INGRESS_NEW;
	if (flow) {
		variant = flow->variant;
		reason = ingress_rare_known(ctx, ref);
	}
	if (reason == INGRESS_NEW) {
		reason = newflow_decide(ctx, target_pack(&target));
		variant = s->nf.variant;
		ref = s->nf.ref;
		is_new = 1;
	}
	if (reason == SHUNT_R_FORWARDED && ref)
		reason = is_new ? newflow_reason(s, rare_send(ctx, ref, RARE_NEW))
				: rare_send(ctx, ref, 0);
	else if (reason == SHUNT_R_REPLACED || reason == SHUNT_R_STATELESS)
		reason = rare_led(ctx, reason, s->nf.is_syn);
	return NEWFLOW_RESULT(reason, variant);
}

/* What ingress_fast() leaves to others. */
static __always_inline __u64 ingress_slow(hook_ctx *ctx, __u32 family, __u64 result)
{
	switch (result & 0xff) {
	case INGRESS_ANSWER:
		return family == SHUNT_V6 ? answer_v6(ctx) : answer_v4(ctx);
	case PARSE_ODD:
		result = ingress_rare_read(ctx);
		return result == RARE_DECIDE ? ingress_rare(ctx) : result;
	default:
		return family == SHUNT_V6 ? newflow_open_v6(ctx, result)
					  : newflow_open_v4(ctx, result);
	}
}

static __always_inline int ingress(hook_ctx *ctx)
{
	__u32 family = parse_family(ctx);
	__u64 result = PARSE_ODD;
	int verdict, said = REQUESTS_GO_ON;

	TRACE_BEGIN(ctx, SHUNT_TRACE_INGRESS);
	if (family == SHUNT_V4)
		result = ingress_fast_v4(ctx);
	else if (family == SHUNT_V6)
		result = ingress_fast_v6(ctx);
	if ((result & 0xff) >= INGRESS_ANSWER)
		result = ingress_slow(ctx, family, result);
	if (result & SIGNALS_PEEK)
		said = signals_peek(ctx, result >> 32, !(result & SIGNALS_BACKEND));
	if (said != REQUESTS_GO_ON)
		verdict = canned_finish(ctx, result, said);
	else
		verdict = result & ROUTE_SENT ? action_send(ctx, result & 0xff)
					      : action_finish(ctx, result & 0xff, result >> 32);
	TRACE_FINISH(verdict);
	return verdict;
}

#endif
