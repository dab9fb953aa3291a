// SPDX-License-Identifier: Apache-2.0
/* The golden signals of the last minute, from snapshots of counters. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "metrics/window.h"

#define SECOND 1000000000ull
#define STEP   (SHUNT_WINDOW_STEP_S * SECOND)

static struct shunt_response_time times[SHUNT_TIME_BUCKETS];
static struct shunt_stats_variant blue = {
	.id = 3,
	.name = { "shop", "web", "blue", 80 << 8, IPPROTO_TCP, { 0 } },
	.is_http = true,
	.times = times,
};

/* @n more responses with a code of @class, in bucket @bucket. */
static void answer(int class, uint64_t n, int bucket)
{
	blue.total.requests += n;
	blue.total.responses[class] += n;
	times[bucket].responses += n;
}

static void snapshot(struct shunt_window *window, uint64_t now_ns)
{
	const struct shunt_stats stats = { .variants = &blue, .n_variants = 1 };

	cr_assert_eq(shunt_window_add(window, &stats, now_ns), 0);
}

static struct shunt_golden get(const struct shunt_window *window, uint64_t now_ns, double seconds)
{
	double got_seconds;
	struct shunt_golden got = shunt_window_get(window, &blue, now_ns, &got_seconds);

	cr_expect_float_eq(got_seconds, seconds, 1e-9, "%f s", got_seconds);
	return got;
}

Test(window, nothing_is_known_before_the_first_snapshot)
{
	struct shunt_window *window = shunt_window_new();

	answer(2, 10, 40);
	cr_expect_eq(get(window, 7 * SECOND, 0).requests, 0);
	shunt_window_free(window);
}

Test(window, what_was_counted_before_the_first_snapshot_is_not_in_it)
{
	struct shunt_window *window = shunt_window_new();
	struct shunt_golden got;

	answer(5, 1000, 80);
	snapshot(window, 100 * SECOND);
	answer(2, 7, 40);
	got = get(window, 103 * SECOND, 3);
	cr_expect_eq(got.requests, 7);
	cr_expect_eq(got.responses[2], 7);
	cr_expect_eq(got.responses[5], 0);
	cr_expect_eq(got.times[40].responses, 7);
	cr_expect_eq(got.times[80].responses, 0);
	shunt_window_free(window);
}

Test(window, a_step_falls_out_after_a_minute)
{
	struct shunt_window *window = shunt_window_new();

	for (uint64_t step = 0; step < 20; step++) {
		uint64_t in_ring = step < SHUNT_WINDOW_STEPS ? step : SHUNT_WINDOW_STEPS;

		snapshot(window, step * STEP);
		cr_expect_eq(
			get(window, step * STEP + SECOND, (double)in_ring * SHUNT_WINDOW_STEP_S + 1)
				.responses[2],
			10 * in_ring, "step %zu", (size_t)step);
		answer(2, 10, 40);
	}
	shunt_window_free(window);
}

Test(window, a_variant_that_is_new_had_nothing_before)
{
	const struct shunt_stats nobody = { 0 };
	struct shunt_window *window = shunt_window_new();

	cr_assert_eq(shunt_window_add(window, &nobody, 5 * SECOND), 0);
	answer(2, 4, 40);
	cr_expect_eq(get(window, 8 * SECOND, 3).requests, 4);
	snapshot(window, 15 * SECOND);
	answer(2, 1, 40);
	cr_expect_eq(get(window, 16 * SECOND, 11).requests, 5);
	shunt_window_free(window);
}

Test(window, an_id_that_is_given_to_another_variant_begins_anew)
{
	struct shunt_window *window = shunt_window_new();

	answer(5, 500, 90);
	snapshot(window, SECOND);
	strcpy(blue.name.variant, "green");
	memset(&blue.total, 0, sizeof(blue.total));
	memset(times, 0, sizeof(times));
	answer(2, 3, 40);
	cr_expect_eq(get(window, 2 * SECOND, 1).requests, 3);
	cr_expect_eq(get(window, 2 * SECOND, 1).responses[5], 0);
	snapshot(window, 11 * SECOND);
	answer(2, 2, 40);
	cr_expect_eq(get(window, 12 * SECOND, 11).requests, 5);
	shunt_window_free(window);
}

Test(window, counters_beyond_32_bits_and_ones_that_began_anew)
{
	struct shunt_window *window = shunt_window_new();

	answer(2, (1ull << 32) - 5, 40);
	snapshot(window, SECOND);
	answer(2, 12, 40);
	cr_expect_eq(get(window, 2 * SECOND, 1).responses[2], 12);
	cr_expect_eq(get(window, 2 * SECOND, 1).times[40].responses, 12);
	/* 10 before, 3 now. */
	blue.total.responses[2] = 10;
	for (int step = 2; step < 9; step++)
		snapshot(window, step * STEP);
	blue.total.responses[2] = 3;
	cr_expect_eq(get(window, 81 * SECOND, 61).responses[2], 3, "it has fallen");
	shunt_window_free(window);
}

Test(window, a_variant_that_is_gone_is_forgotten)
{
	const struct shunt_stats nobody = { 0 };
	struct shunt_window *window = shunt_window_new();

	answer(2, 100, 40);
	snapshot(window, SECOND);
	cr_assert_eq(shunt_window_add(window, &nobody, 11 * SECOND), 0);
	/* Back, with the same name and id, and counters that began anew. */
	memset(&blue.total, 0, sizeof(blue.total));
	memset(times, 0, sizeof(times));
	answer(2, 6, 40);
	cr_expect_eq(get(window, 12 * SECOND, 11).requests, 6);
	shunt_window_free(window);
}

Test(window, what_came_between_two_moments)
{
	struct shunt_golden before = { .requests = 5, .responses = { 0, 0, 5 } }, now = before;
	struct shunt_golden since;

	before.times[10].responses = 5;
	now.requests = 9;
	now.responses[5] = 4;
	now.times[10].responses = 2;
	since = shunt_golden_since(&now, &before);
	cr_expect_eq(since.requests, 4);
	cr_expect_eq(since.responses[2], 0);
	cr_expect_eq(since.responses[5], 4);
	cr_expect_eq(since.times[10].responses, 2, "fallen: it began anew");
}
