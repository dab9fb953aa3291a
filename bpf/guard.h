/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_GUARD_H
#define SHUNT_BPF_GUARD_H

#include "dead_man.h"
#include "eject.h"
#include "lookup.h"
#include "scratch.h"

/*
 * What the kernel decides by what it sees of responses: circuit breakers (shunt/breaker.h), the
 * dead-man switch (dead_man.h), outlier ejection (eject.h). Their memory is the maps; the handle
 * says nothing more.
 */
typedef __u32 shunt_bk_t;
#define GUARD_BK ((shunt_bk_t)0)

/* clang passes garbage for an argument that it knows nobody reads; the verifier minds. */
#define GUARD_USE(t) asm volatile("" : : "r"(t))

static __always_inline const struct shunt_breaker_rule *shunt_bk_rule(shunt_bk_t t, __u32 breaker)
{
	GUARD_USE(t);
	return bpf_map_lookup_elem(&shunt_breakers, &breaker);
}

static __always_inline struct shunt_breaker_state *shunt_bk_state(shunt_bk_t t, __u32 instance)
{
	GUARD_USE(t);
	return bpf_map_lookup_elem(&shunt_breaker_states, &instance);
}

static __always_inline __u64 *shunt_bk_word(shunt_bk_t t, __u32 index)
{
	struct shunt_breaker_word *word = bpf_map_lookup_elem(&shunt_breaker_words, &index);

	GUARD_USE(t);
	return word ? &word->word : NULL;
}

#include "shunt/breaker.h"

/* ---- events -------------------------------------------------------------------------------- */

#define GUARD_EVENTS_A_SECOND 1000 /* of a CPU; a change of state by itself is rare */

/* May this CPU tell one more in this second? */
static __always_inline int guard_may_tell(__u64 now_ns)
{
	struct scratch *s = scratch_get();
	__u64 second = now_ns / SHUNT_NS_PER_S;

	if (!s)
		return 0;
	if (s->events_second != second) {
		s->events_second = second;
		s->events_in_second = 0;
	}
	return s->events_in_second++ < GUARD_EVENTS_A_SECOND;
}

/**
 * guard_tell - give the agent an event, if somebody reads them
 * @kind:     enum shunt_event_kind
 * @instance: of a breaker, or 0
 * @detail:   shunt_event.detail[0], and in the upper half [1]
 *
 * Return: 1, or 0: it is lost, and counted.
 */
__attribute__((noinline)) int guard_tell(__u32 kind, __u32 variant, __u32 backend, __u32 instance,
					 __u64 detail)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct shunt_event *event = NULL;
	struct shunt_event_counters *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&shunt_event_counters, &zero);
	if (!c)
		return 0;
	if (guard_may_tell(now_ns))
		event = bpf_ringbuf_reserve(&shunt_events, sizeof(*event), 0);
	if (!event) {
		c->lost++;
		return 0;
	}
	event->now_ns = now_ns;
	event->kind = kind;
	event->variant = variant;
	event->backend = backend;
	event->instance = instance;
	event->detail[0] = detail;
	event->detail[1] = detail >> 32;
	bpf_ringbuf_submit(event, 0);
	c->told++;
	return 1;
}

/* ---- breakers ------------------------------------------------------------------------------ */

/* An instance and its rule as one word; 0: the flow is under no breaker. */
#define GUARD_BREAKER(instance, breaker) ((__u64)(instance) << 32 | (breaker))

/* The breaker that flows of @variant to @backend are under now. */
static __always_inline __u64 guard_find(__u32 variant, __u32 backend)
{
	const struct shunt_variant_guard *guard =
		bpf_map_lookup_elem(&shunt_variant_guards, &variant);
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_backend_guard *own;
	__u32 slot, breaker, instance;

	if (!guard || !settings)
		return 0;
	slot = SHUNT_READ_ONCE(settings->epoch) & 1;
	breaker = SHUNT_PICK(slot, guard->breaker[0], guard->breaker[1]);
	if (!breaker)
		return 0;
	instance = SHUNT_PICK(slot, guard->instance[0], guard->instance[1]);
	if (instance)
		return GUARD_BREAKER(instance, breaker);
	own = bpf_map_lookup_elem(&shunt_backend_guards, &backend);
	instance = own ? SHUNT_READ_ONCE(own->instance) : 0;
	return instance ? GUARD_BREAKER(instance, breaker) : 0;
}

/* Tells of a transition, if a breaker made one. */
static __always_inline void guard_tell_phase(__u32 done, __u32 variant, __u32 backend,
					     __u32 instance)
{
	if (done & SHUNT_BREAKER_ENTERED)
		guard_tell(SHUNT_EVENT_BREAKER, variant, backend, instance,
			   SHUNT_BREAKER_NEW(done));
}

/* Counts a response in a breaker's windows. @response: code, and in the upper half as @told. */
__attribute__((noinline)) int guard_record(__u32 breaker, __u32 instance, __u64 now_ns, __u32 code,
					   __u64 told)
{
	struct shunt_response response = {
		.code = code,
		.has_latency = told != 0,
		.latency_us = told,
	};

	shunt_breaker_record(GUARD_BK, breaker, instance, now_ns, &response);
	return 0;
}

/*
 * Counts a response for the breaker that it concerns, and has it judge by it.
 *
 * Measured (BPF_PROG_TEST_RUN, one CPU): 5 ns where there is no breaker; 55 ns with 3 watches, 76
 * with 7, the clock among them; an evaluation, once in checkPeriod at most, 41 ns with one
 * comparison, 98 ns with four. It loads 10 words for each watch of each comparison, and 10 for
 * minRequests: 490 at most.
 */
