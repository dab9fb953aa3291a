/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_IN_FLIGHT_H
#define SHUNT_BPF_IN_FLIGHT_H

#include "gate.h"
#include "limit.h"
#include "maps.h"
#include "scratch.h"

/*
 * Limits of requests in flight, of HTTP/1: from a request's first segment to its response's. One of
 * a connection at most, for pipelined requests are one turn. Counted first and then compared, so
 * that two CPUs cannot both take the last place.
 *
 * The count of a request is given back by shunt_ft_end_request() alone (shunt/flowtab.h).
 */

#ifdef HOOK_ANY_OFFSET

/* Counts a request of flow @index among all in flight. Return: 0, or -1: there is no place for it.
 */
static __always_inline int in_flight_count(const struct shunt_flow *flow, struct limited *l, int by)
{
	struct shunt_active *all = shunt_ft_service_active(FT, flow->service);
	struct shunt_active *its = shunt_ft_variant_active(FT, flow->variant);
	struct shunt_active *one = shunt_ft_active(FT, flow->backend);

	if (!all || !its || !one)
		return -1;
	l->in_flight = shunt_fetch_add(&all->requests, by);
	l->its = shunt_fetch_add(&its->requests, by);
	l->one = shunt_fetch_add(&one->requests, by);
	return 0;
}

/* Counts the request's client. Return: is it over the limit? */
static __always_inline int in_flight_enter_client(const struct shunt_limit *limit,
						  struct scratch *s)
{
	__u32 way;

	/* A policy has at most one of these. */
	if (s->limited.client_way)
		return 0;
	way = shunt_clients_enter(FT, limit_client_hash(limit, s), limit->max);
	if (way == SHUNT_CLIENTS_OVER)
		return 1;
	if (way == SHUNT_CLIENTS_NO_ROOM)
		limit_count(limit->bucket, LIMIT_UNTRACKED, 0);
	s->limited.client_way = way;
	return 0;
}

/* Is the request in the scratch, which is counted, one too many for limit @index? As limit_take().
 */
__attribute__((noinline)) int in_flight_exceeds(__u32 policy, __u32 index)
{
	const struct shunt_limit *limit = limit_at_once_at(policy, index);
	struct scratch *s = scratch_get();
	int over;

	if (!limit || !s || (limit->only_variant && limit->only_variant != s->limited.variant))
		return 0;
	if (limit->scope == SHUNT_LIMIT_CLIENT)
		over = in_flight_enter_client(limit, s);
	else if (limit->scope == SHUNT_LIMIT_BACKEND)
		over = s->limited.one >= limit->max;
	else if (limit->scope == SHUNT_LIMIT_VARIANT || limit->only_variant)
		over = s->limited.its >= limit->max;
	else
		over = s->limited.in_flight >= limit->max;
	limit_count(limit->bucket, over ? LIMIT_REFUSED : LIMIT_ADMITTED, 1);
	return over ? limit->answer + 1 : 0;
}

/* Takes the counts of the request in the scratch back, which nobody has seen yet. */
static __always_inline void in_flight_take_back(const struct shunt_flow *flow, struct scratch *s)
{
	in_flight_count(flow, &s->limited, -1);
	if (s->limited.client_way)
		shunt_clients_leave(FT, s->limited.client_way - 1);
}

/*
 * The request in the scratch, which is counted, is from now on given back with flow @index; at
 * once, if that has ended meanwhile: who ended it did not see the token. Or another segment of the
 * same turn was faster.
 */
static __always_inline void in_flight_hand_over(__u32 index, const struct shunt_flow *flow,
						__u32 life, struct scratch *s)
{
	__u32 *token = shunt_ft_request(FT, index);

	if (!token || shunt_cmpxchg(token, 0, 1 + s->limited.client_way))
		in_flight_take_back(flow, s);
	else if (SHUNT_LIFE_GEN(SHUNT_READ_ONCE(flow->life)) != SHUNT_LIFE_GEN(life) ||
		 !shunt_ft_is_counted(SHUNT_LIFE_STATE(SHUNT_READ_ONCE(flow->life))))
		shunt_ft_end_request(FT, index);
}

/**
 * in_flight_enter - may a request begin on flow @index, as far as those in flight go?
 *
 * Return: 0, and it is counted; or as limit_take(): it is one too many.
 */
__attribute__((noinline)) int in_flight_enter(hook_ctx *ctx, __u32 index)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	const struct shunt_policy_record *p;
	struct scratch *s = scratch_get();
	__u32 policy, life;
	int over = 0;

	if (!settings || !flow || !s || !(flow->flags & SHUNT_FLOW_REQUESTS))
		return 0;
	life = SHUNT_READ_ONCE(flow->life);
	if (shunt_ft_is_half_open(SHUNT_LIFE_STATE(life)) ||
	    !gate_is_for_us(ctx, gate_find(hook_ifindex(ctx))))
		return 0;
	policy = lookup_policy(flow->service, SHUNT_READ_ONCE(settings->epoch) & 1);
	p = bpf_map_lookup_elem(&shunt_policies, &policy);
	if (!p || !p->n_requests_at_once)
		return 0;
	limit_known(s, flow, 1);
	s->limited.wait_ns = 0;
	s->limited.client_way = 0;
	if (in_flight_count(flow, &s->limited, 1))
		return 0;
#pragma GCC unroll 4
	for (__u32 i = 0; i < SHUNT_MAX_AT_ONCE; i++)
		if (!over && i >= p->n_at_once && i < p->n_at_once + p->n_requests_at_once)
			over = in_flight_exceeds(policy, i);
	if (over)
		in_flight_take_back(flow, s);
	else
		in_flight_hand_over(index, flow, life, s);
	return over;
}

/* A response has begun on flow @index: its request is no longer in flight. Return: 0. */
__attribute__((noinline)) int in_flight_leave(__u32 index)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);

	if (flow && flow->flags & SHUNT_FLOW_REQUESTS)
		shunt_ft_end_request(FT, index);
	return 0;
}

#endif

#endif
