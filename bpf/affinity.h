/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_AFFINITY_H
#define SHUNT_BPF_AFFINITY_H

#include "lookup.h"
#include "shunt/choose.h"

/*
 * Sessions: the client's masked address and the service lead to a variant and a backend.
 * Both functions have a frame of their own; the new flow's has no room for the key.
 */

static __always_inline const struct shunt_service_slot *affinity_service(__u32 service, __u32 slot)
{
	return lookup_slot(bpf_map_lookup_elem(&shunt_services, &service), slot);
}

static __always_inline void affinity_key(const struct shunt_tuple *tuple, __u32 service,
					 const struct shunt_service_slot *s,
					 struct shunt_session_key *key)
{
	shunt_masked_addr(&tuple->src, tuple->family,
			  SHUNT_PICK(tuple->family == SHUNT_V6, s->prefix_len[0], s->prefix_len[1]),
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
 * Each new connection refreshes the session's time, as Kubernetes does.
 *
 * Return: variant << 32 | backend, or 0 for a client without a valid session.
 */
__attribute__((noinline)) __u64 affinity_find(const struct shunt_tuple *tuple, __u32 service,
					      __u32 slot, __u32 now)
{
	const struct shunt_service_slot *s = affinity_service(service, slot);
	struct shunt_session_key key = {};
	struct shunt_session *session;

	if (!s || !tuple)
		return 0;
	affinity_key(tuple, service, s, &key);
	session = bpf_map_lookup_elem(&shunt_sessions, &key);
	if (!session || !affinity_holds(session, tuple->family, s->session_jiffies, now))
		return 0;
	session->seen_jiffies = now;
	return (__u64)session->variant << 32 | session->backend;
}

/* Remembers the choice of a new client. Return: 0. */
__attribute__((noinline)) int affinity_store(const struct shunt_tuple *tuple, __u32 service,
					     __u32 slot, __u64 choice, __u32 now)
{
	const struct shunt_service_slot *s = affinity_service(service, slot);
	struct shunt_session session = {
		.variant = choice >> 32,
		.backend = choice,
		.seen_jiffies = now,
	};
	struct shunt_session_key key = {};

	if (!s || !tuple)
		return 0;
	affinity_key(tuple, service, s, &key);
	bpf_map_update_elem(&shunt_sessions, &key, &session, BPF_ANY);
	return 0;
}

#endif
