/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_ABI_H
#define SHUNT_ABI_H

#include <linux/types.h>

#include "reasons.h"

/*
 * The map ABI: every key, value and limit that both the BPF programs and user space see.
 *
 * Fixed widths, padding named and zero, sizes asserted. Any change of a layout or of a
 * meaning raises SHUNT_ABI_VERSION; maps and links of one version are pinned below
 * v<SHUNT_ABI_VERSION>/, and an agent of another version carries what it finds there over
 * field by field, by the BTF names (user/datapath/carry.c). So names are part of the ABI.
 *
 * Integers are host order; a name that ends in _be is network order. Times are jiffies
 * of the running kernel in the low 32 bits of jiffies64, compared by signed difference.
 *
 * Two-slot words. Everything that a change of several services must switch at once stands
 * twice, as x[2]. A packet reads shunt_settings.epoch once and uses slot (epoch & 1).
 * The agent fills the idle slots, then stores epoch + 1: one aligned
 * store switches all of them. A change of a single rule stores both slots directly.
 */
#ifdef SHUNT_ABI_NEXT
/* A test build with another layout: the upgrade test goes to it and back under load. */
#define SHUNT_ABI_VERSION 5
#else
#define SHUNT_ABI_VERSION 4
#endif

#define SHUNT_MAX_VARIANTS   16	     /* of one service */
#define SHUNT_MAX_WEIGHT     1000000 /* Gateway API's bound */
#define SHUNT_MAX_RING	     65521   /* the largest Maglev table: entries are u16 */
#define SHUNT_FLOW_WAYS	     16	     /* flows in one set, 4-byte tags: one cache line */
#define SHUNT_HALF_OPEN_WAYS 4	     /* of them half-open: what a SYN flood can take */
#define SHUNT_REPLY_WAYS     8	     /* reply keys in one set of 8-byte words: one line */
#define SHUNT_NAME_LEN	     64	     /* a DNS label and its NUL */

enum shunt_slot_index { SHUNT_V4 = 0, SHUNT_V6 = 1, SHUNT_N_FAMILIES = 2 };

/*
 * One transport tuple as it is on the wire, addresses in network order. An IPv4 address is
 * in word 3, the other words are zero, so that the low word alone decides for IPv4.
 */
struct shunt_addr {
	__be32 word_be[4];
};

/* ---- settings ------------------------------------------------------------------ */

enum shunt_settings_flags {
	SHUNT_S_DRAIN = 1 << 0,	   /* detaching: no new flows, they go to the cluster's proxy */
	SHUNT_S_HOLD = 1 << 1,	   /* ABI handover: new flows are dropped, the sender retries */
	SHUNT_S_REDIRECT = 1 << 2, /* new flows go from gate to gate past the stack, if they can */
	SHUNT_S_ANSWERS = 1 << 3,  /* answers are looked for at ingress, whatever their port */
	SHUNT_S_EXTERNAL = 1 << 4, /* and some gate is external: whether they may come from there */
	SHUNT_S_PACKET_LIMITS = 1 << 5, /* some policy limits packets of known flows */
};

/* Idle times after which an entry may go; index of shunt_settings.timeout_jiffies. */
enum shunt_timeout {
	SHUNT_T_HALF_OPEN,   /* TCP, the client has not acknowledged the backend's SYN-ACK */
	SHUNT_T_ESTABLISHED, /* TCP */
	SHUNT_T_CLOSING,     /* TCP, one side's FIN was acknowledged, or one has sent RST */
	SHUNT_T_CLOSED,	     /* TCP, both FINs were: lingers for late retransmissions */
	SHUNT_T_UDP_NEW,     /* UDP, not yet a packet each way and one more of the client */
	SHUNT_T_UDP,	     /* UDP, after that */
	SHUNT_T_FRAGMENT,    /* not idle: since the first fragment of a packet */
	SHUNT_N_TIMEOUTS
};

/* How a packet is rejected; index of shunt_settings.answer_cost. */
enum shunt_answer {
	SHUNT_ANSWER_ICMP, /* errors */
	SHUNT_ANSWER_RST,
	SHUNT_N_ANSWERS
};

