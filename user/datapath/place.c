// SPDX-License-Identifier: Apache-2.0
#include "datapath/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int grow(struct shunt_range **ranges, size_t *room, size_t n)
{
	struct shunt_range *bigger;
	size_t wanted = *room ? *room : 16;

	while (wanted < n)
		wanted *= 2;
	if (wanted == *room)
		return 0;
	bigger = realloc(*ranges, wanted * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	*ranges = bigger;
	*room = wanted;
	return 0;
}

int shunt_place_init(struct shunt_place *place, uint32_t first, uint32_t end)
{
	memset(place, 0, sizeof(*place));
	if (grow(&place->free_, &place->room_free, 1) < 0)
		return -ENOMEM;
	if (first < end)
		place->free_[place->n_free++] = (struct shunt_range){ first, end - first };
	return 0;
}

void shunt_place_done(struct shunt_place *place)
{
	free(place->free_);
	free(place->retired);
	memset(place, 0, sizeof(*place));
}

/* Return: index of the first free range that begins above @first. */
static size_t above(const struct shunt_place *place, uint32_t first)
{
	size_t low = 0, high = place->n_free;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (place->free_[middle].first > first)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void remove_at(struct shunt_place *place, size_t i)
{
	place->n_free--;
	memmove(&place->free_[i], &place->free_[i + 1],
		(place->n_free - i) * sizeof(*place->free_));
}

static void insert_at(struct shunt_place *place, size_t i, uint32_t first, uint32_t n)
{
	memmove(&place->free_[i + 1], &place->free_[i],
		(place->n_free - i) * sizeof(*place->free_));
	place->free_[i] = (struct shunt_range){ first, n };
	place->n_free++;
}

/*
 * There is at most one free range more than there are ranges in use. So room is made when one
 * is taken, and giving it back, whole as it was taken, needs no memory: it cannot fail.
 */
static int reserve(struct shunt_place *place)
{
	return grow(&place->free_, &place->room_free, place->n_used + 3);
}

int shunt_place_alloc(struct shunt_place *place, uint32_t n, uint32_t *ret_first)
{
	if (reserve(place) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < place->n_free; i++) {
		struct shunt_range *range = &place->free_[i];

		if (range->n < n)
			continue;
		*ret_first = range->first;
		range->first += n;
		range->n -= n;
		if (!range->n)
			remove_at(place, i);
		place->n_used++;
		return 0;
	}
	return -ENOSPC;
}

int shunt_place_adopt(struct shunt_place *place, uint32_t first, uint32_t n)
{
	size_t i = above(place, first);
	struct shunt_range *range;
	uint64_t end = (uint64_t)first + n;
	uint64_t range_end;

	if (!i)
		return -EEXIST;
	if (reserve(place) < 0)
		return -ENOMEM;
	range = &place->free_[i - 1];
	range_end = (uint64_t)range->first + range->n;
	if (end > range_end)
		return -EEXIST;
	range->n = first - range->first;
	if (end < range_end)
		insert_at(place, i, end, range_end - end);
	if (!place->free_[i - 1].n)
		remove_at(place, i - 1);
	place->n_used++;
	return 0;
}

void shunt_place_free(struct shunt_place *place, uint32_t first, uint32_t n)
{
	size_t i = above(place, first);
	struct shunt_range *before = i ? &place->free_[i - 1] : NULL;
	struct shunt_range *after = i < place->n_free ? &place->free_[i] : NULL;
	bool joins_before = before && before->first + before->n == first;
	bool joins_after = after && first + n == after->first;

	place->n_used--;
	if (joins_before && joins_after) {
		before->n += n + after->n;
		remove_at(place, i);
	} else if (joins_before) {
		before->n += n;
	} else if (joins_after) {
		after->first = first;
		after->n += n;
	} else {
		insert_at(place, i, first, n);
	}
}

int shunt_place_retire(struct shunt_place *place, uint32_t first, uint32_t n)
{
	if (!n)
		return 0;
	if (grow(&place->retired, &place->room_retired, place->n_retired + 1) < 0)
		return -ENOMEM;
	place->retired[place->n_retired++] = (struct shunt_range){ first, n };
	return 0;
}

bool shunt_place_waits(const struct shunt_place *place)
{
	return place->n_retired;
}

void shunt_place_settle(struct shunt_place *place)
{
	for (size_t i = 0; i < place->n_retired; i++)
		shunt_place_free(place, place->retired[i].first, place->retired[i].n);
	place->n_retired = 0;
}
