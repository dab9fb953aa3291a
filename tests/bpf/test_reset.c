// SPDX-License-Identifier: Apache-2.0
/* A RST may be forged by anybody who guesses the ports: what it ends, and what it does not. */
#include "conversation.h"

#include "datapath/flowmem.h"

TestSuite(reset, .timeout = 60);

#define GRAIN 2500 /* jiffies: a quarter of the "second" for which a SYN stays with its flow */

static struct lab_result reset_by(struct lab *lab, const struct conversation *c, int by_client)
{
	return by_client ? from_client(lab, c, TH_RST_, 77, 0)
			 : from_backend(lab, c, TH_RST_ | TH_ACK_, 88, 99);
}

static struct lab_result sent_by(struct lab *lab, const struct conversation *c, int client,
				 uint8_t flags)
{
	return client ? from_client(lab, c, flags, 1001, 5001)
		      : from_backend(lab, c, flags, 5001, 1001);
}

/* A FIN that acknowledges the other side's. */
static void close_by(struct lab *lab, const struct conversation *c, int client)
{
	if (client)
		from_client(lab, c, TH_FIN_ | TH_ACK_, 1001, 5002);
	else
		from_backend(lab, c, TH_FIN_ | TH_ACK_, 5001, 1002);
}

static uint32_t reset_state(int by_client)
{
	return by_client ? SHUNT_F_RESET_BY_CLIENT : SHUNT_F_RESET_BY_BACKEND;
}

static void check_flow(struct lab *lab, const struct conversation *c, uint32_t state,
		       uint32_t active)
{
	CHECK_EQ(lab_state(lab, &c->client), state);
	CHECK_EQ(lab_active(lab, 1), active);
}

/* Backend 2 is what a new choice would give. */
static struct conversation established_with_another_choice(struct lab *lab)
{
	struct conversation c = established(lab);

	lab_backend(lab, 2, 1);
	*SHUNT_DP_AT(lab->maps.members, uint32_t, 0) = 2;
	lab_settings(lab)->seen_grain_jiffies = GRAIN;
	return c;
}

LAB_EACH(reset, a_packet_of_the_side_that_got_it_shows_that_it_was_forged, LAB_ONLY_TCP)
{
	for (int by_client = 0; by_client < 2; by_client++) {
		struct conversation c;

		lab_reset(lab, k);
		c = established(lab);
		for (int i = 0; i < 3; i++) {
			CHECK_REASON(reset_by(lab, &c, by_client).reason,
				     by_client ? SHUNT_R_FORWARDED : SHUNT_R_RESTORED);
			check_flow(lab, &c, reset_state(by_client), 0);
			CHECK_REASON(sent_by(lab, &c, !by_client, TH_ACK_).reason,
				     by_client ? SHUNT_R_RESTORED : SHUNT_R_FORWARDED);
			check_flow(lab, &c, SHUNT_F_ESTABLISHED, 1);
		}
		CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
	}
}

LAB_EACH(reset, data_of_the_other_side_goes_on_and_its_acknowledgement_shows_it, LAB_ONLY_TCP)
{
	for (int by_client = 0; by_client < 2; by_client++) {
		struct conversation c;

		lab_reset(lab, k);
		c = established(lab);
		reset_by(lab, &c, by_client);
		/* Alone it may have been overtaken by a true RST. */
		CHECK_REASON(sent_by(lab, &c, by_client, TH_ACK_ | TH_PSH_).reason,
			     by_client ? SHUNT_R_FORWARDED : SHUNT_R_RESTORED);
		check_flow(lab, &c, reset_state(by_client), 0);
		sent_by(lab, &c, !by_client, TH_ACK_);
		check_flow(lab, &c, SHUNT_F_ESTABLISHED, 1);
	}
}

