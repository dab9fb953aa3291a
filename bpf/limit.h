/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_LIMIT_H
#define SHUNT_BPF_LIMIT_H

#include "flowmem.h"
#include "hook.h"
#include "lookup.h"
#include "scratch.h"
#include "shunt/gcra.h"

/*
 * What a service's policy lets in: address lists and rates of new flows before the choice; rates
 * of variants, packets and connections in being behind it; packets and bytes of known flows. Rates
 * come first, so that what they refuse takes no place among the connections in being.
 *
 * Functions have few arguments and frames of their own, for they are called where the stack is
 * nearly full: what they look at is in the scratch. The clock is read once, and only if some limit
 * applies.
 */

/*
 * Limit @index of the @n at @first, constants of a policy's record; NULL: there are not so many.
 * Each has its own code, for the verifier without CAP_PERFMON.
 */
static __always_inline const struct shunt_limit *limit_at(const struct shunt_limit *first, __u32 n,
							  __u32 index)
{
	const struct shunt_limit *limit = NULL;

	if (index >= n)
		return NULL;
	switch (index) {
#define LIMIT_CASE(i)                                                                              \
	case i:                                                                                    \
		limit = &first[i];                                                                 \
		SHUNT_OPAQUE_CASE(limit, i);                                                       \
		return limit;
		SHUNT_REPEAT_8(LIMIT_CASE)
#undef LIMIT_CASE
	}
	return NULL;
}

static __always_inline const struct shunt_limit *limit_rate_at(__u32 policy, __u32 index)
{
	const struct shunt_policy_record *p = bpf_map_lookup_elem(&shunt_policies, &policy);

	return p ? limit_at(p->rate, SHUNT_MAX_RATES, index) : NULL;
}

static __always_inline const struct shunt_limit *limit_at_once_at(__u32 policy, __u32 index)
{
	const struct shunt_policy_record *p = bpf_map_lookup_elem(&shunt_policies, &policy);

	return p ? limit_at(p->at_once, SHUNT_MAX_AT_ONCE, index) : NULL;
}

enum limit_count { LIMIT_ADMITTED, LIMIT_REFUSED, LIMIT_UNTRACKED };

static __always_inline void limit_count(__u32 bucket, enum limit_count what, __u32 units)
{
	struct shunt_limit_counters *c = bpf_map_lookup_elem(&shunt_limit_counters, &bucket);

	if (!c)
		return;
	if (what == LIMIT_REFUSED)
		c->refused++;
	else
		c->admitted += units;
	if (what == LIMIT_UNTRACKED)
		c->untracked++;
}

/* Where the word of a limit is: the upper half of what limit_find() returns. */
#define LIMIT_ONE_FOR_ALL 0xffffffffu /* in shunt_buckets; else as shunt_clients_bucket() said */

/* The bucket of variant @variant; 0: it has none. */
static __always_inline __u32 limit_variant_bucket(const struct shunt_limit *limit, __u32 variant)
{
	__u32 bucket = 0;

#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_MAX_VARIANTS; i++)
		if (limit->variant[i].variant == variant)
			bucket = limit->variant[i].bucket;
	return variant ? bucket : 0;
}

/* Where a limit of each client has that of the packet in the scratch. */
static __always_inline __u64 limit_client_hash(const struct shunt_limit *limit,
					       const struct scratch *s)
{
	return shunt_clients_hash(lookup_key(), limit->bucket, &s->limited.client,
				  s->limited.family,
				  SHUNT_PICK(s->limited.family == SHUNT_V6, limit->prefix_len[0],
					     limit->prefix_len[1]));
}

/**
 * limit_find - the bucket of the policy's rate @index for the packet in the scratch
 *
 * And its rate into the scratch: where limit_take() looked it up again, each of 8 limits met each
 * of 9 places of a word, which took the verifier 23k instructions.
 *
 * Return: its index, and above it where its word is; 0: the limit does not concern it.
 */
