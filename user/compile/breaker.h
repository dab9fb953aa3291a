/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_COMPILE_BREAKER_H
#define SHUNT_COMPILE_BREAKER_H

#include "compile/image.h"

/**
 * shunt_compile_breaker - what the maps must hold of a model service's circuit breaker
 * @variant_id: ids of its variants, in their order
 * @image:	its ports are there; gets the breaker, or NULL if it has none
 * @ids:	hands out stable ids of instances: a breaker keeps its state and counts while its
 *		scope stays, whatever else changes
 *
 * A fallback that is no variant of the service is none.
 *
 * Return: 0, -ENOMEM, or -ENOSPC when there are no more instances.
 */
int shunt_compile_breaker(const struct shunt_model_service *service, const uint32_t *variant_id,
			  struct shunt_ids *ids, struct shunt_image_service *image);

/* Frees @breaker; NULL is fine. */
void shunt_image_breaker_free(struct shunt_image_breaker *breaker);

/* SHUNT_SVC_BREAKER, if new flows to @port are under one; else 0. */
uint32_t shunt_breaker_flag(const struct shunt_model_service *service,
			    const struct shunt_port *port);

#endif
