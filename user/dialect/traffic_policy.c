// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/policies.h"
#include "dialect/traffic_limits.h"
#include "dialect/traffic_split.h"

/*
 * TrafficPolicy of shunt.io: what a Service, or a route's split, lets in, and maybe the Service's
 * split itself. Attached directly, as
 * Gateway API's policies are (GEP-713). What is refused here is refused by the schema in
 * manifests/crd/ too: tests/unit/policy_cases.yaml is fed to both.
 */

#define MAX_TARGETS 16

/* ---- breaker, ejection, dead-man switch ------------------------------------------------------ */

static int read_breaker(const struct shunt_node *spec, struct shunt_breaker *breaker)
{
	static const char *const known[] = { "expression",
					     "checkPeriod",
					     "fallbackDuration",
					     "recoveryDuration",
					     "responseCode",
					     "minRequests",
					     "scope",
					     "fallback",
					     NULL };
	unsigned scope = SHUNT_SCOPE_SERVICE;
	struct shunt_node node;
	int r = shunt_field_object(spec, "circuitBreaker", &node);

	if (r <= 0)
		return r;
	*breaker = (struct shunt_breaker){ .min_requests = 20 };
	r = shunt_field_only(&node, known);
	if (!r)
		r = shunt_field_int_32(&node, "minRequests", 0, 1000000, &breaker->min_requests);
	if (r >= 0)
		r = shunt_field_word(&node, "scope", shunt_scope_words, SHUNT_SCOPE_BACKEND + 1,
				     &scope);
	if (r >= 0)
		r = shunt_field_variant(&node, "fallback", breaker->fallback);
	breaker->scope = scope;
	return r < 0 ? r : shunt_field_breaker(&node, SHUNT_DURATION_GATEWAY, breaker);
}

static int read_ejection(const struct shunt_node *spec, struct shunt_ejection *ejection)
{
	struct shunt_node node;
	int r = shunt_field_object(spec, "outlierDetection", &node);

	return r <= 0 ? r : shunt_field_ejection(&node, SHUNT_DURATION_GATEWAY, ejection);
}

static int read_dead_man(const struct shunt_node *spec, struct shunt_dead_man *dead_man)
{
	static const char *const known[] = { "canary",	   "stable", "marginBasisPoints",
					     "minSamples", "window", NULL };
	struct shunt_node node, ignored;
	int r = shunt_field_object(spec, "deadMan", &node);

	if (r <= 0)
		return r;
	*dead_man = (struct shunt_dead_man){
		.enabled = true, .margin_bp = 500, .min_samples = 100, .window_ms = 10000
	};
	r = shunt_field_only(&node, known);
	if (!r)
		r = shunt_field_need(&node, "canary", &ignored);
	if (r > 0)
		r = shunt_field_variant(&node, "canary", dead_man->canary);
	if (r > 0)
		r = shunt_field_need(&node, "stable", &ignored);
	if (r > 0)
		r = shunt_field_variant(&node, "stable", dead_man->stable);
	if (r > 0 && !strcmp(dead_man->canary, dead_man->stable))
		r = shunt_field_error(&node, -EINVAL, "stable", "is the canary itself");
	if (r >= 0)
		r = shunt_field_int_32(&node, "marginBasisPoints", 1, 10000, &dead_man->margin_bp);
	if (r >= 0)
		r = shunt_field_int_32(&node, "minSamples", 1, 1000000, &dead_man->min_samples);
	if (r >= 0)
		r = shunt_field_duration_32(&node, "window", SHUNT_DURATION_GATEWAY, 1000, 10000,
					    &dead_man->window_ms);
	return r < 0 ? r : 0;
}

/* It goes into a request as it is, so nothing in it may end the line. */
static bool is_path(const char *path)
{
	for (const char *c = path; *c; c++)
		if (*c < '!' || *c > '~')
			return false;
	return path[0] == '/' && strlen(path) <= SHUNT_MAX_PROBE_PATH;
}

