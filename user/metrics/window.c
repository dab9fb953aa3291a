// SPDX-License-Identifier: Apache-2.0
#include "metrics/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "metrics/by_variant.h"
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
	struct shunt_by_variant histories;
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
	if (window)
		shunt_by_variant_free(&window->histories);
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

int shunt_window_add(struct shunt_window *window, const struct shunt_stats *stats, uint64_t now_ns)
{
	unsigned next = window->n_taken ? (window->last + 1) % N_SNAPSHOTS : 0;
	struct history *history;
	int r;

	for (size_t v = 0; v < stats->n_variants; v++) {
		if (!stats->variants[v].is_http)
			continue;
		history = shunt_by_variant_add(&window->histories, &stats->variants[v],
					       sizeof(*history));
		if (!history)
			return -ENOMEM;
		history->at[next] = snapshot_of(&stats->variants[v]);
	}
	r = shunt_by_variant_keep_http(&window->histories, stats);
	if (r < 0)
		return r;
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
	const struct history *history = shunt_by_variant_get(&window->histories, variant);
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
