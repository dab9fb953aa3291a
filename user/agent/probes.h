/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_AGENT_PROBES_H
#define SHUNT_AGENT_PROBES_H

#include <jansson.h>
#include <uv.h>

#include "metrics/collect.h"
#include "metrics/probes.h"
#include "model/model.h"

/*
 * Requests that the agent itself sends to each backend of services whose policy asks for them, so
 * that those who judge a variant by its metrics have something to judge without traffic. They go
 * straight to the backend: nothing of the kernel's counts or judges them.
 */
struct agent_probes;

/* At most so many are under way; others wait for their turn. */
#define AGENT_PROBES_AT_ONCE 64

/* @loop: borrowed. Return: NULL: out of memory. */
struct agent_probes *agent_probes_new(uv_loop_t *loop);

/**
 * agent_probes_follow - from now on probe the backends of @model
 *
 * Those that are there still keep their turn, what is under way to others is broken off. Each
 * begins at another moment of its interval. Nothing of @model is borrowed.
 *
 * Return: 0; -ENOMEM: some backends are not probed.
 */
int agent_probes_follow(struct agent_probes *probes, const struct shunt_model *model);

/* What was counted, for metrics; NULL: out of memory. Owned by the caller, borrows from @probes. */
struct shunt_metrics_probe *agent_probes_list(const struct agent_probes *probes, size_t *ret_n);

/* {"1xx": n, ..., "none": n} of a variant; NULL: it has never been probed. */
json_t *agent_probes_json(const struct agent_probes *probes,
			  const struct shunt_model_service *service, const char *variant);

/* What was counted of each variant; NULL: none. Borrowed until the next agent_probes_follow(). */
const struct shunt_probe_sum *const *agent_probes_sums(const struct agent_probes *probes,
						       size_t *ret_n);

/* Ends all that is under way; the loop has to run once more before agent_probes_free(). */
void agent_probes_close(struct agent_probes *probes); /* NULL is fine */
void agent_probes_free(struct agent_probes *probes);  /* likewise */

#endif
