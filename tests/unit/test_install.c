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

/* ---- the change
 * ---------------------------------------------------------------------------------- */

Test(install, a_first_install_makes_the_service_reachable, .init = setup, .fini = teardown)
{
	struct shunt_install_result result = lab_install_ok(&lab, only_web, 1);
	struct shunt_choice choice = lab_choose(&lab, 1, 0);

	cr_assert_eq(result.generation, 1);
	cr_assert_eq(result.services_changed, 1);
	cr_assert(!result.single_store);
	cr_assert_eq(choice.reason, SHUNT_R_FORWARDED, "%u", choice.reason);
	cr_assert_eq(ntohs(choice.to.port_be), 8080);
	cr_assert_eq(lab_choose(&lab, 2, 0).reason, SHUNT_R_NO_SERVICE);
	cr_assert_str_eq(AT(service_names, struct shunt_service_name, choice.service)->name, "web");
}

Test(install, both_slots_are_equal_after_an_install, .init = setup, .fini = teardown)
{
	uint32_t id;

	lab_install_ok(&lab, both, 2);
	id = lab_service_id(&lab, "web");
	cr_assert_arr_eq(&AT(services, struct shunt_service, id)->slot[0],
			 &AT(services, struct shunt_service, id)->slot[1],
			 sizeof(struct shunt_service_slot));
	cr_assert_neq(AT(rules, struct shunt_rule, id)->split[0], 0);
	cr_assert_eq(AT(rules, struct shunt_rule, id)->split[0],
		     AT(rules, struct shunt_rule, id)->split[1]);
	cr_assert_eq(frontend_at("10.255.0.2", 80).service[0], id);
	cr_assert_eq(frontend_at("10.255.0.2", 80).service[1], id);
}

Test(install, the_same_images_again_change_nothing, .init = setup, .fini = teardown)
{
	struct shunt_install_result result;

	lab_install_ok(&lab, both, 2);
	lab.graces = 0;
	result = lab_install_ok(&lab, both, 2);
	cr_assert_eq(result.generation, 1);
	cr_assert_eq(result.services_changed, 0);
	cr_assert_eq(lab.graces, 0);
}

Test(install, one_weight_is_one_store_of_a_split_index, .init = setup, .fini = teardown)
{
	struct shunt_install_result result;
	struct shunt_rule *rule;
	uint32_t before;

	lab_install_ok(&lab, both, 2);
	rule = AT(rules, struct shunt_rule, lab_service_id(&lab, "web"));
	before = rule->split[0];
	lab.graces = 0;
	web.variants[0].weight = 50;
	result = lab_install_ok(&lab, both, 2);
	cr_assert(result.single_store);
	cr_assert_eq(result.services_changed, 1);
	cr_assert_eq(result.generation, 2, "each change counts, a single store too");
	cr_assert_eq(epoch(), 1);
	cr_assert_eq(lab.graces, 0, "a weight change waits for nobody");
	cr_assert_neq(rule->split[0], before);
	cr_assert_eq(rule->split[0], rule->split[1]);
	cr_assert_eq(AT(splits, struct shunt_split, rule->split[0])->variant[0].weight, 50);
	cr_assert_eq(AT(splits, struct shunt_split, before)->variant[0].weight, 90,
		     "the old record is not touched before a grace period");
}

static void slots_are_filled_before_the_epoch(void *arg)
{
	uint32_t *seen = arg, idle = !(epoch() & 1), id = lab_service_id(&lab, "web");

	/* The first one of a change; the second comes when packets read the new slots. */
	if (!*seen)
		*seen = AT(rules, struct shunt_rule, id)->split[idle] !=
					AT(rules, struct shunt_rule, id)->split[!idle]
				? 1
				: 2;
}

Test(install, where_loads_are_weak_a_grace_period_stands_before_the_epoch, .init = setup,
     .fini = teardown)
{
	uint32_t seen = 0;

	lab_install_ok(&lab, both, 2);
	lab.installer->env.loads_are_weak = true;
	web.variants[0].weight = 50;
	api.variants[0].weight = 50;
	lab.graces = 0;
	lab.on_grace = slots_are_filled_before_the_epoch;
	lab.grace_arg = &seen;
	cr_assert_not(lab_install_ok(&lab, both, 2).single_store);
	cr_assert_eq(seen, 1);
	cr_assert_eq(lab.graces, 2);
}

