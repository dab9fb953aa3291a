/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_FLOWTAB_H
#define SHUNT_FLOWTAB_H

#include <linux/in.h>

#include "choose.h"
#include "clients.h"

/*
 * The flow table: one code for the BPF programs and for the agent, which maps the same
 * memory. Lookups take two cache lines, no helper call and no lock.
 *
 * A flow's place is found by hash of the client's tuple: a set of 16 ways whose 4-byte tags
 * fill one line; way w of set s is shunt_flows[s * 16 + w]. Answers find it through a second
 * index, sets of 8 words {tag, flow index}. Nothing is ever moved.
 *
 * Concurrency (any CPU may run any of this at any time, so may the agent):
 *  - A way belongs to whoever turned its tag from 0 by compare-and-swap. The owner fills the
 *    record while its life says FREE, so that readers take it for a miss, then publishes it
 *    by a store of life (generation + 1, state) behind a locked instruction: it counts the flow.
 *  - Who frees a way first clears what its flow has written into the record's second line, so
 *    that an owner whose flow does not need that line need not touch it.
 *  - State changes are compare-and-swap of life as a whole, so a change that was meant for an
 *    earlier tenant of the record fails on the generation. Who moves a record out of a
 *    counted state gives the count back, hence exactly once: shunt_ft_change(),
 *    shunt_ft_remove(). The way back into one counts first, and takes that back if somebody
 *    else was faster.
 *  - A reader copies what it needs and looks at life again: another generation, or FREE, means
 *    that the record is being reused, and is a miss. This relies on loads not being reordered
 *    with loads, as on x86-64. On arm64 the two loads of life do not order those in between (BPF
 *    has had acquire loads since 6.15 only); what remains there is that a removed way is
 *    unreachable by its tag before it is filled anew.
 *  - Reply keys are unique: after inserting its word, an owner scans the set again; of two
 *    equal keys that were inserted at once, at least one sees the other and gives way.
 *
 * The includer says where the memory is, by defining shunt_ft_t (a scalar for BPF: it goes
 * into functions that are verified by themselves) and these functions before the include;
 * each returns NULL when the index is out of range:
 *	struct shunt_flow_set  *shunt_ft_set(shunt_ft_t t, __u32 index);
 *	struct shunt_flow      *shunt_ft_flow(shunt_ft_t t, __u32 index);
 *	struct shunt_reply_set *shunt_ft_reply_set(shunt_ft_t t, __u32 index);
 *	struct shunt_active    *shunt_ft_active(shunt_ft_t t, __u32 backend);
 *	struct shunt_client    *shunt_ft_client(shunt_ft_t t, __u32 index);
 *	struct shunt_active    *shunt_ft_service_active(shunt_ft_t t, __u32 service);
 *	struct shunt_active    *shunt_ft_variant_active(shunt_ft_t t, __u32 variant);
 *	struct shunt_client_active *shunt_ft_client_active(shunt_ft_t t, __u32 index);
 *	__u32 *shunt_ft_request(shunt_ft_t t, __u32 index); shunt_http.in_flight of a flow
 *	const struct shunt_settings *shunt_ft_settings(shunt_ft_t t);
 */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "two tags are read as one word, the lower way in the lower half"
#endif

/* Two neighbouring tags at once. */
typedef __u64 __attribute__((may_alias)) shunt_ft_pair;

#define SHUNT_FT_HALF_OPEN 1u
#define SHUNT_FT_NO_WAY	   0xffffffffu

/*
 * A reference to a flow as a lookup found it: index + 1 below, life above, so that it fits
 * a register. 0: no flow.
 */
#define SHUNT_FT_REF(index, life) ((__u64)(life) << 32 | ((index) + 1))
#define SHUNT_FT_INDEX(ref)	  ((__u32)(ref)-1)
#define SHUNT_FT_LIFE(ref)	  ((__u32)((ref) >> 32))

/* The tag of a client's tuple: never 0, bit 0 clear. */
static SHUNT_INLINE __u32 shunt_ft_tag(__u64 hash)
{
	return ((__u32)(hash >> 32) & ~3u) | 2;
}

