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

/* Does it compare anything that only responses tell? */
static bool needs_responses(const struct shunt_predicate *predicate)
{
	for (uint32_t i = 0; i < predicate->n_tests; i++)
		if (predicate->test[i].signal == SHUNT_SIGNAL_CODES ||
		    predicate->test[i].signal == SHUNT_SIGNAL_LATENCY)
			return true;
	return false;
}

static bool is_of_requests(const struct shunt_limit_key *key, size_t origin)
{
	return key->unit == SHUNT_UNIT_REQUESTS && key->origin == origin;
}

/* What the parts of a policy that origin @origin gave it cannot be judged by; "": nothing. */
static const char *blindness(const struct shunt_policy *policy, size_t origin)
{
	static const char not_seen[] = "its requests are not seen and their limits do not hold";
	const struct shunt_breaker *breaker = &policy->breaker;
	bool has_breaker = breaker->expression && breaker->origin == origin;

	if (policy->signals == SHUNT_SIGNALS_OFF &&
	    (has_breaker || (policy->dead_man.enabled && policy->dead_man.origin == origin) ||
	     (shunt_policy_ejects(policy) && policy->ejection.origin == origin)))
		return "its signals are off, so nothing is judged";
	for (size_t i = 0; i < policy->n_limits; i++)
		if (is_of_requests(&policy->limits[i].key, origin))
			return not_seen;
	for (size_t i = 0; i < policy->n_in_flight; i++)
		if (is_of_requests(&policy->in_flight[i].key, origin))
			return not_seen;
	return has_breaker && needs_responses(&breaker->predicate)
		       ? "ResponseCodeRatio and LatencyAtQuantileMS stay 0 in its circuit breaker"
		       : "";
}

/* A port of HTTP/2 that is looked at; NULL: there is none. */
static const struct shunt_port *http2_port(const struct shunt_model_service *service)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (service->ports[i].http == SHUNT_PORT_HTTP2 &&
		    shunt_policy_has_http(service->policy, &service->ports[i]))
			return &service->ports[i];
	return NULL;
}

static bool needs_codes(const struct shunt_predicate *predicate)
{
	for (uint32_t i = 0; i < predicate->n_tests; i++)
		if (predicate->test[i].signal == SHUNT_SIGNAL_CODES)
			return true;
	return false;
}

static bool limits_in_flight(const struct shunt_policy *policy, size_t origin)
{
	for (size_t i = 0; i < policy->n_in_flight; i++)
		if (is_of_requests(&policy->in_flight[i].key, origin))
			return true;
	return false;
}

/* What of HTTP/2 the kernel cannot tell, and a part that origin @origin gave needs. */
static int say_http2(struct shunt_translation *t, const struct shunt_model_service *service)
{
	const struct shunt_policy *policy = service->policy;
	const struct shunt_port *port = http2_port(service);

	for (size_t i = 0; port && i < policy->n_origins; i++) {
		bool codes = policy->breaker.expression && policy->breaker.origin == i &&
			     needs_codes(&policy->breaker.predicate);
		bool in_flight = limits_in_flight(policy, i);
		struct shunt_conditions *conditions =
			codes || in_flight ? report_of(&t->reports, &policy->origins[i]) : NULL;

		if (conditions &&
		    shunt_conditions_set(
			    conditions, "Http2PartlySeen", "True", "Http2",
			    "port %u of %s/%s carries HTTP/2%s%s", port->port, service->namespace_,
			    service->name,
			    codes ? ", of whose codes the kernel can tell those that a response "
				    "spells out: ResponseCodeRatio may miss others, which are in "
				    "no ratio; `shunt status` has their share"
				  : "",
			    in_flight ? ", whose requests in flight are not counted" : "") < 0)
			return -ENOMEM;
	}
	return 0;
}

int shunt_policy_say_blind(struct shunt_translation *t, const struct shunt_model_service *service)
{
	const struct shunt_policy *policy = service->policy;

	if (sees_requests(service))
		return say_http2(t, service);
	for (size_t i = 0; i < policy->n_origins; i++) {
		const char *what = blindness(policy, i);
		struct shunt_conditions *conditions;

		conditions = *what ? report_of(&t->reports, &policy->origins[i]) : NULL;
		if (conditions &&
		    shunt_conditions_set(conditions, "RequestsNotSeen", "True", "NoHttp",
					 "no port of %s/%s carries HTTP by its appProtocol or "
					 "name, so %s: set signals: http if it does",
					 service->namespace_, service->name, what) < 0)
			return -ENOMEM;
	}
	return 0;
}
