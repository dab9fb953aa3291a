// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/dialect.h"
#include "dialect/keep.h"
#include "model/policy.h"
#include "model_text.h"
#include "shop_yaml.h"
#include "source/yaml/yaml.h"

static struct shunt_entrypoint web = { .name = "web", .port = 8000 };
static struct shunt_translate_opts opts;

static void setup(void)
{
	cr_assert_eq(shunt_ip_parse("203.0.113.1", &web.ip), 0);
	opts = (struct shunt_translate_opts){ .entrypoints = &web,
					      .n_entrypoints = 1,
					      .default_drain_s = 60 };
}

TestSuite(middleware, .init = setup);

#define OBJECT(kind, name, metadata, spec)                                                         \
	"---\n"                                                                                    \
	"apiVersion: traefik.io/v1alpha1\n"                                                        \
	"kind: " kind "\n"                                                                         \
	"metadata: {name: " name ", namespace: shop" metadata "}\n"                                \
	"spec: " spec "\n"

#define HTTP(name, spec) OBJECT("Middleware", name, "", spec)
#define TCP(name, spec)	 OBJECT("MiddlewareTCP", name, "", spec)

#define SERVICES "services: [{name: blue, port: 80}, {name: green, port: 80}]"
#define ROUTE(list)                                                                                \
	OBJECT("IngressRoute", "site", "",                                                         \
	       "{entryPoints: [web], routes: [{kind: Rule, match: PathPrefix(`/`), " SERVICES      \
	       ", middlewares: [" list "]}]}")
#define TCP_ROUTE(list)                                                                            \
	OBJECT("IngressRouteTCP", "site", "",                                                      \
	       "{entryPoints: [web], routes: [{match: HostSNI(`*`), " SERVICES                     \
	       ", middlewares: [" list "]}]}")

#define M	"{name: m}"
#define BREAK	"{circuitBreaker: {expression: NetworkErrorRatio() > 0.30}}"
#define PROFILE "{ipAllowList: {sourceRange: [10.0.0.0/8]}}"

