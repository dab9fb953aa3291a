// SPDX-License-Identifier: Apache-2.0
#include "policy/rate.h"

#include <errno.h>

#define NS_PER_MS   1000000ull
#define NS_PER_S    1000000000ull
#define NS_PER_YEAR (365 * 24 * 3600 * NS_PER_S)

/* What a unit may be early: golang.org/x/time/rate's reservation as Traefik bounds it. */
static uint64_t tolerance_ns(uint64_t average, uint64_t period_ns)
{
	unsigned __int128 per_second = (unsigned __int128)average * NS_PER_S / period_ns;

	return per_second ? NS_PER_S / (2 * per_second) : NS_PER_S / 2;
}

int shunt_rate_make(uint64_t average, uint64_t period_ms, uint64_t burst,
		    struct shunt_rate *ret_rate, struct shunt_err *err)
{
	uint64_t period_ns = (period_ms ? period_ms : 1000) * NS_PER_MS, cost, ticks;
	unsigned __int128 limit;

	if (average > SHUNT_MAX_AVERAGE)
		return shunt_err_set(err, -ERANGE, "average %llu is above %llu",
				     (unsigned long long)average, SHUNT_MAX_AVERAGE);
	if (period_ms > SHUNT_MAX_PERIOD_MS)
		return shunt_err_set(err, -ERANGE, "period %llu ms is above a day",
				     (unsigned long long)period_ms);
	if (burst > UINT32_MAX)
		return shunt_err_set(err, -ERANGE, "burst %llu is above %u",
				     (unsigned long long)burst, UINT32_MAX);
	if (!average) {
		*ret_rate = (struct shunt_rate){ 0 };
		return 0;
	}
	burst = burst ? burst : 1;
	ticks = period_ns << SHUNT_GCRA_TICK;
	cost = ticks / average;
	limit = (unsigned __int128)ticks * burst / average +
		(tolerance_ns(average, period_ns) << SHUNT_GCRA_TICK);
	if (limit >> SHUNT_GCRA_TICK > NS_PER_YEAR)
		return shunt_err_set(err, -ERANGE, "burst %llu takes more than a year to refill",
				     (unsigned long long)burst);
	*ret_rate = (struct shunt_rate){
		.cost = cost,
		.fraction = ((unsigned __int128)(ticks % average) << 32) / average,
		.burst = burst,
		.limit = limit ? limit : 1,
	};
	return 0;
}
