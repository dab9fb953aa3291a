/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_SWEEP_H
#define SHUNT_DATAPATH_SWEEP_H

#include "datapath/datapath.h"

/**
 * shunt_flowtab_sweep - end the flows that are idle beyond their time
 * @from_set: first set; counts on modulo the number of sets
 * @n_sets:   how many to look at
 * @now:      jiffies, low 32 bits
 *
 * The same code as the programs', on the same memory, while they run.
 *
 * Return: number of flows removed.
 */
uint32_t shunt_flowtab_sweep(const struct shunt_dp_maps *maps, uint32_t from_set, uint32_t n_sets,
			     uint32_t now);

/* Does any flow of these sets go past the stack by SHUNT_FLOW_REDIRECT? */
bool shunt_flowtab_has_redirect(const struct shunt_dp_maps *maps, uint32_t from_set,
				uint32_t n_sets);

#endif
