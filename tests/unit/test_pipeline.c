// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/dialect.h"
#include "model/guard.h"
#include "model/override.h"
#include "model_text.h"
#include "shop_yaml.h"
#include "small_model.h"

/*
 * The stages between the objects and the compiler, one after the other as the agent runs
 * them: translate, overrides, guard, history. Blue has two endpoints, green three.
 */
static const struct shunt_translate_opts translate_opts = { .default_drain_s = 60 };
static struct shunt_overrides *overrides;
static struct shunt_last_good *good;
static struct shunt_model model;
static struct shunt_err err;
static char *dir;
static int64_t now_ms;

static void setup(void)
{
	dir = small_dir();
	good = shunt_last_good_new();
	cr_assert_not_null(good);
	cr_assert_eq(shunt_overrides_open(dir, &overrides, &err), 0);
	model = (struct shunt_model){ 0 };
	now_ms = 1767225600000;
}

static void teardown(void)
{
	shunt_model_free(&model);
	shunt_overrides_close(overrides);
	shunt_last_good_free(good);
	small_dir_remove(dir);
}

TestSuite(pipeline, .init = setup, .fini = teardown);

enum green { GREEN_READY, GREEN_UNREADY, GREEN_EMPTY, GREEN_MISSING };

/* The manifests: how green stands, and the weights that a TraefikService asks for. */
static char *manifests(enum green green, const char *blue_weight, const char *green_weight)
{
	static const char *const conditions[] = { "true", "false" };
	const char *ready = green == GREEN_UNREADY ? conditions[1] : conditions[0];
	char *yaml = NULL;
	size_t size;
	FILE *out = open_memstream(&yaml, &size);

	fputs(SHOP_SERVICE("app", "10.96.0.1") SHOP_SERVICE("blue", "10.96.0.2")
		      SHOP_SLICE("blue", SHOP_ENDPOINT("10.1.0.1", "blue-1")
						 SHOP_ENDPOINT("10.1.0.2", "blue-2")),
	      out);
	if (green != GREEN_MISSING)
		fputs(SHOP_SERVICE("green", "10.96.0.3"), out);
	if (green == GREEN_READY || green == GREEN_UNREADY)
		fprintf(out,
			SHOP_SLICE("green", "- {addresses: [10.2.0.1], conditions: {ready: %s}}\n"
					    "- {addresses: [10.2.0.2], conditions: {ready: %s}}\n"
					    "- {addresses: [10.2.0.3], conditions: {ready: %s}}\n"),
			ready, ready, ready);
	fprintf(out,
		"---\n"
		"apiVersion: traefik.io/v1alpha1\n"
		"kind: TraefikService\n"
		"metadata: {name: app, namespace: shop}\n"
		"spec: {weighted: {services: [{name: blue, port: 80, weight: %s},"
		" {name: green, port: 80, weight: %s}]}}\n",
		blue_weight, green_weight);
	fclose(out);
	return yaml;
}

/* One round of the agent. Return: how many services the guard refused. */
static int round_with(enum green green, const char *blue_weight, const char *green_weight,
		      const struct shunt_guard_opts *opts)
{
	char *yaml = manifests(green, blue_weight, green_weight);
	int n_refused;

	shunt_model_free(&model);
	model_of_yaml(yaml, &translate_opts, &model);
	free(yaml);
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0, "%s", err.text);
	n_refused = shunt_guard_apply(&model, good, opts);
	cr_assert_geq(n_refused, 0);
	cr_assert_eq(shunt_history_record(overrides, &model, NULL, 0, NULL, ++now_ms, &err), 0);
	return n_refused;
}

static int next(enum green green, const char *blue_weight, const char *green_weight)
{
	static const struct shunt_guard_opts opts;

	return round_with(green, blue_weight, green_weight, &opts);
}

static struct shunt_model_service *app(void)
{
	cr_assert_eq(model.n_services, 1);
	return &model.services[0];
}

