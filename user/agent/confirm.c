// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include "shunt/compat.h"

/* The split that a new flow of kernel service @id would meet now, or NULL. */
static const struct shunt_split *split_in_force(const struct shunt_dp_maps *maps, uint32_t id)
{
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	uint32_t slot = SHUNT_READ_ONCE(settings->epoch) & 1;
	const struct shunt_service *service;
	const struct shunt_rule *rule;
	uint32_t first, split;

	if (!id || id >= maps->services.n)
		return NULL;
	service = SHUNT_DP_AT(maps->services, struct shunt_service, id);
	first = service->slot[slot].rule_first;
	if (!first || first >= maps->rules.n)
		return NULL;
	rule = SHUNT_DP_AT(maps->rules, struct shunt_rule, first);
	split = SHUNT_READ_ONCE(rule->split[slot]);
	return split && split < maps->splits.n
		       ? SHUNT_DP_AT(maps->splits, struct shunt_split, split)
		       : NULL;
}

static bool has_weights(const struct shunt_split *split, const struct shunt_image_port *port)
{
	if (!split || split->n_variants != port->n_variants)
		return false;
	for (size_t v = 0; v < port->n_variants; v++)
		if (split->variant[v].variant != port->variants[v].id ||
		    split->variant[v].weight != port->variants[v].weight)
			return false;
	return true;
}

bool agent_confirm(const struct agent *agent, size_t index)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	const struct shunt_image_service *image;

	if (index >= agent->images.n)
		return false;
	image = agent->images.items[index]->image;
	for (size_t p = 0; p < image->n_ports; p++)
		if (!has_weights(split_in_force(maps, image->ports[p].id), &image->ports[p]))
			return false;
	return true;
}