/* Masks are read where they are needed: an array lookup costs 1 ns, a kept pointer a spill. */
static SHUNT_INLINE __u32 shunt_ft_set_index(shunt_ft_t t, __u64 hash)
{
	const struct shunt_settings *settings = shunt_ft_settings(t);

	return settings ? (__u32)hash & settings->flow_set_mask : 0;
}

static SHUNT_INLINE __u32 shunt_ft_reply_index(shunt_ft_t t, __u64 hash)
{
	const struct shunt_settings *settings = shunt_ft_settings(t);

	return settings ? (__u32)hash & settings->reply_set_mask : 0;
}

/* ---- state ------------------------------------------------------------------------------- */

static SHUNT_INLINE int shunt_ft_is_half_open(__u32 state)
{
	return state == SHUNT_F_SYN || state == SHUNT_F_SYN_ACK || state == SHUNT_F_UDP_NEW ||
	       state == SHUNT_F_UDP_ANSWERED;
}

/* UDP flows that have shown more than one packet: a full set has room for others there. */
static SHUNT_INLINE int shunt_ft_is_udp(__u32 state)
{
	return state == SHUNT_F_UDP || state == SHUNT_F_UDP_ONEWAY;
}

/* Has one side sent a RST, which may have been forged? */
static SHUNT_INLINE int shunt_ft_is_reset(__u32 state)
{
	return state == SHUNT_F_RESET_BY_CLIENT || state == SHUNT_F_RESET_BY_BACKEND;
}

/* Does a flow in @state count as an active connection of its backend? */
static SHUNT_INLINE int shunt_ft_is_counted(__u32 state)
{
	return state != SHUNT_F_FREE && state != SHUNT_F_CLOSED && !shunt_ft_is_reset(state);
}

static SHUNT_INLINE __u32 shunt_ft_timeout(const struct shunt_settings *s, __u32 state)
{
	/*
	 * All are read before one is chosen: clang would turn a choice among addresses into a
	 * variable offset, which the verifier refuses without CAP_PERFMON.
	 */
	__u32 half_open = SHUNT_READ_ONCE(s->timeout_jiffies[SHUNT_T_HALF_OPEN]);
	__u32 established = SHUNT_READ_ONCE(s->timeout_jiffies[SHUNT_T_ESTABLISHED]);
	__u32 closing = SHUNT_READ_ONCE(s->timeout_jiffies[SHUNT_T_CLOSING]);
	__u32 closed = SHUNT_READ_ONCE(s->timeout_jiffies[SHUNT_T_CLOSED]);
	__u32 udp_new = SHUNT_READ_ONCE(s->timeout_jiffies[SHUNT_T_UDP_NEW]);
	__u32 udp = SHUNT_READ_ONCE(s->timeout_jiffies[SHUNT_T_UDP]);

	switch (state) {
	case SHUNT_F_ESTABLISHED:
	case SHUNT_F_FIN_SEEN:
		return established;
	case SHUNT_F_FIN_CLIENT:
	case SHUNT_F_FIN_BACKEND:
	case SHUNT_F_RESET_BY_CLIENT:
	case SHUNT_F_RESET_BY_BACKEND:
		return closing;
	case SHUNT_F_CLOSED:
		return closed;
	case SHUNT_F_UDP_NEW:
	case SHUNT_F_UDP_ANSWERED:
	case SHUNT_F_UDP_ONEWAY:
		return udp_new;
	case SHUNT_F_UDP:
		return udp;
	default:
		return half_open;
	}
}

static SHUNT_INLINE int shunt_ft_is_expired(shunt_ft_t t, const struct shunt_flow *flow,
					    __u32 state, __u32 now)
{
	const struct shunt_settings *settings = shunt_ft_settings(t);

	/* Signed: seen may be ahead of @now by what another CPU stored meanwhile. */
	return settings && (__s32)(now - SHUNT_READ_ONCE(flow->seen_jiffies)) >=
				   (__s32)shunt_ft_timeout(settings, state);
}

