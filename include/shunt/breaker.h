/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BREAKER_H
#define SHUNT_BREAKER_H

#include "abi.h"
#include "window.h"

/*
 * The circuit breaker, as Traefik's behaves (vulcand/oxy cbreaker): closed until its condition
 * holds at a check; open for a while; then recovering, in which the share of what it admits grows
 * from nothing to all; then closed. There is no timer: the packet that comes first makes the
 * transition, by compare-and-swap of one word, so each is made once and one CPU reports it.
 *
 * Any number of CPUs runs any of this at any time. What is counted while another CPU clears the
 * counts may be lost or stay: one response of many.
 *
 * The includer says where the memory is, by defining shunt_bk_t (a scalar for BPF) and these
 * functions before the include; each returns NULL when the index is out of range:
 *	const struct shunt_breaker_rule *shunt_bk_rule(shunt_bk_t t, __u32 breaker);
 *	struct shunt_breaker_state *shunt_bk_state(shunt_bk_t t, __u32 instance);
 *	__u64 *shunt_bk_word(shunt_bk_t t, __u32 index);
 * An instance (of the service, or one of each variant or backend, by the breaker's scope) has
 * SHUNT_BREAKER_WORDS words, one instance's behind the other's.
 */
_Static_assert(SHUNT_BREAKER_WORDS == SHUNT_MAX_WATCHES * SHUNT_WINDOW_WORDS, "no gaps");

/* What a call has done: the answer, and in SHUNT_BREAKER_NEW() the phase that it began. */
#define SHUNT_BREAKER_REFUSED	 1u
#define SHUNT_BREAKER_ENTERED	 2u
#define SHUNT_BREAKER_DID(phase) (SHUNT_BREAKER_ENTERED | (__u32)(phase) << 8)
#define SHUNT_BREAKER_NEW(done)	 ((done) >> 8)

/*
 * The share t/D is admitted at time t of D: in total half of what comes, as many as oxy's ratio of
 * the admitted to all, kept below t/2D, comes to (oxy cbreaker/ratio.go). 65 us are its grain, so
 * that the product of D, up to a week, fits.
 */
static SHUNT_INLINE int shunt_breaker_ramp(__u64 left_ns, __u64 recovery_ns, __u32 random)
{
	__u64 whole = recovery_ns >> 16, left = left_ns >> 16;

	return left < whole && (whole * random) >> 32 < whole - left;
}

/**
 * shunt_breaker_admit - may this request, or new connection, pass?
 * @now_ns: of a clock that never goes back
 * @random: 32 random bits
 *
 * Return: 0, or SHUNT_BREAKER_REFUSED; with SHUNT_BREAKER_DID(phase) if it made a transition.
 */
static SHUNT_INLINE __u32 shunt_breaker_admit(shunt_bk_t t, __u32 breaker, __u32 instance,
					      __u64 now_ns, __u32 random)
{
	struct shunt_breaker_state *state = shunt_bk_state(t, instance);
	const struct shunt_breaker_rule *rule;
	__u64 word, next;
	__u32 done = 0;

	if (!state)
		return 0;
	word = SHUNT_READ_ONCE(state->word);
	if (SHUNT_BREAKER_PHASE(word) == SHUNT_BREAKER_CLOSED ||
	    SHUNT_BREAKER_PHASE(word) == SHUNT_BREAKER_FORCED_CLOSED)
		return 0;
	if (SHUNT_BREAKER_PHASE(word) == SHUNT_BREAKER_FORCED_OPEN)
		return SHUNT_BREAKER_REFUSED;
	rule = shunt_bk_rule(t, breaker);
	if (!rule)
		return 0;
	if (SHUNT_BREAKER_PHASE(word) == SHUNT_BREAKER_OPEN) {
		if (now_ns < SHUNT_BREAKER_UNTIL(word))
			return SHUNT_BREAKER_REFUSED;
		next = SHUNT_BREAKER_WORD(now_ns + rule->recovery_ns, SHUNT_BREAKER_RECOVERING);
		/* Lost to another CPU: what it made is as good for this one. */
		if (shunt_cmpxchg(&state->word, word, next) == word)
			done = SHUNT_BREAKER_DID(SHUNT_BREAKER_RECOVERING);
		word = next;
	}
	if (now_ns < SHUNT_BREAKER_UNTIL(word))
		return done | !shunt_breaker_ramp(SHUNT_BREAKER_UNTIL(word) - now_ns,
						  rule->recovery_ns, random);
	if (shunt_cmpxchg(&state->word, word, SHUNT_BREAKER_CLOSED) == word)
		done = SHUNT_BREAKER_DID(SHUNT_BREAKER_CLOSED);
	return done;
}

