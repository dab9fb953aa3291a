// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/guard.h"
#include "small_model.h"

#define SERVICE(model, ...)                                                                        \
	small_service((model), "web", 80, 1, (const struct small_variant[]){ __VA_ARGS__ },        \
		      ARRAY_LEN(((const struct small_variant[]){ __VA_ARGS__ })))

static const struct shunt_guard_opts no_opts;
static struct shunt_last_good *good;
static struct shunt_model model;

static void setup(void)
{
	good = shunt_last_good_new();
	cr_assert_not_null(good);
	model = (struct shunt_model){ 0 };
}

static void teardown(void)
{
	shunt_model_free(&model);
	shunt_last_good_free(good);
}

TestSuite(guard, .init = setup, .fini = teardown);

/* The next model: one service "web" on port 80. */
#define NEXT(...) (shunt_model_free(&model), SERVICE(&model, __VA_ARGS__))

static int apply(void)
{
	return shunt_guard_apply(&model, good, &no_opts);
}

static void check_refused(const struct shunt_model_service *service, const char *reason)
{
	const struct shunt_condition *condition =
		shunt_conditions_get(&service->conditions, "WeightRefused");

	cr_assert_not_null(condition);
	cr_expect_str_eq(condition->status, "True");
	cr_expect_str_eq(condition->reason, reason);
}

Test(guard, a_fat_finger_on_an_unready_group_is_refused)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 3, 0 }, { "green", 0, 0, 3 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 0, 3, 0 }, { "green", 100, 0, 3 });
	cr_assert_eq(apply(), 1);
	cr_expect_eq(small_weight(web, "blue"), 100);
	cr_expect_eq(small_weight(web, "green"), 0);
	check_refused(web, "NoReadyEndpoints");
	cr_expect(strstr(web->conditions.items[0].message, "variant green"));
}

Test(guard, a_refused_wish_is_let_in_when_its_endpoints_are_ready)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 3, 0 }, { "green", 0, 0, 3 });

	cr_assert_eq(apply(), 0);
	for (int i = 0; i < 3; i++) {
		NEXT({ "blue", 0, 3, 0 }, { "green", 100, 0, 3 });
		cr_assert_eq(apply(), 1);
	}
	web = NEXT({ "blue", 0, 3, 0 }, { "green", 100, 1, 2 });
	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 100);
	cr_expect_null(shunt_conditions_get(&web->conditions, "WeightRefused"));
}

Test(guard, a_share_that_rises_because_another_weight_falls_is_refused)
{
	struct shunt_model_service *web = NEXT({ "blue", 95, 1, 0 }, { "green", 5, 1, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 0, 1, 0 }, { "green", 5, 0, 1 });
	cr_assert_eq(apply(), 1);
	cr_expect_eq(small_weight(web, "blue"), 95);
	cr_expect_eq(small_weight(web, "green"), 5);
}

Test(guard, taking_weight_from_an_unready_group_is_let_in)
{
	struct shunt_model_service *web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 1, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 95, 1, 0 }, { "green", 5, 0, 1 });
	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 5);
}

Test(guard, a_group_that_becomes_unready_keeps_its_weight)
{
	struct shunt_model_service *web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 1, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 });
	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 50);
}

Test(guard, a_new_service_is_applied_as_asked)
{
	struct shunt_model_service *web = NEXT({ "blue", 0, 3, 0 }, { "green", 100, 0, 3 });

	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 100);
}

Test(guard, a_group_without_any_endpoint_is_applied_as_asked)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 3, 0 }, { "green", 0, 0, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 50, 3, 0 }, { "green", 50, 0, 0 });
	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 50);
}

Test(guard, an_unresolved_group_is_applied_as_asked)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 3, 0 }, { "green", 0, 0, 1 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 50, 3, 0 }, { "green", 50, 0, 1 });
	web->variants[1].group = SHUNT_GROUP_FORBIDDEN;
	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 50);
}

Test(guard, a_variant_that_appears_unready_gets_nothing_until_it_is_ready)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 3, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 90, 3, 0 }, { "green", 10, 0, 1 });
	cr_assert_eq(apply(), 1);
	cr_expect_eq(small_weight(web, "blue"), 100);
	cr_expect_eq(small_weight(web, "green"), 0);
	web = NEXT({ "blue", 90, 3, 0 }, { "green", 10, 1, 0 });
	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 10);
}

Test(guard, a_variant_that_is_gone_does_not_count)
{
	struct shunt_model_service *web =
		NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 }, { "red", 100, 1, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 });
	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 50);
}

