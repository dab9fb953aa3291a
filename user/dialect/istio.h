/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_ISTIO_H
#define SHUNT_DIALECT_ISTIO_H

#include "dialect/request.h"

/* What istio.c (VirtualService) and istio_subset.c (DestinationRule) share. */

/* A Service that a host names. */
struct shunt_istio_host {
	char namespace_[SHUNT_NAME_LEN];
	char service[SHUNT_NAME_LEN];
};

/**
 * shunt_istio_read_host - what Service does a host name?
 * @host: a string node: "name", "name.ns", "name.ns.svc" or "name.ns.svc.cluster.local";
 *	  a short name is of its object's namespace
 *
 * Another namespace is refused unless allowed. Return: 0, -EINVAL or -EOPNOTSUPP.
 */
int shunt_istio_read_host(const struct shunt_translation *t, const struct shunt_node *host,
			  struct shunt_istio_host *ret_host);

/* Refuses exportTo other than "*". Return: 0, -EINVAL or -EOPNOTSUPP. */
int shunt_istio_check_export(const struct shunt_node *spec);

/**
 * shunt_istio_find_subset - the labels of a subset
 * @from: namespace of the VirtualService; its DestinationRules stand before those of the
 *	  Service's namespace, and of several the first by name
 * @ret_labels: written on 1 only; borrowed from the DestinationRule; NULL: all pods
 *
 * A DestinationRule that asks for what Shunt cannot do refuses what builds on it: its error
 * is the caller's.
 *
 * Return: 1, 0: no DestinationRule has the subset, -EINVAL or -EOPNOTSUPP.
 */
int shunt_istio_find_subset(struct shunt_translation *t, const char *from,
			    const struct shunt_istio_host *host, const char *subset,
			    const json_t **ret_labels);

#endif
