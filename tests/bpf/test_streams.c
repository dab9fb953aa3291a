// SPDX-License-Identifier: Apache-2.0
/* What the kernel decides by responses: its run against the same code in user space. */
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "policy/expression.h"
#include "shunt/compat.h"
#include "shunt/dead_man.h"
#include "shunt/choose.h"
#include "streams.h"
#include "tests/bpf/streams.skel.h"

TestSuite(streams, .timeout = 300);

typedef const struct shunt_dp_maps *shunt_bk_t;

static const struct shunt_breaker_rule *shunt_bk_rule(shunt_bk_t maps, __u32 breaker)
{
	return breaker < maps->breakers.n
		       ? SHUNT_DP_AT(maps->breakers, struct shunt_breaker_rule, breaker)
		       : NULL;
}

static struct shunt_breaker_state *shunt_bk_state(shunt_bk_t maps, __u32 instance)
{
	return instance < maps->breaker_states.n
		       ? SHUNT_DP_AT(maps->breaker_states, struct shunt_breaker_state, instance)
		       : NULL;
}

static __u64 *shunt_bk_word(shunt_bk_t maps, __u32 index)
{
	return index < maps->breaker_words.n
		       ? &SHUNT_DP_AT(maps->breaker_words, struct shunt_breaker_word, index)->word
		       : NULL;
}

#include "shunt/breaker.h"

typedef const struct shunt_dp_maps *shunt_ej_t;

static const struct shunt_eject_rule *shunt_ej_rule(shunt_ej_t maps, __u32 variant)
{
	const struct shunt_eject_rule *rule =
		&SHUNT_DP_AT(maps->variant_guards, struct shunt_variant_guard, variant)->eject[0];

	return rule->consecutive_5xx || rule->consecutive_gateway ? rule : NULL;
}

static struct shunt_eject_state *shunt_ej_state(shunt_ej_t maps, __u32 backend)
{
	return SHUNT_DP_AT(maps->eject_states, struct shunt_eject_state, backend);
}

static __u64 *shunt_ej_place(shunt_ej_t maps, __u32 index)
{
	return &SHUNT_DP_AT(maps->eject_places, struct shunt_eject_place, index)->word;
}

static const struct shunt_backend *shunt_ej_backend(shunt_ej_t maps, __u32 backend)
{
	return SHUNT_DP_AT(maps->backends, struct shunt_backend, backend);
}

#include "shunt/eject.h"

#define S	  1000000000ull
#define ROUNDS	  16 /* of STREAM_EVENTS events */
#define POLICY	  1
#define CANARY	  1
#define STABLE	  2
#define BREAKERS  8
#define INSTANCES 16
#define BACKENDS  12 /* in turn of either variant's, two of each family's */

static const struct lab_kind kind = { "IPv4 TCP tc", SHUNT_V4, IPPROTO_TCP, LAB_TC };

struct scene {
	struct lab lab;
	struct shunt_dp_maps mine; /* but for what changes, the lab's */
	struct streams *streams;
	struct stream_input *input;
	struct stream_event *events;
	uint64_t random, clock;
};

/* The arrays that events change, which stand twice. */
#define EACH_CHANGED(X)                                                                            \
	X(breaker_states)                                                                          \
	X(breaker_words) X(dead_man_counts) X(overlay) X(eject_states) X(eject_places)

static uint64_t random_word(struct scene *s)
{
	s->random += 0x9e3779b97f4a7c15ull;
	return shunt_mix64(s->random);
}

static void *own(const void *base, size_t bytes)
{
	void *copy = malloc(bytes);

	cr_assert_not_null(copy);
	memcpy(copy, base, bytes);
	return copy;
}

static uint32_t variant_of(uint32_t backend)
{
	return backend & 2 ? CANARY : STABLE;
}

static void put_backends(struct scene *s)
{
	const struct shunt_dp_maps *maps = &s->lab.maps;

	SHUNT_DP_AT(maps->services, struct shunt_service, 1)->policy[0] = POLICY;
	for (uint32_t v = CANARY; v <= STABLE; v++)
		*SHUNT_DP_AT(maps->variants, struct shunt_variant, v) =
			(struct shunt_variant){ .service = 1, .weight = 1 };
	for (uint32_t b = 1; b <= BACKENDS; b++)
		*SHUNT_DP_AT(maps->backends, struct shunt_backend, b) = (struct shunt_backend){
			.variant = variant_of(b),
			.family = b & 1 ? SHUNT_V6 : SHUNT_V4,
		};
}

