// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model_text.h"

/*
 * Services and EndpointSlices, seen through a route that splits shop/api over shop/blue. The
 * text under test stands first: its lines count from 1.
 */
#define API(spec)                                                                                  \
	"apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\nspec:\n"           \
	"  ports: [{name: http, port: 80}]\n" spec
#define BLUE                                                                                       \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: blue, namespace: shop}\n"            \
	"spec: {clusterIP: 10.96.0.2, ports: [{name: web, port: 8080}]}\n"
#define ROUTE                                                                                      \
	"---\napiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"                          \
	"metadata: {name: r, namespace: shop}\n"                                                   \
	"spec:\n"                                                                                  \
	"  parentRefs: [{group: '', kind: Service, name: api}]\n"                                  \
	"  rules: [{backendRefs: [{name: blue, port: 8080}]}]\n"
#define SLICE_AS(name, family, endpoints)                                                          \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"                                   \
	"metadata: {name: " name                                                                   \
	", namespace: shop, labels: {kubernetes.io/service-name: blue}}\n"                         \
	"addressType: " family "\nports: [{name: web, port: 9090}]\nendpoints:\n" endpoints
#define SLICE(endpoints) SLICE_AS("s", "IPv4", endpoints)
#define SEEN(slices)	 slices "---\n" API("  clusterIP: 10.96.0.1\n") BLUE ROUTE
#define ASKED(api)	 api BLUE ROUTE
#define HEAD		 "shop/api http:80 tcp shared connection by shop/r\n"

