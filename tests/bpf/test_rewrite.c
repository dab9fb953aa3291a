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
