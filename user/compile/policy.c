// SPDX-License-Identifier: Apache-2.0
#include "compile/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "model/policy.h"

/* What the functions of one compilation share. */
struct compiler {
	const struct shunt_model_service *service;
	const uint32_t *variant_id;
	struct shunt_ids *ids;
	struct shunt_image_policy *policy;
};

static void policy_freep(struct shunt_image_policy **policy)
{
	shunt_image_policy_free(*policy);
}

void shunt_image_policy_free(struct shunt_image_policy *policy)
{
	if (!policy)
		return;
	free(policy->buckets);
	free(policy->sources);
	free(policy);
}

/* ---- limits --------------------------------------------------------------------------------- */

static const uint8_t units[SHUNT_N_UNITS] = {
	[SHUNT_UNIT_CONNECTIONS] = SHUNT_LIMIT_CONNECTIONS,
	[SHUNT_UNIT_REQUESTS] = SHUNT_LIMIT_REQUESTS,
	[SHUNT_UNIT_PACKETS] = SHUNT_LIMIT_PACKETS,
	[SHUNT_UNIT_BYTES] = SHUNT_LIMIT_BYTES,
};

static const uint8_t scopes[SHUNT_N_SCOPES] = {
	[SHUNT_SCOPE_SERVICE] = SHUNT_LIMIT_SERVICE,
	[SHUNT_SCOPE_VARIANT] = SHUNT_LIMIT_VARIANT,
	[SHUNT_SCOPE_BACKEND] = SHUNT_LIMIT_BACKEND,
	[SHUNT_SCOPE_CLIENT] = SHUNT_LIMIT_CLIENT,
};

static const uint8_t answers[SHUNT_N_OVER_ANSWERS] = {
	[SHUNT_OVER_REJECT] = SHUNT_LIMIT_REJECT,
	[SHUNT_OVER_DROP] = SHUNT_LIMIT_DROP,
	[SHUNT_OVER_429] = SHUNT_LIMIT_429,
};

/* The bucket of a limit, of variant @v of the service or (-1) one for all. 0 or -errno. */
static int add_bucket(const struct compiler *c, const struct shunt_limit_key *from, bool is_at_once,
		      int v, uint32_t *ret_id)
{
	const struct shunt_model_service *service = c->service;
	uint32_t variant = v < 0 ? 0 : c->variant_id[v];
	struct shunt_image_bucket *bucket;
	char key[SHUNT_ID_KEY_LEN];

	bucket = shunt_array_add(&c->policy->buckets, &c->policy->n_buckets, sizeof(*bucket));
	if (!bucket)
		return -ENOMEM;
	bucket->name = (struct shunt_bucket_name){
		.limit = from->id,
		.variant_index = variant,
		.port_be = htons(service->ports[0].port),
		.proto = service->ports[0].proto,
		.unit = units[from->unit],
		.scope = scopes[from->scope],
		.is_at_once = is_at_once,
	};
	strcpy(bucket->name.namespace_, service->namespace_);
	strcpy(bucket->name.service, service->name);
	if (v >= 0)
		strcpy(bucket->name.variant, service->variants[v].name);
	shunt_id_bucket_key(key, &bucket->name);
	bucket->id = *ret_id = shunt_ids_get(c->ids, SHUNT_ID_BUCKET, key);
	return bucket->id ? 0 : -ENOSPC;
}

/* Return: 1 with the limit, 0: nothing can be subject to it, or -errno. */
static int make_limit(const struct compiler *c, const struct shunt_limit_key *from,
		      enum shunt_over_answer answer, bool is_at_once, struct shunt_limit *limit)
{
	int r;

	*limit = (struct shunt_limit){
		.unit = units[from->unit],
		.scope = scopes[from->scope],
		.answer = answers[answer],
		.prefix_len = { from->prefix_len[SHUNT_V4], from->prefix_len[SHUNT_V6] },
	};
	for (size_t v = 0; from->variant[0] && v < c->service->n_variants; v++)
		if (!strcmp(c->service->variants[v].name, from->variant))
			limit->only_variant = c->variant_id[v];
	if (from->variant[0] && !limit->only_variant)
		return 0;
	r = add_bucket(c, from, is_at_once, -1, &limit->bucket);
	if (r < 0 || from->scope != SHUNT_SCOPE_VARIANT || is_at_once)
		return r < 0 ? r : 1;
	for (size_t v = 0; v < c->service->n_variants; v++) {
		limit->variant[v].variant = c->variant_id[v];
		r = add_bucket(c, from, is_at_once, (int)v, &limit->variant[v].bucket);
		if (r < 0)
			return r;
	}
	return 1;
}

/* The groups of the record, in their order. */
enum group { GROUP_BEFORE, GROUP_BEHIND, GROUP_PACKET, GROUP_REQUEST, N_GROUPS };

static enum group group_of(const struct shunt_limit *limit)
{
	if (limit->unit == SHUNT_LIMIT_REQUESTS)
		return GROUP_REQUEST;
	if (limit->unit != SHUNT_LIMIT_CONNECTIONS)
		return GROUP_PACKET;
	return limit->scope == SHUNT_LIMIT_VARIANT || limit->only_variant ? GROUP_BEHIND
									  : GROUP_BEFORE;
}