static const struct text_case taken[] = {
	{ "a rate limit is of requests and clients",
	  HTTP("m", "{rateLimit: {average: 100, burst: 50}}") ROUTE(M),
	  "  at most 100 a 1000 ms burst 50 requests of client/32/128 else 429 by Middleware m\n",
	  NULL },
	{ "a burst below 1 is 1, a period of 0 a second",
	  HTTP("m", "{rateLimit: {average: 6, burst: 0, period: 0}}") ROUTE(M),
	  "  at most 6 a 1000 ms burst 1 requests", NULL },
	{ "a period has a unit or is of seconds",
	  HTTP("m", "{rateLimit: {average: 6, period: 60}}")
		  HTTP("n", "{rateLimit: {average: 7, period: 1m30s}}")
			  HTTP("o", "{rateLimit: {average: 8, period: '2'}}")
				  ROUTE("{name: m}, {name: n}, {name: o}"),
	  "  at most 6 a 60000 ms burst 1 requests of client/32/128 else 429 by Middleware m\n"
	  "  at most 7 a 90000 ms burst 1 requests of client/32/128 else 429 by Middleware n\n"
	  "  at most 8 a 2000 ms burst 1 requests of client/32/128 else 429 by Middleware o\n",
	  NULL },
	{ "an average of 0 is no limit", HTTP("m", "{rateLimit: {average: 0, burst: 5}}") ROUTE(M),
	  "by shop/site\n", "at most" },
	{ "IPv6 clients may be networks",
	  HTTP("m", "{rateLimit: {average: 1, sourceCriterion: {ipStrategy: {ipv6Subnet: 64}}}}")
		  ROUTE(M),
	  "requests of client/32/64 else 429", NULL },
	{ "an annotation makes it new connections",
	  OBJECT("Middleware", "m", ", annotations: {shunt.io/unit: connections}",
		 "{rateLimit: {average: 5}}") ROUTE(M),
	  "  at most 5 a 1000 ms burst 1 connections of client/32/128 else reject by Middleware m",
	  NULL },
	{ "connections in flight are of clients",
	  TCP("m", "{inFlightConn: {amount: 10}}") TCP_ROUTE(M),
	  "  at once 10 connections of client/32/128 else reject by MiddlewareTCP m\n", NULL },
	{ "requests in flight too, where the criterion says so",
	  HTTP("m", "{inFlightReq: {amount: 10, sourceCriterion: {ipStrategy: {}}}}") ROUTE(M),
	  "  at once 10 requests of client/32/128 else 429 by Middleware m\n", NULL },
	{ "a breaker has Traefik's defaults, and no least number of requests",
	  HTTP("m", BREAK) ROUTE(M),
	  "  breaker of service: NetworkErrorRatio() > 0.30: check 100 open 10000 recover 10000 "
	  "code 503 min 0 by Middleware m\n",
	  NULL },
	{ "unless an annotation says one",
	  OBJECT("Middleware", "m", ", annotations: {shunt.io/min-requests: '20'}",
		 "{circuitBreaker: {expression: NetworkErrorRatio() > 0.30, checkPeriod: 1s,"
		 " fallbackDuration: 20, recoveryDuration: 1.5s, responseCode: 429}}") ROUTE(M),
	  "check 1000 open 20000 recover 1500 code 429 min 20 by", NULL },
	{ "an allow list", HTTP("m", PROFILE) ROUTE(M), "  allow 10.0.0.0/8\n", NULL },
	{ "by its old name", TCP("m", "{ipWhiteList: {sourceRange: [10.0.0.1]}}") TCP_ROUTE(M),
	  "  allow 10.0.0.1/32\n", NULL },
	{ "a chain is all of its middlewares",
	  HTTP("a", "{rateLimit: {average: 1}}") HTTP("b", BREAK)
		  HTTP("m", "{chain: {middlewares: [{name: a}, {name: b}]}}") ROUTE(M),
	  "requests of client/32/128 else 429 by Middleware a\n"
	  "  breaker of service: NetworkErrorRatio() > 0.30:",
	  NULL },
	{ "a TrafficPolicy of the route stands before its middlewares, part by part",
	  HTTP("m", "{rateLimit: {average: 100}}") HTTP("n", BREAK)
		  ROUTE("{name: m}, {name: n}") "---\napiVersion: shunt.io/v1alpha1\nkind: "
						"TrafficPolicy\n"
						"metadata: {name: p, namespace: shop}\n"
						"spec: {targetRefs: [{group: traefik.io, kind: "
						"IngressRoute, name: site}],"
						" rateLimits: [{average: 5}]}\n",
	  "  at most 5 a 1000 ms burst 1 connections of service else reject by TrafficPolicy p\n"
	  "  breaker of service: NetworkErrorRatio() > 0.30:",
	  "at most 100" },
	{ "a policy for a Service is not for an entry point of its name",
	  HTTP("m", PROFILE) ROUTE(M) "---\napiVersion: shunt.io/v1alpha1\nkind: TrafficPolicy\n"
				      "metadata: {name: p, namespace: shop}\n"
				      "spec: {targetRefs: [{kind: Service, name: site}], "
				      "rateLimits: [{average: 5}]}\n",
	  "Service shop/site does not exist", "at most 5" },
	{ "and the route says what does not hold",
	  HTTP("m", "{rateLimit: {average: 100}}") ROUTE(
		  M) "---\napiVersion: shunt.io/v1alpha1\nkind: TrafficPolicy\n"
		     "metadata: {name: p, namespace: shop}\n"
		     "spec: {targetRefs: [{group: traefik.io, kind: IngressRoute, name: site}],"
		     " rateLimits: [{average: 5}]}\n",
	  "  Overridden=True/Precedence: on shop/site a policy with precedence says what holds of: "
	  "rate limits of requests\n",
	  NULL },
};

Test(middleware, routes_have_what_their_middlewares_let_in)
{
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		expect_text(&taken[i], SHOP, &opts);
}

