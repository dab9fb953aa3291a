/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_DIALECT_H
#define SHUNT_DIALECT_DIALECT_H

#include "base/ip.h"
#include "model/model.h"
#include "source/object.h"

/* --entrypoint NAME=ADDR:PORT, may be given several times for one name. */
struct shunt_entrypoint {
	char name[SHUNT_NAME_LEN];
	struct shunt_ip ip;
	uint16_t port;
};

struct shunt_translate_opts {
	const struct shunt_entrypoint *entrypoints;
	size_t n_entrypoints;
	const struct shunt_cidr
		*frontend_cidrs; /* external and load-balancer addresses: only here */
	size_t n_frontend_cidrs;
	const struct shunt_ip *node_addrs; /* of this node: refused as endpoints, and the
					    * frontends of NodePorts */
	size_t n_node_addrs;
	const struct shunt_cidr *node_port_cidrs; /* NodePorts only here; none: anywhere */
	size_t n_node_port_cidrs;
	bool no_node_ports;
	bool allow_node_endpoints;     /* also loopback and link-local */
	bool allow_cross_namespace;    /* Istio and Traefik hosts of other namespaces */
	bool require_reference_grants; /* also for routes whose parent is a Service */
	uint32_t default_drain_s;      /* default 60 */
};

/**
 * shunt_translate - the desired state that a set of objects asks for
 * @objects: a snapshot; borrowed
 * @opts:    borrowed
 * @ret_model: written on 0 only; freed with shunt_model_free()
 *
 * Pure. An object that is wrong, or asks what Shunt cannot do, does not stop the others: it
 * is left out and reported in ret_model->reports with a condition that names file, line and
 * field. A Service without a split does not become a model service.
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_translate(const struct shunt_objects *objects, const struct shunt_translate_opts *opts,
		    struct shunt_model *ret_model);

#endif
