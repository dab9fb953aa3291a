// SPDX-License-Identifier: Apache-2.0
/*
 * What BPF_PROG_TEST_RUN cannot make: skbs with a partial checksum, super-packets, and headers
 * outside of the linear part. They are sent by a packet socket through the programs, which
 * stand at the egress of one end of a veth pair, and read at the other end, where the
 * checksum is completed by hand: a local receiver would not look at it.
 */
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sys/socket.h>

#include "skel/tc.skel.h"

TestSuite(offload, .timeout = 60);

#define MTU 9000

struct wire {
	struct lab *lab;
	int in, out; /* packet sockets */
	struct bpf_tc_hook hook;
	struct bpf_tc_opts filter;
};

/* A frame with what the kernel says about it. */
struct jumbo {
	struct virtio_net_hdr hdr;
	uint8_t data[MTU + 100];
	uint32_t len;
};

static int socket_on(uint32_t ifindex)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)ifindex,
	};
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	cr_assert_geq(fd, 0, "%m");
	cr_assert_eq(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0, "%m");
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0, "%m");
	return fd;
}

static void wire_open(struct wire *wire, struct lab *lab, const struct bpf_program *prog)
{
	memset(wire, 0, sizeof(*wire));
	wire->lab = lab;
	wire->hook = (struct bpf_tc_hook){
		.sz = sizeof(wire->hook),
		.ifindex = (int)lab->gates[0],
		.attach_point = BPF_TC_EGRESS,
	};
	wire->filter = (struct bpf_tc_opts){
		.sz = sizeof(wire->filter),
		.prog_fd = bpf_program__fd(prog),
		.handle = 1,
		.priority = 1,
	};
	cr_assert_eq(system("sysctl -qw net.ipv6.conf.all.disable_ipv6=1; "
			    "ip link set gate0 mtu 9000 up; ip link set gate1 mtu 9000 up"),
		     0);
	cr_assert_eq(bpf_tc_hook_create(&wire->hook), 0);
	cr_assert_eq(bpf_tc_attach(&wire->hook, &wire->filter), 0);
	wire->in = socket_on(lab->gates[0]);
	wire->out = socket_on(lab->gates[1]);
}

static void wire_close(struct wire *wire)
{
	wire->hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&wire->hook);
	close(wire->in);
	close(wire->out);
}

/* Sends @sent and waits for what comes out. Return: false if nothing does. */
static bool through(struct wire *wire, const struct jumbo *sent, struct jumbo *got)
{
	struct pollfd ready = { .fd = wire->out, .events = POLLIN };
	uint8_t buf[sizeof(sent->hdr) + sizeof(sent->data)];
	ssize_t n;

	memcpy(buf, &sent->hdr, sizeof(sent->hdr));
	memcpy(buf + sizeof(sent->hdr), sent->data, sent->len);
	n = write(wire->in, buf, sizeof(sent->hdr) + sent->len);
	cr_assert_eq(n, (ssize_t)(sizeof(sent->hdr) + sent->len), "%s: %m", lab_what);
	while (poll(&ready, 1, 1000) == 1) {
		n = read(wire->out, buf, sizeof(buf));
		cr_assert_gt(n, (ssize_t)(sizeof(sent->hdr) + LAB_ETH));
		/* The lab's own addresses only: 02:00:00:00:00:0x. */
		if (buf[sizeof(sent->hdr)] != 2 || buf[sizeof(sent->hdr) + 6] != 2)
			continue;
		memcpy(&got->hdr, buf, sizeof(got->hdr));
		got->len = (uint32_t)n - sizeof(got->hdr);
		memcpy(got->data, buf + sizeof(got->hdr), got->len);
		return true;
	}
	return false;
}

