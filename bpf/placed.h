/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_PLACED_H
#define SHUNT_BPF_PLACED_H

#include "action.h"
#include "conntrack.h"
#include "rewrite.h"
#include "scratch.h"
#include "trace.h"

/*
 * Flows without an entry: a mid-stream packet to an owned frontend (another node's flow, one that
 * was evicted, the last packet of a handshake that a flood displaced), and new flows that find
 * the table full. Each of their packets is led by the choice, which is a pure function of the
 * configuration; what the answer needs to find its way back is noted in shunt_placed, a small
 * map in which floods displace only their like. A backend that knows the connection says so
 * by an acknowledgement; then it gets an entry. One that does not resets it itself.
 *
 * The note is the narrow part of "without state". An answer cannot do without: its source alone
 * does not tell a flow of the service from a direct connection of the same client to the pod.
 */

/* Is this the answer's tuple of a flow? Then the reply key of no other may be the same. */
static __always_inline void placed_answer_tuple(const struct shunt_flow *flow,
						struct shunt_tuple *tuple)
{
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		tuple->src.word_be[w] = flow->backend_hi_be[w];
		tuple->dst.word_be[w] = flow->source_hi_be[w];
	}
	tuple->src.word_be[3] = flow->backend_lo_be;
	tuple->dst.word_be[3] = flow->source_lo_be;
	tuple->sport_be = flow->backend_port_be;
	tuple->dport_be = flow->source_port_be;
	tuple->proto = flow->proto;
	tuple->family = flow->family;
	tuple->reserved = 0;
}

static __always_inline void placed_client_tuple(const struct shunt_flow *flow,
						struct shunt_tuple *tuple)
{
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		tuple->src.word_be[w] = flow->client_hi_be[w];
		tuple->dst.word_be[w] = flow->frontend_hi_be[w];
	}
	tuple->src.word_be[3] = flow->client_lo_be;
	tuple->dst.word_be[3] = flow->frontend_lo_be;
	tuple->sport_be = flow->client_port_be;
	tuple->dport_be = flow->frontend_port_be;
	tuple->proto = flow->proto;
	tuple->family = flow->family;
	tuple->reserved = 0;
}

/**
 * placed_note - note the flow in the scratch for its answers
 * @hash: of the client's tuple
 *
 * Not if another flow, of another frontend or a direct one, has these answers.
 *
 * Return: 1, or 0.
 */
__attribute__((noinline)) int placed_note(__u64 hash)
{
	const struct shunt_settings *settings = lookup_settings();
	struct scratch *s = scratch_get();
	struct shunt_placed_clock *clock;
	__u32 zero = 0, until;

	if (!settings || !s)
		return 0;
	placed_answer_tuple(&s->flow, &s->tuple);
	if (shunt_ft_find_reply(FT, &s->tuple, SHUNT_FT_ANSWER))
		return 0;
	s->flow.life = SHUNT_F_ESTABLISHED;
	s->flow.reply_way = hash; /* a mark of the whole: a reader may see two flows mixed */
	if (bpf_map_update_elem(&shunt_placed, &s->tuple, &s->flow, BPF_ANY))
		return 0;
	clock = bpf_map_lookup_elem(&shunt_placed_clock, &zero);
	until = s->flow.seen_jiffies + settings->timeout_jiffies[SHUNT_T_CLOSING];
	if (clock && SHUNT_READ_ONCE(clock->until_jiffies) != until)
		SHUNT_WRITE_ONCE(clock->until_jiffies, until);
	return 1;
}

/* May there be a note at all? Asked for every packet that leaves and is no answer of an entry. */
static __always_inline int placed_is_used(void)
{
	const struct shunt_placed_clock *clock;
	__u32 zero = 0, until;

	clock = bpf_map_lookup_elem(&shunt_placed_clock, &zero);
	if (!clock)
		return 0;
	until = SHUNT_READ_ONCE(clock->until_jiffies);
	return until && (__s32)(until - (__u32)bpf_jiffies64()) > 0;
}

