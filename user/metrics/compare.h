/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_COMPARE_H
#define SHUNT_METRICS_COMPARE_H

#include "base/stats.h"
#include "metrics/signals.h"

/*
 * Is one variant better than another, or is it chance? Judged by the responses that both have
 * given, with intervals that hold 95 times of 100. Responses are taken as independent of each
 * other: where failures come in bursts, the intervals are narrower than the truth.
 */

/* Responses of each variant below which nothing is said, of a 99th percentile more are needed. */
#define SHUNT_COMPARE_MIN     100
#define SHUNT_COMPARE_MIN_P99 500

enum shunt_verdict {
	SHUNT_VERDICT_TOO_FEW,
	SHUNT_VERDICT_NO_DIFFERENCE, /* shown: there may be one that is smaller than the intervals
				      */
	SHUNT_VERDICT_DIFFERENT,
};

/* One measure of both variants. */
struct shunt_compared {
	enum shunt_verdict verdict;
	int better;    /* DIFFERENT: index of the better variant */
	uint64_t n[2]; /* responses that it is of */
	uint64_t needed;
	double value[2];		/* share or seconds; negative: none */
	struct shunt_interval range[2]; /* of 95 %; seconds may end at INFINITY: not known */
};

struct shunt_comparison {
	struct shunt_compared success; /* below 500, of the responses whose code is known */
	struct shunt_interval success_difference; /* second minus first */
	struct shunt_compared p50, p99;
	uint64_t unknown[2], responses[2]; /* codes that could not be told, of all */
};

/**
 * shunt_compare - judge two variants
 * @variants: what each of them was asked and has answered
 *
 * Success rates differ if the interval of their difference leaves out 0. Quantiles differ if their
 * intervals neither overlap nor touch, which by chance happens less than once in 100 times. The
 * intervals take in the width of the histogram's buckets: what differs by less than 19 % is not
 * shown.
 */
struct shunt_comparison shunt_compare(const struct shunt_golden variants[2]);

#endif
