// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/explain.h"
#include "install_lab.h"
#include "model/policy.h"
#include "policy/rate.h"

/* A service shop on real maps, and what `shunt explain` prints of it. */
struct scene {
	struct install_lab lab;
	struct lab_service service;
	struct cli cli;
	char *text;
	size_t len;
};

static void scene_make(struct scene *scene, uint32_t blue, uint32_t green, unsigned n_green)
{
	struct shunt_dp_sizes sizes = lab_sizes();
	struct lab_service *services[] = { &scene->service };

	memset(scene, 0, sizeof(*scene));
	lab_open(&scene->lab, &sizes);
	lab_service(&scene->service, "shop", 1);
	lab_variant(&scene->service, "blue", blue, 1, 3);
	lab_variant(&scene->service, "green", green, 2, n_green);
	lab_install_ok(&scene->lab, services, 1);
}

static void scene_end(struct scene *scene)
{
	free(scene->text);
	lab_service_free(&scene->service);
	lab_close(&scene->lab);
}

static const char *explain(struct scene *scene, const struct shunt_tuple *tuple, bool has_port)
{
	struct explain e = { .cli = &scene->cli,
			     .maps = &scene->lab.maps,
			     .tuple = *tuple,
			     .has_source_port = has_port,
			     .now = scene->lab.now };

	free(scene->text);
	scene->cli.out = open_memstream(&scene->text, &scene->len);
	shunt_choose(e.maps, &e.tuple, e.now, &e.choice);
	explain_print(&e);
	fclose(scene->cli.out);
	return scene->text;
}

static json_t *explain_as_json(struct scene *scene, const struct shunt_tuple *tuple, bool has_port)
{
	struct explain e = { .cli = &scene->cli,
			     .maps = &scene->lab.maps,
			     .tuple = *tuple,
			     .has_source_port = has_port,
			     .now = scene->lab.now };

	shunt_choose(e.maps, &e.tuple, e.now, &e.choice);
	return explain_json(&e);
}

Test(cli_explain, a_new_connection_is_explained_stage_by_stage)
{
	struct scene scene;
	struct shunt_tuple tuple;
	const char *text;

	scene_make(&scene, 100, 0, 3);
	tuple = lab_tuple(1, 7);
	text = explain(&scene, &tuple, true);
	cr_expect(strstr(text, "10.255.0.2:80/TCP belongs to shop/shop"), "%s", text);
	cr_expect(strstr(text, "no such connection"), "%s", text);
	cr_expect(strstr(text, "connection: both addresses and ports are the key"), "%s", text);
	cr_expect(strstr(text, "blue, weight 100 of 100 (100.0 %): hash "), "%s", text);
	cr_expect(strstr(text, " in the ring of blue\n"), "%s", text);
	scene_end(&scene);
}

Test(cli_explain, a_node_port_says_whose_port_it_is)
{
	struct scene scene;
	struct shunt_tuple tuple;
	const char *text;

	scene_make(&scene, 100, 0, 3);
	lab_frontend(&scene.service, "192.0.2.4");
	scene.service.frontends[scene.service.model.n_frontends - 1].node_port = 30080;
	lab_install_ok(&scene.lab, (struct lab_service *const[]){ &scene.service }, 1);
	tuple = lab_tuple(1, 7);
	cr_assert_eq(inet_pton(AF_INET, "192.0.2.4", &tuple.dst.word_be[3]), 1);
	tuple.dport_be = htons(30080);
	text = explain(&scene, &tuple, true);
	cr_expect(strstr(text, "192.0.2.4:30080/TCP belongs to shop/shop as NodePort of 80, "),
		  "%s", text);
	scene_end(&scene);
}

Test(cli_explain, json_names_the_backend_that_the_choice_names)
{
	struct scene scene;

	scene_make(&scene, 50, 50, 3);
	for (uint32_t client = 0; client < 200; client++) {
		struct shunt_tuple tuple = lab_tuple(1, client);
		struct shunt_choice choice = lab_choose(&scene.lab, 1, client);
		json_auto_t *json = explain_as_json(&scene, &tuple, true);
		const json_t *backend = json_object_get(json, "backend");
		char addr[32], want[48];

		inet_ntop(AF_INET, &choice.to.addr.word_be[3], addr, sizeof(addr));
		snprintf(want, sizeof(want), "%s:8080", addr);
		cr_assert_str_eq(cli_str(backend, "address"), want);
		cr_assert_str_eq(cli_str(json, "reason"), "FORWARDED");
	}
	scene_end(&scene);
}

Test(cli_explain, without_a_port_the_spread_follows_the_weights)
{
	const json_t *spread, *variants, *backend;
	long long blue, green, sum = 0;
	struct shunt_tuple tuple;
	struct scene scene;
	json_t *json;
	size_t i;

	scene_make(&scene, 90, 10, 3);
	tuple = lab_tuple(1, 7);
	tuple.sport_be = 0;
	json = explain_as_json(&scene, &tuple, false);
	spread = json_object_get(json, "spread");
	variants = json_object_get(spread, "variants");
	blue = cli_int(json_array_get(variants, 0), "connections");
	green = cli_int(json_array_get(variants, 1), "connections");
	cr_expect_eq(blue + green, 60999 - 32768 + 1);
	/* Six sigma around 10 %: the keys are fixed, the bound is for whoever changes the hash. */
	cr_expect(green > 2520 && green < 3126, "green got %lld", green);
	json_array_foreach (json_object_get(spread, "backends"), i, backend)
		sum += cli_int(backend, "connections");
	cr_expect_eq(sum, blue + green);
	cr_expect_eq(cli_int(spread, "rejected"), 0);
	json_decref(json);
	cr_expect(strstr(explain(&scene, &tuple, false), "BACKEND"), "%s", scene.text);
	scene_end(&scene);
}

