/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_LAYOUT_H
#define SHUNT_DATAPATH_LAYOUT_H

#include <bpf/btf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Copies values from one layout to another by the names of their fields. Pure: knows BTF
 * and bytes, no maps.
 */
struct shunt_reshape_run {
	uint32_t from, to, len; /* bytes */
};

struct shunt_reshape {
	struct shunt_reshape_run *runs;
	size_t n;
	uint32_t from_size, to_size;
	bool cut; /* an array is shorter in the new layout */
};

/**
 * shunt_reshape_build - how to turn a @from_type into a @to_type
 * @ret_reshape: freed with shunt_reshape_free()
 *
 * Fields that only one side has are left alone; integers of another width are converted;
 * structs and arrays are followed. Bit fields and pointers are refused.
 *
 * Return: 0, -ENOTSUP, -ENOMEM.
 */
int shunt_reshape_build(const struct btf *from, uint32_t from_type, const struct btf *to,
			uint32_t to_type, struct shunt_reshape *ret_reshape);
void shunt_reshape_free(struct shunt_reshape *reshape);

/* Applies it; @to keeps what @from does not have. */
void shunt_reshape_apply(const struct shunt_reshape *reshape, const void *from, void *to);

/**
 * shunt_layout_types - the key and value types of a map, by the object's own declaration
 * @btf: of an object file, with its .maps section
 *
 * Return: 0, or -ENOENT: there is no such map.
 */
int shunt_layout_types(const struct btf *btf, const char *map, uint32_t *ret_key,
		       uint32_t *ret_value);

#endif
