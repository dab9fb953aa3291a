// SPDX-License-Identifier: Apache-2.0
/* Policies in the maps: written aside, named by services, and what is kept over changes. */
#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "install_scene.h"
#include "model/policy.h"
#include "policy/rate.h"

TestSuite(install_policy, .init = setup, .fini = teardown, .timeout = 60);

static void add_rate(struct shunt_policy *policy, enum shunt_unit unit, enum shunt_scope scope,
		     uint64_t average)
{
	struct shunt_rate_limit *limit = &policy->limits[policy->n_limits++];
	struct shunt_err err;

	*limit = (struct shunt_rate_limit){
		.key = { .unit = unit, .scope = scope, .prefix_len = { 32, 128 } },
		.average = average,
		.period_ms = 1000,
		.burst = 10,
	};
	cr_assert_eq(shunt_rate_make(average, 1000, 10, &limit->rate, &err), 0);
}

static void add_in_flight(struct shunt_policy *policy, enum shunt_scope scope, uint32_t max)
{
	policy->in_flight[policy->n_in_flight++] = (struct shunt_in_flight){
		.key = { .unit = SHUNT_UNIT_CONNECTIONS, .scope = scope, .prefix_len = { 32, 64 } },
		.max = max,
		.answer = SHUNT_OVER_DROP,
	};
}

static void add_cidr(struct shunt_cidrs *cidrs, const char *text)
{
	struct shunt_cidr cidr;

	cr_assert_eq(shunt_cidr_parse(text, &cidr), 0);
	cr_assert_eq(shunt_cidrs_add(cidrs, &cidr), 0);
}

/* Gives @service one more copy of nothing: the test frees the last one. */
static struct shunt_policy *fresh(struct lab_service *service)
{
	shunt_policy_free(service->model.policy);
	service->model.policy = shunt_policy_new();
	cr_assert_not_null(service->model.policy);
	return service->model.policy;
}

static void install(void)
{
	shunt_policy_seal(web.model.policy);
	lab_install_ok(&lab, only_web, 1);
}

static const struct shunt_service *service(void)
{
	return AT(services, struct shunt_service, lab_service_id(&lab, "web"));
}

static uint32_t policy_index(void)
{
	cr_assert_eq(service()->policy[0], service()->policy[1]);
	return service()->policy[0];
}

static const struct shunt_policy_record *record(void)
{
	return AT(policies, struct shunt_policy_record, policy_index());
}

static uint32_t settings_flags(void)
{
	return AT(settings, struct shunt_settings, 0)->flags;
}

Test(install_policy, a_service_names_its_limits_in_three_groups)
{
	struct shunt_policy *policy = fresh(&web);

	add_rate(policy, SHUNT_UNIT_BYTES, SHUNT_SCOPE_CLIENT, 1000);
	add_rate(policy, SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_VARIANT, 5);
	add_rate(policy, SHUNT_UNIT_REQUESTS, SHUNT_SCOPE_SERVICE, 5);
	add_rate(policy, SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_SERVICE, 7);
	add_in_flight(policy, SHUNT_SCOPE_CLIENT, 3);
	install();
	cr_assert_eq(record()->n_before, 1);
	cr_assert_eq(record()->n_behind, 1);
	cr_assert_eq(record()->n_packet, 1);
	cr_assert_eq(record()->n_at_once, 1);
	cr_assert_eq(record()->flags, SHUNT_POLICY_PACKETS);
	cr_assert_eq(record()->rate[0].scope, SHUNT_LIMIT_SERVICE);
	cr_assert_eq(record()->rate[1].scope, SHUNT_LIMIT_VARIANT);
	cr_assert_eq(record()->rate[1].variant[0].variant, lab_variant_id(&lab, "web", "blue"));
	cr_assert_neq(record()->rate[1].variant[0].bucket, record()->rate[1].variant[1].bucket);
	cr_assert_eq(record()->rate[2].unit, SHUNT_LIMIT_BYTES);
	cr_assert_eq(record()->at_once[0].max, 3);
	cr_assert_eq(record()->at_once[0].answer, SHUNT_LIMIT_DROP);
	cr_assert_eq(record()->at_once[0].prefix_len[SHUNT_V6], 64);
	cr_assert(settings_flags() & SHUNT_S_PACKET_LIMITS);
	cr_assert_neq(service()->account, 0);
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(policy_index(), 0);
	cr_assert(!(settings_flags() & SHUNT_S_PACKET_LIMITS));
}

