// SPDX-License-Identifier: Apache-2.0
/* VLAN tags, IPv4 options and IPv6 extension headers: everything that is not plain but whole. */
#include "odd.h"

#include <linux/if_ether.h>
#include <string.h>

TestSuite(odd, .timeout = 120);

#define HOP	 ODD_HEADER(IPPROTO_HOPOPTS)
#define ROUTE	 ODD_HEADER(IPPROTO_ROUTING)
#define FRAGMENT ODD_HEADER(IPPROTO_FRAGMENT)
#define AH	 ODD_HEADER(IPPROTO_AH)
#define DST	 ODD_HEADER(IPPROTO_DSTOPTS)
#define MH	 ODD_HEADER(IPPROTO_MH)
#define HIP	 ODD_HEADER(139)
#define SHIM6	 ODD_HEADER(140)

static const struct odd_form forms[] = {
	{ "a VLAN tag", { ETH_P_8021Q }, 0, { 0 } },
	{ "a service tag", { ETH_P_8021AD }, 0, { 0 } },
	{ "two tags", { ETH_P_8021AD, ETH_P_8021Q }, 0, { 0 } },
	{ "two old tags", { 0x9100, 0x9100 }, 0, { 0 } },
	{ "an option", { 0 }, 4, { 0 } },
	{ "options", { 0 }, 24, { 0 } },
	{ "as many options as fit", { 0 }, 40, { 0 } },
	{ "tags and options", { ETH_P_8021AD, ETH_P_8021Q }, 40, { 0 } },
	{ "hop by hop", { 0 }, 0, { HOP } },
	{ "a route at its end", { 0 }, 0, { ROUTE } },
	{ "destination options", { 0 }, 0, { DST } },
	{ "authentication", { 0 }, 0, { AH } },
	{ "an only fragment", { 0 }, 0, { FRAGMENT } },
	{ "mobility, host identity, shim", { 0 }, 0, { MH, HIP, SHIM6 } },
	{ "the six of the standard", { 0 }, 0, { HOP, DST, ROUTE, FRAGMENT, AH, DST } },
	{ "tags and headers", { ETH_P_8021Q, ETH_P_8021Q }, 0, { HOP, DST } },
};

/* A packet of the client, and the other way the answer of the backend, in a form. */
static void check_both_ways(struct lab *lab, const struct odd_form *form)
{
	struct lab_packet client, backend, answer;
	struct lab_frame sent, want;
	struct lab_result got;
	uint64_t bytes = packet_ip_len(lab->kind->family) + packet_l4_len(lab->kind->proto) +
			 odd_more_len(form, lab->kind->family);

	lab_reset(lab, lab->kind);
	lab_scene(lab, 1, 1);
	client = lab_from_client(lab, 1, 4000, 1);
	backend = odd_at_backend(lab, client);
	odd_build(&client, form, &sent);
	odd_build(&backend, form, &want);
	got = lab_ingress_frame(lab, &sent);
	odd_check_frame(&got, &want, SHUNT_R_FORWARDED, form->name);

	answer = lab_answer(&backend);
	odd_build(&answer, form, &sent);
	answer = lab_answer(&client);
	odd_build(&answer, form, &want);
	got = lab_egress_frame(lab, &sent);
	odd_check_frame(&got, &want, SHUNT_R_RESTORED, form->name);

	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_in, 1);
	CHECK_EQ(lab_backend_counters(lab, 1).bytes_in, bytes + client.payload);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_out, 1);
	CHECK_EQ(lab_backend_counters(lab, 1).bytes_out, bytes + answer.payload);
}

LAB_EACH(odd, packets_of_every_form_are_translated_both_ways, 0)
{
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		if (odd_is_for(&forms[i], k->family))
			check_both_ways(lab, &forms[i]);
}

/* The form of a packet is nothing of its flow. */
LAB_EACH(odd, the_packets_of_one_connection_may_differ_in_form, 0)
{
	struct lab_packet client, backend;
	struct lab_frame sent, want;
	struct lab_result got;

	lab_scene(lab, 1, 1);
	client = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &client);
	client = lab_flags(client, TH_ACK_, 1001, 5001);
	backend = odd_at_backend(lab, client);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (!odd_is_for(&forms[i], k->family))
			continue;
		odd_build(&client, &forms[i], &sent);
		odd_build(&backend, &forms[i], &want);
		got = lab_ingress_frame(lab, &sent);
		odd_check_frame(&got, &want, SHUNT_R_FORWARDED, forms[i].name);
	}
	CHECK_EQ(lab_flows_in_use(lab), 1);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
}