static int add_rates(const struct compiler *c, const struct shunt_policy *policy)
{
	struct shunt_policy_record *record = &c->policy->record;
	struct shunt_limit limits[SHUNT_MAX_RATES];
	uint32_t n[N_GROUPS] = { 0 };
	size_t n_limits = 0, n_rates = 0;
	int r;

	for (size_t i = 0; i < policy->n_limits && n_limits < SHUNT_MAX_RATES; i++) {
		const struct shunt_rate_limit *from = &policy->limits[i];

		r = make_limit(c, &from->key, from->answer, false, &limits[n_limits]);
		if (r < 0)
			return r;
		limits[n_limits].rate = from->rate;
		n_limits += (size_t)r;
	}
	for (int group = 0; group < N_GROUPS; group++) {
		for (size_t i = 0; i < n_limits; i++) {
			if (group_of(&limits[i]) != (enum group)group)
				continue;
			record->rate[n_rates++] = limits[i];
			n[group]++;
		}
	}
	record->n_before = n[GROUP_BEFORE];
	record->n_behind = n[GROUP_BEHIND];
	record->n_packet = n[GROUP_PACKET];
	record->n_request = n[GROUP_REQUEST];
	record->flags |= n[GROUP_PACKET] ? SHUNT_POLICY_PACKETS : 0;
	return 0;
}

/* Limits of what is there at once, of one unit, behind the @used that are there. */
static int add_at_once(const struct compiler *c, const struct shunt_policy *policy,
		       enum shunt_unit unit, uint32_t used, uint32_t *n)
{
	struct shunt_policy_record *record = &c->policy->record;
	bool has_client = false;
	int r;

	for (size_t i = 0; i < policy->n_in_flight && used + *n < SHUNT_MAX_AT_ONCE; i++) {
		const struct shunt_in_flight *from = &policy->in_flight[i];
		struct shunt_limit *limit = &record->at_once[used + *n];

		if (from->key.unit != unit || (from->key.scope == SHUNT_SCOPE_CLIENT && has_client))
			continue;
		r = make_limit(c, &from->key, from->answer, true, limit);
		if (r < 0)
			return r;
		if (!r) {
			memset(limit, 0, sizeof(*limit));
			continue;
		}
		limit->max = from->max;
		has_client |= from->key.scope == SHUNT_SCOPE_CLIENT;
		++*n;
	}
	return 0;
}

/* ---- address lists -------------------------------------------------------------------------- */

static bool is_denied(const struct shunt_cidrs *deny, const struct shunt_cidr *cidr)
{
	for (size_t i = 0; i < deny->n; i++)
		if (deny->items[i].prefix_len <= cidr->prefix_len &&
		    shunt_cidr_contains(&deny->items[i], &cidr->net))
			return true;
	return false;
}

/*
 * The longest prefix decides in the kernel, so what a shorter one denies must not be allowed by a
 * longer one: such are left out.
 */
static void add_lists(const struct compiler *c, const struct shunt_sources *from)
{
	struct shunt_image_policy *policy = c->policy;

	if (!from->allow.n && !from->deny.n)
		return;
	for (size_t i = 0; i < from->deny.n; i++)
		policy->sources[policy->n_sources++] =
			(struct shunt_image_source){ from->deny.items[i], true, false };
	for (size_t i = 0; i < from->allow.n; i++)
		if (!is_denied(&from->deny, &from->allow.items[i]))
			policy->sources[policy->n_sources++] =
				(struct shunt_image_source){ from->allow.items[i], false, false };
	policy->record.flags |= SHUNT_POLICY_SOURCES;
	if (from->allow.n)
		policy->record.flags |= SHUNT_POLICY_ALLOW_ONLY;
}

/* A family without a range is open, as with the cluster's proxy. */
static void add_balancer(const struct compiler *c, const struct shunt_cidrs *from)
{
	struct shunt_image_policy *policy = c->policy;

	for (size_t i = 0; i < from->n; i++) {
		policy->sources[policy->n_sources++] =
			(struct shunt_image_source){ from->items[i], false, true };
		policy->record.flags |= from->items[i].net.family == SHUNT_V6
						? SHUNT_POLICY_BALANCER_6
						: SHUNT_POLICY_BALANCER_4;
	}
}

static int add_sources(const struct compiler *c, const struct shunt_sources *from)
{
	size_t n = from->allow.n + from->deny.n + from->load_balancer.n;

	if (!n)
		return 0;
	c->policy->sources = calloc(n, sizeof(*c->policy->sources));
	if (!c->policy->sources)
		return -ENOMEM;
	add_lists(c, from);
	add_balancer(c, &from->load_balancer);
	return 0;
}

static bool is_empty(const struct shunt_policy_record *record)
{
	return !(record->n_before || record->n_behind || record->n_packet || record->n_request ||
		 record->n_at_once || record->n_requests_at_once || record->flags ||
		 record->dead_man.canary);
}

int shunt_compile_policy(const struct shunt_model_service *service, const uint32_t *variant_id,
			 struct shunt_ids *ids, struct shunt_image_policy **ret_policy)
{
	CLEANUP(policy_freep) struct shunt_image_policy *policy = NULL;
	struct compiler c = { .service = service, .variant_id = variant_id, .ids = ids };
	int r;

	*ret_policy = NULL;
	if (!service->policy)
		return 0;
	policy = calloc(1, sizeof(*policy));
	if (!policy)
		return -ENOMEM;
	c.policy = policy;
	r = add_rates(&c, service->policy);
	if (r == 0)
		r = add_at_once(&c, service->policy, SHUNT_UNIT_CONNECTIONS, 0,
				&policy->record.n_at_once);
	if (r == 0)
		r = add_at_once(&c, service->policy, SHUNT_UNIT_REQUESTS, policy->record.n_at_once,
				&policy->record.n_requests_at_once);
	if (r == 0)
		r = add_sources(&c, &service->policy->sources);
	if (r < 0)
		return r;
	shunt_compile_dead_man(service, variant_id, &policy->record.dead_man);
	if (!is_empty(&policy->record))
		*ret_policy = TAKE_PTR(policy);
	return 0;
}
