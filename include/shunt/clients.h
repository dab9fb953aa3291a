/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_CLIENTS_H
#define SHUNT_CLIENTS_H

#include "choose.h"
#include "gcra.h"

/*
 * What limits know of each client, in two bounded tables of sets of 8 ways, found by a hash of
 * limit and client: token buckets, and connections in being. One code for the BPF programs and
 * for tests in user space. Nothing is ever evicted, and nothing is allocated:
 *
 *  - A bucket that has rested (its word is not ahead of now) is full, so it says nothing that a
 *    new one would not say: anybody may take its way. When no way of the set has rested, a
 *    newcomer is not tracked, which lets him pass and is counted; the heaviest have the words
 *    that lie furthest ahead, and stay.
 *  - A client without connections needs no count: its way is anybody's.
 *
 * Concurrency: a bucket's way is claimed by compare-and-swap of its tag, its units are taken by
 * compare-and-swap of its word. Where the last tenant takes a unit just while his rested way is
 * claimed, that unit is charged to the new tenant; where two CPUs see different ways rested and
 * claim one each for the same client, the second bucket is not found again and the unit taken
 * there is not charged. So a race is wrong by the units of one packet, and only at the first of a
 * client that rested. Counts of connections share a word with their tag, and cannot go wrong: the
 * way of a count that is not zero belongs to its client.
 *
 * The includer defines shunt_ft_t and shunt_ft_settings() as for shunt/flowtab.h, and these;
 * each returns NULL when the index is out of range:
 *	struct shunt_client_set    *shunt_ft_client_set(shunt_ft_t t, __u32 index);
 *	struct shunt_client_active *shunt_ft_client_active(shunt_ft_t t, __u32 index);
 */

/* What shunt_clients_bucket() and shunt_clients_enter() return besides an index + 1. */
#define SHUNT_CLIENTS_NO_ROOM 0u
#define SHUNT_CLIENTS_OVER    0xffffffffu

#define SHUNT_CLIENTS_TRIES 4

/**
 * shunt_clients_hash - where a limit's client stands
 * @key:    the installation's secret: clients cannot choose their set
 * @bucket: of the limit
 *
 * Return: the set in the low bits; the whole is the tag, never 0.
 */
static SHUNT_INLINE __u64 shunt_clients_hash(__u64 key, __u32 bucket, const struct shunt_addr *addr,
					     __u32 family, __u32 prefix_len)
{
	struct shunt_addr client;
	__u64 hash = shunt_mix64(key ^ ((__u64)family << 32 | bucket));

	shunt_masked_addr(addr, family, prefix_len, &client);
	if (family == SHUNT_V6)
		hash = shunt_mix64(hash ^ shunt_pair(client.word_be[0], client.word_be[1]));
	hash = shunt_mix64(hash ^ shunt_pair(client.word_be[2], client.word_be[3]));
	return hash ? hash : 1;
}

static SHUNT_INLINE __u32 shunt_clients_set_index(shunt_ft_t t, __u64 hash)
{
	const struct shunt_settings *settings = shunt_ft_settings(t);

	return settings ? (__u32)hash & settings->limit_set_mask : 0;
}

/*
 * The way of @hash in a set, else SHUNT_LIMIT_WAYS + the first way that has rested, else twice
 * SHUNT_LIMIT_WAYS. Without branches: the verifier would follow each combination.
 */
static SHUNT_INLINE __u32 shunt_clients_look(const struct shunt_client_set *set, __u64 hash,
					     __u64 now)
{
	__u32 found = 2 * SHUNT_LIMIT_WAYS;

#pragma GCC unroll 8
	for (__u32 i = 0; i < SHUNT_LIMIT_WAYS; i++) {
		__u32 w = SHUNT_LIMIT_WAYS - 1 - i;

		if (SHUNT_READ_ONCE(set->word[w]) <= now)
			found = SHUNT_LIMIT_WAYS + w;
	}
#pragma GCC unroll 8
	for (__u32 w = 0; w < SHUNT_LIMIT_WAYS; w++)
		if (SHUNT_READ_ONCE(set->tag[w]) == hash)
			found = w;
	return found;
}

/* Claims way @w, which has rested, for @hash. Return: 1 if it is ours. */
static SHUNT_INLINE int shunt_clients_claim(struct shunt_client_set *set, __u32 w, __u64 hash)
{
	__u64 *tag = &set->tag[0], seen;

#define SHUNT_CLIENTS_CASE(i)                                                                      \
	case i:                                                                                    \
		tag = &set->tag[i];                                                                \
		SHUNT_OPAQUE_CASE(tag, i);                                                         \
		seen = SHUNT_READ_ONCE(*tag);                                                      \
		return shunt_cmpxchg(tag, seen, hash) == seen;
	switch (w) {
		SHUNT_REPEAT_8(SHUNT_CLIENTS_CASE)
	}
#undef SHUNT_CLIENTS_CASE
	return 0;
}

/**
 * shunt_clients_bucket - a client's bucket, found or claimed
 * @now_ns: as for shunt_gcra_take()
 *
 * Return: set * SHUNT_LIMIT_WAYS + way + 1, or SHUNT_CLIENTS_NO_ROOM.
 */
