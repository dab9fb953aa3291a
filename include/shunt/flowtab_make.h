/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_FLOWTAB_MAKE_H
#define SHUNT_FLOWTAB_MAKE_H

/*
 * Making a flow: a way is claimed, the record filled, the reply key entered, then the flow
 * published. The writers' half of shunt/flowtab.h, which includes it.
 */

/* Whose flows make room, besides those that are closed or expired. */
enum shunt_ft_room {
	SHUNT_FT_ROOM_DEAD,
	SHUNT_FT_ROOM_RESET,
	SHUNT_FT_ROOM_HALF_OPEN,
	SHUNT_FT_ROOM_UDP,
};

/* Removes flow @index if it may make room. Return: 1 if removed. */
SHUNT_OUTLINE int shunt_ft_make_room(shunt_ft_t t, __u32 index, __u32 now, __u32 room)
{
	const struct shunt_flow *flow = shunt_ft_flow(t, index);
	__u32 life, state;

	if (!flow)
		return 0;
	life = SHUNT_READ_ONCE(flow->life);
	state = SHUNT_LIFE_STATE(life);
	if (state == SHUNT_F_FREE)
		return 0;
	if (state != SHUNT_F_CLOSED && !shunt_ft_is_expired(t, flow, state, now) &&
	    !(room == SHUNT_FT_ROOM_HALF_OPEN && shunt_ft_is_half_open(state)) &&
	    !(room == SHUNT_FT_ROOM_RESET && shunt_ft_is_reset(state)) &&
	    !(room == SHUNT_FT_ROOM_UDP && shunt_ft_is_udp(state)))
		return 0;
	return shunt_ft_take_out(t, SHUNT_FT_REF(index, life));
}

/* Number of bits set in a 16-bit mask. */
static SHUNT_INLINE __u32 shunt_ft_popcount(__u32 x)
{
	x = (x & 0x5555) + (x >> 1 & 0x5555);
	x = (x & 0x3333) + (x >> 2 & 0x3333);
	x = (x & 0x0f0f) + (x >> 4 & 0x0f0f);
	return (x & 0xff) + (x >> 8);
}

/* The first way of a non-empty mask at or after @turn, cyclically: not always the same. */
static SHUNT_INLINE __u32 shunt_ft_pick(__u32 mask, __u32 turn)
{
	__u32 rotated = (mask >> turn | mask << (SHUNT_FLOW_WAYS - turn)) & 0xffff;

	rotated &= -rotated;
	return (shunt_ft_popcount(rotated - 1) + turn) & (SHUNT_FLOW_WAYS - 1);
}

/*
 * Which ways of a set are free (low half), and which half-open: masks, made without a branch,
 * or the verifier would follow each combination. Two tags at a time, of which the lowest two
 * bits are gathered: half-open, and the one that is set in all that are not 0.
 */
static SHUNT_INLINE __u32 shunt_ft_survey(shunt_ft_t t, __u32 set_index)
{
	const struct shunt_flow_set *set = shunt_ft_set(t, set_index);
	const shunt_ft_pair *pair;
	__u32 used, half_open;
	__u64 bits = 0;

	if (!set)
		return 0;
	pair = (const shunt_ft_pair *)set->tag;
#pragma GCC unroll 8
	for (__u32 i = 0; i < SHUNT_FLOW_WAYS / 2; i++)
		bits |= (SHUNT_READ_ONCE(pair[i]) & 0x0000000300000003ull) << 2 * i;
	half_open = (bits & 0x5555) | (bits >> 31 & 0xaaaa);
	used = (bits >> 1 & 0x5555) | (bits >> 32 & 0xaaaa);
	return (~used & 0xffff) | half_open << 16;
}

/*
 * Frees a way of a full set, as @room says. It costs a look at each, but only
 * here. Unrolled, as all loops here: without CAP_PERFMON the verifier also follows them past
 * their end. Return: the way, or SHUNT_FT_NO_WAY.
 */
