// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <linux/if_ether.h>
#include <string.h>

TestSuite(parse, .timeout = 60);

static void ethertype(struct lab_frame *frame, uint16_t type)
{
	frame->data[12] = (uint8_t)(type >> 8);
	frame->data[13] = (uint8_t)type;
}

static struct lab_frame good_frame(struct lab *lab)
{
	struct lab_packet packet;
	struct lab_frame frame;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	packet_build(&packet, &frame);
	return frame;
}

/* Both directions must leave @frame alone, and no entry is made of it. */
static void check_passed(struct lab *lab, const struct lab_frame *frame, enum shunt_reason reason)
{
	struct lab_result result = lab_ingress_frame(lab, frame);

	lab_check_untouched(&result, frame, reason);
	result = lab_egress_frame(lab, frame);
	lab_check_untouched(&result, frame, reason);
	CHECK_EQ(lab_flows_in_use(lab), 0);
}

/* tc programs are only run on skbs with a whole IP header: that is all the kernel makes. */
LAB_EACH(parse, a_packet_cut_short_anywhere_is_passed_untouched, 0)
{
	uint32_t ip_end = LAB_ETH + packet_ip_len(k->family);
	uint32_t headers = ip_end + packet_l4_len(k->proto);
	struct lab_frame frame = good_frame(lab);
	struct lab_result result;

	for (frame.len = LAB_ETH; frame.len < headers; frame.len++) {
		if (frame.len >= ip_end) {
			check_passed(lab, &frame, SHUNT_R_TRUNCATED);
		} else if (k->hook == LAB_XDP) {
			result = lab_ingress_frame(lab, &frame);
			lab_check_untouched(&result, &frame, SHUNT_R_TRUNCATED);
		}
	}
	frame.len = headers;
	CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_FORWARDED);
}

/* Flags and offsets of IPv4 that make no fragment; test_fragment.c has those that do. */
LAB_EACH(parse, an_ipv4_packet_that_may_not_be_fragmented_is_none, LAB_ONLY_V4)
{
	static const uint8_t flags[] = {
		0x40,	    /* don't fragment */
		0x00, 0x80, /* the reserved bit is not ours to judge */
	};
	struct lab_frame frame = good_frame(lab);

	(void)k;
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		frame.data[LAB_ETH + 6] = flags[i];
		packet_fix(&frame);
		CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_FORWARDED);
	}
}

LAB_EACH(parse, ipv4_headers_of_an_impossible_length_are_passed, LAB_ONLY_V4)
{
	struct lab_frame frame = good_frame(lab);

	(void)k;
	for (uint8_t ihl = 0; ihl < 5; ihl++) {
		frame.data[LAB_ETH] = 0x40 | ihl;
		check_passed(lab, &frame, SHUNT_R_IPV4_OPTIONS);
	}
}

LAB_EACH(parse, other_protocols_are_passed, 0)
{
	uint32_t at = LAB_ETH + (k->family == SHUNT_V6 ? 6 : 9);
	struct lab_frame frame = good_frame(lab);

	for (int proto = 0; proto < 256; proto++) {
		if (proto == IPPROTO_TCP || proto == IPPROTO_UDP)
			continue;
		/* Those that lead to another header are in test_odd.c. */
		if (k->family == SHUNT_V6 && strchr("\053\054\063\074\207\213\214", proto))
			continue;
		frame.data[at] = (uint8_t)proto;
		check_passed(lab, &frame, SHUNT_R_L4_PROTO);
	}
}

LAB_EACH(parse, what_is_not_ip_is_passed, 0)
{
	static const uint16_t types[] = {
		0, ETH_P_ARP, ETH_P_8021Q, ETH_P_8021AD, ETH_P_MPLS_UC, 0xffff
	};
	struct lab_frame frame = good_frame(lab);

	(void)k;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		ethertype(&frame, types[i]);
		check_passed(lab, &frame, SHUNT_R_NOT_IP);
	}
}

LAB_EACH(parse, a_frame_padded_to_60_bytes_is_translated_with_its_padding, LAB_ONLY_V4)
{
	struct lab_frame frame = good_frame(lab);
	struct lab_result result;

	memset(frame.data + frame.len, 0xa5, 60 - frame.len);
	frame.len = 60;
	result = lab_ingress_frame(lab, &frame);
	CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(result.frame.len, 60);
	CHECK_EQ(result.frame.data[59], 0xa5);
	CHECK_EQ(lab_backend_counters(lab, 1).bytes_in, k->proto == IPPROTO_TCP ? 40 : 38);
	result.frame.len = frame.len =
		LAB_ETH + 20 + packet_l4_len(k->proto) + (k->proto == IPPROTO_UDP ? 10 : 0);
	packet_parse(&result.frame, &result.packet, &result.sums_right);
	CHECK(result.sums_right);
}

LAB_EACH(parse, every_combination_of_tcp_flags_is_read_right, LAB_ONLY_TCP)
{
	struct lab_packet packet;
	enum shunt_reason want;

	(void)k;
	lab_scene(lab, 1, 1);
	lab_service_flags(lab, 1, 0); /* shared: mid-stream passes */
	for (unsigned flags = 0; flags < 256; flags++) {
		packet = lab_from_client(lab, 1, (uint16_t)(4000 + flags), 1);
		packet.tcp_flags = (uint8_t)flags;
		want = (flags & (TH_SYN_ | TH_ACK_ | TH_RST_)) == TH_SYN_
			       ? SHUNT_R_FORWARDED
			       : SHUNT_R_MIDSTREAM_SHARED;
		CHECK_REASON(lab_ingress(lab, &packet).reason, want);
	}
}
