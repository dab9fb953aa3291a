// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "policy/expression.h"
#include "shunt/predicate.h"
#include "shunt/window.h"

/* The memory of one breaker with one instance. */
struct lab;
typedef struct lab *shunt_bk_t;

static const struct shunt_breaker_rule *shunt_bk_rule(shunt_bk_t t, __u32 breaker);
static struct shunt_breaker_state *shunt_bk_state(shunt_bk_t t, __u32 instance);
static __u64 *shunt_bk_word(shunt_bk_t t, __u32 index);

#include "shunt/breaker.h"

struct lab {
	struct shunt_breaker_rule rule;
	struct shunt_breaker_state state;
	__u64 words[SHUNT_BREAKER_WORDS];
};

static const struct shunt_breaker_rule *shunt_bk_rule(shunt_bk_t t, __u32 breaker)
{
	return breaker == 0 ? &t->rule : NULL;
}

static struct shunt_breaker_state *shunt_bk_state(shunt_bk_t t, __u32 instance)
{
	return instance == 0 ? &t->state : NULL;
}

static __u64 *shunt_bk_word(shunt_bk_t t, __u32 index)
{
	return index < SHUNT_BREAKER_WORDS ? &t->words[index] : NULL;
}

#define MS    1000000ull
#define S     SHUNT_NS_PER_S
#define BEGIN (1000 * S) /* any time; counts are zero before */

TestSuite(breaker);

/* Traefik's defaults. */
static struct lab breaker_of(const char *expression)
{
	struct lab lab = {
		.rule = { .check_ns = 100 * MS, .open_ns = 10 * S, .recovery_ns = 10 * S }
	};
	struct shunt_err err;

	cr_assert_eq(shunt_expression_compile(expression, &lab.rule.predicate, &err), 0, "%s",
		     err.text);
	return lab;
}

static __u32 phase(const struct lab *lab)
{
	return SHUNT_BREAKER_PHASE(lab->state.word);
}

/* A request at @now that is answered at once. Return: whether it was admitted. */
static int request(struct lab *lab, __u64 now, __u16 code, __u32 latency_us)
{
	struct shunt_response response = { code, 1, latency_us };

	if (shunt_breaker_admit(lab, 0, 0, now, (__u32)lrand48() << 1) & SHUNT_BREAKER_REFUSED)
		return 0;
	shunt_breaker_record(lab, 0, 0, now, &response);
	shunt_breaker_check(lab, 0, 0, now);
	return 1;
}

/* 100 requests a second until @until, of which @bad_percent get a 500. Return: the time it opened.
 */
static __u64 load(struct lab *lab, __u64 *now, __u64 until, unsigned bad_percent)
{
	for (unsigned n = 0; *now < until; n++, *now += 10 * MS) {
		request(lab, *now, n * 37 % 100 < bad_percent ? 500 : 200, 1000);
		if (phase(lab) == SHUNT_BREAKER_OPEN)
			return *now;
	}
	return 0;
}

Test(breaker, trips_as_late_as_traefik_does)
{
	/* S10: 100/s, clean for 15 s, then 40 % errors: between 6.5 and 8 s. */
	for (int phase_ms = 0; phase_ms < 1000; phase_ms += 130) {
		struct lab lab = breaker_of("ResponseCodeRatio(500, 600, 0, 600) > 0.30 && "
					    "RequestThreshold() >= 20");
		__u64 now = BEGIN + phase_ms * MS, onset = now + 15 * S, opened;

		cr_assert_eq(load(&lab, &now, onset, 0), 0);
		opened = load(&lab, &now, onset + 20 * S, 40);
		cr_expect(opened >= onset + 6500 * MS && opened <= onset + 8 * S, "%.2f s",
			  (opened - onset) / 1e9);
		cr_expect_eq(lab.state.opened, 1);
	}
}

