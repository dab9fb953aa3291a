/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_GUARDS_H
#define SHUNT_DATAPATH_GUARDS_H

#include "datapath/datapath.h"

/* Which breaker flows are under, and what it has counted: the programs' walk over the maps. */

struct shunt_guard_found {
	uint32_t breaker;  /* index in shunt_breakers; 0: under none */
	uint32_t instance; /* index in shunt_breaker_states */
};

/**
 * shunt_guard_find - the breaker of flows of @variant to @backend
 *
 * Indices that are out of range are under none.
 */
struct shunt_guard_found shunt_guard_find(const struct shunt_dp_maps *maps, uint32_t variant,
					  uint32_t backend);

/**
 * shunt_guard_rule - the breaker that judges for @instance, by its variants
 *
 * Looks at all variants where it is a service's. Return: index in shunt_breakers; 0: no variant is
 * under it.
 */
uint32_t shunt_guard_rule(const struct shunt_dp_maps *maps, uint32_t instance);

/* Return: responses in the window of @instance of @breaker, as RequestThreshold() has them. */
uint32_t shunt_guard_requests(const struct shunt_dp_maps *maps, uint32_t breaker, uint32_t instance,
			      uint64_t now_ns);

/*
 * What the next packet meets: one that is open and past its time recovers, with its whole time
 * before it, and one that has recovered is closed. There is no timer, so the map knows only then.
 */
struct shunt_guard_state {
	enum shunt_breaker_phase phase;
	uint64_t left_ns;  /* open, recovering: until that ends, at least */
	uint64_t since_ns; /* CLOCK_MONOTONIC; 0: not known */
	uint64_t opened;   /* how often */
};

/* @breaker: 0: of a rule that nobody knows. @instance: in range. */
struct shunt_guard_state shunt_guard_state(const struct shunt_dp_maps *maps, uint32_t breaker,
					   uint32_t instance, uint64_t now_ns);

#endif
