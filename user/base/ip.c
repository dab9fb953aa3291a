// SPDX-License-Identifier: Apache-2.0
#include "base/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

int shunt_ip_parse(const char *text, struct shunt_ip *ret_ip)
{
	struct shunt_ip ip = { .family = strchr(text, ':') ? SHUNT_V6 : SHUNT_V4 };
	void *bytes = ip.family == SHUNT_V6 ? &ip.addr.word_be[0] : &ip.addr.word_be[3];

	if (inet_pton(ip.family == SHUNT_V6 ? AF_INET6 : AF_INET, text, bytes) != 1)
		return -EINVAL;

	*ret_ip = ip;
	return 0;
}

/* Clears the bits behind @prefix_len of the family's address. */
static void mask_host_bits(struct shunt_ip *ip, unsigned prefix_len)
{
	unsigned first = ip->family == SHUNT_V6 ? 0 : 3;

	for (unsigned w = first; w < 4; w++) {
		unsigned start = (w - first) * 32;
		unsigned keep = prefix_len <= start ? 0 : prefix_len - start;

		if (keep < 32)
			ip->addr.word_be[w] &= keep ? htonl(~0u << (32 - keep)) : 0;
	}
}

int shunt_cidr_parse(const char *text, struct shunt_cidr *ret_cidr)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char address[SHUNT_IP_STR_LEN], *end;
	struct shunt_cidr cidr;
	unsigned long bits, max;

	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';
	if (shunt_ip_parse(address, &cidr.net) < 0)
		return -EINVAL;

	max = cidr.net.family == SHUNT_V6 ? 128 : 32;
	bits = max;
	if (slash) {
		if (slash[1] < '0' || slash[1] > '9')
			return -EINVAL;
		bits = strtoul(slash + 1, &end, 10);
		if (*end || bits > max)
			return -EINVAL;
	}
	cidr.prefix_len = bits;
	mask_host_bits(&cidr.net, bits);
	*ret_cidr = cidr;
	return 0;
}

const char *shunt_ip_str(const struct shunt_ip *ip, char *buf)
{
	const void *bytes = ip->family == SHUNT_V6 ? &ip->addr.word_be[0] : &ip->addr.word_be[3];

	if (!inet_ntop(ip->family == SHUNT_V6 ? AF_INET6 : AF_INET, bytes, buf, SHUNT_IP_STR_LEN))
		snprintf(buf, SHUNT_IP_STR_LEN, "?");
	return buf;
}

int shunt_addr_port_parse(const char *text, struct shunt_ip *ret_ip, uint16_t *ret_port)
{
	char addr[SHUNT_IP_STR_LEN];
	const char *begin = text, *end, *colon = strrchr(text, ':');
	struct shunt_ip ip;
	uint64_t port;

	if (!colon)
		return -EINVAL;
	end = colon;
	if (*text == '[') {
		if (end - begin < 2 || end[-1] != ']')
			return -EINVAL;
		begin++;
		end--;
	}
	if ((size_t)(end - begin) >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, begin, end - begin);
	addr[end - begin] = '\0';

	if (shunt_ip_parse(addr, &ip) < 0 || shunt_number_parse(colon + 1, 65535, &port) < 0 ||
	    !port)
		return -EINVAL;
	/* Brackets and IPv6 belong together, or the last group could be taken for a port. */
	if ((ip.family == SHUNT_V6) != (*text == '['))
		return -EINVAL;
	*ret_ip = ip;
	*ret_port = port;
	return 0;
}

const char *shunt_addr_port_str(const struct shunt_ip *ip, uint16_t port, char *buf)
{
	char address[SHUNT_IP_STR_LEN];

	snprintf(buf, SHUNT_ADDR_PORT_LEN, ip->family == SHUNT_V6 ? "[%s]:%u" : "%s:%u",
		 shunt_ip_str(ip, address), port);
	return buf;
}

bool shunt_ip_equal(const struct shunt_ip *a, const struct shunt_ip *b)
{
	return a->family == b->family && !memcmp(&a->addr, &b->addr, sizeof(a->addr));
}

bool shunt_cidr_contains(const struct shunt_cidr *cidr, const struct shunt_ip *ip)
{
	struct shunt_ip net = *ip;

	mask_host_bits(&net, cidr->prefix_len);
	return shunt_ip_equal(&net, &cidr->net);
}

/* Is @ip inside one of two literal networks? */
static bool inside(const struct shunt_ip *ip, const char *net4, const char *net6)
{
	struct shunt_cidr cidr;

	return !shunt_cidr_parse(ip->family == SHUNT_V6 ? net6 : net4, &cidr) &&
	       shunt_cidr_contains(&cidr, ip);
}

bool shunt_ip_is_loopback(const struct shunt_ip *ip)
{
	return inside(ip, "127.0.0.0/8", "::1/128");
}

bool shunt_ip_is_link_local(const struct shunt_ip *ip)
{
	return inside(ip, "169.254.0.0/16", "fe80::/10");
}

bool shunt_ip_is_unspecified(const struct shunt_ip *ip)
{
	return inside(ip, "0.0.0.0/8", "::/128");
}

bool shunt_ip_is_multicast(const struct shunt_ip *ip)
{
	return inside(ip, "224.0.0.0/4", "ff00::/8") ||
	       (ip->family == SHUNT_V4 && ip->addr.word_be[3] == INADDR_BROADCAST);
}
