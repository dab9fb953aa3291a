/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_DEAD_MAN_H
#define SHUNT_BPF_DEAD_MAN_H

#include "lookup.h"
#include "maps.h"
#include "shunt/dead_man.h"

/*
 * The dead-man switch (shunt/dead_man.h): each response of the canary is weighed against those of
 * the stable variant, and the one that tips the scale takes the canary's weight away, by a word
 * that only an operator or a new weight takes back. The rule stands in the service's policy, so it
 * changes with the weights, at once.
 */

/* The rule that @variant is part of, or NULL. */
static __always_inline const struct shunt_dead_man_rule *dead_man_rule(__u32 variant)
{
	const struct shunt_variant *v = bpf_map_lookup_elem(&shunt_variants, &variant);
	const struct shunt_settings *settings = lookup_settings();
	const struct shunt_policy_record *p;
	__u32 policy;

	if (!v || !settings)
		return NULL;
	policy = lookup_policy(v->service, SHUNT_READ_ONCE(settings->epoch) & 1);
	if (!policy)
		return NULL;
	p = bpf_map_lookup_elem(&shunt_policies, &policy);
	if (!p || !p->dead_man.canary)
		return NULL;
	return variant == p->dead_man.canary || variant == p->dead_man.stable ? &p->dead_man : NULL;
}

/* Responses and errors of @variant in the window. */
static __always_inline struct shunt_dead_man_sample dead_man_sample(__u32 variant, __u32 now,
								    __u32 seconds)
{
	const struct shunt_dead_man_counts *counts =
		bpf_map_lookup_elem(&shunt_dead_man_counts, &variant);
	struct shunt_dead_man_sample sample = {};

	if (!counts)
		return sample;
	sample.responses = shunt_dead_man_sum(counts->responses, now, seconds);
	sample.errors = shunt_dead_man_sum(counts->errors, now, seconds);
	return sample;
}

/*
 * Would the stable variant get what is taken from the canary? Else nobody would, and all new
 * connections were refused for the sake of some.
 */
static __always_inline int dead_man_has_heir(__u32 stable)
{
	const struct shunt_overlay *overlay = bpf_map_lookup_elem(&shunt_overlay, &stable);
	const struct shunt_variant *v = bpf_map_lookup_elem(&shunt_variants, &stable);

	return overlay && v && !SHUNT_READ_ONCE(overlay->tripped) && SHUNT_READ_ONCE(v->weight);
}

/**
 * dead_man_count - count a response of @variant, if it is under a dead-man switch
 * @code: as guard_judge(). 0 (not known) and what is not final say nothing
 *
 * Return: 0; or, of the canary's, the present second: dead_man_judge() is to be asked.
 */
__attribute__((noinline)) __u32 dead_man_count(__u32 variant, __u32 code)
{
	const struct shunt_dead_man_rule *rule = dead_man_rule(variant);
	struct shunt_dead_man_counts *counts;
	__u32 second;

	if (!rule || code < 200)
		return 0;
	counts = bpf_map_lookup_elem(&shunt_dead_man_counts, &variant);
	if (!counts)
		return 0;
	second = bpf_ktime_get_ns() / SHUNT_NS_PER_S;
	if (code != SHUNT_CUT_OFF)
		shunt_window_add(shunt_dead_man_word(counts->responses, second), second);
	if (SHUNT_DEAD_MAN_IS_ERROR(code))
		shunt_window_add(shunt_dead_man_word(counts->errors, second), second);
	return variant == rule->canary ? second : 0;
}

/**
 * dead_man_judge - trip @canary if it is worse than it may be
 * @now: as dead_man_count() said; a second read of the clock would take 41 ns
 *
 * Return: 0; or both ratios of errors in 1/100 %, the stable variant's in the upper half: it has
 * tripped just now, and this CPU is the one to tell.
 */
__attribute__((noinline)) __u64 dead_man_judge(__u32 canary, __u32 now)
{
	struct shunt_overlay *overlay = bpf_map_lookup_elem(&shunt_overlay, &canary);
	const struct shunt_dead_man_rule *rule = dead_man_rule(canary);
	struct shunt_dead_man_sample its, others;

	if (!rule || !overlay || SHUNT_READ_ONCE(overlay->tripped) ||
	    !dead_man_has_heir(rule->stable))
		return 0;
	its = dead_man_sample(canary, now, rule->seconds);
	others = dead_man_sample(rule->stable, now, rule->seconds);
	if (!shunt_dead_man_trips(rule->margin_bp, rule->min_samples, its, others) ||
	    shunt_cmpxchg(&overlay->tripped, 0, 1))
		return 0;
	return (__u64)shunt_dead_man_ratio_bp(others) << 32 | shunt_dead_man_ratio_bp(its);
}

#endif