Test(install_policy, requests_in_flight_stand_behind_connections)
{
	struct shunt_policy *policy = fresh(&web);

	add_in_flight(policy, SHUNT_SCOPE_CLIENT, 3);
	policy->in_flight[0].key.unit = SHUNT_UNIT_REQUESTS;
	policy->signals = SHUNT_SIGNALS_HTTP;
	install();
	cr_assert_eq(record()->n_at_once, 0);
	cr_assert_eq(record()->n_requests_at_once, 1);
	cr_assert(service()->slot[0].flags & SHUNT_SVC_REQUESTS);
	add_in_flight(policy, SHUNT_SCOPE_CLIENT, 7);
	add_in_flight(policy, SHUNT_SCOPE_SERVICE, 9);
	install();
	cr_assert_eq(record()->n_at_once, 2);
	cr_assert_eq(record()->n_requests_at_once, 1);
	cr_assert_eq(record()->at_once[0].max, 7);
	cr_assert_eq(record()->at_once[1].max, 9);
	cr_assert_eq(record()->at_once[2].max, 3);
	cr_assert_eq(record()->at_once[2].unit, SHUNT_LIMIT_REQUESTS);
	policy->in_flight[0].key.unit = SHUNT_UNIT_CONNECTIONS;
	policy->in_flight[0].key.scope = SHUNT_SCOPE_VARIANT;
	install();
	cr_assert_eq(record()->n_requests_at_once, 0);
	cr_assert(!(service()->slot[0].flags & SHUNT_SVC_REQUESTS));
	/* Where no HTTP is seen, nobody looks for requests. */
	policy->in_flight[0].key.unit = SHUNT_UNIT_REQUESTS;
	policy->signals = SHUNT_SIGNALS_TCP;
	install();
	cr_assert(!(service()->slot[0].flags & SHUNT_SVC_REQUESTS));
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
}

Test(install_policy, what_did_not_change_is_not_written_again)
{
	struct shunt_install_result result;
	uint32_t index;

	add_rate(fresh(&web), SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_SERVICE, 5);
	add_cidr(&web.model.policy->sources.deny, "10.9.0.0/16");
	install();
	index = policy_index();
	result = lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(result.services_changed, 0);
	web.variants[0].weight = 50; /* a weight alone is one store */
	result = lab_install_ok(&lab, only_web, 1);
	cr_assert(result.single_store);
	cr_assert_eq(policy_index(), index);
	/* A list alone is a change, too. */
	add_cidr(&web.model.policy->sources.deny, "10.8.0.0/16");
	install();
	cr_assert_neq(policy_index(), index);
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
}

Test(install_policy, a_limit_keeps_its_bucket_while_others_and_its_numbers_change)
{
	uint32_t bucket, other;

	add_rate(fresh(&web), SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_CLIENT, 5);
	add_rate(web.model.policy, SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_SERVICE, 5);
	install();
	bucket = record()->rate[1].bucket;
	other = record()->rate[0].bucket;
	AT(buckets, struct shunt_bucket, bucket)->word = 4711;
	AT(buckets, struct shunt_bucket, other)->word = 4712;
	add_rate(fresh(&web), SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_SERVICE, 6);
	install();
	cr_assert_eq(record()->rate[0].bucket, bucket);
	cr_assert_eq(AT(buckets, struct shunt_bucket, bucket)->word, 4711);
	tick();
	cr_assert_eq(AT(buckets, struct shunt_bucket, bucket)->word, 4711);
	cr_assert_eq(AT(buckets, struct shunt_bucket, other)->word, 0, "nobody's any more");
	cr_assert_str_eq(AT(bucket_names, struct shunt_bucket_name, other)->service, "");
	cr_assert_str_eq(AT(bucket_names, struct shunt_bucket_name, bucket)->service, "web");
	/* And over a restart. */
	lab_restart(&lab);
	install();
	cr_assert_eq(record()->rate[0].bucket, bucket);
	cr_assert_eq(AT(buckets, struct shunt_bucket, bucket)->word, 4711);
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
}

