// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model_text.h"

/* The world behind the routes. It stands after the text under test, whose lines count from 1. */
static const char world[] =
	"\n---\n"
	"apiVersion: v1\n"
	"kind: Service\n"
	"metadata: {name: api, namespace: shop}\n"
	"spec:\n"
	"  clusterIP: 10.96.0.1\n"
	"  ports:\n"
	"  - {name: http, port: 80}\n"
	"  - {name: https, port: 443}\n"
	"  - {name: dns, port: 53, protocol: UDP}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Service\n"
	"metadata: {name: blue, namespace: shop}\n"
	"spec: {clusterIP: 10.96.0.2, ports: [{port: 8080}]}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Service\n"
	"metadata: {name: green, namespace: shop}\n"
	"spec: {clusterIP: 10.96.0.3, ports: [{port: 8080}, {name: d, port: 53, protocol: UDP}]}\n"
	"---\n"
	"apiVersion: discovery.k8s.io/v1\n"
	"kind: EndpointSlice\n"
	"metadata: {name: b1, namespace: shop, labels: {kubernetes.io/service-name: blue}}\n"
	"addressType: IPv4\n"
	"ports: [{name: '', port: 9090}]\n"
	"endpoints: [{addresses: [10.1.0.1]}]\n"
	"---\n"
	"apiVersion: discovery.k8s.io/v1\n"
	"kind: EndpointSlice\n"
	"metadata: {name: g1, namespace: shop, labels: {kubernetes.io/service-name: green}}\n"
	"addressType: IPv4\n"
	"ports: [{name: '', port: 9090}, {name: d, port: 5353, protocol: UDP}]\n"
	"endpoints: [{addresses: [10.2.0.1]}]\n";

#define ROUTE_AS(kind, name, version)                                                              \
	"apiVersion: gateway.networking.k8s.io/" version "\n"                                      \
	"kind: " kind "\n"                                                                         \
	"metadata: {name: " name ", namespace: shop}\n"
#define ROUTE(kind)  ROUTE_AS(kind, "r", "v1")
#define PARENT	     "{group: '', kind: Service, name: api, port: 80}"
#define TO(backends) "spec: {parentRefs: [" PARENT "], rules: [{backendRefs: [" backends "]}]}\n"
#define BLUE	     "{name: blue, port: 8080, weight: 90}"
#define GREEN	     "{name: green, port: 8080, weight: 10}"
#define GOOD	     TO(BLUE ", " GREEN)
#define GRANT(spec)                                                                                \
	"apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n"                    \
	"metadata: {name: g, namespace: other}\nspec: {" spec "}\n"
#define SERVES_80                                                                                  \
	"  at 10.96.0.1:80\n"                                                                      \
	"  blue=90 drain 60\n"                                                                     \
	"    10.1.0.1:9090 ready\n"                                                                \
	"  green=10 drain 60\n"                                                                    \
	"    10.2.0.1:9090 ready\n"
#define SERVED "shop/api http:80 tcp shared connection by shop/r\n" SERVES_80
#define REPORT(kind)                                                                               \
	"report " kind " shop/r\n"                                                                 \
	"  Accepted="

