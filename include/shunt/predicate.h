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
 * Signals are made of counts over a window, and what has to be counted is known from the
 * expression: its watches. A quantile needs no histogram either, for it is only compared: p99 is
 * below 100 ms if 99 of 100 responses were. So a response costs a comparison for each watch, and an
 * evaluation at most SHUNT_MAX_WATCHES sums of SHUNT_WINDOW_WORDS words.
 *
 * Compiled from the expression by user/policy/expression.h; one code for BPF and user space.
 */

#define SHUNT_MAX_TESTS	  16
#define SHUNT_TEST_TRUE	  0xfe /* instead of a test's index: the condition holds */
#define SHUNT_TEST_FALSE  0xff
#define SHUNT_RATIO_SCALE 1000000000ull /* of a ratio's literal: 0.3 is 300 000 000 */
#define SHUNT_MAX_RATIO	  16		/* as a literal */
#define SHUNT_MAX_SUM	  0x3fffffffu	/* of a watch: its product with a ratio's scale fits */

#define SHUNT_MAX_WATCHES   16
#define SHUNT_WATCH_NONE    0xff
#define SHUNT_WATCH_REQUEST 0 /* this one counts the requests, whatever the expression says */

enum shunt_watch_kind {
	SHUNT_WATCH_RESPONSES,	    /* all; 10 s */
	SHUNT_WATCH_NETWORK_ERRORS, /* 502 and 504; 10 s */
	SHUNT_WATCH_CODES,	    /* known, and from <= code < to; 10 s */
	SHUNT_WATCH_LATENCIES,	    /* responses whose time is known; 60 s */
	SHUNT_WATCH_BELOW,	    /* of them, those that took less than below_us; 60 s */
	SHUNT_N_WATCH_KINDS
};

/* Something that is counted. */
struct shunt_watch {
	__u16 kind; /* enum shunt_watch_kind */
	__u16 from;
	__u16 to;
	__u16 reserved;
	__u64 below_us;
};
_Static_assert(sizeof(struct shunt_watch) == 16, "no padding");

enum shunt_signal_kind {
	SHUNT_SIGNAL_NETWORK_ERRORS, /* ratio: watch 0 of watch 1 */
	SHUNT_SIGNAL_CODES,	     /* ratio: arg[0] <= code < arg[1] among arg[2].. < arg[3] */
	SHUNT_SIGNAL_LATENCY,	     /* ms at quantile arg[0] in 1/100 % */
	SHUNT_SIGNAL_REQUESTS,	     /* watch 0, in the window */
	SHUNT_N_SIGNALS
};

enum shunt_compare { SHUNT_LT, SHUNT_LE, SHUNT_EQ, SHUNT_NE, SHUNT_GE, SHUNT_GT, SHUNT_N_COMPARES };

#define SHUNT_TEST_WATCHES 3

struct shunt_test {
	__u8 signal;  /* enum shunt_signal_kind */
	__u8 compare; /* enum shunt_compare */
	__u8 on_true; /* index of a later test, or SHUNT_TEST_TRUE or _FALSE */
	__u8 on_false;
	__u16 arg[4];			/* as written */
	__u8 watch[SHUNT_TEST_WATCHES]; /* what shunt_signal.sum is made of; or SHUNT_WATCH_NONE */
	__u8 reserved;
	__u64 literal; /* ratios: times SHUNT_RATIO_SCALE */
};
_Static_assert(sizeof(struct shunt_test) == 24, "no padding");

struct shunt_predicate {
	__u32 n_tests; /* 0: never holds */
	__u32 n_watches;
	struct shunt_test test[SHUNT_MAX_TESTS];
	struct shunt_watch watch[SHUNT_MAX_WATCHES];
};

/*
 * The sums of a test's watches, each at most SHUNT_MAX_SUM. Ratios: part, whole. Requests: their
 * number. Latencies: how many were below the literal, how many below literal + 1 ms, and all.
 */
struct shunt_signal {
	__u32 sum[SHUNT_TEST_WATCHES];
};