Test(install, a_weight_change_keeps_rings_where_they_are, .init = setup, .fini = teardown)
{
	struct shunt_choice before, after;

	lab_install_ok(&lab, only_web, 1);
	before = lab_choose(&lab, 1, 5);
	web.variants[0].weight = 50;
	lab_install_ok(&lab, only_web, 1);
	after = lab_choose(&lab, 1, 5);
	cr_assert_neq(before.split, after.split);
	for (int v = 0; v < 2; v++)
		cr_assert_eq(before.record.variant[v].ring_first[SHUNT_V4],
			     after.record.variant[v].ring_first[SHUNT_V4]);
}

Test(install, many_services_switch_by_one_generation, .init = setup, .fini = teardown)
{
	struct shunt_install_result result;

	lab_install_ok(&lab, both, 2);
	web.variants[0].weight = 1;
	api.variants[0].weight = 0;
	result = lab_install_ok(&lab, both, 2);
	cr_assert(!result.single_store);
	cr_assert_eq(result.services_changed, 2);
	cr_assert_eq(result.generation, 2);
}

Test(install, records_are_reused_only_after_a_grace_period, .init = setup, .fini = teardown)
{
	struct shunt_dp_sizes sizes = lab_sizes();
	struct install_lab small;

	/* Eight split records, the first unused: the eighth change finds none free. */
	sizes.services = 4;
	lab_open(&small, &sizes);
	lab_install_ok(&small, only_web, 1);
	small.graces = 0;
	for (uint32_t weight = 1; weight <= 6; weight++) {
		web.variants[0].weight = weight;
		lab_install_ok(&small, only_web, 1);
		cr_assert_eq(small.graces, 0, "weight %u", weight);
	}
	web.variants[0].weight = 7;
	lab_install_ok(&small, only_web, 1);
	cr_assert_eq(small.graces, 1);
	lab_close(&small);
}

Test(install, a_failed_grace_period_frees_nothing, .init = setup, .fini = teardown)
{
	struct shunt_install_result result;
	struct shunt_err err;

	lab_install_ok(&lab, both, 2);
	lab.grace_result = -EIO;
	web.variants[0].weight = 1;
	api.variants[0].weight = 0;
	cr_assert_eq(lab_install_ok(&lab, both, 2).generation, 2, "packets have the change");
	web.variants[0].weight = 2;
	cr_assert_eq(lab_install(&lab, both, 2, &result, &err), -EIO);
	cr_assert_eq(epoch(), 2);
	lab.grace_result = 0;
	cr_assert(lab_install_ok(&lab, both, 2).single_store);
}

/* ---- frontends
 * ------------------------------------------------------------------------------------ */

Test(install, an_address_that_goes_is_deleted_after_the_flip, .init = setup, .fini = teardown)
{
	lab_frontend(&web, "10.255.9.9");
	lab_install_ok(&lab, only_web, 1);
	cr_assert_neq(frontend_at("10.255.9.9", 80).service[0], 0);
	web.model.n_frontends--;
	cr_assert_eq(lab_install_ok(&lab, only_web, 1).generation, 2);
	cr_assert_eq(frontend_at("10.255.9.9", 80).service[0], 0);
	cr_assert_eq(frontend_at("10.255.9.9", 80).service[1], 0);
	cr_assert_neq(frontend_at("10.255.0.2", 80).service[0], 0);
}

Test(install, a_node_port_is_a_frontend_of_its_own_number, .init = setup, .fini = teardown)
{
	lab_frontend(&web, "192.0.2.4");
	web.frontends[web.model.n_frontends - 1].node_port = 30080;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(frontend_at("192.0.2.4", 30080).service[0], lab_service_id(&lab, "web"));
	cr_assert_eq(frontend_at("192.0.2.4", 80).service[0], 0);
	cr_assert_eq(frontend_at("10.255.0.2", 30080).service[0], 0);
	web.model.n_frontends--;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(frontend_at("192.0.2.4", 30080).service[0], 0);
}

