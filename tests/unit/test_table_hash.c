// SPDX-License-Identifier: Apache-2.0
/* The flow table's hash: neighbours in the tuple must not be neighbours in the table. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

#include "shunt/choose.h"

#define FLOWS 256
#define SETS  256

/* Return: how many flows share the fullest set when ports count up by @step. */
static unsigned fullest_set(unsigned key, unsigned step, unsigned family)
{
	struct shunt_addr src = { .word_be = { 0, 0, 0, htonl(0x0a010002) } };
	struct shunt_addr dst = { .word_be = { 0, 0, 0, htonl(0x0a60000a) } };
	unsigned sets[SETS] = { 0 }, most = 0;

	for (unsigned i = 0; i < FLOWS; i++) {
		__be16 port_be = htons((uint16_t)(33000 + i * step));
		__u64 hash = shunt_table_hash(0x9e3779b97f4a7c15ull * key, &src, &dst, port_be,
					      htons(80), IPPROTO_TCP, family);
		unsigned *set = &sets[hash % SETS];

		*set += 1;
		if (*set > most)
			most = *set;
	}
	return most;
}

/* A random choice puts at most some 7 of 256 flows into one of 256 sets. */
Test(table_hash, ports_in_sequence_spread_over_the_sets)
{
	static const unsigned steps[] = { 1, 2, 3, 16, 128, 256 };

	for (unsigned key = 1; key <= 32; key++)
		for (unsigned i = 0; i < sizeof(steps) / sizeof(*steps); i++)
			for (unsigned family = SHUNT_V4; family <= SHUNT_V6; family++)
				cr_expect_leq(fullest_set(key, steps[i], family), 14,
					      "key %u, step %u, family %u: %u in one set", key,
					      steps[i], family, fullest_set(key, steps[i], family));
}