static void scene_open(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	s->random = 42;
	s->clock = 100 * S;
	lab_open(&s->lab, LAB_SETS);
	lab_reset(&s->lab, &kind);
	s->streams = streams__open();
	cr_assert_not_null(s->streams);
	lab_share_maps(&s->lab, s->streams->obj);
	cr_assert_eq(streams__load(s->streams), 0, "%m");
	s->input = lab_map_memory(s->streams->maps.stream_input);
	s->events = lab_map_memory(s->streams->maps.stream_events);
	put_backends(s);
	s->mine = s->lab.maps;
#define OWN(array)                                                                                 \
	s->mine.array.base =                                                                       \
		own(s->mine.array.base, (size_t)s->mine.array.n * s->mine.array.stride);
	EACH_CHANGED(OWN)
#undef OWN
}

static void scene_close(struct scene *s)
{
#define FREE(array) free(s->mine.array.base);
	EACH_CHANGED(FREE)
#undef FREE
	streams__destroy(s->streams);
	lab_close(&s->lab);
}

/* ---- what is decided by --------------------------------------------------------------------- */

static void random_breaker(struct scene *s, uint32_t breaker)
{
	static const char *const expressions[] = {
		"NetworkErrorRatio() > 0.1",
		"ResponseCodeRatio(500, 600, 0, 600) > 0.3",
		"LatencyAtQuantileMS(50.0) > 20",
		"LatencyAtQuantileMS(99.0) >= 300 || ResponseCodeRatio(500, 502, 200, 600) > 0.4",
		"NetworkErrorRatio() > 0.05 && LatencyAtQuantileMS(95.0) > 5",
		("ResponseCodeRatio(400, 500, 0, 600) >= 0.2 && (NetworkErrorRatio() < 0.5 || "
		 "LatencyAtQuantileMS(20.0) <= 2)"),
	};
	uint64_t r = random_word(s);
	struct shunt_breaker_rule *rule =
		SHUNT_DP_AT(s->lab.maps.breakers, struct shunt_breaker_rule, breaker);
	struct shunt_err err;

	*rule = (struct shunt_breaker_rule){
		.check_ns = r % 200 * 1000000,
		.open_ns = 1000000 + (r >> 8) % (4 * S),
		.recovery_ns = 1000000 + (r >> 24) % (4 * S),
		.min_requests = (r >> 56) % 30,
		.window_base = (uint32_t)(random_word(s) & 0xffff),
	};
	cr_assert_eq(shunt_expression_compile(expressions[random_word(s) % ARRAY_LEN(expressions)],
					      &rule->predicate, &err),
		     0, "%s", err.text);
}

static void random_ejection(struct scene *s, uint32_t variant)
{
	uint64_t r = random_word(s);
	struct shunt_eject_rule *rule =
		&SHUNT_DP_AT(s->lab.maps.variant_guards, struct shunt_variant_guard, variant)
			 ->eject[0];

	*rule = (struct shunt_eject_rule){
		.consecutive_5xx = (uint16_t)(r % 6),
		.consecutive_gateway = (uint16_t)(r >> 4) % 4,
		.base = 1 + (uint32_t)(r >> 8) % 3000,
		.interval = 1 + (uint32_t)(r >> 24) % 10000,
		.members = { BACKENDS / 4, BACKENDS / 4 },
		.most = { (uint8_t)(r >> 40) % 3, (uint8_t)(r >> 42) % 3 },
		.panic_at = { (uint8_t)(r >> 44) % 3, (uint8_t)(r >> 46) % 3 },
	};
	rule->longest = rule->base * (1 + (uint32_t)(r >> 48) % 5);
}

static void random_rules(struct scene *s)
{
	uint64_t r = random_word(s);

	random_ejection(s, CANARY);
	random_ejection(s, STABLE);

	for (uint32_t b = 1; b <= BREAKERS; b++)
		random_breaker(s, b);
	SHUNT_DP_AT(s->lab.maps.policies, struct shunt_policy_record, POLICY)->dead_man =
		(struct shunt_dead_man_rule){
			.canary = CANARY,
			.stable = STABLE,
			.margin_bp = (uint32_t)(r % 3000),
			.min_samples = (uint32_t)(r >> 16) % 50,
			.seconds = SHUNT_DEAD_MAN_SECONDS(1 + (r >> 32) % 10000),
		};
}

/* Mostly well, at times ill, in spells of some seconds. */
static uint32_t random_code(const struct scene *s, uint64_t r)
{
	static const uint16_t well[] = { 200, 204, 301, 200, 404, 200, 100, 0 };
	static const uint16_t ill[] = { 500, 502, 503, 504, 599, 200, 404, 600 };
	static const uint16_t blind[] = { SHUNT_CONNECTED, SHUNT_NOT_CONNECTED, SHUNT_CUT_OFF,
					  SHUNT_CONNECTED };
	uint64_t spell = shunt_mix64(s->clock / (3 * S));

	/* At times what stands for a code where no HTTP is seen. */
	if (r >> 3 & 1)
		return spell % 3 ? SHUNT_CONNECTED : blind[r % 4];
	return spell % 3 ? well[r >> 4 & 7] : ill[r >> 4 & 7];
}

