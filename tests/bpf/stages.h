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
};

struct stage_tuple {
	struct shunt_tuple tuple;
	__u32 reason;
	__u32 variant;
	__u32 backend;
	__u64 hash;
};

#endif
