/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_TRAFFIC_LIMITS_H
#define SHUNT_DIALECT_TRAFFIC_LIMITS_H

#include "dialect/values.h"

/*
 * spec.rateLimits and spec.inFlight of a TrafficPolicy, put into @policy. Return: 0, -EINVAL or
 * -EOPNOTSUPP.
 */
int shunt_traffic_read_limits(const struct shunt_node *spec, struct shunt_policy *policy);
int shunt_traffic_read_in_flight(const struct shunt_node *spec, struct shunt_policy *policy);

#endif