static const struct text_case cases[] = {
	/* ---- what is taken ---- */
	{ "objects with names of a wrong type are refused, and nothing else is",
	  ROUTE("TCPRoute") GOOD "---\napiVersion: v1\nkind: Service\nmetadata: {name: 5}\n"
				 "---\napiVersion: v1\nkind: Pod\nmetadata: [pod]\n",
	  SERVED, NULL },
	{ "documents that are no objects hide no others",
	  ROUTE("TCPRoute") GOOD "---\napiVersion: v1\n---\nword\n---\nkind: Service\n"
				 "---\napiVersion: v1\nkind: List\nitems: [null]\n",
	  SERVED, NULL },
	{ "a document without a kind is refused", "apiVersion: v1\n",
	  "kind: is required and must be a string", NULL },
	{ "a List item that is null is refused", "apiVersion: v1\nkind: List\nitems: [null]\n",
	  "must be a mapping with apiVersion and kind", NULL },
	{ "a Service with a number for a name is refused",
	  "---\napiVersion: v1\nkind: Service\nmetadata: {name: 5}\n",
	  "metadata.name: must be a string", NULL },
	{ "a Pod with a list for metadata is refused",
	  "---\napiVersion: v1\nkind: Pod\nmetadata: [pod]\n", "metadata: must be a mapping",
	  NULL },
	{ "a TCPRoute splits its Service's port", ROUTE("TCPRoute") GOOD, SERVED, "443" },
	{ "a TCPRoute of v1alpha2 does the same", ROUTE_AS("TCPRoute", "r", "v1alpha2") GOOD,
	  SERVED, NULL },
	{ "an HTTPRoute without a match splits connections", ROUTE("HTTPRoute") GOOD, SERVED,
	  NULL },
	{ "an HTTPRoute of v1beta1 does the same", ROUTE_AS("HTTPRoute", "r", "v1beta1") GOOD,
	  SERVED, NULL },
	{ "Flagger's match and its group core are taken",
	  ROUTE("HTTPRoute") "spec:\n"
			     "  parentRefs: [{group: core, kind: Service, name: api, namespace: "
			     "shop, port: 80}]\n"
			     "  hostnames: [api.example]\n"
			     "  rules:\n"
			     "  - matches: [{path: {type: PathPrefix, value: /}}]\n"
			     "    backendRefs:\n"
			     "    - {group: '', kind: Service, name: blue, port: 8080, weight: "
			     "90}\n"
			     "    - {group: core, kind: Service, name: green, port: 8080, weight: "
			     "10}\n",
	  SERVED, NULL },
	{ "a route that is served says so", ROUTE("TCPRoute") GOOD,
	  REPORT("TCPRoute") "True/Accepted: splits shop/api\n"
			     "  ResolvedRefs=True/ResolvedRefs: ",
	  "False" },
	{ "a parent without a port means all ports of the protocol",
	  ROUTE("TCPRoute") "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: api}]\n"
			    "  rules: [{backendRefs: [" BLUE "]}]\n",
	  "shop/api http:80 https:443 tcp shared connection by shop/r\n"
	  "  at 10.96.0.1:80\n"
	  "  at 10.96.0.1:443\n"
	  "  blue=90 drain 60\n"
	  "    10.1.0.1:9090 for 80 ready\n"
	  "    10.1.0.1:9090 for 443 ready\n",
	  ":53" },
	{ "a UDPRoute splits the UDP ports only",
	  ROUTE("UDPRoute") "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: api}]\n"
			    "  rules: [{backendRefs: [{name: green, port: 53}]}]\n",
	  "shop/api dns:53 udp shared connection by shop/r\n"
	  "  at 10.96.0.1:53\n"
	  "  green=1 drain 60\n"
	  "    10.2.0.1:5353 ready\n",
	  ":80" },
	{ "TCP and UDP routes of one Service do not conflict",
	  ROUTE("TCPRoute") GOOD
	  "---\n" ROUTE("UDPRoute") "spec:\n"
				    "  parentRefs: [{group: '', kind: Service, name: api}]\n"
				    "  rules: [{backendRefs: [{name: green, port: 53}]}]\n",
	  "shop/api dns:53 udp", "Conflicted" },
	{ "a weight is 1 when it is not given", ROUTE("TCPRoute") TO("{name: blue, port: 8080}"),
	  "  blue=1 drain 60\n", NULL },
	{ "weights go up to a million",
	  ROUTE("TCPRoute") TO("{name: blue, port: 8080, weight: 1000000}"),
	  "  blue=1000000 drain 60\n", NULL },
	{ "the Service itself can be a backend: its endpoints, not its split",
	  ROUTE("TCPRoute") TO("{name: api, port: 80}"), "  api=1 drain 60\n", "not-found" },
	{ "all weights zero are applied and said",
	  ROUTE("TCPRoute") TO("{name: blue, port: 8080, weight: 0}"),
	  "NoTraffic=True/AllWeightsZero: all weights are 0: every new connection is rejected\n",
	  NULL },
	{ "a backend of another namespace needs no grant",
	  ROUTE("TCPRoute")
		  TO("{name: api, namespace: other, port: 80}") "---\n"
								"apiVersion: v1\nkind: "
								"Service\nmetadata: {name: api, "
								"namespace: other}\n"
								"spec: {clusterIP: 10.96.0.9, "
								"ports: [{port: 80}]}\n",
	  "  api=1 drain 60\n", "not-found" },

	/* ---- references that lead nowhere: applied, their share rejected ---- */
	{ "a missing backend Service keeps its share",
	  ROUTE("TCPRoute") TO(BLUE ", {name: nope, port: 1, weight: 5}"),
	  "  nope=5 not-found drain 60\n", NULL },
	{ "a missing backend Service is named, and the route stays accepted",
	  ROUTE("TCPRoute") TO(BLUE ", {name: nope, port: 1, weight: 5}"),
	  REPORT("TCPRoute") "True/Accepted: splits shop/api\n"
			     "  ResolvedRefs=False/BackendNotFound: t.yaml:4:132: "
			     "spec.rules[0].backendRefs[1]: Service shop/nope does not exist\n",
	  NULL },
	{ "a port that the backend Service lacks is not found",
	  ROUTE("TCPRoute") TO("{name: blue, port: 81}"),
	  "BackendNotFound: t.yaml:4:94: spec.rules[0].backendRefs[0]: "
	  "Service shop/blue has no TCP port 81\n",
	  NULL },
	{ "a port of the other protocol is unsupported",
	  ROUTE("TCPRoute") TO("{name: green, port: 53}"),
	  "ResolvedRefs=False/UnsupportedProtocol: ", NULL },
	{ "a backend of another kind is invalid",
	  ROUTE("TCPRoute") TO("{group: x.io, kind: Pool, name: p, port: 1}"),
	  "ResolvedRefs=False/InvalidKind: t.yaml:4:94: spec.rules[0].backendRefs[0]: "
	  "a Pool of \"x.io\" is not a Service\n",
	  NULL },

	/* ---- what Shunt cannot do ---- */
	{ "a Gateway as parent is refused",
	  ROUTE("HTTPRoute") "spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [" BLUE
			     "]}]}\n",
	  REPORT("HTTPRoute") "False/UnsupportedValue: t.yaml:4:21: spec.parentRefs[0].kind: "
			      "Shunt splits Services only, not a Gateway of ",
	  "shop/api" },
	{ "a consumer route is refused",
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata: {name: r, namespace: beta}\nspec:\n"
	  "  parentRefs: [{group: '', kind: Service, name: api, namespace: shop}]\n"
	  "  rules: [{backendRefs: [" BLUE "]}]\n",
	  "False/UnsupportedValue: t.yaml:5:65: spec.parentRefs[0].namespace: consumer routes come "
	  "later: write the route in the Service's namespace, shop\n",
	  NULL },
	{ "two rules are refused",
	  ROUTE("TCPRoute") "spec: {parentRefs: [" PARENT "], rules: [{backendRefs: [" BLUE
			    "]}, {backendRefs: [" GREEN "]}]}\n",
	  "UnsupportedValue: t.yaml:4:78: spec.rules: Shunt takes exactly one rule, not 2\n",
	  "shop/api" },
	{ "no rule is refused", ROUTE("TCPRoute") "spec: {parentRefs: [" PARENT "], rules: []}\n",
	  "spec.rules: Shunt takes exactly one rule, not 0\n", NULL },
	{ "a path is refused",
	  ROUTE("HTTPRoute") "spec:\n"
			     "  parentRefs: [" PARENT "]\n"
			     "  rules:\n"
			     "  - matches: [{path: {value: /cart}}]\n"
			     "    backendRefs: [" BLUE "]\n",
	  "UnsupportedValue: t.yaml:7:30: spec.rules[0].matches[0].path.value: ", NULL },
	{ "an exact path is refused",
	  ROUTE("HTTPRoute") "spec:\n"
			     "  parentRefs: [" PARENT "]\n"
			     "  rules:\n"
			     "  - matches: [{path: {type: Exact, value: /}}]\n"
			     "    backendRefs: [" BLUE "]\n",
	  "UnsupportedValue: t.yaml:7:29: spec.rules[0].matches[0].path.type: ", NULL },
	{ "a header match is refused",
	  ROUTE("HTTPRoute") "spec:\n"
			     "  parentRefs: [" PARENT "]\n"
			     "  rules:\n"
			     "  - matches: [{headers: [{name: X, value: y}]}]\n"
			     "    backendRefs: [" BLUE "]\n",
	  "UnsupportedValue: t.yaml:7:25: spec.rules[0].matches[0].headers: "
	  "Shunt does not support this field\n",
	  NULL },
	{ "two matches are refused",
	  ROUTE("HTTPRoute") "spec:\n"
			     "  parentRefs: [" PARENT "]\n"
			     "  rules:\n"
			     "  - matches: [{path: {value: /}}, {path: {value: /}}]\n"
			     "    backendRefs: [" BLUE "]\n",
	  "UnsupportedValue: t.yaml:7:14: spec.rules[0].matches: ", NULL },
	{ "a filter of the rule is refused",
	  ROUTE("HTTPRoute") "spec:\n"
			     "  parentRefs: [" PARENT "]\n"
			     "  rules:\n"
			     "  - filters: [{type: RequestMirror}]\n"
			     "    backendRefs: [" BLUE "]\n",
	  "UnsupportedValue: t.yaml:7:14: spec.rules[0].filters: ", NULL },
	{ "a filter of a backend is refused",
	  ROUTE("HTTPRoute") TO("{name: blue, port: 8080, filters: [{type: URLRewrite}]}"),
	  "spec.rules[0].backendRefs[0].filters: Shunt does not support this field\n", NULL },
	{ "time-outs are refused",
	  ROUTE("HTTPRoute") "spec:\n"
			     "  parentRefs: [" PARENT "]\n"
			     "  rules:\n"
			     "  - timeouts: {request: 5s}\n"
			     "    backendRefs: [" BLUE "]\n",
	  "UnsupportedValue: t.yaml:7:15: spec.rules[0].timeouts: ", NULL },
	{ "an empty list of filters asks for nothing",
	  ROUTE("HTTPRoute") "spec:\n"
			     "  parentRefs: [" PARENT "]\n"
			     "  rules:\n"
			     "  - filters: []\n"
			     "    backendRefs: [" BLUE ", " GREEN "]\n",
	  SERVED, NULL },
	{ "a field of spec that nobody knows is refused",
	  ROUTE("TCPRoute") "spec: {colour: red, parentRefs: [" PARENT
			    "], rules: [{backendRefs: [" BLUE "]}]}\n",
	  "UnsupportedValue: t.yaml:4:16: spec.colour: Shunt does not support this field\n",
	  "shop/api" },
	{ "a false field that nobody knows is refused at its key",
	  ROUTE("TCPRoute") "spec: {dull: false, parentRefs: [" PARENT
			    "], rules: [{backendRefs: [" BLUE "]}]}\n",
	  "UnsupportedValue: t.yaml:4:8: spec.dull: Shunt does not support this field\n",
	  "shop/api" },
	{ "hostnames have no place in a TCPRoute",
	  ROUTE("TCPRoute") "spec: {hostnames: [a], parentRefs: [" PARENT
			    "], rules: [{backendRefs: [" BLUE "]}]}\n",
	  "spec.hostnames: Shunt does not support this field\n", "shop/api" },
	{ "a section of the parent is refused",
	  ROUTE("TCPRoute") "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: api, sectionName: "
			    "x}]\n"
			    "  rules: [{backendRefs: [" BLUE "]}]\n",
	  "spec.parentRefs[0].sectionName: Shunt does not support this field\n", "shop/api" },

	/* ---- what is wrong ---- */
	{ "a negative weight is refused", ROUTE("TCPRoute") TO("{name: blue, port: 1, weight: -1}"),
	  REPORT("TCPRoute") "False/Invalid: t.yaml:4:124: spec.rules[0].backendRefs[0].weight: "
			     "-1 is not between 0 and 1000000\n",
	  "shop/api" },
	{ "a weight above a million is refused",
	  ROUTE("TCPRoute") TO("{name: blue, port: 1, weight: 1000001}"),
	  "weight: 1000001 is not between 0 and 1000000\n", "shop/api" },
	{ "a weight beyond 64 bits is refused",
	  ROUTE("TCPRoute") TO("{name: blue, port: 1, weight: 99999999999999999999}"),
	  "weight: 1e+20 is not between 0 and 1000000\n", "shop/api" },
	{ "a fractional weight is refused",
	  ROUTE("TCPRoute") TO("{name: blue, port: 1, weight: 0.5}"),
	  "weight: 0.5 is not a whole number between 0 and 1000000\n", "shop/api" },
	{ "a weight with an exponent is told how to be written",
	  ROUTE("TCPRoute") TO("{name: blue, port: 1, weight: 1e3}"),
	  "weight: a whole number has no point and no exponent: write 1000\n", "shop/api" },
	{ "a weight in quotes is refused",
	  ROUTE("TCPRoute") TO("{name: blue, port: 1, weight: '5'}"),
	  "weight: must be a whole number between 0 and 1000000\n", "shop/api" },
	{ "port 0 is refused", ROUTE("TCPRoute") TO("{name: blue, port: 0}"),
	  "backendRefs[0].port: 0 is not between 1 and 65535\n", "shop/api" },
	{ "port 65536 is refused", ROUTE("TCPRoute") TO("{name: blue, port: 65536}"),
	  "backendRefs[0].port: 65536 is not between 1 and 65535\n", "shop/api" },
	{ "a backend Service without a port is refused", ROUTE("TCPRoute") TO("{name: blue}"),
	  "Invalid: t.yaml:4:94: spec.rules[0].backendRefs[0].port: is required for a Service\n",
	  "shop/api" },
	{ "a backend without a name is refused", ROUTE("TCPRoute") TO("{port: 1}"),
	  "backendRefs[0].name: is required\n", "shop/api" },
	{ "a backend named twice is refused",
	  ROUTE("TCPRoute") TO("{name: blue, port: 1}, {name: blue, port: 2}"),
	  "Invalid: t.yaml:4:117: spec.rules[0].backendRefs[1]: \"blue\" is already named by "
	  "spec.rules[0].backendRefs[0]: name it once\n",
	  "shop/api" },
	{ "no backend is refused", ROUTE("TCPRoute") TO(""),
	  "spec.rules[0].backendRefs: must name at least one Service\n", "shop/api" },
	{ "a name of 64 bytes is refused",
	  ROUTE("TCPRoute")
		  TO("{name: a234567890123456789012345678901234567890123456789012345678901234, "
		     "port: 1}"),
	  "backendRefs[0].name: 64 bytes are more than a name's 63\n", "shop/api" },
	{ "a name with a capital is refused", ROUTE("TCPRoute") TO("{name: Blue, port: 1}"),
	  "backendRefs[0].name: \"Blue\" is not a name: a-z, 0-9 and '-' only\n", "shop/api" },
	{ "rules that are no list are refused",
	  ROUTE("TCPRoute") "spec: {parentRefs: [" PARENT "], rules: 3}\n",
	  "spec.rules: must be a list\n", "shop/api" },
	{ "a route without spec is refused", ROUTE("TCPRoute"),
	  "False/Invalid: t.yaml:1:1: spec: "
	  "is required\n",
	  NULL },
	{ "a route without a name is refused",
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {}\n" GOOD,
	  "metadata.name: is required\n", "shop/api" },

	/* ---- parents ---- */
	{ "a parent that is not there is no parent",
	  ROUTE("TCPRoute") "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: nope}]\n"
			    "  rules: [{backendRefs: [" BLUE "]}]\n",
	  REPORT("TCPRoute") "False/NoMatchingParent: t.yaml:5:16: spec.parentRefs[0]: "
			     "Service shop/nope does not exist\n",
	  NULL },
	{ "a port that the parent lacks is no parent",
	  ROUTE("TCPRoute") "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: api, port: 81}]\n"
			    "  rules: [{backendRefs: [" BLUE "]}]\n",
	  "False/NoMatchingParent: t.yaml:5:16: spec.parentRefs[0]: "
	  "Service shop/api has no TCP port 81\n",
	  NULL },
	{ "a TCPRoute finds no UDP port",
	  ROUTE("TCPRoute") "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: api, port: 53}]\n"
			    "  rules: [{backendRefs: [" BLUE "]}]\n",
	  "Service shop/api has no TCP port 53\n", NULL },
	{ "one parent of two is served, and the other is said",
	  ROUTE("TCPRoute") "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: nope}, " PARENT "]\n"
			    "  rules: [{backendRefs: [" BLUE "]}]\n",
	  "  Accepted=True/Accepted: splits shop/api\n", "Accepted=False" },
	{ "the parent that failed is a partial invalidity",
	  ROUTE("TCPRoute") "spec:\n"
			    "  parentRefs: [{group: '', kind: Service, name: nope}, " PARENT "]\n"
			    "  rules: [{backendRefs: [" BLUE "]}]\n",
	  "  PartiallyInvalid=True/NoMatchingParent: ", NULL },

	/* ---- precedence ---- */
	{ "of two routes the older one wins, whatever its name",
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata: {name: a, namespace: shop, creationTimestamp: '2025-02-01T00:00:00Z'}\n" GOOD
	  "---\n"
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata: {name: b, namespace: shop, creationTimestamp: '2025-01-01T00:00:00Z'}\n" GOOD,
	  "report TCPRoute shop/a\n  Accepted=False/Conflicted: t.yaml:4:21: spec.parentRefs[0]: "
	  "port 80 of shop/api is already split by TCPRoute shop/b, which has precedence\n",
	  "by shop/a\n" },
	{ "of two routes of one age the first by name wins",
	  ROUTE_AS("TCPRoute", "b", "v1") GOOD "---\n" ROUTE_AS("TCPRoute", "a", "v1") GOOD,
	  "shop/api http:80 tcp shared connection by shop/a\n", "by shop/b\n" },
	{ "a v1alpha2 route with the earlier name wins over v1",
	  ROUTE_AS("TCPRoute", "b", "v1") GOOD "---\n" ROUTE_AS("TCPRoute", "a", "v1alpha2") GOOD,
	  "shop/api http:80 tcp shared connection by shop/a\n", "by shop/b\n" },
	{ "an HTTPRoute wins over an older TCPRoute",
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata: {name: a, namespace: shop, creationTimestamp: '2024-01-01T00:00:00Z'}\n" GOOD
	  "---\n"
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
	  "metadata: {name: b, namespace: shop, creationTimestamp: '2025-01-01T00:00:00Z'}\n" GOOD,
	  "shop/api http:80 tcp shared connection by shop/b\n", "by shop/a\n" },
	{ "a route for all ports keeps those that another does not split",
	  ROUTE_AS("TCPRoute", "a", "v1") GOOD "---\n" ROUTE_AS(
		  "TCPRoute", "b", "v1") "spec:\n"
					 "  parentRefs: [{group: '', kind: Service, name: api}]\n"
					 "  rules: [{backendRefs: [" BLUE "]}]\n",
	  "shop/api https:443 tcp shared connection by shop/b\n", NULL },
	{ "routes for two ports of one Service stand side by side",
	  ROUTE_AS("TCPRoute", "a", "v1") GOOD "---\n" ROUTE_AS(
		  "TCPRoute", "b",
		  "v1") "spec:\n"
			"  parentRefs: [{group: '', kind: Service, name: api, port: 443}]\n"
			"  rules: [{backendRefs: [" BLUE "]}]\n",
	  "shop/api https:443 tcp shared connection by shop/b\n", "Conflicted" },

	/* ---- annotations ---- */
	{ "annotations of the route set what Kubernetes has no field for",
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata:\n"
	  "  name: r\n"
	  "  namespace: shop\n"
	  "  annotations:\n"
	  "    shunt.io/affinity: hash\n"
	  "    shunt.io/affinity-prefix: 24/56\n"
	  "    shunt.io/drain-seconds: '5'\n"
	  "    shunt.io/empty-variant: redistribute\n"
	  "    shunt.io/frontends: owned\n"
	  "    other.io/thing: x\n" GOOD,
	  "shop/api http:80 tcp owned hash/24/56 redistribute by shop/r\n"
	  "  at 10.96.0.1:80\n"
	  "  blue=90 drain 5\n",
	  NULL },
	{ "an affinity that does not exist is refused",
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata: {name: r, namespace: shop, annotations: {shunt.io/affinity: sticky}}\n" GOOD,
	  "False/Invalid: t.yaml:3:71: metadata.annotations.shunt.io/affinity: "
	  "\"sticky\" is not connection, hash or session\n",
	  "shop/api" },
	{ "an annotation of ours that does not exist is refused",
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata: {name: r, namespace: shop, annotations: {shunt.io/afinity: hash}}\n" GOOD,
	  "metadata.annotations.shunt.io/afinity: Shunt has no such annotation\n", "shop/api" },
	{ "an annotation without quotes around its number is refused",
	  "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
	  "metadata: {name: r, namespace: shop, annotations: {shunt.io/drain-seconds: 5}}\n" GOOD,
	  "shunt.io/drain-seconds: must be a string: quote it\n", "shop/api" },

	/* ---- other kinds ---- */
	{ "an unknown kind is reported once",
	  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n"
	  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\n",
	  "report Deployment default/a\n  Accepted=False/UnsupportedKind: t.yaml: "
	  "Shunt does not read Deployment of apps/v1; nothing is done with them\n",
	  "default/b" },
	{ "pods are read without a word", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "",
	  "report" },
	{ "a grant needs a from", GRANT("to: [{kind: Service}]"),
	  "report ReferenceGrant other/g\n  Accepted=False/Invalid: t.yaml:", NULL },
	{ "a grant has no other fields", GRANT("from: [], to: [], until: tomorrow"),
	  "report ReferenceGrant other/g\n  Accepted=False", NULL },
};