/**
 * placed_is_rewritten - was the packet in the scratch led here, at another gate?
 * @ifindex: of this gate
 */
__attribute__((noinline)) int placed_is_rewritten(__u32 ifindex)
{
	struct scratch *s = scratch_get();
	const struct shunt_flow *note;

	if (!s)
		return 0;
	s->tuple = s->pkt.tuple;
	s->tuple.src = s->pkt.tuple.dst;
	s->tuple.dst = s->pkt.tuple.src;
	s->tuple.sport_be = s->pkt.tuple.dport_be;
	s->tuple.dport_be = s->pkt.tuple.sport_be;
	note = bpf_map_lookup_elem(&shunt_placed, &s->tuple);
	return note && note->gate_ifindex != ifindex;
}

/* Puts the flow's addresses and ports into its packet. Return: as rewrite_packet(). */
static __always_inline enum shunt_reason placed_rewrite(hook_ctx *ctx, const struct scratch *s,
							__u32 family, int reverse)
{
	const int is_udp = s->pkt.tuple.proto == IPPROTO_UDP;
	struct nat nat = {};

	nat_copy(&s->flow, SHUNT_FT_REF(0u, s->flow.life), reverse, &nat);
	if (family == SHUNT_V4)
		return rewrite_ipv4(ctx, &nat, is_udp);
	return reverse ? rewrite_placed_out(ctx, &s->flow, is_udp)
		       : rewrite_placed_in(ctx, &s->flow, is_udp);
}

/**
 * placed_forward - count and rewrite a packet of a flow without an entry
 * @family: a constant
 * @reason: SHUNT_R_REPLACED, or SHUNT_R_STATELESS
 *
 * Return: @reason, or SHUNT_R_REWRITE.
 */
static __always_inline int placed_forward(hook_ctx *ctx, __u32 family, int reason)
{
	const struct scratch *s = scratch_get();

	if (!s)
		return SHUNT_R_BAD_CONFIG;
	action_count_in(ctx, s->pkt.ip_bytes, s->flow.backend, s->nf.is_syn);
	TRACE_PLACED(0);
	if (placed_rewrite(ctx, s, family, 0) != SHUNT_R_FORWARDED)
		return SHUNT_R_REWRITE;
	return reason;
}

__attribute__((noinline)) int placed_forward_v4(hook_ctx *ctx, int reason)
{
	return placed_forward(ctx, SHUNT_V4, reason);
}

__attribute__((noinline)) int placed_forward_v6(hook_ctx *ctx, int reason)
{
	return placed_forward(ctx, SHUNT_V6, reason);
}

/* Reads the note of the answer in the scratch. Return: the hash of the client's tuple, or 0. */
static __always_inline __u64 placed_find(const struct shunt_settings *settings, struct scratch *s)
{
	const struct shunt_flow *note = bpf_map_lookup_elem(&shunt_placed, &s->pkt.tuple);
	__u32 age;
	__u64 hash;

	if (!note)
		return 0;
	s->flow = *note;
	placed_client_tuple(&s->flow, &s->tuple);
	hash = shunt_table_hash(settings->table_key, &s->tuple.src, &s->tuple.dst,
				s->tuple.sport_be, s->tuple.dport_be, s->tuple.proto,
				s->tuple.family);
	age = (__u32)bpf_jiffies64() - s->flow.seen_jiffies;
	if ((__u32)hash != s->flow.reply_way ||
	    (__s32)age >= (__s32)settings->timeout_jiffies[SHUNT_T_CLOSING])
		return 0;
	return hash;
}

/**
 * placed_enter - give the flow in the scratch an entry: its backend knows it
 * @hash: of the client's tuple
 *
 * Where there is no room, or another flow has its answers now, it goes on without.
 *
 * Return: 1 if it has one.
 */
