// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <sched.h>

TestSuite(reject, .timeout = 60);

#define TTL_OF_REJECTS 64

/* A service that rejects whatever begins. */
static struct lab_packet refused(struct lab *lab)
{
	lab_scene(lab, 1, 0);
	return lab_from_client(lab, 1, 4000, 1);
}

/* Ethernet and IP of the answer: back to the sender, whole and well-formed. */
static void check_headers(const struct lab_result *got, const struct lab_frame *sent, uint8_t proto,
			  uint32_t l4_len)
{
	bool is_v6 = sent->data[12] == 0x86;
	const uint8_t *ip = got->frame.data + LAB_ETH, *from = sent->data + LAB_ETH;
	uint32_t ip_len = is_v6 ? 40 : 20, addr_len = is_v6 ? 16 : 4, src = is_v6 ? 8 : 12;

	CHECK_EQ(got->verdict, LAB_BOUNCE);
	CHECK_EQ(got->frame.len, LAB_ETH + ip_len + l4_len);
	CHECK(!memcmp(got->frame.data, sent->data + 6, 6));
	CHECK(!memcmp(got->frame.data + 6, sent->data, 6));
	CHECK(!memcmp(got->frame.data + 12, sent->data + 12, 2));
	CHECK(!memcmp(ip + src, from + src + addr_len, addr_len));
	CHECK(!memcmp(ip + src + addr_len, from + src, addr_len));
	CHECK_EQ(ip[is_v6 ? 6 : 9], proto);
	CHECK_EQ(ip[is_v6 ? 7 : 8], TTL_OF_REJECTS);
	CHECK_EQ(ip[0], is_v6 ? 0x60 : 0x45);
	CHECK_EQ(ip[4 - 2 * !is_v6] << 8 | ip[5 - 2 * !is_v6], (is_v6 ? 0 : 20) + l4_len);
	if (!is_v6) {
		CHECK_EQ(ip[6] << 8 | ip[7], 0x4000);
		CHECK_EQ(packet_fold(packet_sum(ip, 20, 0)), 0);
	}
}

struct rst_case {
	const char *what;
	uint8_t flags;
	uint32_t seq, ack;
	uint16_t payload;
	uint8_t want_flags; /* RFC 9293, 3.10.7.1 */
	uint32_t want_seq, want_ack;
};

static void check_rst(struct lab *lab, const struct lab_packet *packet, const struct rst_case *c,
		      enum shunt_reason reason)
{
	struct lab_frame sent;
	struct lab_result got;
	const uint8_t *tcp;

	packet_build(packet, &sent);
	got = lab_ingress_frame(lab, &sent);
	CHECK_REASON(got.reason, reason);
	check_headers(&got, &sent, IPPROTO_TCP, 20);
	cr_expect(got.sums_right, "%s: %s: checksums", lab_what, c->what);
	cr_expect(got.packet.tcp_flags == c->want_flags && got.packet.seq == c->want_seq &&
			  got.packet.ack == c->want_ack,
		  "%s: %s: flags 0x%02x seq %u ack %u", lab_what, c->what, got.packet.tcp_flags,
		  got.packet.seq, got.packet.ack);
	CHECK_EQ(got.packet.sport, packet->dport);
	CHECK_EQ(got.packet.dport, packet->sport);
	tcp = got.frame.data + LAB_ETH + packet_ip_len(packet->family);
	CHECK_EQ(tcp[12], 0x50);
	CHECK_EQ(tcp[18] << 8 | tcp[19], 0); /* urgent pointer */
}

