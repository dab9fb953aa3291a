// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "datapath/installer.h"

#define ENTRIES_PER_WORD 4

static struct shunt_split *split_at(const struct shunt_installer *installer, uint32_t split)
{
	return SHUNT_DP_AT(installer->maps->splits, struct shunt_split, split);
}

/* Ring entries lie without gaps: four to a word, words of eight bytes. */
static uint16_t *ring_at(const struct shunt_installer *installer, uint32_t entry)
{
	return (uint16_t *)installer->maps->rings.base + entry;
}

static uint32_t *member_at(const struct shunt_installer *installer, uint32_t member)
{
	return &SHUNT_DP_AT(installer->maps->members, struct shunt_member, member)->backend;
}

static uint32_t ring_words(uint32_t size)
{
	return (size + ENTRIES_PER_WORD - 1) / ENTRIES_PER_WORD;
}

/*
 * How many members a ring needs. Those behind its largest entry have too little weight for
 * a slot; so the length of a member range follows from the ring, and is written nowhere.
 */
static uint32_t members_used(const uint16_t *entry, uint32_t size)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < size; i++)
		if (entry[i] >= n)
			n = entry[i] + 1;
	return n;
}

/* ---- sharing ------------------------------------------------------------------------------ */

static const struct shunt_split_variant *variant_in(const struct shunt_split *split,
						    uint32_t variant)
{
	for (uint32_t v = 0; split && v < split->n_variants; v++)
		if (split->variant[v].variant == variant)
			return &split->variant[v];
	return NULL;
}

static bool ring_is(const struct shunt_installer *installer,
		    const struct shunt_split_variant *variant, int family,
		    const struct shunt_image_ring *ring)
{
	uint32_t size = variant->ring_size[family];
	const uint16_t *entry;
	uint32_t n_members;

	if (size != ring->size)
		return false;
	if (!size)
		return true;
	entry = ring_at(installer, variant->ring_first[family]);
	if (memcmp(entry, ring->entry, size * sizeof(*entry)))
		return false;
	n_members = members_used(entry, size);
	for (uint32_t i = 0; i < n_members; i++)
		if (*member_at(installer, variant->member_first[family] + i) != ring->member[i])
			return false;
	return true;
}

static bool shares(const struct shunt_split_variant *variant, int family,
		   const struct shunt_split *other)
{
	const struct shunt_split_variant *same = variant_in(other, variant->variant);

	return same && same->ring_size[family] == variant->ring_size[family] &&
	       same->ring_first[family] == variant->ring_first[family];
}

/* ---- giving back ---------------------------------------------------------------------------- */

enum drop { DROP_FREE, DROP_RETIRE };

static void drop_range(struct shunt_place *place, uint32_t first, uint32_t n, enum drop how)
{
	if (how == DROP_FREE)
		shunt_place_free(place, first, n);
	else
		shunt_place_retire(place, first, n); /* without memory: lost until a restart */
}

static void drop_rings(struct shunt_installer *installer, const struct shunt_split *split,
		       const struct shunt_split *keep, enum drop how)
{
	for (uint32_t v = 0; v < split->n_variants; v++) {
		const struct shunt_split_variant *variant = &split->variant[v];

		for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
			uint32_t first = variant->ring_first[family];
			uint32_t size = variant->ring_size[family];

			if (!size || shares(variant, family, keep))
				continue;
			drop_range(&installer->members, variant->member_first[family],
				   members_used(ring_at(installer, first), size), how);
			drop_range(&installer->rings, first / ENTRIES_PER_WORD, ring_words(size),
				   how);
		}
	}
}

static void drop_split(struct shunt_installer *installer, uint32_t split, uint32_t keep,
		       enum drop how)
{
	if (!split)
		return;
	drop_rings(installer, split_at(installer, split), keep ? split_at(installer, keep) : NULL,
		   how);
	drop_range(&installer->splits, split, 1, how);
}

void shunt_split_abandon(struct shunt_installer *installer, uint32_t split, uint32_t old)
{
	if (split != old)
		drop_split(installer, split, old, DROP_FREE);
}

void shunt_split_retire(struct shunt_installer *installer, uint32_t split, uint32_t successor)
{
	if (split != successor)
		drop_split(installer, split, successor, DROP_RETIRE);
}

/* ---- writing aside -------------------------------------------------------------------------- */

/* Waits for a grace period only if nothing is free otherwise. */
static int take(struct shunt_installer *installer, struct shunt_place *place, uint32_t n,
		const char *map, const char *option, uint32_t *ret_first, struct shunt_err *err)
{
	int r = shunt_place_alloc(place, n, ret_first);

	if (r == -ENOSPC && shunt_place_waits(place)) {
		r = shunt_installer_grace(installer);
		if (r < 0)
			return shunt_err_set(err, r, "waiting for packets in flight: %s",
					     strerror(-r));
		r = shunt_place_alloc(place, n, ret_first);
	}
	if (r == -ENOSPC)
		return shunt_err_set(err, r, "map shunt_%s has no room for %u more: raise %s", map,
				     n, option);
	if (r < 0)
		return shunt_err_set(err, r, "out of memory");
	return 0;
}