static int read_probe(const struct shunt_node *spec, struct shunt_probe *probe)
{
	static const char *const known[] = { "path", "interval", "timeout", NULL };
	struct shunt_node node, ignored;
	const char *path;
	int r = shunt_field_object(spec, "probe", &node);

	if (r <= 0)
		return r;
	probe->interval_ms = probe->timeout_ms = 1000;
	r = shunt_field_only(&node, known);
	if (!r)
		r = shunt_field_need(&node, "path", &ignored);
	if (r > 0)
		r = shunt_field_string(&node, "path", &path);
	if (r > 0 && !is_path(path))
		r = shunt_field_error(&node, -EINVAL, "path",
				      "must begin with / and have at most 255 printable ASCII "
				      "characters, none of them a space");
	if (r > 0)
		strcpy(probe->path, path);
	if (r >= 0)
		r = shunt_field_duration_32(&node, "interval", SHUNT_DURATION_GATEWAY, 100, HOUR_MS,
					    &probe->interval_ms);
	if (r >= 0)
		r = shunt_field_duration_32(&node, "timeout", SHUNT_DURATION_GATEWAY, 10, 60000,
					    &probe->timeout_ms);
	return r < 0 ? r : 0;
}

/* ---- the rest of spec ----------------------------------------------------------------------- */

static int read_sources(const struct shunt_node *spec, struct shunt_sources *sources)
{
	static const char *const known[] = { "allow", "deny", NULL };
	struct shunt_node node;
	int r = shunt_field_object(spec, "sources", &node);

	if (r <= 0)
		return r;
	r = shunt_field_only(&node, known);
	if (!r)
		r = shunt_field_cidrs(&node, "allow", &sources->allow);
	if (r >= 0)
		r = shunt_field_cidrs(&node, "deny", &sources->deny);
	if (r >= 0 && !sources->allow.n && !sources->deny.n)
		r = shunt_field_error(&node, -EINVAL, NULL, "must have allow or deny");
	return r < 0 ? r : 0;
}

static int read_parts(const struct shunt_node *spec, struct shunt_policy *policy)
{
	unsigned signals = SHUNT_SIGNALS_AUTO;
	int r = shunt_field_word(spec, "signals", shunt_signals_words, SHUNT_N_SIGNALS_MODES,
				 &signals);

	policy->signals = signals;
	if (r >= 0)
		r = shunt_traffic_read_limits(spec, policy);
	if (r >= 0)
		r = shunt_traffic_read_in_flight(spec, policy);
	if (r >= 0)
		r = read_sources(spec, &policy->sources);
	if (r >= 0)
		r = read_breaker(spec, &policy->breaker);
	if (r >= 0)
		r = read_ejection(spec, &policy->ejection);
	if (r >= 0)
		r = read_dead_man(spec, &policy->dead_man);
	if (r >= 0)
		r = read_probe(spec, &policy->probe);
	if (r >= 0)
		r = shunt_field_duration_32(spec, "maxConnectionAge", SHUNT_DURATION_GATEWAY, 1000,
					    WEEK_MS, &policy->max_age_ms);
	return r < 0 ? r : 0;
}

/* ---- targets -------------------------------------------------------------------------------- */

static const struct {
	const char *group;
	const char *kind;
} target_kinds[] = {
	{ "", "Service" },
	{ "core", "Service" }, /* as in parentRefs */
	{ "gateway.networking.k8s.io", "HTTPRoute" },
	{ "gateway.networking.k8s.io", "TCPRoute" },
	{ "gateway.networking.k8s.io", "UDPRoute" },
	{ "traefik.io", "TraefikService" },
	{ "traefik.io", "IngressRoute" },
	{ "traefik.io", "IngressRouteTCP" },
	{ "networking.istio.io", "VirtualService" },
};

static int read_target_kind(const struct shunt_node *ref, const char **ret_kind)
{
	const char *group = "", *kind = "";
	struct shunt_node ignored;
	int r = shunt_field_string(ref, "group", &group);

	if (r >= 0)
		r = shunt_field_need(ref, "kind", &ignored);
	if (r > 0)
		r = shunt_field_string(ref, "kind", &kind);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(target_kinds); i++) {
		if (strcmp(target_kinds[i].group, group) || strcmp(target_kinds[i].kind, kind))
			continue;
		*ret_kind = target_kinds[i].kind;
		return 0;
	}
	return shunt_field_error(ref, -EINVAL, "kind",
				 "no %.60s of group \"%.80s\" can have a TrafficPolicy: a Service "
				 "(group \"\"), an HTTPRoute, TCPRoute or UDPRoute, a "
				 "TraefikService, IngressRoute, IngressRouteTCP or VirtualService",
				 kind, group);
}

