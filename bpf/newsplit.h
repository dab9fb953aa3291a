/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_NEWSPLIT_H
#define SHUNT_BPF_NEWSPLIT_H

#include "affinity.h"
#include "backend.h"
#include "conntrack.h"
#include "eject.h"
#include "guard.h"
#include "lookup.h"
#include "reselect.h"
#include "scratch.h"
#include "trace.h"

/*
 * Where a new flow to a service goes: session, variant and backend, whether that is ejected, and
 * what their breaker says.
 */

/*
 * Has the lines fetched that the entry will need: looks at them, for nothing else, before the first
 * locked instruction, which waits for all that is under way. So their cache misses overlap: of
 * the record, and of the client's count.
 */
static __always_inline void newflow_look(const struct shunt_settings *settings, struct scratch *s)
{
	__u32 set_index = shunt_ft_set_index(FT, s->nf.hash);
	const struct shunt_client *client;
	const struct shunt_flow *flow;
	__u64 address = s->pkt.tuple.src.word_be[3];

	s->nf.ways = shunt_ft_survey(FT, set_index);
	if (s->pkt.tuple.family == SHUNT_V6)
		address = (__u64)s->pkt.tuple.src.word_be[0] << 32 | s->pkt.tuple.src.word_be[1];
	s->nf.client = shunt_ft_client_cell(settings, address);
	client = shunt_ft_client(FT, s->nf.client);
	flow = shunt_ft_flow(FT,
			     set_index * SHUNT_FLOW_WAYS + shunt_ft_pick(s->nf.ways & 0xffff, 0));
	if (client)
		(void)SHUNT_READ_ONCE(client->flows);
	if (flow)
		(void)SHUNT_READ_ONCE(flow->life);
}

/* The hash of the reply key, if the source is not translated; likewise looks at where it goes. */
static __always_inline void newflow_look_reply(const struct shunt_settings *settings,
					       struct scratch *s)
{
	const struct shunt_reply_set *set;

	s->nf.reply_hash = shunt_table_hash(settings->table_key, &s->nf.backend, &s->pkt.tuple.src,
					    s->nf.backend_port_be, s->pkt.tuple.sport_be,
					    s->pkt.tuple.proto, s->pkt.tuple.family);
	set = shunt_ft_reply_set(FT, shunt_ft_reply_index(FT, s->nf.reply_hash));
	if (set)
		(void)SHUNT_READ_ONCE(set->way[0]);
}

/**
 * newflow_choose - variant, then backend, by the hash of the affinity key
 * @seed, @affinity, @prefix_len: of the service, for shunt_choice_hash()
 *
 * In a frame of its own for SipHash's state.
 *
 * Return: SHUNT_R_FORWARDED and the choice in the scratch; or why there is none.
 */
__attribute__((noinline)) int newflow_choose(__u64 seed, __u32 affinity, __u32 prefix_len)
{
	const struct shunt_settings *settings = lookup_settings();
	struct scratch *s = scratch_get();
	int reason;
	__u64 hash;

	if (!settings || !s)
		return SHUNT_R_BAD_CONFIG;
	hash = shunt_choice_hash(settings->choice_key, seed, &s->pkt.tuple, affinity, prefix_len);
	newflow_look(settings, s);
	reason = variant_choose(s->nf.split, hash, s->pkt.tuple.family, &s->nf.choice);
	TRACE_VARIANT(s->nf.split, hash, s->nf.choice.variant, reason);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	s->nf.variant = s->nf.choice.variant;
	reason = backend_choose(&s->nf.choice, hash, &s->nf.backend_index);
	TRACE_BACKEND(s->nf.backend_index, reason);
	return reason;
}

/* What is to be told of a flow, by its service's flags; without a branch. */
static __always_inline __u32 newflow_signals(__u32 service_flags)
{
	_Static_assert(SHUNT_SVC_HTTP << 4 == SHUNT_FLOW_HTTP, "one bit is shifted to the other");
	_Static_assert(SHUNT_SVC_TCP << 4 == SHUNT_FLOW_TCP, "one bit is shifted to the other");
	_Static_assert(SHUNT_SVC_JUDGED << 4 == SHUNT_FLOW_JUDGED, "and so is this one");
	_Static_assert(SHUNT_SVC_REQUESTS << 2 == SHUNT_FLOW_REQUESTS, "and another one");
	return (service_flags & (SHUNT_SVC_HTTP | SHUNT_SVC_TCP | SHUNT_SVC_JUDGED)) << 4 |
	       (service_flags & SHUNT_SVC_REQUESTS) << 2;
}