/* Where a client is counted: an IPv4 address, or an IPv6 /64, which is what one host may have. */
static SHUNT_INLINE __u32 shunt_ft_client_cell(const struct shunt_settings *settings, __u64 address)
{
	return (__u32)shunt_mix64(address ^ settings->table_key) & settings->flow_set_mask;
}

/* The same for the client of a flow. */
static SHUNT_INLINE __u32 shunt_ft_client_index(shunt_ft_t t, const struct shunt_flow *flow)
{
	const struct shunt_settings *settings = shunt_ft_settings(t);
	__u64 address = flow->client_lo_be;

	if (flow->family == SHUNT_V6)
		address = (__u64)flow->client_hi_be[0] << 32 | flow->client_hi_be[1];
	return settings ? shunt_ft_client_cell(settings, address) : 0;
}

/* Counts a flow of @backend (0: direct) and @client, or gives it back. @by: 1, or -1. */
static SHUNT_INLINE void shunt_ft_count(shunt_ft_t t, __u32 backend, __u32 client, int by)
{
	struct shunt_active *active = backend ? shunt_ft_active(t, backend) : NULL;
	struct shunt_client *its = shunt_ft_client(t, client);

	if (active)
		shunt_fetch_add(&active->connections, by);
	if (its) {
		__u32 before = shunt_fetch_add(&its->flows, by);

		/* Used: BPF orders nothing by an atomic instruction without a result. */
		asm volatile("" : : "r"(before) : "memory");
	}
}

/*
 * The same for a flow with SHUNT_FLOW_IN_FLIGHT, which counts for limits of its service and
 * variant, too. @limited: as shunt_ft_in_flight() gave it.
 */
static SHUNT_INLINE void shunt_ft_count_in_flight(shunt_ft_t t, __u64 limited, int by)
{
	struct shunt_active *all = shunt_ft_service_active(t, limited >> 32);
	struct shunt_active *its = shunt_ft_variant_active(t, limited);

	if (all)
		shunt_fetch_add(&all->connections, by);
	if (its)
		shunt_fetch_add(&its->connections, by);
}

/**
 * shunt_ft_in_flight - what of a flow counts for limits, to be asked before its state changes
 * @ends: 1: it is to stop counting; then it gives back what it counts of its client
 *
 * client_way is the token of that: who turns it to 0 gives back, hence exactly once, whatever
 * becomes of the flow. One that is opened again after a RST no longer counts for its client.
 *
 * Return: service << 32 | variant, or 0: it counts for no limit.
 */
static SHUNT_INLINE __u64 shunt_ft_in_flight(shunt_ft_t t, struct shunt_flow *flow, int ends)
{
	__u32 way;

	if (!(flow->flags & SHUNT_FLOW_IN_FLIGHT))
		return 0;
	way = ends ? SHUNT_READ_ONCE(flow->client_way) : 0;
	if (way && shunt_cmpxchg(&flow->client_way, way, 0) == way)
		shunt_clients_leave(t, way - 1);
	return (__u64)flow->service << 32 | flow->variant;
}

/* Counts a request of @flow in flight, or takes it out, where limits look. */
static SHUNT_INLINE void shunt_ft_count_request(shunt_ft_t t, const struct shunt_flow *flow, int by)
{
	struct shunt_active *all = shunt_ft_service_active(t, flow->service);
	struct shunt_active *its = shunt_ft_variant_active(t, flow->variant);
	struct shunt_active *one = shunt_ft_active(t, flow->backend);

	if (all)
		shunt_fetch_add(&all->requests, by);
	if (its)
		shunt_fetch_add(&its->requests, by);
	if (one)
		shunt_fetch_add(&one->requests, by);
}

/**
 * shunt_ft_end_request - the request in flight of flow @index is answered, or will never be
 *
 * The one function that gives back what bpf/in_flight.h counts: shunt_http.in_flight is the token,
 * and who turns it to 0 gives back, hence exactly once, whoever comes first: the response, the
 * packet that closes the connection, or its removal, by whatever sweep. To whom it counts is read
 * before, for afterwards the record may be another's. Return: 1 if this call gave it back.
 */