static const struct text_case cases[] = {
	/* ---- addresses ---- */
	{ "a Service is served on its cluster address", ASKED(API("  clusterIP: 10.96.0.1\n")),
	  HEAD "  at 10.96.0.1:80\n  blue=", NULL },
	{ "a dual-stack Service is served on both",
	  ASKED(API("  clusterIP: 10.96.0.1\n  clusterIPs: [10.96.0.1, 'fd00::1']\n")),
	  HEAD "  at 10.96.0.1:80\n  at [fd00::1]:80\n  blue=", NULL },
	{ "external and load-balancer addresses inside --frontend-cidr are served",
	  ASKED(API("  clusterIP: 10.96.0.1\n  externalIPs: [198.51.100.1]\n"
		    "status: {loadBalancer: {ingress: [{ip: 198.51.100.2}]}}\n")),
	  HEAD "  at 10.96.0.1:80\n  at 198.51.100.1:80\n  at 198.51.100.2:80\n  blue=",
	  "FrontendRefused" },
	{ "an external address elsewhere is left out and named",
	  ASKED(API("  clusterIP: 10.96.0.1\n  externalIPs: [8.8.8.8]\n")),
	  "  FrontendRefused=True/AddressNotAllowed: t.yaml:7:17: spec.externalIPs[0]: "
	  "8.8.8.8 lies outside of every --frontend-cidr\n",
	  "at 8.8.8.8" },
	{ "a load-balancer address elsewhere is left out and named",
	  ASKED(API("  clusterIP: 10.96.0.1\n"
		    "status: {loadBalancer: {ingress: [{ip: 8.8.4.4}]}}\n")),
	  "status.loadBalancer.ingress[0].ip: 8.8.4.4 lies outside", "at 8.8.4.4" },
	{ "ipMode Proxy and host names are not ours",
	  ASKED(API("  clusterIP: 10.96.0.1\n"
		    "status: {loadBalancer: {ingress: [{ip: 198.51.100.2, ipMode: Proxy}, "
		    "{hostname: lb.example}]}}\n")),
	  HEAD "  at 10.96.0.1:80\n  blue=", "FrontendRefused" },
	{ "externalTrafficPolicy Local keeps external addresses out",
	  ASKED(API("  clusterIP: 10.96.0.1\n  externalIPs: [198.51.100.1]\n"
		    "  externalTrafficPolicy: Local\n")),
	  "FrontendRefused=True/UnsupportedValue: t.yaml:7:17: spec.externalIPs[0]: 198.51.100.1 "
	  "has spec.externalTrafficPolicy Local",
	  "at 198" },
	{ "a loopback cluster address is refused", ASKED(API("  clusterIP: 127.0.0.1\n")),
	  "report Service shop/api\n  Accepted=False/Invalid: t.yaml:6:14: spec.clusterIP: "
	  "127.0.0.1 cannot be a cluster address\n",
	  HEAD },
	{ "two cluster addresses of one family are refused",
	  ASKED(API("  clusterIPs: [10.96.0.1, 10.96.0.9]\n")),
	  "spec.clusterIPs[1]: a second IPv4 address: one per family\n", HEAD },
	{ "what is no address is refused", ASKED(API("  clusterIP: 10.96.0.300\n")),
	  "spec.clusterIP: \"10.96.0.300\" is not an IP address\n", HEAD },
	{ "a route on a refused Service is told so", ASKED(API("  clusterIP: 127.0.0.1\n")),
	  "Accepted=False/NoMatchingParent: t.yaml:17:16: spec.parentRefs[0]: Service shop/api is "
	  "not valid: see its own report\n",
	  HEAD },
	{ "a Service without an address is said to have none", ASKED(API("  type: ClusterIP\n")),
	  HEAD "  blue=1 drain 60\n", "  at " },
	{ "and has a condition", ASKED(API("  type: ClusterIP\n")),
	  "NoFrontends=True/NoAddress: no address leads here: no packet can be split\n", NULL },
	{ "an address of two services belongs to the one whose cluster address it is",
	  ASKED(API("  clusterIP: 198.51.100.9\n")) "---\napiVersion: v1\nkind: Service\nmetadata: "
						    "{name: aaa, namespace: shop}\n"
						    "spec: {clusterIP: 10.96.0.7, externalIPs: "
						    "[198.51.100.9], ports: [{port: 80}]}\n"
						    "---\napiVersion: "
						    "gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
						    "metadata: {name: q, namespace: shop}\nspec:\n"
						    "  parentRefs: [{group: '', kind: Service, "
						    "name: aaa}]\n"
						    "  rules: [{backendRefs: [{name: blue, port: "
						    "8080}]}]\n",
	  "FrontendRefused=True/Conflicted: 198.51.100.9 port 80 already belongs to shop/api\n",
	  NULL },

	/* ---- what cannot be split ---- */
	{ "a headless Service is not split", ASKED(API("  clusterIP: None\n")),
	  "False/UnsupportedValue: t.yaml:17:16: spec.parentRefs[0]: Service shop/api is headless",
	  HEAD },
	{ "an ExternalName is not split", ASKED(API("  type: ExternalName\n  externalName: x.y\n")),
	  "Service shop/api is an ExternalName", HEAD },
	{ "internalTrafficPolicy Local is refused",
	  ASKED(API("  clusterIP: 10.96.0.1\n  internalTrafficPolicy: Local\n")),
	  "has spec.internalTrafficPolicy Local, which Shunt cannot do yet\n", HEAD },
	{ "fields that do not apply are named",
	  ASKED("apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\nspec:\n"
		"  clusterIP: 10.96.0.1\n  ports: [{name: http, port: 80}]\n"
		"  trafficDistribution: PreferClose\n  newField: 1\n"),
	  "PartiallyHonored=True/UnsupportedValue: these fields do not apply to the split: "
	  "spec.trafficDistribution, spec.newField\n",
	  NULL },
	{ "a Service without a split is no model service", API("  clusterIP: 10.96.0.1\n"), "",
	  "shop/api" },

	/* ---- ports of a Service ---- */
	{ "port 0 is refused",
	  "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\n"
	  "spec: {ports: [{port: 0}]}\n",
	  "Invalid: t.yaml:4:23: spec.ports[0].port: 0 is not between 1 and 65535\n", NULL },
	{ "port 65536 is refused",
	  "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\n"
	  "spec: {ports: [{port: 65536}]}\n",
	  "spec.ports[0].port: 65536 is not between 1 and 65535\n", NULL },
	{ "targetPort 65536 is refused",
	  "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\n"
	  "spec: {ports: [{port: 1, targetPort: 65536}]}\n",
	  "spec.ports[0].targetPort: 65536 is not between 1 and 65535\n", NULL },
	{ "a port twice is refused",
	  "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\n"
	  "spec: {ports: [{port: 1}, {port: 1}]}\n",
	  "spec.ports[1].port: port 1 is in the list twice\n", NULL },
	{ "an unknown protocol is refused",
	  "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\n"
	  "spec: {ports: [{port: 1, protocol: tcp}]}\n",
	  "spec.ports[0].protocol: \"tcp\" is not TCP, UDP or SCTP\n", NULL },

	/* ---- affinity ---- */
	{ "sessionAffinity ClientIP is a session of three hours",
	  ASKED(API("  clusterIP: 10.96.0.1\n  sessionAffinity: ClientIP\n")),
	  "shop/api http:80 tcp shared session/32/128/10800s by shop/r\n", NULL },
	{ "its time-out is taken",
	  ASKED(API("  clusterIP: 10.96.0.1\n  sessionAffinity: ClientIP\n"
		    "  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}\n")),
	  " session/32/128/60s by shop/r\n", NULL },
	{ "a time-out beyond a day is refused",
	  ASKED(API("  sessionAffinity: ClientIP\n"
		    "  sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}\n")),
	  "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is not between 1 and 86400\n",
	  NULL },
	{ "annotations of the Service hold where the route has none",
	  "apiVersion: v1\nkind: Service\n"
	  "metadata: {name: api, namespace: shop, annotations: {shunt.io/affinity: session, "
	  "shunt.io/session-seconds: '7'}}\n"
	  "spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}\n" BLUE ROUTE,
	  " session/32/128/7s by shop/r\n", NULL },
	{ "a wrong annotation of the Service refuses the Service",
	  "apiVersion: v1\nkind: Service\n"
	  "metadata: {name: api, namespace: shop, annotations: {shunt.io/affinity-prefix: "
	  "'33/1'}}\n"
	  "spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}\n" BLUE ROUTE,
	  "report Service shop/api\n  Accepted=False/Invalid: t.yaml:3:80: "
	  "metadata.annotations.shunt.io/affinity-prefix: \"33/1\" is not \"1..32/1..128\"\n",
	  HEAD },

	/* ---- endpoints ---- */
	{ "an endpoint of which nothing is said is ready",
	  SEEN(SLICE("- {addresses: [10.1.0.1]}\n")), "    10.1.0.1:9090 ready\n", NULL },
	{ "null conditions are as if not said",
	  SEEN(SLICE("- {addresses: [10.1.0.1], conditions: {ready: null, serving: null, "
		     "terminating: null}}\n")),
	  "    10.1.0.1:9090 ready\n", NULL },
	{ "an endpoint that is not ready gets nothing",
	  SEEN(SLICE("- {addresses: [10.1.0.1], conditions: {ready: false, serving: false}}\n")),
	  "    10.1.0.1:9090 not-ready\n", "usable" },
	{ "a terminating one gets nothing while another is ready",
	  SEEN(SLICE("- {addresses: [10.1.0.1]}\n"
		     "- {addresses: [10.1.0.2], conditions: {ready: false, terminating: true}}\n")),
	  "    10.1.0.1:9090 ready\n    10.1.0.2:9090 terminating\n", "usable" },
	{ "a terminating one that serves is the last resort",
	  SEEN(SLICE("- {addresses: [10.1.0.1], conditions: {ready: false}}\n"
		     "- {addresses: [10.1.0.2], conditions: {ready: false, terminating: true}}\n")),
	  "    10.1.0.1:9090 not-ready\n    10.1.0.2:9090 terminating usable\n", NULL },
	{ "a terminating one that does not serve is not",
	  SEEN(SLICE("- {addresses: [10.1.0.2], conditions: {ready: false, serving: false, "
		     "terminating: true}}\n")),
	  "    10.1.0.2:9090 not-ready\n", "usable" },
	{ "the families are judged apart",
	  SEEN(SLICE("- {addresses: [10.1.0.1]}\n") "---\n" SLICE_AS(
		  "s6", "IPv6",
		  "- {addresses: ['fd01::1'], conditions: {ready: false, terminating: true}}\n")),
	  "    10.1.0.1:9090 ready\n    [fd01::1]:9090 terminating usable\n", NULL },
	{ "an endpoint in two slices is one",
	  SEEN(SLICE("- {addresses: [10.1.0.1]}\n") "---\n" SLICE_AS(
		  "t", "IPv4", "- {addresses: [10.1.0.1]}\n- {addresses: [10.1.0.0]}\n")),
	  "    10.1.0.0:9090 ready\n    10.1.0.1:9090 ready\n  Accepted", NULL },
	{ "of two entries the one that does not terminate counts, even if not ready",
	  SEEN(SLICE("- {addresses: [10.1.0.1], conditions: {ready: false, terminating: "
		     "true}}\n") "---\n" SLICE_AS("t", "IPv4",
						  "- {addresses: [10.1.0.1], conditions: {ready: "
						  "false}}\n")),
	  "    10.1.0.1:9090 not-ready\n  Accepted", "terminating" },
	{ "only the first address of an endpoint counts",
	  SEEN(SLICE("- {addresses: [10.1.0.1, 10.1.0.2]}\n")), "    10.1.0.1:9090 ready\n",
	  "10.1.0.2" },
	{ "ports are found by the name of the Service's port",
	  SEEN("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
	       "metadata: {name: s, namespace: shop, labels: {kubernetes.io/service-name: blue}}\n"
	       "addressType: IPv4\n"
	       "ports: [{name: admin, port: 1}, {name: web, port: 2}]\n"
	       "endpoints: [{addresses: [10.1.0.1]}]\n"),
	  "    10.1.0.1:2 ready\n", "10.1.0.1:1 " },
	{ "a slice of another Service is not ours",
	  SEEN("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
	       "metadata: {name: s, namespace: shop, labels: {kubernetes.io/service-name: x}}\n"
	       "addressType: IPv4\nports: [{name: web, port: 2}]\n"
	       "endpoints: [{addresses: [10.1.0.1]}]\n"),
	  "  blue=1 drain 60\n  Accepted", NULL },
	{ "a Service without endpoints is resolved and empty",
	  ASKED(API("  clusterIP: 10.96.0.1\n")), "  blue=1 drain 60\n  Accepted", "not-found" },
	{ "an address of the other family is refused", SEEN(SLICE("- {addresses: ['fd01::1']}\n")),
	  "report EndpointSlice shop/s\n  Accepted=False/Invalid: t.yaml:7:16: "
	  "endpoints[0].addresses[0]: fd01::1 is not of the slice's addressType\n",
	  NULL },
	{ "host names as endpoints are refused",
	  SEEN(SLICE_AS("s", "FQDN", "- {addresses: [a.example]}\n")),
	  "Accepted=False/UnsupportedValue: t.yaml:4:14: addressType: "
	  "Shunt does not resolve host names\n",
	  NULL },
	{ "endpoint port 0 is refused",
	  SEEN("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
	       "metadata: {name: s, namespace: shop, labels: {kubernetes.io/service-name: blue}}\n"
	       "addressType: IPv4\nports: [{port: 0}]\n"),
	  "ports[0].port: 0 is not between 1 and 65535\n", NULL },
	{ "ready that is a word is refused",
	  SEEN(SLICE("- {addresses: [10.1.0.1], conditions: {ready: 'yes'}}\n")),
	  "endpoints[0].conditions.ready: must be true or false\n", NULL },

	/* ---- endpoints that are not let in ---- */
	{ "an IPv4 address in IPv6 clothes is refused",
	  SEEN(SLICE_AS("s", "IPv6", "- {addresses: ['::ffff:127.0.0.1']}\n")),
	  "endpoints[0].addresses[0]: ::ffff:127.0.0.1: write the IPv4 address\n", NULL },
	{ "a loopback endpoint is refused and named", SEEN(SLICE("- {addresses: [127.0.0.1]}\n")),
	  "EndpointRefused=True/AddressNotAllowed: t.yaml:7:16: endpoints[0].addresses[0]: "
	  "127.0.0.1 of EndpointSlice shop/s is a loopback address\n",
	  "127.0.0.1:9090" },
	{ "a link-local endpoint is refused", SEEN(SLICE("- {addresses: [169.254.169.254]}\n")),
	  "is a link-local address\n", "169.254.169.254:9090" },
	{ "the node's own address is refused", SEEN(SLICE("- {addresses: [192.0.2.9]}\n")),
	  "is an address of this node\n", "192.0.2.9:9090" },
	{ "a multicast endpoint is refused", SEEN(SLICE("- {addresses: [224.0.0.1]}\n")),
	  "is a multicast address\n", "224.0.0.1:9090" },
	{ "an unspecified endpoint is refused", SEEN(SLICE("- {addresses: [0.0.0.0]}\n")),
	  "is unspecified\n", "0.0.0.0:9090" },
};

