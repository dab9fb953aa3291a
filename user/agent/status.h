/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_STATUS_H
#define SHUNT_AGENT_STATUS_H

#include "agent/agent.h"
#include "metrics/collect.h"

/*
 * The answer of `status`, as docs/control-protocol.md has it. Builders return a new
 * reference or NULL when memory is out; NULL makes every object above it NULL too, for
 * json_pack() refuses it and gives back what it was given.
 */
struct agent_view {
	const struct agent *agent;
	struct shunt_stats stats;
	bool with_times; /* histograms of response times, too */
};

json_t *agent_service_json(const struct agent_view *view,
			   const struct shunt_model_service *service);
json_t *agent_conditions_json(const struct shunt_conditions *conditions);
/* "ESTABLISHED", "FORWARD": names of the enums, without their prefixes. */
const char *agent_flow_state_name(unsigned state);
const char *agent_reason_action(enum shunt_reason reason);

#endif