static const struct {
	const char *spec;
	const char *why;
} refused[] = {
	{ "{rateLimit: {average: -1}}", "spec.rateLimit.average: -1 is not between 0 and" },
	{ "{rateLimit: {average: 1, burst: -1}}", "spec.rateLimit.burst: -1 is not between 0" },
	{ "{rateLimit: {average: 1, period: -1s}}", "\"-1s\": must not be negative" },
	{ "{rateLimit: {average: 1, period: -1}}", "-1 s: must not be negative" },
	{ "{rateLimit: {average: 1, period: 2540400h}}", "the time is not between" },
	{ "{rateLimit: {average: 1, period: 1500us}}", "counts in whole milliseconds" },
	{ "{rateLimit: {average: 1, period: 1 s}}", "\"1 s\" is not a time such as" },
	{ "{rateLimit: {average: 1, redis: {endpoints: [r]}}}",
	  "spec.rateLimit.redis: Shunt counts" },
	{ "{rateLimit: {average: 1, sourceCriterion: {requestHost: true}}}",
	  "spec.rateLimit.sourceCriterion.requestHost: Shunt sees the connection's address" },
	{ "{rateLimit: {average: 1, sourceCriterion: {requestHeaderName: X}}}",
	  "spec.rateLimit.sourceCriterion.requestHeaderName: Shunt sees" },
	{ "{rateLimit: {average: 1, sourceCriterion: {ipStrategy: {depth: 2}}}}",
	  "spec.rateLimit.sourceCriterion.ipStrategy.depth: counts in X-Forwarded-For" },
	{ "{rateLimit: {average: 1, sourceCriterion: {ipStrategy: {excludedIPs: [10.0.0.1]}}}}",
	  "spec.rateLimit.sourceCriterion.ipStrategy.excludedIPs: are looked for in" },
	{ "{inFlightReq: {amount: 10}}",
	  "spec.inFlightReq.sourceCriterion: Traefik counts each Host" },
	{ "{inFlightReq: {amount: 0, sourceCriterion: {ipStrategy: {}}}}",
	  "spec.inFlightReq.amount: 0 is not between 1" },
	{ "{circuitBreaker: {}}", "spec.circuitBreaker.expression: is required" },
	{ "{circuitBreaker: {expression: NetworkErrorRatio() > 1}}",
	  "spec.circuitBreaker.expression: character 23: the ratio must be a float" },
	{ "{circuitBreaker: {expression: LatencyAtQuantileMS(50) > 1}}",
	  "character 21: the percentage must be a float, not an integer: 50.0" },
	{ "{ipAllowList: {sourceRange: []}}", "spec.ipAllowList.sourceRange: must name 1..256" },
	{ "{ipAllowList: {sourceRange: [10.0.0.0/33]}}", "\"10.0.0.0/33\" is not ADDRESS/LENGTH" },
	{ "{ipAllowList: {sourceRange: [10.0.0.1], rejectStatusCode: 404}}",
	  "spec.ipAllowList.rejectStatusCode: Shunt refuses the connection" },
	{ "{ipAllowList: {sourceRange: [10.0.0.1], ipStrategy: {depth: 1}}}",
	  "spec.ipAllowList.ipStrategy.depth: counts in X-Forwarded-For" },
	{ "{headers: {customRequestHeaders: {A: b}}}", "spec.headers: Shunt splits connections" },
	{ "{inFlightConn: {amount: 1}}", "spec.inFlightConn: Shunt splits connections" },
	{ "{rateLimit: {average: 1}, headers: {}}", "spec: a middleware is of exactly one kind" },
	{ "{chain: {middlewares: [{name: none}]}}",
	  "spec.chain.middlewares[0].name: Middleware shop/none does not exist" },
	{ "{chain: {middlewares: [{name: m}]}}", "more than 8 chains deep, or in a circle" },
	{ "{chain: {middlewares: [{name: x, namespace: other}]}}",
	  "spec.chain.middlewares[0].namespace: other is another namespace" },
};

Test(middleware, what_it_cannot_be_is_refused_and_so_is_its_route)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		char yaml[8192], *text;

		snprintf(yaml, sizeof(yaml), "%s%s%s\n%s", SHOP,
			 "---\napiVersion: traefik.io/v1alpha1\nkind: Middleware\n"
			 "metadata: {name: m, namespace: shop}\nspec: ",
			 refused[i].spec, ROUTE(M));
		text = text_of_yaml(yaml, &opts);
		cr_expect(strstr(text, refused[i].why), "\"%s\" is missing in\n%s", refused[i].why,
			  text);
		cr_expect(!strncmp(text, "report ", 7), "must split nothing:\n%s", text);
		cr_expect(strstr(text, "(of Middleware shop/m) "), "%s", text);
		free(text);
	}
}

