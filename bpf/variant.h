/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_VARIANT_H
#define SHUNT_BPF_VARIANT_H

#include "maps.h"
#include "shunt/choose.h"

/* The chosen variant's part of its split, for one family. */
struct variant_choice {
	__u32 variant;
	__u32 ring_first;
	__u32 ring_size;
	__u32 member_first;
};

/*
 * Return: bit i set: the overlay takes variant i of the split out. A function of its own,
 * or the verifier would follow each of the 2^16 masks.
 */
__attribute__((noinline)) int variant_tripped(__u32 split_index)
{
	const struct shunt_split *split = bpf_map_lookup_elem(&shunt_splits, &split_index);
	__u32 tripped = 0;

	if (!split)
		return 0;
#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_MAX_VARIANTS; i++) {
		const struct shunt_overlay *overlay;
		__u32 variant = split->variant[i].variant;

		if ((__u32)i >= split->n_variants)
			break;
		overlay = bpf_map_lookup_elem(&shunt_overlay, &variant);
		if (overlay && overlay->tripped)
			tripped |= 1u << i;
	}
	return tripped;
}

/* Copies variant @index of @split; unrolled for the verifier without CAP_PERFMON. */
static __always_inline void variant_copy(const struct shunt_split *split, int index, __u32 family,
					 struct variant_choice *choice)
{
#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_MAX_VARIANTS; i++) {
		const struct shunt_split_variant *v = &split->variant[i];

		if (i != index)
			continue;
		choice->variant = v->variant;
		choice->ring_first = family == SHUNT_V6 ? v->ring_first[1] : v->ring_first[0];
		choice->ring_size = family == SHUNT_V6 ? v->ring_size[1] : v->ring_size[0];
		choice->member_first = family == SHUNT_V6 ? v->member_first[1] : v->member_first[0];
	}
}

/**
 * variant_choose - the weighted variant of a new flow
 * @split_index: of the split that the rule points at
 * @choice:	 filled on SHUNT_R_FORWARDED
 *
 * Return: SHUNT_R_FORWARDED, SHUNT_R_NO_WEIGHT or SHUNT_R_BAD_CONFIG.
 */
__attribute__((noinline)) int variant_choose(__u32 split_index, __u64 hash, __u32 family,
					     struct variant_choice *choice)
{
	const struct shunt_split *split = bpf_map_lookup_elem(&shunt_splits, &split_index);
	int index;

	if (!split || !choice)
		return SHUNT_R_BAD_CONFIG;
	index = shunt_pick_variant(split, variant_tripped(split_index), hash);
	if (index < 0)
		return SHUNT_R_NO_WEIGHT;
	variant_copy(split, index, family, choice);
	return SHUNT_R_FORWARDED;
}

#endif
