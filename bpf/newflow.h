/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_NEWFLOW_H
#define SHUNT_BPF_NEWFLOW_H

#include "answer.h"
#include "conntrack.h"
#include "forward.h"
#include "gate.h"
#include "limit.h"
#include "lookup.h"
#include "newsplit.h"
#include "placed.h"
#include "route.h"
#include "scratch.h"
#include "trace.h"

/*
 * The slow path: a packet to a frontend or a known backend that has no entry. Kept out of
 * line, so that the fast path stays short and its registers free.
 */

#define NEWFLOW_PORT_TRIES 8 /* source ports tried for a flow whose reply key is taken */

/* What newflow_open() says: the reason, and the variant whose share it belongs to. */
#define NEWFLOW_RESULT(reason, variant) ((__u64)(variant) << 32 | (reason))

/* Nothing is led anywhere that no connection sends, or whose frontend has no choice any more. */
static __always_inline int newflow_may_replace(const struct scratch *s, __u32 service_flags)
{
	return (s->pkt.tcp.flags & (SHUNT_TCP_SYN | SHUNT_TCP_ACK)) == SHUNT_TCP_ACK &&
	       !(service_flags & SHUNT_SVC_RELEASED);
}

/**
 * newflow_admit - may this packet begin a flow?
 *
 * Return: SHUNT_R_FORWARDED to go on; SHUNT_R_REPLACED to go on without an entry; or the reason
 * that ends it.
 */
static __always_inline enum shunt_reason newflow_admit(const struct shunt_settings *settings,
						       struct scratch *s, __u32 service_flags)
{
	const struct shunt_flow *flow = NULL;
	__u64 ref = 0;

	/* A rewritten packet is addressed to a known backend, so most need no second look. */
	if (s->nf.target.is_backend)
		ref = shunt_ft_find_reply(FT, &s->pkt.tuple, SHUNT_FT_REWRITTEN);
	if (ref)
		flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	/* At a later gate than its own: its own never sees it again. */
	if (flow ? flow->gate_ifindex != s->nf.ifindex
		 : s->nf.target.is_backend && placed_is_used() &&
			    placed_is_rewritten(s->nf.ifindex))
		return SHUNT_R_ALREADY;
	if (flow)
		s->nf.flags |= SHUNT_FLOW_GATE_BOUND;
	if (s->pkt.tuple.proto == IPPROTO_TCP && !s->nf.is_syn) {
		if (!s->nf.target.service)
			return SHUNT_R_DIRECT;
		if (!(service_flags & SHUNT_SVC_OWNED))
			return SHUNT_R_MIDSTREAM_SHARED;
		if (settings->flags & SHUNT_S_HOLD)
			return SHUNT_R_HELD;
		return newflow_may_replace(s, service_flags) ? SHUNT_R_REPLACED
							     : SHUNT_R_MIDSTREAM_OWNED;
	}
	if (settings->flags & SHUNT_S_HOLD)
		return SHUNT_R_HELD;
	if (!s->nf.target.service)
		return SHUNT_R_FORWARDED;
	if (service_flags & SHUNT_SVC_RELEASED)
		return SHUNT_R_RELEASED;
	return settings->flags & SHUNT_S_DRAIN ? SHUNT_R_DRAINING : SHUNT_R_FORWARDED;
}

/* The chosen backend's address into s->nf. */
static __always_inline enum shunt_reason newflow_resolve(struct scratch *s)
{
	const struct shunt_backend *backend =
		bpf_map_lookup_elem(&shunt_backends, &s->nf.backend_index);

	if (!backend || backend->family != s->pkt.tuple.family)
		return SHUNT_R_BAD_CONFIG;
	s->nf.backend = backend->addr;
	s->nf.backend_port_be = backend->port_be;
	return SHUNT_R_FORWARDED;
}

/* The second line, of IPv6 flows only: it would be one more cache miss. */
static __always_inline void newflow_fill_hi(struct shunt_flow *flow, const struct scratch *s)
{
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		flow->client_hi_be[w] = s->pkt.tuple.src.word_be[w];
		flow->frontend_hi_be[w] = s->pkt.tuple.dst.word_be[w];
		flow->backend_hi_be[w] = s->nf.backend.word_be[w];
		flow->source_hi_be[w] = s->nf.source.word_be[w];
	}
}

