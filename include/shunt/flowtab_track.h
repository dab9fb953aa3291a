/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_FLOWTAB_TRACK_H
#define SHUNT_FLOWTAB_TRACK_H

/*
 * Where a connection stands: how its packets move a flow's state on. A part of
 * shunt/flowtab.h, which includes it.
 */

/*
 * How much a client's first acknowledgement may cover: what a backend may send before it, the
 * window of a SYN, which is never scaled. Half of all numbers would pass a mere "not before".
 */
#define SHUNT_FT_FIRST_ACK 65536u

/* A half-open flow has proved itself: it counts among those that no flood displaces. */
SHUNT_OUTLINE int shunt_ft_promote(shunt_ft_t t, __u64 ref, __u32 state)
{
	__u32 index = SHUNT_FT_INDEX(ref), way = index & (SHUNT_FLOW_WAYS - 1), tag;
	struct shunt_flow_set *set = shunt_ft_set(t, index / SHUNT_FLOW_WAYS);
	struct shunt_flow *flow = shunt_ft_flow(t, index);

	if (!set || !flow || !shunt_ft_end(t, flow, SHUNT_FT_LIFE(ref), state))
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
	SHUNT_FT_PROMOTED, /* the client has proved its address: it is established */
};

/*
 * A packet of a flow that a RST has ended, or seemed to: the number of a RST is not checked,
 * that would cost a store per packet. A forged one is ignored by who gets it (RFC 5961), whose
 * next packet, a challenge or an acknowledgement of data, opens the flow again. After a true one
 * only packets that crossed it come from there; each is answered with one more RST.
 */
static SHUNT_INLINE int shunt_ft_track_reset(shunt_ft_t t, struct shunt_flow *flow, __u32 life,
					     __u32 seq, __u32 flags)
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
		SHUNT_WRITE_ONCE(flow->backend_isn, seq);
		state = SHUNT_F_SYN_ACK;
	} else if (!was_told) {
		return SHUNT_FT_SAME;
	} else if (flags & SHUNT_TCP_FIN) {
		state = from_backend ? SHUNT_F_FIN_BACKEND : SHUNT_F_FIN_CLIENT;
	}
	return shunt_ft_reopen(t, flow, life, state) ? SHUNT_FT_CHANGED : SHUNT_FT_SAME;
}

/**
 * shunt_ft_track_tcp - move a flow's TCP state on by one packet
 * @ref:      as the lookup gave it
 * @seq, @ack: of the packet, host order
 * @flags:    enum shunt_tcp_flags, with the direction
 *
 * Established by the client's acknowledgement of the backend's SYN-ACK, so spoofed SYNs stay
 * half-open. The second FIN closes, a RST from either side only while half-open: see
 * shunt_ft_track_reset(). A SYN-ACK with another number
 * begins anew: a SYN cookie made later, or a connection on the ports of one that died silently.
 *
 * Return: enum shunt_ft_tracked.
 */
SHUNT_OUTLINE int shunt_ft_track_tcp(shunt_ft_t t, __u64 ref, __u32 seq, __u32 ack, __u32 flags)
{
	__u32 life = SHUNT_FT_LIFE(ref), state = SHUNT_LIFE_STATE(life);
	int from_backend = flags & SHUNT_TCP_FROM_BACKEND, fin = flags & SHUNT_TCP_FIN;
	__u32 mine = from_backend ? SHUNT_F_FIN_BACKEND : SHUNT_F_FIN_CLIENT;
	__u32 theirs = from_backend ? SHUNT_F_FIN_CLIENT : SHUNT_F_FIN_BACKEND;
	__u32 reset = from_backend ? SHUNT_F_RESET_BY_BACKEND : SHUNT_F_RESET_BY_CLIENT;
	struct shunt_flow *flow = shunt_ft_flow(t, SHUNT_FT_INDEX(ref));

	if (!flow || state == SHUNT_F_CLOSED)
		return 0;
	if (shunt_ft_is_reset(state))
		return shunt_ft_track_reset(t, flow, life, seq, flags);
	if (flags & SHUNT_TCP_RST)
		return shunt_ft_end(t, flow, life,
				    shunt_ft_is_half_open(state) ? SHUNT_F_CLOSED : reset);
	if (state != SHUNT_F_ESTABLISHED && from_backend && flags & SHUNT_TCP_SYN &&
	    flags & SHUNT_TCP_ACK && (state == SHUNT_F_SYN || seq != flow->backend_isn)) {
		SHUNT_WRITE_ONCE(flow->backend_isn, seq);
		return state != SHUNT_F_SYN_ACK && shunt_ft_end(t, flow, life, SHUNT_F_SYN_ACK);
	}
	if (state == SHUNT_F_SYN_ACK && !from_backend && flags & SHUNT_TCP_ACK &&
	    !(flags & SHUNT_TCP_SYN) && ack - (flow->backend_isn + 1) < SHUNT_FT_FIRST_ACK)
		return shunt_ft_promote(t, ref, fin ? mine : SHUNT_F_ESTABLISHED)
			       ? SHUNT_FT_PROMOTED
			       : SHUNT_FT_SAME;
	if (fin && state == SHUNT_F_ESTABLISHED) {
		if (shunt_ft_end(t, flow, life, mine))
			return 1;
		/* Most likely both sides' FINs at once, and the other CPU was first. */
		life = SHUNT_LIFE_GEN(life) | theirs;
		state = theirs;
	}
	if (fin && state == theirs)
		return shunt_ft_end(t, flow, life, SHUNT_F_CLOSED);
	return 0;
}

#endif