__attribute__((noinline)) __u64 limit_find(__u32 policy, __u32 index)
{
	const struct shunt_limit *limit = limit_rate_at(policy, index);
	struct scratch *s = scratch_get();
	__u32 bucket;

	if (!limit || !s || (limit->only_variant && limit->only_variant != s->limited.variant))
		return 0;
	s->limited.rate = limit->rate;
	s->limited.unit = limit->unit;
	s->limited.answer = limit->answer;
	bucket = limit->bucket;
	if (limit->scope == SHUNT_LIMIT_VARIANT)
		bucket = limit_variant_bucket(limit, s->limited.variant);
	if (!bucket || limit->scope != SHUNT_LIMIT_CLIENT)
		return bucket ? (__u64)LIMIT_ONE_FOR_ALL << 32 | bucket : 0;
	return (__u64)shunt_clients_bucket(FT, limit_client_hash(limit, s), s->limited.now_ns)
		       << 32 |
	       bucket;
}

/* The word that limit_find() told of. */
static __always_inline __u64 *limit_word(__u64 found)
{
	struct shunt_bucket *one;
	__u32 bucket = found;

	if (found >> 32 != LIMIT_ONE_FOR_ALL)
		return found >> 32 ? shunt_clients_word(FT, found >> 32) : NULL;
	one = bpf_map_lookup_elem(&shunt_buckets, &bucket);
	return one ? &one->word : NULL;
}

/**
 * limit_take - take what the packet costs out of a bucket
 * @found: as limit_find() gave it just now
 *
 * Return: 0: admitted; else enum shunt_limit_answer + 1.
 */
__attribute__((noinline)) int limit_take(__u64 found)
{
	struct scratch *s = scratch_get();
	__u32 units = 1, most = 0;
	__u64 *word, wait;

	if (!s)
		return 0;
	if (s->limited.unit == SHUNT_LIMIT_PACKETS || s->limited.unit == SHUNT_LIMIT_REQUESTS) {
		units = s->limited.packets;
		most = SHUNT_GCRA_MOST_PACKETS;
	} else if (s->limited.unit == SHUNT_LIMIT_BYTES) {
		units = s->limited.bytes;
		most = SHUNT_GCRA_MOST_BYTES;
	}
	word = limit_word(found);
	if (!word) {
		limit_count(found, LIMIT_UNTRACKED, units);
		return 0;
	}
	wait = shunt_gcra_take(word, &s->limited.rate, units, most, s->limited.now_ns);
	if (!wait) {
		limit_count(found, LIMIT_ADMITTED, units);
		return 0;
	}
	limit_count(found, LIMIT_REFUSED, 0);
	s->limited.wait_ns = wait;
	return s->limited.answer + 1;
}

/* The rates @from to @to - 1, until one refuses. Return: as limit_take(). */
static __always_inline int limit_rates(__u32 policy, __u32 from, __u32 to)
{
	__u64 found;
	int over = 0;

#pragma GCC unroll 8
	for (__u32 i = 0; i < SHUNT_MAX_RATES; i++) {
		if (over || i < from || i >= to)
			continue;
		found = limit_find(policy, i);
		if (found)
			over = limit_take(found);
	}
	return over;
}

/* ---- known flows --------------------------------------------------------------------------- */

/* Of whom the limits are asked: a known flow. @units: packets, or requests. */
static __always_inline void limit_known(struct scratch *s, const struct shunt_flow *flow,
					__u32 units)
{
	s->limited.client.word_be[3] = flow->client_lo_be;
	s->limited.family = flow->family;
	/* In the record's second line, which an IPv4 packet leaves alone; its words do not count.
	 */
	if (flow->family == SHUNT_V6) {
#pragma GCC unroll 3
		for (int w = 0; w < 3; w++)
			s->limited.client.word_be[w] = flow->client_hi_be[w];
	}
	s->limited.variant = flow->variant;
	s->limited.packets = units;
	s->limited.now_ns = bpf_ktime_get_ns();
}

