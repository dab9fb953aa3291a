/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_BREAKERS_H
#define SHUNT_DATAPATH_BREAKERS_H

#include <stddef.h>

#include "datapath/datapath.h"

/*
 * Circuit breakers as the programs have them, for people: read from the maps, and forced. The
 * programs go on changing them meanwhile; each state is one word, read and changed at once.
 */

/* One breaker: of a service, a variant or a backend. */
struct shunt_breaker_now {
	uint32_t instance; /* index in shunt_breaker_states, as in struct shunt_event */
	struct shunt_breaker_name name; /* its strings end */
	/*
	 * As in the map. An open one whose time is over is open until the next packet asks, and a
	 * recovering one recovers: there is no timer.
	 */
	enum shunt_breaker_phase phase;
	uint64_t until_ns; /* CLOCK_MONOTONIC; open, recovering: when that ends; else 0 */
	uint64_t opened;   /* how often, by itself; never falls while the breaker is there */
};

/**
 * shunt_breakers_read - all breakers that are in force
 * @ret_breakers: freed with free(); sorted by instance; NULL if there are none
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_breakers_read(const struct shunt_dp_maps *maps, struct shunt_breaker_now **ret_breakers,
			size_t *ret_n);

enum shunt_breaker_force {
	SHUNT_FORCE_AUTO, /* ends what was forced: closed, and it judges again */
	SHUNT_FORCE_OPEN,
	SHUNT_FORCE_CLOSED,
};

/**
 * shunt_breaker_force - open or close a breaker, until further notice
 *
 * Kept over changes of the policy, restarts and upgrades, as long as the breaker is there. AUTO
 * leaves one that is not forced as it is. An instance that comes later (a new backend's) is not
 * forced.
 *
 * Return: 1 if it changed, 0 if it was so already, or -ENOENT: there is no such instance.
 */
int shunt_breaker_force(const struct shunt_dp_maps *maps, uint32_t instance,
			enum shunt_breaker_force how);

/* For people: "closed", "open", "recovering", "forced open", "forced closed". */
const char *shunt_breaker_phase_name(enum shunt_breaker_phase phase);

#endif
