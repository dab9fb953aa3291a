/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_ABI_GUARD_H
#define SHUNT_ABI_GUARD_H

#include "predicate.h"

/*
 * The part of the map ABI that says when a service, a variant or a backend stops, and what the
 * kernel has to tell about it. Included by abi.h alone.
 */

/* ---- circuit breakers: shunt/breaker.h works with them -------------------------------- */

/* Words of an instance in shunt_breaker_words: a window's (shunt/window.h) for each watch. */
#define SHUNT_BREAKER_WORDS 160

/* Index 0 is never used. Immutable while a variant names it, as a split is. */
struct shunt_breaker_rule {
	__u64 check_ns; /* the least time between two checks */
	__u64 open_ns;	/* Traefik's fallbackDuration */
	__u64 recovery_ns;
	__u32 min_requests; /* in the window, below which the condition does not count */
	/*
	 * Added to the seconds by which counts are told apart. It rises with each change of what
	 * is counted, so that no count is taken for one of another thing.
	 */
	__u32 window_base;
	__u32 fallback;	     /* index in shunt_variants: gets what is refused; 0: nobody does */
	__u16 response_code; /* of the answer to a request that is refused */
	__u16 reserved;
	struct shunt_predicate predicate;
};
_Static_assert(sizeof(struct shunt_breaker_rule) == 688, "no padding");

enum shunt_breaker_phase {
	SHUNT_BREAKER_CLOSED,
	SHUNT_BREAKER_OPEN,
	SHUNT_BREAKER_RECOVERING,
	SHUNT_BREAKER_FORCED_OPEN, /* by an operator, until he says otherwise */
	SHUNT_BREAKER_FORCED_CLOSED,
	SHUNT_N_BREAKER_PHASES
};

/* The phase, and when it ends: ns of the monotonic clock in 61 bits, 73 years. */
#define SHUNT_BREAKER_WORD(until_ns, phase) ((until_ns) << 3 | (phase))
#define SHUNT_BREAKER_PHASE(word)	    ((__u32)((word)&7))
#define SHUNT_BREAKER_UNTIL(word)	    ((word) >> 3)

/* Of an instance. All zero: closed, nothing counted. */
struct shunt_breaker_state {
	__u64 word;	     /* SHUNT_BREAKER_WORD */
	__u64 next_check_ns; /* moved by compare-and-swap: who does so checks */
	__u64 opened;	     /* how often */
	__u64 reserved[5];   /* a line each: other CPUs' breakers are elsewhere */
};
_Static_assert(sizeof(struct shunt_breaker_state) == 64, "a state is one cache line");

/* Responses of a second, or of ten, that a watch has counted: shunt/window.h. */
struct shunt_breaker_word {
	__u64 word;
};

/* For people, and for the next agent: what an instance belongs to. Empty where unused. */
struct shunt_breaker_name {
	char namespace_[SHUNT_NAME_LEN];
	char service[SHUNT_NAME_LEN];
	char variant[SHUNT_NAME_LEN]; /* scopes variant and backend: whose it is */
	__u32 variant_index;	      /* and its index in shunt_variants */
	__u32 backend_index;	      /* scope backend: index in shunt_backends */
	__be16 port_be;		      /* the first of the service ports that it stands for */
	__u8 proto;
	__u8 scope; /* enum shunt_limit_scope: service, variant or backend */
	__u32 reserved;
};
_Static_assert(sizeof(struct shunt_breaker_name) == 208, "no padding");

/* By variant index, two slots: which breaker its flows are under. */
struct shunt_variant_guard {
	__u32 breaker[2];  /* index in shunt_breakers; 0: none */
	__u32 instance[2]; /* index in shunt_breaker_states; 0: each backend has its own */
};

/* By backend index. */
struct shunt_backend_guard {
	__u32 instance; /* of a breaker of scope backend; 0: none */
	__u32 reserved;
};

/* ---- events --------------------------------------------------------------------------- */

enum shunt_event_kind {
	SHUNT_EVENT_NONE,
	SHUNT_EVENT_BREAKER,  /* detail[0]: enum shunt_breaker_phase that was entered */
	SHUNT_EVENT_TRIPPED,  /* a variant's dead-man switch; detail[]: its ratio of errors in 1/100
			       * %,  and that of the variant that it was compared with */
	SHUNT_EVENT_EJECTED,  /* a backend */
	SHUNT_EVENT_RETURNED, /* an ejected backend */
	SHUNT_N_EVENT_KINDS
};

/* What the kernel has decided by itself: a record of the ring buffer shunt_events. */
struct shunt_event {
	__u64 now_ns; /* monotonic clock */
	__u32 kind;   /* enum shunt_event_kind */
	__u32 variant;
	__u32 backend;	/* 0: not about one */
	__u32 instance; /* of a breaker: index in shunt_breaker_names */
	__u32 detail[2];
};
_Static_assert(sizeof(struct shunt_event) == 32, "no padding");

/* Per CPU. */
struct shunt_event_counters {
	__u64 told;
	__u64 lost; /* the ring buffer was full, or there were too many at once */
};

#endif
