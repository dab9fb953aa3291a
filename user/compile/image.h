/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_COMPILE_IMAGE_H
#define SHUNT_COMPILE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "compile/ids.h"
#include "model/model.h"
#include "shunt/abi.h"

/*
 * The compiled form of one model service: what the maps must hold, with the stable ids
 * already chosen. Physical places (split records, ring and member ranges) are the
 * installer's business. Pure data; nothing here points into the model.
 *
 * One model service with P ports becomes P kernel services, each with one rule and one
 * split; the variants (and their counters) are shared by the ports.
 */

/* The Maglev table of one variant, one port, one family. */
struct shunt_image_ring {
	uint16_t *entry;  /* size entries, each an index into member */
	uint32_t size;	  /* 0: no usable backend */
	uint32_t *member; /* backend ids, in a fixed order: sorted by address and port */
	uint32_t n_members;
};

struct shunt_image_variant {
	uint32_t id;
	uint32_t weight; /* as in force; 0 for redistributed empties */
	uint32_t asked;	 /* as asked for, however many backends there are */
	uint64_t seed;
	char name[SHUNT_NAME_LEN];
	bool drained; /* by an operator, or its own weight is 0: sessions end at the deadline */
	uint32_t drain_deadline_s;
	struct shunt_eject_rule eject; /* all zero: none; the same in all ports */
	struct shunt_image_ring ring[SHUNT_N_FAMILIES];
};

struct shunt_image_backend {
	uint32_t id;
	struct shunt_ip ip;
	uint16_t port; /* host order */
	uint8_t proto;
	uint32_t variant; /* id */
	uint32_t flags;	  /* SHUNT_BE_NO_NEW or 0; never on one that is in a ring */
};

/* What clients address. */
struct shunt_image_frontend {
	struct shunt_ip ip;
	uint16_t port;	  /* host order; a NodePort is not the service's own */
	bool is_balancer; /* loadBalancerSourceRanges hold there */
};

/* One kernel service: one port of a model service. */
struct shunt_image_port {
	uint32_t id;   /* kernel service id */
	uint16_t port; /* host order */
	uint8_t proto;
	uint32_t flags; /* of enum shunt_service_flags, those that are the port's own */
	struct shunt_image_frontend *frontends;
	size_t n_frontends;
	uint64_t threshold; /* shunt_split.threshold, meaningful for two variants */
	struct shunt_image_variant *variants; /* sorted by name */
	size_t n_variants;
	struct shunt_image_backend *backends; /* of this port, all variants; those that get
					       * nothing new only if they already have an id */
	size_t n_backends;
};

/* Whose a bucket of the policy is. */
struct shunt_image_bucket {
	uint32_t id;
	struct shunt_bucket_name name;
};

struct shunt_image_source {
	struct shunt_cidr cidr;
	bool is_denied;
	bool is_balancer; /* of loadBalancerSourceRanges */
};

/* The limits of a model service, one record for all its ports. */
struct shunt_image_policy {
	struct shunt_policy_record record; /* but for service */
	struct shunt_image_bucket *buckets;
	size_t n_buckets;
	struct shunt_image_source *sources; /* no two of one prefix */
	size_t n_sources;
};

/* Whose state and counts one instance of the breaker are. */
struct shunt_image_instance {
	uint32_t id;
	struct shunt_breaker_name name;
};

/* The circuit breaker of a model service, for all its ports. */
struct shunt_image_breaker {
	struct shunt_breaker_rule rule;		/* but for window_base */
	struct shunt_image_instance *instances; /* by its scope */
	size_t n_instances;
};

struct shunt_image_service {
	char namespace_[SHUNT_NAME_LEN];
	char name[SHUNT_NAME_LEN];
	uint64_t seed;
	uint32_t flags; /* enum shunt_service_flags */
	struct shunt_affinity_spec affinity;
	uint32_t account;		     /* id */
	struct shunt_image_policy *policy;   /* NULL: it lets everybody in */
	struct shunt_image_breaker *breaker; /* NULL: none */
	struct shunt_image_port *ports;
	size_t n_ports;
	uint64_t digest; /* of everything above: equal digests mean nothing to install */
};

/**
 * shunt_compile - the image of one model service
 * @service: validated; borrowed
 * @ids:     hands out stable ids, keeps those that it gave before; changed by the call
 * @ret_image: written on 0 only; freed with shunt_image_free()
 *
 * Pure but for @ids: no I/O, no clock. The same model gives the same rings and thresholds
 * whatever was compiled before (ids may differ, rings refer to members by position).
 *
 * The ids hold as long as each shunt_install() gets the image, or the install before had it.
 *
 * Return: 0, -ENOMEM, -ENOSPC when an id space is full (shunt_ids_ran_out() says which),
 * -ENAMETOOLONG for a name of SHUNT_NAME_LEN or more, -E2BIG for more than
 * SHUNT_MAX_VARIANTS variants or SHUNT_MAX_RING backends in one of them.
 */
int shunt_compile(const struct shunt_model_service *service, struct shunt_ids *ids,
		  struct shunt_image_service **ret_image);

/* Frees @image; NULL is fine. */
void shunt_image_free(struct shunt_image_service *image);

#endif