LAB_EACH(reject, a_refused_syn_gets_the_reset_of_the_standard, LAB_ONLY_TCP)
{
	static const struct rst_case cases[] = {
		{ "SYN", TH_SYN_, 1000, 0, 0, TH_RST_ | TH_ACK_, 0, 1001 },
		{ "SYN with stale ack field", TH_SYN_, 7, 99, 0, TH_RST_ | TH_ACK_, 0, 8 },
		{ "SYN with data", TH_SYN_, 1000, 0, 33, TH_RST_ | TH_ACK_, 0, 1034 },
		{ "SYN with FIN", TH_SYN_ | TH_FIN_, 1000, 0, 0, TH_RST_ | TH_ACK_, 0, 1002 },
		{ "SYN, sequence wraps", TH_SYN_, 0xffffffff, 0, 0, TH_RST_ | TH_ACK_, 0, 0 },
	};
	struct lab_packet packet = refused(lab);

	(void)k;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		packet = lab_flags(packet, cases[i].flags, cases[i].seq, cases[i].ack);
		packet.payload = cases[i].payload;
		check_rst(lab, &packet, &cases[i], SHUNT_R_NO_BACKEND);
	}
}

LAB_EACH(reject, a_mid_stream_packet_that_nobody_takes_gets_the_reset_of_the_standard, LAB_ONLY_TCP)
{
	static const struct rst_case cases[] = {
		{ "ACK", TH_ACK_, 1000, 2000, 0, TH_RST_, 2000, 0 },
		{ "ACK with data", TH_ACK_ | TH_PSH_, 1000, 2000, 999, TH_RST_, 2000, 0 },
		{ "FIN ACK", TH_FIN_ | TH_ACK_, 1000, 0xfffffff0, 1, TH_RST_, 0xfffffff0, 0 },
		{ "SYN ACK", TH_SYN_ | TH_ACK_, 1000, 2000, 0, TH_RST_, 2000, 0 },
		{ "FIN", TH_FIN_, 1000, 0, 5, TH_RST_ | TH_ACK_, 0, 1006 },
		{ "no flags", 0, 1000, 0, 5, TH_RST_ | TH_ACK_, 0, 1005 },
	};
	struct lab_packet packet = refused(lab);

	(void)k;
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED | SHUNT_SVC_RELEASED);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		packet = lab_flags(packet, cases[i].flags, cases[i].seq, cases[i].ack);
		packet.payload = cases[i].payload;
		check_rst(lab, &packet, &cases[i], SHUNT_R_MIDSTREAM_OWNED);
	}
}

LAB_EACH(reject, a_reset_is_never_answered, LAB_ONLY_TCP)
{
	struct lab_packet packet = refused(lab);
	struct lab_result got;
	struct lab_frame sent;

	(void)k;
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED | SHUNT_SVC_RELEASED);
	for (int with_ack = 0; with_ack < 2; with_ack++) {
		packet = lab_flags(packet, (uint8_t)(TH_RST_ | (with_ack ? TH_ACK_ : 0)), 5, 6);
		packet_build(&packet, &sent);
		got = lab_ingress_frame(lab, &sent);
		CHECK_REASON(got.reason, SHUNT_R_MIDSTREAM_OWNED);
		CHECK_EQ(got.verdict, LAB_DROP);
		CHECK(!memcmp(got.frame.data, sent.data, sent.len));
	}
}

/* RFC 1122, 3.2.2; RFC 4443, 2.4 (e). */
LAB_EACH(reject, only_what_came_from_one_host_to_one_is_answered, 0)
{
	static const uint8_t not_hosts[SHUNT_N_FAMILIES][5][16] = {
		[SHUNT_V4] = { { 0, 0, 0, 0 },
			       { 127, 0, 0, 1 },
			       { 224, 0, 0, 1 },
			       { 240, 0, 0, 1 },
			       { 255, 255, 255, 255 } },
		[SHUNT_V6] = { { 0 }, { [15] = 1 }, { 0xff, 2, [15] = 1 }, { 0xff }, { 0 } },
	};
	uint32_t src = LAB_ETH + (k->family == SHUNT_V6 ? 8 : 12);
	struct lab_packet packet = refused(lab);
	struct lab_frame sent, usual;

	packet_build(&packet, &usual);
	CHECK_EQ(lab_ingress_frame(lab, &usual).verdict, LAB_BOUNCE);
	for (int i = 0; i <= 5; i++) {
		sent = usual;
		if (i < 5)
			memcpy(sent.data + src, not_hosts[k->family][i],
			       k->family == SHUNT_V6 ? 16 : 4);
		else
			sent.data[0] |= 1; /* a frame for a group */
		packet_fix(&sent);
		CHECK_EQ(lab_ingress_frame(lab, &sent).verdict, LAB_DROP);
	}
}

