// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "model/policy_json.h"
#include "model_text.h"
#include "policy_example.h"
#include "shop_yaml.h"

#define ROUTE                                                                                      \
	"---\n"                                                                                    \
	"apiVersion: gateway.networking.k8s.io/v1\n"                                               \
	"kind: HTTPRoute\n"                                                                        \
	"metadata: {name: web, namespace: shop}\n"                                                 \
	"spec: {parentRefs: [{group: core, kind: Service, name: app}], rules: [{backendRefs: ["    \
	"{name: blue, port: 80, weight: 9}, {name: green, port: 80, weight: 1}]}]}\n"

/* Takes out what changes as the kernel learns to enforce, and the ids, which must be there. */
static void strip(json_t *json, size_t *n_parts)
{
	json_t *value;
	const char *key;
	size_t i;

	if (json_is_object(json) && json_object_get(json, "source")) {
		cr_expect(json_is_boolean(json_object_get(json, "enforced")));
		json_object_del(json, "enforced");
		(*n_parts)++;
	}
	if (json_is_object(json) && json_object_get(json, "unit")) {
		cr_expect_eq(strlen(json_string_value(json_object_get(json, "id"))), 16);
		json_object_del(json, "id");
	}
	json_object_foreach (json, key, value)
		strip(value, n_parts);
	json_array_foreach (json, i, value)
		strip(value, n_parts);
}

Test(policy_json, status_has_every_part_of_a_policy)
{
	static const struct shunt_translate_opts opts = { .default_drain_s = 60 };
	json_auto_t *want = json_loads(POLICY_JSON, 0, NULL), *got = NULL;
	struct shunt_model model;
	size_t n_parts = 0;
	char *text;

	cr_assert_not_null(want);
	model_of_yaml(SHOP ROUTE POLICY_YAML, &opts, &model);
	got = shunt_policy_to_json(model.services[0].policy);
	strip(got, &n_parts);
	text = json_dumps(got, JSON_INDENT(1));
	cr_expect(json_equal(got, want), "%s", text);
	cr_expect_eq(n_parts, 10);
	free(text);
	shunt_model_free(&model);
}

Test(policy_json, no_policy_is_null)
{
	json_auto_t *got = shunt_policy_to_json(NULL);

	cr_expect(json_is_null(got));
}

Test(policy_json, what_is_not_enforced_says_so)
{
	static const struct shunt_translate_opts opts = { .default_drain_s = 60 };
	const json_t *breaker, *limit;
	struct shunt_model model;
	json_auto_t *got = NULL;

	model_of_yaml(SHOP ROUTE POLICY_YAML, &opts, &model);
	got = shunt_policy_to_json(model.services[0].policy);
	breaker = json_object_get(got, "circuit_breaker");
	limit = json_array_get(json_object_get(got, "rate_limits"), 2);
	cr_expect_eq(json_is_true(json_object_get(breaker, "enforced")),
		     !!(SHUNT_PARTS_ENFORCED & SHUNT_PART_BREAKER));
	cr_expect_eq(json_is_true(json_object_get(limit, "enforced")),
		     !!(SHUNT_PARTS_ENFORCED & SHUNT_PART_BYTE_RATE));
	shunt_model_free(&model);
}
