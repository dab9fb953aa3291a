// SPDX-License-Identifier: Apache-2.0
#include "model/policy_json.h"

json_t *shunt_object_ref_to_json(const struct shunt_object_ref *ref)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:i}", "kind", ref->kind, "namespace",
			 ref->namespace_, "name", ref->name, "file", ref->file, "line",
			 (int)ref->line);
}

/* What every part has: where it comes from, and whether this version enforces it. */
static json_t *with_origin(json_t *json, const struct shunt_policy *policy, uint16_t origin,
			   unsigned part)
{
	if (!json)
		return NULL;
	json_object_set_new(json, "enforced", json_boolean(part & SHUNT_PARTS_ENFORCED));
	json_object_set_new(json, "source", shunt_object_ref_to_json(&policy->origins[origin]));
	return json;
}

/* What a limit counts, and for whom. */
static void add_key(json_t *json, const struct shunt_limit_key *key)
{
	char id[20];

	snprintf(id, sizeof(id), "%016llx", (unsigned long long)key->id);
	json_object_set_new(json, "id", json_string(id));
	json_object_set_new(json, "unit", json_string(shunt_unit_words[key->unit]));
	json_object_set_new(json, "scope", json_string(shunt_scope_words[key->scope]));
	json_object_set_new(json, "variant", json_string(key->variant));
	if (key->scope == SHUNT_SCOPE_CLIENT)
		json_object_set_new(json, "client_prefix",
				    json_pack("{s:i, s:i}", "ipv4", (int)key->prefix_len[SHUNT_V4],
					      "ipv6", (int)key->prefix_len[SHUNT_V6]));
}

static json_t *limits_json(const struct shunt_policy *policy)
{
	json_t *array = json_array();

	for (size_t i = 0; i < policy->n_limits; i++) {
		const struct shunt_rate_limit *limit = &policy->limits[i];
		json_t *json = json_pack(
			"{s:I, s:I, s:I, s:s}", "average", (json_int_t)limit->average, "period_ms",
			(json_int_t)limit->period_ms, "burst", (json_int_t)limit->burst, "answer",
			shunt_over_words[limit->answer]);

		add_key(json, &limit->key);
		json_array_append_new(array,
				      with_origin(json, policy, limit->key.origin,
						  SHUNT_PART_CONNECTION_RATE << limit->key.unit));
	}
	return array;
}

static json_t *in_flight_json(const struct shunt_policy *policy)
{
	json_t *array = json_array();

	for (size_t i = 0; i < policy->n_in_flight; i++) {
		const struct shunt_in_flight *limit = &policy->in_flight[i];
		json_t *json = json_pack("{s:I, s:s}", "max", (json_int_t)limit->max, "answer",
					 shunt_over_words[limit->answer]);

		add_key(json, &limit->key);
		json_array_append_new(
			array, with_origin(json, policy, limit->key.origin,
					   SHUNT_PART_CONNECTIONS_IN_FLIGHT << limit->key.unit));
	}
	return array;
}

static json_t *cidrs_json(const struct shunt_cidrs *cidrs)
{
	char text[SHUNT_IP_STR_LEN];
	json_t *array = json_array();

	for (size_t i = 0; i < cidrs->n; i++)
		json_array_append_new(array, json_sprintf("%s/%u",
							  shunt_ip_str(&cidrs->items[i].net, text),
							  cidrs->items[i].prefix_len));
	return array;
}

static json_t *sources_json(const struct shunt_policy *policy)
{
	const struct shunt_sources *sources = &policy->sources;

	if (!sources->allow.n && !sources->deny.n)
		return json_null();
	return with_origin(json_pack("{s:o, s:o}", "allow", cidrs_json(&sources->allow), "deny",
				     cidrs_json(&sources->deny)),
			   policy, sources->origin, SHUNT_PART_SOURCES);
}

