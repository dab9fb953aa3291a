// SPDX-License-Identifier: Apache-2.0
#include "dialect/policy_http.h"

#include <errno.h>
#include <string.h>

#include "dialect/request.h"
#include "model/policy.h"

static bool sees_requests(const struct shunt_model_service *service)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (shunt_policy_has_http(service->policy, &service->ports[i]))
			return true;
	return false;
}

static struct shunt_conditions *report_of(struct shunt_reports *reports,
					  const struct shunt_object_ref *ref)
{
	for (size_t i = 0; i < reports->n; i++) {
		const struct shunt_object_ref *its = &reports->items[i].ref;

		if (!strcmp(its->kind, ref->kind) && !strcmp(its->name, ref->name) &&
		    !strcmp(its->namespace_, ref->namespace_))
			return &reports->items[i].conditions;
	}
	return NULL;
}

int shunt_policy_say_blind(struct shunt_translation *t, const struct shunt_model_service *service)
{
	const struct shunt_policy *policy = service->policy;

	if (sees_requests(service))
		return 0;
	for (size_t i = 0; i < policy->n_limits; i++) {
		const struct shunt_limit_key *key = &policy->limits[i].key;
		struct shunt_conditions *conditions;

		if (key->unit != SHUNT_UNIT_REQUESTS)
			continue;
		conditions = report_of(&t->reports, &policy->origins[key->origin]);
		if (conditions &&
		    shunt_conditions_set(conditions, "RequestsNotSeen", "True", "NoHttp",
					 "no port of %s/%s carries HTTP by its appProtocol or "
					 "name, so its requests are not seen and their limits do "
					 "not hold: set signals: http if it does",
					 service->namespace_, service->name) < 0)
			return -ENOMEM;
	}
	return 0;
}