static __always_inline void guard_breaker(__u32 variant, __u32 backend, __u32 code, __u64 told)
{
	__u64 found = guard_find(variant, backend), now_ns;
	__u32 instance = found >> 32;

	if (!found)
		return;
	now_ns = bpf_ktime_get_ns();
	guard_record(found, instance, now_ns, code, told);
	guard_tell_phase(shunt_breaker_check(GUARD_BK, found, instance, now_ns), variant, backend,
			 instance);
}

/* ---- the dead-man switch ------------------------------------------------------------------- */

/* Counts a response for it, and tells if it trips. */
static __always_inline void guard_dead_man(__u32 variant, __u32 code)
{
	__u32 now = dead_man_count(variant, code);
	__u64 worse = now ? dead_man_judge(variant, now) : 0;

	if (worse)
		guard_tell(SHUNT_EVENT_TRIPPED, variant, 0, 0, worse);
}

/* ---- outlier ejection ---------------------------------------------------------------------- */

/* Tells what became of a backend. @did: as shunt_eject_judge() says */
static __always_inline void guard_tell_ejection(__u32 variant, __u32 backend, __u64 did)
{
	if (did & SHUNT_EJECT_RETURNED)
		guard_tell(SHUNT_EVENT_RETURNED, variant, backend, 0, 0);
	else if (did)
		guard_tell(SHUNT_EVENT_EJECTED, variant, backend, 0, did);
}

/* Counts a response for its backend's row of errors, and ejects it or brings it back. */
static __always_inline void guard_ejection(__u32 variant, __u32 backend, __u32 code)
{
	/* The clock is read only where a row is full, or the backend out. */
	if (shunt_eject_record(EJECT_EJ, variant, backend, code))
		guard_tell_ejection(variant, backend,
				    shunt_eject_judge(EJECT_EJ, variant, backend, code,
						      SHUNT_EJECT_TIME(bpf_ktime_get_ns())));
}

/* ---- responses ----------------------------------------------------------------------------- */

/* What guard_response() is told of the time that a response took. */
#define GUARD_TIMED(us) (1ull << 32 | (us))

/**
 * guard_judge - all that judges by responses has seen one
 * @code: of HTTP; 502: refused, or reset before an answer; 504: unanswered; 0: not known; where no
 *	  HTTP is seen, enum shunt_outcome
 * @told: GUARD_TIMED(us), or 0: its time is not known
 *
 * In line, for HTTP/2 is read where only two frames of the verifier's eight are left.
 */
static __always_inline void guard_judge(__u32 variant, __u32 backend, __u32 code, __u64 told)
{
	guard_breaker(variant, backend, code, told);
	guard_dead_man(variant, code);
	guard_ejection(variant, backend, code);
}

/* As guard_judge(), from wherever three frames are left. Return: 0. */
__attribute__((noinline)) int guard_response(__u32 variant, __u32 backend, __u32 code, __u64 told)
{
	guard_judge(variant, backend, code, told);
	return 0;
}

/* The phase of the breaker that guard_find() told of; closed if it is none. */
static __always_inline __u32 guard_phase(__u64 found)
{
	const struct shunt_breaker_state *state =
		found ? shunt_bk_state(GUARD_BK, found >> 32) : NULL;

	return state ? SHUNT_BREAKER_PHASE(SHUNT_READ_ONCE(state->word)) : SHUNT_BREAKER_CLOSED;
}

/*
 * Does the breaker that guard_find() told of refuse? Asked where it is not closed, as it mostly
 * is: the clock and a throw take some 25 ns.
 */
static __always_inline int guard_refuses(__u64 found, __u32 variant, __u32 backend)
{
	__u32 done = shunt_breaker_admit(GUARD_BK, found, found >> 32, bpf_ktime_get_ns(),
					 bpf_get_prandom_u32());

	guard_tell_phase(done, variant, backend, found >> 32);
	return done & SHUNT_BREAKER_REFUSED;
}

/**
 * guard_admit - does a breaker let a new connection through?
 *
 * Return: 0: it does, or there is none; else its index in shunt_breakers.
 */
__attribute__((noinline)) __u32 guard_admit(__u32 variant, __u32 backend)
{
	__u64 found = guard_find(variant, backend);

	if (guard_phase(found) == SHUNT_BREAKER_CLOSED)
		return 0;
	return guard_refuses(found, variant, backend) ? found : 0;
}

/* The variant that gets what @breaker refuses; 0: nobody does. */
static __always_inline __u32 guard_fallback(__u32 breaker)
{
	const struct shunt_breaker_rule *rule = shunt_bk_rule(GUARD_BK, breaker);

	return rule ? rule->fallback : 0;
}

/**
 * guard_admit_request - does a breaker let a request on an established connection through?
 * @is_first: of its connection, which a recovering breaker has let in: asked twice, less than the
 *            share that is due would pass
 *
 * What goes to the fallback does so because a breaker refused it, maybe this one.
 *
 * Return: 0: it does; else the status code of the answer that the client is to get instead.
 */
__attribute__((noinline)) __u32 guard_admit_request(__u32 variant, __u32 backend, __u32 is_first)
{
	__u64 found = guard_find(variant, backend);
	const struct shunt_breaker_rule *rule;
	__u32 phase = guard_phase(found);

	if (phase == SHUNT_BREAKER_CLOSED || (is_first && phase == SHUNT_BREAKER_RECOVERING))
		return 0;
	rule = shunt_bk_rule(GUARD_BK, found);
	if (!rule || rule->fallback == variant)
		return 0;
	return guard_refuses(found, variant, backend) ? rule->response_code : 0;
}

#endif
