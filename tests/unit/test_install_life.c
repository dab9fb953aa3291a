// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "install_scene.h"
#include "shunt/histogram.h"

/* ---- variants and services
 * ----------------------------------------------------------------------------- */

Test(install_life, a_variant_at_zero_drains_once_and_is_free_when_it_rises, .init = setup,
     .fini = teardown)
{
	struct shunt_variant *variant;
	uint32_t deadline;

	lab_install_ok(&lab, only_web, 1);
	variant = AT(variants, struct shunt_variant, lab_variant_id(&lab, "web", "green"));
	cr_assert_eq(variant->flags, 0);
	web.variants[1].weight = 0;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(variant->flags, SHUNT_VAR_DRAINED);
	deadline = lab.now + 10 * LAB_HZ;
	cr_assert_eq(variant->drain_jiffies, deadline);
	lab.now += 5;
	web.variants[0].weight = 91;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(variant->drain_jiffies, deadline, "the clock does not begin anew");
	web.variants[1].weight = 5;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(variant->flags, 0);
}

Test(install_life, a_variant_goes_with_its_last_backend, .init = setup, .fini = teardown)
{
	uint32_t id;

	lab_install_ok(&lab, only_web, 1);
	id = lab_variant_id(&lab, "web", "green");
	AT(response_times, struct shunt_response_time, id * SHUNT_TIME_BUCKETS + 5)->responses = 9;
	web.model.n_variants = 1;
	lab_install_ok(&lab, only_web, 1);
	tick();
	cr_assert_eq(lab_variant_id(&lab, "web", "green"), id, "its backends drain");
	lab.now += 10 * LAB_HZ;
	tick();
	tick();
	cr_assert_eq(lab_variant_id(&lab, "web", "green"), 0);
	cr_assert_str_eq(AT(variant_names, struct shunt_variant_name, id)->variant, "");
	cr_assert_eq(AT(response_times, struct shunt_response_time, id * SHUNT_TIME_BUCKETS + 5)
			     ->responses,
		     0);
	web.model.n_variants = 2;
}

Test(install_life, a_released_service_serves_its_flows_and_then_goes, .init = setup,
     .fini = teardown)
{
	uint32_t id, other;

	lab_install_ok(&lab, both, 2);
	id = lab_service_id(&lab, "web");
	other = lab_service_id(&lab, "api");
	put_flow(3, id, lab_backend_id(&lab, "web", "blue", "10.1.0.1"), SHUNT_F_ESTABLISHED);
	lab_install_ok(&lab, both, 1);
	cr_assert_eq(lab_choose(&lab, 1, 0).reason, SHUNT_R_RELEASED);
	cr_assert_eq(lab_choose(&lab, 2, 0).reason, SHUNT_R_FORWARDED);
	tick();
	cr_assert_eq(frontend_at("10.255.0.2", 80).service[0], id, "its flow needs the address");
	drop_flow(3);
	tick();
	cr_assert_eq(frontend_at("10.255.0.2", 80).service[0], 0);
	cr_assert_eq(lab_service_id(&lab, "web"), id, "packets may still know the index");
	tick();
	cr_assert_eq(lab_service_id(&lab, "web"), 0);
	cr_assert_eq(AT(rules, struct shunt_rule, id)->split[0], 0);
	cr_assert_eq(lab_service_id(&lab, "api"), other);
}

Test(install_life, a_flow_that_lives_long_costs_no_grace_periods, .init = setup, .fini = teardown)
{
	lab_install_ok(&lab, both, 2);
	put_flow(3, lab_service_id(&lab, "web"), lab_backend_id(&lab, "web", "blue", "10.1.0.1"),
		 SHUNT_F_ESTABLISHED);
	lab_install_ok(&lab, both, 1);
	tick();
	lab.graces = 0;
	for (int i = 0; i < 5; i++)
		tick();
	cr_assert_eq(lab.graces, 0);
}

