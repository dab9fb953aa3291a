// SPDX-License-Identifier: Apache-2.0
/* Circuit breakers in the maps: named by variants, and what is kept over changes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/breakers.h"
#include "install_scene.h"
#include "model/policy.h"
#include "policy/expression.h"

TestSuite(install_breaker, .init = setup, .fini = teardown, .timeout = 60);

#define ERRORS "ResponseCodeRatio(500, 600, 0, 600) > 0.3"

/* Gives @service a breaker, in place of the one that it has. */
static struct shunt_breaker *breaker(struct lab_service *service, const char *expression,
				     enum shunt_scope scope)
{
	struct shunt_breaker *b;
	struct shunt_err err;

	shunt_policy_free(service->model.policy);
	service->model.policy = shunt_policy_new();
	cr_assert_not_null(service->model.policy);
	b = &service->model.policy->breaker;
	b->expression = strdup(expression);
	cr_assert_eq(shunt_expression_compile(expression, &b->predicate, &err), 0);
	b->check_ms = 100;
	b->fallback_ms = 5000;
	b->recovery_ms = 6000;
	b->response_code = 503;
	b->min_requests = 20;
	b->scope = scope;
	return b;
}

static void no_breaker(struct lab_service *service)
{
	shunt_policy_free(service->model.policy);
	service->model.policy = NULL;
}

static void install(void)
{
	lab_install_ok(&lab, only_web, 1);
}

static const struct shunt_variant_guard *guard(const char *variant)
{
	const struct shunt_variant_guard *g = AT(variant_guards, struct shunt_variant_guard,
						 lab_variant_id(&lab, "web", variant));

	cr_assert_eq(g->breaker[0], g->breaker[1]);
	cr_assert_eq(g->instance[0], g->instance[1]);
	return g;
}

static const struct shunt_breaker_rule *rule(const char *variant)
{
	return AT(breakers, struct shunt_breaker_rule, guard(variant)->breaker[0]);
}

static struct shunt_breaker_state *state(uint32_t instance)
{
	return AT(breaker_states, struct shunt_breaker_state, instance);
}

static struct shunt_breaker_word *word_of(uint32_t instance)
{
	return AT(breaker_words, struct shunt_breaker_word, instance * SHUNT_BREAKER_WORDS + 3);
}

static const struct shunt_breaker_name *name(uint32_t instance)
{
	return AT(breaker_names, struct shunt_breaker_name, instance);
}

static uint32_t own_instance(const char *variant, const char *backend)
{
	return AT(backend_guards, struct shunt_backend_guard,
		  lab_backend_id(&lab, "web", variant, backend))
		->instance;
}

static bool asks(void)
{
	const struct shunt_service *service =
		AT(services, struct shunt_service, lab_service_id(&lab, "web"));

	cr_assert_eq(service->slot[0].flags, service->slot[1].flags);
	return service->slot[0].flags & SHUNT_SVC_BREAKER;
}

static size_t in_force(void)
{
	struct shunt_breaker_name name;
	size_t n = 0;

	for (uint32_t id = 0; id <= lab.maps.breaker_names.n; id++)
		n += shunt_breaker_name_read(&lab.maps, id, &name);
	return n;
}

Test(install_breaker, all_variants_of_a_service_are_under_its_one)
{
	uint32_t instance;

	strcpy(breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE)->fallback, "green");
	install();
	instance = guard("blue")->instance[0];
	cr_assert(asks());
	cr_assert_neq(instance, 0);
	cr_assert_eq(guard("green")->instance[0], instance);
	cr_assert_eq(guard("green")->breaker[0], guard("blue")->breaker[0]);
	cr_assert_eq(rule("blue")->check_ns, 100000000);
	cr_assert_eq(rule("blue")->open_ns, 5000000000);
	cr_assert_eq(rule("blue")->recovery_ns, 6000000000);
	cr_assert_eq(rule("blue")->min_requests, 20);
	cr_assert_eq(rule("blue")->response_code, 503);
	cr_assert_eq(rule("blue")->fallback, lab_variant_id(&lab, "web", "green"));
	cr_assert_eq(rule("blue")->predicate.n_tests, 1);
	cr_assert_str_eq(name(instance)->service, "web");
	cr_assert_eq(name(instance)->scope, SHUNT_LIMIT_SERVICE);
	cr_assert_eq(in_force(), 1);
}

Test(install_breaker, what_goes_leaves_nothing_to_the_next)
{
	uint32_t instance;

	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	install();
	instance = guard("blue")->instance[0];
	state(instance)->word = SHUNT_BREAKER_FORCED_OPEN;
	word_of(instance)->word = 77;
	no_breaker(&web);
	install();
	cr_assert(!asks());
	cr_assert_eq(guard("blue")->breaker[0], 0);
	cr_assert_eq(guard("green")->instance[0], 0);
	/* Packets in flight may still use it. */
	cr_assert_eq(state(instance)->word, SHUNT_BREAKER_FORCED_OPEN);
	tick();
	cr_assert_eq(state(instance)->word, 0);
	cr_assert_eq(word_of(instance)->word, 0);
	cr_assert_eq(name(instance)->service[0], 0);
	cr_assert_eq(in_force(), 0);
	breaker(&web, ERRORS, SHUNT_SCOPE_VARIANT);
	install();
	cr_assert_eq(guard("blue")->instance[0], instance);
}