struct shunt_settings {
	__u32 abi_version;
	__u32 epoch;		  /* switched by one store; its low bit selects the slots */
	__u32 flags;		  /* enum shunt_settings_flags */
	__u32 seen_grain_jiffies; /* how stale shunt_flow.seen_jiffies may be: a store saved */
	__u64 choice_key[2];	  /* SipHash key of the variant and backend choice; secret */
	__u64 table_key;	  /* of the table hash; secret */
	__u32 flow_set_mask;	  /* number of sets - 1, a power of two less one */
	__u32 reply_set_mask;
	__u32 timeout_jiffies[SHUNT_N_TIMEOUTS];
	__u16 nat_port_first; /* host order; source ports for colliding flows */
	__u16 nat_port_count;
	__u32 generation; /* changes that packets have seen so far, single stores too */
	__u32 answer_cost[SHUNT_N_ANSWERS]; /* jiffies << SHUNT_ANSWER_SHIFT; 0: no limit */
	__u32 answer_burst_jiffies;	    /* what a CPU may have answered ahead of its rate */
	__u32 client_limit;		    /* of shunt_client.flows; 0: none */
	__u32 route_generation; /* changes of routes and neighbours; 0: no next hop is kept */
	__u32 limit_set_mask;	/* of shunt_client_sets and shunt_client_active */
	__u32 jiffy_us;		/* how long a jiffy is, in microseconds */
};
_Static_assert(sizeof(struct shunt_settings) == 112, "settings are 112 bytes");

/* Per CPU: when the answers given so far are paid for, in jiffies64 << SHUNT_ANSWER_SHIFT. */
#define SHUNT_ANSWER_SHIFT 20

struct shunt_answer_limit {
	__u64 due;
};

/* ---- what clients address ------------------------------------------------------- */

struct shunt_frontend_key {
	struct shunt_addr addr;
	__be16 port_be;
	__u8 proto; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 reserved;
};
_Static_assert(sizeof(struct shunt_frontend_key) == 20, "no padding in the key");

enum shunt_frontend_flags {
	SHUNT_FE_BACKEND = 1 << 0,    /* some variant has a backend here */
	SHUNT_FE_BALANCER_0 = 1 << 1, /* in slot 0 it is a load balancer's address: see */
	SHUNT_FE_BALANCER_1 = 1 << 2, /* SHUNT_SOURCES_OF_BALANCER; and in slot 1 */
};
#define SHUNT_FE_BALANCER(slot) (SHUNT_FE_BALANCER_0 << (slot))

/*
 * What stands at an address and port: a frontend of a service, a known backend (so that
 * direct connections to it leave a marker), or both.
 */
struct shunt_frontend {
	/*
	 * shunt_frontend_check() of the key: a preallocated hash gives the element of a replaced
	 * key to the next update at once, maybe under a reader's eyes. First, for it is written
	 * first; readers look at it last.
	 */
	__u32 check;
	__u32 service[2]; /* by slot; 0: not a frontend in this epoch */
	__u32 flags;	  /* enum shunt_frontend_flags */
};

enum shunt_service_flags {
	SHUNT_SVC_OWNED = 1 << 0,    /* nobody else serves its frontends */
	SHUNT_SVC_RELEASED = 1 << 1, /* its entries live on, new flows are passed */
	SHUNT_SVC_HTTP = 1 << 2,     /* plaintext HTTP: what it is asked and answers is counted */
	SHUNT_SVC_TCP = 1 << 3,	     /* what becomes of its TCP connections is counted */
	SHUNT_SVC_BREAKER = 1 << 4,  /* its variants have guards that are asked of new flows */
	SHUNT_SVC_EJECT = 1 << 5,    /* and of them some that eject backends */
	SHUNT_SVC_JUDGED = 1 << 6,   /* its connections are told to what judges by them */
	SHUNT_SVC_REQUESTS = 1 << 7, /* its requests in flight are counted, for they are limited */
};

enum shunt_affinity {
	SHUNT_AFFINITY_CONNECTION, /* key: the whole tuple */
	SHUNT_AFFINITY_HASH,	   /* key: the client's address or prefix; follows the weights */
	SHUNT_AFFINITY_SESSION,	   /* the client keeps variant and backend until a timeout */
};

