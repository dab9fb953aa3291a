// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/ip.h"
#include "datapath/trace_filter.h"

static struct shunt_trace_query query_of(const char *text)
{
	struct shunt_trace_query query;
	struct shunt_err err = { 0 };

	cr_assert_eq(shunt_trace_query_parse(text, &query, &err), 0, "%s: %s", text, err.text);
	return query;
}

static void expect_net(const struct shunt_trace_net *net, const char *addr, const char *mask)
{
	struct shunt_ip want_addr, want_mask;

	cr_assert_eq(shunt_ip_parse(addr, &want_addr), 0);
	cr_assert_eq(shunt_ip_parse(mask, &want_mask), 0);
	cr_expect_arr_eq(&net->addr, &want_addr.addr, sizeof(net->addr), "%s", addr);
	cr_expect_arr_eq(&net->mask, &want_mask.addr, sizeof(net->mask), "%s", mask);
}

Test(trace_filter, no_words_are_all_packets)
{
	static const struct shunt_trace_query everything;
	static const char *const texts[] = { "", " ", "\t \n", "and", " and and " };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct shunt_trace_query query = query_of(texts[i]);

		cr_expect_arr_eq(&query, &everything, sizeof(query), "\"%s\"", texts[i]);
	}
}

Test(trace_filter, addresses_and_networks_of_both_families_become_masks)
{
	struct shunt_trace_query query = query_of("host 10.1.0.9 src 10.1.2.3/12 dst 0.0.0.0/0");

	cr_expect_eq(query.conditions, SHUNT_TRACE_IF_TUPLE);
	cr_expect_eq(query.tuple.family, SHUNT_V4 + 1);
	expect_net(&query.tuple.host[0], "10.1.0.9", "255.255.255.255");
	expect_net(&query.tuple.src, "10.0.0.0", "255.240.0.0");
	expect_net(&query.tuple.dst, "0.0.0.0", "0.0.0.0");

	query = query_of("host fd00::9 and host fd00:1::/36");
	cr_expect_eq(query.tuple.family, SHUNT_V6 + 1);
	expect_net(&query.tuple.host[0], "fd00::9", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	expect_net(&query.tuple.host[1], "fd00:1::", "ffff:ffff:f000::");
}

Test(trace_filter, ports_and_protocols_are_of_either_side_or_of_the_one_that_is_named)
{
	struct shunt_trace_query query = query_of("udp ip6 port 53 port 5353 src port 1 dst port "
						  "65535");

	cr_expect_eq(query.conditions, SHUNT_TRACE_IF_TUPLE);
	cr_expect_eq(query.tuple.proto, IPPROTO_UDP);
	cr_expect_eq(query.tuple.family, SHUNT_V6 + 1);
	cr_expect_eq(query.tuple.port_be[0], htons(53));
	cr_expect_eq(query.tuple.port_be[1], htons(5353));
	cr_expect_eq(query.tuple.sport_be, htons(1));
	cr_expect_eq(query.tuple.dport_be, htons(65535));
	query = query_of("tcp ip tcp");
	cr_expect_eq(query.tuple.proto, IPPROTO_TCP);
	cr_expect_eq(query.tuple.family, SHUNT_V4 + 1);
}

Test(trace_filter, names_are_taken_as_they_are_written)
{
	struct shunt_trace_query query = query_of("service shop/api:80 reason no_weight gate eth0 "
						  "new");

	cr_expect_eq(query.conditions, SHUNT_TRACE_IF_SERVICE | SHUNT_TRACE_IF_REASON |
					       SHUNT_TRACE_IF_GATE | SHUNT_TRACE_IF_NEW);
	cr_expect_str_eq(query.namespace_, "shop");
	cr_expect_str_eq(query.service, "api");
	cr_expect_eq(query.port, 80);
	cr_expect_eq(query.proto, 0);
	cr_expect_eq(query.reason, SHUNT_R_NO_WEIGHT);
	cr_expect_str_eq(query.gate, "eth0");

	query = query_of("service dns:53/udp reason FORWARDED");
	cr_expect_str_eq(query.namespace_, "");
	cr_expect_str_eq(query.service, "dns");
	cr_expect_eq(query.port, 53);
	cr_expect_eq(query.proto, IPPROTO_UDP);
	cr_expect_eq(query.reason, SHUNT_R_FORWARDED);
	cr_expect(query.conditions & SHUNT_TRACE_IF_REASON);
}

static const struct {
	const char *text, *error;
} mistakes[] = {
	{ "tpc", "filter: at character 1, \"tpc\": want tcp, udp, ip, ip6, host NET" },
	{ "tcp or udp", "filter: at character 5, \"or\": all words must hold; there is no or" },
	{ "(tcp)", "filter: at character 1, \"(tcp)\": all words must hold" },
	{ "tcp  host", "filter: at its end, want an address or network" },
	{ "tcp  host 10.0.0", "filter: at character 11, \"10.0.0\": want an address or network" },
	{ "host 10.0.0.0/33", "filter: at character 6, \"10.0.0.0/33\": want an address" },
	{ "src 1.2.3.4 src 1.2.3.5",
	  "filter: at character 13, \"src\": a side's address is taken" },
	{ "host 1.1.1.1 host 2.2.2.2 host 3.3.3.3",
	  "filter: at character 27, \"host\": host is taken twice at most" },
	{ "host 1.1.1.1 dst fd00::1", "filter: at character 18, \"fd00::1\": no packet is of two" },
	{ "ip6 host 1.1.1.1",
	  "filter: at character 10, \"1.1.1.1\": no packet is of two families" },
	{ "tcp udp", "filter: at character 5, \"udp\": no packet is of two protocols" },
	{ "port 0", "filter: at character 6, \"0\": want a port from 1 to 65535" },
	{ "port 65536", "filter: at character 6, \"65536\": want a port from 1 to 65535" },
	{ "port 1 port 2 port 3",
	  "filter: at character 15, \"port\": port is taken twice at most" },
	{ "src port 1 src port 2",
	  "filter: at character 16, \"port\": a side's port is taken once" },
	{ "service /api", "filter: at character 9, \"/api\": want [NAMESPACE/]NAME[:PORT]" },
	{ "service a/b/c", "filter: at character 9, \"a/b/c\": want [NAMESPACE/]NAME[:PORT]" },
	{ "service api:", "filter: at character 9, \"api:\": want [NAMESPACE/]NAME[:PORT]" },
	{ "service api:80/sctp", "filter: at character 9, \"api:80/sctp\": want [NAMESPACE/]NAME" },
	{ "service a service b", "filter: at character 11, \"service\": service is taken once" },
	{ "reason BORED", "filter: at character 8, \"BORED\": want a reason such as FORWARDED" },
	{ "gate an-interface-of-16",
	  "filter: at character 6, \"an-interface-of-16\": want the name" },
	{ "tcp \033[31m", "filter: at character 5, want tcp, udp" },
	{ "h\xc3\xb6st 1.2.3.4", "filter: at character 1, want tcp, udp" },
};

Test(trace_filter, a_mistake_is_pointed_at_and_what_was_expected_is_said)
{
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		struct shunt_trace_query query;
		struct shunt_err err = { 0 };

		cr_expect_eq(shunt_trace_query_parse(mistakes[i].text, &query, &err), -EINVAL, "%s",
			     mistakes[i].text);
		cr_expect(!strncmp(err.text, mistakes[i].error, strlen(mistakes[i].error)),
			  "%s: %s\n(want) %s", mistakes[i].text, err.text, mistakes[i].error);
	}
}

