/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_RESELECT_H
#define SHUNT_BPF_RESELECT_H

#include "backend.h"
#include "flowmem.h"
#include "lookup.h"
#include "scratch.h"
#include "shunt/connect.h"

/*
 * A connection whose backend does not answer its SYN, or refuses it, is taken to another backend
 * of its variant when the client sends the SYN again, a second later: a dead pod costs a new
 * connection that second, until its readiness is known to be gone.
 *
 * A refusal is kept from the client, or it would not come again; but only one of a connection, so
 * that who cannot be served at all is told so soon. Of services whose signals are not off, for
 * they note what answers a SYN (shunt/connect.h), and only where the variant has others.
 *
 * The SYN that comes again is decided as any that begins a flow, but for the choice.
 */

/* Slots of the ring that are looked at: of two backends the other one is missed 1 in 256 times. */
#define RESELECT_TRIES 8

/* What the flow's variant has now, in the scratch. Return: 1, or 0: nothing else. */
__attribute__((noinline)) int reselect_variant(__u32 index)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	const struct shunt_service_slot *service;
	struct scratch *s = scratch_get();
	struct target target = {};

	if (!settings || !flow || !s || !flow->service)
		return 0;
	target.slot = SHUNT_READ_ONCE(settings->epoch) & 1;
	target.service = flow->service;
	service = lookup_service_slot(target.service, target.slot);
	if (!service)
		return 0;
	return variant_ring(lookup_split(&target, service->rule_first), flow->variant, flow->family,
			    &s->again.choice, 1) &&
	       s->again.choice.ring_size > 1;
}

/* Another backend of the ring in the scratch than @backend, or 0. */
__attribute__((noinline)) __u32 reselect_backend(__u64 hash, __u32 backend)
{
	const struct scratch *s = scratch_get();
	__u32 other = 0, found;

	if (!s)
		return 0;
#pragma GCC unroll 8
	for (__u32 i = 1; i <= RESELECT_TRIES; i++) {
		found = 0;
		if (!other &&
		    backend_choose(&s->again.choice, shunt_mix64(hash + i), &found) ==
			    SHUNT_R_FORWARDED &&
		    found != backend)
			other = found;
	}
	return other;
}

/**
 * reselect_find - has the flow @index another backend to go to?
 * @hash: of its tuple, for the table: newflow_split() knows the packet by it
 *
 * Return: 1: it stands in the scratch; 0: none.
 */
__attribute__((noinline)) int reselect_find(__u32 index, __u64 hash)
{
	struct shunt_flow *flow = shunt_ft_flow(FT, index);
	struct scratch *s = scratch_get();
	__u32 backend;

	if (!flow || !s || flow->flags & (SHUNT_FLOW_DIRECT | SHUNT_FLOW_HAIRPIN))
		return 0;
	s->again.hash = 0;
	if (!reselect_variant(index))
		return 0;
	/* A generation of the record for each attempt: another order of slots. */
	backend = reselect_backend(hash ^ SHUNT_LIFE_GEN(flow->life), flow->backend);
	if (!backend)
		return 0;
	s->again.hash = hash;
	s->again.variant = flow->variant;
	s->again.backend = backend;
	s->again.failed = flow->backend;
	return 1;
}

/**
 * reselect_keeps - is a RST of the backend to be kept from the client?
 * @ack: its acknowledgement number
 *
 * Return: 1: it refuses the flow's SYN, which is marked as refused now.
 */
__attribute__((noinline)) int reselect_keeps(__u32 index, __u32 life, __u32 ack)
{
	struct shunt_flow *flow = shunt_ft_flow(FT, index);
	__u32 mark;

	if (!flow || SHUNT_LIFE_STATE(life) != SHUNT_F_SYN || flow->flags & SHUNT_FLOW_AGAIN ||
	    !(flow->flags & SHUNT_FLOW_TCP))
		return 0;
	mark = SHUNT_READ_ONCE(flow->backend_isn);
	if (!shunt_syn_is(mark, ack - 1) || !reselect_find(index, 0))
		return 0;
	return shunt_cmpxchg(&flow->backend_isn, mark, shunt_syn_refused(mark)) == mark &&
	       shunt_ft_is_fresh(flow, life);
}

/* The variant and backend for the packet in the scratch, if it is one that comes again; or 0. */
static __always_inline __u64 reselect_take(struct scratch *s)
{
	if (!s->again.hash || s->again.hash != s->nf.hash)
		return 0;
	s->again.hash = 0;
	s->nf.failed = s->again.failed;
	s->nf.flags |= SHUNT_FLOW_AGAIN;
	return (__u64)s->again.variant << 32 | s->again.backend;
}

#endif