/* One Service, whose ports are split by two routes with a policy each. */
Test(install_policy, the_limits_of_two_splits_are_two)
{
	struct shunt_image_service *first, *second;
	struct lab_service admin;

	lab_service(&admin, "web", 9);
	admin.ports[0].port = 81;
	add_rate(fresh(&web), SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_SERVICE, 500);
	add_rate(fresh(&admin), SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_SERVICE, 5);
	shunt_policy_seal(web.model.policy);
	shunt_policy_seal(admin.model.policy);
	first = lab_compile(&lab, &web);
	second = lab_compile(&lab, &admin);
	cr_assert_neq(first->policy->buckets[0].id, second->policy->buckets[0].id);
	shunt_image_free(first);
	shunt_image_free(second);
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
	shunt_policy_free(admin.model.policy);
	admin.model.policy = NULL;
	lab_service_free(&admin);
}

static bool is_denied(uint32_t policy, const char *text, bool *ret_denied)
{
	struct shunt_source_key_v4 key = { .prefix_len = 64, .policy = policy };
	struct shunt_source source;
	struct shunt_cidr cidr;

	cr_assert_eq(shunt_cidr_parse(text, &cidr), 0);
	key.addr_be = cidr.net.addr.word_be[3];
	if (bpf_map_lookup_elem(lab.maps.sources_fd[SHUNT_V4], &key, &source) < 0)
		return false;
	*ret_denied = source.is_denied;
	return true;
}

Test(install_policy, what_a_prefix_denies_none_within_it_allows)
{
	bool denied = false;

	add_cidr(&fresh(&web)->sources.allow, "10.1.0.0/16");
	add_cidr(&web.model.policy->sources.allow, "10.1.2.0/24");
	add_cidr(&web.model.policy->sources.allow, "10.2.0.0/16");
	add_cidr(&web.model.policy->sources.deny, "10.1.2.0/23");
	install();
	cr_assert_eq(record()->flags, SHUNT_POLICY_SOURCES | SHUNT_POLICY_ALLOW_ONLY);
	cr_assert(is_denied(policy_index(), "10.1.2.1", &denied) && denied);
	cr_assert(is_denied(policy_index(), "10.1.3.1", &denied) && denied);
	cr_assert(is_denied(policy_index(), "10.1.4.1", &denied) && !denied);
	cr_assert(is_denied(policy_index(), "10.2.4.1", &denied) && !denied);
	cr_assert(!is_denied(policy_index(), "10.3.4.1", &denied));
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
}