/* A slow packet makes its flow while the tick waits: what the first look cannot see. */
static void slow_packet(void *backend)
{
	put_flow(5, lab_service_id(&lab, "web"), *(uint32_t *)backend, SHUNT_F_CLOSED);
	lab.on_grace = NULL;
}

Test(install_life, a_flow_made_during_the_grace_period_counts, .init = setup, .fini = teardown)
{
	uint32_t backend;

	lab_install_ok(&lab, both, 2);
	backend = lab_backend_id(&lab, "web", "blue", "10.1.0.1");
	lab_install_ok(&lab, both, 1);
	lab.now += 10 * LAB_HZ;
	lab.on_grace = slow_packet;
	lab.grace_arg = &backend;
	tick();
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.1"), backend);
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.2"), 0);
	cr_assert_neq(frontend_at("10.255.0.2", 80).service[0], 0);
}

Test(install_life, a_released_service_comes_back_at_any_moment, .init = setup, .fini = teardown)
{
	for (int ticks = 0; ticks < 4; ticks++) {
		lab_install_ok(&lab, both, 2);
		cr_assert_eq(lab_choose(&lab, 1, 0).reason, SHUNT_R_FORWARDED, "%d ticks", ticks);
		lab_install_ok(&lab, both, 1);
		cr_assert_eq(lab_choose(&lab, 1, 0).reason, SHUNT_R_RELEASED);
		for (int i = 0; i < ticks; i++)
			tick();
	}
}

Test(install_life, everything_is_given_back_when_all_is_gone, .init = setup, .fini = teardown)
{
	struct shunt_installer *installer = lab.installer;

	for (int round = 0; round < 3; round++) {
		lab_install_ok(&lab, both, 2);
		web.variants[0].weight++;
		lab_install_ok(&lab, both, 2);
		lab_install_ok(&lab, NULL, 0);
		lab.now += 20 * LAB_HZ;
		for (int i = 0; i < 4; i++)
			tick();
		for (int kind = 0; kind < SHUNT_N_ID_KINDS; kind++)
			cr_assert_eq(shunt_ids_used(installer->ids, kind), 0, "kind %d", kind);
		cr_assert_eq(installer->splits.n_used, 0);
		cr_assert_eq(installer->rings.n_used, 0);
		cr_assert_eq(installer->members.n_used, 0);
		cr_assert_null(shunt_frontends_next(&installer->frontends, NULL));
	}
}

Test(install_life, a_tick_before_the_first_install_removes_nothing, .init = setup, .fini = teardown)
{
	lab_install_ok(&lab, both, 2);
	lab_restart(&lab);
	lab.now += 1000 * LAB_HZ;
	tick();
	tick();
	cr_assert_eq(lab_choose(&lab, 1, 0).reason, SHUNT_R_FORWARDED);
	cr_assert_eq(lab_install_ok(&lab, both, 2).generation, 1);
}

/* ---- adoption
 * --------------------------------------------------------------------------------------------- */

Test(install_life, answers_are_looked_for_until_no_flow_goes_past_the_stack, .init = setup,
     .fini = teardown)
{
	struct shunt_settings *settings = AT(settings, struct shunt_settings, 0);

	lab_install_ok(&lab, only_web, 1);
	settings->flags = SHUNT_S_ANSWERS;
	put_flow(7, 0, 0, SHUNT_F_ESTABLISHED);
	AT(flows, struct shunt_flow, 7)->flags = SHUNT_FLOW_REDIRECT;
	for (int i = 0; i < 40; i++)
		tick();
	cr_expect_eq(settings->flags, SHUNT_S_ANSWERS);
	AT(flows, struct shunt_flow, 7)->flags = 0;
	settings->flags = SHUNT_S_ANSWERS | SHUNT_S_EXTERNAL;
	for (int i = 0; i < 40; i++)
		tick();
	cr_expect_eq(settings->flags, SHUNT_S_ANSWERS | SHUNT_S_EXTERNAL);
	settings->flags = SHUNT_S_ANSWERS;
	for (int i = 0; i < 40; i++)
		tick();
	cr_expect_eq(settings->flags, 0);
}

