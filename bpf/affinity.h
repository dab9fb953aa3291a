/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_AFFINITY_H
#define SHUNT_BPF_AFFINITY_H

#include "flowmem.h"
#include "lookup.h"
#include "shunt/choose.h"

/*
 * Sessions: the client's masked address and the service lead to a variant and a backend.
 * Both functions have a frame of their own; their callers' have no room for the key.
 *
 * A session is made and renewed when a flow has proved itself, not by its first packet: else
 * a flood of spoofed SYNs would push everybody's session out of the map. Until then a client's
 * connections agree all the same, for the choice depends on the client alone.
 */

static __always_inline void affinity_key(const struct shunt_addr *client, __u32 family,
					 __u32 service, const struct shunt_service_slot *s,
					 struct shunt_session_key *key)
{
	shunt_masked_addr(client, family,
			  SHUNT_PICK(family == SHUNT_V6, s->prefix_len[0], s->prefix_len[1]),
			  &key->client);
	key->service = service;
}

/* May a session still send its client to its variant and backend? */
static __always_inline int affinity_holds(const struct shunt_session *session, __u32 family,
					  __u32 session_jiffies, __u32 now)
{
	const struct shunt_variant *variant;
	const struct shunt_overlay *overlay;
	const struct shunt_backend *backend;

	/* Signed: another CPU may have refreshed it in a later tick than ours. */
	if ((__s32)(now - session->seen_jiffies) >= (__s32)session_jiffies)
		return 0;
	backend = bpf_map_lookup_elem(&shunt_backends, &session->backend);
	if (!backend || backend->flags || backend->variant != session->variant ||
	    backend->family != family)
		return 0;
	overlay = bpf_map_lookup_elem(&shunt_overlay, &session->variant);
	if (overlay && overlay->tripped)
		return 0;
	variant = bpf_map_lookup_elem(&shunt_variants, &session->variant);
	return variant &&
	       !(variant->flags & SHUNT_VAR_DRAINED && (__s32)(now - variant->drain_jiffies) >= 0);
}

/**
 * affinity_find - the variant and backend that a client keeps
 *
 * Return: variant << 32 | backend, or 0 for a client without a valid session.
 */
__attribute__((noinline)) __u64 affinity_find(const struct shunt_tuple *tuple, __u32 service,
					      __u32 slot, __u32 now)
{
	const struct shunt_service_slot *s = lookup_service_slot(service, slot);
	struct shunt_session_key key = {};
	const struct shunt_session *session;

	if (!s || !tuple)
		return 0;
	affinity_key(&tuple->src, tuple->family, service, s, &key);
	session = bpf_map_lookup_elem(&shunt_sessions, &key);
	if (!session || !affinity_holds(session, tuple->family, s->session_jiffies, now))
		return 0;
	return (__u64)session->variant << 32 | session->backend;
}

/**
 * affinity_remember - make or renew the session of a flow that has just proved itself
 * @ref:  as the lookup gave it
 * @flag: BPF_ANY; BPF_EXIST: only renew
 *
 * Each new connection renews the session's time, as Kubernetes does.
 *
 * Return: 1 if there is a session now.
 */
__attribute__((noinline)) int affinity_remember(__u64 ref, __u32 flag)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	const struct shunt_settings *settings = lookup_settings();
	struct shunt_session session = { .seen_jiffies = bpf_jiffies64() };
	const struct shunt_service_slot *s;
	struct shunt_session_key key = {};
	struct shunt_addr client;

	if (!flow || !settings)
		return 0;
	s = lookup_service_slot(flow->service, SHUNT_READ_ONCE(settings->epoch) & 1);
	if (!s || s->affinity != SHUNT_AFFINITY_SESSION)
		return 0;
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++)
		client.word_be[w] = flow->client_hi_be[w];
	client.word_be[3] = flow->client_lo_be;
	affinity_key(&client, flow->family, flow->service, s, &key);
	session.variant = flow->variant;
	session.backend = flow->backend;
	if (!shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref)))
		return 0;
	return !bpf_map_update_elem(&shunt_sessions, &key, &session, flag);
}

#endif