/**
 * limit_packets - may a packet of the known flow @index go on?
 *
 * What is over a limit is dropped, whatever its answer says: a RST would end a connection that the
 * backend keeps. Should the record be reused under our eyes, another flow's limits are asked once.
 *
 * Return: SHUNT_R_FORWARDED or SHUNT_R_LIMITED_DROP.
 */
__attribute__((noinline)) int limit_packets(__u32 index, __u32 packets, __u32 bytes)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	const struct shunt_policy_record *p;
	struct scratch *s = scratch_get();
	__u32 policy, first;

	if (!settings || !flow || !s)
		return SHUNT_R_FORWARDED;
	policy = lookup_policy(flow->service, SHUNT_READ_ONCE(settings->epoch) & 1);
	p = bpf_map_lookup_elem(&shunt_policies, &policy);
	if (!p || !(p->flags & SHUNT_POLICY_PACKETS))
		return SHUNT_R_FORWARDED;
	limit_known(s, flow, packets);
	s->limited.bytes = bytes;
	first = p->n_before + p->n_behind;
	return limit_rates(policy, first, first + p->n_packet) ? SHUNT_R_LIMITED_DROP
							       : SHUNT_R_FORWARDED;
}

/* ---- address lists -------------------------------------------------------------------------- */

/*
 * What the longest prefix says that the client in the scratch lies in; NULL: there is none.
 * @list: a policy, or with SHUNT_SOURCES_OF_BALANCER.
 */
static __always_inline const struct shunt_source *limit_source_v4(__u32 list,
								  const struct scratch *s)
{
	struct shunt_source_key_v4 key = {
		.prefix_len = 32 + 32,
		.policy = list,
		.addr_be = s->limited.client.word_be[3],
	};

	return bpf_map_lookup_elem(&shunt_sources_v4, &key);
}

static __always_inline const struct shunt_source *limit_source_v6(__u32 list,
								  const struct scratch *s)
{
	struct shunt_source_key_v6 key = { .prefix_len = 32 + 128, .policy = list };

#pragma GCC unroll 4
	for (int w = 0; w < 4; w++)
		key.word_be[w] = s->limited.client.word_be[w];
	return bpf_map_lookup_elem(&shunt_sources_v6, &key);
}

/* May the client in the scratch connect? @listed_only: who is on no list may not. */
__attribute__((noinline)) int limit_source_may(__u32 list, __u32 listed_only)
{
	const struct scratch *s = scratch_get();
	const struct shunt_source *source;

	if (!s)
		return 1;
	source =
		s->limited.family == SHUNT_V6 ? limit_source_v6(list, s) : limit_source_v4(list, s);
	return source ? !source->is_denied : !listed_only;
}

/*
 * May the client in the scratch connect to the load balancer's address that it did? Without a
 * range of its family everybody may, as with the cluster's proxy. @flags: enum shunt_policy_flags.
 */
static __always_inline int limit_balancer_may(__u32 policy, __u32 flags, const struct scratch *s)
{
	__u32 is_listed = s->limited.family == SHUNT_V6 ? flags & SHUNT_POLICY_BALANCER_6
							: flags & SHUNT_POLICY_BALANCER_4;

	return !is_listed || limit_source_may(policy | SHUNT_SOURCES_OF_BALANCER, 1);
}

/* ---- new flows ----------------------------------------------------------------------------- */

static __always_inline int limit_reason(int over, int reject, int drop)
{
	return over == SHUNT_LIMIT_DROP + 1 ? drop : reject;
}

/* Of whom the limits are asked, before the first of them is: the packet in the scratch. */
static __always_inline void limit_begin(struct scratch *s)
{
	s->limited.client = s->pkt.tuple.src;
	s->limited.family = s->pkt.tuple.family;
	s->limited.variant = 0;
	s->limited.now_ns = 0;
}

