// SPDX-License-Identifier: Apache-2.0
#include "datapath/read.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/flowmem.h"
#include "shunt/compat.h"

/*
 * The elements of shunt_counters are all u64, so a sum over CPUs is one over columns. Array
 * elements are eight bytes or a multiple: no padding between the CPUs' values.
 */
static int sum_cpus(int fd, uint32_t index, uint64_t *ret_sums, size_t n_columns)
{
	CLEANUP(freep) uint64_t *values = NULL;
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return cpus;
	values = calloc(cpus * n_columns, sizeof(*values));
	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &index, values) < 0)
		return -errno;
	memset(ret_sums, 0, n_columns * sizeof(*ret_sums));
	for (int cpu = 0; cpu < cpus; cpu++)
		for (size_t column = 0; column < n_columns; column++)
			ret_sums[column] += values[cpu * n_columns + column];
	return 0;
}

static int read_counters(int fd, uint32_t index, struct shunt_counters *ret_counters)
{
	return sum_cpus(fd, index, (uint64_t *)ret_counters,
			sizeof(*ret_counters) / sizeof(uint64_t));
}

int shunt_read_backend(const struct shunt_dp_maps *maps, uint32_t backend,
		       struct shunt_counters *ret_counters)
{
	return read_counters(maps->backend_counters_fd, backend, ret_counters);
}

int shunt_read_variant(const struct shunt_dp_maps *maps, uint32_t variant,
		       struct shunt_counters *ret_counters)
{
	return read_counters(maps->variant_counters_fd, variant, ret_counters);
}

int shunt_read_limit(const struct shunt_dp_maps *maps, uint32_t bucket,
		     struct shunt_limit_counters *ret_counters)
{
	return sum_cpus(maps->limit_counters_fd, bucket, (uint64_t *)ret_counters,
			sizeof(*ret_counters) / sizeof(uint64_t));
}

uint32_t shunt_read_active(const struct shunt_dp_maps *maps, uint32_t backend)
{
	if (backend >= maps->backend_active.n)
		return 0;
	return SHUNT_READ_ONCE(
		SHUNT_DP_AT(maps->backend_active, struct shunt_active, backend)->connections);
}

int shunt_read_reasons(const struct shunt_dp_maps *maps, uint64_t ret_reasons[SHUNT_R_MAX])
{
	uint64_t sums[SHUNT_R_MAX];

	for (uint32_t reason = 0; reason < SHUNT_R_MAX; reason++) {
		int r = sum_cpus(maps->reasons_fd, reason, &sums[reason], 1);

		if (r < 0)
			return r;
	}
	memcpy(ret_reasons, sums, sizeof(sums));
	return 0;
}

const char *shunt_reason_text(unsigned reason)
{
	static const char *const texts[] = {
#define REASON_TEXT(name, action, text) text,
		SHUNT_REASONS(REASON_TEXT)
#undef REASON_TEXT
	};

	return reason < SHUNT_R_MAX ? texts[reason] : "?";
}

const char *shunt_reason_name(unsigned reason)
{
	static const char *const names[] = {
#define REASON_NAME(name, action, text) #name,
		SHUNT_REASONS(REASON_NAME)
#undef REASON_NAME
	};

	return reason < SHUNT_R_MAX ? names[reason] : "?";
}

int shunt_read_flow_states(const struct shunt_dp_maps *maps,
			   uint64_t ret_states[SHUNT_N_FLOW_STATES])
{
	uint64_t states[SHUNT_N_FLOW_STATES] = { 0 };

	/* The tags first: one line tells of sixteen flows that they are free. */
	for (uint32_t s = 0; s < maps->flow_sets.n; s++) {
		const struct shunt_flow_set *set =
			SHUNT_DP_AT(maps->flow_sets, struct shunt_flow_set, s);

		for (uint32_t way = 0; way < SHUNT_FLOW_WAYS; way++) {
			uint32_t state = SHUNT_F_FREE;

			if (SHUNT_READ_ONCE(set->tag[way]))
				state = SHUNT_LIFE_STATE(
					SHUNT_READ_ONCE(SHUNT_DP_AT(maps->flows, struct shunt_flow,
								    s * SHUNT_FLOW_WAYS + way)
								->life));
			if (state < SHUNT_N_FLOW_STATES)
				states[state]++;
		}
	}
	memcpy(ret_states, states, sizeof(states));
	return 0;
}

bool shunt_read_greedy(const struct shunt_dp_maps *maps, struct shunt_ip *ret_client)
{
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	uint32_t limit = SHUNT_READ_ONCE(settings->client_limit);

	for (uint32_t i = 0; limit && i < maps->flows.n; i++) {
		struct shunt_flow flow = *SHUNT_DP_AT(maps->flows, struct shunt_flow, i);
		struct shunt_ip client = { .family = flow.family };
		const struct shunt_client *counted;

		if (!shunt_ft_is_counted(SHUNT_LIFE_STATE(flow.life)))
			continue;
		counted = shunt_ft_client(maps, shunt_ft_client_index(maps, &flow));
		if (!counted || SHUNT_READ_ONCE(counted->flows) < limit)
			continue;
		memcpy(client.addr.word_be, flow.client_hi_be, 2 * sizeof(uint32_t));
		if (flow.family == SHUNT_V4)
			client.addr.word_be[3] = flow.client_lo_be;
		*ret_client = client;
		return true;
	}
	return false;
}
