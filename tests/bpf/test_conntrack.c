// SPDX-License-Identifier: Apache-2.0
#include "conversation.h"

#include "datapath/flowmem.h"

TestSuite(conntrack, .timeout = 60);

static void age(struct lab *lab, const struct conversation *c, uint32_t jiffies)
{
	lab_flow(lab, &c->client)->seen_jiffies -= jiffies;
}

/* ---- half-open to established ------------------------------------------------------------------
 */

LAB_EACH(conntrack, a_new_flow_is_half_open_and_says_all_about_itself, 0)
{
	struct conversation c = begin(lab);
	const struct shunt_flow *flow = lab_flow(lab, &c.client);

	CHECK_EQ(lab_state(lab, &c.client),
		 k->proto == IPPROTO_TCP ? SHUNT_F_SYN : SHUNT_F_UDP_NEW);
	CHECK_EQ(flow->backend, 1);
	CHECK_EQ(flow->variant, 1);
	CHECK_EQ(flow->service, 1);
	CHECK_EQ(flow->gate_ifindex, lab->gate);
	CHECK_EQ(flow->flags, 0);
	CHECK_EQ(ntohs(flow->source_port_be), 4000);
	CHECK(lab_jiffies(lab) - flow->created_jiffies < 10000);
	CHECK_EQ(lab_active(lab, 1), 1);
	CHECK_EQ(lab_flows_in_use(lab), 1);
	CHECK_EQ(lab_replies_in_use(lab), 1);
}

LAB_EACH(conntrack, a_retransmitted_first_packet_is_the_same_flow, 0)
{
	struct conversation c = begin(lab);

	for (int i = 0; i < 5; i++)
		CHECK_REASON(lab_ingress(lab, &c.client).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_in, 6);
	CHECK_EQ(lab_active(lab, 1), 1);
	CHECK_EQ(lab_flows_in_use(lab), 1);
	(void)k;
}

LAB_EACH(conntrack, udp_is_established_when_the_client_goes_on_after_an_answer, LAB_ONLY_UDP)
{
	struct conversation c = begin(lab);

	(void)k;
	lab_ingress(lab, &c.client);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_UDP_NEW);
	lab_egress(lab, &c.answer);
	lab_egress(lab, &c.answer);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_UDP_ANSWERED);
	lab_ingress(lab, &c.client);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_UDP);
	lab_ingress(lab, &c.client);
	lab_egress(lab, &c.answer);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_UDP);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
}

/* ---- the end
 * -------------------------------------------------------------------------------------- */

LAB_EACH(conntrack, two_fins_close_and_the_count_is_given_back_once, LAB_ONLY_TCP)
{
	struct conversation c;

	for (int client_first = 0; client_first < 2; client_first++) {
		lab_reset(lab, k);
		c = established(lab);
		for (int i = 0; i < 2; i++) { /* each FIN once more: retransmitted */
			if (client_first)
				from_client(lab, &c, TH_FIN_ | TH_ACK_, 1001, 5001);
			else
				from_backend(lab, &c, TH_FIN_ | TH_ACK_, 5001, 1001);
			CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_FIN_SEEN);
		}
		for (int i = 0; i < 2; i++) {
			if (client_first)
				from_backend(lab, &c, TH_FIN_ | TH_ACK_, 5001, 1002);
			else
				from_client(lab, &c, TH_FIN_ | TH_ACK_, 1001, 5002);
			CHECK_EQ(lab_state(lab, &c.client),
				 client_first ? SHUNT_F_FIN_CLIENT : SHUNT_F_FIN_BACKEND);
		}
		CHECK_EQ(lab_active(lab, 1), 1);
		for (int i = 0; i < 2; i++) {
			CHECK_REASON(from_backend(lab, &c, TH_ACK_, 5002, 1002).reason,
				     SHUNT_R_RESTORED);
			CHECK_REASON(from_client(lab, &c, TH_ACK_, 1002, 5002).reason,
				     SHUNT_R_FORWARDED);
			CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_CLOSED);
			CHECK_EQ(lab_active(lab, 1), 0);
		}
		/* Late packets find their way, and change nothing. */
		CHECK_REASON(from_client(lab, &c, TH_ACK_, 1002, 5002).reason, SHUNT_R_FORWARDED);
		CHECK_REASON(from_backend(lab, &c, TH_ACK_, 5002, 1002).reason, SHUNT_R_RESTORED);
		from_client(lab, &c, TH_RST_, 1002, 0);
		CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_CLOSED);
		CHECK_EQ(lab_active(lab, 1), 0);
	}
}

