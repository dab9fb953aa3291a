/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_GRANT_H
#define SHUNT_DIALECT_GRANT_H

#include "dialect/request.h"

/*
 * ReferenceGrants: who may refer to a namespace's Services from another one. Gateway API asks
 * for them on Gateways; for routes whose parent is a Service it does not (GEP-1294), so they
 * count only with --require-reference-grants.
 */

/* Reads a ReferenceGrant for its form only. Return: as a translator. */
int shunt_translate_reference_grant(struct shunt_translation *t, const struct shunt_object *object);

/* May @route refer to Service @name of @namespace_? Its own namespace needs no grant. */
bool shunt_grant_allows(const struct shunt_world *world, const struct shunt_object *route,
			const char *namespace_, const char *name);

#endif
