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

			lab_run_ip("ip route add %s/%s dev pod0", &pod, family);
			lab_run_ip("ip addr add %s/%s dev lo", &node, family);
			lab_run_ip("ip route add %s/%s dev br0", &bridged, family);
			lab_run_ip("ip route add blackhole %s/%s", &nowhere, family);
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
	gate(lab, lab->gates[0], 0);
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

/* ---- frames for other hosts -------------------------------------------------------------------
 */

/* The first is the one that packet_build() sends to. */
static const uint8_t ours[] = { 2, 0, 0, 0, 0, 2 }, bridges[] = { 0x02, 0, 0, 0, 0xaa, 2 },
		     others[] = { 0x02, 0, 0, 0, 0xbb, 1 };

/* The first gate is that of a host with two MACs there, and a service that rejects or not. */
static void hosts(struct lab *lab, uint32_t flags, uint32_t backends)
{
	struct shunt_gate record = { .flags = flags };

	for (int i = 0; i < SHUNT_MAX_GATE_MACS; i++)
		memcpy(record.mac[i], i == 1 ? bridges : ours, sizeof(ours));
	cr_assert_eq(bpf_map_update_elem(lab->maps.gates_fd, &lab->gates[0], &record, BPF_ANY), 0);
	lab_scene(lab, 1, backends);
}

static struct lab_result sent_to(struct lab *lab, const uint8_t *mac, struct lab_packet packet)
{
	struct lab_frame frame;

	packet_build(&packet, &frame);
	memcpy(frame.data, mac, 6);
	return lab_ingress_frame(lab, &frame);
}

LAB_EACH(gate, a_frame_for_another_host_begins_no_flow, 0)
{
	struct lab_packet first;

	(void)k;
	hosts(lab, SHUNT_GATE_MACS, 1);
	first = lab_from_client(lab, 1, 4000, 1);
	CHECK_REASON(sent_to(lab, others, first).reason, SHUNT_R_OTHER_HOST);
	CHECK_EQ(lab_flows_in_use(lab), 0);
	CHECK_REASON(sent_to(lab, ours, first).reason, SHUNT_R_FORWARDED);
	first.sport++;
	CHECK_REASON(sent_to(lab, bridges, first).reason, SHUNT_R_FORWARDED);
}

LAB_EACH(gate, a_frame_for_many_hosts_begins_no_flow, 0)
{
	static const uint8_t group[] = { 0x03, 0, 0, 0, 0xaa, 1 };

	(void)k;
	hosts(lab, SHUNT_GATE_MACS, 1);
	CHECK_REASON(sent_to(lab, group, lab_from_client(lab, 1, 4000, 1)).reason,
		     SHUNT_R_OTHER_HOST);
	CHECK_EQ(lab_flows_in_use(lab), 0);
}

LAB_EACH(gate, a_connection_of_another_host_is_not_reset, LAB_ONLY_TCP)
{
	struct lab_packet packet;
	struct lab_result got;

	(void)k;
	hosts(lab, SHUNT_GATE_MACS, 1);
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
	packet = lab_flags(lab_from_client(lab, 1, 4000, 1), TH_ACK_, 1001, 5001);
	got = sent_to(lab, others, packet);
	CHECK_REASON(got.reason, SHUNT_R_OTHER_HOST);
	CHECK_EQ(got.verdict, LAB_PASS);
	CHECK_REASON(sent_to(lab, ours, packet).reason, SHUNT_R_REPLACED);
}

/* Also where the fast path rejects: it has an entry, from when the frame was for us. */
LAB_EACH(gate, nor_is_one_that_was_ours_before, LAB_ONLY_TCP)
{
	struct shunt_backend *backend;
	struct lab_packet packet;
	struct lab_result got;

	(void)k;
	hosts(lab, SHUNT_GATE_MACS, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &packet);
	backend = SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1);
	backend->flags = SHUNT_BE_REMOVED | SHUNT_BE_NO_NEW;
	backend->drain_jiffies = lab_jiffies(lab);
	lab_flow(lab, &packet)->seen_jiffies -= lab_settings(lab)->seen_grain_jiffies;
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	got = sent_to(lab, others, packet);
	CHECK_REASON(got.reason, SHUNT_R_OTHER_HOST);
	CHECK_EQ(got.verdict, LAB_PASS);
}

LAB_EACH(gate, without_a_list_every_frame_is_taken_for_ours, 0)
{
	(void)k;
	hosts(lab, 0, 1);
	CHECK_REASON(sent_to(lab, others, lab_from_client(lab, 1, 4000, 1)).reason,
		     SHUNT_R_FORWARDED);
}

LAB_EACH(gate, what_spoofs_an_address_of_another_host_is_left_to_that_one, 0)
{
	(void)k;
	scene(lab);
	hosts(lab, SHUNT_GATE_MACS | SHUNT_GATE_EXTERNAL, 1);
	CHECK_REASON(sent_to(lab, others, lab_from_client(lab, POD, 4000, 1)).reason,
		     SHUNT_R_OTHER_HOST);
	CHECK_REASON(sent_to(lab, ours, lab_from_client(lab, POD, 4000, 1)).reason,
		     SHUNT_R_SPOOFED);
}

LAB_EACH(gate, a_direct_connection_is_noted_whoever_it_is_for, 0)
{
	struct lab_packet direct;

	(void)k;
	hosts(lab, SHUNT_GATE_MACS, 1);
	direct = lab_from_client(lab, 1, 4000, 1);
	direct.dst = lab_backend_addr(direct.family, 1);
	direct.dport = LAB_BACKEND_PORT;
	CHECK_REASON(sent_to(lab, others, direct).reason, SHUNT_R_DIRECT);
	CHECK_EQ(lab_flows_in_use(lab), 1);
}
