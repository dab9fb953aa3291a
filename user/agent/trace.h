/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_TRACE_H
#define SHUNT_AGENT_TRACE_H

#include "agent/agent.h"
#include "shunt/trace.h"

/*
 * `shunt trace`: one tracing at a time, for one reader on the control socket. It ends when its
 * time is over, enough packets were told, the reader has left or had enough, or the agent ends;
 * then every gate has the plain programs again before the reader hears the end.
 */

#define AGENT_TRACE_FOR_MS     30000
#define AGENT_TRACE_MAX_FOR_MS (24 * 3600000ll)
#define AGENT_TRACE_RATE       1000
#define AGENT_TRACE_MAX_RATE   1000000
#define AGENT_TRACE_MAX_COUNT  1000000000ll

void agent_cmd_trace(struct agent_request *request);

/* Ends the tracing, if there is one; before the maps are closed. */
void agent_trace_stop(struct agent *agent, const char *why);

/**
 * agent_trace_packet - a record as docs/control-protocol.md has it, indices turned to names
 * @to_real_ns: what must be added to the record's clock for CLOCK_REALTIME
 *
 * Return: a new reference; NULL: out of memory.
 */
json_t *agent_trace_packet(const struct agent *agent, const struct shunt_trace_event *event,
			   int64_t to_real_ns);

#endif