Test(install_policy, ranges_of_a_load_balancer_are_a_list_of_their_own)
{
	const uint32_t balancer = SHUNT_SOURCES_OF_BALANCER;
	bool denied = false;

	add_cidr(&fresh(&web)->sources.load_balancer, "10.1.0.0/16");
	install();
	cr_assert_eq(record()->flags, SHUNT_POLICY_BALANCER_4);
	cr_assert(is_denied(policy_index() | balancer, "10.1.2.1", &denied) && !denied);
	cr_assert(!is_denied(policy_index(), "10.1.2.1", &denied));
	add_cidr(&web.model.policy->sources.load_balancer, "fd00::/8");
	add_cidr(&web.model.policy->sources.deny, "10.1.2.0/24");
	install();
	cr_assert_eq(record()->flags,
		     SHUNT_POLICY_BALANCER_4 | SHUNT_POLICY_BALANCER_6 | SHUNT_POLICY_SOURCES);
	cr_assert(is_denied(policy_index(), "10.1.2.1", &denied) && denied);
	cr_assert(is_denied(policy_index() | balancer, "10.1.2.1", &denied) && !denied);
	/* An agent that adopts them knows what they are. */
	lab_restart(&lab);
	install();
	tick();
	cr_assert(is_denied(policy_index() | balancer, "10.1.2.1", &denied) && !denied);
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
	lab_install_ok(&lab, only_web, 1);
	tick();
	cr_assert(!is_denied(balancer | 1, "10.1.2.1", &denied));
	cr_assert(!is_denied(balancer | 2, "10.1.2.1", &denied));
}

static uint32_t frontend_flags(void)
{
	const struct shunt_frontend_addr *addr = &web.model.frontends[0];
	char text[SHUNT_IP_STR_LEN];

	return frontend_at(shunt_ip_str(&addr->ip, text),
			   shunt_model_frontend_port(&web.model, addr))
		.flags;
}

Test(install_policy, an_address_becomes_a_load_balancers_and_ceases_to_be_one)
{
	const uint32_t balancers = SHUNT_FE_BALANCER_0 | SHUNT_FE_BALANCER_1;

	cr_assert_eq(frontend_flags(), 0);
	web.model.frontends[0].load_balancer = true;
	/* Packets see it with the rest of the change: by the slot that they use. */
	cr_assert_eq(lab_install_ok(&lab, only_web, 1).services_changed, 1);
	cr_assert_eq(frontend_flags(), balancers);
	lab_restart(&lab);
	cr_assert_eq(lab_install_ok(&lab, only_web, 1).services_changed, 0);
	cr_assert_eq(frontend_flags(), balancers);
	web.model.frontends[0].load_balancer = false;
	lab_install_ok(&lab, only_web, 1);
	cr_assert_eq(frontend_flags(), 0);
}

static size_t sources(void)
{
	struct shunt_source_key_v4 key, next;
	size_t n = 0;
	int r = bpf_map_get_next_key(lab.maps.sources_fd[SHUNT_V4], NULL, &next);

	for (; r == 0; r = bpf_map_get_next_key(lab.maps.sources_fd[SHUNT_V4], &key, &next)) {
		key = next;
		n++;
	}
	return n;
}

Test(install_policy, the_lists_of_policies_that_are_gone_go, .timeout = 60)
{
	char text[32];

	/* Many more policies than there is room for, one after the other. */
	for (int i = 0; i < 200; i++) {
		sprintf(text, "10.%d.0.0/16", i);
		add_cidr(&fresh(&web)->sources.deny, text);
		add_cidr(&web.model.policy->sources.deny, "192.0.2.0/24");
		install();
	}
	tick();
	cr_assert_eq(sources(), 2);
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
	lab_install_ok(&lab, only_web, 1);
	tick();
	cr_assert_eq(sources(), 0);
}

Test(install_policy, too_long_a_list_changes_nothing)
{
	struct lab_service *const services[] = { &web };
	struct shunt_install_result result;
	struct shunt_err err;
	char text[32];
	uint32_t index;

	add_cidr(&fresh(&web)->sources.deny, "192.0.2.0/24");
	install();
	index = policy_index();
	fresh(&web);
	for (int i = 0; i < 100; i++) { /* the map takes 64 */
		sprintf(text, "10.%d.0.0/16", i);
		add_cidr(&web.model.policy->sources.deny, text);
	}
	shunt_policy_seal(web.model.policy);
	cr_assert_eq(lab_install(&lab, services, 1, &result, &err), -ENOSPC);
	cr_assert_not_null(strstr(err.text, "--max-sources"), "%s", err.text);
	cr_assert_eq(policy_index(), index);
	cr_assert_eq(sources(), 1);
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
}

