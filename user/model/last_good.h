/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_LAST_GOOD_H
#define SHUNT_MODEL_LAST_GOOD_H

#include "model/guard.h"
#include "model/service_key.h"

/* Inside of struct shunt_last_good; for guard.c only. */
struct shunt_good_variant {
	char *name; /* owned */
	uint32_t weight;
	bool drained;
};

struct shunt_good_service {
	struct shunt_service_key key; /* first: shunt_service_key_find() */
	struct shunt_good_variant *variants;
	size_t n_variants;
};

struct shunt_last_good {
	struct shunt_good_service *services; /* sorted by key */
	size_t n_services;
};

/* Return: what is remembered of @service, borrowed, or NULL. */
const struct shunt_good_service *shunt_last_good_find(const struct shunt_last_good *good,
						      const struct shunt_model_service *service);

/* Return: a variant by name, borrowed, or NULL. */
const struct shunt_good_variant *shunt_good_variant_find(const struct shunt_good_service *service,
							 const char *name);

#endif
