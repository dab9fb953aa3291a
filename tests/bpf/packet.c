// SPDX-License-Identifier: Apache-2.0
#include "packet.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const uint8_t eth_client[6] = { 2, 0, 0, 0, 0, 1 };
static const uint8_t eth_node[6] = { 2, 0, 0, 0, 0, 2 };

/* ---- checksums ------------------------------------------------------------------------------- */

uint32_t packet_sum(const uint8_t *data, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	if (len % 2)
		sum += (uint32_t)data[len - 1] << 8;
	return sum;
}

uint16_t packet_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint32_t packet_pseudo(const uint8_t *ip, enum shunt_slot_index family, uint8_t proto, size_t len)
{
	const uint8_t *addresses = ip + (family == SHUNT_V6 ? 8 : 12);

	return packet_sum(addresses, family == SHUNT_V6 ? 32 : 8, proto + (uint32_t)len);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void put16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, (uint16_t)(value >> 16));
	put16(to + 2, (uint16_t)value);
}

static uint16_t get16(const uint8_t *from)
{
	return (uint16_t)(from[0] << 8 | from[1]);
}

static uint32_t get32(const uint8_t *from)
{
	return (uint32_t)get16(from) << 16 | get16(from + 2);
}

/* ---- building -------------------------------------------------------------------------------- */

static void build_ipv4(const struct lab_packet *packet, uint8_t *ip, size_t len)
{
	ip[0] = 0x45;
	ip[1] = 0x10; /* TOS: must survive */
	put16(ip + 2, (uint16_t)(20 + len));
	put16(ip + 4, 0x1234);
	put16(ip + 6, 0x4000);
	ip[8] = packet->ttl;
	ip[9] = packet->proto;
	memcpy(ip + 12, &packet->src.word_be[3], 4);
	memcpy(ip + 16, &packet->dst.word_be[3], 4);
}

static void build_ipv6(const struct lab_packet *packet, uint8_t *ip, size_t len)
{
	put32(ip, 0x61012345); /* traffic class and flow label: must survive */
	put16(ip + 4, (uint16_t)len);
	ip[6] = packet->proto;
	ip[7] = packet->ttl;
	memcpy(ip + 8, &packet->src, 16);
	memcpy(ip + 24, &packet->dst, 16);
}

static void build_tcp(const struct lab_packet *packet, uint8_t *tcp)
{
	put32(tcp + 4, packet->seq);
	put32(tcp + 8, packet->ack);
	tcp[12] = 5 << 4;
	tcp[13] = packet->tcp_flags;
	put16(tcp + 14, 0x7210);
}

void packet_build(const struct lab_packet *packet, struct lab_frame *frame)
{
	size_t l4_len = packet_l4_len(packet->proto), len = l4_len + packet->payload;
	uint8_t *ip = frame->data + LAB_ETH, *l4 = ip + packet_ip_len(packet->family);

	memset(frame, 0, sizeof(*frame));
	frame->len = (uint32_t)(LAB_ETH + packet_ip_len(packet->family) + len);
	memcpy(frame->data, eth_node, 6);
	memcpy(frame->data + 6, eth_client, 6);
	put16(frame->data + 12, packet->family == SHUNT_V6 ? 0x86dd : 0x0800);
	if (packet->family == SHUNT_V6)
		build_ipv6(packet, ip, len);
	else
		build_ipv4(packet, ip, len);
	put16(l4, packet->sport);
	put16(l4 + 2, packet->dport);
	if (packet->proto == IPPROTO_TCP)
		build_tcp(packet, l4);
	else
		put16(l4 + 4, (uint16_t)len);
	for (size_t i = 0; i < packet->payload; i++)
		l4[l4_len + i] = (uint8_t)(i * 7 + 3);
	packet_fix(frame);
	if (packet->no_checksum)
		put16(l4 + 6, 0);
}

static bool frame_is_v6(const struct lab_frame *frame)
{
	return get16(frame->data + 12) == 0x86dd;
}

void packet_fix(struct lab_frame *frame)
{
	enum shunt_slot_index family = frame_is_v6(frame) ? SHUNT_V6 : SHUNT_V4;
	uint8_t *ip = frame->data + LAB_ETH, *l4 = ip + packet_ip_len(family);
	uint8_t proto = family == SHUNT_V6 ? ip[6] : ip[9];
	size_t len = frame->len - (size_t)(l4 - frame->data);
	uint8_t *check = l4 + (proto == IPPROTO_TCP ? 16 : 6);
	uint16_t sum;

	if (family == SHUNT_V4) {
		put16(ip + 10, 0);
		put16(ip + 10, packet_fold(packet_sum(ip, 20, 0)));
	}
	put16(check, 0);
	sum = packet_fold(packet_sum(l4, len, packet_pseudo(ip, family, proto, len)));
	put16(check, proto == IPPROTO_UDP && !sum ? 0xffff : sum);
}

/* ---- parsing --------------------------------------------------------------------------------- */

static bool sums_right(const struct lab_frame *frame, enum shunt_slot_index family, uint8_t proto)
{
	const uint8_t *ip = frame->data + LAB_ETH, *l4 = ip + packet_ip_len(family);
	size_t len = frame->len - (size_t)(l4 - frame->data);

	if (family == SHUNT_V4 &&
	    (packet_fold(packet_sum(ip, 20, 0)) || get16(ip + 2) != frame->len - LAB_ETH))
		return false;
	if (family == SHUNT_V6 && get16(ip + 4) != len)
		return false;
	if (proto == IPPROTO_UDP && get16(l4 + 4) != len)
		return false;
	if (proto == IPPROTO_UDP && !get16(l4 + 6)) /* left out: only IPv4 may */
		return family == SHUNT_V4;
	return !packet_fold(packet_sum(l4, len, packet_pseudo(ip, family, proto, len)));
}

bool packet_parse(const struct lab_frame *frame, struct lab_packet *ret_packet,
		  bool *ret_sums_right)
{
	struct lab_packet packet = { .family = frame_is_v6(frame) ? SHUNT_V6 : SHUNT_V4 };
	const uint8_t *ip = frame->data + LAB_ETH, *l4 = ip + packet_ip_len(packet.family);
	size_t headers = LAB_ETH + packet_ip_len(packet.family);

	if (packet.family == SHUNT_V4 && (get16(frame->data + 12) != 0x0800 || ip[0] != 0x45))
		return false;
	packet.proto = packet.family == SHUNT_V6 ? ip[6] : ip[9];
	packet.ttl = packet.family == SHUNT_V6 ? ip[7] : ip[8];
	headers += packet_l4_len(packet.proto);
	if ((packet.proto != IPPROTO_TCP && packet.proto != IPPROTO_UDP) || frame->len < headers)
		return false;
	if (packet.family == SHUNT_V6) {
		memcpy(&packet.src, ip + 8, 16);
		memcpy(&packet.dst, ip + 24, 16);
	} else {
		memcpy(&packet.src.word_be[3], ip + 12, 4);
		memcpy(&packet.dst.word_be[3], ip + 16, 4);
	}
	packet.sport = get16(l4);
	packet.dport = get16(l4 + 2);
	packet.payload = (uint16_t)(frame->len - headers);
	if (packet.proto == IPPROTO_TCP) {
		packet.seq = get32(l4 + 4);
		packet.ack = get32(l4 + 8);
		packet.tcp_flags = l4[13];
	} else {
		packet.no_checksum = !get16(l4 + 6);
	}
	*ret_sums_right = sums_right(frame, packet.family, packet.proto);
	*ret_packet = packet;
	return true;
}