/* Fills the claimed record; its life stays FREE, so nobody reads it yet. */
static __always_inline void newflow_fill(struct shunt_flow *flow, const struct scratch *s)
{
	flow->seen_jiffies = s->nf.now;
	flow->client_lo_be = s->pkt.tuple.src.word_be[3];
	flow->frontend_lo_be = s->pkt.tuple.dst.word_be[3];
	flow->backend_lo_be = s->nf.backend.word_be[3];
	flow->source_lo_be = s->nf.source.word_be[3];
	flow->client_port_be = s->pkt.tuple.sport_be;
	flow->frontend_port_be = s->pkt.tuple.dport_be;
	flow->backend_port_be = s->nf.backend_port_be;
	flow->source_port_be = s->pkt.tuple.sport_be;
	flow->proto = s->pkt.tuple.proto;
	flow->family = s->pkt.tuple.family;
	flow->flags = s->nf.flags;
	flow->backend = s->nf.backend_index;
	flow->variant = s->nf.variant;
	flow->service = s->nf.target.service;
	flow->created_jiffies = s->nf.now;
	flow->gate_ifindex = s->nf.ifindex;
	flow->reply_way = 0;
	flow->backend_isn = 0;
	/* In the second line, too, and read of these only. */
	if (s->nf.flags & SHUNT_FLOW_IN_FLIGHT)
		flow->client_way = s->nf.client_way;
	if (s->pkt.tuple.family == SHUNT_V6)
		newflow_fill_hi(flow, s);
}

/* The n-th source port to try for a flow whose own is taken. */
static __always_inline __be16 newflow_port(const struct shunt_settings *settings, __u64 hash,
					   __u32 attempt)
{
	__u32 count = settings->nat_port_count;
	__u32 offset = ((__u32)shunt_mix64(hash + attempt) & 0xffff) * count >> 16;

	return bpf_htons(settings->nat_port_first + offset);
}

/**
 * newflow_add_reply - enter the reply key, with a translated source port if it is taken
 * @index: of the filled flow, whose source port is the client's
 * @hash:  of the client's tuple: where the search for a port begins
 * @reply: of its reply key
 *
 * Taken: another frontend's or a direct flow of this client port to this backend is alive. A flow
 * whose source address is translated always gets one of the reserved ports, by which its
 * answers are known at ingress.
 *
 * Return: 1, or 0 when all tries failed.
 */
__attribute__((noinline)) int newflow_add_reply(__u32 index, __u64 hash, __u64 reply)
{
	const struct shunt_settings *settings = lookup_settings();
	struct shunt_flow *flow = shunt_ft_flow(FT, index);

	if (!settings || !flow)
		return 0;
	if (!(flow->flags & SHUNT_FLOW_SOURCE_NAT) && shunt_ft_add_reply(FT, index, reply))
		return 1;
	flow->flags |= SHUNT_FLOW_SOURCE_NAT;
#pragma GCC unroll 8
	for (__u32 attempt = 0; attempt < NEWFLOW_PORT_TRIES; attempt++) {
		flow->source_port_be = newflow_port(settings, hash, attempt);
		if (shunt_ft_add_reply(FT, index, shunt_ft_reply_hash(FT, index)))
			return 1;
	}
	return 0;
}

/* Of how many new flows one looks after its set, as a power of two. */
#define NEWFLOW_SWEEP_BITS 3

/*
 * Ends expired flows while the agent may be dead: one new flow in eight looks at all flows of the
 * set that it came to, which is any one, for sets are found by a keyed hash.
 */
static __always_inline void newflow_sweep(const struct scratch *s)
{
	__u32 turn = (__u32)(s->nf.hash >> 32) ^ s->nf.now;

	/* The lowest two bits of this half are no part of a tag. */
	if (!(turn & ((1 << NEWFLOW_SWEEP_BITS) - 1)))
		shunt_ft_sweep(FT, shunt_ft_set_index(FT, s->nf.hash), ~s->nf.ways & 0xffff,
			       s->nf.now);
}

#define NEWFLOW_FAR_SETS 32 /* that a refusal sweeps: 4 us, once a jiffy and CPU at most */

/* Ends the expired flows of the @n-th set, cyclically. */
__attribute__((noinline)) __u32 newflow_sweep_set(__u32 n, __u32 now)
{
	__u32 set_index = shunt_ft_set_index(FT, n);

	return shunt_ft_sweep(FT, set_index, ~shunt_ft_survey(FT, set_index) & 0xffff, now);
}

/*
 * A service has as many connections as it may: those whose clients went without a word must end
 * some time, also without the agent, and also where nobody else begins flows. Each refusal looks
 * at some sets more. Return: how many flows ended.
 */
