/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_SOURCE_YAML_POSITIONS_H
#define SHUNT_SOURCE_YAML_POSITIONS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Line and column of the values of one YAML document, by the value's address; of a mapping's
 * member also by the address of its key, for true, false and null are one value each in
 * jansson. Shared by the objects of a List, so counted.
 */
struct shunt_positions;

struct shunt_position {
	uint32_t line; /* 1-based */
	uint32_t column;
};

struct shunt_positions *shunt_positions_new(void); /* one reference; NULL: no memory */
struct shunt_positions *shunt_positions_ref(struct shunt_positions *positions); /* NULL is fine */
void shunt_positions_unref(struct shunt_positions *positions);			/* NULL is fine */

/*
 * Notes where @what begins; of several notes of an address the first place in the document
 * counts. Return: 0 or -ENOMEM.
 */
int shunt_positions_add(struct shunt_positions *positions, const void *what,
			struct shunt_position at);

/* To be called when all is noted, and before anything is looked for. */
void shunt_positions_seal(struct shunt_positions *positions);

/* Return: whether @what is known. */
bool shunt_positions_find(const struct shunt_positions *positions, const void *what,
			  struct shunt_position *ret_at);

#endif
