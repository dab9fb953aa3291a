/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_FLOWTAB_TRACK_H
#define SHUNT_FLOWTAB_TRACK_H

#include "connect.h"

/*
 * Where a connection stands: how its packets move a flow's state on. A part of
 * shunt/flowtab.h, which includes it.
 */

/*
 * How much a client's first acknowledgement may cover: what a backend may send before it, the
 * window of a SYN, which is never scaled. Half of all numbers would pass a mere "not before".
 */
#define SHUNT_FT_FIRST_ACK 65536u

/* A half-open flow has proved itself: no flood displaces it in @state, which counts as active. */
SHUNT_OUTLINE int shunt_ft_promote(shunt_ft_t t, __u64 ref, __u32 state)
{
	__u32 life = SHUNT_FT_LIFE(ref);
	__u32 index = SHUNT_FT_INDEX(ref), way = index & (SHUNT_FLOW_WAYS - 1), tag;
	struct shunt_flow_set *set = shunt_ft_set(t, index / SHUNT_FLOW_WAYS);
	struct shunt_flow *flow = shunt_ft_flow(t, index);

	if (!set || !flow)
		return 0;
	/* Both states count. */
	if (shunt_cmpxchg(&flow->life, life, SHUNT_LIFE_GEN(life) | state) != life)
		return 0;
	tag = shunt_ft_tag_at(set, way);
	if (tag & SHUNT_FT_HALF_OPEN)
		shunt_ft_tag_swap(set, way, tag, tag & ~SHUNT_FT_HALF_OPEN);
	return 1;
}

/* What a packet did to the state of its flow. */
enum shunt_ft_tracked {
	SHUNT_FT_SAME,
	SHUNT_FT_CHANGED,
	SHUNT_FT_ANSWERED, /* UDP: for the first time */
	SHUNT_FT_PROMOTED, /* established; a TCP client has proved its address */
	SHUNT_FT_ACCEPTED, /* TCP: the backend has answered the marked SYN */
	SHUNT_FT_REFUSED,  /* TCP: has refused it */
	SHUNT_FT_REPEATED, /* TCP: the client sends it again, unanswered; nothing is changed */
	SHUNT_FT_CUT,	   /* TCP: reset by the backend, before its first byte */
	SHUNT_FT_CLOSED,   /* TCP: by both sides */
};

/*
 * How far before the end of a FIN's packet it may begin: the largest super-packet. So many of
 * 2^32 numbers of a forged FIN would pass for a true one when the other side acknowledges.
 */
#define SHUNT_FT_FIN_REACH (512u * 1024)
/* How far behind others an acknowledgement may come: the data in flight. */
#define SHUNT_FT_IN_FLIGHT (16u * 1024 * 1024)

/* Notes where the FIN of a packet stands. */
static SHUNT_INLINE void shunt_ft_note_fin(struct shunt_flow *flow, __u32 seq, __u32 flags)
{
	__u32 fin = seq ? seq : ~0u, *field;

	if (flags & SHUNT_TCP_FROM_BACKEND) {
		field = &flow->backend_fin;
		SHUNT_OPAQUE_CASE(field, 0);
		SHUNT_WRITE_ONCE(*field, fin);
	} else {
		field = &flow->client_fin;
		SHUNT_OPAQUE_CASE(field, 1);
		SHUNT_WRITE_ONCE(*field, fin);
	}
}

/* The backend takes a connection, maybe not the first on these ports: with @isn. */
static SHUNT_INLINE void shunt_ft_begin_anew(struct shunt_flow *flow, __u32 isn)
{
	SHUNT_WRITE_ONCE(flow->backend_isn, isn);
	SHUNT_WRITE_ONCE(flow->client_fin, 0);
	SHUNT_WRITE_ONCE(flow->backend_fin, 0);
}

/* Is the FIN that the other side sent at @fin covered by @ack? */
static SHUNT_INLINE int shunt_ft_takes_fin(__u32 fin, __u32 ack)
{
	return fin && ack - fin - 1 < SHUNT_FT_FIN_REACH;
}