Test(install, an_address_moves_from_service_to_service, .init = setup, .fini = teardown)
{
	lab_frontend(&web, "10.255.9.9");
	lab_install_ok(&lab, both, 2);
	web.model.n_frontends--;
	lab_frontend(&api, "10.255.9.9");
	cr_assert_eq(lab_install_ok(&lab, both, 2).services_changed, 1);
	cr_assert_eq(frontend_at("10.255.9.9", 80).service[0], lab_service_id(&lab, "api"));
	cr_assert_eq(frontend_at("10.255.9.9", 80).service[1], lab_service_id(&lab, "api"));
}

Test(install, one_address_for_two_services_is_refused, .init = setup, .fini = teardown)
{
	struct shunt_install_result result;
	struct shunt_err err = { 0 };

	lab_install_ok(&lab, only_web, 1);
	lab_frontend(&api, "10.255.0.2");
	cr_assert_eq(lab_install(&lab, both, 2, &result, &err), -EEXIST);
	cr_assert_not_null(strstr(err.text, "10.255.0.2"), "%s", err.text);
	cr_assert_eq(epoch(), 1);
}

Test(install, backends_leave_a_marker_as_long_as_they_live, .init = setup, .fini = teardown)
{
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(frontend_at("10.1.0.3", 8080).flags, SHUNT_FE_BACKEND);
	web.variants[0].n_backends = 2;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(frontend_at("10.1.0.3", 8080).flags, SHUNT_FE_BACKEND, "it drains");
	lab.now += 10 * LAB_HZ;
	tick();
	cr_assert_eq(frontend_at("10.1.0.3", 8080).flags, 0);
	cr_assert_eq(frontend_at("10.1.0.2", 8080).flags, SHUNT_FE_BACKEND);
}

/* ---- backends
 * ----------------------------------------------------------------------------------------- */

Test(install, a_removed_backend_gets_a_deadline_and_keeps_its_index, .init = setup,
     .fini = teardown)
{
	struct shunt_backend *backend;
	uint32_t id;

	lab_install_ok(&lab, only_web, 1);
	id = lab_backend_id(&lab, "web", "blue", "10.1.0.3");
	backend = AT(backends, struct shunt_backend, id);
	web.variants[0].n_backends = 2;
	cr_assert(lab_install_ok(&lab, only_web, 1).single_store);
	cr_assert_eq(backend->flags, SHUNT_BE_REMOVED);
	cr_assert_eq(backend->drain_jiffies, lab.now + 10 * LAB_HZ);
	tick();
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.3"), id);
	web.variants[0].n_backends = 3;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(backend->flags, 0, "it is back");
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.3"), id);
}

Test(install, a_terminating_backend_is_flagged_and_out_of_the_ring, .init = setup, .fini = teardown)
{
	uint32_t id;

	lab_install_ok(&lab, only_web, 1);
	id = lab_backend_id(&lab, "web", "blue", "10.1.0.1");
	web.variants[0].backends[0].state = SHUNT_BACKEND_TERMINATING;
	web.variants[0].backends[0].usable = false;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(AT(backends, struct shunt_backend, id)->flags, SHUNT_BE_NO_NEW);
	for (uint32_t client = 0; client < 2000; client++)
		cr_assert_neq(lab_choose(&lab, 1, client).backend, id);
}

Test(install, a_change_of_flags_alone_is_a_generation_too, .init = setup, .fini = teardown)
{
	const struct shunt_backend *backend;

	lab_install_ok(&lab, only_web, 1);
	backend =
		AT(backends, struct shunt_backend, lab_backend_id(&lab, "web", "blue", "10.1.0.3"));
	web.variants[0].backends[2].state = SHUNT_BACKEND_TERMINATING;
	web.variants[0].backends[2].usable = false;
	cr_assert_eq(lab_install_ok(&lab, only_web, 1).generation, 2, "it is out of the ring");
	web.variants[0].n_backends = 2;
	cr_assert_eq(lab_install_ok(&lab, only_web, 1).generation, 3);
	cr_assert(backend->flags & SHUNT_BE_REMOVED);
	cr_assert_eq(lab_install_ok(&lab, only_web, 1).generation, 3);
	web.variants[0].n_backends = 3;
	cr_assert_eq(lab_install_ok(&lab, only_web, 1).generation, 4);
	cr_assert(!(backend->flags & SHUNT_BE_REMOVED));
}

