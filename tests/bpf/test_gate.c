// SPDX-License-Identifier: Apache-2.0
/* External gates: nothing from outside passes for a pod or for this node. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <net/if.h>

#include "lab.h"

/*
 * pod0 leads to client 2 (10.1.0.2) and its like, gate0 and gate1 to the rest of the world; the
 * node is client 3.
 */
#define POD  2
#define NODE 3

static uint32_t pod_gate;

static void gate(struct lab *lab, uint32_t ifindex, uint32_t flags)
{
	struct shunt_gate record = { .flags = flags };

	cr_assert_eq(bpf_map_update_elem(lab->maps.gates_fd, &ifindex, &record, BPF_ANY), 0);
}

static void run_ip(const char *format, const struct shunt_addr *addr, int family)
{
	char text[INET6_ADDRSTRLEN], command[256];

	inet_ntop(family == SHUNT_V4 ? AF_INET : AF_INET6,
		  family == SHUNT_V4 ? (const void *)&addr->word_be[3] : addr, text, sizeof(text));
	snprintf(command, sizeof(command), format, text, family == SHUNT_V4 ? "32" : "128");
	cr_assert_eq(system(command), 0, "%s", command);
}

/* Routes of the node, made once for each lab; the gates' roles for each turn. */
static void scene(struct lab *lab)
{
	if (!if_nametoindex("pod0")) {
		cr_assert_eq(system("echo 1 >/proc/sys/net/ipv4/ip_forward; "
				    "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; "
				    "ip link add pod0 type veth peer name pod1; "
				    "ip link add br0 type bridge; ip link set br0 up; "
				    "for i in lo gate0 gate1 pod0 pod1; do ip link set $i up; "
				    "done; sleep .1; "
				    "ip -4 route add default dev gate0; "
				    "ip -6 route add default dev gate0"),
			     0);
		for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
			struct shunt_addr pod = lab_client_addr(family, POD);
			struct shunt_addr node = lab_client_addr(family, NODE);
			struct shunt_addr bridged = lab_client_addr(family, 4);
			struct shunt_addr nowhere = lab_client_addr(family, 5);

			run_ip("ip route add %s/%s dev pod0", &pod, family);
			run_ip("ip addr add %s/%s dev lo", &node, family);
			run_ip("ip route add %s/%s dev br0", &bridged, family);
			run_ip("ip route add blackhole %s/%s", &nowhere, family);
		}
	}
	pod_gate = if_nametoindex("pod0");
	gate(lab, lab->gates[0], SHUNT_GATE_EXTERNAL);
	gate(lab, lab->gates[1], SHUNT_GATE_EXTERNAL);
	gate(lab, pod_gate, 0);
	gate(lab, if_nametoindex("br0"), SHUNT_GATE_INSIDE);
	lab_scene(lab, 1, 1);
}

static enum shunt_reason first_from(struct lab *lab, uint32_t client)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1);
	struct lab_frame frame;
	struct lab_result got;

	packet_build(&packet, &frame);
	got = lab_ingress_frame(lab, &frame);
	if (got.reason == SHUNT_R_SPOOFED) {
		CHECK_EQ(got.verdict, LAB_DROP);
		CHECK_EQ(lab_flows_in_use(lab), 0);
	}
	return got.reason;
}

LAB_EACH(gate, an_external_gate_lets_in_those_whose_way_back_leads_out_of_it, 0)
{
	(void)k;
	scene(lab);
	CHECK_REASON(first_from(lab, 1), SHUNT_R_FORWARDED);
}

LAB_EACH(gate, an_external_gate_drops_who_claims_to_be_a_pod, 0)
{
	(void)k;
	scene(lab);
	CHECK_REASON(first_from(lab, POD), SHUNT_R_SPOOFED);
	CHECK_REASON(first_from(lab, 4), SHUNT_R_SPOOFED); /* behind a bridge */
}

LAB_EACH(gate, an_external_gate_drops_who_claims_to_be_this_node_or_nobody, 0)
{
	(void)k;
	scene(lab);
	CHECK_REASON(first_from(lab, NODE), SHUNT_R_SPOOFED);
	CHECK_REASON(first_from(lab, 5), SHUNT_R_SPOOFED);
}

LAB_EACH(gate, a_gate_that_is_not_external_asks_nobody_where_he_is_from, 0)
{
	(void)k;
	scene(lab);
	gate(lab, lab->gates[0], SHUNT_GATE_UPLINK);
	CHECK_REASON(first_from(lab, POD), SHUNT_R_FORWARDED);
}

LAB_EACH(gate, a_spoofed_packet_without_an_entry_is_not_answered, LAB_ONLY_TCP)
{
	struct lab_packet packet;
	struct lab_result got;

	(void)k;
	scene(lab);
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
	packet = lab_from_client(lab, POD, 4000, 1);
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_SPOOFED);
	CHECK_EQ(got.verdict, LAB_DROP);
}

LAB_EACH(gate, a_flow_of_a_pod_takes_nothing_from_an_external_gate, 0)
{
	struct lab_packet packet;
	struct lab_result got;

	(void)k;
	scene(lab);
	packet = lab_from_client(lab, POD, 4000, 1);
	lab->gate = pod_gate;
	lab_connect(lab, &packet);
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	lab->gate = lab->gates[0];
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_SPOOFED);
	CHECK_EQ(got.verdict, LAB_DROP);
}

LAB_EACH(gate, a_flow_moves_from_one_external_gate_to_another, 0)
{
	struct lab_packet packet;

	(void)k;
	scene(lab);
	packet = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &packet);
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	lab->gate = lab->gates[1];
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
}

LAB_EACH(gate, a_flow_whose_gate_is_gone_is_judged_by_its_source, 0)
{
	struct lab_packet outside, pod;
	uint32_t gone = lab->gates[1];

	(void)k;
	scene(lab);
	lab->gate = lab->gates[1];
	gate(lab, gone, 0);
	outside = lab_from_client(lab, 1, 4000, 1);
	pod = lab_from_client(lab, POD, 4000, 1);
	lab_connect(lab, &outside);
	lab_connect(lab, &pod);
	cr_assert_eq(bpf_map_delete_elem(lab->maps.gates_fd, &gone), 0);
	lab->gate = lab->gates[0];
	outside = lab_flags(outside, TH_ACK_, 1001, 5001);
	pod = lab_flags(pod, TH_ACK_, 1001, 5001);
	CHECK_REASON(lab_ingress(lab, &outside).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(lab_ingress(lab, &pod).reason, SHUNT_R_SPOOFED);
}

LAB_EACH(gate, a_flow_of_a_pod_may_come_by_another_gate_of_this_side, 0)
{
	struct lab_packet packet;

	(void)k;
	scene(lab);
	packet = lab_from_client(lab, POD, 4000, 1);
	lab->gate = pod_gate;
	lab_connect(lab, &packet);
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	lab->gate = lab->gates[1];
	gate(lab, lab->gates[1], 0);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
}
