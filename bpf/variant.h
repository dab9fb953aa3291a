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

/* The same for the first two, which is what most splits have, in line. */
static __always_inline __u32 variant_tripped_of_two(const struct shunt_split *split)
{
	__u32 first = split->variant[0].variant, second = split->variant[1].variant;
	const struct shunt_overlay *overlay = bpf_map_lookup_elem(&shunt_overlay, &first);
	__u32 tripped = overlay && overlay->tripped ? 1 : 0;

	overlay = bpf_map_lookup_elem(&shunt_overlay, &second);
	return overlay && overlay->tripped ? tripped | 2 : tripped;
}

/* Variant @index of @split; each has its own code, for the verifier without CAP_PERFMON. */
static __always_inline const struct shunt_split_variant *variant_at(const struct shunt_split *split,
								    __u32 index)
{
	const struct shunt_split_variant *v = NULL;

	switch (index) {
#define VARIANT_CASE(i)                                                                            \
	case i:                                                                                    \
		v = &split->variant[i];                                                            \
		SHUNT_OPAQUE_CASE(v, i);                                                           \
		return v;
		SHUNT_REPEAT_16(VARIANT_CASE)
#undef VARIANT_CASE
	}
	return NULL;
}

static __always_inline void variant_fill(const struct shunt_split_variant *v, __u32 family,
					 struct variant_choice *choice)
{
	choice->variant = v->variant;
	choice->ring_first = SHUNT_PICK(family == SHUNT_V6, v->ring_first[0], v->ring_first[1]);
	choice->ring_size = SHUNT_PICK(family == SHUNT_V6, v->ring_size[0], v->ring_size[1]);
	choice->member_first =
		SHUNT_PICK(family == SHUNT_V6, v->member_first[0], v->member_first[1]);
}

/* Return: index in the split, or -1: every weight is 0, or there is no such split. */
__attribute__((noinline)) int variant_pick(__u32 split_index, __u64 hash)
{
	const struct shunt_split *split = bpf_map_lookup_elem(&shunt_splits, &split_index);

	return split ? shunt_pick_variant(split, variant_tripped(split_index), hash) : -1;
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
	const struct shunt_split_variant *v;
	int index;

	if (!split || !choice)
		return SHUNT_R_BAD_CONFIG;
	if (split->n_variants <= 2)
		index = shunt_pick_of_two(split, variant_tripped_of_two(split), hash);
	else
		index = variant_pick(split_index, hash);
	if (index < 0)
		return SHUNT_R_NO_WEIGHT;
	v = variant_at(split, index);
	if (!v)
		return SHUNT_R_BAD_CONFIG;
	variant_fill(v, family, choice);
	return SHUNT_R_FORWARDED;
}

/* The ring that @variant has in a split. Return: 1, or 0: none, or it weighs less than @least. */
__attribute__((noinline)) int variant_ring(__u32 split_index, __u32 variant, __u32 family,
					   struct variant_choice *choice, __u32 least)
{
	const struct shunt_split *split = bpf_map_lookup_elem(&shunt_splits, &split_index);
	int found = 0;

	if (!split || !choice)
		return 0;
#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_MAX_VARIANTS; i++) {
		const struct shunt_split_variant *v = &split->variant[i];

		if ((__u32)i >= split->n_variants || found || v->variant != variant ||
		    v->weight < least)
			continue;
		SHUNT_OPAQUE_CASE(v, i);
		variant_fill(v, family, choice);
		found = 1;
	}
	return found;
}

#endif
