// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/place.h"

static struct shunt_place place;

static void setup(void)
{
	cr_assert_eq(shunt_place_init(&place, 1, 1001), 0);
}

static void teardown(void)
{
	shunt_place_done(&place);
}

static uint32_t take(uint32_t n)
{
	uint32_t first = 0;

	cr_assert_eq(shunt_place_alloc(&place, n, &first), 0, "%u entries", n);
	return first;
}

Test(place, all_of_it_can_be_had_and_no_more, .init = setup, .fini = teardown)
{
	uint32_t first;

	cr_assert_eq(take(1000), 1);
	cr_assert_eq(shunt_place_alloc(&place, 1, &first), -ENOSPC);
}

Test(place, neighbours_merge_when_they_come_back, .init = setup, .fini = teardown)
{
	uint32_t a = take(10), b = take(20), c = take(970);

	shunt_place_free(&place, a, 10);
	shunt_place_free(&place, c, 970);
	shunt_place_free(&place, b, 20);
	cr_assert_eq(place.n_free, 1);
	cr_assert_eq(take(1000), 1);
}

Test(place, retired_ranges_wait_for_the_grace_period, .init = setup, .fini = teardown)
{
	uint32_t first = take(1000);

	cr_assert_eq(shunt_place_retire(&place, first, 1000), 0);
	cr_assert(shunt_place_waits(&place));
	cr_assert_eq(shunt_place_alloc(&place, 1, &first), -ENOSPC);
	shunt_place_settle(&place);
	cr_assert(!shunt_place_waits(&place));
	cr_assert_eq(take(1000), 1);
}

Test(place, adopted_ranges_are_never_given_out, .init = setup, .fini = teardown)
{
	cr_assert_eq(shunt_place_adopt(&place, 5, 10), 0);
	cr_assert_eq(shunt_place_adopt(&place, 14, 2), -EEXIST, "overlaps");
	cr_assert_eq(shunt_place_adopt(&place, 0, 1), -EEXIST, "outside");
	cr_assert_eq(shunt_place_adopt(&place, 1000, 2), -EEXIST, "beyond the end");
	cr_assert_eq(shunt_place_adopt(&place, 990, UINT32_MAX), -EEXIST, "wraps");
	cr_assert_eq(shunt_place_adopt(&place, 1, 4), 0);
	cr_assert_eq(take(100), 15);
}

/* 100 000 random steps against a table of who owns which entry. */
Test(place, no_entry_ever_has_two_owners, .init = setup, .fini = teardown)
{
	struct shunt_range held[300] = { 0 };
	unsigned char owned[1001] = { 0 };

	srand(1);
	for (int step = 0; step < 100000; step++) {
		struct shunt_range *slot = &held[rand() % 300];
		uint32_t n = rand() % 12 + 1, first;

		if (slot->n) {
			memset(&owned[slot->first], 0, slot->n);
			shunt_place_free(&place, slot->first, slot->n);
			slot->n = 0;
		} else if (shunt_place_alloc(&place, n, &first) == 0) {
			for (uint32_t i = first; i < first + n; i++)
				cr_assert(!owned[i]++, "entry %u in step %d", i, step);
			*slot = (struct shunt_range){ first, n };
		}
	}
	for (int i = 0; i < 300; i++)
		if (held[i].n)
			shunt_place_free(&place, held[i].first, held[i].n);
	cr_assert_eq(place.n_free, 1);
	cr_assert_eq(place.free_[0].n, 1000);
}