/* Does @ack show that a FIN at @fin, which is thought to be acknowledged, never was one? */
static SHUNT_INLINE int shunt_ft_denies_fin(__u32 fin, __u32 ack)
{
	return fin && ack - (fin - SHUNT_FT_IN_FLIGHT) >= SHUNT_FT_IN_FLIGHT + SHUNT_FT_FIN_REACH;
}

/*
 * A packet of a flow that a RST has ended, or seemed to: the number of a RST is not checked,
 * that would cost a store per packet. A forged one is ignored by who gets it (RFC 5961), whose
 * next packet, a challenge or an acknowledgement of data, opens the flow again. After a true one
 * only packets that crossed it come from there; each is answered with one more RST.
 */
static SHUNT_INLINE int shunt_ft_track_reset(shunt_ft_t t, struct shunt_flow *flow, __u32 index,
					     __u32 life, __u32 seq, __u32 flags)
{
	int from_backend = !!(flags & SHUNT_TCP_FROM_BACKEND);
	int was_told = (SHUNT_LIFE_STATE(life) == SHUNT_F_RESET_BY_CLIENT) == from_backend;
	__u32 state = SHUNT_F_ESTABLISHED;

	if (flags & SHUNT_TCP_RST)
		return SHUNT_FT_SAME;
	if (flags & SHUNT_TCP_SYN) {
		/* A new connection on the same ports begins when the backend takes it. */
		if (!from_backend || !(flags & SHUNT_TCP_ACK) || seq == flow->backend_isn)
			return SHUNT_FT_SAME;
		shunt_ft_begin_anew(flow, seq);
		state = SHUNT_F_SYN_ACK;
	} else if (!was_told) {
		return SHUNT_FT_SAME;
	} else if (flags & SHUNT_TCP_FIN) {
		shunt_ft_note_fin(flow, seq, flags);
		state = SHUNT_F_FIN_SEEN;
	}
	return shunt_ft_change(t, index, life, state) ? SHUNT_FT_CHANGED : SHUNT_FT_SAME;
}

/*
 * The state after a packet of an established or closing flow. A FIN counts when the other side
 * has acknowledged it: anybody can forge one. Two that are forged, and answer each other, still
 * do not end a flow whose packets go on to acknowledge other numbers.
 */
static SHUNT_INLINE __u32 shunt_ft_after_fin(const struct shunt_flow *flow, __u32 state, __u32 ack,
					     __u32 flags)
{
	int from_backend = !!(flags & SHUNT_TCP_FROM_BACKEND);
	__u32 mine = from_backend ? SHUNT_F_FIN_BACKEND : SHUNT_F_FIN_CLIENT;
	__u32 theirs = from_backend ? SHUNT_F_FIN_CLIENT : SHUNT_F_FIN_BACKEND;
	__u32 fin = SHUNT_PICK(from_backend, flow->backend_fin, flow->client_fin);

	if (flags & SHUNT_TCP_ACK && (state == theirs || state == SHUNT_F_CLOSED)) {
		if (shunt_ft_denies_fin(fin, ack))
			return SHUNT_F_ESTABLISHED;
	} else if (flags & SHUNT_TCP_ACK && shunt_ft_takes_fin(fin, ack)) {
		return state == mine ? SHUNT_F_CLOSED : theirs;
	}
	return state == SHUNT_F_ESTABLISHED && flags & SHUNT_TCP_FIN ? SHUNT_F_FIN_SEEN : state;
}

/* A packet of an established, closing or closed flow that is no SYN and no RST. */
static SHUNT_INLINE int shunt_ft_track_fin(shunt_ft_t t, struct shunt_flow *flow, __u32 index,
					   __u32 life, __u32 seq, __u32 ack, __u32 flags)
{
	__u32 state = SHUNT_LIFE_STATE(life), next;

	if (flags & SHUNT_TCP_FIN && state != SHUNT_F_CLOSED)
		shunt_ft_note_fin(flow, seq, flags);
		/* Twice: most likely it was the other side's FIN, on another CPU, that was first.
		 */
#pragma GCC unroll 2
	for (int attempt = 0; attempt < 2; attempt++) {
		next = shunt_ft_after_fin(flow, state, ack, flags);
		if (next == state)
			return SHUNT_FT_SAME;
		if (shunt_ft_change(t, index, life, next))
			return next == SHUNT_F_CLOSED ? SHUNT_FT_CLOSED : SHUNT_FT_CHANGED;
		if (SHUNT_LIFE_GEN(SHUNT_READ_ONCE(flow->life)) != SHUNT_LIFE_GEN(life))
			return SHUNT_FT_SAME;
		life = SHUNT_READ_ONCE(flow->life);
		state = SHUNT_LIFE_STATE(life);
		if (state != SHUNT_F_FIN_SEEN && state != SHUNT_F_FIN_CLIENT &&
		    state != SHUNT_F_FIN_BACKEND)
			return SHUNT_FT_SAME;
	}
	return SHUNT_FT_SAME;
}

