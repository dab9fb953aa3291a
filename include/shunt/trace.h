/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_TRACE_H
#define SHUNT_TRACE_H

#include "tuple.h"

/*
 * What the tracing programs (bpf/trace.h) and the agent that loads them share. These maps live
 * as long as one tracing and are never pinned: they are no part of the map ABI.
 */

/* Who may have said something about a packet, in the order of its way. */
enum shunt_trace_stage {
	SHUNT_TRACE_PARSE,
	SHUNT_TRACE_LOOKUP,
	SHUNT_TRACE_ICMP,
	SHUNT_TRACE_CONNTRACK,
	SHUNT_TRACE_GATE,
	SHUNT_TRACE_ADMIT,
	SHUNT_TRACE_AFFINITY,
	SHUNT_TRACE_VARIANT,
	SHUNT_TRACE_BACKEND,
	SHUNT_TRACE_ENTRY,
	SHUNT_TRACE_REWRITE,
	SHUNT_TRACE_N_STAGES
};

enum shunt_trace_hook { SHUNT_TRACE_TC, SHUNT_TRACE_XDP };
enum shunt_trace_direction { SHUNT_TRACE_INGRESS, SHUNT_TRACE_EGRESS };

/* All that the stages did with one packet: gathered per CPU, handed over when it is decided. */
struct shunt_trace_event {
	__u64 time_ns; /* CLOCK_MONOTONIC, when the program began */
	__u64 hash;    /* of the affinity key, for variant and ring; 0: nothing was chosen */
	__u32 took_ns; /* until the verdict, tracing included */
	__u32 cpu;
	__u32 ifindex;
	__u8 hook;	     /* enum shunt_trace_hook */
	__u8 direction;	     /* enum shunt_trace_direction */
	__u8 reason;	     /* enum shunt_reason, of the whole */
	__u8 is_new;	     /* 1: came in and met no entry, or one of no use */
	__s32 verdict;	     /* what the program returned, in the words of its hook */
	__be16 eth_proto_be; /* 0: no Ethernet header */
	__u16 stages;	     /* bit: enum shunt_trace_stage; the fields of the others are 0 */

	/* parse */
	__u32 ip_bytes;
	__u32 segments;
	struct shunt_tcp_view tcp;
	struct shunt_tuple in;	   /* as it came; without ports if nothing but IP was read */
	struct shunt_tuple out;	   /* rewrite: as it left, or what @quoted became */
	struct shunt_tuple quoted; /* ICMP errors: as a packet that goes the error's own way */

	/* lookup */
	__u32 service; /* index; of the flow where no frontend was looked up */
	__u32 is_backend;

	/* conntrack: the flow as it was found */
	__u32 flow; /* index + 1; 0: none */
	__u32 flow_flags;
	__u32 gate_ifindex; /* where its first packet came in */
	__u32 age_jiffies;
	__u32 idle_jiffies;
	__u8 state;	  /* enum shunt_flow_state */
	__u8 state_after; /* behind this packet; SHUNT_F_FREE: the entry went */
	__u8 is_stale;	  /* 1: found, but closed, idle or without a backend: removed */
	__u8 is_kept;	  /* affinity: 1: a session decided */

	/* what was chosen, now or when the flow began */
	__u32 split;
	__u32 variant; /* index */
	__u32 weight;
	__u32 weights; /* of all variants of the split, in sum */
	__u32 backend; /* index */

	__u8 said[SHUNT_TRACE_N_STAGES]; /* enum shunt_reason, of each stage */
	__u8 part;			 /* 1: a packet's first fragment, 2: a later one */
	__u8 reserved1[4];
};
_Static_assert(sizeof(struct shunt_trace_event) == 248, "no padding");

/* ---- what is to be told ------------------------------------------------------------------- */

#define SHUNT_TRACE_ADDRS    2	/* of one kind in a filter */
#define SHUNT_TRACE_SERVICES 16 /* ports of one service */

enum shunt_trace_conditions {
	SHUNT_TRACE_IF_REASON = 1 << 0,
	SHUNT_TRACE_IF_GATE = 1 << 1,
	SHUNT_TRACE_IF_NEW = 1 << 2,
	SHUNT_TRACE_IF_SERVICE = 1 << 3,
	SHUNT_TRACE_IF_TUPLE = 1 << 4, /* any of those of struct shunt_trace_tuple_filter */
};

/* An address and which of its bits count. */
struct shunt_trace_net {
	struct shunt_addr addr;
	struct shunt_addr mask;
};

/* What one tuple must fulfil all together; zero means anything. */
struct shunt_trace_tuple_filter {
	__u8 proto;
	__u8 family; /* enum shunt_slot_index + 1 */
	__be16 sport_be;
	__be16 dport_be;
	__be16 port_be[SHUNT_TRACE_ADDRS]; /* on either side */
	__u16 reserved;
	struct shunt_trace_net host[SHUNT_TRACE_ADDRS]; /* on either side */
	struct shunt_trace_net src;
	struct shunt_trace_net dst;
};

struct shunt_trace_filter {
	__u64 until_ns;	  /* CLOCK_MONOTONIC; later nothing is told: the agent has died */
	__u32 rate;	  /* packets a second and CPU at most */
	__u32 conditions; /* enum shunt_trace_conditions: all of them must hold */
	__u32 reason;
	__u32 ifindex;
	__u32 n_services;
	__u32 service[SHUNT_TRACE_SERVICES];
	__u32 reserved;
	struct shunt_trace_tuple_filter tuple;
};
_Static_assert(sizeof(struct shunt_trace_filter) == 240, "no padding");

/* Per CPU. */
struct shunt_trace_counts {
	__u64 told;
	__u64 limited; /* matched, but over the rate */
	__u64 lost;    /* matched, but the ring was full */
	__u64 second;  /* the one that @in_second counts */
	__u64 in_second;
};

#endif