/**
 * limit_before - may the packet in the scratch begin a flow, as far as its client says?
 * @policy: of its service, not 0
 *
 * After limit_begin(). Return: SHUNT_R_FORWARDED, or why not.
 */
__attribute__((noinline)) int limit_before(__u32 policy)
{
	const struct shunt_policy_record *p = bpf_map_lookup_elem(&shunt_policies, &policy);
	struct scratch *s = scratch_get();
	int over;

	if (!p || !s)
		return SHUNT_R_FORWARDED;
	if (s->nf.target.is_balancer && !limit_balancer_may(policy, p->flags, s))
		return SHUNT_R_SOURCE_DENIED_DROP;
	if (p->flags & SHUNT_POLICY_SOURCES &&
	    !limit_source_may(policy, p->flags & SHUNT_POLICY_ALLOW_ONLY))
		return SHUNT_R_SOURCE_DENIED;
	if (!p->n_before)
		return SHUNT_R_FORWARDED;
	s->limited.now_ns = bpf_ktime_get_ns();
	over = limit_rates(policy, 0, p->n_before);
	return over ? limit_reason(over, SHUNT_R_LIMITED, SHUNT_R_LIMITED_DROP) : SHUNT_R_FORWARDED;
}

/**
 * limit_behind - may it, as far as the chosen variant says?
 * @packets, @bytes: what it stands for
 * @is_new: 0: a packet without an entry that begins none
 *
 * Return: as limit_before().
 */
__attribute__((noinline)) int limit_behind(__u32 packets, __u32 bytes, int is_new)
{
	struct scratch *s = scratch_get();
	const struct shunt_policy_record *p;
	__u32 policy, from, to;
	int over;

	if (!s)
		return SHUNT_R_FORWARDED;
	policy = s->nf.policy;
	p = bpf_map_lookup_elem(&shunt_policies, &policy);
	if (!p)
		return SHUNT_R_FORWARDED;
	from = is_new ? p->n_before : p->n_before + p->n_behind;
	to = p->n_before + p->n_behind + p->n_packet;
	if (from >= to)
		return SHUNT_R_FORWARDED;
	s->limited.variant = s->nf.variant;
	s->limited.packets = packets;
	s->limited.bytes = bytes;
	if (!s->limited.now_ns)
		s->limited.now_ns = bpf_ktime_get_ns();
	over = limit_rates(policy, from, to);
	return over ? limit_reason(over, SHUNT_R_LIMITED, SHUNT_R_LIMITED_DROP) : SHUNT_R_FORWARDED;
}

/* ---- connections in being ------------------------------------------------------------------ */

/* Gives back what limit_enter() took for the flow in the scratch, unless it took nothing. */
__attribute__((noinline)) int limit_leave(void)
{
	struct scratch *s = scratch_get();

	if (!s || !(s->nf.flags & SHUNT_FLOW_IN_FLIGHT))
		return 0;
	s->nf.flags &= ~SHUNT_FLOW_IN_FLIGHT;
	shunt_ft_count_in_flight(FT, (__u64)s->nf.target.service << 32 | s->nf.variant, -1);
	if (s->nf.client_way)
		shunt_clients_leave(FT, s->nf.client_way - 1);
	s->nf.client_way = 0;
	return 1;
}

/* Counts the flow's client. Return: is it over the limit? */
static __always_inline int limit_enter_client(const struct shunt_limit *limit, struct scratch *s)
{
	__u32 way;

	/* A policy has at most one of these. */
	if (s->nf.client_way)
		return 0;
	way = shunt_clients_enter(FT, limit_client_hash(limit, s), limit->max);
	if (way == SHUNT_CLIENTS_OVER)
		return 1;
	if (way == SHUNT_CLIENTS_NO_ROOM)
		limit_count(limit->bucket, LIMIT_UNTRACKED, 0);
	s->nf.client_way = way;
	return 0;
}