__attribute__((noinline)) __u32 newflow_sweep_far(void)
{
	struct scratch *s = scratch_get();
	__u32 n, now, ended = 0;

	if (!s || s->swept_jiffies == s->nf.now)
		return 0;
	now = s->nf.now;
	n = s->sweep_set;
	s->swept_jiffies = now;
	s->sweep_set = n + NEWFLOW_FAR_SETS;
#pragma GCC unroll 32
	for (__u32 i = 0; i < NEWFLOW_FAR_SETS; i++) {
		ended += newflow_sweep_set(n++, now);
		/* One after the other: clang would make all numbers first, and spill them. */
		asm volatile("" : "+r"(n));
	}
	return ended;
}

/* May the decided flow begin, as far as its service's policy says? @is_replaced: it does not. */
static __always_inline enum shunt_reason newflow_limit(hook_ctx *ctx, struct scratch *s,
						       int is_replaced)
{
	enum shunt_reason reason = limit_behind(hook_segments(ctx), s->pkt.ip_bytes, !is_replaced);

	if (reason == SHUNT_R_FORWARDED && !is_replaced) {
		reason = limit_enter();
		if (reason != SHUNT_R_FORWARDED && newflow_sweep_far())
			reason = limit_enter();
		if (s->limited.asked)
			limit_told(reason != SHUNT_R_FORWARDED);
	}
	if (reason != SHUNT_R_FORWARDED)
		TRACE_SAID(SHUNT_TRACE_ADMIT, reason);
	return reason;
}

/*
 * What is noted of the SYN until it is answered. This CPU's first of each jiffy is timed: the clock
 * costs 20 ns, a tenth of a new flow, and as much again when the answer comes.
 */
static __always_inline __u32 newflow_mark(struct scratch *s)
{
	__u64 now_ns = 0;

	if (s->timed_jiffies != s->nf.now) {
		s->timed_jiffies = s->nf.now;
		now_ns = bpf_ktime_get_ns();
	}
	return shunt_syn_mark(s->pkt.tcp.seq, now_ns);
}

/**
 * newflow_track - enter the flow into the table
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_TABLE_FULL; SHUNT_R_CLIENT_SHARE; SHUNT_R_NO_PORT;
 * SHUNT_R_HELD when another
 * CPU makes the same flow right now: the next packet finds it.
 */
static __always_inline enum shunt_reason newflow_track(struct scratch *s)
{
	struct shunt_flow *flow;
	__u32 index, life;

	if (shunt_ft_has_share(FT, s->nf.client))
		return SHUNT_R_CLIENT_SHARE;
	index = shunt_ft_claim(FT, s->nf.hash, s->nf.now);
	flow = index == SHUNT_FT_NO_WAY ? NULL : shunt_ft_flow(FT, index);
	if (!flow)
		return SHUNT_R_TABLE_FULL;
	newflow_fill(flow, s);
	if (s->nf.flags & SHUNT_FLOW_TCP)
		flow->backend_isn = newflow_mark(s);
	if (shunt_ft_is_rival(FT, index, s->nf.hash)) {
		shunt_ft_unclaim(FT, index, s->nf.hash);
		return SHUNT_R_HELD;
	}
	if (!newflow_add_reply(index, s->nf.hash, s->nf.reply_hash)) {
		shunt_ft_unclaim(FT, index, s->nf.hash);
		return SHUNT_R_NO_PORT;
	}
	life = shunt_ft_publish(FT, flow, s->nf.client,
				s->pkt.tuple.proto == IPPROTO_TCP ? SHUNT_F_SYN : SHUNT_F_UDP_NEW);
	s->nf.ref = SHUNT_FT_REF(index, life);
	newflow_sweep(s);
	return SHUNT_R_FORWARDED;
}

/* Notes the decided flow for its answers. Return: @reason, or @otherwise if that cannot be. */
static __always_inline enum shunt_reason newflow_place(struct scratch *s, enum shunt_reason reason,
						       enum shunt_reason otherwise)
{
	/* Answers to a translated source are known by the entry alone. */
	if (s->nf.flags & (SHUNT_FLOW_HAIRPIN | SHUNT_FLOW_SOURCE_NAT))
		return otherwise;
	s->nf.flags &= ~(SHUNT_FLOW_REDIRECT | SHUNT_FLOW_TCP);
	newflow_fill(&s->flow, s);
	newflow_fill_hi(&s->flow, s); /* the scratch has had other tenants */
	s->flow.client_way = 0;
	s->flow.client_fin = 0;
	s->flow.backend_fin = 0;
	return placed_note(s->nf.hash) ? reason : otherwise;
}