Test(breaker, is_open_for_its_time_and_recovers_over_its_time)
{
	struct lab lab = breaker_of("ResponseCodeRatio(500, 600, 0, 600) > 0.30");
	unsigned admitted[10] = { 0 }, all = 0;
	__u64 now = BEGIN, opened;

	opened = load(&lab, &now, BEGIN + S, 100);
	cr_assert_eq(opened, BEGIN, "the first response is enough, as in Traefik");
	for (now = opened; now < opened + 10 * S; now += 10 * MS)
		cr_assert_eq(request(&lab, now, 200, 1), 0);
	for (; now < opened + 20 * S; now += MS)
		admitted[(now - opened - 10 * S) / S] += request(&lab, now, 200, 1);
	for (int s = 0; s < 10; s++) {
		/* 1000 a second: 50, 150, ... 950, binomial. */
		cr_expect_float_eq((double)admitted[s], 100.0 * s + 50, 80, "second %d: %u", s,
				   admitted[s]);
		all += admitted[s];
	}
	cr_expect_float_eq((double)all, 5000, 200, "%u", all);
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_RECOVERING);
	cr_expect_eq(shunt_breaker_admit(&lab, 0, 0, now, 0xffffffff),
		     SHUNT_BREAKER_DID(SHUNT_BREAKER_CLOSED));
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_CLOSED);
}

Test(breaker, opens_again_when_the_condition_holds_while_it_recovers)
{
	struct lab lab = breaker_of("NetworkErrorRatio() > 0.5");
	__u64 now = BEGIN;

	request(&lab, now, 502, 1);
	cr_assert_eq(phase(&lab), SHUNT_BREAKER_OPEN);
	for (now += 10 * S; phase(&lab) != SHUNT_BREAKER_RECOVERING; now += MS)
		request(&lab, now, 200, 1);
	while (!request(&lab, now += 20 * MS, 504, 1))
		;
	/* Between two checks 100 ms pass: the next response after them opens it. */
	while (phase(&lab) == SHUNT_BREAKER_RECOVERING && now < BEGIN + 20 * S)
		request(&lab, now += 20 * MS, 504, 1);
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_OPEN);
	cr_expect_eq(SHUNT_BREAKER_UNTIL(lab.state.word) >> 20, (now + 10 * S) >> 20);
	cr_expect_eq(lab.state.opened, 2);
}

Test(breaker, counts_anew_after_it_has_opened)
{
	struct lab lab = breaker_of("RequestThreshold() >= 5");

	for (int n = 0; n < 5; n++)
		request(&lab, BEGIN + n * 100 * MS, 200, 1);
	cr_assert_eq(phase(&lab), SHUNT_BREAKER_OPEN);
	for (size_t n = 0; n < SHUNT_BREAKER_WORDS; n++)
		cr_assert_eq(lab.words[n], 0);
}

Test(breaker, does_not_open_on_less_than_the_minimum)
{
	struct lab lab = breaker_of("ResponseCodeRatio(500, 600, 0, 600) > 0.25");

	lab.rule.min_requests = 20;
	/* S11: one request that gets 500. */
	for (int n = 0; n < 19; n++)
		request(&lab, BEGIN + n * 100 * MS, 500, 1);
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_CLOSED);
	request(&lab, BEGIN + 19 * 100 * MS, 500, 1);
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_OPEN);
}

Test(breaker, checks_no_more_often_than_it_is_told)
{
	struct lab lab = breaker_of("ResponseCodeRatio(500, 600, 0, 600) > 0.5");

	request(&lab, BEGIN, 200, 1);
	for (int n = 1; n < 100; n++)
		request(&lab, BEGIN + n * MS, 500, 1);
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_CLOSED);
	request(&lab, BEGIN + 100 * MS, 500, 1);
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_OPEN);
}

