// SPDX-License-Identifier: Apache-2.0
/* Flows that go past the stack: a pod that reaches itself, and uplink to uplink. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <net/if.h>
#include <sched.h>

#include "lab.h"

#define PORT_FIRST 61000
#define PORT_COUNT 4536

/* ---- hairpin --------------------------------------------------------------------------------- */

/* Service 1 with backend 1 alone, which is the client itself. */
static struct lab_packet from_itself(struct lab *lab, uint16_t port)
{
	struct lab_packet packet;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, port, 1);
	packet.src = lab_backend_addr(lab->kind->family, 1);
	return packet;
}

static void check_turned(const struct lab_packet *sent, const struct lab_result *got)
{
	struct lab_frame frame;

	packet_build(sent, &frame);
	CHECK(!memcmp(got->frame.data, frame.data + 6, 6));
	CHECK(!memcmp(got->frame.data + 6, frame.data, 6));
}

/* As lab_check_packet(), but for the link addresses. */
static void check_above_link(const struct lab_result *got, const struct lab_packet *want)
{
	struct lab_result plain = *got;
	struct lab_frame frame;

	packet_build(want, &frame);
	memcpy(plain.frame.data, frame.data, 12);
	lab_check_packet(&plain, want);
}

static bool is_reserved(uint16_t port)
{
	return port >= PORT_FIRST && port - PORT_FIRST < PORT_COUNT;
}

LAB_EACH(route, a_pod_that_reaches_itself_gets_its_packet_back_from_the_frontend, 0)
{
	struct lab_packet sent, want;
	struct lab_result got;

	(void)k;
	sent = from_itself(lab, 4000);
	got = lab_ingress(lab, &sent);
	CHECK_REASON(got.reason, SHUNT_R_HAIRPIN);
	CHECK_EQ(got.verdict, LAB_BOUNCE);
	CHECK(is_reserved(got.packet.sport));
	want = sent;
	want.src = sent.dst;
	want.sport = got.packet.sport;
	want.dst = sent.src;
	want.dport = LAB_BACKEND_PORT;
	check_above_link(&got, &want);
	check_turned(&sent, &got);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_in, 1);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
}

LAB_EACH(route, its_answer_to_the_frontend_comes_back_as_that_of_the_service, 0)
{
	struct lab_packet sent, answer, want;
	struct lab_result got;

	sent = from_itself(lab, 4000);
	got = lab_ingress(lab, &sent);
	answer = lab_answer(&got.packet);
	got = lab_ingress(lab, &answer);
	CHECK_REASON(got.reason, SHUNT_R_HAIRPIN);
	CHECK_EQ(got.verdict, LAB_BOUNCE);
	want = answer;
	want.src = sent.dst;
	want.sport = sent.dport;
	want.dst = sent.src;
	want.dport = sent.sport;
	check_above_link(&got, &want);
	check_turned(&answer, &got);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_out, 1);
	CHECK_EQ(lab_state(lab, &sent) == (k->proto == IPPROTO_TCP ? SHUNT_F_SYN : SHUNT_F_UDP_NEW),
		 false);
}

LAB_EACH(route, connections_of_a_pod_to_itself_are_told_apart, 0)
{
	struct lab_packet one, two, answer;
	struct lab_result first, second;

	(void)k;
	one = from_itself(lab, 4000);
	two = one;
	two.sport = 4001;
	first = lab_ingress(lab, &one);
	second = lab_ingress(lab, &two);
	CHECK(first.packet.sport != second.packet.sport);
	answer = lab_answer(&second.packet);
	CHECK_EQ(lab_ingress(lab, &answer).packet.dport, 4001);
	answer = lab_answer(&first.packet);
	CHECK_EQ(lab_ingress(lab, &answer).packet.dport, 4000);
}

LAB_EACH(route, an_answer_of_a_pod_to_itself_is_taken_at_its_own_gate_only, 0)
{
	struct lab_packet sent, answer;
	struct lab_frame frame;
	struct lab_result got;

	(void)k;
	sent = from_itself(lab, 4000);
	got = lab_ingress(lab, &sent);
	answer = lab_answer(&got.packet);
	packet_build(&answer, &frame);
	lab->gate = lab->gates[1];
	got = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, SHUNT_R_NO_SERVICE);
}

