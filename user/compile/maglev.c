// SPDX-License-Identifier: Apache-2.0
#include "compile/maglev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "shunt/choose.h"

#define SLOTS_PER_BACKEND 100

/*
 * Each about twice the one before, at most: a service that grows by a pod rarely changes
 * its table's size, which would move most of its connections to other backends.
 */
static const uint32_t primes[] = { 251,	 503,	1009,  2003,  4001,
				   8009, 16001, 32003, 49999, SHUNT_MAX_RING };

/* A backend's walk through the slots, and the turns that it may claim. */
struct walker {
	uint32_t position;
	uint32_t skip;
	uint64_t credit;
};

uint32_t shunt_maglev_size(size_t n)
{
	if (n <= 1)
		return n;
	for (size_t i = 0; i < ARRAY_LEN(primes); i++)
		if (primes[i] >= n * SLOTS_PER_BACKEND)
			return primes[i];
	return SHUNT_MAX_RING;
}

static void walker_init(struct walker *walker, const struct shunt_maglev_backend *backend,
			uint32_t size, uint32_t max_weight)
{
	const __be32 *word = backend->ip.addr.word_be;
	uint64_t hash;

	/* ntohl: the same table on hosts of either byte order */
	hash = shunt_mix64(shunt_pair(ntohl(word[0]), ntohl(word[1])) ^ 0x9e3779b97f4a7c15ull);
	hash = shunt_mix64(hash ^ shunt_pair(ntohl(word[2]), ntohl(word[3])));
	hash = shunt_mix64(hash ^ backend->port);
	walker->position = (hash >> 32) % size;
	walker->skip = (uint32_t)hash % (size - 1) + 1;
	/* Half a turn in advance: shares are rounded to the nearest slot, not down. */
	walker->credit = max_weight / 2;
}

/* Claims the walker's next free slot. There is one, or the caller would have stopped. */
static void claim(struct walker *walker, uint32_t size, uint16_t *entry, uint8_t *taken,
		  uint16_t index)
{
	uint32_t position = walker->position;

	while (taken[position]) {
		position += walker->skip;
		if (position >= size)
			position -= size;
	}
	taken[position] = 1;
	entry[position] = index;
	walker->position = position;
}

static void take_turns(const struct shunt_maglev_backend *backends, struct walker *walkers,
		       size_t n, uint32_t max_weight, uint32_t size, uint16_t *entry,
		       uint8_t *taken)
{
	uint32_t filled = 0;

	while (filled < size) {
		for (size_t i = 0; i < n && filled < size; i++) {
			walkers[i].credit += backends[i].weight;
			if (walkers[i].credit < max_weight)
				continue;
			walkers[i].credit -= max_weight;
			claim(&walkers[i], size, entry, taken, i);
			filled++;
		}
	}
}

int shunt_maglev_fill(const struct shunt_maglev_backend *backends, size_t n, uint16_t *entry)
{
	CLEANUP(freep) struct walker *walkers = NULL;
	CLEANUP(freep) uint8_t *taken = NULL;
	uint32_t size = shunt_maglev_size(n);
	uint32_t max_weight = 1;

	if (n > size)
		return -E2BIG;
	if (n == 1)
		entry[0] = 0;
	if (n <= 1)
		return 0;

	walkers = malloc(n * sizeof(*walkers));
	taken = calloc(size, 1);
	if (!walkers || !taken)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (backends[i].weight > max_weight)
			max_weight = backends[i].weight;
	for (size_t i = 0; i < n; i++)
		walker_init(&walkers[i], &backends[i], size, max_weight);
	take_turns(backends, walkers, n, max_weight, size, entry, taken);
	return 0;
}
