/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_FLOWMEM_H
#define SHUNT_DATAPATH_FLOWMEM_H

#include "datapath/datapath.h"
#include "shunt/compat.h"
#include "shunt/http.h"

/* Where shunt/flowtab.h finds the table: in the mapped arrays. */
typedef const struct shunt_dp_maps *shunt_ft_t;

static inline struct shunt_flow_set *shunt_ft_set(shunt_ft_t maps, __u32 index)
{
	if (index >= maps->flow_sets.n)
		return NULL;
	return SHUNT_DP_AT(maps->flow_sets, struct shunt_flow_set, index);
}

static inline struct shunt_flow *shunt_ft_flow(shunt_ft_t maps, __u32 index)
{
	return index < maps->flows.n ? SHUNT_DP_AT(maps->flows, struct shunt_flow, index) : NULL;
}

static inline struct shunt_reply_set *shunt_ft_reply_set(shunt_ft_t maps, __u32 index)
{
	if (index >= maps->reply_sets.n)
		return NULL;
	return SHUNT_DP_AT(maps->reply_sets, struct shunt_reply_set, index);
}

static inline struct shunt_active *shunt_ft_active(shunt_ft_t maps, __u32 backend)
{
	if (backend >= maps->backend_active.n)
		return NULL;
	return SHUNT_DP_AT(maps->backend_active, struct shunt_active, backend);
}

static inline const struct shunt_settings *shunt_ft_settings(shunt_ft_t maps)
{
	return SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
}

static inline struct shunt_client *shunt_ft_client(shunt_ft_t maps, __u32 index)
{
	if (index >= maps->clients.n)
		return NULL;
	return SHUNT_DP_AT(maps->clients, struct shunt_client, index);
}

static inline struct shunt_active *shunt_ft_service_active(shunt_ft_t maps, __u32 service)
{
	uint32_t account;

	if (service >= maps->services.n)
		return NULL;
	account = SHUNT_DP_AT(maps->services, struct shunt_service, service)->account;
	if (account >= maps->service_active.n)
		return NULL;
	return SHUNT_DP_AT(maps->service_active, struct shunt_active, account);
}

static inline struct shunt_active *shunt_ft_variant_active(shunt_ft_t maps, __u32 variant)
{
	if (variant >= maps->variant_active.n)
		return NULL;
	return SHUNT_DP_AT(maps->variant_active, struct shunt_active, variant);
}

static inline struct shunt_client_active *shunt_ft_client_active(shunt_ft_t maps, __u32 index)
{
	if (index >= maps->client_active.n)
		return NULL;
	return SHUNT_DP_AT(maps->client_active, struct shunt_client_active, index);
}

static inline struct shunt_client_set *shunt_ft_client_set(shunt_ft_t maps, __u32 index)
{
	if (index >= maps->client_sets.n)
		return NULL;
	return SHUNT_DP_AT(maps->client_sets, struct shunt_client_set, index);
}

static inline __u32 *shunt_ft_request(shunt_ft_t maps, __u32 index)
{
	if (index >= maps->http.n)
		return NULL;
	return &SHUNT_DP_AT(maps->http, struct shunt_http, index)->in_flight;
}

#include "shunt/flowtab.h"

#endif