LAB_EACH(route, an_answer_is_known_also_where_a_service_stands_at_its_port, 0)
{
	struct lab_packet sent, answer;
	struct lab_result got;

	(void)k;
	sent = from_itself(lab, 4000);
	got = lab_ingress(lab, &sent);
	lab_service(lab, 2, 1);
	lab_frontend(lab, sent.dst, got.packet.sport, 2, 2, 0);
	answer = lab_answer(&got.packet);
	CHECK_REASON(lab_ingress(lab, &answer).reason, SHUNT_R_HAIRPIN);
}

LAB_EACH(route, a_backend_beside_its_client_is_reached_as_ever, 0)
{
	struct lab_packet packet;
	struct lab_result got;

	(void)k;
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	packet.src = lab_backend_addr(lab->kind->family, 2);
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(got.verdict, LAB_PASS);
	CHECK_EQ(got.packet.sport, 4000);
}

/* ---- uplink to uplink -------------------------------------------------------------------- */

#define NODE 200 /* a client's number, whose address is the node's */

static void gate(struct lab *lab, uint32_t ifindex, uint32_t flags, bool has_source)
{
	struct shunt_gate record = { .flags = flags };

	for (int family = 0; has_source && family < SHUNT_N_FAMILIES; family++)
		record.source[family] = lab_client_addr(family, NODE);
	cr_assert_eq(bpf_map_update_elem(lab->maps.gates_fd, &ifindex, &record, BPF_ANY), 0);
}

/* Clients behind gate0, backend 1 behind gate1, backend 2 behind pod0, no way to backend 3. */
static void uplinks(struct lab *lab)
{
	if (!if_nametoindex("pod0")) {
		cr_assert_eq(system("echo 1 >/proc/sys/net/ipv4/ip_forward; "
				    "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; "
				    "ip link add pod0 type veth peer name pod1; "
				    "for i in lo gate0 gate1 pod0 pod1; do ip link set $i up; "
				    "done; sleep .1"),
			     0);
		for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
			struct shunt_addr client = lab_client_addr(family, 1);
			struct shunt_addr one = lab_backend_addr(family, 1);
			struct shunt_addr two = lab_backend_addr(family, 2);

			lab_run_ip("ip route add %s/%s dev gate0", &client, family);
			lab_run_ip("ip neigh add %s lladdr 02:00:00:00:00:c1 dev gate0", &client,
				   family);
			lab_run_ip("ip route add %s/%s dev gate1 mtu lock 1400", &one, family);
			lab_run_ip("ip neigh add %s lladdr 02:00:00:00:00:b1 dev gate1", &one,
				   family);
			lab_run_ip("ip route add %s/%s dev pod0", &two, family);
		}
	}
	gate(lab, lab->gates[0], SHUNT_GATE_UPLINK, true);
	gate(lab, lab->gates[1], SHUNT_GATE_UPLINK, true);
	gate(lab, if_nametoindex("pod0"), 0, false);
}

static struct lab_packet from_afar(struct lab *lab)
{
	uplinks(lab);
	lab_scene(lab, 1, 1);
	return lab_from_client(lab, 1, 4000, 1);
}

static bool is_sent(const struct lab_result *got)
{
	return got->verdict == LAB_BOUNCE || got->verdict == LAB_SENT;
}

LAB_EACH(route, from_uplink_to_uplink_a_flow_gets_the_nodes_address, 0)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 0xb1 };
	struct lab_packet sent = from_afar(lab), want = sent;
	struct lab_result got = lab_ingress(lab, &sent);

	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	CHECK(is_sent(&got));
	CHECK(is_reserved(got.packet.sport));
	want.src = lab_client_addr(k->family, NODE);
	want.sport = got.packet.sport;
	want.dst = lab_backend_addr(k->family, 1);
	want.dport = LAB_BACKEND_PORT;
	want.ttl--;
	check_above_link(&got, &want);
	if (k->hook == LAB_XDP) /* on tc the kernel writes it later */
		CHECK(!memcmp(got.frame.data, mac, 6));
}