/*
 * The table has no room. A datagram is led by the choice each time; a connection only where its
 * later packets are, too: on an owned frontend.
 */
static __always_inline enum shunt_reason newflow_full(struct scratch *s, __u32 service_flags)
{
	if (s->pkt.tuple.proto == IPPROTO_TCP && !(service_flags & SHUNT_SVC_OWNED))
		return SHUNT_R_TABLE_FULL;
	return newflow_place(s, SHUNT_R_STATELESS, SHUNT_R_TABLE_FULL);
}

/* A connection to a known backend without a service: the marker is its own translation. */
static __always_inline enum shunt_reason newflow_direct(const struct shunt_settings *settings,
							struct scratch *s)
{
	enum shunt_reason reason;

	s->nf.flags |= SHUNT_FLOW_DIRECT;
	s->nf.backend = s->pkt.tuple.dst;
	s->nf.backend_port_be = s->pkt.tuple.dport_be;
	newflow_look(settings, s);
	newflow_look_reply(settings, s);
	/* Without room for a marker it goes on as if we were not here. */
	reason = newflow_track(s);
	TRACE_ENTRY(s->nf.ref, reason);
	return reason == SHUNT_R_FORWARDED ? reason : SHUNT_R_DIRECT;
}

/* What the stages note of a flow, but for its hash, as it is before the first of them. */
static __always_inline void newflow_begin(hook_ctx *ctx, struct scratch *s, __u64 target)
{
	target_unpack(target, &s->nf.target);
	s->nf.ref = 0;
	s->nf.variant = 0;
	s->nf.backend_index = 0;
	s->nf.flags = 0;
	s->nf.gate_flags = 0;
	s->nf.policy = 0;
	s->nf.failed = 0;
	s->nf.client_way = 0;
	s->nf.is_by_stack = 0;
	s->nf.ifindex = hook_ifindex(ctx);
	s->nf.source = s->pkt.tuple.src;
	s->nf.now = bpf_jiffies64();
	s->nf.is_syn = parse_is_syn(&s->pkt);
}

/*
 * Where the flow in the scratch goes, past whom is ejected or under an open breaker. Packets of a
 * connection without an entry (@is_replaced) go where it went, for that goes on.
 */
static __always_inline enum shunt_reason newflow_backend(const struct shunt_settings *settings,
							 struct scratch *s,
							 const struct shunt_service_slot *service,
							 __u64 seed, int is_replaced)
{
	enum shunt_reason reason = newflow_split(settings, s, service, seed);
	__u32 variant;

	if (reason != SHUNT_R_FORWARDED || is_replaced)
		return reason;
	if (service->flags & SHUNT_SVC_EJECT)
		newflow_avoid();
	if (!(service->flags & SHUNT_SVC_BREAKER))
		return reason;
	variant = s->nf.variant;
	reason = newflow_guard();
	if (reason == SHUNT_R_FORWARDED && variant != s->nf.variant)
		newflow_avoid(); /* the fallback's backend may be ejected, too */
	return reason;
}

/**
 * newflow_decide - decide the packet in the scratch, which has no entry; make one
 * @target: as target_pack() made it
 *
 * However the packet was parsed, and of whichever family it is. The hash of its tuple is there,
 * too.
 *
 * Return: SHUNT_R_FORWARDED and the flow in the scratch; SHUNT_R_REPLACED or SHUNT_R_STATELESS, and
 * one without an entry there; or why not.
 */
