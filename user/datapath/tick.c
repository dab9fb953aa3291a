// SPDX-License-Identifier: Apache-2.0
#include "datapath/installer.h"
#include "datapath/sweep.h"

/*
 * The whole flow table once in so many ticks. The programs sweep a set or two per new flow;
 * this part ends what is idle where no new flow comes, and need not be quick.
 */
#define TICKS_PER_ROUND 16

static void sweep(struct shunt_installer *installer)
{
	uint32_t n_sets = installer->maps->flow_sets.n;
	uint32_t part = (n_sets + TICKS_PER_ROUND - 1) / TICKS_PER_ROUND;

	shunt_flowtab_sweep(installer->maps, installer->next_set, part,
			    installer->env.jiffies(installer->env.ctx));
	installer->next_set = (installer->next_set + part) % n_sets;
}

int shunt_installer_tick(struct shunt_installer *installer)
{
	sweep(installer);
	return shunt_installer_retire(installer);
}
