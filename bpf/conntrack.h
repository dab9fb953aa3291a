/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_CONNTRACK_H
#define SHUNT_BPF_CONNTRACK_H

#include "affinity.h"
#include "connections.h"
#include "flowmem.h"
#include "guard.h"
#include "parse.h"
#include "reselect.h"

/* The hash of a client's tuple, in a frame of its own: for the slow paths. */
__attribute__((noinline)) __u64 conntrack_hash(const struct shunt_tuple *tuple)
{
	const struct shunt_settings *settings = shunt_ft_settings(FT);

	if (!settings || !tuple)
		return 0;
	return shunt_table_hash(settings->table_key, &tuple->src, &tuple->dst, tuple->sport_be,
				tuple->dport_be, tuple->proto, tuple->family);
}

/* The flow that a client's packet belongs to, likewise. @hash: conntrack_hash(). */
__attribute__((noinline)) __u64 conntrack_find(const struct shunt_tuple *tuple, __u64 hash)
{
	return tuple ? shunt_ft_find(FT, tuple, hash) : 0;
}

/*
 * What a translation needs of a flow, copied out while the record was known to be its own.
 * Of IPv6 addresses only the low words: rewrite_ipv6() reads the rest in a frame of its own.
 */
struct nat {
	__be32 src_lo_be; /* the new addresses and ports of the packet */
	__be32 dst_lo_be;
	__be16 sport_be;
	__be16 dport_be;
	__u32 flags;   /* enum shunt_flow_flags */
	__u32 backend; /* index, for the counters; 0 for a direct flow */
};

/**
 * nat_copy - what a packet of a flow becomes
 * @ref:     as the lookup gave it
 * @reverse: 0: the client's packet, source -> backend; 1: an answer, frontend -> client
 *
 * Return: 1, or 0 if the record has got another tenant meanwhile.
 */
static __always_inline int nat_copy(const struct shunt_flow *flow, __u64 ref, int reverse,
				    struct nat *nat)
{
	nat->src_lo_be = reverse ? flow->frontend_lo_be : flow->source_lo_be;
	nat->dst_lo_be = reverse ? flow->client_lo_be : flow->backend_lo_be;
	nat->sport_be = reverse ? flow->frontend_port_be : flow->source_port_be;
	nat->dport_be = reverse ? flow->client_port_be : flow->backend_port_be;
	nat->flags = flow->flags;
	nat->backend = flow->backend;
	return shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref));
}

/*
 * Is @backend gone for a flow in @state? Removed, and its drain deadline over; one that has
 * never answered is so as soon as nothing new may go there.
 */
static __always_inline int backend_is_gone(__u32 backend, __u32 state, __u32 now)
{
	const struct shunt_backend *be = bpf_map_lookup_elem(&shunt_backends, &backend);

	if (!be || !be->flags)
		return 0;
	if (state == SHUNT_F_SYN || state == SHUNT_F_UDP_NEW || state == SHUNT_F_UDP_ONEWAY)
		return 1;
	return be->flags & SHUNT_BE_REMOVED && (__s32)(now - be->drain_jiffies) >= 0;
}

/* What a state's change means for the client's session. */
static __always_inline void conntrack_remember(__u64 ref, int tracked)
{
	/* An answer renews it, so that clients of one query to a flow keep theirs. */
	if (tracked == SHUNT_FT_PROMOTED || tracked == SHUNT_FT_ANSWERED)
		affinity_remember(ref, tracked == SHUNT_FT_PROMOTED ? BPF_ANY : BPF_EXIST);
}

/* Beside reasons: the client sends again the SYN that its backend has not answered. */
#define CONNTRACK_UNANSWERED 0xf0
_Static_assert(SHUNT_R_MAX <= CONNTRACK_UNANSWERED, "no reason");

/* Moves a TCP flow's state on. Return: enum shunt_ft_tracked. */
__attribute__((noinline)) __u32 conntrack_step(__u64 ref, const struct packet *pkt,
					       __u32 from_backend)
{
	__u32 flags;

	if (!pkt)
		return SHUNT_FT_SAME;
	flags = pkt->tcp.flags | (from_backend ? SHUNT_TCP_FROM_BACKEND : 0);
	return shunt_ft_track_tcp(FT, ref, pkt->tcp.seq, pkt->tcp.ack, flags);
}

