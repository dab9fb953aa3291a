// SPDX-License-Identifier: Apache-2.0
#include "datapath/sweep.h"

#include "datapath/flowmem.h"

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

bool shunt_flowtab_has_redirect(const struct shunt_dp_maps *maps, uint32_t from_set,
				uint32_t n_sets)
{
	for (uint32_t i = 0; i < n_sets; i++) {
		uint32_t s = (from_set + i) % maps->flow_sets.n;
		const struct shunt_flow_set *set = shunt_ft_set(maps, s);

		for (uint32_t way = 0; way < SHUNT_FLOW_WAYS; way++)
			if (SHUNT_READ_ONCE(set->tag[way]) &&
			    shunt_ft_flow(maps, s * SHUNT_FLOW_WAYS + way)->flags &
				    SHUNT_FLOW_REDIRECT)
				return true;
	}
	return false;
}
