// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <string.h>

#include "datapath/guards.h"

/* What people are told of breakers, from maps of this test's own. */

#define S 1000000000ull

static struct shunt_settings settings;
static struct shunt_breaker_rule rules[4];
static struct shunt_breaker_state states[8];
static struct shunt_breaker_word words[8 * SHUNT_BREAKER_WORDS];
static struct shunt_breaker_name names[8];
static struct shunt_variant_guard variants[4];
static struct shunt_backend_guard backends[4];

#define MAPPED(array)                                                                              \
	{                                                                                          \
		.n = sizeof(array) / sizeof((array)[0]), .stride = sizeof((array)[0]),             \
		.base = (array)                                                                    \
	}

static const struct shunt_dp_maps maps = {
	.settings = { .n = 1, .stride = sizeof(settings), .base = &settings },
	.breakers = MAPPED(rules),
	.breaker_states = MAPPED(states),
	.breaker_words = MAPPED(words),
	.breaker_names = MAPPED(names),
	.variant_guards = MAPPED(variants),
	.backend_guards = MAPPED(backends),
};

/* Variants 1 and 2 are under breaker 1; variant 3 in the other slot alone, each backend its own. */
static void fill(void)
{
	settings.epoch = 4;
	rules[1] = (struct shunt_breaker_rule){ .open_ns = 10 * S, .recovery_ns = 5 * S };
	variants[1] = (struct shunt_variant_guard){ .breaker = { 1, 0 }, .instance = { 3, 0 } };
	variants[2] = (struct shunt_variant_guard){ .breaker = { 1, 0 }, .instance = { 3, 0 } };
	variants[3] = (struct shunt_variant_guard){ .breaker = { 0, 2 }, .instance = { 0, 0 } };
	backends[2].instance = 5;
	names[5] = (struct shunt_breaker_name){ .scope = SHUNT_LIMIT_BACKEND,
						.variant_index = 3,
						.backend_index = 2 };
}

Test(guards, flows_are_under_the_breaker_of_the_slot_in_use, .init = fill)
{
	struct shunt_guard_found found = shunt_guard_find(&maps, 2, 2);

	cr_assert_eq(found.breaker, 1);
	cr_assert_eq(found.instance, 3);
	cr_assert_eq(shunt_guard_find(&maps, 3, 2).breaker, 0);
	settings.epoch = 5;
	cr_assert_eq(shunt_guard_find(&maps, 2, 2).breaker, 0);
	found = shunt_guard_find(&maps, 3, 2);
	cr_assert_eq(found.breaker, 2);
	cr_assert_eq(found.instance, 5);
	cr_assert_eq(shunt_guard_find(&maps, 3, 1).breaker, 0, "this backend has none");
}

Test(guards, indices_that_are_out_of_range_are_under_none, .init = fill)
{
	cr_assert_eq(shunt_guard_find(&maps, 4, 2).breaker, 0);
	settings.epoch = 5;
	cr_assert_eq(shunt_guard_find(&maps, 3, 4).breaker, 0);
	backends[1].instance = 8;
	cr_assert_eq(shunt_guard_find(&maps, 3, 1).breaker, 0);
	cr_assert_eq(shunt_guard_rule(&maps, 8), 0);
	cr_assert_eq(shunt_guard_requests(&maps, 0, 3, S), 0);
}

Test(guards, the_rule_of_an_instance_is_found_by_its_variants, .init = fill)
{
	cr_assert_eq(shunt_guard_rule(&maps, 3), 1);
	cr_assert_eq(shunt_guard_rule(&maps, 4), 0);
	cr_assert_eq(shunt_guard_rule(&maps, 5), 0);
	settings.epoch = 5;
	cr_assert_eq(shunt_guard_rule(&maps, 5), 2);
}

Test(guards, an_instance_that_its_backend_has_no_more_is_under_no_rule, .init = fill)
{
	settings.epoch = 5;
	backends[2].instance = 6;
	cr_assert_eq(shunt_guard_rule(&maps, 5), 0, "another instance has followed it");
	backends[2].instance = 0;
	cr_assert_eq(shunt_guard_rule(&maps, 5), 0, "the backend has none of its own now");
	backends[2].instance = 5;
	cr_assert_eq(shunt_guard_rule(&maps, 5), 2);
	names[5].backend_index = 4;
	cr_assert_eq(shunt_guard_rule(&maps, 5), 0, "there is no such backend");
}

Test(guards, the_rule_of_a_variants_instance_is_its_variants, .init = fill)
{
	names[6] = (struct shunt_breaker_name){ .scope = SHUNT_LIMIT_VARIANT, .variant_index = 2 };
	names[7] = names[6];
	variants[2] = (struct shunt_variant_guard){ .breaker = { 3, 2 }, .instance = { 6, 7 } };
	variants[3] = (struct shunt_variant_guard){ .breaker = { 1, 1 }, .instance = { 7, 6 } };
	cr_assert_eq(shunt_guard_rule(&maps, 6), 3);
	cr_assert_eq(shunt_guard_rule(&maps, 7), 0, "its variant is under another");
	settings.epoch = 5;
	cr_assert_eq(shunt_guard_rule(&maps, 6), 0);
	cr_assert_eq(shunt_guard_rule(&maps, 7), 2);
	variants[2].breaker[1] = 0;
	cr_assert_eq(shunt_guard_rule(&maps, 7), 0);
}

Test(guards, one_that_is_open_says_since_when_and_how_long, .init = fill)
{
	struct shunt_guard_state state;

	states[3].word = SHUNT_BREAKER_WORD(100 * S, SHUNT_BREAKER_OPEN);
	states[3].opened = 7;
	state = shunt_guard_state(&maps, 1, 3, 96 * S);
	cr_assert_eq(state.phase, SHUNT_BREAKER_OPEN);
	cr_assert_eq(state.left_ns, 4 * S);
	cr_assert_eq(state.since_ns, 90 * S);
	cr_assert_eq(state.opened, 7);
	cr_assert_eq(shunt_guard_state(&maps, 0, 3, 96 * S).since_ns, 0, "nobody knows the rule");
}

Test(guards, past_its_time_it_is_what_the_next_packet_meets, .init = fill)
{
	struct shunt_guard_state state;

	states[3].word = SHUNT_BREAKER_WORD(100 * S, SHUNT_BREAKER_OPEN);
	state = shunt_guard_state(&maps, 1, 3, 100 * S);
	cr_assert_eq(state.phase, SHUNT_BREAKER_RECOVERING);
	cr_assert_eq(state.left_ns, 5 * S);
	states[3].word = SHUNT_BREAKER_WORD(100 * S, SHUNT_BREAKER_RECOVERING);
	cr_assert_eq(shunt_guard_state(&maps, 1, 3, 99 * S).since_ns, 95 * S);
	cr_assert_eq(shunt_guard_state(&maps, 1, 3, 100 * S).phase, SHUNT_BREAKER_CLOSED);
	states[3].word = SHUNT_BREAKER_WORD(0, SHUNT_BREAKER_FORCED_OPEN);
	cr_assert_eq(shunt_guard_state(&maps, 1, 3, 100 * S).phase, SHUNT_BREAKER_FORCED_OPEN);
}
