/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_IP_H
#define SHUNT_BASE_IP_H

#include <stdbool.h>
#include <stdint.h>

#include "shunt/abi.h"

#define SHUNT_IP_STR_LEN 46

/* An address of either family, in the form that the maps hold (abi.h: IPv4 in word 3). */
struct shunt_ip {
	struct shunt_addr addr;
	uint8_t family; /* enum shunt_slot_index: SHUNT_V4 or SHUNT_V6 */
};

struct shunt_cidr {
	struct shunt_ip net; /* host bits are zero */
	uint8_t prefix_len;  /* 0..32 or 0..128 */
};

/* Parses a literal address. Return: 0, or -EINVAL. */
int shunt_ip_parse(const char *text, struct shunt_ip *ret_ip);

/* Parses ADDRESS/LENGTH or a bare address (a host route). Return: 0, or -EINVAL. */
int shunt_cidr_parse(const char *text, struct shunt_cidr *ret_cidr);

/* Writes the address to @buf (SHUNT_IP_STR_LEN bytes). Return: @buf. */
const char *shunt_ip_str(const struct shunt_ip *ip, char *buf);

/* Parses "10.0.0.1:80" or "[fd00::1]:80". Return: 0, or -EINVAL. */
int shunt_addr_port_parse(const char *text, struct shunt_ip *ret_ip, uint16_t *ret_port);

/* Writes it like that to @buf (SHUNT_ADDR_PORT_LEN bytes); @port in host order. Return: @buf. */
#define SHUNT_ADDR_PORT_LEN (SHUNT_IP_STR_LEN + 8)
const char *shunt_addr_port_str(const struct shunt_ip *ip, uint16_t port, char *buf);

bool shunt_ip_equal(const struct shunt_ip *a, const struct shunt_ip *b);
bool shunt_cidr_contains(const struct shunt_cidr *cidr, const struct shunt_ip *ip);
bool shunt_ip_is_loopback(const struct shunt_ip *ip);	/* 127/8, ::1 */
bool shunt_ip_is_link_local(const struct shunt_ip *ip); /* 169.254/16, fe80::/10 */
bool shunt_ip_is_unspecified(const struct shunt_ip *ip);
bool shunt_ip_is_multicast(const struct shunt_ip *ip); /* also 255.255.255.255 */

#endif
