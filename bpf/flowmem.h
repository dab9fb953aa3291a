/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_FLOWMEM_H
#define SHUNT_BPF_FLOWMEM_H

#include "maps.h"

/* Where shunt/flowtab.h finds its memory: the maps. The handle says nothing more. */
typedef __u32 shunt_ft_t;
#define FT ((shunt_ft_t)0)

/*
 * clang passes garbage for an argument that it knows nobody reads; the verifier wants a
 * scalar in it all the same, where the function is verified by itself.
 */
#define FT_USE(t) asm volatile("" : : "r"(t))

static __always_inline const struct shunt_settings *shunt_ft_settings(shunt_ft_t t)
{
	__u32 zero = t;

	return bpf_map_lookup_elem(&shunt_settings, &zero);
}

static __always_inline struct shunt_flow_set *shunt_ft_set(shunt_ft_t t, __u32 index)
{
	FT_USE(t);
	return bpf_map_lookup_elem(&shunt_flow_sets, &index);
}

static __always_inline struct shunt_flow *shunt_ft_flow(shunt_ft_t t, __u32 index)
{
	FT_USE(t);
	return bpf_map_lookup_elem(&shunt_flows, &index);
}

static __always_inline struct shunt_reply_set *shunt_ft_reply_set(shunt_ft_t t, __u32 index)
{
	FT_USE(t);
	return bpf_map_lookup_elem(&shunt_reply_sets, &index);
}

static __always_inline struct shunt_active *shunt_ft_active(shunt_ft_t t, __u32 backend)
{
	FT_USE(t);
	return bpf_map_lookup_elem(&shunt_backend_active, &backend);
}

static __always_inline struct shunt_client *shunt_ft_client(shunt_ft_t t, __u32 index)
{
	FT_USE(t);
	return bpf_map_lookup_elem(&shunt_clients, &index);
}

static __always_inline struct shunt_active *shunt_ft_service_active(shunt_ft_t t, __u32 service)
{
	const struct shunt_service *s = bpf_map_lookup_elem(&shunt_services, &service);
	__u32 account;

	FT_USE(t);
	if (!s)
		return NULL;
	account = s->account;
	return bpf_map_lookup_elem(&shunt_service_active, &account);
}

static __always_inline struct shunt_active *shunt_ft_variant_active(shunt_ft_t t, __u32 variant)
{
	FT_USE(t);
	return bpf_map_lookup_elem(&shunt_variant_active, &variant);
}

static __always_inline struct shunt_client_active *shunt_ft_client_active(shunt_ft_t t, __u32 index)
{
	FT_USE(t);
	return bpf_map_lookup_elem(&shunt_client_active, &index);
}

static __always_inline struct shunt_client_set *shunt_ft_client_set(shunt_ft_t t, __u32 index)
{
	FT_USE(t);
	return bpf_map_lookup_elem(&shunt_client_sets, &index);
}

/* Where it says that flow @index has a request in flight. */
static __always_inline __u32 *shunt_ft_request(shunt_ft_t t, __u32 index)
{
	struct shunt_http *http = bpf_map_lookup_elem(&shunt_http, &index);

	FT_USE(t);
	return http ? &http->in_flight : NULL;
}

#include "shunt/flowtab.h"

#endif