Test(cli_explain, an_empty_variant_is_said_to_reject)
{
	struct shunt_tuple tuple;
	struct scene scene;
	const char *text;

	scene_make(&scene, 0, 100, 0);
	tuple = lab_tuple(1, 7);
	text = explain(&scene, &tuple, true);
	cr_expect(strstr(text, "none: the chosen variant has no usable backend"), "%s", text);
	tuple.sport_be = 0;
	cr_expect(strstr(explain(&scene, &tuple, false), "28232 of them are rejected"), "%s",
		  scene.text);
	scene_end(&scene);
}

Test(cli_explain, what_is_no_frontend_is_passed)
{
	struct shunt_tuple tuple;
	struct scene scene;

	scene_make(&scene, 1, 1, 1);
	tuple = lab_tuple(77, 7);
	cr_expect(strstr(explain(&scene, &tuple, true), "destination is not a frontend"), "%s",
		  scene.text);
	scene_end(&scene);
}

Test(cli_explain, an_established_connection_is_found_where_it_is)
{
	struct shunt_tuple tuple;
	struct shunt_flow *flow;
	struct scene scene;
	const char *text;

	scene_make(&scene, 100, 0, 3);
	tuple = lab_tuple(1, 7);
	flow = SHUNT_DP_AT(scene.lab.maps.flows, struct shunt_flow, 5);
	*flow = (struct shunt_flow){
		.life = 0x100 | SHUNT_F_ESTABLISHED,
		.client_lo_be = tuple.src.word_be[3],
		.frontend_lo_be = tuple.dst.word_be[3],
		.client_port_be = tuple.sport_be,
		.frontend_port_be = tuple.dport_be,
		.proto = IPPROTO_TCP,
		.family = SHUNT_V4,
		.backend_lo_be = htonl(0x0a020001),
		.backend_port_be = htons(8080),
		.variant = lab_variant_id(&scene.lab, "shop", "green"),
	};
	text = explain(&scene, &tuple, true);
	cr_expect(strstr(text, "established at green, 10.2.0.1:8080: it stays there"), "%s", text);
	cr_expect(strstr(text, "blue, weight 100 of 100"), "%s", text);
	flow->client_port_be ^= 1;
	cr_expect(strstr(explain(&scene, &tuple, true), "no such connection"), "%s", scene.text);
	scene_end(&scene);
}

/* A policy in the maps: clients of @allow, 100 connections/s each, 20 at once to green. */
static void put_policy(struct scene *scene, const char *allow, const char *deny)
{
	struct shunt_policy *policy = shunt_policy_new();
	struct shunt_rate_limit *limit = &policy->limits[0];
	struct shunt_cidr cidr;

	cr_assert_eq(shunt_cidr_parse(allow, &cidr), 0);
	cr_assert_eq(shunt_cidrs_add(&policy->sources.allow, &cidr), 0);
	if (deny) {
		cr_assert_eq(shunt_cidr_parse(deny, &cidr), 0);
		cr_assert_eq(shunt_cidrs_add(&policy->sources.deny, &cidr), 0);
	}
	limit->key.scope = SHUNT_SCOPE_CLIENT;
	limit->burst = 50;
	cr_assert_eq(shunt_rate_make(100, 1000, 50, &limit->rate, NULL), 0);
	policy->n_limits = 1;
	policy->in_flight[0].key.scope = SHUNT_SCOPE_BACKEND;
	strcpy(policy->in_flight[0].key.variant, "green");
	policy->in_flight[0].max = 20;
	policy->n_in_flight = 1;
	shunt_policy_seal(policy);
	scene->service.model.policy = policy;
	lab_install_ok(&scene->lab, (struct lab_service *const[]){ &scene->service }, 1);
	scene->service.model.policy = NULL;
	shunt_policy_free(policy);
}

Test(cli_explain, what_a_policy_lets_in_is_said)
{
	struct shunt_tuple tuple;
	struct scene scene;
	const char *text;

	scene_make(&scene, 100, 0, 3);
	put_policy(&scene, "0.0.0.0/0", NULL);
	tuple = lab_tuple(1, 7);
	text = explain(&scene, &tuple, true);
	cr_expect(strstr(text, "  policy    the client's address may connect\n"
			       "            at most 100 connections/s for each client, burst 50\n"
			       "            at most 20 connections at once for each backend of "
			       "green\n"),
		  "%s", text);
	cr_expect(strstr(text, "  backend   10."), "%s", text);
	scene_end(&scene);
}

Test(cli_explain, a_client_that_may_not_connect_is_told_why)
{
	struct shunt_tuple tuple;
	struct scene scene;
	const char *text;

	scene_make(&scene, 100, 0, 3);
	tuple = lab_tuple(1, 7);
	put_policy(&scene, "198.18.0.0/15", NULL);
	text = explain(&scene, &tuple, true);
	cr_expect(strstr(text, "  policy    the client's address is in none of the allowed "
			       "prefixes\n"),
		  "%s", text);
	cr_expect(strstr(text, "  verdict   its address may not connect"), "%s", text);
	cr_expect_null(strstr(text, "  backend"), "%s", text);
	put_policy(&scene, "0.0.0.0/0", "0.0.0.0/1");
	text = explain(&scene, &tuple, true);
	cr_expect(strstr(text, "  policy    the client's address is denied\n"), "%s", text);
	scene_end(&scene);
}
