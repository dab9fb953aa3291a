/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_ABI_POLICY_H
#define SHUNT_ABI_POLICY_H

/* The part of the map ABI that says what a service lets in. Included by abi.h alone. */

/* ---- policies: what a service lets in ------------------------------------------------ */

#define SHUNT_MAX_RATES	  8 /* rate limits of a policy */
#define SHUNT_MAX_AT_ONCE 4 /* limits of connections in being */
#define SHUNT_LIMIT_WAYS  8 /* clients in a set of shunt_client_sets, _client_active */

/* Made by shunt_rate_make(); shunt/gcra.h works with it. All zero: no limit. */
struct shunt_rate {
	__u64 cost;	/* of one unit, in ticks of 1/64 ns, */
	__u32 fraction; /* and in 2^-32 of a tick: units may be bytes */
	__u32 burst;	/* units that may come at once: cost * burst does not overflow */
	__u64 limit;	/* ticks that the word may be ahead of now, what is admitted included */
};

enum shunt_limit_unit {
	SHUNT_LIMIT_CONNECTIONS, /* new ones, or in being; of UDP, flows */
	SHUNT_LIMIT_PACKETS,	 /* of the client; super-packets count as their segments */
	SHUNT_LIMIT_BYTES,	 /* of the client's IP packets, headers included */
	SHUNT_LIMIT_REQUESTS,	 /* of plaintext HTTP */
};

enum shunt_limit_scope {
	SHUNT_LIMIT_SERVICE,
	SHUNT_LIMIT_VARIANT,
	SHUNT_LIMIT_BACKEND, /* of connections in being only */
	SHUNT_LIMIT_CLIENT,  /* an address or prefix */
};

/* What who is over a limit gets. */
enum shunt_limit_answer {
	SHUNT_LIMIT_REJECT, /* RST, or ICMP administratively prohibited */
	SHUNT_LIMIT_DROP,
	SHUNT_LIMIT_429, /* requests only: a response with Retry-After */
};

/* A limit of scope variant has a bucket for each. */
struct shunt_limit_bucket {
	__u32 variant;
	__u32 bucket;
};

/* A limit of a rate, or of connections in being. 176 bytes. */
struct shunt_limit {
	struct shunt_rate rate;
	__u32 max;	    /* connections in being, or requests in flight */
	__u32 bucket;	    /* index in shunt_buckets, shunt_limit_counters; never 0 */
	__u32 only_variant; /* counts only what goes there; 0: whatever goes anywhere */
	__u8 unit;	    /* enum shunt_limit_unit */
	__u8 scope;	    /* enum shunt_limit_scope */
	__u8 answer;	    /* enum shunt_limit_answer */
	__u8 prefix_len[SHUNT_N_FAMILIES]; /* scope client: 0..32, 0..128 */
	__u8 reserved[7];
	struct shunt_limit_bucket variant[SHUNT_MAX_VARIANTS]; /* scope variant */
};
_Static_assert(sizeof(struct shunt_limit) == 176, "no padding");

enum shunt_policy_flags {
	SHUNT_POLICY_SOURCES = 1 << 0,	  /* it has lists of addresses */
	SHUNT_POLICY_ALLOW_ONLY = 1 << 1, /* who is in none of them may not connect */
	SHUNT_POLICY_PACKETS = 1 << 2,	  /* n_packet is not 0 */
	SHUNT_POLICY_BALANCER_4 = 1 << 3, /* IPv4: who may connect to a load balancer's addresses */
	SHUNT_POLICY_BALANCER_6 = 1 << 4, /* is listed by SHUNT_SOURCES_OF_BALANCER; and IPv6 */
};
/* Any of these: shunt_sources_v4, _v6 hold entries of it. */
#define SHUNT_POLICY_LISTS                                                                         \
	(SHUNT_POLICY_SOURCES | SHUNT_POLICY_BALANCER_4 | SHUNT_POLICY_BALANCER_6)

/* The dead-man switch; canary 0: there is none. shunt/dead_man.h works with it. */
struct shunt_dead_man_rule {
	__u32 canary;	   /* index in shunt_variants */
	__u32 stable;	   /* what it is compared with */
	__u32 margin_bp;   /* in 1/100 %: what its ratio of errors may be above the other's */
	__u32 min_samples; /* responses of the canary */
	__u32 seconds;	   /* of the ring that are looked at, the current one included */
	__u32 reserved[3];
};

