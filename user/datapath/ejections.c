// SPDX-License-Identifier: Apache-2.0
#include "datapath/ejections.h"

#include "shunt/compat.h"

bool shunt_ejection_is_rule(const struct shunt_eject_rule *rule)
{
	return rule->consecutive_5xx || rule->consecutive_gateway;
}

/* NULL: it has none. */
static const struct shunt_eject_rule *rule_of(const struct shunt_dp_maps *maps, uint32_t variant)
{
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	uint32_t slot = SHUNT_READ_ONCE(settings->epoch) & 1;
	const struct shunt_eject_rule *rule;

	if (!variant || variant >= maps->variant_guards.n)
		return NULL;
	rule = &SHUNT_DP_AT(maps->variant_guards, struct shunt_variant_guard, variant)->eject[slot];
	return shunt_ejection_is_rule(rule) ? rule : NULL;
}

uint32_t shunt_ejection_members(const struct shunt_dp_maps *maps, uint32_t variant, uint32_t family)
{
	const struct shunt_eject_rule *rule = rule_of(maps, variant);

	return rule && family < SHUNT_N_FAMILIES ? rule->members[family] : 0;
}

struct shunt_ejected shunt_ejection_read(const struct shunt_dp_maps *maps, uint32_t backend,
					 uint64_t now_ns)
{
	const struct shunt_eject_state *state;
	struct shunt_ejected ejected = { 0 };
	uint64_t word, until, now = SHUNT_EJECT_TIME(now_ns);

	if (backend >= maps->eject_states.n || backend >= maps->backends.n)
		return ejected;
	state = SHUNT_DP_AT(maps->eject_states, struct shunt_eject_state, backend);
	word = SHUNT_READ_ONCE(state->word);
	until = SHUNT_EJECT_SINCE(word);
	ejected.has_rule =
		rule_of(maps, SHUNT_DP_AT(maps->backends, struct shunt_backend, backend)->variant);
	ejected.is_out = ejected.has_rule && SHUNT_EJECT_PHASE(word) == SHUNT_EJECT_OUT;
	if (ejected.is_out && until > now)
		ejected.left_ns = (until - now) << SHUNT_EJECT_UNIT_SHIFT;
	ejected.in_row = SHUNT_EJECT_EJECTIONS(word);
	ejected.times = SHUNT_READ_ONCE(state->ejected);
	return ejected;
}