/*
 * Is the flow in the scratch, which is counted already, one too many for limit @index? @all, @its:
 * how many others its service and its variant have. Return: as limit_take().
 */
__attribute__((noinline)) int limit_exceeds(__u32 policy, __u32 index, __u32 all, __u32 its)
{
	const struct shunt_limit *limit = limit_at_once_at(policy, index);
	struct scratch *s = scratch_get();
	const struct shunt_active *active;
	int over = 0;

	if (!limit || !s || (limit->only_variant && limit->only_variant != s->nf.variant))
		return 0;
	switch (limit->scope) {
	case SHUNT_LIMIT_SERVICE:
		over = (limit->only_variant ? its : all) >= limit->max;
		break;
	case SHUNT_LIMIT_VARIANT:
		over = its >= limit->max;
		break;
	case SHUNT_LIMIT_BACKEND:
		active = shunt_ft_active(FT, s->nf.backend_index);
		over = active && SHUNT_READ_ONCE(active->connections) >= limit->max;
		break;
	default:
		over = limit_enter_client(limit, s);
	}
	s->limited.asked |= 1u << index;
	return over ? limit->answer + 1 : 0;
}

/**
 * limit_enter - count the flow in the scratch, whose backend is chosen, if there is room for it
 *
 * Counted first and then compared, so that two CPUs cannot both take the last place. A flow that
 * is counted has SHUNT_FLOW_IN_FLIGHT: its end gives back, or limit_leave() when it is not made.
 * Only those of a backend are compared before they count, which its publication does: several
 * CPUs may each let in one more.
 *
 * Return: as limit_before(). limit_told() counts what came of it.
 */
__attribute__((noinline)) int limit_enter(void)
{
	struct scratch *s = scratch_get();
	__u32 policy = s ? s->nf.policy : 0;
	const struct shunt_policy_record *p = bpf_map_lookup_elem(&shunt_policies, &policy);
	struct shunt_active *all, *its;
	__u32 before_all = 0, before_its = 0;
	int over = 0;

	if (!p || !s)
		return SHUNT_R_FORWARDED;
	s->limited.asked = 0;
	if (!p->n_at_once)
		return SHUNT_R_FORWARDED;
	all = shunt_ft_service_active(FT, s->nf.target.service);
	its = shunt_ft_variant_active(FT, s->nf.variant);
	if (!all || !its)
		return SHUNT_R_FORWARDED;
	before_all = shunt_fetch_add(&all->connections, 1);
	before_its = shunt_fetch_add(&its->connections, 1);
	s->nf.flags |= SHUNT_FLOW_IN_FLIGHT;
#pragma GCC unroll 4
	for (__u32 i = 0; i < SHUNT_MAX_AT_ONCE; i++)
		if (!over && i < p->n_at_once)
			over = limit_exceeds(policy, i, before_all, before_its);
	if (!over)
		return SHUNT_R_FORWARDED;
	limit_leave();
	return limit_reason(over, SHUNT_R_IN_FLIGHT, SHUNT_R_IN_FLIGHT_DROP);
}

/* Counts what the limits that limit_enter() asked have said; of a refusal, the last of them. */
__attribute__((noinline)) int limit_told(int is_refused)
{
	const struct scratch *s = scratch_get();

	if (!s)
		return 0;
#pragma GCC unroll 4
	for (__u32 i = 0; i < SHUNT_MAX_AT_ONCE; i++) {
		const struct shunt_limit *limit;

		if (!(s->limited.asked >> i & 1))
			continue;
		limit = limit_at_once_at(s->nf.policy, i);
		if (limit)
			limit_count(limit->bucket,
				    is_refused && !(s->limited.asked >> i >> 1) ? LIMIT_REFUSED
										: LIMIT_ADMITTED,
				    1);
	}
	return 1;
}

#endif
