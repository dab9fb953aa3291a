// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/dialect.h"
#include "model_text.h"
#include "shop_yaml.h"

static struct shunt_translate_opts opts;

static void setup(void)
{
	opts = (struct shunt_translate_opts){ .default_drain_s = 60 };
}

TestSuite(istio, .init = setup);

/* The pods of Service app itself, two of each version. */
#define PODS                                                                                       \
	SHOP_POD("app-1", "v1")                                                                    \
	SHOP_POD("app-2", "v1")                                                                    \
	SHOP_POD("app-3", "v2")                                                                    \
	SHOP_SLICE("app", SHOP_ENDPOINT("10.3.0.1", "app-1") SHOP_ENDPOINT("10.3.0.2", "app-2")    \
				  SHOP_ENDPOINT("10.3.0.3", "app-3"))

#define OBJECT(kind, name, spec)                                                                   \
	"---\n"                                                                                    \
	"apiVersion: networking.istio.io/v1\n"                                                     \
	"kind: " kind "\n"                                                                         \
	"metadata: {name: " name ", namespace: shop}\n"                                            \
	"spec: " spec "\n"

#define VIRTUAL_SERVICE(spec)  OBJECT("VirtualService", "app", spec)
#define DESTINATION_RULE(spec) OBJECT("DestinationRule", "app", spec)

#define SUBSETS                                                                                    \
	DESTINATION_RULE("{host: app, subsets: [{name: blue, labels: {version: v1}},"              \
			 " {name: green, labels: {version: v2, app: app}}]}")

#define TO(subset, weight) "{destination: {host: app, subset: " subset "}, weight: " weight "}"

#define MODEL(splitter)                                                                            \
	"shop/app http:80 tcp shared connection by shop/app\n"                                     \
	"  at 10.96.0.1:80\n"                                                                      \
	"  blue=95 drain 60\n"                                                                     \
	"    10.3.0.1:8080 ready\n"                                                                \
	"    10.3.0.2:8080 ready\n"                                                                \
	"  green=5 drain 60\n"                                                                     \
	"    10.3.0.3:8080 ready\n"                                                                \
	"  Accepted=True/Accepted: split by VirtualService shop/app\n"                             \
	"  ResolvedRefs=True/ResolvedRefs: every reference leads to a Service\n"

#define REPORTS                                                                                    \
	"report DestinationRule shop/app\n"                                                        \
	"  Accepted=True/Accepted: 2 subsets of shop/app\n"                                        \
	"report VirtualService shop/app\n"                                                         \
	"  Accepted=True/Accepted: splits shop/app\n"                                              \
	"  ResolvedRefs=True/ResolvedRefs: every reference leads to a Service\n"

static void check(const char *yaml, const char *expected)
{
	char *text = text_of_yaml(yaml, &opts);

	cr_expect_str_eq(text, expected, "%s\n%s", yaml, text);
	free(text);
}

static void check_refused(const char *yaml, const char *why)
{
	char *text = text_of_yaml(yaml, &opts);

	cr_expect(!strncmp(text, "report ", 7), "must split nothing:\n%s\n%s", yaml, text);
	cr_expect(strstr(text, "Accepted=False/"), "%s", text);
	cr_expect(strstr(text, why), "\"%s\" is missing in\n%s", why, text);
	free(text);
}

/* The only service of the model. */
static struct shunt_model_service *one(const char *yaml, struct shunt_model *model)
{
	model_of_yaml(yaml, &opts, model);
	cr_assert_eq(model->n_services, 1, "%s", yaml);
	return &model->services[0];
}

Test(istio, subsets_are_the_pods_with_their_labels)
{
	check(SHOP PODS SUBSETS VIRTUAL_SERVICE("{hosts: [app], http: [{route: [" TO(
		      "blue", "95") ", " TO("green", "5") "]}]}"),
	      MODEL("VirtualService") REPORTS);
}

