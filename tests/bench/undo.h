/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_TESTS_BENCH_UNDO_H
#define SHUNT_TESTS_BENCH_UNDO_H

#include <linux/types.h>

/*
 * A flow's entry as it was before the packet that is measured. The wrapper writes it back
 * before each: three words, by plain stores. Both sides of the bench see it.
 */
struct undo {
	__u32 on;
	__u32 flow;	 /* its index */
	__u32 state;	 /* enum shunt_flow_state */
	__u32 tag;	 /* in its set */
	__u32 reply_way; /* its reply key's place, from 0 */
	__u32 reserved;
	__u64 reply; /* what stands there */
};

#endif
