// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/expression.h"

TestSuite(expression);

/* What the signals are; codes[n]: responses with status n * 100. */
struct world {
	uint64_t requests, network_errors;
	uint64_t codes[6];
	uint64_t p50_ms, p99_ms;
};

/* The quantile that a test asks for is one sample: it is below a value or it is not. */
static struct shunt_signal read_signal(const struct world *w, const struct shunt_test *test)
{
	uint64_t ms = test->arg[0] > 5000 ? w->p99_ms : w->p50_ms;
	struct shunt_signal s = { { 0 } };

	switch (test->signal) {
	case SHUNT_SIGNAL_NETWORK_ERRORS:
		return (struct shunt_signal){ { w->network_errors, w->requests } };
	case SHUNT_SIGNAL_CODES:
		for (unsigned n = 1; n <= 5; n++) {
			if (n * 100 >= test->arg[0] && n * 100 < test->arg[1])
				s.sum[0] += w->codes[n];
			if (n * 100 >= test->arg[2] && n * 100 < test->arg[3])
				s.sum[1] += w->codes[n];
		}
		return s;
	case SHUNT_SIGNAL_LATENCY:
		return (struct shunt_signal){ { ms < test->literal, ms < test->literal + 1, 1 } };
	default:
		return (struct shunt_signal){ { w->requests } };
	}
}

/* Runs a predicate as the kernel does; a jump that does not lead forward fails the test. */
static int run(const struct shunt_predicate *p, const struct world *w)
{
	uint8_t next = p->n_tests ? 0 : SHUNT_TEST_FALSE;

	while (next < SHUNT_MAX_TESTS) {
		const struct shunt_test *test = &p->test[next];
		struct shunt_signal signal = read_signal(w, test);
		uint8_t to = shunt_test_holds(test, &signal) ? test->on_true : test->on_false;

		cr_assert(to > next && (to < p->n_tests || to >= SHUNT_TEST_TRUE), "jump to %u",
			  to);
		next = to;
	}
	return next == SHUNT_TEST_TRUE;
}

static int holds(const char *text, struct world w)
{
	struct shunt_predicate p;
	struct shunt_err err;
	int r = shunt_expression_compile(text, &p, &err);

	cr_assert_eq(r, 0, "%s: column %u: %s", text, err.column, err.text);
	return run(&p, &w);
}

Test(expression, the_documented_examples_mean_what_traefik_means)
{
	const char *errors = "NetworkErrorRatio() > 0.30";
	const char *codes = "ResponseCodeRatio(500, 600, 0, 600) > 0.25";
	const char *all = "NetworkErrorRatio() > 0.30 || LatencyAtQuantileMS(50.0) > 100 || "
			  "ResponseCodeRatio(500, 600, 0, 600) > 0.25 && RequestThreshold() >= 20";

	cr_expect_eq(holds(errors, (struct world){ .requests = 10, .network_errors = 3 }), 0);
	cr_expect_eq(holds(errors, (struct world){ .requests = 10, .network_errors = 4 }), 1);
	cr_expect_eq(holds(codes, (struct world){ .codes = { [2] = 3, [5] = 1 } }), 0);
	cr_expect_eq(holds(codes, (struct world){ .codes = { [5] = 1 } }), 1,
		     "without a threshold one response is enough");
	cr_expect_eq(holds(all, (struct world){ .p50_ms = 101 }), 1);
	cr_expect_eq(holds(all, (struct world){ .requests = 19, .codes = { [5] = 19 } }), 0);
	cr_expect_eq(holds(all, (struct world){ .requests = 20, .codes = { [5] = 20 } }), 1);
}

Test(expression, nothing_measured_is_zero)
{
	cr_expect_eq(holds("NetworkErrorRatio() > 0.0", (struct world){ 0 }), 0);
	cr_expect_eq(holds("NetworkErrorRatio() == 0.0", (struct world){ 0 }), 1);
	cr_expect_eq(holds("ResponseCodeRatio(500, 600, 0, 600) < 0.1", (struct world){ 0 }), 1);
	cr_expect_eq(holds("LatencyAtQuantileMS(99.9) == 0", (struct world){ 0 }), 1);
}

Test(expression, ratios_are_compared_without_rounding)
{
	struct world third = { .requests = 900000000, .network_errors = 300000000 };

	cr_expect_eq(holds("NetworkErrorRatio() > 0.333333333", third), 1);
	cr_expect_eq(holds("NetworkErrorRatio() > 0.333333334", third), 0);
	third.network_errors = 270000000;
	cr_expect_eq(holds("NetworkErrorRatio() == 0.3", third), 1);
	cr_expect_eq(holds("NetworkErrorRatio() != .3", third), 0);
	/* The largest numbers that are allowed. */
	third.requests = third.network_errors = (1 << 30) - 1;
	cr_expect_eq(holds("NetworkErrorRatio() > 0.999999999", third), 1);
	cr_expect_eq(holds("NetworkErrorRatio() < 16.0", third), 1);
}

