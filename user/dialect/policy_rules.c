// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/istio_policy.h"
#include "dialect/policies.h"
#include "dialect/policy_parts.h"

/* What DestinationRules say about the variants of one service. */

struct rules {
	struct shunt_policy *policy[SHUNT_MAX_VARIANTS]; /* of each variant; owned; NULL: none */
	const struct shunt_object *rule[SHUNT_MAX_VARIANTS];
	size_t n;
};

static void rules_end(struct rules *rules)
{
	for (size_t i = 0; i < rules->n; i++)
		shunt_policy_free(rules->policy[i]);
}

static int find_rule(struct shunt_translation *t, const struct shunt_request *origin,
		     const struct shunt_request_variant *variant, struct rules *rules)
{
	struct shunt_policy *policy = shunt_policy_new();
	const char *from = strcmp(origin->object->kind, "VirtualService")
				   ? variant->namespace_
				   : origin->object->namespace_;
	struct shunt_istio_host host;
	int r;

	if (!policy)
		return -ENOMEM;
	snprintf(host.namespace_, sizeof(host.namespace_), "%s", variant->namespace_);
	snprintf(host.service, sizeof(host.service), "%s", variant->service);
	r = shunt_istio_variant_policy(t, from, &host, variant->subset, policy,
				       &rules->rule[rules->n]);
	if (r <= 0) {
		shunt_policy_free(policy);
		policy = NULL;
	}
	rules->policy[rules->n++] = policy;
	return r < 0 ? r : 0;
}

/* Are all variants told the same? Then one limit of the scope variant says it. */
static bool all_equal(const struct rules *rules)
{
	for (size_t i = 1; i < rules->n; i++)
		if (!shunt_policy_equal(rules->policy[0], rules->policy[i]))
			return false;
	return true;
}

#define TOO_MANY                                                                                   \
	"the limits of the variants differ, and more than 4 do not fit: connectionPool does not "  \
	"hold"
#define DIFFER                                                                                     \
	"not all variants have the same outlierDetection and maxConnectionDuration, which Shunt "  \
	"has for whole services: these do not hold"

/* One condition for all that is left out: a second one would replace the first. */
static int say_left_out(struct shunt_translation *t, const struct rules *rules, bool too_many,
			bool differ)
{
	const char *what = !differ ? TOO_MANY : too_many ? TOO_MANY "; " DIFFER : DIFFER;

	for (size_t i = 0; i < rules->n; i++) {
		struct shunt_conditions *conditions;

		if (!rules->policy[i])
			continue;
		conditions = shunt_report(&t->reports, rules->rule[i]);
		if (!conditions || shunt_conditions_set(conditions, "PartiallyHonored", "True",
							"UnsupportedValue", "%s", what) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* The limits of each variant, by its name. Return: 0, -E2BIG or -ENOMEM. */
static int add_each(const struct rules *rules, const struct shunt_request *origin,
		    struct shunt_policy *sum)
{
	int r = 0;

	for (size_t i = 0; i < rules->n && !r; i++) {
		struct shunt_policy *policy = rules->policy[i];

		for (size_t j = 0; policy && j < policy->n_in_flight; j++)
			snprintf(policy->in_flight[j].key.variant,
				 sizeof(policy->in_flight[j].key.variant), "%s",
				 origin->variants[i].name);
		if (policy)
			r = shunt_policy_append(sum, policy);
	}
	return r;
}

static int join(struct shunt_translation *t, const struct rules *rules,
		const struct shunt_request *origin, struct shunt_policy *sum)
{
	unsigned ignored, parts = 0;
	bool too_many, differ;
	int r;

	if (all_equal(rules))
		return rules->policy[0] ? shunt_policy_merge(sum, rules->policy[0], &ignored) : 0;
	for (size_t i = 0; i < rules->n; i++)
		parts |= shunt_policy_parts(rules->policy[i]);
	r = add_each(rules, origin, sum);
	too_many = r == -E2BIG;
	if (too_many)
		sum->n_in_flight = 0;
	else if (r < 0)
		return r;
	differ = parts & (SHUNT_PART_EJECTION | SHUNT_PART_MAX_AGE);
	return too_many || differ ? say_left_out(t, rules, too_many, differ) : 0;
}

static void policy_freep(struct shunt_policy **policy)
{
	shunt_policy_free(*policy);
}

/* What one rule asks for, of all variants that it is about. */
static unsigned parts_of(const struct rules *rules, const struct shunt_object *rule)
{
	unsigned parts = 0;

	for (size_t i = 0; i < rules->n; i++)
		if (rules->policy[i] && rules->rule[i] == rule)
			parts |= shunt_policy_parts(rules->policy[i]);
	return parts;
}

/* Each rule is told what of its own does not hold because another object's stands before it. */
static int say_overridden(struct shunt_translation *t, const struct rules *rules,
			  const struct shunt_request *origin, unsigned parts)
{
	int r = 0;

	for (size_t i = 0; i < rules->n && !r; i++)
		if (rules->policy[i])
			r = shunt_policy_say_overridden(t, rules->rule[i], origin,
							parts & parts_of(rules, rules->rule[i]));
	return r;
}

int shunt_policy_take_rules(struct shunt_translation *t, const struct shunt_request *origin,
			    struct shunt_policy *policy)
{
	CLEANUP(policy_freep) struct shunt_policy *sum = shunt_policy_new();
	CLEANUP(rules_end) struct rules rules = { .n = 0 };
	unsigned overridden = 0;
	int r = sum ? 0 : -ENOMEM;

	for (size_t i = 0; i < origin->n_variants && !r; i++)
		r = find_rule(t, origin, &origin->variants[i], &rules);
	if (!r && rules.n)
		r = join(t, &rules, origin, sum);
	if (!r)
		r = shunt_policy_merge(policy, sum, &overridden);
	return r < 0 ? r : say_overridden(t, &rules, origin, overridden);
}