/* On failure @variant names no ring, and nothing is taken. */
static int write_ring(struct shunt_installer *installer, const struct shunt_image_ring *ring,
		      struct shunt_split_variant *variant, int family, struct shunt_err *err)
{
	uint32_t n_members = members_used(ring->entry, ring->size);
	uint32_t word, member;
	int r;

	r = take(installer, &installer->rings, ring_words(ring->size), "rings",
		 "--max-ring-entries", &word, err);
	if (r < 0)
		return r;
	r = take(installer, &installer->members, n_members, "members", "--max-backends", &member,
		 err);
	if (r < 0) {
		shunt_place_free(&installer->rings, word, ring_words(ring->size));
		return r;
	}
	memcpy(ring_at(installer, word * ENTRIES_PER_WORD), ring->entry,
	       ring->size * sizeof(*ring->entry));
	for (uint32_t i = 0; i < n_members; i++)
		*member_at(installer, member + i) = ring->member[i];
	variant->ring_first[family] = word * ENTRIES_PER_WORD;
	variant->ring_size[family] = ring->size;
	variant->member_first[family] = member;
	return 0;
}

static int place_ring(struct shunt_installer *installer, const struct shunt_image_ring *ring,
		      const struct shunt_split *old, struct shunt_split_variant *variant,
		      int family, struct shunt_err *err)
{
	const struct shunt_split_variant *same = variant_in(old, variant->variant);

	if (!ring->size)
		return 0;
	if (same && ring_is(installer, same, family, ring)) {
		variant->ring_first[family] = same->ring_first[family];
		variant->ring_size[family] = same->ring_size[family];
		variant->member_first[family] = same->member_first[family];
		return 0;
	}
	return write_ring(installer, ring, variant, family, err);
}

/* On failure the rings placed so far stay in @split, for the caller to drop. */
static int fill(struct shunt_installer *installer, const struct shunt_image_port *port,
		const struct shunt_split *old, struct shunt_split *split, struct shunt_err *err)
{
	int r;

	*split = (struct shunt_split){ .service = port->id };
	split->threshold = port->n_variants == 2 ? port->threshold : 0;
	for (size_t v = 0; v < port->n_variants; v++) {
		const struct shunt_image_variant *from = &port->variants[v];
		struct shunt_split_variant *to = &split->variant[split->n_variants++];

		to->variant = from->id;
		to->weight = from->weight;
		to->seed = from->seed;
		for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
			r = place_ring(installer, &from->ring[family], old, to, family, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int shunt_split_prepare(struct shunt_installer *installer, const struct shunt_image_port *port,
			uint32_t old, uint32_t *ret_new, struct shunt_err *err)
{
	const struct shunt_split *before = old ? split_at(installer, old) : NULL;
	struct shunt_split split;
	uint32_t record;
	int r;

	r = fill(installer, port, before, &split, err);
	if (r == 0 && before && !memcmp(&split, before, sizeof(split))) {
		*ret_new = old;
		return 0;
	}
	if (r == 0)
		r = take(installer, &installer->splits, 1, "splits", "--max-services", &record,
			 err);
	if (r < 0) {
		drop_rings(installer, &split, before, DROP_FREE);
		return r;
	}
	*split_at(installer, record) = split;
	*ret_new = record;
	return 0;
}

int shunt_split_adopt(struct shunt_installer *installer, uint32_t split)
{
	const struct shunt_split *record;
	int r;

	if (split >= installer->maps->splits.n)
		return -ERANGE;
	record = split_at(installer, split);
	r = shunt_place_adopt(&installer->splits, split, 1);
	if (r == 0 && record->n_variants > SHUNT_MAX_VARIANTS)
		r = -ERANGE;
	for (uint32_t i = 0; r == 0 && i < record->n_variants * SHUNT_N_FAMILIES; i++) {
		const struct shunt_split_variant *variant = &record->variant[i / SHUNT_N_FAMILIES];
		int family = i % SHUNT_N_FAMILIES;
		uint32_t first = variant->ring_first[family];
		uint32_t size = variant->ring_size[family];

		if (!size)
			continue;
		/* The place refuses what lies outside the map, before its entries are read. */
		r = shunt_place_adopt(&installer->rings, first / ENTRIES_PER_WORD,
				      ring_words(size));
		if (r == 0)
			r = shunt_place_adopt(&installer->members, variant->member_first[family],
					      members_used(ring_at(installer, first), size));
	}
	return r;
}
