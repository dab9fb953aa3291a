/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_EJECTIONS_H
#define SHUNT_AGENT_EJECTIONS_H

#include <jansson.h>

#include "agent/agent.h"
#include "datapath/ejections.h"

/* "ejection" of a backend in status; null without a rule. A new reference. */
json_t *agent_ejection_json(const struct shunt_ejected *ejected);

/* The backends that are ejected, as a problem: "" if there are none. Return: @buf. */
const char *agent_ejections_problem(const struct agent *agent, char *buf, size_t size);

/* "backend 10.1.0.7:80 of green". */
#define AGENT_BACKEND_LEN (SHUNT_ADDR_PORT_LEN + SHUNT_NAME_LEN + 16)
const char *agent_backend_whose(const struct agent *agent, uint32_t backend, const char *variant,
				char *buf);

#endif
