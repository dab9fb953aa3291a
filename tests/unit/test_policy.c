// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/policy.h"

static struct shunt_policy *example(void)
{
	struct shunt_policy *policy = shunt_policy_new();
	struct shunt_cidr ten, net;

	cr_assert_eq(shunt_cidr_parse("10.0.0.0/8", &ten), 0);
	cr_assert_eq(shunt_cidr_parse("2001:db8::/32", &net), 0);
	policy->n_limits = 2;
	policy->limits[0] =
		(struct shunt_rate_limit){ .average = 100, .period_ms = 1000, .burst = 50 };
	policy->limits[1] = policy->limits[0];
	policy->n_in_flight = 1;
	policy->in_flight[0].max = 10;
	shunt_cidrs_add(&policy->sources.allow, &net);
	shunt_cidrs_add(&policy->sources.allow, &ten);
	shunt_cidrs_add(&policy->sources.allow, &net);
	policy->breaker.expression = strdup("NetworkErrorRatio() > 0.5");
	policy->ejection.enabled = true;
	policy->dead_man.enabled = true;
	shunt_policy_seal(policy);
	return policy;
}

Test(policy, a_copy_is_equal_and_shares_nothing)
{
	struct shunt_policy *a = example(), *b = shunt_policy_copy(a);

	cr_assert_not_null(b);
	cr_expect(shunt_policy_equal(a, b));
	cr_expect_neq(a->breaker.expression, b->breaker.expression);
	shunt_policy_free(a);
	cr_expect_str_eq(b->breaker.expression, "NetworkErrorRatio() > 0.5");
	cr_expect_eq(b->sources.allow.n, 2);
	shunt_policy_free(b);
	shunt_policy_free(NULL);
}

Test(policy, none_equals_only_none)
{
	struct shunt_policy *a = shunt_policy_new();

	cr_expect(shunt_policy_equal(NULL, NULL));
	cr_expect_not(shunt_policy_equal(a, NULL));
	cr_expect_not(shunt_policy_equal(NULL, a));
	cr_expect_eq(shunt_policy_digest(NULL), 0);
	shunt_policy_free(a);
}

/* Each changes one thing that a policy asks for. */
static void c_signals(struct shunt_policy *p)
{
	p->signals = SHUNT_SIGNALS_OFF;
}
static void c_average(struct shunt_policy *p)
{
	p->limits[0].average++;
}
static void c_period(struct shunt_policy *p)
{
	p->limits[0].period_ms++;
}
static void c_burst(struct shunt_policy *p)
{
	p->limits[0].burst++;
}
static void c_answer(struct shunt_policy *p)
{
	p->limits[0].answer = SHUNT_OVER_DROP;
}
static void c_unit(struct shunt_policy *p)
{
	p->limits[0].key.unit = SHUNT_UNIT_BYTES;
}
static void c_prefix(struct shunt_policy *p)
{
	p->limits[0].key.prefix_len[SHUNT_V6] = 64;
}
static void c_variant(struct shunt_policy *p)
{
	p->limits[0].key.variant[0] = 'v';
}
static void c_number(struct shunt_policy *p)
{
	p->n_limits--;
}
static void c_max(struct shunt_policy *p)
{
	p->in_flight[0].max++;
}
static void c_scope(struct shunt_policy *p)
{
	p->in_flight[0].key.scope = SHUNT_SCOPE_BACKEND;
}
static void c_cidr(struct shunt_policy *p)
{
	p->sources.allow.items[0].prefix_len = 9;
}
static void c_deny(struct shunt_policy *p)
{
	shunt_cidrs_add(&p->sources.deny, &p->sources.allow.items[0]);
}
static void c_balancer(struct shunt_policy *p)
{
	shunt_cidrs_add(&p->sources.load_balancer, &p->sources.allow.items[0]);
}
static void c_expression(struct shunt_policy *p)
{
	p->breaker.expression[0] = 'X';
}
static void c_check(struct shunt_policy *p)
{
	p->breaker.check_ms++;
}
static void c_fallback(struct shunt_policy *p)
{
	p->breaker.fallback_ms++;
}
static void c_recovery(struct shunt_policy *p)
{
	p->breaker.recovery_ms++;
}
static void c_code(struct shunt_policy *p)
{
	p->breaker.response_code++;
}
static void c_requests(struct shunt_policy *p)
{
	p->breaker.min_requests++;
}
static void c_heir(struct shunt_policy *p)
{
	p->breaker.fallback[0] = 'v';
}
static void c_errors(struct shunt_policy *p)
{
	p->ejection.consecutive_5xx++;
}
static void c_gateway(struct shunt_policy *p)
{
	p->ejection.consecutive_gateway++;
}
static void c_interval(struct shunt_policy *p)
{
	p->ejection.interval_ms++;
}
static void c_base(struct shunt_policy *p)
{
	p->ejection.base_ms++;
}
static void c_percent(struct shunt_policy *p)
{
	p->ejection.max_percent++;
}
static void c_panic(struct shunt_policy *p)
{
	p->ejection.panic_percent++;
}
static void c_canary(struct shunt_policy *p)
{
	p->dead_man.canary[0] = 'c';
}
static void c_stable(struct shunt_policy *p)
{
	p->dead_man.stable[0] = 's';
}
static void c_margin(struct shunt_policy *p)
{
	p->dead_man.margin_bp++;
}
static void c_samples(struct shunt_policy *p)
{
	p->dead_man.min_samples++;
}
static void c_window(struct shunt_policy *p)
{
	p->dead_man.window_ms++;
}
static void c_age(struct shunt_policy *p)
{
	p->max_age_ms = 1000;
}

