// SPDX-License-Identifier: Apache-2.0
#include "dialect/istio_policy.h"

#include <errno.h>
#include <string.h>

#include "dialect/policies.h"
#include "dialect/values.h"

/*
 * trafficPolicy of a DestinationRule: connectionPool and outlierDetection. Envoy counts in each
 * client's proxy, Shunt in each node; a subset's pool is a limit of one variant.
 */

/* Refuses fields that need a proxy, each with its own reason. */
static int refuse_fields(const struct shunt_node *node, const char *const (*fields)[2])
{
	struct shunt_node value;

	for (; (*fields)[0]; fields++)
		if (shunt_field_any(node, (*fields)[0], &value) > 0)
			return shunt_field_error(&value, -EOPNOTSUPP, NULL, "%s", (*fields)[1]);
	return 0;
}

static void add_in_flight(struct shunt_policy *policy, enum shunt_unit unit, uint32_t max,
			  uint16_t origin)
{
	if (!max) /* protobuf's way to leave it out */
		return;
	policy->in_flight[policy->n_in_flight++] = (struct shunt_in_flight){
		.key = { .unit = unit, .scope = SHUNT_SCOPE_VARIANT, .origin = origin },
		.max = max,
		.answer = SHUNT_OVER_REJECT,
	};
}

static int read_tcp(const struct shunt_node *pool, uint16_t origin, struct shunt_policy *policy)
{
	static const char *const known[] = { "maxConnections", "maxConnectionDuration", NULL };
	static const char *const needs_proxy[][2] = {
		{ "connectTimeout", "the client's own stack connects: Shunt gives no time-out" },
		{ "tcpKeepalive", "the client's own stack sends keep-alives" },
		{ "idleTimeout", "is the agent's --timeout-established for all services" },
		{ NULL, NULL },
	};
	struct shunt_node tcp;
	uint32_t max = 0;
	int r = shunt_field_object(pool, "tcp", &tcp);

	if (r <= 0)
		return r;
	r = refuse_fields(&tcp, needs_proxy);
	if (!r)
		r = shunt_field_only(&tcp, known);
	if (!r)
		r = shunt_field_int_32(&tcp, "maxConnections", 0, INT32_MAX, &max);
	if (r >= 0)
		r = shunt_field_duration_32(&tcp, "maxConnectionDuration", SHUNT_DURATION_GO, 1000,
					    WEEK_MS, &policy->max_age_ms);
	if (r < 0)
		return r;
	policy->max_age_origin = origin;
	add_in_flight(policy, SHUNT_UNIT_CONNECTIONS, max, origin);
	return 0;
}

static int read_http(const struct shunt_node *pool, uint16_t origin, struct shunt_policy *policy)
{
	static const char *const known[] = { "http2MaxRequests", NULL };
	static const char *const needs_proxy[][2] = {
		{ "http1MaxPendingRequests",
		  "nothing waits in Shunt: tcp.maxConnections bounds what is let in" },
		{ "maxRequestsPerConnection",
		  "Shunt does not end connections by their requests: tcp.maxConnectionDuration "
		  "bounds them" },
		{ "maxRetries", "Shunt repeats no request" },
		{ "idleTimeout", "is the agent's --timeout-established for all services" },
		{ "h2UpgradePolicy", "Shunt changes no bytes" },
		{ "useClientProtocol", "Shunt changes no bytes" },
		{ "maxConcurrentStreams", "Shunt does not take part in HTTP/2" },
		{ NULL, NULL },
	};
	struct shunt_node http;
	uint32_t max = 0;
	int r = shunt_field_object(pool, "http", &http);

	if (r <= 0)
		return r;
	r = refuse_fields(&http, needs_proxy);
	if (!r)
		r = shunt_field_only(&http, known);
	if (!r)
		r = shunt_field_int_32(&http, "http2MaxRequests", 0, INT32_MAX, &max);
	if (r >= 0)
		add_in_flight(policy, SHUNT_UNIT_REQUESTS, max, origin);
	return r < 0 ? r : 0;
}

static int read_pool(const struct shunt_node *traffic, uint16_t origin, struct shunt_policy *policy)
{
	static const char *const known[] = { "tcp", "http", NULL };
	struct shunt_node pool;
	int r = shunt_field_object(traffic, "connectionPool", &pool);

	if (r <= 0)
		return r;
	policy->n_in_flight = 0;
	policy->max_age_ms = 0;
	r = shunt_field_only(&pool, known);
	if (!r)
		r = read_tcp(&pool, origin, policy);
	return r ? r : read_http(&pool, origin, policy);
}

static int read_ejection(const struct shunt_node *traffic, uint16_t origin,
			 struct shunt_ejection *ejection)
{
	static const char *const refused[][2] = {
		{ "consecutiveErrors", "is no more in Istio: write consecutive5xxErrors" },
		{ "splitExternalLocalOriginErrors", "Shunt counts failures to connect as errors" },
		{ "consecutiveLocalOriginFailures", "Shunt counts failures to connect as errors" },
		{ NULL, NULL },
	};
	struct shunt_node node;
	int r = shunt_field_object(traffic, "outlierDetection", &node);

	if (r <= 0)
		return r;
	r = refuse_fields(&node, refused);
	if (!r)
		r = shunt_field_ejection(&node, SHUNT_DURATION_GO, ejection);
	ejection->origin = origin;
	return r;
}

/* Load balancing is Shunt's own: only the one that says as much. */
static int check_balancer(const struct shunt_node *traffic)
{
	static const char *const known[] = { "simple", NULL };
	struct shunt_node balancer;
	const char *simple = "RANDOM";
	int r = shunt_field_object(traffic, "loadBalancer", &balancer);

	if (r <= 0)
		return r;
	r = shunt_field_only(&balancer, known);
	if (!r)
		r = shunt_field_string(&balancer, "simple", &simple);
	if (r < 0 || !strcmp(simple, "RANDOM") || !strcmp(simple, "UNSPECIFIED"))
		return r < 0 ? r : 0;
	return shunt_field_error(&balancer, -EOPNOTSUPP, "simple",
				 "Shunt places connections by a hash, which is RANDOM, not %.60s",
				 simple);
}

int shunt_istio_read_policy(const struct shunt_node *node, uint16_t origin,
			    struct shunt_policy *policy)
{
	static const char *const known[] = { "loadBalancer", "connectionPool", "outlierDetection",
					     NULL };
	struct shunt_node traffic;
	int r = shunt_field_object(node, "trafficPolicy", &traffic);

	if (r <= 0)
		return r;
	r = shunt_field_only(&traffic, known);
	if (!r)
		r = check_balancer(&traffic);
	if (!r)
		r = read_pool(&traffic, origin, policy);
	return r ? r : read_ejection(&traffic, origin, &policy->ejection);
}
