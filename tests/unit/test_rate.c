// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "policy/rate.h"

TestSuite(rate, .timeout = 60);

#define MS 1000000ull
#define S  1000000000ull

static struct shunt_rate rate_of(uint64_t average, uint64_t period_ms, uint64_t burst)
{
	struct shunt_rate rate;
	struct shunt_err err;

	cr_assert_eq(shunt_rate_make(average, period_ms, burst, &rate, &err), 0, "%s", err.text);
	return rate;
}

/* How many of @n arrivals, one each @every_ns from @start on, are admitted. */
static unsigned admitted(__u64 *word, struct shunt_rate rate, unsigned n, uint64_t every_ns,
			 uint64_t start)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		count += !shunt_gcra_admit(word, &rate, 1, start + i * every_ns);
	return count;
}

Test(rate, golden_vectors_of_traefiks_limiter)
{
	static const struct {
		uint64_t average, period_ms, burst;
		unsigned arrivals;
		uint64_t every_ns;
		unsigned admitted;
	} cases[] = {
		{ 100, 0, 50, 200, 0, 50 },	     { 100, 1000, 50, 2000, 5 * MS, 1050 },
		{ 10, 1000, 20, 40, 0, 20 },	     { 6, 60000, 1, 5, 0, 1 },
		{ 6, 60000, 1, 60, 1 * S, 6 },	     { 1000000, 1000, 1, 1000, 1000, 1000 },
		{ 1, 1000, 0, 10, 100 * MS, 1 + 1 }, { 0, 0, 0, 1000, 0, 1000 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shunt_rate rate =
			rate_of(cases[i].average, cases[i].period_ms, cases[i].burst);
		__u64 word = 0;
		unsigned count = admitted(&word, rate, cases[i].arrivals, cases[i].every_ns, 7 * S);

		cr_expect(count == cases[i].admitted, "case %zu: %u of %u, not %u", i, count,
			  cases[i].arrivals, cases[i].admitted);
	}
}

Test(rate, what_is_refused_says_when_to_come_again)
{
	struct shunt_rate rate = rate_of(10, 1000, 1);
	__u64 word = 0, wait;

	cr_expect_eq(shunt_gcra_admit(&word, &rate, 1, 5 * S), 0);
	wait = shunt_gcra_admit(&word, &rate, 1, 5 * S);
	cr_expect_eq(wait, 50 * MS + 1, "%lu: half a unit may be owed", (unsigned long)wait);
	cr_expect_neq(shunt_gcra_admit(&word, &rate, 1, 5 * S + wait - 2), 0);
	cr_expect_eq(shunt_gcra_admit(&word, &rate, 1, 5 * S + wait), 0);
}

Test(rate, a_rest_fills_the_bucket_and_never_more)
{
	struct shunt_rate rate = rate_of(10, 1000, 5);
	__u64 word = 0;

	cr_expect_eq(admitted(&word, rate, 100, 0, 1 * S), 5);
	cr_expect_eq(admitted(&word, rate, 100, 0, 1 * S + 200 * MS), 2);
	cr_expect_eq(admitted(&word, rate, 100, 0, 1000 * S), 5);
}

Test(rate, many_units_are_taken_all_or_none)
{
	struct shunt_rate rate = rate_of(1000000, 1000, 3000);
	__u64 word = 0;

	cr_expect_eq(shunt_gcra_admit(&word, &rate, 1500, 1 * S), 0);
	cr_expect_eq(shunt_gcra_admit(&word, &rate, 1500, 1 * S), 0);
	cr_expect_eq(shunt_gcra_admit(&word, &rate, 1500, 1 * S) / 1000, 1499,
		     "1500 units less the half that may be owed");
	cr_expect_neq(shunt_gcra_admit(&word, &rate, 1, 1 * S), 0);
	cr_expect_eq(shunt_gcra_admit(&word, &rate, 3001, 100 * S), SHUNT_GCRA_NEVER);
	cr_expect_eq(shunt_gcra_admit(&word, &rate, 3000, 100 * S), 0);
}

Test(rate, a_clock_that_is_behind_gives_nothing_away)
{
	struct shunt_rate rate = rate_of(10, 1000, 5);
	__u64 word = 0;

	cr_expect_eq(admitted(&word, rate, 5, 0, 10 * S), 5);
	cr_expect_eq(admitted(&word, rate, 5, 0, 10 * S - 1000), 0);
	cr_expect_eq(admitted(&word, rate, 5, 0, 9 * S), 0);
	/* Nor does it give back what the other CPU has taken. */
	cr_expect_eq(admitted(&word, rate, 5, 0, 10 * S), 0);
}

Test(rate, high_rates_are_met_within_a_thousandth)
{
	static const uint64_t averages[] = { 3, 7, 999, 1000000, 3000000, 70000000, 10000000000 };

	for (size_t i = 0; i < sizeof(averages) / sizeof(averages[0]); i++) {
		/* At 2.5 times the rate, in blocks of units where one takes less than 10 ns. */
		uint32_t block = averages[i] > 100000000 ? 1000 : 1;
		uint64_t every = S * block / averages[i] * 2 / 5;
		struct shunt_rate rate = rate_of(averages[i], 1000, block > 1 ? 20 * block : 1);
		double expected = 60000.0 * every / S * averages[i] / block;
		unsigned count = 0;
		__u64 word = 0;

		for (unsigned n = 0; n < 60000; n++)
			count += !shunt_gcra_admit(&word, &rate, block, S + n * every);
		cr_expect(count > expected * 0.999 - 2 && count < expected * 1.001 + 20,
			  "%lu/s: %u, not %f", (unsigned long)averages[i], count, expected);
	}
}

struct hammer {
	__u64 *word;
	const struct shunt_rate *rate;
	uint64_t until_ns; /* or the time that it is */
	uint64_t admitted;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * S + ts.tv_nsec;
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	uint64_t now;

	while ((now = now_ns()) < h->until_ns)
		h->admitted += !shunt_gcra_admit(h->word, h->rate, 1, now);
	return NULL;
}

Test(rate, two_cpus_on_one_word_admit_what_one_would)
{
	static const uint64_t averages[] = { 1000, 100000 };

	for (size_t i = 0; i < 2; i++) {
		struct shunt_rate rate = rate_of(averages[i], 1000, 1);
		__u64 word = 0;
		uint64_t start = now_ns();
		struct hammer h[2];
		pthread_t threads[2];
		double expected = averages[i] * 0.5;
		uint64_t total = 0;

		for (int t = 0; t < 2; t++) {
			h[t] = (struct hammer){ &word, &rate, start + S / 2, 0 };
			cr_assert_eq(pthread_create(&threads[t], NULL, hammer, &h[t]), 0);
		}
		for (int t = 0; t < 2; t++) {
			pthread_join(threads[t], NULL);
			total += h[t].admitted;
		}
		/* Never more; less only when nobody ran, on a busy machine. */
		cr_expect(total <= expected * 1.01 + 2, "%lu", (unsigned long)total);
		cr_expect(total > 0);
	}
}

static void *drain(void *arg)
{
	struct hammer *h = arg;

	for (int i = 0; i < 3000000; i++)
		h->admitted += !shunt_gcra_admit(h->word, h->rate, 1, h->until_ns);
	return NULL;
}

Test(rate, two_cpus_take_a_full_bucket_to_the_last_unit)
{
	/* The clock stands still, so that nothing is refilled. */
	struct shunt_rate rate = rate_of(1000000, 1000, 3000000);
	struct hammer h[2];
	pthread_t threads[2];
	__u64 word = 0;

	for (int t = 0; t < 2; t++) {
		h[t] = (struct hammer){ &word, &rate, 7 * S, 0 };
		cr_assert_eq(pthread_create(&threads[t], NULL, drain, &h[t]), 0);
	}
	for (int t = 0; t < 2; t++)
		pthread_join(threads[t], NULL);
	cr_expect_eq(h[0].admitted + h[1].admitted, 3000000);
}

Test(rate, what_cannot_be_kept_is_refused)
{
	static const struct {
		uint64_t average, period_ms, burst;
		const char *says;
	} cases[] = {
		{ SHUNT_MAX_AVERAGE + 1, 0, 1, "average 1000000000001 is above 1000000000000" },
		{ 1, SHUNT_MAX_PERIOD_MS + 1, 1, "period 86400001 ms is above a day" },
		{ SHUNT_MAX_AVERAGE, 1, 1, NULL },
		{ 1, SHUNT_MAX_PERIOD_MS, 366, "burst 366 takes more than a year to refill" },
		{ 1, SHUNT_MAX_PERIOD_MS, UINT32_MAX, "takes more than a year" },
		{ 1, 0, 1ull << 32, "burst 4294967296 is above 4294967295" },
		{ 1, SHUNT_MAX_PERIOD_MS, 364, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shunt_rate rate = { .limit = 2 };
		struct shunt_err err = { .text = "" };
		int r = shunt_rate_make(cases[i].average, cases[i].period_ms, cases[i].burst, &rate,
					&err);

		cr_expect_eq(r, cases[i].says ? -ERANGE : 0, "case %zu: %s", i, err.text);
		cr_expect(!cases[i].says || strstr(err.text, cases[i].says), "%s", err.text);
		cr_expect(!cases[i].says || rate.limit == 2);
	}
}
