/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_TESTS_BPF_STREAMS_H
#define SHUNT_TESTS_BPF_STREAMS_H

#include <linux/types.h>

/* What streams.bpf.c and test_streams.c share. */

#define STREAM_EVENTS 65536

enum stream_kind {
	STREAM_ADMIT,	 /* a breaker is asked, and whether the backend is out */
	STREAM_RESPONSE, /* all count it, and judge */
	STREAM_CLEAR,	 /* an operator gives the canary its weight back */
};

struct stream_event {
	__u64 now_ns;
	__u64 told; /* as guard_response() has it */
	__u32 kind;
	__u32 breaker;
	__u32 instance;
	__u32 variant;
	__u32 backend;
	__u32 code;
	__u32 random;
	/* What came of it: of the breaker, of the dead-man switch, of ejection. */
	__u32 done;
	__u64 worse;
	__u64 did; /* as shunt_eject_judge() says; asked: as eject_refuses() */
};

struct stream_input {
	__u32 next; /* event of the next run */
	__u32 random;
	__u64 now_ns;
};

#endif