static int read_target(const struct shunt_node *ref, struct shunt_attachment *ret)
{
	static const char *const known[] = { "group", "kind", "name", "sectionName", NULL };
	struct shunt_node ignored;
	int r = shunt_field_only(ref, known);

	ret->section = "";
	ret->name = "";
	if (!r)
		r = read_target_kind(ref, &ret->kind);
	if (!r)
		r = shunt_field_need(ref, "name", &ignored);
	if (r > 0)
		r = shunt_field_string(ref, "name", &ret->name);
	if (r > 0 && !*ret->name)
		r = shunt_field_error(ref, -EINVAL, "name", "must not be empty");
	if (r >= 0)
		r = shunt_field_label(ref, "sectionName", &ret->section);
	return r < 0 ? r : 0;
}

/* Does the list name one target twice? */
static int check_twice(const struct shunt_node *ref, const struct shunt_attachment *targets,
		       size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(targets[i].kind, targets[n].kind) &&
		    !strcmp(targets[i].name, targets[n].name) &&
		    !strcmp(targets[i].section, targets[n].section))
			return shunt_field_error(ref, -EINVAL, NULL,
						 "is the same target as targetRefs[%zu]", i);
	return 0;
}

static int read_targets(const struct shunt_node *spec, struct shunt_attachment *targets,
			size_t *ret_n)
{
	struct shunt_node list;
	int r = shunt_field_need(spec, "targetRefs", &list);
	size_t n;

	if (r > 0)
		r = shunt_field_list(spec, "targetRefs", &list);
	if (r < 0)
		return r;
	n = shunt_field_length(&list);
	if (!n || n > MAX_TARGETS)
		return shunt_field_error(&list, -EINVAL, NULL, "must name 1..%d targets, not %zu",
					 MAX_TARGETS, n);
	for (size_t i = 0; i < n; i++) {
		r = shunt_field_item_object(&list, i, &targets[i].at);
		if (!r)
			r = read_target(&targets[i].at, &targets[i]);
		if (!r)
			r = check_twice(&targets[i].at, targets, i);
		if (r < 0)
			return r;
	}
	*ret_n = n;
	return 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void policy_freep(struct shunt_policy **policy)
{
	shunt_policy_free(*policy);
}

/* @refs: of the split, or NULL */
static int attach(struct shunt_translation *t, const struct shunt_attachment *targets, size_t n,
		  const struct shunt_policy *policy, const struct shunt_node *refs)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		CLEANUP(policy_freep) struct shunt_policy *copy = shunt_policy_copy(policy);
		struct shunt_attachment *attachment;

		if (!copy || shunt_attachment_add(t, &targets[i].at, copy, &attachment) < 0)
			return -ENOMEM;
		copy = NULL;
		attachment->kind = targets[i].kind;
		attachment->name = targets[i].name;
		attachment->section = targets[i].section;
		r = shunt_traffic_request(t, &targets[i], refs);
	}
	return r;
}

int shunt_translate_traffic_policy(struct shunt_translation *t, const struct shunt_object *object)
{
	static const char *const known[] = {
		"targetRefs", "backendRefs",	  "signals",	    "rateLimits",
		"inFlight",   "sources",	  "circuitBreaker", "outlierDetection",
		"deadMan",    "maxConnectionAge", "probe",	    NULL
	};
	CLEANUP(policy_freep) struct shunt_policy *policy = shunt_policy_new();
	struct shunt_attachment targets[MAX_TARGETS] = { 0 };
	struct shunt_conditions *conditions;
	struct shunt_node spec, refs;
	bool splits = false;
	uint16_t origin;
	size_t n = 0;
	int r;

	if (!policy || shunt_policy_origin(policy, object, &origin) < 0)
		return -ENOMEM;
	r = shunt_field_spec(object, &t->err, &spec);
	if (!r)
		r = shunt_field_only(&spec, known);
	if (!r)
		r = read_targets(&spec, targets, &n);
	if (!r)
		r = shunt_traffic_read_split(&spec, targets, n, &refs);
	splits = r > 0;
	if (r >= 0)
		r = read_parts(&spec, policy);
	if (!r && !splits && !shunt_policy_parts(policy) &&
	    !json_object_get(spec.json, "signals") &&
	    !json_array_size(json_object_get(spec.json, "rateLimits")))
		r = shunt_field_error(&spec, -EINVAL, NULL,
				      "asks for nothing: there is backendRefs, rateLimits, "
				      "inFlight, sources, circuitBreaker, outlierDetection, "
				      "deadMan, maxConnectionAge, probe and signals");
	if (r < 0)
		return r;
	conditions = shunt_report(&t->reports, object);
	if (!conditions)
		return -ENOMEM;
	r = shunt_policy_warn(conditions, policy);
	return r ? r : attach(t, targets, n, policy, splits ? &refs : NULL);
}
