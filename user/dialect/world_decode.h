/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_WORLD_DECODE_H
#define SHUNT_DIALECT_WORLD_DECODE_H

#include "dialect/field.h"
#include "dialect/world.h"

/* The decoders behind shunt_world_build(), one file per kind. */

/*
 * Fills @service, whose object, namespace and name are set. Return: 0, -EINVAL with @err
 * filled, or -ENOMEM; what was filled so far is freed with the world.
 */
int shunt_world_decode_service(const struct shunt_object *object, struct shunt_err *err,
			       struct shunt_world_service *service);

/* As above, for a slice. Return also: 1, it belongs to no Service. */
int shunt_world_decode_slice(const struct shunt_object *object, struct shunt_err *err,
			     struct shunt_world_slice *slice);

/* Number, name and protocol of a port, of a Service or of a slice. Return: 0 or -EINVAL. */
int shunt_world_decode_port(const struct shunt_node *node, struct shunt_world_port *port);

#endif
