/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_STATUS_POLICY_H
#define SHUNT_AGENT_STATUS_POLICY_H

#include <jansson.h>

#include "model/policy.h"

/* "policy" of a service, as docs/control-protocol.md has it: null if it has none. */
json_t *agent_policy_json(const struct shunt_policy *policy);

#endif
