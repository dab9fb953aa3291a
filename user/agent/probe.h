/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_PROBE_H
#define SHUNT_AGENT_PROBE_H

#include <uv.h>

#include "base/ip.h"

/* One request that the agent sends, on a connection of its own. */
struct agent_probe;

/*
 * It is over: @class of the answer's code, 1..5, or 0: there was none, or it is no HTTP; after
 * @us. The probe frees itself.
 */
typedef void (*agent_probe_fn)(void *ctx, unsigned class, uint64_t us);

/**
 * agent_probe_send - GET @path of a backend
 * @host: of the Host header
 * @done: called once, from the loop or from agent_probe_expire(), unless it is cancelled
 *
 * Return: NULL: it cannot be sent, and @done is not called.
 */
struct agent_probe *agent_probe_send(uv_loop_t *loop, const struct shunt_ip *ip, uint16_t port,
				     const char *host, const char *path, agent_probe_fn done,
				     void *ctx);

/* When it was sent, as uv_hrtime(). */
uint64_t agent_probe_since(const struct agent_probe *probe);

/* Somebody else is told of its end. */
void agent_probe_hand_over(struct agent_probe *probe, void *ctx);

/* It has taken too long: as no answer. */
void agent_probe_expire(struct agent_probe *probe);

/* Breaks it off; nobody is told. The loop frees it. */
void agent_probe_cancel(struct agent_probe *probe);

#endif
