// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"
#include "model/policy.h"
#include "source/yaml/yaml.h"

/*
 * Any objects behind a shop with a split: what comes out of them as a policy keeps to the ranges
 * that model/policy.h promises to the compiler.
 */
static const char shop[] =
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: app, namespace: shop}\n"
	"spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}\n"
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: blue, namespace: shop}\n"
	"spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}]}\n"
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
	"metadata: {name: web, namespace: shop}\n"
	"spec: {parentRefs: [{group: core, kind: Service, name: app}],"
	" rules: [{backendRefs: [{name: blue, port: 80}, {name: green, port: 80}]}]}\n"
	"---\n";

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_key(const struct shunt_policy *policy, const struct shunt_limit_key *key)
{
	must(key->unit < SHUNT_N_UNITS && key->scope < SHUNT_N_SCOPES && key->id);
	must(memchr(key->variant, '\0', sizeof(key->variant)));
	must(!key->variant[0] || key->scope != SHUNT_SCOPE_SERVICE);
	must(key->prefix_len[SHUNT_V4] <= 32 && key->prefix_len[SHUNT_V6] <= 128);
	must(key->origin < policy->n_origins);
}

static void check_limits(const struct shunt_policy *policy)
{
	size_t n_clients = 0;

	must(policy->n_limits <= SHUNT_MAX_LIMITS && policy->n_in_flight <= SHUNT_MAX_IN_FLIGHT);
	for (size_t i = 0; i < policy->n_limits; i++) {
		const struct shunt_rate_limit *limit = &policy->limits[i];

		check_key(policy, &limit->key);
		must(limit->key.scope != SHUNT_SCOPE_BACKEND);
		must(limit->average && limit->period_ms && limit->burst && limit->rate.limit);
		must(limit->rate.burst == limit->burst);
		must(limit->answer != SHUNT_OVER_429 || limit->key.unit == SHUNT_UNIT_REQUESTS);
		must(limit->answer == SHUNT_OVER_DROP || limit->key.unit < SHUNT_UNIT_PACKETS);
	}
	for (size_t i = 0; i < policy->n_in_flight; i++) {
		n_clients += policy->in_flight[i].key.scope == SHUNT_SCOPE_CLIENT &&
			     policy->in_flight[i].key.unit == SHUNT_UNIT_CONNECTIONS;
		check_key(policy, &policy->in_flight[i].key);
		must(policy->in_flight[i].key.unit <= SHUNT_UNIT_REQUESTS);
		must(policy->in_flight[i].max);
	}
	must(n_clients <= 1);
}

static void check_rest(const struct shunt_policy *policy)
{
	const struct shunt_breaker *breaker = &policy->breaker;
	const struct shunt_ejection *ejection = &policy->ejection;

	if (breaker->expression) {
		must(breaker->predicate.n_tests && breaker->check_ms && breaker->fallback_ms);
		must(breaker->recovery_ms && breaker->response_code >= 100);
		must(breaker->response_code <= 599 && breaker->scope != SHUNT_SCOPE_CLIENT);
		must(breaker->origin < policy->n_origins);
	}
	if (ejection->enabled)
		must(ejection->interval_ms && ejection->base_ms && ejection->max_percent <= 100 &&
		     ejection->panic_percent <= 100 && ejection->origin < policy->n_origins);
	if (policy->dead_man.enabled)
		must(policy->dead_man.margin_bp && policy->dead_man.min_samples &&
		     strcmp(policy->dead_man.canary, policy->dead_man.stable));
	if (policy->probe.path[0])
		must(policy->probe.path[0] == '/' && !strpbrk(policy->probe.path, " \r\n") &&
		     policy->probe.interval_ms >= 100 && policy->probe.timeout_ms >= 10);
	must(!policy->max_age_ms || policy->max_age_ms >= 1000);
	must(shunt_policy_parts(policy));
}

static void check(const struct shunt_policy *policy)
{
	struct shunt_policy *copy = shunt_policy_copy(policy);

	must(copy && shunt_policy_equal(policy, copy));
	shunt_policy_free(copy);
	check_limits(policy);
	check_rest(policy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct shunt_translate_opts opts = { .default_drain_s = 60 };
	struct shunt_objects objects = { 0 };
	struct shunt_model model = { 0 };
	char *yaml = malloc(sizeof(shop) + size);
	struct shunt_err err;

	if (!yaml)
		return 0;
	memcpy(yaml, shop, sizeof(shop) - 1);
	memcpy(yaml + sizeof(shop) - 1, data, size);
	if (!shunt_yaml_parse("fuzz", yaml, sizeof(shop) - 1 + size, &objects, &err) &&
	    !shunt_translate(&objects, &opts, &model)) {
		for (size_t i = 0; i < model.n_services; i++)
			if (model.services[i].policy)
				check(model.services[i].policy);
		shunt_model_free(&model);
	}
	shunt_objects_free(&objects);
	free(yaml);
	return 0;
}
