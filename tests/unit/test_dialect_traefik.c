// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/options.h"
#include "model_text.h"
#include "shop_yaml.h"

/* web: two addresses, one of IPv6; web2: the same port elsewhere; alt: another port. */
static struct shunt_entrypoint entrypoints[4];
static struct shunt_translate_opts opts;

static void setup(void)
{
	static const char *const texts[] = { "web=198.51.100.1:80", "web=[fd00::1]:80",
					     "web2=198.51.100.2:80", "alt=198.51.100.1:8000" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		cr_assert_eq(shunt_entrypoint_parse(texts[i], &entrypoints[i], NULL), 0);
	opts = (struct shunt_translate_opts){
		.entrypoints = entrypoints,
		.n_entrypoints = ARRAY_LEN(entrypoints),
		.default_drain_s = 60,
	};
}

TestSuite(traefik, .init = setup);

#define TRAEFIK_SERVICE(spec)                                                                      \
	"---\n"                                                                                    \
	"apiVersion: traefik.io/v1alpha1\n"                                                        \
	"kind: TraefikService\n"                                                                   \
	"metadata: {name: app, namespace: shop}\n"                                                 \
	"spec: " spec "\n"

#define BLUE_GREEN                                                                                 \
	TRAEFIK_SERVICE("{weighted: {services: [{name: blue, port: 80, weight: 95},"               \
			" {name: green, port: http, weight: 5}]}}")

#define INGRESS(kind, name, spec)                                                                  \
	"---\n"                                                                                    \
	"apiVersion: traefik.io/v1alpha1\n"                                                        \
	"kind: " kind "\n"                                                                         \
	"metadata: {name: " name ", namespace: shop}\n"                                            \
	"spec: " spec "\n"

#define TO_APP "{match: PathPrefix(`/`), kind: Rule, services: [{name: app, kind: TraefikService}]}"

#define BACKENDS                                                                                   \
	"  blue=95 drain 60\n"                                                                     \
	"    10.1.0.1:8080 ready\n"                                                                \
	"    10.1.0.2:8080 ready\n"                                                                \
	"  green=5 drain 60\n"                                                                     \
	"    10.2.0.1:8080 ready\n"                                                                \
	"    10.2.0.2:8080 ready\n"

#define SPLIT_BY(kind, name)                                                                       \
	"  Accepted=True/Accepted: split by " kind " shop/" name "\n"                              \
	"  ResolvedRefs=True/ResolvedRefs: every reference leads to a Service\n"

#define REPORT(kind, name, splits)                                                                 \
	"report " kind " shop/" name "\n"                                                          \
	"  Accepted=True/Accepted: splits " splits "\n"                                            \
	"  ResolvedRefs=True/ResolvedRefs: every reference leads to a Service\n"

#define REPORT_LEADS(kind, name)                                                                   \
	"report " kind " shop/" name "\n"                                                          \
	"  Accepted=True/Accepted: its entry points lead to TraefikService shop/app: see there\n"

static void check(const char *name, const char *yaml, const char *expected)
{
	char *text = text_of_yaml(yaml, &opts);

	cr_expect_str_eq(text, expected, "%s:\n%s", name, text);
	free(text);
}

/* Refused: no service, and a sentence for whoever reads it. */
static void check_refused(const char *yaml, const char *why)
{
	char *text = text_of_yaml(yaml, &opts);

	cr_expect(!strncmp(text, "report ", 7), "must split nothing:\n%s\n%s", yaml, text);
	cr_expect(strstr(text, "Accepted=False/"), "%s", text);
	cr_expect(strstr(text, why), "\"%s\" is missing in\n%s", why, text);
	free(text);
}

Test(traefik, a_traefik_service_splits_the_service_of_its_own_name)
{
	check("both groups", SHOP BLUE_GREEN,
	      "shop/app http:80 tcp shared connection by shop/app\n"
	      "  at 10.96.0.1:80\n" BACKENDS SPLIT_BY("TraefikService", "app")
		      REPORT("TraefikService", "app", "shop/app"));
}

Test(traefik, the_old_group_is_read_as_well)
{
	char *yaml = strdup(SHOP BLUE_GREEN), *at = strstr(yaml, "traefik.io/v1alpha1");
	char text[4096];

	snprintf(text, sizeof(text), "%.*straefik.containo.us/v1alpha1%s", (int)(at - yaml), yaml,
		 at + strlen("traefik.io/v1alpha1"));
	check("containo.us", text,
	      "shop/app http:80 tcp shared connection by shop/app\n"
	      "  at 10.96.0.1:80\n" BACKENDS SPLIT_BY("TraefikService", "app")
		      REPORT("TraefikService", "app", "shop/app"));
	free(yaml);
}

Test(traefik, a_missing_weight_is_1_and_weight_0_gets_nothing)
{
	struct shunt_model model;

	model_of_yaml(SHOP TRAEFIK_SERVICE("{weighted: {services: [{name: blue, port: 80},"
					   " {name: green, port: 80, weight: 0}]}}"),
		      &opts, &model);
	cr_assert_eq(model.n_services, 1);
	cr_expect_eq(model.services[0].variants[0].weight, 1);
	cr_expect_eq(model.services[0].variants[1].weight, 0);
	cr_expect_eq(model.services[0].variants[1].n_backends, 2);
	shunt_model_free(&model);
}

Test(traefik, a_service_that_is_missing_keeps_its_share)
{
	struct shunt_model model;

	model_of_yaml(SHOP TRAEFIK_SERVICE("{weighted: {services: [{name: blue, port: 80},"
					   " {name: red, port: 80}]}}"),
		      &opts, &model);
	cr_assert_eq(model.n_services, 1);
	cr_expect_eq(model.services[0].variants[1].group, SHUNT_GROUP_NOT_FOUND);
	cr_expect_eq(model.services[0].variants[1].weight, 1);
	shunt_model_free(&model);
}

/* What a proxy does and a splitter of connections cannot. */
static const struct {
	const char *services, *why;
} refused_services[] = {
	{ "[]", "spec.weighted.services: must name at least one Service" },
	{ "blue", "spec.weighted.services: must be a list" },
	{ "[blue]", "spec.weighted.services[0]: must be a mapping" },
	{ "[{port: 80}]", "spec.weighted.services[0].name: is required" },
	{ "[{name: blue}]", "spec.weighted.services[0].port: is required" },
	{ "[{name: blue, port: 0}]", "services[0].port: 0 is not between 1 and 65535" },
	{ "[{name: blue, port: 65536}]", "services[0].port: 65536 is not between" },
	{ "[{name: blue, port: 1.5}]", "services[0].port: 1.5 is not a whole number" },
	{ "[{name: blue, port: [80]}]", "services[0].port: must be a whole number" },
	{ "[{name: blue, port: 80, weight: -1}]", "services[0].weight: -1 is not between 0 and" },
	{ "[{name: blue, port: 80, weight: 1000001}]", "services[0].weight: 1000001 is not" },
	{ "[{name: blue, port: 80, weight: '5'}]", "services[0].weight: must be a whole number" },
	{ "[{name: blue, port: 80}, {name: blue, port: 80}]", "services[1]: \"blue\" is already" },
	{ "[{name: a@file, port: 80}]", "services[0].name: \"a@file\" is not a name" },
	{ "[{name: app, kind: TraefikService}]", "services[0].kind: a TraefikService inside" },
	{ "[{name: blue, port: 80, namespace: bank}]", "only with --allow-cross-namespace" },
	{ "[{name: blue, port: 80, sticky: {cookie: {}}}]", "services[0].sticky: Shunt cannot" },
	{ "[{name: blue, port: 80, passHostHeader: false}]", "services[0].passHostHeader: " },
	{ "[{name: blue, port: 80, scheme: https}]", "services[0].scheme: Shunt changes no bytes" },
	{ "[{name: blue, port: 80, strategy: p2c}]", "services[0].strategy: Shunt places" },
	{ "[{name: blue, port: 80, nativeLB: true}]", "services[0].nativeLB: Shunt splits to" },
	{ "[{name: blue, port: 80, nodePortLB: true}]", "services[0].nodePortLB: Shunt splits" },
	{ "[{name: blue, port: 80, healthCheck: {}}]", "services[0].healthCheck: Shunt does not" },
	{ "[{name: blue, port: 80, serversTransport: x}]", "services[0].serversTransport: Shunt" },
	{ "[{name: blue, port: 80, middlewares: [{name: x}]}]", "services[0].middlewares: Shunt" },
	{ "[{name: blue, port: 80, responseForwarding: {}}]", "services[0].responseForwarding: " },
};

Test(traefik, what_a_weighted_service_cannot_be_is_refused_with_its_field)
{
	for (size_t i = 0; i < ARRAY_LEN(refused_services); i++) {
		char yaml[8192];

		snprintf(yaml, sizeof(yaml), "%s",
			 SHOP "---\n"
			      "apiVersion: traefik.io/v1alpha1\n"
			      "kind: TraefikService\n"
			      "metadata: {name: app, namespace: shop}\n"
			      "spec: {weighted: {services: ");
		strcat(strcat(yaml, refused_services[i].services), "}}\n");
		check_refused(yaml, refused_services[i].why);
	}
}

Test(traefik, other_kinds_of_traefik_service_are_refused_with_their_field)
{
	static const struct {
		const char *yaml, *why;
	} cases[] = {
		{ SHOP TRAEFIK_SERVICE("{mirroring: {name: blue, port: 80}}"), "spec.mirroring: " },
		{ SHOP TRAEFIK_SERVICE("{failover: {}}"), "spec.failover: " },
		{ SHOP TRAEFIK_SERVICE("{highestRandomWeight: {services: []}}"),
		  "spec.highestRandomWeight: is not supported: write weighted, and annotate" },
		{ SHOP TRAEFIK_SERVICE("{weighted: {services: [], sticky: {cookie: {}}}}"),
		  "spec.weighted.sticky: Shunt cannot set cookies" },
		{ SHOP TRAEFIK_SERVICE("{}"), "spec.weighted: is required" },
		{ SHOP TRAEFIK_SERVICE("{weighted: {}}"), "spec.weighted.services: is required" },
		{ SHOP TRAEFIK_SERVICE("{weighted: 5}"), "spec.weighted: must be a mapping" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_refused(cases[i].yaml, cases[i].why);
}

Test(traefik, fields_that_say_what_is_done_anyway_are_fine)
{
	check("defaults",
	      SHOP TRAEFIK_SERVICE(
		      "{weighted: {services: [{name: blue, kind: Service, port: 80,"
		      " weight: 95, namespace: shop, passHostHeader: true, scheme: http,"
		      " strategy: RoundRobin, nativeLB: false, middlewares: []},"
		      " {name: green, port: 80, weight: 5, strategy: wrr,"
		      " nodePortLB: false, sticky: null}]}}"),
	      "shop/app http:80 tcp shared connection by shop/app\n"
	      "  at 10.96.0.1:80\n" BACKENDS SPLIT_BY("TraefikService", "app")
		      REPORT("TraefikService", "app", "shop/app"));
}

Test(traefik, another_namespace_is_split_to_only_when_allowed)
{
	struct shunt_model model;

	opts.allow_cross_namespace = true;
	model_of_yaml(SHOP TRAEFIK_SERVICE("{weighted: {services: [{name: blue, port: 80},"
					   " {name: b, port: 80, namespace: bank}]}}"),
		      &opts, &model);
	cr_assert_eq(model.n_services, 1);
	cr_expect_str_eq(model.services[0].variants[0].name, "b");
	cr_expect_eq(model.services[0].variants[0].group, SHUNT_GROUP_NOT_FOUND);
	shunt_model_free(&model);
}

Test(traefik, a_traefik_service_to_which_nothing_leads_says_so)
{
	char *text = text_of_yaml("apiVersion: traefik.io/v1alpha1\n"
				  "kind: TraefikService\n"
				  "metadata: {name: lonely, namespace: shop}\n"
				  "spec: {weighted: {services: [{name: blue, port: 80}]}}\n",
				  &opts);

	cr_expect_str_eq(text,
			 "report TraefikService shop/lonely\n"
			 "  Accepted=False/NoMatchingParent: t.yaml: splits nothing: there is "
			 "neither a Service shop/lonely nor an IngressRoute that leads to it\n");
	free(text);
}

/* ---- entry points ----------------------------------------------------------------------- */

/* Without a Service of the name app. */
#define BACKEND_SERVICES                                                                           \
	SHOP_SERVICE("blue", "10.96.0.2")                                                          \
	SHOP_SERVICE("green", "10.96.0.3")                                                         \
	SHOP_SLICE("blue",                                                                         \
		   SHOP_ENDPOINT("10.1.0.1", "blue-1") SHOP_ENDPOINT("10.1.0.2", "blue-2"))        \
	SHOP_SLICE("green",                                                                        \
		   SHOP_ENDPOINT("10.2.0.1", "green-1") SHOP_ENDPOINT("10.2.0.2", "green-2"))

Test(traefik, an_ingress_route_splits_its_entry_points_by_the_traefik_services_weights)
{
	check("owned, and called as the TraefikService",
	      BACKEND_SERVICES BLUE_GREEN INGRESS("IngressRoute", "site",
						  "{entryPoints: [web], routes: [" TO_APP "]}"),
	      "shop/app 80 tcp owned connection by shop/app\n"
	      "  at 198.51.100.1:80\n"
	      "  at [fd00::1]:80\n" BACKENDS SPLIT_BY("TraefikService", "app")
		      REPORT_LEADS("IngressRoute", "site")
			      REPORT("TraefikService", "app", "shop/app"));
}

Test(traefik, an_entry_point_of_an_ingress_route_carries_plaintext_http)
{
	struct shunt_model model;

	model_of_yaml(BACKEND_SERVICES BLUE_GREEN INGRESS(
			      "IngressRoute", "site", "{entryPoints: [web], routes: [" TO_APP "]}"),
		      &opts, &model);
	cr_assert_eq(model.n_services, 1);
	cr_expect(model.services[0].ports[0].http);
	shunt_model_free(&model);

	model_of_yaml(
		BACKEND_SERVICES INGRESS("IngressRouteTCP", "site",
					 "{entryPoints: [web], routes: [{match: HostSNI(`*`), "
					 "services: [{name: blue, port: 80}]}]}"),
		&opts, &model);
	cr_assert_eq(model.n_services, 1);
	cr_expect_not(model.services[0].ports[0].http);
	shunt_model_free(&model);
}

Test(traefik, entry_points_with_the_number_of_the_services_port_join_it)
{
	check("one service, shared, for not all its addresses are entry points",
	      SHOP BLUE_GREEN INGRESS("IngressRoute", "site",
				      "{entryPoints: [web], routes: [" TO_APP "]}"),
	      "shop/app http:80 tcp shared connection by shop/app\n"
	      "  at 10.96.0.1:80\n"
	      "  at 198.51.100.1:80\n"
	      "  at [fd00::1]:80\n" BACKENDS SPLIT_BY("TraefikService", "app")
		      REPORT_LEADS("IngressRoute", "site")
			      REPORT("TraefikService", "app", "shop/app"));
}

Test(traefik, entry_points_with_another_number_are_an_owned_service_of_the_same_name)
{
	check("two services",
	      SHOP BLUE_GREEN INGRESS("IngressRoute", "site",
				      "{entryPoints: [alt], routes: [" TO_APP "]}"),
	      "shop/app http:80 tcp shared connection by shop/app\n"
	      "  at 10.96.0.1:80\n" BACKENDS SPLIT_BY(
		      "TraefikService",
		      "app") "shop/app 8000 tcp owned connection by shop/app\n"
			     "  at 198.51.100.1:8000\n" BACKENDS SPLIT_BY("TraefikService", "app")
				     REPORT_LEADS("IngressRoute", "site")
					     REPORT("TraefikService", "app", "shop/app"));
}

Test(traefik, two_routes_to_one_traefik_service_add_up)
{
	check("web and web2",
	      BACKEND_SERVICES BLUE_GREEN INGRESS("IngressRoute", "one",
						  "{entryPoints: [web], routes: [" TO_APP "]}")
		      INGRESS("IngressRoute", "two", "{entryPoints: [web2], routes: [" TO_APP "]}"),
	      "shop/app 80 tcp owned connection by shop/app\n"
	      "  at 198.51.100.1:80\n"
	      "  at [fd00::1]:80\n"
	      "  at 198.51.100.2:80\n" BACKENDS SPLIT_BY("TraefikService", "app")
		      REPORT_LEADS("IngressRoute", "one") REPORT_LEADS("IngressRoute", "two")
			      REPORT("TraefikService", "app", "shop/app"));
}

Test(traefik, without_entry_points_in_the_route_it_is_all_that_were_given)
{
	struct shunt_model model;

	model_of_yaml(BACKEND_SERVICES BLUE_GREEN INGRESS("IngressRoute", "site",
							  "{routes: [" TO_APP "]}"),
		      &opts, &model);
	cr_assert_eq(model.n_services, 1);
	cr_expect_eq(model.services[0].n_ports, 2);
	cr_expect_eq(model.services[0].n_frontends, 4);
	shunt_model_free(&model);
}

#define LISTED "services: [{name: blue, port: 80, weight: 95}, {name: green, port: 80, weight: 5}]"

Test(traefik, services_that_the_route_lists_itself_are_split_under_its_name)
{
	check("IngressRoute",
	      BACKEND_SERVICES INGRESS(
		      "IngressRoute", "site",
		      "{entryPoints: [web2], routes: [{match: 'PathPrefix(\"/\")', "
		      "kind: Rule, " LISTED "}]}"),
	      "shop/site 80 tcp owned connection by shop/site\n"
	      "  at 198.51.100.2:80\n" BACKENDS SPLIT_BY("IngressRoute", "site")
		      REPORT("IngressRoute", "site", "shop/site"));
	check("IngressRouteTCP",
	      BACKEND_SERVICES INGRESS(
		      "IngressRouteTCP", "site",
		      "{entryPoints: [web2], routes: [{match: HostSNI(`*`), " LISTED
		      "}], tls: {passthrough: true}}"),
	      "shop/site 80 tcp owned connection by shop/site\n"
	      "  at 198.51.100.2:80\n" BACKENDS SPLIT_BY("IngressRouteTCP", "site")
		      REPORT("IngressRouteTCP", "site", "shop/site"));
}

Test(traefik, an_annotation_may_share_entry_points_with_another_proxy)
{
	struct shunt_model model;

	model_of_yaml(BACKEND_SERVICES "---\n"
				       "apiVersion: traefik.io/v1alpha1\n"
				       "kind: IngressRoute\n"
				       "metadata: {name: site, namespace: shop, annotations: "
				       "{shunt.io/frontends: shared, shunt.io/affinity: hash}}\n"
				       "spec: {routes: [{match: PathPrefix(`/`), " LISTED "}]}\n",
		      &opts, &model);
	cr_assert_eq(model.n_services, 1);
	cr_expect_not(model.services[0].owned);
	cr_expect_eq(model.services[0].affinity.kind, SHUNT_AFFINITY_HASH);
	shunt_model_free(&model);
}

#define WEB(rest) "{entryPoints: [web], routes: [{" rest "}]}"
#define ALL	  "match: PathPrefix(`/`), "
#define BLUE	  "services: [{name: blue, port: 80}]"

static const struct {
	const char *yaml, *why;
} refused_routes[] = {
	{ INGRESS("IngressRoute", "site", "{}"), "spec.routes: is required" },
	{ INGRESS("IngressRoute", "site", "{routes: []}"), "spec.routes: Shunt takes exactly one" },
	{ INGRESS("IngressRoute", "site", "{routes: [" TO_APP ", " TO_APP "]}"),
	  "spec.routes: Shunt takes exactly one route, not 2" },
	{ INGRESS("IngressRoute", "site", WEB(BLUE)), "spec.routes[0].match: is required" },
	{ INGRESS("IngressRoute", "site", WEB("match: Host(`a.example`), " BLUE)),
	  "spec.routes[0].match: \"Host(`a.example`)\": Shunt splits whole connections" },
	{ INGRESS("IngressRoute", "site", WEB("match: PathPrefix(`/api`), " BLUE)),
	  "spec.routes[0].match: " },
	{ INGRESS("IngressRoute", "site", WEB("match: HostSNI(`*`), " BLUE)), "routes[0].match: " },
	{ INGRESS("IngressRouteTCP", "site", WEB("match: HostSNI(`a.example`), " BLUE)),
	  "so the only match is HostSNI(`*`)" },
	{ INGRESS("IngressRoute", "site", WEB(ALL)), "spec.routes[0].services: is required" },
	{ INGRESS("IngressRoute", "site", WEB(ALL "services: []")),
	  "services: must name at least" },
	{ INGRESS("IngressRoute", "site", WEB(ALL "kind: Regel, " BLUE)), "is not Rule" },
	{ INGRESS("IngressRoute", "site", WEB(ALL BLUE ", middlewares: [{name: x}]")),
	  "spec.routes[0].middlewares[0].name: Middleware shop/x does not exist" },
	{ INGRESS("IngressRoute", "site", WEB(ALL BLUE ", priority: 7")), "routes[0].priority: " },
	{ INGRESS("IngressRoute", "site", "{tls: {}, routes: [" TO_APP "]}"),
	  "spec.tls: Shunt cannot end TLS connections" },
	{ INGRESS("IngressRouteTCP", "site",
		  "{tls: {secretName: x}, routes: [{match: HostSNI(`*`), " BLUE "}]}"),
	  "spec.tls: Shunt cannot end TLS connections" },
	{ INGRESS("IngressRouteTCP", "site",
		  "{tls: {passthrough: true, options: {}}, routes: [{match: HostSNI(`*`), " BLUE
		  "}]}"),
	  "spec.tls.options: " },
	{ INGRESS("IngressRoute", "site",
		  "{entryPoints: [web, metrics], routes: [{" ALL BLUE "}]}"),
	  "spec.entryPoints[1]: no --entrypoint metrics=ADDR:PORT is given" },
	{ INGRESS("IngressRoute", "site", "{entryPoints: [1], routes: [{" ALL BLUE "}]}"),
	  "spec.entryPoints[0]: must be a string" },
	{ INGRESS("IngressRoute", "site", WEB(ALL "services: [{name: x, kind: TraefikService}]")),
	  "spec.routes[0].services[0].name: TraefikService shop/x does not exist" },
	{ INGRESS("IngressRoute", "site",
		  WEB(ALL "services: [{name: x, kind: TraefikService, namespace: bank}]")),
	  "only with --allow-cross-namespace" },
	{ INGRESS("IngressRoute", "site",
		  WEB(ALL "services: [{name: x, kind: TraefikService, weight: 3}]")),
	  "services[0].weight: " },
	{ INGRESS("IngressRoute", "site",
		  WEB(ALL "services: [{name: x, kind: TraefikService}, {name: blue, port: 80}]")),
	  "services[0].kind: a TraefikService inside of weighted services" },
	{ INGRESS("IngressRouteTCP", "site",
		  WEB("match: HostSNI(`*`), services: [{name: blue, port: 80, scheme: http}]")),
	  "services[0].scheme: Shunt does not support this field" },
	{ INGRESS("IngressRouteTCP", "site",
		  WEB("match: HostSNI(`*`), services: [{name: blue, port: 80, proxyProtocol: "
		      "{}}]")),
	  "services[0].proxyProtocol: " },
	{ INGRESS("IngressRoute", "site", "{entryPoints: [web], routes: [" TO_APP "]}")
		  TRAEFIK_SERVICE("{mirroring: {}}"),
	  "spec.mirroring: " },
};

Test(traefik, what_a_route_cannot_be_is_refused_with_its_field)
{
	for (size_t i = 0; i < ARRAY_LEN(refused_routes); i++) {
		char yaml[8192];

		snprintf(yaml, sizeof(yaml), "%s%s", BACKEND_SERVICES, refused_routes[i].yaml);
		check_refused(yaml, refused_routes[i].why);
	}
}

Test(traefik, a_route_is_refused_when_no_entry_point_is_known)
{
	opts.n_entrypoints = 0;
	check_refused(BACKEND_SERVICES BLUE_GREEN INGRESS("IngressRoute", "site",
							  "{routes: [" TO_APP "]}"),
		      "spec.entryPoints: no --entrypoint NAME=ADDR:PORT is given");
}

Test(traefik, a_route_that_is_refused_takes_nothing_from_the_service)
{
	struct shunt_model model;

	model_of_yaml(SHOP BLUE_GREEN INGRESS("IngressRoute", "site",
					      "{entryPoints: [nowhere], routes: [" TO_APP "]}"),
		      &opts, &model);
	cr_assert_eq(model.n_services, 1);
	cr_expect_eq(model.services[0].n_frontends, 1);
	shunt_model_free(&model);
}

Test(traefik, one_address_is_split_by_the_first_route_only)
{
	struct shunt_model model;

	model_of_yaml(BACKEND_SERVICES INGRESS("IngressRoute", "one", WEB(ALL LISTED))
			      INGRESS("IngressRoute", "two", WEB(ALL LISTED)),
		      &opts, &model);
	cr_assert_eq(model.n_services, 2);
	cr_expect_eq(model.services[0].n_frontends, 2);
	cr_expect_eq(model.services[1].n_frontends, 0);
	cr_expect_not_null(shunt_conditions_get(&model.services[1].conditions, "FrontendRefused"));
	shunt_model_free(&model);
}
