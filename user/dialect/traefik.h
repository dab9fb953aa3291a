/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_TRAEFIK_H
#define SHUNT_DIALECT_TRAEFIK_H

#include "dialect/request.h"
#include "model/policy.h"

/* What traefik.c, traefik_route.c and middleware.c share. Errors as of the translators. */

/* Return: the TraefikService of either API group, or NULL. */
const struct shunt_object *shunt_traefik_find(const struct shunt_translation *t,
					      const char *namespace_, const char *name);

/* Return: an object of @kind of either API group, or NULL. */
const struct shunt_object *shunt_traefik_find_kind(const struct shunt_translation *t,
						   const char *kind, const char *namespace_,
						   const char *name);

/**
 * shunt_traefik_read_middlewares - what the middlewares of a route let in
 * @rule: has the list, if there is one
 * @http: they are of the kind Middleware, else MiddlewareTCP
 * @ret_policy: owned by the caller; untouched if there are none
 *
 * One that does not exist or is refused refuses the route, as Traefik has it.
 */
int shunt_traefik_read_middlewares(struct shunt_translation *t, const struct shunt_node *rule,
				   bool http, struct shunt_policy **ret_policy);

/* The weighted services of a TraefikService become variants of @request. */
int shunt_traefik_read_weighted(struct shunt_translation *t, const struct shunt_object *object,
				struct shunt_request *request);

/**
 * shunt_traefik_read_services - a list of weighted Services becomes variants of @request
 * @list: of at least one; each a Service
 * @http: the fields of IngressRoute and TraefikService; else those of IngressRouteTCP
 */
int shunt_traefik_read_services(struct shunt_translation *t, const struct shunt_node *list,
				bool http, struct shunt_request *request);

/* Reads "namespace" of a reference; another one is refused unless allowed. 0 or an error. */
int shunt_traefik_read_namespace(const struct shunt_translation *t, const struct shunt_node *ref,
				 const char **ret_namespace);

#endif