LAB_EACH(odd, a_connection_of_any_form_is_tracked_to_its_end, LAB_ONLY_TCP)
{
	static const struct odd_form v4 = { "", { ETH_P_8021Q }, 12, { 0 } };
	static const struct odd_form v6 = { "", { ETH_P_8021Q }, 0, { HOP, DST } };
	const struct odd_form *form = k->family == SHUNT_V6 ? &v6 : &v4;
	static const struct {
		bool is_answer;
		uint8_t flags;
		uint32_t seq, ack, state;
	} steps[] = {
		{ false, TH_SYN_, 1000, 0, SHUNT_F_SYN },
		{ true, TH_SYN_ | TH_ACK_, 5000, 1001, SHUNT_F_SYN_ACK },
		{ false, TH_ACK_, 1001, 5001, SHUNT_F_ESTABLISHED },
		{ false, TH_FIN_ | TH_ACK_, 1001, 5001, SHUNT_F_FIN_SEEN },
		{ true, TH_FIN_ | TH_ACK_, 5001, 1002, SHUNT_F_FIN_CLIENT },
		{ false, TH_ACK_, 1002, 5002, SHUNT_F_CLOSED },
	};
	struct lab_packet client, answer, packet;
	struct lab_frame frame;

	lab_scene(lab, 1, 1);
	client = lab_from_client(lab, 1, 4000, 1);
	answer = odd_at_backend(lab, client);
	answer = lab_answer(&answer);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		packet = lab_flags(steps[i].is_answer ? answer : client, steps[i].flags,
				   steps[i].seq, steps[i].ack);
		odd_build(&packet, form, &frame);
		if (steps[i].is_answer)
			CHECK_REASON(lab_egress_frame(lab, &frame).reason, SHUNT_R_RESTORED);
		else
			CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_FORWARDED);
		CHECK_EQ(lab_state(lab, &client), steps[i].state);
	}
	CHECK_EQ(lab_active(lab, 1), 0);
}

static void check_passed(struct lab *lab, const struct lab_frame *frame, enum shunt_reason reason)
{
	struct lab_result got = lab_ingress_frame(lab, frame);

	lab_check_untouched(&got, frame, reason);
	got = lab_egress_frame(lab, frame);
	lab_check_untouched(&got, frame, reason);
	CHECK_EQ(lab_flows_in_use(lab), 0);
}

LAB_EACH(odd, what_goes_too_deep_is_passed, 0)
{
	static const struct {
		struct odd_form form;
		enum shunt_reason reason;
	} cases[] = {
		{ { "", { ETH_P_8021Q, ETH_P_8021Q, ETH_P_8021Q }, 0, { 0 } }, SHUNT_R_VLAN_DEPTH },
		{ { "", { 0 }, 0, { HOP, DST, DST, DST, DST, DST, DST } }, SHUNT_R_EXT_HEADERS },
	};
	struct lab_packet packet;
	struct lab_frame frame;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (!odd_is_for(&cases[i].form, k->family))
			continue;
		odd_build(&packet, &cases[i].form, &frame);
		check_passed(lab, &frame, cases[i].reason);
	}
}

/* Its destination is not yet where it goes to, and not what its checksum covers. */
LAB_EACH(odd, a_route_with_segments_left_is_passed, LAB_ONLY_V6)
{
	static const struct odd_form form = { "", { 0 }, 0, { ROUTE } };
	struct lab_packet packet;
	struct lab_frame frame;

	(void)k;
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	odd_build(&packet, &form, &frame);
	frame.data[LAB_ETH + 40 + 3] = 1;
	check_passed(lab, &frame, SHUNT_R_EXT_HEADERS);
}

LAB_EACH(odd, what_stands_behind_tags_and_is_not_ip_is_passed, 0)
{
	static const struct odd_form form = { "", { ETH_P_8021AD, ETH_P_8021Q }, 0, { 0 } };
	static const uint16_t types[] = { 0, ETH_P_ARP, ETH_P_MPLS_UC, ETH_P_PPP_SES, 0xffff };
	struct lab_packet packet;
	struct lab_frame frame;

	(void)k;
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	odd_build(&packet, &form, &frame);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		frame.data[20] = (uint8_t)(types[i] >> 8);
		frame.data[21] = (uint8_t)types[i];
		check_passed(lab, &frame, SHUNT_R_NOT_IP);
	}
}

