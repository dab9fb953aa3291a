/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_NEWFLOW_H
#define SHUNT_BPF_NEWFLOW_H

#include "affinity.h"
#include "backend.h"
#include "conntrack.h"
#include "forward.h"
#include "lookup.h"

/*
 * The slow path: a packet to a frontend or a known backend that has no entry. Kept out of
 * line, so that the fast path stays short and its registers free.
 */

#define NEWFLOW_PORT_TRIES 8 /* source ports tried for a flow whose reply key is taken */

struct newflow {
	const struct shunt_tuple *tuple; /* by itself: its address goes into functions */
	struct target target;
	int is_syn;
	__u64 hash; /* of the tuple, for the table */
	__u32 ifindex;
	__u32 now;
	/* chosen on the way, for the record: */
	__u32 rule;
	__u32 split;
	__u32 variant;
	__u32 backend_index;
	__u32 flags; /* enum shunt_flow_flags */
	struct shunt_addr backend;
	__be16 backend_port_be;
};

/* What newflow_open() says: the reason, and the variant whose share it belongs to. */
#define NEWFLOW_RESULT(reason, variant) ((__u64)(variant) << 32 | (reason))

/**
 * newflow_admit - may this packet begin a flow?
 *
 * Return: SHUNT_R_FORWARDED to go on, or the reason that ends it.
 */
static __always_inline enum shunt_reason newflow_admit(const struct shunt_settings *settings,
						       struct newflow *nf, __u32 service_flags)
{
	const struct shunt_flow *flow = NULL;
	__u64 ref = 0;

	/* A rewritten packet is addressed to a known backend, so most need no second look. */
	if (nf->target.is_backend)
		ref = shunt_ft_find_reply(FT, nf->tuple, SHUNT_FT_REWRITTEN);
	if (ref)
		flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	/* At a later gate than its own: its own never sees it again. */
	if (flow && flow->gate_ifindex != nf->ifindex)
		return SHUNT_R_ALREADY;
	if (flow)
		nf->flags |= SHUNT_FLOW_GATE_BOUND;
	if (nf->tuple->proto == IPPROTO_TCP && !nf->is_syn) {
		if (!nf->target.service)
			return SHUNT_R_DIRECT;
		return service_flags & SHUNT_SVC_OWNED ? SHUNT_R_MIDSTREAM_OWNED
						       : SHUNT_R_MIDSTREAM_SHARED;
	}
	if (settings->flags & SHUNT_S_HOLD)
		return SHUNT_R_HELD;
	if (!nf->target.service)
		return SHUNT_R_FORWARDED;
	if (service_flags & SHUNT_SVC_RELEASED)
		return SHUNT_R_RELEASED;
	return settings->flags & SHUNT_S_DRAIN ? SHUNT_R_DRAINING : SHUNT_R_FORWARDED;
}

/* The choice hash, in a frame of its own for SipHash's state. @tuple is never NULL. */
__attribute__((noinline)) __u64 newflow_hash(const struct shunt_tuple *tuple, __u64 seed,
					     __u32 affinity, __u32 prefix_len)
{
	const struct shunt_settings *settings = lookup_settings();

	if (!settings || !tuple)
		return 0;
	return shunt_choice_hash(settings->choice_key, seed, tuple, affinity, prefix_len);
}

/* Variant, then backend, by the hash of the affinity key. */
static __always_inline enum shunt_reason
newflow_choose(struct newflow *nf, const struct shunt_service_slot *service, __u64 seed)
{
	__u32 family = nf->tuple->family;
	__u64 hash = newflow_hash(
		nf->tuple, seed, service->affinity,
		SHUNT_PICK(family == SHUNT_V6, service->prefix_len[0], service->prefix_len[1]));
	struct variant_choice choice = {};
	enum shunt_reason reason = variant_choose(nf->split, hash, family, &choice);

	if (reason != SHUNT_R_FORWARDED)
		return reason;
	nf->variant = choice.variant;
	return backend_choose(&choice, hash, &nf->backend_index);
}

/* Splits a flow to a service: a session decides, or the choice. */
static __always_inline enum shunt_reason
newflow_split(struct newflow *nf, const struct shunt_service_slot *service, __u64 seed)
{
	const int has_session = service->affinity == SHUNT_AFFINITY_SESSION;
	enum shunt_reason reason;
	__u64 kept = 0;

	nf->rule = service->rule_first;
	nf->split = lookup_split(&nf->target, nf->rule);
	if (!nf->split)
		return SHUNT_R_BAD_CONFIG;
	if (has_session)
		kept = affinity_find(nf->tuple, nf->target.service, nf->target.slot, nf->now);
	if (kept) {
		nf->variant = kept >> 32;
		nf->backend_index = kept;
		return SHUNT_R_FORWARDED;
	}
	reason = newflow_choose(nf, service, seed);
	if (has_session && reason == SHUNT_R_FORWARDED)
		affinity_store(nf->tuple, nf->target.service, nf->target.slot,
			       (__u64)nf->variant << 32 | nf->backend_index, nf->now);
	return reason;
}

