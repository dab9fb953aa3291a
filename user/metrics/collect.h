/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_COLLECT_H
#define SHUNT_METRICS_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "datapath/datapath.h"
#include "datapath/ejections.h"

/* What the maps say at one moment: for status, metrics and the guard's feedback alike. */
struct shunt_stats_backend {
	uint32_t id;
	uint32_t variant; /* id */
	struct shunt_ip ip;
	uint16_t port; /* host order */
	uint8_t proto;
	uint32_t flags; /* enum shunt_backend_flags */
	uint32_t active;
	struct shunt_ejected ejection;
	struct shunt_counters counters;
};

struct shunt_stats_variant {
	uint32_t id;
	struct shunt_variant_name name;
	struct shunt_counters own;   /* of retired backends, and rejects that no backend took */
	struct shunt_counters total; /* own and all backends: never falls */
	uint64_t active;
	size_t first_backend; /* in shunt_stats.backends */
	size_t n_backends;
	bool is_http; /* its plaintext HTTP is looked at, or was */
	bool tripped; /* its dead-man switch has: the kernel gives it nothing new */
	/* Of its responses, in the maps; SHUNT_TIME_BUCKETS of them. NULL: none are kept. */
	const struct shunt_response_time *times;
	bool is_tcp; /* what becomes of its TCP connections is counted, or was */
	const struct shunt_connect_time *connect_times; /* likewise */
};

/* A limit of a policy that is in force, or one variant's part of it. */
struct shunt_stats_limit {
	struct shunt_bucket_name name;
	struct shunt_limit_counters counters;
};

struct shunt_stats {
	struct shunt_stats_variant *variants; /* sorted by namespace, service, variant */
	size_t n_variants;
	struct shunt_stats_backend *backends; /* sorted by variant id, address, port, protocol */
	size_t n_backends;
	struct shunt_stats_limit *limits; /* by bucket */
	size_t n_limits;
	uint64_t reasons[SHUNT_R_MAX];
	uint64_t flow_states[SHUNT_N_FLOW_STATES];
	uint64_t flow_capacity;
	uint32_t generation;
	uint32_t flags; /* enum shunt_settings_flags */
};

/**
 * shunt_stats_collect - read all counters
 * @maps: borrowed
 * @ret_stats: written on 0 only; freed with shunt_stats_free()
 *
 * One system call per variant and backend in use, about a microsecond each, and a pass over
 * the flow table.
 *
 * Return: 0 or -errno.
 */
int shunt_stats_collect(const struct shunt_dp_maps *maps, struct shunt_stats *ret_stats);

/* Likewise, of variants and backends only: without the pass over the flow table. */
int shunt_stats_collect_variants(const struct shunt_dp_maps *maps, struct shunt_stats *ret_stats);

/* Return: as strcmp(), by namespace, service, port, protocol, variant. */
int shunt_variant_name_compare(const struct shunt_variant_name *a,
			       const struct shunt_variant_name *b);

/* Return: the variant of that name, borrowed, or NULL. */
const struct shunt_stats_variant *shunt_stats_variant(const struct shunt_stats *stats,
						      const char *namespace_, const char *service,
						      uint16_t port, uint8_t proto,
						      const char *variant);

/* Return: a backend by what it is, borrowed, or NULL. */
const struct shunt_stats_backend *shunt_stats_backend(const struct shunt_stats *stats,
						      uint32_t variant, const struct shunt_ip *ip,
						      uint16_t port, uint8_t proto);

/**
 * shunt_stats_connections - connections that variants have had, by themselves and by backends
 * @wanted:          by variant id, maps->variants.n of them
 * @ret_connections: likewise; written for those that are wanted
 *
 * One pass over the backends, and a system call for each one of a wanted variant.
 *
 * Return: 0 or -errno.
 */
int shunt_stats_connections(const struct shunt_dp_maps *maps, const bool *wanted,
			    uint64_t *ret_connections);

/* Open connections of a variant, or of its backends at @ip and @port (NULL, 0: all). */
uint64_t shunt_stats_active(const struct shunt_dp_maps *maps, uint32_t variant,
			    const struct shunt_ip *ip, uint16_t port);

/* Frees what @stats owns and zeroes it. */
void shunt_stats_free(struct shunt_stats *stats);

#endif
