// SPDX-License-Identifier: Apache-2.0
/* SYNs that their backend does not take: they go to another one when they come again. */
#include "conversation.h"

#include <string.h>

TestSuite(reselect, .timeout = 120);

#define BACKENDS 2
#define WAITED	 300 /* jiffies: more than the quarter of a second that a copy would come in */

struct begun {
	struct conversation c;
	uint32_t backend;
};

/* The first packet of the client has gone somewhere. */
static struct begun follow(struct lab *lab, const struct lab_packet *client,
			   const struct lab_result *there)
{
	struct begun b = { .c = { *client, lab_answer(&there->packet) } };

	CHECK_REASON(there->reason, SHUNT_R_FORWARDED);
	b.backend = lab_backend_of(lab, &there->packet.dst);
	return b;
}

static struct begun begin_among(struct lab *lab, uint32_t n_backends)
{
	struct lab_packet client;
	struct lab_result there;

	lab_scene(lab, 1, n_backends);
	lab_service_flags(lab, 1, SHUNT_SVC_TCP | SHUNT_SVC_OWNED);
	client = lab_from_client(lab, 1, 4000, 1);
	there = lab_ingress(lab, &client);
	return follow(lab, &client, &there);
}

/* The client sends its SYN again after a while. */
static struct begun again(struct lab *lab, const struct begun *b)
{
	struct lab_result there;

	lab_flow(lab, &b->c.client)->created_jiffies -= WAITED;
	there = lab_ingress(lab, &b->c.client);
	return follow(lab, &b->c.client, &there);
}

static uint32_t other(const struct begun *b)
{
	return BACKENDS + 1 - b->backend;
}

LAB_EACH(reselect, an_unanswered_syn_goes_to_another_backend, LAB_ONLY_TCP)
{
	struct begun first = begin_among(lab, BACKENDS), second = again(lab, &first), third;

	(void)k;
	CHECK_EQ(second.backend, other(&first));
	CHECK_EQ(lab_backend_counters(lab, first.backend).unanswered, 1);
	CHECK_EQ(lab_backend_counters(lab, second.backend).connections, 1);
	CHECK_EQ(lab_active(lab, first.backend), 0);
	CHECK_EQ(lab_flows_in_use(lab), 1);
	CHECK_EQ(lab_replies_in_use(lab), 1);
	/* And back, as long as nobody answers. */
	third = again(lab, &second);
	CHECK_EQ(third.backend, first.backend);
	CHECK_EQ(lab_backend_counters(lab, second.backend).unanswered, 1);
	/* Who answers has it. */
	from_backend(lab, &third.c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &third.c, TH_ACK_, 1001, 5001);
	CHECK_EQ(lab_state(lab, &third.c.client), SHUNT_F_ESTABLISHED);
	CHECK_EQ(lab_backend_counters(lab, third.backend).established, 1);
}

LAB_EACH(reselect, a_syn_that_comes_again_at_once_stays, LAB_ONLY_TCP)
{
	struct begun first = begin_among(lab, BACKENDS), second;
	struct lab_result there = lab_ingress(lab, &first.c.client);

	(void)k;
	second = follow(lab, &first.c.client, &there);
	CHECK_EQ(second.backend, first.backend);
	CHECK_EQ(lab_backend_counters(lab, first.backend).connections, 1);
}

LAB_EACH(reselect, an_answered_syn_stays, LAB_ONLY_TCP)
{
	struct begun first = begin_among(lab, BACKENDS), second;

	(void)k;
	from_backend(lab, &first.c, TH_SYN_ | TH_ACK_, 5000, 1001);
	second = again(lab, &first);
	CHECK_EQ(second.backend, first.backend);
}

LAB_EACH(reselect, a_refusal_is_kept_from_the_client_once, LAB_ONLY_TCP)
{
	struct begun first = begin_among(lab, BACKENDS), second;
	struct lab_result said;

	(void)k;
	said = from_backend(lab, &first.c, TH_RST_ | TH_ACK_, 0, 1001);
	CHECK_REASON(said.reason, SHUNT_R_REFUSED);
	CHECK_EQ(said.verdict, LAB_DROP);
	CHECK_EQ(lab_state(lab, &first.c.client), SHUNT_F_SYN);
	CHECK_EQ(lab_backend_counters(lab, first.backend).refused, 1);
	second = again(lab, &first);
	CHECK_EQ(second.backend, other(&first));
	CHECK_EQ(lab_backend_counters(lab, first.backend).unanswered, 0);
	/* Who is refused twice is told. */
	said = from_backend(lab, &second.c, TH_RST_ | TH_ACK_, 0, 1001);
	CHECK_REASON(said.reason, SHUNT_R_RESTORED);
	CHECK_EQ(lab_state(lab, &second.c.client), SHUNT_F_CLOSED);
	CHECK_EQ(lab_backend_counters(lab, second.backend).refused, 1);
}