LAB_EACH(route, the_answer_is_restored_where_it_comes_in, 0)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 0xc1 };
	struct lab_packet sent = from_afar(lab), answer, want;
	struct lab_result got = lab_ingress(lab, &sent);

	answer = lab_answer(&got.packet);
	lab->gate = lab->gates[1];
	got = lab_ingress(lab, &answer);
	CHECK_REASON(got.reason, SHUNT_R_RESTORED);
	CHECK(is_sent(&got));
	want = answer;
	want.src = sent.dst;
	want.sport = sent.dport;
	want.dst = sent.src;
	want.dport = sent.sport;
	want.ttl--;
	check_above_link(&got, &want);
	if (k->hook == LAB_XDP)
		CHECK(!memcmp(got.frame.data, mac, 6));
	CHECK_EQ(lab_backend_counters(lab, 1).packets_out, 1);
}

LAB_EACH(route, several_frontends_of_one_remote_backend_are_told_apart, 0)
{
	struct lab_packet one = from_afar(lab), two, answer;
	struct lab_result first, second, back;

	(void)k;
	lab_service(lab, 2, 1);
	*lab_split(lab, 2) = *lab_split(lab, 1);
	two = one;
	two.dst = lab_frontend_addr(k->family, 2);
	first = lab_ingress(lab, &one);
	second = lab_ingress(lab, &two);
	CHECK_REASON(second.reason, SHUNT_R_FORWARDED);
	CHECK(first.packet.sport != second.packet.sport);
	lab->gate = lab->gates[1];
	answer = lab_answer(&second.packet);
	back = lab_ingress(lab, &answer);
	CHECK(!memcmp(&back.packet.src, &two.dst, sizeof(two.dst)));
	answer = lab_answer(&first.packet);
	back = lab_ingress(lab, &answer);
	CHECK(!memcmp(&back.packet.src, &one.dst, sizeof(one.dst)));
}

LAB_EACH(route, two_hundred_flows_to_one_remote_backend_have_two_hundred_ports, 0)
{
	bool seen[PORT_COUNT] = { false };
	struct lab_packet packet = from_afar(lab);

	(void)k;
	for (int i = 0; i < 200; i++) {
		struct lab_result got;

		packet.sport = (uint16_t)(5000 + i);
		got = lab_ingress(lab, &packet);
		CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
		cr_assert(is_reserved(got.packet.sport));
		cr_assert_not(seen[got.packet.sport - PORT_FIRST], "%s: port %u twice", lab_what,
			      got.packet.sport);
		seen[got.packet.sport - PORT_FIRST] = true;
	}
}

LAB_EACH(route, a_local_backend_of_a_client_from_afar_is_reached_by_the_stack, 0)
{
	struct lab_packet packet = from_afar(lab);
	struct lab_result got;

	(void)k;
	lab_backend(lab, 2, 1);
	lab_ring(lab, 1, 0, 2, 1, 1);
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(got.verdict, LAB_PASS);
	CHECK_EQ(got.packet.sport, 4000);
}

LAB_EACH(route, a_remote_backend_of_a_pod_is_reached_by_the_stack, 0)
{
	struct lab_packet packet = from_afar(lab);
	struct lab_result got;

	(void)k;
	lab->gate = if_nametoindex("pod0");
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(got.verdict, LAB_PASS);
}

LAB_EACH(route, an_uplink_without_an_address_takes_no_such_flow, 0)
{
	struct lab_packet packet = from_afar(lab);
	struct lab_result got;

	(void)k;
	gate(lab, lab->gates[1], SHUNT_GATE_UPLINK, false);
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_NO_ROUTE);
	CHECK_EQ(got.verdict, LAB_DROP);
	CHECK_EQ(lab_flows_in_use(lab), 0);
}

LAB_EACH(route, without_a_neighbour_the_kernel_finds_it_or_the_packet_is_dropped, 0)
{
	struct lab_packet packet = from_afar(lab);
	struct shunt_addr one = lab_backend_addr(k->family, 1);
	struct lab_result got;

	lab_run_ip("ip neigh del %s dev gate1", &one, k->family);
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, k->hook == LAB_XDP ? SHUNT_R_NO_ROUTE : SHUNT_R_FORWARDED);
	lab_run_ip("ip neigh add %s lladdr 02:00:00:00:00:b1 dev gate1", &one, k->family);
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
}