static struct shunt_cidr cidr;
static struct shunt_ip node;
static struct shunt_translate_opts opts = {
	.frontend_cidrs = &cidr,
	.n_frontend_cidrs = 1,
	.node_addrs = &node,
	.n_node_addrs = 1,
	.default_drain_s = 60,
};

static void set_up(void)
{
	cr_assert_eq(shunt_cidr_parse("198.51.100.0/24", &cidr), 0);
	cr_assert_eq(shunt_ip_parse("192.0.2.9", &node), 0);
}

TestSuite(dialect_service, .init = set_up);

Test(dialect_service, services_and_slices_become_what_the_table_says)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect_text(&cases[i], "", &opts);
}

Test(dialect_service, node_endpoints_are_let_in_when_allowed)
{
	static const char yaml[] = SEEN(SLICE("- {addresses: [127.0.0.1]}\n"
					      "- {addresses: [169.254.1.1]}\n"
					      "- {addresses: [192.0.2.9]}\n"
					      "- {addresses: [224.0.0.1]}\n"));
	CLEANUP(freep) char *text = NULL;

	opts.allow_node_endpoints = true;
	text = text_of_yaml(yaml, &opts);
	cr_expect(strstr(text, "    127.0.0.1:9090 ready\n    169.254.1.1:9090 ready\n"
			       "    192.0.2.9:9090 ready\n"),
		  "%s", text);
	cr_expect(!strstr(text, "224.0.0.1:9090"), "%s", text);
}