Test(istio, tcp_routes_and_the_match_of_everything_are_the_same)
{
	static const char *const specs[] = {
		"{hosts: [app], tcp: [{route: [" TO("blue", "95") ", " TO("green", "5") "]}]}",
		"{hosts: [app], gateways: [mesh], exportTo: ['*'], http: [{name: main, match:"
		" [{uri: {prefix: /}}], route: [" TO("blue", "95") ", " TO("green", "5") "]}]}",
		"{hosts: [app], http: [{match: [{}], route: [" TO("blue", "95") ", " TO(
			"green", "5") "]}], tcp: []}",
		"{hosts: [app], tcp: [{match: [{port: 80}], route: [" TO("blue", "95") ", " TO(
			"green", "5") "]}]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		char yaml[8192];

		snprintf(yaml, sizeof(yaml), "%s%s%s\n", SHOP PODS SUBSETS,
			 "---\n"
			 "apiVersion: networking.istio.io/v1beta1\n"
			 "kind: VirtualService\n"
			 "metadata: {name: app, namespace: shop}\n"
			 "spec: ",
			 specs[i]);
		check(yaml, MODEL("VirtualService") REPORTS);
	}
}

Test(istio, every_spelling_of_a_host_names_the_service)
{
	static const char *const hosts[] = { "app", "app.shop", "app.shop.svc",
					     "app.shop.svc.cluster.local" };

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		struct shunt_model model;
		char yaml[8192];

		snprintf(yaml, sizeof(yaml),
			 "%s---\n"
			 "apiVersion: networking.istio.io/v1alpha3\n"
			 "kind: DestinationRule\n"
			 "metadata: {name: app, namespace: shop}\n"
			 "spec: {host: %s, subsets: [{name: blue, labels: {version: v1}}]}\n"
			 "---\n"
			 "apiVersion: networking.istio.io/v1alpha3\n"
			 "kind: VirtualService\n"
			 "metadata: {name: app, namespace: shop}\n"
			 "spec: {hosts: [%s], http: [{route: [{destination: {host: %s,"
			 " subset: blue}}]}]}\n",
			 SHOP PODS, hosts[(i + 1) % 4], hosts[i], hosts[(i + 2) % 4]);
		cr_expect_eq(one(yaml, &model)->variants[0].n_backends, 2, "%s", yaml);
		shunt_model_free(&model);
	}
}

Test(istio, without_subsets_variants_are_services)
{
	struct shunt_model model;
	const struct shunt_model_service *app = one(
		SHOP VIRTUAL_SERVICE("{hosts: [app], http: [{route: ["
				     "{destination: {host: green, port: {number: 80}}, weight: 1},"
				     "{destination: {host: blue.shop}, weight: 3}]}]}"),
		&model);

	cr_assert_eq(app->n_variants, 2);
	cr_expect_str_eq(app->variants[0].name, "blue");
	cr_expect_eq(app->variants[0].weight, 3);
	cr_expect_eq(app->variants[0].n_backends, 2);
	cr_expect_eq(app->variants[1].weight, 1);
	shunt_model_free(&model);
}

Test(istio, a_missing_weight_is_0)
{
	struct shunt_model model;
	const struct shunt_model_service *app =
		one(SHOP VIRTUAL_SERVICE("{hosts: [app], http: [{route: ["
					 "{destination: {host: blue}, weight: 7},"
					 "{destination: {host: green}}]}]}"),
		    &model);

	cr_expect_eq(app->variants[0].weight, 7);
	cr_expect_eq(app->variants[1].weight, 0);
	shunt_model_free(&model);
}

Test(istio, the_only_destination_gets_everything_whatever_its_weight)
{
	static const char *const weights[] = { "", ", weight: 0", ", weight: 1", ", weight: null" };

	for (size_t i = 0; i < ARRAY_LEN(weights); i++) {
		struct shunt_model model;
		char yaml[8192];

		snprintf(yaml, sizeof(yaml), "%s%s%s}]}]}\n",
			 SHOP "---\n"
			      "apiVersion: networking.istio.io/v1\n"
			      "kind: VirtualService\n"
			      "metadata: {name: app, namespace: shop}\n",
			 "spec: {hosts: [app], http: [{route: [{destination: {host: blue}",
			 weights[i]);
		cr_expect_gt(one(yaml, &model)->variants[0].weight, 0, "%s", weights[i]);
		shunt_model_free(&model);
	}
}