Test(trace_filter, a_text_without_end_is_refused)
{
	char text[SHUNT_TRACE_MAX_FILTER + 2], word[400] = "host ";
	struct shunt_trace_query query;
	struct shunt_err err = { 0 };

	memset(text, ' ', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_expect_eq(shunt_trace_query_parse(text, &query, &err), -EINVAL);
	memset(word + 5, '1', 390);
	cr_expect_eq(shunt_trace_query_parse(word, &query, &err), -EINVAL);
	cr_expect(strstr(err.text, "at character 6"), "%s", err.text);
}

/* ---- names ------------------------------------------------------------------------------- */

static struct shunt_service_name names[20];
static const struct shunt_dp_maps maps = {
	.service_names = { .n = ARRAY_LEN(names), .stride = sizeof(names[0]), .base = names },
};

static void name_service(uint32_t index, const char *namespace_, const char *name, uint16_t port,
			 uint8_t proto)
{
	strcpy(names[index].namespace_, namespace_);
	strcpy(names[index].name, name);
	names[index].port_be = htons(port);
	names[index].proto = proto;
}

static struct shunt_trace_filter resolved(const char *text)
{
	struct shunt_trace_query query = query_of(text);
	struct shunt_trace_filter filter;
	struct shunt_err err = { 0 };

	cr_assert_eq(shunt_trace_query_resolve(&query, &maps, &filter, &err), 0, "%s: %s", text,
		     err.text);
	return filter;
}

static int unresolved(const char *text, const char *want)
{
	struct shunt_trace_query query = query_of(text);
	struct shunt_trace_filter filter;
	struct shunt_err err = { 0 };
	int r = shunt_trace_query_resolve(&query, &maps, &filter, &err);

	cr_expect(strstr(err.text, want), "%s: %s", text, err.text);
	return r;
}

Test(trace_filter, a_service_is_all_of_its_ports_or_the_one_that_is_named)
{
	struct shunt_trace_filter filter;

	name_service(3, "shop", "api", 80, IPPROTO_TCP);
	name_service(5, "shop", "api", 53, IPPROTO_UDP);
	name_service(6, "shop", "api", 53, IPPROTO_TCP);
	name_service(9, "test", "api", 80, IPPROTO_TCP);
	filter = resolved("service shop/api");
	cr_expect_eq(filter.n_services, 3);
	cr_expect(filter.service[0] == 3 && filter.service[1] == 5 && filter.service[2] == 6);
	cr_expect_eq(filter.conditions, SHUNT_TRACE_IF_SERVICE);
	cr_expect_eq(resolved("service api").n_services, 4);
	filter = resolved("service api:80");
	cr_expect(filter.n_services == 2 && filter.service[1] == 9);
	filter = resolved("service shop/api:53/udp");
	cr_expect(filter.n_services == 1 && filter.service[0] == 5);
	cr_expect_eq(unresolved("service shop/api:81", "no service shop/api"), -ENOENT);
	cr_expect_eq(unresolved("service other/api", "no service other/api"), -ENOENT);
}

Test(trace_filter, a_service_of_very_many_ports_has_to_be_named_by_one)
{
	for (uint32_t i = 1; i <= SHUNT_TRACE_SERVICES + 1; i++)
		name_service(i, "shop", "api", (uint16_t)(8000 + i), IPPROTO_TCP);
	cr_expect_eq(unresolved("service api", "more than 16 ports"), -E2BIG);
	cr_expect_eq(resolved("service api:8017").service[0], 17);
}

Test(trace_filter, a_gate_is_its_interface)
{
	cr_expect_eq(resolved("gate lo").ifindex, if_nametoindex("lo"));
	cr_expect_eq(unresolved("gate nowhere0", "no interface nowhere0"), -ENOENT);
}