/*
 * A RST of either side. Whose number says that the backend has sent nothing else is noted as behind
 * it: each packet that crosses it is answered with its like, which must not tell the same again.
 */
static SHUNT_INLINE int shunt_ft_track_rst(shunt_ft_t t, struct shunt_flow *flow, __u32 index,
					   __u32 life, __u32 seq, __u32 ack, __u32 flags)
{
	__u32 state = SHUNT_LIFE_STATE(life), isn = SHUNT_READ_ONCE(flow->backend_isn), next;

	next = flags & SHUNT_TCP_FROM_BACKEND ? SHUNT_F_RESET_BY_BACKEND : SHUNT_F_RESET_BY_CLIENT;
	if (shunt_ft_is_half_open(state))
		next = SHUNT_F_CLOSED;
	if (state == SHUNT_F_CLOSED || !shunt_ft_change(t, index, life, next))
		return SHUNT_FT_SAME;
	if (!(flags & SHUNT_TCP_FROM_BACKEND))
		return SHUNT_FT_CHANGED;
	if (state == SHUNT_F_SYN)
		return flags & SHUNT_TCP_ACK && shunt_syn_is(isn, ack - 1) ? SHUNT_FT_REFUSED
									   : SHUNT_FT_CHANGED;
	if (seq != isn + 1)
		return SHUNT_FT_CHANGED;
	SHUNT_WRITE_ONCE(flow->backend_isn, seq);
	return SHUNT_FT_CUT;
}

/* A SYN of either side, or what comes before the first answer. */
static SHUNT_INLINE int shunt_ft_track_syn(shunt_ft_t t, struct shunt_flow *flow, __u32 index,
					   __u32 life, __u32 seq, __u32 ack, __u32 flags)
{
	const __u32 kind = flags & (SHUNT_TCP_SYN | SHUNT_TCP_ACK | SHUNT_TCP_FROM_BACKEND);
	__u32 state = SHUNT_LIFE_STATE(life), isn = SHUNT_READ_ONCE(flow->backend_isn);
	int is_first = state == SHUNT_F_SYN;

	if (kind == (SHUNT_TCP_SYN | SHUNT_TCP_ACK | SHUNT_TCP_FROM_BACKEND) &&
	    state != SHUNT_F_ESTABLISHED && state != SHUNT_F_CLOSED && (is_first || seq != isn)) {
		/* The first answer leaves the record's second line alone: no FIN has been there. */
		if (is_first)
			SHUNT_WRITE_ONCE(flow->backend_isn, seq);
		else
			shunt_ft_begin_anew(flow, seq);
		if (state == SHUNT_F_SYN_ACK || !shunt_ft_change(t, index, life, SHUNT_F_SYN_ACK))
			return SHUNT_FT_SAME;
		return is_first && shunt_syn_is(isn, ack - 1) ? SHUNT_FT_ACCEPTED
							      : SHUNT_FT_CHANGED;
	}
	return is_first && kind == SHUNT_TCP_SYN && shunt_syn_is(isn, seq) ? SHUNT_FT_REPEATED
									   : SHUNT_FT_SAME;
}

/**
 * shunt_ft_track_tcp - move a flow's TCP state on by one packet
 * @ref:      as the lookup gave it
 * @seq, @ack: of the packet, host order
 * @flags:    enum shunt_tcp_flags, with the direction
 *
 * Established by the client's acknowledgement of the backend's SYN-ACK, so spoofed SYNs stay
 * half-open. Closed when both FINs are acknowledged; a RST closes only while half-open, see
 * shunt_ft_track_reset(). A SYN-ACK with another number begins anew: a SYN cookie made later, or
 * a connection on the ports of one that died silently.
 *
 * Return: enum shunt_ft_tracked.
 */
