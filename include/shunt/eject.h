/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_EJECT_H
#define SHUNT_EJECT_H

#include "abi.h"
#include "compat.h"
#include "gcra.h"
#include "predicate.h"

/*
 * Outlier ejection, by Envoy's terms (outlier_detection.proto), without its sweep: a backend with
 * so many errors in a row goes out at the last of them. When its time is over some connections try
 * it; one that does well brings it back, errors in a row eject it anew, for longer.
 *
 *	IN ──► LEAVING ──► OUT ──► IN		each by compare-and-swap of one word
 *	▲─────────┘ no place
 *
 * How many of a variant and family are out is not a count, which could drift, but places with
 * names: who leaves takes one, and one whose backend is not out by the ejection that it names is
 * free. So nobody has to give it back, and a backend that is retired, or back, holds none.
 *
 * Any number of CPUs runs any of this at any time. An error that is counted while another CPU
 * begins a new row may count in either.
 *
 * The includer says where the memory is, by defining shunt_ej_t (a scalar for BPF) and these
 * functions before the include; each returns NULL when there is nothing:
 *	const struct shunt_eject_rule *shunt_ej_rule(shunt_ej_t t, __u32 variant);
 *	struct shunt_eject_state *shunt_ej_state(shunt_ej_t t, __u32 backend);
 *	__u64 *shunt_ej_place(shunt_ej_t t, __u32 index);
 *	const struct shunt_backend *shunt_ej_backend(shunt_ej_t t, __u32 backend);
 */

enum shunt_eject_outcome {
	SHUNT_EJECT_NOTHING, /* says nothing of the backend */
	SHUNT_EJECT_GOOD,
	SHUNT_EJECT_ERROR,
	SHUNT_EJECT_GATEWAY, /* an error of these, too */
};

