// SPDX-License-Identifier: Apache-2.0
/* ICMP errors of Shunt itself, where it routes: too big, and at the last hop. */
#include <net/if.h>
#include <sched.h>
#include <string.h>

#include <bpf/bpf.h>

#include "odd.h"

TestSuite(told, .timeout = 60);

#define NODE	 200 /* a client's number, whose address is the node's */
#define MTU	 1300
#define MTU_BACK 1350

struct error {
	uint8_t type[2], code[2]; /* by family */
	uint16_t mtu;		  /* 0: none */
};

static const struct error exceeded = { { 11, 3 }, { 0, 0 }, 0 };

static struct error too_big(uint16_t mtu)
{
	return (struct error){ { 3, 2 }, { 4, 0 }, mtu };
}

/* Clients behind gate0, backend 1 behind gate1, both uplinks; each way has an MTU of its own. */
static struct lab_packet from_afar(struct lab *lab)
{
	const char *const way = "ip route replace %s/%s dev ";
	static bool is_made;
	char command[128];

	for (int family = 0; !is_made && family < SHUNT_N_FAMILIES; family++) {
		struct shunt_addr ends[2] = { lab_client_addr(family, 1),
					      lab_backend_addr(family, 1) };

		cr_assert_eq(system("echo 1 >/proc/sys/net/ipv4/ip_forward; "
				    "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; "
				    "for i in lo gate0 gate1; do ip link set $i up; done"),
			     0);
		for (int i = 0; i < 2; i++) {
			snprintf(command, sizeof(command), "%sgate%d mtu lock %d", way, i,
				 i ? MTU : MTU_BACK);
			lab_run_ip(command, &ends[i], family);
			snprintf(command, sizeof(command),
				 "ip neigh replace %%s lladdr 02:00:00:00:00:c1 dev gate%d", i);
			lab_run_ip(command, &ends[i], family);
		}
	}
	is_made = true;
	for (int i = 0; i < 2; i++) {
		struct shunt_gate gate = { .flags = SHUNT_GATE_UPLINK };

		for (int family = 0; family < SHUNT_N_FAMILIES; family++)
			gate.source[family] = lab_client_addr(family, NODE);
		cr_assert_eq(
			bpf_map_update_elem(lab->maps.gates_fd, &lab->gates[i], &gate, BPF_ANY), 0);
	}
	lab_scene(lab, 1, 1);
	return lab_from_client(lab, 1, 4000, 1);
}

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* The error that answers @sent, of which it quotes @quoted bytes from the IP header on. */
static void build_error(const struct lab_kind *k, const struct lab_frame *sent,
			const struct error *error, size_t quoted, struct lab_frame *want)
{
	bool is_v6 = k->family == SHUNT_V6;
	size_t ip_len = packet_ip_len(k->family), addr_len = is_v6 ? 16 : 4, addrs = is_v6 ? 8 : 12;
	const uint8_t *from = sent->data + LAB_ETH;
	uint8_t *ip = want->data + LAB_ETH, *icmp = ip + ip_len;
	uint32_t pseudo = 0;

	memset(want, 0, sizeof(*want));
	want->len = (uint32_t)(LAB_ETH + ip_len + 8 + quoted);
	memcpy(want->data, sent->data + 6, 6);
	memcpy(want->data + 6, sent->data, 6);
	memcpy(want->data + 12, sent->data + 12, 2);
	ip[0] = is_v6 ? 0x60 : 0x45;
	put16(ip + (is_v6 ? 4 : 2), 8 + quoted + (is_v6 ? 0 : ip_len));
	if (!is_v6)
		put16(ip + 6, 0x4000);
	ip[is_v6 ? 7 : 8] = 64;
	ip[is_v6 ? 6 : 9] = is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	memcpy(ip + addrs, from + addrs + addr_len, addr_len);
	memcpy(ip + addrs + addr_len, from + addrs, addr_len);
	icmp[0] = error->type[is_v6];
	icmp[1] = error->code[is_v6];
	put16(icmp + 6, error->mtu);
	memcpy(icmp + 8, from, quoted);
	if (is_v6)
		pseudo = packet_pseudo(ip, SHUNT_V6, IPPROTO_ICMPV6, 8 + quoted);
	else
		put16(ip + 10, packet_fold(packet_sum(ip, 20, 0)));
	put16(icmp + 2, packet_fold(packet_sum(icmp, 8 + quoted, pseudo)));
}

/* Is @sent answered with @error, and nothing else done with it? */
static void check_told(struct lab *lab, const struct lab_frame *sent, const struct error *error,
		       size_t quoted)
{
	enum shunt_reason reason = error->mtu ? SHUNT_R_TOO_BIG : SHUNT_R_HOP_LIMIT;
	struct lab_result got = lab_ingress_frame(lab, sent);
	struct lab_frame want;

	build_error(lab->kind, sent, error, quoted, &want);
	CHECK_REASON(got.reason, reason);
	CHECK_EQ(got.verdict, LAB_BOUNCE);
	CHECK_EQ(got.frame.len, want.len);
	CHECK(!memcmp(got.frame.data, want.data, want.len));
}

static size_t quoted_of(const struct lab_kind *k)
{
	return packet_ip_len(k->family) + 8;
}

/* A packet of @bytes in all of the flow that @first began. */
static struct lab_packet of_length(struct lab_packet first, size_t bytes)
{
	first = lab_flags(first, TH_ACK_, 1001, 5001);
	first.payload =
		(uint16_t)(bytes - packet_ip_len(first.family) - packet_l4_len(first.proto));
	return first;
}