Test(expression, and_binds_closer_than_or_and_parentheses_closest)
{
	/* a, b, c as three independent facts */
	static const char *const terms[] = { "RequestThreshold() > 0",
					     "LatencyAtQuantileMS(50.0) > 0",
					     "LatencyAtQuantileMS(99.0) > 0" };
	static const struct {
		const char *format;
		uint8_t truth; /* bit n: for a = n & 1, b = n >> 1 & 1, c = n >> 2 */
	} cases[] = {
		{ "%s || %s && %s", 0xea },	      { "(%s || %s) && %s", 0xe0 },
		{ "%s && %s || %s", 0xf8 },	      { "%s && (%s || %s)", 0xa8 },
		{ "%s && %s && %s", 0x80 },	      { "%s || %s || %s", 0xfe },
		{ "((%s) || ((%s && (%s))))", 0xea },
	};
	char text[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), cases[i].format, terms[0], terms[1], terms[2]);
		for (unsigned n = 0; n < 8; n++) {
			struct world w = { .requests = n & 1,
					   .p50_ms = n >> 1 & 1,
					   .p99_ms = n >> 2 };

			cr_expect_eq(holds(text, w), cases[i].truth >> n & 1, "%s for %u", text, n);
		}
	}
}

/* Precedence and jumps against an evaluation that knows neither. */
static int naive(const char **at, const struct world *w, int depth);

static int naive_prim(const char **at, const struct world *w, int depth)
{
	int value;

	if (**at == '(') {
		(*at)++;
		value = naive(at, w, depth + 1);
		(*at)++;
		return value;
	}
	value = **at == 'a' ? w->requests > 0 : **at == 'b' ? w->p50_ms > 0 : w->p99_ms > 0;
	(*at)++;
	return value;
}

static int naive(const char **at, const struct world *w, int depth)
{
	int any = 0, all = naive_prim(at, w, depth);

	while (**at == '&' || **at == '|') {
		char op = *(*at)++;
		int next;

		if (op == '&') {
			next = naive_prim(at, w, depth);
			all = all && next;
		} else {
			any = any || all;
			all = naive_prim(at, w, depth);
		}
	}
	return any || all;
}

static size_t random_expression(char *out, unsigned *seed, int depth)
{
	size_t n = 0;
	int terms = 1 + rand_r(seed) % 3;

	for (int i = 0; i < terms; i++) {
		if (i)
			out[n++] = rand_r(seed) & 1 ? '&' : '|';
		if (depth < 2 && rand_r(seed) % 3 == 0) {
			out[n++] = '(';
			n += random_expression(out + n, seed, depth + 1);
			out[n++] = ')';
		} else {
			out[n++] = 'a' + rand_r(seed) % 3;
		}
	}
	return n;
}

Test(expression, random_expressions_mean_what_a_naive_reader_says)
{
	char brief[256], text[8192];
	unsigned seed = 20261123;
	int compiled = 0;

	for (int round = 0; round < 20000; round++) {
		struct shunt_predicate p;
		size_t used = 0;
		int r;

		brief[random_expression(brief, &seed, 0)] = '\0';
		for (const char *c = brief; *c; c++)
			used += sprintf(text + used, "%s",
					*c == 'a'   ? "RequestThreshold()>0"
					: *c == 'b' ? "LatencyAtQuantileMS(50.0)>0"
					: *c == 'c' ? "LatencyAtQuantileMS(99.0)>0"
					: *c == '&' ? " && "
					: *c == '|' ? " || "
					: *c == '(' ? "("
						    : ")");
		r = shunt_expression_compile(text, &p, NULL);
		if (r == -E2BIG)
			continue;
		cr_assert_eq(r, 0, "%s", text);
		compiled++;
		for (unsigned n = 0; n < 8; n++) {
			struct world w = { .requests = n & 1,
					   .p50_ms = n >> 1 & 1,
					   .p99_ms = n >> 2 };
			const char *at = brief;

			cr_assert_eq(run(&p, &w), naive(&at, &w, 0), "%s for %u", brief, n);
		}
	}
	cr_expect_gt(compiled, 15000);
}