SHUNT_OUTLINE __u32 shunt_ft_reclaim(shunt_ft_t t, __u32 base, __u32 now, __u32 room)
{
#pragma GCC unroll 16
	for (__u32 w = 0; w < SHUNT_FLOW_WAYS; w++)
		if (shunt_ft_make_room(t, base + w, now, room))
			return w;
	return SHUNT_FT_NO_WAY;
}

/*
 * How old the flow @index is, if @room says that such make room: half-open ones since they began,
 * UDP flows that have shown more than one packet since their last. By itself, or the verifier
 * would follow all outcomes of all ways. Return: jiffies + 1, at most 2^28 - 1; 0: none such.
 */
SHUNT_OUTLINE __u32 shunt_ft_age(shunt_ft_t t, __u32 index, __u32 now, __u32 room)
{
	const struct shunt_flow *flow = shunt_ft_flow(t, index);
	__u32 state, age;

	if (!flow)
		return 0;
	state = SHUNT_LIFE_STATE(SHUNT_READ_ONCE(flow->life));
	if (!(room == SHUNT_FT_ROOM_UDP ? shunt_ft_is_udp(state) : shunt_ft_is_half_open(state)))
		return 0;
	/* Another CPU may be a tick ahead. */
	age = now -
	      SHUNT_PICK(room == SHUNT_FT_ROOM_UDP, flow->created_jiffies, flow->seen_jiffies);
	if ((__s32)age < 0)
		return 1;
	return age < (1u << 28) - 2 ? age + 1 : (1u << 28) - 1;
}

/* The oldest flow of a set that makes room as @room says, or SHUNT_FT_NO_WAY: none does. */
SHUNT_OUTLINE __u32 shunt_ft_oldest(shunt_ft_t t, __u32 base, __u32 now, __u32 room)
{
	__u32 oldest = 0;

#pragma GCC unroll 16
	for (__u32 w = 0; w < SHUNT_FLOW_WAYS; w++) {
		__u32 age = shunt_ft_age(t, base + w, now, room) << 4 | w;

		oldest = age > oldest ? age : oldest;
	}
	return oldest >> 4 ? oldest & (SHUNT_FLOW_WAYS - 1) : SHUNT_FT_NO_WAY;
}

/* Frees the way of the oldest such flow. Return: the way, or SHUNT_FT_NO_WAY. */
SHUNT_OUTLINE __u32 shunt_ft_displace(shunt_ft_t t, __u32 base, __u32 now, __u32 room)
{
	__u32 way = shunt_ft_oldest(t, base, now, room);

	if (way == SHUNT_FT_NO_WAY || !shunt_ft_make_room(t, base + way, now, room))
		return SHUNT_FT_NO_WAY;
	return way;
}

/* Takes way @way of a set if it is free. Return: 1 if it is ours. */
SHUNT_OUTLINE int shunt_ft_take(shunt_ft_t t, __u32 set_index, __u32 way, __u32 tag)
{
	struct shunt_flow_set *set = shunt_ft_set(t, set_index);

	return set && !shunt_ft_tag_swap(set, way, 0, tag);
}

/*
 * A way for a new flow in a set that is full, or has as many half-open flows as it may. @masks:
 * as shunt_ft_survey() found them. Return: the way, or SHUNT_FT_NO_WAY.
 */
static SHUNT_INLINE __u32 shunt_ft_crowd(shunt_ft_t t, __u64 hash, __u32 now, __u32 masks)
{
	__u32 base = shunt_ft_set_index(t, hash) * SHUNT_FLOW_WAYS, way = SHUNT_FT_NO_WAY;
	__u32 free_ways = masks & 0xffff, half_open = masks >> 16;

	if (free_ways)
		way = shunt_ft_pick(free_ways, 0);
	else
		way = shunt_ft_reclaim(t, base, now, SHUNT_FT_ROOM_DEAD);
	if (way == SHUNT_FT_NO_WAY)
		way = shunt_ft_reclaim(t, base, now, SHUNT_FT_ROOM_RESET);
	if (half_open &&
	    (way == SHUNT_FT_NO_WAY || shunt_ft_popcount(half_open) >= SHUNT_HALF_OPEN_WAYS)) {
		__u32 victim = shunt_ft_displace(t, base, now, SHUNT_FT_ROOM_HALF_OPEN);

		if (victim != SHUNT_FT_NO_WAY)
			way = victim;
	}
	if (way == SHUNT_FT_NO_WAY)
		way = shunt_ft_displace(t, base, now, SHUNT_FT_ROOM_UDP);
	return way;
}

