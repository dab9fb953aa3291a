/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_POLICY_PARTS_H
#define SHUNT_DIALECT_POLICY_PARTS_H

#include "dialect/request.h"
#include "model/policy.h"

/* How policies of several objects become one. None is sealed here. */

/**
 * shunt_policy_merge - take from @from those parts that @to does not have
 * @ret_overridden: parts that both have, of which @to keeps its own
 *
 * Limits of all units are one part here, so are limits in flight, and allow and deny.
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_policy_merge(struct shunt_policy *to, const struct shunt_policy *from,
		       unsigned *ret_overridden);

/* Adds the limits of @from to those of @to. Return: 0, -E2BIG: they do not fit, or -ENOMEM. */
int shunt_policy_append(struct shunt_policy *to, const struct shunt_policy *from);

/*
 * Lets @policy hold for one variant alone. Return: false if it has a part for which that means
 * nothing; @buf then says which.
 */
bool shunt_policy_narrow(struct shunt_policy *policy, const char *variant, char *buf, size_t size);

/*
 * Drops what names a variant that @service lacks. Return: whether there was any; @buf has the
 * names.
 */
bool shunt_policy_drop_unknown(struct shunt_policy *policy,
			       const struct shunt_model_service *service, char *buf, size_t size);

/* Can the address lists match a client of @service at all? @buf says why not. */
bool shunt_policy_families_fit(const struct shunt_policy *policy,
			       const struct shunt_model_service *service, char *buf, size_t size);

/**
 * shunt_policy_take_rules - merge what DestinationRules say about the variants of a service
 * @origin: whose variants they are
 *
 * Connection age and outlier ejection are of the whole service: where the rules of its variants
 * differ in them, they are left out and their objects say so (PartiallyHonored). Return: 0 or
 * -ENOMEM.
 */
int shunt_policy_take_rules(struct shunt_translation *t, const struct shunt_request *origin,
			    struct shunt_policy *policy);

#endif
