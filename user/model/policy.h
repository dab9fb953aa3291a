/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_POLICY_H
#define SHUNT_MODEL_POLICY_H

#include "model/model.h"
#include "shunt/gcra.h"
#include "shunt/predicate.h"

/*
 * What a service lets in and when it stops: limits, address lists, breaker, ejection. Dialects
 * fill it (user/dialect/policies.c puts the parts of all sources together), the compiler reads
 * it. Everything is checked and within the ranges named here.
 *
 * A policy belongs to one model service, and buckets and counts of the scope "service" are
 * shared by its ports.
 */

#define SHUNT_MAX_LIMITS	8   /* rate limits of one service */
#define SHUNT_MAX_IN_FLIGHT	4   /* one of them at most of connections and the scope client */
#define SHUNT_MAX_SOURCE_RANGES 256 /* of each list */
#define SHUNT_MAX_EXPRESSION	1024

enum shunt_signals {
	SHUNT_SIGNALS_AUTO, /* http where appProtocol or the port's name says so, else tcp */
	SHUNT_SIGNALS_OFF,
	SHUNT_SIGNALS_TCP,
	SHUNT_SIGNALS_HTTP,
	SHUNT_N_SIGNALS_MODES
};

enum shunt_unit {
	SHUNT_UNIT_CONNECTIONS, /* new ones; for UDP new flows */
	SHUNT_UNIT_REQUESTS,	/* plaintext HTTP */
	SHUNT_UNIT_PACKETS,	/* from the client */
	SHUNT_UNIT_BYTES,	/* from the client, IP header included */
	SHUNT_N_UNITS
};

enum shunt_scope {
	SHUNT_SCOPE_SERVICE, /* one for all */
	SHUNT_SCOPE_VARIANT, /* one for each variant */
	SHUNT_SCOPE_BACKEND, /* one for each backend */
	SHUNT_SCOPE_CLIENT,  /* one for each client address or prefix */
	SHUNT_N_SCOPES
};

enum shunt_over_answer {
	SHUNT_OVER_REJECT, /* RST, or ICMP administratively prohibited */
	SHUNT_OVER_DROP,
	SHUNT_OVER_429, /* units of requests only: 429 with Retry-After */
	SHUNT_N_OVER_ANSWERS
};

/* What a limit counts, and for whom. */
struct shunt_limit_key {
	enum shunt_unit unit;
	enum shunt_scope scope;
	char variant[SHUNT_NAME_LEN];	      /* counts only what goes to it; "": to any */
	uint8_t prefix_len[SHUNT_N_FAMILIES]; /* scope client: 0..32, 0..128; 0: all of a family */
	/*
	 * Stable name of the limit in its service: same unit, scope, variant, prefixes, and order
	 * among such. A change of numbers keeps it, so that buckets are kept. Never 0.
	 */
	uint64_t id;
	uint16_t origin; /* of shunt_policy.origins */
};

struct shunt_rate_limit {
	struct shunt_limit_key key;    /* scope: not backend */
	uint64_t average;	       /* units a period, 1..SHUNT_MAX_AVERAGE */
	uint64_t period_ms;	       /* 1..SHUNT_MAX_PERIOD_MS */
	uint32_t burst;		       /* units, at least 1 */
	struct shunt_rate rate;	       /* the three compiled; never all zero */
	enum shunt_over_answer answer; /* packets and bytes: drop */
};

struct shunt_in_flight {
	struct shunt_limit_key key; /* unit: connections, or requests */
	uint32_t max;		    /* at once, 1..UINT32_MAX */
	enum shunt_over_answer answer;
};

struct shunt_cidrs {
	struct shunt_cidr *items; /* owned; sorted by family, address, length; no duplicates */
	size_t n;
};

/*
 * Who may connect. A client in @deny may not; with a non-empty @allow only those in it may,
 * whatever the family (a list of IPv4 alone keeps all of IPv6 out). Others are rejected.
 */
