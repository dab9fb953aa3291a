// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>

#include "base/cleanup.h"
#include "base/ip.h"

Test(ip, addresses_are_parsed_and_printed)
{
	static const char *const good[] = { "10.0.0.1", "255.255.255.255", "0.0.0.0",	      "::",
					    "::1",	"fd00::1",	   "2001:db8::ff:0:1" };
	char text[SHUNT_IP_STR_LEN];
	struct shunt_ip ip;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		cr_expect_eq(shunt_ip_parse(good[i], &ip), 0, "%s", good[i]);
		cr_expect_str_eq(shunt_ip_str(&ip, text), good[i]);
	}
}

Test(ip, what_is_no_address_is_refused_and_leaves_the_result_alone)
{
	static const char *const bad[] = { "",		 "10.0.0",  "10.0.0.256",   "10.0.0.1 ",
					   "10.0.0.1/8", "fd00::g", "fe80::1%eth0", "1.2.3.4.5",
					   "host",	 "[::1]",   "01.2.3.4",	    ":::" };
	struct shunt_ip ip = { .family = 7 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(shunt_ip_parse(bad[i], &ip), -EINVAL, "%s", bad[i]);
	cr_expect_eq(ip.family, 7);
}

Test(ip, an_ipv4_address_stands_in_word_3)
{
	struct shunt_ip ip;

	shunt_ip_parse("1.2.3.4", &ip);
	cr_expect_eq(ip.family, SHUNT_V4);
	cr_expect_eq(ip.addr.word_be[3], htonl(0x01020304));
	cr_expect_eq(ip.addr.word_be[0] | ip.addr.word_be[1] | ip.addr.word_be[2], 0);
}

static const struct {
	const char *cidr, *ip;
	bool inside;
} nets[] = {
	{ "10.0.0.0/8", "10.255.0.1", true },
	{ "10.0.0.0/8", "11.0.0.1", false },
	{ "10.1.2.3/8", "10.9.9.9", true }, /* host bits do not count */
	{ "192.0.2.128/25", "192.0.2.127", false },
	{ "192.0.2.128/25", "192.0.2.255", true },
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "0.0.0.0/0", "8.8.8.8", true },
	{ "0.0.0.0/0", "::", false }, /* the other family */
	{ "::/0", "8.8.8.8", false },
	{ "::/0", "2001:db8::1", true },
	{ "2001:db8::/33", "2001:db8:7fff::1", true },
	{ "2001:db8::/33", "2001:db8:8000::1", false },
	{ "2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", true },
	{ "2001:db8::/64", "2001:db8:0:1::", false },
	{ "fd00::1/128", "fd00::1", true },
	{ "fd00::1/127", "fd00::", true },
};

Test(ip, networks_contain_what_the_table_says)
{
	for (size_t i = 0; i < ARRAY_LEN(nets); i++) {
		struct shunt_cidr cidr;
		struct shunt_ip ip;

		cr_assert_eq(shunt_cidr_parse(nets[i].cidr, &cidr), 0, "%s", nets[i].cidr);
		cr_assert_eq(shunt_ip_parse(nets[i].ip, &ip), 0);
		cr_expect_eq(shunt_cidr_contains(&cidr, &ip), nets[i].inside, "%s in %s",
			     nets[i].ip, nets[i].cidr);
	}
}

Test(ip, what_is_no_network_is_refused)
{
	static const char *const bad[] = { "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x",
					   "::/129",	  "/8",	       "10.0.0.0/ 8", "10/8" };
	struct shunt_cidr cidr;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(shunt_cidr_parse(bad[i], &cidr), -EINVAL, "%s", bad[i]);
}

static const struct {
	const char *ip;
	bool (*is)(const struct shunt_ip *ip);
	bool expect;
} kinds[] = {
	{ "127.0.0.1", shunt_ip_is_loopback, true },
	{ "127.255.255.255", shunt_ip_is_loopback, true },
	{ "128.0.0.1", shunt_ip_is_loopback, false },
	{ "::1", shunt_ip_is_loopback, true },
	{ "::2", shunt_ip_is_loopback, false },
	{ "169.254.0.1", shunt_ip_is_link_local, true },
	{ "169.255.0.1", shunt_ip_is_link_local, false },
	{ "fe80::1", shunt_ip_is_link_local, true },
	{ "febf::1", shunt_ip_is_link_local, true },
	{ "fec0::1", shunt_ip_is_link_local, false },
	{ "0.0.0.0", shunt_ip_is_unspecified, true },
	{ "0.1.2.3", shunt_ip_is_unspecified, true },
	{ "1.0.0.0", shunt_ip_is_unspecified, false },
	{ "::", shunt_ip_is_unspecified, true },
	{ "::1", shunt_ip_is_unspecified, false },
	{ "224.0.0.1", shunt_ip_is_multicast, true },
	{ "239.255.255.255", shunt_ip_is_multicast, true },
	{ "240.0.0.1", shunt_ip_is_multicast, false },
	{ "255.255.255.255", shunt_ip_is_multicast, true },
	{ "255.255.255.254", shunt_ip_is_multicast, false },
	{ "ff02::1", shunt_ip_is_multicast, true },
	{ "fe02::1", shunt_ip_is_multicast, false },
};

Test(ip, special_addresses_are_recognised)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct shunt_ip ip;

		cr_assert_eq(shunt_ip_parse(kinds[i].ip, &ip), 0);
		cr_expect_eq(kinds[i].is(&ip), kinds[i].expect, "%s (row %zu)", kinds[i].ip, i);
	}
}

Test(ip, equality_needs_the_same_family)
{
	struct shunt_ip a, b;

	shunt_ip_parse("0.0.0.1", &a);
	shunt_ip_parse("::1", &b);
	cr_expect(!shunt_ip_equal(&a, &b));
	cr_expect(shunt_ip_equal(&a, &a));
}

static const struct {
	const char *text;
	int r;
	uint16_t port;
} endpoints[] = {
	{ "10.0.0.1:80", 0, 80 },
	{ "[fd00::1]:443", 0, 443 },
	{ "10.0.0.1:65535", 0, 65535 },
	{ "10.0.0.1:0", -EINVAL, 0 },
	{ "10.0.0.1:65536", -EINVAL, 0 },
	{ "10.0.0.1", -EINVAL, 0 },
	{ "10.0.0.1:", -EINVAL, 0 },
	{ ":80", -EINVAL, 0 },
	{ "fd00::1:80", -EINVAL, 0 },
	{ "[10.0.0.1]:80", -EINVAL, 0 },
	{ "[fd00::1:80", -EINVAL, 0 },
	{ "[]:80", -EINVAL, 0 },
	{ "[:80", -EINVAL, 0 },
	{ "10.0.0.1:8a", -EINVAL, 0 },
	{ "10.0.0.1:+8", -EINVAL, 0 },
	{ "10.0.0.256:80", -EINVAL, 0 },
	{ "", -EINVAL, 0 },
	{ "10.0.0.1000000000000000000000000000000000000000000000000:80", -EINVAL, 0 },
};

Test(ip, an_address_and_port_is_read_strictly_and_written_alike)
{
	for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
		struct shunt_ip ip;
		char text[SHUNT_ADDR_PORT_LEN];
		uint16_t port = 0;

		cr_expect_eq(shunt_addr_port_parse(endpoints[i].text, &ip, &port), endpoints[i].r,
			     "%s", endpoints[i].text);
		cr_expect_eq(port, endpoints[i].port, "%s", endpoints[i].text);
		if (!endpoints[i].r)
			cr_expect_str_eq(shunt_addr_port_str(&ip, port, text), endpoints[i].text);
	}
}