static SHUNT_INLINE __u32 shunt_clients_bucket(shunt_ft_t t, __u64 hash, __u64 now_ns)
{
	__u32 index = shunt_clients_set_index(t, hash), way;
	struct shunt_client_set *set = shunt_ft_client_set(t, index);

	if (!set)
		return SHUNT_CLIENTS_NO_ROOM;
	way = shunt_clients_look(set, hash, now_ns << SHUNT_GCRA_TICK);
	if (way >= SHUNT_LIMIT_WAYS && way < 2 * SHUNT_LIMIT_WAYS) {
		/* Another CPU may have been faster, and then maybe for the same client. */
		if (shunt_clients_claim(set, way - SHUNT_LIMIT_WAYS, hash))
			way -= SHUNT_LIMIT_WAYS;
		else
			way = shunt_clients_look(set, hash, now_ns << SHUNT_GCRA_TICK);
	}
	return way < SHUNT_LIMIT_WAYS ? index * SHUNT_LIMIT_WAYS + way + 1 : SHUNT_CLIENTS_NO_ROOM;
}

/* The word of a bucket that shunt_clients_bucket() found. */
static SHUNT_INLINE __u64 *shunt_clients_word(shunt_ft_t t, __u32 way)
{
	struct shunt_client_set *set = shunt_ft_client_set(t, (way - 1) / SHUNT_LIMIT_WAYS);
	__u64 *word;

	if (!set)
		return NULL;
#define SHUNT_CLIENTS_CASE(i)                                                                      \
	case i:                                                                                    \
		word = &set->word[i];                                                              \
		SHUNT_OPAQUE_CASE(word, i);                                                        \
		return word;
	switch ((way - 1) & (SHUNT_LIMIT_WAYS - 1)) {
		SHUNT_REPEAT_8(SHUNT_CLIENTS_CASE)
	}
#undef SHUNT_CLIENTS_CASE
	return NULL;
}

/* ---- connections in being ------------------------------------------------------------------ */

/*
 * Of a set: the way + 1 where the client is counted, but not @but; else above it the first free
 * one + 1. A function of its own: unrolled into each try it took the verifier 69k instructions.
 */
SHUNT_OUTLINE __u64 shunt_clients_seek(shunt_ft_t t, __u32 first, __u32 tag, __u32 but)
{
	__u32 free_way = 0;

#pragma GCC unroll 8
	for (__u32 w = 0; w < SHUNT_LIMIT_WAYS; w++) {
		const struct shunt_client_active *a = shunt_ft_client_active(t, first + w);
		__u64 word;

		if (!a)
			return 0;
		word = SHUNT_READ_ONCE(a->word);
		if ((__u32)word && word >> 32 == tag && first + w + 1 != but)
			return first + w + 1;
		if (!(__u32)word && !free_way)
			free_way = first + w + 1;
	}
	return (__u64)free_way << 32;
}

/* One more at way + 1 @way, or its first there. Return: @way; 0: another CPU was faster; OVER. */
static SHUNT_INLINE __u32 shunt_clients_add(shunt_ft_t t, __u32 way, __u32 tag, __u32 max)
{
	struct shunt_client_active *a = shunt_ft_client_active(t, way - 1);
	__u64 seen, next = (__u64)tag << 32 | 1;

	if (!a)
		return 0;
	seen = SHUNT_READ_ONCE(a->word);
	if ((__u32)seen) {
		if (seen >> 32 != tag)
			return 0;
		if ((__u32)seen >= max)
			return SHUNT_CLIENTS_OVER;
		next = seen + 1;
	}
	return shunt_cmpxchg(&a->word, seen, next) == seen ? way : 0;
}

/* Takes one connection out of the count at @index. */
static SHUNT_INLINE void shunt_clients_leave(shunt_ft_t t, __u32 index)
{
	struct shunt_client_active *a = shunt_ft_client_active(t, index);

	if (a)
		shunt_fetch_add(&a->word, -1);
}

/**
 * shunt_clients_enter - count one more connection of a client
 * @max: at once, at least 1
 *
 * Who claims a way looks again whether the client has got another one meanwhile: of two at once
 * at least one sees the other, and gives way. So nobody is ever counted at two places.
 *
 * Return: index in shunt_client_active + 1, to be given to shunt_clients_leave();
 * SHUNT_CLIENTS_OVER: it has @max already, or other CPUs were faster again and again;
 * SHUNT_CLIENTS_NO_ROOM: not counted.
 */
SHUNT_OUTLINE __u32 shunt_clients_enter(shunt_ft_t t, __u64 hash, __u32 max)
{
	__u32 first = shunt_clients_set_index(t, hash) * SHUNT_LIMIT_WAYS, tag = hash >> 32;

#pragma GCC unroll 4
	for (int i = 0; i < SHUNT_CLIENTS_TRIES; i++) {
		__u64 found = shunt_clients_seek(t, first, tag, 0);
		__u32 free_way = found >> 32, way;

		if (!found)
			return SHUNT_CLIENTS_NO_ROOM;
		way = shunt_clients_add(t, free_way ? free_way : (__u32)found, tag, max);
		if (way == SHUNT_CLIENTS_OVER ||
		    (way && !(free_way && (__u32)shunt_clients_seek(t, first, tag, way))))
			return way;
		if (way)
			shunt_clients_leave(t, way - 1);
	}
	return SHUNT_CLIENTS_OVER;
}

#endif
