// SPDX-License-Identifier: Apache-2.0
#include "metrics/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "shunt/compat.h"

#define N_SNAPSHOTS (SHUNT_WINDOW_STEPS + 1) /* the ends of so many steps */

/* Half the size of struct shunt_golden: differences of a minute fit, whatever the counters are. */
struct snapshot {
	uint32_t requests;
	uint32_t responses[SHUNT_N_CODE_CLASSES];
	uint32_t times[SHUNT_TIME_BUCKETS];
};

/* Of one variant. Where it was not there yet all is 0, as its counters were. */
struct history {
	struct shunt_variant_name name;
	struct snapshot at[N_SNAPSHOTS];
};

struct shunt_window {
	struct history **of; /* by variant id; NULL: none */
	size_t n;
	uint64_t taken_ns[N_SNAPSHOTS];
	unsigned n_taken; /* snapshots that are there, the last one at... */
	unsigned last;
};

struct shunt_window *shunt_window_new(void)
{
	return calloc(1, sizeof(struct shunt_window));
}

void shunt_window_free(struct shunt_window *window)
{
	for (size_t i = 0; window && i < window->n; i++)
		free(window->of[i]);
	if (window)
		free(window->of);
	free(window);
}

struct shunt_golden shunt_golden_total(const struct shunt_stats_variant *variant)
{
	struct shunt_golden total = { .requests = variant->total.requests };

	memcpy(total.responses, variant->total.responses, sizeof(total.responses));
	for (int b = 0; variant->times && b < SHUNT_TIME_BUCKETS; b++)
		total.times[b].responses = SHUNT_READ_ONCE(variant->times[b].responses);
	return total;
}

static struct snapshot snapshot_of(const struct shunt_stats_variant *variant)
{
	const struct shunt_golden total = shunt_golden_total(variant);
	struct snapshot snapshot = { .requests = (uint32_t)total.requests };

	for (int i = 0; i < SHUNT_N_CODE_CLASSES; i++)
		snapshot.responses[i] = (uint32_t)total.responses[i];
	for (int b = 0; b < SHUNT_TIME_BUCKETS; b++)
		snapshot.times[b] = (uint32_t)total.times[b].responses;
	return snapshot;
}

static const struct history *find(const struct shunt_window *window,
				  const struct shunt_stats_variant *variant)
{
	const struct history *history = variant->id < window->n ? window->of[variant->id] : NULL;

	/* An id may be given to another variant, whose counters begin at 0. */
	return history && !memcmp(&history->name, &variant->name, sizeof(history->name)) ? history
											 : NULL;
}

/* Return: 0 or -ENOMEM. */
static int make_room(struct shunt_window *window, size_t n)
{
	struct history **of;

	if (n <= window->n)
		return 0;
	of = reallocarray(window->of, n, sizeof(struct history *));
	if (!of)
		return -ENOMEM;
	memset(of + window->n, 0, (n - window->n) * sizeof(struct history *));
	window->of = of;
	window->n = n;
	return 0;
}

/* The variant's history, begun if there is none. NULL: out of memory. */
static struct history *begin(struct shunt_window *window, const struct shunt_stats_variant *variant)
{
	struct history *history = (struct history *)find(window, variant);

	if (history)
		return history;
	if (make_room(window, (size_t)variant->id + 1) < 0)
		return NULL;
	history = window->of[variant->id];
	if (!history)
		history = window->of[variant->id] = malloc(sizeof(*history));
	if (history)
		*history = (struct history){ .name = variant->name };
	return history;
}

static void forget_gone(struct shunt_window *window, const bool *is_there)
{
	for (size_t id = 0; id < window->n; id++)
		if (!is_there[id]) {
			free(window->of[id]);
			window->of[id] = NULL;
		}
}

int shunt_window_add(struct shunt_window *window, const struct shunt_stats *stats, uint64_t now_ns)
{
	unsigned next = window->n_taken ? (window->last + 1) % N_SNAPSHOTS : 0;
	CLEANUP(freep) bool *is_there = NULL;

	for (size_t v = 0; v < stats->n_variants; v++)
		if (stats->variants[v].is_http && !begin(window, &stats->variants[v]))
			return -ENOMEM;
	is_there = calloc(window->n + 1, sizeof(*is_there));
	if (!is_there)
		return -ENOMEM;
	for (size_t v = 0; v < stats->n_variants; v++) {
		const struct shunt_stats_variant *variant = &stats->variants[v];

		if (!variant->is_http)
			continue;
		window->of[variant->id]->at[next] = snapshot_of(variant);
		is_there[variant->id] = true;
	}
	forget_gone(window, is_there);
	window->taken_ns[next] = now_ns;
	window->last = next;
	if (window->n_taken < N_SNAPSHOTS)
		window->n_taken++;
	return 0;
}

int shunt_window_tick(struct shunt_window *window, const struct shunt_dp_maps *maps,
		      uint64_t now_ns)
{
	CLEANUP(shunt_stats_free) struct shunt_stats stats = { 0 };
	int r;

	if (window->n_taken &&
	    now_ns - window->taken_ns[window->last] < SHUNT_WINDOW_STEP_S * 1000000000ull)
		return 0;
	r = shunt_stats_collect_variants(maps, &stats);
	return r < 0 ? r : shunt_window_add(window, &stats, now_ns);
}

/* Counters of 32 bits go round; one that has grown by half of that began anew instead. */
static uint64_t grown(uint64_t now, uint32_t before)
{
	uint32_t difference = (uint32_t)now - before;

	return difference < 1u << 31 ? difference : now;
}

struct shunt_golden shunt_window_get(const struct shunt_window *window,
				     const struct shunt_stats_variant *variant, uint64_t now_ns,
				     double *ret_seconds)
{
	static const struct snapshot nothing;
	unsigned oldest = window->n_taken < N_SNAPSHOTS ? 0 : (window->last + 1) % N_SNAPSHOTS;
	const struct history *history = find(window, variant);
	const struct snapshot *before = history ? &history->at[oldest] : &nothing;
	struct shunt_golden since = shunt_golden_total(variant);

	if (!window->n_taken) {
		*ret_seconds = 0;
		return (struct shunt_golden){ 0 };
	}
	since.requests = grown(since.requests, before->requests);
	for (int i = 0; i < SHUNT_N_CODE_CLASSES; i++)
		since.responses[i] = grown(since.responses[i], before->responses[i]);
	for (int b = 0; b < SHUNT_TIME_BUCKETS; b++)
		since.times[b].responses = grown(since.times[b].responses, before->times[b]);
	*ret_seconds = (double)(now_ns - window->taken_ns[oldest]) / 1e9;
	return since;
}
