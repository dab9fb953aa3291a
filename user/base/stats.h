/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_STATS_H
#define SHUNT_BASE_STATS_H

#include <stdint.h>

/*
 * Confidence intervals, without a model of what is measured: of shares, of their difference and
 * of quantiles. All take each observation for independent of the others. Pure functions.
 */
#define SHUNT_Z_95 1.959963984540054 /* a standard normal is within it 95 times of 100 */

struct shunt_interval {
	double low, high;
};

/**
 * shunt_share_interval - what the true share may be, after @hits of @n
 * @z: SHUNT_Z_95 and the like
 *
 * The score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical
 * inference", JASA 22 (1927) 209-212: right for few, no and all hits, too.
 *
 * Return: within 0..1; 0..1 if @n is 0.
 */
struct shunt_interval shunt_share_interval(uint64_t hits, uint64_t n, double z);

/**
 * shunt_difference_interval - what the second true share may be above the first
 *
 * R. G. Newcombe, "Interval estimation for the difference between independent proportions",
 * Statistics in Medicine 17 (1998) 873-890, method 10: from the two score intervals.
 *
 * Return: within -1..1; -1..1 if one of the numbers is 0.
 */
struct shunt_interval shunt_difference_interval(uint64_t hits_a, uint64_t n_a, uint64_t hits_b,
						uint64_t n_b, double z);

/* Ranks, from 1, of observations in ascending order. */
struct shunt_ranks {
	uint64_t low;  /* 0: no observation is below the quantile for sure enough */
	uint64_t high; /* n + 1: none is above it */
};

/**
 * shunt_quantile_ranks - the observations between which the true quantile is
 * @n: observations
 * @q: the quantile, 0..1, both excluded
 * @error: the chance to be wrong, at most half of it on either side: 0.05
 *
 * From the binomial distribution of the number of observations below the quantile, exactly,
 * whatever they are distributed like: W. J. Conover, "Practical Nonparametric Statistics", 3rd ed.
 * (1999), 3.2. Takes some 20 sqrt(@n q (1 - q)) multiplications.
 */
struct shunt_ranks shunt_quantile_ranks(uint64_t n, double q, double error);

#endif