static struct shunt_bucket *bucket_at(uint32_t id)
{
	return AT(buckets, struct shunt_bucket, id);
}

Test(install_policy, an_install_that_fails_takes_no_bucket_away)
{
	struct shunt_install_result result;
	struct shunt_err err;
	char text[32];
	uint32_t bucket;

	add_rate(fresh(&web), SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_SERVICE, 5);
	install();
	bucket = record()->rate[0].bucket;
	bucket_at(bucket)->word = 4711;
	add_rate(fresh(&web), SHUNT_UNIT_CONNECTIONS, SHUNT_SCOPE_CLIENT, 5);
	for (int i = 0; i < 100; i++) { /* the map takes 64 */
		sprintf(text, "10.%d.0.0/16", i);
		add_cidr(&web.model.policy->sources.deny, text);
	}
	shunt_policy_seal(web.model.policy);
	cr_assert_eq(lab_install(&lab, only_web, 1, &result, &err), -ENOSPC);
	tick();
	cr_assert_eq(record()->rate[0].bucket, bucket);
	cr_assert_eq(bucket_at(bucket)->word, 4711, "it is in force");
	cr_assert_str_eq(AT(bucket_names, struct shunt_bucket_name, bucket)->service, "web");
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
}

Test(install_policy, a_released_service_keeps_its_limits_while_it_has_flows)
{
	struct lab_service *const only_api[] = { &api };
	uint32_t id, bucket;

	add_rate(fresh(&web), SHUNT_UNIT_PACKETS, SHUNT_SCOPE_SERVICE, 5);
	shunt_policy_seal(web.model.policy);
	lab_install_ok(&lab, both, 2);
	id = lab_service_id(&lab, "web");
	bucket = record()->rate[0].bucket;
	bucket_at(bucket)->word = 4711;
	put_flow(3, id, lab_backend_id(&lab, "web", "blue", "10.1.0.1"), SHUNT_F_ESTABLISHED);
	lab_install_ok(&lab, only_api, 1);
	for (int i = 0; i < 3; i++)
		tick();
	cr_assert_eq(bucket_at(bucket)->word, 4711);
	cr_assert(settings_flags() & SHUNT_S_PACKET_LIMITS);
	/* Another agent knows it from the maps alone. */
	lab_restart(&lab);
	lab_install_ok(&lab, only_api, 1);
	tick();
	cr_assert_eq(bucket_at(bucket)->word, 4711);
	cr_assert(settings_flags() & SHUNT_S_PACKET_LIMITS);
	drop_flow(3);
	for (int i = 0; i < 4; i++)
		tick();
	cr_assert_eq(lab_service_id(&lab, "web"), 0);
	cr_assert_eq(bucket_at(bucket)->word, 0, "nobody's any more");
	cr_assert(!(settings_flags() & SHUNT_S_PACKET_LIMITS), "nobody is limited any more");
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
}

Test(install_policy, the_flag_of_packets_is_what_the_maps_say)
{
	struct shunt_settings *settings = AT(settings, struct shunt_settings, 0);

	add_rate(fresh(&web), SHUNT_UNIT_PACKETS, SHUNT_SCOPE_SERVICE, 5);
	install();
	settings->flags &= ~(uint32_t)SHUNT_S_PACKET_LIMITS;
	lab_restart(&lab);
	cr_assert(settings_flags() & SHUNT_S_PACKET_LIMITS);
	shunt_policy_free(web.model.policy);
	web.model.policy = NULL;
	lab_install_ok(&lab, only_web, 1);
	/* As an agent leaves it that dies before its change is seen. */
	settings->flags |= SHUNT_S_PACKET_LIMITS;
	lab_restart(&lab);
	cr_assert(!(settings_flags() & SHUNT_S_PACKET_LIMITS));
}