static const struct shunt_translate_opts opts = { .default_drain_s = 60 };

Test(dialect_gateway, routes_become_what_the_table_says)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect_text(&cases[i], world, &opts);
}

/* The digest that ends overrides: of names and weights, not of anything else. */
static uint64_t digest_of(const char *backends, const char *more)
{
	CLEANUP(freep) char *yaml = NULL;
	struct shunt_model model;
	uint64_t digest;

	cr_assert(asprintf(&yaml,
			   ROUTE("TCPRoute") "spec: {parentRefs: [" PARENT
					     "], rules: [{backendRefs: [%s]}]}\n%s%s",
			   backends, world, more) > 0);
	model_of_yaml(yaml, &opts, &model);
	cr_assert_eq(model.n_services, 1);
	digest = model.services[0].source.digest;
	shunt_model_free(&model);
	return digest;
}

Test(dialect_gateway, the_digest_changes_with_the_weights_only)
{
	uint64_t digest = digest_of(BLUE ", " GREEN, "");

	cr_expect_eq(digest_of(GREEN ", " BLUE, ""), digest, "the order does not count");
	cr_expect_eq(
		digest_of(BLUE ", " GREEN, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"),
		digest);
	cr_expect_neq(digest_of("{name: blue, port: 8080, weight: 89}, " GREEN, ""), digest);
	cr_expect_neq(digest_of(BLUE, ""), digest);
}

#define GRANT_FROM(kind, from)                                                                     \
	"from: [{group: gateway.networking.k8s.io, kind: " kind ", namespace: " from "}]"

/* A route of shop that names Service blue of other; and who permits that. */
static const struct {
	const char *name;
	const char *grant; /* "" for none */
	bool permits;
} grants[] = {
	{ "without a grant it is forbidden", "", false },
	{ "a grant for its kind and namespace permits it",
	  GRANT(GRANT_FROM("TCPRoute", "shop") ", to: [{group: '', kind: Service}]"), true },
	{ "a grant may name the Service",
	  GRANT(GRANT_FROM("TCPRoute", "shop") ", to: [{group: '', kind: Service, name: blue}]"),
	  true },
	{ "a grant for another Service does not count",
	  GRANT(GRANT_FROM("TCPRoute", "shop") ", to: [{group: '', kind: Service, name: red}]"),
	  false },
	{ "a grant for another namespace does not count",
	  GRANT(GRANT_FROM("TCPRoute", "else") ", to: [{group: '', kind: Service}]"), false },
	{ "a grant for another kind does not count",
	  GRANT(GRANT_FROM("HTTPRoute", "shop") ", to: [{group: '', kind: Service}]"), false },
	{ "a grant for Secrets does not count",
	  GRANT(GRANT_FROM("TCPRoute", "shop") ", to: [{group: '', kind: Secret}]"), false },
};

Test(dialect_gateway, a_reference_into_another_namespace_needs_a_grant_if_asked_for)
{
	struct shunt_translate_opts strict = opts;

	strict.require_reference_grants = true;
	for (size_t i = 0; i < ARRAY_LEN(grants); i++) {
		CLEANUP(freep) char *yaml = NULL;
		CLEANUP(freep) char *text = NULL;
		CLEANUP(freep) char *lax = NULL;
		bool forbidden;

		cr_assert(asprintf(&yaml,
				   ROUTE("TCPRoute") TO("{name: blue, namespace: other, port: "
							"80}") "---\napiVersion: v1\nkind: "
							       "Service\n"
							       "metadata: {name: blue, "
							       "namespace: other}\nspec: {ports: "
							       "[{port: 80}]}\n"
							       "---\n%s%s",
				   grants[i].grant, world) > 0);
		text = text_of_yaml(yaml, &strict);
		forbidden = strstr(text, "RefNotPermitted");
		cr_expect_eq(forbidden, !grants[i].permits, "%s:\n%s", grants[i].name, text);
		lax = text_of_yaml(yaml, &opts);
		cr_expect_null(strstr(lax, "RefNotPermitted"), "%s: not asked for", grants[i].name);
	}
}
