/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_WINDOW_H
#define SHUNT_WINDOW_H

#include <linux/types.h>

#include "compat.h"

/*
 * A count of the last seconds: a ring of words, each {number of its second, count}. Number n
 * stands in word n % SHUNT_WINDOW_WORDS, so a word is stale when its number is, and nobody has to
 * clear it in time. The current second, which is not over, is one of them: a window of ten covers
 * nine to ten, as oxy's rolling counter does (vulcand/oxy memmetrics/counter.go).
 *
 * Any CPU counts at any time: number and count change in one locked instruction. A count that
 * another CPU's turn of the second overtakes lands in the new one.
 */
#define SHUNT_NS_PER_S 1000000000ull

#define SHUNT_WINDOW_WORDS 10
#define SHUNT_WINDOW_TRIES 4 /* each failed one means that another CPU's went through */

/**
 * shunt_window_add - count one
 * @word:   of @number, shared between CPUs
 * @number: of the second, or of whatever the window is divided into
 */
static SHUNT_INLINE void shunt_window_add(__u64 *word, __u32 number)
{
	__u64 seen = SHUNT_READ_ONCE(*word), found;

#pragma GCC unroll 4
	for (int i = 0; i < SHUNT_WINDOW_TRIES; i++) {
		if ((__u32)(seen >> 32) == number) {
			shunt_fetch_add(word, 1);
			return;
		}
		/* The ring has gone round since this CPU read the clock. */
		if ((__s32)(number - (__u32)(seen >> 32)) < 0)
			return;
		found = shunt_cmpxchg(word, seen, (__u64)number << 32 | 1);
		if (found == seen)
			return;
		seen = found;
	}
}

/**
 * shunt_window_count - what a word adds to a window
 * @now:  the current number; a word that another CPU has begun since counts too
 * @size: of the window, 1..SHUNT_WINDOW_WORDS
 */
static SHUNT_INLINE __u32 shunt_window_count(__u64 word, __u32 now, __u32 size)
{
	return (__s32)(now - (__u32)(word >> 32)) < (__s32)size ? (__u32)word : 0;
}

#endif