SHUNT_OUTLINE int shunt_ft_end_request(shunt_ft_t t, __u32 index)
{
	const struct shunt_flow *flow = shunt_ft_flow(t, index);
	__u32 *token = shunt_ft_request(t, index);
	struct shunt_active *all, *its, *one;
	__u32 seen = token ? SHUNT_READ_ONCE(*token) : 0;

	if (!seen || !flow)
		return 0;
	all = shunt_ft_service_active(t, flow->service);
	its = shunt_ft_variant_active(t, flow->variant);
	one = shunt_ft_active(t, flow->backend);
	if (shunt_cmpxchg(token, seen, 0) != seen)
		return 0;
	if (all)
		shunt_fetch_add(&all->requests, -1);
	if (its)
		shunt_fetch_add(&its->requests, -1);
	if (one)
		shunt_fetch_add(&one->requests, -1);
	if (seen > 1)
		shunt_clients_leave(t, seen - 2);
	return 1;
}

/**
 * shunt_ft_change - change the state of flow @index, and its counts with it
 * @life: as read before; the change fails if it differs now
 *
 * A flow that begins to count again counts before anybody can see the new state and give it back;
 * if the change fails, that is taken back. Its counts for limits follow: they may be one too low
 * for a moment.
 *
 * Return: 1 if this call made the change.
 */
SHUNT_OUTLINE int shunt_ft_change(shunt_ft_t t, __u32 index, __u32 life, __u32 state)
{
	struct shunt_flow *flow = shunt_ft_flow(t, index);
	int by = shunt_ft_is_counted(state) - shunt_ft_is_counted(SHUNT_LIFE_STATE(life));
	__u32 backend, client;
	__u64 limited;
	int made;

	if (!flow)
		return 0;
	state |= SHUNT_LIFE_GEN(life);
	if (!by)
		return shunt_cmpxchg(&flow->life, life, state) == life;
	/* The limit's token below is this tenant's, unless he goes at this very moment. */
	if (SHUNT_READ_ONCE(flow->life) != life)
		return 0;
	/* Read before: afterwards the record may be another's. */
	limited = shunt_ft_in_flight(t, flow, by < 0);
	backend = flow->backend;
	client = shunt_ft_client_index(t, flow);
	if (by > 0)
		shunt_ft_count(t, backend, client, 1);
	made = shunt_cmpxchg(&flow->life, life, state) == life;
	if (made && limited)
		shunt_ft_count_in_flight(t, limited, by);
	if (made == (by < 0))
		shunt_ft_count(t, backend, client, -1);
	return made;
}

/*
 * ---- words of a set by a variable index: refused without CAP_PERFMON, so each way has its
 * own code, and SHUNT_OPAQUE_CASE() keeps clang from making one of them again. Where it is not
 * refused it still makes the verifier compare states to the letter from there on, in all functions:
 * 74 000 instructions became more than a million.
 */

/* Compare-and-swap of tag @way. Return: what was there. */
static SHUNT_INLINE __u32 shunt_ft_tag_swap(struct shunt_flow_set *set, __u32 way, __u32 old,
					    __u32 new_)
{
	__u32 *tag = &set->tag[0];

#define SHUNT_FT_CASE(w)                                                                           \
	case w:                                                                                    \
		tag = &set->tag[w];                                                                \
		SHUNT_OPAQUE_CASE(tag, w);                                                         \
		return shunt_cmpxchg(tag, old, new_);
	switch (way) {
		SHUNT_REPEAT_16(SHUNT_FT_CASE)
	}
#undef SHUNT_FT_CASE
	return ~old;
}

static SHUNT_INLINE __u32 shunt_ft_tag_at(const struct shunt_flow_set *set, __u32 way)
{
	__u32 tag = 0;

#pragma GCC unroll 16
	for (__u32 w = 0; w < SHUNT_FLOW_WAYS; w++)
		if (w == way)
			tag = SHUNT_READ_ONCE(set->tag[w]);
	return tag;
}

