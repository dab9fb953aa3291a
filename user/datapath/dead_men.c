// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "datapath/installer.h"
#include "shunt/compat.h"

/*
 * What the dead-man switch has tripped stays so, whatever is installed, until there is a new
 * weight: of the canary, or of the variant that it is compared with, for then its share is another
 * one. The weights asked for stand in shunt_variants, so an agent that starts knows them. Which
 * backends a variant has just now changes nothing, or pods that crash would clear what they
 * tripped.
 */

static struct shunt_variant *variant_at(const struct shunt_installer *installer, uint32_t id)
{
	return SHUNT_DP_AT(installer->maps->variants, struct shunt_variant, id);
}

/* A variant that nobody names has no weight: some take a canary out of the manifest at 0. */
static uint32_t asked(const struct shunt_installer *installer, uint32_t id)
{
	const struct shunt_variant_record *record = &installer->variants[id];

	return record->mark == installer->mark ? record->weight : 0;
}

static bool is_new(const struct shunt_installer *installer, uint32_t id)
{
	return variant_at(installer, id)->weight != asked(installer, id);
}

bool shunt_dead_man_clear(const struct shunt_installer *installer, uint32_t id)
{
	struct shunt_overlay *overlay =
		SHUNT_DP_AT(installer->maps->overlay, struct shunt_overlay, id);

	if (!overlay->tripped)
		return false;
	/* First: the errors that tripped it would trip it again. */
	memset(SHUNT_DP_AT(installer->maps->dead_man_counts, struct shunt_dead_man_counts, id), 0,
	       sizeof(struct shunt_dead_man_counts));
	__atomic_store_n(&overlay->tripped, 0, __ATOMIC_RELEASE);
	return true;
}

bool shunt_dead_men_weigh(struct shunt_installer *installer,
			  const struct shunt_image_service *const *images, size_t n)
{
	bool changed = false;

	for (size_t i = 0; i < n; i++) {
		const struct shunt_dead_man_rule *rule =
			images[i]->policy ? &images[i]->policy->record.dead_man : NULL;

		if (rule && rule->canary && is_new(installer, rule->stable))
			changed |= shunt_dead_man_clear(installer, rule->canary);
	}
	for (uint32_t id = 1; id < installer->maps->variants.n; id++) {
		if (!installer->variants[id].live || !is_new(installer, id))
			continue;
		changed |= shunt_dead_man_clear(installer, id);
		SHUNT_WRITE_ONCE(variant_at(installer, id)->weight, asked(installer, id));
	}
	return changed;
}

bool shunt_installer_reset_dead_man(struct shunt_installer *installer,
				    const struct shunt_variant_name *name)
{
	struct shunt_settings *settings = installer_settings(installer);
	bool cleared = false;

	for (uint32_t id = 1; id < installer->maps->variants.n; id++)
		if (installer->variants[id].live &&
		    !memcmp(SHUNT_DP_AT(installer->maps->variant_names, struct shunt_variant_name,
					id),
			    name, sizeof(*name)))
			cleared |= shunt_dead_man_clear(installer, id);
	if (cleared)
		__atomic_store_n(&settings->generation, settings->generation + 1, __ATOMIC_RELAXED);
	return cleared;
}