Test(istio, several_hosts_are_split_alike)
{
	struct shunt_model model;

	model_of_yaml(SHOP VIRTUAL_SERVICE("{hosts: [app, green.shop], http: [{route: ["
					   "{destination: {host: blue}}]}]}"),
		      &opts, &model);
	cr_assert_eq(model.n_services, 2);
	cr_expect_str_eq(model.services[1].name, "green");
	cr_expect_str_eq(model.services[1].variants[0].name, "blue");
	shunt_model_free(&model);
}

Test(istio, a_subset_that_is_missing_rejects_its_share)
{
	struct shunt_model model;
	const struct shunt_model_service *app =
		one(SHOP PODS SUBSETS VIRTUAL_SERVICE("{hosts: [app], http: [{route: [" TO(
			    "blue", "50") ", " TO("red", "50") "]}]}"),
		    &model);
	const struct shunt_condition *refs = shunt_conditions_get(&app->conditions, "ResolvedRefs");

	cr_assert_eq(app->n_variants, 2);
	cr_expect_str_eq(app->variants[1].name, "red");
	cr_expect_eq(app->variants[1].weight, 50);
	cr_expect_eq(app->variants[1].group, SHUNT_GROUP_NOT_FOUND);
	cr_assert_not_null(refs);
	cr_expect_str_eq(refs->reason, "BackendNotFound");
	cr_expect(strstr(refs->message, "no DestinationRule of shop/app has a subset red"), "%s",
		  refs->message);
	shunt_model_free(&model);
}

Test(istio, without_any_pod_object_a_subset_says_what_it_needs)
{
	struct shunt_model model;
	const struct shunt_model_service *app =
		one(SHOP SUBSETS VIRTUAL_SERVICE(
			    "{hosts: [app], http: [{route: [" TO("blue", "1") "]}]}"),
		    &model);

	cr_expect_eq(app->variants[0].group, SHUNT_GROUP_NOT_FOUND);
	cr_expect(strstr(shunt_conditions_get(&app->conditions, "ResolvedRefs")->message,
			 "no Pod of namespace shop is among the objects"));
	shunt_model_free(&model);
}

Test(istio, a_subset_without_labels_is_all_pods)
{
	struct shunt_model model;
	const struct shunt_model_service *app =
		one(SHOP PODS DESTINATION_RULE("{host: app, subsets: [{name: blue}, {name: green,"
					       " labels: {}}]}")
			    VIRTUAL_SERVICE("{hosts: [app], http: [{route: [" TO(
				    "blue", "1") ", " TO("green", "1") "]}]}"),
		    &model);

	cr_expect_eq(app->variants[0].n_backends, 3);
	cr_expect_eq(app->variants[1].n_backends, 3);
	shunt_model_free(&model);
}

Test(istio, an_endpoint_whose_pod_is_unknown_is_in_no_subset)
{
	struct shunt_model model;
	const struct shunt_model_service *app = one(
		SHOP SHOP_POD("app-1", "v1") SHOP_SLICE(
			"app", SHOP_ENDPOINT("10.3.0.1", "app-1") SHOP_ENDPOINT("10.3.0.9", "x"))
			SUBSETS VIRTUAL_SERVICE(
				"{hosts: [app], http: [{route: [" TO("blue", "1") "]}]}"),
		&model);

	cr_expect_eq(app->variants[0].n_backends, 1);
	shunt_model_free(&model);
}

Test(istio, another_namespaces_host_is_split_only_when_allowed)
{
	static const char yaml[] =
		SHOP "---\n"
		     "apiVersion: networking.istio.io/v1\n"
		     "kind: VirtualService\n"
		     "metadata: {name: thief, namespace: bank}\n"
		     "spec: {hosts: [app.shop.svc.cluster.local], http: [{route: [{destination:"
		     " {host: blue.shop.svc.cluster.local}}]}]}\n";
	struct shunt_model model;

	check_refused(yaml, "spec.hosts[0]: shop is another namespace than the object's own, bank: "
			    "only with --allow-cross-namespace");
	opts.allow_cross_namespace = true;
	cr_expect_str_eq(one(yaml, &model)->namespace_, "shop");
	cr_expect_eq(model.services[0].variants[0].n_backends, 2);
	shunt_model_free(&model);
}