LAB_EACH(conntrack, a_fin_with_the_handshakes_last_acknowledgement_counts, LAB_ONLY_TCP)
{
	struct conversation c = begin(lab);

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &c, TH_FIN_ | TH_ACK_, 1001, 5001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_FIN_SEEN);
	from_backend(lab, &c, TH_FIN_ | TH_ACK_, 5001, 1002);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_FIN_CLIENT);
	from_client(lab, &c, TH_ACK_, 1002, 5002);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_CLOSED);
	CHECK_EQ(lab_active(lab, 1), 0);
}

LAB_EACH(conntrack, a_flow_that_goes_leaves_the_second_line_of_its_record_empty, LAB_ONLY_TCP)
{
	static const uint32_t zero[16];
	struct conversation c = begin(lab);
	struct shunt_flow *flow;
	uint32_t index;

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &c, TH_FIN_ | TH_ACK_, 1001, 5001);
	from_backend(lab, &c, TH_FIN_ | TH_ACK_, 5001, 1002);
	flow = lab_flow(lab, &c.client);
	cr_assert_not_null(flow);
	CHECK(flow->client_fin && flow->backend_fin);
	index = (uint32_t)(flow - SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, 0));
	CHECK_EQ(shunt_ft_remove(&lab->maps, SHUNT_FT_REF(index, flow->life)), 1);
	CHECK(!memcmp((char *)flow + 64, zero, sizeof(zero)));
}

LAB_EACH(conntrack, a_reset_from_either_side_gives_the_count_back_in_every_state, LAB_ONLY_TCP)
{
	struct conversation c;
	struct lab_result result;

	for (int depth = 0; depth < 4; depth++)
		for (int by_client = 0; by_client < 2; by_client++) {
			lab_reset(lab, k);
			c = begin(lab);
			if (depth > 0)
				from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
			if (depth > 1)
				from_client(lab, &c, TH_ACK_, 1001, 5001);
			if (depth > 2)
				from_backend(lab, &c, TH_FIN_ | TH_ACK_, 5001, 1001);
			result = by_client ? from_client(lab, &c, TH_RST_, 1001, 0)
					   : from_backend(lab, &c, TH_RST_ | TH_ACK_, 5001, 1001);
			CHECK_REASON(result.reason,
				     by_client ? SHUNT_R_FORWARDED : SHUNT_R_RESTORED);
			CHECK_EQ(lab_state(lab, &c.client), depth < 2	? SHUNT_F_CLOSED
							    : by_client ? SHUNT_F_RESET_BY_CLIENT
									: SHUNT_F_RESET_BY_BACKEND);
			CHECK_EQ(lab_active(lab, 1), 0);
		}
}

/* The entry is there, and its backend gets nothing more of this client port. */
static void check_begins_anew(struct lab *lab, struct conversation *c)
{
	struct lab_result result;

	lab_backend(lab, 2, 1);
	*SHUNT_DP_AT(lab->maps.members, uint32_t, 0) = 2;

	result = lab_ingress(lab, &c->client);
	CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 2);
	CHECK_EQ(lab_state(lab, &c->client), SHUNT_F_SYN);
	CHECK_EQ(lab_active(lab, 1), 0);
	CHECK_EQ(lab_active(lab, 2), 1);
	CHECK_EQ(lab_flows_in_use(lab), 1);
	CHECK_EQ(lab_replies_in_use(lab), 1);
	/* Answers of the old backend are no longer its. */
	CHECK_REASON(from_backend(lab, c, TH_ACK_, 1, 1).reason, SHUNT_R_NO_REPLY);
}

LAB_EACH(conntrack, a_syn_after_the_reset_is_a_new_connection_with_a_new_choice, LAB_ONLY_TCP)
{
	struct conversation c = established(lab);

	(void)k;
	from_client(lab, &c, TH_RST_, 1001, 0);
	check_begins_anew(lab, &c);
}

LAB_EACH(conntrack, a_syn_after_the_close_is_a_new_connection_with_a_new_choice, LAB_ONLY_TCP)
{
	struct conversation c = established(lab);

	(void)k;
	from_client(lab, &c, TH_FIN_ | TH_ACK_, 1001, 5001);
	from_backend(lab, &c, TH_FIN_ | TH_ACK_, 5001, 1002);
	from_client(lab, &c, TH_ACK_, 1002, 5002);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_CLOSED);
	check_begins_anew(lab, &c);
}

