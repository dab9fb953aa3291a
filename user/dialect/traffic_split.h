/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_TRAFFIC_SPLIT_H
#define SHUNT_DIALECT_TRAFFIC_SPLIT_H

#include "dialect/policies.h"

/**
 * shunt_traffic_read_split - spec.backendRefs of a TrafficPolicy
 * @targets, @n: of the policy: only Services can be split by it
 * @ret_refs:    the list, not empty; its items are read for each Service by the next
 *
 * Return: 1: there is one, 0, -EINVAL or -EOPNOTSUPP.
 */
int shunt_traffic_read_split(const struct shunt_node *spec, const struct shunt_attachment *targets,
			     size_t n, struct shunt_node *ret_refs);

/**
 * shunt_traffic_request - the split that a TrafficPolicy means for one of its targets
 * @refs: of shunt_traffic_read_split(); NULL: there are none
 *
 * Without @refs a Service that nobody splits becomes a split of one variant, itself: what is let
 * in can only be counted where its packets are led. Targets that split by themselves get none.
 *
 * Return: 0, -EINVAL, -EOPNOTSUPP or -ENOMEM.
 */
int shunt_traffic_request(struct shunt_translation *t, const struct shunt_attachment *target,
			  const struct shunt_node *refs);

#endif
