// SPDX-License-Identifier: Apache-2.0
/* Room in the table, colliding replies, direct connections, and packets at a second gate. */
#include "lab.h"

#include "datapath/flowmem.h"
#include "shunt/choose.h"

TestSuite(newflow, .timeout = 60);

/* ---- floods and full sets -----------------------------------------------------------------------
 */

static uint32_t set_of(struct lab *lab, const struct lab_packet *packet)
{
	const struct shunt_settings *settings = lab_settings(lab);

	return (uint32_t)shunt_table_hash(settings->table_key, &packet->src, &packet->dst,
					  htons(packet->sport), htons(packet->dport), packet->proto,
					  packet->family) &
	       settings->flow_set_mask;
}

/* The next client, after *@client, whose flow belongs into set @set. */
static struct lab_packet next_of_set(struct lab *lab, uint32_t set, uint32_t *client)
{
	struct lab_packet packet;

	do
		packet = lab_from_client(lab, ++*client, 4000, 1);
	while (set_of(lab, &packet) != set);
	return packet;
}

static uint32_t half_open(const struct lab *lab)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < lab->maps.flows.n; i++) {
		uint32_t state =
			SHUNT_LIFE_STATE(SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, i)->life);

		n += shunt_ft_is_half_open(state);
	}
	return n;
}

/* Also where there is room to spare: the next connection is to find some. */
LAB_EACH(newflow, a_flood_of_first_packets_displaces_only_its_like, 0)
{
	struct lab_packet connected[SHUNT_FLOW_WAYS - SHUNT_HALF_OPEN_WAYS], packet;

	for (uint32_t n = 0; n <= ARRAY_LEN(connected); n += 6) {
		uint32_t client = 0;

		lab_reset(lab, k);
		lab_scene(lab, 1, 1);
		for (uint32_t i = 0; i < n; i++) {
			connected[i] = next_of_set(lab, 3, &client);
			lab_connect(lab, &connected[i]);
		}
		for (int i = 0; i < 300; i++) {
			packet = next_of_set(lab, 3, &client);
			CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
		}
		for (uint32_t i = 0; i < n; i++)
			CHECK_EQ(lab_state(lab, &connected[i]),
				 k->proto == IPPROTO_TCP ? SHUNT_F_ESTABLISHED : SHUNT_F_UDP);
		CHECK_EQ(half_open(lab), SHUNT_HALF_OPEN_WAYS);
		CHECK_EQ(lab_active(lab, 1), n + SHUNT_HALF_OPEN_WAYS);
		CHECK_EQ(lab_replies_in_use(lab), n + SHUNT_HALF_OPEN_WAYS);
	}
}

/* So a handshake has as long as its set takes for that many new flows. */
LAB_EACH(newflow, of_half_open_flows_the_oldest_makes_room, 0)
{
	static const uint32_t ages[SHUNT_HALF_OPEN_WAYS] = { 10, 40, 30, 20 };
	struct lab_packet packets[SHUNT_HALF_OPEN_WAYS], packet;
	uint32_t client = 0;

	(void)k;
	lab_scene(lab, 1, 1);
	for (uint32_t i = 0; i < SHUNT_HALF_OPEN_WAYS; i++) {
		packets[i] = next_of_set(lab, 3, &client);
		lab_ingress(lab, &packets[i]);
		lab_flow(lab, &packets[i])->created_jiffies -= ages[i];
	}
	for (uint32_t gone = 1; gone < SHUNT_HALF_OPEN_WAYS; gone++) {
		packet = next_of_set(lab, 3, &client);
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
		CHECK(lab_flow(lab, &packet));
		CHECK(lab_flow(lab, &packets[0]));
		for (uint32_t i = 1; i < SHUNT_HALF_OPEN_WAYS; i++)
			CHECK_EQ(lab_flow(lab, &packets[i]) != NULL, i > gone);
	}
}

/* Fills a set with living flows. Return: the last client that is in it. */
static uint32_t fill_set(struct lab *lab, uint32_t set, struct lab_packet *first)
{
	uint32_t client = 0;

	for (int i = 0; i < SHUNT_FLOW_WAYS; i++) {
		struct lab_packet packet = next_of_set(lab, set, &client);

		lab_connect(lab, &packet);
		if (!i)
			*first = packet;
	}
	return client;
}

LAB_EACH(newflow, a_set_full_of_established_flows_rejects_the_next, LAB_ONLY_TCP)
{
	struct lab_packet first, packet;
	struct lab_result result;
	uint32_t client;

	(void)k;
	lab_scene(lab, 1, 1);
	client = fill_set(lab, 5, &first);
	packet = next_of_set(lab, 5, &client);
	result = lab_ingress(lab, &packet);
	CHECK_REASON(result.reason, SHUNT_R_TABLE_FULL);
	CHECK_EQ(result.verdict, LAB_BOUNCE);
	CHECK_EQ(lab_flows_in_use(lab), SHUNT_FLOW_WAYS);
	CHECK_EQ(lab_active(lab, 1), SHUNT_FLOW_WAYS);
	CHECK_EQ(lab_variant_counters(lab, 1).rejects, 1);

	packet = next_of_set(lab, 6, &client); /* other sets are not concerned */
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
}

