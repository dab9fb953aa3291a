/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_METRICS_BY_VARIANT_H
#define SHUNT_METRICS_BY_VARIANT_H

#include "metrics/collect.h"

/*
 * Things that are remembered of variants from one reading of the counters to the next. Each begins
 * with the variant's name, for an id may be given to another variant, whose counters begin at 0.
 */
struct shunt_by_variant {
	struct shunt_variant_name **of; /* owned, by variant id; NULL: none */
	size_t n;
};

/* Return: what is remembered of @variant, borrowed, or NULL. */
void *shunt_by_variant_get(const struct shunt_by_variant *all,
			   const struct shunt_stats_variant *variant);

/* As shunt_by_variant_get(); what is new is of @size bytes, all 0 but the name. NULL: no memory. */
void *shunt_by_variant_add(struct shunt_by_variant *all, const struct shunt_stats_variant *variant,
			   size_t size);

/* Forgets all whose HTTP is not in @stats. Return: 0 or -ENOMEM. */
int shunt_by_variant_keep_http(struct shunt_by_variant *all, const struct shunt_stats *stats);

void shunt_by_variant_free(struct shunt_by_variant *all);

#endif
