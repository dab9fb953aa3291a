// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/dialect.h"
#include "dialect/keep.h"
#include "model/policy.h"
#include "model_text.h"
#include "shop_yaml.h"
#include "source/yaml/yaml.h"

static struct shunt_translate_opts opts;

static void setup(void)
{
	opts = (struct shunt_translate_opts){ .default_drain_s = 60 };
}

TestSuite(policy, .init = setup);

#define ROUTE                                                                                      \
	"---\n"                                                                                    \
	"apiVersion: gateway.networking.k8s.io/v1\n"                                               \
	"kind: HTTPRoute\n"                                                                        \
	"metadata: {name: web, namespace: shop}\n"                                                 \
	"spec: {parentRefs: [{group: core, kind: Service, name: app}], rules: [{backendRefs: ["    \
	"{name: blue, port: 80, weight: 9}, {name: green, port: 80, weight: 1}]}]}\n"

#define POLICY_AT(name, created, spec)                                                             \
	"---\n"                                                                                    \
	"apiVersion: shunt.io/v1alpha1\n"                                                          \
	"kind: TrafficPolicy\n"                                                                    \
	"metadata: {name: " name ", namespace: shop" created "}\n"                                 \
	"spec: " spec "\n"

#define POLICY(spec) POLICY_AT("p", "", spec)

/* A Service whose port is named so, and a policy for it; @spec lacks its last brace. */
#define RPC(name)                                                                                  \
	"---\n"                                                                                    \
	"apiVersion: v1\n"                                                                         \
	"kind: Service\n"                                                                          \
	"metadata: {name: rpc, namespace: shop}\n"                                                 \
	"spec: {clusterIP: 10.96.0.9, ports: [{name: " name ", port: 50051}]}\n"
#define RPC_POLICY(spec) POLICY_AT("r", "", spec ", targetRefs: [{kind: Service, name: rpc}]}")
#define TO_APP		 "targetRefs: [{kind: Service, name: app}]"

/* ---- the table that the schema is fed, too --------------------------------------------------- */

/* One case as a TrafficPolicy behind the shop. Owned by the caller. */
static char *yaml_of_case(const json_t *test)
{
	json_t *spec = json_deep_copy(json_object_get(test, "spec"));
	char *text, *yaml;

	if (!json_object_get(spec, "targetRefs"))
		json_object_set_new(spec, "targetRefs",
				    json_pack("[{s:s, s:s}]", "kind", "Service", "name", "app"));
	text = json_dumps(spec, JSON_ENCODE_ANY);
	cr_assert(asprintf(&yaml, "%s%s", SHOP ROUTE POLICY_AT("p", "", ""), text) > 0);
	yaml[strlen(yaml) - strlen(text) - 1] = ' ';
	free(text);
	json_decref(spec);
	return yaml;
}

static void check_case(const json_t *test)
{
	const char *name = json_string_value(json_object_get(test, "is"));
	const char *refused = json_string_value(json_object_get(test, "refused"));
	char *yaml = yaml_of_case(test), *text = text_of_yaml(yaml, &opts);
	const char *report = strstr(text, "report TrafficPolicy shop/p\n");
	bool is_refused = report && strstr(report, "  Accepted=False/");

	cr_expect_eq(is_refused, refused != NULL, "%s:\n%s", name, text);
	cr_expect(!refused || strstr(text, refused), "%s: expected\n%s\nin\n%s", name, refused,
		  text);
	cr_expect(!refused || strstr(text, ": t.yaml:"), "%s: no place in\n%s", name, text);
	free(yaml);
	free(text);
}

/* A list is no Kubernetes object, so it is read as the items of one. */
static json_t *read_cases(struct shunt_objects *objects)
{
	CLEANUP(file_closep) FILE *file = fopen("tests/unit/policy_cases.yaml", "r");
	char *text = NULL, *yaml;
	struct shunt_err err;
	size_t room = 0;

	cr_assert_not_null(file);
	cr_assert_gt(getdelim(&text, &room, '\0', file), 0);
	cr_assert(asprintf(&yaml, "apiVersion: v1\nkind: Cases\nmetadata: {name: x}\ncases:\n%s",
			   text) > 0);
	cr_assert_eq(shunt_yaml_parse("cases", yaml, strlen(yaml), objects, &err), 0, "%s",
		     err.text);
	free(text);
	free(yaml);
	return json_object_get(objects->items[0]->json, "cases");
}

