/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BPF_PACKET_H
#define SHUNT_TESTS_BPF_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shunt/abi.h"

/*
 * Packets by name, frames from them, and back, with checksums computed by the textbook:
 * none of the code under test is used.
 */

enum {
	TH_FIN_ = 0x01,
	TH_SYN_ = 0x02,
	TH_RST_ = 0x04,
	TH_PSH_ = 0x08,
	TH_ACK_ = 0x10,
};

#define LAB_ETH	      14
#define LAB_FRAME_MAX 2048

struct lab_frame {
	uint32_t len;
	uint8_t data[LAB_FRAME_MAX];
};

struct lab_packet {
	enum shunt_slot_index family;
	uint8_t proto;
	struct shunt_addr src, dst;
	uint16_t sport, dport; /* host order */
	uint8_t tcp_flags;     /* TH_*_ */
	uint32_t seq, ack;
	uint16_t payload; /* bytes; their content is a fixed pattern */
	uint8_t ttl;
	bool no_checksum; /* UDP over IPv4 only */
};

/* Ethernet, IP and TCP or UDP, with right checksums. */
void packet_build(const struct lab_packet *packet, struct lab_frame *frame);

/**
 * packet_parse - read a frame back
 * @ret_packet: written on true only
 * @ret_sums_right: are the checksums of the IPv4 header, TCP and UDP right, and lengths?
 *
 * Return: false if it is no TCP or UDP over IP, or cut short.
 */
bool packet_parse(const struct lab_frame *frame, struct lab_packet *ret_packet,
		  bool *ret_sums_right);

/* One's-complement sum of @len bytes in network order (RFC 1071), added to @sum. */
uint32_t packet_sum(const uint8_t *data, size_t len, uint32_t sum);
uint16_t packet_fold(uint32_t sum);

/* Sum of the pseudo header of the IP packet at @ip with @len bytes of @proto behind it. */
uint32_t packet_pseudo(const uint8_t *ip, enum shunt_slot_index family, uint8_t proto, size_t len);

/* Recomputes every checksum of a frame that was changed by hand. */
void packet_fix(struct lab_frame *frame);

static inline size_t packet_ip_len(enum shunt_slot_index family)
{
	return family == SHUNT_V6 ? 40 : 20;
}

static inline size_t packet_l4_len(uint8_t proto)
{
	return proto == 6 ? 20 : 8;
}

#endif