LAB_EACH(route, hop_limit_and_mtu_are_kept, 0)
{
	struct lab_packet packet = from_afar(lab), bad = packet;
	struct lab_frame frame;
	struct lab_result got;

	(void)k;
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	bad.ttl = 1;
	packet_build(&bad, &frame);
	got = lab_ingress_frame(lab, &frame);
	CHECK_REASON(got.reason, SHUNT_R_HOP_LIMIT);
	CHECK_EQ(got.verdict, LAB_BOUNCE); /* test_told.c says with what */
	bad.ttl = 2;
	CHECK_REASON(lab_ingress(lab, &bad).reason, SHUNT_R_FORWARDED);
	bad = lab_flags(packet, TH_ACK_, 1001, 5001);
	bad.payload = 1400;
	CHECK_REASON(lab_ingress(lab, &bad).reason, SHUNT_R_TOO_BIG);
}

/* ---- --forward redirect ------------------------------------------------------------------ */

/* As uplinks(), with gates that are no uplinks, and all that may be redirected to. */
static void redirects(struct lab *lab)
{
	uplinks(lab);
	gate(lab, lab->gates[0], SHUNT_GATE_XMIT, false);
	gate(lab, lab->gates[1], SHUNT_GATE_XMIT, false);
	gate(lab, if_nametoindex("pod0"), 0, false);
	lab_settings(lab)->flags = SHUNT_S_REDIRECT | SHUNT_S_ANSWERS;
}

static struct lab_packet from_gate(struct lab *lab)
{
	redirects(lab);
	lab_scene(lab, 1, 1);
	return lab_from_client(lab, 1, 4000, 1);
}

LAB_EACH(redirect, a_flow_goes_from_gate_to_gate_as_itself, 0)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 0xb1 };
	struct lab_packet sent = from_gate(lab), want = sent;
	struct lab_result got = lab_ingress(lab, &sent);

	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	CHECK(is_sent(&got));
	want.dst = lab_backend_addr(k->family, 1);
	want.dport = LAB_BACKEND_PORT;
	want.ttl--;
	check_above_link(&got, &want);
	if (k->hook == LAB_XDP)
		CHECK(!memcmp(got.frame.data, mac, 6));
	CHECK_EQ(lab_flow(lab, &sent)->flags, SHUNT_FLOW_REDIRECT);
}

LAB_EACH(redirect, its_answer_is_restored_at_ingress_and_goes_to_the_clients_gate, 0)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 0xc1 };
	struct lab_packet sent = from_gate(lab), answer, want;
	struct lab_result got = lab_ingress(lab, &sent);

	answer = lab_answer(&got.packet);
	lab->gate = lab->gates[1];
	got = lab_ingress(lab, &answer);
	CHECK_REASON(got.reason, SHUNT_R_RESTORED);
	CHECK(is_sent(&got));
	want = answer;
	want.src = sent.dst;
	want.sport = sent.dport;
	want.ttl--;
	check_above_link(&got, &want);
	if (k->hook == LAB_XDP)
		CHECK(!memcmp(got.frame.data, mac, 6));
	CHECK_EQ(lab_backend_counters(lab, 1).packets_out, 1);
}

LAB_EACH(redirect, without_the_option_answers_are_not_looked_for, 0)
{
	struct lab_packet sent = from_gate(lab), answer;
	struct lab_frame frame;
	struct lab_result got;

	(void)k;
	lab_settings(lab)->flags = 0;
	got = lab_ingress(lab, &sent);
	CHECK_EQ(got.verdict, LAB_PASS);
	CHECK_EQ(lab_flow(lab, &sent)->flags, 0);
	answer = lab_answer(&got.packet);
	packet_build(&answer, &frame);
	lab->gate = lab->gates[1];
	got = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, SHUNT_R_NO_SERVICE);
}

