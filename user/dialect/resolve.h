/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_RESOLVE_H
#define SHUNT_DIALECT_RESOLVE_H

#include "dialect/request.h"
#include "model/model.h"

/* The parts of the resolver; resolve.c puts them together. */

/* Sentences about one service that become one condition: the first few, and how many more. */
struct shunt_notes {
	char text[1400];
	size_t n;
	const char *reason; /* of the first; static */
};

/* Adds a sentence about @json in @object, at @path: file, line and field stand before it. */
void shunt_notes_add(struct shunt_notes *notes, const char *reason,
		     const struct shunt_object *object, const json_t *json, const char *path,
		     const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Sets condition @type to @status, if there are any. Return: 0 or -ENOMEM. */
int shunt_notes_set(const struct shunt_notes *notes, struct shunt_conditions *conditions,
		    const char *type, const char *status);

/**
 * shunt_resolve_backends - the backends of one variant, for all ports of the service
 * @service:    its ports are filled
 * @ret_variant: group, backends are filled; freed with the model in any case
 * @unresolved: why the reference is bad, if it is (ResolvedRefs)
 * @refused:    endpoints that the guard on addresses refused (EndpointRefused)
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_resolve_backends(const struct shunt_translation *t,
			   const struct shunt_request_variant *wanted,
			   const struct shunt_model_service *service,
			   struct shunt_model_variant *ret_variant, struct shunt_notes *unresolved,
			   struct shunt_notes *refused);

/* The addresses of a Service's own, by the rules of opts. Return: 0 or -ENOMEM. */
int shunt_resolve_frontends(const struct shunt_translate_opts *opts,
			    const struct shunt_world_service *world_service,
			    struct shunt_model_service *service);

/* Adds the addresses of a request for those ports that @service has. Return: 0 or -ENOMEM. */
int shunt_resolve_addrs(const struct shunt_request *request, struct shunt_model_service *service);

/*
 * Takes addresses that two services claim from the later one: cluster addresses stand before
 * others, NodePorts behind; then the order of the services decides. Return: 0 or -ENOMEM.
 */
int shunt_resolve_conflicts(const struct shunt_world *world, struct shunt_model *model);

#endif
