// SPDX-License-Identifier: Apache-2.0
#include "base/stats.h"

#include <math.h>

struct shunt_interval shunt_share_interval(uint64_t hits, uint64_t n, double z)
{
	double size = (double)n, share, middle, half, scale;

	if (!n)
		return (struct shunt_interval){ 0, 1 };
	share = (double)hits / size;
	scale = 1 + z * z / size;
	middle = (share + z * z / (2 * size)) / scale;
	half = z / scale * sqrt(share * (1 - share) / size + z * z / (4 * size * size));
	/* At the ends rounding would leave something of the order of 1e-17. */
	return (struct shunt_interval){ hits ? fmax(0, middle - half) : 0,
					hits < n ? fmin(1, middle + half) : 1 };
}

struct shunt_interval shunt_difference_interval(uint64_t hits_a, uint64_t n_a, uint64_t hits_b,
						uint64_t n_b, double z)
{
	struct shunt_interval a = shunt_share_interval(hits_a, n_a, z);
	struct shunt_interval b = shunt_share_interval(hits_b, n_b, z);
	double share_a, share_b, difference;

	if (!n_a || !n_b)
		return (struct shunt_interval){ -1, 1 };
	share_a = (double)hits_a / (double)n_a;
	share_b = (double)hits_b / (double)n_b;
	difference = share_b - share_a;
	return (struct shunt_interval){
		difference - hypot(share_b - b.low, a.high - share_a),
		difference + hypot(b.high - share_b, share_a - a.low),
	};
}

/* log of the chance that @k of @n observations are below the quantile @q. */
static double log_binomial(double n, double k, double q)
{
	return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(q) + (n - k) * log1p(-q);
}

/* The largest k for which at most k observations are below @q by a chance of @error or less; -1:
 * none. */
static double lower_tail(double n, double q, double error)
{
	/* Twelve standard deviations below the mean there is nothing that double can add up. */
	double k = fmax(0, floor(n * q - 12 * sqrt(n * q * (1 - q)) - 12));
	double chance = exp(log_binomial(n, k, q)), sum = chance;

	if (sum > error)
		return -1;
	for (; k < n; k++) {
		chance *= (n - k) / (k + 1) * q / (1 - q);
		if (sum + chance > error)
			break;
		sum += chance;
	}
	return k;
}

struct shunt_ranks shunt_quantile_ranks(uint64_t n, double q, double error)
{
	/* So few are below it, or, counted from the other end, above it, by chance only. */
	double low = lower_tail((double)n, q, error / 2);
	double high = lower_tail((double)n, 1 - q, error / 2);

	return (struct shunt_ranks){ (uint64_t)(low + 1), n - (uint64_t)(high + 1) + 1 };
}
