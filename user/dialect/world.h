/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_WORLD_H
#define SHUNT_DIALECT_WORLD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "dialect/report.h"
#include "model/policy.h"
#include "source/object.h"

/*
 * What the objects say about Services and the endpoints behind them, decoded once per
 * translation and looked up by name. Strings borrow from the objects.
 */
struct shunt_world_port {
	const char *name;   /* "" if unnamed */
	uint16_t port;	    /* host order */
	uint16_t node_port; /* of a Service that has them; 0: none */
	uint8_t proto;	    /* IPPROTO_TCP, _UDP or _SCTP */
	enum shunt_port_http http;
};

/* An address that a Service claims outside the cluster, and where it is written. */
struct shunt_world_address {
	struct shunt_ip ip;
	const json_t *json;
	char path[64];
	bool load_balancer; /* false: spec.externalIPs */
};

struct shunt_world_service {
	const struct shunt_object *object;
	const char *namespace_;
	const char *name;
	bool refused; /* the object is wrong; its report says why. Nothing below is filled */
	bool headless;
	bool external_name;
	bool has_node_ports;   /* type NodePort or LoadBalancer */
	bool session_affinity; /* sessionAffinity: ClientIP */
	uint32_t session_timeout_s;
	bool external_local;		  /* externalTrafficPolicy: Local */
	bool internal_local;		  /* internalTrafficPolicy: Local */
	struct shunt_cidrs source_ranges; /* loadBalancerSourceRanges; items are owned */
	struct shunt_ip *cluster_ips;	  /* at most one per family */
	size_t n_cluster_ips;
	struct shunt_world_address *addresses;
	size_t n_addresses;
	struct shunt_world_port *ports;
	size_t n_ports;
	char left_out[160]; /* fields that do not apply to the split, for a condition */
};

struct shunt_world_endpoint {
	struct shunt_ip ip;
	bool ready; /* Kubernetes' nil rules are applied */
	bool serving;
	bool terminating;
	const char *pod; /* of targetRef, "" if there is none */
	const json_t *json;
	char path[40]; /* "endpoints[3].addresses[0]" */
};

struct shunt_world_slice {
	const struct shunt_object *object;
	const char *namespace_;
	const char *service;
	struct shunt_world_port *ports;
	size_t n_ports;
	struct shunt_world_endpoint *endpoints;
	size_t n_endpoints;
};

struct shunt_world {
	const struct shunt_objects *objects;  /* borrowed */
	struct shunt_world_service *services; /* sorted by namespace, name */
	size_t n_services;
	struct shunt_world_slice *slices; /* sorted by namespace, service */
	size_t n_slices;
};

/**
 * shunt_world_build - decode Services and EndpointSlices
 * @objects: borrowed until shunt_world_free()
 * @reports: wrong objects are reported here
 *
 * Return: 0 or -ENOMEM; @ret_world must be freed in either case.
 */
int shunt_world_build(const struct shunt_objects *objects, struct shunt_reports *reports,
		      struct shunt_world *ret_world);
void shunt_world_free(struct shunt_world *world);

/* Return: the Service, refused ones included, or NULL. */
const struct shunt_world_service *shunt_world_service(const struct shunt_world *world,
						      const char *namespace_, const char *name);

/* Return: the first of *@ret_n slices of a Service; NULL if there are none. */
const struct shunt_world_slice *shunt_world_slices(const struct shunt_world *world,
						   const char *namespace_, const char *service,
						   size_t *ret_n);

/* Return: an object of any version of @group ("" is the core), or NULL. */
const struct shunt_object *shunt_world_object(const struct shunt_world *world, const char *group,
					      const char *kind, const char *namespace_,
					      const char *name);

/* The objects of a kind, one per call: start with *@pos = 0. Return: NULL at the end. */
const struct shunt_object *shunt_world_next(const struct shunt_world *world, const char *group,
					    const char *kind, size_t *pos);

/* Return: metadata.labels of a Pod, or NULL. */
const json_t *shunt_world_pod_labels(const struct shunt_world *world, const char *namespace_,
				     const char *pod);

/* Is @api_version ("v1", "apps/v1") a version of @group? */
bool shunt_world_group_is(const char *api_version, const char *group);

#endif
