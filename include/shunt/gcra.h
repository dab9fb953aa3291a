/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_GCRA_H
#define SHUNT_GCRA_H

#include <linux/types.h>

#include "compat.h"

/*
 * The generic cell rate algorithm (ITU-T I.371): a token bucket in one word, the time at which
 * all that was admitted is paid for. A bucket that rests is full, whatever the word says, so zero
 * is a full one. Decided by compare-and-swap, exactly over any number of CPUs.
 */

/*
 * The word counts ticks of 1/64 ns: 70 million units a second are met to a thousandth, and it
 * does not overflow in nine years of uptime.
 */
#define SHUNT_GCRA_TICK	 6
#define SHUNT_GCRA_NEVER ~0ull
#define SHUNT_GCRA_TRIES 8 /* each failed one means that another CPU's went through */

/* Made by shunt_rate_make(). All zero: no limit. */
struct shunt_rate {
	__u64 cost;	/* of one unit, in ticks, */
	__u32 fraction; /* and in 2^-32 of a tick: units may be bytes */
	__u32 burst;	/* units that may come at once: cost * burst does not overflow */
	__u64 limit;	/* ticks that the word may be ahead of now, what is admitted included */
};

/**
 * shunt_gcra_admit - take units out of a bucket
 * @word:   the bucket, shared between CPUs
 * @units:  more than the burst are never admitted
 * @now_ns: of a clock that never goes back; a CPU's may be behind another's
 *
 * All or nothing. When SHUNT_GCRA_TRIES other CPUs were faster, the units are refused.
 *
 * Return: 0: admitted; otherwise the ns after which it would be, if nobody else came, or
 * SHUNT_GCRA_NEVER.
 */
static SHUNT_INLINE __u64 shunt_gcra_admit(__u64 *word, const struct shunt_rate *rate, __u32 units,
					   __u64 now_ns)
{
	__u64 cost = rate->cost * units + ((__u64)rate->fraction * units >> 32);
	__u64 limit = rate->limit;
	__u64 seen = SHUNT_READ_ONCE(*word), now = now_ns << SHUNT_GCRA_TICK;

	if (!limit)
		return 0;
	if (units > rate->burst)
		return SHUNT_GCRA_NEVER;
#pragma GCC unroll 8
	for (int i = 0; i < SHUNT_GCRA_TRIES; i++) {
		__u64 paid = (seen > now ? seen : now) + cost, found;

		if (paid - now > limit)
			return ((paid - now - limit) >> SHUNT_GCRA_TICK) + 1;
		found = shunt_cmpxchg(word, seen, paid);
		if (found == seen)
			return 0;
		seen = found;
	}
	return 1;
}

#endif
