// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/dialect.h"
#include "model/policy.h"
#include "model_text.h"
#include "shop_yaml.h"

/* Traffic policies of DestinationRules, and loadBalancerSourceRanges. */

static struct shunt_translate_opts opts;

static void setup(void)
{
	opts = (struct shunt_translate_opts){ .default_drain_s = 60 };
}

TestSuite(rules, .init = setup);

#define OBJECT(kind, name, spec)                                                                   \
	"---\n"                                                                                    \
	"apiVersion: networking.istio.io/v1\n"                                                     \
	"kind: " kind "\n"                                                                         \
	"metadata: {name: " name ", namespace: shop}\n"                                            \
	"spec: " spec "\n"

#define SUBSETS(blue, green, policy)                                                               \
	OBJECT("DestinationRule", "app",                                                           \
	       "{host: app, subsets: [{name: blue, labels: {version: v1}" blue                     \
	       "}, {name: green, labels: {version: v2}" green "}]" policy "}")
#define SPLIT                                                                                      \
	OBJECT("VirtualService", "app",                                                            \
	       "{hosts: [app], http: [{route: [{destination: {host: app, subset: blue}, weight: "  \
	       "95}, {destination: {host: app, subset: green}, weight: 5}]}]}")
#define POOL(n) ", trafficPolicy: {connectionPool: {tcp: {maxConnections: " n "}}}"
#define ROUTE                                                                                      \
	"---\n"                                                                                    \
	"apiVersion: gateway.networking.k8s.io/v1\n"                                               \
	"kind: HTTPRoute\n"                                                                        \
	"metadata: {name: web, namespace: shop}\n"                                                 \
	"spec: {parentRefs: [{group: core, kind: Service, name: app}], rules: [{backendRefs: ["    \
	"{name: blue, port: 80, weight: 9}, {name: green, port: 80, weight: 1}]}]}\n"

#define BOTH(n)                                                                                    \
	", trafficPolicy: {connectionPool: {tcp: {maxConnections: " n                              \
	"}, http: {http2MaxRequests: " n "}}}"
#define EJECT	   ", trafficPolicy: {outlierDetection: {}}"
#define TO(subset) "{destination: {host: app, subset: " subset "}, weight: 25}"
/* Stands before the rules in what is in flight. */
#define BEFORE                                                                                     \
	"---\napiVersion: shunt.io/v1alpha1\nkind: TrafficPolicy\n"                                \
	"metadata: {name: p, namespace: shop}\n"                                                   \
	"spec: {targetRefs: [{kind: Service, name: app}], inFlight: [{max: 5}]}\n"

#define AT_ONCE(n, unit, where)                                                                    \
	"  at once " n " " unit " of variant" where " else reject by DestinationRule "

