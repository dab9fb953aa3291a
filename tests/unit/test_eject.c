// SPDX-License-Identifier: Apache-2.0
/* Outlier ejection (shunt/eject.h) by many threads at once: what must hold whoever was faster. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "shunt/abi.h"
#include "shunt/choose.h"

TestSuite(eject, .timeout = 60);

#define VARIANT	 1
#define BACKENDS 12
#define MOST	 3
#define THREADS	 4
#define EVENTS	 300 /* of each, between two checks */
#define ROUNDS	 6000

struct memory {
	struct shunt_eject_rule rule;
	struct shunt_eject_state states[BACKENDS + 1];
	struct shunt_eject_place places[(VARIANT + 1) * SHUNT_N_FAMILIES * SHUNT_EJECT_PLACES];
	struct shunt_backend backends[BACKENDS + 1];
	__u64 clock; /* in SHUNT_EJECT_TIME() */
};

typedef struct memory *shunt_ej_t;

static const struct shunt_eject_rule *shunt_ej_rule(shunt_ej_t m, __u32 variant)
{
	return variant == VARIANT ? &m->rule : NULL;
}

static struct shunt_eject_state *shunt_ej_state(shunt_ej_t m, __u32 backend)
{
	return backend && backend <= BACKENDS ? &m->states[backend] : NULL;
}

static __u64 *shunt_ej_place(shunt_ej_t m, __u32 index)
{
	return &m->places[index].word;
}

static const struct shunt_backend *shunt_ej_backend(shunt_ej_t m, __u32 backend)
{
	return backend && backend <= BACKENDS ? &m->backends[backend] : NULL;
}

#include "shunt/eject.h"

struct hammer {
	struct memory *memory;
	pthread_barrier_t *barrier;
	uint64_t seed;
	uint64_t ejected, returned;
};

static uint32_t places_taken(struct memory *m)
{
	return shunt_eject_n_out(m, SHUNT_EJECT_PLACE(VARIANT, SHUNT_V4), SHUNT_EJECT_PLACES);
}

static void one_event(struct hammer *h)
{
	static const uint16_t codes[] = { 200, 500, 503, 502, 500, 504, 404, 500 };
	uint64_t r = shunt_mix64(h->seed++), did;
	uint32_t backend = 1 + (uint32_t)(r >> 8) % BACKENDS, code = codes[r & 7];
	__u64 now = shunt_fetch_add(&h->memory->clock, 1);

	if (!shunt_eject_record(h->memory, VARIANT, backend, code))
		return;
	did = shunt_eject_judge(h->memory, VARIANT, backend, code, now);
	h->returned += did == SHUNT_EJECT_RETURNED;
	h->ejected += did && did != SHUNT_EJECT_RETURNED;
}

/* While nobody changes anything: who is out has a place, and who has a place is out. */
static void check(struct memory *m)
{
	uint32_t out = 0;

	for (uint32_t b = 1; b <= BACKENDS; b++) {
		cr_assert_neq(SHUNT_EJECT_PHASE(m->states[b].word), SHUNT_EJECT_LEAVING,
			      "backend %u never got anywhere", b);
		out += SHUNT_EJECT_PHASE(m->states[b].word) == SHUNT_EJECT_OUT;
	}
	cr_assert_leq(out, MOST);
	cr_assert_eq(out, places_taken(m), "%u are out, %u have places", out, places_taken(m));
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < EVENTS; i++)
			one_event(h);
		if (pthread_barrier_wait(h->barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			check(h->memory);
		pthread_barrier_wait(h->barrier);
	}
	return NULL;
}

Test(eject, however_many_cpus_eject_no_more_are_out_than_may_and_each_time_is_told_once)
{
	static struct memory m;
	struct hammer h[THREADS];
	pthread_t threads[THREADS];
	pthread_barrier_t barrier;
	uint64_t ejected = 0, returned = 0, counted = 0;

	m.rule = (struct shunt_eject_rule){ .consecutive_5xx = 3,
					    .consecutive_gateway = 2,
					    .base = 20,
					    .longest = 100,
					    .interval = 50,
					    .members = { BACKENDS, BACKENDS },
					    .most = { MOST, MOST } };
	m.clock = 1000;
	for (uint32_t b = 1; b <= BACKENDS; b++)
		m.backends[b] = (struct shunt_backend){ .variant = VARIANT, .family = SHUNT_V4 };
	cr_assert_eq(pthread_barrier_init(&barrier, NULL, THREADS), 0);
	for (int t = 0; t < THREADS; t++) {
		h[t] = (struct hammer){ &m, &barrier, (uint64_t)t << 32, 0, 0 };
		cr_assert_eq(pthread_create(&threads[t], NULL, hammer, &h[t]), 0);
	}
	for (int t = 0; t < THREADS; t++) {
		pthread_join(threads[t], NULL);
		ejected += h[t].ejected;
		returned += h[t].returned;
	}
	for (uint32_t b = 1; b <= BACKENDS; b++)
		counted += m.states[b].ejected;
	cr_expect_eq(ejected, counted);
	cr_expect_gt(returned, 1000);
	cr_expect_leq(returned, ejected);
}
