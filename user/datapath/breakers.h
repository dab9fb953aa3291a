/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_BREAKERS_H
#define SHUNT_DATAPATH_BREAKERS_H

#include <stdbool.h>

#include "datapath/datapath.h"

/*
 * Circuit breakers as the programs have them, for people: read from the maps, and forced. The
 * programs go on changing them meanwhile; each state is one word, read and changed at once.
 */

/**
 * shunt_breaker_name_read - whose breaker is it: of a service, a variant or a backend
 * @instance: index in shunt_breaker_states, as in struct shunt_event; of any value
 * @ret_name: its strings end; written on true only
 *
 * Return: is there one?
 */
bool shunt_breaker_name_read(const struct shunt_dp_maps *maps, uint32_t instance,
			     struct shunt_breaker_name *ret_name);

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