/* ---- what is counted --------------------------------------------------------------------- */

/* The second by which a rule's counts are told apart. */
static SHUNT_INLINE __u32 shunt_breaker_second(const struct shunt_breaker_rule *rule, __u64 now_ns)
{
	return (__u32)(now_ns / SHUNT_NS_PER_S) + rule->window_base;
}

static SHUNT_INLINE __u32 shunt_breaker_word(__u32 instance, __u32 watch, __u32 number)
{
	return instance * SHUNT_BREAKER_WORDS + watch * SHUNT_WINDOW_WORDS +
	       number % SHUNT_WINDOW_WORDS;
}

/* Counts one in a word, out of line. Return: 0. */
SHUNT_OUTLINE int shunt_breaker_count(shunt_bk_t t, __u32 index, __u32 number)
{
	__u64 *word = shunt_bk_word(t, index);

	if (word)
		shunt_window_add(word, number);
	return 0;
}

/**
 * shunt_breaker_record - count a response
 *
 * In each phase: those to requests that were under way when it opened count, as in oxy.
 */
static SHUNT_INLINE void shunt_breaker_record(shunt_bk_t t, __u32 breaker, __u32 instance,
					      __u64 now_ns, const struct shunt_response *response)
{
	const struct shunt_breaker_rule *rule = shunt_bk_rule(t, breaker);
	__u32 second;

	if (!rule)
		return;
	second = shunt_breaker_second(rule, now_ns);
#pragma GCC unroll 16
	for (__u32 i = 0; i < SHUNT_MAX_WATCHES; i++) {
		const struct shunt_watch *watch = &rule->predicate.watch[i];
		__u32 number;

		if (i >= rule->predicate.n_watches)
			break;
		if (!shunt_watch_counts(watch, response))
			continue;
		number = second / shunt_watch_seconds(shunt_watch_is_time(watch));
		shunt_breaker_count(t, shunt_breaker_word(instance, i, number), number);
	}
}

/**
 * shunt_breaker_sum - what a watch has counted in its window
 * @second:  shunt_breaker_second()
 * @is_time: shunt_watch_is_time()
 *
 * Ten loads at most. Return: at most SHUNT_MAX_SUM.
 */
SHUNT_OUTLINE __u32 shunt_breaker_sum(shunt_bk_t t, __u32 instance, __u32 watch, __u32 second,
				      int is_time)
{
	__u32 now = second / shunt_watch_seconds(is_time), size = shunt_watch_words(is_time);
	__u64 sum = 0;

#pragma GCC unroll 10
	for (__u32 i = 0; i < SHUNT_WINDOW_WORDS; i++) {
		const __u64 *word = shunt_bk_word(t, shunt_breaker_word(instance, watch, i));

		if (word)
			sum += shunt_window_count(SHUNT_READ_ONCE(*word), now, size);
	}
	return sum > SHUNT_MAX_SUM ? SHUNT_MAX_SUM : sum;
}

/* Forgets what an instance has counted. */
SHUNT_OUTLINE int shunt_breaker_clear(shunt_bk_t t, __u32 instance)
{
	for (__u32 i = 0; i < SHUNT_BREAKER_WORDS; i++) {
		__u64 *word = shunt_bk_word(t, instance * SHUNT_BREAKER_WORDS + i);

		if (word)
			SHUNT_WRITE_ONCE(*word, 0);
	}
	return 0;
}

/* ---- the condition ----------------------------------------------------------------------- */

