// SPDX-License-Identifier: Apache-2.0
/* The XDP program of kernels that give no bytes at variable offsets: plain packets only. */
#include "odd.h"

#include <linux/if_ether.h>

TestSuite(plain, .timeout = 60);

LAB_EACH(plain, plain_packets_are_translated, LAB_ONLY_XDP)
{
	struct lab_packet client, backend;
	struct lab_result got;

	(void)k;
	lab_use_plain_xdp(lab);
	lab_scene(lab, 1, 1);
	client = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &client);
	client = lab_flags(client, TH_ACK_, 1001, 5001);
	backend = odd_at_backend(lab, client);
	got = lab_ingress(lab, &client);
	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	lab_check_packet(&got, &backend);
}

LAB_EACH(plain, all_other_forms_are_passed_with_their_reason, LAB_ONLY_XDP)
{
	static const struct {
		struct odd_form form;
		bool is_fragment;
		enum shunt_reason reason;
	} cases[] = {
		{ { "", { ETH_P_8021Q }, 0, { 0 } }, false, SHUNT_R_NOT_IP },
		{ { "", { 0 }, 8, { 0 } }, false, SHUNT_R_IPV4_OPTIONS },
		{ { "", { 0 }, 0, { ODD_HEADER(IPPROTO_HOPOPTS) } }, false, SHUNT_R_EXT_HEADERS },
		{ { "", { 0 }, 0, { 0 } }, true, SHUNT_R_FRAGMENT },
	};
	const struct odd_fragment first = { 1, 0, 24, false };
	struct lab_packet packet;
	struct lab_result got;
	struct lab_frame frame;

	lab_use_plain_xdp(lab);
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	packet.payload = 100;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (!odd_is_for(&cases[i].form, k->family))
			continue;
		if (cases[i].is_fragment)
			odd_build_fragment(&packet, &cases[i].form, &first, &frame);
		else
			odd_build(&packet, &cases[i].form, &frame);
		got = lab_ingress_frame(lab, &frame);
		lab_check_untouched(&got, &frame, cases[i].reason);
	}
	CHECK_EQ(lab_flows_in_use(lab), 0);
}
