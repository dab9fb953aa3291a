/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_COMPAT_H
#define SHUNT_METRICS_COMPAT_H

#include <stdio.h>

#include "metrics/collect.h"
#include "metrics/probes.h"

/*
 * Series under the names that other products give them, for tools that query these: Flagger's
 * builtin checks of providers `traefik` and `linkerd`. docs/metrics.md says what stands in them.
 */
enum shunt_compat_series {
	SHUNT_COMPAT_TRAEFIK = 1 << 0,
	SHUNT_COMPAT_LINKERD = 1 << 1,
};

struct shunt_compat;

/* @series: enum shunt_compat_series. Return: freed with shunt_compat_free(); NULL: no memory. */
struct shunt_compat *shunt_compat_new(unsigned series);
void shunt_compat_free(struct shunt_compat *compat); /* NULL is fine */

/**
 * shunt_compat_observe - take in what was counted since the last call
 *
 * What was counted before the first call is left out: Traefik's series begin at 0 with each start,
 * as its own do. Call it once at the start, and before each shunt_compat_write().
 *
 * Return: 0 or -ENOMEM; then some variants are not taken in, and are at the next call.
 */
int shunt_compat_observe(struct shunt_compat *compat, const struct shunt_stats *stats);

/*
 * Writes the series of all variants of @stats whose HTTP is looked at, and those of @probes beside
 * them, with a label more: sums take in both, and each begins at 0 by itself.
 */
void shunt_compat_write(const struct shunt_compat *compat, const struct shunt_stats *stats,
			const struct shunt_probe_sum *const *probes, size_t n_probes, FILE *out);

#endif