/* Compare-and-swap of word @way. Return: 1 if it was @old. */
static SHUNT_INLINE int shunt_ft_reply_swap(struct shunt_reply_set *set, __u32 way, __u64 old,
					    __u64 new_)
{
	__u64 *word = &set->way[0];

#define SHUNT_FT_CASE(w)                                                                           \
	case w:                                                                                    \
		word = &set->way[w];                                                               \
		SHUNT_OPAQUE_CASE(word, w);                                                        \
		return shunt_cmpxchg(word, old, new_) == old;
	switch (way) {
		SHUNT_REPEAT_8(SHUNT_FT_CASE)
	}
#undef SHUNT_FT_CASE
	return 0;
}

/* ---- keys ---------------------------------------------------------------------------------- */

static SHUNT_INLINE int shunt_ft_hi_equal(const __be32 hi_be[3], const struct shunt_addr *addr)
{
	return hi_be[0] == addr->word_be[0] && hi_be[1] == addr->word_be[1] &&
	       hi_be[2] == addr->word_be[2];
}

/* Is @tuple what @flow's client sends? */
static SHUNT_INLINE int shunt_ft_is_client(const struct shunt_flow *flow,
					   const struct shunt_tuple *tuple)
{
	if (flow->client_lo_be != tuple->src.word_be[3] ||
	    flow->frontend_lo_be != tuple->dst.word_be[3] ||
	    flow->client_port_be != tuple->sport_be || flow->frontend_port_be != tuple->dport_be ||
	    flow->proto != tuple->proto || flow->family != tuple->family)
		return 0;
	return tuple->family == SHUNT_V4 || (shunt_ft_hi_equal(flow->client_hi_be, &tuple->src) &&
					     shunt_ft_hi_equal(flow->frontend_hi_be, &tuple->dst));
}

/* Does @flow's backend send what goes from (@src, @sport_be) to (@dst, @dport_be)? */
static SHUNT_INLINE int shunt_ft_is_reply(const struct shunt_flow *flow,
					  const struct shunt_addr *src, __be16 sport_be,
					  const struct shunt_addr *dst, __be16 dport_be)
{
	/* The upper words are in the record's second line: one cache miss more. */
	return flow->backend_lo_be == src->word_be[3] && flow->source_lo_be == dst->word_be[3] &&
	       flow->backend_port_be == sport_be && flow->source_port_be == dport_be &&
	       (flow->family == SHUNT_V4 || (shunt_ft_hi_equal(flow->backend_hi_be, src) &&
					     shunt_ft_hi_equal(flow->source_hi_be, dst)));
}

/* Would the backends of two flows answer with the same tuple? */
static SHUNT_INLINE int shunt_ft_same_reply(const struct shunt_flow *a, const struct shunt_flow *b)
{
	if (a->backend_lo_be != b->backend_lo_be || a->source_lo_be != b->source_lo_be ||
	    a->backend_port_be != b->backend_port_be || a->source_port_be != b->source_port_be ||
	    a->proto != b->proto || a->family != b->family)
		return 0;
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++)
		if (a->backend_hi_be[w] != b->backend_hi_be[w] ||
		    a->source_hi_be[w] != b->source_hi_be[w])
			return 0;
	return 1;
}

#include "flowtab_find.h"

/* ---- removal ------------------------------------------------------------------------------- */

/* Clears the reply key of flow @index, which stands at @reply_way - 1. */
static SHUNT_INLINE void shunt_ft_drop_reply(shunt_ft_t t, __u32 index, __u32 reply_way)
{
	struct shunt_reply_set *set;

	if (!reply_way)
		return;
	reply_way--;
	set = shunt_ft_reply_set(t, reply_way / SHUNT_REPLY_WAYS);
	if (!set)
		return;
#pragma GCC unroll 8
	for (__u32 w = 0; w < SHUNT_REPLY_WAYS; w++) {
		__u64 word = SHUNT_READ_ONCE(set->way[w]);

		if (w == (reply_way & (SHUNT_REPLY_WAYS - 1)) && (__u32)word == index + 1)
			shunt_cmpxchg(&set->way[w], word, 0);
	}
}