Test(dialect_service, without_frontend_cidrs_no_external_address_is_taken)
{
	CLEANUP(freep) char *text = NULL;

	opts.n_frontend_cidrs = 0;
	text = text_of_yaml(ASKED(API("  clusterIP: 10.96.0.1\n  externalIPs: [198.51.100.1]\n")),
			    &opts);
	cr_expect(!strstr(text, "at 198"), "%s", text);
}

Test(dialect_service, a_thousand_services_are_translated_in_time)
{
	struct shunt_translate_opts none = { 0 };
	struct shunt_model model;
	char *yaml;
	size_t len;
	FILE *out = open_memstream(&yaml, &len);

	for (int i = 0; i < 1000; i++)
		fprintf(out,
			"---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d}\n"
			"spec: {clusterIP: 10.96.%d.%d, ports: [{port: 80}]}\n"
			"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
			"metadata: {name: e%d, labels: {kubernetes.io/service-name: s%d}}\n"
			"addressType: IPv4\nports: [{port: 80}]\n"
			"endpoints: [{addresses: [10.1.%d.%d]}]\n"
			"---\napiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
			"metadata: {name: r%d}\nspec:\n"
			"  parentRefs: [{group: '', kind: Service, name: s%d}]\n"
			"  rules: [{backendRefs: [{name: s%d, port: 80}, {name: s%d, port: "
			"80}]}]\n",
			i, i / 250, i % 250 + 1, i, i, i / 250, i % 250 + 1, i, i, i,
			(i + 1) % 1000);
	fclose(out);
	model_of_yaml(yaml, &none, &model);
	cr_expect_eq(model.n_services, 1000);
	cr_expect_eq(model.services[999].n_variants, 2);
	cr_expect_eq(model.services[999].variants[1].n_backends, 1);
	shunt_model_free(&model);
	free(yaml);
}