/* Is it a refusal that the client is not to see? */
static __always_inline int conntrack_keeps(__u64 ref, const struct packet *pkt)
{
	const __u32 refusal = SHUNT_TCP_RST | SHUNT_TCP_ACK;

	return (pkt->tcp.flags & refusal) == refusal &&
	       reselect_keeps(SHUNT_FT_INDEX(ref), SHUNT_FT_LIFE(ref), pkt->tcp.ack);
}

/**
 * conntrack_tcp - move a TCP flow's state on, and tell who is to know
 * @ref, @pkt, @from_backend: as conntrack_track()
 *
 * By itself, for it is rare: established flows come here by FIN and RST only. The longest chains of
 * calls lead through here, so the packet goes by reference, which takes 32 bytes off
 * ingress_fast(), and what needs much room is called side by side.
 *
 * Return: SHUNT_R_FORWARDED; CONNTRACK_UNANSWERED; SHUNT_R_REFUSED: not to be sent on.
 */
__attribute__((noinline)) int conntrack_tcp(__u64 ref, const struct packet *pkt, __u32 from_backend)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	int reason = SHUNT_R_FORWARDED;
	__u32 mark, tracked, told;

	if (!flow || !pkt)
		return reason;
	/* The answer to the SYN takes its mark's place. */
	mark = SHUNT_READ_ONCE(flow->backend_isn);
	if (from_backend && conntrack_keeps(ref, pkt)) {
		tracked = SHUNT_FT_REFUSED;
		reason = SHUNT_R_REFUSED;
	} else {
		tracked = conntrack_step(ref, pkt, from_backend);
		conntrack_remember(ref, tracked);
	}
	/* Here and not where the state changes, for there the stack is full. */
	if (flow->flags & SHUNT_FLOW_REQUESTS &&
	    !shunt_ft_is_counted(SHUNT_LIFE_STATE(SHUNT_READ_ONCE(flow->life))))
		shunt_ft_end_request(FT, SHUNT_FT_INDEX(ref));
	if (tracked <= SHUNT_FT_CHANGED || !(flow->flags & SHUNT_FLOW_TCP))
		return reason;
	told = connections_tell(ref, tracked, mark);
	if (CONNECTIONS_CODE(told) && flow->flags & (SHUNT_FLOW_HTTP | SHUNT_FLOW_JUDGED))
		guard_response(flow->variant, flow->backend, CONNECTIONS_CODE(told), 0);
	return told & CONNECTIONS_AGAIN ? CONNTRACK_UNANSWERED : reason;
}

/**
 * conntrack_track - note a packet of a known flow: its time and its state
 * @flow, @ref:   as the lookup gave them
 * @from_backend: 1: an answer
 *
 * The time is stored only when it is older than the grain, so that the record's line stays
 * clean: 4 stores a second and flow at the default grain of 250 ms.
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_BACKEND_GONE: the flow was closed, reset the client; or as
 * conntrack_tcp().
 */
static __always_inline int conntrack_track(const struct shunt_settings *settings,
					   struct shunt_flow *flow, __u64 ref,
					   const struct packet *pkt, int from_backend)
{
	__u32 now = bpf_jiffies64(), state = SHUNT_LIFE_STATE(SHUNT_FT_LIFE(ref));

	if (now - flow->seen_jiffies >= settings->seen_grain_jiffies) {
		if (!from_backend && flow->backend && backend_is_gone(flow->backend, state, now)) {
			shunt_ft_change(FT, SHUNT_FT_INDEX(ref), SHUNT_FT_LIFE(ref),
					SHUNT_F_CLOSED);
			return SHUNT_R_BACKEND_GONE;
		}
		SHUNT_WRITE_ONCE(flow->seen_jiffies, now);
	}
	if (pkt->tuple.proto == IPPROTO_UDP) {
		if (state != SHUNT_F_UDP)
			conntrack_remember(ref, shunt_ft_track_udp(FT, ref, from_backend, now));
	} else if (state != SHUNT_F_ESTABLISHED ||
		   pkt->tcp.flags & (SHUNT_TCP_FIN | SHUNT_TCP_RST)) {
		return conntrack_tcp(ref, pkt, from_backend);
	}
	return SHUNT_R_FORWARDED;
}

#endif
