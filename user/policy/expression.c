// SPDX-License-Identifier: Apache-2.0
#include "policy/expression.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

/*
 * Recursive descent. Each comparison becomes a test; where it goes on is known only when what
 * follows it has been read. Until then its exits stand in two lists, chained through on_true and
 * on_false themselves, which end with OPEN.
 */
#define OPEN	  0xfd
#define MAX_DEPTH 32 /* parentheses: the parser's stack */

#define RATIO_DECIMALS	 9
#define PERCENT_DECIMALS 2

struct parser {
	const char *text;
	const char *at;
	unsigned depth;
	struct shunt_predicate out;
	struct shunt_err *err;
};

/* Where an expression may leave: the first test of each chain, or OPEN. */
struct exits {
	uint8_t first; /* the test that it begins with */
	uint8_t if_true;
	uint8_t if_false;
};

static const struct function {
	const char *name;
	uint8_t signal;
	uint8_t n_args;
	bool is_float; /* what it is compared with */
	bool float_args;
	uint32_t max_arg; /* a percentage's in 1/100 */
} functions[] = {
	{ "NetworkErrorRatio", SHUNT_SIGNAL_NETWORK_ERRORS, 0, true, false, 0 },
	{ "ResponseCodeRatio", SHUNT_SIGNAL_CODES, 4, true, false, 65535 },
	{ "LatencyAtQuantileMS", SHUNT_SIGNAL_LATENCY, 1, false, true, 10000 },
	{ "RequestThreshold", SHUNT_SIGNAL_REQUESTS, 0, false, false, 0 },
};

static const struct {
	char text[3];
	uint8_t compare;
} compares[] = {
	/* The longer ones first. */
	{ "<=", SHUNT_LE }, { ">=", SHUNT_GE }, { "==", SHUNT_EQ },
	{ "!=", SHUNT_NE }, { "<", SHUNT_LT },	{ ">", SHUNT_GT },
};

/* ---- tokens --------------------------------------------------------------------------------- */

/* Sets the error's column. @code: as shunt_err_set() returned it. */
static int at_column(const struct parser *p, const char *at, int code)
{
	if (p->err)
		p->err->column = at - p->text + 1;
	return code;
}

#define FAIL(p, at, code, ...) at_column(p, at, shunt_err_set((p)->err, code, __VA_ARGS__))

static void skip_space(struct parser *p)
{
	p->at += strspn(p->at, " \t\r\n");
}

/* Takes @token if it comes next. */
static bool take(struct parser *p, const char *token)
{
	size_t len = strlen(token);

	skip_space(p);
	if (strncmp(p->at, token, len))
		return false;
	p->at += len;
	return true;
}

static int expected(struct parser *p, const char *what)
{
	skip_space(p);
	if (!*p->at)
		return FAIL(p, p->at, -EINVAL, "expected %s, got the end", what);
	return FAIL(p, p->at, -EINVAL, "expected %s, got '%.*s'", what,
		    (int)(isalnum((unsigned char)*p->at) ? strcspn(p->at, " \t\r\n()<>=!&|,") : 1),
		    p->at);
}

/* ---- numbers -------------------------------------------------------------------------------- */

/* A number's letters, so that `0x10` and `1_000` are seen as one wrong number. */
static size_t number_length(const char *text)
{
	size_t n = 0;

	while (isalnum((unsigned char)text[n]) || text[n] == '.' || text[n] == '_' ||
	       ((text[n] == '+' || text[n] == '-') && n && strchr("eEpP", text[n - 1])))
		n++;
	return n;
}

