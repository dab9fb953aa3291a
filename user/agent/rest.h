/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_REST_H
#define SHUNT_AGENT_REST_H

#include "model/override.h"

/*
 * A model without the backends that an operator drains: what is compiled. The kernel knows
 * a drained backend as one that is removed, and the installer gives it its deadline once,
 * when it goes. Status still shows it, so the model itself keeps it.
 */
struct agent_rest {
	struct shunt_model model; /* borrows from the model it was made of */
	void **copies;		  /* arrays that it has of its own */
	size_t n_copies;
};

/**
 * agent_rest_make - leave out what is drained
 * @model:    borrowed as long as @ret_rest lives
 * @fresh_ms: when_ms of the command that is being carried out; 0: none. Only the install that
 *            follows a drain needs its deadline.
 *
 * Return: 0, or -ENOMEM; agent_rest_free() in either case.
 */
int agent_rest_make(const struct shunt_overrides *overrides, const struct shunt_model *model,
		    int64_t fresh_ms, struct agent_rest *ret_rest);

void agent_rest_free(struct agent_rest *rest);

/* Return: does one of @drains, @n of them, name the backend at @ip and @port? */
const struct shunt_drain *agent_drain_of(const struct shunt_drain *drains, size_t n,
					 const struct shunt_ip *ip, uint16_t port);

#endif
