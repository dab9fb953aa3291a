/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_MODEL_H
#define SHUNT_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "shunt/abi.h"

/*
 * The desired state in our own words, whatever dialect it came in. Dialects fill it,
 * the guard judges it, the compiler reads it; nobody else. Owned as one tree:
 * shunt_model_free() frees all of it. Strings are owned, never NULL once filled ("" if unset).
 *
 * A model service is one Kubernetes Service (or entry point) and the ports of it that share
 * one split. Ports of one Service that routes split differently are separate model services
 * with the same namespace and name, told apart by their ports.
 */

/* A condition as Kubernetes writes it. status is "True", "False" or "Unknown". */
struct shunt_condition {
	char *type; /* "Accepted", "ResolvedRefs", "WeightRefused", ... */
	char *status;
	char *reason;  /* CamelCase, for programs */
	char *message; /* a sentence for people: what, where, what to do */
};

struct shunt_conditions {
	struct shunt_condition *items;
	size_t n;
};

/* Where an object was read. */
struct shunt_object_ref {
	char *kind;
	char *namespace_;
	char *name;
	char *file; /* "" when from the API server */
	unsigned line;
	uint64_t generation; /* metadata.generation, 0 if absent */
	uint64_t
		digest; /* of the weights that the object asks for: overrides end when it changes */
};

/* What plaintext HTTP a port carries, by its appProtocol or, without one, by its name. */
enum shunt_port_http {
	SHUNT_PORT_NO_HTTP,
	SHUNT_PORT_HTTP,  /* of any version */
	SHUNT_PORT_HTTP2, /* with prior knowledge: h2c, gRPC */
};

struct shunt_port {
	char *name;    /* "" if unnamed */
	uint16_t port; /* host order, 1..65535 */
	uint8_t proto; /* IPPROTO_TCP or IPPROTO_UDP */
	enum shunt_port_http http;
};

struct shunt_frontend_addr {
	struct shunt_ip ip;
	uint16_t port_index; /* of shunt_model_service.ports */
	uint16_t node_port;  /* host order; 0: clients address the port itself */
	bool load_balancer;  /* of status.loadBalancer: loadBalancerSourceRanges holds here */
};

enum shunt_backend_state {
	SHUNT_BACKEND_READY,	   /* gets new connections */
	SHUNT_BACKEND_TERMINATING, /* serving: keeps what it has; new ones only if usable is set */
	SHUNT_BACKEND_NOT_READY,   /* known, gets nothing */
};

struct shunt_model_backend {
	struct shunt_ip ip;
	uint16_t port;	     /* host order */
	uint16_t port_index; /* which service port it serves */
	uint32_t weight;     /* inside its variant, default 1 */
	enum shunt_backend_state state;
	bool usable; /* gets new connections: ready, or serving+terminating when none is ready */
};

enum shunt_group_state {
	SHUNT_GROUP_RESOLVED,  /* the reference is good; backends may still be 0 or not ready */
	SHUNT_GROUP_NOT_FOUND, /* BackendNotFound */
	SHUNT_GROUP_FORBIDDEN, /* RefNotPermitted */
	SHUNT_GROUP_INVALID,   /* InvalidKind and the like */
};

struct shunt_model_variant {
	char *name;	 /* of the backendRef, subset or weighted entry; unique in its service */
	uint32_t weight; /* 0..SHUNT_MAX_WEIGHT: what is in force (after overrides and guard) */
	uint32_t manifest_weight; /* what the manifest asks */
	enum shunt_group_state group;
	bool drained;		   /* by `shunt drain`: gets nothing new, whatever its weight */
	uint32_t drain_deadline_s; /* how long sessions stay when the weight is 0 */
	struct shunt_model_backend *backends; /* sorted by address, port; all port indices */
	size_t n_backends;
};