static struct stream_event random_event(struct scene *s)
{
	uint64_t r = random_word(s), more = random_word(s);
	uint32_t instance = (uint32_t)(1 + r % INSTANCES);
	uint32_t backend = 1 + (uint32_t)(more >> 20) % BACKENDS;
	uint32_t us = (uint32_t)((more >> 8 & 0x3fffff) >> (more & 15));

	/* Milliseconds go by; at times a second, or more than all windows hold. */
	s->clock += r % 2000 ? r >> 40 & 0x1fffff : (more >> 32) % 2 ? S : (more >> 33) % (200 * S);
	return (struct stream_event){
		/* CPUs read the clock in one order and come in another. */
		.now_ns = s->clock - (r >> 8 & 255),
		.told = more >> 60 ? 1ull << 32 | us : 0,
		.kind = (r >> 16) % 1000 == 0	 ? STREAM_CLEAR
			: (r >> 16) % 1000 < 400 ? STREAM_ADMIT
						 : STREAM_RESPONSE,
		.breaker = 1 + instance % BREAKERS,
		.instance = instance,
		.variant = variant_of(backend),
		.backend = backend,
		.code = random_code(s, r >> 32),
		.random = (uint32_t)random_word(s),
	};
}

/* ---- what user space makes of it ------------------------------------------------------------- */

static struct shunt_dead_man_sample sample_of(const struct scene *s, uint32_t variant, uint32_t now,
					      uint32_t seconds)
{
	const struct shunt_dead_man_counts *counts =
		SHUNT_DP_AT(s->mine.dead_man_counts, struct shunt_dead_man_counts, variant);

	return (struct shunt_dead_man_sample){
		.responses = shunt_dead_man_sum(counts->responses, now, seconds),
		.errors = shunt_dead_man_sum(counts->errors, now, seconds),
	};
}

static uint64_t my_dead_man(const struct scene *s, const struct stream_event *e)
{
	const struct shunt_dead_man_rule *rule =
		&SHUNT_DP_AT(s->mine.policies, struct shunt_policy_record, POLICY)->dead_man;
	struct shunt_dead_man_counts *counts =
		SHUNT_DP_AT(s->mine.dead_man_counts, struct shunt_dead_man_counts, e->variant);
	struct shunt_overlay *overlay =
		SHUNT_DP_AT(s->mine.overlay, struct shunt_overlay, e->variant);
	uint32_t now = (uint32_t)(e->now_ns / S);
	struct shunt_dead_man_sample its, others;

	if (e->code < 200)
		return 0;
	if (e->code != SHUNT_CUT_OFF)
		shunt_window_add(shunt_dead_man_word(counts->responses, now), now);
	if (SHUNT_DEAD_MAN_IS_ERROR(e->code))
		shunt_window_add(shunt_dead_man_word(counts->errors, now), now);
	if (e->variant != CANARY || overlay->tripped)
		return 0;
	its = sample_of(s, CANARY, now, rule->seconds);
	others = sample_of(s, STABLE, now, rule->seconds);
	if (!shunt_dead_man_trips(rule->margin_bp, rule->min_samples, its, others))
		return 0;
	overlay->tripped = 1;
	return (uint64_t)shunt_dead_man_ratio_bp(others) << 32 | shunt_dead_man_ratio_bp(its);
}

/* Is the backend out for a new connection? As eject_refuses() of bpf/eject.h. */
static uint64_t my_refusal(const struct scene *s, const struct stream_event *e)
{
	const struct shunt_eject_rule *rule = shunt_ej_rule(&s->mine, e->variant);
	struct shunt_eject_state *state = shunt_ej_state(&s->mine, e->backend);
	uint32_t family = e->backend & 1, out = 0;

	if (SHUNT_EJECT_PHASE(state->word) != SHUNT_EJECT_OUT || !rule ||
	    shunt_eject_admits(state, e->now_ns))
		return 0;
	/* Counted by the backends, where the kernel counts by places. */
	for (uint32_t b = 1; b <= BACKENDS; b++)
		out += variant_of(b) == e->variant && (b & 1) == family &&
		       SHUNT_EJECT_PHASE(shunt_ej_state(&s->mine, b)->word) == SHUNT_EJECT_OUT;
	return rule->panic_at[family] && out >= rule->panic_at[family] ? 0 : rule->members[family];
}