/* The sum of one of a test's watches; nothing where it has none. */
static SHUNT_INLINE __u32 shunt_breaker_part(shunt_bk_t t, const struct shunt_breaker_rule *rule,
					     __u32 instance, __u32 watch, __u32 second,
					     const struct shunt_test *test)
{
	if (watch >= SHUNT_MAX_WATCHES || watch >= rule->predicate.n_watches)
		return 0;
	return shunt_breaker_sum(t, instance, watch, second, test->signal == SHUNT_SIGNAL_LATENCY);
}

/**
 * shunt_breaker_holds - evaluate a breaker's condition
 *
 * Return: 1 if it holds and there were enough requests.
 */
static SHUNT_INLINE int shunt_breaker_holds(shunt_bk_t t, __u32 breaker, __u32 instance,
					    __u64 now_ns)
{
	const struct shunt_breaker_rule *rule = shunt_bk_rule(t, breaker);
	__u32 next = 0, second;

	if (!rule || !rule->predicate.n_tests)
		return 0;
	second = shunt_breaker_second(rule, now_ns);
	if (rule->min_requests &&
	    shunt_breaker_sum(t, instance, SHUNT_WATCH_REQUEST, second, 0) < rule->min_requests)
		return 0;
		/* Jumps lead forward, so one walk through all of them meets each that is jumped to.
		 */
#pragma GCC unroll 16
	for (__u32 i = 0; i < SHUNT_MAX_TESTS; i++) {
		const struct shunt_test *test = &rule->predicate.test[i];
		struct shunt_signal signal;

		if (next != i)
			continue;
		for (int n = 0; n < SHUNT_TEST_WATCHES; n++)
			signal.sum[n] =
				shunt_breaker_part(t, rule, instance, test->watch[n], second, test);
		next = SHUNT_PICK(shunt_test_holds(test, &signal), test->on_false, test->on_true);
	}
	return next == SHUNT_TEST_TRUE;
}

/**
 * shunt_breaker_judge - evaluate the condition, and open the breaker if it holds
 *
 * Out of line, with the condition in it: callers are deep already, and this is rare.
 *
 * Return: 0, or SHUNT_BREAKER_DID(SHUNT_BREAKER_OPEN).
 */
SHUNT_OUTLINE int shunt_breaker_judge(shunt_bk_t t, __u32 breaker, __u32 instance, __u64 now_ns)
{
	struct shunt_breaker_state *state = shunt_bk_state(t, instance);
	const struct shunt_breaker_rule *rule = shunt_bk_rule(t, breaker);
	__u64 word;

	if (!state || !rule)
		return 0;
	word = SHUNT_READ_ONCE(state->word);
	if (SHUNT_BREAKER_PHASE(word) != SHUNT_BREAKER_CLOSED &&
	    SHUNT_BREAKER_PHASE(word) != SHUNT_BREAKER_RECOVERING)
		return 0;
	if (!shunt_breaker_holds(t, breaker, instance, now_ns))
		return 0;
	if (shunt_cmpxchg(&state->word, word,
			  SHUNT_BREAKER_WORD(now_ns + rule->open_ns, SHUNT_BREAKER_OPEN)) != word)
		return 0;
	shunt_fetch_add(&state->opened, 1);
	shunt_breaker_clear(t, instance);
	return SHUNT_BREAKER_DID(SHUNT_BREAKER_OPEN);
}

/**
 * shunt_breaker_check - after a response was counted: must the breaker open?
 *
 * At most once in check_ns, closed or recovering.
 *
 * Return: as shunt_breaker_judge().
 */
static SHUNT_INLINE __u32 shunt_breaker_check(shunt_bk_t t, __u32 breaker, __u32 instance,
					      __u64 now_ns)
{
	struct shunt_breaker_state *state = shunt_bk_state(t, instance);
	const struct shunt_breaker_rule *rule = shunt_bk_rule(t, breaker);
	__u64 due;

	if (!state || !rule)
		return 0;
	due = SHUNT_READ_ONCE(state->next_check_ns);
	if (now_ns < due ||
	    shunt_cmpxchg(&state->next_check_ns, due, now_ns + rule->check_ns) != due)
		return 0;
	return shunt_breaker_judge(t, breaker, instance, now_ns);
}

#endif
