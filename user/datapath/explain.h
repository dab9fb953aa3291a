/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_EXPLAIN_H
#define SHUNT_DATAPATH_EXPLAIN_H

#include "datapath/datapath.h"
#include "shunt/choose.h"

/*
 * What would become of a new flow, stage by stage: the walk of the programs over the same
 * maps with the same functions of shunt/choose.h. A stage that was not reached is zero.
 */
struct shunt_choice {
	enum shunt_reason reason; /* FORWARDED, or why not */

	/* lookup */
	uint32_t epoch; /* its low bit is the slot in use */
	uint32_t generation;
	uint32_t service; /* index; 0: not a frontend */
	bool is_backend;  /* a known backend stands there (too) */
	bool is_balancer; /* it is a load balancer's address */
	struct shunt_service_slot slot;

	/* the policy: what it limits is not asked, for that takes units */
	uint32_t policy; /* index; 0: none */
	bool is_listed;	 /* the client lies in one of the policy's prefixes */

	/* the rule and its split */
	uint32_t rule;
	uint32_t split;
	struct shunt_split record; /* as read: weights, threshold, rings */

	/* affinity */
	bool has_session;   /* the client is remembered ... */
	bool session_holds; /* ... and its backend may still be used: stages 1 and 2 are skipped */
	struct shunt_session session;

	/* stage 1; variant_index is its place in record, -1: none, or by session */
	uint64_t hash;
	uint32_t tripped; /* bit i: the overlay takes variant i out */
	int variant_index;
	uint32_t variant;

	/* stage 2 */
	uint32_t ring_size;
	uint32_t ring_slot;
	uint32_t member;
	uint32_t ejected; /* index of the backend that the ring or the session says, and that is
			   * ejected; 0: none. backend is whom it goes to instead */
	uint32_t backend;
	struct shunt_backend to;
};

/**
 * shunt_choose - decide a tuple as the programs would
 * @tuple: client -> frontend
 * @now:   jiffies, for sessions
 * @ret_choice: written always
 *
 * Reads only; the flow table is not asked, sessions are not refreshed.
 */
void shunt_choose(const struct shunt_dp_maps *maps, const struct shunt_tuple *tuple, uint32_t now,
		  struct shunt_choice *ret_choice);

/* The same from the service on: shunt_choose() without the look at shunt_frontends. */
void shunt_choose_for_service(const struct shunt_dp_maps *maps, uint32_t service,
			      const struct shunt_tuple *tuple, uint32_t now,
			      struct shunt_choice *ret_choice);

#endif
