/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_DRAIN_H
#define SHUNT_DATAPATH_DRAIN_H

#include <stdint.h>

#include "base/err.h"
#include "datapath/datapath.h"

/* Return: entries that still carry a connection; closed ones only linger and do not count. */
uint64_t shunt_dp_live_flows(const struct shunt_dp_maps *maps);

/**
 * shunt_dp_drain - let a node without an agent run empty
 * @bpffs:       of the pins; held while it lasts, so no agent starts on them meanwhile
 * @deadline_ms: longest wait
 * @ret_left:    connections still open; written on 0 only
 *
 * New flows go to the cluster's proxy at once and from then on. Blocks.
 *
 * Return: 0; -EBUSY: an agent holds the pins; -ENOENT: nothing is pinned; -errno with @err.
 */
int shunt_dp_drain(const char *bpffs, uint64_t deadline_ms, uint64_t *ret_left,
		   struct shunt_err *err);

#endif