/* TCP options are not payload, and a RST has none. */
LAB_EACH(reject, options_of_the_refused_syn_are_not_taken_for_data, LAB_ONLY_TCP)
{
	struct rst_case with_options = { "20 bytes of options, 4 of data",
					 .want_flags = TH_RST_ | TH_ACK_, .want_ack = 1005 };
	struct lab_packet packet = refused(lab);
	struct lab_result got;
	struct lab_frame sent;

	(void)k;
	packet.payload = 24;
	packet_build(&packet, &sent);
	sent.data[LAB_ETH + packet_ip_len(packet.family) + 12] = 10 << 4;
	packet_fix(&sent);
	got = lab_ingress_frame(lab, &sent);
	check_headers(&got, &sent, IPPROTO_TCP, 20);
	CHECK(got.sums_right);
	CHECK_EQ(got.packet.ack, with_options.want_ack);
	CHECK_EQ(got.packet.tcp_flags, with_options.want_flags);
}

LAB_EACH(reject, a_refused_datagram_gets_port_unreachable_that_quotes_it, LAB_ONLY_UDP)
{
	uint32_t ip_len = (uint32_t)packet_ip_len(k->family), icmp_len = 8 + ip_len + 8;
	struct lab_packet packet = refused(lab);
	struct lab_result got;
	struct lab_frame sent;
	const uint8_t *icmp;
	uint32_t sum;

	for (uint16_t payload = 0; payload < 1400; payload += payload < 20 ? 1 : 345) {
		packet.payload = payload;
		packet_build(&packet, &sent);
		got = lab_ingress_frame(lab, &sent);
		CHECK_REASON(got.reason, SHUNT_R_NO_BACKEND);
		check_headers(&got, &sent, k->family == SHUNT_V6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
			      icmp_len);
		icmp = got.frame.data + LAB_ETH + ip_len;
		CHECK_EQ(icmp[0], k->family == SHUNT_V6 ? 1 : 3);
		CHECK_EQ(icmp[1], k->family == SHUNT_V6 ? 4 : 3);
		CHECK_EQ(icmp[4] | icmp[5], 0);
		CHECK(k->family == SHUNT_V6 || !(icmp[6] | icmp[7]));
		CHECK(!memcmp(icmp + 8, sent.data + LAB_ETH, ip_len + 8));
		sum = k->family == SHUNT_V6 ? packet_pseudo(got.frame.data + LAB_ETH, SHUNT_V6,
							    IPPROTO_ICMPV6, icmp_len)
					    : 0;
		CHECK_EQ(packet_fold(packet_sum(icmp, icmp_len, sum)), 0);
	}
}

/* Ethernet pads short frames to 60 bytes; what comes back may keep that, but no more. */
LAB_EACH(reject, a_padded_frame_is_refused_too, LAB_ONLY_V4)
{
	struct lab_packet packet = refused(lab);
	struct lab_result got;
	struct lab_frame sent;
	uint32_t want = k->proto == IPPROTO_TCP ? 54 : 70;

	packet.payload = 0;
	packet_build(&packet, &sent);
	sent.len = 60;
	got = lab_ingress_frame(lab, &sent);
	CHECK_REASON(got.reason, SHUNT_R_NO_BACKEND);
	CHECK_EQ(got.verdict, LAB_BOUNCE);
	CHECK(got.frame.len >= want && got.frame.len <= want + 18);
	got.frame.len = want;
	CHECK_EQ(got.frame.data[LAB_ETH + 2] << 8 | got.frame.data[LAB_ETH + 3], want - LAB_ETH);
	if (k->proto == IPPROTO_TCP) {
		packet_parse(&got.frame, &got.packet, &got.sums_right);
		CHECK(got.sums_right);
		CHECK_EQ(got.packet.ack, 1001);
	}
}

