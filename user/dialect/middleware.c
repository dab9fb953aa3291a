// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "dialect/policies.h"
#include "dialect/traefik.h"
#include "dialect/values.h"
#include "policy/rate.h"

/*
 * Traefik's Middleware and MiddlewareTCP, as far as they say what is let in. The semantics are
 * Traefik's: an average of 0 is no limit, a burst below 1 is 1, a period of 0 a second. What
 * needs a header or a Host is refused, for connections have none.
 */

#define ANNOTATION_UNIT	    "shunt.io/unit"
#define ANNOTATION_REQUESTS "shunt.io/min-requests"

#define MAX_CHAIN   8 /* chains inside of chains */
#define NO_REQUESTS "Shunt sees the connection's address alone: only ipStrategy without depth"

/* One reading of a list of middlewares, chains included. */
struct reading {
	struct shunt_translation *t;
	bool http;
	unsigned depth;
	struct shunt_policy *policy;
};

/* What annotations say about one middleware. */
struct extras {
	enum shunt_unit unit;
	uint32_t min_requests;
};

/* ---- annotations ---------------------------------------------------------------------------- */

static int read_annotation(const struct shunt_node *list, const char *key, struct extras *extras)
{
	const char *text = "";
	uint64_t number;

	if (shunt_field_string(list, key, &text) <= 0)
		return shunt_field_error(list, -EINVAL, key, "must be a string: quote it");
	if (!strcmp(key, ANNOTATION_UNIT)) {
		extras->unit =
			strcmp(text, "connections") ? SHUNT_UNIT_REQUESTS : SHUNT_UNIT_CONNECTIONS;
		if (extras->unit == SHUNT_UNIT_CONNECTIONS || !strcmp(text, "requests"))
			return 0;
		return shunt_field_error(list, -EINVAL, key,
					 "\"%.40s\" is not requests or connections", text);
	}
	if (strcmp(key, ANNOTATION_REQUESTS))
		return shunt_field_error(list, -EINVAL, key, "Shunt has no such annotation here");
	if (shunt_number_parse(text, 1000000, &number) < 0)
		return shunt_field_error(list, -EINVAL, key,
					 "\"%.40s\" is not \"0\" to \"1000000\"", text);
	extras->min_requests = number;
	return 0;
}

static int read_annotations(const struct shunt_object *object, struct shunt_err *err,
			    struct extras *extras)
{
	struct shunt_node root = shunt_field_root(object, err), metadata, list;
	const char *key;
	json_t *value;
	int r = shunt_field_object(&root, "metadata", &metadata);