LAB_EACH(newflow, closed_and_expired_flows_make_room_in_a_full_set, 0)
{
	struct lab_packet first, packet;
	uint32_t client;

	lab_scene(lab, 1, 1);
	client = fill_set(lab, 5, &first);
	if (k->proto == IPPROTO_TCP) {
		packet = lab_flags(first, TH_RST_, 1001, 0);
		lab_ingress(lab, &packet);
	} else {
		lab_settings(lab)->timeout_jiffies[SHUNT_T_UDP] = 50000;
		lab_flow(lab, &first)->seen_jiffies -= 50000;
	}
	packet = next_of_set(lab, 5, &client);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_state(lab, &first), SHUNT_F_FREE);
	CHECK_EQ(lab_active(lab, 1), SHUNT_FLOW_WAYS);
	CHECK_EQ(lab_replies_in_use(lab), SHUNT_FLOW_WAYS);
}

LAB_EACH(newflow, a_half_open_flow_makes_room_in_a_full_set, 0)
{
	uint32_t client = 0;
	struct lab_packet packet, displaced;

	(void)k;
	lab_scene(lab, 1, 1);
	displaced = next_of_set(lab, 5, &client);
	lab_ingress(lab, &displaced);
	for (int i = 1; i < SHUNT_FLOW_WAYS; i++) {
		packet = next_of_set(lab, 5, &client);
		lab_connect(lab, &packet);
	}
	packet = next_of_set(lab, 5, &client);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_state(lab, &displaced), SHUNT_F_FREE);
	CHECK_EQ(lab_flows_in_use(lab), SHUNT_FLOW_WAYS);
}

/* As another CPU sees it that comes between the two steps of a promotion. */
LAB_EACH(newflow, an_established_flow_that_still_bears_the_mark_is_not_displaced, LAB_ONLY_TCP)
{
	struct lab_packet first, packet;
	uint32_t client;

	(void)k;
	lab_scene(lab, 1, 1);
	client = fill_set(lab, 5, &first);
	for (int w = 0; w < SHUNT_FLOW_WAYS; w++)
		SHUNT_DP_AT(lab->maps.flow_sets, struct shunt_flow_set, 5)->tag[w] |= 1;
	packet = next_of_set(lab, 5, &client);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_TABLE_FULL);
	CHECK_EQ(lab_active(lab, 1), SHUNT_FLOW_WAYS);
}

/* ---- colliding replies
 * ----------------------------------------------------------------------------- */

/* Service 2 at frontend 2, with the backends of service 1. */
static void second_frontend(struct lab *lab)
{
	lab_scene(lab, 1, 1);
	lab_frontend(lab, lab_frontend_addr(lab->kind->family, 2), LAB_PORT, 1, 1, 0);
}

/* Sends @packet and its answer; checks that the answer comes back as the client wants it. */
static struct lab_result there_and_back(struct lab *lab, const struct lab_packet *packet,
					enum shunt_reason there, enum shunt_reason back)
{
	struct lab_result result = lab_ingress(lab, packet), restored;
	struct lab_packet answer, want;

	CHECK_REASON(result.reason, there);
	CHECK_EQ(result.verdict, LAB_PASS);
	CHECK(result.sums_right);
	answer = lab_answer(&result.packet);
	restored = lab_egress(lab, &answer);
	CHECK_REASON(restored.reason, back);
	want = answer;
	want.src = packet->dst;
	want.sport = packet->dport;
	want.dst = packet->src;
	want.dport = packet->sport;
	lab_check_packet(&restored, &want);
	return result;
}

LAB_EACH(newflow, one_client_port_to_one_backend_over_two_frontends_gets_two_source_ports, 0)
{
	struct lab_packet one, two;
	struct lab_result first, second;

	(void)k;
	second_frontend(lab);
	one = lab_from_client(lab, 1, 4000, 1);
	two = lab_from_client(lab, 1, 4000, 2);
	first = there_and_back(lab, &one, SHUNT_R_FORWARDED, SHUNT_R_RESTORED);
	second = there_and_back(lab, &two, SHUNT_R_FORWARDED, SHUNT_R_RESTORED);
	CHECK_EQ(first.packet.sport, 4000);
	CHECK(second.packet.sport >= 61000);
	CHECK_EQ(lab_backend_of(lab, &second.packet.dst), 1);
	CHECK_EQ(lab_flow(lab, &two)->flags, SHUNT_FLOW_SOURCE_NAT);
	CHECK_EQ(ntohs(lab_flow(lab, &two)->source_port_be), second.packet.sport);

	/* Later packets of both go the same ways. */
	first = lab_ingress(lab, &one);
	CHECK_EQ(first.packet.sport, 4000);
	CHECK_EQ(lab_ingress(lab, &two).packet.sport, second.packet.sport);
	there_and_back(lab, &one, SHUNT_R_FORWARDED, SHUNT_R_RESTORED);
	there_and_back(lab, &two, SHUNT_R_FORWARDED, SHUNT_R_RESTORED);
	CHECK_EQ(lab_active(lab, 1), 2);
}