static uint64_t my_ejection(const struct scene *s, const struct stream_event *e)
{
	if (e->kind == STREAM_ADMIT)
		return my_refusal(s, e);
	if (e->kind == STREAM_CLEAR ||
	    !shunt_eject_record(&s->mine, e->variant, e->backend, e->code))
		return 0;
	return shunt_eject_judge(&s->mine, e->variant, e->backend, e->code,
				 SHUNT_EJECT_TIME(e->now_ns));
}

/* Return: what is done with @e here; *@ret_worse: by the dead-man switch. */
static uint32_t my_event(const struct scene *s, const struct stream_event *e, uint64_t *ret_worse)
{
	const struct shunt_response response = {
		.code = (uint16_t)e->code,
		.has_latency = e->told != 0,
		.latency_us = (uint32_t)e->told,
	};

	*ret_worse = 0;
	if (e->kind == STREAM_ADMIT)
		return shunt_breaker_admit(&s->mine, e->breaker, e->instance, e->now_ns, e->random);
	if (e->kind == STREAM_CLEAR) {
		SHUNT_DP_AT(s->mine.overlay, struct shunt_overlay, e->variant)->tripped = 0;
		return 0;
	}
	shunt_breaker_record(&s->mine, e->breaker, e->instance, e->now_ns, &response);
	*ret_worse = my_dead_man(s, e);
	return shunt_breaker_check(&s->mine, e->breaker, e->instance, e->now_ns);
}

/* ---- the comparison ----------------------------------------------------------------------------
 */

struct tally {
	uint64_t differ, refused, tripped, avoided, ejected, returned;
	uint64_t began[SHUNT_N_BREAKER_PHASES];
};

static void run(const struct scene *s)
{
	uint8_t frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = STREAM_EVENTS);

	s->input->next = 0;
	cr_assert_eq(bpf_prog_test_run_opts(bpf_program__fd(s->streams->progs.stream_run), &opts),
		     0);
	cr_assert_eq(s->input->next, STREAM_EVENTS);
}

static void compare(const struct scene *s, struct tally *tally)
{
	for (uint32_t i = 0; i < STREAM_EVENTS; i++) {
		const struct stream_event *e = &s->events[i];
		uint64_t worse;
		uint32_t done = my_event(s, e, &worse);
		uint64_t did = my_ejection(s, e);

		tally->differ += done != e->done || worse != e->worse || did != e->did;
		tally->avoided += e->kind == STREAM_ADMIT && did;
		tally->returned += did == SHUNT_EJECT_RETURNED;
		tally->ejected += e->kind == STREAM_RESPONSE && did && did != SHUNT_EJECT_RETURNED;
		tally->refused += done & SHUNT_BREAKER_REFUSED;
		tally->tripped += worse != 0;
		if (done & SHUNT_BREAKER_ENTERED)
			tally->began[SHUNT_BREAKER_NEW(done)]++;
	}
#define SAME(array)                                                                                \
	cr_assert_eq(memcmp(s->mine.array.base, s->lab.maps.array.base,                            \
			    (size_t)s->mine.array.n * s->mine.array.stride),                       \
		     0, #array);
	EACH_CHANGED(SAME)
#undef SAME
}

Test(streams, a_million_random_events_are_decided_alike_in_the_kernel_and_here)
{
	struct tally tally = { 0 };
	struct scene s;

	scene_open(&s);
	for (int round = 0; round < ROUNDS; round++) {
		random_rules(&s);
		for (uint32_t i = 0; i < STREAM_EVENTS; i++)
			s.events[i] = random_event(&s);
		run(&s);
		compare(&s, &tally);
	}
	printf("refused %llu, opened %llu, recovered %llu, closed %llu, tripped %llu\n",
	       (unsigned long long)tally.refused,
	       (unsigned long long)tally.began[SHUNT_BREAKER_OPEN],
	       (unsigned long long)tally.began[SHUNT_BREAKER_RECOVERING],
	       (unsigned long long)tally.began[SHUNT_BREAKER_CLOSED],
	       (unsigned long long)tally.tripped);
	cr_expect_eq(tally.differ, 0, "%llu answers differ", (unsigned long long)tally.differ);
	cr_expect_gt(tally.refused, 10000);
	cr_expect_gt(tally.began[SHUNT_BREAKER_OPEN], 100);
	cr_expect_gt(tally.began[SHUNT_BREAKER_RECOVERING], 100);
	cr_expect_gt(tally.began[SHUNT_BREAKER_CLOSED], 100);
	cr_expect_gt(tally.tripped, 10);
	printf("avoided %llu, ejected %llu, returned %llu\n", (unsigned long long)tally.avoided,
	       (unsigned long long)tally.ejected, (unsigned long long)tally.returned);
	cr_expect_gt(tally.avoided, 1000);
	cr_expect_gt(tally.ejected, 1000);
	cr_expect_gt(tally.returned, 500);
	scene_close(&s);
}
