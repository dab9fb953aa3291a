/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_OWNER_H
#define SHUNT_AGENT_OWNER_H

#include "agent/agent.h"
#include "base/units.h"

/* Whom a name in the maps belongs to: the Service, and the first of its ports that it is about. */
struct agent_owner {
	const char *namespace_, *service; /* borrowed */
	__be16 port_be;
	uint8_t proto;
};

/* Of a struct shunt_breaker_name or shunt_variant_name. */
#define AGENT_OWNER(name)                                                                          \
	((struct agent_owner){ (name)->namespace_, (name)->service, (name)->port_be,               \
			       (name)->proto })

bool agent_owner_is(struct agent_owner owner, const struct shunt_model_service *service);

/* Return: borrowed from the model; NULL: it has it no more. */
const struct shunt_model_service *agent_owner_find(const struct agent *agent,
						   struct agent_owner owner);

/*
 * "namespace/name", with ports where these are split differently. @buf: SHUNT_LABEL_LEN. Return:
 * @buf.
 */
const char *agent_owner_label(const struct agent *agent, struct agent_owner owner, char *buf);

/* "10.1.0.7:80"; "" if there is no such index. @buf: SHUNT_ADDR_PORT_LEN. Return: @buf. */
const char *agent_backend_text(const struct shunt_dp_maps *maps, uint32_t index, char *buf);

#endif
