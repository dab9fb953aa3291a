// SPDX-License-Identifier: Apache-2.0
/* One client's share of the flow table. */
#include "lab.h"

#include "datapath/flowmem.h"

TestSuite(client, .timeout = 60);

#define LIMIT 5

static void limited(struct lab *lab)
{
	lab_scene(lab, 1, 1);
	lab_settings(lab)->client_limit = LIMIT;
}

static struct lab_packet from_port(struct lab *lab, uint32_t client, uint16_t port)
{
	return lab_from_client(lab, client, port, 1);
}

static uint32_t counted(const struct lab *lab)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < lab->maps.clients.n; i++)
		sum += shunt_ft_client(&lab->maps, i)->flows;
	return sum;
}

LAB_EACH(client, one_that_has_its_share_gets_no_more_and_others_do, 0)
{
	struct lab_packet packet;
	struct lab_result got;

	(void)k;
	limited(lab);
	for (uint16_t port = 1; port <= LIMIT; port++) {
		packet = from_port(lab, 1, port);
		lab_connect(lab, &packet);
	}
	packet = from_port(lab, 1, 100);
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_CLIENT_SHARE);
	CHECK_EQ(got.verdict, LAB_BOUNCE);
	CHECK_EQ(lab_flows_in_use(lab), LIMIT);
	CHECK_EQ(lab_active(lab, 1), LIMIT);
	/* What it has goes on, and another client is not concerned. */
	packet = from_port(lab, 1, 1);
	if (k->proto == IPPROTO_TCP)
		packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	packet = from_port(lab, 2, 1);
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
}

/* What it is refused must not cost others, whose handshakes are under way. */
LAB_EACH(client, one_that_has_its_share_displaces_nobody, 0)
{
	struct lab_packet packet;
	uint32_t others;

	(void)k;
	limited(lab);
	for (uint16_t port = 1; port <= LIMIT; port++) {
		packet = from_port(lab, 1, port);
		lab_connect(lab, &packet);
	}
	for (uint32_t client = 2; client < 500; client++) {
		packet = from_port(lab, client, 1);
		lab_ingress(lab, &packet);
	}
	others = lab_flows_in_use(lab);
	for (uint16_t port = 100; port < 1100; port++) {
		packet = from_port(lab, 1, port);
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_CLIENT_SHARE);
	}
	CHECK_EQ(lab_flows_in_use(lab), others);
}

LAB_EACH(client, what_ended_no_longer_counts, 0)
{
	struct lab_packet packet;

	limited(lab);
	for (uint16_t port = 1; port <= 4 * LIMIT; port++) {
		packet = from_port(lab, 1, port);
		lab_connect(lab, &packet);
		CHECK_EQ(counted(lab), 1);
		if (k->proto == IPPROTO_TCP) {
			packet = lab_flags(packet, TH_RST_, 1001, 0);
			lab_ingress(lab, &packet);
		} else {
			struct shunt_flow *flow = lab_flow(lab, &packet);

			shunt_ft_remove(
				&lab->maps,
				SHUNT_FT_REF((uint32_t)(flow - SHUNT_DP_AT(lab->maps.flows,
									   struct shunt_flow, 0)),
					     flow->life));
		}
		CHECK_EQ(counted(lab), 0);
	}
}

LAB_EACH(client, an_ipv6_host_has_one_share_however_many_addresses_it_uses, LAB_ONLY_V6)
{
	struct lab_packet packet = from_port(lab, 1, 1);
	uint32_t made = 0;

	(void)k;
	limited(lab);
	for (uint32_t n = 0; n < 4 * LIMIT; n++) {
		packet.src.word_be[2] = htonl(n);
		packet.src.word_be[3] = htonl(n * 7 + 1);
		made += lab_ingress(lab, &packet).reason == SHUNT_R_FORWARDED;
	}
	CHECK_EQ(made, LIMIT);
}

LAB_EACH(client, beyond_its_share_a_direct_connection_leaves_no_marker, LAB_ONLY_TCP)
{
	struct lab_packet packet;

	limited(lab);
	for (uint16_t port = 1; port <= 2 * LIMIT; port++) {
		packet = from_port(lab, 1, port);
		packet.dst = lab_backend_addr(k->family, 1);
		packet.dport = LAB_BACKEND_PORT;
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_DIRECT);
		CHECK_EQ(lab_flows_in_use(lab), port < LIMIT ? port : LIMIT);
	}
}

LAB_EACH(client, without_a_limit_one_client_may_have_all, 0)
{
	struct lab_packet packet;

	(void)k;
	lab_scene(lab, 1, 1);
	for (uint16_t port = 1; port <= 100; port++) {
		packet = from_port(lab, 1, port);
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	}
}
