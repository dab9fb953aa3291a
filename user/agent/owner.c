// SPDX-License-Identifier: Apache-2.0
#include "agent/owner.h"

#include <netinet/in.h>
#include <string.h>

bool agent_owner_is(struct agent_owner owner, const struct shunt_model_service *service)
{
	return service->n_ports && ntohs(owner.port_be) == service->ports[0].port &&
	       owner.proto == service->ports[0].proto && !strcmp(owner.service, service->name) &&
	       !strcmp(owner.namespace_, service->namespace_);
}

const struct shunt_model_service *agent_owner_find(const struct agent *agent,
						   struct agent_owner owner)
{
	for (size_t i = 0; i < agent->model.n_services; i++)
		if (agent_owner_is(owner, &agent->model.services[i]))
			return &agent->model.services[i];
	return NULL;
}

const char *agent_owner_label(const struct agent *agent, struct agent_owner owner, char *buf)
{
	const struct shunt_model_service *service = agent_owner_find(agent, owner);

	if (service)
		return shunt_model_label(&agent->model, service, buf);
	snprintf(buf, SHUNT_LABEL_LEN, "%.63s/%.63s", owner.namespace_, owner.service);
	return buf;
}

const char *agent_backend_text(const struct shunt_dp_maps *maps, uint32_t index, char *buf)
{
	const struct shunt_backend *backend;
	struct shunt_ip ip;

	buf[0] = '\0';
	if (!index || index >= maps->backends.n)
		return buf;
	backend = SHUNT_DP_AT(maps->backends, struct shunt_backend, index);
	ip = (struct shunt_ip){ .addr = backend->addr, .family = backend->family };
	return shunt_addr_port_str(&ip, ntohs(backend->port_be), buf);
}