/* The length in the IP header is the sender's word: it must not lead outside of the frame. */
LAB_EACH(reject, a_lying_length_is_refused_or_dropped, 0)
{
	static const uint16_t lengths[] = { 0, 1, 19, 20, 39, 40, 41, 1000, 0x7fff, 0xffff };
	struct lab_packet packet = refused(lab);
	struct lab_result got;
	struct lab_frame sent;
	uint8_t *at;

	packet_build(&packet, &sent);
	at = sent.data + LAB_ETH + (k->family == SHUNT_V6 ? 4 : 2);
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		at[0] = (uint8_t)(lengths[i] >> 8);
		at[1] = (uint8_t)lengths[i];
		got = lab_ingress_frame(lab, &sent);
		if (!lengths[i]) { /* only super-packets have none */
			CHECK_REASON(got.reason, SHUNT_R_TRUNCATED);
			continue;
		}
		CHECK_REASON(got.reason, SHUNT_R_NO_BACKEND);
		CHECK(got.verdict == LAB_BOUNCE || got.verdict == LAB_DROP);
	}
}

/* One answer in @answer_jiffies, and @burst at once. The limit is each CPU's own: stay on one. */
static void limit_to(struct lab *lab, uint32_t answer_jiffies, uint32_t burst)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	cr_assert_eq(sched_setaffinity(0, sizeof(first), &first), 0);
	lab_settings(lab)->answer_cost[lab->kind->proto == IPPROTO_TCP] = answer_jiffies
									  << SHUNT_ANSWER_SHIFT;
	lab_settings(lab)->answer_burst_jiffies = burst * answer_jiffies;
}

LAB_EACH(reject, answers_are_limited_to_a_burst_and_a_rate, 0)
{
	const uint32_t answer_jiffies = 1000;
	uint32_t begun, n = 0;
	struct lab_result got;

	lab_scene(lab, 1, 1);
	lab_split(lab, 1)->variant[0].ring_size[k->family] = 0;
	limit_to(lab, answer_jiffies, 3);
	begun = lab_jiffies(lab);
	for (uint16_t port = 1; port <= 10; port++) {
		struct lab_packet packet = lab_from_client(lab, 1, port, 1);

		got = lab_ingress(lab, &packet);
		CHECK_EQ(got.reason == SHUNT_R_NO_BACKEND, got.verdict == LAB_BOUNCE);
		CHECK_EQ(got.reason == SHUNT_R_ANSWER_LIMIT, got.verdict == LAB_DROP);
		n += got.verdict == LAB_BOUNCE;
	}
	cr_assert_lt(lab_jiffies(lab) - begun, answer_jiffies, "a jiffy passed for each answer");
	CHECK_EQ(n, 3);
	CHECK_EQ(lab_reason(lab, SHUNT_R_NO_BACKEND), 3);
	CHECK_EQ(lab_reason(lab, SHUNT_R_ANSWER_LIMIT), 7);
	CHECK_EQ(lab_variant_counters(lab, 1).rejects, 10); /* its share is refused all the same */
}

LAB_EACH(reject, time_pays_for_more_answers, 0)
{
	uint32_t n = 0, begun;

	lab_scene(lab, 1, 1);
	lab_split(lab, 1)->variant[0].ring_size[k->family] = 0;
	limit_to(lab, 4, 1);
	begun = lab_jiffies(lab);
	while (lab_jiffies(lab) - begun < 40) {
		struct lab_packet packet = lab_from_client(lab, 1, 4000, 1);

		n += lab_ingress(lab, &packet).verdict == LAB_BOUNCE;
	}
	CHECK(n >= 2); /* fewer than one in 4 jiffies where the test itself was slow */
	CHECK(n <= 2 + (lab_jiffies(lab) - begun) / 4);
}

LAB_EACH(reject, without_a_limit_each_packet_is_answered, 0)
{
	lab_scene(lab, 1, 1);
	lab_split(lab, 1)->variant[0].ring_size[k->family] = 0;
	for (uint16_t port = 1; port <= 100; port++) {
		struct lab_packet packet = lab_from_client(lab, 1, port, 1);

		CHECK_EQ(lab_ingress(lab, &packet).verdict, LAB_BOUNCE);
	}
}
