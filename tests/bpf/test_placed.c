// SPDX-License-Identifier: Apache-2.0
/* Flows without an entry: mid-stream packets to owned frontends, and a table without room. */
#include "lab.h"

#include "datapath/flowmem.h"

TestSuite(placed, .timeout = 60);

static void owned_scene(struct lab *lab)
{
	lab_scene(lab, 1, 3);
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
}

static struct lab_packet mid_stream(struct lab *lab, uint32_t client)
{
	return lab_flags(lab_from_client(lab, client, 4000, 1), TH_ACK_ | TH_PSH_, 1001, 5001);
}

/* The answer that client @client gets is from the frontend that it addressed. */
static void check_restored(const struct lab_result *got, const struct lab_packet *sent)
{
	CHECK_REASON(got->reason, SHUNT_R_RESTORED);
	CHECK(got->sums_right);
	CHECK(!memcmp(&got->packet.src, &sent->dst, sizeof(sent->dst)));
	CHECK(!memcmp(&got->packet.dst, &sent->src, sizeof(sent->src)));
	CHECK_EQ(got->packet.sport, sent->dport);
	CHECK_EQ(got->packet.dport, sent->sport);
}

static struct lab_result answered(struct lab *lab, const struct lab_packet *at_backend,
				  uint8_t flags)
{
	struct lab_packet answer = lab_flags(lab_answer(at_backend), flags, 5001, 1001);

	return lab_egress(lab, &answer);
}

LAB_EACH(placed, a_mid_stream_packet_goes_where_its_flow_would_begin, LAB_ONLY_TCP)
{
	owned_scene(lab);
	for (uint32_t client = 1; client < 20; client++) {
		struct lab_packet packet = mid_stream(lab, client), first;
		struct lab_result there = lab_ingress(lab, &packet), begun;

		(void)k;
		CHECK_REASON(there.reason, SHUNT_R_REPLACED);
		CHECK(there.sums_right);
		CHECK_EQ(lab_flows_in_use(lab), client - 1);
		first = lab_from_client(lab, client, 4000, 1);
		begun = lab_ingress(lab, &first);
		CHECK(!memcmp(&there.packet.dst, &begun.packet.dst, sizeof(begun.packet.dst)));
		CHECK_EQ(there.packet.sport, 4000);
	}
}

LAB_EACH(placed, it_gets_an_entry_when_the_backend_acknowledges_it, LAB_ONLY_TCP)
{
	struct lab_packet packet;
	struct lab_result there, back;
	uint32_t backend;

	(void)k;
	owned_scene(lab);
	packet = mid_stream(lab, 1);
	there = lab_ingress(lab, &packet);
	backend = lab_backend_of(lab, &there.packet.dst);
	CHECK_EQ(lab_active(lab, backend), 0);
	back = answered(lab, &there.packet, TH_ACK_);
	check_restored(&back, &packet);
	CHECK_EQ(lab_state(lab, &packet), SHUNT_F_ESTABLISHED);
	CHECK_EQ(lab_active(lab, backend), 1);
	CHECK_EQ(lab_flows_in_use(lab), 1);
	CHECK_EQ(lab_replies_in_use(lab), 1);
	/* Nobody connected here. */
	CHECK_EQ(lab_backend_counters(lab, backend).connections, 0);
	CHECK_EQ(lab_backend_counters(lab, backend).packets_out, 1);

	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	back = answered(lab, &there.packet, TH_ACK_);
	check_restored(&back, &packet);
	/* No flood displaces it. */
	CHECK_EQ(SHUNT_DP_AT(lab->maps.flow_sets, struct shunt_flow_set,
			     (uint32_t)(lab_flow(lab, &packet) -
					SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, 0)) /
				     SHUNT_FLOW_WAYS)
				 ->tag[(lab_flow(lab, &packet) -
					SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, 0)) %
				       SHUNT_FLOW_WAYS] &
			 SHUNT_FT_HALF_OPEN,
		 0);
}

LAB_EACH(placed, a_backend_that_does_not_know_it_resets_it_and_nothing_is_kept, LAB_ONLY_TCP)
{
	static const uint8_t flags[] = { TH_RST_, TH_RST_ | TH_ACK_, TH_SYN_ | TH_ACK_,
					 TH_FIN_ | TH_ACK_ };

	(void)k;
	owned_scene(lab);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		struct lab_packet packet = mid_stream(lab, 1);
		struct lab_result there = lab_ingress(lab, &packet), back;

		back = answered(lab, &there.packet, flags[i]);
		check_restored(&back, &packet);
		CHECK_EQ(lab_flows_in_use(lab), 0);
		CHECK_EQ(lab_replies_in_use(lab), 0);
	}
}

