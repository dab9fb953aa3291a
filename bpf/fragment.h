/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_FRAGMENT_H
#define SHUNT_BPF_FRAGMENT_H

#include "conntrack.h"
#include "scratch.h"

/*
 * Only the first fragment of a packet has ports. It is decided as any packet is, and leaves a
 * note of its flow for the others, for as long as shunt_settings says (1 s). The notes are in
 * a table of their own: a flood of fragments displaces notes, never flows.
 */

static __always_inline void fragment_key(const struct scratch *s, int is_answer,
					 struct shunt_fragment_key *key)
{
	key->src = s->pkt.tuple.src;
	key->dst = s->pkt.tuple.dst;
	key->id_be = s->at.id_be;
	key->proto = s->pkt.tuple.family == SHUNT_V6 ? 0 : s->pkt.tuple.proto;
	key->family = s->pkt.tuple.family;
	key->is_answer = is_answer;
	key->reserved = 0;
}

/* The first fragment, in the scratch, belongs to the flow @ref. Return: 0. */
__attribute__((noinline)) int fragment_note(__u64 ref, int is_answer)
{
	struct shunt_fragment note = {
		.flow = SHUNT_FT_INDEX(ref),
		.life = SHUNT_FT_LIFE(ref),
		.first_jiffies = bpf_jiffies64(),
	};
	const struct scratch *s = scratch_get();
	struct shunt_fragment_key key;

	if (!s)
		return 0;
	note.first_bytes = s->at.first_bytes;
	fragment_key(s, is_answer, &key);
	bpf_map_update_elem(&shunt_fragments, &key, &note, BPF_ANY);
	return 0;
}

/* What fragment_find() says of one that would overwrite what the first one carried. */
#define FRAGMENT_OVERLAPS 1

/**
 * fragment_find - the flow of the later fragment in the scratch
 *
 * Return: a reference, which may be stale; 0: not known; FRAGMENT_OVERLAPS.
 */
__attribute__((noinline)) __u64 fragment_find(int is_answer)
{
	const struct shunt_settings *settings = lookup_settings();
	const struct scratch *s = scratch_get();
	const struct shunt_fragment *note;
	struct shunt_fragment_key key;
	__u32 now = bpf_jiffies64();

	if (!settings || !s)
		return 0;
	fragment_key(s, is_answer, &key);
	note = bpf_map_lookup_elem(&shunt_fragments, &key);
	if (!note || (__s32)(now - note->first_jiffies) >=
			     (__s32)settings->timeout_jiffies[SHUNT_T_FRAGMENT])
		return 0;
	if (s->at.data_off < note->first_bytes)
		return FRAGMENT_OVERLAPS;
	return SHUNT_FT_REF(note->flow, note->life);
}

#endif