static int read_int(struct parser *p, uint64_t max, const char *what, uint64_t *ret_value)
{
	const char *at;
	char digits[24];
	size_t len;

	skip_space(p);
	at = p->at;
	if (*at == '-')
		return FAIL(p, at, -ERANGE, "%s must not be negative", what);
	len = number_length(at);
	if (!len || !isdigit((unsigned char)*at))
		return *at == '.' ? FAIL(p, at, -EINVAL, "%s must be an integer, not a float", what)
				  : expected(p, what);
	if (memchr(at, '.', len) || memchr(at, 'e', len) || memchr(at, 'E', len))
		return FAIL(p, at, -EINVAL, "%s must be an integer, not a float", what);
	if (strspn(at, "0123456789") != len)
		return FAIL(p, at, -EINVAL, "%s: '%.*s' is not a decimal integer", what, (int)len,
			    at);
	snprintf(digits, sizeof(digits), "%.*s", (int)len, at);
	if (len >= sizeof(digits) || shunt_number_parse(digits, max, ret_value))
		return FAIL(p, at, -ERANGE, "%s is above %llu", what, (unsigned long long)max);
	p->at += len;
	return 0;
}

/* The exponent of a float of @len letters, and in *@ret_len what stands before it. */
static long exponent_of(const char *at, size_t len, size_t *ret_len)
{
	const char *e = memchr(at, 'e', len);

	if (!e)
		e = memchr(at, 'E', len);
	*ret_len = e ? (size_t)(e - at) : len;
	return e ? strtol(e + 1, NULL, 10) : 0;
}

/* Is it digits with one point among them, and an exponent of digits? */
static bool is_float(const char *at, size_t len)
{
	size_t mantissa, whole = strspn(at, "0123456789"), used = whole, decimals = 0;

	exponent_of(at, len, &mantissa);
	if (at[used] == '.') {
		decimals = strspn(at + used + 1, "0123456789");
		used += 1 + decimals;
	}
	if (used != mantissa || !(whole + decimals))
		return false;
	if (mantissa == len)
		return true;
	used++;
	used += at[used] == '+' || at[used] == '-';
	return used < len && used + strspn(at + used, "0123456789") == len;
}

/*
 * A float as an integer of 10^-@decimals, exactly. *@ret_value: at most @max. Return: 0; -EDOM:
 * more decimals than that; -ERANGE.
 */
static int scale_float(const char *at, size_t len, int decimals, uint64_t max, uint64_t *ret_value)
{
	size_t mantissa;
	long shift = exponent_of(at, len, &mantissa) + decimals;
	uint64_t value = 0;
	bool behind = false;
	int r = 0;

	if (shift < -400 || shift > 400)
		return -ERANGE;
	for (size_t i = 0; i < mantissa; i++) {
		if (at[i] == '.') {
			behind = true;
			continue;
		}
		/* Zeros at the end say nothing. */
		if (behind && at[i] == '0' && strspn(at + i, "0") + i >= mantissa)
			break;
		if (value > max)
			return -ERANGE;
		value = value * 10 + (at[i] - '0');
		shift -= behind;
	}
	for (; shift > 0 && value; shift--) {
		if (value > max)
			return -ERANGE;
		value *= 10;
	}
	for (; shift < 0 && value; shift++) {
		r = value % 10 ? -EDOM : r;
		value /= 10;
	}
	*ret_value = value;
	return value > max ? -ERANGE : r;
}

static int read_float(struct parser *p, int decimals, uint64_t max, const char *what,
		      uint64_t *ret_value)
{
	const char *at;
	size_t len;
	int r;

	skip_space(p);
	at = p->at;
	if (*at == '-')
		return FAIL(p, at, -ERANGE, "%s must not be negative", what);
	len = number_length(at);
	if (!len || (!isdigit((unsigned char)*at) && *at != '.'))
		return expected(p, what);
	if (strspn(at, "0123456789") == len)
		return FAIL(p, at, -EINVAL, "%s must be a float, not an integer: %.*s.0", what,
			    (int)len, at);
	if (!is_float(at, len))
		return FAIL(p, at, -EINVAL, "%s: '%.*s' is not a decimal float", what, (int)len,
			    at);
	r = scale_float(at, len, decimals, max, ret_value);
	if (r == -EDOM)
		return FAIL(p, at, -ERANGE, "%s has more than %d decimals", what, decimals);
	if (r < 0)
		return FAIL(p, at, -ERANGE, "%s is too large", what);
	p->at += len;
	return 0;
}