#define SHUNT_DEAD_MAN_WORDS 16 /* a window of 10 s, and the second that has begun */

/* By variant: responses of each of the last seconds, shunt/window.h. */
struct shunt_dead_man_counts {
	__u64 responses[SHUNT_DEAD_MAN_WORDS];
	__u64 errors[SHUNT_DEAD_MAN_WORDS]; /* of these */
};

/*
 * Index 0 is never used. Immutable while a service names it, as a split is. The rates come in
 * four groups: connections as they are asked before the choice of variant and backend, those
 * asked behind it, packets and bytes, requests.
 */
struct shunt_policy_record {
	__u32 flags;	/* enum shunt_policy_flags */
	__u32 service;	/* the first that named it; for people */
	__u32 n_before; /* of rate[] */
	__u32 n_behind;
	__u32 n_packet;
	__u32 n_at_once;	  /* of at_once[] */
	__u32 n_request;	  /* of rate[], the last ones */
	__u32 n_requests_at_once; /* of at_once[], behind those of connections */
	struct shunt_dead_man_rule dead_man;
	struct shunt_limit rate[SHUNT_MAX_RATES];
	struct shunt_limit at_once[SHUNT_MAX_AT_ONCE];
};
_Static_assert(sizeof(struct shunt_policy_record) == 2176, "no padding");

/* Token bucket of a limit: shunt/gcra.h. Kept as long as the limit is, whatever its numbers. */
struct shunt_bucket {
	__u64 word;	   /* when all that was admitted is paid for, in ticks of 1/64 ns */
	__u64 reserved[7]; /* a line each: other CPUs' limits are elsewhere */
};
_Static_assert(sizeof(struct shunt_bucket) == 64, "a bucket is one cache line");

/* For people, and for the next agent: what a bucket belongs to. Empty where unused. */
struct shunt_bucket_name {
	char namespace_[SHUNT_NAME_LEN];
	char service[SHUNT_NAME_LEN];
	char variant[SHUNT_NAME_LEN]; /* scope variant: whose it is */
	__u64 limit;		      /* the limit's stable name in the service's policy */
	__u32 variant_index;	      /* scope variant: index in shunt_variants */
	__be16 port_be;		      /* the first of the service ports that share this split */
	__u8 proto;
	__u8 unit;	 /* enum shunt_limit_unit */
	__u8 scope;	 /* enum shunt_limit_scope */
	__u8 is_at_once; /* 1: of connections in being, 0: a rate */
	__u8 reserved[6];
};
_Static_assert(sizeof(struct shunt_bucket_name) == 216, "no padding");

/* Per CPU, by bucket index. */
struct shunt_limit_counters {
	__u64 admitted;	 /* units; of connections in being, connections */
	__u64 refused;	 /* packets, those of new connections too */
	__u64 untracked; /* packets of clients that the table had no room for: admitted */
};

/* Buckets of clients, where the hash of limit and client says; shunt/clients.h. Two lines. */
struct shunt_client_set {
	__u64 tag[SHUNT_LIMIT_WAYS];  /* that hash; 0: never used */
	__u64 word[SHUNT_LIMIT_WAYS]; /* as in shunt_bucket: rested when it is not ahead of now */
};

/* A client's connections in being. Anybody's when there are none. */
struct shunt_client_active {
	__u64 word; /* tag << 32 | connections */
};

/*
 * Longest prefix of a policy and an address. With SHUNT_SOURCES_OF_BALANCER in the policy's number
 * it is about frontends with SHUNT_FE_BALANCER alone, and says who may.
 */
#define SHUNT_SOURCES_OF_BALANCER 0x80000000u

struct shunt_source_key_v4 {
	__u32 prefix_len; /* 32 for the policy, and the address's own */
	__u32 policy;
	__be32 addr_be;
};

struct shunt_source_key_v6 {
	__u32 prefix_len;
	__u32 policy;
	__be32 word_be[4];
};

struct shunt_source {
	__u32 is_denied; /* 1: may not connect, 0: may */
	__u32 reserved;
};

#endif
