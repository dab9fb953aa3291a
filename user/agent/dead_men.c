// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <string.h>

#include "agent/change.h"

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
