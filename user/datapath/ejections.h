/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_EJECTIONS_H
#define SHUNT_DATAPATH_EJECTIONS_H

#include "datapath/datapath.h"

/* Outlier ejection as the programs have it, for people. They go on changing it meanwhile. */

struct shunt_ejected {
	bool has_rule; /* the backend's variant has one, by which it may be ejected */
	/*
	 * It gets nothing new, or only connections that try it: those are let through when its
	 * time is over, and one that does well brings it back. Never without a rule.
	 */
	bool is_out;
	uint64_t left_ns; /* of an ejected one's time; 0: it is tried */
	uint32_t in_row;  /* ejections that count for the length of the next; falls in service */
	uint64_t times;	  /* how often it was; never falls while the backend is there */
};

/* Does @rule ever eject anybody? All zero, it stands for none. */
bool shunt_ejection_is_rule(const struct shunt_eject_rule *rule);

/**
 * shunt_ejection_read - is @backend ejected?
 * @now_ns: CLOCK_MONOTONIC
 *
 * Return: all zero for an index out of range.
 */
struct shunt_ejected shunt_ejection_read(const struct shunt_dp_maps *maps, uint32_t backend,
					 uint64_t now_ns);

/* Return: how many backends its rule knows of @variant and @family; 0: it has none. */
uint32_t shunt_ejection_members(const struct shunt_dp_maps *maps, uint32_t variant,
				uint32_t family);

#endif
