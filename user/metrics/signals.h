/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_SIGNALS_H
#define SHUNT_METRICS_SIGNALS_H

#include "shunt/abi.h"
#include "shunt/histogram.h"

/*
 * The golden signals of one variant's plaintext HTTP, as counted by the kernel: since the counters
 * began, or the difference of two moments. A value: copied, owned by nobody.
 */
struct shunt_golden {
	uint64_t requests;
	uint64_t responses[SHUNT_N_CODE_CLASSES]; /* n: codes n00 to n99; 0: code not to be told */
	struct shunt_response_time times[SHUNT_TIME_BUCKETS];
};

/* What came between two moments. A counter that has fallen began anew: all of it came since. */
struct shunt_golden shunt_golden_since(const struct shunt_golden *now,
				       const struct shunt_golden *before);

/* "2xx" of class 2; of 0 "unknown". For JSON and metrics. */
extern const char *const shunt_code_classes[SHUNT_N_CODE_CLASSES];

/* Responses whose code could be told, and those of them below 500: the successes. */
uint64_t shunt_responses_known(const uint64_t responses[SHUNT_N_CODE_CLASSES]);
uint64_t shunt_responses_good(const uint64_t responses[SHUNT_N_CODE_CLASSES]);

/* Successes among the responses whose code is known. Return: 0..1; negative: there are none. */
double shunt_success_rate(const uint64_t responses[SHUNT_N_CODE_CLASSES]);

/**
 * shunt_stats_quantile - the time that a share of the responses did not exceed
 * @times: SHUNT_TIME_BUCKETS; NULL: none
 * @q:     0..1
 *
 * Return: seconds, within 9.1 % of the true one; negative: there are none.
 */
double shunt_stats_quantile(const struct shunt_response_time *times, double q);

/* The same of the times from SYN to SYN-ACK. */
double shunt_connect_quantile(const struct shunt_connect_time *times, double q);

/* Where bucket @bucket begins, in seconds; where SHUNT_TIME_BUCKETS would is where the last ends.
 */
double shunt_time_bound(uint32_t bucket);

#endif
