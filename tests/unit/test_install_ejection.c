// SPDX-License-Identifier: Apache-2.0
/* Outlier ejection in the maps: the rule of each variant, and what is kept over changes. */
#include <criterion/criterion.h>
#include <string.h>

#include "datapath/ejections.h"
#include "install_scene.h"
#include "model/policy.h"

TestSuite(install_ejection, .init = setup, .fini = teardown, .timeout = 60);

#define UNIT_NS	  (1ull << SHUNT_EJECT_UNIT_SHIFT)
#define UNITS(ns) (((ns) + UNIT_NS - 1) / UNIT_NS)

static struct shunt_ejection *ejection(struct lab_service *service, unsigned percent)
{
	struct shunt_ejection *e;

	shunt_policy_free(service->model.policy);
	service->model.policy = shunt_policy_new();
	cr_assert_not_null(service->model.policy);
	e = &service->model.policy->ejection;
	*e = (struct shunt_ejection){ .enabled = true,
				      .consecutive_5xx = 5,
				      .consecutive_gateway = 3,
				      .interval_ms = 10000,
				      .base_ms = 30000,
				      .max_percent = (uint8_t)percent };
	return e;
}

static void no_policy(struct lab_service *service)
{
	shunt_policy_free(service->model.policy);
	service->model.policy = NULL;
}

static void install(void)
{
	lab_install_ok(&lab, only_web, 1);
}

static const struct shunt_eject_rule *rule(const char *variant)
{
	const struct shunt_variant_guard *g = AT(variant_guards, struct shunt_variant_guard,
						 lab_variant_id(&lab, "web", variant));

	cr_assert_eq(memcmp(&g->eject[0], &g->eject[1], sizeof(g->eject[0])), 0);
	return &g->eject[0];
}

static struct shunt_eject_state *state(const char *backend)
{
	return AT(eject_states, struct shunt_eject_state,
		  lab_backend_id(&lab, "web", "blue", backend));
}

static struct shunt_ejected ejected(const char *backend, uint64_t now)
{
	return shunt_ejection_read(&lab.maps, lab_backend_id(&lab, "web", "blue", backend),
				   now * UNIT_NS);
}

static bool asks(void)
{
	const struct shunt_service *service =
		AT(services, struct shunt_service, lab_service_id(&lab, "web"));

	cr_assert_eq(service->slot[0].flags, service->slot[1].flags);
	return service->slot[0].flags & SHUNT_SVC_EJECT;
}

Test(install_ejection, a_rule_has_the_numbers_of_the_policy)
{
	const struct shunt_eject_rule *r;

	ejection(&web, 50);
	install();
	r = rule("blue");
	cr_assert(asks());
	cr_expect_eq(r->consecutive_5xx, 5);
	cr_expect_eq(r->consecutive_gateway, 3);
	cr_expect_eq(r->base, UNITS(30000000000));
	cr_expect_eq(r->longest, UNITS(300000000000), "as Envoy's max_ejection_time");
	cr_expect_eq(r->interval, UNITS(10000000000));
	cr_expect_eq(r->members[SHUNT_V4], 3);
	cr_expect_eq(r->most[SHUNT_V4], 1);
	cr_expect_eq(r->panic_at[SHUNT_V4], 0);
	cr_expect_eq(r->members[SHUNT_V6], 0);
	cr_expect_eq(r->most[SHUNT_V6], 0);
	no_policy(&web);
}

Test(install_ejection, numbers_that_do_not_fit_are_the_largest_that_do)
{
	struct shunt_ejection *e = ejection(&web, 100);

	e->consecutive_5xx = 1000000;
	e->base_ms = 24 * 3600 * 1000;
	e->interval_ms = 1;
	install();
	cr_expect_eq(rule("blue")->consecutive_5xx, 65535);
	cr_expect_eq(rule("blue")->longest, rule("blue")->base);
	cr_expect_eq(rule("blue")->interval, 1, "less than a unit is not none");
	no_policy(&web);
}