struct shunt_sources {
	struct shunt_cidrs allow;
	struct shunt_cidrs deny;
	/* The same for frontends with load_balancer set alone: loadBalancerSourceRanges. */
	struct shunt_cidrs load_balancer;
	uint16_t origin; /* of allow and deny */
};

/* Circuit breaker, as Traefik has it. In force when expression is not NULL. */
struct shunt_breaker {
	char *expression; /* owned; as written, at most SHUNT_MAX_EXPRESSION bytes */
	struct shunt_predicate predicate;
	uint32_t check_ms;	       /* 1..3 600 000, default 100 */
	uint32_t fallback_ms;	       /* 1..86 400 000, default 10 000 */
	uint32_t recovery_ms;	       /* same */
	uint16_t response_code;	       /* 100..599, default 503 */
	uint32_t min_requests;	       /* in the window; default 20; 0: as Traefik */
	enum shunt_scope scope;	       /* service (default), variant or backend */
	char fallback[SHUNT_NAME_LEN]; /* variant that gets what an open one refuses; "": none */
	uint16_t origin;
};

/* Outlier ejection of backends, with Istio's names and defaults. */
struct shunt_ejection {
	bool enabled;
	uint32_t consecutive_5xx;     /* errors in a row, 0: off; default 5 */
	uint32_t consecutive_gateway; /* of 502, 503, 504 and failures to connect; default 0 */
	uint32_t interval_ms;	      /* 1..3 600 000, default 10 000 */
	uint32_t base_ms;      /* times the number of ejections; 1..86 400 000, def. 30 000 */
	uint8_t max_percent;   /* of a variant's backends, 0..100, default 10 */
	uint8_t panic_percent; /* with fewer healthy ones nobody counts as ejected; 0: off */
	uint16_t origin;
};

/* The dead-man switch: the canary's error ratio against the stable variant's. */
struct shunt_dead_man {
	bool enabled;
	char canary[SHUNT_NAME_LEN];
	char stable[SHUNT_NAME_LEN];
	uint32_t margin_bp;   /* it trips above stable's ratio + this; 1..10 000, default 500 */
	uint32_t min_samples; /* of the canary in the window, 1..1 000 000, default 100 */
	uint32_t window_ms;   /* 1000..10 000, default 10 000 */
	uint16_t origin;
};

#define SHUNT_MAX_PROBE_PATH 255

/* Requests that the agent itself sends to each backend. */
struct shunt_probe {
	char path[SHUNT_MAX_PROBE_PATH + 1]; /* printable, begins with '/'; "": none are sent */
	uint32_t interval_ms;		     /* 100..3 600 000, default 1000 */
	uint32_t timeout_ms;		     /* 10..60 000, default 1000 */
	uint16_t origin;
};

struct shunt_policy {
	struct shunt_object_ref *origins; /* owned: the objects that the parts come from */
	size_t n_origins;
	enum shunt_signals signals;
	struct shunt_rate_limit limits[SHUNT_MAX_LIMITS];
	size_t n_limits;
	struct shunt_in_flight in_flight[SHUNT_MAX_IN_FLIGHT];
	size_t n_in_flight;
	struct shunt_sources sources;
	struct shunt_breaker breaker;
	struct shunt_ejection ejection;
	struct shunt_dead_man dead_man;
	struct shunt_probe probe;
	uint32_t max_age_ms; /* of a connection: closed then; 0: no limit, else 1000..604 800 000 */
	uint16_t max_age_origin;
	uint16_t signals_origin;
};

/* What a policy can ask for, one bit each. */
enum shunt_policy_part {
	SHUNT_PART_SIGNALS = 1u << 0,
	SHUNT_PART_CONNECTION_RATE = 1u << 1,
	SHUNT_PART_REQUEST_RATE = 1u << 2,
	SHUNT_PART_PACKET_RATE = 1u << 3,
	SHUNT_PART_BYTE_RATE = 1u << 4,
	SHUNT_PART_CONNECTIONS_IN_FLIGHT = 1u << 5,
	SHUNT_PART_REQUESTS_IN_FLIGHT = 1u << 6,
	SHUNT_PART_SOURCES = 1u << 7,
	SHUNT_PART_LOAD_BALANCER_SOURCES = 1u << 8,
	SHUNT_PART_BREAKER = 1u << 9,
	SHUNT_PART_EJECTION = 1u << 10,
	SHUNT_PART_DEAD_MAN = 1u << 11,
	SHUNT_PART_MAX_AGE = 1u << 12,
	SHUNT_PART_PROBE = 1u << 13,
};

