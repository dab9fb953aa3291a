// SPDX-License-Identifier: Apache-2.0
#include "metrics/by_variant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void *shunt_by_variant_get(const struct shunt_by_variant *all,
			   const struct shunt_stats_variant *variant)
{
	struct shunt_variant_name *name = variant->id < all->n ? all->of[variant->id] : NULL;

	return name && !memcmp(name, &variant->name, sizeof(*name)) ? name : NULL;
}

/* Return: 0 or -ENOMEM. */
static int make_room(struct shunt_by_variant *all, size_t n)
{
	struct shunt_variant_name **of;

	if (n <= all->n)
		return 0;
	of = reallocarray(all->of, n, sizeof(struct shunt_variant_name *));
	if (!of)
		return -ENOMEM;
	memset(of + all->n, 0, (n - all->n) * sizeof(struct shunt_variant_name *));
	all->of = of;
	all->n = n;
	return 0;
}

void *shunt_by_variant_add(struct shunt_by_variant *all, const struct shunt_stats_variant *variant,
			   size_t size)
{
	struct shunt_variant_name *name = shunt_by_variant_get(all, variant);

	if (name)
		return name;
	if (make_room(all, (size_t)variant->id + 1) < 0)
		return NULL;
	name = calloc(1, size);
	if (!name)
		return NULL;
	*name = variant->name;
	free(all->of[variant->id]);
	all->of[variant->id] = name;
	return name;
}

int shunt_by_variant_keep_http(struct shunt_by_variant *all, const struct shunt_stats *stats)
{
	CLEANUP(freep) bool *is_there = calloc(all->n + 1, sizeof(*is_there));

	if (!is_there)
		return -ENOMEM;
	for (size_t v = 0; v < stats->n_variants; v++)
		if (stats->variants[v].is_http && stats->variants[v].id < all->n)
			is_there[stats->variants[v].id] = true;
	for (size_t id = 0; id < all->n; id++)
		if (!is_there[id]) {
			free(all->of[id]);
			all->of[id] = NULL;
		}
	return 0;
}

void shunt_by_variant_free(struct shunt_by_variant *all)
{
	for (size_t id = 0; id < all->n; id++)
		free(all->of[id]);
	free(all->of);
	*all = (struct shunt_by_variant){ 0 };
}
