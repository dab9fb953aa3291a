// SPDX-License-Identifier: Apache-2.0
#include "agent/breakers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/owner.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "model/policy.h"

/* ---- from the maps -------------------------------------------------------------------------- */

static struct agent_breaker read_one(const struct agent *agent, uint32_t rule, uint32_t instance,
				     const struct shunt_breaker_name *name)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	uint64_t now_ns = shunt_mono_ns();
	struct agent_breaker breaker = {
		.instance = instance,
		.name = *name,
		.service = agent_owner_find(agent, AGENT_OWNER(name)),
		.state = shunt_guard_state(maps, rule, instance, now_ns),
		.requests = shunt_guard_requests(maps, rule, instance, now_ns),
	};

	agent_backend_text(maps, name->backend_index, breaker.backend);
	return breaker;
}

/* What nothing in force names any more waits for its end: it is none. */
static bool read_named(const struct agent *agent, uint32_t instance,
		       const struct shunt_breaker_name *name, struct agent_breaker *ret_breaker)
{
	uint32_t rule = shunt_guard_rule(shunt_dp_maps(agent->dp), instance);

	if (rule)
		*ret_breaker = read_one(agent, rule, instance, name);
	return rule != 0;
}

bool agent_breaker_read(const struct agent *agent, uint32_t instance,
			struct agent_breaker *ret_breaker)
{
	struct shunt_breaker_name name;

	return shunt_breaker_name_read(shunt_dp_maps(agent->dp), instance, &name) &&
	       read_named(agent, instance, &name, ret_breaker);
}

int agent_breakers_read(const struct agent *agent, const struct shunt_model_service *service,
			struct agent_breaker **ret_breakers, size_t *ret_n)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	struct agent_breaker *breakers = NULL, *more, one;
	struct shunt_breaker_name name;
	size_t n = 0;

	for (uint32_t id = 1; id < maps->breaker_names.n; id++) {
		/* The name is cheap, what judges for it is not. */
		if (!shunt_breaker_name_read(maps, id, &name) ||
		    (service && !agent_owner_is(AGENT_OWNER(&name), service)) ||
		    !read_named(agent, id, &name, &one))
			continue;
		more = shunt_array_add(&breakers, &n, sizeof(*breakers));
		if (!more) {
			free(breakers);
			return -ENOMEM;
		}
		*more = one;
	}
	*ret_breakers = breakers;
	*ret_n = n;
	return 0;
}

/* ---- words ------------------------------------------------------------------------------------
 */

bool agent_breaker_is_open(const struct agent_breaker *breaker)
{
	return breaker->state.phase == SHUNT_BREAKER_OPEN ||
	       breaker->state.phase == SHUNT_BREAKER_FORCED_OPEN;
}

const char *agent_breaker_whose(const struct agent_breaker *breaker, char *buf)
{
	const char *variant = breaker->name.variant;

	if (breaker->name.scope == SHUNT_LIMIT_BACKEND)
		snprintf(buf, AGENT_BREAKER_LEN, "the breaker of backend %s of %s",
			 breaker->backend, variant);
	else if (breaker->name.scope == SHUNT_LIMIT_VARIANT)
		snprintf(buf, AGENT_BREAKER_LEN, "the breaker of variant %s", variant);
	else
		snprintf(buf, AGENT_BREAKER_LEN, "the breaker");
	return buf;
}

const char *agent_breaker_effect(const struct agent_breaker *breaker, char *buf)
{
	const struct shunt_policy *policy = breaker->service ? breaker->service->policy : NULL;

	/* What the fallback's own breaker refuses goes nowhere. */
	if (policy && policy->breaker.fallback[0] &&
	    strcmp(policy->breaker.fallback, breaker->name.variant) != 0)
		snprintf(buf, AGENT_BREAKER_LEN, "go to %s", policy->breaker.fallback);
	else
		snprintf(buf, AGENT_BREAKER_LEN, "are refused");
	return buf;
}

/* ---- status -----------------------------------------------------------------------------------
 */

static json_t *since_json(const struct shunt_guard_state *state)
{
	char text[SHUNT_UNIT_STR_LEN];

	if (!state->since_ns)
		return json_null();
	return json_string(shunt_time_str(agent_real_ms(state->since_ns), text));
}

static json_t *left_json(const struct shunt_guard_state *state)
{
	if (state->phase != SHUNT_BREAKER_OPEN && state->phase != SHUNT_BREAKER_RECOVERING)
		return json_null();
	return json_integer((json_int_t)(state->left_ns / 1000000));
}

static json_t *breaker_json(const struct agent_breaker *breaker)
{
	static const char *const scopes[] = {
		[SHUNT_LIMIT_SERVICE] = "service",
		[SHUNT_LIMIT_VARIANT] = "variant",
		[SHUNT_LIMIT_BACKEND] = "backend",
	};
	unsigned scope = breaker->name.scope;

	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "scope",
			 scope < ARRAY_LEN(scopes) ? scopes[scope] : "?", "variant",
			 breaker->name.variant, "backend", breaker->backend, "phase",
			 shunt_breaker_phase_name(breaker->state.phase), "since",
			 since_json(&breaker->state), "left_ms", left_json(&breaker->state),
			 "opened", (json_int_t)breaker->state.opened, "requests",
			 (json_int_t)breaker->requests);
}

json_t *agent_breakers_json(const struct agent *agent, const struct shunt_model_service *service)
{
	CLEANUP(freep) struct agent_breaker *breakers = NULL;
	json_t *array = json_array();
	size_t n;

	if (agent_breakers_read(agent, service, &breakers, &n) < 0) {
		json_decref(array);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, breaker_json(&breakers[i]));
	return array;
}

const char *agent_breakers_problem(const struct agent *agent, char *buf, size_t size)
{
	char object[SHUNT_LABEL_LEN], whose[AGENT_BREAKER_LEN], effect[AGENT_BREAKER_LEN];
	CLEANUP(freep) struct agent_breaker *breakers = NULL;
	size_t n, n_open = 0, len = 0;

	buf[0] = '\0';
	if (!agent->dp || agent_breakers_read(agent, NULL, &breakers, &n) < 0)
		return buf;
	for (size_t i = 0; i < n; i++) {
		const struct agent_breaker *breaker = &breakers[i];

		if (!agent_breaker_is_open(breaker) || n_open++)
			continue;
		len = (size_t)snprintf(
			buf, size, "%s: %s is %s: new connections %s",
			agent_owner_label(agent, AGENT_OWNER(&breaker->name), object),
			agent_breaker_whose(breaker, whose),
			shunt_breaker_phase_name(breaker->state.phase),
			agent_breaker_effect(breaker, effect));
	}
	if (n_open > 1 && len < size)
		snprintf(buf + len, size - len, "; %zu more breakers are open", n_open - 1);
	return buf;
}