static json_t *breaker_json(const struct shunt_policy *policy)
{
	const struct shunt_breaker *breaker = &policy->breaker;

	if (!breaker->expression)
		return json_null();
	return with_origin(json_pack("{s:s, s:I, s:I, s:I, s:i, s:I, s:s, s:s}", "expression",
				     breaker->expression, "check_ms", (json_int_t)breaker->check_ms,
				     "fallback_ms", (json_int_t)breaker->fallback_ms, "recovery_ms",
				     (json_int_t)breaker->recovery_ms, "response_code",
				     (int)breaker->response_code, "min_requests",
				     (json_int_t)breaker->min_requests, "scope",
				     shunt_scope_words[breaker->scope], "fallback",
				     breaker->fallback),
			   policy, breaker->origin, SHUNT_PART_BREAKER);
}

static json_t *ejection_json(const struct shunt_policy *policy)
{
	const struct shunt_ejection *ejection = &policy->ejection;

	if (!ejection->enabled)
		return json_null();
	return with_origin(json_pack("{s:I, s:I, s:I, s:I, s:i, s:i}", "consecutive_5xx_errors",
				     (json_int_t)ejection->consecutive_5xx,
				     "consecutive_gateway_errors",
				     (json_int_t)ejection->consecutive_gateway, "interval_ms",
				     (json_int_t)ejection->interval_ms, "base_ejection_ms",
				     (json_int_t)ejection->base_ms, "max_ejection_percent",
				     (int)ejection->max_percent, "min_health_percent",
				     (int)ejection->panic_percent),
			   policy, ejection->origin, SHUNT_PART_EJECTION);
}

static json_t *dead_man_json(const struct shunt_policy *policy)
{
	const struct shunt_dead_man *dead_man = &policy->dead_man;

	if (!dead_man->enabled)
		return json_null();
	return with_origin(json_pack("{s:s, s:s, s:I, s:I, s:I}", "canary", dead_man->canary,
				     "stable", dead_man->stable, "margin_basis_points",
				     (json_int_t)dead_man->margin_bp, "min_samples",
				     (json_int_t)dead_man->min_samples, "window_ms",
				     (json_int_t)dead_man->window_ms),
			   policy, dead_man->origin, SHUNT_PART_DEAD_MAN);
}

static json_t *signals_json(const struct shunt_policy *policy)
{
	if (policy->signals == SHUNT_SIGNALS_AUTO)
		return json_null();
	return with_origin(json_pack("{s:s}", "mode", shunt_signals_words[policy->signals]), policy,
			   policy->signals_origin, SHUNT_PART_SIGNALS);
}

static json_t *age_json(const struct shunt_policy *policy)
{
	if (!policy->max_age_ms)
		return json_null();
	return with_origin(json_pack("{s:I}", "max_ms", (json_int_t)policy->max_age_ms), policy,
			   policy->max_age_origin, SHUNT_PART_MAX_AGE);
}

/* Stands there only if it is asked for. */
static void add_probe(json_t *json, const struct shunt_policy *policy)
{
	const struct shunt_probe *probe = &policy->probe;

	if (probe->path[0])
		json_object_set_new(
			json, "probe",
			with_origin(json_pack("{s:s, s:I, s:I}", "path", probe->path, "interval_ms",
					      (json_int_t)probe->interval_ms, "timeout_ms",
					      (json_int_t)probe->timeout_ms),
				    policy, probe->origin, SHUNT_PART_PROBE));
}

json_t *shunt_policy_to_json(const struct shunt_policy *policy)
{
	json_t *json;

	if (!policy)
		return json_null();
	json = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "signals",
			 signals_json(policy), "rate_limits", limits_json(policy), "in_flight",
			 in_flight_json(policy), "sources", sources_json(policy),
			 "load_balancer_sources", cidrs_json(&policy->sources.load_balancer),
			 "circuit_breaker", breaker_json(policy), "outlier_detection",
			 ejection_json(policy), "dead_man", dead_man_json(policy), "connection_age",
			 age_json(policy));
	add_probe(json, policy);
	return json;
}