/* ---- comparisons ---------------------------------------------------------------------------- */

static const struct function *take_function(struct parser *p)
{
	size_t len;

	skip_space(p);
	len = strspn(p->at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (len != strlen(functions[i].name) || strncmp(p->at, functions[i].name, len))
			continue;
		p->at += len;
		return &functions[i];
	}
	return NULL;
}

static int read_args(struct parser *p, const struct function *f, struct shunt_test *test)
{
	uint64_t value;
	int r;

	if (!take(p, "("))
		return expected(p, "'(' behind the function's name");
	for (unsigned i = 0; i < f->n_args; i++) {
		if (i && !take(p, ","))
			return expected(p, "',' and the next argument");
		r = f->float_args
			    ? read_float(p, PERCENT_DECIMALS, f->max_arg, "the percentage", &value)
			    : read_int(p, f->max_arg, "the status code", &value);
		if (r < 0)
			return r;
		test->arg[i] = value;
	}
	return take(p, ")") ? 0 : expected(p, f->n_args ? "')' behind the arguments" : "')'");
}

static int read_compare(struct parser *p, struct shunt_test *test)
{
	for (size_t i = 0; i < sizeof(compares) / sizeof(compares[0]); i++) {
		if (!take(p, compares[i].text))
			continue;
		test->compare = compares[i].compare;
		return 0;
	}
	return expected(p, "one of < <= == != >= > and a number");
}

static int no_function(struct parser *p)
{
	skip_space(p);
	if (*p->at == '!')
		return FAIL(p, p->at, -EINVAL,
			    "there is no '!': turn the comparison round, as in < for >=");
	if (isalpha((unsigned char)*p->at))
		return FAIL(
			p, p->at, -EINVAL,
			"unknown function '%.*s'; there are NetworkErrorRatio, ResponseCodeRatio, "
			"LatencyAtQuantileMS and RequestThreshold",
			(int)strcspn(p->at, " \t\r\n()<>=!&|,"), p->at);
	if (isdigit((unsigned char)*p->at))
		return FAIL(p, p->at, -EINVAL,
			    "the function stands on the left: RequestThreshold() > 20");
	return expected(p, "a function or '('");
}

/* ---- watches -------------------------------------------------------------------------------- */

/* The watch that counts as @wanted does, a new one if there is none. Return: its index, or -E2BIG.
 */
static int watch_for(struct shunt_predicate *out, struct shunt_watch wanted)
{
	for (uint32_t i = 0; i < out->n_watches; i++)
		if (!memcmp(&out->watch[i], &wanted, sizeof(wanted)))
			return i;
	if (out->n_watches == SHUNT_MAX_WATCHES)
		return -E2BIG;
	out->watch[out->n_watches] = wanted;
	return out->n_watches++;
}

/* What the n-th watch of a test counts. Return: whether it has one. */
static bool wanted_watch(const struct shunt_test *test, int n, struct shunt_watch *ret_watch)
{
	struct shunt_watch watch = { .kind = SHUNT_WATCH_RESPONSES };

	switch (test->signal) {
	case SHUNT_SIGNAL_NETWORK_ERRORS:
		watch.kind = n == 0 ? SHUNT_WATCH_NETWORK_ERRORS : SHUNT_WATCH_RESPONSES;
		break;
	case SHUNT_SIGNAL_CODES:
		watch.kind = SHUNT_WATCH_CODES;
		watch.from = test->arg[n == 0 ? 0 : 2];
		watch.to = test->arg[n == 0 ? 1 : 3];
		break;
	case SHUNT_SIGNAL_LATENCY:
		watch.kind = n == 2 ? SHUNT_WATCH_LATENCIES : SHUNT_WATCH_BELOW;
		watch.below_us = n == 2 ? 0 : (test->literal + n) * 1000;
		*ret_watch = watch;
		return true;
	default:
		*ret_watch = watch;
		return n == 0;
	}
	*ret_watch = watch;
	return n < 2;
}