SHUNT_OUTLINE int shunt_ft_track_tcp(shunt_ft_t t, __u64 ref, __u32 seq, __u32 ack, __u32 flags)
{
	__u32 life = SHUNT_FT_LIFE(ref), state = SHUNT_LIFE_STATE(life);
	struct shunt_flow *flow = shunt_ft_flow(t, SHUNT_FT_INDEX(ref));

	if (!flow)
		return SHUNT_FT_SAME;
	if (shunt_ft_is_reset(state))
		return shunt_ft_track_reset(t, flow, SHUNT_FT_INDEX(ref), life, seq, flags);
	if (flags & SHUNT_TCP_RST)
		return shunt_ft_track_rst(t, flow, SHUNT_FT_INDEX(ref), life, seq, ack, flags);
	if (flags & SHUNT_TCP_SYN || state == SHUNT_F_SYN)
		return shunt_ft_track_syn(t, flow, SHUNT_FT_INDEX(ref), life, seq, ack, flags);
	if (state != SHUNT_F_SYN_ACK)
		return shunt_ft_track_fin(t, flow, SHUNT_FT_INDEX(ref), life, seq, ack, flags);
	if (flags & SHUNT_TCP_FROM_BACKEND || !(flags & SHUNT_TCP_ACK) ||
	    ack - (flow->backend_isn + 1) >= SHUNT_FT_FIRST_ACK)
		return SHUNT_FT_SAME;
	if (flags & SHUNT_TCP_FIN)
		shunt_ft_note_fin(flow, seq, flags);
	return shunt_ft_promote(t, ref,
				flags & SHUNT_TCP_FIN ? SHUNT_F_FIN_SEEN : SHUNT_F_ESTABLISHED)
		       ? SHUNT_FT_PROMOTED
		       : SHUNT_FT_SAME;
}

/**
 * shunt_ft_track_udp - move a flow's UDP state on by one packet
 * @ref:	  as the lookup gave it
 * @from_backend: 1: an answer
 * @now:	  jiffies
 *
 * Half-open until the client sends again after an answer: one answered datagram may have a
 * forged source, as a flood of DNS queries has. A client that is never answered, as of syslog,
 * but goes on for a sixteenth of the time-out (2 s by default), is no longer among those few of a
 * set that displace one another; all UDP flows make room when a set is full.
 *
 * Return: enum shunt_ft_tracked.
 */
SHUNT_OUTLINE int shunt_ft_track_udp(shunt_ft_t t, __u64 ref, int from_backend, __u32 now)
{
	__u32 life = SHUNT_FT_LIFE(ref), state = SHUNT_LIFE_STATE(life);
	struct shunt_flow *flow = shunt_ft_flow(t, SHUNT_FT_INDEX(ref));
	const struct shunt_settings *settings = shunt_ft_settings(t);

	if (!flow || !settings)
		return SHUNT_FT_SAME;
	if (from_backend) {
		if (state == SHUNT_F_UDP_NEW)
			return shunt_ft_change(t, SHUNT_FT_INDEX(ref), life, SHUNT_F_UDP_ANSWERED)
				       ? SHUNT_FT_ANSWERED
				       : SHUNT_FT_SAME;
		return state == SHUNT_F_UDP_ONEWAY &&
				       shunt_ft_change(t, SHUNT_FT_INDEX(ref), life, SHUNT_F_UDP)
			       ? SHUNT_FT_PROMOTED
			       : SHUNT_FT_SAME;
	}
	if (state == SHUNT_F_UDP_ANSWERED)
		return shunt_ft_promote(t, ref, SHUNT_F_UDP) ? SHUNT_FT_PROMOTED : SHUNT_FT_SAME;
	if (state != SHUNT_F_UDP_NEW ||
	    (__s32)(now - flow->created_jiffies) <
		    (__s32)(settings->timeout_jiffies[SHUNT_T_UDP_NEW] / 16))
		return SHUNT_FT_SAME;
	return shunt_ft_promote(t, ref, SHUNT_F_UDP_ONEWAY) ? SHUNT_FT_CHANGED : SHUNT_FT_SAME;
}

#endif
