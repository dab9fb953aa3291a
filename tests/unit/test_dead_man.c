// SPDX-License-Identifier: Apache-2.0
/* The arithmetic of the dead-man switch (shunt/dead_man.h), and what clears it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "datapath/installer.h"
#include "install_scene.h"
#include "model/policy.h"
#include "shunt/dead_man.h"

/* ---- the decision -------------------------------------------------------------------------- */

static uint64_t state = 88172645463325252ull;

static uint64_t random64(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* @bits of a random length up to @most, so that small numbers come as often as large ones. */
static uint64_t number(unsigned most)
{
	return random64() >> (63 - random64() % most);
}

static struct shunt_dead_man_sample sample(unsigned bits)
{
	struct shunt_dead_man_sample sample = { .responses = number(bits) };

	sample.errors = number(bits) % (sample.responses + 1);
	return sample;
}

static int reference(uint32_t margin_bp, uint32_t min_samples, struct shunt_dead_man_sample canary,
		     struct shunt_dead_man_sample stable)
{
	long double its, others;

	if (canary.responses < min_samples || !canary.responses || !stable.responses)
		return 0;
	canary.errors = canary.errors < canary.responses ? canary.errors : canary.responses;
	stable.errors = stable.errors < stable.responses ? stable.errors : stable.responses;
	/* Exact where the products have no more than 64 bits, which is a long double's fraction. */
	its = (long double)canary.errors * stable.responses * 10000;
	others = (long double)stable.errors * canary.responses * 10000 +
		 (long double)margin_bp * ((long double)canary.responses * stable.responses);
	return its > others;
}

Test(dead_man, it_decides_as_a_reference_does_in_a_million_cases)
{
	uint32_t trips = 0;

	for (int i = 0; i < 1000000; i++) {
		struct shunt_dead_man_sample canary = sample(23), stable = sample(23);
		uint32_t margin_bp = 1 + random64() % (i % 2 ? 10000 : 20);
		uint32_t min_samples = 1 + random64() % 100;
		int want = reference(margin_bp, min_samples, canary, stable);

		/* Half of them at the edge: as many errors as may just be. */
		if (i % 4 == 0 && stable.responses && canary.responses) {
			canary.errors =
				canary.responses *
					(10000 * stable.errors / stable.responses + margin_bp) /
					10000 +
				random64() % 3;
			want = reference(margin_bp, min_samples, canary, stable);
		}
		trips += (uint32_t)want;
		cr_assert_eq(shunt_dead_man_trips(margin_bp, min_samples, canary, stable), want,
			     "margin %u, canary %lu of %lu, stable %lu of %lu", margin_bp,
			     (unsigned long)canary.errors, (unsigned long)canary.responses,
			     (unsigned long)stable.errors, (unsigned long)stable.responses);
	}
	cr_assert(trips > 100000 && trips < 900000, "%u", trips);
}

/* Billions of responses in a window: nothing overflows, and only the last digits are lost. */
Test(dead_man, of_huge_counts_the_last_digits_do_not_count)
{
	for (int i = 0; i < 1000000; i++) {
		struct shunt_dead_man_sample canary = sample(36), stable = sample(36);
		uint32_t margin_bp = 1 + random64() % 10000;
		long double its, others, limit;

		if (!canary.responses || !stable.responses)
			continue;
		its = (long double)canary.errors / canary.responses;
		others = (long double)stable.errors / stable.responses;
		limit = others + margin_bp / 10000.0L;
		if (its > limit - 0.001L && its < limit + 0.001L)
			continue;
		cr_assert_eq(shunt_dead_man_trips(margin_bp, 1, canary, stable), its > limit);
	}
}

Test(dead_man, a_ratio_is_told_in_hundredths_of_a_percent)
{
	cr_assert_eq(shunt_dead_man_ratio_bp((struct shunt_dead_man_sample){ 0, 0 }), 0);
	cr_assert_eq(shunt_dead_man_ratio_bp((struct shunt_dead_man_sample){ 3, 1 }), 3333);
	cr_assert_eq(
		shunt_dead_man_ratio_bp((struct shunt_dead_man_sample){ 1ull << 36, 1ull << 36 }),
		10000);
}

/* ---- the window ---------------------------------------------------------------------------- */

Test(dead_man, errors_whose_responses_are_out_of_the_window_are_no_more_than_all)
{
	struct shunt_dead_man_sample ill = { .responses = 20, .errors = 23 };
	struct shunt_dead_man_sample huge = { .responses = 20, .errors = 1ull << 36 };
	struct shunt_dead_man_sample all = { .responses = 1u << 23, .errors = 1u << 23 };
	struct shunt_dead_man_sample well = { .responses = 1u << 23, .errors = 0 };

	cr_expect_eq(shunt_dead_man_ratio_bp(ill), 10000);
	cr_expect_eq(shunt_dead_man_ratio_bp(huge), 10000);
	cr_expect(!shunt_dead_man_trips(1, 10, ill, all), "no worse than one that always fails");
	cr_expect(!shunt_dead_man_trips(1, 10, huge, all));
	cr_expect(shunt_dead_man_trips(9999, 10, ill, well));
	cr_expect(shunt_dead_man_trips(9999, 10, huge, well));
}

Test(dead_man, a_window_counts_its_seconds_and_the_one_that_has_begun)
{
	__u64 words[SHUNT_DEAD_MAN_WORDS] = { 0 };
	uint64_t at[200] = { 0 };

	cr_assert_eq(SHUNT_DEAD_MAN_SECONDS(1000), 2);
	cr_assert_eq(SHUNT_DEAD_MAN_SECONDS(1001), 3);
	cr_assert_eq(SHUNT_DEAD_MAN_SECONDS(10000), 11);
	/* Some seconds without a word, also longer than the ring. */
	for (uint32_t now = 60; now < 200; now++) {
		at[now] = now % 50 < 25 ? random64() % 4 : 0;
		for (uint64_t i = 0; i < at[now]; i++)
			shunt_window_add(shunt_dead_man_word(words, now), now);
		for (uint32_t seconds = 2; seconds <= 11; seconds++) {
			uint64_t want = 0;

			for (uint32_t s = now - seconds + 1; s <= now; s++)
				want += at[s];
			cr_assert_eq(shunt_dead_man_sum(words, now, seconds), want);
		}
	}
}

/* ---- what clears it ------------------------------------------------------------------------ */

static struct shunt_policy *policy;

static void scene(void)
{
	setup();
	policy = shunt_policy_new();
	policy->dead_man = (struct shunt_dead_man){ .enabled = true,
						    .canary = "green",
						    .stable = "blue",
						    .margin_bp = 500,
						    .min_samples = 10,
						    .window_ms = 10000 };
	web.model.policy = policy;
	lab_install_ok(&lab, only_web, 1);
}

static void unscene(void)
{
	web.model.policy = NULL;
	shunt_policy_free(policy);
	teardown();
}

static struct shunt_model_variant *variant(const char *name)
{
	return shunt_model_variant_find(&web.model, name);
}

static const struct shunt_dead_man_rule *rule(void)
{
	uint32_t service = lab_service_id(&lab, "web");

	return &AT(policies, struct shunt_policy_record,
		   AT(services, struct shunt_service, service)->policy[0])
			->dead_man;
}

static struct shunt_overlay *overlay(void)
{
	return AT(overlay, struct shunt_overlay, rule()->canary);
}

static void trip(void)
{
	overlay()->tripped = 1;
	AT(dead_man_counts, struct shunt_dead_man_counts, rule()->canary)->errors[3] = 7;
}

static void expect_cleared(bool cleared, const char *when)
{
	cr_assert_eq(overlay()->tripped, !cleared, "%s", when);
	cr_assert_eq(AT(dead_man_counts, struct shunt_dead_man_counts, rule()->canary)->errors[3],
		     cleared ? 0 : 7, "%s", when);
}

Test(dead_man, the_rule_stands_in_the_policy, .init = scene, .fini = unscene)
{
	cr_assert_str_eq(AT(variant_names, struct shunt_variant_name, rule()->canary)->variant,
			 "green");
	cr_assert_str_eq(AT(variant_names, struct shunt_variant_name, rule()->stable)->variant,
			 "blue");
	cr_assert_eq(rule()->margin_bp, 500);
	cr_assert_eq(rule()->min_samples, 10);
	cr_assert_eq(rule()->seconds, 11);
	cr_assert_eq(AT(variants, struct shunt_variant, rule()->canary)->weight,
		     variant("green")->weight);
}

Test(dead_man, only_a_new_weight_clears_it, .init = scene, .fini = unscene)
{
	trip();
	lab_install_ok(&lab, only_web, 1);
	expect_cleared(false, "the same again");
	/* Another policy, other backends, another service. */
	policy->dead_man.margin_bp = 400;
	variant("green")->backends[0].usable = false;
	lab_install_ok(&lab, both, 2);
	expect_cleared(false, "an unrelated change");
	lab_restart(&lab);
	variant("green")->backends[0].usable = true;
	lab_install_ok(&lab, only_web, 1);
	expect_cleared(false, "another agent");
	/* All its pods crash, and are well again: its share went elsewhere meanwhile. */
	web.model.empty_policy = SHUNT_EMPTY_REDISTRIBUTE;
	for (size_t b = 0; b < variant("green")->n_backends; b++)
		variant("green")->backends[b].usable = false;
	lab_install_ok(&lab, only_web, 1);
	expect_cleared(false, "no backend");
	for (size_t b = 0; b < variant("green")->n_backends; b++)
		variant("green")->backends[b].usable = true;
	lab_install_ok(&lab, only_web, 1);
	expect_cleared(false, "backends again");
	variant("green")->weight++;
	lab_install_ok(&lab, only_web, 1);
	expect_cleared(true, "a new weight");
	/* Also one that came while no agent was there. */
	trip();
	lab_restart(&lab);
	variant("green")->weight++;
	lab_install_ok(&lab, only_web, 1);
	expect_cleared(true, "a new weight for a new agent");
}

Test(dead_man, a_new_weight_of_the_other_clears_it, .init = scene, .fini = unscene)
{
	trip();
	variant("blue")->weight = 0;
	lab_install_ok(&lab, only_web, 1);
	expect_cleared(true, "nobody else would serve");
}

Test(dead_man, an_install_that_fails_clears_nothing, .init = scene, .fini = unscene)
{
	struct shunt_install_result result;
	struct shunt_err err;
	struct shunt_cidr cidr;
	char text[32];

	trip();
	variant("green")->weight++;
	for (int i = 0; i < 300; i++) {
		sprintf(text, "10.%d.%d.0/24", i / 200, i % 200);
		cr_assert_eq(shunt_cidr_parse(text, &cidr), 0);
		cr_assert_eq(shunt_cidrs_add(&policy->sources.deny, &cidr), 0);
	}
	cr_assert_eq(lab_install(&lab, only_web, 1, &result, &err), -ENOSPC);
	expect_cleared(false, "nothing was installed");
}

Test(dead_man, an_operator_clears_it_by_name, .init = scene, .fini = unscene)
{
	struct shunt_variant_name name =
		*AT(variant_names, struct shunt_variant_name, rule()->canary);
	uint32_t generation = AT(settings, struct shunt_settings, 0)->generation;

	cr_assert(!shunt_installer_reset_dead_man(lab.installer, &name));
	cr_assert_eq(AT(settings, struct shunt_settings, 0)->generation, generation);
	trip();
	cr_assert(shunt_installer_reset_dead_man(lab.installer, &name));
	expect_cleared(true, "the operator's word");
	cr_assert_eq(AT(settings, struct shunt_settings, 0)->generation, generation + 1);
}