Test(guard, a_service_whose_carriers_are_all_gone_has_nothing_to_lose)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 3, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "green", 100, 0, 3 });
	cr_assert_eq(apply(), 0);
	cr_expect_eq(small_weight(web, "green"), 100);
}

Test(guard, readiness_is_asked_for_each_port)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 2, 0 }, { "green", 0, 1, 1 });

	small_port(web, 443, IPPROTO_TCP);
	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 0, 2, 0 }, { "green", 100, 1, 1 });
	small_port(web, 443, IPPROTO_TCP);
	web->variants[1].backends[1].port_index = 1;
	cr_assert_eq(apply(), 1, "port 443 of green has one endpoint, and that is not ready");
}

Test(guard, force_skips_the_judgement_once)
{
	static const char *const forced[] = { "shop/other", "shop/web" };
	const struct shunt_guard_opts opts = { .forced = forced, .n_forced = 2 };
	struct shunt_model_service *web = NEXT({ "blue", 100, 1, 0 }, { "green", 0, 0, 1 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 });
	cr_assert_eq(shunt_guard_apply(&model, good, &opts), 0);
	cr_expect_eq(small_weight(web, "green"), 50);

	web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 });
	cr_assert_eq(apply(), 0, "what was forced is good now");
	web = NEXT({ "blue", 40, 1, 0 }, { "green", 60, 0, 1 });
	cr_assert_eq(apply(), 1, "the next step is judged");
	cr_expect_eq(small_weight(web, "green"), 50);
}

Test(guard, force_of_a_name_that_begins_alike_is_not_ours)
{
	static const char *const forced[] = { "shop/we", "shop/web2", "sho/web", "shop" };
	const struct shunt_guard_opts opts = { .forced = forced, .n_forced = 4 };

	NEXT({ "blue", 100, 1, 0 }, { "green", 0, 0, 1 });
	cr_assert_eq(apply(), 0);
	NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 });
	cr_assert_eq(shunt_guard_apply(&model, good, &opts), 1);
}

static const struct {
	const char *name;
	uint32_t max_step_bp;
	uint32_t from[2], to[2];
	bool refused;
} steps[] = {
	{ "off", 0, { 100, 0 }, { 0, 100 }, false },
	{ "exactly the step", 500, { 100, 0 }, { 95, 5 }, false },
	{ "one part in a million above", 500, { 100, 0 }, { 949999, 50001 }, true },
	{ "weights may grow while shares stay", 500, { 1, 1 }, { 1000000, 1000000 }, false },
	{ "a third, from nothing", 3333, { 1, 0 }, { 2, 1 }, true },
	{ "a third fits in 3334", 3334, { 1, 0 }, { 2, 1 }, false },
	{ "the way back is a rise as well", 1000, { 50, 50 }, { 100, 0 }, true },
	{ "10000 lets all in", 10000, { 100, 0 }, { 0, 100 }, false },
	{ "more than 10000 too", UINT32_MAX, { 100, 0 }, { 0, 100 }, false },
	{ "all to zero rises nowhere", 1, { 100, 0 }, { 0, 0 }, false },
};

Test(guard, a_step_above_the_maximum_is_refused)
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		const struct shunt_guard_opts opts = { .max_step_bp = steps[i].max_step_bp };
		struct shunt_model_service *web;

		shunt_last_good_free(good);
		good = shunt_last_good_new();
		NEXT({ "blue", steps[i].from[0], 1, 0 }, { "green", steps[i].from[1], 1, 0 });
		cr_assert_eq(shunt_guard_apply(&model, good, &opts), 0, "%s", steps[i].name);
		web = NEXT({ "blue", steps[i].to[0], 1, 0 }, { "green", steps[i].to[1], 1, 0 });
		cr_expect_eq(shunt_guard_apply(&model, good, &opts), steps[i].refused, "%s",
			     steps[i].name);
		if (steps[i].refused)
			check_refused(web, "StepTooLarge");
		cr_expect_eq(small_weight(web, "green"),
			     steps[i].refused ? steps[i].from[1] : steps[i].to[1], "%s",
			     steps[i].name);
	}
}

Test(guard, a_large_change_passes_in_small_steps)
{
	const struct shunt_guard_opts opts = { .max_step_bp = 2500 };

	NEXT({ "blue", 100, 1, 0 }, { "green", 0, 1, 0 });
	cr_assert_eq(shunt_guard_apply(&model, good, &opts), 0);
	for (uint32_t green = 25; green <= 100; green += 25) {
		NEXT({ "blue", 0, 1, 0 }, { "green", 100, 1, 0 });
		cr_expect_eq(shunt_guard_apply(&model, good, &opts), green < 100);
		NEXT({ "blue", 100 - green, 1, 0 }, { "green", green, 1, 0 });
		cr_expect_eq(shunt_guard_apply(&model, good, &opts), 0);
	}
}