#define ROUTE "route: [{destination: {host: blue}}]"

static const struct {
	const char *spec, *why;
} refused[] = {
	{ "{}", "spec.http: there must be one route, http or tcp" },
	{ "{http: [{" ROUTE "}]}", "spec.hosts: is required" },
	{ "{hosts: [], http: [{" ROUTE "}]}", "spec.hosts: must name at least one Service" },
	{ "{hosts: ['*'], http: [{" ROUTE "}]}", "spec.hosts[0]: \"*\" does not name a Service" },
	{ "{hosts: [www.example.com], http: [{" ROUTE "}]}", "spec.hosts[0]: " },
	{ "{hosts: [app.shop.svc.cluster.localhost], http: [{" ROUTE "}]}", "does not name a" },
	{ "{hosts: [.shop], http: [{" ROUTE "}]}", "does not name a Service" },
	{ "{hosts: [app.], http: [{" ROUTE "}]}", "does not name a Service" },
	{ "{hosts: [7], http: [{" ROUTE "}]}", "spec.hosts[0]: must be a string" },
	{ "{hosts: [gone], http: [{" ROUTE "}]}", "Service shop/gone does not exist" },
	{ "{hosts: [app], gateways: [istio-system/main], http: [{" ROUTE "}]}",
	  "spec.gateways[0]: \"istio-system/main\": Shunt splits Services for the mesh only" },
	{ "{hosts: [app], gateways: [mesh, edge], http: [{" ROUTE "}]}", "spec.gateways[1]: " },
	{ "{hosts: [app], exportTo: ['.'], http: [{" ROUTE "}]}", "spec.exportTo[0]: " },
	{ "{hosts: [app], http: [{" ROUTE "}], tcp: [{" ROUTE "}]}", "spec.tcp: Shunt takes one" },
	{ "{hosts: [app], tls: [{" ROUTE "}]}", "spec.tls: Shunt does not support this field" },
	{ "{hosts: [app], http: [{" ROUTE "}, {" ROUTE "}]}",
	  "spec.http: Shunt takes exactly one" },
	{ "{hosts: [app], http: [{}]}", "spec.http[0].route: is required" },
	{ "{hosts: [app], http: [{route: []}]}", "spec.http[0].route: must name at least one" },
	{ "{hosts: [app], http: [{redirect: {uri: /x}}]}", "spec.http[0].redirect: " },
	{ "{hosts: [app], http: [{timeout: 5s, " ROUTE "}]}", "spec.http[0].timeout: " },
	{ "{hosts: [app], http: [{retries: {attempts: 3}, " ROUTE "}]}", "spec.http[0].retries: " },
	{ "{hosts: [app], http: [{fault: {}, " ROUTE "}]}", "spec.http[0].fault: " },
	{ "{hosts: [app], http: [{mirror: {host: green}, " ROUTE "}]}", "spec.http[0].mirror: " },
	{ "{hosts: [app], http: [{headers: {}, " ROUTE "}]}", "spec.http[0].headers: " },
	{ "{hosts: [app], http: [{rewrite: {uri: /}, " ROUTE "}]}", "spec.http[0].rewrite: " },
	{ "{hosts: [app], http: [{match: [{uri: {prefix: /api}}], " ROUTE "}]}",
	  "spec.http[0].match[0].uri.prefix: Shunt splits connections" },
	{ "{hosts: [app], http: [{match: [{uri: {exact: /}}], " ROUTE "}]}",
	  "match[0].uri.exact: " },
	{ "{hosts: [app], http: [{match: [{headers: {x: {exact: y}}}], " ROUTE "}]}",
	  "spec.http[0].match[0].headers: " },
	{ "{hosts: [app], http: [{match: [{}, {}], " ROUTE "}]}", "at most one match" },
	{ "{hosts: [app], tcp: [{match: [{port: 0}], " ROUTE "}]}", "match[0].port: 0 is not" },
	{ "{hosts: [app], tcp: [{match: [{port: 443}], " ROUTE "}]}", "has no TCP port 443" },
	{ "{hosts: [app], tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}], " ROUTE "}]}",
	  "spec.tcp[0].match[0].destinationSubnets: " },
	{ "{hosts: [app], http: [{route: [{weight: 1}]}]}", "route[0].destination: is required" },
	{ "{hosts: [app], http: [{route: [{destination: {}}]}]}", "destination.host: is required" },
	{ "{hosts: [app], http: [{route: [{destination: {host: b.c.d}}]}]}",
	  "spec.http[0].route[0].destination.host: " },
	{ "{hosts: [app], http: [{route: [{destination: {host: blue.bank}}]}]}",
	  "spec.http[0].route[0].destination.host: bank is another namespace" },
	{ "{hosts: [app], http: [{route: [{destination: {host: blue, port: {number: 70000}}}]}]}",
	  "route[0].destination.port.number: 70000 is not between" },
	{ "{hosts: [app], http: [{route: [{destination: {host: blue, port: {}}}]}]}",
	  "route[0].destination.port.number: is required" },
	{ "{hosts: [app], http: [{route: [{destination: {host: blue}, weight: -5}]}]}",
	  "spec.http[0].route[0].weight: -5 is not between" },
	{ "{hosts: [app], http: [{route: [{destination: {host: blue}, weight: 0.5}]}]}",
	  "spec.http[0].route[0].weight: 0.5 is not a whole number" },
	{ "{hosts: [app], http: [{route: [{destination: {host: blue}, headers: {}}]}]}",
	  "spec.http[0].route[0].headers: " },
	{ "{hosts: [app], http: [{route: [{destination: {host: blue}},"
	  " {destination: {host: green}}]}]}",
	  "spec.http[0].route: all weights are 0" },
	{ "{hosts: [app], http: [{route: [{destination: {host: blue}, weight: 1},"
	  " {destination: {host: blue}, weight: 1}]}]}",
	  "\"blue\" is already named by" },
	{ "{hosts: [app], http: [{route: [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},"
	  " {}, {}, {}]}]}",
	  "spec.http[0].route: at most 16 destinations" },
};

