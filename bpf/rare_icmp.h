/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_RARE_ICMP_H
#define SHUNT_BPF_RARE_ICMP_H

#include "icmp.h"
#include "parse_any.h"
#include "rare_rewrite.h"

/*
 * ICMP errors as icmp.h has them, of any form: the error may stand behind VLAN tags and options,
 * and quote a packet with options, extension headers, or the first fragment of one. In the
 * scratch: the error as pkt and at, what it quotes as quote and quote_at.
 */

/* Where the error's own packet ends, and with it the quote, whatever padding follows. */
static __always_inline __u32 rare_icmp_end(const struct scratch *s)
{
	return s->at.l4_off + s->at.l4_bytes;
}

/* Where an ICMPv6 redirect quotes: its first option does, or the second. 0: nowhere. */
static __always_inline __u32 rare_icmp_redirect(hook_ctx *ctx, const struct scratch *s)
{
	const __u32 off = s->at.l4_off + ICMPV6_REDIRECT_QUOTE - 8;
	__u8 first[2], second;

	if (hook_load(ctx, off, first, sizeof(first)))
		return 0;
	if (first[0] == ICMPV6_OPTION_QUOTE)
		return off + 8;
	if (first[1] != 1 || hook_load(ctx, off + ICMPV6_LINK_OPTION, &second, sizeof(second)) ||
	    second != ICMPV6_OPTION_QUOTE)
		return 0;
	return off + ICMPV6_LINK_OPTION + 8;
}

/* Reads the quoted packet. Return: SHUNT_R_FORWARDED; SHUNT_R_TRUNCATED; SHUNT_R_ICMP_QUOTE. */
static __always_inline int rare_icmp_quote(hook_ctx *ctx, struct scratch *s)
{
	struct packet *quote = &s->quote;
	struct place *at = &s->quote_at;
	struct udphdr l4; /* as much as must be there */
	int reason = rare_ip(ctx, quote, at, s->pkt.tuple.family == SHUNT_V6);

	if (reason == SHUNT_R_TRUNCATED)
		return reason;
	if (reason != SHUNT_R_FORWARDED || at->part == PLACE_LATER ||
	    (quote->tuple.proto != IPPROTO_TCP && quote->tuple.proto != IPPROTO_UDP))
		return SHUNT_R_ICMP_QUOTE;
	if (at->l4_off + sizeof(l4) > rare_icmp_end(s) ||
	    hook_load(ctx, at->l4_off, &l4, sizeof(l4)))
		return SHUNT_R_TRUNCATED;
	quote->tuple.sport_be = l4.source;
	quote->tuple.dport_be = l4.dest;
	return SHUNT_R_FORWARDED;
}

/**
 * rare_icmp_read - the ICMP message in the scratch: is it about a packet?
 * @is_answer: 1: from the backend's side
 *
 * Return: enum icmp_kind << 8 | SHUNT_R_FORWARDED; SHUNT_R_L4_PROTO: no error; why not.
 */
__attribute__((noinline)) int rare_icmp_read(hook_ctx *ctx, int is_answer)
{
	struct scratch *s = scratch_get();
	enum icmp_kind kind;
	int is_v6, reason;
	__u8 type;

	if (!s)
		return SHUNT_R_BAD_CONFIG;
	is_v6 = s->pkt.tuple.family == SHUNT_V6;
	if (s->pkt.tuple.proto != (is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) ||
	    s->at.part != PLACE_WHOLE)
		return SHUNT_R_L4_PROTO;
	if (hook_load(ctx, s->at.l4_off, &type, sizeof(type)))
		return SHUNT_R_TRUNCATED;
	kind = is_v6 ? icmp_kind_v6(type) : icmp_kind_v4(type);
	if (kind == ICMP_OTHER || (kind == ICMP_IS_REDIRECT && !is_answer))
		return SHUNT_R_L4_PROTO;
	__builtin_memset(&s->quote, 0, sizeof(s->quote));
	__builtin_memset(&s->quote_at, 0, sizeof(s->quote_at));
	s->quote_at.l3_off = s->at.l4_off + sizeof(struct icmp_error);
	if (is_v6 && kind == ICMP_IS_REDIRECT)
		s->quote_at.l3_off = rare_icmp_redirect(ctx, s);
	if (!s->quote_at.l3_off)
		return SHUNT_R_ICMP_QUOTE;
	reason = rare_icmp_quote(ctx, s);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	/* Errors go to the sender of what they quote, or they are not about it. */
	if (kind == ICMP_ERROR && !rare_same_addr(&s->pkt.tuple.dst, &s->quote.tuple.src))
		return SHUNT_R_ICMP_UNKNOWN;
	return kind << 8 | SHUNT_R_FORWARDED;
}

/* Accounts for @diff in the quoted TCP or UDP checksum, if it is quoted. *@sum: as it changes. */
static __always_inline int rare_icmp_fix_l4(hook_ctx *ctx, const struct scratch *s, __u64 diff,
					    __u64 *sum)
{
	const int is_udp = s->quote.tuple.proto == IPPROTO_UDP;
	__u32 off = s->quote_at.l4_off + (is_udp ? __builtin_offsetof(struct udphdr, check)
						 : __builtin_offsetof(struct tcphdr, check));
	__u16 old, check;

	if (off + sizeof(check) > rare_icmp_end(s) || hook_load(ctx, off, &old, sizeof(old)))
		return 0;
	if (is_udp && !old)
		return 0; /* the sender left it out */
	check = csum_update(old, diff);
	if (is_udp && !check)
		check = 0xffff;
	*sum += (__u64)(__u16)~old + check;
	return hook_store(ctx, off, &check, sizeof(check));
}