	*extras = (struct extras){ .unit = SHUNT_UNIT_REQUESTS };
	if (r > 0)
		r = shunt_field_object(&metadata, "annotations", &list);
	if (r <= 0)
		return r;
	json_object_foreach ((json_t *)list.json, key, value) {
		r = strncmp(key, "shunt.io/", 9) ? 0 : read_annotation(&list, key, extras);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the client ----------------------------------------------------------------------------- */

/* *@ret_v6: how much of an IPv6 address is one client; NULL: it cannot be said here. */
static int read_strategy(const struct shunt_node *node, uint32_t *ret_v6)
{
	static const char *const known[] = { "depth", "excludedIPs", "ipv6Subnet", NULL };
	struct shunt_node strategy, excluded;
	uint32_t depth = 0, v6 = 128;
	int r = shunt_field_object(node, "ipStrategy", &strategy);

	if (r <= 0)
		return r;
	r = shunt_field_only(&strategy, known);
	if (!r)
		r = shunt_field_int_32(&strategy, "depth", 0, INT32_MAX, &depth);
	if (r >= 0 && depth)
		r = shunt_field_error(&strategy, -EOPNOTSUPP, "depth",
				      "counts in X-Forwarded-For. " NO_REQUESTS);
	if (r >= 0)
		r = shunt_field_list(&strategy, "excludedIPs", &excluded);
	if (r > 0 && shunt_field_length(&excluded))
		r = shunt_field_error(&excluded, -EOPNOTSUPP, NULL,
				      "are looked for in X-Forwarded-For. " NO_REQUESTS);
	if (r >= 0)
		r = shunt_field_int_32(&strategy, "ipv6Subnet", 0, 128, &v6);
	if (r > 0 && !ret_v6)
		r = shunt_field_error(&strategy, -EOPNOTSUPP, "ipv6Subnet",
				      "write the prefix into the list instead");
	if (r < 0)
		return r;
	if (ret_v6)
		*ret_v6 = v6;
	return 1;
}

/* Whom a limit counts. @by_host: Traefik's default is the request's Host. */
static int read_criterion(const struct shunt_node *node, bool by_host, struct shunt_limit_key *key)
{
	static const char *const known[] = { "ipStrategy", "requestHeaderName", "requestHost",
					     NULL };
	struct shunt_node criterion, header;
	bool host = false;
	uint32_t v6 = 128;
	int r = shunt_field_object(node, "sourceCriterion", &criterion), found = 0;

	if (r > 0) {
		r = shunt_field_only(&criterion, known);
		if (!r)
			r = shunt_field_bool(&criterion, "requestHost", &host);
		if (r >= 0 && host)
			return shunt_field_error(&criterion, -EOPNOTSUPP, "requestHost",
						 NO_REQUESTS);
		if (r >= 0 && shunt_field_any(&criterion, "requestHeaderName", &header) > 0)
			return shunt_field_error(&header, -EOPNOTSUPP, NULL, NO_REQUESTS);
		if (r >= 0)
			r = found = read_strategy(&criterion, &v6);
	}
	if (r < 0)
		return r;
	if (by_host && !found)
		return shunt_field_error(node, -EOPNOTSUPP, "sourceCriterion",
					 "Traefik counts each Host by itself here, and connections "
					 "have none: write sourceCriterion: {ipStrategy: {}}, or a "
					 "TrafficPolicy with inFlight");
	key->scope = SHUNT_SCOPE_CLIENT;
	key->prefix_len[SHUNT_V4] = 32;
	key->prefix_len[SHUNT_V6] = v6;
	return 0;
}

/* ---- the middlewares ------------------------------------------------------------------------ */

static enum shunt_over_answer answer_of(enum shunt_unit unit)
{
	return unit == SHUNT_UNIT_REQUESTS ? SHUNT_OVER_429 : SHUNT_OVER_REJECT;
}

static int read_rate_limit(struct reading *rd, const struct shunt_node *node,
			   const struct extras *extras, uint16_t origin)
{
	static const char *const known[] = { "average", "period", "burst", "sourceCriterion",
					     NULL };
	struct shunt_rate_limit limit = { .key = { .unit = extras->unit, .origin = origin },
					  .period_ms = 0,
					  .answer = answer_of(extras->unit) };
	int64_t average = 0, burst = 1;
	struct shunt_node redis;
	int r;

	if (shunt_field_any(node, "redis", &redis) > 0)
		return shunt_field_error(&redis, -EOPNOTSUPP, NULL,
					 "Shunt counts in each node's kernel, not in Redis");
	r = shunt_field_only(node, known);
	if (!r)
		r = shunt_field_int(node, "average", 0, SHUNT_MAX_AVERAGE, &average);
	if (r >= 0)
		r = shunt_field_duration(node, "period", SHUNT_DURATION_TRAEFIK, 0,
					 SHUNT_MAX_PERIOD_MS, &limit.period_ms);
	if (r >= 0)
		r = shunt_field_int(node, "burst", 0, UINT32_MAX, &burst);
	if (r >= 0)
		r = read_criterion(node, false, &limit.key);
	if (r < 0)
		return r;
	limit.average = average;
	limit.period_ms = limit.period_ms ? limit.period_ms : 1000;
	limit.burst = burst ? burst : 1;
	r = shunt_field_rate(node, "burst", &limit);
	if (r < 0 || !average)
		return r;
	if (rd->policy->n_limits == SHUNT_MAX_LIMITS)
		return shunt_field_error(node, -EOPNOTSUPP, NULL, "is the route's limit %d: %d fit",
					 SHUNT_MAX_LIMITS + 1, SHUNT_MAX_LIMITS);
	rd->policy->limits[rd->policy->n_limits++] = limit;
	return 0;
}

static int add_in_flight(struct reading *rd, const struct shunt_node *node,
			 struct shunt_in_flight *limit)
{
	struct shunt_node ignored;
	int r = shunt_field_need(node, "amount", &ignored);

	if (r > 0)
		r = shunt_field_int_32(node, "amount", 1, UINT32_MAX, &limit->max);
	if (r < 0)
		return r;
	limit->answer = answer_of(limit->key.unit);
	if (shunt_policy_counts_clients(rd->policy, limit->key.unit))
		return shunt_field_error(node, -EOPNOTSUPP, NULL,
					 "is the route's second limit of each client's %s: the "
					 "lower one alone says the same",
					 limit->key.unit == SHUNT_UNIT_REQUESTS ? "requests"
										: "connections");
	if (rd->policy->n_in_flight == SHUNT_MAX_IN_FLIGHT)
		return shunt_field_error(node, -EOPNOTSUPP, NULL, "is the route's limit %d: %d fit",
					 SHUNT_MAX_IN_FLIGHT + 1, SHUNT_MAX_IN_FLIGHT);
	rd->policy->in_flight[rd->policy->n_in_flight++] = *limit;
	return 0;
}

static int read_in_flight_req(struct reading *rd, const struct shunt_node *node,
			      const struct extras *extras, uint16_t origin)
{
	static const char *const known[] = { "amount", "sourceCriterion", NULL };
	struct shunt_in_flight limit = { .key = { .unit = extras->unit, .origin = origin } };
	int r = shunt_field_only(node, known);

	if (!r)
		r = read_criterion(node, true, &limit.key);
	return r ? r : add_in_flight(rd, node, &limit);
}

static int read_in_flight_conn(struct reading *rd, const struct shunt_node *node,
			       const struct extras *extras, uint16_t origin)
{
	static const char *const known[] = { "amount", NULL };
	struct shunt_in_flight limit = {
		.key = { .scope = SHUNT_SCOPE_CLIENT, .prefix_len = { 32, 128 }, .origin = origin }
	};
	int r = shunt_field_only(node, known);

	(void)extras;
	return r ? r : add_in_flight(rd, node, &limit);
}

static int read_breaker(struct reading *rd, const struct shunt_node *node,
			const struct extras *extras, uint16_t origin)
{
	static const char *const known[] = { "expression",	 "checkPeriod",	 "fallbackDuration",
					     "recoveryDuration", "responseCode", NULL };
	struct shunt_breaker *breaker = &rd->policy->breaker;
	int r = shunt_field_only(node, known);

	if (breaker->expression)
		return shunt_field_error(node, -EOPNOTSUPP, NULL,
					 "is the route's second circuit breaker: join the "
					 "expressions with ||");
	*breaker = (struct shunt_breaker){ .min_requests = extras->min_requests,
					   .scope = SHUNT_SCOPE_SERVICE,
					   .origin = origin };
	return r ? r : shunt_field_breaker(node, SHUNT_DURATION_TRAEFIK, breaker);
}

static int read_allow_list(struct reading *rd, const struct shunt_node *node,
			   const struct extras *extras, uint16_t origin)
{
	static const char *const http_fields[] = { "sourceRange", "ipStrategy", NULL };
	static const char *const tcp_fields[] = { "sourceRange", NULL };
	struct shunt_sources *sources = &rd->policy->sources;
	struct shunt_node status, ignored;
	int r;

	(void)extras;
	if (sources->allow.n)
		return shunt_field_error(node, -EOPNOTSUPP, NULL,
					 "is the route's second list: write one with what is in "
					 "both");
	if (rd->http && shunt_field_any(node, "rejectStatusCode", &status) > 0)
		return shunt_field_error(&status, -EOPNOTSUPP, NULL,
					 "Shunt refuses the connection: there is no request to "
					 "answer yet");
	r = shunt_field_only(node, rd->http ? http_fields : tcp_fields);
	if (!r)
		r = read_strategy(node, NULL);
	if (r >= 0)
		r = shunt_field_need(node, "sourceRange", &ignored);
	if (r > 0)
		r = shunt_field_cidrs(node, "sourceRange", &sources->allow);
	sources->origin = origin;
	return r < 0 ? r : 0;
}

/* ---- one object ----------------------------------------------------------------------------- */

static int read_refs(struct reading *rd, const struct shunt_node *list);

static int read_chain(struct reading *rd, const struct shunt_node *node,
		      const struct extras *extras, uint16_t origin)
{
	static const char *const known[] = { "middlewares", NULL };
	struct shunt_node list;
	int r = shunt_field_only(node, known);

	(void)extras;
	(void)origin;
	if (!r)
		r = shunt_field_list(node, "middlewares", &list);
	if (r <= 0)
		return r;
	if (rd->depth == MAX_CHAIN)
		return shunt_field_error(node, -EOPNOTSUPP, NULL,
					 "more than %d chains deep, or in a circle", MAX_CHAIN);
	rd->depth++;
	r = read_refs(rd, &list);
	rd->depth--;
	return r;
}

static const struct {
	const char *key;
	bool http;
	bool tcp;
	int (*read)(struct reading *rd, const struct shunt_node *node, const struct extras *extras,
		    uint16_t origin);
} types[] = {
	{ "rateLimit", true, false, read_rate_limit },
	{ "inFlightReq", true, false, read_in_flight_req },
	{ "inFlightConn", false, true, read_in_flight_conn },
	{ "circuitBreaker", true, false, read_breaker },
	{ "ipAllowList", true, true, read_allow_list },
	{ "ipWhiteList", true, true, read_allow_list }, /* its name before Traefik 3 */
	{ "chain", true, false, read_chain },
};

/* The one member of spec says what it is. */
static int read_spec(struct reading *rd, const struct shunt_node *spec, const struct extras *extras,
		     uint16_t origin)
{
	const char *key = json_object_iter_key(json_object_iter((json_t *)spec->json));
	struct shunt_node node;
	int r;

	if (json_object_size(spec->json) != 1)
		return shunt_field_error(spec, -EINVAL, NULL,
					 "a middleware is of exactly one kind, not %zu",
					 json_object_size(spec->json));
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strcmp(types[i].key, key) || !(rd->http ? types[i].http : types[i].tcp))
			continue;
		r = shunt_field_object(spec, key, &node);
		return r > 0 ? types[i].read(rd, &node, extras, origin) : r;
	}
	return shunt_field_error(spec, -EOPNOTSUPP, key,
				 "Shunt splits connections and cannot do what this middleware "
				 "does: %s",
				 rd->http ? "rateLimit, inFlightReq, circuitBreaker, ipAllowList "
					    "and chain are possible"
					  : "inFlightConn and ipAllowList are possible");
}