/* Has a set with these masks room as it is? */
static SHUNT_INLINE int shunt_ft_has_room(__u32 masks)
{
	return masks & 0xffff && shunt_ft_popcount(masks >> 16) < SHUNT_HALF_OPEN_WAYS;
}

/**
 * shunt_ft_claim - get a way for a new flow
 * @hash: of the client's tuple
 * @now:  jiffies
 *
 * All flows begin half-open. At most SHUNT_HALF_OPEN_WAYS of a set are: above that, the oldest of
 * them makes room, so a flood of SYNs only displaces its like, and handshakes that are quick live
 * through it: each has as long as the set takes for so many new flows. In a full set closed and
 * expired, reset, half-open, and UDP flows make room, in this order; established TCP ones never
 * do.
 *
 * Return: flow index, or SHUNT_FT_NO_WAY: the set is full of living flows.
 */
SHUNT_OUTLINE __u32 shunt_ft_claim(shunt_ft_t t, __u64 hash, __u32 now)
{
	__u32 set_index = shunt_ft_set_index(t, hash), base = set_index * SHUNT_FLOW_WAYS;
	__u32 tag = shunt_ft_tag(hash) | SHUNT_FT_HALF_OPEN, masks = shunt_ft_survey(t, set_index);
	__u32 way = shunt_ft_has_room(masks) ? shunt_ft_pick(masks & 0xffff, 0)
					     : shunt_ft_crowd(t, hash, now, masks);

	if (way != SHUNT_FT_NO_WAY && shunt_ft_take(t, set_index, way, tag))
		return base + way;

	/* Another CPU took it: one more try, with what is free now. */
	masks = shunt_ft_survey(t, set_index) & 0xffff;
	if (!masks)
		return SHUNT_FT_NO_WAY;
	way = shunt_ft_pick(masks, 0);
	return shunt_ft_take(t, set_index, way, tag) ? base + way : SHUNT_FT_NO_WAY;
}

/* Gives a claimed way back that was never published. Return: 1. */
SHUNT_OUTLINE int shunt_ft_unclaim(shunt_ft_t t, __u32 index, __u64 hash)
{
	struct shunt_flow_set *set = shunt_ft_set(t, index / SHUNT_FLOW_WAYS);
	__u32 way = index & (SHUNT_FLOW_WAYS - 1), tag = shunt_ft_tag(hash);
	struct shunt_flow *flow = shunt_ft_flow(t, index);

	if (flow)
		shunt_ft_clear_rest(flow, SHUNT_F_SYN);
	/* A late promotion of the way's last tenant may have taken the half-open bit. */
	if (set && shunt_ft_tag_swap(set, way, tag | SHUNT_FT_HALF_OPEN, 0) == tag)
		shunt_ft_tag_swap(set, way, tag, 0);
	return 1;
}

/* Do two flows have one client's tuple? */
static SHUNT_INLINE int shunt_ft_same_client(const struct shunt_flow *a, const struct shunt_flow *b)
{
	if (a->client_lo_be != b->client_lo_be || a->frontend_lo_be != b->frontend_lo_be ||
	    a->client_port_be != b->client_port_be || a->frontend_port_be != b->frontend_port_be ||
	    a->proto != b->proto || a->family != b->family)
		return 0;
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++)
		if (a->client_hi_be[w] != b->client_hi_be[w] ||
		    a->frontend_hi_be[w] != b->frontend_hi_be[w])
			return 0;
	return 1;
}

