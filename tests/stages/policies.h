/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_STAGES_POLICIES_H
#define SHUNT_TESTS_STAGES_POLICIES_H

#include "scene.h"

#define POLICIES_BUCKETS 8 /* and instances of breakers: services share them */

/*
 * Gives most of services 1..@n_services a policy, drawn by @rng: limits of all kinds, lists
 * of addresses, a breaker, a dead-man switch, ejection, and what they go by, TCP and HTTP.
 */
void policies_make(struct rng *rng, uint32_t n_services);

#endif
