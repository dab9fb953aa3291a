// SPDX-License-Identifier: Apache-2.0
#include "policies.h"

#include <string.h>

#include "policy/expression.h"
#include "shunt/choose.h"

#define AT(map, type, index) ((type *)shim_at(#map, index))

/* Of each unit where the kernel's programs look for it: before, behind, packets, requests. */
enum place { PLACE_BEFORE, PLACE_BEHIND, PLACE_PACKETS, PLACE_REQUESTS, N_PLACES };

static struct shunt_rate rate(struct rng *rng)
{
	uint32_t burst = 1 + rng_draw(rng, 3);
	/* In 1/64 ns: from 4 ms, a jiffy, to an hour. */
	uint64_t cost = 1ull << (28 + rng_draw(rng, 20));

	return (struct shunt_rate){
		.cost = cost,
		.fraction = rng_draw(rng, 1u << 31),
		.burst = burst,
		.limit = cost * burst,
	};
}

static void limit(struct rng *rng, struct shunt_limit *limit, uint32_t unit, uint32_t scope,
		  uint32_t index)
{
	*limit = (struct shunt_limit){
		.rate = rate(rng),
		.max = 1 + rng_draw(rng, 3),
		.bucket = 1 + rng_draw(rng, POLICIES_BUCKETS),
		.unit = (uint8_t)unit,
		.scope = (uint8_t)scope,
		.answer = (uint8_t)(unit == SHUNT_LIMIT_REQUESTS ? rng_draw(rng, 3)
								 : rng_draw(rng, 2)),
		.prefix_len = { (uint8_t)(8 + rng_draw(rng, 25)),
				(uint8_t)(16 + rng_draw(rng, 113)) },
	};
	for (uint32_t v = 0; v < SCENE_VARIANTS; v++)
		limit->variant[v] = (struct shunt_limit_bucket){
			.variant = scene_variant(index, v),
			.bucket = 1 + rng_draw(rng, POLICIES_BUCKETS),
		};
	if (!rng_draw(rng, 4))
		limit->only_variant = scene_variant(index, rng_draw(rng, SCENE_VARIANTS));
}

static void rates(struct rng *rng, struct shunt_policy_record *policy, uint32_t index)
{
	static const uint8_t scopes[N_PLACES][2] = {
		[PLACE_BEFORE] = { SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_CLIENT },
		[PLACE_BEHIND] = { SHUNT_LIMIT_VARIANT, SHUNT_LIMIT_VARIANT },
		[PLACE_PACKETS] = { SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_CLIENT },
		[PLACE_REQUESTS] = { SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_CLIENT },
	};
	static const uint8_t units[N_PLACES] = {
		[PLACE_BEFORE] = SHUNT_LIMIT_CONNECTIONS,
		[PLACE_BEHIND] = SHUNT_LIMIT_CONNECTIONS,
		[PLACE_PACKETS] = SHUNT_LIMIT_PACKETS,
		[PLACE_REQUESTS] = SHUNT_LIMIT_REQUESTS,
	};
	uint32_t *counts[N_PLACES] = { &policy->n_before, &policy->n_behind, &policy->n_packet,
				       &policy->n_request };
	uint32_t n = 0;

	for (int place = 0; place < N_PLACES; place++) {
		/* Few requests come to be asked for: they have limits more often. */
		*counts[place] = rng_draw(rng, 4) < (place == PLACE_REQUESTS ? 3 : 1)
					 ? 1 + rng_draw(rng, 2)
					 : 0;
		for (uint32_t i = 0; i < *counts[place]; i++) {
			uint32_t unit = units[place];

			if (place == PLACE_PACKETS)
				unit += rng_draw(rng, 2);
			limit(rng, &policy->rate[n++], unit, scopes[place][rng_draw(rng, 2)],
			      index);
		}
	}
	policy->n_at_once = rng_draw(rng, 3) ? 0 : 1 + rng_draw(rng, 2);
	for (uint32_t i = 0; i < policy->n_at_once; i++)
		limit(rng, &policy->at_once[i], SHUNT_LIMIT_CONNECTIONS, rng_draw(rng, 4), index);
	policy->n_requests_at_once = rng_draw(rng, 2);
	for (uint32_t i = 0; i < policy->n_requests_at_once; i++)
		limit(rng, &policy->at_once[policy->n_at_once + i], SHUNT_LIMIT_REQUESTS,
		      rng_draw(rng, 4), index);
	if (policy->n_packet)
		policy->flags |= SHUNT_POLICY_PACKETS;
}