/*
 * How many tags of a set are @tag, half-open or not, but for their highest bit: two at a time and
 * without a branch, for where ours is nobody could guess.
 */
static SHUNT_INLINE __u32 shunt_ft_count_tag(const struct shunt_flow_set *set, __u32 tag)
{
	const shunt_ft_pair *pair = (const shunt_ft_pair *)set->tag;
	const __u64 both = (__u64)tag << 32 | tag, mask = 0x7ffffffe7ffffffeull;
	__u64 others = 0;

	/* The sum reaches bit 31 of a half unless that half is 0. */
#pragma GCC unroll 8
	for (__u32 i = 0; i < SHUNT_FLOW_WAYS / 2; i++)
		others += (((SHUNT_READ_ONCE(pair[i]) ^ both) & mask) + mask) >> 31 &
			  0x0000000100000001ull;
	return SHUNT_FLOW_WAYS - (__u32)(others + (others >> 32));
}

/**
 * shunt_ft_is_rival - does another CPU make the same flow right now?
 * @index: of our claimed, filled and unpublished flow
 *
 * Asked when our tag is visible: of two at once, at least one sees the other and gives way,
 * wherever they stand; both may. A claim that is still being filled counts as the same flow;
 * if it is not (one in 2^30), the sender's next packet will show.
 */
SHUNT_OUTLINE int shunt_ft_is_rival(shunt_ft_t t, __u32 index, __u64 hash)
{
	const struct shunt_flow_set *set = shunt_ft_set(t, index / SHUNT_FLOW_WAYS);
	const struct shunt_flow *mine = shunt_ft_flow(t, index), *other;
	__u32 my_way = index & (SHUNT_FLOW_WAYS - 1), way;

	if (!set || !mine || shunt_ft_count_tag(set, shunt_ft_tag(hash)) <= 1)
		return 0;
	way = shunt_ft_match(set, shunt_ft_tag(hash));
	if (way == my_way)
		way = shunt_ft_match_last(t, index / SHUNT_FLOW_WAYS, shunt_ft_tag(hash));
	if (way == my_way || way == SHUNT_FT_NO_WAY)
		return 0;
	other = shunt_ft_flow(t, (index & ~(SHUNT_FLOW_WAYS - 1)) + way);
	return other && (SHUNT_LIFE_STATE(SHUNT_READ_ONCE(other->life)) == SHUNT_F_FREE ||
			 shunt_ft_same_client(mine, other));
}

/* Is the reply key of @flow, which stands at @mine, there a second time? */
static SHUNT_INLINE int shunt_ft_reply_taken(shunt_ft_t t, const struct shunt_reply_set *set,
					     __u32 mine, __u64 word, const struct shunt_flow *flow)
{
#pragma GCC unroll 8
	for (__u32 w = 0; w < SHUNT_REPLY_WAYS; w++) {
		__u64 other = SHUNT_READ_ONCE(set->way[w]);
		const struct shunt_flow *rival;

		if (w == mine || other >> 32 != word >> 32 || !(__u32)other)
			continue;
		rival = shunt_ft_flow(t, (__u32)other - 1);
		/* One that is being made (life FREE) counts as equal: both may then give way. */
		if (rival && (SHUNT_LIFE_STATE(SHUNT_READ_ONCE(rival->life)) == SHUNT_F_FREE ||
			      shunt_ft_same_reply(rival, flow)))
			return 1;
	}
	return 0;
}

/* The hash of the tuple with which the backend of flow @index answers. */
SHUNT_OUTLINE __u64 shunt_ft_reply_hash(shunt_ft_t t, __u32 index)
{
	const struct shunt_settings *settings = shunt_ft_settings(t);
	const struct shunt_flow *flow = shunt_ft_flow(t, index);
	struct shunt_addr backend = {}, source = {};

	if (!settings || !flow)
		return 0;
	backend.word_be[3] = flow->backend_lo_be;
	source.word_be[3] = flow->source_lo_be;
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		backend.word_be[w] = flow->backend_hi_be[w];
		source.word_be[w] = flow->source_hi_be[w];
	}
	return shunt_table_hash(settings->table_key, &backend, &source, flow->backend_port_be,
				flow->source_port_be, flow->proto, flow->family);
}

