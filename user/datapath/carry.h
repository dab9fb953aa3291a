/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_CARRY_H
#define SHUNT_DATAPATH_CARRY_H

#include "datapath/internal.h"
#include "datapath/layout.h"

/*
 * The handover from an agent of another ABI, in place and under traffic. Each step leaves a
 * state from which whoever opens next, of either ABI, goes on:
 *
 *   own maps made, programs loaded        own settings are empty: thrown away
 *   old on hold: new flows are dropped    the old ABI's agent clears it
 *   all copied, own settings filled       both on hold: finished from either side
 *   links run the new programs            the same
 *   second pass, own hold cleared         the old one alone is on hold: thrown away
 *   old settings unpinned, then the rest  a directory without settings is thrown away
 */
struct shunt_carry;

/**
 * shunt_carry_begin - is there anything to carry over?
 * @dp:        its directories are locked, its maps not made yet
 * @ret_carry: NULL if there is nothing; freed with shunt_carry_free()
 *
 * Removes what broken starts have left, of both ABIs.
 *
 * Return: 0, or -errno with @err.
 */
int shunt_carry_begin(struct shunt_dp *dp, struct shunt_carry **ret_carry, struct shunt_err *err);
void shunt_carry_free(struct shunt_carry *carry); /* NULL is fine */

/* Return: entries of the other ABI's map of that name, 0 if it has none. */
uint32_t shunt_carry_entries(const struct shunt_carry *carry, const char *map);

/* Puts the old maps on hold and copies them; nothing is copied if that was done before. */
int shunt_carry_copy(struct shunt_carry *carry, struct shunt_err *err);

/* Pins the old links in our directory too: from then on they are gates like any other. */
int shunt_carry_links(struct shunt_carry *carry, struct shunt_err *err);

/* After the links run our programs: second pass, end of the hold, old pins removed. */
int shunt_carry_finish(struct shunt_carry *carry, struct shunt_err *err);

/* The BTF of our own maps, for the next agent. */
int shunt_carry_describe(struct shunt_dp *dp, struct shunt_err *err);

/* ---- between carry.c and carry_maps.c ------------------------------------------------------ */

struct shunt_carry_maps {
	struct shunt_dp *dp;
	char dir[SHUNT_PATH_LEN]; /* the other ABI's */
	struct btf *from, *to;
};

/* A map of both sides, and how to turn a value of one into one of the other. */
struct shunt_carry_map {
	const char *name;
	int from_fd, to_fd;
	struct bpf_map_info from_info, to_info;
	struct shunt_reshape key, value;
};

/* Opens a pair. Return: 1, 0: only one side has that map, or -errno with @err. */
int shunt_carry_map_open(const struct shunt_carry_maps *maps, const char *name,
			 struct shunt_carry_map *ret_map, struct shunt_err *err);
void shunt_carry_map_close(struct shunt_carry_map *map);

/* Copies every entry. Not for per-CPU maps. */
int shunt_carry_map_copy(const struct shunt_carry_map *map);

/* Adds the old per-CPU counters to the new ones and zeroes them, so that it is done once. */
int shunt_carry_map_add(const struct shunt_carry_map *map);

/*
 * Counts the active flows of each backend after the flows and then their tags were copied;
 * frees records without a tag. No program may run on @maps yet.
 */
void shunt_carry_count_active(const struct shunt_dp_maps *maps);

/* Second pass: what the old programs saw of a flow while the links were switched. */
int shunt_carry_merge_flows(const struct shunt_carry_map *flows, const struct shunt_dp_maps *maps);

/* How far a flow has come: the state to be in, given both sides', or 0: ours is right. */
uint32_t shunt_carry_further(uint32_t theirs, uint32_t ours);

#endif
