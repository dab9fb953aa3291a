/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_TEXT_H
#define SHUNT_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metrics/collect.h"
#include "metrics/compat.h"
#include "metrics/probes.h"

/* The weight in force of one variant of one model service. */
struct shunt_metrics_weight {
	const char *namespace_;
	const char *service;
	const char *variant;
	char ports[96]; /* "80/TCP,443/TCP": tells the splits of one Service apart */
	uint32_t weight;
	double share; /* 0..1 of new connections */
};

struct shunt_metrics_gate {
	const char *interface;
	const char *hook; /* "tc" or "xdp" */
	bool up;
};

/* A circuit breaker: one of a service, a variant or a backend. */
struct shunt_metrics_breaker {
	const struct shunt_breaker_name *name;
	const char *backend;		/* "10.1.0.7:80"; "": not of one */
	enum shunt_breaker_phase phase; /* what the next packet meets */
	uint64_t opened;		/* how often, by itself */
};

/* How often the kernel decided something, since the agent's start. */
struct shunt_metrics_decision {
	const char *reason; /* of its event: "BreakerOpen" */
	uint64_t n;
};

/* All that one scrape shows. Everything is borrowed. */
struct shunt_metrics {
	const struct shunt_stats *stats;
	const struct shunt_metrics_weight *weights;
	size_t n_weights;
	const struct shunt_metrics_gate *gates;
	size_t n_gates;
	const struct shunt_metrics_breaker *breakers;
	size_t n_breakers;
	const struct shunt_metrics_decision *decisions;
	size_t n_decisions;
	uint64_t decisions_lost;  /* that could not be told, since the maps were made */
	uint64_t source_problems; /* files and objects that are not in force as written */
	uint64_t installs_failed;
	double config_age_seconds; /* since the source was last read and found in force */
	double start_time_seconds; /* of the agent, since the epoch */
	const char *version;
	const struct shunt_metrics_probe *probes; /* by backend */
	size_t n_probes;
	const struct shunt_compat *compat; /* series under others' names, too; NULL: none */
	const struct shunt_probe_sum *const *probe_sums; /* for these; by variant */
	size_t n_probe_sums;
};

#define SHUNT_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/**
 * shunt_metrics_text - the Prometheus exposition of @metrics
 * @ret_text: owned by the caller, freed with free(); NUL-terminated
 *
 * docs/metrics.md lists what is in it. Return: 0 or -ENOMEM.
 */
int shunt_metrics_text(const struct shunt_metrics *metrics, char **ret_text, size_t *ret_len);

#endif
