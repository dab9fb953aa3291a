// SPDX-License-Identifier: Apache-2.0
/* Fragments: the first one has the ports and is decided, the others go with it. */
#include "odd.h"

#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <string.h>

TestSuite(fragment, .timeout = 120);

#define PAYLOAD 1200
#define ID	0xbeef /* of a packet: 16 bits, for both families */

static const struct odd_form forms[] = {
	{ "plain", { 0 }, 0, { 0 } },
	{ "tagged", { ETH_P_8021AD, ETH_P_8021Q }, 0, { 0 } },
	{ "options", { 0 }, 20, { 0 } },
	{ "headers", { 0 }, 0, { ODD_HEADER(IPPROTO_HOPOPTS), ODD_HEADER(IPPROTO_DSTOPTS) } },
};

/* A packet in three: the first, one in the middle, the last. */
static struct odd_fragment part(const struct lab_packet *packet, int n)
{
	size_t all = packet_l4_len(packet->proto) + packet->payload;
	const struct odd_fragment parts[] = {
		{ ID, 0, 400, false },
		{ ID, 400, 800, false },
		{ ID, 800, all, true },
	};

	return parts[n];
}

static struct lab_packet big(const struct lab *lab, struct lab_packet packet)
{
	packet.payload = PAYLOAD;
	return lab->kind->proto == IPPROTO_TCP ? lab_flags(packet, TH_ACK_, 1001, 5001) : packet;
}

/* A flow, and a big packet of its client, of an own id. */
static struct lab_packet client_of(struct lab *lab)
{
	struct lab_packet packet;

	lab_reset(lab, lab->kind);
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &packet);
	return big(lab, packet);
}

static struct lab_result send_part(struct lab *lab, const struct lab_packet *packet, int n)
{
	struct odd_fragment f = part(packet, n);
	struct lab_frame frame;

	odd_build_fragment(packet, &odd_plain, &f, &frame);
	return lab_ingress_frame(lab, &frame);
}

static void check_part(struct lab *lab, const struct odd_form *form, const struct lab_packet *sent,
		       const struct lab_packet *want, int n, bool is_answer)
{
	struct lab_frame frame, expected;
	struct odd_fragment f = part(sent, n);
	struct lab_result got;

	odd_build_fragment(sent, form, &f, &frame);
	odd_build_fragment(want, form, &f, &expected);
	got = is_answer ? lab_egress_frame(lab, &frame) : lab_ingress_frame(lab, &frame);
	odd_check_frame(&got, &expected, is_answer ? SHUNT_R_RESTORED : SHUNT_R_FORWARDED,
			form->name);
}

LAB_EACH(fragment, every_fragment_of_a_packet_goes_with_its_first_one_both_ways, 0)
{
	struct lab_packet client, backend, answer, restored;
	struct shunt_counters counters;

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (!odd_is_for(&forms[i], k->family))
			continue;
		client = client_of(lab);
		backend = odd_at_backend(lab, client);
		answer = big(lab, lab_answer(&backend));
		restored = big(lab, lab_answer(&client));
		for (int n = 0; n < 3; n++)
			check_part(lab, &forms[i], &client, &backend, n, false);
		for (int n = 0; n < 3; n++)
			check_part(lab, &forms[i], &answer, &restored, n, true);
		counters = lab_backend_counters(lab, 1);
		CHECK_EQ(counters.connections, 1);
		CHECK_EQ(counters.packets_in, 2 + 3);
		CHECK_EQ(counters.packets_out, 1 + 3);
		CHECK(counters.bytes_in > PAYLOAD && counters.bytes_out > PAYLOAD);
	}
}

/* Also the datagram that begins a flow may come in fragments. */
LAB_EACH(fragment, a_flow_may_begin_with_fragments, LAB_ONLY_UDP)
{
	struct lab_packet client, backend;

	(void)k;
	lab_scene(lab, 1, 1);
	client = big(lab, lab_from_client(lab, 1, 4000, 1));
	backend = odd_at_backend(lab, client);
	for (int n = 0; n < 3; n++)
		check_part(lab, &odd_plain, &client, &backend, n, false);
	CHECK_EQ(lab_state(lab, &client), SHUNT_F_UDP_NEW);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 1);
	CHECK_EQ(lab_backend_counters(lab, 1).packets_in, 3);
}

static void check_unknown(struct lab *lab, const struct lab_packet *packet,
			  enum shunt_reason reason)
{
	struct odd_fragment f = part(packet, 1);
	struct lab_frame frame;
	struct lab_result got;

	odd_build_fragment(packet, &odd_plain, &f, &frame);
	got = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, reason);
}