static int read_object(struct reading *rd, const struct shunt_object *object)
{
	struct shunt_node spec;
	struct extras extras;
	uint16_t origin;
	int r = read_annotations(object, &rd->t->err, &extras);

	if (r >= 0)
		r = shunt_field_spec(object, &rd->t->err, &spec);
	if (r < 0)
		return r;
	if (shunt_policy_origin(rd->policy, object, &origin) < 0)
		return -ENOMEM;
	return read_spec(rd, &spec, &extras, origin);
}

/* The error of a middleware becomes one of the object that names it: say whose it is. */
static int blame(struct shunt_err *err, const struct shunt_object *object, int r)
{
	char text[sizeof(err->text)];

	memcpy(text, err->text, sizeof(text));
	if (strncmp(text, "(of ", 4))
		snprintf(err->text, sizeof(err->text), "(of %.20s %.63s/%.120s) %.280s",
			 object->kind, object->namespace_, object->name, text);
	return r;
}

static int read_ref(struct reading *rd, const struct shunt_node *ref)
{
	static const char *const known[] = { "name", "namespace", NULL };
	const char *kind = rd->http ? "Middleware" : "MiddlewareTCP";
	const char *name = NULL, *namespace_ = ref->object->namespace_;
	const struct shunt_object *object;
	int r = shunt_field_only(ref, known);

	if (!r)
		r = shunt_field_label(ref, "name", &name);
	if (!r)
		r = shunt_field_error(ref, -EINVAL, "name", "is required");
	if (r > 0)
		r = shunt_traefik_read_namespace(rd->t, ref, &namespace_);
	if (r < 0)
		return r;
	object = shunt_traefik_find_kind(rd->t, kind, namespace_, name);
	if (!object)
		return shunt_field_error(ref, -EINVAL, "name", "%s %s/%s does not exist", kind,
					 namespace_, name);
	r = read_object(rd, object);
	return r < 0 && r != -ENOMEM ? blame(&rd->t->err, object, r) : r;
}

