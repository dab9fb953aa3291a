// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/keep.h"
#include "model_text.h"
#include "source/yaml/yaml.h"

#define WORLD                                                                                      \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: api}\n"                              \
	"spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n"                                      \
	"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"                              \
	"metadata: {name: s, labels: {kubernetes.io/service-name: api}}\n"                         \
	"addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [10.1.0.1]}]\n"
#define ROUTE_AS(version, weight)                                                                  \
	"apiVersion: gateway.networking.k8s.io/" version "\nkind: TCPRoute\n"                      \
	"metadata: {name: r}\n"                                                                    \
	"spec:\n"                                                                                  \
	"  parentRefs: [{group: '', kind: Service, name: api}]\n"                                  \
	"  rules: [{backendRefs: [{name: api, port: 80, weight: " weight "}]}]\n"
#define ROUTE(weight) ROUTE_AS("v1", weight)
#define KEPT	      "; what it asked before stays in force\n"

static struct shunt_keeper *keeper;

static void set_up(void)
{
	keeper = shunt_keeper_new();
	cr_assert_not_null(keeper);
}

static void tear_down(void)
{
	shunt_keeper_free(keeper);
}

TestSuite(dialect_keep, .init = set_up, .fini = tear_down);

/* The model's text of @yaml, with what the calls before left in the keeper. */
static char *keep(const char *yaml)
{
	static const struct shunt_translate_opts opts = { .default_drain_s = 60 };
	struct shunt_objects objects = { 0 };
	struct shunt_model model;
	struct shunt_err err;
	char *text;

	cr_assert_eq(shunt_yaml_parse("t.yaml", yaml, strlen(yaml), &objects, &err), 0, "%s",
		     err.text);
	cr_assert_eq(shunt_translate_keeping(keeper, &objects, &opts, &model), 0);
	shunt_objects_free(&objects);
	text = model_text(&model);
	shunt_model_free(&model);
	return text;
}

static void expect(const char *yaml, const char *part, const char *absent)
{
	CLEANUP(freep) char *text = keep(yaml);

	cr_expect(strstr(text, part), "expected\n%s\nin\n%s", part, text);
	cr_expect(!absent || !strstr(text, absent), "did not expect\n%s\nin\n%s", absent, text);
}

Test(dialect_keep, a_refused_route_stays_as_it_was)
{
	expect(ROUTE("7") WORLD, "  api=7 drain 60\n", "ManifestRefused");
	expect(ROUTE("-1") WORLD, "  api=7 drain 60\n    10.1.0.1:8080 ready\n", NULL);
	expect(ROUTE("1.5") WORLD, "  api=7 drain 60\n    10.1.0.1:8080 ready\n", NULL);
	expect(ROUTE("8") WORLD, "  api=8 drain 60\n", "ManifestRefused");
}

Test(dialect_keep, the_service_and_the_report_say_what_is_wrong)
{
	expect(ROUTE("7") WORLD, "  api=7 drain 60\n", NULL);
	expect(ROUTE("-1") WORLD,
	       "  ManifestRefused=True/Invalid: t.yaml:6:56: "
	       "spec.rules[0].backendRefs[0].weight: -1 is not between 0 and 1000000" KEPT,
	       NULL);
	expect(ROUTE("-1") WORLD,
	       "report TCPRoute default/r\n"
	       "  Accepted=False/Invalid: t.yaml:6:56: "
	       "spec.rules[0].backendRefs[0].weight: -1 is not between 0 and 1000000" KEPT,
	       NULL);
}

Test(dialect_keep, an_object_that_never_was_good_is_left_out)
{
	expect(ROUTE("-1") WORLD, "Accepted=False/Invalid", "api=");
	expect(ROUTE("-1") WORLD, "Accepted=False/Invalid", "stays in force");
}

Test(dialect_keep, a_deleted_object_is_forgotten)
{
	expect(ROUTE("7") WORLD, "  api=7 drain 60\n", NULL);
	expect(WORLD, "", "api=");
	expect(ROUTE("-1") WORLD, "Accepted=False/Invalid", "api=");
}

Test(dialect_keep, a_refused_slice_keeps_its_endpoints)
{
	expect(ROUTE("7") WORLD, "    10.1.0.1:8080 ready\n", NULL);
	expect(ROUTE("7") "---\napiVersion: v1\nkind: Service\nmetadata: {name: api}\n"
			  "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n"
			  "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
			  "metadata: {name: s, labels: {kubernetes.io/service-name: api}}\n"
			  "addressType: IPv4\nports: [{port: 0}]\n",
	       "    10.1.0.1:8080 ready\n", NULL);
}

Test(dialect_keep, a_refused_service_keeps_its_addresses_and_says_so)
{
	static const char broken[] =
		ROUTE("7") "---\napiVersion: v1\nkind: Service\nmetadata: {name: api}\n"
			   "spec: {clusterIP: 10.96.0.300, ports: [{port: 80}]}\n";

	expect(ROUTE("7") WORLD, "  at 10.96.0.1:80\n", NULL);
	expect(broken, "  at 10.96.0.1:80\n", NULL);
	expect(broken, "  ManifestRefused=True/Invalid: t.yaml:11:19: spec.clusterIP: ", NULL);
	expect(broken, "report Service default/api\n  Accepted=False/Invalid: ", NULL);
}

Test(dialect_keep, what_cannot_be_done_is_kept_like_what_is_wrong)
{
	expect(ROUTE("7") WORLD, "  api=7 drain 60\n", NULL);
	expect("apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: r}\n"
	       "spec: {parentRefs: [{name: gateway}], rules: []}\n" WORLD,
	       "ManifestRefused=True/UnsupportedValue: ", NULL);
}

Test(dialect_keep, another_version_of_the_object_is_the_same_object)
{
	expect(ROUTE_AS("v1alpha2", "7") WORLD, "  api=7 drain 60\n", NULL);
	expect(ROUTE("-1") WORLD, "  api=7 drain 60\n", NULL);
}

Test(dialect_keep, a_route_that_loses_to_another_is_not_kept)
{
	expect(ROUTE("7") WORLD, " by default/r\n", NULL);
	expect("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: h}\n"
	       "spec:\n  parentRefs: [{group: '', kind: Service, name: api}]\n"
	       "  rules: [{backendRefs: [{name: api, port: 80}]}]\n---\n" ROUTE("7") WORLD,
	       " by default/h\n", "ManifestRefused");
}
