// SPDX-License-Identifier: Apache-2.0
/* Confidence intervals, against the numbers of those who published them. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/cleanup.h"
#include "base/stats.h"

/* Both ends to the four decimals of a table. */
static void assert_interval(struct shunt_interval got, double low, double high, const char *of)
{
	cr_expect(fabs(got.low - low) < 5.1e-5 && fabs(got.high - high) < 5.1e-5,
		  "%s: %.6f to %.6f, want %.4f to %.4f", of, got.low, got.high, low, high);
}

Test(stats, a_share_has_the_interval_of_wilson)
{
	/* R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3. */
	assert_interval(shunt_share_interval(81, 263, SHUNT_Z_95), 0.2553, 0.3662, "81/263");
	assert_interval(shunt_share_interval(15, 148, SHUNT_Z_95), 0.0624, 0.1605, "15/148");
	assert_interval(shunt_share_interval(0, 20, SHUNT_Z_95), 0, 0.1611, "0/20");
	assert_interval(shunt_share_interval(1, 29, SHUNT_Z_95), 0.0061, 0.1718, "1/29");
}

Test(stats, a_share_of_nothing_may_be_anything_and_ends_are_exact)
{
	assert_interval(shunt_share_interval(0, 0, SHUNT_Z_95), 0, 1, "0/0");
	cr_expect_eq(shunt_share_interval(7, 7, SHUNT_Z_95).high, 1.0);
	cr_expect_eq(shunt_share_interval(0, 1000000, SHUNT_Z_95).low, 0.0);
}

Test(stats, a_difference_has_the_interval_of_newcombe)
{
	static const struct {
		uint64_t hits_b, n_b, hits_a, n_a;
		double low, high;
	} cases[] = {
		/* Statistics in Medicine 17 (1998) 873-890, table II, method 10: b minus a. */
		{ 56, 70, 48, 80, 0.0524, 0.3339 }, { 9, 10, 3, 10, 0.1705, 0.8090 },
		{ 6, 7, 2, 7, 0.0582, 0.8062 },	    { 5, 56, 0, 29, -0.0381, 0.1926 },
		{ 0, 10, 0, 20, -0.1611, 0.2775 },  { 0, 10, 0, 10, -0.2775, 0.2775 },
		{ 10, 10, 0, 20, 0.6791, 1 },	    { 10, 10, 0, 10, 0.6075, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_interval(shunt_difference_interval(cases[i].hits_a, cases[i].n_a,
							  cases[i].hits_b, cases[i].n_b,
							  SHUNT_Z_95),
				cases[i].low, cases[i].high, "a row of table II");
	assert_interval(shunt_difference_interval(1, 2, 0, 0, SHUNT_Z_95), -1, 1, "of nothing");
}

Test(stats, quantiles_have_the_ranks_of_the_binomial_distribution)
{
	static const struct {
		uint64_t n;
		double q;
		uint64_t low, high;
	} cases[] = {
		/* From sums of exact fractions; those of the median are in every table of it. */
		{ 5, 0.5, 0, 6 },	 { 6, 0.5, 1, 6 },	   { 10, 0.5, 2, 9 },
		{ 25, 0.5, 8, 18 },	 { 100, 0.5, 40, 61 },	   { 1000, 0.5, 469, 532 },
		{ 100, 0.99, 97, 101 },	 { 367, 0.99, 359, 368 },  { 368, 0.99, 360, 368 },
		{ 500, 0.99, 490, 500 }, { 1000, 0.99, 983, 997 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct shunt_ranks got = shunt_quantile_ranks(cases[i].n, cases[i].q, 0.05);

		cr_expect(got.low == cases[i].low && got.high == cases[i].high,
			  "%zu at %f: %zu to %zu", (size_t)cases[i].n, cases[i].q, (size_t)got.low,
			  (size_t)got.high);
	}
}

Test(stats, very_many_observations_are_as_the_normal_distribution_has_them)
{
	static const uint64_t sizes[] = { 1000000, 1000000000, 1000000000000 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		double n = (double)sizes[i], sd = sqrt(n * 0.99 * 0.01);
		struct shunt_ranks got = shunt_quantile_ranks(sizes[i], 0.99, 0.05);

		cr_expect_lt(fabs((double)got.low - (n * 0.99 - SHUNT_Z_95 * sd)), 2 + sd / 1000);
		cr_expect_lt(fabs((double)got.high - (n * 0.99 + SHUNT_Z_95 * sd)), 2 + sd / 1000);
	}
}

Test(stats, no_observation_is_on_neither_side)
{
	struct shunt_ranks got = shunt_quantile_ranks(0, 0.5, 0.05);

	cr_expect(got.low == 0 && got.high == 1);
}

/* A small generator, for the test is to be the same each time. */
static double uniform(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (double)(*state >> 11) / 9007199254740992.0;
}

Test(stats, the_truth_is_inside_95_times_of_100)
{
	uint64_t state = 20261123, hits[2];
	int share = 0, difference = 0;

	for (int round = 0; round < 2000; round++) {
		struct shunt_interval got;

		hits[0] = hits[1] = 0;
		for (int i = 0; i < 400; i++) {
			hits[0] += uniform(&state) < 0.97;
			hits[1] += uniform(&state) < 0.99;
		}
		got = shunt_share_interval(hits[0], 400, SHUNT_Z_95);
		share += got.low <= 0.97 && 0.97 <= got.high;
		got = shunt_difference_interval(hits[0], 400, hits[1], 400, SHUNT_Z_95);
		difference += got.low <= 0.02 && 0.02 <= got.high;
	}
	cr_expect(share > 1860 && share < 1950, "%d of 2000", share);
	cr_expect(difference > 1860 && difference < 1950, "%d of 2000", difference);
}
