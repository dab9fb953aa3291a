// SPDX-License-Identifier: Apache-2.0
#include "datapath/installer.h"
#include "datapath/sweep.h"
#include "shunt/compat.h"

/*
 * The whole flow table once in so many ticks. The programs sweep a set or two per new flow;
 * this part ends what is idle where no new flow comes, and need not be quick.
 */
#define TICKS_PER_ROUND 16

/*
 * Without need for it, packets that are not ours are no more taken for answers of flows past
 * the stack when a whole round has met none of these.
 */
static void forget_answers(struct shunt_installer *installer, uint32_t part)
{
	struct shunt_settings *settings = installer->maps->settings.base;
	uint32_t flags = SHUNT_READ_ONCE(settings->flags);

	if (!(flags & SHUNT_S_ANSWERS) || flags & (SHUNT_S_REDIRECT | SHUNT_S_EXTERNAL) ||
	    shunt_flowtab_has_redirect(installer->maps, installer->next_set, part)) {
		installer->n_ticks_without = 0;
		return;
	}
	if (++installer->n_ticks_without > TICKS_PER_ROUND)
		__atomic_fetch_and(&settings->flags, ~SHUNT_S_ANSWERS, __ATOMIC_SEQ_CST);
}

static void sweep(struct shunt_installer *installer)
{
	uint32_t n_sets = installer->maps->flow_sets.n;
	uint32_t part = (n_sets + TICKS_PER_ROUND - 1) / TICKS_PER_ROUND;

	forget_answers(installer, part);
	shunt_flowtab_sweep(installer->maps, installer->next_set, part,
			    installer->env.jiffies(installer->env.ctx));
	installer->next_set = (installer->next_set + part) % n_sets;
}

int shunt_installer_tick(struct shunt_installer *installer)
{
	sweep(installer);
	return shunt_installer_retire(installer);
}
