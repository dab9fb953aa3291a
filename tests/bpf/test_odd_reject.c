// SPDX-License-Identifier: Apache-2.0
/* Refusals of packets that are not of the plain form. */
#include "odd.h"

#include <linux/if_ether.h>
#include <string.h>

TestSuite(odd_reject, .timeout = 60);

#define HOP ODD_HEADER(IPPROTO_HOPOPTS)
#define DST ODD_HEADER(IPPROTO_DSTOPTS)
#define AH  ODD_HEADER(IPPROTO_AH)

static const struct odd_form forms[] = {
	{ "in a VLAN", { ETH_P_8021Q }, 0, { 0 } },
	{ "in two VLANs", { ETH_P_8021AD, ETH_P_8021Q }, 0, { 0 } },
	{ "with options", { 0 }, 4, { 0 } },
	{ "with all options", { ETH_P_8021Q }, 40, { 0 } },
	{ "with headers", { 0 }, 0, { HOP } },
	{ "with many headers", { ETH_P_8021AD, ETH_P_8021Q }, 0, { HOP, DST, AH } },
};

/* The addresses turned round, the tags as they were. */
static void check_l2(const struct lab_result *got, const struct lab_frame *sent,
		     const struct odd_form *form)
{
	const uint8_t *a = got->frame.data, *b = sent->data;

	CHECK(!memcmp(a, b + 6, 6) && !memcmp(a + 6, b, 6));
	CHECK(!memcmp(a + 12, b + 12, odd_l2_len(form) + 2));
}

/* What is left when the tags are taken off, parsed anew. */
static struct lab_result without_tags(const struct lab_result *got, const struct odd_form *form)
{
	struct lab_result bare = *got;
	size_t tags = odd_l2_len(form);

	memmove(bare.frame.data + 12, bare.frame.data + 12 + tags, bare.frame.len - 12 - tags);
	bare.frame.len -= (uint32_t)tags;
	memset(&bare.packet, 0, sizeof(bare.packet));
	bare.sums_right = false;
	packet_parse(&bare.frame, &bare.packet, &bare.sums_right);
	return bare;
}

static void check_reset(const struct lab_result *bare, const struct lab_packet *sent)
{
	const struct lab_packet *rst = &bare->packet;

	CHECK(bare->sums_right);
	CHECK_EQ(rst->tcp_flags, TH_RST_);
	CHECK_EQ(rst->seq, sent->ack);
	CHECK_EQ(rst->sport, sent->dport);
	CHECK_EQ(rst->dport, sent->sport);
	CHECK(!memcmp(&rst->src, &sent->dst, 16) && !memcmp(&rst->dst, &sent->src, 16));
	CHECK_EQ(rst->payload, 0);
}

/* Port unreachable, that quotes all headers and the ports. */
static void check_unreachable(const struct lab_result *bare, const struct lab_frame *sent,
			      const struct odd_form *form, enum shunt_slot_index family)
{
	size_t ip_len = packet_ip_len(family), tags = odd_l2_len(form);
	size_t quoted = ip_len + odd_more_len(form, family) + 8;
	const uint8_t *ip = bare->frame.data + LAB_ETH, *icmp = ip + ip_len;
	uint32_t pseudo = 0;

	CHECK_EQ(bare->frame.len, LAB_ETH + ip_len + 8 + quoted);
	CHECK_EQ(icmp[0], family == SHUNT_V6 ? 1 : 3);
	CHECK_EQ(icmp[1], family == SHUNT_V6 ? 4 : 3);
	CHECK(!memcmp(icmp + 8, sent->data + LAB_ETH + tags, quoted));
	if (family == SHUNT_V6)
		pseudo = packet_pseudo(ip, family, IPPROTO_ICMPV6, 8 + quoted);
	else
		CHECK_EQ(packet_fold(packet_sum(ip, 20, 0)), 0);
	CHECK_EQ(packet_fold(packet_sum(icmp, 8 + quoted, pseudo)), 0);
}

LAB_EACH(odd_reject, a_refused_packet_of_any_form_is_answered_in_its_vlans, 0)
{
	struct lab_result got, bare;
	struct lab_packet packet;
	struct lab_frame frame;

	lab_scene(lab, 1, 0);
	packet = lab_from_client(lab, 1, 4000, 1);
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	packet.payload = 30;
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (!odd_is_for(&forms[i], k->family))
			continue;
		odd_build(&packet, &forms[i], &frame);
		got = lab_ingress_frame(lab, &frame);
		CHECK_REASON(got.reason, SHUNT_R_NO_BACKEND);
		CHECK_EQ(got.verdict, LAB_BOUNCE);
		check_l2(&got, &frame, &forms[i]);
		bare = without_tags(&got, &forms[i]);
		if (k->proto == IPPROTO_TCP)
			check_reset(&bare, &packet);
		else
			check_unreachable(&bare, &frame, &forms[i], k->family);
	}
}

LAB_EACH(odd_reject, a_reset_of_any_form_is_never_answered, LAB_ONLY_TCP)
{
	struct lab_packet packet;
	struct lab_frame frame;

	(void)k;
	lab_scene(lab, 1, 0);
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
	packet = lab_from_client(lab, 1, 4000, 1);
	packet = lab_flags(packet, TH_RST_ | TH_ACK_, 1001, 5001);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (!odd_is_for(&forms[i], k->family))
			continue;
		odd_build(&packet, &forms[i], &frame);
		CHECK_EQ(lab_ingress_frame(lab, &frame).verdict, LAB_DROP);
	}
}
