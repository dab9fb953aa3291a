/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_TOLD_H
#define SHUNT_AGENT_TOLD_H

#include "agent/agent.h"

/* At most this many things of one kind become events at once; a last one counts the others. */
#define AGENT_TELL_AT_ONCE 20

/**
 * agent_tell_conditions - events for what is newly wrong with objects of agent->model
 *
 * An object that stays refused for the same reason is told once, not at each refresh; one
 * that was mended and is refused again is told again.
 */
void agent_tell_conditions(struct agent *agent);

/* Does this condition say that something is not as it was asked for? */
bool agent_condition_is_bad(const struct shunt_condition *condition);

#endif
