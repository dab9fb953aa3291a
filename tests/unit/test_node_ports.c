// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model_text.h"

/* NodePorts of shop/api, which a route splits, on a node with the addresses below. */
#define API(spec) "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\n" spec
#define ROUTE                                                                                      \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"                          \
	"metadata: {name: r, namespace: shop}\n"                                                   \
	"spec:\n"                                                                                  \
	"  parentRefs: [{group: '', kind: Service, name: api}]\n"                                  \
	"  rules: [{backendRefs: [{name: blue, port: 8080}]}]\n"
#define PORTS(type)                                                                                \
	"spec: {type: " type ", clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 30080}]"
#define AT_V4                                                                                      \
	"  at 10.96.0.1:80\n  at 192.0.2.4:30080 for 80\n  at 198.51.100.4:30080 for 80\n  blue="

static const char *const addresses[] = {
	"127.0.0.1", "192.0.2.4", "198.51.100.4", "::1", "2001:db8::4", "fe80::4",
};

static const struct text_case cases[] = {
	{ "a NodePort stands at every address but loopback", API(PORTS("NodePort") "}\n") ROUTE,
	  AT_V4, "127.0.0.1" },
	{ "also that of a LoadBalancer", API(PORTS("LoadBalancer") "}\n") ROUTE, AT_V4, NULL },
	{ "a ClusterIP has none, whatever is written", API(PORTS("ClusterIP") "}\n") ROUTE,
	  "  at 10.96.0.1:80\n  blue=", "30080" },
	{ "a number of 0 is none",
	  API("spec: {type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 0}]}"
	      "\n") ROUTE,
	  "  at 10.96.0.1:80\n  blue=", "Refused" },
	{ "a number that is no port refuses the Service",
	  API("spec: {type: NodePort, clusterIP: 10.96.0.1, ports: [{port: 80, nodePort: 65536}]}"
	      "\n") ROUTE,
	  "spec.ports[0].nodePort: 65536 is not between 0 and 65535\n", NULL },
	{ "both families of a Service that has both, without link-local addresses",
	  API("spec: {type: NodePort, clusterIPs: [10.96.0.1, 'fd00::1'],\n"
	      "  ports: [{port: 80, nodePort: 30080}]}\n") ROUTE,
	  "  at 198.51.100.4:30080 for 80\n  at [2001:db8::4]:30080 for 80\n  blue=", "fe80" },
	{ "only IPv6 for a Service of IPv6",
	  API("spec: {type: NodePort, clusterIP: 'fd00::1', ports: [{port: 80, nodePort: 30080}]}"
	      "\n") ROUTE,
	  "  at [fd00::1]:80\n  at [2001:db8::4]:30080 for 80\n  blue=", NULL },
	{ "each port has its own",
	  API("spec: {type: NodePort, clusterIP: 10.96.0.1, ports: [{name: a, port: 80, nodePort: "
	      "30080},\n  {name: b, port: 81, nodePort: 30081}]}\n") ROUTE,
	  "  at 192.0.2.4:30080 for 80\n  at 198.51.100.4:30080 for 80\n"
	  "  at 192.0.2.4:30081 for 81\n  at 198.51.100.4:30081 for 81\n  blue=",
	  NULL },
	{ "a port of the other protocol lends its number to nobody",
	  API("spec: {type: NodePort, clusterIP: 10.96.0.1, ports: [{name: a, port: 80, protocol: "
	      "UDP, nodePort: 30053},\n  {name: b, port: 80, nodePort: 30080}]}\n") ROUTE,
	  AT_V4, "30053" },
	{ "externalTrafficPolicy Local leaves them to the cluster's proxy",
	  API(PORTS("NodePort") ",\n  externalTrafficPolicy: Local}\n") ROUTE,
	  "FrontendRefused=True/UnsupportedValue: t.yaml:5:26: spec.externalTrafficPolicy: Local, "
	  "which Shunt cannot do yet: NodePort 30080 stays with the cluster's proxy\n",
	  "at 192" },
	{ "a NodePort gives way to an address that somebody claims by name",
	  API(PORTS("NodePort") "}\n") ROUTE
	  "---\napiVersion: v1\nkind: Service\nmetadata: {name: zzz, namespace: shop}\n"
	  "spec: {externalIPs: [198.51.100.4], ports: [{port: 30080}]}\n"
	  "---\napiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata: {name: q, namespace: shop}\nspec:\n"
	  "  parentRefs: [{group: '', kind: Service, name: zzz}]\n"
	  "  rules: [{backendRefs: [{name: blue, port: 8080}]}]\n",
	  "FrontendRefused=True/Conflicted: 198.51.100.4 port 30080 already belongs to shop/zzz\n",
	  "at 198.51.100.4:30080 for 80" },
};

static struct shunt_cidr everything;
static struct shunt_ip node[ARRAY_LEN(addresses)];
static struct shunt_translate_opts opts = {
	.frontend_cidrs = &everything,
	.n_frontend_cidrs = 1,
	.node_addrs = node,
	.n_node_addrs = ARRAY_LEN(addresses),
	.default_drain_s = 60,
};

static void set_up(void)
{
	cr_assert_eq(shunt_cidr_parse("0.0.0.0/0", &everything), 0);
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
		cr_assert_eq(shunt_ip_parse(addresses[i], &node[i]), 0);
}

TestSuite(node_ports, .init = set_up);

Test(node_ports, they_stand_where_the_table_says)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect_text(&cases[i], "", &opts);
}

Test(node_ports, only_addresses_inside_the_given_networks_have_them)
{
	struct shunt_cidr only;
	CLEANUP(freep) char *text = NULL;

	cr_assert_eq(shunt_cidr_parse("198.51.100.0/24", &only), 0);
	opts.node_port_cidrs = &only;
	opts.n_node_port_cidrs = 1;
	text = text_of_yaml(API(PORTS("NodePort") "}\n") ROUTE, &opts);
	cr_expect(strstr(text, "  at 10.96.0.1:80\n  at 198.51.100.4:30080 for 80\n  blue="), "%s",
		  text);
}

Test(node_ports, none_are_ours_when_none_are_wanted)
{
	CLEANUP(freep) char *text = NULL;

	opts.no_node_ports = true;
	text = text_of_yaml(API(PORTS("NodePort") "}\n") ROUTE, &opts);
	cr_expect(!strstr(text, "30080"), "%s", text);
}