Test(install_ejection, one_may_go_whatever_the_share_and_one_stays)
{
	static const struct {
		unsigned percent, panic, most, panic_at;
	} cases[] = {
		{ 1, 0, 1, 0 },	   { 33, 0, 1, 0 },   { 67, 0, 2, 0 },	 { 100, 0, 2, 0 },
		{ 100, 30, 2, 0 }, { 100, 50, 2, 2 }, { 100, 70, 2, 1 }, { 10, 50, 1, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ejection(&web, cases[i].percent)->panic_percent = (uint8_t)cases[i].panic;
		install();
		cr_expect_eq(rule("blue")->most[SHUNT_V4], cases[i].most, "case %zu: %u", i,
			     rule("blue")->most[SHUNT_V4]);
		cr_expect_eq(rule("blue")->panic_at[SHUNT_V4], cases[i].panic_at, "case %zu: %u", i,
			     rule("blue")->panic_at[SHUNT_V4]);
	}
	no_policy(&web);
}

Test(install_ejection, what_can_eject_nobody_is_no_rule)
{
	ejection(&web, 0);
	install();
	cr_expect(!asks());
	cr_expect_eq(rule("blue")->consecutive_5xx, 0);
	ejection(&web, 50)->consecutive_5xx = 0;
	web.model.policy->ejection.consecutive_gateway = 0;
	install();
	cr_expect(!asks());
	cr_expect_eq(rule("blue")->base, 0);
	no_policy(&web);
}

Test(install_ejection, a_pod_that_comes_changes_how_many_may_go)
{
	ejection(&web, 50);
	install();
	cr_expect_eq(rule("blue")->most[SHUNT_V4], 1);
	lab_backend(&web.model.variants[0], "10.1.0.77");
	install();
	cr_expect_eq(rule("blue")->members[SHUNT_V4], 4);
	cr_expect_eq(rule("blue")->most[SHUNT_V4], 2);
	no_policy(&web);
}

Test(install_ejection, who_is_out_stays_so_over_changes_and_restarts)
{
	uint64_t word = SHUNT_EJECT_WORD(1000, 2, 7, SHUNT_EJECT_OUT);
	struct shunt_ejected e;

	ejection(&web, 50);
	install();
	state("10.1.0.1")->word = word;
	state("10.1.0.1")->ejected = 2;
	state("10.1.0.2")->errors = 4;
	ejection(&web, 60)->consecutive_5xx = 7;
	lab_install_ok(&lab, both, 2);
	tick();
	cr_expect_eq(rule("blue")->consecutive_5xx, 7);
	cr_expect_eq(state("10.1.0.1")->word, word);
	cr_expect_eq(state("10.1.0.2")->errors, 4);
	e = ejected("10.1.0.1", 400);
	cr_expect(e.has_rule && e.is_out);
	cr_expect_eq(e.left_ns, 600 * UNIT_NS);
	cr_expect_eq(e.in_row, 2);
	cr_expect_eq(e.times, 2);
	e = ejected("10.1.0.1", 1000);
	cr_expect(e.is_out && !e.left_ns, "its time is over, and nobody has tried it yet");
	cr_expect(!ejected("10.1.0.2", 400).is_out);
	/* Without a rule nobody counts as ejected, for nobody is asked. */
	no_policy(&web);
	install();
	e = ejected("10.1.0.1", 400);
	cr_expect(!e.has_rule && !e.is_out);
	cr_expect_eq(e.times, 2);
	cr_expect(!asks());
}

Test(install_ejection, a_rule_that_comes_back_begins_anew)
{
	uint64_t word = SHUNT_EJECT_WORD(1000, 2, 7, SHUNT_EJECT_OUT);

	ejection(&web, 50);
	install();
	state("10.1.0.1")->word = word;
	state("10.1.0.2")->errors = 4;
	no_policy(&web);
	install();
	ejection(&web, 50);
	install();
	cr_expect(!ejected("10.1.0.1", 400).is_out);
	cr_expect_eq(SHUNT_EJECT_NUMBER(state("10.1.0.1")->word), 7, "places are known by it");
	cr_expect_eq(state("10.1.0.2")->errors, 0);
	no_policy(&web);
}

Test(install_ejection, the_next_backend_of_an_index_begins_anew)
{
	uint32_t id;

	ejection(&web, 50);
	install();
	id = lab_backend_id(&lab, "web", "blue", "10.1.0.3");
	*AT(eject_states, struct shunt_eject_state, id) = (struct shunt_eject_state){
		.word = SHUNT_EJECT_WORD(1000, 2, 7, SHUNT_EJECT_OUT), .errors = 3, .ejected = 2
	};
	web.variants[0].n_backends = 2;
	install();
	cr_expect_eq(AT(eject_states, struct shunt_eject_state, id)->errors, 3);
	lab.now += 3600 * LAB_HZ;
	tick();
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.3"), 0);
	cr_expect_eq(AT(eject_states, struct shunt_eject_state, id)->word, 0);
	cr_expect_eq(AT(eject_states, struct shunt_eject_state, id)->ejected, 0);
	web.variants[0].n_backends = 3;
	no_policy(&web);
}