LAB_EACH(fragment, without_its_first_one_a_fragment_is_passed, 0)
{
	struct lab_packet client = client_of(lab);

	(void)k;
	check_unknown(lab, &client, SHUNT_R_FRAGMENT_UNKNOWN);
	CHECK_EQ(lab_flows_in_use(lab), 1);
}

/* Whatever tells packets apart must: addresses, id, protocol, direction. */
LAB_EACH(fragment, a_fragment_of_another_packet_is_not_taken_for_one_of_this, 0)
{
	struct lab_packet client = client_of(lab), other;
	struct odd_fragment f = part(&client, 1);
	struct lab_frame frame;
	struct lab_result got;

	CHECK_REASON(send_part(lab, &client, 0).reason, SHUNT_R_FORWARDED);
	other = client;
	other.src = lab_client_addr(k->family, 2);
	check_unknown(lab, &other, SHUNT_R_FRAGMENT_UNKNOWN);
	other = client;
	other.dst = lab_frontend_addr(k->family, 2);
	check_unknown(lab, &other, SHUNT_R_FRAGMENT_UNKNOWN);
	f.id++;
	odd_build_fragment(&client, &odd_plain, &f, &frame);
	got = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, SHUNT_R_FRAGMENT_UNKNOWN);
	f.id--;
	odd_build_fragment(&client, &odd_plain, &f, &frame);
	got = lab_egress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, SHUNT_R_FRAGMENT_UNKNOWN);
	if (k->family == SHUNT_V4) {
		frame.data[LAB_ETH + 9] = k->proto == IPPROTO_TCP ? IPPROTO_UDP : IPPROTO_TCP;
		odd_fix_ipv4(&odd_plain, &frame);
		got = lab_ingress_frame(lab, &frame);
		lab_check_untouched(&got, &frame, SHUNT_R_FRAGMENT_UNKNOWN);
	}
	CHECK_REASON(send_part(lab, &client, 1).reason, SHUNT_R_FORWARDED);
}

/* Changes the one note that there is. */
static void change_note(struct lab *lab, void (*change)(struct shunt_fragment *note))
{
	struct shunt_fragment_key key;
	struct shunt_fragment note;

	cr_assert_eq(bpf_map_get_next_key(lab->fragments_fd, NULL, &key), 0);
	cr_assert_eq(bpf_map_lookup_elem(lab->fragments_fd, &key, &note), 0);
	change(&note);
	cr_assert_eq(bpf_map_update_elem(lab->fragments_fd, &key, &note, BPF_ANY), 0);
}

static void make_old(struct shunt_fragment *note)
{
	note->first_jiffies -= LAB_LONG;
}

LAB_EACH(fragment, a_first_fragment_is_forgotten_when_its_time_is_over, 0)
{
	struct lab_packet client = client_of(lab);

	(void)k;
	CHECK_REASON(send_part(lab, &client, 0).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(send_part(lab, &client, 1).reason, SHUNT_R_FORWARDED);
	change_note(lab, make_old);
	check_unknown(lab, &client, SHUNT_R_FRAGMENT_UNKNOWN);
}

LAB_EACH(fragment, a_note_of_a_flow_that_is_gone_does_not_count, 0)
{
	struct lab_packet client = client_of(lab);
	struct shunt_flow *flow;

	(void)k;
	CHECK_REASON(send_part(lab, &client, 0).reason, SHUNT_R_FORWARDED);
	flow = lab_flow(lab, &client);
	flow->life += 0x100; /* the record's next tenant */
	check_unknown(lab, &client, SHUNT_R_FRAGMENT_UNKNOWN);
	flow->life -= 0x100;
	CHECK_REASON(send_part(lab, &client, 1).reason, SHUNT_R_FORWARDED);
	flow->life &= ~0xffu;
	check_unknown(lab, &client, SHUNT_R_FRAGMENT_UNKNOWN);
}

/* A state is no life: a flow that its answer has moved on is the same. */
LAB_EACH(fragment, a_flow_that_moved_on_keeps_its_fragments, LAB_ONLY_UDP)
{
	struct lab_packet client, answer;

	(void)k;
	lab_scene(lab, 1, 1);
	client = big(lab, lab_from_client(lab, 1, 4000, 1));
	CHECK_REASON(send_part(lab, &client, 0).reason, SHUNT_R_FORWARDED);
	answer = odd_at_backend(lab, client);
	answer = lab_answer(&answer);
	CHECK_REASON(lab_egress(lab, &answer).reason, SHUNT_R_RESTORED);
	CHECK_REASON(send_part(lab, &client, 1).reason, SHUNT_R_FORWARDED);
}

static uint32_t notes(struct lab *lab)
{
	struct shunt_fragment_key key, *last = NULL;
	uint32_t n = 0;

	for (; !bpf_map_get_next_key(lab->fragments_fd, last, &key); last = &key)
		n++;
	return n;
}

LAB_EACH(fragment, a_first_fragment_with_less_than_the_header_is_passed, 0)
{
	struct lab_packet client = client_of(lab);
	struct odd_fragment f = part(&client, 0);
	struct lab_frame frame;
	struct lab_result got;

	for (f.to = 0; f.to < packet_l4_len(k->proto); f.to++) {
		odd_build_fragment(&client, &odd_plain, &f, &frame);
		/* What is padding must not be taken for ports. */
		memset(frame.data + frame.len, 0xa5, 40);
		frame.len += 40;
		got = lab_ingress_frame(lab, &frame);
		lab_check_untouched(&got, &frame, SHUNT_R_FRAGMENT);
	}
	CHECK_EQ(notes(lab), 0);
	f.to = packet_l4_len(k->proto);
	odd_build_fragment(&client, &odd_plain, &f, &frame);
	CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(notes(lab), 1);
}

LAB_EACH(fragment, a_first_fragment_without_all_tcp_options_is_passed, LAB_ONLY_TCP)
{
	struct lab_packet client = client_of(lab);
	struct odd_fragment f = { ID, 0, 24, false };
	struct lab_frame frame;
	struct lab_result got;

	odd_build_fragment(&client, &odd_plain, &f, &frame);
	frame.data[frame.len - 24 + 12] = 7 << 4;
	got = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&got, &frame, SHUNT_R_FRAGMENT);
	frame.data[frame.len - 24 + 12] = 6 << 4;
	CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_FORWARDED);
	(void)k;
}

