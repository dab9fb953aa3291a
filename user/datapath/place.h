/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_PLACE_H
#define SHUNT_DATAPATH_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Ranges of an array map: split records, ring words and members. First fit over the free
 * ranges, which are kept sorted and merged.
 *
 * A range that packets may still read is not freed but retired; shunt_place_settle() frees
 * what was retired, to be called when a grace period has passed.
 */
struct shunt_range {
	uint32_t first;
	uint32_t n;
};

struct shunt_place {
	struct shunt_range *free_; /* sorted by first, never touching each other */
	size_t n_free;
	size_t room_free;
	size_t n_used; /* ranges in use, retired ones included */
	struct shunt_range *retired;
	size_t n_retired;
	size_t room_retired;
};

/* Makes [@first, @end) free. Return: 0 or -ENOMEM. */
int shunt_place_init(struct shunt_place *place, uint32_t first, uint32_t end);
void shunt_place_done(struct shunt_place *place); /* frees what it owns; zeroed is fine */

/* Return: 0 with @n (1..) contiguous entries at *ret_first, -ENOSPC, or -ENOMEM. */
int shunt_place_alloc(struct shunt_place *place, uint32_t n, uint32_t *ret_first);

/* Takes out what the maps already use. Return: 0, -EEXIST if not all of it is free, -ENOMEM. */
int shunt_place_adopt(struct shunt_place *place, uint32_t first, uint32_t n);

/* Frees at once a range, whole as it was allocated, that no packet has ever seen. */
void shunt_place_free(struct shunt_place *place, uint32_t first, uint32_t n);

/*
 * Frees a range after the next grace period. Return: 0, or -ENOMEM: it stays in use then,
 * until the agent starts again. @n == 0 is fine.
 */
int shunt_place_retire(struct shunt_place *place, uint32_t first, uint32_t n);

/* Return: is anything waiting for a grace period? */
bool shunt_place_waits(const struct shunt_place *place);

/* A grace period has passed since the last retire. */
void shunt_place_settle(struct shunt_place *place);

#endif