Test(install_life, a_restarted_agent_changes_nothing, .init = setup, .fini = teardown)
{
	uint32_t service, variant, backend, split;
	struct shunt_install_result result;

	lab_install_ok(&lab, both, 2);
	web.variants[1].weight = 0;
	lab_install_ok(&lab, both, 2);
	service = lab_service_id(&lab, "web");
	variant = lab_variant_id(&lab, "web", "green");
	backend = lab_backend_id(&lab, "web", "green", "10.2.0.2");
	split = AT(rules, struct shunt_rule, service)->split[0];

	lab_restart(&lab);
	result = lab_install_ok(&lab, both, 2);
	cr_assert_eq(result.generation, 2);
	cr_assert_eq(result.services_changed, 0);
	cr_assert_eq(lab_service_id(&lab, "web"), service);
	cr_assert_eq(lab_variant_id(&lab, "web", "green"), variant);
	cr_assert_eq(lab_backend_id(&lab, "web", "green", "10.2.0.2"), backend);
	cr_assert_eq(AT(rules, struct shunt_rule, service)->split[0], split);
	cr_assert_eq(shunt_ids_used(lab.installer->ids, SHUNT_ID_BACKEND), 10);
}

Test(install_life, a_restarted_agent_never_writes_into_ranges_in_use, .init = setup,
     .fini = teardown)
{
	struct shunt_choice before, after;

	/* web's record and rings stand where a new agent would begin to look for room. */
	lab_install_ok(&lab, only_web, 1);
	before = lab_choose(&lab, 1, 3);
	cr_assert_eq(before.split, 1);
	lab_restart(&lab);
	lab_install_ok(&lab, both, 2);
	after = lab_choose(&lab, 1, 3);
	cr_assert_eq(before.split, after.split);
	cr_assert_eq(before.backend, after.backend);
	cr_assert_arr_eq(&before.record, &after.record, sizeof(before.record));
	cr_assert_eq(lab_choose(&lab, 2, 3).reason, SHUNT_R_FORWARDED);
}

Test(install_life, an_agent_that_died_before_the_flip_left_nothing, .init = setup, .fini = teardown)
{
	uint32_t id;

	lab_install_ok(&lab, both, 2);
	id = lab_service_id(&lab, "web");
	/* As flip() fills the idle slot, generation 1 being in force. */
	AT(rules, struct shunt_rule, id)->split[0] = 77;
	AT(services, struct shunt_service, id)->slot[0].flags = SHUNT_SVC_RELEASED;
	lab_restart(&lab);
	cr_assert_eq(AT(rules, struct shunt_rule, id)->split[0],
		     AT(rules, struct shunt_rule, id)->split[1]);
	cr_assert_eq(lab_install_ok(&lab, both, 2).generation, 1);
}

Test(install_life, an_agent_that_died_after_the_flip_is_finished, .init = setup, .fini = teardown)
{
	uint32_t id, before;

	lab_install_ok(&lab, both, 2);
	id = lab_service_id(&lab, "web");
	before = AT(rules, struct shunt_rule, id)->split[0];
	web.variants[0].weight = 1;
	api.variants[0].weight = 0;
	lab.grace_result = -EINTR; /* the flip is done, what follows is not */
	lab_install_ok(&lab, both, 2);
	cr_assert_eq(AT(rules, struct shunt_rule, id)->split[1], before);
	lab.grace_result = 0;
	lab_restart(&lab);
	cr_assert_neq(AT(rules, struct shunt_rule, id)->split[0], before);
	cr_assert_eq(AT(rules, struct shunt_rule, id)->split[0],
		     AT(rules, struct shunt_rule, id)->split[1]);
	cr_assert_eq(lab_install_ok(&lab, both, 2).generation, 2);
}