/* A service port. Index 0 is never used. 64 bytes: one line, all that a new flow needs. */
struct shunt_service_slot {
	__u32 rule_first; /* index in shunt_rules */
	__u32 rule_count; /* now always 1: the default rule */
	__u32 flags;	  /* enum shunt_service_flags */
	__u32 affinity;	  /* enum shunt_affinity */
	__u32 session_jiffies;
	__u8 prefix_len[SHUNT_N_FAMILIES]; /* of the client's address in the key: 1..32, 1..128 */
	__u16 reserved;
};

struct shunt_service {
	struct shunt_service_slot slot[2];
	__u64 seed;	 /* hash of its name: separates the choices of services */
	__u16 policy[2]; /* by slot: index in shunt_policies; 0: none */
	__u32 account;	 /* index in shunt_service_active; ports of one Service have the same */
};
_Static_assert(sizeof(struct shunt_service) == 64, "a service is one cache line");

/* For people: what a service or variant index means. Names are empty where unused. */
struct shunt_service_name {
	char namespace_[SHUNT_NAME_LEN];
	char name[SHUNT_NAME_LEN];
	__be16 port_be;
	__u8 proto;
	__u8 reserved[5];
};

struct shunt_variant_name {
	char namespace_[SHUNT_NAME_LEN];
	char service[SHUNT_NAME_LEN];
	char variant[SHUNT_NAME_LEN];
	__be16 port_be; /* the first of the service ports that share this split */
	__u8 proto;
	__u8 reserved[5];
};

/* selector -> split. The last rule of a list matches everything. */
struct shunt_rule {
	__u32 split[2]; /* by slot: index in shunt_splits; 0: none yet, passed */
	__u32 selector; /* now always 0: matches everything */
	__u32 reserved;
};

/* ---- the split: immutable once a rule points at it -------------------------------- */

struct shunt_split_variant {
	__u32 variant;			      /* index in shunt_variants */
	__u32 weight;			      /* 0..SHUNT_MAX_WEIGHT */
	__u64 seed;			      /* hash of the variant's name */
	__u32 ring_first[SHUNT_N_FAMILIES];   /* in u16 entries of shunt_rings */
	__u32 ring_size[SHUNT_N_FAMILIES];    /* 0: no usable backend of this family */
	__u32 member_first[SHUNT_N_FAMILIES]; /* ring entry + member_first: shunt_members */
};
_Static_assert(sizeof(struct shunt_split_variant) == 40, "no padding");

struct shunt_split {
	__u32 service;	  /* index in shunt_services */
	__u32 n_variants; /* 0..SHUNT_MAX_VARIANTS, sorted by name */
	__u64 threshold;  /* two variants: hash32 below it chooses the first; 0..2^32 */
	struct shunt_split_variant variant[SHUNT_MAX_VARIANTS];
};
_Static_assert(sizeof(struct shunt_split) == 656, "no padding");

/* Four u16 ring entries: an array map would round a u16 up to 8 bytes. */
struct shunt_ring_word {
	__u16 member[4];
};

/* A variant's members, one after the other; a ring entry says which. */
struct shunt_member {
	__u32 backend; /* index in shunt_backends; 0: none */
};

/* ---- variants and backends -------------------------------------------------------- */

enum shunt_variant_flags {
	SHUNT_VAR_DRAINED = 1 << 0, /* weight 0: sessions end at the deadline */
};

struct shunt_variant {
	__u32 service;	     /* a service it belongs to, for people */
	__u32 flags;	     /* enum shunt_variant_flags */
	__u32 drain_jiffies; /* with SHUNT_VAR_DRAINED: sessions end then */
	__u32 weight;	     /* as asked for: a new one clears shunt_overlay.tripped */
};

/*
 * What the kernel itself decided about a variant. All zero: it has decided nothing. Installs touch
 * it only where they bring a new weight (user/datapath/dead_men.c).
 */
struct shunt_overlay {
	__u32 tripped; /* 1: weight counts as 0: the dead-man switch */
	__u32 reserved;
};