Test(guard, a_rollback_may_be_of_any_size_but_not_to_an_unready_group)
{
	static const char *const any_step[] = { "shop/web" };
	const struct shunt_guard_opts opts = {
		.max_step_bp = 100,
		.any_step = any_step,
		.n_any_step = 1,
	};
	struct shunt_model_service *web = NEXT({ "blue", 0, 1, 0 }, { "green", 100, 1, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 100, 0, 1 }, { "green", 0, 1, 0 });
	cr_assert_eq(shunt_guard_apply(&model, good, &opts), 1);
	check_refused(web, "NoReadyEndpoints");
	web = NEXT({ "blue", 100, 1, 0 }, { "green", 0, 1, 0 });
	cr_assert_eq(shunt_guard_apply(&model, good, &opts), 0);
	cr_expect_eq(small_weight(web, "blue"), 100);
}

Test(guard, draining_a_variant_towards_an_unready_one_is_refused)
{
	struct shunt_model_service *web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 1, 0 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 });
	web->variants[0].drained = true;
	cr_assert_eq(apply(), 1);
	cr_expect_not(web->variants[0].drained);
	cr_expect_eq(small_weight(web, "blue"), 50);
}

Test(guard, a_drained_unready_variant_stays_drained)
{
	struct shunt_model_service *web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 });

	web->variants[1].drained = true;
	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 0, 1 });
	cr_assert_eq(apply(), 1);
	cr_expect(web->variants[1].drained);
	web = NEXT({ "blue", 50, 1, 0 }, { "green", 50, 1, 0 });
	cr_assert_eq(apply(), 0);
	cr_expect_not(web->variants[1].drained);
}

static void two_of_one_name(uint32_t green_80, uint32_t green_443)
{
	shunt_model_free(&model);
	small_service(&model, "web", 80, 1,
		      (const struct small_variant[]){ { "blue", 100 - green_80, 1, 0 },
						      { "green", green_80, 0, 1 } },
		      2);
	small_service(&model, "web", 443, 1,
		      (const struct small_variant[]){ { "blue", 100 - green_443, 1, 0 },
						      { "green", green_443, 1, 0 } },
		      2);
}

Test(guard, two_services_of_one_name_are_judged_by_their_own_ports)
{
	two_of_one_name(50, 0);
	cr_assert_eq(apply(), 0);
	two_of_one_name(50, 100);
	cr_assert_eq(apply(), 0);
	two_of_one_name(51, 0);
	cr_assert_eq(apply(), 1);
	cr_expect_eq(small_weight(&model.services[0], "green"), 50);
	cr_expect_eq(small_weight(&model.services[1], "green"), 0);
}

Test(guard, a_port_that_is_added_does_not_make_a_service_new)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 1, 0 }, { "green", 0, 0, 1 });

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 0, 1, 0 }, { "green", 100, 0, 1 });
	small_port(web, 443, IPPROTO_TCP);
	cr_assert_eq(apply(), 1);
	web = NEXT({ "blue", 0, 1, 0 }, { "green", 100, 0, 1 });
	web->ports[0].port = 443;
	cr_assert_eq(apply(), 1, "443 is remembered since it was added");
	web = NEXT({ "blue", 0, 1, 0 }, { "green", 100, 0, 1 });
	web->ports[0].proto = IPPROTO_UDP;
	web->ports[0].port = 443;
	cr_assert_eq(apply(), 0, "443 of another protocol is another service");
}

Test(guard, what_is_kept_is_said_of_manifests_alone)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 1, 0 }, { "green", 0, 0, 1 });
	struct shunt_err err = { 0 };
	const char *message;

	cr_assert_eq(apply(), 0);
	web = NEXT({ "blue", 0, 1, 0 }, { "green", 7, 0, 1 });
	cr_assert_eq(shunt_guard_judge(web, good, &no_opts, &err), SHUNT_GUARD_NO_READY_ENDPOINTS);
	cr_expect_null(strstr(err.text, "last good"), "a command keeps nothing: %s", err.text);
	cr_expect_null(strstr(err.text, "judged again"), "%s", err.text);
	cr_assert_eq(apply(), 1);
	message = shunt_conditions_get(&web->conditions, "WeightRefused")->message;
	cr_expect(strstr(message, "none of its endpoints is ready; the last good weights stay, and "
				  "the change is judged again when endpoints change"),
		  "%s", message);
}