/* The chosen backend's address into nf-> */
static __always_inline enum shunt_reason newflow_resolve(struct newflow *nf)
{
	const struct shunt_backend *backend =
		bpf_map_lookup_elem(&shunt_backends, &nf->backend_index);

	if (!backend || backend->family != nf->tuple->family)
		return SHUNT_R_BAD_CONFIG;
	nf->backend = backend->addr;
	nf->backend_port_be = backend->port_be;
	return SHUNT_R_FORWARDED;
}

/* Fills the claimed record; its life stays FREE, so nobody reads it yet. */
static __always_inline void newflow_fill(struct shunt_flow *flow, const struct newflow *nf)
{
	flow->seen_jiffies = nf->now;
	flow->created_jiffies = nf->now;
	flow->client_lo_be = nf->tuple->src.word_be[3];
	flow->frontend_lo_be = nf->tuple->dst.word_be[3];
	flow->backend_lo_be = nf->backend.word_be[3];
	flow->source_lo_be = nf->tuple->src.word_be[3];
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		flow->client_hi_be[w] = nf->tuple->src.word_be[w];
		flow->frontend_hi_be[w] = nf->tuple->dst.word_be[w];
		flow->backend_hi_be[w] = nf->backend.word_be[w];
		flow->source_hi_be[w] = nf->tuple->src.word_be[w];
	}
	flow->client_port_be = nf->tuple->sport_be;
	flow->frontend_port_be = nf->tuple->dport_be;
	flow->backend_port_be = nf->backend_port_be;
	flow->source_port_be = nf->tuple->sport_be;
	flow->proto = nf->tuple->proto;
	flow->family = nf->tuple->family;
	flow->flags = nf->flags;
	flow->backend = nf->backend_index;
	flow->variant = nf->variant;
	flow->service = nf->target.service;
	flow->rule = nf->rule;
	flow->split = nf->split;
	flow->gate_ifindex = nf->ifindex;
	flow->reply_way = 0;
	flow->backend_isn = 0;
}

/* The n-th source port to try for a flow whose own is taken. */
static __always_inline __be16 newflow_port(const struct shunt_settings *settings, __u64 hash,
					   __u32 attempt)
{
	__u32 count = settings->nat_port_count;
	__u32 offset = ((__u32)shunt_mix64(hash + attempt) & 0xffff) * count >> 16;

	return bpf_htons(settings->nat_port_first + offset);
}

/**
 * newflow_add_reply - enter the reply key, with a translated source port if it is taken
 * @index: of the filled flow, whose source port is the client's
 * @hash:  of the client's tuple: where the search for a port begins
 *
 * Taken: another frontend's or a direct flow of this client port to this backend is alive.
 *
 * Return: 1, or 0 when all tries failed.
 */
__attribute__((noinline)) int newflow_add_reply(__u32 index, __u64 hash)
{
	const struct shunt_settings *settings = lookup_settings();
	struct shunt_flow *flow = shunt_ft_flow(FT, index);

	if (!settings || !flow)
		return 0;
	if (shunt_ft_add_reply(FT, index))
		return 1;
	flow->flags |= SHUNT_FLOW_SOURCE_NAT;
#pragma GCC unroll 8
	for (__u32 attempt = 0; attempt < NEWFLOW_PORT_TRIES; attempt++) {
		flow->source_port_be = newflow_port(settings, hash, attempt);
		if (shunt_ft_add_reply(FT, index))
			return 1;
	}
	return 0;
}

/*
 * Ends expired flows while the agent may be dead: two ways of this set, on one page with the
 * new flow's own record, and for one flow in eight two of a set anywhere, which costs two
 * cache and TLB misses (some 150 ns).
 */
static __always_inline void newflow_sweep(const struct shunt_settings *settings,
					  const struct newflow *nf)
{
	__u32 way = nf->now & (SHUNT_FLOW_WAYS - 2);
	__u32 here = shunt_ft_set_index(FT, nf->hash) * SHUNT_FLOW_WAYS + way;
	__u64 random = shunt_mix64(nf->hash ^ nf->now);
	__u32 there = ((__u32)random & settings->flow_set_mask) * SHUNT_FLOW_WAYS + way;

	shunt_ft_expire(FT, here, nf->now);
	shunt_ft_expire(FT, here + 1, nf->now);
	if (random >> 61)
		return;
	shunt_ft_expire(FT, there, nf->now);
	shunt_ft_expire(FT, there + 1, nf->now);
}

