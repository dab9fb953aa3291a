/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_DEAD_MAN_H
#define SHUNT_DEAD_MAN_H

#include "abi.h"
#include "window.h"

/*
 * The dead-man switch: of the responses of the last seconds, has the canary a larger share of
 * errors than the stable variant, by more than a margin? Counts are by second, so that no change
 * of a window's length makes one number mean another second; the second that has begun comes on
 * top of the window, so a window of one second covers one to two.
 *
 * Any number of CPUs counts and judges at any time. A judgement that reads while others count may
 * miss what they have not written yet: one response of many.
 */

/* Seconds of the ring that a window of @window_ms, at most 10 000, looks at. */
#define SHUNT_DEAD_MAN_SECONDS(window_ms) (((window_ms) + 999) / 1000 + 1)
_Static_assert(SHUNT_DEAD_MAN_SECONDS(10000) <= SHUNT_DEAD_MAN_WORDS, "the ring holds a window");

#define SHUNT_DEAD_MAN_IS_ERROR(code) (((code) >= 500 && (code) < 600) || (code) > SHUNT_CONNECTED)

/* The word of @second. Each has its own code, for the verifier without CAP_PERFMON. */
static SHUNT_INLINE __u64 *shunt_dead_man_word(__u64 *words, __u32 second)
{
	__u64 *word;

	switch (second % SHUNT_DEAD_MAN_WORDS) {
#define DEAD_MAN_CASE(i)                                                                           \
	case i:                                                                                    \
		word = &words[i];                                                                  \
		SHUNT_OPAQUE_CASE(word, i);                                                        \
		return word;
		SHUNT_REPEAT_16(DEAD_MAN_CASE)
#undef DEAD_MAN_CASE
	}
	return words;
}

/*
 * What the last @seconds words before and with @now count. As shunt_window_count(), but without a
 * branch: the verifier would follow 2^16 ways through them.
 */
static SHUNT_INLINE __u64 shunt_dead_man_sum(const __u64 *words, __u32 now, __u32 seconds)
{
	__u64 sum = 0;

#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_DEAD_MAN_WORDS; i++) {
		__u64 word = SHUNT_READ_ONCE(words[i]);
		__s32 is_in = (__s32)(now - (__u32)(word >> 32) - seconds) >> 31;

		SHUNT_OPAQUE_CASE(is_in, 0);
		sum += (__u32)word & (__u32)is_in;
		/* One after the other: clang would load all first, and spill them. */
		SHUNT_OPAQUE_CASE(sum, 0);
	}
	return sum;
}

/* Counts below this are judged exactly, larger ones without their lowest 12 bits. */
#define SHUNT_DEAD_MAN_EXACT (1u << 24)

struct shunt_dead_man_sample {
	__u64 responses; /* below 2^36, as SHUNT_DEAD_MAN_WORDS counts of 32 bits are */
	__u64 errors;
};

/*
 * Errors that the window has lost the response of (one that was established before it, and cut off
 * in it) are no more than all.
 */
static SHUNT_INLINE __u64 shunt_dead_man_errors(const struct shunt_dead_man_sample *sample)
{
	return sample->errors < sample->responses ? sample->errors : sample->responses;
}

static SHUNT_INLINE void shunt_dead_man_scale(struct shunt_dead_man_sample *sample)
{
	sample->errors = shunt_dead_man_errors(sample);
	if (sample->responses < SHUNT_DEAD_MAN_EXACT)
		return;
	sample->responses >>= 12;
	sample->errors >>= 12;
}

/**
 * shunt_dead_man_trips - is the canary worse than it may be?
 * @margin_bp: what its ratio of errors may be above the stable one's, in 1/100 %, at most 10 000
 *
 * Not with fewer than @min_samples responses, nor without any of the stable variant: then there is
 * nothing to compare with.
 */
static SHUNT_INLINE int shunt_dead_man_trips(__u32 margin_bp, __u32 min_samples,
					     struct shunt_dead_man_sample canary,
					     struct shunt_dead_man_sample stable)
{
	if (canary.responses < min_samples || !canary.responses || !stable.responses)
		return 0;
	shunt_dead_man_scale(&canary);
	shunt_dead_man_scale(&stable);
	/* errors / responses > errors / responses + margin, times both: each side below 2^63. */
	return 10000 * canary.errors * stable.responses >
	       10000 * stable.errors * canary.responses +
		       margin_bp * (canary.responses * stable.responses);
}

/* A ratio of errors in 1/100 %, at most 10 000, for people. */
static SHUNT_INLINE __u32 shunt_dead_man_ratio_bp(struct shunt_dead_man_sample sample)
{
	return sample.responses ? (__u32)(10000 * shunt_dead_man_errors(&sample) / sample.responses)
				: 0;
}

#endif