/* It could give the packet other ports than those that were looked at. */
LAB_EACH(fragment, a_fragment_that_overlaps_the_first_one_is_passed, 0)
{
	struct lab_packet client = client_of(lab);
	struct odd_fragment f = { ID, 0, 1000, false };
	struct lab_frame frame;
	struct lab_result got;

	(void)k;
	CHECK_REASON(send_part(lab, &client, 0).reason, SHUNT_R_FORWARDED);
	for (f.from = 8; f.from <= 400; f.from += 8) {
		odd_build_fragment(&client, &odd_plain, &f, &frame);
		got = lab_ingress_frame(lab, &frame);
		if (f.from < 400)
			lab_check_untouched(&got, &frame, SHUNT_R_FRAGMENT);
		else
			CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	}
}

LAB_EACH(fragment, fragments_of_what_is_not_ours_leave_no_note, 0)
{
	struct lab_packet client = client_of(lab);

	(void)k;
	client.dport = 81;
	CHECK_REASON(send_part(lab, &client, 0).reason, SHUNT_R_NO_SERVICE);
	CHECK_REASON(send_part(lab, &client, 1).reason, SHUNT_R_FRAGMENT_UNKNOWN);
	CHECK_EQ(notes(lab), 0);
}

LAB_EACH(fragment, fragments_of_a_direct_connection_are_left_alone, LAB_ONLY_UDP)
{
	struct lab_packet direct;
	struct odd_fragment f;
	struct lab_frame frame;
	struct lab_result got;

	(void)k;
	lab_scene(lab, 1, 1);
	direct = odd_at_backend(lab, big(lab, lab_from_client(lab, 1, 4000, 1)));
	for (int n = 0; n < 3; n++) {
		f = part(&direct, n);
		odd_build_fragment(&direct, &odd_plain, &f, &frame);
		got = lab_ingress_frame(lab, &frame);
		lab_check_untouched(&got, &frame, SHUNT_R_DIRECT);
	}
}

/* Notes have a table of their own, that only fragments of our flows fill. */
LAB_EACH(fragment, a_flood_of_fragments_displaces_no_flow, 0)
{
	struct lab_packet client = client_of(lab), spoofed = client;
	uint32_t flows = lab_flows_in_use(lab);
	struct odd_fragment f = part(&client, 0);
	struct lab_frame frame;

	(void)k;
	for (uint32_t i = 0; i < 3000; i++) {
		f = part(&spoofed, i % 3 ? 0 : 1);
		f.id = i;
		odd_build_fragment(i % 3 == 1 ? &client : &spoofed, &odd_plain, &f, &frame);
		if (i % 3 == 2)
			frame.data[LAB_ETH + (k->family == SHUNT_V6 ? 39 : 19)] ^= 0x55;
		lab_ingress_frame(lab, &frame);
	}
	CHECK_EQ(lab_flows_in_use(lab), flows);
	CHECK_EQ(lab_state(lab, &client),
		 k->proto == IPPROTO_TCP ? SHUNT_F_ESTABLISHED : SHUNT_F_UDP);
	CHECK(notes(lab) <= 1024);
	for (int n = 0; n < 3; n++)
		CHECK_REASON(send_part(lab, &client, n).reason, SHUNT_R_FORWARDED);
}