static void check_weights(long blue, long green)
{
	cr_expect_eq(small_weight(app(), "blue"), blue, "blue: %ld", small_weight(app(), "blue"));
	cr_expect_eq(small_weight(app(), "green"), green, "green: %ld",
		     small_weight(app(), "green"));
}

static const char *reason(const char *type)
{
	const struct shunt_condition *condition = shunt_conditions_get(&app()->conditions, type);

	return condition ? condition->reason : "";
}

/* ---- S20: the fat finger ---------------------------------------------------------------- */

Test(pipeline, green_with_0_of_3_ready_is_patched_to_100_and_refused_until_it_is_ready)
{
	const struct shunt_change *const *changes;

	cr_expect_eq(next(GREEN_UNREADY, "100", "0"), 0);
	check_weights(100, 0);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(next(GREEN_UNREADY, "0", "100"), 1);
		check_weights(100, 0);
		cr_expect_str_eq(reason("WeightRefused"), "NoReadyEndpoints");
		cr_expect_eq(app()->variants[1].manifest_weight, 100,
			     "what is asked is still told");
	}
	cr_expect_eq(shunt_history_get(overrides, app(), &changes), 1, "nothing has changed");

	cr_expect_eq(next(GREEN_READY, "0", "100"), 0);
	check_weights(0, 100);
	cr_expect_str_eq(reason("WeightRefused"), "");
	cr_assert_eq(shunt_history_get(overrides, app(), &changes), 2);
	cr_expect_str_eq(changes[0]->command, "manifest");
	cr_expect_eq(changes[0]->from[0].weight, 100);
}

Test(pipeline, the_operators_fat_finger_is_refused_too)
{
	const struct shunt_weight weights[] = { { "blue", 0 }, { "green", 100 } };
	const struct shunt_cause cause = { now_ms, 1000, "weight", "oops" };
	const struct shunt_change *const *changes;

	cr_assert_eq(next(GREEN_UNREADY, "100", "0"), 0);
	cr_assert_eq(shunt_overrides_set(overrides, app(), weights, 2, &cause, &err), 0);
	cr_expect_eq(next(GREEN_UNREADY, "100", "0"), 1);
	check_weights(100, 0);
	cr_expect_eq(next(GREEN_READY, "100", "0"), 0);
	check_weights(0, 100);
	cr_assert_eq(shunt_history_get(overrides, app(), &changes), 2);
	cr_expect_eq(changes[0]->who_uid, 1000);
	cr_expect_str_eq(changes[0]->reason, "oops");
}

Test(pipeline, force_lets_it_in)
{
	static const char *const forced[] = { "shop/app" };
	const struct shunt_guard_opts opts = { .forced = forced, .n_forced = 1 };

	cr_assert_eq(next(GREEN_UNREADY, "100", "0"), 0);
	cr_expect_eq(round_with(GREEN_UNREADY, "0", "100", &opts), 0);
	check_weights(0, 100);
	cr_expect_eq(next(GREEN_UNREADY, "0", "100"), 0, "it is good now, and stays");
	check_weights(0, 100);
}

Test(pipeline, green_that_fails_after_the_switch_keeps_its_weight_and_blue_can_come_back)
{
	cr_assert_eq(next(GREEN_READY, "0", "100"), 0);
	cr_expect_eq(next(GREEN_UNREADY, "0", "100"), 0);
	check_weights(0, 100);
	cr_expect_eq(next(GREEN_UNREADY, "100", "0"), 0);
	check_weights(100, 0);
}

Test(pipeline, weights_need_no_sum_of_100)
{
	cr_assert_eq(next(GREEN_READY, "7", "3"), 0);
	check_weights(7, 3);
}

Test(pipeline, weights_that_are_none_are_refused_by_validation)
{
	static const char *const weights[] = { "-1", "1000001", "0.5", "'3'", "1e99", "[]" };

	for (size_t i = 0; i < ARRAY_LEN(weights); i++) {
		next(GREEN_READY, "100", weights[i]);
		cr_expect_eq(model.n_services, 0);
		cr_assert_eq(model.n_reports, 1);
		cr_expect_str_eq(
			shunt_conditions_get(&model.reports[0].conditions, "Accepted")->status,
			"False", "%s", weights[i]);
	}
}