LAB_EACH(reselect, where_there_is_no_other_backend_all_is_as_it_was, LAB_ONLY_TCP)
{
	struct begun first = begin_among(lab, 1), second = again(lab, &first);
	struct lab_result said;

	(void)k;
	CHECK_EQ(second.backend, first.backend);
	CHECK_EQ(lab_backend_counters(lab, first.backend).connections, 1);
	CHECK_EQ(lab_backend_counters(lab, first.backend).unanswered, 1);
	said = from_backend(lab, &second.c, TH_RST_ | TH_ACK_, 0, 1001);
	CHECK_REASON(said.reason, SHUNT_R_RESTORED);
	CHECK_EQ(lab_state(lab, &first.c.client), SHUNT_F_CLOSED);
}

LAB_EACH(reselect, a_forged_refusal_is_not_kept, LAB_ONLY_TCP)
{
	struct begun first = begin_among(lab, BACKENDS);
	struct lab_result said = from_backend(lab, &first.c, TH_RST_ | TH_ACK_, 0, 1002);

	(void)k;
	CHECK_REASON(said.reason, SHUNT_R_RESTORED);
	CHECK_EQ(lab_backend_counters(lab, first.backend).refused, 0);
}

LAB_EACH(reselect, where_signals_are_off_nothing_is_known, LAB_ONLY_TCP)
{
	struct begun first, second;
	struct lab_packet client;
	struct lab_result there;

	(void)k;
	lab_scene(lab, 1, BACKENDS);
	client = lab_from_client(lab, 1, 4000, 1);
	there = lab_ingress(lab, &client);
	first = follow(lab, &client, &there);
	second = again(lab, &first);
	CHECK_EQ(second.backend, first.backend);
	CHECK_REASON(from_backend(lab, &second.c, TH_RST_ | TH_ACK_, 0, 1001).reason,
		     SHUNT_R_RESTORED);
}

LAB_EACH(reselect, a_variant_that_gets_nothing_more_keeps_its_syn, LAB_ONLY_TCP)
{
	struct begun first = begin_among(lab, BACKENDS), second;
	const uint32_t none[] = { 0 };

	(void)k;
	lab_weights(lab, 1, none, 1);
	second = again(lab, &first);
	CHECK_EQ(second.backend, first.backend);
}

LAB_EACH(reselect, a_session_follows_to_where_it_was_answered, LAB_ONLY_TCP)
{
	struct begun first, second, third;
	struct lab_result there;

	(void)k;
	first = begin_among(lab, BACKENDS);
	for (int slot = 0; slot < 2; slot++) {
		lab_slot(lab, 1, slot)->affinity = SHUNT_AFFINITY_SESSION;
		lab_slot(lab, 1, slot)->session_jiffies = LAB_LONG;
		lab_slot(lab, 1, slot)->prefix_len[SHUNT_V4] = 32;
		lab_slot(lab, 1, slot)->prefix_len[SHUNT_V6] = 128;
	}
	from_backend(lab, &first.c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &first.c, TH_ACK_, 1001, 5001);
	first.c.client.sport = 4001;
	there = lab_ingress(lab, &first.c.client);
	second = follow(lab, &first.c.client, &there);
	CHECK_EQ(second.backend, first.backend);
	second = again(lab, &second);
	CHECK_EQ(second.backend, other(&first));
	from_backend(lab, &second.c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &second.c, TH_ACK_, 1001, 5001);
	first.c.client.sport = 4002;
	there = lab_ingress(lab, &first.c.client);
	third = follow(lab, &first.c.client, &there);
	CHECK_EQ(third.backend, second.backend);
}

/* Another client's packet of the same moment does not go where the first one was sent. */
LAB_EACH(reselect, only_the_packet_that_came_again_goes_there, LAB_ONLY_TCP)
{
	struct begun first = begin_among(lab, BACKENDS);
	uint32_t seen[BACKENDS + 1] = { 0 };

	(void)k;
	again(lab, &first);
	for (uint16_t port = 5000; port < 5064; port++) {
		struct lab_packet client = lab_from_client(lab, 2, port, 1);
		struct lab_result there = lab_ingress(lab, &client);

		seen[lab_backend_of(lab, &there.packet.dst)]++;
		CHECK_EQ(lab_flow(lab, &client)->flags & SHUNT_FLOW_AGAIN, 0);
	}
	CHECK(seen[1] > 10 && seen[2] > 10);
}