Test(breaker, an_operator_has_the_last_word)
{
	struct lab lab = breaker_of("RequestThreshold() > 0");

	lab.state.word = SHUNT_BREAKER_WORD(0ull, SHUNT_BREAKER_FORCED_CLOSED);
	cr_expect_eq(request(&lab, BEGIN, 500, 1), 1);
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_FORCED_CLOSED);
	lab.state.word = SHUNT_BREAKER_WORD(0ull, SHUNT_BREAKER_FORCED_OPEN);
	cr_expect_eq(request(&lab, BEGIN + 100 * S, 200, 1), 0);
	cr_expect_eq(phase(&lab), SHUNT_BREAKER_FORCED_OPEN);
}

Test(breaker, a_transition_is_told_of_once)
{
	struct lab lab = breaker_of("RequestThreshold() > 0");
	struct shunt_response response = { 200, 0, 0 };
	__u64 seen = SHUNT_BREAKER_WORD(BEGIN, SHUNT_BREAKER_OPEN);

	shunt_breaker_record(&lab, 0, 0, BEGIN, &response);
	cr_expect_eq(shunt_breaker_check(&lab, 0, 0, BEGIN), SHUNT_BREAKER_DID(SHUNT_BREAKER_OPEN));
	cr_expect_eq(shunt_breaker_check(&lab, 0, 0, BEGIN + S), 0);
	lab.state.word = seen;
	cr_expect_eq(shunt_breaker_admit(&lab, 0, 0, BEGIN, 0xffffffff),
		     SHUNT_BREAKER_DID(SHUNT_BREAKER_RECOVERING) | SHUNT_BREAKER_REFUSED);
	cr_expect_eq(shunt_breaker_admit(&lab, 0, 0, BEGIN, 0xffffffff), SHUNT_BREAKER_REFUSED);
}