/* What a response, or a connection, says. @code: as guard_judge() has it. */
static SHUNT_INLINE __u32 shunt_eject_outcome(__u32 code)
{
	if (code > SHUNT_CONNECTED || (code >= 502 && code <= 504))
		return SHUNT_EJECT_GATEWAY;
	if (code >= 500 && code < 600)
		return SHUNT_EJECT_ERROR;
	return code >= 200 ? SHUNT_EJECT_GOOD : SHUNT_EJECT_NOTHING;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static SHUNT_INLINE void shunt_eject_new_row(struct shunt_eject_state *state)
{
	/* Mostly there is none, and the line stays clean. */
	if (SHUNT_READ_ONCE(state->errors))
		SHUNT_WRITE_ONCE(state->errors, 0);
	if (SHUNT_READ_ONCE(state->gateway))
		SHUNT_WRITE_ONCE(state->gateway, 0);
}

/* Counts an outcome. Return: 1: it makes a row as long as the rule lets it be. */
static SHUNT_INLINE int shunt_eject_count(const struct shunt_eject_rule *rule,
					  struct shunt_eject_state *state, __u32 outcome)
{
	__u32 errors, gateway = 0;

	if (outcome == SHUNT_EJECT_GOOD) {
		shunt_eject_new_row(state);
		return 0;
	}
	errors = shunt_fetch_add(&state->errors, 1) + 1;
	if (outcome == SHUNT_EJECT_GATEWAY)
		gateway = shunt_fetch_add(&state->gateway, 1) + 1;
	else if (SHUNT_READ_ONCE(state->gateway))
		SHUNT_WRITE_ONCE(state->gateway, 0);
	return (rule->consecutive_5xx && errors >= rule->consecutive_5xx) ||
	       (rule->consecutive_gateway && gateway >= rule->consecutive_gateway);
}

/**
 * shunt_eject_record - count a response of @backend, or a connection to it
 * @code: as shunt_eject_outcome()
 *
 * Return: 1: shunt_eject_judge() is to be asked, which needs the clock.
 */
SHUNT_OUTLINE int shunt_eject_record(shunt_ej_t t, __u32 variant, __u32 backend, __u32 code)
{
	const struct shunt_eject_rule *rule = shunt_ej_rule(t, variant);
	struct shunt_eject_state *state = shunt_ej_state(t, backend);
	__u32 outcome = shunt_eject_outcome(code);

	if (!rule || !state || outcome == SHUNT_EJECT_NOTHING)
		return 0;
	if (SHUNT_EJECT_PHASE(SHUNT_READ_ONCE(state->word)) != SHUNT_EJECT_IN)
		return 1;
	return shunt_eject_count(rule, state, outcome);
}

/* ---- places -------------------------------------------------------------------------------- */

#define SHUNT_EJECT_PLACE(variant, family)                                                         \
	(((variant)*SHUNT_N_FAMILIES + (family)) * SHUNT_EJECT_PLACES)
#define SHUNT_EJECT_PLACE_VARIANT(index) ((index) / (SHUNT_N_FAMILIES * SHUNT_EJECT_PLACES))

/* Is the backend that stands in a place out, or leaving, by the ejection that stands there? */
static SHUNT_INLINE int shunt_eject_is_taken(shunt_ej_t t, __u64 place, __u32 variant)
{
	const struct shunt_eject_state *state = shunt_ej_state(t, (__u32)place);
	const struct shunt_backend *backend = shunt_ej_backend(t, (__u32)place);
	__u64 word;

	if (!state || !backend || backend->variant != variant)
		return 0;
	word = SHUNT_READ_ONCE(state->word);
	return SHUNT_EJECT_PHASE(word) != SHUNT_EJECT_IN &&
	       SHUNT_EJECT_NUMBER(word) == (place >> 32);
}

/* Takes place @index for @place, if it is free. Return: 1 if this call took it. */
SHUNT_OUTLINE int shunt_eject_take_one(shunt_ej_t t, __u32 index, __u64 place)
{
	__u64 *word = shunt_ej_place(t, index), old;

	if (!word)
		return 0;
	old = SHUNT_READ_ONCE(*word);
	if (old && shunt_eject_is_taken(t, old, SHUNT_EJECT_PLACE_VARIANT(index)))
		return 0;
	/* Lost to another CPU: its backend has this place now. */
	return shunt_cmpxchg(word, old, place) == old;
}

/**
 * shunt_eject_take_place - take one of the first @most places from @first on
 * @place: what is to stand there
 *
 * Return: 1, or 0: as many are out as may be.
 */
SHUNT_OUTLINE int shunt_eject_take_place(shunt_ej_t t, __u32 first, __u32 most, __u64 place)
{
#pragma GCC unroll 32
	for (__u32 i = 0; i < SHUNT_EJECT_PLACES; i++) {
		if (i >= most)
			break;
		if (shunt_eject_take_one(t, first++, place))
			return 1;
		/* One after the other: clang would make all numbers first, and spill them. */
		asm volatile("" : "+r"(first));
	}
	return 0;
}

/* Does place @index stand for a backend that is out? */
SHUNT_OUTLINE int shunt_eject_is_used(shunt_ej_t t, __u32 index)
{
	const __u64 *word = shunt_ej_place(t, index);
	__u64 place = word ? SHUNT_READ_ONCE(*word) : 0;

	return place && shunt_eject_is_taken(t, place, SHUNT_EJECT_PLACE_VARIANT(index));
}

/* How many are out of the places from @first on; no more than @enough are looked for. */
SHUNT_OUTLINE __u32 shunt_eject_n_out(shunt_ej_t t, __u32 first, __u32 enough)
{
	__u32 out = 0;

#pragma GCC unroll 32
	for (__u32 i = 0; i < SHUNT_EJECT_PLACES; i++) {
		out += shunt_eject_is_used(t, first++);
		if (out >= enough)
			break;
		asm volatile("" : "+r"(first));
	}
	return out;
}

/* ---- in and out ---------------------------------------------------------------------------- */

/* What shunt_eject_judge() says; 0: nothing has happened. */
#define SHUNT_EJECT_RETURNED	  (1ull << 63)
#define SHUNT_EJECT_LEAVES	  (1ull << 62) /* and what SHUNT_EJECT_LEAVES_...() say */
#define SHUNT_EJECT_DID(ms, many) ((__u64)(many) << 32 | (ms))

/* Of the ejections of @word, those that count yet: one is forgotten in each interval in service. */
static SHUNT_INLINE __u32 shunt_eject_remembered(const struct shunt_eject_rule *rule, __u64 word,
						 __u64 now)
{
	__u64 since = SHUNT_EJECT_SINCE(word), forgotten = 0;
	__u32 ejections = SHUNT_EJECT_EJECTIONS(word);

	if (now > since && rule->interval)
		forgotten = (now - since) / rule->interval;
	return forgotten < ejections ? ejections - (__u32)forgotten : 0;
}

/* For how long, the @ejections-th time in a row. */
static SHUNT_INLINE __u32 shunt_eject_length(const struct shunt_eject_rule *rule, __u32 ejections)
{
	__u64 length = (__u64)rule->base * ejections;

	return length < rule->longest ? (__u32)length : rule->longest;
}

static SHUNT_INLINE __u32 shunt_eject_next(__u32 ejections)
{
	return ejections < 0xff ? ejections + 1 : 0xff;
}

/* Puts @state from @from to OUT. Return: SHUNT_EJECT_DID(); 0: another CPU, or the agent, did. */
static SHUNT_INLINE __u64 shunt_eject_put_out(const struct shunt_eject_rule *rule,
					      struct shunt_eject_state *state, __u64 from,
					      __u32 ejections, __u64 now)
{
	__u32 length = shunt_eject_length(rule, ejections);

	if (shunt_cmpxchg(&state->word, from,
			  SHUNT_EJECT_WORD(now + length, ejections, SHUNT_EJECT_NUMBER(from),
					   SHUNT_EJECT_OUT)) != from)
		return 0;
	shunt_eject_new_row(state);
	shunt_fetch_add(&state->ejected, 1);
	return SHUNT_EJECT_DID((__u32)(((__u64)length << SHUNT_EJECT_UNIT_SHIFT) / 1000000),
			       ejections);
}

/* An outcome of one that is out: does it bring it back, or eject it anew? */
static SHUNT_INLINE __u64 shunt_eject_try(const struct shunt_eject_rule *rule,
					  struct shunt_eject_state *state, __u64 word,
					  __u32 outcome, __u64 now)
{
	__u32 ejections = SHUNT_EJECT_EJECTIONS(word);

	/* What was under way when it went out, or has nowhere else to go. */
	if (now < SHUNT_EJECT_SINCE(word))
		return 0;
	if (outcome == SHUNT_EJECT_GOOD) {
		shunt_eject_new_row(state);
		return shunt_cmpxchg(&state->word, word,
				     SHUNT_EJECT_WORD(now, ejections, SHUNT_EJECT_NUMBER(word),
						      SHUNT_EJECT_IN)) == word
			       ? SHUNT_EJECT_RETURNED
			       : 0;
	}
	if (!shunt_eject_count(rule, state, outcome))
		return 0;
	return shunt_eject_put_out(rule, state, word, shunt_eject_next(ejections), now);
}

/*
 * The first step of shunt_eject_judge(). Return: as that; or SHUNT_EJECT_LEAVES: a place is to be
 * looked for, then shunt_eject_end() to be told.
 */
SHUNT_OUTLINE __u64 shunt_eject_begin(shunt_ej_t t, __u32 variant, __u32 backend, __u32 code,
				      __u64 now)
{
	const struct shunt_eject_rule *rule = shunt_ej_rule(t, variant);
	struct shunt_eject_state *state = shunt_ej_state(t, backend);
	const struct shunt_backend *b = shunt_ej_backend(t, backend);
	__u32 number, most;
	__u64 word;

	if (!rule || !state || !b)
		return 0;
	word = SHUNT_READ_ONCE(state->word);
	if (SHUNT_EJECT_PHASE(word) == SHUNT_EJECT_OUT)
		return shunt_eject_try(rule, state, word, shunt_eject_outcome(code), now);
	most = SHUNT_PICK(b->family == SHUNT_V6, rule->most[0], rule->most[1]);
	number = (SHUNT_EJECT_NUMBER(word) + 1) & 0x3fff;
	if (SHUNT_EJECT_PHASE(word) != SHUNT_EJECT_IN)
		return 0;
	if (shunt_cmpxchg(&state->word, word,
			  SHUNT_EJECT_WORD(SHUNT_EJECT_SINCE(word), SHUNT_EJECT_EJECTIONS(word),
					   number, SHUNT_EJECT_LEAVING)) != word)
		return 0;
	return SHUNT_EJECT_LEAVES | (__u64)number << 32 | (b->family == SHUNT_V6) << 8 | most;
}

/* Of SHUNT_EJECT_LEAVES: what shunt_eject_take_place() wants. */
#define SHUNT_EJECT_LEAVES_MOST(begun)	 ((__u32)(begun)&0xff)
#define SHUNT_EJECT_LEAVES_FAMILY(begun) ((__u32)(begun) >> 8 & 1)
#define SHUNT_EJECT_LEAVES_PLACE(begun, backend)                                                   \
	((__u64)((__u32)((begun) >> 32) & 0x3fff) << 32 | (backend))

/*
 * The last step: @backend has a place among those that are out, or none; then it stays in service,
 * and a new row begins. Return: 0, or SHUNT_EJECT_DID().
 */
SHUNT_OUTLINE __u64 shunt_eject_end(shunt_ej_t t, __u32 variant, __u32 backend, int has_place,
				    __u64 now)
{
	const struct shunt_eject_rule *rule = shunt_ej_rule(t, variant);
	struct shunt_eject_state *state = shunt_ej_state(t, backend);
	__u64 word;

	if (!state)
		return 0;
	word = SHUNT_READ_ONCE(state->word);
	if (SHUNT_EJECT_PHASE(word) != SHUNT_EJECT_LEAVING)
		return 0; /* the agent has zeroed it for another backend */
	if (rule && has_place)
		return shunt_eject_put_out(
			rule, state, word,
			shunt_eject_next(shunt_eject_remembered(rule, word, now)), now);
	shunt_eject_new_row(state);
	shunt_cmpxchg(&state->word, word, word - SHUNT_EJECT_LEAVING + SHUNT_EJECT_IN);
	return 0;
}

/**
 * shunt_eject_judge - after shunt_eject_record() asked for it: what becomes of @backend?
 * @code: as shunt_eject_outcome()
 * @now:  SHUNT_EJECT_TIME() of a clock that never goes back
 *
 * In line, with three calls side by side: BPF programs have few frames left where responses are
 * seen.
 *
 * Return: 0: nothing; SHUNT_EJECT_RETURNED; or SHUNT_EJECT_DID(): it is ejected, maybe anew.
 */
static SHUNT_INLINE __u64 shunt_eject_judge(shunt_ej_t t, __u32 variant, __u32 backend, __u32 code,
					    __u64 now)
{
	__u64 did = shunt_eject_begin(t, variant, backend, code, now);
	int has_place;

	if (!(did & SHUNT_EJECT_LEAVES))
		return did;
	has_place = shunt_eject_take_place(
		t, SHUNT_EJECT_PLACE(variant, SHUNT_EJECT_LEAVES_FAMILY(did)),
		SHUNT_EJECT_LEAVES_MOST(did), SHUNT_EJECT_LEAVES_PLACE(did, backend));
	return shunt_eject_end(t, variant, backend, has_place, now);
}

/* ---- new connections ----------------------------------------------------------------------- */

/*
 * How many connections try one whose time is over: five at once, then five a second. As many as
 * errors eject it by default, so a backend that is as ill as before is out again soon.
 */
#define SHUNT_EJECT_PROBES_A_SECOND 5
#define SHUNT_EJECT_PROBE_COST	    ((1000000000ull << SHUNT_GCRA_TICK) / SHUNT_EJECT_PROBES_A_SECOND)

/**
 * shunt_eject_admits - may a new connection go to @backend, of a variant with a rule?
 *
 * Return: 1: it may, or tries it; 0: it is out.
 */
static SHUNT_INLINE int shunt_eject_admits(struct shunt_eject_state *state, __u64 now_ns)
{
	const struct shunt_rate rate = {
		.cost = SHUNT_EJECT_PROBE_COST,
		.burst = SHUNT_EJECT_PROBES_A_SECOND,
		.limit = SHUNT_EJECT_PROBE_COST * SHUNT_EJECT_PROBES_A_SECOND,
	};
	__u64 word = SHUNT_READ_ONCE(state->word);

	if (SHUNT_EJECT_PHASE(word) != SHUNT_EJECT_OUT)
		return 1;
	if (SHUNT_EJECT_TIME(now_ns) < SHUNT_EJECT_SINCE(word))
		return 0;
	return !shunt_gcra_admit(&state->probes, &rate, 1, now_ns);
}

#endif
