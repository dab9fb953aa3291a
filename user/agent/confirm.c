// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <arpa/inet.h>
#include <stdio.h>

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

/* "shop/api": [{"ports":"80/TCP","weights":{"blue":95},"drained":[]}] for one kernel service. */
static void add_weights(json_t *all, const struct shunt_dp_maps *maps, uint32_t id)
{
	const struct shunt_service_name *name =
		SHUNT_DP_AT(maps->service_names, struct shunt_service_name, id);
	const struct shunt_split *split = split_in_force(maps, id);
	char full[2 * SHUNT_NAME_LEN + 2], port[sizeof("65535/TCP")];
	json_t *weights = json_object(), *list;

	for (uint32_t v = 0; v < split->n_variants && v < SHUNT_MAX_VARIANTS; v++) {
		const struct shunt_split_variant *from = &split->variant[v];

		if (from->variant < maps->variant_names.n)
			json_object_set_new(weights,
					    SHUNT_DP_AT(maps->variant_names,
							struct shunt_variant_name, from->variant)
						    ->variant,
					    json_integer(from->weight));
	}
	snprintf(full, sizeof(full), "%.63s/%.63s", name->namespace_, name->name);
	snprintf(port, sizeof(port), "%u/%s", ntohs(name->port_be),
		 name->proto == IPPROTO_UDP ? "UDP" : "TCP");
	list = json_object_get(all, full);
	if (!list) {
		list = json_array();
		json_object_set_new(all, full, list);
	}
	json_array_append_new(
		list, json_pack("{s:s, s:o, s:[]}", "ports", port, "weights", weights, "drained"));
}

/* Has kernel service @id a split, and is not released? */
static bool is_in_force(const struct shunt_dp_maps *maps, uint32_t id)
{
	const struct shunt_settings *settings =
		SHUNT_DP_AT(maps->settings, struct shunt_settings, 0);
	const struct shunt_service *service = SHUNT_DP_AT(maps->services, struct shunt_service, id);

	return SHUNT_DP_AT(maps->service_names, struct shunt_service_name, id)->name[0] &&
	       !(service->slot[settings->epoch & 1].flags & SHUNT_SVC_RELEASED) &&
	       split_in_force(maps, id);
}

json_t *agent_read_weights(const struct agent *agent)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	json_t *all = json_object();

	for (uint32_t id = 1; all && id < maps->services.n; id++)
		if (is_in_force(maps, id))
			add_weights(all, maps, id);
	return all;
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
