/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_RARE_H
#define SHUNT_BPF_RARE_H

#include "action.h"
#include "fragment.h"
#include "gate.h"
#include "icmp.h"
#include "parse_any.h"
#include "rewrite.h"
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
};

/* Addresses and ports of the flow into s->to. Return: 1, or 0: it has got another tenant. */
static __always_inline int rare_target(const struct shunt_flow *flow, __u64 ref, int is_answer,
				       struct shunt_tuple *to)
{
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		to->src.word_be[w] =
			SHUNT_PICK(is_answer, flow->source_hi_be[w], flow->frontend_hi_be[w]);
		to->dst.word_be[w] =
			SHUNT_PICK(is_answer, flow->backend_hi_be[w], flow->client_hi_be[w]);
	}
	to->src.word_be[3] = SHUNT_PICK(is_answer, flow->source_lo_be, flow->frontend_lo_be);
	to->dst.word_be[3] = SHUNT_PICK(is_answer, flow->backend_lo_be, flow->client_lo_be);
	to->sport_be = SHUNT_PICK(is_answer, flow->source_port_be, flow->frontend_port_be);
	to->dport_be = SHUNT_PICK(is_answer, flow->backend_port_be, flow->client_port_be);
	return shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref));
}

/* Writes s->to's addresses into an IPv4 header. Return: the diff, or -1. */
static __always_inline __s64 rare_write_ipv4(hook_ctx *ctx, const struct scratch *s)
{
	const __u32 off = s->at.l3_off + __builtin_offsetof(struct iphdr, check);
	const struct shunt_tuple *from = &s->pkt.tuple, *to = &s->to;
	struct {
		__u16 check;
		__be16 addrs_be[4];
	} tail; /* of the header */
	__u64 diff;

	if (hook_load(ctx, off, &tail.check, sizeof(tail.check)))
		return -1;
	diff = csum_diff_word(0, from->src.word_be[3], to->src.word_be[3]);
	diff = csum_diff_word(diff, from->dst.word_be[3], to->dst.word_be[3]);
	tail.check = csum_update(tail.check, diff);
	__builtin_memcpy(&tail.addrs_be[0], &to->src.word_be[3], sizeof(__be32));
	__builtin_memcpy(&tail.addrs_be[2], &to->dst.word_be[3], sizeof(__be32));
	if (hook_store(ctx, off, &tail, sizeof(tail)))
		return -1;
	return csum_fold32(diff);
}

/* As rare_write_ipv4(). Of a later fragment no checksum makes up for the addresses. */
static __always_inline __s64 rare_write_ipv6(hook_ctx *ctx, const struct scratch *s)
{
	const __u32 off = s->at.l3_off + __builtin_offsetof(struct ipv6hdr, saddr);
	const __u32 len = 2 * sizeof(struct shunt_addr);
	__u64 diff = 0;

	_Static_assert(__builtin_offsetof(struct shunt_tuple, dst) == sizeof(struct shunt_addr),
		       "both addresses, as in the header");
#pragma GCC unroll 4
	for (int w = 0; w < 4; w++) {
		diff = csum_diff_word(diff, s->pkt.tuple.src.word_be[w], s->to.src.word_be[w]);
		diff = csum_diff_word(diff, s->pkt.tuple.dst.word_be[w], s->to.dst.word_be[w]);
	}
	if (s->at.part == PLACE_LATER ? hook_store_summed(ctx, off, &s->to.src, len)
				      : hook_store(ctx, off, &s->to.src, len))
		return -1;
	return csum_fold32(diff);
}

/* Makes the packet in the scratch one of s->to, whereever its headers stand. */
static __always_inline int rare_rewrite(hook_ctx *ctx, const struct scratch *s)
{
	const int is_v6 = s->pkt.tuple.family == SHUNT_V6;
	__s64 diff = is_v6 ? rare_write_ipv6(ctx, s) : rare_write_ipv4(ctx, s);
	__u64 ports;

	if (diff < 0)
		return SHUNT_R_REWRITE;
	if (s->at.part == PLACE_LATER)
		return SHUNT_R_FORWARDED;
	_Static_assert(__builtin_offsetof(struct shunt_tuple, dport_be) ==
			       __builtin_offsetof(struct shunt_tuple, sport_be) + sizeof(__be16),
		       "both ports, as in the header");
	ports = (__u64)(__u16)~s->pkt.tuple.sport_be + s->to.sport_be +
		(__u16)~s->pkt.tuple.dport_be + s->to.dport_be;
	if (hook_store(ctx, s->at.l4_off, &s->to.sport_be, 2 * sizeof(__be16)) ||
	    hook_fix_l4_csum_any(ctx, s->at.l4_off, is_v6, diff, ports,
				 s->pkt.tuple.proto == IPPROTO_UDP))
		return SHUNT_R_REWRITE;
	return SHUNT_R_FORWARDED;
}

/**
 * rare_send - count and rewrite the packet in the scratch, one of the flow @ref
 * @how: enum rare_how
 *
 * Return: SHUNT_R_FORWARDED or SHUNT_R_RESTORED; SHUNT_R_DIRECT; SHUNT_R_REWRITE; or the record
 * has got another tenant meanwhile: SHUNT_R_HELD, for an answer SHUNT_R_NO_REPLY, for a later
 * fragment SHUNT_R_FRAGMENT_UNKNOWN.
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
	return rare_rewrite(ctx, s) == SHUNT_R_FORWARDED ? reason : SHUNT_R_REWRITE;
}

/*
 * A later fragment goes where its first one went. It is no sign of life of the flow: that has
 * just had one.
 */
static __always_inline int rare_later(hook_ctx *ctx, int is_answer)
{
	__u64 ref = fragment_find(is_answer);
	const struct shunt_flow *flow;

	if (!ref)
		return SHUNT_R_FRAGMENT_UNKNOWN;
	if (ref == FRAGMENT_OVERLAPS)
		return SHUNT_R_FRAGMENT;
	TRACE_FLOW(ref);
	flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	if (!flow)
		return SHUNT_R_FRAGMENT_UNKNOWN;
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
		return rare_icmp(ctx, &s->at, s->pkt.tuple.family, is_answer);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	return s->at.part == PLACE_LATER ? rare_later(ctx, is_answer) : RARE_DECIDE;
}

#endif
