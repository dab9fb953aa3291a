// SPDX-License-Identifier: Apache-2.0
/* UDP has no handshake: who may stay in the table, and whom a flood displaces. */
#include "lab.h"

#include "datapath/flowmem.h"

TestSuite(udp, .timeout = 60);

/* All flows stand in one set. */
static void one_set(struct lab *lab)
{
	lab_scene(lab, 1, 1);
	lab_settings(lab)->flow_set_mask = 0;
}

static struct lab_result send_from(struct lab *lab, uint32_t client)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

	return lab_ingress(lab, &packet);
}

static void answer_to(struct lab *lab, const struct lab_packet *at_backend)
{
	struct lab_packet answer = lab_answer(at_backend);

	CHECK_REASON(lab_egress(lab, &answer).reason, SHUNT_R_RESTORED);
}

static uint32_t state_of(struct lab *lab, uint32_t client)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

	return lab_state(lab, &packet);
}

static void connect_from(struct lab *lab, uint32_t client)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

	lab_connect(lab, &packet);
}

static struct shunt_flow *flow_of(struct lab *lab, uint32_t client)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

	return lab_flow(lab, &packet);
}

LAB_EACH(udp, a_flood_of_answered_datagrams_displaces_only_its_like, LAB_ONLY_UDP)
{
	(void)k;
	one_set(lab);
	for (uint32_t client = 1; client <= 8; client++)
		connect_from(lab, client);
	for (uint32_t client = 100; client < 300; client++) {
		struct lab_result there = send_from(lab, client);

		CHECK_REASON(there.reason, SHUNT_R_FORWARDED);
		answer_to(lab, &there.packet);
	}
	for (uint32_t client = 1; client <= 8; client++)
		CHECK_EQ(state_of(lab, client), SHUNT_F_UDP);
	CHECK_EQ(lab_flows_in_use(lab), 8 + SHUNT_HALF_OPEN_WAYS);
	CHECK_EQ(lab_active(lab, 1), 8 + SHUNT_HALF_OPEN_WAYS);
}

LAB_EACH(udp, the_longest_idle_flow_makes_room_in_a_full_set, LAB_ONLY_UDP)
{
	(void)k;
	one_set(lab);
	for (uint32_t client = 1; client <= SHUNT_FLOW_WAYS; client++)
		connect_from(lab, client);
	flow_of(lab, 5)->seen_jiffies -= 7000;
	flow_of(lab, 9)->seen_jiffies -= 9000;
	flow_of(lab, 12)->seen_jiffies -= 8000;
	CHECK_REASON(send_from(lab, 50).reason, SHUNT_R_FORWARDED);
	for (uint32_t client = 1; client <= SHUNT_FLOW_WAYS; client++)
		CHECK_EQ(state_of(lab, client), client == 9 ? SHUNT_F_FREE : SHUNT_F_UDP);
	CHECK_EQ(lab_active(lab, 1), SHUNT_FLOW_WAYS);
	CHECK_EQ(lab_replies_in_use(lab), SHUNT_FLOW_WAYS);
	CHECK_EQ(lab_reason(lab, SHUNT_R_TABLE_FULL), 0);
}

LAB_EACH(udp, clients_that_are_never_answered_do_not_displace_one_another, LAB_ONLY_UDP)
{
	uint64_t made;

	(void)k;
	one_set(lab);
	for (uint32_t client = 1; client <= SHUNT_FLOW_WAYS; client++) {
		send_from(lab, client);
		flow_of(lab, client)->created_jiffies -= LAB_LONG / 32;
		send_from(lab, client);
		CHECK_EQ(state_of(lab, client), SHUNT_F_UDP_NEW);
		flow_of(lab, client)->created_jiffies -= LAB_LONG / 32;
		send_from(lab, client);
		CHECK_EQ(state_of(lab, client), SHUNT_F_UDP_ONEWAY);
	}
	made = lab_backend_counters(lab, 1).connections;
	CHECK_EQ(made, SHUNT_FLOW_WAYS);
	for (uint32_t client = 1; client <= SHUNT_FLOW_WAYS; client++)
		send_from(lab, client);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, made);
}

LAB_EACH(udp, a_late_answer_to_one_that_went_on_alone_is_enough, LAB_ONLY_UDP)
{
	struct lab_result there;

	(void)k;
	one_set(lab);
	send_from(lab, 1);
	flow_of(lab, 1)->created_jiffies -= LAB_LONG / 16;
	there = send_from(lab, 1);
	answer_to(lab, &there.packet);
	CHECK_EQ(state_of(lab, 1), SHUNT_F_UDP);
	CHECK_EQ(lab_active(lab, 1), 1);
}

LAB_EACH(udp, a_flow_without_answers_chooses_anew_as_soon_as_its_backend_gets_nothing_new,
	 LAB_ONLY_UDP)
{
	struct lab_result there;

	(void)k;
	one_set(lab);
	send_from(lab, 1);
	flow_of(lab, 1)->created_jiffies -= LAB_LONG / 16;
	send_from(lab, 1);
	lab_backend(lab, 2, 1);
	*SHUNT_DP_AT(lab->maps.members, uint32_t, 0) = 2;
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1)->flags = SHUNT_BE_NO_NEW;
	there = send_from(lab, 1);
	CHECK_REASON(there.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_of(lab, &there.packet.dst), 2);
	CHECK_EQ(lab_active(lab, 1), 0);
	CHECK_EQ(lab_active(lab, 2), 1);
}
