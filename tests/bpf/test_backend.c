// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include "shunt/choose.h"

TestSuite(backend, .timeout = 60);

LAB_EACH(backend, a_variant_without_backends_keeps_its_share_and_rejects_it, 0)
{
	uint32_t rejected = 0, forwarded = 0;
	struct lab_packet packet;
	struct lab_result result;

	lab_scene(lab, 2, 1);
	lab_split(lab, 1)->variant[1].ring_size[k->family] = 0;
	for (uint16_t port = 1024; port < 1324; port++) {
		packet = lab_from_client(lab, 1, port, 1);
		result = lab_ingress(lab, &packet);
		if (result.reason == SHUNT_R_NO_BACKEND) {
			CHECK_EQ(result.verdict, LAB_BOUNCE);
			rejected++;
		} else {
			CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
			forwarded++;
		}
	}
	/* Half of 300 each; 4 standard deviations are 35. */
	CHECK(rejected > 115 && forwarded > 115);
	CHECK_EQ(lab_variant_counters(lab, 2).rejects, rejected);
	CHECK_EQ(lab_variant_counters(lab, 1).rejects, 0);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, forwarded);
}

LAB_EACH(backend, each_family_has_its_own_ring, 0)
{
	struct lab_packet packet;
	struct shunt_split_variant *variant;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	variant = &lab_split(lab, 1)->variant[0];
	/* All numbers of the other family are wrong, and do no harm. */
	variant->ring_first[!k->family] = variant->member_first[!k->family] = 0x7fffffff;
	variant->ring_size[!k->family] = 0;
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);

	variant->ring_size[!k->family] = variant->ring_size[k->family];
	variant->ring_size[k->family] = 0;
	packet.sport++;
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_NO_BACKEND);
}

/* Four entries share an element: each place in it, at each alignment of the ring. */
LAB_EACH(backend, the_ring_is_read_at_the_slot_that_the_hash_says, 0)
{
	const struct shunt_settings *settings = lab_settings(lab);
	struct lab_packet packet;
	uint64_t hash;

	lab_service(lab, 1, 1);
	lab_variant(lab, 1, 0, 1);
	for (uint32_t b = 1; b <= 13; b++)
		lab_backend(lab, b, 1);
	for (uint32_t shift = 0; shift < 4; shift++) {
		lab->rings_used += 1; /* not a multiple of four */
		lab_ring(lab, 1, 0, 1, 13, 13);
		for (uint16_t port = 1; port < 40; port++) {
			struct shunt_tuple tuple = { .proto = k->proto, .family = k->family };
			uint32_t backend;

			packet = lab_from_client(lab, 1 + shift, port, 1);
			tuple.src = packet.src;
			tuple.dst = packet.dst;
			tuple.sport_be = htons(packet.sport);
			tuple.dport_be = htons(packet.dport);
			hash = shunt_choice_hash(settings->choice_key, shunt_mix64(1), &tuple,
						 SHUNT_AFFINITY_CONNECTION, 0);
			packet = lab_ingress(lab, &packet).packet;
			backend = lab_backend_of(lab, &packet.dst);
			CHECK_EQ(backend, 1 + shunt_ring_slot(hash, 13));
		}
	}
}

LAB_EACH(backend, a_new_flow_is_counted_once_for_its_backend, 0)
{
	struct lab_packet packet, answer;
	struct shunt_counters c;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	answer = lab_connect(lab, &packet);
	c = lab_backend_counters(lab, 1);
	CHECK_EQ(c.connections, 1);
	CHECK_EQ(c.packets_in, 2);
	CHECK_EQ(c.bytes_in, c.packets_in * (packet_ip_len(k->family) + packet_l4_len(k->proto) +
					     packet.payload));
	CHECK_EQ(c.packets_out, 1);
	CHECK_EQ(c.bytes_out, packet_ip_len(k->family) + packet_l4_len(k->proto) + packet.payload);
	CHECK_EQ(c.rejects, 0);
	CHECK_EQ(lab_active(lab, 1), 1);
	(void)answer;
}
