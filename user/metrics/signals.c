// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "metrics/collect.h"
#include "shunt/compat.h"
#include "shunt/histogram.h"

uint64_t shunt_stats_good(const struct shunt_counters *counters)
{
	return counters->responses[1] + counters->responses[2] + counters->responses[3] +
	       counters->responses[4];
}

uint64_t shunt_stats_known(const struct shunt_counters *counters)
{
	return shunt_stats_good(counters) + counters->responses[5];
}

double shunt_stats_quantile(const struct shunt_response_time *times, double q)
{
	uint64_t count[SHUNT_TIME_BUCKETS], all = 0, sum = 0;
	double rank;

	for (uint32_t b = 0; times && b < SHUNT_TIME_BUCKETS; b++) {
		count[b] = SHUNT_READ_ONCE(times[b].responses);
		all += count[b];
	}
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