Test(istio, what_a_virtual_service_cannot_be_is_refused_with_its_field)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		char yaml[8192];

		snprintf(yaml, sizeof(yaml), "%s%s\n",
			 SHOP "---\n"
			      "apiVersion: networking.istio.io/v1\n"
			      "kind: VirtualService\n"
			      "metadata: {name: app, namespace: shop}\n"
			      "spec: ",
			 refused[i].spec);
		check_refused(yaml, refused[i].why);
	}
}

static const struct {
	const char *spec, *why;
} refused_rules[] = {
	{ "{}", "spec.host: is required" },
	{ "{host: '*.shop.svc.cluster.local'}", "spec.host: " },
	{ "{host: app.bank}", "spec.host: bank is another namespace" },
	{ "{host: app, exportTo: [shop]}", "spec.exportTo[0]: " },
	{ "{host: app, workloadSelector: {}}", "spec.workloadSelector: " },
	{ "{host: app, subsets: {}}", "spec.subsets: must be a list" },
	{ "{host: app, subsets: [{}]}", "spec.subsets[0].name: is required" },
	{ "{host: app, subsets: [{name: blue, labels: [v1]}]}",
	  "subsets[0].labels: must be a map" },
	{ "{host: app, subsets: [{name: blue, labels: {version: 1}}]}",
	  "spec.subsets[0].labels.version: must be a string" },
	{ "{host: app, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}", "spec.trafficPolicy.tls: " },
	{ "{host: app, trafficPolicy: {outlierDetection: {consecutiveErrors: 5}}}",
	  "spec.trafficPolicy.outlierDetection.consecutiveErrors: is no more in Istio" },
	{ "{host: app, trafficPolicy: {outlierDetection: {interval: 10}}}",
	  "spec.trafficPolicy.outlierDetection.interval: must be a string with a unit" },
	{ "{host: app, trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}}",
	  "spec.trafficPolicy.connectionPool.tcp.maxConnections: -1 is not between 0" },
	{ "{host: app, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 1s}}}}",
	  "spec.trafficPolicy.connectionPool.tcp.connectTimeout: the client's own stack" },
	{ "{host: app, trafficPolicy: {connectionPool: {http: {maxRetries: 1}}}}",
	  "spec.trafficPolicy.connectionPool.http.maxRetries: Shunt repeats no request" },
	{ "{host: app, trafficPolicy: {portLevelSettings: [{}]}}",
	  "spec.trafficPolicy.portLevelSettings: Shunt does not support" },
	{ "{host: app, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}}",
	  "spec.trafficPolicy.loadBalancer.consistentHash: " },
	{ "{host: app, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}",
	  "spec.trafficPolicy.loadBalancer.simple: Shunt places connections by a hash" },
	{ "{host: app, subsets: [{name: blue, trafficPolicy: {connectionPool: {x: 1}}}]}",
	  "spec.subsets[0].trafficPolicy.connectionPool.x: " },
};