/**
 * newflow_track - enter the flow into the table
 * @ret_ref: the flow, on SHUNT_R_FORWARDED
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_TABLE_FULL; SHUNT_R_NO_PORT; SHUNT_R_HELD when another
 * CPU makes the same flow right now: the next packet finds it.
 */
static __always_inline enum shunt_reason newflow_track(const struct newflow *nf, __u64 *ret_ref)
{
	__u32 index = shunt_ft_claim(FT, nf->hash, nf->now);
	struct shunt_flow *flow = index == SHUNT_FT_NO_WAY ? NULL : shunt_ft_flow(FT, index);

	if (!flow)
		return SHUNT_R_TABLE_FULL;
	newflow_fill(flow, nf);
	if (shunt_ft_is_rival(FT, index, nf->hash)) {
		shunt_ft_unclaim(FT, index, nf->hash);
		return SHUNT_R_HELD;
	}
	if (!newflow_add_reply(index, nf->hash)) {
		shunt_ft_unclaim(FT, index, nf->hash);
		return SHUNT_R_NO_PORT;
	}
	shunt_ft_publish(FT, flow, nf->tuple->proto == IPPROTO_TCP ? SHUNT_F_SYN : SHUNT_F_UDP_NEW);
	*ret_ref = SHUNT_FT_REF(index, SHUNT_READ_ONCE(flow->life));
	return SHUNT_R_FORWARDED;
}

/* A connection to a known backend without a service: the marker is its own translation. */
static __always_inline enum shunt_reason newflow_direct(struct newflow *nf, __u64 *ret_ref)
{
	nf->flags |= SHUNT_FLOW_DIRECT;
	nf->backend = nf->tuple->dst;
	nf->backend_port_be = nf->tuple->dport_be;
	/* Without room for a marker it goes on as if we were not here. */
	if (newflow_track(nf, ret_ref) != SHUNT_R_FORWARDED)
		return SHUNT_R_DIRECT;
	return SHUNT_R_FORWARDED;
}

/* From admission to the entry. Return: SHUNT_R_FORWARDED and the flow, or why not. */
static __always_inline enum shunt_reason newflow_decide(const struct shunt_settings *settings,
							struct newflow *nf, __u64 *ret_ref)
{
	const struct shunt_service_slot *service = NULL;
	enum shunt_reason reason;
	__u64 seed = 0;

	if (nf->target.service) {
		service = lookup_service(&nf->target, &seed);
		if (!service)
			return SHUNT_R_BAD_CONFIG;
	}
	reason = newflow_admit(settings, nf, service ? service->flags : 0);
	if (reason != SHUNT_R_FORWARDED)
		return reason;

	newflow_sweep(settings, nf);
	if (!service)
		return newflow_direct(nf, ret_ref);
	reason = newflow_split(nf, service, seed);
	if (reason == SHUNT_R_FORWARDED)
		reason = newflow_resolve(nf);
	if (reason != SHUNT_R_FORWARDED)
		return reason;
	return newflow_track(nf, ret_ref);
}

/**
 * newflow_open - decide a packet without an entry; make one, and rewrite the packet
 * @family: a constant
 * @target: as target_pack() made it
 *
 * Parses again (6 ns) rather than share the caller's stack.
 *
 * Return: NEWFLOW_RESULT.
 */
static __always_inline __u64 newflow_open(hook_ctx *ctx, __u32 family, __u64 target)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_flow *flow;
	enum shunt_reason reason;
	struct shunt_tuple tuple;
	struct packet pkt = {};
	struct newflow nf = {};
	__u64 ref = 0;

	if (!settings)
		return SHUNT_R_BAD_CONFIG;
	if (parse_linear(ctx, family, &pkt) != SHUNT_R_FORWARDED)
		return SHUNT_R_TRUNCATED;
	tuple = pkt.tuple;
	nf.tuple = &tuple;
	nf.is_syn = parse_is_syn(&pkt);
	nf.hash = shunt_table_hash(settings->table_key, &tuple.src, &tuple.dst, tuple.sport_be,
				   tuple.dport_be, tuple.proto, tuple.family);
	nf.ifindex = hook_ifindex(ctx);
	nf.now = bpf_jiffies64();
	target_unpack(target, &nf.target);

	reason = newflow_decide(settings, &nf, &ref);
	flow = ref ? shunt_ft_flow(FT, SHUNT_FT_INDEX(ref)) : NULL;
	if (reason == SHUNT_R_FORWARDED && flow)
		reason = forward_packet(ctx, &pkt, flow, ref, 1);
	return NEWFLOW_RESULT(reason, nf.variant);
}

__attribute__((noinline)) __u64 newflow_open_v4(hook_ctx *ctx, __u64 target)
{
	return newflow_open(ctx, SHUNT_V4, target);
}

__attribute__((noinline)) __u64 newflow_open_v6(hook_ctx *ctx, __u64 target)
{
	return newflow_open(ctx, SHUNT_V6, target);
}

#endif