static int add_watches(struct parser *p, const char *at, struct shunt_test *test)
{
	for (int n = 0; n < SHUNT_TEST_WATCHES; n++) {
		struct shunt_watch wanted;
		int index;

		test->watch[n] = SHUNT_WATCH_NONE;
		if (!wanted_watch(test, n, &wanted))
			continue;
		index = watch_for(&p->out, wanted);
		if (index < 0)
			return FAIL(p, at, index,
				    "the comparisons need more than %d counts: fewer ranges of "
				    "codes, or fewer latencies",
				    SHUNT_MAX_WATCHES);
		test->watch[n] = index;
	}
	return 0;
}

static int parse_test(struct parser *p, struct exits *ret)
{
	struct shunt_test test = { .on_true = OPEN, .on_false = OPEN };
	const struct function *f = take_function(p);
	const char *at = p->at;
	uint64_t literal = 0;
	int r;

	if (!f)
		return no_function(p);
	if (p->out.n_tests == SHUNT_MAX_TESTS)
		return FAIL(p, at, -E2BIG, "more than %d comparisons", SHUNT_MAX_TESTS);
	test.signal = f->signal;
	r = read_args(p, f, &test);
	if (!r)
		r = read_compare(p, &test);
	if (!r && f->is_float)
		r = read_float(p, RATIO_DECIMALS, SHUNT_MAX_RATIO * SHUNT_RATIO_SCALE, "the ratio",
			       &literal);
	else if (!r)
		r = read_int(p, UINT32_MAX, "the number", &literal);
	if (r < 0)
		return r;
	test.literal = literal;
	r = add_watches(p, at, &test);
	if (r < 0)
		return r;
	ret->first = ret->if_true = ret->if_false = p->out.n_tests;
	p->out.test[p->out.n_tests++] = test;
	return 0;
}

/* ---- and, or -------------------------------------------------------------------------------- */

/* Lets every exit of a chain lead to @to. */
static void lead(struct parser *p, uint8_t chain, bool if_true, uint8_t to)
{
	while (chain != OPEN) {
		uint8_t *exit =
			if_true ? &p->out.test[chain].on_true : &p->out.test[chain].on_false;

		chain = *exit;
		*exit = to;
	}
}

/* Hangs chain @b behind chain @a. Return: both. */
static uint8_t join(struct parser *p, uint8_t a, uint8_t b, bool if_true)
{
	uint8_t last = a, next;

	while (true) {
		next = if_true ? p->out.test[last].on_true : p->out.test[last].on_false;
		if (next == OPEN)
			break;
		last = next;
	}
	if (if_true)
		p->out.test[last].on_true = b;
	else
		p->out.test[last].on_false = b;
	return a;
}

static int parse_or(struct parser *p, struct exits *ret);

static int parse_prim(struct parser *p, struct exits *ret)
{
	const char *at;
	int r;

	skip_space(p);
	at = p->at;
	if (!take(p, "("))
		return parse_test(p, ret);
	if (p->depth == MAX_DEPTH)
		return FAIL(p, at, -E2BIG, "more than %d parentheses deep", MAX_DEPTH);
	p->depth++;
	r = parse_or(p, ret);
	p->depth--;
	if (r < 0)
		return r;
	return take(p, ")") ? 0 : expected(p, "')', '&&' or '||'");
}

