/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_WINDOW_H
#define SHUNT_METRICS_WINDOW_H

#include "metrics/collect.h"
#include "metrics/signals.h"

/*
 * The golden signals of the last minute, from snapshots of the kernel's counters every ten
 * seconds: 50 to 60 s, as many as there were since the agent's start, 4 KiB for each variant whose
 * plaintext HTTP is looked at. Used by the agent's loop only.
 */
#define SHUNT_WINDOW_STEP_S 10
#define SHUNT_WINDOW_STEPS  6

struct shunt_window;

/* Return: an empty window, freed with shunt_window_free(); NULL: out of memory. */
struct shunt_window *shunt_window_new(void);
void shunt_window_free(struct shunt_window *window); /* NULL is fine */

/**
 * shunt_window_tick - take a snapshot if it is time for one
 * @now_ns: CLOCK_MONOTONIC
 *
 * About a microsecond for each backend when it is time, else nothing.
 *
 * Return: 0; -errno: the snapshot was not taken, and is tried again at the next call.
 */
int shunt_window_tick(struct shunt_window *window, const struct shunt_dp_maps *maps,
		      uint64_t now_ns);

/* As shunt_window_tick(), of counters that were read already, whatever the time. */
int shunt_window_add(struct shunt_window *window, const struct shunt_stats *stats, uint64_t now_ns);

/**
 * shunt_window_get - what a variant was asked and answered since the oldest snapshot
 * @variant: as it is now
 * @ret_seconds: how long that is; 0 before the first snapshot
 */
struct shunt_golden shunt_window_get(const struct shunt_window *window,
				     const struct shunt_stats_variant *variant, uint64_t now_ns,
				     double *ret_seconds);

/* What @variant's counters say, since they began. */
struct shunt_golden shunt_golden_total(const struct shunt_stats_variant *variant);

#endif