__attribute__((noinline)) int newflow_decide(hook_ctx *ctx, __u64 target)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_service_slot *service = NULL;
	struct scratch *s = scratch_get();
	enum shunt_reason reason;
	int is_replaced;
	__u64 seed = 0;

	if (!settings || !s)
		return SHUNT_R_BAD_CONFIG;
	newflow_begin(ctx, s, target);
	reason = gate_admit_new(ctx, s->nf.target.service);
	TRACE_SAID(SHUNT_TRACE_GATE, reason);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	if (s->nf.target.service) {
		service = lookup_service(&s->nf.target, &seed, &s->nf.policy);
		if (!service)
			return SHUNT_R_BAD_CONFIG;
	}
	reason = newflow_admit(settings, s, service ? service->flags : 0);
	TRACE_SAID(SHUNT_TRACE_ADMIT, reason);
	if (reason != SHUNT_R_FORWARDED && reason != SHUNT_R_REPLACED)
		return reason;

	is_replaced = reason == SHUNT_R_REPLACED;
	if (s->nf.policy)
		limit_begin(s);
	if (s->nf.policy && !is_replaced) {
		reason = limit_before(s->nf.policy);
		TRACE_SAID(SHUNT_TRACE_ADMIT, reason);
		if (reason != SHUNT_R_FORWARDED)
			return reason;
	}
	/* The pointer itself is to be tested: kernel 6.1 forgets what clang would test instead. */
	SHUNT_OPAQUE_CASE(service, 0);
	if (!service)
		return newflow_direct(settings, s);
	reason = newflow_backend(settings, s, service, seed, is_replaced);
	if (reason == SHUNT_R_FORWARDED)
		reason = newflow_resolve(s);
	if (reason == SHUNT_R_FORWARDED) {
		newflow_look_reply(settings, s);
		reason = route_plan(ctx);
	}
	if (reason == SHUNT_R_FORWARDED && s->nf.policy)
		reason = newflow_limit(ctx, s, is_replaced);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	if (is_replaced)
		return newflow_place(s, SHUNT_R_REPLACED, SHUNT_R_MIDSTREAM_OWNED);
	reason = newflow_track(s);
	if (reason != SHUNT_R_FORWARDED && s->nf.flags & SHUNT_FLOW_IN_FLIGHT)
		limit_leave();
	if (reason == SHUNT_R_TABLE_FULL)
		reason = newflow_full(s, service->flags);
	TRACE_ENTRY(s->nf.ref, reason);
	return reason;
}

/* The reason for a new flow's first packet: does it go by the stack against what is asked for? */
static __always_inline int newflow_reason(const struct scratch *s, int reason)
{
	return reason == SHUNT_R_FORWARDED && s->nf.is_by_stack ? SHUNT_R_BY_STACK : reason;
}

/* In a target's word: of a packet whose flow's entry has just gone. */
#define NEWFLOW_PARSE (1u << 10)

/* Parses a packet again, into the scratch. Return: 0, or -1: it is cut short. */
static __always_inline int newflow_parse(hook_ctx *ctx, __u32 family, struct scratch *s)
{
	__builtin_memset(&s->pkt, 0, sizeof(s->pkt));
	if (parse_linear(ctx, family, &s->pkt) != SHUNT_R_FORWARDED)
		return -1;
	s->nf.hash = conntrack_hash(&s->pkt.tuple);
	return 0;
}

/**
 * newflow_open - decide the packet in the scratch, without an entry; make one, and rewrite it
 * @family: a constant
 * @target: as target_pack() made it; with NEWFLOW_PARSE if the packet is not in the scratch
 *
 * Return: NEWFLOW_RESULT.
 */
static __always_inline __u64 newflow_open(hook_ctx *ctx, __u32 family, __u64 target)
{
	const struct shunt_settings *settings = lookup_settings();
	struct scratch *s = scratch_get();
	const struct shunt_flow *flow;
	__u64 answer;
	int reason;

	if (!settings || !s)
		return SHUNT_R_BAD_CONFIG;
	if (target & NEWFLOW_PARSE && newflow_parse(ctx, family, s))
		return SHUNT_R_TRUNCATED;
	s->at.l3_off = sizeof(struct ethhdr);
	/* A service, or a pod's port, may stand where a translated flow has its source. */
	if (answer_may_be(settings, s->pkt.tuple.dport_be)) {
		answer = family == SHUNT_V6 ? answer_v6(ctx) : answer_v4(ctx);
		if (answer != SHUNT_R_NO_SERVICE)
			return answer;
	}
	reason = newflow_decide(ctx, target);
	flow = s->nf.ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(s->nf.ref)) : NULL;
	/* What begins a connection has no payload. */
	if (reason == SHUNT_R_FORWARDED && flow)
		reason = newflow_reason(s, forward_packet(ctx, &s->pkt, flow, s->nf.ref, 1) &
						   ~SIGNALS_PEEK);
	else if (reason == SHUNT_R_REPLACED || reason == SHUNT_R_STATELESS)
		reason = family == SHUNT_V6 ? placed_forward_v6(ctx, reason)
					    : placed_forward_v4(ctx, reason);
	return NEWFLOW_RESULT(reason, s->nf.variant);
}

__attribute__((noinline)) __u64 newflow_open_v4(hook_ctx *ctx, __u64 target)
{
	return newflow_open(ctx, SHUNT_V4, target);
}

__attribute__((noinline)) __u64 newflow_open_v6(hook_ctx *ctx, __u64 target)
{
	return newflow_open(ctx, SHUNT_V6, target);
}

#endif