Test(guard, judging_changes_nothing)
{
	struct shunt_model_service *web = NEXT({ "blue", 100, 1, 0 }, { "green", 0, 0, 1 });
	struct shunt_err err = { 0 };

	cr_assert_eq(apply(), 0);
	web->variants[0].weight = 0;
	web->variants[1].weight = 7;
	cr_expect_eq(shunt_guard_judge(web, good, &no_opts, &err), SHUNT_GUARD_NO_READY_ENDPOINTS);
	cr_expect(strstr(err.text, "variant green would go from weight 0 (0 %) to 7 (100 %)"), "%s",
		  err.text);
	cr_expect_eq(web->variants[1].weight, 7);
	cr_expect_eq(shunt_guard_judge(web, good, &no_opts, NULL), SHUNT_GUARD_NO_READY_ENDPOINTS);
	web->variants[1].backends[0].usable = true;
	cr_expect_eq(shunt_guard_judge(web, good, &no_opts, &err), SHUNT_GUARD_GOOD);
}

Test(guard, a_service_that_is_gone_is_forgotten)
{
	NEXT({ "blue", 100, 1, 0 }, { "green", 0, 0, 1 });
	cr_assert_eq(apply(), 0);
	shunt_model_free(&model);
	cr_assert_eq(apply(), 0);
	NEXT({ "blue", 0, 1, 0 }, { "green", 100, 0, 1 });
	cr_assert_eq(apply(), 0);
}

/* ---- the state directory -------------------------------------------------------------- */

Test(guard, the_last_good_weights_survive_a_restart)
{
	struct shunt_last_good *again = NULL;
	json_t *json = NULL;

	two_of_one_name(50, 0);
	model.services[1].variants[1].drained = true;
	cr_assert_eq(apply(), 0);
	cr_assert_eq(shunt_last_good_to_json(good, &json), 0);
	cr_assert_eq(shunt_last_good_from_json(json, &again), 0);
	json_decref(json);
	shunt_last_good_free(good);
	good = again;

	two_of_one_name(51, 1);
	model.services[1].variants[1].backends[0].usable = false;
	cr_assert_eq(apply(), 2);
	cr_expect_eq(small_weight(&model.services[0], "green"), 50);
	cr_expect_eq(small_weight(&model.services[1], "green"), 0);
	cr_expect(model.services[1].variants[1].drained);
}

Test(guard, damaged_last_good_weights_are_refused_whole)
{
	static const char *const texts[] = {
		"[]",
		"{\"shop/web\":{}}",
		"{\"shop/web\":[{}]}",
		"{\"shop/web\":[{\"ports\":\"80/TCP\",\"weights\":[]}]}",
		"{\"shop/web\":[{\"ports\":80,\"weights\":{}}]}",
		"{\"shop/web\":[{\"ports\":\"80/TCP\",\"weights\":{\"blue\":-1}}]}",
		"{\"shop/web\":[{\"ports\":\"80/TCP\",\"weights\":{\"blue\":1000001}}]}",
		"{\"shop/web\":[{\"ports\":\"80/TCP\",\"weights\":{\"blue\":1.5}}]}",
		"{\"shop/web\":[{\"ports\":\"80/TCP\",\"weights\":{\"blue\":\"1\"}}]}",
		"{\"web\":[{\"ports\":\"80/TCP\",\"weights\":{}}]}",
		"{\"/web\":[{\"ports\":\"80/TCP\",\"weights\":{}}]}",
		"{\"shop/\":[{\"ports\":\"80/TCP\",\"weights\":{}}]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct shunt_last_good *never = NULL;
		json_t *json = json_loads(texts[i], 0, NULL);

		cr_assert_not_null(json, "%s", texts[i]);
		cr_expect_eq(shunt_last_good_from_json(json, &never), -EINVAL, "%s", texts[i]);
		cr_expect_null(never);
		json_decref(json);
	}
}

/* ---- properties, over random histories ------------------------------------------------ */

static const char *const names[] = { "amber", "blue", "green", "red" };

static uint32_t random_weight(void)
{
	static const uint32_t common[] = { 0, 0, 1, 5, 50, 95, 100, 1000000 };

	return rand() % 2 ? common[rand() % ARRAY_LEN(common)] : (uint32_t)rand() % 1000001;
}