/* The quoted headers become those that the error's receiver has sent. *@sum: as above. */
static __always_inline int rare_icmp_write_quote(hook_ctx *ctx, struct scratch *s, __u64 *sum)
{
	const struct shunt_tuple *from = &s->quote.tuple, *to = &s->to;
	struct shunt_tuple turned = { .src = to->dst, .dst = to->src };
	__be16 ports_be[2] = { to->dport_be, to->sport_be };
	__u64 ports =
		(__u64)(__u16)~from->sport_be + ports_be[0] + (__u16)~from->dport_be + ports_be[1];
	__u64 addrs = rare_addr_diff(from, &turned), head = 0;

	if (rare_write_addrs(ctx, &s->quote_at, from->family, &turned, addrs, &head) ||
	    hook_store(ctx, s->quote_at.l4_off, ports_be, sizeof(ports_be)))
		return -1;
	*sum += addrs + head + ports;
	return rare_icmp_fix_l4(ctx, s, addrs + ports, sum);
}

/**
 * rare_icmp_write - make the error in the scratch one of the other side
 * @ref: the flow of what it quotes; s->to has its addresses
 *
 * Each checksum makes up for what it covers, so that the sum of the whole packet stays.
 *
 * Return: SHUNT_R_FORWARDED or SHUNT_R_REWRITE.
 */
__attribute__((noinline)) int rare_icmp_write(hook_ctx *ctx)
{
	const __u32 check_off = __builtin_offsetof(struct icmp_error, checksum);
	struct scratch *s = scratch_get();
	__u64 sum = 0, outer, head = 0;
	struct shunt_tuple to = {};
	__u16 check;

	if (!s)
		return SHUNT_R_REWRITE;
	to.dst = s->to.dst;
	/* Of the other end itself, or of a router, which keeps its name. */
	to.src = rare_same_addr(&s->pkt.tuple.src, &s->quote.tuple.dst) ? s->to.src
									: s->pkt.tuple.src;
	outer = rare_addr_diff(&s->pkt.tuple, &to);
	if (rare_icmp_write_quote(ctx, s, &sum) ||
	    rare_write_addrs(ctx, &s->at, s->pkt.tuple.family, &to, outer, &head))
		return SHUNT_R_REWRITE;
	if (s->pkt.tuple.family == SHUNT_V6)
		sum += outer; /* which ICMPv6's checksum covers */
	if (hook_load(ctx, s->at.l4_off + check_off, &check, sizeof(check)))
		return SHUNT_R_REWRITE;
	check = csum_update(check, csum_fold32(sum));
	return hook_store(ctx, s->at.l4_off + check_off, &check, sizeof(check)) ? SHUNT_R_REWRITE
										: SHUNT_R_FORWARDED;
}

/**
 * rare_icmp - an ICMP message in the scratch
 * @is_answer: a constant. 0: at ingress, about what a backend sent, or, of a flow that goes past
 *	       the stack (route.h), about what a client sent; 1: at egress, about the latter
 *
 * The quoted tuple must be that of a live flow, to the letter, or the error is left alone.
 *
 * Return: as icmp_translate().
 */
static __always_inline int rare_icmp(hook_ctx *ctx, int is_answer)
{
	int reason = rare_icmp_read(ctx, is_answer);
	struct scratch *s = scratch_get();
	const struct shunt_flow *flow;
	enum icmp_kind kind = reason >> 8;
	struct shunt_tuple *tuple;
	int to_client, routed;
	__u64 ref;

	if (!s)
		return SHUNT_R_BAD_CONFIG;
	if (reason & 0xff)
		return reason;
	/* Turned round: packets that go the error's own way. */
	tuple = &s->to;
	*tuple = s->quote.tuple;
	tuple->src = s->quote.tuple.dst;
	tuple->dst = s->quote.tuple.src;
	tuple->sport_be = s->quote.tuple.dport_be;
	tuple->dport_be = s->quote.tuple.sport_be;
	TRACE_QUOTED(tuple);
	ref = is_answer ? 0 : conntrack_find(tuple, conntrack_hash(tuple));
	to_client = !ref;
	if (to_client)
		ref = shunt_ft_find_reply(FT, tuple, SHUNT_FT_ANSWER);
	TRACE_FLOW(ref);
	flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	if (!flow)
		return SHUNT_R_ICMP_UNKNOWN;
	routed = is_answer ? 0 : flow->flags & ROUTE_FLAGS;
	if (to_client && !is_answer && !routed)
		return SHUNT_R_ICMP_UNKNOWN;
	reason = icmp_admit(ctx, flow, ref, to_client, kind);
	if (reason == SHUNT_R_FORWARDED && routed)
		reason = rare_route(ctx, ref, s, routed, to_client);
	if (!rare_target(flow, ref, to_client, &s->to))
		return SHUNT_R_ICMP_UNKNOWN;
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	TRACE_REWRITE(ref, to_client);
	if (rare_icmp_write(ctx) != SHUNT_R_FORWARDED)
		return SHUNT_R_REWRITE;
	return (to_client ? SHUNT_R_ICMP_RESTORED : SHUNT_R_ICMP_FORWARDED) |
	       (routed ? ROUTE_SENT : 0);
}

#endif