LAB_EACH(newflow, when_no_source_port_is_free_the_flow_is_rejected, 0)
{
	struct lab_packet packet;
	uint32_t forwarded = 0;

	lab_scene(lab, 1, 1);
	lab_settings(lab)->nat_port_first = 61000;
	lab_settings(lab)->nat_port_count = 1;
	for (uint32_t frontend = 2; frontend < 6; frontend++) {
		struct lab_result result;

		lab_frontend(lab, lab_frontend_addr(k->family, frontend), LAB_PORT, 1, 1, 0);
		packet = lab_from_client(lab, 1, 4000, frontend);
		result = lab_ingress(lab, &packet);
		if (result.reason == SHUNT_R_FORWARDED) {
			forwarded++;
			continue;
		}
		CHECK_REASON(result.reason, SHUNT_R_NO_PORT);
		CHECK_EQ(result.verdict, LAB_BOUNCE);
	}
	CHECK_EQ(forwarded, 2);
	CHECK_EQ(lab_flows_in_use(lab), 2);
	CHECK_EQ(lab_replies_in_use(lab), 2);
	CHECK_EQ(lab_active(lab, 1), 2);
}

/* ---- direct connections
 * ------------------------------------------------------------------------------ */

static struct lab_packet to_backend(struct lab *lab, uint32_t client, uint16_t port)
{
	struct lab_packet packet = lab_from_client(lab, client, port, 1);

	packet.dst = lab_backend_addr(lab->kind->family, 1);
	packet.dport = LAB_BACKEND_PORT;
	return packet;
}

static void check_direct(struct lab *lab, const struct lab_packet *packet)
{
	struct lab_frame frame;
	struct lab_result result;

	packet_build(packet, &frame);
	result = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&result, &frame, SHUNT_R_DIRECT);
}

LAB_EACH(newflow, a_direct_connection_to_a_backend_leaves_a_marker_and_nothing_else, 0)
{
	struct lab_packet direct, answer;
	struct lab_result back;
	struct lab_frame frame;

	(void)k;
	lab_scene(lab, 1, 1);
	direct = to_backend(lab, 1, 4000);
	check_direct(lab, &direct);
	check_direct(lab, &direct);
	answer = lab_answer(&direct);
	packet_build(&answer, &frame);
	back = lab_egress_frame(lab, &frame);
	lab_check_untouched(&back, &frame, SHUNT_R_DIRECT);
	CHECK_EQ(lab_flow(lab, &direct)->flags, SHUNT_FLOW_DIRECT);
	CHECK_EQ(lab_active(lab, 1), 0);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_in, 0);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_out, 0);
}

LAB_EACH(newflow, a_direct_connection_in_mid_stream_is_left_alone, LAB_ONLY_TCP)
{
	struct lab_packet direct;

	(void)k;
	lab_scene(lab, 1, 1);
	direct = lab_flags(to_backend(lab, 1, 4000), TH_ACK_, 7, 8);
	check_direct(lab, &direct);
	CHECK_EQ(lab_flows_in_use(lab), 0);
}

LAB_EACH(newflow, without_room_for_its_marker_a_direct_connection_goes_on, 0)
{
	struct lab_packet direct, packet;
	uint32_t client = 0, set;

	(void)k;
	lab_scene(lab, 1, 1);
	direct = to_backend(lab, 9999, 4000);
	set = set_of(lab, &direct);
	for (int i = 0; i < SHUNT_FLOW_WAYS; i++) {
		packet = next_of_set(lab, set, &client);
		lab_connect(lab, &packet);
	}
	check_direct(lab, &direct);
	CHECK_EQ(lab_flows_in_use(lab), SHUNT_FLOW_WAYS);
}