/* Whole addresses only: shim_lookup() knows no prefixes. */
static void sources(struct rng *rng, struct shunt_policy_record *policy, uint32_t index)
{
	const struct shunt_source source = { .is_denied = rng_draw(rng, 2) };
	struct shunt_source_key_v4 v4 = { .prefix_len = 64, .policy = index };
	struct shunt_source_key_v6 v6 = { .prefix_len = 160, .policy = index };
	struct shunt_addr addr;
	uint32_t client = rng_draw(rng, SCENE_CLIENTS);

	policy->flags |= SHUNT_POLICY_SOURCES;
	if (!rng_draw(rng, 4))
		policy->flags |= SHUNT_POLICY_ALLOW_ONLY;
	addr = scene_addr(SHUNT_V4, SCENE_CLIENT, client);
	v4.addr_be = addr.word_be[3];
	shim_update(shim_map("shunt_sources_v4"), &v4, &source, BPF_ANY);
	addr = scene_addr(SHUNT_V6, SCENE_CLIENT, client);
	memcpy(v6.word_be, addr.word_be, sizeof(v6.word_be));
	shim_update(shim_map("shunt_sources_v6"), &v6, &source, BPF_ANY);
}

static void dead_man(struct rng *rng, struct shunt_policy_record *policy, uint32_t index)
{
	policy->dead_man = (struct shunt_dead_man_rule){
		.canary = scene_variant(index, 0),
		.stable = scene_variant(index, 1),
		.margin_bp = rng_draw(rng, 3000),
		.min_samples = rng_draw(rng, 3),
		.seconds = 2 + rng_draw(rng, 10),
	};
	for (uint32_t v = 0; v < SCENE_VARIANTS; v++)
		AT(shunt_variants, struct shunt_variant, scene_variant(index, v))->weight = 1;
}

static void breaker(struct rng *rng, uint32_t index)
{
	static const char *const expressions[] = {
		"NetworkErrorRatio() > 0.1",
		"ResponseCodeRatio(500, 600, 0, 600) > 0.2 || LatencyAtQuantileMS(50.0) > 20",
	};
	const uint32_t instance = 1 + rng_draw(rng, POLICIES_BUCKETS);
	struct shunt_breaker_rule *rule = AT(shunt_breakers, struct shunt_breaker_rule, index);
	static const uint8_t phases[] = { SHUNT_BREAKER_CLOSED, SHUNT_BREAKER_CLOSED,
					  SHUNT_BREAKER_OPEN, SHUNT_BREAKER_RECOVERING };
	struct shunt_err err;

	*rule = (struct shunt_breaker_rule){
		.check_ns = rng_draw(rng, 1000000000),
		.open_ns = 1 + rng_draw(rng, 1u << 31),
		.recovery_ns = 1 + rng_draw(rng, 1u << 31),
		.min_requests = rng_draw(rng, 3),
		.window_base = rng_draw(rng, 1000),
		.fallback = rng_draw(rng, 2) ? scene_variant(index, 2) : 0,
		.response_code = 503,
	};
	if (shunt_expression_compile(expressions[rng_draw(rng, 2)], &rule->predicate, &err))
		return;
	AT(shunt_breaker_states, struct shunt_breaker_state, instance)->word = SHUNT_BREAKER_WORD(
		(uint64_t)rng_draw(rng, 4000) * 4000000, phases[rng_draw(rng, 4)]);
	for (uint32_t v = 0; v < SCENE_VARIANTS; v++)
		*AT(shunt_variant_guards, struct shunt_variant_guard, scene_variant(index, v)) =
			(struct shunt_variant_guard){
				.breaker = { index, index },
				.instance = { instance, instance },
			};
}

