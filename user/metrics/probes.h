/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_PROBES_H
#define SHUNT_METRICS_PROBES_H

#include <stdint.h>
#include <stdio.h>

#include "base/ip.h"
#include "shunt/histogram.h"

/* What a backend has answered to the agent's own requests. */
struct shunt_metrics_probe {
	const struct shunt_variant_name *variant;
	char backend[SHUNT_ADDR_PORT_LEN];
	uint64_t answers[SHUNT_N_CODE_CLASSES]; /* by class of their code; [0]: no answer */
};

/* All that a variant was asked by the agent since its start. */
struct shunt_probe_sum {
	struct shunt_variant_name variant;
	uint64_t answers[SHUNT_N_CODE_CLASSES]; /* as above */
	uint64_t us[SHUNT_N_CODE_CLASSES];
	struct shunt_response_time times[SHUNT_N_CODE_CLASSES][SHUNT_TIME_BUCKETS];
};

/* Writes their series; nothing if there are none. */
void shunt_probes_write(const struct shunt_metrics_probe *probes, size_t n, FILE *out);

#endif