Test(install, counters_of_a_retired_backend_stay_with_its_variant, .init = setup, .fini = teardown)
{
	int cpus = libbpf_num_possible_cpus();
	struct shunt_counters cells[cpus];
	struct shunt_counters sum;
	uint32_t id, variant, key;

	lab_install_ok(&lab, only_web, 1);
	id = lab_backend_id(&lab, "web", "blue", "10.1.0.3");
	variant = lab_variant_id(&lab, "web", "blue");
	for (int cpu = 0; cpu < cpus; cpu++)
		cells[cpu] = (struct shunt_counters){ .connections = 1,
						      .packets_in = 2,
						      .bytes_in = 3,
						      .packets_out = 4,
						      .bytes_out = 5,
						      .rejects = 6,
						      .responses = { 7 } };
	cr_assert_eq(bpf_map_update_elem(lab.maps.backend_counters_fd, &id, cells, 0), 0);
	key = variant;
	cr_assert_eq(bpf_map_update_elem(lab.maps.variant_counters_fd, &key, cells, 0), 0);

	web.variants[0].n_backends = 2;
	lab_install_ok(&lab, only_web, 1);
	put_flow(0, lab_service_id(&lab, "web"), id, SHUNT_F_ESTABLISHED);
	lab.now += 10 * LAB_HZ;
	AT(flows, struct shunt_flow, 0)->seen_jiffies = lab.now;
	tick();
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.3"), id, "a flow lives");
	drop_flow(0);
	tick();
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.3"), 0);
	bpf_map_lookup_elem(lab.maps.variant_counters_fd, &variant, cells);
	sum = cells[0];
	for (int cpu = 1; cpu < cpus; cpu++)
		sum.bytes_out += cells[cpu].bytes_out;
	cr_assert_eq(sum.bytes_out, 2 * 5 * (unsigned)cpus);
	bpf_map_lookup_elem(lab.maps.backend_counters_fd, &id, cells);
	cr_assert_eq(cells[0].connections, 0);
	cr_assert_eq(AT(backends, struct shunt_backend, id)->port_be, 0);
}

Test(install, a_closed_flow_that_lingers_holds_its_backends_index, .init = setup, .fini = teardown)
{
	uint32_t id;

	lab_install_ok(&lab, only_web, 1);
	id = lab_backend_id(&lab, "web", "blue", "10.1.0.3");
	put_flow(0, lab_service_id(&lab, "web"), id, SHUNT_F_CLOSED);
	web.variants[0].n_backends = 2;
	lab_install_ok(&lab, only_web, 1);
	lab.now += 10 * LAB_HZ;
	AT(flows, struct shunt_flow, 0)->seen_jiffies = lab.now;
	tick();
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.3"), id);
	drop_flow(0);
	tick();
	cr_assert_eq(lab_backend_id(&lab, "web", "blue", "10.1.0.3"), 0);
}

Test(install, sessions_of_a_retired_backend_are_forgotten, .init = setup, .fini = teardown)
{
	struct shunt_session_key key = { .service = 1 };
	struct shunt_session session = { 0 };

	lab_install_ok(&lab, only_web, 1);
	for (uint32_t i = 0; i < 20; i++) {
		key.client.word_be[3] = i;
		session.backend =
			lab_backend_id(&lab, "web", "blue", i % 2 ? "10.1.0.3" : "10.1.0.2");
		cr_assert_eq(bpf_map_update_elem(lab.maps.sessions_fd, &key, &session, 0), 0);
	}
	web.variants[0].n_backends = 2;
	lab_install_ok(&lab, only_web, 1);
	lab.now += 10 * LAB_HZ;
	tick();
	for (uint32_t i = 0; i < 20; i++) {
		key.client.word_be[3] = i;
		cr_assert_eq(bpf_map_lookup_elem(lab.maps.sessions_fd, &key, &session) == 0,
			     i % 2 == 0, "%u", i);
	}
}

