/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_PREDICATE_H
#define SHUNT_PREDICATE_H

#include <linux/types.h>

#include "compat.h"

/*
 * A breaker's condition as the kernel evaluates it: comparisons of a signal with a literal, each
 * of which says where to go on if it holds and if not. Jumps lead forward only, so at most
 * SHUNT_MAX_TESTS comparisons are made whatever the program says.
 *
 * Compiled from the expression by user/policy/expression.h; one code for BPF and user space.
 */

#define SHUNT_MAX_TESTS	  16
#define SHUNT_TEST_TRUE	  0xfe /* instead of a test's index: the condition holds */
#define SHUNT_TEST_FALSE  0xff
#define SHUNT_RATIO_SCALE 1000000000ull /* of a ratio's literal: 0.3 is 300 000 000 */
#define SHUNT_MAX_RATIO	  16		/* as a literal */

enum shunt_signal_kind {
	SHUNT_SIGNAL_NETWORK_ERRORS, /* ratio: responses 502 and 504, and failures to connect */
	SHUNT_SIGNAL_CODES,	     /* ratio: arg[0] <= code < arg[1] among arg[2].. < arg[3] */
	SHUNT_SIGNAL_LATENCY,	     /* ms at quantile arg[0] in 1/100 % */
	SHUNT_SIGNAL_REQUESTS,	     /* in the window */
	SHUNT_N_SIGNALS
};

enum shunt_compare { SHUNT_LT, SHUNT_LE, SHUNT_EQ, SHUNT_NE, SHUNT_GE, SHUNT_GT, SHUNT_N_COMPARES };

struct shunt_test {
	__u8 signal;  /* enum shunt_signal_kind */
	__u8 compare; /* enum shunt_compare */
	__u8 on_true; /* index of a later test, or SHUNT_TEST_TRUE or _FALSE */
	__u8 on_false;
	__u16 arg[4];
	__u32 reserved;
	__u64 literal; /* ratios: times SHUNT_RATIO_SCALE */
};
_Static_assert(sizeof(struct shunt_test) == 24, "no padding");

struct shunt_predicate {
	__u32 n_tests; /* 0: never holds */
	__u32 reserved;
	struct shunt_test test[SHUNT_MAX_TESTS];
};

/* What a signal is now: @part of @whole for ratios, @part alone for the others. */
struct shunt_signal {
	__u64 part; /* ratios: both below 2^30, so that their products fit */
	__u64 whole;
};

/**
 * shunt_test_holds - compare a signal with a test's literal
 *
 * A ratio of nothing is 0. Ratios are compared by cross multiplication, without rounding.
 *
 * Return: 1 if it holds.
 */
static SHUNT_INLINE int shunt_test_holds(const struct shunt_test *test,
					 const struct shunt_signal *signal)
{
	__u64 left = signal->part, right = test->literal;

	if (test->signal <= SHUNT_SIGNAL_CODES) {
		left = signal->whole ? left * SHUNT_RATIO_SCALE : 0;
		right = signal->whole ? right * signal->whole : right;
	}
	switch (test->compare) {
	case SHUNT_LT:
		return left < right;
	case SHUNT_LE:
		return left <= right;
	case SHUNT_EQ:
		return left == right;
	case SHUNT_NE:
		return left != right;
	case SHUNT_GE:
		return left >= right;
	default:
		return left > right;
	}
}

#endif