Test(install_breaker, a_change_of_numbers_keeps_state_and_counts)
{
	struct shunt_breaker_rule before;
	uint32_t instance, index;

	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	install();
	instance = guard("blue")->instance[0];
	index = guard("blue")->breaker[0];
	before = *rule("blue");
	state(instance)->word = SHUNT_BREAKER_WORD(123456789, SHUNT_BREAKER_OPEN);
	state(instance)->opened = 3;
	word_of(instance)->word = 77;
	breaker(&web, "ResponseCodeRatio(500, 600, 0, 600) > 0.9", SHUNT_SCOPE_SERVICE)
		->min_requests = 7;
	install();
	cr_assert_neq(guard("blue")->breaker[0], index, "a rule in use was written to");
	cr_assert_eq(
		memcmp(AT(breakers, struct shunt_breaker_rule, index), &before, sizeof(before)), 0);
	cr_assert_eq(rule("blue")->min_requests, 7);
	cr_assert_eq(rule("blue")->window_base, before.window_base);
	cr_assert_eq(guard("blue")->instance[0], instance);
	tick();
	cr_assert_eq(state(instance)->word, SHUNT_BREAKER_WORD(123456789, SHUNT_BREAKER_OPEN));
	cr_assert_eq(state(instance)->opened, 3);
	cr_assert_eq(word_of(instance)->word, 77);
}

Test(install_breaker, counts_of_another_expression_do_not_count)
{
	uint32_t base, others, instance;

	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	breaker(&api, ERRORS, SHUNT_SCOPE_SERVICE);
	lab_install_ok(&lab, both, 2);
	base = rule("blue")->window_base;
	instance = guard("blue")->instance[0];
	state(instance)->word = SHUNT_BREAKER_FORCED_CLOSED;
	others = AT(variant_guards, struct shunt_variant_guard, lab_variant_id(&lab, "api", "v1"))
			 ->breaker[0];
	breaker(&web, "ResponseCodeRatio(400, 600, 0, 600) > 0.3", SHUNT_SCOPE_SERVICE);
	lab_install_ok(&lab, both, 2);
	cr_assert_geq(rule("blue")->window_base, base + 120);
	cr_assert_eq(guard("blue")->instance[0], instance);
	cr_assert_eq(state(instance)->word, SHUNT_BREAKER_FORCED_CLOSED);
	cr_assert_eq(
		AT(variant_guards, struct shunt_variant_guard, lab_variant_id(&lab, "api", "v1"))
			->breaker[0],
		others);
	/* And back, before what was first is forgotten. */
	base = rule("blue")->window_base;
	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	lab_install_ok(&lab, both, 2);
	cr_assert_geq(rule("blue")->window_base, base + 120);
	/* Nor do those of a breaker that was gone for a moment. */
	base = rule("blue")->window_base;
	no_breaker(&web);
	lab_install_ok(&lab, both, 2);
	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	lab_install_ok(&lab, both, 2);
	cr_assert_geq(rule("blue")->window_base, base + 120);
	no_breaker(&api);
}

Test(install_breaker, each_variant_has_its_own)
{
	uint32_t blue, green;

	breaker(&web, ERRORS, SHUNT_SCOPE_VARIANT);
	install();
	blue = guard("blue")->instance[0];
	green = guard("green")->instance[0];
	cr_assert(blue && green && blue != green);
	cr_assert_str_eq(name(green)->variant, "green");
	cr_assert_eq(name(green)->variant_index, lab_variant_id(&lab, "web", "green"));
	cr_assert_eq(rule("blue"), rule("green"));
	/* Another scope: other instances. */
	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	install();
	cr_assert_neq(guard("blue")->instance[0], blue);
	tick();
	cr_assert_eq(in_force(), 1);
}

Test(install_breaker, each_backend_has_its_own)
{
	uint32_t first, late;

	breaker(&web, ERRORS, SHUNT_SCOPE_BACKEND);
	install();
	cr_assert_eq(in_force(), 6);
	cr_assert_neq(guard("blue")->breaker[0], 0);
	cr_assert_eq(guard("blue")->instance[0], 0);
	first = own_instance("blue", "10.1.0.1");
	cr_assert_neq(first, 0);
	cr_assert_neq(first, own_instance("blue", "10.1.0.2"));
	cr_assert_eq(name(first)->backend_index, lab_backend_id(&lab, "web", "blue", "10.1.0.1"));
	state(first)->opened = 5;
	lab_backend(&web.variants[0], "10.1.0.9");
	install();
	late = own_instance("blue", "10.1.0.9");
	cr_assert_neq(late, 0);
	cr_assert_eq(own_instance("blue", "10.1.0.1"), first);
	web.variants[0].n_backends--;
	install();
	tick();
	cr_assert_eq(name(late)->service[0], 0);
	cr_assert_eq(in_force(), 6);
	cr_assert_eq(state(first)->opened, 5);
	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	install();
	cr_assert_eq(own_instance("blue", "10.1.0.1"), 0);
	tick();
	cr_assert_eq(in_force(), 1);
}