static int parse_and(struct parser *p, struct exits *ret)
{
	struct exits right;
	int r = parse_prim(p, ret);

	while (!r && take(p, "&&")) {
		r = parse_prim(p, &right);
		if (r < 0)
			return r;
		lead(p, ret->if_true, true, right.first);
		ret->if_true = right.if_true;
		ret->if_false = join(p, ret->if_false, right.if_false, false);
	}
	return r;
}

static int parse_or(struct parser *p, struct exits *ret)
{
	struct exits right;
	int r = parse_and(p, ret);

	while (!r && take(p, "||")) {
		r = parse_and(p, &right);
		if (r < 0)
			return r;
		lead(p, ret->if_false, false, right.first);
		ret->if_false = right.if_false;
		ret->if_true = join(p, ret->if_true, right.if_true, true);
	}
	return r;
}

int shunt_expression_compile(const char *text, struct shunt_predicate *ret_predicate,
			     struct shunt_err *err)
{
	struct parser p = { .text = text, .at = text, .err = err };
	struct exits exits;
	int r;

	watch_for(&p.out, (struct shunt_watch){ .kind = SHUNT_WATCH_RESPONSES });

	skip_space(&p);
	if (!*p.at)
		return FAIL(&p, p.at, -EINVAL,
			    "the expression is empty; e.g. NetworkErrorRatio() > 0.30");
	r = parse_or(&p, &exits);
	if (r < 0)
		return r;
	skip_space(&p);
	if (*p.at)
		return expected(&p, "'&&', '||' or the end");
	lead(&p, exits.if_true, true, SHUNT_TEST_TRUE);
	lead(&p, exits.if_false, false, SHUNT_TEST_FALSE);
	*ret_predicate = p.out;
	return 0;
}

/* ---- warnings ------------------------------------------------------------------------------- */

/* Is a range of codes without any that HTTP has? */
static bool no_codes(const uint16_t range[2])
{
	return range[0] >= range[1] || range[1] <= 100 || range[0] > 599;
}

/* Can the ratio be above 1? Only where some of the part is not of the whole. */
static uint64_t highest(const struct shunt_test *test)
{
	switch (test->signal) {
	case SHUNT_SIGNAL_CODES:
		if (test->arg[0] < test->arg[2] || test->arg[1] > test->arg[3])
			return UINT64_MAX;
		/* fall through */
	case SHUNT_SIGNAL_NETWORK_ERRORS:
		return SHUNT_RATIO_SCALE;
	default:
		return UINT64_MAX;
	}
}

/* 1: a comparison that always holds, -1: never; 0: it depends. */
static int constant(const struct shunt_test *test)
{
	uint64_t most = highest(test);

	switch (test->compare) {
	case SHUNT_LT:
		return test->literal == 0 ? -1 : test->literal > most;
	case SHUNT_LE:
		return test->literal >= most;
	case SHUNT_GE:
		return test->literal > most ? -1 : test->literal == 0;
	case SHUNT_GT:
		return test->literal >= most ? -1 : 0;
	case SHUNT_NE:
		return test->literal > most;
	default:
		return test->literal > most ? -1 : 0;
	}
}

const char *shunt_expression_warn(const struct shunt_predicate *predicate, char *buf, size_t size)
{
	for (uint32_t i = 0; i < predicate->n_tests; i++) {
		const struct shunt_test *test = &predicate->test[i];
		const char *name = functions[test->signal].name;

		if (test->signal == SHUNT_SIGNAL_CODES &&
		    (no_codes(test->arg) || no_codes(test->arg + 2))) {
			const uint16_t *range = no_codes(test->arg) ? test->arg : test->arg + 2;

			snprintf(buf, size,
				 "comparison %u, %s: no status code is at least %u and below %u, "
				 "so the "
				 "ratio is always 0",
				 i + 1, name, range[0], range[1]);
			return buf;
		}
		if (constant(test)) {
			snprintf(buf, size, "comparison %u, %s: it %s holds", i + 1, name,
				 constant(test) > 0 ? "always" : "never");
			return buf;
		}
	}
	return NULL;
}
