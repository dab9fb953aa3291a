/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_DEAD_MEN_H
#define SHUNT_AGENT_DEAD_MEN_H

#include "agent/agent.h"

/* The variants that the kernel has taken out, as a problem: "" if there are none. Return: @buf. */
const char *agent_dead_men_problem(const struct agent *agent, char *buf, size_t size);

#endif
