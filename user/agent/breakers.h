/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_BREAKERS_H
#define SHUNT_AGENT_BREAKERS_H

#include "agent/agent.h"
#include "base/units.h"
#include "datapath/breakers.h"
#include "datapath/guards.h"

/* A circuit breaker with all that people want to know of it. */
struct agent_breaker {
	uint32_t instance;
	struct shunt_breaker_name name;
	const struct shunt_model_service *service; /* borrowed; NULL: the model has it no more */
	struct shunt_guard_state state;
	uint32_t requests;		   /* in its window */
	char backend[SHUNT_ADDR_PORT_LEN]; /* scope backend; else "" */
};

/**
 * agent_breaker_read - one of them
 * @instance: as in struct shunt_event; of any value
 *
 * Return: is it in force? @ret_breaker is written on true only.
 */
bool agent_breaker_read(const struct agent *agent, uint32_t instance,
			struct agent_breaker *ret_breaker);

/**
 * agent_breakers_read - those in force
 * @service:      only its; NULL: all
 * @ret_breakers: freed with free(); sorted by instance; NULL if there are none
 *
 * Return: 0 or -ENOMEM.
 */
int agent_breakers_read(const struct agent *agent, const struct shunt_model_service *service,
			struct agent_breaker **ret_breakers, size_t *ret_n);

/* Does it refuse all that is new? */
bool agent_breaker_is_open(const struct agent_breaker *breaker);

/* "the breaker", "the breaker of variant green", "... of backend 10.1.0.7:80 of green". */
#define AGENT_BREAKER_LEN 200
const char *agent_breaker_whose(const struct agent_breaker *breaker, char *buf);

/* What becomes of new connections while it is open: "are refused", "go to blue". */
const char *agent_breaker_effect(const struct agent_breaker *breaker, char *buf);

/* For status: "breakers" of a service. A new reference, or NULL: out of memory. */
json_t *agent_breakers_json(const struct agent *agent, const struct shunt_model_service *service);

/* What is wrong: which breakers are open. "" if none is. Return: @buf. */
const char *agent_breakers_problem(const struct agent *agent, char *buf, size_t size);

#endif