enum shunt_backend_flags {
	SHUNT_BE_NO_NEW = 1 << 0,  /* not ready or terminating: no session leads here either */
	SHUNT_BE_REMOVED = 1 << 1, /* its flows are reset at the deadline */
};

/* Index 0 is never used. */
struct shunt_backend {
	struct shunt_addr addr;
	__be16 port_be;
	__u8 proto;
	__u8 family; /* enum shunt_slot_index */
	__u32 flags; /* enum shunt_backend_flags */
	__u32 variant;
	__u32 drain_jiffies; /* with SHUNT_BE_REMOVED: flows are reset then */
};
_Static_assert(sizeof(struct shunt_backend) == 32, "no padding");

#define SHUNT_N_CODE_CLASSES 6

/* Per CPU; by backend index and, for what no backend can take, by variant index. */
struct shunt_counters {
	__u64 connections; /* flows made */
	__u64 packets_in;  /* client to backend; super-packets count as their segments */
	__u64 bytes_in;	   /* of IP packets, headers included */
	__u64 packets_out; /* backend to client */
	__u64 bytes_out;
	__u64 rejects; /* new flows refused, with RST or ICMP unless limited, and flows reset */
	/* Plaintext HTTP (bpf/signals.h): */
	__u64 requests;
	__u64 responses[SHUNT_N_CODE_CLASSES]; /* n: codes n00 to n99; 0: code not to be told */
	__u64 response_us;		       /* from requests to their responses, in all */
	__u64 responses_timed;		       /* of how many */
	__u64 reserved;
	/* TCP (bpf/connections.h); a line that packets of established flows leave alone: */
	__u64 established; /* the client has acknowledged the backend's answer */
	__u64 refused;	   /* the SYN was answered by RST */
	__u64 unanswered;  /* the client had to repeat its SYN */
	__u64 reset;	   /* by the backend, before its first byte */
	__u64 closed;	   /* by both sides */
	__u64 connect_us;  /* from SYNs to their answers, in all */
	__u64 connects_timed;
	__u64 reserved2;
};
_Static_assert(sizeof(struct shunt_counters) == 192, "three cache lines, no padding");

/* Shared: responses of a variant by their time; the bucket is the index (shunt/histogram.h). */
struct shunt_response_time {
	__u64 responses;
};

/* Likewise: TCP connections by the time from SYN to SYN-ACK. */
struct shunt_connect_time {
	__u64 connections;
};

/* Per CPU, by verdict reason. */
struct shunt_reason_count {
	__u64 packets;
};

/* Shared, changed by compare-and-swap. By backend, by variant, or by account of a service. */
struct shunt_active {
	__u32 connections;
	__u32 requests; /* in flight, of flows with SHUNT_FLOW_REQUESTS */
};

/* Shared, changed once per connection; by hash of the client: its IPv4 address or IPv6 /64. */
struct shunt_client {
	__u32 flows; /* that count as active, direct ones too */
	__u32 reserved;
};

#include "abi_policy.h"
#include "abi_guard.h"

/* ---- flows ------------------------------------------------------------------------ */

/*
 * The flow table (include/shunt/flowtab.h says how it works):
 *   shunt_flow_sets[s].tag[w]  ->  shunt_flows[s * SHUNT_FLOW_WAYS + w], found by the
 *                                  client's tuple (client -> frontend)
 *   shunt_reply_sets[s].way[w] ->  a flow, found by the answer's tuple (backend -> source)
 */
struct shunt_flow_set {
	__u32 tag[SHUNT_FLOW_WAYS]; /* 0: free; bit 0: half-open; bit 1: always set */
};
_Static_assert(sizeof(struct shunt_flow_set) == 64, "a set is one cache line");

struct shunt_reply_set {
	__u64 way[SHUNT_REPLY_WAYS]; /* 0: free; tag << 32 | (flow index + 1) */
};
_Static_assert(sizeof(struct shunt_reply_set) == 64, "a set is one cache line");