Test(install_breaker, a_new_agent_finds_all_as_it_was)
{
	struct shunt_install_result result;
	uint32_t instance, index, base;

	breaker(&web, ERRORS, SHUNT_SCOPE_VARIANT);
	install();
	instance = guard("green")->instance[0];
	index = guard("green")->breaker[0];
	base = rule("green")->window_base;
	state(instance)->word = SHUNT_BREAKER_FORCED_OPEN;
	lab_restart(&lab);
	result = lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(result.services_changed, 0);
	cr_assert_eq(guard("green")->instance[0], instance);
	cr_assert_eq(guard("green")->breaker[0], index);
	cr_assert_eq(rule("green")->window_base, base);
	tick();
	cr_assert_eq(state(instance)->word, SHUNT_BREAKER_FORCED_OPEN);
	/* It knows who uses what: the rule and the instances go with the last. */
	no_breaker(&web);
	install();
	tick();
	cr_assert_eq(in_force(), 0);
	cr_assert_eq(state(instance)->word, 0);
}

Test(install_breaker, a_variant_that_is_gone_is_under_none)
{
	uint32_t green, instance;

	breaker(&web, ERRORS, SHUNT_SCOPE_VARIANT);
	install();
	green = lab_variant_id(&lab, "web", "green");
	instance = guard("green")->instance[0];
	web.model.n_variants = 1;
	install();
	cr_assert_eq(AT(variant_guards, struct shunt_variant_guard, green)->breaker[0], 0);
	tick();
	cr_assert_eq(name(instance)->service[0], 0);
	cr_assert_neq(guard("blue")->breaker[0], 0);
	web.model.n_variants = 2;
}

Test(install_breaker, slots_that_an_agent_left_different_become_equal)
{
	struct shunt_variant_guard *g;

	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	install();
	g = AT(variant_guards, struct shunt_variant_guard, lab_variant_id(&lab, "web", "blue"));
	g->breaker[!(epoch() & 1)] = 0;
	lab_restart(&lab);
	cr_assert_neq(guard("blue")->breaker[0], 0);
}

Test(install_breaker, an_operator_forces_one_and_lets_it_go)
{
	struct shunt_breaker_name whose;
	enum shunt_breaker_phase phase;
	uint32_t instance;

	breaker(&web, ERRORS, SHUNT_SCOPE_SERVICE);
	install();
	instance = guard("blue")->instance[0];
	cr_assert_eq(shunt_breaker_force(&lab.maps, instance, SHUNT_FORCE_OPEN), 1);
	cr_assert_eq(shunt_breaker_force(&lab.maps, instance, SHUNT_FORCE_OPEN), 0);
	cr_assert_eq(in_force(), 1);
	cr_assert(shunt_breaker_name_read(&lab.maps, instance, &whose));
	cr_assert_str_eq(whose.service, "web");
	phase = SHUNT_BREAKER_PHASE(state(instance)->word);
	cr_assert_eq(phase, SHUNT_BREAKER_FORCED_OPEN);
	cr_assert_str_eq(shunt_breaker_phase_name(phase), "forced open");
	cr_assert_eq(shunt_breaker_force(&lab.maps, instance, SHUNT_FORCE_CLOSED), 1);
	cr_assert_eq(state(instance)->word, SHUNT_BREAKER_FORCED_CLOSED);
	cr_assert_eq(shunt_breaker_force(&lab.maps, instance, SHUNT_FORCE_AUTO), 1);
	cr_assert_eq(state(instance)->word, 0);
	/* What it decided by itself is not an operator's to end by AUTO. */
	state(instance)->word = SHUNT_BREAKER_WORD(99, SHUNT_BREAKER_OPEN);
	cr_assert_eq(shunt_breaker_force(&lab.maps, instance, SHUNT_FORCE_AUTO), 0);
	cr_assert_eq(shunt_breaker_force(&lab.maps, instance + 1, SHUNT_FORCE_OPEN), -ENOENT);
	cr_assert_eq(shunt_breaker_force(&lab.maps, 0, SHUNT_FORCE_OPEN), -ENOENT);
	cr_assert_eq(shunt_breaker_force(&lab.maps, 1u << 30, SHUNT_FORCE_OPEN), -ENOENT);
}

Test(install_breaker, breakers_run_out)
{
	struct shunt_image_service *image = NULL;

	breaker(&web, ERRORS, SHUNT_SCOPE_BACKEND);
	for (unsigned i = 0; i < 64; i++)
		lab_backend(&web.variants[0], i % 2 ? "10.1.1.1" : "10.1.2.1")->port =
			(uint16_t)(9000 + i);
	cr_assert_eq(shunt_compile(&web.model, shunt_installer_ids(lab.installer), &image),
		     -ENOSPC);
	cr_assert_null(image);
	cr_assert(shunt_ids_ran_out(shunt_installer_ids(lab.installer), SHUNT_ID_BREAKER));
}
