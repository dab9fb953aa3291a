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

/* ---- outlier ejection: shunt/eject.h works with it ------------------------------------- */

/* Its unit of time, about a millisecond: 40 bits of it are 36 years. */
#define SHUNT_EJECT_UNIT_SHIFT 20
#define SHUNT_EJECT_TIME(ns)   ((ns) >> SHUNT_EJECT_UNIT_SHIFT)

/* Of one variant and family, more backends than these are never out at once. */
#define SHUNT_EJECT_PLACES 32

/*
 * When backends of a variant are ejected. Both consecutive_ 0: never. Times in SHUNT_EJECT_TIME(),
 * at least 1. By family: members, most and panic_at are numbers of backends of the variant's ring
 * of the same slot.
 */
struct shunt_eject_rule {
	__u16 consecutive_5xx;	   /* errors in a row; 0: off; more than fit: 65 535 */
	__u16 consecutive_gateway; /* of 502, 503, 504 and failures to connect; 0: off */
	__u32 base;		   /* out for so long, times the number of ejections, */
	__u32 longest;		   /* but not for longer; at least base */
	__u32 interval;		   /* in so long a time in service an ejection is forgotten */
	__u16 members[SHUNT_N_FAMILIES];
	__u8 most[SHUNT_N_FAMILIES];	 /* out at once; 0..SHUNT_EJECT_PLACES, below members */
	__u8 panic_at[SHUNT_N_FAMILIES]; /* with so many out nobody counts as out; 0: never */
};
_Static_assert(sizeof(struct shunt_eject_rule) == 24, "no padding");

enum shunt_eject_phase {
	SHUNT_EJECT_IN,
	SHUNT_EJECT_LEAVING, /* for the moment in which a place for it is looked for */
	SHUNT_EJECT_OUT,
};

/* The phase, since or until when, how often ejected, and the number of the last ejection. */
#define SHUNT_EJECT_WORD(time, ejections, number, phase)                                           \
	((__u64)(time) << 24 | (__u64)((number)&0x3fff) << 10 | (__u64)((ejections)&0xff) << 2 |   \
	 (phase))
#define SHUNT_EJECT_PHASE(word)	    ((__u32)((word)&3))
#define SHUNT_EJECT_EJECTIONS(word) ((__u32)((word) >> 2 & 0xff))
#define SHUNT_EJECT_NUMBER(word)    ((__u32)((word) >> 10 & 0x3fff))
#define SHUNT_EJECT_SINCE(word)	    ((word) >> 24) /* OUT: until then; else since then */

/* By backend index. All zero: in service, nothing counted. */
struct shunt_eject_state {
	__u64 word;    /* SHUNT_EJECT_WORD, changed by compare-and-swap only */
	__u64 probes;  /* half-open: a bucket (shunt/gcra.h) of connections that try it */
	__u32 errors;  /* in a row, */
	__u32 gateway; /* of consecutive_gateway */
	__u64 ejected; /* how often in all */
	__u64 reserved[4];
};
_Static_assert(sizeof(struct shunt_eject_state) == 64, "a state is one cache line");

/* Who is out: of each variant and family SHUNT_EJECT_PLACES, of which the rule's most are used. */
struct shunt_eject_place {
	__u64 word; /* number of the ejection << 32 | backend; 0: free */
};

/* ---- by variant and backend ------------------------------------------------------------ */

/* By variant index, two slots: which breaker its flows are under, and who of it is ejected. */
struct shunt_variant_guard {
	__u32 breaker[2];  /* index in shunt_breakers; 0: none */
	__u32 instance[2]; /* index in shunt_breaker_states; 0: each backend has its own */
	struct shunt_eject_rule eject[2];
};
_Static_assert(sizeof(struct shunt_variant_guard) == 64, "a guard is one cache line");

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
	SHUNT_EVENT_EJECTED,  /* a backend; detail[0]: for how long, in ms; [1]: its how manieth
			       * ejection in a row */
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
