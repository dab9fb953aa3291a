/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_BACKEND_H
#define SHUNT_BPF_BACKEND_H

#include "variant.h"

typedef __u64 __attribute__((may_alias)) backend_ring_word;

/* Entry @slot of the ring that begins at @first: four entries share a map element. */
static __always_inline int backend_ring_entry(__u32 first, __u32 slot, __u32 *ret_member)
{
	__u32 position = first + slot, word = position / 4;
	const struct shunt_ring_word *ring = bpf_map_lookup_elem(&shunt_rings, &word);

	if (!ring)
		return 0;
	/* All four at once: a branch for each would be guessed wrong three times of four. */
	*ret_member = *(const backend_ring_word *)ring->member >> 16 * (position & 3) & 0xffff;
	return 1;
}

/**
 * backend_choose - the backend of a new flow inside its variant, by the Maglev table
 *
 * Return: SHUNT_R_FORWARDED; SHUNT_R_NO_BACKEND: the variant has none, its share is rejected;
 * SHUNT_R_BAD_CONFIG.
 */
static __always_inline enum shunt_reason backend_choose(const struct variant_choice *choice,
							__u64 hash, __u32 *ret_backend)
{
	__u32 member, index;
	const struct shunt_member *m;

	if (!choice->ring_size)
		return SHUNT_R_NO_BACKEND;
	if (!backend_ring_entry(choice->ring_first, shunt_ring_slot(hash, choice->ring_size),
				&member))
		return SHUNT_R_BAD_CONFIG;
	index = choice->member_first + member;
	m = bpf_map_lookup_elem(&shunt_members, &index);
	if (!m || !m->backend)
		return SHUNT_R_BAD_CONFIG;
	*ret_backend = m->backend;
	return SHUNT_R_FORWARDED;
}

#endif