/* What the comparisons follow from: -1, 0 or 1 as the signal is below, at or above the literal. */
static SHUNT_INLINE int shunt_test_order(__u64 left, __u64 right)
{
	return left < right ? -1 : left > right;
}

/* A ratio of nothing is 0. Compared by cross multiplication, without rounding. */
static SHUNT_INLINE int shunt_test_ratio(const struct shunt_test *test,
					 const struct shunt_signal *signal)
{
	if (!signal->sum[1])
		return shunt_test_order(0, test->literal);
	return shunt_test_order(signal->sum[0] * SHUNT_RATIO_SCALE, test->literal * signal->sum[1]);
}

/*
 * The quantile is the sample of that rank, as HdrHistogram has it (hdr.go, ValueAtQuantile): it is
 * below a value if as many samples are. Of no samples it is 0.
 */
static SHUNT_INLINE int shunt_test_quantile(const struct shunt_test *test,
					    const struct shunt_signal *signal)
{
	__u64 rank = ((__u64)test->arg[0] * signal->sum[2] + 5000) / 10000;

	if (!rank)
		return shunt_test_order(0, test->literal);
	if (signal->sum[0] >= rank)
		return -1;
	return signal->sum[1] < rank;
}

/**
 * shunt_test_holds - compare a signal with a test's literal
 *
 * Return: 1 if it holds.
 */
static SHUNT_INLINE int shunt_test_holds(const struct shunt_test *test,
					 const struct shunt_signal *signal)
{
	int order = test->signal <= SHUNT_SIGNAL_CODES ? shunt_test_ratio(test, signal)
		    : test->signal == SHUNT_SIGNAL_LATENCY
			    ? shunt_test_quantile(test, signal)
			    : shunt_test_order(signal->sum[0], test->literal);

	switch (test->compare) {
	case SHUNT_LT:
		return order < 0;
	case SHUNT_LE:
		return order <= 0;
	case SHUNT_EQ:
		return !order;
	case SHUNT_NE:
		return !!order;
	case SHUNT_GE:
		return order >= 0;
	default:
		return order > 0;
	}
}

/*
 * Stands for a code where no HTTP is seen. There each connection counts once among all, when it is
 * established or fails to be; one that is cut off before its answer has been counted.
 */
enum shunt_outcome {
	SHUNT_CONNECTED = 0xfff0,
	SHUNT_NOT_CONNECTED, /* refused, or not answered */
	SHUNT_CUT_OFF,	     /* reset before its answer */
};

/* The response that breakers judge by. */
struct shunt_response {
	/* 502: no connection, or it was reset; 504: no answer; 0: not known; enum shunt_outcome */
	__u16 code;
	__u16 has_latency;
	__u32 latency_us;
};

/* Does a watch count this response? */
static SHUNT_INLINE int shunt_watch_counts(const struct shunt_watch *watch,
					   const struct shunt_response *response)
{
	switch (watch->kind) {
	case SHUNT_WATCH_RESPONSES:
		return response->code != SHUNT_CUT_OFF;
	case SHUNT_WATCH_NETWORK_ERRORS:
		return response->code == 502 || response->code == 504 ||
		       response->code > SHUNT_CONNECTED;
	case SHUNT_WATCH_CODES:
		return response->code >= watch->from && response->code < watch->to &&
		       response->code && response->code < SHUNT_CONNECTED;
	case SHUNT_WATCH_LATENCIES:
		return response->has_latency;
	default:
		return response->has_latency && response->latency_us < watch->below_us;
	}
}

/*
 * Windows are as oxy's: counts stand in ten words of a second; times in six of ten seconds, as its
 * histograms do.
 */
static SHUNT_INLINE int shunt_watch_is_time(const struct shunt_watch *watch)
{
	return watch->kind >= SHUNT_WATCH_LATENCIES;
}

static SHUNT_INLINE __u32 shunt_watch_seconds(int is_time)
{
	return is_time ? 10 : 1;
}

static SHUNT_INLINE __u32 shunt_watch_words(int is_time)
{
	return is_time ? 6 : 10;
}

#endif