/* ---- full maps
 * ------------------------------------------------------------------------------------------------
 */

/* Everything that packets read through the active slot, to compare before and after. */
static void assert_same_for_packets(const struct install_lab *with,
				    const struct shunt_choice *before, size_t n)
{
	for (uint32_t client = 0; client < n; client++) {
		struct shunt_choice after = lab_choose(with, 1, client);

		cr_assert_arr_eq(&before[client], &after, sizeof(after), "client %u", client);
	}
}

static void fill_up(struct shunt_dp_sizes sizes, unsigned more_backends, const char *option)
{
	struct shunt_install_result result;
	struct shunt_choice before[50];
	struct install_lab small;
	struct shunt_err err = { 0 };
	uint32_t splits, rings, members;

	lab_open(&small, &sizes);
	lab_install_ok(&small, only_web, 1);
	for (uint32_t client = 0; client < 50; client++)
		before[client] = lab_choose(&small, 1, client);
	splits = small.installer->splits.n_used;
	rings = small.installer->rings.n_used;
	members = small.installer->members.n_used;

	web.variants[0].weight = 1;
	lab_variant(&api, "v3", 1, 6, more_backends);
	cr_assert_eq(lab_install(&small, both, 2, &result, &err), -ENOSPC, "%s", option);
	cr_assert_not_null(strstr(err.text, option), "%s: %s", option, err.text);
	assert_same_for_packets(&small, before, 50);
	cr_assert_eq(small.installer->splits.n_used, splits);
	cr_assert_eq(small.installer->rings.n_used, rings);
	cr_assert_eq(small.installer->members.n_used, members);

	/* And what fits is still installed. */
	cr_assert(lab_install_ok(&small, only_web, 1).single_store);
	cr_assert_eq(lab_service_id(&small, "api"), 0, "ids that no install used are free again");
	lab_close(&small);
}

Test(install, a_full_ring_map_changes_nothing, .init = setup, .fini = teardown)
{
	struct shunt_dp_sizes sizes = lab_sizes();

	sizes.ring_entries = 4096;
	fill_up(sizes, 100, "--max-ring-entries");
}

Test(install, a_full_frontend_map_changes_nothing, .init = setup, .fini = teardown)
{
	struct shunt_dp_sizes sizes = lab_sizes();

	sizes.frontends = 16;
	fill_up(sizes, 100, "--max-frontends");
}

Test(install, full_members_change_nothing, .init = setup, .fini = teardown)
{
	struct shunt_dp_sizes sizes = lab_sizes();
	struct shunt_install_result result;
	struct install_lab small;
	struct shunt_err err = { 0 };

	lab_open(&small, &sizes);
	lab_install_ok(&small, only_web, 1);
	/* All but two members are somebody else's. */
	for (uint32_t first, n = small.maps.members.n - 8; n--;)
		cr_assert_eq(shunt_place_alloc(&small.installer->members, 1, &first), 0);
	lab_variant(&web, "red", 1, 7, 5);
	cr_assert_eq(lab_install(&small, only_web, 1, &result, &err), -ENOSPC);
	cr_assert_not_null(strstr(err.text, "--max-backends"), "%s", err.text);
	lab_close(&small);
}

Test(install, an_id_space_that_is_full_says_which, .init = setup, .fini = teardown)
{
	struct shunt_image_service *image = NULL;
	struct shunt_dp_sizes sizes = lab_sizes();
	struct install_lab small;
	struct shunt_ids *ids;

	sizes.backends = 6;
	lab_open(&small, &sizes);
	ids = shunt_installer_ids(small.installer);
	cr_assert_eq(shunt_compile(&web.model, ids, &image), -ENOSPC);
	cr_assert_null(image);
	cr_assert(shunt_ids_ran_out(ids, SHUNT_ID_BACKEND));
	cr_assert(!shunt_ids_ran_out(ids, SHUNT_ID_VARIANT));
	lab_close(&small);
}
