/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_EVENTS_H
#define SHUNT_AGENT_EVENTS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/mono.h"

/* What happened lately: a ring of the last AGENT_EVENTS events, oldest overwritten first. */
#define AGENT_EVENTS 1000

struct agent_events {
	json_t *items[AGENT_EVENTS];
	size_t next; /* how many there have ever been */
};

/**
 * agent_events_add - remember an event
 * @when_ms: CLOCK_REALTIME
 * @reason:  CamelCase, for programs
 * @object:  "namespace/name", an interface, a file; "" for the agent itself
 *
 * Return: the event as docs/control-protocol.md has it, borrowed; NULL: out of memory.
 */
json_t *agent_events_add(struct agent_events *events, int64_t when_ms, enum shunt_log_level level,
			 const char *reason, const char *object, const char *text);

/* Return: a new array of the last @n events, oldest first; NULL: out of memory. */
json_t *agent_events_last(const struct agent_events *events, size_t n);

void agent_events_clear(struct agent_events *events);

/* CLOCK_REALTIME in milliseconds. */
int64_t agent_now_ms(void);

/* What CLOCK_REALTIME showed, in milliseconds, when CLOCK_MONOTONIC showed @mono_ns. */
int64_t agent_real_ms(uint64_t mono_ns);

/*
 * Makes a line of the log of @text: reasons of operators and texts of manifests may hold line
 * ends, that would forge a line, and escape sequences. They become '?'.
 */
void agent_tame(char *text);

#endif