/* Splits a flow to a service: what came of its last SYN decides, a session, or the choice. */
static __always_inline enum shunt_reason newflow_split(const struct shunt_settings *settings,
						       struct scratch *s,
						       const struct shunt_service_slot *service,
						       __u64 seed)
{
	__u64 kept = 0;

	s->nf.flags |= newflow_signals(service->flags);
	s->nf.split = lookup_split(&s->nf.target, service->rule_first);
	if (!s->nf.split)
		return SHUNT_R_BAD_CONFIG;
	kept = reselect_take(s);
	if (!kept && service->affinity == SHUNT_AFFINITY_SESSION) {
		kept = affinity_find(&s->pkt.tuple, s->nf.target.service, s->nf.target.slot,
				     s->nf.now);
		TRACE_AFFINITY(kept);
	}
	if (kept) {
		newflow_look(settings, s);
		s->nf.variant = kept >> 32;
		s->nf.backend_index = kept;
		return SHUNT_R_FORWARDED;
	}
	return newflow_choose(seed, service->affinity,
			      SHUNT_PICK(s->pkt.tuple.family == SHUNT_V6, service->prefix_len[0],
					 service->prefix_len[1]));
}

/* The hash of the flow in the scratch by its service's affinity, to look at its variant's ring. */
static __always_inline int newflow_hash(const struct scratch *s, __u64 *ret_hash)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_service_slot *service;
	__u64 seed = 0;
	__u32 policy;

	service = lookup_service(&s->nf.target, &seed, &policy);
	if (!settings || !service)
		return 0;
	*ret_hash = shunt_choice_hash(settings->choice_key, seed, &s->pkt.tuple, service->affinity,
				      SHUNT_PICK(s->pkt.tuple.family == SHUNT_V6,
						 service->prefix_len[0], service->prefix_len[1]));
	return 1;
}

/**
 * newflow_elsewhere - lead the flow in the scratch to another backend of its variant
 * @members: how many it has at least
 *
 * By its hash, so that all nodes and `explain` agree. In a frame of its own for SipHash's state.
 *
 * Return: 1, or 0: there is nobody else, and it stays.
 */
__attribute__((noinline)) int newflow_elsewhere(__u32 members)
{
	struct scratch *s = scratch_get();
	__u64 hash = 0, not_these;
	__u32 other;

	if (!s || !newflow_hash(s, &hash) ||
	    !variant_ring(s->nf.split, s->nf.variant, s->pkt.tuple.family, &s->nf.choice, 0))
		return 0;
	not_these = (__u64)s->nf.failed << 32 | s->nf.backend_index;
	other = eject_try_ring(hash, not_these);
	if (!other)
		other = eject_walk(hash, not_these, members);
	if (!other)
		return 0;
	s->nf.backend_index = other;
	TRACE_BACKEND(other, SHUNT_R_FORWARDED);
	return 1;
}

/**
 * newflow_avoid - if the backend chosen for the flow in the scratch is ejected, choose another
 *
 * Return: 1 if it has; of a service that nobody ejects from it is not called.
 */
__attribute__((noinline)) int newflow_avoid(void)
{
	const struct scratch *s = scratch_get();
	__u32 members =
		s ? eject_refuses(s->nf.variant, s->nf.backend_index, s->pkt.tuple.family) : 0;

	return members ? newflow_elsewhere(members) : 0;
}

/**
 * newflow_fall_back - lead the flow in the scratch to @variant instead, by the same hash
 *
 * A session's choice had no hash yet. In a frame of its own for SipHash's state.
 *
 * Return: SHUNT_R_FORWARDED and the choice in the scratch, or SHUNT_R_BREAKER_OPEN.
 */
__attribute__((noinline)) int newflow_fall_back(__u32 variant)
{
	struct scratch *s = scratch_get();
	__u64 hash = 0;

	if (!s || !newflow_hash(s, &hash) ||
	    !variant_ring(s->nf.split, variant, s->pkt.tuple.family, &s->nf.choice, 0))
		return SHUNT_R_BREAKER_OPEN;
	if (backend_choose(&s->nf.choice, hash, &s->nf.backend_index) != SHUNT_R_FORWARDED)
		return SHUNT_R_BREAKER_OPEN;
	s->nf.variant = variant;
	TRACE_VARIANT(s->nf.split, hash, variant, SHUNT_R_FORWARDED);
	TRACE_BACKEND(s->nf.backend_index, SHUNT_R_FORWARDED);
	return SHUNT_R_FORWARDED;
}

/*
 * Does the breaker of the chosen variant or backend let the flow in the scratch begin? What it
 * refuses goes to the fallback, whose own breaker is not asked.
 */
__attribute__((noinline)) int newflow_guard(void)
{
	struct scratch *s = scratch_get();
	__u32 breaker = s ? guard_admit(s->nf.variant, s->nf.backend_index) : 0;
	__u32 fallback = breaker ? guard_fallback(breaker) : 0;
	int reason = SHUNT_R_FORWARDED;

	if (breaker && s)
		reason = fallback && fallback != s->nf.variant ? newflow_fall_back(fallback)
							       : SHUNT_R_BREAKER_OPEN;
	if (reason != SHUNT_R_FORWARDED)
		TRACE_SAID(SHUNT_TRACE_ADMIT, reason);
	return reason;
}

#endif