__attribute__((noinline)) int placed_enter(__u64 hash)
{
	__u32 now = bpf_jiffies64(), index, client;
	struct scratch *s = scratch_get();
	struct shunt_flow *flow;
	__u64 ref;

	if (!s)
		return 0;
	/* Asked before a way is claimed: who has his share displaces nobody. */
	client = shunt_ft_client_index(FT, &s->flow);
	if (shunt_ft_has_share(FT, client))
		return 0;
	index = shunt_ft_claim(FT, hash, now);
	flow = index == SHUNT_FT_NO_WAY ? NULL : shunt_ft_flow(FT, index);
	if (!flow)
		return 0;
	s->flow.life = SHUNT_READ_ONCE(flow->life); /* ours alone: it stays as it is */
	s->flow.seen_jiffies = now;
	s->flow.created_jiffies = now;
	s->flow.reply_way = 0;
	*flow = s->flow;
	s->flow.life = SHUNT_F_ESTABLISHED;
	if (shunt_ft_is_rival(FT, index, hash) ||
	    !shunt_ft_add_reply(FT, index, shunt_ft_reply_hash(FT, index))) {
		shunt_ft_unclaim(FT, index, hash);
		return 0;
	}
	ref = SHUNT_FT_REF(index, shunt_ft_publish(FT, flow, client, SHUNT_F_SYN_ACK));
	shunt_ft_promote(FT, ref, SHUNT_F_ESTABLISHED);
	bpf_map_delete_elem(&shunt_placed, &s->pkt.tuple);
	affinity_remember(ref, BPF_ANY);
	return 1;
}

/* Does a TCP answer with @flags show that the backend knows the connection, and goes on? */
static __always_inline int placed_is_proved(const struct packet *pkt)
{
	const __u32 looked_at = SHUNT_TCP_ACK | SHUNT_TCP_SYN | SHUNT_TCP_RST | SHUNT_TCP_FIN;

	return pkt->tuple.proto == IPPROTO_TCP && (pkt->tcp.flags & looked_at) == SHUNT_TCP_ACK;
}

/**
 * placed_prove - find the flow of the answer in the scratch, and give it an entry if it is proved
 *
 * Return: 1, with the flow in the scratch; 0: there is none.
 */
__attribute__((noinline)) int placed_prove(void)
{
	const struct shunt_settings *settings = lookup_settings();
	struct scratch *s = scratch_get();
	__u64 hash;

	if (!settings || !s)
		return 0;
	hash = placed_find(settings, s);
	if (hash && placed_is_proved(&s->pkt))
		placed_enter(hash);
	return !!hash;
}

/**
 * placed_answer - an answer to a flow without an entry, if it is one
 * @family: a constant
 *
 * Return: SHUNT_R_RESTORED, rewritten; SHUNT_R_NO_REPLY; SHUNT_R_REWRITE.
 */
static __always_inline int placed_answer(hook_ctx *ctx, __u32 family)
{
	struct scratch *s = scratch_get();

	if (!s)
		return SHUNT_R_NO_REPLY;
	__builtin_memset(&s->pkt, 0, sizeof(s->pkt));
	if (parse_linear(ctx, family, &s->pkt) != SHUNT_R_FORWARDED || !placed_prove())
		return SHUNT_R_NO_REPLY;
	action_count_out(ctx, s->pkt.ip_bytes, s->flow.backend);
	TRACE_PLACED(1);
	return placed_rewrite(ctx, s, family, 1) == SHUNT_R_FORWARDED ? SHUNT_R_RESTORED
								      : SHUNT_R_REWRITE;
}

__attribute__((noinline)) int placed_answer_v4(hook_ctx *ctx)
{
	return placed_answer(ctx, SHUNT_V4);
}

__attribute__((noinline)) int placed_answer_v6(hook_ctx *ctx)
{
	return placed_answer(ctx, SHUNT_V6);
}

#endif
