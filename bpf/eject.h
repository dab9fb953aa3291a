/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_EJECT_H
#define SHUNT_BPF_EJECT_H

#include "backend.h"
#include "lookup.h"
#include "scratch.h"

/*
 * Outlier ejection (shunt/eject.h): where its memory is, and to whom a new connection goes whose
 * backend is out. Its memory is the maps; the handle says nothing more.
 */
typedef __u32 shunt_ej_t;
#define EJECT_EJ ((shunt_ej_t)0)

/* clang passes garbage for an argument that it knows nobody reads; the verifier minds. */
#define EJECT_USE(t) asm volatile("" : : "r"(t))

/* The rule of @variant in this epoch; NULL: it ejects nobody. */
static __always_inline const struct shunt_eject_rule *shunt_ej_rule(shunt_ej_t t, __u32 variant)
{
	const struct shunt_variant_guard *guard =
		bpf_map_lookup_elem(&shunt_variant_guards, &variant);
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_eject_rule *rule;

	EJECT_USE(t);
	if (!guard || !settings)
		return NULL;
	if (SHUNT_READ_ONCE(settings->epoch) & 1) {
		rule = &guard->eject[1];
		SHUNT_OPAQUE_CASE(rule, 1);
	} else {
		rule = &guard->eject[0];
		SHUNT_OPAQUE_CASE(rule, 0);
	}
	return rule->consecutive_5xx || rule->consecutive_gateway ? rule : NULL;
}

static __always_inline struct shunt_eject_state *shunt_ej_state(shunt_ej_t t, __u32 backend)
{
	EJECT_USE(t);
	return bpf_map_lookup_elem(&shunt_eject_states, &backend);
}

static __always_inline __u64 *shunt_ej_place(shunt_ej_t t, __u32 index)
{
	struct shunt_eject_place *place = bpf_map_lookup_elem(&shunt_eject_places, &index);

	EJECT_USE(t);
	return place ? &place->word : NULL;
}

static __always_inline const struct shunt_backend *shunt_ej_backend(shunt_ej_t t, __u32 backend)
{
	EJECT_USE(t);
	return bpf_map_lookup_elem(&shunt_backends, &backend);
}

#include "shunt/eject.h"

/* ---- who is out ---------------------------------------------------------------------------- */

/* Are so many of @variant out that nobody counts as out? */
static __always_inline int eject_is_panic(const struct shunt_eject_rule *rule, __u32 variant,
					  __u32 family)
{
	__u32 panic_at = SHUNT_PICK(family == SHUNT_V6, rule->panic_at[0], rule->panic_at[1]);

	return panic_at && shunt_eject_n_out(EJECT_EJ, SHUNT_EJECT_PLACE(variant, family),
					     panic_at) >= panic_at;
}

/**
 * eject_refuses - is @backend out for a new connection?
 *
 * Return: 0: it may go there, or tries it; else the number of backends among which another is
 * looked for.
 */
__attribute__((noinline)) __u32 eject_refuses(__u32 variant, __u32 backend, __u32 family)
{
	const struct shunt_eject_rule *rule;
	struct shunt_eject_state *state = shunt_ej_state(EJECT_EJ, backend);

	/* One line is all that is read of a backend that is in. */
	if (!state || SHUNT_EJECT_PHASE(SHUNT_READ_ONCE(state->word)) != SHUNT_EJECT_OUT)
		return 0;
	rule = shunt_ej_rule(EJECT_EJ, variant);
	if (!rule || shunt_eject_admits(state, bpf_ktime_get_ns()) ||
	    eject_is_panic(rule, variant, family))
		return 0;
	return SHUNT_PICK(family == SHUNT_V6, rule->members[0], rule->members[1]);
}

/* ---- who takes its connections ------------------------------------------------------------- */

/* @backend, if a connection may go there that is not to go to either of @not_these; else 0. */
static __always_inline __u32 eject_if_in(__u32 backend, __u32 variant, __u64 not_these)
{
	const struct shunt_eject_state *state = shunt_ej_state(EJECT_EJ, backend);
	const struct shunt_backend *b = shunt_ej_backend(EJECT_EJ, backend);

	if (!state || !b || backend == (__u32)not_these || backend == not_these >> 32)
		return 0;
	if (SHUNT_EJECT_PHASE(SHUNT_READ_ONCE(state->word)) == SHUNT_EJECT_OUT || b->flags ||
	    b->variant != variant)
		return 0;
	return backend;
}

/* The backend of the slot of @hash in the ring of the choice in the scratch, as eject_if_in(). */
__attribute__((noinline)) __u32 eject_slot(__u64 hash, __u64 not_these)
{
	const struct scratch *s = scratch_get();
	__u32 found = 0;

	if (!s || backend_choose(&s->nf.choice, hash, &found) != SHUNT_R_FORWARDED)
		return 0;
	return eject_if_in(found, s->nf.choice.variant, not_these);
}

#define EJECT_TRIES 8 /* slots of the ring that are looked at first: the load stays even */

/**
 * eject_try_ring - another backend by the ring of the choice in the scratch
 * @not_these: the one that is out, and one that has just failed (or 0) in the upper half
 *
 * Return: it, or 0.
 */
__attribute__((noinline)) __u32 eject_try_ring(__u64 hash, __u64 not_these)
{
	__u32 other = 0;

#pragma GCC unroll 8
	for (__u32 i = 1; i <= EJECT_TRIES; i++) {
		if (!other)
			other = eject_slot(shunt_mix64(hash + i), not_these);
	}
	return other;
}

/*
 * At most SHUNT_EJECT_PLACES are out, and one has failed: the walk finds whom there is.
 */
#define EJECT_WALK (SHUNT_EJECT_PLACES + 2)

/* Member @at of the choice in the scratch, as eject_if_in(). */
__attribute__((noinline)) __u32 eject_member(__u32 at, __u64 not_these)
{
	const struct scratch *s = scratch_get();
	__u32 index = s ? s->nf.choice.member_first + at : 0;
	const struct shunt_member *m = bpf_map_lookup_elem(&shunt_members, &index);

	return s && m ? eject_if_in(m->backend, s->nf.choice.variant, not_these) : 0;
}

/* The same by a walk through its @members, from one on that the hash chooses. */
__attribute__((noinline)) __u32 eject_walk(__u64 hash, __u64 not_these, __u32 members)
{
	__u32 at = ((shunt_mix64(hash) >> 32) * members) >> 32, other = 0;

#pragma GCC unroll 34
	for (__u32 i = 0; i < EJECT_WALK; i++) {
		if (i >= members || other)
			break;
		other = eject_member(at, not_these);
		at = at + 1 < members ? at + 1 : 0;
		/* One after the other: clang would make all numbers first, and spill them. */
		asm volatile("" : "+r"(at));
	}
	return other;
}

#endif
