// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <arpa/inet.h>

TestSuite(rewrite, .timeout = 60);

/* What @packet must be once it is sent to the backend that took it. */
static struct lab_packet at_backend(const struct lab *lab, struct lab_packet packet,
				    const struct lab_result *got)
{
	uint32_t backend = lab_backend_of(lab, &got->packet.dst);

	CHECK(backend != 0);
	packet.dst = lab_backend_addr(lab->kind->family, backend);
	packet.dport = LAB_BACKEND_PORT;
	return packet;
}

LAB_EACH(rewrite, a_packet_and_its_answer_are_translated_and_nothing_else_changes, 0)
{
	struct lab_packet sent, want, answer;
	struct lab_result there, back;

	(void)k;
	lab_scene(lab, 2, 3);
	for (uint16_t port = 1024; port < 1124; port++) {
		sent = lab_from_client(lab, port, port, 1);
		there = lab_ingress(lab, &sent);
		CHECK_REASON(there.reason, SHUNT_R_FORWARDED);
		CHECK_EQ(there.verdict, LAB_PASS);
		want = at_backend(lab, sent, &there);
		lab_check_packet(&there, &want);

		answer = lab_answer(&there.packet);
		back = lab_egress(lab, &answer);
		CHECK_REASON(back.reason, SHUNT_R_RESTORED);
		CHECK_EQ(back.verdict, LAB_PASS);
		want = answer;
		want.src = sent.dst;
		want.sport = sent.dport;
		lab_check_packet(&back, &want);
	}
}

LAB_EACH(rewrite, checksums_are_right_for_payloads_of_every_length, 0)
{
	struct lab_packet sent, want, answer;
	struct lab_result there, back;

	(void)k;
	lab_scene(lab, 1, 1);
	sent = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &sent);
	for (uint16_t payload = 0; payload < 70; payload++) {
		sent = lab_flags(sent, TH_ACK_ | TH_PSH_, 1001, 5001);
		sent.payload = payload;
		there = lab_ingress(lab, &sent);
		CHECK_REASON(there.reason, SHUNT_R_FORWARDED);
		want = at_backend(lab, sent, &there);
		lab_check_packet(&there, &want);

		answer = lab_flags(lab_answer(&there.packet), TH_ACK_, 5001, 1001 + payload);
		answer.payload = payload;
		back = lab_egress(lab, &answer);
		want = answer;
		want.src = sent.dst;
		want.sport = sent.dport;
		lab_check_packet(&back, &want);
	}
}

LAB_EACH(rewrite, a_checksum_that_the_sender_left_out_stays_out, LAB_ONLY_UDP | LAB_ONLY_V4)
{
	struct lab_packet sent, want, answer;
	struct lab_result there, back;

	(void)k;
	lab_scene(lab, 1, 1);
	sent = lab_from_client(lab, 1, 4000, 1);
	sent.no_checksum = true;
	there = lab_ingress(lab, &sent);
	want = at_backend(lab, sent, &there);
	lab_check_packet(&there, &want);
	CHECK(there.packet.no_checksum);

	answer = lab_answer(&there.packet);
	answer.no_checksum = true;
	back = lab_egress(lab, &answer);
	CHECK_REASON(back.reason, SHUNT_R_RESTORED);
	CHECK(back.packet.no_checksum && back.sums_right);
}

/* A UDP checksum that comes out as zero is sent as 0xffff: zero would mean that there is none. */
LAB_EACH(rewrite, a_checksum_that_becomes_zero_is_written_as_ones, LAB_ONLY_UDP)
{
	struct lab_frame frame, want_frame;
	struct lab_packet sent, want;
	struct lab_result there;
	uint8_t *data;
	uint16_t sum;

	lab_scene(lab, 1, 1);
	sent = want = lab_from_client(lab, 1, 4000, 1);
	want.dst = lab_backend_addr(k->family, 1);
	want.dport = LAB_BACKEND_PORT;
	packet_build(&want, &want_frame);
	packet_build(&sent, &frame);

	/* Add to the payload what the translated packet's checksum lacks to zero. */
	data = want_frame.data + LAB_ETH + packet_ip_len(k->family);
	sum = (uint16_t)(data[6] << 8 | data[7]);
	data = frame.data + LAB_ETH + packet_ip_len(k->family) + 8;
	sum = (uint16_t)~packet_fold((uint32_t)(data[0] << 8 | data[1]) + sum);
	data[0] = (uint8_t)(sum >> 8);
	data[1] = (uint8_t)sum;
	packet_fix(&frame);

	there = lab_ingress_frame(lab, &frame);
	CHECK_REASON(there.reason, SHUNT_R_FORWARDED);
	CHECK(there.sums_right);
	data = there.frame.data + LAB_ETH + packet_ip_len(k->family);
	CHECK_EQ(data[6] << 8 | data[7], 0xffff);
}

LAB_EACH(rewrite, a_wrong_checksum_stays_wrong, 0)
{
	struct lab_packet sent;
	struct lab_result there;
	struct lab_frame frame;

	(void)k;
	lab_scene(lab, 1, 1);
	sent = lab_from_client(lab, 1, 4000, 1);
	sent.payload = 20;
	packet_build(&sent, &frame);
	frame.data[frame.len - 1] ^= 0x55;
	there = lab_ingress_frame(lab, &frame);
	CHECK_REASON(there.reason, SHUNT_R_FORWARDED);
	CHECK(!there.sums_right);
}

LAB_EACH(rewrite, super_packets_count_as_their_segments, LAB_ONLY_TC)
{
	struct lab_packet sent;
	struct lab_frame frame;
	struct shunt_counters c;

	(void)k;
	lab_scene(lab, 1, 1);
	sent = lab_from_client(lab, 1, 4000, 1);
	sent.payload = 1200;
	packet_build(&sent, &frame);
	CHECK_REASON(lab_ingress_gso(lab, &frame, 7).reason, SHUNT_R_FORWARDED);
	c = lab_backend_counters(lab, 1);
	CHECK_EQ(c.packets_in, 7);
	CHECK_EQ(c.bytes_in, frame.len - LAB_ETH);
}