LAB_EACH(conntrack, a_syn_in_a_live_connection_stays_with_it, LAB_ONLY_TCP)
{
	struct conversation c = established(lab);

	(void)k;
	CHECK_REASON(from_client(lab, &c, TH_SYN_, 99, 0).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
}

/* ---- time
 * ------------------------------------------------------------------------------------------- */

LAB_EACH(conntrack, an_idle_entry_goes_when_its_time_is_over_and_counts_no_more, 0)
{
	enum shunt_timeout index = k->proto == IPPROTO_TCP ? SHUNT_T_ESTABLISHED : SHUNT_T_UDP;
	struct conversation c = established(lab);
	uint32_t created = lab_flow(lab, &c.client)->created_jiffies;

	for (int i = 0; i < SHUNT_N_TIMEOUTS; i++)
		lab_settings(lab)->timeout_jiffies[i] = i == (int)index ? 50000 : LAB_LONG;
	age(lab, &c, 40000);
	lab_ingress(lab, &c.client); /* alive: renewed */
	age(lab, &c, 40000);
	lab_ingress(lab, &c.client);
	CHECK_EQ(lab_flow(lab, &c.client)->created_jiffies, created);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);

	age(lab, &c, 50000);
	lab_flow(lab, &c.client)->created_jiffies -= 60000;
	CHECK_REASON(lab_ingress(lab, &c.client).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 2);
	CHECK(lab_flow(lab, &c.client)->created_jiffies - created < 10000);
	CHECK_EQ(lab_active(lab, 1), 1);
	CHECK_EQ(lab_flows_in_use(lab), 1);
}

LAB_EACH(conntrack, answers_keep_an_entry_alive_too, 0)
{
	struct conversation c = established(lab);

	(void)k;
	age(lab, &c, 90000);
	from_backend(lab, &c, TH_ACK_, 5001, 1001);
	CHECK(lab_jiffies(lab) - lab_flow(lab, &c.client)->seen_jiffies < 10000);
}

LAB_EACH(conntrack, the_time_is_stored_only_when_it_is_older_than_the_grain, 0)
{
	struct conversation c = established(lab);
	uint32_t seen;

	(void)k;
	lab_settings(lab)->seen_grain_jiffies = 5000;
	age(lab, &c, 1000);
	seen = lab_flow(lab, &c.client)->seen_jiffies;
	lab_ingress(lab, &c.client);
	CHECK_EQ(lab_flow(lab, &c.client)->seen_jiffies, seen);
	age(lab, &c, 5000);
	lab_ingress(lab, &c.client);
	CHECK(lab_flow(lab, &c.client)->seen_jiffies != seen - 5000);
}

/* Ways are looked at in turn as time goes by; the code is that of all kinds. */
LAB_EACH(conntrack, new_flows_sweep_away_what_is_expired, LAB_ONLY_UDP | LAB_ONLY_XDP)
{
	struct lab_packet packet;
	uint32_t left = 0;

	(void)k;
	lab_scene(lab, 1, 1);
	for (uint32_t client = 1; client <= 200; client++) {
		packet = lab_from_client(lab, client, 4000, 1);
		lab_connect(lab, &packet);
	}
	lab_settings(lab)->timeout_jiffies[SHUNT_T_UDP] = 50000;
	for (uint32_t i = 0; i < lab->maps.flows.n; i++)
		SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, i)->seen_jiffies -= 50000;
	for (uint32_t client = 1001; client <= 4000; client++) {
		packet = lab_from_client(lab, client, 4000, 1);
		lab_ingress(lab, &packet);
		if (client % 40 == 0) /* often: each time two ways of sixteen have their turn */
			usleep(10000);
	}
	for (uint32_t client = 1; client <= 200; client++) {
		packet = lab_from_client(lab, client, 4000, 1);
		left += lab_flow(lab, &packet) != NULL;
	}
	CHECK(left < 20);
	CHECK_EQ(lab_active(lab, 1), lab_flows_in_use(lab));
	CHECK_EQ(lab_replies_in_use(lab), lab_flows_in_use(lab));
}

/* ---- the backend goes
 * --------------------------------------------------------------------------------- */

static struct shunt_backend *remove_backend(struct lab *lab, int32_t in_jiffies)
{
	struct shunt_backend *backend = SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1);

	backend->drain_jiffies = lab_jiffies(lab) + (uint32_t)in_jiffies;
	backend->flags = SHUNT_BE_REMOVED;
	return backend;
}

