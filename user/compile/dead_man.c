// SPDX-License-Identifier: Apache-2.0
#include "shunt/dead_man.h"

#include <string.h>

#include "compile/policy.h"
#include "model/policy.h"

static uint32_t id_of(const struct shunt_model_service *service, const uint32_t *variant_id,
		      const char *name)
{
	for (size_t v = 0; v < service->n_variants; v++)
		if (!strcmp(service->variants[v].name, name))
			return variant_id[v];
	return 0;
}

void shunt_compile_dead_man(const struct shunt_model_service *service, const uint32_t *variant_id,
			    struct shunt_dead_man_rule *rule)
{
	const struct shunt_dead_man *from = &service->policy->dead_man;
	uint32_t canary, stable;

	if (!from->enabled)
		return;
	canary = id_of(service, variant_id, from->canary);
	stable = id_of(service, variant_id, from->stable);
	if (!canary || !stable)
		return;
	*rule = (struct shunt_dead_man_rule){
		.canary = canary,
		.stable = stable,
		.margin_bp = from->margin_bp,
		.min_samples = from->min_samples,
		.seconds = SHUNT_DEAD_MAN_SECONDS(from->window_ms),
	};
}