static const struct text_case cases[] = {
	{ "a rule's pool is of each variant", SUBSETS("", "", POOL("100")) SPLIT,
	  AT_ONCE("100", "connections", "") "app\n", " in blue" },
	{ "a subset's is of one", SUBSETS("", POOL("5"), POOL("100")) SPLIT,
	  AT_ONCE("100", "connections", " in blue") "app\n" AT_ONCE("5", "connections",
								    " in green") "app\n",
	  NULL },
	{ "alone too", SUBSETS("", POOL("5"), "") SPLIT,
	  AT_ONCE("5", "connections", " in green") "app\n", " in blue" },
	{ "0 is none", SUBSETS("", "", POOL("0")) SPLIT, "by shop/app\n", "at once" },
	{ "requests may be bounded too",
	  SUBSETS("", "", ", trafficPolicy: {connectionPool: {http: {http2MaxRequests: 7}}}") SPLIT,
	  AT_ONCE("7", "requests", "") "app\n", NULL },
	{ "a subset's ejection leaves the rule's pool",
	  SUBSETS(", trafficPolicy: {outlierDetection: {interval: 5s}}",
		  ", trafficPolicy: {outlierDetection: {interval: 5s}}", POOL("100")) SPLIT,
	  AT_ONCE("100", "connections", "") "app\n"
					    "  eject after 5 or 0 every 5000 for 30000 up to 10% "
					    "panic 0% by DestinationRule app\n",
	  NULL },
	{ "ejection with all that it can have",
	  SUBSETS("", "",
		  ", trafficPolicy: {outlierDetection: {consecutive5xxErrors: 7,"
		  " consecutiveGatewayErrors: 3, interval: 1.5s, baseEjectionTime: 1m,"
		  " maxEjectionPercent: 100, minHealthPercent: 50}}") SPLIT,
	  "  eject after 7 or 3 every 1500 for 60000 up to 100% panic 50% by DestinationRule app\n",
	  NULL },
	{ "ejection that can eject nobody is told",
	  SUBSETS("", ", trafficPolicy: {outlierDetection: {maxEjectionPercent: 0}}", "") SPLIT,
	  "  EjectsNothing=True/NeverDecides: outlierDetection: with maxEjectionPercent 0 no "
	  "backend "
	  "is ever ejected\n",
	  NULL },
	{ "ejection of one variant alone does not hold, and says so",
	  SUBSETS("", ", trafficPolicy: {outlierDetection: {}}", "") SPLIT,
	  "PartiallyHonored=True/UnsupportedValue: not all variants have the same "
	  "outlierDetection",
	  "  eject" },
	{ "the age of a connection",
	  SUBSETS("", "", ", trafficPolicy: {connectionPool: {tcp: {maxConnectionDuration: 1h}}}")
		  SPLIT,
	  "  age 3600000 ms by DestinationRule app\n", NULL },
	{ "a rule about the Service behind a Gateway API route",
	  OBJECT("DestinationRule", "green", "{host: green" POOL("3") "}") ROUTE,
	  AT_ONCE("3", "connections", " in green") "green\n", " in blue" },
	{ "a rule about the Service before it is not about its variants",
	  OBJECT("DestinationRule", "app", "{host: app" POOL("3") "}") ROUTE, "by shop/web\n",
	  "at once" },
	{ "requests of a variant at once",
	  SUBSETS("", ", trafficPolicy: {connectionPool: {http: {http2MaxRequests: 7}}}", "") SPLIT,
	  "  at once 7 requests of variant in green else reject by DestinationRule app\n",
	  "NotEnforced" },
	{ "a TrafficPolicy stands before a rule", SUBSETS("", "", POOL("100")) SPLIT BEFORE,
	  "  Overridden=True/Precedence: on shop/app a policy with precedence says what holds of: "
	  "limits of "
	  "connections in flight\n",
	  "at once 100" },
	{ "a rule is told what of its own does not hold",
	  OBJECT("DestinationRule", "blue", "{host: blue" POOL("3") "}")
		  OBJECT("DestinationRule", "green", "{host: green" EJECT "}") ROUTE BEFORE,
	  "report DestinationRule shop/blue\n"
	  "  Accepted=True/Accepted: 0 subsets of shop/blue\n"
	  "  PartiallyHonored=True/UnsupportedValue: not all variants have the same "
	  "outlierDetection and maxConnectionDuration, which Shunt has for whole services: these "
	  "do not hold\n"
	  "  Overridden=True/Precedence: on shop/app a policy with precedence says what holds of: "
	  "limits of connections in flight\n",
	  NULL },
	{ "another of its own, and nothing of the first one's",
	  OBJECT("DestinationRule", "blue", "{host: blue" POOL("3") "}")
		  OBJECT("DestinationRule", "green", "{host: green" EJECT "}") ROUTE BEFORE,
	  "do not hold\nreport TrafficPolicy", NULL },
	{ "a rule of several variants is told of all of them",
	  SUBSETS(", trafficPolicy: {connectionPool: {http: {http2MaxRequests: 7}}}", POOL("5"), "")
		  SPLIT BEFORE,
	  "says what holds of: limits of connections in flight, limits of requests in flight\n",
	  NULL },
	{ "all that is left out is said",
	  OBJECT("DestinationRule", "app",
		 "{host: app, subsets: [{name: a" BOTH("1") "}, {name: b" BOTH(
			 "2") "}, {name: c" BOTH("3") "}, {name: d" EJECT "}]}")
		  OBJECT("VirtualService", "app",
			 "{hosts: [app], http: [{route: [" TO("a") ", " TO("b") ", " TO(
				 "c") ", " TO("d") "]}]}"),
	  "PartiallyHonored=True/UnsupportedValue: the limits of the variants differ, and more "
	  "than 4 do not fit: connectionPool does not hold; not all variants have the same "
	  "outlierDetection and maxConnectionDuration, which Shunt has for whole services: these "
	  "do not hold\n",
	  "at once" },
};

Test(rules, what_a_destination_rule_says_is_of_its_variants)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect_text(&cases[i], SHOP SHOP_POD("app-1", "v1") SHOP_POD("app-2", "v2"), &opts);
}

#define BALANCED(ranges)                                                                           \
	"---\n"                                                                                    \
	"apiVersion: v1\n"                                                                         \
	"kind: Service\n"                                                                          \
	"metadata: {name: app, namespace: shop}\n"                                                 \
	"spec: {type: LoadBalancer, clusterIP: 10.96.0.1, loadBalancerSourceRanges: " ranges       \
	", ports: [{name: http, port: 80}]}\n"                                                     \
	"status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\n"

static const struct text_case balanced[] = {
	{ "a prefix that is none", BALANCED("[10.0.0.0/40]"),
	  "spec.loadBalancerSourceRanges[0]: \"10.0.0.0/40\" is not ADDRESS/LENGTH", "at 203" },
	{ "ranges", BALANCED("[10.0.0.0/8]"), "  load balancer allow 10.0.0.0/8\n", NULL },
	{ "ranges leave the address in", BALANCED("[10.0.0.0/8]"), "  at 203.0.113.9:80\n", NULL },
	{ "an empty list lets all in", BALANCED("[]"), "  at 203.0.113.9:80\n", "load balancer" },
};

Test(rules, source_ranges_are_of_a_load_balancers_addresses)
{
	struct shunt_cidr all;

	shunt_cidr_parse("0.0.0.0/0", &all);
	opts.frontend_cidrs = &all;
	opts.n_frontend_cidrs = 1;
	for (size_t i = 0; i < ARRAY_LEN(balanced); i++)
		expect_text(&balanced[i], ROUTE, &opts);
}