/* Cut anywhere behind the tags, by the frame's end and by the length in its header. */
LAB_EACH(odd, a_packet_of_any_form_cut_short_is_passed, 0)
{
	struct lab_packet packet;
	struct lab_frame frame;
	uint32_t headers;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (!odd_is_for(&forms[i], k->family))
			continue;
		odd_build(&packet, &forms[i], &frame);
		headers = (uint32_t)(LAB_ETH + odd_l2_len(&forms[i]) + packet_ip_len(k->family) +
				     odd_more_len(&forms[i], k->family) + packet_l4_len(k->proto));
		/* The kernel itself makes no skb with less than an IP header of this length. */
		for (frame.len = LAB_ETH + 40; frame.len < headers; frame.len++)
			check_passed(lab, &frame,
				     frame.len < LAB_ETH + odd_l2_len(&forms[i])
					     ? SHUNT_R_NOT_IP
					     : SHUNT_R_TRUNCATED);
		frame.len = headers;
		CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_FORWARDED);
		lab_reset(lab, k);
		lab_scene(lab, 1, 1);
	}
}

LAB_EACH(odd, a_length_in_the_header_that_leaves_no_room_is_passed, 0)
{
	const struct odd_form form = { "", { ETH_P_8021Q }, 0, { 0 } };
	size_t at = LAB_ETH + 4 + (k->family == SHUNT_V6 ? 4 : 2);
	size_t fixed = k->family == SHUNT_V6 ? 0 : 20;
	struct lab_packet packet;
	struct lab_frame frame;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	odd_build(&packet, &form, &frame);
	for (size_t len = 1; len < fixed + packet_l4_len(k->proto); len++) {
		frame.data[at] = 0;
		frame.data[at + 1] = (uint8_t)len;
		check_passed(lab, &frame, SHUNT_R_TRUNCATED);
	}
}

LAB_EACH(odd, the_padding_of_a_tagged_frame_stays, LAB_ONLY_V4)
{
	const struct odd_form form = { "", { ETH_P_8021Q }, 0, { 0 } };
	struct lab_packet packet, backend;
	struct lab_frame frame, want;
	struct lab_result got;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	backend = odd_at_backend(lab, packet);
	odd_build(&packet, &form, &frame);
	odd_build(&backend, &form, &want);
	for (; frame.len < 64; frame.len++, want.len++)
		frame.data[frame.len] = want.data[want.len] = 0xa5;
	got = lab_ingress_frame(lab, &frame);
	odd_check_frame(&got, &want, SHUNT_R_FORWARDED, "padded");
	CHECK_EQ(lab_backend_counters(lab, 1).bytes_in, k->proto == IPPROTO_TCP ? 40 : 38);
}

LAB_EACH(odd, a_checksum_that_was_left_out_stays_out_behind_options, LAB_ONLY_V4 | LAB_ONLY_UDP)
{
	const struct odd_form form = { "", { 0 }, 8, { 0 } };
	struct lab_packet packet, backend;
	struct lab_frame frame, want;
	struct lab_result got;

	(void)k;
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	packet.no_checksum = true;
	backend = odd_at_backend(lab, packet);
	odd_build(&packet, &form, &frame);
	odd_build(&backend, &form, &want);
	got = lab_ingress_frame(lab, &frame);
	odd_check_frame(&got, &want, SHUNT_R_FORWARDED, "no checksum");
}

/* BIG TCP: the kernel's own packets of more than 64 KiB have no length, or a hop-by-hop option. */
LAB_EACH(odd, a_super_packet_without_a_length_is_counted_by_what_it_holds,
	 LAB_ONLY_TC | LAB_ONLY_TCP)
{
	const struct odd_form jumbo = { "", { 0 }, 0, { HOP } };
	struct lab_packet packet;
	struct lab_frame frame;
	uint64_t bytes = 0;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	for (int with_option = 0; with_option < 2; with_option++) {
		odd_build(&packet, with_option ? &jumbo : &odd_plain, &frame);
		memset(frame.data + LAB_ETH + (k->family == SHUNT_V6 ? 4 : 2), 0, 2);
		if (k->family == SHUNT_V4)
			odd_fix_ipv4(&odd_plain, &frame);
		CHECK_REASON(lab_ingress_gso(lab, &frame, 40).reason, SHUNT_R_FORWARDED);
		bytes += frame.len - LAB_ETH;
	}
	CHECK_EQ(lab_backend_counters(lab, 1).packets_in, 80);
	CHECK_EQ(lab_backend_counters(lab, 1).bytes_in, bytes);
}
