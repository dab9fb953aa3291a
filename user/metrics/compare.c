// SPDX-License-Identifier: Apache-2.0
#include "metrics/compare.h"

#include <math.h>
#include <stdbool.h>

#define ERROR 0.05

static bool are_too_few(const struct shunt_compared *compared)
{
	return compared->n[0] < compared->needed || compared->n[1] < compared->needed;
}

static struct shunt_compared compare_success(const struct shunt_golden variants[2],
					     struct shunt_interval *ret_difference)
{
	struct shunt_compared success = { .needed = SHUNT_COMPARE_MIN };
	uint64_t good[2];

	for (int v = 0; v < 2; v++) {
		success.n[v] = shunt_responses_known(variants[v].responses);
		success.value[v] = shunt_success_rate(variants[v].responses);
		good[v] = shunt_responses_good(variants[v].responses);
		success.range[v] = shunt_share_interval(good[v], success.n[v], SHUNT_Z_95);
	}
	*ret_difference =
		shunt_difference_interval(good[0], success.n[0], good[1], success.n[1], SHUNT_Z_95);
	if (are_too_few(&success))
		success.verdict = SHUNT_VERDICT_TOO_FEW;
	else if (ret_difference->low > 0 || ret_difference->high < 0)
		success.verdict = SHUNT_VERDICT_DIFFERENT;
	else
		success.verdict = SHUNT_VERDICT_NO_DIFFERENCE;
	success.better = ret_difference->low > 0;
	return success;
}

/* The bucket that has the response of rank @rank, or SHUNT_TIME_BUCKETS. */
static uint32_t bucket_of_rank(const struct shunt_response_time *times, uint64_t rank)
{
	uint32_t bucket = 0;

	for (; bucket < SHUNT_TIME_BUCKETS; bucket++) {
		if (times[bucket].responses >= rank)
			break;
		rank -= times[bucket].responses;
	}
	return bucket;
}

/* From the beginning of one observation's bucket to the end of another's. */
static struct shunt_interval quantile_interval(const struct shunt_response_time *times, uint64_t n,
					       double q)
{
	struct shunt_ranks ranks = shunt_quantile_ranks(n, q, ERROR);

	uint32_t low = ranks.low ? bucket_of_rank(times, ranks.low) : 0;
	uint32_t end = ranks.high <= n ? bucket_of_rank(times, ranks.high) + 1 : SHUNT_TIME_BUCKETS;

	/* The first bucket begins at 0, and the last has no end. */
	return (struct shunt_interval){
		.low = low ? shunt_time_bound(low) : 0,
		.high = end < SHUNT_TIME_BUCKETS ? shunt_time_bound(end) : INFINITY,
	};
}

static struct shunt_compared compare_quantile(const struct shunt_golden variants[2], double q,
					      uint64_t needed)
{
	struct shunt_compared compared = { .needed = needed };

	for (int v = 0; v < 2; v++) {
		for (int b = 0; b < SHUNT_TIME_BUCKETS; b++)
			compared.n[v] += variants[v].times[b].responses;
		compared.value[v] = shunt_stats_quantile(variants[v].times, q);
		compared.range[v] = quantile_interval(variants[v].times, compared.n[v], q);
	}
	if (are_too_few(&compared))
		compared.verdict = SHUNT_VERDICT_TOO_FEW;
	else if (compared.range[0].high < compared.range[1].low ||
		 compared.range[1].high < compared.range[0].low)
		compared.verdict = SHUNT_VERDICT_DIFFERENT;
	else
		compared.verdict = SHUNT_VERDICT_NO_DIFFERENCE;
	compared.better = compared.value[1] < compared.value[0];
	return compared;
}

struct shunt_comparison shunt_compare(const struct shunt_golden variants[2])
{
	struct shunt_comparison comparison = {
		.p50 = compare_quantile(variants, 0.5, SHUNT_COMPARE_MIN),
		.p99 = compare_quantile(variants, 0.99, SHUNT_COMPARE_MIN_P99),
	};

	comparison.success = compare_success(variants, &comparison.success_difference);
	for (int v = 0; v < 2; v++) {
		comparison.unknown[v] = variants[v].responses[0];
		comparison.responses[v] =
			variants[v].responses[0] + shunt_responses_known(variants[v].responses);
	}
	return comparison;
}