/* ---- S18: groups that are missing, empty, zero -------------------------------------------- */

Test(pipeline, a_missing_service_gets_the_share_that_it_will_reject)
{
	cr_assert_eq(next(GREEN_READY, "100", "0"), 0);
	cr_expect_eq(next(GREEN_MISSING, "50", "50"), 0);
	check_weights(50, 50);
	cr_expect_eq(app()->variants[1].group, SHUNT_GROUP_NOT_FOUND);
	cr_expect_eq(app()->variants[1].n_backends, 0);
	cr_expect_str_eq(reason("ResolvedRefs"), "BackendNotFound");
	cr_expect_str_eq(reason("Accepted"), "Accepted");
}

Test(pipeline, a_service_without_any_endpoint_gets_the_share_that_it_will_reject)
{
	cr_assert_eq(next(GREEN_READY, "100", "0"), 0);
	cr_expect_eq(next(GREEN_EMPTY, "50", "50"), 0);
	check_weights(50, 50);
	cr_expect_eq(app()->variants[1].group, SHUNT_GROUP_RESOLVED);
}

Test(pipeline, a_new_split_is_applied_even_if_nothing_is_ready)
{
	cr_expect_eq(next(GREEN_UNREADY, "0", "100"), 0);
	check_weights(0, 100);
}

Test(pipeline, all_weights_zero_reject_everything_as_asked)
{
	cr_assert_eq(next(GREEN_READY, "50", "50"), 0);
	cr_expect_eq(next(GREEN_READY, "0", "0"), 0);
	check_weights(0, 0);
	cr_expect_eq(next(GREEN_UNREADY, "0", "100"), 0, "there is nothing to lose");
	check_weights(0, 100);
}

/* ---- overrides and the manifest ----------------------------------------------------------- */

Test(pipeline, an_override_ends_when_the_manifests_own_weights_change_and_not_by_endpoints)
{
	const struct shunt_weight weights[] = { { "green", 25 } };
	const struct shunt_cause cause = { now_ms, 1000, "weight", "" };

	cr_assert_eq(next(GREEN_READY, "100", "0"), 0);
	cr_assert_eq(shunt_overrides_set(overrides, app(), weights, 1, &cause, &err), 0);
	next(GREEN_READY, "100", "0");
	check_weights(100, 25);
	next(GREEN_EMPTY, "100", "0");
	check_weights(100, 25);
	next(GREEN_READY, "99", "1");
	check_weights(99, 1);
	cr_expect_null(shunt_overrides_get(overrides, app()));
}

Test(pipeline, rollback_after_a_switch_of_the_manifest_returns_to_blue)
{
	const struct shunt_cause cause = { now_ms, 1000, "rollback", "" };
	struct shunt_weight weights[SHUNT_MAX_VARIANTS];
	size_t n;

	cr_assert_eq(next(GREEN_READY, "100", "0"), 0);
	cr_assert_eq(next(GREEN_READY, "0", "100"), 0);
	cr_assert_eq(shunt_history_previous(overrides, app(), weights, &n), 0);
	cr_assert_eq(shunt_overrides_set(overrides, app(), weights, n, &cause, &err), 0);
	cr_expect_eq(next(GREEN_READY, "0", "100"), 0);
	check_weights(100, 0);
}

Test(pipeline, draining_blue_towards_an_unready_green_is_refused)
{
	const struct shunt_cause cause = { now_ms, 1000, "drain", "" };

	cr_assert_eq(next(GREEN_READY, "50", "50"), 0);
	cr_assert_eq(next(GREEN_UNREADY, "50", "50"), 0);
	cr_assert_eq(shunt_overrides_drain(overrides, app(), "blue", 0, &cause, &err), 0);
	cr_expect_eq(next(GREEN_UNREADY, "50", "50"), 1);
	cr_expect_not(app()->variants[0].drained);
	cr_expect_eq(next(GREEN_READY, "50", "50"), 0);
	cr_expect(app()->variants[0].drained);
}