static void check_both_errors(struct lab *lab, struct lab_packet first)
{
	const struct lab_kind *k = lab->kind;
	struct error big = too_big(MTU);
	struct lab_packet packet;
	struct lab_frame frame;
	struct lab_result got;

	CHECK_REASON(lab_ingress(lab, &first).reason, SHUNT_R_FORWARDED);
	for (size_t bytes = MTU - 1; bytes <= MTU + 100; bytes += bytes < MTU + 3 ? 1 : 97) {
		packet = of_length(first, bytes);
		packet_build(&packet, &frame);
		if (bytes > MTU) {
			check_told(lab, &frame, &big, quoted_of(k));
			continue;
		}
		got = lab_ingress_frame(lab, &frame);
		CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	}
	for (size_t bytes = 60; bytes < 1000; bytes += 300) {
		packet = of_length(first, bytes);
		packet.ttl = 1;
		packet_build(&packet, &frame);
		check_told(lab, &frame, &exceeded, quoted_of(k));
	}
	CHECK_EQ(lab_backend_counters(lab, 1).rejects, 0);
	CHECK_EQ(lab_variant_counters(lab, 1).rejects, 0);
}

LAB_EACH(told, a_client_learns_the_mtu_and_who_has_no_hop_left, 0)
{
	(void)k;
	check_both_errors(lab, from_afar(lab));
}

LAB_EACH(told, a_client_learns_both_also_from_xdp_before_5_18, LAB_ONLY_XDP)
{
	(void)k;
	lab_use_plain_xdp(lab);
	check_both_errors(lab, from_afar(lab));
}

LAB_EACH(told, a_remote_backend_learns_them_too, 0)
{
	struct lab_packet first = from_afar(lab), answer;
	struct error big = too_big(MTU_BACK);
	struct lab_frame frame;
	struct lab_result got = lab_ingress(lab, &first);

	answer = lab_answer(&got.packet);
	lab->gate = lab->gates[1];
	CHECK_REASON(lab_ingress(lab, &answer).reason, SHUNT_R_RESTORED);
	answer = of_length(answer, MTU_BACK + 1);
	packet_build(&answer, &frame);
	check_told(lab, &frame, &big, quoted_of(k));
	answer.ttl = 1;
	answer.payload = 20;
	packet_build(&answer, &frame);
	check_told(lab, &frame, &exceeded, quoted_of(k));
}

LAB_EACH(told, options_and_extension_headers_are_quoted, 0)
{
	static const struct odd_form forms[] = {
		{ "with options", { 0 }, 8, { 0 } },
		{ "with headers", { 0 }, 0, { ODD_HEADER(IPPROTO_HOPOPTS) } },
	};
	struct lab_packet packet = from_afar(lab);
	struct lab_frame frame;

	lab_ingress(lab, &packet);
	packet = of_length(packet, 200);
	packet.ttl = 1;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (!odd_is_for(&forms[i], k->family))
			continue;
		odd_build(&packet, &forms[i], &frame);
		check_told(lab, &frame, &exceeded,
			   quoted_of(k) + odd_more_len(&forms[i], k->family));
	}
}

LAB_EACH(told, of_fragments_only_the_first_is_answered, 0)
{
	const struct odd_fragment first = { 7, 0, 64, false }, later = { 7, 64, 128, false };
	struct lab_packet packet = from_afar(lab);
	size_t more = k->family == SHUNT_V6 ? 8 : 0;
	struct lab_frame frame;
	struct lab_result got;

	lab_ingress(lab, &packet);
	packet = of_length(packet, 300);
	odd_build_fragment(&packet, &odd_plain, &first, &frame);
	CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_FORWARDED);
	packet.ttl = 1;
	odd_build_fragment(&packet, &odd_plain, &first, &frame);
	check_told(lab, &frame, &exceeded, quoted_of(k) + more);
	odd_build_fragment(&packet, &odd_plain, &later, &frame);
	got = lab_ingress_frame(lab, &frame);
	CHECK_REASON(got.reason, SHUNT_R_HOP_LIMIT);
	CHECK_EQ(got.verdict, LAB_DROP);
}

LAB_EACH(told, what_came_to_many_is_not_answered, 0)
{
	struct lab_packet packet = from_afar(lab);
	struct lab_frame frame;
	struct lab_result got;

	(void)k;
	lab_ingress(lab, &packet);
	packet = of_length(packet, 100);
	packet.ttl = 1;
	packet_build(&packet, &frame);
	frame.data[0] |= 1;
	got = lab_ingress_frame(lab, &frame);
	CHECK_REASON(got.reason, SHUNT_R_HOP_LIMIT);
	CHECK_EQ(got.verdict, LAB_DROP);
}

LAB_EACH(told, errors_share_the_limit_of_unreachable_ones, 0)
{
	struct lab_packet packet = from_afar(lab);
	struct shunt_settings *settings = lab_settings(lab);
	uint32_t told = 0;
	cpu_set_t first;

	(void)k;
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	cr_assert_eq(sched_setaffinity(0, sizeof(first), &first), 0); /* each has its own limit */
	lab_ingress(lab, &packet);
	settings->answer_cost[SHUNT_ANSWER_ICMP] = 1000 << SHUNT_ANSWER_SHIFT;
	settings->answer_cost[SHUNT_ANSWER_RST] = 0;
	settings->answer_burst_jiffies = 3 * 1000;
	packet = of_length(packet, 100);
	packet.ttl = 1;
	for (int i = 0; i < 10; i++) {
		struct lab_result got = lab_ingress(lab, &packet);

		CHECK_REASON(got.reason, SHUNT_R_HOP_LIMIT);
		told += got.verdict == LAB_BOUNCE;
	}
	CHECK_EQ(told, 3);
}
