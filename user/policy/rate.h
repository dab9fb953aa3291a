/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_POLICY_RATE_H
#define SHUNT_POLICY_RATE_H

#include <stdint.h>

#include "base/err.h"
#include "shunt/gcra.h"

#define SHUNT_MAX_AVERAGE   1000000000000ull /* units a period: 8 Tb/s, in bytes a second */
#define SHUNT_MAX_PERIOD_MS (24 * 3600 * 1000ull)

/**
 * shunt_rate_make - a rate limit as Traefik's rateLimit means it
 * @average:   units a period; 0: no limit
 * @period_ms: 1..SHUNT_MAX_PERIOD_MS; 0: one second
 * @burst:     units that come at once after a rest; 0 counts as 1
 *
 * As Traefik does, a unit is also admitted when it would have to wait for at most half of 1 s /
 * whole units a second, or for half a second where the rate is below 1/s: there it is delayed by
 * that time, here it goes at once.
 *
 * Return: 0; -ERANGE with a sentence in @err: out of those ranges, a burst above 2^32 - 1, or
 * one that takes more than a year to refill.
 */
int shunt_rate_make(uint64_t average, uint64_t period_ms, uint64_t burst,
		    struct shunt_rate *ret_rate, struct shunt_err *err);

#endif
