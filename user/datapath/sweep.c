// SPDX-License-Identifier: Apache-2.0
#include "datapath/sweep.h"

#include "shunt/compat.h"

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

#include "shunt/flowtab.h"

uint32_t shunt_flowtab_sweep(const struct shunt_dp_maps *maps, uint32_t from_set, uint32_t n_sets,
			     uint32_t now)
{
	uint32_t removed = 0;

	for (uint32_t i = 0; i < n_sets; i++) {
		uint32_t s = (from_set + i) % maps->flow_sets.n;
		const struct shunt_flow_set *set = shunt_ft_set(maps, s);

		for (uint32_t way = 0; way < SHUNT_FLOW_WAYS; way++)
			if (SHUNT_READ_ONCE(set->tag[way]))
				removed += shunt_ft_expire(maps, s * SHUNT_FLOW_WAYS + way, now);
	}
	return removed;
}