Test(policy, every_change_changes_the_digest)
{
	static void (*const changes[])(struct shunt_policy *) = {
		c_signals,    c_average, c_period,   c_burst,	 c_answer,  c_unit,	c_prefix,
		c_variant,    c_number,	 c_max,	     c_scope,	 c_cidr,    c_deny,	c_balancer,
		c_expression, c_check,	 c_fallback, c_recovery, c_code,    c_requests, c_heir,
		c_errors,     c_gateway, c_interval, c_base,	 c_percent, c_panic,	c_canary,
		c_stable,     c_margin,	 c_samples,  c_window,	 c_age,
	};
	uint64_t seen[ARRAY_LEN(changes) + 1];

	for (size_t i = 0; i <= ARRAY_LEN(changes); i++) {
		struct shunt_policy *policy = example();

		if (i < ARRAY_LEN(changes))
			changes[i](policy);
		seen[i] = shunt_policy_digest(policy);
		for (size_t j = 0; j < i; j++)
			cr_expect_neq(seen[i], seen[j], "change %zu is as %zu", i, j);
		shunt_policy_free(policy);
	}
}

Test(policy, the_origin_does_not_count)
{
	struct shunt_policy *a = example(), *b = example();

	b->limits[0].key.origin = 3;
	b->max_age_origin = 2;
	cr_expect(shunt_policy_equal(a, b));
	shunt_policy_free(a);
	shunt_policy_free(b);
}

Test(policy, limits_keep_their_names_when_numbers_change)
{
	struct shunt_policy *a = example(), *b = example();

	b->limits[0].average = 7;
	b->limits[1].burst = 7;
	b->in_flight[0].max = 7;
	shunt_policy_seal(b);
	cr_expect_eq(a->limits[0].key.id, b->limits[0].key.id);
	cr_expect_eq(a->limits[1].key.id, b->limits[1].key.id);
	cr_expect_eq(a->in_flight[0].key.id, b->in_flight[0].key.id);
	cr_expect_neq(a->limits[0].key.id, a->limits[1].key.id, "two of a kind are told apart");
	cr_expect_neq(a->limits[0].key.id, a->in_flight[0].key.id);
	b->limits[0].key.scope = SHUNT_SCOPE_CLIENT;
	shunt_policy_seal(b);
	cr_expect_neq(a->limits[0].key.id, b->limits[0].key.id);
	cr_expect_eq(a->limits[0].key.id, b->limits[1].key.id, "now the first of its kind");
	shunt_policy_free(a);
	shunt_policy_free(b);
}

Test(policy, parts_are_what_is_asked_for)
{
	struct shunt_policy *policy = example();
	char text[SHUNT_PARTS_LEN];

	cr_expect_eq(shunt_policy_parts(NULL), 0);
	cr_expect_str_eq(shunt_policy_parts_str(shunt_policy_parts(policy), text),
			 "rate limits of connections, limits of connections in flight, source "
			 "addresses, circuit breaker, outlier ejection, dead-man switch");
	policy->limits[1].key.unit = SHUNT_UNIT_BYTES;
	policy->in_flight[0].key.unit = SHUNT_UNIT_REQUESTS;
	cr_expect_eq(shunt_policy_parts(policy), SHUNT_PART_CONNECTION_RATE | SHUNT_PART_BYTE_RATE |
							 SHUNT_PART_REQUESTS_IN_FLIGHT |
							 SHUNT_PART_SOURCES | SHUNT_PART_BREAKER |
							 SHUNT_PART_EJECTION | SHUNT_PART_DEAD_MAN);
	cr_expect_str_eq(shunt_policy_parts_str(~0u, text), shunt_policy_parts_str(0x1fff, text));
	cr_expect_lt(strlen(text), SHUNT_PARTS_LEN - 1, "all of it fits");
	shunt_policy_free(policy);
}

Test(policy, the_page_says_what_is_in_force)
{
	CLEANUP(file_closep) FILE *file = fopen("docs/policies.md", "r");
	CLEANUP(freep) char *page = NULL;
	size_t room = 0;

	cr_assert_not_null(file, "run from the top of the source tree");
	cr_assert_gt(getdelim(&page, &room, '\0', file), 0);
	for (unsigned part = SHUNT_PART_SIGNALS; part <= SHUNT_PART_PROBE; part <<= 1) {
		char row[SHUNT_PARTS_LEN + 20], name[SHUNT_PARTS_LEN];

		snprintf(row, sizeof(row), "| %s | %s |\n", shunt_policy_parts_str(part, name),
			 part & SHUNT_PARTS_ENFORCED ? "yes" : "no");
		cr_expect(strstr(page, row), "docs/policies.md lacks: %s", row);
	}
}
