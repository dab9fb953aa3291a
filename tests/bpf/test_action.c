// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sched.h>

#include "stages.h"
#include "tests/bpf/stages.skel.h"
#include "tests/bpf/stages_xdp.skel.h"

TestSuite(action, .timeout = 60);

/*
 * What cannot go on is answered by an ICMP error, and is no refusal of a variant. Here there is
 * nothing wrong with the packet, but it is answered all the same.
 */
static bool is_refusal(enum shunt_reason reason, enum lab_verdict verdict)
{
	return verdict == LAB_BOUNCE && reason != SHUNT_R_HOP_LIMIT && reason != SHUNT_R_TOO_BIG;
}

/* By hand, on purpose: a changed line of the X-macro must be noticed here. */
static const struct {
	enum shunt_reason reason;
	enum lab_verdict verdict;
} table[] = {
	{ SHUNT_R_FORWARDED, LAB_PASS },
	{ SHUNT_R_RESTORED, LAB_PASS },
	{ SHUNT_R_NOT_IP, LAB_PASS },
	{ SHUNT_R_TRUNCATED, LAB_PASS },
	{ SHUNT_R_FRAGMENT, LAB_PASS },
	{ SHUNT_R_IPV4_OPTIONS, LAB_PASS },
	{ SHUNT_R_L4_PROTO, LAB_PASS },
	{ SHUNT_R_NO_SERVICE, LAB_PASS },
	{ SHUNT_R_NO_REPLY, LAB_PASS },
	{ SHUNT_R_RELEASED, LAB_PASS },
	{ SHUNT_R_DRAINING, LAB_PASS },
	{ SHUNT_R_MIDSTREAM_SHARED, LAB_PASS },
	{ SHUNT_R_MIDSTREAM_OWNED, LAB_BOUNCE },
	{ SHUNT_R_DIRECT, LAB_PASS },
	{ SHUNT_R_ALREADY, LAB_PASS },
	{ SHUNT_R_NO_WEIGHT, LAB_BOUNCE },
	{ SHUNT_R_NO_BACKEND, LAB_BOUNCE },
	{ SHUNT_R_BACKEND_GONE, LAB_BOUNCE },
	{ SHUNT_R_TABLE_FULL, LAB_BOUNCE },
	{ SHUNT_R_NO_PORT, LAB_BOUNCE },
	{ SHUNT_R_HELD, LAB_DROP },
	{ SHUNT_R_BAD_CONFIG, LAB_PASS },
	{ SHUNT_R_REWRITE, LAB_DROP },
	{ SHUNT_R_ICMP_FORWARDED, LAB_PASS },
	{ SHUNT_R_ICMP_RESTORED, LAB_PASS },
	{ SHUNT_R_ICMP_UNKNOWN, LAB_PASS },
	{ SHUNT_R_ICMP_QUOTE, LAB_PASS },
	{ SHUNT_R_ICMP_REDIRECT, LAB_DROP },
	{ SHUNT_R_ANSWER_LIMIT, LAB_DROP },
	{ SHUNT_R_SPOOFED, LAB_DROP },
	{ SHUNT_R_OTHER_HOST, LAB_PASS },
	{ SHUNT_R_FRAGMENT_UNKNOWN, LAB_PASS },
	{ SHUNT_R_EXT_HEADERS, LAB_PASS },
	{ SHUNT_R_VLAN_DEPTH, LAB_PASS },
	{ SHUNT_R_REPLACED, LAB_PASS },
	{ SHUNT_R_STATELESS, LAB_PASS },
	{ SHUNT_R_HAIRPIN, LAB_PASS },
	{ SHUNT_R_NO_ROUTE, LAB_DROP },
	{ SHUNT_R_HOP_LIMIT, LAB_BOUNCE },
	{ SHUNT_R_TOO_BIG, LAB_BOUNCE },
	{ SHUNT_R_CLIENT_SHARE, LAB_BOUNCE },
	{ SHUNT_R_BY_STACK, LAB_PASS },
	{ SHUNT_R_LIMITED, LAB_BOUNCE },
	{ SHUNT_R_LIMITED_DROP, LAB_DROP },
	{ SHUNT_R_IN_FLIGHT, LAB_BOUNCE },
	{ SHUNT_R_IN_FLIGHT_DROP, LAB_DROP },
	{ SHUNT_R_SOURCE_DENIED, LAB_BOUNCE },
	{ SHUNT_R_SOURCE_DENIED_DROP, LAB_DROP },
	{ SHUNT_R_BREAKER_OPEN, LAB_BOUNCE },
	{ SHUNT_R_REFUSED, LAB_DROP },
	{ SHUNT_R_REQUEST_LIMITED, LAB_BOUNCE },
	{ SHUNT_R_REQUEST_BEHIND, LAB_DROP },
};

