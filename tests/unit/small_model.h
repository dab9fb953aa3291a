/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_SMALL_MODEL_H
#define TESTS_UNIT_SMALL_MODEL_H

#include "model/model.h"

/* Models built by hand, for the tests of what comes after the dialects. */
struct small_variant {
	const char *name;
	uint32_t weight;
	unsigned n_ready;   /* endpoints on the first port, 10.<variant>.0.1 and on */
	unsigned n_unready; /* after them */
};

/**
 * small_service - add a service of namespace "shop" with one TCP port
 * @digest: of its source
 *
 * Aborts when out of memory. Return: the service; the next call may move it.
 */
struct shunt_model_service *small_service(struct shunt_model *model, const char *name,
					  uint16_t port, uint64_t digest,
					  const struct small_variant *variants, size_t n);

/* One more port of @service. */
void small_port(struct shunt_model_service *service, uint16_t port, uint8_t proto);

/* The weight in force of a variant; -1 if there is no such. */
long small_weight(const struct shunt_model_service *service, const char *variant);

/* Makes an empty directory below /tmp; freed and emptied by small_dir_remove(). */
char *small_dir(void);
void small_dir_remove(char *dir);

#endif