/* Some of its backends are out, or their time is over. */
static void ejection(struct rng *rng, uint32_t index)
{
	for (uint32_t v = 0; v < SCENE_VARIANTS; v++) {
		const uint32_t variant = scene_variant(index, v);
		struct shunt_eject_rule rule = {
			.consecutive_5xx = (uint16_t)rng_draw(rng, 3),
			.consecutive_gateway = (uint16_t)rng_draw(rng, 3),
			.base = 1 + rng_draw(rng, 1000),
			.longest = 1000 + rng_draw(rng, 1000),
			.interval = 1 + rng_draw(rng, 1000),
			.members = { 2, 2 },
			.most = { (uint8_t)rng_draw(rng, 3), (uint8_t)rng_draw(rng, 3) },
			.panic_at = { (uint8_t)rng_draw(rng, 3), (uint8_t)rng_draw(rng, 3) },
		};
		struct shunt_variant_guard *guard =
			AT(shunt_variant_guards, struct shunt_variant_guard, variant);

		guard->eject[0] = guard->eject[1] = rule;
	}
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t backend = 1 + rng_draw(rng, 4 * SCENE_BACKENDS);
		uint32_t variant = AT(shunt_backends, struct shunt_backend, backend)->variant;
		uint32_t place = variant * SHUNT_N_FAMILIES * SHUNT_EJECT_PLACES + i;

		AT(shunt_eject_states, struct shunt_eject_state, backend)->word =
			SHUNT_EJECT_WORD(rng_draw(rng, 4000) * 4, 1 + i, 7, SHUNT_EJECT_OUT);
		AT(shunt_eject_places, struct shunt_eject_place, place)->word =
			7ull << 32 | backend;
	}
}

static void service(struct rng *rng, uint32_t index)
{
	struct shunt_service *service = AT(shunt_services, struct shunt_service, index);
	struct shunt_policy_record *policy = AT(shunt_policies, struct shunt_policy_record, index);
	static const uint32_t seen[] = { SHUNT_SVC_HTTP, SHUNT_SVC_HTTP | SHUNT_SVC_JUDGED,
					 SHUNT_SVC_JUDGED, 0 };
	uint32_t flags = SHUNT_SVC_TCP | seen[rng_draw(rng, 4)];

	policy->service = index;
	rates(rng, policy, index);
	if (!rng_draw(rng, 4))
		sources(rng, policy, index);
	if (rng_draw(rng, 2))
		dead_man(rng, policy, index);
	if (rng_draw(rng, 2)) {
		breaker(rng, index);
		flags |= SHUNT_SVC_BREAKER;
	}
	if (rng_draw(rng, 2)) {
		ejection(rng, index);
		flags |= SHUNT_SVC_EJECT;
	}
	if (policy->n_requests_at_once && flags & SHUNT_SVC_HTTP)
		flags |= SHUNT_SVC_REQUESTS;
	for (int slot = 0; slot < 2; slot++) {
		service->policy[slot] = rng_draw(rng, 4) ? index : 0;
		service->slot[slot].flags |= flags;
	}
	if (policy->n_packet)
		AT(shunt_settings, struct shunt_settings, 0)->flags |= SHUNT_S_PACKET_LIMITS;
}

void policies_make(struct rng *rng, uint32_t n_services)
{
	struct shunt_settings *settings = AT(shunt_settings, struct shunt_settings, 0);

	/* Few, to be full. */
	settings->limit_set_mask = 3;
	for (uint32_t index = 1; index <= n_services; index++)
		if (rng_draw(rng, 4))
			service(rng, index);
}