Test(policy, every_case_of_the_table_is_taken_or_refused_with_its_place)
{
	struct shunt_objects objects = { 0 };
	json_t *cases = read_cases(&objects), *test;
	size_t i;

	cr_assert_gt(json_array_size(cases), 70);
	json_array_foreach (cases, i, test)
		check_case(test);
	shunt_objects_free(&objects);
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

#define OLD ", creationTimestamp: '2026-01-01T00:00:00Z'"
#define NEW ", creationTimestamp: '2026-02-01T00:00:00Z'"

#define LIMIT(n) "{" TO_APP ", rateLimits: [{average: " n "}]}"
#define LIMIT_AT(n, s)                                                                             \
	"{targetRefs: [{kind: Service, name: app, sectionName: " s "}],"                           \
	" rateLimits: [{average: " n "}]}"
#define LIMIT_ROUTE(n)                                                                             \
	"{targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: web}],"           \
	" rateLimits: [{average: " n "}]}"
#define AT_MOST(n, scope, name)                                                                    \
	"  at most " n " a 1000 ms burst 1 connections of " scope                                  \
	" else reject by TrafficPolicy " name "\n"

#define LONG_NAME "a123456789a123456789a123456789a123456789a123456789a123456789abcd"

#define TWO_PORTS                                                                                  \
	"---\n"                                                                                    \
	"apiVersion: v1\n"                                                                         \
	"kind: Service\n"                                                                          \
	"metadata: {name: app, namespace: shop}\n"                                                 \
	"spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: admin, port: 81}]}\n"

/* Behind the shop and its route. */
static const struct text_case attached[] = {
	{ "a policy holds for the Service it names", POLICY(LIMIT("5")),
	  AT_MOST("5", "service", "p"), NULL },
	{ "its report says so, and what is only checked",
	  POLICY("{" TO_APP ", maxConnectionAge: 5m}"),
	  "report TrafficPolicy shop/p\n"
	  "  NotEnforced=True/NotEnforced: this version of Shunt checks but does not enforce: "
	  "maximum connection age\n"
	  "  Accepted=True/Accepted: holds for shop/app\n",
	  "PartiallyInvalid" },
	{ "requests that are not seen cannot be limited",
	  POLICY("{" TO_APP ", signals: tcp, rateLimits: [{unit: requests, average: 5}]}"),
	  "  RequestsNotSeen=True/NoHttp: no port of shop/app carries HTTP by its appProtocol or "
	  "name, so its requests are not seen and their limits do not hold: set signals: http if "
	  "it does\n",
	  NULL },
	{ "nor counted while they are in flight",
	  POLICY("{" TO_APP ", signals: tcp, inFlight: [{unit: requests, max: 5}]}"),
	  "  RequestsNotSeen=True/NoHttp: no port of shop/app carries HTTP by its appProtocol or "
	  "name, so its requests are not seen and their limits do not hold: set signals: http if "
	  "it does\n",
	  NULL },
	{ "connections in flight need no HTTP",
	  POLICY("{" TO_APP ", signals: tcp, inFlight: [{max: 5}]}"),
	  "  at once 5 connections of service", "RequestsNotSeen" },
	{ "codes of HTTP/2 are not all told",
	  RPC("grpc") RPC_POLICY(
		  "{circuitBreaker: {expression: 'ResponseCodeRatio(500, 600, 0, 600) > 0.1'}"),
	  "  Http2PartlySeen=True/Http2: port 50051 of shop/rpc carries HTTP/2, of whose codes the "
	  "kernel can tell those that a response spells out: ResponseCodeRatio may miss others, "
	  "which are in no ratio; `shunt status` has their share\n",
	  NULL },
	{ "nor are its requests in flight counted",
	  RPC("h2c") RPC_POLICY("{inFlight: [{unit: requests, max: 5}]"),
	  "  Http2PartlySeen=True/Http2: port 50051 of shop/rpc carries HTTP/2, whose requests in "
	  "flight are not counted\n",
	  NULL },
	{ "its connections are",
	  RPC("grpc") RPC_POLICY("{circuitBreaker: {expression: 'NetworkErrorRatio() > 0.1'}, "
				 "inFlight: [{max: 5}]"),
	  "  at once 5 connections of service", "Http2PartlySeen" },
	{ "of HTTP/1 all is seen",
	  RPC("http") RPC_POLICY(
		  "{circuitBreaker: {expression: 'ResponseCodeRatio(500, 600, 0, 600) > 0.1'}, "
		  "inFlight: [{unit: requests, max: 5}]"),
	  "  at once 5 requests of service", "Http2PartlySeen" },
	{ "nobody is ejected where nothing is counted",
	  POLICY("{" TO_APP ", signals: off, outlierDetection: {}}"),
	  "  RequestsNotSeen=True/NoHttp: no port of shop/app carries HTTP by its appProtocol or "
	  "name, so its signals are off, so nothing is judged: set signals: http if it does\n",
	  NULL },
	{ "backends are probed if asked for, once a second",
	  POLICY("{" TO_APP ", probe: {path: '/healthz?deep=1'}}"),
	  "  probe /healthz?deep=1 each 1000 ms in 1000 ms by TrafficPolicy p\n", "NotEnforced" },
	{ "codes that are not seen cannot open a breaker",
	  POLICY("{" TO_APP ", signals: tcp, circuitBreaker: {expression: "
		 "'NetworkErrorRatio() > 0.5 || LatencyAtQuantileMS(50.0) > 9'}}"),
	  "  RequestsNotSeen=True/NoHttp: no port of shop/app carries HTTP by its appProtocol or "
	  "name, so ResponseCodeRatio and LatencyAtQuantileMS stay 0 in its circuit breaker: set "
	  "signals: http if it does\n",
	  NULL },
	{ "connections that fail can",
	  POLICY("{" TO_APP ", signals: tcp, circuitBreaker: {expression: "
		 "NetworkErrorRatio() > 0.5 && RequestThreshold() > 30}}"),
	  "Accepted=True", "RequestsNotSeen" },
	{ "nothing is judged where nothing is looked at",
	  POLICY("{" TO_APP ", signals: \"off\", deadMan: {canary: green, stable: blue}}"),
	  "name, so its signals are off, so nothing is judged: set signals: http if it does\n",
	  NULL },
	{ "those that are can be",
	  POLICY("{" TO_APP ", signals: http, rateLimits: [{unit: requests, average: 5}]}"),
	  "5 a 1000 ms burst 1 requests of service else 429 by TrafficPolicy p\n",
	  "RequestsNotSeen" },
	{ "what is only checked is told beside requests that are not seen",
	  POLICY("{" TO_APP ", signals: tcp, rateLimits: [{unit: requests, average: 5}], "
		 "maxConnectionAge: 1h}"),
	  "  NotEnforced=True/NotEnforced: this version of Shunt checks but does not enforce: "
	  "maximum connection age\n"
	  "  Accepted=True/Accepted: holds for shop/app\n"
	  "  RequestsNotSeen=True/NoHttp: no port of shop/app carries HTTP by its appProtocol or "
	  "name, ",
	  NULL },
	{ "or for the route that splits it", POLICY(LIMIT_ROUTE("5")), AT_MOST("5", "service", "p"),
	  NULL },
	{ "a port by its name", POLICY(LIMIT_AT("5", "http")), AT_MOST("5", "service", "p"), NULL },
	{ "or by its number", POLICY(LIMIT_AT("5", "'80'")), AT_MOST("5", "service", "p"), NULL },
	{ "a variant", POLICY(LIMIT_AT("5", "green")), AT_MOST("5", "variant in green", "p"),
	  NULL },
	{ "of two the older wins", POLICY_AT("a", NEW, LIMIT("5")) POLICY_AT("b", OLD, LIMIT("6")),
	  AT_MOST("6", "service", "b"), "at most 5" },
	{ "the younger is told", POLICY_AT("a", NEW, LIMIT("5")) POLICY_AT("b", OLD, LIMIT("6")),
	  "Accepted=False/Conflicted: t.yaml:45:21: spec.targetRefs[0]: shop/app already has the "
	  "TrafficPolicy shop/b, which is older\n",
	  NULL },
	{ "of the same age the first by name wins",
	  POLICY_AT("b", OLD, LIMIT("5")) POLICY_AT("a", OLD, LIMIT("6")),
	  AT_MOST("6", "service", "a"), "at most 5" },
	{ "the second is told", POLICY_AT("b", OLD, LIMIT("5")) POLICY_AT("a", OLD, LIMIT("6")),
	  "TrafficPolicy shop/a, which comes first by its name\n", NULL },
	{ "a route's and a Service's policy meet on one split",
	  POLICY_AT("a", NEW, LIMIT_ROUTE("5")) POLICY_AT("b", OLD, LIMIT("6")),
	  AT_MOST("6", "service", "b"), "at most 5" },
	{ "one that names the port stands before an older one that does not",
	  POLICY_AT("a", NEW, LIMIT_AT("5", "http")) POLICY_AT("b", OLD, LIMIT("6")),
	  "  Accepted=False/Conflicted: t.yaml:50:21: spec.targetRefs[0]: shop/app already has the "
	  "TrafficPolicy shop/a, which names the port itself\n",
	  "at most 6" },
	{ "a variant's adds to that of the Service",
	  POLICY_AT("a", NEW, LIMIT_AT("5", "green")) POLICY_AT("b", OLD, LIMIT("6")),
	  AT_MOST("6", "service", "b") AT_MOST("5", "variant in green", "a"), NULL },
	{ "two of one variant are in conflict",
	  POLICY_AT("a", NEW, LIMIT_AT("5", "green")) POLICY_AT("b", OLD, LIMIT_AT("6", "green")),
	  "shop/app green already has the TrafficPolicy shop/b, which is older\n", "at most 5" },
	{ "a connection is counted for one client, whoever asks",
	  POLICY_AT("a", NEW,
		    "{targetRefs: [{kind: Service, name: app, sectionName: green}],"
		    " inFlight: [{scope: client, max: 5}]}")
		  POLICY_AT("b", OLD, "{" TO_APP ", inFlight: [{scope: client, max: 6}]}"),
	  "has more than 8 rate limits, 4 limits in flight or one of each client's connections\n",
	  "at once 5" },
	{ "what is of a service cannot be of a variant",
	  POLICY("{targetRefs: [{kind: Service, name: app, sectionName: green}],"
		 " signals: tcp, maxConnectionAge: 1h}"),
	  "Accepted=False/UnsupportedValue: t.yaml:45:21: spec.targetRefs[0]: cannot be of the one "
	  "variant green: signals, maximum connection age\n",
	  "age 3600000" },
	{ "nor another variant's",
	  POLICY("{targetRefs: [{kind: Service, name: app, sectionName: "
		 "green}], inFlight: [{max: 1, variant: blue}]}"),
	  "sectionName says variant green and a limit names another", "at once" },
	{ "a target that does not exist",
	  POLICY("{targetRefs: [{kind: Service, name: nobody}],"
		 " signals: tcp}"),
	  "Accepted=False/TargetNotFound: t.yaml:45:21: spec.targetRefs[0]: Service "
	  "shop/nobody does not exist\n",
	  "signals tcp" },
	{ "a section that does not exist", POLICY(LIMIT_AT("5", "red")),
	  "no split has the target Service shop/app with a port or variant red\n", "at most" },
	{ "one target of two",
	  POLICY("{targetRefs: [{kind: Service, name: nobody}, "
		 "{kind: Service, name: app}], signals: tcp}"),
	  "  Accepted=True/Accepted: holds for shop/app\n"
	  "  PartiallyInvalid=True/TargetNotFound: t.yaml:45:21: spec.targetRefs[0]: "
	  "Service shop/nobody does not exist\n",
	  NULL },
	{ "both of its targets are named",
	  POLICY("{targetRefs: [{kind: Service, name: blue}, "
		 "{kind: Service, name: app}], signals: tcp}"),
	  "  Accepted=True/Accepted: holds for shop/app, shop/blue\n", NULL },
	{ "a variant that does not exist",
	  POLICY("{" TO_APP ", rateLimits: [{average: 5, variant: red}, {average: 6}]}"),
	  "ResolvedRefs=False/VariantNotFound: t.yaml: shop/app has no variant red: what is about "
	  "it does not hold\n",
	  "at most 5" },
	{ "a policy that is refused at its second target holds for none",
	  SHOP_SERVICE(LONG_NAME, "10.96.0.9") POLICY(
		  "{targetRefs: [{kind: Service, name: app}, {kind: Service, name: " LONG_NAME
		  "}], signals: tcp}"),
	  "report TrafficPolicy shop/p\n"
	  "  Accepted=False/Invalid: t.yaml:50:49: spec.targetRefs[1]: the name \"" LONG_NAME
	  "\" has not 1..63 bytes\n"
	  "report HTTPRoute",
	  "signals tcp" },
	{ "each is named once, whatever name is a part of another",
	  POLICY("{" TO_APP ", rateLimits: [{average: 5, variant: red-2}, {average: 5, variant: "
		 "red}, {average: 6, variant: red}], inFlight: [{max: 5, variant: dark-red}]}"),
	  "shop/app has no variant red-2, red, dark-red: what is about it does not hold\n",
	  "at most" },
	{ "neither does a dead man's",
	  POLICY("{" TO_APP ", deadMan: {canary: red, stable: gold}, signals: tcp}"),
	  "has no variant red, gold: what is about it does not hold\n", "  dead man" },
	{ "a fallback that does not exist",
	  POLICY("{" TO_APP ", circuitBreaker: {expression: RequestThreshold() > 5,"
		 " fallback: red}}"),
	  "  breaker of service: RequestThreshold() > 5: check 100 open 10000 recover 10000 code "
	  "503 min 20 by TrafficPolicy p\n",
	  NULL },
	{ "an expression that never decides",
	  POLICY("{" TO_APP ", circuitBreaker: {expression: NetworkErrorRatio() > 1.5}}"),
	  "SuspiciousExpression=True/NeverDecides: \"NetworkErrorRatio() > 1.5\": comparison 1, "
	  "NetworkErrorRatio: it never holds\n",
	  NULL },
	{ "ejection that has no number of errors",
	  POLICY("{" TO_APP ", outlierDetection: {consecutive5xxErrors: 0}}"),
	  "EjectsNothing=True/NeverDecides: outlierDetection: consecutive5xxErrors and "
	  "consecutiveGatewayErrors are both 0, so no backend is ever ejected\n",
	  NULL },
	{ "and that may eject nobody",
	  POLICY("{" TO_APP ", outlierDetection: {maxEjectionPercent: 0}}"),
	  "EjectsNothing=True/NeverDecides: outlierDetection: with maxEjectionPercent 0 no backend "
	  "is ever ejected\n",
	  NULL },
	{ "ejection by gateway errors alone",
	  POLICY("{" TO_APP ", outlierDetection: {consecutive5xxErrors: 0,"
		 " consecutiveGatewayErrors: 3}}"),
	  "  eject after 0 or 3 every 10000 for 30000 up to 10% panic 0% by TrafficPolicy p\n",
	  "EjectsNothing" },
	{ "everything has its default",
	  POLICY("{" TO_APP ", outlierDetection: {}, deadMan: {canary: green, stable: blue},"
		 " maxConnectionAge: 1m, inFlight: [{scope: client, max: 3}]}"),
	  "  at once 3 connections of client/32/128 else reject by TrafficPolicy p\n"
	  "  eject after 5 or 0 every 10000 for 30000 up to 10% panic 0% by TrafficPolicy p\n"
	  "  dead man green against blue + 500 bp, 100 in 10000 ms by TrafficPolicy p\n"
	  "  age 60000 ms by TrafficPolicy p\n",
	  NULL },
	{ "addresses are sorted, each once",
	  POLICY("{" TO_APP ", sources: {allow: [192.168.0.9, '::/0', 10.1.2.3/8, 10.0.0.0/8],"
		 " deny: [10.9.0.0/16]}}"),
	  "  allow 10.0.0.0/8 192.168.0.9/32 ::/0\n"
	  "  deny 10.9.0.0/16\n",
	  NULL },
};

Test(policy, the_policies_that_reach_a_split_are_put_together)
{
	for (size_t i = 0; i < ARRAY_LEN(attached); i++) {
		struct text_case c = attached[i];
		char *yaml;

		cr_assert(asprintf(&yaml, "%s%s", SHOP ROUTE, c.yaml) > 0);
		c.yaml = yaml;
		expect_text(&c, "", &opts);
		free(yaml);
	}
}

Test(policy, a_port_that_shares_its_split_cannot_be_named_alone)
{
	static const struct text_case c = {
		"two ports, one route", TWO_PORTS ROUTE POLICY(LIMIT_AT("5", "admin")),
		"Accepted=False/UnsupportedValue: t.yaml:15:21: spec.targetRefs[0]: port admin of "
		"shop/app shares its split with others: name the port in the route's parentRef",
		"at most"
	};

	expect_text(&c, "", &opts);
}

Test(policy, a_policy_that_is_wrong_stays_as_it_was)
{
	struct shunt_keeper *keeper = shunt_keeper_new();
	static const char *const averages[] = { SHOP ROUTE POLICY(LIMIT("5")),
						SHOP ROUTE POLICY(LIMIT("-5")) };

	for (size_t i = 0; i < 2; i++) {
		struct shunt_objects objects = { 0 };
		struct shunt_model model;
		struct shunt_err err;
		char *text;

		cr_assert_eq(shunt_yaml_parse("t.yaml", averages[i], strlen(averages[i]), &objects,
					      &err),
			     0);
		cr_assert_eq(shunt_translate_keeping(keeper, &objects, &opts, &model), 0);
		text = model_text(&model);
		cr_expect(strstr(text, AT_MOST("5", "service", "p")), "%s", text);
		if (i) {
			cr_expect(strstr(text, "Accepted=False/Invalid: t.yaml:45:73: "
					       "spec.rateLimits[0].average: -5 is not between"),
				  "%s", text);
			cr_expect(strstr(text, "  ManifestRefused=True/Invalid: "), "%s", text);
		}
		free(text);
		shunt_model_free(&model);
		shunt_objects_free(&objects);
	}
	shunt_keeper_free(keeper);
}

#define ENDPOINTS SHOP_SLICE("app", SHOP_ENDPOINT("10.9.0.1", "app-1"))
#define MIXED                                                                                      \
	"---\n"                                                                                    \
	"apiVersion: v1\n"                                                                         \
	"kind: Service\n"                                                                          \
	"metadata: {name: app, namespace: shop}\n"                                                 \
	"spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: admin, port: 81},"    \
	" {name: dns, port: 53, protocol: UDP}]}\n"

/* Without a route. */
static const struct text_case unsplit[] = {
	{ "a Service without a split has itself as its variant",
	  SHOP_SERVICE("app", "10.96.0.1") ENDPOINTS POLICY(LIMIT("5")),
	  "shop/app http:80 tcp shared connection by shop/p\n"
	  "  at 10.96.0.1:80\n"
	  "  app=1 drain 60\n"
	  "    10.9.0.1:8080 ready\n" AT_MOST("5", "service", "p"),
	  NULL },
	{ "its report says that the policy holds",
	  SHOP_SERVICE("app", "10.96.0.1") ENDPOINTS POLICY(LIMIT("5")),
	  "  Accepted=True/Accepted: holds for shop/app\n", "Conflicted" },
	{ "for both protocols", MIXED POLICY(LIMIT("5")), "shop/app dns:53 udp shared", NULL },
	{ "or for one port", MIXED POLICY(LIMIT_AT("5", "admin")),
	  "shop/app admin:81 tcp shared connection by shop/p\n", "http:80" },
	{ "a policy of one port leaves the others to that of all",
	  MIXED POLICY_AT("a", NEW, LIMIT_AT("5", "admin")) POLICY_AT("b", OLD, LIMIT("6")),
	  "shop/app http:80 tcp shared connection by shop/b\n", "http:80 admin" },
	{ "and has its own",
	  MIXED POLICY_AT("a", NEW, LIMIT_AT("5", "admin")) POLICY_AT("b", OLD, LIMIT("6")),
	  "shop/app admin:81 tcp shared connection by shop/a\n", NULL },
	{ "of two policies the older one leads the Service",
	  SHOP_SERVICE("app", "10.96.0.1") POLICY_AT("a", NEW, LIMIT("5"))
		  POLICY_AT("b", OLD, LIMIT("6")),
	  "connection by shop/b\n", "at most 5" },
	{ "a headless Service has no address to guard",
	  SHOP_SERVICE("app", "None") POLICY(LIMIT("5")),
	  "TargetNotFound: t.yaml:10:21: spec.targetRefs[0]: Service shop/app is headless",
	  "at most" },
};

#define SPLIT(section, more)                                                                       \
	"{targetRefs: [{kind: Service, name: app" section                                          \
	"}], backendRefs: [{name: blue, weight: 95}, {name: green, port: 80, weight: 5}]" more "}"
#define SPLIT_APP                                                                                  \
	"shop/app http:80 tcp shared connection by shop/p\n"                                       \
	"  at 10.96.0.1:80\n"                                                                      \
	"  blue=95 drain 60\n"                                                                     \
	"    10.1.0.1:8080 ready\n"                                                                \
	"    10.1.0.2:8080 ready\n"                                                                \
	"  green=5 drain 60\n"                                                                     \
	"    10.2.0.1:8080 ready\n"                                                                \
	"    10.2.0.2:8080 ready\n"

/* With weights of its own. */
static const struct text_case splitting[] = {
	{ "backendRefs split the Service", SHOP POLICY(SPLIT("", "")), SPLIT_APP, "at most" },
	{ "and its limits hold for the split",
	  SHOP POLICY(SPLIT("", ", rateLimits: [{average: 5}]")),
	  SPLIT_APP AT_MOST("5", "service", "p"), NULL },
	{ "a port can be split by itself", SHOP POLICY(SPLIT(", sectionName: http", "")), SPLIT_APP,
	  NULL },
	{ "both protocols are split", MIXED POLICY(SPLIT("", "")),
	  "shop/app dns:53 udp shared connection by shop/p\n", NULL },
	{ "a route stands before it", SHOP ROUTE POLICY(SPLIT("", ", rateLimits: [{average: 5}]")),
	  "  PartiallyInvalid=True/Conflicted: t.yaml:45:21: spec.targetRefs[0]: port 80 of "
	  "shop/app is already split by HTTPRoute shop/web, which has precedence\n",
	  "blue=95" },
	{ "its limits hold there all the same",
	  SHOP ROUTE POLICY(SPLIT("", ", rateLimits: [{average: 5}]")),
	  AT_MOST("5", "service", "p"), NULL },
	{ "of two the older splits",
	  SHOP POLICY_AT("a", NEW, SPLIT("", "")) POLICY_AT("p", OLD, SPLIT("", "")), SPLIT_APP,
	  "by shop/a\n" },
	{ "one without stands behind it",
	  SHOP POLICY_AT("a", OLD, LIMIT("5")) POLICY_AT("p", NEW, SPLIT("", "")), SPLIT_APP,
	  NULL },
	{ "a variant is no port", SHOP POLICY(SPLIT(", sectionName: green", "")),
	  "Accepted=False/Invalid: t.yaml:40:61: spec.targetRefs[0].sectionName: is no port of "
	  "Service app: backendRefs split ports\n",
	  "blue=95" },
	{ "a Service that does not exist", POLICY(SPLIT("", "")),
	  "TargetNotFound: t.yaml:5:21: spec.targetRefs[0]: Service shop/app does not exist\n",
	  "blue=95" },
	{ "a backend that does not exist rejects its share",
	  SHOP_SERVICE("app", "10.96.0.1") POLICY(SPLIT("", "")),
	  "ResolvedRefs=False/BackendNotFound", NULL },
};

Test(policy, its_backend_refs_split_a_service)
{
	for (size_t i = 0; i < ARRAY_LEN(splitting); i++)
		expect_text(&splitting[i], "", &opts);
}

Test(policy, a_service_without_a_split_is_led_by_its_policy)
{
	for (size_t i = 0; i < ARRAY_LEN(unsplit); i++)
		expect_text(&unsplit[i], "", &opts);
}