LAB_EACH(redirect, flows_keep_the_way_that_they_began_with, 0)
{
	struct lab_packet first = from_gate(lab), second = first, answer;
	struct lab_result got, back;

	(void)k;
	got = lab_ingress(lab, &first);
	lab_settings(lab)->flags = SHUNT_S_ANSWERS;
	CHECK(is_sent(&got));
	first = lab_flags(first, TH_ACK_, 1001, 5001);
	got = lab_ingress(lab, &first);
	CHECK(is_sent(&got));
	second.sport = 4001;
	CHECK_EQ(lab_ingress(lab, &second).verdict, LAB_PASS);
	answer = lab_answer(&got.packet);
	lab->gate = lab->gates[1];
	back = lab_ingress(lab, &answer);
	CHECK(is_sent(&back));
}

LAB_EACH(redirect, from_inside_to_an_uplink_the_source_stays, 0)
{
	struct lab_packet sent = from_gate(lab);
	struct lab_result got;

	(void)k;
	gate(lab, lab->gates[1], SHUNT_GATE_UPLINK | SHUNT_GATE_XMIT, true);
	got = lab_ingress(lab, &sent);
	CHECK(is_sent(&got));
	CHECK(!memcmp(&got.packet.src, &sent.src, sizeof(sent.src)));
	CHECK_EQ(got.packet.sport, sent.sport);
}

/* Its first packet goes by the stack, and is counted as one that should not have to. */
static void check_by_stack(struct lab *lab, const struct lab_packet *packet)
{
	struct lab_result got = lab_ingress(lab, packet);

	CHECK_REASON(got.reason, SHUNT_R_BY_STACK);
	CHECK_EQ(got.verdict, LAB_PASS);
	CHECK_EQ(lab_flow(lab, packet)->flags & SHUNT_FLOW_REDIRECT, 0);
}

LAB_EACH(redirect, without_a_gate_on_either_side_a_flow_goes_by_the_stack, 0)
{
	struct lab_packet packet = from_gate(lab);
	uint32_t client = lab->gates[0], backend = lab->gates[1];

	(void)k;
	cr_assert_eq(bpf_map_delete_elem(lab->maps.gates_fd, &backend), 0);
	check_by_stack(lab, &packet);
	redirects(lab);
	/* The client's own route leads elsewhere. */
	lab->gate = if_nametoindex("pod0");
	cr_assert_eq(bpf_map_delete_elem(lab->maps.gates_fd, &client), 0);
	packet.sport++;
	check_by_stack(lab, &packet);
}

LAB_EACH(redirect, without_a_neighbour_xdp_leaves_a_flow_to_the_stack, 0)
{
	struct lab_packet packet = from_gate(lab);
	struct shunt_addr one = lab_backend_addr(k->family, 1);

	lab_run_ip("ip neigh del %s dev gate1", &one, k->family);
	if (k->hook == LAB_XDP)
		check_by_stack(lab, &packet);
	else
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	lab_run_ip("ip neigh add %s lladdr 02:00:00:00:00:b1 dev gate1", &one, k->family);
}

LAB_EACH(redirect, xdp_redirects_only_where_frames_are_taken, LAB_ONLY_XDP)
{
	struct lab_packet packet = from_gate(lab);

	(void)k;
	gate(lab, lab->gates[1], 0, false);
	check_by_stack(lab, &packet);
	redirects(lab);
	packet.sport++;
	gate(lab, lab->gates[0], 0, false); /* tc takes the answers, so that is enough */
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	packet.sport++;
	gate(lab, lab->gates[1], SHUNT_GATE_XMIT | SHUNT_GATE_XDP, false);
	check_by_stack(lab, &packet);
}

LAB_EACH(redirect, a_flow_whose_way_ends_goes_on_by_the_stack_both_ways, 0)
{
	struct lab_packet sent = from_gate(lab), answer;
	uint32_t backend = lab->gates[1], client = lab->gates[0];
	struct lab_frame frame;
	struct lab_result got = lab_ingress(lab, &sent);

	(void)k;
	answer = lab_answer(&got.packet);
	cr_assert_eq(bpf_map_delete_elem(lab->maps.gates_fd, &backend), 0);
	got = lab_ingress(lab, &sent);
	CHECK_REASON(got.reason, SHUNT_R_BY_STACK);
	CHECK_EQ(got.verdict, LAB_PASS);
	CHECK(!memcmp(&got.packet.dst, &answer.src, sizeof(answer.src)));
	CHECK_EQ(got.packet.ttl, sent.ttl);
	redirects(lab); /* the gate is there again, but the flow stays with the stack */
	packet_build(&answer, &frame);
	lab->gate = backend;
	got = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, SHUNT_R_NO_SERVICE);
	lab->gate = client;
	got = lab_egress(lab, &answer);
	CHECK_REASON(got.reason, SHUNT_R_RESTORED);
	CHECK_EQ(lab_flow(lab, &sent)->flags, 0);
	CHECK_EQ(lab_flow(lab, &sent)->family, k->family);
	CHECK_EQ(lab_flow(lab, &sent)->proto, k->proto);
}

