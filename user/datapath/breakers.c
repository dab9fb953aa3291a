// SPDX-License-Identifier: Apache-2.0
#include "datapath/breakers.h"

#include <errno.h>

#include "shunt/compat.h"

static const struct shunt_breaker_name *name_at(const struct shunt_dp_maps *maps, uint32_t instance)
{
	return SHUNT_DP_AT(maps->breaker_names, struct shunt_breaker_name, instance);
}

static struct shunt_breaker_state *state_at(const struct shunt_dp_maps *maps, uint32_t instance)
{
	return SHUNT_DP_AT(maps->breaker_states, struct shunt_breaker_state, instance);
}

static bool is_there(const struct shunt_dp_maps *maps, uint32_t instance)
{
	return instance && instance < maps->breaker_states.n && instance < maps->breaker_names.n &&
	       name_at(maps, instance)->service[0];
}

/* Others may have written the maps: no string of theirs is trusted to end. */
static void end_strings(struct shunt_breaker_name *name)
{
	name->namespace_[SHUNT_NAME_LEN - 1] = 0;
	name->service[SHUNT_NAME_LEN - 1] = 0;
	name->variant[SHUNT_NAME_LEN - 1] = 0;
}

bool shunt_breaker_name_read(const struct shunt_dp_maps *maps, uint32_t instance,
			     struct shunt_breaker_name *ret_name)
{
	if (!is_there(maps, instance))
		return false;
	*ret_name = *name_at(maps, instance);
	end_strings(ret_name);
	return true;
}

static bool is_forced(uint64_t word)
{
	return SHUNT_BREAKER_PHASE(word) == SHUNT_BREAKER_FORCED_OPEN ||
	       SHUNT_BREAKER_PHASE(word) == SHUNT_BREAKER_FORCED_CLOSED;
}

int shunt_breaker_force(const struct shunt_dp_maps *maps, uint32_t instance,
			enum shunt_breaker_force how)
{
	static const uint64_t words[] = {
		[SHUNT_FORCE_AUTO] = SHUNT_BREAKER_WORD(0, SHUNT_BREAKER_CLOSED),
		[SHUNT_FORCE_OPEN] = SHUNT_BREAKER_WORD(0, SHUNT_BREAKER_FORCED_OPEN),
		[SHUNT_FORCE_CLOSED] = SHUNT_BREAKER_WORD(0, SHUNT_BREAKER_FORCED_CLOSED),
	};
	__u64 *word, seen;

	if (!is_there(maps, instance))
		return -ENOENT;
	word = &state_at(maps, instance)->word;
	/* A packet may make a transition meanwhile: it does not undo this. */
	do {
		seen = SHUNT_READ_ONCE(*word);
		if (seen == words[how] || (how == SHUNT_FORCE_AUTO && !is_forced(seen)))
			return 0;
	} while (shunt_cmpxchg(word, seen, words[how]) != seen);
	return 1;
}

const char *shunt_breaker_phase_name(enum shunt_breaker_phase phase)
{
	static const char *const names[SHUNT_N_BREAKER_PHASES] = {
		[SHUNT_BREAKER_CLOSED] = "closed",
		[SHUNT_BREAKER_OPEN] = "open",
		[SHUNT_BREAKER_RECOVERING] = "recovering",
		[SHUNT_BREAKER_FORCED_OPEN] = "forced open",
		[SHUNT_BREAKER_FORCED_CLOSED] = "forced closed",
	};

	return phase < SHUNT_N_BREAKER_PHASES ? names[phase] : "unknown";
}