enum shunt_flow_state {
	SHUNT_F_FREE,	     /* or being made: readers take it for a miss */
	SHUNT_F_SYN,	     /* TCP: SYN seen */
	SHUNT_F_SYN_ACK,     /* TCP: the backend has answered */
	SHUNT_F_ESTABLISHED, /* TCP: the client acknowledged the backend's sequence */
	SHUNT_F_FIN_CLIENT,  /* TCP: the backend acknowledged the client's FIN */
	SHUNT_F_FIN_BACKEND, /* TCP: the client acknowledged the backend's FIN */
	SHUNT_F_CLOSED,	     /* TCP: both did, or a RST came while half-open; not counted */
	SHUNT_F_UDP_NEW,     /* UDP: not answered yet */
	SHUNT_F_UDP,	     /* UDP: answered, and the client went on */
	/*
	 * TCP, established once: a RST was seen, maybe a forged one. Not counted; a packet of the
	 * side that the RST was sent to shows that it lives on.
	 */
	SHUNT_F_RESET_BY_CLIENT,
	SHUNT_F_RESET_BY_BACKEND,
	SHUNT_F_FIN_SEEN,     /* TCP, established: a FIN was seen that nobody acknowledged yet */
	SHUNT_F_UDP_ANSWERED, /* UDP: the client has not gone on yet; half-open */
	SHUNT_F_UDP_ONEWAY,   /* UDP: no answer, but the client goes on and on */
	SHUNT_N_FLOW_STATES
};

enum shunt_flow_flags {
	SHUNT_FLOW_DIRECT = 1 << 0,	/* client to backend without a service: a marker */
	SHUNT_FLOW_GATE_BOUND = 1 << 1, /* its tuple is also the rewritten one of another
					 * flow: only packets of its own gate are its own */
	SHUNT_FLOW_SOURCE_NAT = 1 << 2, /* source differs from the client */
	SHUNT_FLOW_HAIRPIN = 1 << 3,	/* its backend is its client: bounced both ways */
	SHUNT_FLOW_REDIRECT = 1 << 4,	/* from gate to gate both ways, past the stack */
	SHUNT_FLOW_IN_FLIGHT = 1 << 5,	/* counts in shunt_service_active and _variant_active */
	SHUNT_FLOW_HTTP = 1 << 6,	/* of a service with SHUNT_SVC_HTTP when it began */
	SHUNT_FLOW_TCP = 1 << 7,	/* likewise with SHUNT_SVC_TCP */
	SHUNT_FLOW_AGAIN = 1 << 8,	/* another backend did not take its SYN: bpf/reselect.h */
	SHUNT_FLOW_REQUESTS = 1 << 9,	/* of a service with SHUNT_SVC_REQUESTS when it began */
	SHUNT_FLOW_JUDGED = 1 << 10,	/* of a service with SHUNT_SVC_JUDGED when it began */
};

/* SHUNT_F_* in the low byte of shunt_flow.life, the generation above it. */
#define SHUNT_LIFE_STATE(life) ((life)&0xff)
#define SHUNT_LIFE_GEN(life)   ((life) & ~0xffu)

/*
 * One flow, both directions. The first line is all that an IPv4 flow touches before its first FIN,
 * also when it is made. The second is zero in free records: who used it clears it
 * (shunt_ft_clear_rest()), so who has no use for it leaves it alone. Address names: _lo_be is
 * word 3, _hi_be are words 0 to 2 of struct shunt_addr.
 */
struct shunt_flow {
	__u32 life;	    /* generation << 8 | state; changed by compare-and-swap only */
	__u32 seen_jiffies; /* last packet, at most seen_grain_jiffies stale */
	__be32 client_lo_be;
	__be32 frontend_lo_be;
	__be16 client_port_be;
	__be16 frontend_port_be;
	__u8 proto;
	__u8 family; /* enum shunt_slot_index */
	__u16 flags; /* enum shunt_flow_flags */
	__be32 backend_lo_be;
	__be32 source_lo_be; /* NAT source: what the backend sees as its client */
	__be16 backend_port_be;
	__be16 source_port_be;
	__u32 backend; /* index in shunt_backends; 0 for a direct flow */
	__u32 variant;
	__u32 service;
#ifndef SHUNT_ABI_NEXT
	__u32 created_jiffies;
#endif
	__u32 gate_ifindex; /* where its first packet came in */
	__u32 reply_way;    /* where its reply key stands: set * SHUNT_REPLY_WAYS + way + 1 */
	__u32 backend_isn;  /* of the SYN-ACK, host order; before it, see shunt/connect.h */

#ifdef SHUNT_ABI_NEXT
	__u32 created_jiffies; /* moves the three before */
#endif
	__be32 client_hi_be[3];
	__be32 frontend_hi_be[3];
	__be32 backend_hi_be[3];
	__be32 source_hi_be[3];
	__u32 client_way; /* where its client is counted for a limit: index in
			   * shunt_client_active + 1; 0: nowhere */
	__u32 client_fin; /* where in its sequence numbers the side has sent FIN; 0: it has not */
	__u32 backend_fin;
	__u32 reserved;
};
_Static_assert(sizeof(struct shunt_flow) == 128, "a flow is two cache lines");

