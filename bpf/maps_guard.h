/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_MAPS_GUARD_H
#define SHUNT_BPF_MAPS_GUARD_H

/* The maps of what the kernel decides by itself. Included by maps.h alone. */

/*
 * shunt_breakers - circuit breakers
 *
 * Key:    breaker index, 1..
 * Value:  struct shunt_breaker_rule
 * Writer: agent, breakers.c: written aside; a freed record is reused after a grace period
 * Reader: bpf/guard.h, responses and new flows of services with a breaker
 * Miss:   no breaker
 * Size:   2 x --max-breakers: each may change all at once
 */
SHUNT_ARRAY(shunt_breakers, struct shunt_breaker_rule, 128);

/*
 * shunt_breaker_states - open or closed
 *
 * Key:    instance, 1..: one of a service, of a variant or of a backend
 * Value:  struct shunt_breaker_state
 * Writer: shunt/breaker.h, by compare-and-swap; agent, breakers.c, by an operator's word, and
 *         zeroes it for its next owner
 * Reader: shunt/breaker.h
 * Size:   --max-breakers
 */
SHUNT_ARRAY(shunt_breaker_states, struct shunt_breaker_state, 64);

/*
 * shunt_breaker_words - what the responses of the last seconds were
 *
 * Key:    instance * SHUNT_BREAKER_WORDS + watch * SHUNT_WINDOW_WORDS + second in the ring
 * Value:  struct shunt_breaker_word
 * Writer: shunt/breaker.h, per response; agent, breakers.c, zeroes them for their next owner
 * Reader: shunt/breaker.h, once in the breaker's check period
 * Size:   --max-breakers * SHUNT_BREAKER_WORDS
 */
SHUNT_ARRAY(shunt_breaker_words, struct shunt_breaker_word, 64 * SHUNT_BREAKER_WORDS);

/*
 * shunt_breaker_names - for people: whose an instance is
 *
 * Key, Size: as shunt_breaker_states
 * Value:  struct shunt_breaker_name
 * Writer: agent, breakers.c, before the index is used
 * Reader: user space only; a new agent learns the indices from here
 */
SHUNT_ARRAY(shunt_breaker_names, struct shunt_breaker_name, 64);

/*
 * shunt_variant_guards - which breaker are a variant's flows under, and who of it is ejected?
 *
 * Key, Size: as shunt_variants
 * Value:  struct shunt_variant_guard, two slots
 * Writer: agent, install.c: the idle slot, then the epoch
 * Reader: bpf/guard.h
 */
SHUNT_ARRAY(shunt_variant_guards, struct shunt_variant_guard, 2048);

/*
 * shunt_backend_guards - which instance is a backend's, of breakers of scope backend?
 *
 * Key, Size: as shunt_backends
 * Value:  struct shunt_backend_guard
 * Writer: agent, breakers.c: before a variant's guard says that each backend has its own
 * Reader: bpf/guard.h
 */
SHUNT_ARRAY(shunt_backend_guards, struct shunt_backend_guard, 4096);

/*
 * shunt_eject_states - errors in a row, ejections
 *
 * Key, Size: as shunt_backends
 * Value:  struct shunt_eject_state
 * Writer: shunt/eject.h, responses of variants with a rule. The agent zeroes one before its
 *	   index becomes another backend's
 * Reader: shunt/eject.h, also new flows
 */
SHUNT_ARRAY(shunt_eject_states, struct shunt_eject_state, 4096);

/*
 * shunt_eject_places - who of a variant is out
 *
 * Key:    (variant * SHUNT_N_FAMILIES + family) * SHUNT_EJECT_PLACES + place
 * Value:  struct shunt_eject_place
 * Writer: shunt/eject.h, by compare-and-swap; a place whose backend is not out by that ejection
 *	   is free, so nobody has to clear it
 * Reader: shunt/eject.h, ejections, and new flows where backends may panic
 * Size:   of shunt_variants, times both
 */
SHUNT_ARRAY(shunt_eject_places, struct shunt_eject_place,
	    2048 * SHUNT_N_FAMILIES * SHUNT_EJECT_PLACES);

/*
 * shunt_dead_man_counts - responses and errors of the last seconds
 *
 * Key, Size: as shunt_variants
 * Value:  struct shunt_dead_man_counts
 * Writer: bpf/dead_man.h, each response of a variant under a dead-man switch; atomic. The agent
 *	   clears them with shunt_overlay
 * Reader: bpf/dead_man.h, each response of a canary
 * Miss:   not counted
 */
SHUNT_ARRAY(shunt_dead_man_counts, struct shunt_dead_man_counts, 2048);

/*
 * shunt_events - what the kernel has decided by itself
 *
 * Key:    none: a ring buffer
 * Value:  struct shunt_event
 * Writer: bpf/guard.h, one for each decision
 * Reader: agent
 * Full:   counted as lost in shunt_event_counters
 * Size:   1600 events
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} shunt_events SEC(".maps");

/*
 * shunt_event_counters - how many of them were told, and how many lost
 *
 * Key:    0
 * Value:  struct shunt_event_counters, per CPU
 * Writer: bpf/guard.h
 * Reader: agent
 * Size:   1
 */
SHUNT_PERCPU_ARRAY(shunt_event_counters, struct shunt_event_counters, 1);

#endif