static const struct text_case more[] = {
	{ "two breakers cannot be one",
	  HTTP("m", BREAK) HTTP("n", BREAK) ROUTE("{name: m}, {name: n}"),
	  "(of Middleware shop/n) is the route's second circuit breaker", "breaker of" },
	{ "nor two lists", HTTP("m", PROFILE) HTTP("n", PROFILE) ROUTE("{name: m}, {name: n}"),
	  "(of Middleware shop/n) is the route's second list", "allow 10" },
	{ "nor two limits of each client's connections",
	  TCP("m", "{inFlightConn: {amount: 10}}") TCP("n", "{inFlightConn: {amount: 20}}")
		  TCP_ROUTE("{name: m}, {name: n}"),
	  "(of MiddlewareTCP shop/n) is the route's second limit of each client's connections",
	  "at once" },
	{ "annotations are checked",
	  OBJECT("Middleware", "m", ", annotations: {shunt.io/unit: packets}",
		 "{rateLimit: {average: 5}}"),
	  "metadata.annotations.shunt.io/unit: \"packets\" is not requests or connections", NULL },
	{ "and so are their names",
	  OBJECT("Middleware", "m", ", annotations: {shunt.io/affinity: hash}",
		 "{rateLimit: {average: 5}}"),
	  "Shunt has no such annotation here", NULL },
	{ "a TCP route has no use for HTTP's middlewares", HTTP("m", PROFILE) TCP_ROUTE(M),
	  "MiddlewareTCP shop/m does not exist", NULL },
	{ "what holds for a route must not hold for the Service of its TraefikService",
	  HTTP("m", PROFILE) SHOP_SERVICE("both", "10.96.0.9") OBJECT(
		  "TraefikService", "both", "", "{weighted: {services: [{name: blue, port: 80}]}}")
		  OBJECT("IngressRoute", "site", "",
			 "{entryPoints: [eighty], routes: [{kind: Rule, match: "
			 "PathPrefix(`/`), services: [{name: both, kind: TraefikService}], "
			 "middlewares: [{name: m}]}]}"),
	  "port 80 of shop/both is already split, and what a route's middlewares let in must not "
	  "hold there too",
	  "allow 10" },
};

Test(middleware, what_does_not_fit_together_is_refused)
{
	struct shunt_entrypoint two[] = { web, web };

	strcpy(two[1].name, "eighty");
	two[1].port = 80;
	opts.entrypoints = two;
	opts.n_entrypoints = 2;
	for (size_t i = 0; i < ARRAY_LEN(more); i++)
		expect_text(&more[i], SHOP, &opts);
}

/* Units that a limit lets in of @n that come at even distances over @ms. */
static unsigned admitted(const struct shunt_rate *rate, unsigned n, unsigned ms)
{
	const uint64_t start = 3600ull * 1000000000;
	__u64 word = 0;
	unsigned sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += !shunt_gcra_admit(&word, rate, 1, start + (uint64_t)ms * 1000000 * i / n);
	return sum;
}

Test(middleware, what_a_manifest_lets_in_is_what_traefik_lets_in)
{
	static const struct {
		const char *yaml;
		unsigned n, ms, golden; /* a replay of Traefik's limiter */
	} cases[] = {
		{ HTTP("m", "{rateLimit: {average: 100, burst: 50}}"), 200, 0, 50 },
		{ HTTP("m", "{rateLimit: {average: 100, burst: 50}}"), 2000, 10000, 1050 },
		{ HTTP("m", "{rateLimit: {average: 10, burst: 20}}"), 40, 0, 20 },
		{ HTTP("m", "{rateLimit: {average: 6, period: 1m}}"), 5, 0, 1 },
		{ HTTP("m", "{rateLimit: {average: 6, period: 60, burst: 0}}"), 5, 0, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct shunt_model model;
		char yaml[8192];

		snprintf(yaml, sizeof(yaml), "%s%s%s", SHOP, cases[i].yaml, ROUTE(M));
		model_of_yaml(yaml, &opts, &model);
		cr_assert_eq(model.n_services, 1);
		cr_expect_eq(admitted(&model.services[0].policy->limits[0].rate, cases[i].n,
				      cases[i].ms),
			     cases[i].golden, "case %zu", i);
		shunt_model_free(&model);
	}
}