/* ---- gates -------------------------------------------------------------------------- */

enum shunt_gate_flags {
	SHUNT_GATE_UPLINK = 1 << 0,   /* other nodes, and clients from afar, are behind it */
	SHUNT_GATE_EXTERNAL = 1 << 1, /* nothing from there may claim an address of this side */
	SHUNT_GATE_PEER = 1 << 2,     /* a veth whose other end is in another namespace: a pod */
	SHUNT_GATE_INSIDE = 1 << 3,   /* no gate by itself: the bridge of some that are */
	SHUNT_GATE_MACS = 1 << 4,     /* mac has all of this host's there: others are not ours */
	SHUNT_GATE_XDP = 1 << 5,      /* what comes in meets XDP, not tc */
	SHUNT_GATE_XMIT = 1 << 6,     /* takes frames that XDP redirects */
};

#define SHUNT_MAX_GATE_MACS 4

/* An interface that Shunt guards. */
struct shunt_gate {
	__u32 flags;				    /* enum shunt_gate_flags */
	__u32 reserved;				    /* 0 */
	struct shunt_addr source[SHUNT_N_FAMILIES]; /* the node's own there; zero: none */
	__u8 mac[SHUNT_MAX_GATE_MACS][6]; /* with SHUNT_GATE_MACS: each of them, some repeated */
};
_Static_assert(sizeof(struct shunt_gate) == 64, "a gate is one cache line");

/* ---- fragments ---------------------------------------------------------------------- */

/* What all fragments of one packet have in common, and which way it goes. */
struct shunt_fragment_key {
	struct shunt_addr src; /* as on the wire */
	struct shunt_addr dst;
	__be32 id_be; /* IPv4: 16 bits */
	__u8 proto;   /* 0 for IPv6, where only the first fragment tells */
	__u8 family;  /* enum shunt_slot_index */
	__u8 is_answer;
	__u8 reserved;
};
_Static_assert(sizeof(struct shunt_fragment_key) == 40, "no padding in the key");

/* The flow that the first fragment belongs to. */
struct shunt_fragment {
	__u32 flow; /* index in shunt_flows */
	__u32 life; /* of the flow at that time: another generation is another flow */
	__u32 first_jiffies;
	__u32 first_bytes; /* payload of the first fragment: another one begins behind it */
};

/* ---- flows without an entry --------------------------------------------------------- */

/* Until when there may be notes in shunt_placed; 0: there never were. */
struct shunt_placed_clock {
	__u32 until_jiffies;
	__u32 reserved;
};

/* ---- sessions ----------------------------------------------------------------------- */

struct shunt_session_key {
	struct shunt_addr client; /* masked to the prefix */
	__u32 service;
};

struct shunt_session {
	__u32 variant;
	__u32 backend;
	__u32 seen_jiffies; /* of the last new connection */
	__u32 reserved;
};

/* ---- the layout itself ---------------------------------------------------------------- */

#define SHUNT_MAX_BTF 262128

/*
 * The BTF that the maps were made with, for an agent of another ABI: it cannot ask the
 * kernel for it, which gives BTF by id only to CAP_SYS_ADMIN.
 */
struct shunt_layout {
	__u32 size; /* bytes of btf in use */
	__u32 reserved[3];
	__u8 btf[SHUNT_MAX_BTF];
};
_Static_assert(sizeof(struct shunt_layout) == 256 * 1024, "no padding");

#endif
