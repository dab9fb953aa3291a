/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_CHOOSE_H
#define SHUNT_CHOOSE_H

#include "abi.h"
#include "compat.h"
#include "tuple.h"

/*
 * The choice of variant and backend: one code, compiled into the BPF programs, the agent,
 * `shunt explain` and the tests. Every function here is pure.
 *
 * The variant is a function of (key, variant names, weights, overlay) alone: no history, so
 * every node and every restart agrees, and a change of weights moves only the share that it
 * must. The key is hashed once with SipHash-1-3 under the installation's secret; stage 1
 * (variant) and stage 2 (backend) use independent parts of the result.
 */

/* ---- hashing -------------------------------------------------------------------------- */

#define SHUNT_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct shunt_sip {
	__u64 v0, v1, v2, v3;
};

static SHUNT_INLINE void shunt_sip_round(struct shunt_sip *s)
{
	s->v0 += s->v1;
	s->v1 = SHUNT_ROTL(s->v1, 13) ^ s->v0;
	s->v0 = SHUNT_ROTL(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = SHUNT_ROTL(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = SHUNT_ROTL(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = SHUNT_ROTL(s->v1, 17) ^ s->v2;
	s->v2 = SHUNT_ROTL(s->v2, 32);
}

static SHUNT_INLINE void shunt_sip_word(struct shunt_sip *s, __u64 word)
{
	s->v3 ^= word;
	shunt_sip_round(s);
	s->v0 ^= word;
}

static SHUNT_INLINE void shunt_sip_init(struct shunt_sip *s, const __u64 key[2])
{
	s->v0 = key[0] ^ 0x736f6d6570736575ull;
	s->v1 = key[1] ^ 0x646f72616e646f6dull;
	s->v2 = key[0] ^ 0x6c7967656e657261ull;
	s->v3 = key[1] ^ 0x7465646279746573ull;
}

/* @word: the last one: how many bytes are hashed in its highest byte, what is left of them below */
static SHUNT_INLINE __u64 shunt_sip_last(struct shunt_sip *s, __u64 word)
{
	shunt_sip_word(s, word);
	s->v2 ^= 0xff;
	shunt_sip_round(s);
	shunt_sip_round(s);
	shunt_sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* @length: number of bytes hashed, a multiple of 8. */
static SHUNT_INLINE __u64 shunt_sip_final(struct shunt_sip *s, __u64 length)
{
	return shunt_sip_last(s, length << 56);
}

/* The finalizer of MurmurHash3: a bijection in which each bit of @x moves each bit. */
static SHUNT_INLINE __u64 shunt_mix64(__u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	x ^= x >> 33;
	return x;
}

/* FNV-1a of a name: the seed of a variant or service. Not secret, only distinct. */
static SHUNT_INLINE __u64 shunt_name_seed(const char *name)
{
	__u64 hash = 0xcbf29ce484222325ull;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3ull;
	return shunt_mix64(hash);
}

/* What marks the element of @key in shunt_frontends as its own. */
static SHUNT_INLINE __u32 shunt_frontend_check(const struct shunt_frontend_key *key)
{
	__u64 high = (__u64)key->addr.word_be[0] << 32 | key->addr.word_be[1];
	__u64 low = (__u64)key->addr.word_be[2] << 32 | key->addr.word_be[3];

	return (high * 0x9e3779b97f4a7c15ull ^ low * 0xd6e8feb86659fd93ull ^
		((__u64)key->port_be << 8 | key->proto) * 0xa0761d6478bd642full) >>
	       32;
}

/* ---- the affinity key ------------------------------------------------------------------- */

/* Word @w of @addr with all bits behind @prefix_len cleared; IPv4 counts from word 3. */
static SHUNT_INLINE __be32 shunt_masked_word(const struct shunt_addr *addr, __u32 family, __u32 w,
					     __u32 prefix_len)
{
	__u32 start = family == SHUNT_V6 ? w * 32 : 0;
	__u32 keep;

	if (family == SHUNT_V4 && w != 3)
		return 0;
	if (prefix_len <= start)
		return 0;
	keep = prefix_len - start;
	if (keep >= 32)
		return addr->word_be[w];
	return addr->word_be[w] & shunt_htonl(~0u << (32 - keep));
}

static SHUNT_INLINE void shunt_masked_addr(const struct shunt_addr *addr, __u32 family,
					   __u32 prefix_len, struct shunt_addr *ret)
{
	ret->word_be[0] = shunt_masked_word(addr, family, 0, prefix_len);
	ret->word_be[1] = shunt_masked_word(addr, family, 1, prefix_len);
	ret->word_be[2] = shunt_masked_word(addr, family, 2, prefix_len);
	ret->word_be[3] = shunt_masked_word(addr, family, 3, prefix_len);
}

static SHUNT_INLINE __u64 shunt_pair(__be32 a, __be32 b)
{
	return (__u64)a << 32 | b;
}

/**
 * shunt_choice_hash - hash the affinity key of a new flow
 * @key:        secret of the installation
 * @seed:       of the service: two services choose independently for one client
 * @tuple:      client -> frontend
 * @affinity:   enum shunt_affinity: CONNECTION hashes the whole tuple, the others the client
 * @prefix_len: of the client's address, for the others
 *
 * The frontend's address is part of the CONNECTION key only, so a client with affinity gets
 * the same variant on each frontend of the service.
 *
 * As few words as may be, for each costs a new flow 4 ns: what is less than one goes into SipHash's
 * last word beside the length, by which the kinds of keys differ, and the seed is added to another.
 */
static SHUNT_INLINE __u64 shunt_choice_hash(const __u64 key[2], __u64 seed,
					    const struct shunt_tuple *tuple, __u32 affinity,
					    __u32 prefix_len)
{
	struct shunt_sip s;
	struct shunt_addr client;
	__u64 last = (__u64)tuple->proto << 32 | (__u64)tuple->sport_be << 16 | tuple->dport_be;

	shunt_sip_init(&s, key);
	if (affinity != SHUNT_AFFINITY_CONNECTION) {
		shunt_sip_word(&s, seed);
		shunt_masked_addr(&tuple->src, tuple->family, prefix_len, &client);
		shunt_sip_word(&s, shunt_pair(client.word_be[0], client.word_be[1]));
		shunt_sip_word(&s, shunt_pair(client.word_be[2], client.word_be[3]));
		return shunt_sip_final(&s, 24);
	}
	if (tuple->family == SHUNT_V6) {
		shunt_sip_word(&s, shunt_pair(tuple->src.word_be[0], tuple->src.word_be[1]));
		shunt_sip_word(&s, shunt_pair(tuple->dst.word_be[0], tuple->dst.word_be[1]));
		shunt_sip_word(&s, shunt_pair(tuple->src.word_be[2], tuple->dst.word_be[2]));
	}
	shunt_sip_word(&s, shunt_pair(tuple->src.word_be[3], tuple->dst.word_be[3]) ^ seed);
	return shunt_sip_last(&s, last | (tuple->family == SHUNT_V6 ? 37ull : 13ull) << 56);
}

/* ---- stage 1: the variant ------------------------------------------------------------------ */

/*
 * -ln((u + 1) / 2^32) as a fixed-point number with 32 fraction bits, 0 <= u < 2^32.
 *
 * Source: ln x = 2 atanh((x - 1) / (x + 1)), six terms of the series after scaling x into
 * (1/2, 1]: |z| <= 1/3, so the first term left out is below 1.3e-7. Relative precision is
 * kept near x = 1, where a heavy variant's scores lie. The largest value is 32 ln 2 < 2^37.
 */
static SHUNT_INLINE __u64 shunt_neg_ln(__u32 u)
{
	__u64 m = (__u64)u + 1; /* 1..2^32 */
	__u64 shift = 0, z, z2, sum;

	/* Scaled without a branch: the verifier would follow each of the 32 outcomes. */
#pragma GCC unroll 5
	for (int bits = 16; bits; bits /= 2) {
		__u64 step = ((m - (1ull << (32 - bits)) - 1) >> 63) * bits;

		m <<= step;
		shift += step;
	}
	/* x = m / 2^32 in (1/2, 1]; z = (1 - x) / (1 + x) in [0, 1/3), 32 fraction bits */
	z = (((1ull << 32) - m) << 31) / (((1ull << 32) + m) >> 1);
	z2 = z * z >> 32;
	sum = 0x1745d174ull;			/* 2^32 / 11 */
	sum = 0x1c71c71cull + (sum * z2 >> 32); /* 2^32 / 9 */
	sum = 0x24924925ull + (sum * z2 >> 32); /* 2^32 / 7 */
	sum = 0x33333333ull + (sum * z2 >> 32); /* 2^32 / 5 */
	sum = 0x55555555ull + (sum * z2 >> 32); /* 2^32 / 3 */
	sum = (1ull << 32) + (sum * z2 >> 32);
	return shift * 0xb17217f8ull /* 2^32 ln 2 */ + (z * sum >> 31);
}

/**
 * shunt_threshold - what makes two weights an exact 32-bit threshold
 * @first, @second: weights, 0..SHUNT_MAX_WEIGHT
 *
 * Return: 0..2^32: a hash32 below it chooses the first. Growing @first or shrinking @second
 * only grows it, so during a ramp nobody moves back. 0 if both are 0 (nothing is chosen then).
 */
static SHUNT_INLINE __u64 shunt_threshold(__u32 first, __u32 second)
{
	__u64 total = (__u64)first + second;

	return total ? ((__u64)first << 32) / total : 0;
}

/* The part of the choice hash that stage 1 uses. */
static SHUNT_INLINE __u32 shunt_variant_part(__u64 hash)
{
	return hash >> 32;
}

/* The score of a variant in the rendezvous, of its name alone: lower is better. */
static SHUNT_INLINE __u64 shunt_rendezvous(__u64 hash, __u64 seed)
{
	return shunt_neg_ln(shunt_mix64((hash >> 32) ^ seed) >> 32);
}

/*
 * Does a variant with (@score, @weight) beat the best one so far? Weighted rendezvous
 * (Schindelhauer and Schomaker 2005: the smallest -ln(u) / weight wins), cross-multiplied:
 * 2^37 * 10^6 < 2^57, so no division and no overflow. The first of equals stays.
 */
static SHUNT_INLINE int shunt_beats(__u64 score, __u32 weight, __u64 best_score, __u32 best_weight)
{
	if (!weight)
		return 0;
	if (!best_weight)
		return 1;
	return score * best_weight < best_score * weight;
}

/* The best variant of a rendezvous so far. */
struct shunt_best {
	__u64 score;
	__u32 weight; /* 0: none yet */
	__s32 index;
};

/*
 * Looks at variant @index of a rendezvous. By itself, so that the verifier forgets which one was
 * the best: else it follows each of them to the end. Return: 1 if it is the best so far.
 */
SHUNT_OUTLINE int shunt_consider(struct shunt_best *best, __u64 hash, __u64 seed, __u32 weight,
				 __u32 index)
{
	__u64 score;

	if (!best || !weight)
		return 0;
	score = shunt_rendezvous(hash, seed);
	if (!shunt_beats(score, weight, best->score, best->weight))
		return 0;
	best->score = score;
	best->weight = weight;
	best->index = index;
	return 1;
}

/* Which of at most two variants: an exact threshold. As shunt_pick_variant(). */
static SHUNT_INLINE int shunt_pick_of_two(const struct shunt_split *split, __u32 tripped,
					  __u64 hash)
{
	__u32 first = tripped & 1 ? 0 : split->variant[0].weight;
	__u32 second = tripped & 2 ? 0 : split->variant[1].weight;

	if (!first && !second)
		return -1;
	if (!first || !second)
		return first ? 0 : 1;
	return shunt_variant_part(hash) < split->threshold ? 0 : 1;
}

/**
 * shunt_pick_variant - which variant gets a new flow
 * @split:   variants sorted by name
 * @tripped: bit i: the kernel has taken variant i out (overlay); its weight counts as 0
 * @hash:    of the affinity key
 *
 * Up to two variants: an exact threshold. More: weighted rendezvous, in integers.
 *
 * Return: index of the variant, or -1 when every weight is 0.
 */
static SHUNT_INLINE int shunt_pick_variant(const struct shunt_split *split, __u32 tripped,
					   __u64 hash)
{
	struct shunt_best best = { 0, 0, -1 };

	if (split->n_variants <= 2)
		return shunt_pick_of_two(split, tripped, hash);

		/* Unrolled: without CAP_PERFMON the verifier refuses a variable index here. */
#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_MAX_VARIANTS; i++) {
		if ((__u32)i >= split->n_variants)
			break;
		if (!(tripped >> i & 1))
			shunt_consider(&best, hash, split->variant[i].seed,
				       split->variant[i].weight, i);
	}
	return best.index;
}

/* ---- stage 2: the backend ------------------------------------------------------------------ */

/* Return: a slot of a ring with @size entries, by the part that stage 1 does not use. */
static SHUNT_INLINE __u32 shunt_ring_slot(__u64 hash, __u32 size)
{
	return (__u32)(((shunt_mix64(hash & 0xffffffff) >> 32) * size) >> 32);
}

/* ---- the flow table's hash ------------------------------------------------------------------ */

/*
 * Keyed multiply-mix of a tuple, for places in the flow table. Fast rather than
 * cryptographic: an attacker sees no output of it, and a collision only costs room in one
 * set. Different from the choice hash, so a full set says nothing about a variant.
 */
static SHUNT_INLINE __u64 shunt_table_hash(__u64 key, const struct shunt_addr *src,
					   const struct shunt_addr *dst, __be16 sport_be,
					   __be16 dport_be, __u32 proto, __u32 family)
{
	__u64 h = key;

	if (family == SHUNT_V6) {
		h = (h ^ shunt_pair(src->word_be[0], src->word_be[1])) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
		h = (h ^ shunt_pair(dst->word_be[0], dst->word_be[1])) * 0xd6e8feb86659fd93ull;
		h ^= h >> 32;
		h = (h ^ shunt_pair(src->word_be[2], dst->word_be[2])) * 0xa0761d6478bd642full;
		h ^= h >> 32;
	}
	h = (h ^ shunt_pair(src->word_be[3], dst->word_be[3])) * 0x9e3779b97f4a7c15ull;
	h ^= h >> 32;
	/* Ports lowest: a product carries a change upwards only, and the set is its low bits. */
	h = (h ^ ((__u64)proto << 40 | (__u64)family << 32 | (__u64)dport_be << 16 | sport_be)) *
	    0xa0761d6478bd642full;
	return h ^ h >> 32;
}

#endif