static SHUNT_INLINE void shunt_ft_clear_hi(struct shunt_flow *flow)
{
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		flow->client_hi_be[w] = 0;
		flow->frontend_hi_be[w] = 0;
		flow->backend_hi_be[w] = 0;
		flow->source_hi_be[w] = 0;
	}
}

/*
 * Leaves the second line of a record, which nobody else has now, as its next tenant wants it: zero.
 * @state: how far its flow had come: only then a FIN may have been noted
 */
static SHUNT_INLINE void shunt_ft_clear_rest(struct shunt_flow *flow, __u32 state)
{
	if (flow->proto == IPPROTO_TCP && !shunt_ft_is_half_open(state)) {
		flow->client_fin = 0;
		flow->backend_fin = 0;
	}
	if (flow->family == SHUNT_V6)
		shunt_ft_clear_hi(flow);
	if (flow->flags & SHUNT_FLOW_IN_FLIGHT)
		flow->client_way = 0;
}

/* shunt_ft_remove(), in line. */
static SHUNT_INLINE int shunt_ft_take_out(shunt_ft_t t, __u64 ref)
{
	__u32 index = SHUNT_FT_INDEX(ref), way = index & (SHUNT_FLOW_WAYS - 1), tag;
	struct shunt_flow_set *set = shunt_ft_set(t, index / SHUNT_FLOW_WAYS);
	struct shunt_flow *flow = shunt_ft_flow(t, index);
	__u32 life = SHUNT_FT_LIFE(ref);
	__u64 limited;

	if (!set || !flow ||
	    shunt_cmpxchg(&flow->life, life, SHUNT_LIFE_GEN(life) | SHUNT_F_FREE) != life)
		return 0;
	/* From here on the record is ours, until its tag is free. */
	if (flow->flags & SHUNT_FLOW_REQUESTS)
		shunt_ft_end_request(t, index);
	if (shunt_ft_is_counted(SHUNT_LIFE_STATE(life))) {
		limited = shunt_ft_in_flight(t, flow, 1);
		if (limited)
			shunt_ft_count_in_flight(t, limited, -1);
		shunt_ft_count(t, flow->backend, shunt_ft_client_index(t, flow), -1);
	}
	shunt_ft_drop_reply(t, index, flow->reply_way);
	shunt_ft_clear_rest(flow, SHUNT_LIFE_STATE(life));
	/* The half-open bit may go between the read and the swap, by a late promotion. */
	tag = shunt_ft_tag_at(set, way);
	if (shunt_ft_tag_swap(set, way, tag, 0) != tag)
		shunt_ft_tag_swap(set, way, tag & ~SHUNT_FT_HALF_OPEN, 0);
	return 1;
}

/**
 * shunt_ft_remove - take a flow out of the table
 * @ref: as a lookup gave it; nothing happens if its life differs now
 *
 * Order: nobody finds it (life FREE), its reply key goes, then its way is free for others.
 *
 * Return: 1 if this call removed it.
 */
SHUNT_OUTLINE int shunt_ft_remove(shunt_ft_t t, __u64 ref)
{
	return shunt_ft_take_out(t, ref);
}

/*
 * Removes the flow at @index if it is idle beyond its time. In line, for sweeps are as deep as
 * frames go. Return: 1 if removed.
 */
SHUNT_OUTLINE int shunt_ft_expire(shunt_ft_t t, __u32 index, __u32 now)
{
	const struct shunt_flow *flow = shunt_ft_flow(t, index);
	__u32 life;

	if (!flow)
		return 0;
	life = SHUNT_READ_ONCE(flow->life);
	if (SHUNT_LIFE_STATE(life) == SHUNT_F_FREE ||
	    !shunt_ft_is_expired(t, flow, SHUNT_LIFE_STATE(life), now))
		return 0;
	return shunt_ft_take_out(t, SHUNT_FT_REF(index, life));
}

#include "flowtab_track.h"
#include "flowtab_make.h"

#endif