static int read_refs(struct reading *rd, const struct shunt_node *list)
{
	struct shunt_node ref;
	int r = 0;

	for (size_t i = 0; !r && i < shunt_field_length(list); i++) {
		r = shunt_field_item_object(list, i, &ref);
		if (!r)
			r = read_ref(rd, &ref);
	}
	return r;
}

/* ---- for routes ------------------------------------------------------------------------------ */

int shunt_traefik_read_middlewares(struct shunt_translation *t, const struct shunt_node *rule,
				   bool http, struct shunt_policy **ret_policy)
{
	struct reading rd = { .t = t, .http = http };
	struct shunt_node list;
	int r = shunt_field_list(rule, "middlewares", &list);

	if (r <= 0 || !shunt_field_length(&list))
		return r < 0 ? r : 0;
	rd.policy = shunt_policy_new();
	if (!rd.policy)
		return -ENOMEM;
	r = read_refs(&rd, &list);
	if (r < 0)
		shunt_policy_free(rd.policy);
	else
		*ret_policy = rd.policy;
	return r;
}

/* A middleware by itself: is it right? What it asks for is the route's that names it. */
int shunt_translate_middleware(struct shunt_translation *t, const struct shunt_object *object)
{
	struct reading rd = { .t = t, .http = !strcmp(object->kind, "Middleware") };
	struct shunt_conditions *conditions;
	int r;

	rd.policy = shunt_policy_new();
	if (!rd.policy)
		return -ENOMEM;
	r = read_object(&rd, object);
	if (!r) {
		conditions = shunt_report(&t->reports, object);
		r = conditions ? shunt_conditions_set(conditions, "Accepted", "True", "Accepted",
						      "holds where a route names it")
			       : -ENOMEM;
		if (!r)
			r = shunt_policy_warn(conditions, rd.policy);
	}
	shunt_policy_free(rd.policy);
	return r;
}
