/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_TESTS_BPF_STAGES_H
#define SHUNT_TESTS_BPF_STAGES_H

#include "shunt/tuple.h"

/* What stages.bpf.c and its tests share. */

#define STAGE_TUPLES 65536

struct stage_input {
	/* stage_finish_*: */
	__u32 reason;
	__u32 variant;
	/* stage_choose_tc: */
	__u32 next; /* tuple of the next run */
	__u32 split;
	__u64 seed;
	__u32 affinity;
	__u32 prefix_len;
	/* stage_limit_tc: */
	__u32 policy;  /* its first rate is asked */
	__u32 step_ns; /* not 0: all events are the first one, at the clock, which goes on by it */
	__u64 clock_ns;
};

/* stage_limit_tc: what asks for units, and whether it was refused. */
struct stage_event {
	struct shunt_addr client;
	__u64 now_ns;
	__u32 units;
	__u32 over;
};

struct stage_tuple {
	struct shunt_tuple tuple;
	__u32 reason;
	__u32 variant;
	__u32 backend;
	__u64 hash;
};

#endif