/**
 * shunt_ft_add_reply - enter the reply key of a filled, unpublished flow
 * @index: of the flow; its reply_way is written on success
 * @hash:  of its reply key, as shunt_ft_reply_hash()
 *
 * Return: 1 done; 0 the key is taken, or its set is full: another source port may do.
 */
SHUNT_OUTLINE int shunt_ft_add_reply(shunt_ft_t t, __u32 index, __u64 hash)
{
	struct shunt_flow *flow = shunt_ft_flow(t, index);
	__u32 set_index, mine = SHUNT_FT_NO_WAY;
	struct shunt_reply_set *set;
	__u64 word;

	if (!flow)
		return 0;
	word = (__u64)shunt_ft_reply_tag(hash) << 32 | (index + 1);
	set_index = shunt_ft_reply_index(t, hash);
	set = shunt_ft_reply_set(t, set_index);
	if (!set)
		return 0;
#pragma GCC unroll 8
	for (__u32 w = 0; w < SHUNT_REPLY_WAYS; w++)
		if (mine == SHUNT_FT_NO_WAY && !SHUNT_READ_ONCE(set->way[w]) &&
		    !shunt_cmpxchg(&set->way[w], 0, word))
			mine = w;
	if (mine == SHUNT_FT_NO_WAY)
		return 0;

	/* Only now that our word is visible: of two at once, one sees the other. */
	if (shunt_ft_reply_taken(t, set, mine, word, flow)) {
		shunt_ft_reply_swap(set, mine, word, 0);
		return 0;
	}
	flow->reply_way = set_index * SHUNT_REPLY_WAYS + mine + 1;
	return 1;
}

/* Has the client that is counted in cell @index its share of the table already? */
static SHUNT_INLINE int shunt_ft_has_share(shunt_ft_t t, __u32 index)
{
	const struct shunt_settings *settings = shunt_ft_settings(t);
	const struct shunt_client *client = shunt_ft_client(t, index);

	return settings && client && settings->client_limit &&
	       SHUNT_READ_ONCE(client->flows) >= settings->client_limit;
}

/**
 * shunt_ft_publish - make a filled flow visible, and count it
 * @client: where its client is counted
 * @state:  SHUNT_F_SYN, SHUNT_F_SYN_ACK or SHUNT_F_UDP_NEW
 *
 * Counted first, so that nobody gives back what has not been counted. That is a full barrier
 * between the record's fields and its life: whoever sees the life sees the fields. Nobody else
 * writes a FREE life.
 *
 * Return: its life.
 */
static SHUNT_INLINE __u32 shunt_ft_publish(shunt_ft_t t, struct shunt_flow *flow, __u32 client,
					   __u32 state)
{
	__u32 life = (SHUNT_LIFE_GEN(SHUNT_READ_ONCE(flow->life)) + 0x100) | state;

	shunt_ft_count(t, flow->backend, client, 1);
	SHUNT_WRITE_ONCE(flow->life, life);
	return life;
}

/**
 * shunt_ft_sweep - remove the expired flows among @ways of a set
 * @ways: a mask
 *
 * Return: how many.
 */
SHUNT_OUTLINE __u32 shunt_ft_sweep(shunt_ft_t t, __u32 set_index, __u32 ways, __u32 now)
{
	__u32 ended = 0;

#pragma GCC unroll 16
	for (__u32 w = 0; w < SHUNT_FLOW_WAYS; w++)
		if (ways >> w & 1)
			ended += shunt_ft_expire(t, set_index * SHUNT_FLOW_WAYS + w, now);
	return ended;
}

#endif