LAB_EACH(placed, forged_acknowledgements_make_no_entries_and_displace_none, LAB_ONLY_TCP)
{
	struct lab_packet held[SHUNT_FLOW_WAYS * 4];

	(void)k;
	owned_scene(lab);
	for (uint32_t i = 0; i < ARRAY_LEN(held); i++) {
		held[i] = lab_from_client(lab, i + 1, 4000, 1);
		lab_connect(lab, &held[i]);
	}
	for (uint32_t client = 1000; client < 2000; client++) {
		struct lab_packet packet = mid_stream(lab, client);
		struct lab_result there = lab_ingress(lab, &packet);

		CHECK_REASON(there.reason, SHUNT_R_REPLACED);
		answered(lab, &there.packet, TH_RST_);
	}
	CHECK_EQ(lab_flows_in_use(lab), ARRAY_LEN(held));
	CHECK_EQ(lab_replies_in_use(lab), ARRAY_LEN(held));
	for (uint32_t i = 0; i < ARRAY_LEN(held); i++)
		CHECK_EQ(lab_state(lab, &held[i]), SHUNT_F_ESTABLISHED);
}

/* Backends that acknowledge what a client with its share has sent: others keep their ways. */
LAB_EACH(placed, a_client_that_has_its_share_displaces_nobody, LAB_ONLY_TCP)
{
	struct lab_packet packet;
	uint32_t others;

	(void)k;
	owned_scene(lab);
	packet = lab_from_client(lab, 1, 1, 1);
	lab_connect(lab, &packet);
	lab_settings(lab)->client_limit = 1;
	for (uint32_t client = 2; client < 500; client++) {
		packet = lab_from_client(lab, client, 1, 1);
		lab_ingress(lab, &packet);
	}
	others = lab_flows_in_use(lab);
	for (uint16_t port = 100; port < 1100; port++) {
		struct lab_result there;

		packet = lab_flags(lab_from_client(lab, 1, port, 1), TH_ACK_, 1001, 5001);
		there = lab_ingress(lab, &packet);
		CHECK_REASON(there.reason, SHUNT_R_REPLACED);
		answered(lab, &there.packet, TH_ACK_);
	}
	CHECK_EQ(lab_flows_in_use(lab), others);
}

LAB_EACH(placed, a_handshake_whose_entry_was_displaced_ends_well, LAB_ONLY_TCP)
{
	struct lab_packet packet, ack;
	struct lab_result there, back;

	(void)k;
	owned_scene(lab);
	packet = lab_from_client(lab, 1, 4000, 1);
	there = lab_ingress(lab, &packet);
	answered(lab, &there.packet, TH_SYN_ | TH_ACK_);
	for (uint32_t i = 0; i < lab->maps.flows.n; i++)
		shunt_ft_make_room(&lab->maps, i, lab_jiffies(lab), SHUNT_FT_ROOM_HALF_OPEN);
	CHECK_EQ(lab_flows_in_use(lab), 0);
	ack = lab_flags(packet, TH_ACK_, 1001, 5001);
	CHECK_REASON(lab_ingress(lab, &ack).reason, SHUNT_R_REPLACED);
	back = answered(lab, &there.packet, TH_ACK_ | TH_PSH_); /* its greeting */
	check_restored(&back, &packet);
	CHECK_EQ(lab_state(lab, &packet), SHUNT_F_ESTABLISHED);
}

LAB_EACH(placed, a_note_is_not_made_where_another_flow_has_its_answers, LAB_ONLY_TCP)
{
	struct lab_packet direct, packet;

	owned_scene(lab);
	for (uint32_t client = 1; client < 10; client++) {
		for (uint32_t backend = 1; backend <= 3; backend++) {
			direct = lab_from_client(lab, client, 4000, 1);
			direct.dst = lab_backend_addr(k->family, backend);
			direct.dport = LAB_BACKEND_PORT;
			CHECK_REASON(lab_ingress(lab, &direct).reason, SHUNT_R_DIRECT);
		}
		packet = mid_stream(lab, client);
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_MIDSTREAM_OWNED);
	}
}

