// SPDX-License-Identifier: Apache-2.0
#include "datapath/guards.h"

#include "shunt/compat.h"

/* ---- shunt/breaker.h on mapped arrays ------------------------------------------------------- */

typedef const struct shunt_dp_maps *shunt_bk_t;

static const struct shunt_breaker_rule *shunt_bk_rule(shunt_bk_t maps, __u32 breaker)
{
	if (breaker >= maps->breakers.n)
		return NULL;
	return SHUNT_DP_AT(maps->breakers, struct shunt_breaker_rule, breaker);
}

static struct shunt_breaker_state *shunt_bk_state(shunt_bk_t maps, __u32 instance)
{
	if (instance >= maps->breaker_states.n)
		return NULL;
	return SHUNT_DP_AT(maps->breaker_states, struct shunt_breaker_state, instance);
}

static __u64 *shunt_bk_word(shunt_bk_t maps, __u32 index)
{
	if (index >= maps->breaker_words.n)
		return NULL;
	return &SHUNT_DP_AT(maps->breaker_words, struct shunt_breaker_word, index)->word;
}

#include "shunt/breaker.h"

/* ---- which breaker ----------------------------------------------------------------------------
 */

static unsigned slot_of(const struct shunt_dp_maps *maps)
{
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);

	return SHUNT_READ_ONCE(settings->epoch) & 1;
}

static const struct shunt_variant_guard *guard_at(const struct shunt_dp_maps *maps,
						  uint32_t variant)
{
	return SHUNT_DP_AT(maps->variant_guards, struct shunt_variant_guard, variant);
}

struct shunt_guard_found shunt_guard_find(const struct shunt_dp_maps *maps, uint32_t variant,
					  uint32_t backend)
{
	const struct shunt_variant_guard *guard;
	struct shunt_guard_found found = { 0 };
	unsigned slot = slot_of(maps);

	if (variant >= maps->variant_guards.n)
		return found;
	guard = guard_at(maps, variant);
	if (!guard->breaker[slot])
		return found;
	found.instance = guard->instance[slot];
	if (!found.instance && backend < maps->backend_guards.n)
		found.instance =
			SHUNT_DP_AT(maps->backend_guards, struct shunt_backend_guard, backend)
				->instance;
	if (found.instance && found.instance < maps->breaker_states.n)
		found.breaker = guard->breaker[slot];
	return found;
}

/* Has the backend still @instance? One that has left it keeps its name. */
static bool backend_has(const struct shunt_dp_maps *maps, uint32_t backend, uint32_t instance)
{
	return backend < maps->backend_guards.n &&
	       SHUNT_DP_AT(maps->backend_guards, struct shunt_backend_guard, backend)->instance ==
		       instance;
}

/* The breaker of the one variant that @instance, of a backend or a variant, can be under. */
static uint32_t rule_by_name(const struct shunt_dp_maps *maps,
			     const struct shunt_breaker_name *name, uint32_t instance)
{
	const struct shunt_variant_guard *guard;
	unsigned slot = slot_of(maps);

	if (name->variant_index >= maps->variant_guards.n)
		return 0;
	guard = guard_at(maps, name->variant_index);
	if (name->scope == SHUNT_LIMIT_BACKEND ? !backend_has(maps, name->backend_index, instance)
					       : guard->instance[slot] != instance)
		return 0;
	return guard->breaker[slot];
}

uint32_t shunt_guard_rule(const struct shunt_dp_maps *maps, uint32_t instance)
{
	const struct shunt_variant_guard *guard;
	const struct shunt_breaker_name *name;
	unsigned slot = slot_of(maps);

	if (!instance || instance >= maps->breaker_names.n)
		return 0;
	name = SHUNT_DP_AT(maps->breaker_names, struct shunt_breaker_name, instance);
	if (name->scope != SHUNT_LIMIT_SERVICE)
		return rule_by_name(maps, name, instance);
	for (uint32_t v = 1; v < maps->variant_guards.n; v++) {
		guard = guard_at(maps, v);
		if (guard->instance[slot] == instance && guard->breaker[slot])
			return guard->breaker[slot];
	}
	return 0;
}

/* ---- what it has counted, and decided ---------------------------------------------------------
 */

uint32_t shunt_guard_requests(const struct shunt_dp_maps *maps, uint32_t breaker, uint32_t instance,
			      uint64_t now_ns)
{
	const struct shunt_breaker_rule *rule = shunt_bk_rule(maps, breaker);

	if (!breaker || !rule)
		return 0;
	return shunt_breaker_sum(maps, instance, SHUNT_WATCH_REQUEST,
				 shunt_breaker_second(rule, now_ns), 0);
}

struct shunt_guard_state shunt_guard_state(const struct shunt_dp_maps *maps, uint32_t breaker,
					   uint32_t instance, uint64_t now_ns)
{
	const struct shunt_breaker_rule *rule = breaker ? shunt_bk_rule(maps, breaker) : NULL;
	const struct shunt_breaker_state *state = shunt_bk_state(maps, instance);
	uint64_t word = SHUNT_READ_ONCE(state->word), until_ns = SHUNT_BREAKER_UNTIL(word);
	struct shunt_guard_state now = {
		.phase = SHUNT_BREAKER_PHASE(word),
		.opened = SHUNT_READ_ONCE(state->opened),
	};

	if (now.phase != SHUNT_BREAKER_OPEN && now.phase != SHUNT_BREAKER_RECOVERING)
		return now;
	if (until_ns > now_ns) {
		uint64_t whole_ns = !rule			      ? 0
				    : now.phase == SHUNT_BREAKER_OPEN ? rule->open_ns
								      : rule->recovery_ns;

		now.left_ns = until_ns - now_ns;
		now.since_ns = whole_ns && until_ns > whole_ns ? until_ns - whole_ns : 0;
	} else if (now.phase == SHUNT_BREAKER_OPEN) {
		now.phase = SHUNT_BREAKER_RECOVERING;
		now.left_ns = rule ? rule->recovery_ns : 0;
	} else {
		now.phase = SHUNT_BREAKER_CLOSED;
	}
	return now;
}