LAB_EACH(redirect, an_answer_whose_way_ends_is_left_for_egress, 0)
{
	struct lab_packet sent = from_gate(lab), answer;
	uint32_t client = lab->gates[0];
	struct lab_frame frame;
	struct lab_result got = lab_ingress(lab, &sent);

	(void)k;
	answer = lab_answer(&got.packet);
	packet_build(&answer, &frame);
	cr_assert_eq(bpf_map_delete_elem(lab->maps.gates_fd, &client), 0);
	lab->gate = lab->gates[1];
	got = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, SHUNT_R_BY_STACK);
	CHECK_EQ(lab_flow(lab, &sent)->flags, 0);
}

LAB_EACH(redirect, what_is_too_long_or_at_its_last_hop_goes_by_the_stack, 0)
{
	struct lab_packet packet = from_gate(lab), bad = packet, answer;
	struct lab_frame frame;
	struct lab_result got = lab_ingress(lab, &packet);

	(void)k;
	answer = lab_answer(&got.packet);
	bad.ttl = 1;
	got = lab_ingress(lab, &bad);
	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(got.verdict, LAB_PASS);
	CHECK_EQ(got.packet.ttl, 1);
	bad = lab_flags(packet, TH_ACK_, 1001, 5001);
	bad.payload = 1400;
	got = lab_ingress(lab, &bad);
	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(got.verdict, LAB_PASS);
	answer.ttl = 1;
	packet_build(&answer, &frame);
	lab->gate = lab->gates[1];
	got = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, SHUNT_R_NO_SERVICE);
	CHECK_EQ(lab_flow(lab, &packet)->flags, SHUNT_FLOW_REDIRECT);
}

LAB_EACH(redirect, where_the_table_is_full_flows_without_an_entry_go_by_the_stack, LAB_ONLY_UDP)
{
	struct lab_packet packet = from_gate(lab);

	(void)k;
	for (uint32_t set = 0; set < lab->maps.flow_sets.n; set++)
		for (int way = 0; way < SHUNT_FLOW_WAYS; way++)
			SHUNT_DP_AT(lab->maps.flow_sets, struct shunt_flow_set, set)->tag[way] = 2;
	for (uint32_t i = 0; i < lab->maps.flows.n; i++)
		*SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, i) = (struct shunt_flow){
			.life = SHUNT_F_ESTABLISHED,
			.seen_jiffies = lab_jiffies(lab),
			.proto = IPPROTO_TCP,
		};
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_STATELESS);
}

/* ---- next hops that are kept ------------------------------------------------------------- */

/* The way to backend 1 leads out of gate1, or of nowhere. */
static void way(const struct lab *lab, bool is_there)
{
	struct shunt_addr one = lab_backend_addr(lab->kind->family, 1);

	lab_run_ip(is_there ? "ip route replace %s/%s dev gate1 mtu lock 1400"
			    : "ip route replace unreachable %s/%s",
		   &one, lab->kind->family);
	if (is_there)
		lab_run_ip("ip neigh replace %s lladdr 02:00:00:00:00:b1 dev gate1", &one,
			   lab->kind->family);
}

/* A flow that goes by redirect, with the next hop kept, which each CPU does by itself. */
static struct lab_packet with_kept_hop(struct lab *lab, struct lab_result *ret_result)
{
	struct lab_packet sent = from_gate(lab);
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	cr_assert_eq(sched_setaffinity(0, sizeof(first), &first), 0);
	lab_settings(lab)->route_generation = 7;
	lab_settings(lab)->seen_grain_jiffies = LAB_LONG;
	*ret_result = lab_ingress(lab, &sent);
	CHECK(is_sent(ret_result));
	return sent;
}

