/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_HISTOGRAM_H
#define SHUNT_HISTOGRAM_H

#include <linux/types.h>

#include "compat.h"

/*
 * Times by quarter octaves: bucket 4 n + q begins at 2^n * 2^(q/4) us, so a bucket's geometric
 * middle is within 9.1 % of everything in it. The last one has all that takes longer than 50 min.
 */
#define SHUNT_TIME_BUCKETS 128

/* 2^(1/4), 2^(2/4) and 2^(3/4), times 2^16, rounded up. */
#define SHUNT_QUARTER_1 77936u
#define SHUNT_QUARTER_2 92682u
#define SHUNT_QUARTER_3 110218u

/* The bucket of a time. Return: 0..SHUNT_TIME_BUCKETS - 1; what is below 1 us is in the first. */
static SHUNT_INLINE __u32 shunt_time_bucket(__u32 us)
{
	__u64 mantissa = us ? us : 1;
	__u32 octave = 0;

	/* To 2^31 .. 2^32, counting the octaves that it is not high. */
#pragma GCC unroll 5
	for (int step = 16; step; step /= 2) {
		if (mantissa >> (32 - step))
			continue;
		mantissa <<= step;
		octave += step;
	}
	mantissa >>= 15;
	return 4 * (31 - octave) + (mantissa >= SHUNT_QUARTER_1) + (mantissa >= SHUNT_QUARTER_2) +
	       (mantissa >= SHUNT_QUARTER_3);
}

#endif
