/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_REQUEST_H
#define SHUNT_DIALECT_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dialect/dialect.h"
#include "dialect/field.h"
#include "dialect/report.h"
#include "dialect/world.h"

/*
 * Split requests: what all dialects boil down to. A translator reads one object and adds
 * requests; one resolver (resolve.c) turns them and the world into the model. So a dialect
 * knows nothing of endpoints, addresses, guards or conflicts, and all behave alike there.
 */

/* One weighted target: a Service's endpoints, or those of them whose pods carry labels. */
struct shunt_request_variant {
	char name[SHUNT_NAME_LEN]; /* unique in the split */
	uint32_t weight;	   /* 0..SHUNT_MAX_WEIGHT */
	char namespace_[SHUNT_NAME_LEN];
	char service[SHUNT_NAME_LEN];
	uint16_t port; /* of that Service; 0: see port_name */
	/*
	 * With port 0: the port of that name; if "" too, the Service's port with the
	 * frontend's number, or its only port of the protocol.
	 */
	char port_name[SHUNT_NAME_LEN];
	char subset[SHUNT_NAME_LEN]; /* of a DestinationRule; "": none */
	const json_t *labels; /* object of strings, borrowed: a pod must have all; NULL: any */
	/*
	 * SHUNT_GROUP_RESOLVED: the resolver finds out. Anything else: the translator already
	 * knows that the reference is bad, and group_message says why. The variant keeps its
	 * share and rejects it.
	 */
	enum shunt_group_state group;
	const char *group_reason; /* "InvalidKind", "RefNotPermitted", ...; static; may be NULL */
	char group_message[256];
	struct shunt_node at; /* where it is written */
};

struct shunt_request_addr {
	struct shunt_ip ip;
	uint16_t port; /* host order */
};

struct shunt_request {
	const struct shunt_object *object; /* the one that splits: source, reports, annotations */
	char namespace_[SHUNT_NAME_LEN];   /* of the Service; of the object for entry points */
	char name[SHUNT_NAME_LEN];
	uint8_t proto; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t port; /* of the Service; 0: all of its ports with this protocol */
	/*
	 * n_addrs > 0: these addresses are split (entry points) and no Service's own ones;
	 * they are owned unless the object's annotation says otherwise.
	 */
	struct shunt_request_addr *addrs;
	size_t n_addrs;
	bool is_http;	/* at these addresses clients talk plaintext HTTP */
	bool is_modest; /* takes what ports nobody else splits, and says nothing of the others */
	struct shunt_request_variant *variants;
	size_t n_variants;
	/*
	 * What the middlewares of an entry point's route let in; owned, not sealed; NULL: none.
	 * Addresses with one do not join a Service's split, which has other clients.
	 */
	struct shunt_policy *policy;
	struct shunt_node at; /* what names the Service: parentRef, host; for errors */
	unsigned rank;	      /* of its kind, lower wins; set by shunt_request_add() */
	const char *created;  /* metadata.creationTimestamp or ""; set by shunt_request_add() */
	size_t order;	      /* among all requests; set by shunt_request_add() */
};

struct shunt_attachment;
struct shunt_istio_rule;

/* One run of shunt_translate(). */
struct shunt_translation {
	const struct shunt_translate_opts *opts;
	struct shunt_world world;
	struct shunt_reports reports;
	struct shunt_request **requests;
	size_t n_requests;
	struct shunt_attachment **attachments; /* policies.h */
	size_t n_attachments;
	struct shunt_istio_rule *rules; /* DestinationRules by host, once somebody asks */
	size_t n_rules;
	bool rules_known;
	unsigned rank;	      /* of the kind that is being translated */
	struct shunt_err err; /* of the object that is being translated */
};

/**
 * shunt_request_add - a new, empty request of @at->object
 * @at:         what names the Service; copied
 * @namespace_, @name: of the Service (or of the entry points' service); at most 63 bytes
 * @proto:      IPPROTO_TCP or IPPROTO_UDP
 * @ret_request:  owned by @t; fill port, variants, addrs
 *
 * When the translator fails later, the requests of its object are dropped again.
 *
 * Return: 0, -EINVAL (name too long) or -ENOMEM.
 */
int shunt_request_add(struct shunt_translation *t, const struct shunt_node *at,
		      const char *namespace_, const char *name, uint8_t proto,
		      struct shunt_request **ret_request);

/**
 * shunt_request_add_variant - one more target of @request
 * @at:   where it is written; copied
 * @name: at most 63 bytes, not used in @request yet
 * @weight: 0..SHUNT_MAX_WEIGHT
 * @namespace_, @service: of the backend Service
 * @ret_variant: owned by @request; valid until the next call; fill port, labels, group
 *
 * Return: 0, -EINVAL (twice the same name, too long, more than SHUNT_MAX_VARIANTS) or -ENOMEM.
 */
int shunt_request_add_variant(struct shunt_request *request, const struct shunt_node *at,
			      const char *name, uint32_t weight, const char *namespace_,
			      const char *service, struct shunt_request_variant **ret_variant);

/* One more address of @request. Return: 0 or -ENOMEM. */
int shunt_request_add_addr(struct shunt_request *request, const struct shunt_ip *ip, uint16_t port);

/* Drops the requests from the @from-th on; 0: all. */
void shunt_requests_drop(struct shunt_translation *t, size_t from);

/**
 * shunt_why_unsplit - why a Service cannot be split
 * @service:    of the world, or NULL
 * @ret_reason: of a condition
 *
 * Return: the rest of a sentence about it, or NULL: it can be.
 */
const char *shunt_why_unsplit(const struct shunt_world_service *service, const char **ret_reason);

/**
 * shunt_resolve - requests and world -> services of the model
 * @t: its reports are completed
 *
 * Return: 0 or -ENOMEM; what is in @ret_model must be freed in either case.
 */
int shunt_resolve(struct shunt_translation *t, struct shunt_model *ret_model);

/*
 * The translators: one per kind, entered in the table of translate.c. Each adds the
 * requests of @object to @t.
 *
 * Return: 0, -EINVAL (wrong), -EOPNOTSUPP (Shunt cannot do it), both with t->err filled by
 * shunt_field_*(), or -ENOMEM.
 */
int shunt_translate_route(struct shunt_translation *t, const struct shunt_object *object);
int shunt_translate_traefik_service(struct shunt_translation *t, const struct shunt_object *object);
int shunt_translate_ingress_route(struct shunt_translation *t, const struct shunt_object *object);
int shunt_translate_middleware(struct shunt_translation *t, const struct shunt_object *object);
int shunt_translate_virtual_service(struct shunt_translation *t, const struct shunt_object *object);
int shunt_translate_destination_rule(struct shunt_translation *t,
				     const struct shunt_object *object);

#endif
