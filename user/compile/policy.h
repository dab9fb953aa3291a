/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_COMPILE_POLICY_H
#define SHUNT_COMPILE_POLICY_H

#include "compile/image.h"

/**
 * shunt_compile_policy - what the maps must hold of a model service's policy
 * @variant_id: ids of its variants, in their order
 * @ids:        hands out stable ids of buckets; a limit keeps its own while its numbers change
 * @ret_policy: written on 0 only: NULL if it limits nothing that the programs look at; freed with
 *              shunt_image_policy_free()
 *
 * The breaker and ejection are not of these. Of several limits of connections in being
 * for each client the first counts: a flow has one place to remember where it is counted.
 *
 * Return: 0, -ENOMEM, or -ENOSPC when there are no more buckets.
 */
int shunt_compile_policy(const struct shunt_model_service *service, const uint32_t *variant_id,
			 struct shunt_ids *ids, struct shunt_image_policy **ret_policy);

/*
 * dead_man.c: the rule of the service's dead-man switch. Without one, or if it lacks one of the
 * variants, @rule stays as it is.
 */
void shunt_compile_dead_man(const struct shunt_model_service *service, const uint32_t *variant_id,
			    struct shunt_dead_man_rule *rule);

/*
 * ejection.c: the rule by which backends of each variant are ejected; the rings of @image are
 * there. Without one the rules stay as they are.
 */
void shunt_compile_ejection(const struct shunt_model_service *service,
			    struct shunt_image_service *image);

/* SHUNT_SVC_EJECT, if backends of @port may be ejected; else 0. */
uint32_t shunt_eject_flag(const struct shunt_model_service *service, const struct shunt_port *port);

/* Frees @policy; NULL is fine. */
void shunt_image_policy_free(struct shunt_image_policy *policy);

#endif
