// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compile/maglev.h"

#define MOST 700

static struct shunt_maglev_backend backends[MOST];
static uint16_t table[SHUNT_MAX_RING], other[SHUNT_MAX_RING];

static void setup(void)
{
	for (uint32_t i = 0; i < MOST; i++) {
		backends[i] = (struct shunt_maglev_backend){ .port = 8080, .weight = 1 };
		backends[i].ip.addr.word_be[3] = htonl(0x0a000001 + i);
	}
}

static void fill(const struct shunt_maglev_backend *from, size_t n, uint16_t *entry)
{
	cr_assert_eq(shunt_maglev_fill(from, n, entry), 0);
}

static uint32_t slots_of(const uint16_t *entry, uint32_t size, uint16_t index)
{
	uint32_t slots = 0;

	for (uint32_t i = 0; i < size; i++)
		slots += entry[i] == index;
	return slots;
}

Test(maglev, sizes_are_primes_of_a_hundred_slots_a_backend)
{
	cr_assert_eq(shunt_maglev_size(0), 0);
	cr_assert_eq(shunt_maglev_size(1), 1);
	cr_assert_eq(shunt_maglev_size(2), 251);
	cr_assert_eq(shunt_maglev_size(3), 503);
	cr_assert_eq(shunt_maglev_size(10), 1009);
	cr_assert_eq(shunt_maglev_size(655), SHUNT_MAX_RING);
	cr_assert_eq(shunt_maglev_size(10000), SHUNT_MAX_RING);
	for (size_t n = 2; n < 700; n++) {
		uint32_t size = shunt_maglev_size(n);

		cr_assert(size >= 100 * n || size == SHUNT_MAX_RING);
		for (uint32_t d = 2; d * d <= size; d++)
			cr_assert_neq(size % d, 0, "%u is no prime", size);
	}
}

Test(maglev, one_backend_needs_one_slot, .init = setup)
{
	table[0] = 7;
	fill(backends, 1, table);
	cr_assert_eq(table[0], 0);
}

Test(maglev, more_backends_than_slots_are_refused)
{
	struct shunt_maglev_backend *many = calloc(SHUNT_MAX_RING + 1, sizeof(*many));

	cr_assert_not_null(many);
	cr_assert_eq(shunt_maglev_fill(many, SHUNT_MAX_RING + 1, table), -E2BIG);
	free(many);
}

Test(maglev, equal_backends_differ_by_one_slot_at_most, .init = setup)
{
	const size_t counts[] = { 2, 3, 7, 10, 64, 250, 655 };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		uint32_t size = shunt_maglev_size(counts[i]), least = size, most = 0;

		fill(backends, counts[i], table);
		for (size_t b = 0; b < counts[i]; b++) {
			uint32_t slots = slots_of(table, size, b);

			least = slots < least ? slots : least;
			most = slots > most ? slots : most;
		}
		cr_assert(most - least <= 1, "%zu backends: %u to %u", counts[i], least, most);
	}
}

Test(maglev, weights_are_met_within_one_percent, .init = setup)
{
	const uint32_t sets[][4] = {
		{ 1, 1, 2, 4 },	 { 1, 9, 90, 900 },   { 1000000, 1, 1, 1 },
		{ 3, 5, 7, 11 }, { 100, 99, 98, 97 }, { 1000000, 999999, 500000, 1 },
	};

	for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
		uint32_t size = shunt_maglev_size(4);
		double total = 0;

		for (int b = 0; b < 4; b++) {
			backends[b].weight = sets[s][b];
			total += sets[s][b];
		}
		fill(backends, 4, table);
		for (int b = 0; b < 4; b++) {
			double share = (double)slots_of(table, size, b) / size;
			double due = size * sets[s][b] / total;

			cr_assert(fabs(share * size - due) <= 1, "set %zu, backend %d: %f of %f", s,
				  b, share * size, due);
			cr_assert(fabs(share - sets[s][b] / total) < 0.01,
				  "set %zu, backend %d: %f", s, b, share);
		}
	}
}

/*
 * Of the connections of those that stay, a part moves too: the price of equal shares. With
 * 100 slots a backend it is 2 to 3 % for 5 to 40 backends; the bound here has room above
 * what was measured with these addresses.
 */
Test(maglev, losing_one_backend_moves_few_of_the_others, .init = setup)
{
	const size_t counts[] = { 5, 10, 20, 40 };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		size_t n = counts[i], gone = n / 2;
		struct shunt_maglev_backend fewer[MOST];
		uint32_t size = shunt_maglev_size(n), moved = 0, stayed = 0;

		/* The same size for both, as it nearly always is. */
		if (shunt_maglev_size(n - 1) != size)
			continue;
		fill(backends, n, table);
		memcpy(fewer, backends, sizeof(backends));
		memmove(&fewer[gone], &fewer[gone + 1], (n - gone - 1) * sizeof(fewer[0]));
		fill(fewer, n - 1, other);
		for (uint32_t slot = 0; slot < size; slot++) {
			size_t now = other[slot] + (other[slot] >= gone);

			if (table[slot] == gone)
				continue;
			stayed += table[slot] == now;
			moved += table[slot] != now;
		}
		cr_log_info("%zu backends: %u of %u moved", n, moved, moved + stayed);
		cr_assert(moved * 100.0 < 6.0 * (moved + stayed), "%zu backends: %u of %u moved", n,
			  moved, moved + stayed);
	}
}

Test(maglev, ten_thousand_tables_take_less_than_two_seconds, .init = setup)
{
	struct timespec began, ended;
	double seconds;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
	for (int i = 0; i < 10000; i++) {
		backends[0].port = i;
		fill(backends, 10, table);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	seconds = ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) / 1e9;
	cr_log_info("10 000 tables of 1009: %.3f s", seconds);
#ifndef __SANITIZE_ADDRESS__
	cr_assert(seconds < 2, "%f s", seconds);
#endif
}