static const struct {
	const char *text;
	unsigned column;
	int code;
	const char *says;
} bad[] = {
	{ "", 1, -EINVAL, "the expression is empty" },
	{ "  ", 3, -EINVAL, "the expression is empty" },
	{ "NetworkErrorRatio()", 20, -EINVAL,
	  "expected one of < <= == != >= > and a number, got the end" },
	{ "NetworkErrorRatio() > 1", 23, -EINVAL,
	  "the ratio must be a float, not an integer: 1.0" },
	{ "LatencyAtQuantileMS(50.0) > 100.0", 29, -EINVAL,
	  "the number must be an integer, not a float" },
	{ "LatencyAtQuantileMS(50) > 100", 21, -EINVAL,
	  "the percentage must be a float, not an integer: 50.0" },
	{ "LatencyAtQuantileMS(100.01) > 1", 21, -ERANGE, "the percentage is too large" },
	{ "LatencyAtQuantileMS(-1.0) > 1", 21, -ERANGE, "the percentage must not be negative" },
	{ "LatencyAtQuantileMS(99.999) > 1", 21, -ERANGE,
	  "the percentage has more than 2 decimals" },
	{ "NetworkErrorRatio() > 0.1234567891", 23, -ERANGE, "the ratio has more than 9 decimals" },
	{ "NetworkErrorRatio() > -0.1", 23, -ERANGE, "the ratio must not be negative" },
	{ "NetworkErrorRatio() > 1e99", 23, -ERANGE, "the ratio is too large" },
	{ "NetworkErrorRatio() > 0x1p-2", 23, -EINVAL, "'0x1p-2' is not a decimal float" },
	{ "NetworkErrorRatio() > 1.2.3", 23, -EINVAL, "'1.2.3' is not a decimal float" },
	{ "NetworkErrorRatio() > .", 23, -EINVAL, "'.' is not a decimal float" },
	{ "!(NetworkErrorRatio() > 0.3)", 1, -EINVAL, "there is no '!'" },
	{ "0.3 < NetworkErrorRatio()", 1, -EINVAL, "the function stands on the left" },
	{ "ErrorRatio() > 0.3", 1, -EINVAL, "unknown function 'ErrorRatio'" },
	{ "networkErrorRatio() > 0.3", 1, -EINVAL, "unknown function 'networkErrorRatio'" },
	{ "NetworkErrorRatio > 0.3", 19, -EINVAL,
	  "expected '(' behind the function's name, got '>'" },
	{ "NetworkErrorRatio(1) > 0.3", 19, -EINVAL, "expected ')', got '1'" },
	{ "ResponseCodeRatio(500, 600, 0) > 0.3", 30, -EINVAL,
	  "expected ',' and the next argument, got ')'" },
	{ "ResponseCodeRatio(500, 600.0, 0, 600) > 0.3", 24, -EINVAL,
	  "the status code must be an integer" },
	{ "ResponseCodeRatio(500, 70000, 0, 600) > 0.3", 24, -ERANGE,
	  "the status code is above 65535" },
	{ "RequestThreshold() > 5000000000", 22, -ERANGE, "the number is above 4294967295" },
	{ "RequestThreshold() > 99999999999999999999999999", 22, -ERANGE, "the number is above" },
	{ "RequestThreshold() > 1_000", 22, -EINVAL, "'1_000' is not a decimal integer" },
	{ "RequestThreshold() = 1", 20, -EINVAL, "expected one of" },
	{ "RequestThreshold() > 1 RequestThreshold() > 2", 24, -EINVAL,
	  "expected '&&', '||' or the end" },
	{ "RequestThreshold() > 1 &&", 26, -EINVAL, "expected a function or '(', got the end" },
	{ "RequestThreshold() > 1 & RequestThreshold() > 2", 24, -EINVAL,
	  "expected '&&', '||' or the end, got '&'" },
	{ "(RequestThreshold() > 1", 24, -EINVAL, "expected ')', '&&' or '||', got the end" },
	{ "RequestThreshold() > 1)", 23, -EINVAL, "expected '&&', '||' or the end, got ')'" },
	{ "((((((((((((((((((((((((((((((((((RequestThreshold() > 1", 33, -E2BIG,
	  "more than 32 parentheses deep" },
};

Test(expression, a_wrong_expression_is_refused_with_its_place)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct shunt_predicate p = { .n_tests = 77 };
		struct shunt_err err = { .text = "" };
		int r = shunt_expression_compile(bad[i].text, &p, &err);

		cr_expect_eq(r, bad[i].code, "%s: %d, %s", bad[i].text, r, err.text);
		cr_expect_eq(err.column, bad[i].column, "%s: column %u", bad[i].text, err.column);
		cr_expect_not_null(strstr(err.text, bad[i].says), "%s: %s", bad[i].text, err.text);
		cr_expect_eq(p.n_tests, 77, "%s: the result was touched", bad[i].text);
	}
}