LAB_EACH(newflow, a_service_flow_after_a_direct_one_of_its_client_port_is_translated, 0)
{
	struct lab_packet direct, service, answer;
	struct lab_result result;
	struct lab_frame frame;

	(void)k;
	lab_scene(lab, 1, 1);
	direct = to_backend(lab, 1, 4000);
	check_direct(lab, &direct);
	service = lab_from_client(lab, 1, 4000, 1);
	result = there_and_back(lab, &service, SHUNT_R_FORWARDED, SHUNT_R_RESTORED);
	CHECK(result.packet.sport >= 61000);

	check_direct(lab, &direct);
	answer = lab_answer(&direct);
	packet_build(&answer, &frame);
	result = lab_egress_frame(lab, &frame);
	lab_check_untouched(&result, &frame, SHUNT_R_DIRECT);
}

LAB_EACH(newflow, a_direct_connection_after_a_service_flow_of_its_client_port_is_translated, 0)
{
	struct lab_packet direct, service;
	struct lab_result result;

	(void)k;
	lab_scene(lab, 1, 1);
	service = lab_from_client(lab, 1, 4000, 1);
	result = there_and_back(lab, &service, SHUNT_R_FORWARDED, SHUNT_R_RESTORED);
	CHECK_EQ(result.packet.sport, 4000);

	direct = to_backend(lab, 1, 4000);
	result = there_and_back(lab, &direct, SHUNT_R_DIRECT, SHUNT_R_DIRECT);
	CHECK(result.packet.sport >= 61000);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 1);
	CHECK_EQ(lab_flow(lab, &direct)->flags,
		 SHUNT_FLOW_DIRECT | SHUNT_FLOW_SOURCE_NAT | SHUNT_FLOW_GATE_BOUND);

	there_and_back(lab, &service, SHUNT_R_FORWARDED, SHUNT_R_RESTORED);
	there_and_back(lab, &direct, SHUNT_R_DIRECT, SHUNT_R_DIRECT);
	CHECK_EQ(lab_active(lab, 1), 1);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
}

/* ---- a second gate
 * --------------------------------------------------------------------------------------- */

/* Sends what @result let through to gate 2: it must see that somebody was here already. */
static void check_already(struct lab *lab, const struct lab_result *result)
{
	struct lab_result again;

	lab->gate = lab->gates[1];
	again = lab_ingress_frame(lab, &result->frame);
	lab_check_untouched(&again, &result->frame, SHUNT_R_ALREADY);
	lab->gate = lab->gates[0];
}

LAB_EACH(newflow, a_translated_packet_is_not_looked_up_at_the_next_gate, 0)
{
	struct lab_packet packet, more;
	struct lab_result result;

	(void)k;
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	result = lab_ingress(lab, &packet);
	check_already(lab, &result);
	more = lab_answer(&result.packet);
	lab_egress(lab, &more);
	more = lab_flags(packet, TH_ACK_, 1001, 5001);
	result = lab_ingress(lab, &more);
	check_already(lab, &result);
	CHECK_EQ(lab_flows_in_use(lab), 1);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_in, 2);
}

LAB_EACH(newflow, a_translated_packet_is_left_alone_also_where_its_backend_is_a_frontend, 0)
{
	struct lab_packet packet;
	struct lab_result result;

	lab_scene(lab, 1, 1);
	lab_service(lab, 2, 1);
	lab_variant(lab, 2, 0, 2);
	lab_ring(lab, 2, 0, 2, 1, 1);
	lab_backend(lab, 2, 2);
	lab_frontend(lab, lab_backend_addr(k->family, 1), LAB_BACKEND_PORT, 2, 2, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	result = lab_ingress(lab, &packet);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 1);
	check_already(lab, &result);

	/* A client's own packet to that frontend is translated. */
	packet = to_backend(lab, 2, 4000);
	result = lab_ingress(lab, &packet);
	CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 2);
}

LAB_EACH(newflow, a_translated_packet_is_known_beside_a_direct_flow_of_its_client_port, 0)
{
	struct lab_packet service, direct;
	struct lab_result result;

	(void)k;
	lab_scene(lab, 1, 1);
	service = lab_from_client(lab, 1, 4000, 1);
	lab_ingress(lab, &service);
	direct = to_backend(lab, 1, 4000);
	result = lab_ingress(lab, &direct);
	CHECK_REASON(result.reason, SHUNT_R_DIRECT);
	check_already(lab, &result);
	/* Its bytes are those of the direct flow's client; the gate tells them apart. */
	result = lab_ingress(lab, &service);
	check_already(lab, &result);
	/* And with a translated service flow after a direct one. */
	lab_reset(lab, k);
	lab_scene(lab, 1, 1);
	lab_ingress(lab, &direct);
	result = lab_ingress(lab, &service);
	CHECK(result.packet.sport >= 61000);
	check_already(lab, &result);
}

LAB_EACH(newflow, a_flow_goes_on_when_its_packets_come_in_by_another_gate, 0)
{
	struct lab_packet packet;

	(void)k;
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &packet);
	lab->gate = lab->gates[1];
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_flows_in_use(lab), 1);
}
