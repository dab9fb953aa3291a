/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_DECISIONS_H
#define SHUNT_AGENT_DECISIONS_H

#include <uv.h>

#include "datapath/events.h"

/* What the kernel decides by itself, as events of the agent. */
enum agent_decision {
	AGENT_BREAKER_OPEN,
	AGENT_BREAKER_RECOVERING,
	AGENT_BREAKER_CLOSED,
	AGENT_DEAD_MAN_TRIPPED,
	AGENT_BACKEND_EJECTED,
	AGENT_BACKEND_RETURNED,
	AGENT_N_DECISIONS
};

struct agent;

struct agent_decisions {
	struct shunt_events *events;	  /* NULL: they cannot be read */
	uint64_t seen[AGENT_N_DECISIONS]; /* since this start */
	uint64_t lost;			  /* since the maps were made */
	uv_poll_t poll;			  /* open while events is not NULL */
};

/* "BreakerOpen" ...: the reason of its event. */
const char *agent_decision_name(enum agent_decision decision);

/*
 * Begins to read. What was decided while no agent ran is told, the last of it with the times at
 * which it happened, and then what is open now. A failure is told, and nothing is read.
 */
void agent_decisions_open(struct agent *agent);

/* Each second: tells how many could not be told. */
void agent_decisions_tick(struct agent *agent);

/* Stops the loop's handle; run the loop once more before @agent is freed. */
void agent_decisions_close(struct agent *agent);

#endif