LAB_EACH(placed, an_answer_to_nothing_and_one_that_comes_too_late_are_left_alone, LAB_ONLY_TCP)
{
	struct lab_packet packet, other;
	struct lab_result there;

	(void)k;
	owned_scene(lab);
	packet = mid_stream(lab, 1);
	there = lab_ingress(lab, &packet);
	other = there.packet;
	other.sport = 4001;
	CHECK_REASON(answered(lab, &other, TH_ACK_).reason, SHUNT_R_NO_REPLY);
	lab_settings(lab)->timeout_jiffies[SHUNT_T_CLOSING] = 0;
	CHECK_REASON(answered(lab, &there.packet, TH_ACK_).reason, SHUNT_R_NO_REPLY);
	CHECK_EQ(lab_flows_in_use(lab), 0);
}

LAB_EACH(placed, a_packet_that_was_led_here_is_left_alone_at_the_next_gate, 0)
{
	struct lab_packet packet;
	struct lab_result there;

	owned_scene(lab);
	if (k->proto == IPPROTO_UDP) /* no room at all */
		lab_settings(lab)->flow_set_mask = ~0u;
	packet = k->proto == IPPROTO_TCP ? mid_stream(lab, 1) : lab_from_client(lab, 1, 4000, 1);
	there = lab_ingress(lab, &packet);
	CHECK_REASON(there.reason, k->proto == IPPROTO_TCP ? SHUNT_R_REPLACED : SHUNT_R_STATELESS);
	lab->gate = lab->gates[1];
	CHECK_REASON(lab_ingress(lab, &there.packet).reason, SHUNT_R_ALREADY);
	CHECK_EQ(lab_flows_in_use(lab), 0);
}

/* ---- no room ----------------------------------------------------------------------------------
 */

/* A set full of what nothing displaces: TCP's. */
static void fill(struct lab *lab)
{
	const struct lab_kind *kind = lab->kind;
	struct lab_kind tcp = *kind;

	lab_settings(lab)->flow_set_mask = 0;
	tcp.proto = IPPROTO_TCP;
	lab->kind = &tcp;
	lab_frontend(lab, lab_frontend_addr(kind->family, 1), LAB_PORT, 1, 1, 0);
	for (uint32_t client = 100; client < 100 + SHUNT_FLOW_WAYS; client++) {
		struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

		lab_connect(lab, &packet);
	}
	CHECK_EQ(lab_flows_in_use(lab), SHUNT_FLOW_WAYS);
	lab->kind = kind;
}

LAB_EACH(placed, a_connection_that_finds_no_room_is_led_without_an_entry, LAB_ONLY_TCP)
{
	struct lab_packet packet, ack;
	struct lab_result there, back;

	(void)k;
	owned_scene(lab);
	fill(lab);
	packet = lab_from_client(lab, 1, 4000, 1);
	there = lab_ingress(lab, &packet);
	CHECK_REASON(there.reason, SHUNT_R_STATELESS);
	back = answered(lab, &there.packet, TH_SYN_ | TH_ACK_);
	check_restored(&back, &packet);
	for (int i = 0; i < 3; i++) {
		struct lab_result again;

		ack = lab_flags(packet, TH_ACK_ | TH_PSH_, 1001, 5001);
		again = lab_ingress(lab, &ack);
		CHECK_REASON(again.reason, SHUNT_R_REPLACED);
		CHECK(!memcmp(&again.packet.dst, &there.packet.dst, sizeof(there.packet.dst)));
		back = answered(lab, &there.packet, TH_ACK_);
		check_restored(&back, &packet);
	}
	CHECK_EQ(lab_flows_in_use(lab), SHUNT_FLOW_WAYS);
	/* As soon as there is room it has an entry. */
	shunt_ft_remove(&lab->maps,
			SHUNT_FT_REF(0u, SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, 0)->life));
	back = answered(lab, &there.packet, TH_ACK_);
	check_restored(&back, &packet);
	CHECK_EQ(lab_state(lab, &packet), SHUNT_F_ESTABLISHED);
}

LAB_EACH(placed, on_a_shared_frontend_it_is_rejected, LAB_ONLY_TCP)
{
	struct lab_packet packet;

	(void)k;
	lab_scene(lab, 1, 3);
	fill(lab);
	packet = lab_from_client(lab, 1, 4000, 1);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_TABLE_FULL);
}
