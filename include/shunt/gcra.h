/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_GCRA_H
#define SHUNT_GCRA_H

#include "abi.h"
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

/*
 * How far a CPU's clock may be behind another's, in ticks of a second: what runs between reading it
 * and using it takes microseconds, but the host may stop the CPU there.
 */
#define SHUNT_GCRA_MOST_BEHIND (1000000000ull << SHUNT_GCRA_TICK)

/* How many units a packet may have: super-packets of 512 KiB, of 1024 segments. */
#define SHUNT_GCRA_MOST_BYTES	(1u << 19)
#define SHUNT_GCRA_MOST_PACKETS (1u << 10)

/**
 * shunt_gcra_take - take units out of a bucket, maybe more than it holds
 * @word:   the bucket, shared between CPUs
 * @most:   more units than the burst, but not than these, pass a bucket that is full, and are
 *	    owed: a super-packet must get through some time. 0: they never pass
 * @now_ns: of a clock that never goes back; a CPU's may be behind another's
 *
 * All or nothing. When SHUNT_GCRA_TRIES other CPUs were faster, the units are refused. A word that
 * is further ahead than this rate can put it, by whichever clock, was put there by another rate: of
 * a limit whose numbers have changed since. It is brought to an empty bucket, or who is over a
 * limit of a thousand a day would wait for days after it became a thousand a second. Never less
 * far ahead: a CPU that was stopped would give back all that was taken meanwhile.
 *
 * Return: 0: admitted; otherwise the ns after which it would be, if nobody else came, or
 * SHUNT_GCRA_NEVER.
 */
static SHUNT_INLINE __u64 shunt_gcra_take(__u64 *word, const struct shunt_rate *rate, __u32 units,
					  __u32 most, __u64 now_ns)
{
	__u64 limit = rate->limit, allowed = limit, debt = 0, cost;
	__u64 seen = SHUNT_READ_ONCE(*word), now = now_ns << SHUNT_GCRA_TICK;

	if (!limit)
		return 0;
	if (units > rate->burst) {
		if (!most)
			return SHUNT_GCRA_NEVER;
		/* One unit in 17 s, and many at once: their sum would not fit. */
		if (units > most || rate->cost >> 40)
			units = rate->burst;
	}
	if (!(rate->cost >> 40))
		debt = rate->cost * most;
	cost = rate->cost * units + ((__u64)rate->fraction * units >> 32);
	if (cost > allowed)
		allowed = cost;
#pragma GCC unroll 8
	for (int i = 0; i < SHUNT_GCRA_TRIES; i++) {
		__u64 paid = (seen > now ? seen : now) + cost, found;

		if (paid - now > allowed) {
			if (paid - now > limit + debt + cost + SHUNT_GCRA_MOST_BEHIND)
				shunt_cmpxchg(word, seen, now + limit);
			return ((paid - now - allowed) >> SHUNT_GCRA_TICK) + 1;
		}
		found = shunt_cmpxchg(word, seen, paid);
		if (found == seen)
			return 0;
		seen = found;
	}
	return 1;
}

/* As shunt_gcra_take(), where more than the burst never passes. */
static SHUNT_INLINE __u64 shunt_gcra_admit(__u64 *word, const struct shunt_rate *rate, __u32 units,
					   __u64 now_ns)
{
	return shunt_gcra_take(word, rate, units, 0, now_ns);
}

#endif
