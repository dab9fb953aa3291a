// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "agent/change.h"
#include "agent/dead_men.h"

bool agent_change_reset_dead_men(const struct agent_change *change)
{
	struct agent *agent = change->request->agent;
	bool reset = false;

	for (size_t i = 0; i < change->n; i++) {
		const struct shunt_model_service *service = change->targets[i].service;

		for (size_t w = 0; w < change->targets[i].n; w++) {
			struct shunt_variant_name name = {
				.port_be = htons(service->ports[0].port),
				.proto = service->ports[0].proto,
			};

			strcpy(name.namespace_, service->namespace_);
			strcpy(name.service, service->name);
			strcpy(name.variant, change->targets[i].weights[w].variant);
			reset |= shunt_installer_reset_dead_man(agent->installer, &name);
		}
	}
	return reset;
}

const char *agent_dead_men_problem(const struct agent *agent, char *buf, size_t size)
{
	const struct shunt_dp_maps *maps = agent->dp ? shunt_dp_maps(agent->dp) : NULL;
	size_t n = 0, len = 0;

	buf[0] = '\0';
	for (uint32_t id = 1; maps && id < maps->overlay.n; id++) {
		const struct shunt_variant_name *of =
			SHUNT_DP_AT(maps->variant_names, struct shunt_variant_name, id);

		if (!SHUNT_DP_AT(maps->overlay, struct shunt_overlay, id)->tripped || n++)
			continue;
		len = (size_t)snprintf(
			buf, size,
			"%.63s/%.63s: the dead-man switch of %.63s has tripped: it gets "
			"nothing new until a new weight, or `shunt weight`, says so",
			of->namespace_, of->service, of->variant);
	}
	if (n > 1 && len < size)
		snprintf(buf + len, size - len, "; %zu more have", n - 1);
	return buf;
}
