/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_SCRATCH_H
#define SHUNT_BPF_SCRATCH_H

#include "lookup.h"
#include "shunt/http.h"
#include "parse.h"
#include "variant.h"

/*
 * What the slow paths work on: too much for 512 bytes of stack, so it stands in a map of each
 * object's own, one for each CPU. Not pinned and no part of the ABI.
 *
 * A program has it for itself as long as it runs: XDP and tc run with softirqs disabled on their
 * CPU, and none of them runs within another.
 */

/* A flow that is being decided. */
struct newflow {
	struct target target;
	__u64 hash;	  /* of the tuple, for the table */
	__u64 reply_hash; /* of the answer's */
	__u64 ref;	  /* the flow, once it is made */
	__u32 ways;	  /* of its set: as shunt_ft_survey() says */
	__u32 client;	  /* where its client is counted */
	__u32 is_syn;
	__u32 ifindex;
	__u32 now;
	/* chosen on the way, for the record: */
	__u32 split;
	struct variant_choice choice;
	__u32 variant;
	__u32 backend_index;
	__u32 flags;		  /* enum shunt_flow_flags */
	__u32 gate_flags;	  /* enum shunt_gate_flags, of the gate */
	struct shunt_addr source; /* the client, or what it is translated to */
	struct shunt_addr backend;
	__be16 backend_port_be;
	__u16 is_by_stack; /* it would go past the stack, but there is no way */
	__u32 failed;	   /* backend that has not taken the flow's last SYN; 0: none */
	__u32 client_way;  /* limit.h: where its client is counted, as in the record */
	__u32 policy;	   /* 0: none */
};

/* What limits look at of a packet: limit.h. */
struct limited {
	struct shunt_addr client;
	struct shunt_rate rate; /* of the limit that limit_find() found, */
	__u32 unit;		/* enum shunt_limit_unit */
	__u32 answer;		/* enum shunt_limit_answer */
	__u64 now_ns;		/* read when the first limit applies */
	__u32 family;
	__u32 variant; /* 0: not chosen yet */
	__u32 packets;
	__u32 bytes;
	__u32 asked; /* a bit for each limit of connections in being that concerned it */
	__u32 reserved;
	__u64 wait_ns;	  /* a refusal: when it would be admitted */
	__u32 in_flight;  /* in_flight.h: how many others the service has in flight, */
	__u32 its;	  /* its variant, */
	__u32 one;	  /* and its backend */
	__u32 client_way; /* and where its client is counted, + 1; 0: nowhere */
};

/* reselect.h: where a flow goes that its backend does not take. */
struct again {
	struct variant_choice choice;
	__u64 hash; /* of the packet that goes there, for the table; 0: none does */
	__u32 variant;
	__u32 backend;
	__u32 failed; /* who has not taken it */
};

enum place_part {
	PLACE_WHOLE,
	PLACE_FIRST, /* fragment: the one with the ports */
	PLACE_LATER, /* fragment: without a header behind IP's */
};

/* Where the headers of scratch.pkt stand in the frame, as rare_parse() found them. */
struct place {
	__u32 l3_off;	   /* of the IP header */
	__u32 l4_off;	   /* of the TCP, UDP or ICMP header; of a later fragment, its data */
	__u32 l4_bytes;	   /* of the IP packet from there on */
	__u32 part;	   /* enum place_part */
	__u32 data_off;	   /* fragment: where its data begins in the whole packet's */
	__u32 first_bytes; /* first fragment: length of its data */
	__be32 id_be;	   /* fragment */
};

struct scratch {
	struct packet pkt;
	struct place at;
	struct shunt_tuple to; /* what the packet's addresses and ports become */
	struct packet quote;   /* what an ICMP error quotes, and where that stands */
	struct place quote_at;
	struct newflow nf;
	struct limited limited;
	struct again again;
	struct shunt_flow flow;	   /* of placed.h: one without an entry */
	struct shunt_tuple tuple;  /* of its answers, or of its client */
	struct shunt_addr way_src; /* route.h: whose way is looked for */
	struct shunt_addr way_dst;
	struct bpf_fib_lookup fib; /* the way on */
	__u32 out_flags;	   /* of where that leads: enum shunt_gate_flags, NEXTHOP_IS_GATE */
	__u32 route_how;	   /* enum route_how */
	__u32 route_flow;	   /* with ROUTE_END: the flow's index */
	__u32 hop;		   /* instead of fib: index in next_hops, plus 1 */
	__u32 sweep_set;	   /* newflow.h: where its far sweep goes on */
	__u32 swept_jiffies;	   /* and when it was last */
	__u32 http_flow;	   /* signals.h: index of the flow that is looked at, */
	struct shunt_http_segment segment; /* its segment, */
	__u32 payload_off;		   /* and where in the frame that has its payload */
	__u32 timed_jiffies;		   /* newflow.h: when a connection was timed last */
	__u32 events_in_second;		   /* guard.h: told in this one */
	__u32 tcp_off;			   /* signals.h: of its TCP header; 0: it is cut short */
	__u64 events_second;
	__u32 begun; /* requests that begin in it */
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* This CPU's scratch; never NULL, which only the verifier does not know. */
static __always_inline struct scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

#endif