/* A subset that was not read must not reject traffic: the cluster's proxy serves it. */
Test(istio, what_a_destination_rule_cannot_be_refuses_what_builds_on_it)
{
	for (size_t i = 0; i < ARRAY_LEN(refused_rules); i++) {
		char yaml[8192], *text;
		bool about_app = strstr(refused_rules[i].spec, "host: app,") != NULL;

		snprintf(yaml, sizeof(yaml), "%s%s%s\n",
			 SHOP PODS VIRTUAL_SERVICE(
				 "{hosts: [app], http: [{route: [" TO("blue", "1") "]}]}"),
			 "---\n"
			 "apiVersion: networking.istio.io/v1\n"
			 "kind: DestinationRule\n"
			 "metadata: {name: app, namespace: shop}\n"
			 "spec: ",
			 refused_rules[i].spec);
		text = text_of_yaml(yaml, &opts);
		cr_expect(strstr(text, refused_rules[i].why), "\"%s\" is missing in\n%s",
			  refused_rules[i].why, text);
		cr_expect(strstr(text, "report DestinationRule shop/app\n  Accepted=False/"), "%s",
			  text);
		cr_expect_eq(!strncmp(text, "report ", 7), about_app, "%s", text);
		cr_expect_eq(strstr(text, "(of DestinationRule shop/app)") != NULL, about_app, "%s",
			     text);
		free(text);
	}
}

Test(istio, random_balancing_is_what_is_done_anyway)
{
	struct shunt_model model;
	const struct shunt_model_service *app = one(
		SHOP PODS DESTINATION_RULE(
			"{host: app, trafficPolicy: {loadBalancer: {simple: RANDOM}},"
			" subsets: [{name: blue, labels: {version: v1}}]}")
			VIRTUAL_SERVICE("{hosts: [app], http: [{route: [" TO("blue", "1") "]}]}"),
		&model);

	cr_expect_eq(app->variants[0].n_backends, 2);
	shunt_model_free(&model);
}

Test(istio, the_rule_of_another_host_is_not_asked)
{
	struct shunt_model model;
	const struct shunt_model_service *app =
		one(SHOP PODS OBJECT("DestinationRule", "a",
				     "{host: blue, subsets: [{name: blue, labels: {version: v2}}]}")
			    OBJECT("DestinationRule", "b",
				   "{host: green, trafficPolicy: {tls: {mode: SIMPLE}}}")
				    SUBSETS VIRTUAL_SERVICE("{hosts: [app], http: [{route: [" TO(
					    "blue", "1") "]}]}"),
		    &model);

	cr_expect_eq(app->variants[0].n_backends, 2);
	shunt_model_free(&model);
}

Test(istio, of_two_rules_for_a_host_the_subset_is_found_in_either)
{
	struct shunt_model model;
	const struct shunt_model_service *app =
		one(SHOP PODS OBJECT("DestinationRule", "a",
				     "{host: app, subsets: [{name: blue, labels: {version: v2}}]}")
			    SUBSETS VIRTUAL_SERVICE("{hosts: [app], http: [{route: [" TO(
				    "blue", "1") ", " TO("green", "1") "]}]}"),
		    &model);

	cr_expect_eq(app->variants[0].n_backends, 1, "the first by name has it: v2");
	cr_expect_eq(app->variants[1].group, SHUNT_GROUP_RESOLVED);
	shunt_model_free(&model);
}