/* Some of the four variants, with any weights and any endpoints. */
static struct shunt_model_service *random_service(struct shunt_model *ret_model)
{
	struct small_variant variants[ARRAY_LEN(names)];
	struct shunt_model_service *web;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (rand() % 5)
			variants[n++] = (struct small_variant){ names[i], random_weight(),
								rand() % 2, rand() % 2 };
	web = small_service(ret_model, "web", 80, 1, variants, n);
	for (size_t i = 0; i < n; i++) {
		web->variants[i].drained = rand() % 8 == 0;
		if (rand() % 8 == 0)
			web->variants[i].group = SHUNT_GROUP_NOT_FOUND;
	}
	return web;
}

static uint32_t in_force[ARRAY_LEN(names)]; /* what the last round left */

static uint32_t effective(const struct shunt_model_variant *variant)
{
	return variant->drained ? 0 : variant->weight;
}

static size_t name_index(const struct shunt_model_variant *variant)
{
	size_t i = 0;

	while (strcmp(names[i], variant->name))
		i++;
	return i;
}

/* Sums over the variants that are there: of what was in force, and of what is. */
static void sums(const struct shunt_model_service *web, uint64_t *ret_before, uint64_t *ret_after)
{
	*ret_before = *ret_after = 0;
	for (size_t i = 0; i < web->n_variants; i++) {
		*ret_before += in_force[name_index(&web->variants[i])];
		*ret_after += effective(&web->variants[i]);
	}
}

static bool is_unready(const struct shunt_model_variant *variant)
{
	bool usable = false;

	for (size_t i = 0; i < variant->n_backends; i++)
		usable |= variant->backends[i].usable;
	return variant->group == SHUNT_GROUP_RESOLVED && variant->n_backends && !usable;
}

static void check_no_rise(const struct shunt_model_service *web, unsigned round)
{
	uint64_t before, after;

	sums(web, &before, &after);
	for (size_t i = 0; before && i < web->n_variants; i++) {
		const struct shunt_model_variant *variant = &web->variants[i];
		uint64_t old = in_force[name_index(variant)];

		if (!is_unready(variant))
			continue;
		cr_assert_leq(effective(variant), old, "round %u, %s", round, variant->name);
		cr_assert_leq(effective(variant) * before, old * after, "round %u, %s", round,
			      variant->name);
	}
}

static void remember(const struct shunt_model_service *web)
{
	memset(in_force, 0, sizeof(in_force));
	for (size_t i = 0; i < web->n_variants; i++)
		in_force[name_index(&web->variants[i])] = effective(&web->variants[i]);
}

Test(guard, whatever_is_asked_an_unready_group_never_rises_and_the_rest_is_as_asked)
{
	static const char *const name[] = { "shop/web" };
	unsigned n_refused = 0, n_rounds = 20000;

	srand(20260101);
	for (unsigned round = 0; round < n_rounds; round++) {
		struct shunt_guard_opts opts = { .forced = name, .n_forced = rand() % 20 == 0 };
		struct shunt_model_service *web;
		uint32_t asked[ARRAY_LEN(names)];
		int refused;

		shunt_model_free(&model);
		web = random_service(&model);
		for (size_t i = 0; i < web->n_variants; i++)
			asked[i] = effective(&web->variants[i]);
		refused = shunt_guard_apply(&model, good, &opts);
		cr_assert(refused == 0 || refused == 1);
		for (size_t i = 0; i < web->n_variants; i++)
			cr_assert_eq(effective(&web->variants[i]),
				     refused ? in_force[name_index(&web->variants[i])] : asked[i]);
		cr_assert_not(refused && opts.n_forced);
		if (round && !opts.n_forced)
			check_no_rise(web, round);
		n_refused += refused;
		remember(web);
	}
	cr_expect_gt(n_refused, n_rounds / 10, "the property was really put to the test");
	cr_expect_lt(n_refused, n_rounds * 9 / 10);
}

Test(guard, no_random_change_rises_by_more_than_the_step)
{
	const struct shunt_guard_opts opts = { .max_step_bp = 1500 };
	unsigned n_refused = 0;

	srand(20260102);
	for (unsigned round = 0; round < 20000; round++) {
		struct shunt_model_service *web;
		uint64_t before, after;

		shunt_model_free(&model);
		web = random_service(&model);
		n_refused += shunt_guard_apply(&model, good, &opts);
		sums(web, &before, &after);
		for (size_t i = 0; round && before && after && i < web->n_variants; i++) {
			double old = in_force[name_index(&web->variants[i])];

			cr_assert_leq(effective(&web->variants[i]) / (double)after -
					      old / (double)before,
				      0.15 + 1e-9, "round %u", round);
		}
		remember(web);
	}
	cr_expect_gt(n_refused, 2000);
}