LAB_EACH(nexthop, it_is_kept_until_routes_change, 0)
{
	struct lab_result got, other;
	struct lab_packet sent = with_kept_hop(lab, &got);

	(void)k;
	way(lab, false);
	other = lab_ingress(lab, &sent);
	CHECK(is_sent(&other));
	CHECK(!memcmp(other.frame.data, got.frame.data, 12));
	lab_settings(lab)->route_generation = 8;
	other = lab_ingress(lab, &sent);
	CHECK_REASON(other.reason, SHUNT_R_BY_STACK);
	way(lab, true);
}

LAB_EACH(nexthop, it_is_kept_for_a_second_at_most, 0)
{
	struct lab_result got;
	struct lab_packet sent = with_kept_hop(lab, &got);

	(void)k;
	way(lab, false);
	lab_settings(lab)->seen_grain_jiffies = 0;
	got = lab_ingress(lab, &sent);
	CHECK_REASON(got.reason, SHUNT_R_BY_STACK);
	way(lab, true);
}

LAB_EACH(nexthop, nothing_is_kept_if_the_agent_does_not_tell_of_changes, 0)
{
	struct lab_result got;
	struct lab_packet sent = with_kept_hop(lab, &got);

	(void)k;
	lab_settings(lab)->route_generation = 0;
	got = lab_ingress(lab, &sent);
	CHECK(is_sent(&got));
	way(lab, false);
	got = lab_ingress(lab, &sent);
	CHECK_REASON(got.reason, SHUNT_R_BY_STACK);
	way(lab, true);
}

LAB_EACH(nexthop, what_is_kept_is_for_one_destination_and_one_gate, 0)
{
	struct lab_result got;
	struct lab_packet sent = with_kept_hop(lab, &got);

	(void)k;
	way(lab, false);
	lab->gate = lab->gates[1];
	got = lab_ingress(lab, &sent);
	CHECK_REASON(got.reason, SHUNT_R_BY_STACK);
	way(lab, true);
}

LAB_EACH(nexthop, the_length_counts_with_one_that_is_kept_too, 0)
{
	struct lab_result got;
	struct lab_packet sent = with_kept_hop(lab, &got);

	(void)k;
	sent = lab_flags(sent, TH_ACK_, 1001, 5001);
	sent.payload = 1300;
	got = lab_ingress(lab, &sent);
	CHECK(is_sent(&got));
	sent.payload = 1400;
	CHECK_EQ(lab_ingress(lab, &sent).verdict, LAB_PASS);
}

/* ---- external gates ------------------------------------------------------------------------- */

LAB_EACH(redirect, an_answer_at_an_external_gate_comes_from_where_the_backend_is, 0)
{
	for (int redirect = 0; redirect < 2; redirect++) {
		struct lab_packet sent = from_gate(lab), answer;
		struct lab_result got;

		(void)k;
		lab_settings(lab)->flags =
			SHUNT_S_ANSWERS | SHUNT_S_EXTERNAL | (redirect ? SHUNT_S_REDIRECT : 0);
		gate(lab, if_nametoindex("pod0"), SHUNT_GATE_EXTERNAL, false);
		sent.sport = (uint16_t)(5000 + redirect);
		got = lab_ingress(lab, &sent);
		CHECK_EQ(is_sent(&got), redirect);
		answer = lab_answer(&got.packet);
		lab->gate = if_nametoindex("pod0");
		got = lab_ingress(lab, &answer);
		CHECK_REASON(got.reason, SHUNT_R_SPOOFED);
		CHECK_EQ(got.verdict, LAB_DROP);
		lab->gate = lab->gates[1];
		gate(lab, lab->gates[1], SHUNT_GATE_EXTERNAL | SHUNT_GATE_XMIT, false);
		got = lab_ingress(lab, &answer);
		CHECK_REASON(got.reason, redirect ? SHUNT_R_RESTORED : SHUNT_R_NO_SERVICE);
		lab->gate = lab->gates[0];
	}
}