LAB_EACH(reset, a_true_one_ends_the_flow_after_packets_that_crossed_it, LAB_ONLY_TCP)
{
	for (int by_client = 0; by_client < 2; by_client++) {
		struct conversation c;
		struct shunt_flow *flow;
		uint32_t now;

		lab_reset(lab, k);
		c = established(lab);
		lab_settings(lab)->timeout_jiffies[SHUNT_T_CLOSING] = 5000;
		reset_by(lab, &c, by_client);
		sent_by(lab, &c, !by_client, TH_ACK_ | TH_PSH_);
		reset_by(lab, &c, by_client);
		check_flow(lab, &c, reset_state(by_client), 0);
		/* Nothing of these changes it: RSTs of either side, what a dead side repeats. */
		reset_by(lab, &c, by_client);
		reset_by(lab, &c, !by_client);
		sent_by(lab, &c, by_client, TH_FIN_ | TH_ACK_);
		check_flow(lab, &c, reset_state(by_client), 0);

		flow = lab_flow(lab, &c.client);
		now = flow->seen_jiffies;
		for (uint32_t i = 0; i < lab->maps.flows.n; i++)
			CHECK_EQ(shunt_ft_expire(&lab->maps, i, now + 4999), 0);
		for (uint32_t i = 0; i < lab->maps.flows.n; i++)
			shunt_ft_expire(&lab->maps, i, now + 5000);
		CHECK_EQ(lab_flows_in_use(lab), 0);
		CHECK_EQ(lab_active(lab, 1), 0);
	}
}

LAB_EACH(reset, half_a_close_goes_on_as_one, LAB_ONLY_TCP)
{
	for (int by_client = 0; by_client < 2; by_client++) {
		struct conversation c;

		lab_reset(lab, k);
		c = established(lab);
		sent_by(lab, &c, !by_client, TH_FIN_ | TH_ACK_);
		reset_by(lab, &c, by_client);
		check_flow(lab, &c, reset_state(by_client), 0);
		sent_by(lab, &c, !by_client, TH_FIN_ | TH_ACK_);
		check_flow(lab, &c, SHUNT_F_FIN_SEEN, 1);
		close_by(lab, &c, by_client);
		check_flow(lab, &c, by_client ? SHUNT_F_FIN_BACKEND : SHUNT_F_FIN_CLIENT, 1);
		close_by(lab, &c, !by_client);
		check_flow(lab, &c, SHUNT_F_CLOSED, 0);
	}
}

LAB_EACH(reset, the_ports_may_be_used_again_at_once, LAB_ONLY_TCP)
{
	for (int by_client = 0; by_client < 2; by_client++) {
		struct conversation c;
		struct lab_result result;

		lab_reset(lab, k);
		c = established_with_another_choice(lab);
		reset_by(lab, &c, by_client);
		result = from_client(lab, &c, TH_SYN_, 70000, 0);
		CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
		CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 1);
		from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001); /* a late one of the old */
		check_flow(lab, &c, reset_state(by_client), 0);
		from_backend(lab, &c, TH_SYN_ | TH_ACK_, 90000, 70001);
		check_flow(lab, &c, SHUNT_F_SYN_ACK, 1);
		from_client(lab, &c, TH_ACK_, 70001, 90001);
		check_flow(lab, &c, SHUNT_F_ESTABLISHED, 1);
	}
}

LAB_EACH(reset, a_forged_syn_behind_a_forged_reset_leads_nothing_astray, LAB_ONLY_TCP)
{
	struct conversation c = established_with_another_choice(lab);

	(void)k;
	reset_by(lab, &c, 1);
	from_client(lab, &c, TH_SYN_, 99, 0);
	from_backend(lab, &c, TH_ACK_, 5001, 1001); /* the challenge */
	check_flow(lab, &c, SHUNT_F_ESTABLISHED, 1);
	CHECK_EQ(lab_active(lab, 2), 0);
	CHECK_EQ(lab_flows_in_use(lab), 1);
}

LAB_EACH(reset, a_later_syn_is_a_new_connection_with_a_new_choice, LAB_ONLY_TCP)
{
	struct conversation c = established_with_another_choice(lab);
	struct lab_result result;

	(void)k;
	reset_by(lab, &c, 1);
	lab_flow(lab, &c.client)->seen_jiffies -= 4 * GRAIN;
	result = from_client(lab, &c, TH_SYN_, 70000, 0);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 2);
	check_flow(lab, &c, SHUNT_F_SYN, 0);
	CHECK_EQ(lab_active(lab, 2), 1);
	CHECK_EQ(lab_flows_in_use(lab), 1);
	CHECK_EQ(lab_replies_in_use(lab), 1);
}

LAB_EACH(reset, no_syn_goes_to_a_backend_that_may_get_nothing_new, LAB_ONLY_TCP)
{
	struct conversation c = established_with_another_choice(lab);
	struct lab_result result;

	(void)k;
	reset_by(lab, &c, 1);
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1)->flags = SHUNT_BE_NO_NEW;
	result = from_client(lab, &c, TH_SYN_, 70000, 0);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 2);
}

/* A new half-open flow of @client in a set that is full. */
static void crowd_in(struct lab *lab, uint32_t client)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
}

