// SPDX-License-Identifier: Apache-2.0
#include "metrics/signals.h"

#include <math.h>

#include "shunt/compat.h"

const char *const shunt_code_classes[SHUNT_N_CODE_CLASSES] = {
	"unknown", "1xx", "2xx", "3xx", "4xx", "5xx",
};

uint64_t shunt_responses_good(const uint64_t responses[SHUNT_N_CODE_CLASSES])
{
	return responses[1] + responses[2] + responses[3] + responses[4];
}

uint64_t shunt_responses_known(const uint64_t responses[SHUNT_N_CODE_CLASSES])
{
	return shunt_responses_good(responses) + responses[5];
}

double shunt_success_rate(const uint64_t responses[SHUNT_N_CODE_CLASSES])
{
	uint64_t known = shunt_responses_known(responses);

	return known ? (double)shunt_responses_good(responses) / (double)known : -1;
}

double shunt_time_bound(uint32_t bucket)
{
	return exp2(bucket / 4.0) / 1e6;
}

/* As shunt_stats_quantile(). */
static double quantile(const uint64_t count[SHUNT_TIME_BUCKETS], double q)
{
	uint64_t all = 0, sum = 0;
	double rank;

	for (uint32_t b = 0; b < SHUNT_TIME_BUCKETS; b++)
		all += count[b];
	if (!all)
		return -1;
	/* The nearest rank: the first sample that so many are not above. */
	rank = fmax(1, ceil(q * (double)all));
	for (uint32_t b = 0; b < SHUNT_TIME_BUCKETS; b++) {
		sum += count[b];
		if ((double)sum >= rank)
			return exp2((b + 0.5) / 4) / 1e6;
	}
	return -1;
}

double shunt_stats_quantile(const struct shunt_response_time *times, double q)
{
	uint64_t count[SHUNT_TIME_BUCKETS] = { 0 };

	for (uint32_t b = 0; times && b < SHUNT_TIME_BUCKETS; b++)
		count[b] = SHUNT_READ_ONCE(times[b].responses);
	return quantile(count, q);
}

double shunt_connect_quantile(const struct shunt_connect_time *times, double q)
{
	uint64_t count[SHUNT_TIME_BUCKETS] = { 0 };

	for (uint32_t b = 0; times && b < SHUNT_TIME_BUCKETS; b++)
		count[b] = SHUNT_READ_ONCE(times[b].connections);
	return quantile(count, q);
}

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : now;
}

struct shunt_golden shunt_golden_since(const struct shunt_golden *now,
				       const struct shunt_golden *before)
{
	struct shunt_golden since = { .requests = grown(now->requests, before->requests) };

	for (int i = 0; i < SHUNT_N_CODE_CLASSES; i++)
		since.responses[i] = grown(now->responses[i], before->responses[i]);
	for (int b = 0; b < SHUNT_TIME_BUCKETS; b++)
		since.times[b].responses =
			grown(now->times[b].responses, before->times[b].responses);
	return since;
}
