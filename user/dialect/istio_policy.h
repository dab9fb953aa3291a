/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_ISTIO_POLICY_H
#define SHUNT_DIALECT_ISTIO_POLICY_H

#include "dialect/istio.h"
#include "model/policy.h"

/**
 * shunt_istio_read_policy - trafficPolicy of a DestinationRule or of one of its subsets
 * @node:   spec or a subset
 * @origin: for what is added
 * @policy: what it asks for replaces what is there, as a subset's policy replaces the rule's;
 *	    limits have the scope variant and no variant's name
 *
 * Return: 0, -EINVAL or -EOPNOTSUPP.
 */
int shunt_istio_read_policy(const struct shunt_node *node, uint16_t origin,
			    struct shunt_policy *policy);

/**
 * shunt_istio_variant_policy - what DestinationRules say about one variant
 * @from:   namespace of the object that splits: its rules stand before the Service's
 * @subset: "": none
 * @policy: empty; filled, with its origin
 *
 * Of several rules, the first by name that has the subset, or else a policy. A rule that is
 * refused says nothing.
 *
 * Return: 1 if there is one, 0, or -ENOMEM.
 */
int shunt_istio_variant_policy(struct shunt_translation *t, const char *from,
			       const struct shunt_istio_host *host, const char *subset,
			       struct shunt_policy *policy, const struct shunt_object **ret_rule);

#endif
