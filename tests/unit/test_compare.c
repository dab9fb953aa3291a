// SPDX-License-Identifier: Apache-2.0
/* Is one variant better than another, or is it chance? */
#include <criterion/criterion.h>
#include <math.h>

#include "metrics/compare.h"

static struct shunt_golden sides[2];

/* @n responses of side @v: code class @class, so many microseconds. */
static void answer(int v, uint64_t n, int class, uint32_t us)
{
	sides[v].requests += n;
	sides[v].responses[class] += n;
	sides[v].times[shunt_time_bucket(us)].responses += n;
}

Test(compare, errors_that_are_no_chance)
{
	struct shunt_comparison got;

	answer(0, 995, 2, 1000);
	answer(0, 5, 5, 1000);
	answer(1, 950, 2, 1000);
	answer(1, 50, 5, 1000);
	got = shunt_compare(sides);
	cr_expect_eq(got.success.verdict, SHUNT_VERDICT_DIFFERENT);
	cr_expect_eq(got.success.better, 0);
	cr_expect_float_eq(got.success.value[1], 0.95, 1e-12);
	cr_expect_lt(got.success_difference.high, 0.0);
	cr_expect_eq(got.p50.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
	cr_expect_eq(got.p99.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
}

Test(compare, few_more_errors_may_be_chance)
{
	struct shunt_comparison got;

	answer(0, 990, 2, 1000);
	answer(0, 10, 5, 1000);
	answer(1, 197, 2, 1000);
	answer(1, 3, 5, 1000);
	got = shunt_compare(sides);
	cr_expect_eq(got.success.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
}

Test(compare, no_errors_at_all_in_both_is_no_difference)
{
	struct shunt_comparison got;

	answer(0, 100000, 2, 1000);
	answer(1, 100, 2, 1000);
	got = shunt_compare(sides);
	cr_expect_eq(got.success.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
	cr_expect_eq(got.p50.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
	cr_expect_eq(got.p99.verdict, SHUNT_VERDICT_TOO_FEW, "100 are too few for it");
}

Test(compare, below_the_minimum_nothing_is_said)
{
	struct shunt_comparison got;

	answer(0, 100000, 2, 1000);
	answer(1, SHUNT_COMPARE_MIN - 1, 5, 1000000);
	got = shunt_compare(sides);
	cr_expect_eq(got.success.verdict, SHUNT_VERDICT_TOO_FEW);
	cr_expect_eq(got.p50.verdict, SHUNT_VERDICT_TOO_FEW);
	answer(1, 1, 5, 1000000);
	got = shunt_compare(sides);
	cr_expect_eq(got.success.verdict, SHUNT_VERDICT_DIFFERENT);
	cr_expect_eq(got.p50.verdict, SHUNT_VERDICT_DIFFERENT);
	cr_expect_eq(got.p50.better, 0);
}

Test(compare, of_nothing_there_is_no_value)
{
	struct shunt_comparison got = shunt_compare(sides);

	cr_expect_lt(got.success.value[0], 0.0);
	cr_expect_lt(got.p99.value[1], 0.0);
	cr_expect_eq(got.success.verdict, SHUNT_VERDICT_TOO_FEW);
	cr_expect_eq(got.p99.verdict, SHUNT_VERDICT_TOO_FEW);
}

Test(compare, a_tail_differs_where_the_middle_does_not)
{
	struct shunt_comparison got;

	answer(0, 5000, 2, 10000);
	answer(1, 4850, 2, 10000);
	answer(1, 150, 2, 800000);
	got = shunt_compare(sides);
	cr_expect_eq(got.p50.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
	cr_expect_eq(got.p99.verdict, SHUNT_VERDICT_DIFFERENT);
	cr_expect_eq(got.p99.better, 0);
	cr_expect(got.p99.value[1] > 0.72 && got.p99.value[1] < 0.88, "%f", got.p99.value[1]);
	cr_expect(got.p99.range[1].low <= 0.8 && got.p99.range[1].high >= 0.8);
}

Test(compare, the_second_may_be_the_better)
{
	struct shunt_comparison got;

	answer(0, 900, 2, 40000);
	answer(0, 100, 5, 40000);
	answer(1, 1000, 2, 20000);
	got = shunt_compare(sides);
	cr_expect_eq(got.success.verdict, SHUNT_VERDICT_DIFFERENT);
	cr_expect_eq(got.success.better, 1);
	cr_expect_eq(got.p50.verdict, SHUNT_VERDICT_DIFFERENT);
	cr_expect_eq(got.p50.better, 1);
}

Test(compare, unknown_codes_are_in_no_success_rate)
{
	struct shunt_comparison got;

	answer(0, 1000, 2, 1000);
	answer(1, 150, 2, 1000);
	answer(1, 5000, 0, 1000);
	got = shunt_compare(sides);
	cr_expect_eq(got.success.n[1], 150);
	cr_expect_eq(got.unknown[1], 5000);
	cr_expect_eq(got.responses[1], 5150);
	cr_expect_eq(got.success.value[1], 1.0);
	cr_expect_eq(got.success.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
}

Test(compare, what_has_no_upper_end_says_so)
{
	struct shunt_comparison got;

	answer(0, 1000, 2, 4294967295u);
	answer(1, 1000, 2, 0);
	got = shunt_compare(sides);
	cr_expect(isinf(got.p50.range[0].high));
	cr_expect_eq(got.p50.range[1].low, 0.0);
	cr_expect_eq(got.p50.verdict, SHUNT_VERDICT_DIFFERENT);
}

Test(compare, neighbours_at_the_edge_of_a_bucket_are_not_called_different)
{
	struct shunt_comparison got;

	/* 1023 us and 1024 us are in two buckets. */
	answer(0, 1000000, 2, 1023);
	answer(1, 1000000, 2, 1024);
	got = shunt_compare(sides);
	cr_expect_lt(got.p50.value[0], got.p50.value[1]);
	cr_expect_eq(got.p50.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
	cr_expect_eq(got.p99.verdict, SHUNT_VERDICT_NO_DIFFERENCE);
}

/* Two draws from one population differ by chance only: how often are they called different? */
Test(compare, equal_variants_are_seldom_called_different)
{
	int success = 0, p50 = 0, p99 = 0, rounds = 1000;
	uint64_t state = 20261123;

	for (int round = 0; round < rounds; round++) {
		struct shunt_comparison got;

		sides[0] = sides[1] = (struct shunt_golden){ 0 };
		for (int i = 0; i < 2000; i++) {
			double draw;

			state = state * 6364136223846793005ull + 1442695040888963407ull;
			draw = (double)(state >> 11) / 9007199254740992.0;
			/* 3 % errors, and times that spread over some octaves. */
			answer(i % 2, 1, fmod(draw * 1000, 1) < 0.03 ? 5 : 2,
			       (uint32_t)(1000 / (1.0001 - draw)));
		}
		got = shunt_compare(sides);
		success += got.success.verdict == SHUNT_VERDICT_DIFFERENT;
		p50 += got.p50.verdict == SHUNT_VERDICT_DIFFERENT;
		p99 += got.p99.verdict == SHUNT_VERDICT_DIFFERENT;
	}
	cr_expect(success < rounds * 7 / 100, "%d", success);
	cr_expect(p50 < rounds / 100, "%d", p50);
	cr_expect(p99 < rounds / 100, "%d", p99);
}
