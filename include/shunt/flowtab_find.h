/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_FLOWTAB_FIND_H
#define SHUNT_FLOWTAB_FIND_H

/*
 * Finding a flow, by its client's tuple or by its answer's. The readers' half of shunt/flowtab.h,
 * which includes it.
 */

/* Return: the first way whose tag is @tag, half-open or not, or SHUNT_FT_NO_WAY. */
static SHUNT_INLINE __u32 shunt_ft_match(const struct shunt_flow_set *set, __u32 tag)
{
#pragma GCC unroll 16
	for (__u32 w = 0; w < SHUNT_FLOW_WAYS; w++)
		if ((SHUNT_READ_ONCE(set->tag[w]) ^ tag) <= SHUNT_FT_HALF_OPEN)
			return w;
	return SHUNT_FT_NO_WAY;
}

/*
 * The last such way. Who looked at the first looks at this one next. By itself: the verifier would
 * follow each of them, for each first one.
 */
SHUNT_OUTLINE __u32 shunt_ft_match_last(shunt_ft_t t, __u32 set_index, __u32 tag)
{
	const struct shunt_flow_set *set = shunt_ft_set(t, set_index);

	if (!set)
		return SHUNT_FT_NO_WAY;
#pragma GCC unroll 16
	for (__u32 n = 1; n <= SHUNT_FLOW_WAYS; n++)
		if ((SHUNT_READ_ONCE(set->tag[SHUNT_FLOW_WAYS - n]) ^ tag) <= SHUNT_FT_HALF_OPEN)
			return SHUNT_FLOW_WAYS - n;
	return SHUNT_FT_NO_WAY;
}

/**
 * shunt_ft_find_flow - the flow of a client's packet
 * @hash:    shunt_table_hash() of @tuple
 * @ret_ref: a reference to it; 0: there is none
 *
 * Two ways of one set with equal 30-bit tags are tried, which leaves one set in 10^15
 * unlucky; then the third flow is a miss.
 *
 * Return: the live flow, or NULL. Copy what you need, then see shunt_ft_is_fresh().
 */
static SHUNT_INLINE struct shunt_flow *
shunt_ft_find_flow(shunt_ft_t t, const struct shunt_tuple *tuple, __u64 hash, __u64 *ret_ref)
{
	__u32 set_index = shunt_ft_set_index(t, hash);
	const struct shunt_flow_set *set = shunt_ft_set(t, set_index);
	__u32 tag = shunt_ft_tag(hash);

	*ret_ref = 0;
	if (!set)
		return NULL;
#pragma GCC unroll 2
	for (int attempt = 0; attempt < 2; attempt++) {
		__u32 way =
			attempt ? shunt_ft_match_last(t, set_index, tag) : shunt_ft_match(set, tag);
		__u32 index, life;
		struct shunt_flow *flow;

		if (way == SHUNT_FT_NO_WAY)
			return NULL;
		index = set_index * SHUNT_FLOW_WAYS + way;
		flow = shunt_ft_flow(t, index);
		if (!flow)
			return NULL;
		life = SHUNT_READ_ONCE(flow->life);
		if (SHUNT_LIFE_STATE(life) != SHUNT_F_FREE && shunt_ft_is_client(flow, tuple)) {
			*ret_ref = SHUNT_FT_REF(index, life);
			return flow;
		}
	}
	return NULL;
}

/* The same, as a reference alone. */
static SHUNT_INLINE __u64 shunt_ft_find(shunt_ft_t t, const struct shunt_tuple *tuple, __u64 hash)
{
	__u64 ref;

	shunt_ft_find_flow(t, tuple, hash, &ref);
	return ref;
}

/*
 * Is the record still the flow that the lookup of @life found? Ask after copying from it.
 * FREE is not: the next tenant may be filling it, and the generation changes only then.
 */
static SHUNT_INLINE int shunt_ft_is_fresh(const struct shunt_flow *flow, __u32 life)
{
	__u32 now = SHUNT_READ_ONCE(flow->life);

	return SHUNT_LIFE_GEN(now) == SHUNT_LIFE_GEN(life) && SHUNT_LIFE_STATE(now) != SHUNT_F_FREE;
}

static SHUNT_INLINE __u32 shunt_ft_reply_tag(__u64 hash)
{
	return hash >> 32;
}

enum shunt_ft_direction {
	SHUNT_FT_ANSWER,    /* the tuple is an answer's: backend -> source */
	SHUNT_FT_REWRITTEN, /* the tuple is a rewritten request's: source -> backend */
};

/* The hash under which the reply key of @tuple stands. */
static SHUNT_INLINE __u64 shunt_ft_reply_key(shunt_ft_t t, const struct shunt_tuple *tuple,
					     __u32 direction)
{
	const struct shunt_settings *settings = shunt_ft_settings(t);
	__u64 key = settings ? settings->table_key : 0;

	if (direction == SHUNT_FT_REWRITTEN)
		return shunt_table_hash(key, &tuple->dst, &tuple->src, tuple->dport_be,
					tuple->sport_be, tuple->proto, tuple->family);
	return shunt_table_hash(key, &tuple->src, &tuple->dst, tuple->sport_be, tuple->dport_be,
				tuple->proto, tuple->family);
}

/**
 * shunt_ft_find_reply - the flow that an answer, or a rewritten request, belongs to
 * @tuple:     as on the wire
 * @direction: enum shunt_ft_direction
 *
 * Return: as shunt_ft_find().
 */
SHUNT_OUTLINE __u64 shunt_ft_find_reply(shunt_ft_t t, const struct shunt_tuple *tuple,
					__u32 direction)
{
	const struct shunt_reply_set *set;
	__u64 hash;

	if (!tuple)
		return 0;
	hash = shunt_ft_reply_key(t, tuple, direction);
	set = shunt_ft_reply_set(t, shunt_ft_reply_index(t, hash));
	if (!set)
		return 0;
#pragma GCC unroll 8
	for (__u32 w = 0; w < SHUNT_REPLY_WAYS; w++) {
		__u64 word = SHUNT_READ_ONCE(set->way[w]);
		const struct shunt_flow *flow;
		__u32 life;

		if (word >> 32 != shunt_ft_reply_tag(hash) || !(__u32)word)
			continue;
		flow = shunt_ft_flow(t, (__u32)word - 1);
		if (!flow)
			continue;
		life = SHUNT_READ_ONCE(flow->life);
		if (SHUNT_LIFE_STATE(life) == SHUNT_F_FREE || flow->proto != tuple->proto ||
		    flow->family != tuple->family)
			continue;
		if (direction == SHUNT_FT_REWRITTEN
			    ? shunt_ft_is_reply(flow, &tuple->dst, tuple->dport_be, &tuple->src,
						tuple->sport_be)
			    : shunt_ft_is_reply(flow, &tuple->src, tuple->sport_be, &tuple->dst,
						tuple->dport_be))
			return SHUNT_FT_REF((__u32)word - 1, life);
	}
	return 0;
}

#endif
