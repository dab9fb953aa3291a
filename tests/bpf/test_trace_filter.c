// SPDX-License-Identifier: Apache-2.0
/* Of which packets the tracing programs tell, and of how many. */
#include "conversation.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "tracing.h"

TestSuite(trace_filter, .init = tracing_programs, .timeout = 120);

struct condition {
	const char *what;
	void (*set)(const struct lab *lab, struct shunt_trace_filter *filter);
	uint32_t n; /* of a SYN, its answer and a packet to nobody: how many are told */
};

static struct shunt_trace_net net_of(struct shunt_addr addr)
{
	struct shunt_trace_net net = { .addr = addr };

	memset(&net.mask, 0xff, sizeof(net.mask));
	return net;
}

static void want_client(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.host[0] = net_of(lab_client_addr(lab->kind->family, 1));
}

static void want_pod(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.host[1] = net_of(lab_backend_addr(lab->kind->family, 1));
}

static void want_from_client(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.src = net_of(lab_client_addr(lab->kind->family, 1));
}

static void want_to_pod(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.dst = net_of(lab_backend_addr(lab->kind->family, 1));
}

static void want_stranger(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.host[0] = net_of(lab_client_addr(lab->kind->family, 77));
}

static void want_net(const struct lab *lab, struct shunt_trace_filter *filter)
{
	struct shunt_trace_net net = net_of(lab_client_addr(lab->kind->family, 77));

	memset(&net.mask, 0, sizeof(net.mask));
	if (lab->kind->family == SHUNT_V4)
		net.mask.word_be[3] = htonl(0xffff0000);
	else
		net.mask.word_be[0] = 0xffffffff;
	filter->tuple.src = net;
}

static void want_proto(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.proto = lab->kind->proto;
}

static void want_other_proto(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.proto = lab->kind->proto == IPPROTO_TCP ? IPPROTO_UDP : IPPROTO_TCP;
}

static void want_family(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.family = (uint8_t)lab->kind->family + 1;
}

static void want_other_family(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->tuple.family = lab->kind->family == SHUNT_V4 ? SHUNT_V6 + 1 : SHUNT_V4 + 1;
}

static void want_port(const struct lab *lab, struct shunt_trace_filter *filter)
{
	(void)lab;
	filter->tuple.port_be[1] = htons(LAB_BACKEND_PORT);
}

static void want_ports(const struct lab *lab, struct shunt_trace_filter *filter)
{
	(void)lab;
	filter->tuple.sport_be = htons(4000);
	filter->tuple.dport_be = htons(81);
}

static void want_reason(const struct lab *lab, struct shunt_trace_filter *filter)
{
	(void)lab;
	filter->conditions = SHUNT_TRACE_IF_REASON;
	filter->reason = SHUNT_R_RESTORED;
}

static void want_gate(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->conditions = SHUNT_TRACE_IF_GATE;
	filter->ifindex = lab->gates[0];
}

static void want_other_gate(const struct lab *lab, struct shunt_trace_filter *filter)
{
	filter->conditions = SHUNT_TRACE_IF_GATE;
	filter->ifindex = lab->gates[1];
}

static void want_new(const struct lab *lab, struct shunt_trace_filter *filter)
{
	(void)lab;
	filter->conditions = SHUNT_TRACE_IF_NEW;
}

static void want_service(const struct lab *lab, struct shunt_trace_filter *filter)
{
	(void)lab;
	filter->conditions = SHUNT_TRACE_IF_SERVICE;
	filter->n_services = 2;
	filter->service[0] = 9;
	filter->service[1] = 1;
}

static void want_no_service(const struct lab *lab, struct shunt_trace_filter *filter)
{
	(void)lab;
	filter->conditions = SHUNT_TRACE_IF_SERVICE;
	filter->n_services = 1;
	filter->service[0] = 9;
	filter->service[1] = 1; /* beyond the number: does not count */
}

static void want_two(const struct lab *lab, struct shunt_trace_filter *filter)
{
	want_reason(lab, filter);
	want_stranger(lab, filter);
}

static void want_no_more(const struct lab *lab, struct shunt_trace_filter *filter)
{
	(void)lab;
	filter->until_ns = 1;
}