Test(action, every_reason_has_one_number_and_is_in_the_table)
{
	cr_assert_eq(ARRAY_LEN(table), SHUNT_R_MAX);
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		cr_expect_eq(table[i].reason, i, "numbers only grow: %s is %u",
			     lab_reason_name(table[i].reason), table[i].reason);
}

/* The stage alone: on the lab's maps, with a reason of the test's choice. */
struct stage {
	struct stages *tc;
	struct stages_xdp *xdp;
	struct lab *lab;
};

static struct stage stage_open(struct lab *lab)
{
	struct stage stage = { stages__open(), stages_xdp__open(), lab };

	cr_assert(stage.tc && stage.xdp);
	lab_share_maps(lab, stage.tc->obj);
	lab_share_maps(lab, stage.xdp->obj);
	cr_assert_eq(stages__load(stage.tc), 0, "tc: %m");
	cr_assert_eq(stages_xdp__load(stage.xdp), 0, "XDP: %m");
	return stage;
}

static void stage_close(struct stage *stage)
{
	stages__destroy(stage->tc);
	stages_xdp__destroy(stage->xdp);
}

static enum lab_verdict finish(struct stage *stage, enum shunt_reason reason, uint32_t variant)
{
	enum lab_hook hook = stage->lab->kind->hook;
	struct lab_packet packet = lab_from_client(stage->lab, 1, 4000, 1);
	struct stage_input input = { .reason = reason, .variant = variant };
	uint32_t zero = 0, code;
	struct lab_frame in, out;
	int prog = hook == LAB_TC ? bpf_program__fd(stage->tc->progs.stage_finish_tc)
				  : bpf_program__fd(stage->xdp->progs.stage_finish_xdp);

	packet_build(&packet, &in);
	cr_assert_eq(bpf_map__update_elem(hook == LAB_TC ? stage->tc->maps.stage_input
							 : stage->xdp->maps.stage_input,
					  &zero, sizeof(zero), &input, sizeof(input), 0),
		     0);
	cr_assert_eq(lab_run(stage->lab, prog, hook, &in, 0, &out, &code), 0);
	return lab_verdict(hook, code);
}

LAB_EACH(action, every_reason_has_exactly_one_verdict_and_is_counted_once, 0)
{
	struct stage stage = stage_open(lab);

	(void)k;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		uint64_t rejects = lab_variant_counters(lab, 5).rejects;

		cr_expect(finish(&stage, table[i].reason, 5) == table[i].verdict,
			  "%s: verdict of %s", lab_what, lab_reason_name(table[i].reason));
		for (uint32_t r = 0; r < SHUNT_R_MAX; r++)
			CHECK_EQ(lab_reason(lab, r), r <= i);
		CHECK_EQ(lab_variant_counters(lab, 5).rejects - rejects,
			 is_refusal(table[i].reason, table[i].verdict));
	}
	stage_close(&stage);
}

LAB_EACH(action, a_reject_without_a_variant_is_nobodys, 0)
{
	struct stage stage = stage_open(lab);

	(void)k;
	finish(&stage, SHUNT_R_NO_WEIGHT, 0);
	finish(&stage, SHUNT_R_NO_WEIGHT, lab->maps.variants.n);
	CHECK_EQ(lab_reason(lab, SHUNT_R_NO_WEIGHT), 2);
	CHECK_EQ(lab_variant_counters(lab, 0).rejects, 0);
	stage_close(&stage);
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

LAB_EACH(action, counts_are_kept_by_cpu, 0)
{
	uint32_t reason = SHUNT_R_FORWARDED, backend = 1;
	int cpus = libbpf_num_possible_cpus();
	uint64_t by_cpu[512];
	struct shunt_counters counters[512];
	struct lab_packet packet;

	(void)k;
	lab_scene(lab, 1, 1);
	for (int cpu = 0; cpu < cpus; cpu++) {
		run_on(cpu);
		for (int i = 0; i <= cpu; i++) {
			packet = lab_from_client(lab, 1, (uint16_t)(4000 + 10 * cpu + i), 1);
			lab_ingress(lab, &packet);
		}
	}
	cr_assert_eq(bpf_map_lookup_elem(lab->maps.reasons_fd, &reason, by_cpu), 0);
	cr_assert_eq(bpf_map_lookup_elem(lab->maps.backend_counters_fd, &backend, counters), 0);
	for (int cpu = 0; cpu < cpus; cpu++) {
		CHECK_EQ(by_cpu[cpu], cpu + 1);
		CHECK_EQ(counters[cpu].packets_in, cpu + 1);
		CHECK_EQ(counters[cpu].connections, cpu + 1);
	}
}