Test(breaker, the_ramp_admits_what_traefik_admits_in_all)
{
	static const struct {
		unsigned per_second, golden; /* SEMANTICS: of 10 s of oxy's ratio controller */
	} cases[] = { { 10, 49 }, { 100, 499 }, { 1000, 4999 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double expected = 0;

		/* Each request's probability, over 4096 values of the random number. */
		for (unsigned n = 0; n < cases[i].per_second * 10; n++) {
			__u64 at = n * (S / cases[i].per_second);
			unsigned passed = 0;

			for (__u32 r = 0; r < 4096; r++)
				passed += shunt_breaker_ramp(10 * S - at, 10 * S, r << 20);
			expected += passed / 4096.0;
		}
		cr_expect_float_eq(expected, (double)cases[i].golden, 1 + cases[i].golden * 0.002,
				   "%f", expected);
	}
	cr_expect_eq(shunt_breaker_ramp(0, 10 * S, 0xffffffff), 1, "at the end all");
	cr_expect_eq(shunt_breaker_ramp(10 * S, 10 * S, 0), 0, "at the begin none");
	cr_expect_eq(shunt_breaker_ramp(1, 7 * 24 * 3600 * S, 0xfffff000), 1, "a week");
}

/* ---- windows against a list of all that happened --------------------------------------------- */

struct event {
	__u64 ns;
	struct shunt_response response;
};

static __u64 naive_sum(const struct event *events, size_t n, const struct shunt_watch *watch,
		       __u64 now)
{
	__u64 length = shunt_watch_seconds(shunt_watch_is_time(watch)) * S;
	__u64 oldest = now / length - (shunt_watch_words(shunt_watch_is_time(watch)) - 1), sum = 0;

	while (n-- && events[n].ns / length >= oldest)
		sum += shunt_watch_counts(watch, &events[n].response);
	return sum;
}

Test(breaker, windows_hold_what_happened_in_them)
{
	static struct event events[200000];
	struct lab lab =
		breaker_of("NetworkErrorRatio() > 0.3 && LatencyAtQuantileMS(90.0) > 50 && "
			   "ResponseCodeRatio(500, 600, 200, 300) > 0.1 && "
			   "RequestThreshold() > 4");
	static const __u16 codes[] = { 0, 200, 204, 304, 404, 500, 502, 503, 504, 599 };
	__u64 now = BEGIN;

	srand48(20261123);
	for (size_t n = 0; n < 200000; n++) {
		struct event *event = &events[n];

		/* Some microseconds, now and then some seconds, up to several windows. */
		now += lrand48() % 2000000;
		if (lrand48() % 1000 == 0)
			now += (lrand48() % 130) * S;
		*event = (struct event){
			now, { codes[lrand48() % 10], lrand48() % 4 > 0, lrand48() % 100000 }
		};
		shunt_breaker_record(&lab, 0, 0, now, &event->response);
		if (n % 97)
			continue;
		for (__u32 w = 0; w < lab.rule.predicate.n_watches; w++) {
			const struct shunt_watch *watch = &lab.rule.predicate.watch[w];
			__u64 right = naive_sum(events, n + 1, watch, now);

			cr_assert_eq(
				shunt_breaker_sum(&lab, 0, w, now / S, shunt_watch_is_time(watch)),
				right, "event %zu, watch %u", n, w);
		}
	}
}

static int by_value(const void *a, const void *b)
{
	return *(const __u32 *)a < *(const __u32 *)b ? -1 : *(const __u32 *)a > *(const __u32 *)b;
}

Test(breaker, a_quantile_is_compared_as_if_all_samples_were_sorted)
{
	__u32 sample[60], sorted[60];

	srand48(1);
	for (int round = 0; round < 20000; round++) {
		__u32 n = lrand48() % 60, literal = lrand48() % 12;
		__u32 percent = lrand48() % 3 ? lrand48() % 10001 : 10000 * (lrand48() % 2);
		struct shunt_test test = { .signal = SHUNT_SIGNAL_LATENCY,
					   .arg = { percent },
					   .literal = literal };
		struct shunt_signal signal = { { 0, 0, n } };
		__u32 rank = floor(percent / 10000.0 * n + 0.5 + 1e-9), quantile;

		for (__u32 i = 0; i < n; i++) {
			sample[i] = lrand48() % 12;
			signal.sum[0] += sample[i] < literal;
			signal.sum[1] += sample[i] < literal + 1;
		}
		memcpy(sorted, sample, sizeof(sorted));
		qsort(sorted, n, sizeof(sorted[0]), by_value);
		quantile = rank ? sorted[rank - 1] : 0;
		for (test.compare = 0; test.compare < SHUNT_N_COMPARES; test.compare++) {
			const int right[] = {
				quantile<literal, quantile <= literal, quantile == literal,
					 quantile != literal, quantile >= literal, quantile>
					literal
			};

			cr_assert_eq(shunt_test_holds(&test, &signal), right[test.compare],
				     "p%u of %u is %u, literal %u, compare %u", percent, n,
				     quantile, literal, test.compare);
		}
	}
}

Test(breaker, a_late_cpu_does_not_turn_the_ring_back)
{
	__u64 word = 0;

	shunt_window_add(&word, 25);
	shunt_window_add(&word, 25);
	shunt_window_add(&word, 15);
	cr_expect_eq(word, 25ull << 32 | 2);
	cr_expect_eq(shunt_window_count(word, 24, 10), 2, "begun by a CPU whose clock is ahead");
	cr_expect_eq(shunt_window_count(word, 34, 10), 2);
	cr_expect_eq(shunt_window_count(word, 35, 10), 0);
	shunt_window_add(&word, 35);
	cr_expect_eq(word, 35ull << 32 | 1);
}

/* ---- many CPUs at once -------------------------------------------------------------------------
 */

#define THREADS 2
#define ROUNDS	20000
#define EVENTS	60 /* of each, between two checks */

struct hammer {
	struct lab *lab;
	__u64 *now;    /* of all */
	unsigned *met; /* how often all have met, times THREADS */
	uint64_t random;
	uint64_t began[SHUNT_N_BREAKER_PHASES]; /* transitions that this one was told of */
	uint64_t let_in; /* while it was open, and no one could have changed that */
};

/* Spins, so that all go on within some ns of each other. Return: is this the last that came? */
static int meet(const struct hammer *h)
{
	unsigned mine = __sync_add_and_fetch(h->met, 1);
	unsigned all = (mine + THREADS - 1) / THREADS * THREADS;

	for (unsigned spins = 0; __atomic_load_n(h->met, __ATOMIC_ACQUIRE) < all; spins++)
		if (spins > 10000)
			sched_yield();
	return mine == all;
}

static void one_event(struct hammer *h)
{
	struct shunt_response response = { 200, 1, 100 };
	__u64 now = shunt_fetch_add(h->now, 50000);
	__u32 done;

	h->random = h->random * 6364136223846793005ull + 1442695040888963407ull;
	/* Half of a second well, half of one ill. */
	if (now / (S / 2) % 2 && h->random >> 62)
		response.code = 500;
	done = shunt_breaker_admit(h->lab, 0, 0, now, (__u32)(h->random >> 16));
	if (done & SHUNT_BREAKER_ENTERED)
		h->began[SHUNT_BREAKER_NEW(done)]++;
	if (done & SHUNT_BREAKER_REFUSED)
		return;
	shunt_breaker_record(h->lab, 0, 0, now, &response);
	done = shunt_breaker_check(h->lab, 0, 0, now);
	if (done & SHUNT_BREAKER_ENTERED)
		h->began[SHUNT_BREAKER_NEW(done)]++;
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	int is_one, is_open;
	__u64 until;

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < EVENTS; i++)
			one_event(h);
		is_one = meet(h);
		until = SHUNT_BREAKER_UNTIL(h->lab->state.word);
		is_open = phase(h->lab) == SHUNT_BREAKER_OPEN;
		/* Open, and nobody moves: all ask just before its end, and none gets in. */
		if (is_open)
			h->let_in +=
				!(shunt_breaker_admit(h->lab, 0, 0, until - 1, (__u32)h->random) &
				  SHUNT_BREAKER_REFUSED);
		meet(h);
		/* The next round begins at its end: all meet there. */
		if (is_open && is_one && *h->now < until)
			*h->now = until;
		meet(h);
	}
	return NULL;
}