/*
 * What this version puts in force: whatever a policy asks for besides, its object and its
 * service say "NotEnforced" about. A part is added here by the change that makes it true.
 */
#define SHUNT_PARTS_ENFORCED                                                                       \
	(SHUNT_PART_SIGNALS | SHUNT_PART_CONNECTION_RATE | SHUNT_PART_REQUEST_RATE |               \
	 SHUNT_PART_PACKET_RATE | SHUNT_PART_BYTE_RATE | SHUNT_PART_CONNECTIONS_IN_FLIGHT |        \
	 SHUNT_PART_SOURCES | SHUNT_PART_LOAD_BALANCER_SOURCES | SHUNT_PART_BREAKER |              \
	 SHUNT_PART_REQUESTS_IN_FLIGHT | SHUNT_PART_EJECTION | SHUNT_PART_DEAD_MAN |               \
	 SHUNT_PART_PROBE)

/* Return: the parts that @policy asks for; 0 for NULL. */
unsigned shunt_policy_parts(const struct shunt_policy *policy);

/* Can it ever eject a backend? Not if it has no number of errors, or may eject none. */
bool shunt_ejection_decides(const struct shunt_ejection *ejection);

/* The same of @policy (NULL: none). */
bool shunt_policy_ejects(const struct shunt_policy *policy);

/* Is the plaintext HTTP of @port looked at, with @policy (NULL: none)? */
bool shunt_policy_has_http(const struct shunt_policy *policy, const struct shunt_port *port);

/* For people: "rate limits of requests, breaker". @buf is cut off. Return: @buf. */
#define SHUNT_PARTS_LEN 400
const char *shunt_policy_parts_str(unsigned parts, char *buf);

/* Return: has @policy a limit in flight of @unit with the scope client? */
bool shunt_policy_counts_clients(const struct shunt_policy *policy, enum shunt_unit unit);

/* An empty policy, or NULL: out of memory. */
struct shunt_policy *shunt_policy_new(void);
void shunt_policy_free(struct shunt_policy *policy); /* NULL is fine */

/* Return: an equal one that shares nothing with @policy, or NULL: out of memory. */
struct shunt_policy *shunt_policy_copy(const struct shunt_policy *policy);

/* Do both ask for the same, wherever it is written? NULL equals only NULL. */
bool shunt_policy_equal(const struct shunt_policy *a, const struct shunt_policy *b);

/* Of what is compared by shunt_policy_equal(), FNV-1a; 0 for NULL. */
uint64_t shunt_policy_digest(const struct shunt_policy *policy);

/**
 * shunt_policy_seal - fill the ids of all limits and sort the address lists
 *
 * To be called once after the last change.
 */
void shunt_policy_seal(struct shunt_policy *policy);

/* Adds the origins of @from behind those of @to. Return: where they begin, or -ENOMEM. */
int shunt_policy_add_origins(struct shunt_policy *to, const struct shunt_policy *from);

/* Adds @cidr, or all of @from. Return: 0 or -ENOMEM. */
int shunt_cidrs_add(struct shunt_cidrs *cidrs, const struct shunt_cidr *cidr);
int shunt_cidrs_append(struct shunt_cidrs *to, const struct shunt_cidrs *from);

/* Words of the enumerations, as manifests have them. */
extern const char *const shunt_signals_words[SHUNT_N_SIGNALS_MODES];
extern const char *const shunt_unit_words[SHUNT_N_UNITS];
extern const char *const shunt_scope_words[SHUNT_N_SCOPES];
extern const char *const shunt_over_words[SHUNT_N_OVER_ANSWERS];

#endif