Test(expression, sixteen_comparisons_are_enough_and_seventeen_too_many)
{
	char text[1024] = "RequestThreshold() > 0";
	struct shunt_predicate p;
	struct shunt_err err;

	for (int i = 1; i < 16; i++)
		sprintf(text + strlen(text), " && RequestThreshold() > %d", i);
	cr_expect_eq(shunt_expression_compile(text, &p, &err), 0, "%s", err.text);
	cr_expect_eq(run(&p, &(struct world){ .requests = 16 }), 1);
	cr_expect_eq(run(&p, &(struct world){ .requests = 15 }), 0);
	strcat(text, " || RequestThreshold() > 0");
	cr_expect_eq(shunt_expression_compile(text, &p, &err), -E2BIG);
	cr_expect_str_eq(err.text, "more than 16 comparisons");
}

Test(expression, what_has_to_be_counted_is_counted_once)
{
	struct shunt_predicate p;
	struct shunt_err err;
	char text[2048] = "LatencyAtQuantileMS(50.0) > 0";

	cr_assert_eq(shunt_expression_compile("ResponseCodeRatio(500, 600, 0, 600) > 0.25 && "
					      "LatencyAtQuantileMS(50.0) > 100 || "
					      "LatencyAtQuantileMS(99.0) >= 101 || "
					      "ResponseCodeRatio(400, 500, 0, 600) > 0.5 && "
					      "RequestThreshold() > 20",
					      &p, &err),
		     0, "%s", err.text);
	/* Requests, 5xx, all codes, below 100, 101 and 102 ms, all times, 4xx. */
	cr_expect_eq(p.n_watches, 8);
	cr_expect_eq(p.watch[SHUNT_WATCH_REQUEST].kind, SHUNT_WATCH_RESPONSES);
	cr_expect_eq(p.test[1].watch[1], p.test[2].watch[0], "below 101 ms serves both");
	cr_expect_eq(p.watch[p.test[1].watch[0]].below_us, 100000);
	cr_expect_eq(p.test[4].watch[0], SHUNT_WATCH_REQUEST);
	cr_expect_eq(p.test[4].watch[1], SHUNT_WATCH_NONE);

	for (int i = 1; i < 14; i++)
		sprintf(text + strlen(text), " && LatencyAtQuantileMS(50.0) > %d", i);
	cr_expect_eq(shunt_expression_compile(text, &p, &err), -E2BIG);
	cr_expect_not_null(strstr(err.text, "more than 16 counts"), "%s", err.text);
}

Test(expression, floats_are_read_as_go_writes_them)
{
	static const char *const same[] = { "0.25",   ".25",	  "0.250000000000000000000",
					    "2.5e-1", "25e-2",	  "0.025E1",
					    "00.25",  "250.0e-3", "2.5e-01" };
	struct shunt_predicate p;
	struct shunt_err err;
	char text[96];

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		sprintf(text, "NetworkErrorRatio() > %s", same[i]);
		cr_expect_eq(shunt_expression_compile(text, &p, &err), 0, "%s: %s", text, err.text);
		cr_expect_eq(p.test[0].literal, 250000000, "%s", text);
	}
}

Test(expression, what_can_never_decide_is_named)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "NetworkErrorRatio() > 0.3", NULL },
		{ "NetworkErrorRatio() > 1.0", "comparison 1, NetworkErrorRatio: it never holds" },
		{ "NetworkErrorRatio() >= 1.0", NULL },
		{ "RequestThreshold() > 5 && NetworkErrorRatio() == 1.5",
		  "comparison 2, NetworkErrorRatio: it never holds" },
		{ "RequestThreshold() >= 0", "comparison 1, RequestThreshold: it always holds" },
		{ "RequestThreshold() < 0", "it never holds" },
		{ "ResponseCodeRatio(500, 600, 500, 501) > 2.0", NULL },
		{ "ResponseCodeRatio(500, 600, 0, 600) > 1.5", "it never holds" },
		{ "ResponseCodeRatio(600, 500, 0, 600) > 0.5",
		  "no status code is at least 600 and below 500" },
		{ "ResponseCodeRatio(500, 600, 0, 100) > 0.5",
		  "no status code is at least 0 and below 100" },
	};
	struct shunt_predicate p;
	char buf[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *said;

		cr_assert_eq(shunt_expression_compile(cases[i].text, &p, NULL), 0, "%s",
			     cases[i].text);
		said = shunt_expression_warn(&p, buf, sizeof(buf));
		if (!cases[i].says)
			cr_expect_null(said, "%s: %s", cases[i].text, said);
		else
			cr_expect(said && strstr(said, cases[i].says), "%s: %s", cases[i].text,
				  said ? said : "nothing");
	}
}