static const struct condition conditions[] = {
	{ "all", NULL, 3 },
	{ "the client's address", want_client, 3 },
	{ "the pod's address, before or after", want_pod, 2 },
	{ "from the client", want_from_client, 2 },
	{ "to the pod", want_to_pod, 1 },
	{ "a stranger's address", want_stranger, 0 },
	{ "a network of sources", want_net, 2 },
	{ "the protocol", want_proto, 3 },
	{ "another protocol", want_other_proto, 0 },
	{ "the family", want_family, 3 },
	{ "another family", want_other_family, 0 },
	{ "the pod's port", want_port, 2 },
	{ "a pair of ports", want_ports, 1 },
	{ "a reason", want_reason, 1 },
	{ "a gate", want_gate, 3 },
	{ "another gate", want_other_gate, 0 },
	{ "new flows", want_new, 1 },
	{ "a service", want_service, 2 },
	{ "another service", want_no_service, 0 },
	{ "two conditions, one of them not met", want_two, 0 },
	{ "nothing more: the agent's time is over", want_no_more, 0 },
};

LAB_EACH(trace_filter, only_what_fulfils_every_condition_is_told, 0)
{
	for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
		struct shunt_trace_filter filter = tracing_everything();
		struct lab_packet answer, packet;

		lab_reset(lab, k);
		lab_scene(lab, 1, 1);
		lab_what = conditions[i].what;
		filter.conditions = SHUNT_TRACE_IF_TUPLE;
		if (conditions[i].set)
			conditions[i].set(lab, &filter);
		if (conditions[i].set == want_two)
			filter.conditions |= SHUNT_TRACE_IF_TUPLE;
		tracing_set_filter(lab, &filter);
		tracing_read(lab);
		packet = lab_from_client(lab, 1, 4000, 1);
		answer = lab_ingress(lab, &packet).packet;
		answer = lab_answer(&answer);
		CHECK_REASON(lab_egress(lab, &answer).reason, SHUNT_R_RESTORED);
		packet.dport = 81;
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_NO_SERVICE);
		CHECK_EQ(tracing_read(lab).n, conditions[i].n);
	}
}

/* ---- bounds -----------------------------------------------------------------------------------
 */

static struct shunt_trace_counts counts_of(const struct lab *lab)
{
	struct shunt_trace_counts values[512], sum = { 0 };
	uint32_t zero = 0;

	cr_assert_eq(bpf_map_lookup_elem(tracing_map(lab, "tracing_counts"), &zero, values), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++) {
		sum.told += values[i].told;
		sum.limited += values[i].limited;
		sum.lost += values[i].lost;
	}
	return sum;
}

LAB_EACH(trace_filter, beyond_the_rate_packets_are_counted_and_not_told,
	 LAB_ONLY_V4 | LAB_ONLY_UDP | LAB_ONLY_XDP)
{
	struct lab_packet packet = lab_from_client(lab, 1, 4000, 1);
	struct shunt_trace_counts before = counts_of(lab), after;
	struct shunt_trace_filter filter = tracing_everything();
	uint32_t n;

	(void)k;
	filter.rate = 5;
	tracing_set_filter(lab, &filter);
	tracing_read(lab);
	for (int i = 0; i < 100; i++)
		lab_ingress(lab, &packet);
	n = tracing_read(lab).n;
	after = counts_of(lab);
	/* 100 runs take milliseconds: at most two seconds of the clock, on each of the CPUs. */
	CHECK(n >= 5 && n <= 10 * (uint32_t)libbpf_num_possible_cpus());
	CHECK_EQ(after.told - before.told, n);
	CHECK_EQ(after.limited - before.limited, 100 - n);
	CHECK_EQ(after.lost, before.lost);
}

LAB_EACH(trace_filter, what_finds_the_ring_full_is_counted_as_lost,
	 LAB_ONLY_V4 | LAB_ONLY_UDP | LAB_ONLY_TC)
{
	struct lab_packet packet = lab_from_client(lab, 1, 4000, 1);
	struct shunt_trace_counts before = counts_of(lab), after;
	struct shunt_trace_filter filter = tracing_everything();
	const uint32_t total = 4500;
	uint32_t n;

	(void)k;
	tracing_set_filter(lab, &filter);
	tracing_read(lab);
	for (uint32_t i = 0; i < total; i++)
		lab_ingress(lab, &packet);
	after = counts_of(lab);
	n = tracing_read(lab).n;
	CHECK(n > 3900 && n < total);
	CHECK_EQ(after.told - before.told, n);
	CHECK_EQ(after.lost - before.lost, total - n);
	CHECK_EQ(after.limited, before.limited);
}
