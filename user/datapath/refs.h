/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_REFS_H
#define SHUNT_DATAPATH_REFS_H

#include <stdint.h>

#include "datapath/datapath.h"

/* Which indices the flow table refers to, closed flows that linger included. */
struct shunt_refs {
	uint8_t *services; /* by id; 1: some flow names it */
	uint8_t *backends;
};

/* Scans the flow table. Return: 0, freed with shunt_refs_done(), or -ENOMEM. */
int shunt_refs_scan(const struct shunt_dp_maps *maps, struct shunt_refs *ret_refs);
void shunt_refs_done(struct shunt_refs *refs); /* zeroed is fine */

/**
 * shunt_refs_forget_sessions - clients forget the backends in @gone
 * @gone: by backend index; 1: the index is about to be given to another backend
 *
 * Return: 0 or -errno.
 */
int shunt_refs_forget_sessions(const struct shunt_dp_maps *maps, const uint8_t *gone);

#endif