LAB_EACH(conntrack, a_connection_to_a_removed_backend_is_reset_at_the_deadline, LAB_ONLY_TCP)
{
	struct conversation c = established(lab);
	struct lab_result result;

	(void)k;
	remove_backend(lab, 10000);
	CHECK_REASON(from_client(lab, &c, TH_ACK_, 1001, 5001).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(from_backend(lab, &c, TH_ACK_, 5001, 1001).reason, SHUNT_R_RESTORED);

	remove_backend(lab, 0);
	for (int i = 0; i < 3; i++) { /* and again: the client may retransmit */
		result = from_client(lab, &c, TH_ACK_, 1001, 5001);
		CHECK_REASON(result.reason, SHUNT_R_BACKEND_GONE);
		CHECK_EQ(result.verdict, LAB_BOUNCE);
		CHECK_EQ(result.packet.tcp_flags, TH_RST_);
		CHECK_EQ(result.packet.seq, 5001);
		CHECK(result.sums_right);
		CHECK_EQ(lab_active(lab, 1), 0);
	}
	CHECK_EQ(lab_variant_counters(lab, 1).rejects, 3);

	/* The next SYN gets another backend. */
	lab_backend(lab, 2, 1);
	*SHUNT_DP_AT(lab->maps.members, uint32_t, 0) = 2;
	result = lab_ingress(lab, &c.client);
	CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 2);
}

LAB_EACH(conntrack, a_datagram_to_a_removed_backend_gets_another_one_at_the_deadline, LAB_ONLY_UDP)
{
	struct conversation c = established(lab);
	struct lab_result result;

	(void)k;
	remove_backend(lab, 10000);
	CHECK_REASON(lab_ingress(lab, &c.client).reason, SHUNT_R_FORWARDED);
	lab_backend(lab, 2, 1);
	*SHUNT_DP_AT(lab->maps.members, uint32_t, 0) = 2;
	remove_backend(lab, 0);
	result = lab_ingress(lab, &c.client);
	CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 2);
	CHECK_EQ(lab_active(lab, 1), 0);
	CHECK_EQ(lab_active(lab, 2), 1);
	CHECK_EQ(lab_flows_in_use(lab), 1);
	CHECK_EQ(lab_replies_in_use(lab), 1);
}

LAB_EACH(conntrack, a_flow_without_an_answer_leaves_a_backend_that_takes_nothing_new, 0)
{
	struct shunt_backend *backend = SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1);
	struct lab_result result;
	struct conversation c;

	(void)k;
	for (int answered = 0; answered < 2; answered++) {
		lab_reset(lab, k);
		c = begin(lab);
		if (answered)
			from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
		lab_backend(lab, 2, 1);
		SHUNT_DP_AT(lab->maps.members, struct shunt_member, 0)->backend = 2;
		backend->flags = SHUNT_BE_NO_NEW;
		result = lab_ingress(lab, &c.client); /* sent again */
		CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
		CHECK_EQ(lab_backend_of(lab, &result.packet.dst), answered ? 1 : 2);
		CHECK_EQ(lab_active(lab, 1), answered);
		CHECK_EQ(lab_active(lab, 2), !answered);
		CHECK_EQ(lab_flows_in_use(lab), 1);
		CHECK_EQ(lab_replies_in_use(lab), 1);
	}
}

LAB_EACH(conntrack, established_flows_stay_through_changes_of_weights_and_backends, 0)
{
	struct conversation c = established(lab);
	struct lab_result result;

	(void)k;
	lab_split(lab, 1)->variant[0].weight = 0;
	lab_split(lab, 1)->variant[0].ring_size[lab->kind->family] = 0;
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1)->flags = SHUNT_BE_NO_NEW;
	SHUNT_DP_AT(lab->maps.overlay, struct shunt_overlay, 1)->tripped = 1;
	lab_settings(lab)->epoch++;
	result = from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 1);
	CHECK_REASON(from_backend(lab, &c, TH_ACK_, 5001, 1001).reason, SHUNT_R_RESTORED);
}

/* ---- answers
 * ------------------------------------------------------------------------------------------- */

LAB_EACH(conntrack, only_the_very_tuple_of_an_answer_is_one, 0)
{
	struct conversation c = established(lab);
	struct lab_packet other;

	(void)k;
	c.answer = lab_flags(c.answer, TH_ACK_, 5001, 1001);
	other = c.answer;
	other.sport++;
	CHECK_REASON(lab_egress(lab, &other).reason, SHUNT_R_NO_REPLY);
	other = c.answer;
	other.dport++;
	CHECK_REASON(lab_egress(lab, &other).reason, SHUNT_R_NO_REPLY);
	for (int word = 0; word < 4; word++) {
		if (c.answer.family == SHUNT_V4 && word < 3)
			continue;
		other = c.answer;
		other.src.word_be[word] ^= htonl(1);
		CHECK_REASON(lab_egress(lab, &other).reason, SHUNT_R_NO_REPLY);
		other = c.answer;
		other.dst.word_be[word] ^= htonl(1);
		CHECK_REASON(lab_egress(lab, &other).reason, SHUNT_R_NO_REPLY);
	}
	CHECK_REASON(lab_egress(lab, &c.answer).reason, SHUNT_R_RESTORED);
}