/* What the network card does with a partial checksum. */
static void complete(struct jumbo *j)
{
	uint32_t start = j->hdr.csum_start;
	uint8_t *check = j->data + start + j->hdr.csum_offset;
	uint16_t sum;

	if (!(j->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return;
	sum = packet_fold(packet_sum(j->data + start, j->len - start, 0));
	check[0] = (uint8_t)(sum >> 8);
	check[1] = (uint8_t)sum;
}

/* Frames of the lab's usual packets, with @payload bytes; complete checksum. */
static void jumbo_build(const struct lab_packet *packet, uint32_t payload, struct jumbo *j)
{
	uint32_t headers = LAB_ETH + packet_ip_len(packet->family) + packet_l4_len(packet->proto);
	struct lab_packet small = *packet;
	struct lab_frame frame;
	uint8_t *ip = j->data + LAB_ETH, *l4 = ip + packet_ip_len(packet->family), *check;
	uint16_t ip_len = (uint16_t)(headers - LAB_ETH + payload), l4_len, sum;

	small.payload = 0;
	packet_build(&small, &frame);
	memset(j, 0, sizeof(*j));
	memcpy(j->data, frame.data, headers);
	for (uint32_t i = 0; i < payload; i++)
		j->data[headers + i] = (uint8_t)(i * 13 + 5);
	j->len = headers + payload;
	l4_len = (uint16_t)(j->len - (uint32_t)(l4 - j->data));
	memcpy(ip + (packet->family == SHUNT_V6 ? 4 : 2),
	       &(uint16_t){ htons(packet->family == SHUNT_V6 ? l4_len : ip_len) }, 2);
	if (packet->family == SHUNT_V4) {
		memset(ip + 10, 0, 2);
		memcpy(ip + 10, &(uint16_t){ htons(packet_fold(packet_sum(ip, 20, 0))) }, 2);
	}
	if (packet->proto == IPPROTO_UDP)
		memcpy(l4 + 4, &(uint16_t){ htons(l4_len) }, 2);
	check = l4 + (packet->proto == IPPROTO_TCP ? 16 : 6);
	memset(check, 0, 2);
	sum = packet_fold(
		packet_sum(l4, l4_len, packet_pseudo(ip, packet->family, packet->proto, l4_len)));
	memcpy(check, &(uint16_t){ htons(sum) }, 2);
}

/* The checksum as a local stack leaves it: the pseudo header's, to be completed. */
static void make_partial(const struct lab_packet *packet, struct jumbo *j)
{
	uint32_t l4 = LAB_ETH + (uint32_t)packet_ip_len(packet->family), off;
	uint16_t sum = (uint16_t)~packet_fold(
		packet_pseudo(j->data + LAB_ETH, packet->family, packet->proto, j->len - l4));

	off = packet->proto == IPPROTO_TCP ? 16 : 6;
	j->data[l4 + off] = (uint8_t)(sum >> 8);
	j->data[l4 + off + 1] = (uint8_t)sum;
	j->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	j->hdr.csum_start = (uint16_t)l4;
	j->hdr.csum_offset = (uint16_t)off;
}

/* What came out must be @want, built anew, once its checksum is completed. */
static void check_jumbo(struct jumbo *got, const struct lab_packet *want, uint32_t payload)
{
	struct jumbo expected;

	jumbo_build(want, payload, &expected);
	complete(got);
	CHECK_EQ(got->len, expected.len);
	CHECK(!memcmp(got->data, expected.data, expected.len));
}

static struct lab_packet translated(const struct lab *lab, struct lab_packet packet)
{
	packet.dst = lab_backend_addr(lab->kind->family, 1);
	packet.dport = LAB_BACKEND_PORT;
	return packet;
}

LAB_EACH(offload, a_partial_checksum_stays_partial_and_becomes_right, LAB_ONLY_TC)
{
	struct lab_packet packet, want;
	struct jumbo sent, got;
	struct wire wire;

	lab_scene(lab, 1, 1);
	wire_open(&wire, lab, lab->tc->progs.shunt_tc_ingress);
	packet = lab_from_client(lab, 1, 4000, 1);
	want = translated(lab, packet);
	for (uint32_t payload = 0; payload < 40; payload += 13) {
		jumbo_build(&packet, payload, &sent);
		make_partial(&packet, &sent);
		cr_assert(through(&wire, &sent, &got), "%s: lost", lab_what);
		CHECK(got.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
		CHECK_EQ(got.hdr.csum_start, sent.hdr.csum_start);
		check_jumbo(&got, &want, payload);
	}
	wire_close(&wire);
	(void)k;
}

LAB_EACH(offload, an_answer_with_a_partial_checksum_is_restored_right, LAB_ONLY_TC)
{
	struct lab_packet packet, answer, want;
	struct jumbo sent, got;
	struct wire wire;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	answer = lab_connect(lab, &packet);
	answer = lab_answer(&answer);
	want = answer;
	want.src = packet.dst;
	want.sport = packet.dport;
	wire_open(&wire, lab, lab->tc->progs.shunt_tc_egress);
	jumbo_build(&answer, 77, &sent);
	make_partial(&answer, &sent);
	cr_assert(through(&wire, &sent, &got), "%s: lost", lab_what);
	check_jumbo(&got, &want, 77);
	wire_close(&wire);
	(void)k;
}

LAB_EACH(offload, a_super_packet_stays_one_and_is_translated, LAB_ONLY_TC | LAB_ONLY_TCP)
{
	struct lab_packet packet, want;
	struct jumbo sent, got;
	struct wire wire;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &packet);
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	want = translated(lab, packet);
	wire_open(&wire, lab, lab->tc->progs.shunt_tc_ingress);
	jumbo_build(&packet, 8000, &sent);
	make_partial(&packet, &sent);
	sent.hdr.gso_type =
		k->family == SHUNT_V6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	sent.hdr.gso_size = 1000;
	sent.hdr.hdr_len = (uint16_t)(LAB_ETH + packet_ip_len(k->family) + 20);
	cr_assert(through(&wire, &sent, &got), "%s: lost", lab_what);
	CHECK_EQ(got.hdr.gso_size, 1000);
	check_jumbo(&got, &want, 8000);
	wire_close(&wire);
}

/* A frame of more than a page is linear only as far as its sender says. */
LAB_EACH(offload, headers_outside_of_the_linear_part_are_pulled_in, LAB_ONLY_TC)
{
	uint32_t headers = LAB_ETH + packet_ip_len(k->family) + packet_l4_len(k->proto);
	struct lab_packet packet, want;
	struct jumbo sent, got;
	struct wire wire;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	want = translated(lab, packet);
	wire_open(&wire, lab, lab->tc->progs.shunt_tc_ingress);
	for (uint32_t linear = LAB_ETH; linear <= headers; linear++) {
		jumbo_build(&packet, 5000, &sent);
		sent.hdr.hdr_len = (uint16_t)linear;
		cr_assert(through(&wire, &sent, &got), "%s: lost", lab_what);
		check_jumbo(&got, &want, 5000);
	}
	CHECK_EQ(lab_reason(lab, SHUNT_R_TRUNCATED), 0);
	wire_close(&wire);
}

/* One's-complement sum of the L4 part and its pseudo header: 0 if right. */
static uint16_t l4_sum(const struct lab_kind *k, const struct jumbo *j)
{
	uint32_t l4 = LAB_ETH + (uint32_t)packet_ip_len(k->family), sum = 0;
	uint8_t proto = k->proto == IPPROTO_TCP ? IPPROTO_TCP : IPPROTO_ICMPV6;

	if (k->proto == IPPROTO_TCP || k->family == SHUNT_V6)
		sum = packet_pseudo(j->data + LAB_ETH, k->family, proto, j->len - l4);
	return packet_fold(packet_sum(j->data + l4, j->len - l4, sum));
}

/* A program cannot see whether a checksum is partial: what it sends back is right both ways. */
LAB_EACH(offload, the_refusal_of_a_packet_with_a_partial_checksum_is_right, LAB_ONLY_TC)
{
	struct lab_packet packet;
	struct jumbo sent, got;
	struct wire wire;

	lab_scene(lab, 1, 0);
	packet = lab_from_client(lab, 1, 4000, 1);
	wire_open(&wire, lab, lab->tc->progs.shunt_tc_ingress);
	jumbo_build(&packet, 100, &sent);
	make_partial(&packet, &sent);
	cr_assert(through(&wire, &sent, &got), "%s: lost", lab_what);
	CHECK_EQ(lab_reason(lab, SHUNT_R_NO_BACKEND), 1);
	CHECK_EQ(l4_sum(k, &got), 0);
	CHECK(got.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
	complete(&got);
	CHECK_EQ(l4_sum(k, &got), 0);
	wire_close(&wire);
}

/* Does the frame quote @sent as it was, and is its sum right? */
static void check_error(const struct lab_kind *k, const struct jumbo *got, const struct jumbo *sent,
			uint32_t quoted)
{
	uint32_t ip_len = (uint32_t)packet_ip_len(k->family), l4 = LAB_ETH + ip_len, pseudo = 0;

	CHECK_EQ(got->len, l4 + 8 + ip_len + quoted);
	CHECK(!memcmp(got->data + l4 + 8, sent->data + LAB_ETH, ip_len + 8));
	if (k->family == SHUNT_V6)
		pseudo =
			packet_pseudo(got->data + LAB_ETH, SHUNT_V6, IPPROTO_ICMPV6, got->len - l4);
	CHECK_EQ(packet_fold(packet_sum(got->data + l4, got->len - l4, pseudo)), 0);
}

/* So is an ICMP error that Shunt itself sends, as of what GRO put together. */
LAB_EACH(offload, an_error_about_a_packet_with_a_partial_checksum_is_right, LAB_ONLY_TC)
{
	struct jumbo sent, got;
	struct lab_packet packet;
	struct wire wire;

	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &packet);
	/* As of a flow from uplink to uplink: it has another source. */
	lab_flow(lab, &packet)->flags |= SHUNT_FLOW_REDIRECT | SHUNT_FLOW_SOURCE_NAT;
	lab_flow(lab, &packet)->source_lo_be ^= 1;
	packet = lab_flags(packet, TH_ACK_, 1001, 5001);
	packet.ttl = 1;
	wire_open(&wire, lab, lab->tc->progs.shunt_tc_ingress);
	for (int n = 0; n < 20; n++) {
		bool is_partial = n % 2;

		packet.ack += (uint32_t)n * 7777;
		jumbo_build(&packet, 100u + (uint32_t)n, &sent);
		if (is_partial)
			make_partial(&packet, &sent);
		cr_assert(through(&wire, &sent, &got), "%s: lost", lab_what);
		CHECK_EQ(lab_reason(lab, SHUNT_R_HOP_LIMIT), 1 + n);
		CHECK_EQ(!!(got.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM), is_partial);
		check_error(k, &got, &sent, is_partial ? 12 : 8);
		complete(&got);
		check_error(k, &got, &sent, is_partial ? 12 : 8);
	}
	wire_close(&wire);
}