static uint32_t state_of(struct lab *lab, uint32_t client)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

	return lab_state(lab, &packet);
}

LAB_EACH(reset, in_a_full_set_its_flow_makes_room_after_closed_ones_before_half_open_ones,
	 LAB_ONLY_TCP)
{
	(void)k;
	lab_scene(lab, 1, 1);
	lab_settings(lab)->flow_set_mask = 0;
	for (uint32_t client = 1; client <= SHUNT_FLOW_WAYS; client++) {
		struct lab_packet packet = lab_from_client(lab, client, 4000, 1), end;

		packet = lab_connect(lab, &packet);
		if (client != 3 && client != 7)
			continue;
		end = lab_answer(&packet);
		end = lab_flags(end, client == 3 ? TH_RST_ : TH_FIN_ | TH_ACK_, 5001, 1001);
		lab_egress(lab, &end);
		if (client == 7) {
			packet = lab_from_client(lab, client, 4000, 1);
			packet = lab_flags(packet, TH_FIN_ | TH_ACK_, 1001, 5002);
			lab_ingress(lab, &packet);
			end = lab_flags(end, TH_ACK_, 5002, 1002);
			lab_egress(lab, &end);
		}
	}
	CHECK_EQ(state_of(lab, 3), SHUNT_F_RESET_BY_BACKEND);
	CHECK_EQ(state_of(lab, 7), SHUNT_F_CLOSED);
	crowd_in(lab, 17);
	CHECK_EQ(state_of(lab, 3), SHUNT_F_RESET_BY_BACKEND);
	CHECK_EQ(state_of(lab, 7), SHUNT_F_FREE);
	crowd_in(lab, 18);
	CHECK_EQ(state_of(lab, 3), SHUNT_F_FREE);
	CHECK_EQ(state_of(lab, 17), SHUNT_F_SYN);
	crowd_in(lab, 19);
	CHECK((state_of(lab, 17) == SHUNT_F_FREE) != (state_of(lab, 18) == SHUNT_F_FREE));
	CHECK_EQ(lab_active(lab, 1), SHUNT_FLOW_WAYS);
}

/* ---- forged FINs ------------------------------------------------------------------------------
 */

/* With numbers that nobody of the connection has used. */
static void forged_fin(struct lab *lab, const struct conversation *c, int by_client)
{
	if (by_client)
		from_client(lab, c, TH_FIN_ | TH_ACK_, 0x40000000, 0x80000001);
	else
		from_backend(lab, c, TH_FIN_ | TH_ACK_, 0x80000000, 0x40000001);
}

LAB_EACH(reset, a_forged_fin_changes_nothing_that_a_backend_does_not_acknowledge, LAB_ONLY_TCP)
{
	for (int by_client = 0; by_client < 2; by_client++) {
		struct conversation c;

		lab_reset(lab, k);
		c = established(lab);
		lab_settings(lab)->timeout_jiffies[SHUNT_T_CLOSING] = 1;
		forged_fin(lab, &c, by_client);
		sent_by(lab, &c, !by_client, TH_ACK_);
		sent_by(lab, &c, by_client, TH_ACK_);
		check_flow(lab, &c, SHUNT_F_FIN_SEEN, 1);
		/* It waits as long as an established one. */
		for (uint32_t i = 0; i < lab->maps.flows.n; i++)
			CHECK_EQ(shunt_ft_expire(&lab->maps, i, lab_jiffies(lab) + LAB_LONG / 2),
				 0);
		/* The true ones still close it. */
		close_by(lab, &c, by_client);
		close_by(lab, &c, !by_client);
		sent_by(lab, &c, by_client, TH_ACK_);
		close_by(lab, &c, by_client);
		check_flow(lab, &c, SHUNT_F_CLOSED, 0);
	}
}

LAB_EACH(reset, two_forged_fins_that_answer_each_other_end_nothing_that_goes_on, LAB_ONLY_TCP)
{
	for (int by_client = 0; by_client < 2; by_client++) {
		struct conversation c;

		lab_reset(lab, k);
		c = established(lab);
		forged_fin(lab, &c, 1);
		forged_fin(lab, &c, 0);
		forged_fin(lab, &c, 1);
		check_flow(lab, &c, SHUNT_F_CLOSED, 0);
		/* Either side's next packet acknowledges something else. */
		sent_by(lab, &c, by_client, TH_ACK_ | TH_PSH_);
		check_flow(lab, &c, SHUNT_F_ESTABLISHED, 1);
		CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
	}
}