struct shunt_affinity_spec {
	enum shunt_affinity kind;
	uint32_t timeout_s;   /* session only; 1..86400, default 10800 */
	uint8_t prefix_len_4; /* hash and session: 1..32, default 32 */
	uint8_t prefix_len_6; /* 1..128, default 128 */
};

enum shunt_empty_policy {
	SHUNT_EMPTY_REJECT,	  /* an empty variant keeps its share and rejects it (default) */
	SHUNT_EMPTY_REDISTRIBUTE, /* the share goes to the others by their weights */
};

struct shunt_policy; /* model/policy.h */

struct shunt_model_service {
	char *namespace_;
	char *name;
	struct shunt_port *ports;
	size_t n_ports;
	struct shunt_frontend_addr *frontends;
	size_t n_frontends;
	bool owned; /* false: shared with the cluster's proxy */
	struct shunt_affinity_spec affinity;
	enum shunt_empty_policy empty_policy;
	struct shunt_model_variant *variants; /* sorted by name (strcmp) */
	size_t n_variants;
	struct shunt_policy *policy;	/* limits, breaker and so on; owned; NULL: none */
	struct shunt_object_ref source; /* the object that splits it */
	struct shunt_conditions conditions;
};

/* What became of one object that we read: for status, check and (later) the API's status. */
struct shunt_object_report {
	struct shunt_object_ref ref;
	struct shunt_conditions conditions;
};

struct shunt_model {
	struct shunt_model_service *services; /* sorted by namespace, name, first port */
	size_t n_services;
	struct shunt_object_report *reports; /* every route-like object, and refused ones */
	size_t n_reports;
};

/* Frees all that @model owns and zeroes it; @model itself is the caller's. NULL is fine. */
void shunt_model_free(struct shunt_model *model);

/* Frees what @ref owns and zeroes it. */
void shunt_object_ref_clear(struct shunt_object_ref *ref);

/* Fills an empty @to; clear it whatever is returned. Return: 0 or -ENOMEM. */
int shunt_object_ref_copy(const struct shunt_object_ref *from, struct shunt_object_ref *to);

/* Adds a condition, or replaces the one of the same type. Return: 0 or -ENOMEM. */
int shunt_conditions_set(struct shunt_conditions *conditions, const char *type, const char *status,
			 const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Return: the condition of @type, borrowed, or NULL. */
const struct shunt_condition *shunt_conditions_get(const struct shunt_conditions *conditions,
						   const char *type);

/* Return: a service by namespace and name (and, if @port is not 0, by port), or NULL. */
struct shunt_model_service *shunt_model_find(const struct shunt_model *model,
					     const char *namespace_, const char *name,
					     uint16_t port);

/* Return: the port, in host order, that clients of @frontend address. */
uint16_t shunt_model_frontend_port(const struct shunt_model_service *service,
				   const struct shunt_frontend_addr *frontend);

/* Return: the service of @model with the name and the first port of @service, or NULL. */
struct shunt_model_service *shunt_model_find_like(const struct shunt_model *model,
						  const struct shunt_model_service *service);

/*
 * "80", "53/udp", "80,443" (of many the first ones and "..."): the ports of @service, one of
 * @model's, if its neighbour has the same name, else "". @buf: SHUNT_SPLIT_LEN bytes. Return: @buf.
 */
#define SHUNT_SPLIT_LEN 64
const char *shunt_model_split(const struct shunt_model *model,
			      const struct shunt_model_service *service, char *buf);

/*
 * "shop/api", or "shop/api:53/udp" where it needs its ports to be told apart. @buf:
 * SHUNT_LABEL_LEN bytes. Return: @buf.
 */
#define SHUNT_LABEL_LEN (2 * SHUNT_NAME_LEN + 2 + SHUNT_SPLIT_LEN)
const char *shunt_model_label(const struct shunt_model *model,
			      const struct shunt_model_service *service, char *buf);

/* Return: a variant by name, or NULL. */
struct shunt_model_variant *shunt_model_variant_find(const struct shunt_model_service *service,
						     const char *name);

#endif
