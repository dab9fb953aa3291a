/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_READ_H
#define SHUNT_DATAPATH_READ_H

#include "base/ip.h"
#include "datapath/datapath.h"

/* Adds up what was counted. All members are 64-bit words. */
static inline void shunt_counters_add(struct shunt_counters *sum, const struct shunt_counters *more)
{
	const uint64_t *from = (const uint64_t *)more;
	uint64_t *to = (uint64_t *)sum;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

/* Sums over CPUs. A backend's own counters; a variant's include its retired backends. */
int shunt_read_backend(const struct shunt_dp_maps *maps, uint32_t backend,
		       struct shunt_counters *ret_counters);
int shunt_read_variant(const struct shunt_dp_maps *maps, uint32_t variant,
		       struct shunt_counters *ret_counters); /* without its live backends */
int shunt_read_limit(const struct shunt_dp_maps *maps, uint32_t bucket,
		     struct shunt_limit_counters *ret_counters);
uint32_t shunt_read_active(const struct shunt_dp_maps *maps, uint32_t backend);
int shunt_read_reasons(const struct shunt_dp_maps *maps, uint64_t ret_reasons[SHUNT_R_MAX]);

/* "translated to a backend" and "FORWARDED"; "?" out of range. */
const char *shunt_reason_text(unsigned reason);
const char *shunt_reason_name(unsigned reason);

/* Entries of the flow table by state, index enum shunt_flow_state. */
int shunt_read_flow_states(const struct shunt_dp_maps *maps,
			   uint64_t ret_states[SHUNT_N_FLOW_STATES]);

/**
 * shunt_read_greedy - a client that has its share of the flow table now
 * @ret_client: its address; of IPv6 its /64, the rest 0. Written on true only
 *
 * Clients are counted by a hash, so it may be one that is counted with another. Reads until it
 * finds one, which has by its share many entries.
 */
bool shunt_read_greedy(const struct shunt_dp_maps *maps, struct shunt_ip *ret_client);

#endif