Test(breaker, however_many_cpus_ask_each_transition_is_made_and_told_once, .timeout = 60)
{
	struct lab lab = breaker_of("ResponseCodeRatio(500, 600, 0, 600) > 0.30");
	uint64_t began[SHUNT_N_BREAKER_PHASES] = { 0 }, let_in = 0;
	pthread_t threads[THREADS];
	unsigned met = 0;
	struct hammer h[THREADS];
	__u64 now = BEGIN;

	lab.rule.check_ns = 10 * MS;
	lab.rule.open_ns = 100 * MS;
	lab.rule.recovery_ns = 100 * MS;
	for (int t = 0; t < THREADS; t++) {
		h[t] = (struct hammer){ .lab = &lab, .now = &now, .met = &met };
		h[t].random = (uint64_t)t + 1;
		cr_assert_eq(pthread_create(&threads[t], NULL, hammer, &h[t]), 0);
	}
	for (int t = 0; t < THREADS; t++) {
		pthread_join(threads[t], NULL);
		for (int p = 0; p < SHUNT_N_BREAKER_PHASES; p++)
			began[p] += h[t].began[p];
		let_in += h[t].let_in;
	}
	cr_expect_eq(let_in, 0, "%llu got in", (unsigned long long)let_in);
	cr_expect_gt(began[SHUNT_BREAKER_OPEN], 50, "%llu", (unsigned long long)began[1]);
	cr_expect_gt(began[SHUNT_BREAKER_CLOSED], 20);
	cr_expect_eq(began[SHUNT_BREAKER_OPEN], lab.state.opened);
	/* Each that opened has begun to recover, but for the last; and then closed or opened. */
	cr_expect_eq(began[SHUNT_BREAKER_RECOVERING],
		     began[SHUNT_BREAKER_OPEN] - (phase(&lab) == SHUNT_BREAKER_OPEN));
	cr_expect_leq(began[SHUNT_BREAKER_CLOSED], began[SHUNT_BREAKER_RECOVERING]);
}
