// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "datapath/read.h"
#include "datapath/sweep.h"
#include "install_lab.h"

static struct install_lab lab;

static void setup(void)
{
	lab_open(&lab, NULL);
}

static void teardown(void)
{
	lab_close(&lab);
}

Test(read, counters_are_summed_over_cpus_column_by_column, .init = setup, .fini = teardown)
{
	int cpus = libbpf_num_possible_cpus();
	struct shunt_counters cells[cpus], sum;
	uint32_t id = 5;

	for (int cpu = 0; cpu < cpus; cpu++)
		cells[cpu] = (struct shunt_counters){ .connections = 1,
						      .packets_in = 20,
						      .bytes_in = 300,
						      .packets_out = 4000,
						      .bytes_out = 50000,
						      .rejects = 600000 };
	cr_assert_eq(bpf_map_update_elem(lab.maps.backend_counters_fd, &id, cells, 0), 0);
	cr_assert_eq(shunt_read_backend(&lab.maps, id, &sum), 0);
	cr_assert_eq(sum.connections, 1u * cpus);
	cr_assert_eq(sum.packets_in, 20u * cpus);
	cr_assert_eq(sum.bytes_in, 300u * cpus);
	cr_assert_eq(sum.packets_out, 4000u * cpus);
	cr_assert_eq(sum.bytes_out, 50000u * cpus);
	cr_assert_eq(sum.rejects, 600000u * cpus);
	cr_assert_eq(shunt_read_variant(&lab.maps, id, &sum), 0);
	cr_assert_eq(sum.rejects, 0);
}

Test(read, an_index_out_of_range_is_an_error_and_touches_nothing, .init = setup, .fini = teardown)
{
	struct shunt_counters sum = { .rejects = 7 };

	cr_assert_lt(shunt_read_backend(&lab.maps, lab.maps.backends.n, &sum), 0);
	cr_assert_eq(sum.rejects, 7);
	cr_assert_eq(shunt_read_active(&lab.maps, lab.maps.backends.n), 0);
}

Test(read, reasons_have_sums_names_and_texts, .init = setup, .fini = teardown)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t cells[cpus], reasons[SHUNT_R_MAX];
	uint32_t id = SHUNT_R_NO_BACKEND;

	for (int cpu = 0; cpu < cpus; cpu++)
		cells[cpu] = 3;
	cr_assert_eq(bpf_map_update_elem(lab.maps.reasons_fd, &id, cells, 0), 0);
	cr_assert_eq(shunt_read_reasons(&lab.maps, reasons), 0);
	for (uint32_t reason = 0; reason < SHUNT_R_MAX; reason++)
		cr_assert_eq(reasons[reason], reason == id ? 3u * cpus : 0, "%u", reason);
	cr_assert_str_eq(shunt_reason_name(SHUNT_R_FORWARDED), "FORWARDED");
	cr_assert_str_eq(shunt_reason_text(SHUNT_R_FORWARDED), "translated to a backend");
	cr_assert_str_eq(shunt_reason_name(SHUNT_R_MAX), "?");
	cr_assert_str_eq(shunt_reason_text(1000000), "?");
}

static void put_flow(uint32_t index, uint32_t state, uint32_t seen)
{
	struct shunt_flow *flow = SHUNT_DP_AT(lab.maps.flows, struct shunt_flow, index);

	flow->life = 0x100 | state;
	flow->seen_jiffies = seen;
	flow->backend = 1;
	SHUNT_DP_AT(lab.maps.flow_sets, struct shunt_flow_set, index / SHUNT_FLOW_WAYS)
		->tag[index % SHUNT_FLOW_WAYS] = 0xab2;
}

Test(read, flows_are_counted_by_state, .init = setup, .fini = teardown)
{
	uint64_t states[SHUNT_N_FLOW_STATES];

	put_flow(3, SHUNT_F_ESTABLISHED, 0);
	put_flow(20, SHUNT_F_ESTABLISHED, 0);
	put_flow(255, SHUNT_F_UDP, 0);
	cr_assert_eq(shunt_read_flow_states(&lab.maps, states), 0);
	cr_assert_eq(states[SHUNT_F_ESTABLISHED], 2);
	cr_assert_eq(states[SHUNT_F_UDP], 1);
	cr_assert_eq(states[SHUNT_F_FREE], 253);
}

Test(read, a_sweep_ends_what_is_idle_and_gives_its_count_back, .init = setup, .fini = teardown)
{
	struct shunt_active *active = SHUNT_DP_AT(lab.maps.backend_active, struct shunt_active, 1);

	active->connections = 2;
	put_flow(40, SHUNT_F_ESTABLISHED, lab.now - 1000);
	put_flow(41, SHUNT_F_ESTABLISHED, lab.now - 999);
	cr_assert_eq(shunt_flowtab_sweep(&lab.maps, 3, 13, lab.now), 0, "another part");
	cr_assert_eq(shunt_flowtab_sweep(&lab.maps, 14, 5, lab.now), 1, "round the end");
	cr_assert_eq(active->connections, 1);
	cr_assert_eq(SHUNT_DP_AT(lab.maps.flow_sets, struct shunt_flow_set, 2)->tag[8], 0);
	cr_assert_neq(SHUNT_DP_AT(lab.maps.flow_sets, struct shunt_flow_set, 2)->tag[9], 0);
}
